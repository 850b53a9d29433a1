# SPDX-License-Identifier: Apache-2.0
"""The model card of a base network: what it was trained on, and its gain on clips it never saw."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np

from nnrvideo.files import sha256_of
from nnrvideo.jsontext import JSON
from nnrvideo.model import DataSource, ModelCard, make_card, ranges_of, unpack
from nnrvideo.training.data import PairSettings
from nnrvideo.training.evaluate import Measurement
from nnrvideo.training.kinds import Mode, Tier
from nnrvideo.training.train import Trained

_DOES: Final = {
    "sr2x": "2x super-resolution of luma for decoded video.",
    "enhance": "Enhancement of luma of decoded video at its own size.",
}
_AGAINST: Final = {
    "sr2x": "the plain Lanczos upscale (8 taps) of the same decoded pictures",
    "enhance": "the same decoded pictures, untouched",
}
_NOTHING: Final = 0.005  # dB, what is 0.00 in a table


def base_card(
    bitstream: bytes,
    trained: Trained,
    *,
    name: str,
    mode: Mode,
    tier: Tier,
    pairs: PairSettings,
    examples: int,
    training: Sequence[Path],
    held_out: Sequence[Path],
    measured: Sequence[Measurement],
    integer_loss: float | None,
    cpu_seconds: float,
    command: str,
) -> ModelCard:
    """Says where a base network comes from and what it gains without being trained on the title.

    Args:
        bitstream: The network.
        trained: The training that it comes from.
        name: What it is called.
        mode: What it does.
        tier: Its size.
        pairs: How pictures were made of the clips.
        examples: Training pairs.
        training: Clips that it was trained on.
        held_out: Clips that it was measured on.
        measured: What it was worth there.
        integer_loss: Decibels that 8-bit integers cost; None if they were not tried.
        cpu_seconds: That training took; what ran before a resumed checkpoint is not in it.
        command: That made it.

    Raises:
        OSError: A clip cannot be read.
        ModelError: The bitstream is no network.
    """
    shape, settings = trained.settings.shape, trained.settings
    overlap, scale = shape.overlap, shape.scale
    facts = {
        "input": f"luma, real numbers in [0, 1], (1, 1, H + {2 * overlap}, W + {2 * overlap}): "
        f"patch and overlap of {overlap} samples, replicated at the picture's edge",
        "output": f"luma, (1, 1, {scale} * H, {scale} * W); H and W even",
        "network": f"tier {tier}: 6x6 stride-2 stem, {shape.convolutions - 2} 3x3 layers of "
        f"{shape.channels} channels with ReLU, 3x3 to {shape.out_block**2} channels, plus a fixed "
        f"{'bicubic path' if scale > 1 else 'path for the input'}, depth to space "
        f"{shape.out_block}; no convolution pads",
    }
    if integer_loss is not None:
        allowed = any(ranges_of(unpack(bitstream).require_network()) or ())
        facts["8-bit integers"] = (
            f"{'by ranges in the bitstream' if allowed else 'not allowed'}: {integer_loss:.3f} dB "
            "lost on pictures of the training clips"
        )
    kinds = [(each.downscaler, each.codec, each.crf) for each in pairs.degradations]
    recipe: dict[str, JSON] = {
        "mode": mode,
        "tier": tier,
        "pairs": "luma at "
        + " and ".join(
            f"1/{2**each} of the size" if each else "full size" for each in pairs.halvings
        )
        + f", up to {pairs.max_luma_samples} samples, coded at preset medium and decoded",
        "coded": [
            f"{codec} CRF {crf}" + (f" halved ({downscaler})" if downscaler else "")
            for downscaler, codec, crf in kinds
        ],
        "loss": "mean squared error on the scale of 0 to 255, each crop weighted by its error "
        f"without the network to the power of -{settings.error_exponent:g}",
        "optimiser": "Muon, the last layer and biases Adam; learning rate with warm-up and cosine",
        "learning rate": settings.learning_rate,
        "batch": settings.batch,
        "crop": f"{settings.patch}x{settings.patch}",
        "steps in float32": settings.float_steps,
        "steps on quantised weights": settings.quantised_steps,
        "quantisation": f"{'dependent' if settings.dependent else 'uniform'}, step of "
        f"{settings.relative_step:g} standard deviations (stem and last layer finer)",
        "seed": settings.seed,
        "threads": settings.threads,
        "command": command,
    }
    return make_card(
        bitstream,
        name,
        description=_DOES[mode],
        facts=facts,
        data=(
            *(_source(clip, "training") for clip in training),
            *(_source(clip, "held out") for clip in held_out),
        ),
        num_examples=examples,
        recipe=recipe,
        metrics=tuple(each.row() for each in measured),
        metrics_note="Measured with the network as decoded from the bitstream, in real numbers, on "
        "clips that it was not trained on. Luma PSNR of the whole sequence, against "
        f"{_AGAINST[mode]}; encoders at preset medium. {summary(measured)}"
        if measured
        else "",
        limits="Chroma is not touched. Trained on 8-bit video of few contents; a network trained "
        "on the video itself can gain more.",
        cpu_seconds=cpu_seconds,
    )


def summary(measured: Sequence[Measurement]) -> str:
    """The gains in a sentence, and plainly where there is none.

    Args:
        measured: At least one measurement.
    """
    gains = np.array([each.gain for each in measured])
    mean, least, most = float(gains.mean()), float(gains.min()), float(gains.max())
    text = f"Mean gain {mean:+.2f} dB ({least:+.2f} to {most:+.2f})"
    lost = int((gains < -_NOTHING).sum())
    if lost:
        text += f"; {lost} of {len(gains)} lose"
    if mean < _NOTHING:
        text += "; it gains nothing on content that it was not trained on"
    return text + "."


def _source(clip: Path, use: str) -> DataSource:
    return DataSource(name=clip.stem, use=use, sha256=sha256_of(clip))
