# SPDX-License-Identifier: Apache-2.0
"""Quantisation by distortion and rate: both backends alike, legal paths, and worth its price."""

import itertools

import numpy as np
import pytest

from nnrvideo import entropy
from nnrvideo.entropy import (
    TensorChoices,
    TensorSpec,
    dependent_quantise,
    dequantise,
    estimate_bits,
    expand_levels,
    quantise,
    search_init_indices,
    step_size,
    uniform_quantise,
)
from nnrvideo.entropy import _trellis as reference
from nnrvideo.entropy.backend import native

needs_native = pytest.mark.skipif(native is None, reason="the native core is not built")

CASES = [
    pytest.param({"dq_flag": dq, **options}, id=f"{'dq' if dq else 'uniform'}-{name}")
    for dq in (False, True)
    for name, options in {
        "plain": {},
        "short-unary": {"unary_length": 1},
        "blocks": {"scan_order": 1},
        "first-edition": {"general_profile_idc": 0},
        "rows-skipped": {"skip": True},
        "rows-skipped-in-blocks": {"skip": True, "scan_order": 1},
        "temporal": {"temporal": True},
        "history": {"history": True},
        "all": {"temporal": True, "history": True, "skip": True, "scan_order": 1},
    }.items()
]


def setting(rng, shape, options):
    """A specification and choices for a random tensor of this shape."""
    options = dict(options)
    skip, temporal, history = (options.pop(name, False) for name in ("skip", "temporal", "history"))
    spec = TensorSpec(
        *shape,
        **{"general_profile_idc": 1, "unary_length": 5, **options},
        parent_node_id_present_flag=temporal or history,
        reference=rng.integers(-3, 4, shape, np.int32) if temporal else None,
        history=rng.integers(0, 2, shape, np.uint8) if history else None,
    )
    rows = rng.random(shape[0]) < 0.3 if skip else None
    choices = TensorChoices((), rows, history)
    zeros = np.zeros(shape, np.int32)
    indices = rng.integers(0, 9, len(search_init_indices(zeros, spec, choices)))
    return spec, TensorChoices(tuple(indices.tolist()), rows, history)


@needs_native
@pytest.mark.parametrize("lam", [0.0, 0.8])
@pytest.mark.parametrize("options", CASES)
def test_backends_find_the_same_levels(options, lam):
    rng = np.random.default_rng(7)
    for shape in ((3, 5), (21, 27)):  # the last is longer than the window
        spec, choices = setting(rng, shape, options)
        values = rng.laplace(0, 1.5, shape).astype(np.float32)
        found = quantise(values, 0.7, spec, choices, lam=lam)
        expected = reference.quantise_tensor(values, np.float32(0.7), lam, spec, choices)
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("lam", [0.0, 0.8])
@pytest.mark.parametrize("options", CASES)
def test_levels_can_be_coded(options, lam):
    rng = np.random.default_rng(8)
    spec, choices = setting(rng, (19, 70), options)
    values = rng.laplace(0, 2, (19, 70)).astype(np.float32)
    levels = quantise(values, 1.0, spec, choices, lam=lam)
    encoder = entropy.encoder()
    encoder.tensor(levels, spec, choices)
    decoded = entropy.decoder(encoder.terminate()).tensor(spec)
    np.testing.assert_array_equal(decoded.levels, levels)
    if choices.row_skip_flags is not None:
        assert not levels[choices.row_skip_flags].any()
        kept = ~choices.row_skip_flags
        values, levels = values[kept], levels[kept]
    assert np.sqrt(np.mean((values - levels) ** 2)) < 0.9


def test_trellis_without_rate_is_optimal():
    rng = np.random.default_rng(3)
    for _ in range(20):
        values = rng.normal(0, 1.5, (1, 4)).astype(np.float32)
        levels = dependent_quantise(values, 1.0)
        error = float(((values.astype(np.float64) - levels) ** 2).sum())
        paths = itertools.product(range(-3, 4), repeat=4)
        best = min(
            float(((values - expand_levels(np.array([path], np.int32))) ** 2).sum())
            for path in paths
        )
        assert error == pytest.approx(best, rel=1e-5)


