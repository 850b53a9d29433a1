# SPDX-License-Identifier: Apache-2.0
"""How nnrvideo writes: the subset of NNPFC and NNPFA that every known reader understands.

Reading is liberal, writing is not: third-edition syntax, ids whose activation ends at a byte
boundary, everything again at every random access point.
"""

from __future__ import annotations

from nnrvideo.sei import nnpfc as syntax
from nnrvideo.sei.message import SeiMessage, message_of
from nnrvideo.sei.nnpfa import Nnpfa
from nnrvideo.sei.nnpfc import Nnpfc
from nnrvideo.sei.semantics import validate_nnpfc

# With these the code of the id has 7 or 15 bits, so that an activation and a cancel end at a byte
# boundary; a reader that expects the tail of the fourth edition finds neither tail nor padding.
PREFERRED_FILTER_IDS = (*range(7, 15), *range(127, 255))

_PURPOSES = (
    syntax.PURPOSE_VISUAL_QUALITY
    | syntax.PURPOSE_CHROMA_UPSAMPLING
    | syntax.PURPOSE_RESOLUTION
    | syntax.PURPOSE_PICTURE_RATE
    | syntax.PURPOSE_BIT_DEPTH
    | syntax.PURPOSE_COLOURIZATION
)


def edition(message: Nnpfc) -> int:
    """First edition of H.274 whose readers accept the message: 3 (09/2023) or 4 (01/2026)."""
    fourth = (
        message.nnpfc_purpose > 0x3F
        or message.nnpfc_auxiliary_inp_idc > syntax.AUXILIARY_STRENGTH
        or message.nnpfc_num_metadata_extension_bits > 0
    )
    return 4 if fourth else 3


def check_writing_profile(message: Nnpfc) -> None:
    """Refuses what some reader in the field would refuse.

    Args:
        message: A base or an update that is about to be sent.

    Raises:
        ValueError: Names every departure from the profile.
        BitstreamError: The message is not legal at all.
        UnsupportedFeatureError: It uses reserved values.
    """
    validate_nnpfc(message)
    departures = []
    if edition(message) > 3:
        departures.append("needs the fourth edition")
    # Purpose 0, "determined by the application", is a network that is no filter; readers of all
    # editions skip it.  The tag URI that could tell more is of the fourth.
    if message.nnpfc_purpose & ~_PURPOSES:
        departures.append(f"nnpfc_purpose {message.nnpfc_purpose:#04x}")
    if message.nnpfc_id not in PREFERRED_FILTER_IDS:
        departures.append(f"nnpfc_id {message.nnpfc_id} is none of 7..14, 127..254")
    if message.nnpfc_chroma_loc_info_present_flag:
        departures.append("nnpfc_chroma_loc_info_present_flag")
    if not message.nnpfc_base_flag and (
        message.nnpfc_property_present_flag or message.nnpfc_mode_idc != syntax.MODE_PAYLOAD
    ):
        departures.append("an update is a bare network in mode 0")
    if departures:
        raise ValueError(f"outside the writing profile: {'; '.join(departures)}")


def random_access_messages(
    base: Nnpfc, update: Nnpfc | None = None, *, activate: bool = True
) -> tuple[SeiMessage, ...]:
    """What every IDR or CRA repeats for one filter, in its order.

    Args:
        base: The base message, the same at every repetition.
        update: The update in force, if any.
        activate: Add a persistent activation of the update, or else of the base.

    Returns:
        Base, update, activation.

    Raises:
        ValueError: Outside the writing profile, or base and update do not go together.
    """
    check_writing_profile(base)
    if not base.nnpfc_base_flag:
        raise ValueError("base has nnpfc_base_flag 0")
    messages = [message_of(base)]
    if update is not None:
        check_writing_profile(update)
        if update.nnpfc_base_flag:
            raise ValueError("update has nnpfc_base_flag 1")
        if (update.nnpfc_id, update.nnpfc_purpose) != (base.nnpfc_id, base.nnpfc_purpose):
            raise ValueError("update differs from its base in nnpfc_id or nnpfc_purpose")
        messages.append(message_of(update))
    if activate:
        messages.append(message_of(Nnpfa.activate(base.nnpfc_id, base=update is None)))
    return tuple(messages)
