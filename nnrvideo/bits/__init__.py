# SPDX-License-Identifier: Apache-2.0
"""Bits: the standards' descriptors as methods, emulation prevention, LEB128."""

from nnrvideo.bits.leb128 import read_leb128, write_leb128
from nnrvideo.bits.rbsp import escape, unescape
from nnrvideo.bits.reader import BitReader
from nnrvideo.bits.writer import BitWriter

__all__ = ["BitReader", "BitWriter", "escape", "read_leb128", "unescape", "write_leb128"]
