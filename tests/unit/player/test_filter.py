# SPDX-License-Identifier: Apache-2.0
"""Filters with real networks: patches, bands, memory bounds, layouts, and what is refused."""

from dataclasses import replace

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from nnrvideo.data import base_network
from nnrvideo.errors import LimitExceededError, ModelError, UnsupportedFeatureError
from nnrvideo.limits import Limits
from nnrvideo.model import apply_update, load_onnx, unpack
from nnrvideo.model.element_types import BFLOAT16, UINT4
from nnrvideo.picture import ChromaFormat, ColourDescription, Picture, PictureFormat
from nnrvideo.player.filter import NetworkFilter
from nnrvideo.player.networks import decode_network, load_network
from nnrvideo.runtime import OnnxRuntimeBackend
from nnrvideo.tensors import TensorSet

LIMITS = Limits.desktop()


def build(nnpfc, source, memory=256 << 20, limits=LIMITS):
    network = decode_network(nnpfc, None, limits=limits)
    loaded = load_network(network, nnpfc, source, OnnxRuntimeBackend(threads=1), limits=limits)
    return NetworkFilter(loaded, nnpfc, source, limits=limits, max_memory_bytes=memory)


def same(first, second):
    return first.format == second.format and all(
        np.array_equal(a, b) for a, b in zip(first.planes, second.planes, strict=True)
    )


@pytest.mark.parametrize("padding", range(5))
@pytest.mark.parametrize("size", [(64, 48), (61, 47)])
def test_patches_give_the_samples_of_the_whole(nets, padding, size):
    picture = nets.noise(*size)
    changes = {"nnpfc_padding_type": padding}
    if padding == 4:
        changes["nnpfc_luma_padding_val"] = 17
    whole = build(nets.base(nets.blur(size=5), **changes), picture.format)
    assert whole.plan.count == 1
    patched = build(
        nets.base(
            nets.blur(size=5),
            nnpfc_constant_patch_size_flag=True,
            nnpfc_patch_width_minus1=18,
            nnpfc_patch_height_minus1=12,
            nnpfc_extended_patch_width_cd_delta_minus1=0,
            nnpfc_extended_patch_height_cd_delta_minus1=0,
            **changes,
        ),
        picture.format,
    )
    assert patched.plan.count == 16
    assert same(whole.process(picture), patched.process(picture))


