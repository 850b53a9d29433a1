# SPDX-License-Identifier: Apache-2.0
"""Unit by unit gives what the whole gives, in little memory."""

import io
import subprocess
import sys

import numpy as np
import pytest

from nnrvideo import nnc
from nnrvideo.entropy import BACKEND
from nnrvideo.errors import BitstreamError, TruncatedError, UnsupportedFeatureError

RANDOM = np.random.default_rng(5)
TENSORS = {
    "w": RANDOM.laplace(0, 0.1, (12, 6, 3, 3)).astype(np.float32),
    "b": RANDOM.normal(0, 0.1, 12).astype(np.float32),
    "s": RANDOM.uniform(0.5, 2, 12).astype(np.float32),
    "i": RANDOM.integers(-99, 99, (7, 3), np.int32),
    "h": RANDOM.normal(0, 1, (5, 5)).astype(np.float16),
    "empty": np.zeros((0, 3), np.float32),
}
BLOCK = {nnc.Role.WEIGHT: "w", nnc.Role.BIAS: "b", nnc.Role.SCALING: "s"}


@pytest.mark.parametrize("blocks", [[], [BLOCK]])
@pytest.mark.parametrize("settings", [{}, {"codebook": "always"}, {"lossless": True}])
def test_the_same_values(settings, blocks):
    data = nnc.encode(TENSORS, nnc.EncodeSettings(qp=-20, **settings), blocks=blocks)
    expected = nnc.decode(data).network_tensors()
    found = dict(nnc.iter_tensors(io.BytesIO(data)))
    assert set(found) == set(expected)
    for name, values in expected.items():
        assert found[name].dtype == values.dtype
        assert found[name].shape == values.shape
        assert found[name].tobytes() == values.tobytes()


def test_errors_come_when_their_unit_is_reached():
    data = nnc.encode(TENSORS)
    source = nnc.iter_tensors(io.BytesIO(data[:-3]))
    names = []
    with pytest.raises(TruncatedError):
        for name, _ in source:
            names.append(name)
    assert names == list(TENSORS)[:-1]
    with pytest.raises(BitstreamError, match="NNC unit 3"):
        damaged = bytearray(data)
        second = nnc.parse_units(data)[3].header
        damaged[second.offset + second.nnr_unit_size - 1] ^= 0xFF
        dict(nnc.iter_tensors(io.BytesIO(damaged)))


def test_updates_have_no_values_of_their_own():
    state = nnc.DecoderState()
    nnc.decode(nnc.encode(TENSORS), state=state)
    update = nnc.encode_update({"w": TENSORS["w"]}, state)
    with pytest.raises(UnsupportedFeatureError, match="update"):
        dict(nnc.iter_tensors(io.BytesIO(update)))


MEMORY = """
import io, sys
import numpy as np
from nnrvideo import nnc
from nnrvideo.limits import Limits

def peak():
    lines = open("/proc/self/status").read().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith("VmHWM")).split()[1])

for _ in nnc.iter_tensors(open(sys.argv[2], "rb")):  # whatever is loaded on the first use
    pass
open("/proc/self/clear_refs", "w").write("5")
before, largest = peak(), 0
for name, values in nnc.iter_tensors(open(sys.argv[1], "rb"), limits=Limits.offline()):
    largest = max(largest, values.nbytes)
    del values
print((peak() - before - largest) / 2**20)
"""


@pytest.mark.skipif(BACKEND != "native", reason="takes long without the native core")
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_memory_is_that_of_the_largest_tensor(tmp_path):
    """Twelve million weights in six tensors: 8 MiB above the largest of them, not 46."""
    layer = RANDOM.laplace(0, 0.02, (1000, 2000)).astype(np.float32)
    large = nnc.encode(
        {f"t{n}": layer for n in range(6)}, nnc.EncodeSettings(preset="fast", qp=-24)
    )
    (tmp_path / "large.nnc").write_bytes(large)
    (tmp_path / "small.nnc").write_bytes(nnc.encode(TENSORS))
    command = [sys.executable, "-c", MEMORY, tmp_path / "large.nnc", tmp_path / "small.nnc"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 8
