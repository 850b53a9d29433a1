# SPDX-License-Identifier: Apache-2.0
"""Streams that this package wrote once decode to the same bits for ever.

``data/nnc`` was written by the encoder of version 0.1.0 (blocks, codebook and sequence by the
builders of tests/unit/nnc/test_nnc_blocks.py) and must not be written again.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from nnrvideo import entropy, nnc
from nnrvideo.entropy import backend

_DATA = Path(__file__).resolve().parent / "data" / "nnc"
_MANIFEST = json.loads((_DATA / "manifest.json").read_text())


@pytest.mark.parametrize("coder", ["native", "python"])
@pytest.mark.parametrize("name", _MANIFEST)
def test_frozen_stream(name, coder, monkeypatch):
    if coder == "python":
        monkeypatch.setattr(backend, "native", None)
    elif entropy.BACKEND != "native":
        pytest.skip("the native coder is not built, or NNRVIDEO_PURE hides it")
    state = nnc.DecoderState()
    for step in _MANIFEST[name]:
        data = (_DATA / step["file"]).read_bytes()
        assert hashlib.sha256(data).hexdigest() == step["sha256"]
        decoded = nnc.decode(data, state=state)
        found = {key: [str(a.dtype), list(a.shape)] for key, a in decoded.tensors.items()}
        assert found == step["tensors"]
        assert decoded.tensors.fingerprint() == step["fingerprint"]
        assert decoded.network_tensors().fingerprint() == step["network"]
        topology = decoded.topology
        digest = None if topology is None else hashlib.sha256(topology.data).hexdigest()
        assert digest == step["topology"]
        assert nnc.recode(decoded) == data


def test_no_file_is_forgotten():
    listed = {step["file"] for steps in _MANIFEST.values() for step in steps}
    assert listed == {path.name for path in _DATA.glob("*.nnc")}
