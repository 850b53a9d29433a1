# SPDX-License-Identifier: Apache-2.0
"""``EncodeSettings``: everything an encoder may choose, and the presets behind its defaults."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, Literal, final, get_args

from nnrvideo.nnc.constants import LONG_UNIT_MAX_BYTES

_MAX_DENSITY = 7
_MAX_BIT_DEPTH = 24
_MAX_UNARY_MINUS1 = 255
_MAX_SCAN_ORDER = 4
_MIN_UNIT_BYTES = 16

Preset = Literal["fast", "medium", "slow", "placebo"]
CodebookUse = Literal["never", "auto", "always"]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """What a preset spends on one tensor.

    Args:
        rate_weight: Lagrangian weight of the rate where the settings give none.
        passes: Rate-distortion passes, each with the initial states found after the one before.
        search_values: Values that the search for initial states looks at; 0 for all.
        unary_length: Choose the unary length for each tensor.
        codebook: Codebooks where the settings do not say.
        both_quantisers: Code each tensor with and without dependent quantisation.
    """

    rate_weight: float
    passes: int
    search_values: int
    unary_length: bool
    codebook: CodebookUse
    both_quantisers: bool


EFFORTS: Final[Mapping[Preset, Effort]] = MappingProxyType(
    {
        "fast": Effort(
            rate_weight=0.0,
            passes=0,
            search_values=1 << 12,
            unary_length=False,
            codebook="never",
            both_quantisers=False,
        ),
        "medium": Effort(
            rate_weight=0.75,
            passes=1,
            search_values=1 << 14,
            unary_length=True,
            codebook="never",
            both_quantisers=False,
        ),
        "slow": Effort(
            rate_weight=0.85,
            passes=2,
            search_values=0,
            unary_length=True,
            codebook="auto",
            both_quantisers=False,
        ),
        "placebo": Effort(
            rate_weight=0.85,
            passes=4,
            search_values=0,
            unary_length=True,
            codebook="auto",
            both_quantisers=True,
        ),
    }
)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class EncodeSettings:
    """Choices of the encoder.

    Args:
        preset: ``fast``, ``medium``, ``slow`` or ``placebo``: how much time may be spent on size.
            Sets what is left None below.
        qp: Quantisation parameter of tensors with two and more dimensions.  At density 2 the
            step is about ``2 ** (qp / 4)``; -38 loses nothing that can be seen.
        nonweight_qp: The same for tensors with one dimension.  None: as fine as each of them
            needs to matter no more than the weights, see ``quantisation.nonweight_qp``.
        qp_density: 0 to 7: the step doubles every ``2 ** qp_density``.
        qp_per_tensor: QP of single tensors by name.
        bit_depth: Bits of the weights instead of ``qp``: each tensor gets the QP at which its
            values, but for a few outliers, have ``2 ** (bits - 1) - 1`` steps a side.
        sparsity: Share of each weight's values, the smallest ones, that become 0.
        structured_sparsity: Rows become 0 whose mean magnitude is below this share of the mean of
            all rows.
        low_rank: Weights become products of two factors that keep this share of their energy,
            above 0 and to 1, wherever that takes fewer values; 0: none does.
        dependent_quantisation: Trellis-coded quantisation: about 1.5 dB for the same bytes.
        lossless: Floats bit for bit, as raw binary32 where no smaller form is exact; QPs are not
            used.
        cabac_unary_length_minus1: Greater-than flags less one, 0 to 255; None: by the preset,
            10 or chosen for each tensor.
        row_skipping: Allow one flag to stand for a row of zeros.
        search: Search the initial state of each context; costs time, saves 1 to 2 %.
        rate_weight: Lagrangian weight of the rate in quantisation; 0 looks at distortion only, 1
            is right at high rates; None: by the preset.
        codebook: Irregular reconstruction levels: ``never``, ``always``, or ``auto`` where they
            make a tensor shorter; None: by the preset.
        scan_order: 0 row by row; 1 to 4 blocks of 8 to 64 with entry points.
        node_ids: Write node ids, which later incremental updates need.
        device_id: Sender, for the node ids.
        profile: general_profile_idc: 1 second edition, 0 first.
        threads: Tensors coded at a time; None: one for each core.  Bytes do not depend on it.
        max_unit_bytes: Largest unit, 16 bytes or more: larger data is spread over several, so that
            each fits a packet.  NNCodec refuses that.  None: one unit for each tensor or block.

    Raises:
        ValueError: A field is outside its range.
    """

    preset: Preset = "medium"
    qp: int = -38
    nonweight_qp: int | None = None
    qp_density: int = 2
    qp_per_tensor: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    bit_depth: int | None = None
    sparsity: float = 0.0
    structured_sparsity: float = 0.0
    low_rank: float = 0.0
    dependent_quantisation: bool = True
    lossless: bool = False
    cabac_unary_length_minus1: int | None = None
    row_skipping: bool = True
    search: bool = True
    rate_weight: float | None = None
    codebook: CodebookUse | None = None
    scan_order: int = 0
    node_ids: bool = True
    device_id: int = 0
    profile: int = 1
    threads: int | None = None
    max_unit_bytes: int | None = None
    _effort: Effort = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.preset not in EFFORTS:
            msg = f"preset {self.preset!r} is none of {', '.join(EFFORTS)}"
            raise ValueError(msg)
        if self.codebook is not None and self.codebook not in get_args(CodebookUse):
            msg = f"codebook {self.codebook!r} is none of {', '.join(get_args(CodebookUse))}"
            raise ValueError(msg)
        for name, low, high in (
            ("qp_density", 0, _MAX_DENSITY),
            ("bit_depth", 1, _MAX_BIT_DEPTH),
            ("cabac_unary_length_minus1", 0, _MAX_UNARY_MINUS1),
            ("scan_order", 0, _MAX_SCAN_ORDER),
            ("device_id", 0, 1 << 31),
            ("profile", 0, 1),
            ("threads", 1, 1 << 16),
            ("max_unit_bytes", _MIN_UNIT_BYTES, LONG_UNIT_MAX_BYTES),
        ):
            value: int | None = getattr(self, name)
            if value is not None and not low <= value <= high:
                msg = f"{name} {value} is not {low} to {high}"
                raise ValueError(msg)
        for name, share in (
            ("sparsity", self.sparsity),
            ("structured_sparsity", self.structured_sparsity),
            ("low_rank", self.low_rank),
        ):
            if not 0 <= share <= 1:
                msg = f"{name} {share} is not 0 to 1"
                raise ValueError(msg)
        if self.lossless and (self.sparsity or self.structured_sparsity or self.low_rank):
            msg = "sparsity and low rank change weights, so they are not lossless"
            raise ValueError(msg)
        if self.rate_weight is not None and not 0 <= self.rate_weight < float("inf"):
            msg = f"rate_weight {self.rate_weight} is not a finite number of 0 or more"
            raise ValueError(msg)
        object.__setattr__(self, "_effort", self._spent())

    @property
    def effort(self) -> Effort:
        """What the preset spends, with what the settings say themselves put in."""
        return self._effort

    def _spent(self) -> Effort:
        effort = EFFORTS[self.preset]
        return Effort(
            rate_weight=effort.rate_weight if self.rate_weight is None else self.rate_weight,
            passes=max(1, effort.passes) if self.rate_weight else effort.passes,
            search_values=effort.search_values,
            unary_length=effort.unary_length and self.cabac_unary_length_minus1 is None,
            codebook=effort.codebook if self.codebook is None else self.codebook,
            both_quantisers=effort.both_quantisers,
        )
