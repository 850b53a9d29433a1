# SPDX-License-Identifier: Apache-2.0
"""Headers of plain units and many codewords in one native call, beside the long way."""

from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest

from nnrvideo import nnc
from nnrvideo.entropy import BACKEND
from nnrvideo.errors import NnrVideoError
from nnrvideo.limits import Limits
from nnrvideo.nnc import batch, plain
from nnrvideo.nnc.context import SyntaxContext
from nnrvideo.nnc.stream import parse_units, write_units
from nnrvideo.nnc.syntax import parse_unit, parse_unit_header

pytestmark = pytest.mark.skipif(BACKEND != "native", reason="the native core is not built")

FROZEN = sorted(
    (Path(__file__).resolve().parents[2] / "conformance" / "data" / "nnc").glob("*.nnc")
)
RANDOM = np.random.default_rng(3)
TENSORS = {
    "weight": RANDOM.normal(0, 0.1, (8, 4, 3, 3)).astype(np.float32),
    "bias": RANDOM.normal(0, 0.1, 8).astype(np.float32),
    "integers": np.arange(-6, 6, dtype=np.int32).reshape(3, 4),
    "zeros": np.zeros((5, 7), np.float32),
    "ünï": RANDOM.normal(0, 3.0, (1, 9)).astype(np.float32),
    "empty": np.zeros((0, 4), np.float32),
}
TENSORS["weight"][3] = 0
SETTINGS = {
    "default": nnc.EncodeSettings(),
    "first edition": nnc.EncodeSettings(profile=0, node_ids=False),
    "uniform": nnc.EncodeSettings(dependent_quantisation=False, cabac_unary_length_minus1=0),
    "no nodes": nnc.EncodeSettings(node_ids=False),
    "block scan": nnc.EncodeSettings(scan_order=1),
    "codebooks": nnc.EncodeSettings(codebook="always"),
    "lossless": nnc.EncodeSettings(lossless=True),
    "dense": nnc.EncodeSettings(qp=-70, qp_density=5),
}


def the_long_way():
    return patch.multiple(plain, BACKEND="python"), patch.multiple(batch, BACKEND="python")


def outcome(stream, **options):
    """All that a decoder finds, or the words it refuses with."""
    try:
        decoded = nnc.decode(stream, limits=Limits(max_elements=4096), **options)
    except NnrVideoError as error:
        return type(error), str(error)
    coded = [
        (
            each.element,
            each.choices.init_indices,
            None if each.choices.row_skip_flags is None else each.choices.row_skip_flags.tolist(),
            each.qp_delta,
            each.qp,
            each.levels.tolist(),
            each.spec.unary_length,
            each.spec.dq_flag,
        )
        for unit in decoded.coded
        for each in unit
    ]
    levels = {name: found.tolist() for name, found in decoded.levels.items()}
    return decoded.tensors.fingerprint(), levels, decoded.units, coded, nnc.recode(decoded)


def both(stream):
    """Outcomes by the shortcuts, with one thread and with two, and by the long way."""
    short = outcome(stream, threads=1)
    assert short == outcome(stream, threads=2)
    headers, codewords = the_long_way()
    with headers, codewords:
        return short, outcome(stream, threads=1)


def streams():
    for name, settings in SETTINGS.items():
        yield name, nnc.encode(TENSORS, settings)
    for path in FROZEN:
        yield f"frozen {path.stem}", path.read_bytes()


STREAMS = dict(streams())


@pytest.mark.parametrize("name", STREAMS)
def test_shortcuts_find_what_the_long_way_finds(name):
    short, long = both(STREAMS[name])
    assert short == long


@pytest.mark.parametrize("name", ["default", "first edition", "no nodes", "dense"])
def test_shortcuts_are_taken(name):
    stream = STREAMS[name]
    read = []

    def noted(*arguments):
        read.append(plain.parse_plain_unit(*arguments))
        return read[-1]

    with patch.object(nnc.stream, "parse_plain_unit", noted):
        units = parse_units(stream)
    data_units = [unit for unit in units if isinstance(unit, nnc.DataUnit)]
    assert [unit for unit in read if unit is not None] == data_units
    codewords = nnc.decode(stream)._codewords
    together = [each for each in codewords if isinstance(each, batch.BatchedCodeword)]
    assert len(together) == len(codewords) - 1  # all but the empty tensor


@pytest.mark.parametrize("name", ["default", "first edition", "block scan", "lossless"])
def test_damage_is_told_alike(name):
    stream = STREAMS[name]
    random = np.random.default_rng(len(name))
    for _ in range(150):
        damaged = bytearray(stream)
        for _ in range(int(random.integers(1, 4))):
            damaged[int(random.integers(0, len(damaged)))] ^= 1 << int(random.integers(0, 8))
        short, long = both(bytes(damaged))
        assert short == long


@pytest.mark.parametrize("name", ["default", "first edition", "no nodes", "codebooks"])
def test_a_damaged_header_is_never_plain(name):
    """What the native parser takes, the other one takes, and reads the same."""
    stream = STREAMS[name]
    units = parse_units(stream)
    context = SyntaxContext()
    random = np.random.default_rng(len(name))
    limits = Limits(max_string_bytes=40, max_dimensions=5, max_elements=1000)
    taken = 0
    for unit in units:
        begin, size = unit.header.offset, unit.header.nnr_unit_size
        for _ in range(200):
            data = bytearray(stream[begin : begin + size])
            for _ in range(int(random.integers(0, 3))):
                data[int(random.integers(2, min(size, 40)))] ^= 1 << int(random.integers(0, 8))
            found = plain.parse_plain_unit(bytes(data), begin, context, limits)
            if found is None:
                continue
            taken += 1
            header = parse_unit_header(bytes(data), begin)
            assert parse_unit(bytes(data), header, context, limits) == found
        context.note(unit)
    assert taken > 100


def test_levels_beyond_float32_are_refused_alike():
    stream = nnc.encode(
        {"w": np.full((4, 4), 3e38, np.float32)}, nnc.EncodeSettings(qp=400, rate_weight=0)
    )
    units = parse_units(stream)
    quantization = nnc.Quantization(2, units[1].quantization.quantization_parameter + 60)
    units[1] = replace(units[1], quantization=quantization)
    short, long = both(write_units(units))
    assert short == long
    assert "range of float32" in short[1]


def test_tensors_share_memory_only_with_read_only_neighbours():
    decoded = nnc.decode(STREAMS["default"])
    for values in (*decoded.tensors.values(), *decoded.levels.values()):
        assert not values.flags.writeable
        assert not values.size or not np.asarray(values.base).flags.writeable
