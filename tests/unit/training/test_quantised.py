# SPDX-License-Identifier: Apache-2.0
"""What training rounds to is what the encoder rounds to."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch", reason="PyTorch is the optional extra [train]")

import torch

from nnrvideo.entropy import quant
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


def test_biases_and_taps_get_fine_steps() -> None:
    tensors = {
        "stem.weight": np.ones((2, 1, 6, 6), np.float32) * np.float32([[[[0.5]]], [[[-0.5]]]]),
        "stem.bias": np.float32([0.123456, -0.2]),
        "skip.weight": np.full((16, 1, 6, 6), 0.1, np.float32),
    }
    plan = plan_quantisation(tensors, relative_step=0.25)
    assert quant.step_size(plan.qp["stem.weight"], 2) == 0.125
    for name in ("stem.bias", "skip.weight"):
        np.testing.assert_allclose(plan.quantise(name, tensors[name]), tensors[name], atol=3e-4)


@pytest.mark.parametrize("density", [0, 2, 3])
def test_qp_for_step_inverts_step_size(density: int) -> None:
    for qp in range(-60, 40):
        assert qp_for_step(float(quant.step_size(qp, density)), density) == qp


def test_flat_tensor_has_no_step() -> None:
    with pytest.raises(ValueError, match="positive"):
        plan_quantisation({"w": np.ones((2, 2), np.float32)}, relative_step=0.1)