@pytest.mark.parametrize("kind", ["blur", "shuffled", "shipped", "half grid"])
@pytest.mark.parametrize("size", [(64, 48), (61, 47), (62, 50)])
def test_no_surplus_is_filtered_and_the_samples_stay(nets, kind, size):
    """Sizes that a message cannot name are used where the network cannot tell the difference."""
    picture = nets.noise(*size)
    if kind == "shipped":
        network = unpack(base_network()).require_network()
        nnpfc = nets.base(network)
    elif kind == "half grid":
        nnpfc = nets.base(nets.blur(channels=6))
    elif kind == "shuffled":
        weights = {"w": np.random.default_rng(5).normal(0, 0.3, (4, 4, 3, 3)).astype(np.float32)}
        nodes = [
            helper.make_node("SpaceToDepth", ["input"], ["parts"], blocksize=2),
            helper.make_node("Conv", ["parts", "w"], ["mixed"]),
            helper.make_node("DepthToSpace", ["mixed"], ["output"], blocksize=2),
        ]
        nnpfc = nets.base(load_onnx(nets.onnx_model(nodes, weights)))
    else:
        nnpfc = nets.base(nets.blur(size=5))
    network = decode_network(nnpfc, None, limits=LIMITS)
    loaded = load_network(
        network, nnpfc, picture.format, OnnxRuntimeBackend(threads=1), limits=LIMITS
    )
    filters = [
        NetworkFilter(one, nnpfc, picture.format, limits=LIMITS, max_memory_bytes=256 << 20)
        for one in (loaded, replace(loaded, takes_whole=False))
    ]
    exact, declared = (one.plan for one in filters)
    whole = size[0] // 2 * 2, size[1] // 2 * 2
    assert loaded.takes_whole == (kind in ("blur", "half grid") or size == whole)
    if loaded.takes_whole:
        unit = 2 if kind == "half grid" else 1
        assert exact.patch_width == -(-size[0] // unit)
        assert exact.patch_height == -(-size[1] // unit)
        assert exact.patch_width <= declared.patch_width
    assert same(*[one.process(picture) for one in filters])


@pytest.mark.parametrize("memory", [256 << 20, 24 << 10])
@pytest.mark.parametrize("kind", ["blur", "double", "padded with overlap", "patches"])
def test_a_short_look_at_a_network_tells_as_much(nets, kind, memory):
    """Files need no warm runtime: one run on the smallest patch finds the shape of the output."""
    picture = nets.noise(61, 47)
    if kind == "padded with overlap":
        weights = {"w": np.ones((1, 1, 3, 3), np.float32) / 9}
        nodes = [helper.make_node("Conv", ["input", "w"], ["output"], pads=[1, 1, 1, 1])]
        nnpfc = nets.base(load_onnx(nets.onnx_model(nodes, weights)), nnpfc_overlap=3)
    elif kind == "patches":
        nnpfc = nets.base(
            nets.blur(size=5),
            nnpfc_constant_patch_size_flag=True,
            nnpfc_patch_width_minus1=18,
            nnpfc_patch_height_minus1=12,
            nnpfc_extended_patch_width_cd_delta_minus1=0,
            nnpfc_extended_patch_height_cd_delta_minus1=0,
        )
    else:
        nnpfc = nets.base(nets.blur(size=5) if kind == "blur" else nets.upscaler(3))
    network = decode_network(nnpfc, None, limits=LIMITS)
    loaded = load_network(
        network, nnpfc, picture.format, OnnxRuntimeBackend(threads=1), limits=LIMITS
    )
    warm, cold = (
        NetworkFilter(
            loaded, nnpfc, picture.format, limits=LIMITS, max_memory_bytes=memory, warm_up=warm_up
        )
        for warm_up in (True, False)
    )
    assert warm._margin == cold._margin
    assert same(warm.process(picture), cold.process(picture))


@pytest.mark.parametrize("warm_up", [True, False])
def test_either_look_finds_a_network_that_lies(nets, warm_up):
    source = PictureFormat(61, 47)
    honest = nets.base(nets.blur(size=5))
    network = decode_network(honest, None, limits=LIMITS)
    loaded = load_network(network, honest, source, OnnxRuntimeBackend(threads=1), limits=LIMITS)
    with pytest.raises(ModelError, match="the network makes"):
        NetworkFilter(
            replace(loaded, takes_whole=False),
            replace(honest, nnpfc_overlap=1),
            source,
            limits=LIMITS,
            max_memory_bytes=256 << 20,
            warm_up=warm_up,
        )


def test_networks_that_pad_inside_keep_to_declared_sizes(nets):
    weights = {"w": np.ones((1, 1, 3, 3), np.float32)}
    nodes = [helper.make_node("Conv", ["input", "w"], ["output"], pads=[1, 1, 1, 1])]
    network = load_onnx(nets.onnx_model(nodes, weights))
    picture = nets.noise(61, 47)
    nnpfc = nets.base(network, nnpfc_extended_patch_width_cd_delta_minus1=3)
    loaded = load_network(
        network, nnpfc, picture.format, OnnxRuntimeBackend(threads=1), limits=LIMITS
    )
    assert not loaded.takes_whole
    assert build(nnpfc, picture.format).plan.input_width == 64


def test_bands_under_a_memory_bound_give_the_samples_of_the_whole(nets):
    picture = nets.noise(160, 120)
    nnpfc = nets.base(nets.blur(size=5))
    whole = build(nnpfc, picture.format)
    bands = build(nnpfc, picture.format, memory=100_000)
    assert whole.plan.count == 1
    assert bands.plan.rows > 1
    assert same(whole.process(picture), bands.process(picture))


def padding_network(nets, layers=3, **attributes):
    """Convolutions that pad with zeros, so that the network sees where its input ends."""
    rng = np.random.default_rng(3)
    nodes, weights, last = [], {}, "input"
    for layer in range(layers):
        weights[f"w{layer}"] = rng.normal(0.1, 0.2, (1, 1, 3, 3)).astype(np.float32)
        out = "output" if layer == layers - 1 else f"x{layer}"
        nodes.append(
            helper.make_node("Conv", [last, f"w{layer}"], [out], pads=[1] * 4, **attributes)
        )
        last = out
    return load_onnx(nets.onnx_model(nodes, weights))


def test_bands_of_a_network_that_pads_inside_have_no_seams(nets):
    picture = nets.noise(160, 121)
    nnpfc = nets.base(padding_network(nets))
    whole = build(nnpfc, picture.format)
    bands = build(nnpfc, picture.format, memory=60_000)
    assert not whole.bands
    assert len(bands.bands) > 3
    assert same(whole.process(picture), bands.process(picture))


def test_bands_of_a_network_that_pads_and_shuffles_have_no_seams(nets):
    rng = np.random.default_rng(4)
    weights = {
        "w0": rng.normal(0, 0.2, (8, 4, 3, 3)).astype(np.float32),
        "w1": rng.normal(0, 0.2, (16, 8, 3, 3)).astype(np.float32),
    }
    nodes = [
        helper.make_node("SpaceToDepth", ["input"], ["s"], blocksize=2),
        helper.make_node("Conv", ["s", "w0"], ["c"], pads=[1] * 4),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("Conv", ["r", "w1"], ["m"], pads=[1] * 4),
        helper.make_node("DepthToSpace", ["m"], ["output"], blocksize=4),
    ]
    picture = nets.noise(128, 96)
    nnpfc = nets.base(load_onnx(nets.onnx_model(nodes, weights)))
    whole = build(nnpfc, picture.format)
    bands = build(nnpfc, picture.format, memory=350_000)
    assert len(bands.bands) > 1
    assert same(whole.process(picture), bands.process(picture))


@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
def test_bands_of_a_network_that_interpolates_have_no_seams(nets, mode):
    weights = {"w": np.full((1, 1, 3, 3), 0.1, np.float32), "s": np.float32([1, 1, 2, 2])}
    nodes = [
        helper.make_node("Resize", ["input", "", "s"], ["large"], mode=mode),
        helper.make_node("Conv", ["large", "w"], ["output"], pads=[1] * 4),
    ]
    nnpfc = nets.base(load_onnx(nets.onnx_model(nodes, weights)))
    picture = nets.noise(160, 120)
    whole = build(nnpfc, picture.format)
    bands = build(nnpfc, picture.format, memory=150_000)
    assert len(bands.bands) > 1
    assert same(whole.process(picture), bands.process(picture))


def test_network_that_looks_at_the_whole_picture_is_never_cut(nets):
    weights = {"w": np.full((1, 1, 1, 1), 0.5, np.float32)}
    nodes = [
        helper.make_node("GlobalAveragePool", ["input"], ["mean"]),
        helper.make_node("Sub", ["input", "mean"], ["rest"]),
        helper.make_node("Conv", ["rest", "w"], ["output"]),
    ]
    nnpfc = nets.base(load_onnx(nets.onnx_model(nodes, weights)))
    picture = nets.noise(160, 120)
    assert build(nnpfc, picture.format).plan.count == 1
    with pytest.raises(LimitExceededError, match="whole picture"):
        build(nnpfc, picture.format, memory=100_000)


@pytest.mark.parametrize("precision", ["fp32", "auto"])
def test_shipped_network_in_bands_gives_the_samples_of_the_whole(nets, precision):
    from nnrvideo.data import base_network
    from nnrvideo.model import infer_contract, to_nnpfc
    from nnrvideo.player.precision import Precision, PrecisionPolicy

    payload = base_network()
    network = unpack(payload).require_network()
    nnpfc = to_nnpfc(infer_contract(network), None, nnpfc_id=7, payload=payload)
    picture = nets.noise(320, 180)
    results = []
    for memory in (256 << 20, 4 << 20):
        backend = OnnxRuntimeBackend(threads=1)
        policy = PrecisionPolicy(Precision(precision), backend)
        loaded = load_network(
            network, nnpfc, picture.format, backend, limits=LIMITS, precision=policy
        )
        one = NetworkFilter(loaded, nnpfc, picture.format, limits=LIMITS, max_memory_bytes=memory)
        results.append((one.plan.count, one.process(picture)))
    assert results[0][0] == 1 < results[1][0]
    assert same(results[0][1], results[1][1])


def test_batches_of_patches_give_the_samples_of_the_whole(nets):
    picture = nets.noise(64, 48)
    network = nets.blur(size=3, dims=["n", 1, "h", "w"])
    whole = build(nets.base(network), picture.format)
    patched = build(
        nets.base(
            network,
            nnpfc_constant_patch_size_flag=True,
            nnpfc_patch_width_minus1=15,
            nnpfc_patch_height_minus1=15,
            nnpfc_extended_patch_width_cd_delta_minus1=0,
            nnpfc_extended_patch_height_cd_delta_minus1=0,
        ),
        picture.format,
    )
    assert patched.plan.batch > 1
    assert same(whole.process(picture), patched.process(picture))


def test_valid_convolution_against_numpy(nets):
    picture = nets.noise(24, 18)
    network = nets.blur(size=3)
    result = build(nets.base(network), picture.format).process(picture)
    kernel = network.tensors["weight"][0, 0].astype(np.float64)
    padded = np.pad(picture.planes[0], 1, mode="edge").astype(np.float64)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3))
    exact = np.einsum("yxij,ij->yx", windows, kernel)
    assert np.abs(result.planes[0] - exact).max() <= 0.5 + 1e-3
    # Chroma that the network does not make is the decoded one, not a copy of it.
    assert result.planes[1] is picture.planes[1]


