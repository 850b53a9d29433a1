# SPDX-License-Identifier: Apache-2.0
"""Neural-network post-filter activation (NNPFA), payloadType 211.

The fourth edition appended a tail to the message of the third without a version field.  A reader
of either edition must get along with both; ``_has_tail`` and ``write_nnpfa`` hold the two halves
of that care.  When an activation applies is decided in ``activation``.

Spec: Rec. ITU-T H.274 (V4, 01/2026) clause 8.28.2.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, final

from nnrvideo.bits import BitReader
from nnrvideo.errors import BitstreamError
from nnrvideo.limits import Limits
from nnrvideo.sei._elements import ElementCoder, ElementReader, ElementWriter
from nnrvideo.sei.message import payload_parser
from nnrvideo.sei.semantics import check_filter_id

NNPFA_PAYLOAD_TYPE = 211
_CLAUSE = "H.274 8.28.2"
_MAX_OUTPUT_ENTRIES = 64  # NumInpPicsInOutputTensor cannot be larger


@final
@dataclass(frozen=True, slots=True)
class Nnpfa:
    """One NNPFA message; fields are named as the syntax elements and stand in their order.

    ``nnpfa_num_output_entries`` is the length of ``nnpfa_output_flag``.  A field that the syntax
    does not send for this message keeps its default.
    """

    payload_type: ClassVar[int] = NNPFA_PAYLOAD_TYPE

    nnpfa_target_id: int
    nnpfa_cancel_flag: bool = False
    nnpfa_persistence_flag: bool = False
    nnpfa_target_base_flag: bool = False
    nnpfa_no_prev_clvs_flag: bool = False
    nnpfa_no_foll_clvs_flag: bool = False
    nnpfa_num_output_entries: int = 0
    nnpfa_output_flag: tuple[bool, ...] = ()
    nnpfa_prompt_update_flag: bool = False
    nnpfa_prompt: str = ""
    nnpfa_seed_update_flag: bool = False
    nnpfa_seed: int = 0
    nnpfa_selected_input_flag: bool = False
    nnpfa_num_input_pic_shift: int = 0

    @classmethod
    def activate(cls, nnpfc_id: int, *, base: bool = True, persistent: bool = True) -> Nnpfa:
        """An activation that readers of both editions understand alike.

        One explicit output entry, which says what would be inferred anyway, makes the message end
        at a byte boundary for the ids of ``PREFERRED_FILTER_IDS``.

        Args:
            nnpfc_id: The filter.
            base: Use the base network rather than its latest update.
            persistent: To the end of the CLVS rather than for one picture.
        """
        return cls(
            nnpfc_id,
            nnpfa_persistence_flag=persistent,
            nnpfa_target_base_flag=base,
            nnpfa_num_output_entries=1,
            nnpfa_output_flag=(True,),
        )

    @classmethod
    def cancel(cls, nnpfc_id: int) -> Nnpfa:
        """A message that ends the persistence of a filter."""
        return cls(nnpfc_id, nnpfa_cancel_flag=True)

    def to_payload(self) -> bytes:
        """The payload's bytes; see :func:`write_nnpfa`."""
        return write_nnpfa(self)


def parse_nnpfa(payload: bytes, limits: Limits | None = None) -> Nnpfa:
    """Parses an NNPFA payload of the third or fourth edition.

    A tail that cannot be parsed is dropped and the part before it kept: it may be the extension
    of a later edition.

    Args:
        payload: sei_payload().
        limits: ``max_string_bytes`` and ``max_payload_bytes``; a desktop's if absent.

    Returns:
        The message.

    Raises:
        BitstreamError: The part common to all editions is broken.
        LimitExceededError: The payload is too long.

    Spec: Rec. ITU-T H.274 (V4) clause 8.28.2.1.
    """
    limits = limits or Limits()
    limits.require("max_payload_bytes", len(payload), "NNPFA payload bytes")
    reader = ElementReader(BitReader(payload, unit="NNPFA"), limits)
    try:
        _common_syntax(reader)
    except BitstreamError as error:
        error.at(unit="NNPFA", bit=reader.position)
        raise
    message = Nnpfa(**reader.values)
    if message.nnpfa_cancel_flag or not _has_tail(payload, reader.position):
        return message
    tail = ElementReader(reader.bits, limits)
    try:
        _tail_syntax(tail)
    except BitstreamError:
        return message
    return replace(message, **tail.values)


