# SPDX-License-Identifier: Apache-2.0
"""Checked by mypy --strict, never run: the public API as an integrator's typed code uses it."""

from fractions import Fraction
from pathlib import Path
from typing import assert_type

import nnrvideo as nv


def pack(path: Path) -> bytes:
    network = nv.load_onnx(path)
    assert_type(network, nv.Network)
    data: bytes = nv.pack(network, nv.EncodeSettings(qp=-32), topology="text")
    return data


def enhance(picture: nv.Picture, records: bytes) -> nv.Picture | None:
    with nv.Enhancer(output_size=(1280, 720), limits=nv.Limits.set_top_box()) as enhancer:
        enhancer.send_side_data(Fraction(0), records, clvs_start=True)
        assert_type(enhancer.send_frame(picture, Fraction(0)), nv.Status)
        result = enhancer.receive(timeout=None)
        return result.picture if isinstance(result, nv.Enhanced) else None
