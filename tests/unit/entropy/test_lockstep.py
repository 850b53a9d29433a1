# SPDX-License-Identifier: Apache-2.0
"""Native core and reference coder in step: bytes, levels, choices and the coder's whole state."""

import numpy as np
import pytest

from nnrvideo.entropy import (
    TensorChoices,
    TensorSpec,
    _reference,
    backend,
    estimate_bits,
    search,
    search_init_indices,
)
from nnrvideo.entropy.quant import contract_levels, expand_levels

pytestmark = pytest.mark.skipif(backend.native is None, reason="the native core is not built")

CASES = {
    "plain": {},
    "dq": {"dq_flag": True},
    "blocks": {"scan_order": 1, "dq_flag": True},
    "big blocks": {"scan_order": 2},
    "first edition": {"general_profile_idc": 0},
    "nncodec 1": {"general_profile_idc": 0, "nncodec1": True, "scan_order": 1},
    "one flag": {"unary_length": 1},
    "many flags": {"unary_length": 200},
    "codebook": {"codebook_size": 41, "codebook_zero_offset": 20},
    "temporal": {"parent_node_id_present_flag": True, "reference": True},
    "history": {"parent_node_id_present_flag": True, "history": True},
    "both": {
        "parent_node_id_present_flag": True,
        "reference": True,
        "history": True,
        "dq_flag": True,
    },
}


def same_state(one, other):
    a, b = one.state(), other.state()
    assert (a.range, a.value, a.bits) == (b.range, b.value, b.bits) if hasattr(a, "bits") else True
    for field in a.__dataclass_fields__:
        np.testing.assert_array_equal(getattr(a, field), getattr(b, field))


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("seed", range(4))
def test_both_coders_agree(name, seed):
    random = np.random.default_rng([seed, len(name)])
    rows, cols = int(random.integers(2, 40)), int(random.integers(2, 30))
    options = {"general_profile_idc": 1, "unary_length": 11, **CASES[name]}
    if options.get("reference"):
        options["reference"] = random.integers(-3, 4, (rows, cols)).astype(np.int32)
    history = bool(options.get("history"))
    if history:
        options["history"] = random.integers(0, 2, (rows, cols)).astype(np.uint8)
    spec = TensorSpec(rows, cols, **options)
    spread = (0.4, 3.0, 9.0, 4.0)[seed]
    levels = np.clip(np.rint(random.laplace(0, spread, (rows, cols))), -20, 20).astype(np.int32)
    levels[random.random(rows) < 0.3] = 0
    if spec.dq_flag:  # any coded values are legal; levels follow from them
        levels = expand(levels, spec)
    skip = None
    if spec.has_skip_flags and not (spec.dq_flag and spec.scan_order):
        skip = ~levels.any(axis=1)
    indices = tuple(int(i) for i in random.integers(0, 9, 500))
    choices = TensorChoices(indices[: count(spec, levels, history)], skip, history)

    encoders = _reference.CabacEncoder(), backend.native.CabacEncoder()
    for encoder in encoders:
        encoder.iae(-17, 8)
        encoder.tensor(levels, spec, choices)
    same_state(*encoders)
    codewords = [encoder.terminate() for encoder in encoders]
    assert codewords[0] == codewords[1]

    decoders = [m.CabacDecoder(codewords[0]) for m in (_reference, backend.native)]
    found = []
    for decoder in decoders:
        assert decoder.iae(8) == -17
        found.append(decoder.tensor(spec))
    same_state(*decoders)
    np.testing.assert_array_equal(found[0].levels, levels)
    np.testing.assert_array_equal(found[1].levels, levels)
    assert found[0].choices.init_indices == found[1].choices.init_indices == choices.init_indices
    assert found[0].entry_points == found[1].entry_points
    assert {d.terminate() for d in decoders} == {len(codewords[0])}


def expand(values, spec):
    return expand_levels(values, spec.scan_order) if spec.scan_order else expand_levels(values)


def count(spec, levels, history):
    """Signalled contexts, as a decoder finds them when nothing is chosen."""
    encoder = _reference.CabacEncoder()
    encoder.tensor(levels, spec, TensorChoices((), None, history))
    found = _reference.CabacDecoder(encoder.terminate()).tensor(spec)
    return len(found.choices.init_indices)


def test_contract_inverts_expand():
    values = np.random.default_rng(2).integers(-9, 10, (7, 11)).astype(np.int32)
    np.testing.assert_array_equal(contract_levels(expand_levels(values)), values)


@pytest.mark.parametrize("scan_order", [0, 1])
def test_sampled_search(scan_order):
    """Both backends look at the same segments, and a sample finds nearly what all of it finds."""
    levels = np.random.default_rng(2).integers(-4, 5, (200, 40)).astype(np.int32)
    spec = TensorSpec(200, 40, 1, 6, scan_order=scan_order)
    for stride in (1, 3, 7):
        sampled = search_init_indices(levels, spec, stride=stride)
        assert sampled == search._search_reference(levels, spec, TensorChoices(), stride)
    everything = estimate_bits(levels, spec, TensorChoices(search_init_indices(levels, spec)))
    assert estimate_bits(levels, spec, TensorChoices(sampled)) < 1.01 * everything


def test_search_refuses_a_stride_of_nothing():
    with pytest.raises(ValueError, match="stride"):
        search_init_indices(np.zeros((1, 1), np.int32), TensorSpec(1, 1, 1, 6), stride=0)