@pytest.mark.parametrize("channels", [2, 3, 6])
def test_identity_in_every_order(nets, channels):
    """A network that does nothing must do nothing to any plane, whatever the layout."""
    from onnx import helper

    model = nets.onnx_model(
        [helper.make_node("Conv", ["input", "w"], ["output"])],
        {"w": np.eye(channels, dtype=np.float32).reshape(channels, channels, 1, 1)},
        channels,
        channels,
    )
    from nnrvideo.model import load_onnx

    picture = nets.noise(20, 14)
    result = build(nets.base(load_onnx(model)), picture.format).process(picture)
    assert same(result, picture)


def test_strided_read_only_planes(nets):
    wide = nets.noise(80, 40)
    planes = tuple(plane[:, : plane.shape[1] // 2] for plane in wide.planes)
    for plane in planes:
        plane.flags.writeable = False
    picture = Picture(planes)
    packed = Picture(tuple(np.ascontiguousarray(plane) for plane in planes))
    network = build(nets.base(nets.upscaler(3)), picture.format)
    assert same(network.process(picture), network.process(packed))


def test_results_do_not_share_memory_with_the_next_one(nets):
    network = build(nets.base(nets.blur()), PictureFormat(16, 12))
    first = network.process(nets.noise(seed=1))
    kept = first.planes[0].copy()
    network.process(nets.noise(seed=2))
    assert np.array_equal(first.planes[0], kept)


def test_colour_tags_ride_along_or_are_replaced(nets):
    tags = ColourDescription(1, 1, 1, full_range_flag=True)
    source = nets.noise()
    picture = Picture(source.planes, colour=tags)
    assert build(nets.base(nets.upscaler()), picture.format).process(picture).colour == tags
    changed = nets.base(
        nets.upscaler(),
        nnpfc_separate_colour_description_present_flag=True,
        nnpfc_colour_primaries=9,
        nnpfc_transfer_characteristics=16,
    )
    result = build(changed, picture.format).process(picture)
    assert (result.colour.colour_primaries, result.colour.transfer_characteristics) == (9, 16)
    assert (result.colour.matrix_coeffs, result.colour.full_range_flag) == (1, True)


def test_bit_depth_upsampling_yields_deeper_pictures(nets):
    nnpfc = nets.base(nets.upscaler(), nnpfc_purpose=0x14)
    picture = nets.flat(100)
    result = build(nnpfc, picture.format).process(picture)
    assert result.bit_depth == 10
    assert int(result.planes[0][0, 0]) == round(100 * 1023 / 255)
    assert int(result.planes[1][0, 0]) == 60 * 4


def test_picture_of_another_format_is_the_callers_mistake(nets):
    network = build(nets.base(nets.upscaler()), PictureFormat(16, 12))
    with pytest.raises(ValueError, match="filter is for"):
        network.process(nets.noise(18, 12))


def test_network_that_does_not_do_what_its_message_says(nets):
    lies = nets.base(
        nets.upscaler(scale=2), nnpfc_pic_width_num_minus1=2, nnpfc_pic_height_num_minus1=2
    )
    with pytest.raises(ModelError):
        build(lies, PictureFormat(16, 12))


def test_patch_that_no_memory_holds(nets):
    huge = nets.base(
        nets.blur(),
        nnpfc_constant_patch_size_flag=True,
        nnpfc_patch_width_minus1=32766,
        nnpfc_patch_height_minus1=32766,
        nnpfc_extended_patch_width_cd_delta_minus1=0,
        nnpfc_extended_patch_height_cd_delta_minus1=0,
    )
    with pytest.raises((LimitExceededError, ModelError), match="over the limit"):
        build(huge, PictureFormat(16, 12))


def test_order_that_the_pictures_lack(nets):
    from nnrvideo.errors import NnrVideoError

    nnpfc = nets.base(nets.blur(channels=3))
    with pytest.raises(NnrVideoError):
        build(nnpfc, PictureFormat(16, 12, ChromaFormat.MONO))


def test_update_of_differences_adds_and_of_values_replaces(nets):
    network = nets.upscaler(mark=9)
    change = TensorSet({"bias": np.full(4, 0.25, np.float32)})
    added = network.with_tensors(apply_update(network.tensors, change, differences=True))
    replaced = network.with_tensors(apply_update(network.tensors, change, differences=False))
    assert np.allclose(added.tensors["bias"], 9 / 255 + 0.25)
    assert np.array_equal(replaced.tensors["bias"], change["bias"])
    assert np.array_equal(added.tensors["weight"], network.tensors["weight"])


@pytest.mark.parametrize(
    "tensors", [{"nothing": np.zeros(4, np.float32)}, {"bias": np.zeros((2, 2), np.float32)}]
)
def test_update_that_does_not_fit(nets, tensors):
    with pytest.raises(ModelError, match="does not fit"):
        apply_update(nets.upscaler().tensors, TensorSet(tensors), differences=True)


def foreign_network():
    """Weights in types that travel as digits or that NumPy cannot add to others."""
    values = {
        "half": np.arange(20).reshape(4, 5).astype(BFLOAT16),
        "four": (np.arange(20).reshape(4, 5) % 15).astype(np.int8).astype(UINT4),
    }
    nodes = [helper.make_node("Identity", [name], [f"{name}/out"]) for name in values]
    ports = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, 1, 8, 8]) for n in "xy"]
    nodes.append(helper.make_node("Identity", ["x"], ["y"]))
    stored = [numpy_helper.from_array(value, name) for name, value in values.items()]
    graph = helper.make_graph(nodes, "g", ports[:1], ports[1:], stored)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    return load_onnx(model.SerializeToString())