def write_nnpfa(message: Nnpfa) -> bytes:
    """Codes an NNPFA payload so that readers of both editions agree on it.

    The bare form of the third edition is never written unless it fills its last byte: there is
    a decoder that takes its trailing bits for a tail and aborts.

    Args:
        message: Values as the syntax sends them.

    Returns:
        sei_payload().

    Raises:
        ValueError: A value does not fit its element, or a field is set that this message's syntax
            has no place for.

    Spec: Rec. ITU-T H.274 (V4) clause 8.28.2.1.
    """
    writer = ElementWriter(message)
    try:
        _common_syntax(writer)
        wants_tail = (
            message.nnpfa_prompt_update_flag
            or message.nnpfa_seed_update_flag
            or message.nnpfa_selected_input_flag
        )
        if not message.nnpfa_cancel_flag and (wants_tail or writer.position % 8):
            _tail_syntax(writer)
    except BitstreamError as error:
        raise ValueError(str(error)) from error
    payload = writer.finish()
    if parse_nnpfa(payload, Limits.offline()) != message:
        raise ValueError("a field is set that the syntax does not send for this message")
    return payload


def validate_nnpfa(message: Nnpfa) -> None:
    """Judges the values of a message that stands in an SEI NAL unit of its own right.

    Raises:
        UnsupportedFeatureError: The target id is reserved.
        BitstreamError: A value is only legal inside an SEI processing order nesting message.

    Spec: Rec. ITU-T H.274 (V4) clause 8.28.2.2.
    """
    check_filter_id(message.nnpfa_target_id, "nnpfa_target_id")
    if message.nnpfa_selected_input_flag:
        raise BitstreamError(
            "set outside an SEI processing order nesting message",
            unit="NNPFA",
            element="nnpfa_selected_input_flag",
            clause=_CLAUSE,
        )


def _common_syntax(c: ElementCoder) -> None:
    c.ue("nnpfa_target_id")
    if c.flag("nnpfa_cancel_flag"):
        return
    persistent = c.flag("nnpfa_persistence_flag")
    c.flag("nnpfa_target_base_flag")
    c.flag("nnpfa_no_prev_clvs_flag")
    if persistent:
        c.flag("nnpfa_no_foll_clvs_flag")
    entries = c.ue("nnpfa_num_output_entries")
    if entries > _MAX_OUTPUT_ENTRIES:
        raise BitstreamError(
            f"{entries} is over {_MAX_OUTPUT_ENTRIES}",
            element="nnpfa_num_output_entries",
            clause=_CLAUSE,
        )
    c.flags("nnpfa_output_flag", entries)


def _tail_syntax(c: ElementCoder) -> None:
    if c.flag("nnpfa_prompt_update_flag") and not c.text(
        "nnpfa_prompt", "nnpfa_alignment_zero_bit"
    ):
        raise BitstreamError("empty", element="nnpfa_prompt", clause=_CLAUSE)
    if c.flag("nnpfa_seed_update_flag"):
        c.u("nnpfa_seed", 16)
    if c.flag("nnpfa_selected_input_flag"):
        c.ue("nnpfa_num_input_pic_shift")


def _has_tail(payload: bytes, position: int) -> bool:
    """Whether the bits from ``position`` on are a tail rather than payload_bit_equal_to_one.

    A one with nothing but zeros up to the end of its byte cannot be a tail: it would announce
    a prompt that is not there.
    """
    left = len(payload) * 8 - position
    if left > 8:
        return True
    rest = BitReader(payload, start=position)
    return left > 0 and rest.u("payload_bit_equal_to_one", left) != 1 << (left - 1)


payload_parser(NNPFA_PAYLOAD_TYPE, parse_nnpfa)
