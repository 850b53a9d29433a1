# SPDX-License-Identifier: Apache-2.0
"""Plain data units, whose headers the native core reads in one call.

A network of many small tensors is mostly headers.  The core knows only the header that nearly all
units have: ids as text, dimensions given, no parent, no codebook, no block scan.  It says nothing
about any other, nor about a broken one or one over a limit: those are for ``syntax``, which knows
all of the syntax and tells what is wrong.  Where both read a unit, they read the same.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Final

from nnrvideo.entropy import BACKEND
from nnrvideo.limits import Limits
from nnrvideo.nnc.constants import ParameterTypes, UnitType
from nnrvideo.nnc.context import SyntaxContext
from nnrvideo.nnc.units import DataUnit, NodeId, UnitHeader

if BACKEND == "native":
    from nnrvideo import _native

_TYPES: Final = tuple(ParameterTypes(bits) for bits in range(16))
_UNIT_FIELDS: Final = tuple(each.name for each in fields(DataUnit))
_HEADER_FIELDS: Final = tuple(each.name for each in fields(UnitHeader))
_NODE_FIELDS: Final = tuple(each.name for each in fields(NodeId))


def parse_plain_unit(
    data: bytes, offset: int, context: SyntaxContext, limits: Limits
) -> DataUnit | None:
    """A whole unit, if it is a plain data unit.

    Args:
        data: Exactly the bytes of the unit.
        offset: Bytes from the start of the bitstream to the unit.
        context: What came before; not changed.
        limits: Bounds on what the unit may ask for.

    Returns:
        What ``syntax.parse_unit`` would return, or ``None`` if that must read the unit.
    """
    mps = context.mps
    if BACKEND != "native" or mps is None or mps.mps_topology_indexed_reference_flag:
        return None
    found = _native.parse_plain_unit(
        data,
        context.general_profile_idc,
        mps.mps_parent_signalling_enabled_flag,
        limits.max_string_bytes,
        limits.max_tensors,
        limits.max_dimensions,
        limits.max_elements,
    )
    if found is None:
        return None
    (
        long_form,
        independent,
        payload_type,
        multiple,
        ids,
        node,
        dq_flag,
        data_format,
        types,
        dimensions,
        unary_minus1,
        payload_offset,
    ) = found
    header = (UnitType.NNR_NDU, independent, None, long_form, len(data), offset, ())
    return _native.frozen(
        DataUnit,
        _UNIT_FIELDS,
        (
            payload_type,
            ids,
            dimensions,
            data[payload_offset:],
            (),
            multiple,
            True,
            data_format,
            None if node is None else _native.frozen(NodeId, _NODE_FIELDS, node),
            None,
            None,
            None,
            dq_flag,
            True,
            _TYPES[types],
            0,
            0,
            unary_minus1,
            0,
            0,
            (),
            payload_offset,
            _native.frozen(UnitHeader, _HEADER_FIELDS, header),
        ),
    )