def smallest_error(values):
    """Squared error of the best of all paths, by dynamic programming over the whole tensor."""
    following = [[0, 2], [7, 5], [1, 3], [6, 4], [2, 0], [5, 7], [3, 1], [4, 6]]
    costs = np.array([0.0] + [np.inf] * 7)
    for x in np.abs(values.astype(np.float64)).ravel():
        reached = np.full(8, np.inf)
        for state, parity in itertools.product(range(8), (0, 1)):
            levels = [2 * k - (k > 0) * (state & 1) for k in range(parity, int(x) + 4, 2)]
            error = costs[state] + min((x - level) ** 2 for level in levels)
            target = following[state][parity]
            reached[target] = min(reached[target], error)
        costs = reached
    return costs.min()


def test_windows_leave_no_seam():
    """A tensor of several windows gets the path that one window would find."""
    values = np.random.default_rng(4).normal(0, 3, (1, 20000)).astype(np.float32)
    error = ((dependent_quantise(values, 1.0) - values.astype(np.float64)) ** 2).sum()
    assert error == pytest.approx(smallest_error(values), rel=1e-9)


def test_survivors_that_disagree_are_given_up():
    """Ties everywhere, so that survivors need not meet; the path must stay legal all the same."""
    values = np.zeros((1, 30000), np.float32)
    values[0, ::7] = 0.5
    levels = dependent_quantise(values, 1.0)
    encoder = entropy.encoder()
    encoder.tensor(levels, TensorSpec(1, 30000, 1, 11, dq_flag=True))
    encoder.terminate()


@pytest.mark.parametrize("dq_flag", [False, True])
def test_rate_is_worth_its_distortion(dq_flag):
    """At equal error, fewer bits than a coarser step without rates gives."""
    rng = np.random.default_rng(5)
    scale = np.repeat(rng.uniform(0.1, 1.0, 60), 5)[None]
    values = (rng.laplace(0, 0.7, (100, 300)) * scale).astype(np.float32)
    spec = TensorSpec(100, 300, 1, 8, dq_flag=dq_flag)

    def point(qp, lam):
        step = step_size(qp, 4)
        choices = TensorChoices()
        levels = quantise(values, step, spec)
        if lam:
            choices = TensorChoices(search_init_indices(levels, spec))
            levels = quantise(values, step, spec, choices, lam=lam)
        choices = TensorChoices(search_init_indices(levels, spec))
        return np.mean((values - dequantise(levels, step)) ** 2), estimate_bits(
            levels, spec, choices
        )

    error, bits = point(0, 1.0)
    curve = sorted(point(qp, 0.0) for qp in range(-8, 24, 2))
    plain = np.interp(np.log(error), np.log([e for e, _ in curve]), [b for _, b in curve])
    assert bits < 0.98 * plain


def test_without_rate_scalars_are_rounded():
    values = np.random.default_rng(6).normal(0, 9, (20, 30)).astype(np.float32)
    spec = TensorSpec(20, 30, 1, 8)
    np.testing.assert_array_equal(quantise(values, 0.3, spec), uniform_quantise(values, 0.3))


@pytest.mark.parametrize("lam", [5e-324, 1e-303, 1e-10, 1e300])
def test_any_weight_of_the_rate_gives_a_path(lam):
    values = np.random.default_rng(9).normal(0, 50, (4, 50)).astype(np.float32)
    spec = TensorSpec(4, 50, 1, 8, dq_flag=True)
    entropy.encoder().tensor(quantise(values, 1.0, spec, lam=lam), spec)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"values": np.zeros((3, 2), np.float32)}, "expected float32"),
        ({"values": np.zeros((2, 3), np.float64)}, "expected float32"),
        ({"values": np.full((2, 3), np.nan, np.float32)}, "not finite"),
        ({"values": np.full((2, 3), 1e30, np.float32)}, "31 bits"),
        ({"step": 0.0}, "step"),
        ({"lam": -1.0}, "lam"),
        ({"lam": float("inf")}, "lam"),
        ({"spec": TensorSpec(2, 3, 1, 8, codebook_size=3)}, "codebook"),
    ],
)
def test_refuses(change, message):
    given = {
        "values": np.zeros((2, 3), np.float32),
        "step": 1.0,
        "spec": TensorSpec(2, 3, 1, 8, dq_flag=True),
        "lam": 0.0,
    } | change
    with pytest.raises(ValueError, match=message):
        quantise(given["values"], given["step"], given["spec"], lam=given["lam"])
