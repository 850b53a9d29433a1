# SPDX-License-Identifier: Apache-2.0
"""VMAF and VMAF-NEG by libvmaf, as an ffmpeg program brings it along.

PyAV's own libavfilter is built without libvmaf, so an ffmpeg program does it: the one named by
``NNRVIDEO_FFMPEG``, that of the package imageio-ffmpeg (extra ``vmaf``), or the one in ``PATH``.
Pictures go through one pipe, reference above and picture below in one frame of twice the height,
and the figures come back as libvmaf's JSON; nothing is read off a console.  Both models are
computed in one pass from the same features.  VMAF looks at luma alone, and so do we.

Where there is no such program VMAF is absent; nothing takes its place.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self, final

import numpy as np
import numpy.typing as npt

from nnrvideo.errors import NnrVideoError

Plane = npt.NDArray[Any]

EXECUTABLE_VARIABLE = "NNRVIDEO_FFMPEG"
_PIXEL_FORMATS = {8: "yuv420p", 10: "yuv420p10le", 12: "yuv420p12le"}
_UHD_ROWS = 1440  # above this the model for 2160 rows, seen from 1.5 picture heights, applies
_LOG = "vmaf.json"
_WAIT = 600.0  # seconds that libvmaf may take to finish once it has everything


class VmafError(NnrVideoError):
    """libvmaf is not to be had, or refused its work."""


@final
@dataclass(frozen=True, slots=True)
class VmafTool:
    """An ffmpeg program with libvmaf."""

    executable: str
    libvmaf_version: str


@final
@dataclass(frozen=True, slots=True)
class VmafScores:
    """Figures of a sequence, 0 to 100."""

    vmaf: float  # mean over pictures
    vmaf_neg: float  # likewise; "no enhancement gain": sharpening and contrast earn nothing
    vmaf_by_picture: tuple[float, ...]
    vmaf_neg_by_picture: tuple[float, ...]
    model: str  # name in libvmaf; that of VMAF-NEG ends in "neg"
    libvmaf_version: str


@functools.cache
def find_vmaf() -> VmafTool:
    """Finds an ffmpeg with libvmaf by measuring two small pictures with it.

    Raises:
        VmafError: There is none; the message says what to install.
    """
    failures = []
    for origin, executable in _candidates():
        try:
            version = _try(executable)
        except (VmafError, OSError) as error:
            failures.append(f"{origin} ({executable}): {error}")
        else:
            return VmafTool(executable, version)
    reason = "; ".join(failures) or "no ffmpeg found"
    raise VmafError(
        f"no ffmpeg with libvmaf: {reason}; install one with: pip install 'nnrvideo[vmaf]', or "
        f"name one in {EXECUTABLE_VARIABLE}"
    )


def vmaf_model(rows: int) -> str:
    """Name in libvmaf of the model for pictures of so many luma rows."""
    return "vmaf_4k_v0.6.1" if rows > _UHD_ROWS else "vmaf_v0.6.1"


@final
class VmafMeter:
    """VMAF and VMAF-NEG of a sequence; pictures are passed on, not kept.

    Args:
        tool: Program that does it.
        width: Luma samples in a row.
        height: Luma rows.
        bit_depth: 8, 10 or 12.
        threads: Threads of libvmaf.

    Raises:
        VmafError: No such bit depth in libvmaf, or the program does not start.
    """

    def __init__(
        self, tool: VmafTool, width: int, height: int, bit_depth: int = 8, *, threads: int = 1
    ) -> None:
        if bit_depth not in _PIXEL_FORMATS:
            raise VmafError(f"libvmaf measures 8, 10 and 12 bits, not {bit_depth}")
        self._pictures = 0
        self._shape = height, width
        self._dtype = np.dtype(np.uint8 if bit_depth == 8 else "<u2")
        # libvmaf wants chroma and ignores it: grey will do.  Two planes of half the size each way.
        chroma = np.full(2 * height * ((width + 1) // 2), 1 << (bit_depth - 1), self._dtype)
        self._chroma = chroma.tobytes()
        self._model = vmaf_model(height)
        self._folder = tempfile.TemporaryDirectory(prefix="nnrvideo-vmaf-")
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed in _clean
        size = f"{width}:{height}"
        models = "|".join(
            rf"version={self._model}{suffix}\:name={name}"
            for suffix, name in (("", "vmaf"), ("neg", "vmaf_neg"))
        )
        graph = (
            f"[0:v]split[a][b];[a]crop={size}:0:0:exact=1[r];[b]crop={size}:0:{height}:exact=1[p];"
            f"[p][r]libvmaf=log_fmt=json:log_path={_LOG}:n_threads={max(threads, 1)}:"
            f"model='{models}'"
        )
        command = [
            tool.executable, "-hide_banner", "-nostats", "-loglevel", "error",
            "-f", "rawvideo", "-pixel_format", _PIXEL_FORMATS[bit_depth],
            "-video_size", f"{width}x{2 * height}", "-framerate", "25", "-i", "pipe:0",
            "-filter_complex", graph, "-f", "null", "-",
        ]  # fmt: skip
        try:
            self._process = subprocess.Popen(  # noqa: S603 - our own arguments, no shell
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=self._errors,
                cwd=self._folder.name,
            )
        except OSError as error:
            self._clean()
            raise VmafError(f"{tool.executable} does not start: {error.strerror}") from error

    def add(self, reference: Plane, plane: Plane) -> None:
        """Measures one more pair of luma planes.

        Args:
            reference: (rows, columns) unsigned samples.
            plane: Samples of the same shape and depth.

        Raises:
            ValueError: The shape is not that of the sequence.
            VmafError: The program gave up.
        """
        if reference.shape != self._shape or plane.shape != self._shape:
            raise ValueError(f"planes of {self._shape} are being measured, not {plane.shape}")
        assert self._process.stdin is not None
        try:
            for part in (reference, plane):
                self._process.stdin.write(np.ascontiguousarray(part, self._dtype).data)
            self._process.stdin.write(self._chroma)
        except OSError as error:
            self._process.wait()
            raise VmafError(self._complaint()) from error
        self._pictures += 1

    def finish(self) -> VmafScores:
        """Waits for libvmaf and returns its figures; ends the meter.

        Raises:
            VmafError: The program failed, or its figures are not what was asked for.
        """
        try:
            assert self._process.stdin is not None
            with contextlib.suppress(OSError):
                self._process.stdin.close()
            try:
                code = self._process.wait(_WAIT)
            except subprocess.TimeoutExpired as error:
                raise VmafError(f"libvmaf did not finish within {_WAIT:.0f} s") from error
            if code:
                raise VmafError(self._complaint())
            scores = self._scores()
        finally:
            self.close()
        if len(scores.vmaf_by_picture) != self._pictures:
            raise VmafError(
                f"libvmaf has figures of {len(scores.vmaf_by_picture)} pictures, "
                f"not of {self._pictures}"
            )
        return scores

    def close(self) -> None:
        """Ends the program if it still runs; harmless after :meth:`finish`."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        if self._process.stdin is not None and not self._process.stdin.closed:
            with contextlib.suppress(OSError):
                self._process.stdin.close()
        self._clean()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _scores(self) -> VmafScores:
        try:
            log = json.loads((Path(self._folder.name) / _LOG).read_text(encoding="utf-8"))
            plain, neg = (
                tuple(float(frame["metrics"][name]) for frame in log["frames"])
                for name in ("vmaf", "vmaf_neg")
            )
            version = str(log["version"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise VmafError(f"libvmaf left no usable figures: {error}") from error
        return VmafScores(_mean(plain), _mean(neg), plain, neg, self._model, version)

    def _complaint(self) -> str:
        self._errors.seek(0)
        text = self._errors.read().decode("utf-8", "replace").strip().splitlines()
        return (
            f"ffmpeg ended with code {self._process.returncode}: {text[0] if text else 'no word'}"
        )

    def _clean(self) -> None:
        if not self._errors.closed:
            self._errors.close()
            self._folder.cleanup()


def _mean(values: tuple[float, ...]) -> float:
    return sum(values) / max(len(values), 1)


def _candidates() -> list[tuple[str, str]]:
    """(where from, program) in order of preference."""
    named = os.environ.get(EXECUTABLE_VARIABLE)
    if named:
        return [(EXECUTABLE_VARIABLE, named)]
    found = []
    try:
        import imageio_ffmpeg

        found.append(("imageio-ffmpeg", str(imageio_ffmpeg.get_ffmpeg_exe())))
    except (ImportError, RuntimeError):
        pass  # not installed, or without a program for this machine
    in_path = shutil.which("ffmpeg")
    if in_path:
        found.append(("PATH", in_path))
    return found


def _try(executable: str) -> str:
    """Version of the libvmaf in a program.

    Raises:
        VmafError: It has none.
    """
    grey = np.full((64, 64), 128, np.uint8)
    with VmafMeter(VmafTool(executable, ""), 64, 64) as meter:
        for _ in range(2):
            meter.add(grey, grey)
        return meter.finish().libvmaf_version
