# SPDX-License-Identifier: Apache-2.0
"""QPs by what errors do to a task."""

from dataclasses import replace

import numpy as np
import pytest

from nnrvideo import nnc

RANDOM = np.random.default_rng(4)
INPUTS = RANDOM.normal(0, 1, (200, 24)).astype(np.float32)
TENSORS = {
    "first": RANDOM.normal(0, 0.2, (24, 32)).astype(np.float32),
    "gain": np.float32([30.0]),
    "last": RANDOM.normal(0, 0.2, (32, 8)).astype(np.float32),
    "small": (1e-4 * RANDOM.normal(0, 1, (32, 8))).astype(np.float32),
}


def run(tensors):
    hidden = np.maximum(INPUTS @ tensors["first"], 0)
    return hidden @ tensors["last"] * tensors["gain"] + hidden @ tensors["small"]


WANTED = run(TENSORS)
PEAK = np.abs(WANTED).max()


def psnr(tensors):
    """Against a target that the network meets but for some noise."""
    noise = 1e-4 * PEAK**2
    return 10 * np.log10(PEAK**2 / (np.mean((run(tensors) - WANTED) ** 2) + noise))


@pytest.mark.parametrize("loss", [0.05, 1.0])
def test_keeps_the_metric_in_fewer_bytes(loss):
    settings = nnc.EncodeSettings(qp_density=3)
    qps = nnc.allocate_qps(TENSORS, psnr, loss, settings)
    assert set(qps) == set(TENSORS)
    stream = nnc.encode(TENSORS, replace(settings, qp_per_tensor=qps))
    assert psnr(nnc.decode(stream).tensors) >= psnr(TENSORS) - loss
    # One QP for all that keeps it likewise; the small tensor needs far less precision than that.
    for qp in range(-40, -160, -4):
        flat = nnc.encode(TENSORS, replace(settings, qp=qp, nonweight_qp=qp))
        if psnr(nnc.decode(flat).tensors) >= psnr(TENSORS) - loss:
            break
    assert len(stream) < len(flat)


def test_what_is_given_is_kept():
    settings = nnc.EncodeSettings(qp_per_tensor={"first": -50})
    assert nnc.allocate_qps(TENSORS, psnr, 0.5, settings)["first"] == -50


@pytest.mark.parametrize("loss", [0, -1, float("nan")])
def test_no_loss_leaves_no_choice(loss):
    with pytest.raises(ValueError, match="loss"):
        nnc.allocate_qps(TENSORS, psnr, loss)


def test_a_metric_must_be_a_number():
    with pytest.raises(ValueError, match="metric"):
        nnc.allocate_qps(TENSORS, lambda _: float("nan"), 0.1)
