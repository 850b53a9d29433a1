# SPDX-License-Identifier: Apache-2.0
"""GStreamer for the tests: the distribution's, with a registry of its own and our elements.

Pipelines run in this process, on the distribution's ``gi``, which is lent to the tests' own
environment through a folder with one link in it.  Where GStreamer is missing the tests are skipped
with a reason; a CI that has it installed must not skip them.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nnrvideo.gst import setup

SECOND = 1_000_000_000


def missing() -> str:
    """Why the tests cannot run here; empty if they can."""
    if shutil.which("gst-launch-1.0") is None:
        return f"GStreamer is not installed: {setup.APT_LINE}"
    if setup.system_gi() is None:
        return "the system's gi is missing or for another version of Python than the tests run"
    return ""


def pytest_collection_modifyitems(items) -> None:
    """The distribution's gi is older than the tests' Python likes."""
    here = Path(__file__).parent
    for item in items:
        if here in Path(item.path).parents:
            item.add_marker(pytest.mark.filterwarnings("ignore::ImportWarning"))
            item.add_marker(pytest.mark.filterwarnings("ignore::DeprecationWarning"))


@pytest.fixture(scope="session")
def gst_environment(tmp_path_factory) -> dict[str, str]:
    """Environment for programs of GStreamer, with nothing of the caller's but the tests' venv."""
    reason = missing()
    if reason:
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("gst")
    # GStreamer asks the first Python of the path where gi is; only the distribution's knows.
    system = {Path("/usr/bin"), Path("/bin")}
    path = [
        p
        for p in os.environ["PATH"].split(":")
        if Path(p) in system or not Path(p, "python3").exists()
    ]
    return {
        "PATH": ":".join(path),
        "HOME": str(folder),
        "LANG": "C.UTF-8",
        "VIRTUAL_ENV": sys.prefix,
        "GST_PLUGIN_PATH": str(setup.plugin_folder()),
        "GST_REGISTRY": str(folder / "registry.bin"),
    }


@pytest.fixture(scope="session")
def gst(gst_environment, tmp_path_factory) -> Any:
    """The module ``Gst``, initialised in this process."""
    link = tmp_path_factory.mktemp("gi") / "gi"
    link.symlink_to(setup.system_gi())
    sys.path.append(str(link.parent))
    for name in ("GST_PLUGIN_PATH", "GST_REGISTRY"):
        os.environ[name] = gst_environment[name]
    import gi

    gi.require_version("Gst", "1.0")
    gi.require_version("GstVideo", "1.0")
    gi.require_version("GstApp", "1.0")
    from gi.repository import Gst, GstApp, GstVideo

    del GstApp, GstVideo
    # The plugin scanner is a program of its own: by the tests' PATH it would run the tests' own
    # Python, which has no gi.
    path = os.environ["PATH"]
    os.environ["PATH"] = gst_environment["PATH"]
    Gst.init(None)
    os.environ["PATH"] = path
    return Gst


@pytest.fixture
def launch(gst_environment) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Function that runs a program of GStreamer and returns what it said."""

    def run(*command: Any, check: bool = True, **variables: str) -> Any:
        result = subprocess.run(
            [str(part) for part in command],
            env={**gst_environment, **variables},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert "Traceback" not in result.stderr + result.stdout
        assert not check or result.returncode == 0, result.stderr + result.stdout
        return result

    return run


@dataclass
class Frame:
    """A picture or an access unit that came out of a pipeline."""

    pts: int  # ns
    time: int  # running time, ns
    data: bytes = field(repr=False)
    caps: Any

    @property
    def size(self) -> tuple[int, int]:
        structure = self.caps.get_structure(0)
        return structure.get_value("width"), structure.get_value("height")

    @property
    def luma(self) -> np.ndarray:
        width, height = self.size
        stride = -(-width // 4) * 4
        rows = np.frombuffer(self.data, np.uint8, stride * height).reshape(height, stride)
        return rows[:, :width]

    @property
    def samples(self) -> bytes:
        """I420 without the padding of rows, whose bytes mean nothing."""
        width, height = self.size
        samples, position = b"", 0
        for columns, rows in ((width, height), *[(-(-width // 2), -(-height // 2))] * 2):
            stride = -(-columns // 4) * 4
            plane = np.frombuffer(self.data, np.uint8, stride * rows, position)
            samples += plane.reshape(rows, stride)[:, :columns].tobytes()
            position += stride * (rows + rows % 2 if position == 0 else rows)
        return samples


class Pipeline:
    """A running pipeline whose pictures are taken from the appsink named ``out``."""

    def __init__(self, gst: Any, description: str) -> None:
        self.gst = gst
        self.bin = gst.parse_launch(description)
        self.sink = self.bin.get_by_name("out")
        self.bus = self.bin.get_bus()
        self.messages: list[Any] = []

    def __getitem__(self, name: str) -> Any:
        return self.bin.get_by_name(name)

    def set_state(self, state: str, timeout: int = 20 * SECOND) -> None:
        result = self.bin.set_state(getattr(self.gst.State, state))
        if result == self.gst.StateChangeReturn.ASYNC:
            result = self.bin.get_state(timeout)[0]
        if result == self.gst.StateChangeReturn.FAILURE:
            self.check()
        assert result != self.gst.StateChangeReturn.FAILURE

    def start(self) -> None:
        """PLAYING, without waiting for a first picture."""
        assert self.bin.set_state(self.gst.State.PLAYING) != self.gst.StateChangeReturn.FAILURE

    def pull(self, timeout: int = 20 * SECOND, *, quiet: bool = False) -> Frame | None:
        """The next picture; None at the end, or if there may be silence."""
        sample = self.sink.emit("try-pull-sample", timeout)
        self.check()
        if sample is None:
            assert quiet or self.sink.get_property("eos"), "no picture in time"
            return None
        buffer = sample.get_buffer()
        time = sample.get_segment().to_running_time(self.gst.Format.TIME, buffer.pts)
        data = buffer.extract_dup(0, buffer.get_size())
        return Frame(buffer.pts, time, data, sample.get_caps())

    def frames(self) -> list[Frame]:
        """All pictures up to the end."""
        return list(iter(self.pull, None))

    def check(self) -> None:
        """Collects messages; an error fails the test."""
        types = self.gst.MessageType
        while (message := self.bus.pop()) is not None:
            self.messages.append(message)
            if message.type == types.ERROR:
                error, debug = message.parse_error()
                pytest.fail(f"{message.src.get_name()}: {error.message} ({debug})")

    def said(self, name: str) -> list[dict[str, Any]]:
        """Element messages of a name, as dictionaries."""
        self.check()
        found = []
        for message in self.messages:
            structure = message.get_structure()
            if structure is not None and structure.get_name() == name:
                found.append(
                    {
                        structure.nth_field_name(i): structure.get_value(
                            structure.nth_field_name(i)
                        )
                        for i in range(structure.n_fields())
                    }
                )
        return found

    def warnings(self) -> list[str]:
        self.check()
        kind = self.gst.MessageType.WARNING
        return [m.parse_warning()[0].message for m in self.messages if m.type == kind]

    def failure(self) -> str:
        """Starts what cannot work; the text of the error."""
        self.bin.set_state(self.gst.State.PLAYING)
        kinds = self.gst.MessageType.ERROR | self.gst.MessageType.EOS
        message = self.bus.timed_pop_filtered(20 * SECOND, kinds)
        assert message is not None, "neither an error nor an end"
        assert message.type == self.gst.MessageType.ERROR, "it works"
        error, debug = message.parse_error()
        assert "Traceback" not in error.message + debug
        self.bin.set_state(self.gst.State.NULL)
        while self.bus.pop() is not None:
            pass
        return error.message

    def seek(self, time: int, *, accurate: bool = True, rate: float = 1.0) -> bool:
        flags = self.gst.SeekFlags.FLUSH
        flags |= self.gst.SeekFlags.ACCURATE if accurate else self.gst.SeekFlags.KEY_UNIT
        kinds = self.gst.SeekType
        stop = -1 if rate > 0 else time
        start = time if rate > 0 else 0
        return self.bin.seek(rate, self.gst.Format.TIME, flags, kinds.SET, start, kinds.SET, stop)

    def close(self) -> None:
        self.bin.set_state(self.gst.State.NULL)


@pytest.fixture
def pipeline(gst) -> Iterator[Callable[..., Pipeline]]:
    """Function that makes a pipeline; all are stopped at the end."""
    made: list[Pipeline] = []

    def make(description: str, *, state: str | None = "PLAYING") -> Pipeline:
        new = Pipeline(gst, description)
        made.append(new)
        if state is not None:
            new.set_state(state)
        return new

    yield make
    for each in made:
        each.close()
        each.check()


NUMBER_BITS = 8
SQUARE = 12  # pixels
DARK, BRIGHT = 60, 180
NUMBERED_RATE = Fraction(25)


@pytest.fixture(scope="session")
def numbered_clip() -> Callable[..., Path]:
    """Function that makes a film whose pictures show their number, robust against coding."""

    def make(
        path: Path,
        codec: str = "h264",
        frames: int = 150,
        *,
        noise: bool = False,
        **options: str,
    ) -> Path:
        import av

        os.environ.setdefault("SVT_LOG", "1")  # errors only
        encoder = {"h264": "libx264", "h265": "libx265", "av1": "libsvtav1"}[codec]
        defaults = {
            "libx264": {"g": "25", "bf": "3", "preset": "veryfast", "sc_threshold": "0"},
            "libx265": {
                "preset": "ultrafast",
                "x265-params": "log-level=none:keyint=25:min-keyint=25:bframes=4:b-adapt=0"
                ":scenecut=0",
            },
            "libsvtav1": {"preset": "10", "g": "25", "svtav1-params": "lp=1"},
        }[encoder]
        with av.open(str(path), "w") as sink:
            stream = sink.add_stream(encoder, rate=NUMBERED_RATE)
            stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
            stream.codec_context.options = {**defaults, "crf": "15", **options}
            for index in range(frames):
                luma = np.full((64, 96), 110, np.uint8)
                if noise:
                    luma += np.random.default_rng(index).integers(0, 8, (64, 96), np.uint8) - 4
                for bit in range(NUMBER_BITS):
                    level = BRIGHT if index >> bit & 1 else DARK
                    luma[24:48, bit * SQUARE : (bit + 1) * SQUARE] = level
                luma[56:, : index % 90] = 140  # something moves
                frame = av.VideoFrame(96, 64, "yuv420p")
                for plane, value in zip(frame.planes, (luma, None, None), strict=True):
                    view = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
                    view[: plane.height, : plane.width] = 128 if value is None else value
                frame.pts, frame.time_base = index, 1 / NUMBERED_RATE
                sink.mux(stream.encode(frame))
            sink.mux(stream.encode(None))
        return path

    return make


def read_numbers(frame: Frame) -> tuple[int, int]:
    """Number in a picture of twice the size, and how much brighter than coded it is."""
    scale = frame.size[0] / 96
    lift = round(float(np.median(frame.luma[: int(16 * scale)]))) - 110
    number = 0
    for bit in range(NUMBER_BITS):
        left = int((bit * SQUARE + 4) * scale)
        square = frame.luma[int(30 * scale) : int(42 * scale), left : left + int(4 * scale)]
        number |= (float(square.mean()) - lift > (DARK + BRIGHT) / 2) << bit
    return number, round(lift / 5) * 5


@pytest.fixture(scope="session")
def numbers() -> Callable[[Frame], tuple[int, int]]:
    return read_numbers


@pytest.fixture(scope="session")
def lifter() -> Any:
    """Networks that double the picture and make it brighter by so many levels."""
    from onnx import TensorProto, helper, numpy_helper

    from nnrvideo.model import infer_contract, load_onnx, pack, to_nnpfc
    from nnrvideo.nnc import EncodeSettings, encode
    from nnrvideo.sei import Nnpfc
    from nnrvideo.tensors import TensorSet

    lossless = EncodeSettings(lossless=True)

    class Lifter:
        @staticmethod
        def bitstream(lift: int) -> bytes:
            weights = {
                "weight": np.ones((4, 1, 1, 1), np.float32),
                "bias": np.full(4, lift / 255, np.float32),
            }
            graph = helper.make_graph(
                [
                    helper.make_node("Conv", ["input", "weight", "bias"], ["many"]),
                    helper.make_node("DepthToSpace", ["many"], ["output"], blocksize=2),
                ],
                "lifter",
                [helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 1, "h", "w"])],
                [helper.make_tensor_value_info("output", TensorProto.FLOAT, [1, 1, "H", "W"])],
                [numpy_helper.from_array(value, name) for name, value in weights.items()],
            )
            opset = helper.make_opsetid("", 17)
            model = helper.make_model(graph, opset_imports=[opset], ir_version=8)
            return pack(load_onnx(model.SerializeToString()), lossless)

        def base(self, lift: int) -> Nnpfc:
            from nnrvideo.model import unpack

            payload = self.bitstream(lift)
            contract = infer_contract(unpack(payload).require_network())
            return to_nnpfc(contract, None, nnpfc_id=7, payload=payload)

        @staticmethod
        def update(lift: int) -> bytes:
            bias = TensorSet({"bias": np.full(4, lift / 255, np.float32)})
            return encode(bias, lossless)

    return Lifter()


@pytest.fixture(scope="session")
def slow_network(tmp_path_factory) -> Path:
    """A network file with far too many multiplications for a picture of 320x240 at 60 Hz."""
    from onnx import TensorProto, helper, numpy_helper

    from nnrvideo.model import load_onnx, pack
    from nnrvideo.nnc import EncodeSettings

    rng = np.random.default_rng(0)
    shapes = [(64, 1), (64, 64), (64, 64), (4, 64)]
    names = [f"w{index}" for index in range(len(shapes))]
    weights = [(rng.normal(size=(*s, 3, 3)) * 0.02).astype(np.float32) for s in shapes]
    nodes, value = [], "input"
    for name in names:
        nodes.append(helper.make_node("Conv", [value, name], [f"{name}/out"], pads=[1] * 4))
        value = f"{name}/out"
    nodes.append(helper.make_node("DepthToSpace", [value], ["output"], blocksize=2))
    graph = helper.make_graph(
        nodes,
        "slow",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 1, "h", "w"])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, [1, 1, "H", "W"])],
        [numpy_helper.from_array(w, n) for w, n in zip(weights, names, strict=True)],
    )
    opset = helper.make_opsetid("", 17)
    model = helper.make_model(graph, opset_imports=[opset], ir_version=8)
    path = tmp_path_factory.mktemp("slow") / "slow.nnc"
    path.write_bytes(pack(load_onnx(model.SerializeToString()), EncodeSettings(preset="fast")))
    return path
