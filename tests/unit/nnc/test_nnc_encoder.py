# SPDX-License-Identifier: Apache-2.0
"""The encoder: what it promises about values, and what it refuses by name."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from nnrvideo import nnc
from nnrvideo.entropy import BACKEND, step_size
from nnrvideo.nnc.elements import Role

RANDOM = np.random.default_rng(7)
WEIGHT = RANDOM.laplace(0, 0.1, (12, 6, 3, 3)).astype(np.float32)


def _round_trip(array, **settings):
    stream = nnc.encode({"t": array}, nnc.EncodeSettings(**settings))
    decoded = nnc.decode(stream)
    assert nnc.recode(decoded) == stream
    return decoded.tensors["t"]


@pytest.mark.parametrize("scan_order", [0, 1, 2])
@pytest.mark.parametrize("profile", [0, 1])
@pytest.mark.parametrize(("dependent", "bound"), [(False, 0.5), (True, 1.5)])
def test_error_is_bounded_by_the_step(dependent, bound, profile, scan_order):
    values = _round_trip(
        WEIGHT,
        qp=-20,
        rate_weight=0,
        dependent_quantisation=dependent,
        profile=profile,
        scan_order=scan_order,
    )
    step = float(step_size(-20, 2))
    assert np.abs(values - WEIGHT).max() <= bound * step * (1 + 1e-6)


def test_dependent_quantisation_is_closer_at_the_same_step_of_its_quantisers():
    # Its two quantisers are each twice as coarse, so the fair comparison is four QP apart.
    uniform = _round_trip(WEIGHT, qp=-20, dependent_quantisation=False)
    dependent = _round_trip(WEIGHT, qp=-24, dependent_quantisation=True)
    assert np.square(dependent - WEIGHT).mean() < np.square(uniform - WEIGHT).mean()


@pytest.mark.parametrize(
    "array",
    [
        np.array([np.nan, np.inf, -np.inf, -0.0, 1e-45, 3.4e38], np.float32),
        np.float16([1.5, -np.inf, 6e-8]),
        np.array([0.5, -3.0]),
        np.array([2**31 - 1, -(2**31) + 1, 0], np.int64),
        np.array([[-128, 127]], np.int8),
        np.array([-32768], np.int16),
        np.zeros((0, 3), np.float32),
        np.zeros((3, 0), np.float32),
    ],
)
def test_lossless(array):
    found = _round_trip(array, lossless=True)
    assert (found.dtype, found.shape) == (array.dtype, array.shape)
    assert found.tobytes() == array.tobytes()


@pytest.mark.parametrize("value", [np.float32(2.5), np.int32(7), np.float64(-1.0)])
def test_a_scalar_becomes_one_dimension(value):
    found = _round_trip(value)
    assert (found.shape, found.dtype) == ((1,), value.dtype)
    assert found[0] == pytest.approx(value, abs=1e-5)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.array([1.0, np.nan], np.float32), "NaN or infinity"),
        (np.array([np.inf], np.float16), "NaN or infinity"),
        (np.array([1e300]), "NaN or infinity"),
        (np.array([True]), "no data type for bool"),
        (np.array([1], np.uint8), "no data type for uint8"),
        (np.array([2**31]), "31 bits"),
        (np.array([-(2**31)], np.int32), "31 bits"),
    ],
)
def test_refusals_name_the_tensor(array, message):
    with pytest.raises(ValueError, match=f"'bad'.*{message}"):
        nnc.encode({"good": np.zeros(2, np.float32), "bad": array})


def test_lossless_refuses_what_binary32_cannot_hold():
    with pytest.raises(ValueError, match="'bad'.*not binary32"):
        nnc.encode({"bad": np.array([0.1])}, nnc.EncodeSettings(lossless=True))


@pytest.mark.parametrize("density", range(8))
def test_base_qp_shifts_the_window(density):
    # -40 octaves are outside of what qp_delta reaches from base 0, at every density.
    qp = -40 << density
    stream = nnc.encode(
        {"t": WEIGHT[:1] * 2**-30},
        nnc.EncodeSettings(qp=qp, qp_density=density, dependent_quantisation=False),
    )
    mps = nnc.parse_units(stream)[1]
    assert mps.quantization.quantization_parameter < 0
    found = nnc.decode(stream)
    assert found.coded[0][0].qp == qp
    assert np.abs(found.tensors["t"] - WEIGHT[:1] * 2**-30).max() <= 2.0**-41 * (1 + 1e-6)


def test_base_qp_is_zero_where_that_reaches():
    mps = nnc.parse_units(nnc.encode({"t": WEIGHT}))[1]
    assert mps.quantization.quantization_parameter == 0


def test_qps_too_far_apart_are_refused():
    settings = nnc.EncodeSettings(qp_density=0, qp_per_tensor={"a": -40, "b": 40})
    with pytest.raises(ValueError, match="raise the density"):
        nnc.encode({"a": WEIGHT * 1e-5, "b": WEIGHT}, settings)


def test_qp_without_a_step_is_refused():
    with pytest.raises(ValueError, match="'t'.*no step size"):
        nnc.encode({"t": WEIGHT}, nnc.EncodeSettings(qp=-1000))


def test_qp_is_raised_where_levels_need_31_bits(caplog):
    big = np.array([[3e38, -1.0], [0.0, 2.0]], np.float32)
    stream = nnc.encode({"big": big}, nnc.EncodeSettings(qp=-38))
    decoded = nnc.decode(stream)
    assert decoded.coded[0][0].qp > -38
    assert abs(decoded.tensors["big"][0, 0] / big[0, 0] - 1) < 1e-6
    assert "QP raised" in caplog.text


def test_qp_per_tensor_and_by_rank():
    tensors = {"w": WEIGHT, "x": WEIGHT, "b": WEIGHT[0, 0, 0]}
    settings = nnc.EncodeSettings(qp=-10, nonweight_qp=-50, qp_per_tensor={"x": -30})
    coded = nnc.decode(nnc.encode(tensors, settings)).coded
    assert [unit[0].qp for unit in coded] == [-10, -30, -50]


def test_rows_of_zeros_are_skipped_where_that_pays():
    sparse = WEIGHT.copy()
    sparse[2:] = 0
    with_flags = nnc.encode({"t": sparse}, nnc.EncodeSettings(qp=-20))
    without = nnc.encode({"t": sparse}, nnc.EncodeSettings(qp=-20, row_skipping=False))
    assert len(with_flags) < len(without)
    flags = nnc.decode(with_flags).coded[0][0].choices.row_skip_flags
    np.testing.assert_array_equal(flags, [False] * 2 + [True] * 10)
    assert not nnc.decode(with_flags).tensors["t"][2:].any()


def test_search_never_costs():
    long = nnc.encode({"t": WEIGHT}, nnc.EncodeSettings(search=False))
    assert len(nnc.encode({"t": WEIGHT})) < len(long)


def test_rate_weight_trades_error_for_bytes():
    streams = [
        nnc.encode({"t": WEIGHT}, nnc.EncodeSettings(qp=-20, rate_weight=weight))
        for weight in (0.0, 4.0)
    ]
    assert len(streams[1]) < len(streams[0])
    errors = [np.square(nnc.decode(s).tensors["t"] - WEIGHT).mean() for s in streams]
    assert errors[1] > errors[0]


def test_vectors_have_no_block_scan():
    for array in (WEIGHT[:, 0, 0, 0], WEIGHT[:, :1, 0, 0], WEIGHT[:1]):
        stream = nnc.encode({"t": array}, nnc.EncodeSettings(scan_order=1))
        assert nnc.parse_units(stream)[-1].scan_order == 0


def test_node_ids():
    unit = nnc.parse_units(nnc.encode({"a": WEIGHT, "b": WEIGHT}))[-1]
    assert unit.node_id == nnc.NodeId(0, 1, 0)
    unit = nnc.parse_units(nnc.encode({"a": WEIGHT}, nnc.EncodeSettings(node_ids=False)))[-1]
    assert unit.node_id is None
    unit = nnc.parse_units(nnc.encode({"a": WEIGHT}, nnc.EncodeSettings(profile=0)))[-1]
    assert unit.node_id is None


def test_nothing_but_tensors_without_a_topology():
    units = nnc.parse_units(nnc.encode({"a": WEIGHT}))
    assert [unit.header.type_name for unit in units] == ["NNR_STR", "NNR_MPS", "NNR_NDU"]


def test_no_tensors():
    assert dict(nnc.decode(nnc.encode({})).tensors) == {}


@pytest.mark.parametrize(
    "wrong",
    [
        {"qp_density": 8},
        {"cabac_unary_length_minus1": 256},
        {"scan_order": 5},
        {"profile": 2},
        {"device_id": -1},
        {"rate_weight": float("nan")},
    ],
)
def test_settings_are_checked(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        nnc.EncodeSettings(**wrong)


def test_decoded_tensors_are_read_only():
    found = nnc.decode(nnc.encode({"t": WEIGHT})).tensors["t"]
    with pytest.raises(ValueError, match="read-only"):
        found[0] = 0


@pytest.mark.parametrize("preset", ["fast", "medium", "slow", "placebo"])
def test_presets_decode_alike_whatever_the_threads(preset):
    random = np.random.default_rng(8)
    size = 80 if BACKEND == "native" else 4  # enough for threads to be used
    tensors = {f"t{i}": random.laplace(0, 0.1, (24, size + i, 3, 3)) for i in range(4)}
    tensors = {name: array.astype(np.float32) for name, array in tensors.items()}
    one, two = (
        nnc.encode(tensors, nnc.EncodeSettings(preset=preset, qp=-24, threads=threads))
        for threads in (1, 3)
    )
    assert one == two
    decoded = nnc.decode(one)
    assert nnc.recode(decoded) == one
    for name, array in tensors.items():
        assert np.square(decoded.tensors[name] - array).mean() < float(step_size(-24, 2)) ** 2


def test_slower_presets_are_better_at_equal_error():
    """Bytes at the error of the fastest preset, along the slope of six decibels a bit."""
    random = np.random.default_rng(1)
    weight = random.laplace(0, 0.05, (64, 32, 3, 3)) * random.uniform(0.1, 1, (64, 1, 1, 1))
    weight = weight.astype(np.float32)

    def cost(preset):
        stream = nnc.encode({"t": weight}, nnc.EncodeSettings(preset=preset, qp=-20))
        error = np.square(nnc.decode(stream).tensors["t"] - weight).mean()
        return 8 * len(stream) + weight.size * np.log2(error) / 2

    fast, medium, slow = (cost(preset) for preset in ("fast", "medium", "slow"))
    assert medium < fast - 500
    assert slow < medium + 200  # bits of 40 000: nothing to speak of on stationary values


def test_few_distinct_values_get_a_codebook():
    random = np.random.default_rng(8)
    weight = random.choice(np.float32([-0.9, -0.1, 0.0, 0.11, 0.75]), (40, 60))
    plain = nnc.encode({"t": weight}, nnc.EncodeSettings(qp=-24, codebook="never"))
    stream = nnc.encode({"t": weight}, nnc.EncodeSettings(qp=-24, codebook="auto"))
    decoded = nnc.decode(stream)
    assert len(decoded.units[-1].codebook.entries) == 5
    assert len(stream) < 0.9 * len(plain)
    assert np.abs(decoded.tensors["t"] - weight).max() <= float(step_size(-28, 2)) / 2 * 1.01
    assert nnc.recode(decoded) == stream


def test_a_codebook_is_made_where_it_is_asked_for():
    for array in (WEIGHT, WEIGHT[0, 0, 0], np.zeros((3, 4), np.float32), np.zeros(1, np.float32)):
        decoded = nnc.decode(nnc.encode({"t": array}, nnc.EncodeSettings(codebook="always")))
        assert decoded.units[-1].codebook is not None
        np.testing.assert_allclose(decoded.tensors["t"], array, atol=1e-3)


def test_vectors_are_as_fine_as_they_must_be():
    random = np.random.default_rng(8)
    tensors = {
        "weight": WEIGHT,
        "bias": random.normal(0, 0.3, 64).astype(np.float32),
        "variance": (10.0 ** random.uniform(-4, 1, 64)).astype(np.float32),
        "slope": np.float32([0.2371]),
    }
    found = nnc.decode(nnc.encode(tensors, nnc.EncodeSettings(qp=-24))).tensors
    assert np.abs(found["bias"] - tensors["bias"]).max() < 0.3 / 32
    assert np.abs(found["variance"] / tensors["variance"] - 1).max() < 1 / 16
    assert abs(found["slope"][0] - tensors["slope"][0]) < 1e-5


BLOCK = {
    "w": WEIGHT,
    "b": RANDOM.normal(0, 0.1, 12).astype(np.float32),
    "s": RANDOM.uniform(0.5, 2, 12).astype(np.float32),
}


def test_a_block_is_one_unit_and_shorter():
    tensors = {name: BLOCK[name] for name in ("b", "w")}
    roles = [{Role.WEIGHT: "w", Role.BIAS: "b"}]
    stream = nnc.encode(tensors, blocks=roles)
    decoded = nnc.decode(stream)
    assert [unit.is_block for unit in decoded.units if isinstance(unit, nnc.DataUnit)] == [True]
    assert nnc.recode(decoded) == stream
    assert len(stream) < len(nnc.encode(tensors)) - 8
    for name, array in tensors.items():
        np.testing.assert_allclose(decoded.tensors[name], array, atol=4e-3)


def test_local_scales_are_multiplied_in():
    stream = nnc.encode(BLOCK, blocks=[{Role.WEIGHT: "w", Role.SCALING: "s", Role.BIAS: "b"}])
    found = nnc.decode(stream).network_tensors()
    assert set(found) == {"w", "b"}
    scaled = WEIGHT * BLOCK["s"][:, None, None, None]
    np.testing.assert_allclose(found["w"], scaled, atol=1e-2)


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ({Role.WEIGHT: "w"}, "companion"),
        ({Role.BIAS: "b", Role.SCALING: "s"}, "needs a weight"),
        ({Role.WEIGHT: "w", Role.BIAS: "x"}, "no tensor 'x'"),
        ({Role.WEIGHT: "w", Role.BIAS: "w"}, "in two blocks"),
        ({Role.WEIGHT: "b", Role.BIAS: "w"}, "no vector of 12"),
        ({Role.WEIGHT: "w", Role.BETA: "b"}, "batch norm needs"),
        ({Role.WEIGHT: "w", Role.BIAS: "i"}, "not float32"),
    ],
)
def test_blocks_that_do_not_fit_are_refused(block, message):
    tensors = {**BLOCK, "i": np.zeros(12, np.int32)}
    with pytest.raises(ValueError, match=message):
        nnc.encode(tensors, blocks=[block])


@pytest.mark.parametrize("bits", [1, 4, 8])
def test_bit_depth(bits):
    """Most levels lie within the bits, and not in one less; outliers may exceed them."""
    tensors = {"a": WEIGHT, "b": 100 * WEIGHT, "zeros": np.zeros((3, 3), np.float32)}
    settings = nnc.EncodeSettings(bit_depth=bits, dependent_quantisation=False, rate_weight=0)
    levels = nnc.decode(nnc.encode(tensors, settings)).levels
    most = max(1, 2 ** (bits - 1) - 1)
    for name in ("a", "b"):
        assert most / 2 < np.quantile(np.abs(levels[name]), 0.9995) <= most * 1.3


def test_sparsity():
    found = nnc.decode(nnc.encode({"w": WEIGHT}, nnc.EncodeSettings(sparsity=0.75))).tensors["w"]
    assert 0.75 <= np.mean(found == 0) < 0.8
    large = np.abs(WEIGHT) > np.quantile(np.abs(WEIGHT), 0.76)
    np.testing.assert_allclose(found[large], WEIGHT[large], atol=4e-3)


def test_weak_rows_go():
    weak = WEIGHT.copy()
    weak[[2, 5]] *= 0.05
    data = nnc.encode({"w": weak}, nnc.EncodeSettings(structured_sparsity=0.3))
    decoded = nnc.decode(data)
    assert np.flatnonzero(~decoded.tensors["w"].any(axis=(1, 2, 3))).tolist() == [2, 5]
    assert decoded.coded[0][0].choices.row_skip_flags.sum() == 2


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("scan_order", [0, 1])
def test_low_rank(bias, scan_order):
    """A weight of rank three goes as factors; one of full rank does not."""
    random = np.random.default_rng(8)
    low = random.normal(0, 1, (40, 3)) @ random.normal(0, 0.1, (3, 54))
    tensors = {"low": low.reshape(40, 6, 3, 3).astype(np.float32), "w": WEIGHT}
    tensors["bias"] = random.normal(0, 0.1, 40).astype(np.float32)
    blocks = [{Role.WEIGHT: "low", Role.BIAS: "bias"}] if bias else []
    settings = nnc.EncodeSettings(low_rank=0.9999, scan_order=scan_order)
    stream = nnc.encode(tensors, settings, blocks=blocks)
    decoded = nnc.decode(stream)
    assert nnc.recode(decoded) == stream
    assert {"low_G", "low_H", "w", "bias"} == set(decoded.tensors)
    assert decoded.tensors["low_G"].shape == (40, 3)
    found = decoded.network_tensors()
    assert set(found) == set(tensors)
    for name, value in tensors.items():
        np.testing.assert_allclose(found[name], value, atol=0.02)
    assert len(stream) < 0.6 * len(nnc.encode(tensors, replace(settings, low_rank=0)))


def test_the_parameter_set_may_say_more():
    maps = nnc.decode(
        nnc.encode(
            {"w": WEIGHT},
            parameters=nnc.ModelParameterSet(
                performance_metric_type="PSNR", validation_set_performance=31.5
            ),
        )
    ).units[1]
    assert (maps.performance_metric_type, maps.validation_set_performance) == ("PSNR", 31.5)
    assert maps.quantization == nnc.Quantization(2, 0)


@pytest.mark.parametrize(
    "change",
    [
        {"bit_depth": 0},
        {"sparsity": 2},
        {"structured_sparsity": -1},
        {"preset": "best"},
        {"codebook": "maybe"},
        {"threads": 0},
        {"rate_weight": -1},
    ],
)
def test_settings_out_of_range(change):
    with pytest.raises(ValueError, match=next(iter(change))):
        nnc.EncodeSettings(**change)


def test_batch_norm_in_a_block_is_as_exact_as_alone():
    """Dependent quantisation, which a block has, would double the error at the same step."""
    random = np.random.default_rng(11)
    norm = dict(zip(("beta", "gamma", "mean", "var"), random.uniform(1, 9, (4, 60)), strict=True))
    tensors = {name: value.astype(np.float32) for name, value in norm.items()}
    tensors["w"] = random.normal(0, 1, (60, 5)).astype(np.float32)
    roles = {nnc.Role.BETA: "beta", nnc.Role.GAMMA: "gamma", nnc.Role.MEAN: "mean"}
    block = {nnc.Role.WEIGHT: "w", **roles, nnc.Role.VARIANCE: "var"}
    settings = nnc.EncodeSettings(qp=-8)

    def error(blocks, settings):
        found = nnc.decode(nnc.encode(tensors, settings, blocks=blocks)).network_tensors()
        return np.sqrt(np.mean([np.square(found[name] - tensors[name]) for name in norm]))

    assert error([block], settings) < 1.2 * error([], settings)
    asked = nnc.EncodeSettings(qp=-8, nonweight_qp=-8)  # for every quantiser alike
    assert error([block], asked) > 1.4 * error([block], settings)
