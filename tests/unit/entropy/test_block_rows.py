# SPDX-License-Identifier: Apache-2.0
"""Block rows side by side find what one thread finds, and believe no entry point unproved."""

from dataclasses import replace

import numpy as np
import pytest

from nnrvideo import entropy
from nnrvideo.entropy import EntryPoint, TensorChoices, TensorSpec, quantise

RANDOM = np.random.default_rng(6)


def coded(spec, *, skip=False):
    values = RANDOM.laplace(0, 3, (spec.rows, spec.cols)).astype(np.float32)
    flags = RANDOM.random(spec.rows) < 0.2 if skip else None
    choices = TensorChoices((), flags)
    levels = quantise(values, 1.0, spec, choices)
    encoder = entropy.encoder()
    encoder.uae(5, 7)  # so that the first block row starts anywhere
    encoder.tensor(levels, spec, choices)
    encoder.tensor(
        levels[:1], replace(spec, rows=1, dq_flag=False)
    )  # what follows needs the right engine
    codeword = encoder.terminate()
    return levels, codeword, encoder.entry_points[0]


def decoded(codeword, spec, points, threads):
    decoder = entropy.decoder(codeword)
    assert decoder.uae(7) == 5
    tensor = decoder.tensor(spec, points, threads)
    after = decoder.tensor(replace(spec, rows=1, dq_flag=False))
    assert decoder.terminate() == len(codeword)
    return tensor, after


@pytest.mark.parametrize("threads", [2, 3, 8, 50])
@pytest.mark.parametrize("dq_flag", [False, True])
@pytest.mark.parametrize(("rows", "scan_order"), [(100, 1), (17, 1), (16, 1), (8, 1), (200, 3)])
def test_the_same_levels(rows, scan_order, dq_flag, threads):
    spec = TensorSpec(rows, 37, 1, 6, dq_flag=dq_flag, scan_order=scan_order)
    levels, codeword, points = coded(spec, skip=rows > 50 and not dq_flag)
    tensor, after = decoded(codeword, spec, points, threads)
    np.testing.assert_array_equal(tensor.levels, levels)
    np.testing.assert_array_equal(after.levels, levels[:1])
    assert tensor.entry_points == points


@pytest.mark.parametrize("threads", [2, 5])
@pytest.mark.parametrize("place", [0, 3, -1])
@pytest.mark.parametrize(
    "change",
    [
        lambda p: replace(p, cabac_offset=p.cabac_offset ^ 1),
        lambda p: replace(p, cabac_offset=255),
        lambda p: replace(p, dq_state=p.dq_state ^ 3),
        lambda p: replace(p, bit_offset=p.bit_offset + 1),
        lambda p: replace(p, bit_offset=-5),
        lambda p: replace(p, bit_offset=1 << 40),
        lambda p: replace(p, bit_offset=0),
    ],
)
def test_wrong_points_change_nothing(change, place, threads):
    """What is decoded is right all the same; that the points are wrong is seen by comparison."""
    spec = TensorSpec(90, 21, 1, 6, dq_flag=True, scan_order=1)
    levels, codeword, points = coded(spec)
    wrong = list(points)
    wrong[place] = change(points[place])
    tensor, _ = decoded(codeword, spec, wrong, threads)
    np.testing.assert_array_equal(tensor.levels, levels)
    assert tensor.entry_points == points


@pytest.mark.parametrize("points", [(), (EntryPoint(1, 0, 9),), (EntryPoint(1, 0, 9),) * 40])
def test_too_few_and_too_many_points(points):
    spec = TensorSpec(90, 21, 1, 6, scan_order=1)
    levels, codeword, expected = coded(spec)
    tensor, _ = decoded(codeword, spec, points, 4)
    np.testing.assert_array_equal(tensor.levels, levels)
    assert tensor.entry_points == expected
