# SPDX-License-Identifier: Apache-2.0
"""Decoding by several threads finds the same, and fails the same."""

import numpy as np
import pytest

from nnrvideo import nnc
from nnrvideo.entropy import BACKEND
from nnrvideo.errors import NnrVideoError

RANDOM = np.random.default_rng(3)
SHAPE = (96, 32, 3, 3) if BACKEND == "native" else (4, 4)
TENSORS = {f"t{n}": RANDOM.laplace(0, 0.1, SHAPE).astype(np.float32) for n in range(5)}
STREAM = nnc.encode(TENSORS, nnc.EncodeSettings(preset="fast", qp=-24))


def test_the_same_tensors():
    one, four = (nnc.decode(STREAM, threads=threads) for threads in (1, 4))
    for name, values in one.tensors.items():
        assert four.tensors[name].tobytes() == values.tobytes()
    assert nnc.recode(four) == STREAM


@pytest.mark.parametrize("place", [0.2, 0.5, 0.9])
def test_the_same_error(place):
    broken = bytearray(STREAM)
    broken[int(place * len(broken))] ^= 0x55
    texts = []
    for threads in (1, 4):
        with pytest.raises(NnrVideoError) as caught:
            nnc.decode(bytes(broken), threads=threads)
        texts.append(str(caught.value))
    assert texts[0] == texts[1]


def test_a_unit_that_another_replaces():
    """Two units of one name depend on their order, so nothing is decoded ahead."""
    units = nnc.parse_units(STREAM)
    doubled = nnc.write_units([*units, units[2]])
    assert list(nnc.decode(doubled, threads=4).tensors) == list(TENSORS)