def test_updates_of_types_that_numpy_does_not_know():
    network = foreign_network().tensors
    ones = {name: np.ones((4, 5), np.int32) for name in ("half", "four")}
    four = apply_update(network, TensorSet({"four": ones["four"]}), differences=True)
    assert four["four"].astype(np.int8)[0].tolist() == [1, 2, 3, 4, 5]
    change = TensorSet({"half": ones["half"].astype(np.float32)})
    half = apply_update(network, change, differences=True)
    assert half["half"].astype(np.float32)[1].tolist() == [6, 7, 8, 9, 10]
    digits = TensorSet({"four": np.full((1, 4, 5), -8, np.int32)})
    replaced = apply_update(network, digits, differences=False)
    assert not replaced["four"].astype(np.int8).any()
    for wrong, differences in ((digits, True), (TensorSet({"four": digits["four"] - 1}), False)):
        with pytest.raises(ModelError):
            apply_update(network, wrong, differences=differences)


def test_uri_is_not_followed_by_default(nets):
    nnpfc = nets.base(
        nets.upscaler(), nnpfc_mode_idc=1, nnpfc_payload_byte=b"",
        nnpfc_tag_uri="tag:onnx.ai,2017:onnx", nnpfc_uri="file:///etc/passwd",
    )  # fmt: skip
    with pytest.raises(UnsupportedFeatureError, match=r"onnx\.ai"):
        decode_network(nnpfc, None, limits=LIMITS, resolver=lambda *_: b"never asked")


def test_shipped_network_runs(nets):
    from nnrvideo.data import base_network

    network = unpack(base_network()).require_network()
    picture = nets.noise(64, 36)
    result = build(nets.base(network), picture.format).process(picture)
    assert result.format == PictureFormat(128, 72)
