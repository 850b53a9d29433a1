# SPDX-License-Identifier: Apache-2.0
"""``EncodeSettings``: everything an encoder may choose, with the field's defaults."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import final

_MAX_DENSITY = 7
_MAX_UNARY_MINUS1 = 255
_MAX_SCAN_ORDER = 4


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class EncodeSettings:
    """Choices of the encoder.

    Args:
        qp: Quantisation parameter of tensors with two and more dimensions.  At density 2 the
            step is about ``2 ** (qp / 4)``; -38 loses nothing that can be seen.
        nonweight_qp: The same for tensors with one dimension.
        qp_density: 0 to 7: the step doubles every ``2 ** qp_density``.
        qp_per_tensor: QP of single tensors by name.
        dependent_quantisation: Trellis-coded quantisation: about 1.5 dB for the same bytes.
        lossless: Floats bit for bit, as raw binary32 where no smaller form is exact; QPs are not
            used.
        cabac_unary_length_minus1: Greater-than flags less one, 0 to 255.
        row_skipping: Allow one flag to stand for a row of zeros.
        search: Search the initial state of each context; costs time, saves 1 to 2 %.
        rate_weight: Lagrangian weight of the rate in the trellis; 0 looks at distortion only.
        scan_order: 0 row by row; 1 to 4 blocks of 8 to 64 with entry points.
        node_ids: Write node ids, which later incremental updates need.
        device_id: Sender, for the node ids.
        profile: general_profile_idc: 1 second edition, 0 first.

    Raises:
        ValueError: A field is outside its range.
    """

    qp: int = -38
    nonweight_qp: int = -75
    qp_density: int = 2
    qp_per_tensor: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    dependent_quantisation: bool = True
    lossless: bool = False
    cabac_unary_length_minus1: int = 10
    row_skipping: bool = True
    search: bool = True
    rate_weight: float = 0.0
    scan_order: int = 0
    node_ids: bool = True
    device_id: int = 0
    profile: int = 1

    def __post_init__(self) -> None:
        for name, low, high in (
            ("qp_density", 0, _MAX_DENSITY),
            ("cabac_unary_length_minus1", 0, _MAX_UNARY_MINUS1),
            ("scan_order", 0, _MAX_SCAN_ORDER),
            ("device_id", 0, 1 << 31),
            ("profile", 0, 1),
        ):
            value: int = getattr(self, name)
            if not low <= value <= high:
                msg = f"{name} {value} is not {low} to {high}"
                raise ValueError(msg)
        if not 0 <= self.rate_weight < float("inf"):
            msg = f"rate_weight {self.rate_weight} is not a finite number of 0 or more"
            raise ValueError(msg)

    def qp_of(self, name: str, dimensions: int) -> int:
        """QP of a tensor.

        Args:
            name: Its name.
            dimensions: Number of its dimensions.
        """
        default = self.qp if dimensions > 1 else self.nonweight_qp
        return self.qp_per_tensor.get(name, default)
