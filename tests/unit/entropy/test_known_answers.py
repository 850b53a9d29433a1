# SPDX-License-Identifier: Apache-2.0
"""Codewords worked out by hand or by NNCodec; both backends must write and read exactly these."""

import numpy as np
import pytest

from nnrvideo.entropy import TensorChoices, TensorSpec, _reference, backend

BACKENDS = [_reference] + ([backend.native] if backend.native is not None else [])
each_backend = pytest.mark.parametrize("coder", BACKENDS, ids=lambda m: m.__name__.split(".")[-1])


@each_backend
@pytest.mark.parametrize(
    ("count", "value", "codeword"),
    [
        (None, 0, "fe80"),
        (8, -15, "f10d80"),
        (8, 0, "00fe80"),
        (13, 4095, "7f7ffc"),
        (6, -32, "837a"),
        (16, 0x1234, "1222ca80"),
    ],
)
def test_bypass_values(coder, count, value, codeword):
    encoder = coder.CabacEncoder()
    if count is not None:
        encoder.iae(value, count)
    assert encoder.terminate().hex() == codeword
    decoder = coder.CabacDecoder(bytes.fromhex(codeword))
    if count is not None:
        assert decoder.iae(count) == value
    assert decoder.terminate() == len(codeword) // 2


@each_backend
@pytest.mark.parametrize(
    ("levels", "unary", "profile", "skip", "codeword"),
    [
        ([[0]], 1, 1, False, "8d013880"),
        ([[1]], 1, 1, False, "8d00aae0"),
        ([[-1]], 1, 1, False, "8d005ce0"),
        ([[0], [0], [0], [0]], 10, 1, False, "8d002f1c"),
        ([[5], [-3], [0], [1]], 1, 1, False, "8d00639cb680"),
        ([[5], [-3], [0], [1]], 10, 1, False, "8d00165dc680"),
        ([[1, 2], [0, 0], [0, -7]], 2, 1, False, "46803d693b78"),
        ([[1, 2], [0, 0], [0, -7]], 2, 1, True, "fa2004abd53e"),
        ([[1, 2], [0, 0], [0, -7]], 2, 0, False, "8d007ad276f0"),
        ([[1000000], [-1000000]], 3, 1, False, "8d003cc0036c87304000881a0a70"),
    ],
)
def test_tensors(coder, levels, unary, profile, skip, codeword):
    values = np.array(levels, np.int32)
    spec = TensorSpec(*values.shape, general_profile_idc=profile, unary_length=unary)
    flags = ~values.any(axis=1) if skip else None
    encoder = coder.CabacEncoder()
    encoder.tensor(values, spec, TensorChoices(row_skip_flags=flags))
    assert encoder.terminate().hex() == codeword
    decoder = coder.CabacDecoder(bytes.fromhex(codeword))
    decoded = decoder.tensor(spec)
    np.testing.assert_array_equal(decoded.levels, values)
    assert decoder.terminate() == len(codeword) // 2
