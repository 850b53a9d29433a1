# SPDX-License-Identifier: Apache-2.0
"""Round trips of arbitrary tensors, and arbitrary bytes that may raise nothing but our errors."""

from __future__ import annotations

import json

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from nnrvideo import BitstreamError, LimitExceededError, Limits, UnsupportedFeatureError, nnc
from nnrvideo.entropy import step_size

OURS = (BitstreamError, UnsupportedFeatureError, LimitExceededError)
SMALL = Limits(max_elements=4096, max_total_elements=16384, max_topology_bytes=1 << 16)
QUIET = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

names = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12)
shapes = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=6)
floats = hnp.arrays(
    np.float32, shapes, elements=st.floats(-1000, 1000, width=32, allow_subnormal=False)
)
integers = hnp.arrays(np.int32, shapes, elements=st.integers(-(2**31) + 1, 2**31 - 1))
any_floats = hnp.arrays(np.float32, shapes, elements=st.floats(width=32))
choices = st.builds(
    nnc.EncodeSettings,
    preset=st.sampled_from(["fast", "medium", "slow", "placebo"]),
    codebook=st.sampled_from([None, "never", "auto", "always"]),
    qp=st.integers(-60, 20),
    nonweight_qp=st.integers(-60, 0),
    dependent_quantisation=st.booleans(),
    cabac_unary_length_minus1=st.sampled_from([None, 0, 1, 10, 255]),
    row_skipping=st.booleans(),
    search=st.booleans(),
    scan_order=st.integers(0, 4),
    node_ids=st.booleans(),
    profile=st.integers(0, 1),
    max_unit_bytes=st.sampled_from([None, 40, 100, 1400]),
)

SEEDS = [
    nnc.encode(
        {
            "w": np.arange(-12, 12, dtype=np.float32).reshape(4, 6),
            "b": np.array([0.5, -0.25], np.float32),
            "i": np.array([[1, -2], [3, 100]], np.int32),
        },
        nnc.EncodeSettings(
            profile=profile, scan_order=scan_order, qp=-8, nonweight_qp=-8, max_unit_bytes=size
        ),
        topology=nnc.TopologyPayload(storage, 1, b"graph" * 9),
    )
    for profile, scan_order, storage, size in (
        (1, 0, 2, None),
        (0, 1, 0, None),
        (1, 1, 0, None),
        (1, 0, 2, 20),
    )
]


@QUIET
@given(st.dictionaries(names, floats | integers, max_size=4), choices)
def test_round_trip(tensors, chosen):
    stream = nnc.encode(tensors, chosen)
    decoded = nnc.decode(stream)
    assert list(decoded.tensors) == list(tensors)
    assert nnc.recode(decoded) == stream
    assert nnc.write_units(nnc.parse_units(stream)) == stream
    for name, array in tensors.items():
        found = decoded.tensors[name]
        assert found.shape == (array.shape or (1,))
        assert found.dtype == array.dtype
        if array.dtype == np.int32:
            np.testing.assert_array_equal(found, np.atleast_1d(array))
        elif array.size:
            qp = chosen.qp if array.ndim > 1 else chosen.nonweight_qp
            # A path of the trellis may be two steps off where it must change its state, and what
            # the rate makes cheaper one more.
            bound = float(step_size(qp, 2)) * (3.0 if chosen.dependent_quantisation else 1.5)
            error = np.abs(found.astype(np.float64) - np.atleast_1d(array)).max()
            assert error <= bound + 1000 * 2.0**-23


@QUIET
@given(st.dictionaries(names, any_floats, max_size=4))
def test_lossless_keeps_every_bit(tensors):
    decoded = nnc.decode(nnc.encode(tensors, nnc.EncodeSettings(lossless=True)))
    for name, array in tensors.items():
        assert decoded.tensors[name].tobytes() == array.tobytes()


