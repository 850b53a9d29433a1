# SPDX-License-Identifier: Apache-2.0
"""Any levels under any specification survive the coder; any bytes are decoded or refused."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from nnrvideo.entropy import (
    TensorChoices,
    TensorSpec,
    choose_row_skip_flags,
    contract_levels,
    decoder,
    dependent_quantise,
    dequantise,
    encoder,
    estimate_bits,
    expand_levels,
    search_init_indices,
    step_size,
    uniform_quantise,
)
from nnrvideo.errors import BitstreamError

SHAPES = st.tuples(st.integers(1, 14), st.integers(1, 14))
SIZES = st.sampled_from([1, 2, 9, 300, 2**20, 2**31 - 1])
PATIENT = settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@st.composite
def tensors(draw, *, dq=st.booleans()):
    """Levels and a specification under which they can be coded."""
    shape, largest = draw(SHAPES), draw(SIZES)
    dq_flag = draw(dq)
    if dq_flag:
        largest = min(largest, 2**29)  # levels are about twice what is coded
    elements = st.one_of(st.just(0), st.integers(-largest, largest))
    levels = draw(arrays.arrays(np.int32, shape, elements=elements))
    spec = TensorSpec(
        *shape,
        general_profile_idc=draw(st.integers(0, 1)),
        unary_length=draw(st.integers(1, 30)),
        dq_flag=dq_flag,
        scan_order=draw(st.integers(0, 4)),
    )
    if dq_flag:
        levels = expand_levels(levels, spec.scan_order)
    return levels, spec


def coded(levels, spec, choices) -> bytes:
    writer = encoder()
    writer.tensor(levels, spec, choices)
    return writer.terminate()


@PATIENT
@given(tensors(), st.booleans())
def test_levels_and_choices_survive(case, searched):
    levels, spec = case
    choices = TensorChoices(row_skip_flags=choose_row_skip_flags(levels, spec))
    if searched:
        indices = search_init_indices(levels, spec, choices)
        choices = TensorChoices(indices, choices.row_skip_flags)
    codeword = coded(levels, spec, choices)
    reader = decoder(codeword + b"what follows is not ours")
    decoded = reader.tensor(spec)
    assert reader.terminate() == len(codeword)
    np.testing.assert_array_equal(decoded.levels, levels)
    again = coded(decoded.levels, spec, decoded.choices)
    assert again == codeword


@PATIENT
@given(tensors())
def test_estimate_is_near_the_size(case):
    levels, spec = case
    bits = estimate_bits(levels, spec)
    assert abs(bits - 8 * len(coded(levels, spec, TensorChoices()))) <= 40 + 0.1 * bits


@PATIENT
@given(SHAPES, st.binary(max_size=60), st.integers(1, 20), st.booleans(), st.integers(0, 4))
def test_any_bytes(shape, data, unary_length, dq_flag, scan_order):
    spec = TensorSpec(
        *shape, general_profile_idc=1, unary_length=unary_length, dq_flag=dq_flag,
        scan_order=scan_order,
    )  # fmt: skip
    try:
        reader = decoder(data)
        decoded = reader.tensor(spec)
        size = reader.terminate()
    except BitstreamError:
        return
    assert size <= len(data)
    assert decoded.levels.shape == shape
    # What a decoder accepts can be written again; a foreign encoder may have chosen otherwise
    # only where the syntax leaves a choice, and those choices are in the result.
    assert coded(decoded.levels, spec, decoded.choices) == data[:size]


@PATIENT
@given(tensors(dq=st.just(False)))
def test_contraction_undoes_expansion(case):
    levels, spec = case
    levels = np.clip(levels, -(2**29), 2**29)
    expanded = expand_levels(levels, spec.scan_order)
    np.testing.assert_array_equal(contract_levels(expanded, spec.scan_order), levels)


VALUES = arrays.arrays(
    np.float32, SHAPES, elements=st.floats(-100, 100, width=32, allow_subnormal=False)
)


@PATIENT
@given(VALUES, st.integers(-60, 8), st.integers(0, 7))
def test_uniform_error_is_half_a_step(values, qp, density):
    step = step_size(qp - (10 << density), density)
    if float(np.abs(values).max()) / float(step) > 2**30:
        return
    error = np.abs(dequantise(uniform_quantise(values, step), step) - values)
    assert (error <= 0.5 * float(step) + 1e-6 * np.abs(values)).all()


PATHS = np.array(
    [expand_levels(np.array([k], np.int32))[0] for k in itertools.product(range(-4, 5), repeat=4)]
)
"""Levels of every path of four values through the trellis, as far as small values need them."""


@PATIENT
@given(
    arrays.arrays(np.float32, (1, 4), elements=st.floats(-5, 5, width=32)),
    st.integers(-6, 3),
)
def test_dependent_quantisation_finds_the_best_path(values, exponent):
    step = np.float32(2.0**exponent)
    levels = dependent_quantise(values * step, step)
    contract_levels(levels)  # raises off the path
    best = ((PATHS - values.astype(np.float64)) ** 2).sum(axis=1).min()
    found = ((levels - values.astype(np.float64)) ** 2).sum()
    assert found <= best * (1 + 1e-5) + 1e-9
