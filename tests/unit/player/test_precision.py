# SPDX-License-Identifier: Apache-2.0
"""8-bit integers: allowed by the encoder, chosen by the player, and never at a wrong moment."""

import logging
from fractions import Fraction

import numpy as np
import pytest
from onnx import helper

from nnrvideo.data import base_network
from nnrvideo.errors import InferenceError
from nnrvideo.model import infer_contract, load_onnx, pack, ranges_of, to_nnpfc, unpack, with_ranges
from nnrvideo.model.ranges import ConvRanges
from nnrvideo.nnc import EncodeSettings
from nnrvideo.player import Enhanced, Enhancer, calibrate
from nnrvideo.player.precision import integer_obstacle
from nnrvideo.runtime import OnnxRuntimeBackend, resize_picture

LOSSLESS = EncodeSettings(lossless=True)


class Saturating:
    """A backend on a processor whose integer sums are too narrow."""

    def __init__(self):
        self._real = OnnxRuntimeBackend(providers=["CPUExecutionProvider"])
        self.capabilities = self._real.capabilities

    def load(self, graph, initializers):
        session = self._real.load(graph, initializers)
        if b"QLinearConv" not in graph:
            return session

        class Narrow:
            inputs, outputs = session.inputs, session.outputs
            provider, fallbacks = session.provider, ()

            def run(self, feeds):
                return tuple(value // 2 for value in session.run(feeds))

        return Narrow()


def smooth(nets, width=64, height=48):
    """A picture in which interpolation works; noise would only measure noise."""
    small = nets.noise(width // 8, height // 8)
    return resize_picture(small, nets.flat(1, width, height).format)


@pytest.fixture(scope="module")
def shipped():
    return unpack(base_network()).require_network()


def pairs(nets):
    big = [smooth(nets, 128, 96)]
    return [(resize_picture(one, nets.flat(1, 64, 48).format), one) for one in big]


exact = pytest.mark.skipif(
    bool(integer_obstacle(OnnxRuntimeBackend(providers=["CPUExecutionProvider"]))),
    reason="this processor's integer convolutions saturate",
)


@exact
def test_calibration_finds_ranges_and_measures_the_loss(nets, shipped):
    # One small picture that no camera saw: more may be lost than in calibrating for receivers.
    found = calibrate(shipped, pairs(nets), max_loss=0.5)
    assert (found.integer, found.convolutions) == (3, 5)
    assert found.loss <= 0.5
    known = ranges_of(found.network)
    assert known[0] is None and known[4] is None
    assert known[1].input[0] == 0 and known[1].input[1] > 0.1
    assert known[1].output == known[2].input  # the same value between the two
    assert known[3].output[0] < 0 < known[3].output[1]


@exact
def test_too_large_a_loss_is_not_allowed(nets, shipped):
    original = pairs(nets)[0]
    # The reference is what the network itself makes, so anything else loses infinitely much.
    with Enhancer(precision="fp32") as enhancer:
        play(enhancer, nets, shipped, original[0])
        made = enhancer_result(enhancer)
    found = calibrate(shipped, [(original[0], made.picture)])
    assert found.integer == 0
    assert found.loss > 0.05
    assert ranges_of(found.network) is None


def test_calibration_refuses_a_saturating_machine(nets, shipped):
    with pytest.raises(InferenceError, match="saturate"):
        calibrate(shipped, pairs(nets), backend=Saturating())


def test_calibration_needs_pictures(shipped):
    with pytest.raises(ValueError, match="pictures"):
        calibrate(shipped, [])


def play(enhancer, nets, network, picture, pts=Fraction(0)):
    message = to_nnpfc(infer_contract(network), None, nnpfc_id=7, payload=pack(network, LOSSLESS))
    records = nets.records(message, nets.activate(7))
    enhancer.send_side_data(pts, records, clvs_start=True)
    enhancer.send_frame(picture, pts)


def enhancer_result(enhancer):
    result = enhancer.receive(timeout=None)
    assert isinstance(result, Enhanced)
    assert result.info.enhanced, result.info.reason
    return result


def luma(nets, network, picture, **options):
    with Enhancer(**options) as enhancer:
        play(enhancer, nets, network, picture)
        result = enhancer_result(enhancer)
        return result.picture.planes[0].astype(int), enhancer.stats()


@exact
def test_integers_are_chosen_and_look_the_same(nets, shipped):
    picture = smooth(nets)
    real, stats = luma(nets, shipped, picture, precision="fp32")
    assert stats.precision == "fp32"
    integer, stats = luma(nets, shipped, picture)
    assert stats.precision == "int8"
    assert 0 < np.abs(real - integer).max() <= 4
    assert np.mean((real - integer) ** 2) < 0.5


def test_a_saturating_machine_keeps_to_real_numbers(nets, shipped, caplog):
    picture = smooth(nets)
    real, _ = luma(nets, shipped, picture, precision="fp32")
    with caplog.at_level(logging.WARNING):
        shown, stats = luma(nets, shipped, picture, precision="int8", backend=Saturating())
    assert stats.precision == "fp32"
    assert "saturate" in caplog.text
    np.testing.assert_array_equal(shown, real)


def test_ranges_that_do_not_fit_cost_the_integers_only(nets, shipped, caplog):
    """Ranges of another graph, as a careless tool might leave them."""
    weights = {"weight": np.ones((4, 1, 1, 1), np.float32)}
    nodes = [
        helper.make_node("Conv", ["input", "weight"], ["many"]),
        helper.make_node("DepthToSpace", ["many"], ["output"], blocksize=2),
    ]
    network = load_onnx(nets.onnx_model(nodes, weights))
    network = with_ranges(network, [ConvRanges((0, 1), (0, 1))])
    message = to_nnpfc(infer_contract(network), None, nnpfc_id=7, payload=pack(network, LOSSLESS))
    crooked = nets.update(
        message, {"nnrvideo.activation_ranges": np.array([5, 1, 0, 1], np.float32)}
    )
    with Enhancer(precision="int8") as enhancer, caplog.at_level(logging.WARNING):
        records = nets.records(message, crooked, nets.activate(7, base=False))
        enhancer.send_side_data(0, records, clvs_start=True)
        enhancer.send_frame(nets.flat(), 0)
        assert enhancer_result(enhancer).info.enhanced
        assert enhancer.stats().precision == "fp32"
    assert "no ranges" in caplog.text


@exact
def test_an_update_of_the_weights_makes_old_ranges_void(nets, shipped):
    base = to_nnpfc(infer_contract(shipped), None, nnpfc_id=7, payload=pack(shipped, LOSSLESS))
    ranges = "nnrvideo.activation_ranges"
    moved = {"tail.bias": shipped.tensors["tail.bias"] + np.float32(0.01)}
    wider = {ranges: shipped.tensors[ranges] * 2}
    for update, wanted in ((moved, "fp32"), ({**moved, **wider}, "int8"), (wider, "int8")):
        with Enhancer() as enhancer:
            records = nets.records(base, nets.update(base, update), nets.activate(7, base=False))
            enhancer.send_side_data(0, records, clvs_start=True)
            enhancer.send_frame(smooth(nets), 0)
            enhancer_result(enhancer)
            assert enhancer.stats().precision == wanted


def test_unknown_precision_is_refused():
    with pytest.raises(ValueError, match="int4"):
        Enhancer(precision="int4")


def test_capabilities_tell_what_can_be_negotiated():
    from nnrvideo import capabilities
    from nnrvideo.limits import Limits

    able = capabilities(limits=Limits.set_top_box())
    assert able.backend.startswith("onnxruntime ")
    assert "CPUExecutionProvider" in able.providers
    assert "fp32" in able.precisions
    assert {"Conv", "DepthToSpace"} <= set(able.operators)
    assert able.limits == Limits.set_top_box()
    assert able.macs_per_second == {}
    assert able.kmac_per_sample(1280, 720, 30) == 0
    assert capabilities(backend=Saturating()).precisions == ("fp32",)


def test_capabilities_measured():
    from nnrvideo import capabilities

    able = capabilities(measured=True)
    assert set(able.macs_per_second) == set(able.precisions)
    small, large = (able.kmac_per_sample(w, h, 30) for w, h in ((640, 360), (1920, 1080)))
    assert small >= large
