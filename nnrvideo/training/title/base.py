# SPDX-License-Identifier: Apache-2.0
"""A network that a title is to use, instead of one that is trained on it."""

from __future__ import annotations

from nnrvideo.model import receive
from nnrvideo.model.blocknet import out_block_of
from nnrvideo.training.kinds import OUT_BLOCKS, TIER_SIZES, Mode, Tier


def kind_of(nnc: bytes) -> tuple[Mode, Tier]:
    """What a network does, and its size.

    Args:
        nnc: Its bitstream; untrusted.

    Raises:
        BitstreamError: It is broken.
        ValueError: It is none of those that are trained here.
    """
    tensors = receive(nnc).tensors
    modes = {block: mode for mode, block in OUT_BLOCKS.items()}
    tiers = {size: tier for tier, size in TIER_SIZES.items()}
    stem = tensors.get("stem.weight")
    bodies = sum(name.startswith("body.") and name.endswith(".weight") for name in tensors)
    size = (0 if stem is None or not stem.ndim else int(stem.shape[0]), bodies + 2)
    if size not in tiers:
        known = ", ".join(
            f"{tier} {c} channels, {n} convolutions" for (c, n), tier in tiers.items()
        )
        raise ValueError(f"a title can use networks of the kinds that are trained here: {known}")
    return modes[out_block_of(tensors)], tiers[size]
