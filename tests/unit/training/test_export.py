# SPDX-License-Identifier: Apache-2.0
"""The exported network computes what the trained one computes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch", reason="PyTorch is the optional extra [train]")

import torch

from nnrvideo.errors import ModelError
from nnrvideo.model import infer_contract, load_onnx, unpack
from nnrvideo.model.blocknet import OUT_BLOCKS, skip_taps
from nnrvideo.runtime import OnnxRuntimeBackend
from nnrvideo.training import BlockNet, NetShape, PairSet, Trained, TrainSettings
from nnrvideo.training.export import PlaneFilter, to_nnc, to_onnx
from nnrvideo.training.nets import to_arrays
from nnrvideo.training.train import train

SETTINGS = TrainSettings(
    shape=NetShape(channels=8, convolutions=3),
    float_steps=5,
    quantised_steps=3,
    batch=2,
    patch=16,
)


@pytest.fixture(scope="module")
def trained(pairs: PairSet) -> Trained:
    return train(pairs, SETTINGS)


@pytest.mark.parametrize(
    "shape",
    [NetShape(8, 2), NetShape(16, 4), NetShape(32, 6), NetShape(8, 3, 3), NetShape(16, 2, 2)],
)
def test_onnxruntime_computes_what_torch_computes(shape: NetShape) -> None:
    torch.manual_seed(2)
    net = BlockNet(shape)
    side = 20 + 2 * shape.overlap
    samples = np.random.default_rng(4).random((1, 1, side, side + 6), dtype=np.float32)
    with torch.no_grad():
        wanted = net(torch.from_numpy(samples)).numpy()
    session = OnnxRuntimeBackend().load(to_onnx(to_arrays(net.weights())), {})
    (got,) = session.run({"input": samples})
    assert got.shape == wanted.shape == (1, 1, 20 * shape.scale, 26 * shape.scale)
    np.testing.assert_allclose(got, wanted, atol=1e-4)


@pytest.mark.parametrize("convolutions", [2, 3, 5])
@pytest.mark.parametrize("out_block", OUT_BLOCKS)
def test_graph_tells_its_overlap_and_scale(convolutions: int, out_block: int) -> None:
    shape = NetShape(8, convolutions, out_block)
    contract = infer_contract(load_onnx(to_onnx(to_arrays(BlockNet(shape).weights()))))
    assert contract.overlap == shape.overlap == 2 * convolutions
    assert contract.width_ratio == contract.height_ratio == shape.scale


@pytest.mark.parametrize("out_block", OUT_BLOCKS)
def test_without_correction_the_network_interpolates(out_block: int) -> None:
    weights = to_arrays(BlockNet(NetShape(8, 3, out_block)).weights())
    weights["tail.weight"][:] = 0
    session = OnnxRuntimeBackend().load(to_onnx(weights), {})
    ramp = np.broadcast_to(np.linspace(0, 1, 40, dtype=np.float32), (1, 1, 40, 40)).copy()
    (got,) = session.run({"input": ramp})
    # Cubic interpolation reproduces a line, and sample centres stay where they are.
    size = 28 * out_block // 2
    centres = (np.arange(size) + 0.5) * 2 / out_block - 0.5 + 6
    wanted = np.interp(centres, np.arange(40), ramp[0, 0, 0])
    # The taps of the ratio 3/2 are rounded to 2^-7: a few thousandths of the ramp's 1/39.
    np.testing.assert_allclose(
        got[0, 0], np.broadcast_to(wanted, (size, size)), atol=2e-4 if out_block == 3 else 1e-5
    )


@pytest.mark.parametrize("out_block", OUT_BLOCKS)
def test_fixed_taps_are_exact_and_keep_grey(out_block: int) -> None:
    taps = skip_taps(out_block)
    assert np.array_equal(taps * 2**14, np.rint(taps * 2**14))
    assert (taps.sum(axis=(1, 2, 3)) == 1).all()
    assert np.array_equal(taps[::-1], taps[:, :, ::-1, ::-1])


def test_bitstream_decodes_to_the_trained_values(trained: Trained) -> None:
    decoded = unpack(to_nnc(trained)).require_network().tensors
    assert set(trained.tensors) <= set(decoded)
    for name, wanted in trained.tensors.items():
        assert decoded[name].tobytes() == wanted.tobytes(), name


def test_other_values_than_trained_are_noticed(trained: Trained) -> None:
    coarser = {name: qp + 4 for name, qp in trained.plan.qp.items()}
    with pytest.raises(ModelError, match="other values"):
        to_nnc(replace(trained, plan=replace(trained.plan, qp=coarser)))


def test_plane_filter_matches_torch_after_rounding(trained: Trained, pairs: PairSet) -> None:
    plane = pairs.small[0]
    enlarged = PlaneFilter(to_nnc(trained))(plane)
    assert enlarged.shape == (2 * plane.shape[0], 2 * plane.shape[1])
    net = BlockNet(SETTINGS.shape)
    padded = np.pad(plane, net.shape.overlap, mode="edge")[np.newaxis, np.newaxis]
    weights = {name: torch.from_numpy(value) for name, value in trained.tensors.items()}
    from nnrvideo.training.nets import run_convolutions

    samples = torch.from_numpy(padded.astype(np.float32) / 255)
    wanted = run_convolutions(samples, samples, weights, weights["skip.weight"])
    rounded = np.clip(np.rint(wanted.numpy()[0, 0] * 255), 0, 255)
    # Float sums in another order may tip a value that lies on a half.
    assert np.abs(enlarged.astype(int) - rounded).max() <= 1
    assert np.mean(enlarged != rounded) < 0.001


def test_wrong_tensors_are_refused() -> None:
    weights = to_arrays(BlockNet(NetShape(8, 3)).weights())
    with pytest.raises(ValueError, match=r"missing \['tail.bias'\]"):
        to_onnx({name: value for name, value in weights.items() if name != "tail.bias"})
    with pytest.raises(ValueError, match=r"tail\.bias is float32\(3,\)"):
        to_onnx(weights | {"tail.bias": np.zeros(3, np.float32)})
