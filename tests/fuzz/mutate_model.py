# SPDX-License-Identifier: Apache-2.0
"""Mutations of ONNX graphs: random bytes are hardly ever a protobuf, let alone a graph.

Any field of any message may get another value, come twice, go, or be replaced by another of its
kind from the same graph; what a graph is made of (names, sizes, operators) so meets anew.
"""

from __future__ import annotations

import random
from typing import Any

import onnx
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError, Message

OPERATORS = sorted({schema.name for schema in onnx.defs.get_all_schemas()})
NUMBERS = (0, 1, -1, 2, 3, 4, 7, 16, 255, 1 << 16, 1 << 31, -(1 << 31), (1 << 63) - 1, -(1 << 63))
REALS = (0.0, 1.0, -1.0, 0.5, 2.0, 1e30, float("inf"), float("nan"))
_REAL = {FieldDescriptor.CPPTYPE_FLOAT, FieldDescriptor.CPPTYPE_DOUBLE}


def mutate(data: bytes, max_size: int, seed: int) -> bytes | None:
    """One to four changes of the graph in ``data``; None if there is none."""
    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except (DecodeError, RuntimeError, ValueError):
        return None
    rng = random.Random(seed)
    for _ in range(rng.randint(1, 4)):
        fields = list(_fields(model))
        if not fields:
            return None
        try:
            _change(rng, *rng.choice(fields), fields)
        except (ValueError, TypeError, UnicodeDecodeError):
            continue  # the number does not fit its field
    changed = model.SerializeToString()
    return changed if len(changed) <= max_size else None


def _fields(message: Message):
    """Every field that is set, with the message it is in."""
    for field, value in message.ListFields():
        yield message, field
        if field.cpp_type == FieldDescriptor.CPPTYPE_MESSAGE:
            for part in value if field.is_repeated else [value]:
                yield from _fields(part)


def _change(rng: random.Random, message: Message, field: FieldDescriptor, fields: list) -> None:
    is_message = field.cpp_type == FieldDescriptor.CPPTYPE_MESSAGE
    values = getattr(message, field.name)
    if not field.is_repeated:
        if rng.random() < (0.02 if is_message else 0.1):
            message.ClearField(field.name)
        elif not is_message:
            setattr(message, field.name, _value(rng, field, values, fields))
        return
    index = rng.randrange(len(values))
    match rng.randrange(4):
        case 0:
            del values[index]
        case 1:
            values.append(values[index])
        case 2 if is_message:
            other, same = rng.choice([f for f in fields if f[1] is field])
            values.append(rng.choice(getattr(other, same.name)))
        case _ if not is_message:
            values[index] = _value(rng, field, values[index], fields)
        case _:
            first, second = list(values), rng.sample(range(len(values)), len(values))
            del values[:]
            values.extend(first[place] for place in second)


def _value(rng: random.Random, field: FieldDescriptor, value: Any, fields: list) -> Any:
    if field.name == "op_type" and rng.random() < 0.8:
        return rng.choice(OPERATORS)
    if rng.random() < 0.5:
        same = [f for f in fields if f[1].cpp_type == field.cpp_type and f[1].type == field.type]
        other, alike = rng.choice(same)
        found = getattr(other, alike.name)
        return rng.choice(found) if alike.is_repeated else found
    if isinstance(value, str):
        return value + rng.choice("xywh0") if rng.random() < 0.5 else value[:-1]
    if isinstance(value, bytes):
        mixed = bytearray(value or b"\0")
        mixed[rng.randrange(len(mixed))] ^= 1 << rng.randrange(8)
        return bytes(mixed)
    if field.cpp_type in _REAL:
        return rng.choice(REALS)
    return rng.choice(NUMBERS) if rng.random() < 0.5 else value + rng.choice((-1, 1))