@QUIET
@given(st.data(), shapes, st.integers(-40, -8), st.sampled_from(["always", "auto"]))
def test_predicted_updates(data, shape, qp, predict):
    """As near as asked for after any history, whole again from the bytes, and not by chance."""
    chosen = nnc.EncodeSettings(qp=qp, nonweight_qp=qp, dependent_quantisation=False, preset="fast")
    state = nnc.DecoderState()
    kind = data.draw(st.sampled_from([np.float32, np.int32]))
    real = st.floats(-100, 100, width=32, allow_subnormal=False)
    elements = real if kind == np.float32 else st.integers(-(2**30) + 1, 2**30 - 1)
    array = hnp.arrays(kind, shape, elements=elements)
    for wanted in data.draw(st.lists(array, min_size=1, max_size=4)):
        stream = nnc.encode_update({"t": wanted}, state, chosen, predict=predict)
        found = nnc.decode(stream, state=state)
        assert nnc.recode(found) == stream
        values = found.network_tensors().get("t", np.zeros(shape or (1,), kind))
        error = np.abs(values.astype(np.float64) - np.atleast_1d(wanted)).max(initial=0)
        bound = 0 if kind == np.int32 else 0.51 * float(step_size(qp, 2)) + 200 * 2.0**-23
        assert error <= bound


singles = st.floats(width=32, allow_nan=False, allow_infinity=False)
numbers = st.integers(0, 2**32 - 1)
many = st.lists(singles, max_size=4)
maps = st.fixed_dictionaries(
    {},
    optional={
        "validation_set_performance": singles,
        "sparsification_performance_map": st.lists(
            st.fixed_dictionaries(
                {
                    "sparsification_threshold": singles,
                    "non_zero_ratio": singles,
                    "spm_nn_accuracy": singles,
                    "spm_class_bitmask": numbers,
                    "spm_nn_class_accuracy": many,
                }
            ),
            max_size=3,
        ),
        "decomposition_performance_map": st.lists(
            st.fixed_dictionaries(
                {
                    "mse_threshold": singles,
                    "dpm_nn_accuracy": singles,
                    "nn_reduction_ratio": singles,
                    "dpm_nn_class_accuracy": many,
                }
            ),
            max_size=3,
        ),
    },
)


@QUIET
@given(maps)
def test_performance_maps(facts):
    parameters = nnc.performance_from_json(facts)
    stream = nnc.write_units([nnc.StartUnit(), parameters])
    (_, found) = nnc.parse_units(stream)
    assert json.loads(json.dumps(nnc.performance_to_json(found))) == facts


plain = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3)
keys = st.sampled_from(
    ["performance_metric_type", "pruning_performance_map", "pruning_ratio", "ppm_nn_accuracy", "x"]
)


@QUIET
@given(st.recursive(plain, lambda each: st.lists(each, max_size=3) | st.dictionaries(keys, each)))
def test_any_json_is_a_map_or_refused(facts):
    try:
        parameters = nnc.performance_from_json(facts)
    except ValueError as error:
        assert str(error)
    else:
        assert nnc.write_units([nnc.StartUnit(), parameters])


def _must_be_ours(data: bytes) -> None:
    try:
        decoded = nnc.decode(data, limits=SMALL)
        decoded.network_tensors()
    except OURS as error:
        assert str(error)
    else:
        assert sum(array.size for array in decoded.tensors.values()) <= SMALL.max_total_elements


@QUIET
@given(st.binary(max_size=200))
def test_any_bytes(data):
    _must_be_ours(data)


@QUIET
@given(st.binary(max_size=80), st.sampled_from(range(1, 8)))
def test_any_unit_in_a_stream(content, unit_type):
    start, mps = SEEDS[0][:4], SEEDS[0][4:12]
    size = (3 + len(content)).to_bytes(2, "big")
    _must_be_ours(start + mps + size + bytes([unit_type << 2 | 2]) + content)


@QUIET
@given(
    st.sampled_from(SEEDS),
    st.lists(st.tuples(st.integers(0, 10_000), st.integers(1, 255)), min_size=1, max_size=6),
)
def test_damaged_streams(seed, damage):
    data = bytearray(seed)
    for position, mask in damage:
        data[position % len(data)] ^= mask
    _must_be_ours(bytes(data))


@QUIET
@given(st.sampled_from(SEEDS), st.lists(st.integers(1, 40), max_size=60))
def test_portions_do_not_matter(seed, sizes):
    reader = nnc.NncReader()
    units = []
    position = 0
    for size in [*sizes, len(seed)]:
        reader.feed(seed[position : position + size])
        position += size
        while (unit := reader.next_unit()) is not nnc.NEED_DATA:
            units.append(unit)
    reader.close()
    assert units == nnc.parse_units(seed)
