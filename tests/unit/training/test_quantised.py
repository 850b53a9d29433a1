# SPDX-License-Identifier: Apache-2.0
"""What training rounds to is what the encoder rounds to."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch", reason="PyTorch is the optional extra [train]")

import torch

from nnrvideo.entropy import quant
from nnrvideo.training.nets import INPUT_MEAN, BlockNet, NetShape
from nnrvideo.training.quantised import (
    QuantPlan,
    plan_quantisation,
    qp_for_step,
    quantise_tensor,
)


@pytest.mark.parametrize("dependent", [False, True])
def test_forward_equals_the_encoders_quantiser_bit_for_bit(dependent: bool) -> None:
    values = np.random.default_rng(3).normal(scale=0.2, size=(6, 4, 3, 3)).astype(np.float32)
    plan = plan_quantisation({"w": values}, relative_step=0.3, dependent=dependent)
    step = quant.step_size(plan.qp["w"], 2)
    rows = values.reshape(6, 36)
    levels = (
        quant.dependent_quantise(rows, step) if dependent else quant.uniform_quantise(rows, step)
    )
    wanted = quant.dequantise(levels, step).reshape(values.shape)
    got = quantise_tensor(plan, "w", torch.from_numpy(values)).numpy()
    assert got.tobytes() == wanted.tobytes()
    assert not np.array_equal(got, values)


def test_gradient_passes_unchanged() -> None:
    weight = torch.linspace(-1, 1, 12).reshape(3, 4).requires_grad_()
    wanted = torch.arange(12.0).reshape(3, 4)
    (quantise_tensor(QuantPlan({"w": -4}), "w", weight) * wanted).sum().backward()
    assert torch.equal(weight.grad, wanted)


def test_first_and_last_layer_biases_and_taps_get_finer_steps() -> None:
    weight = np.ones((2, 1, 6, 6), np.float32) * np.float32([[[[0.5]]], [[[-0.5]]]])
    tensors = {
        "stem.weight": weight,
        "body.0.weight": weight,
        "tail.weight": weight,
        "stem.bias": np.float32([0.123456, -0.2]),
        "skip.weight": np.full((16, 1, 6, 6), 0.1, np.float32),
    }
    plan = plan_quantisation(tensors, relative_step=0.25)
    stem, body, tail = (
        quant.step_size(plan.qp[f"{name}.weight"], 2) for name in ("stem", "body.0", "tail")
    )
    assert stem < tail < body == 0.125
    for name in ("stem.bias", "skip.weight"):
        np.testing.assert_allclose(plan.quantise(name, tensors[name]), tensors[name], atol=3e-4)


@pytest.mark.parametrize("density", [0, 2, 3])
def test_qp_for_step_inverts_step_size(density: int) -> None:
    for qp in range(-60, 40):
        assert qp_for_step(float(quant.step_size(qp, density)), density) == qp


def test_flat_tensor_has_no_step() -> None:
    with pytest.raises(ValueError, match="positive"):
        plan_quantisation({"w": np.ones((2, 2), np.float32)}, relative_step=0.1)


def test_rounding_the_stem_does_not_shift_what_flat_pictures_give() -> None:
    net = BlockNet(NetShape(channels=8, convolutions=3))
    weights = net.weights(lambda name, each: each if "bias" in name else torch.round(each * 5) / 5)
    stem = weights["stem.weight"]
    assert not torch.equal(stem, net.weights()["stem.weight"])
    flat = INPUT_MEAN * stem.sum(dim=(1, 2, 3)) + weights["stem.bias"]
    torch.testing.assert_close(flat, net.stem.bias)
