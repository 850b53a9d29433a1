# SPDX-License-Identifier: Apache-2.0
"""Where the elements are, how GStreamer finds them, and what is missing if it does not.

Nothing here imports ``gi``: it examines GStreamer from outside, by the programs a user has.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import final

from nnrvideo.errors import NnrVideoError

APT_LINE = (
    "apt-get install --no-install-recommends gstreamer1.0-tools gstreamer1.0-plugins-base "
    "gstreamer1.0-plugins-good gstreamer1.0-plugins-bad gstreamer1.0-plugins-ugly "
    "gstreamer1.0-libav gstreamer1.0-python3-plugin-loader python3-gst-1.0 "
    "gir1.2-gst-plugins-base-1.0"
)
ELEMENTS = (
    "nnrextract",
    "nnrenhance",
    "nnrinsert",
    "nnrdescribe",
    "nnrh264decodebin",
    "nnrh265decodebin",
    "nnrav1decodebin",
)

_WHERE = "where.json"  # in the copied shims: the site-packages that they belong to
_SHIM = "nnrvideo_shim"
# Module -> distribution; what elements import when they are started.
_NEEDED = {
    "numpy": "numpy",
    "onnxruntime": "onnxruntime",
    "onnx": "onnx",
    "av": "av",
    "cv2": "opencv-python-headless",
}
_TIMEOUT = 60  # seconds for a program of GStreamer's


@final
class GStreamerError(NnrVideoError):
    """GStreamer, or a place for the elements, is missing."""


@final
@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    what: str
    ok: bool = True
    remedy: str = ""  # what to do; empty if it is fine


def plugin_folder() -> Path:
    """The folder for GST_PLUGIN_PATH: the installed package's, or the checkout's.

    Raises:
        GStreamerError: The elements were not installed along.
    """
    package = Path(__file__).resolve().parent
    for folder in (package / "gst_plugins", package.parents[1] / "gst_plugins"):
        if (folder / "python" / _SHIM).is_dir():
            return folder
    raise GStreamerError("the GStreamer elements are missing from this installation of nnrvideo")


def user_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """Where GStreamer looks for a user's Python elements without being told."""
    home = environment.get("HOME") or str(Path.home())
    return Path(home, ".gstreamer-1.0", "plugins", "python")


def install(target: Path) -> list[Path]:
    """Copies the elements, bound to this environment.

    Args:
        target: A folder named ``python`` on GStreamer's plugin path.

    Returns:
        What was written.

    Raises:
        GStreamerError: ``target`` cannot be written.
    """
    source = plugin_folder() / "python"
    try:
        (target / _SHIM).mkdir(parents=True, exist_ok=True)
        written = []
        for file in _shim_files(source):
            written.append(target / file)
            _replace(target / file, (source / file).read_bytes())
        where = json.dumps({"site_packages": sysconfig.get_path("purelib")}, indent=1) + "\n"
        _replace(target / _SHIM / _WHERE, where.encode())
    except OSError as error:
        raise GStreamerError(f"cannot write {target}: {error.strerror or error}") from error
    return [*written, target / _SHIM / _WHERE]


def uninstall(target: Path) -> list[Path]:
    """Removes what :func:`install` has copied, and nothing else."""
    removed = []
    for file in (*_shim_files(plugin_folder() / "python"), Path(_SHIM, _WHERE)):
        if (target / file).is_file():
            (target / file).unlink()
            removed.append(target / file)
    for compiled in (target / "__pycache__").glob("nnr*.pyc"):
        compiled.unlink()
    shutil.rmtree(target / _SHIM / "__pycache__", ignore_errors=True)
    if (target / _SHIM).is_dir() and not any((target / _SHIM).iterdir()):
        (target / _SHIM).rmdir()
    return removed


def forget_registry(environment: Mapping[str, str] = os.environ) -> list[Path]:
    """Removes GStreamer's cache of plugins, which remembers failures; it is made anew when needed.

    Returns:
        What was removed.
    """
    given = environment.get("GST_REGISTRY") or environment.get("GST_REGISTRY_1_0")
    cache = environment.get("XDG_CACHE_HOME") or Path(environment.get("HOME", "~"), ".cache")
    files = [Path(given)] if given else Path(cache, "gstreamer-1.0").glob("registry.*.bin")
    removed = [file for file in files if file.is_file()]
    for file in removed:
        file.unlink()
    return removed


def link_gi() -> Path | None:
    """Makes the system's ``gi`` importable in this environment.

    GStreamer's Python loader runs the first ``python3`` of PATH; while an environment is active
    that is the environment's, which knows nothing of the distribution's packages.

    Returns:
        The link; None if ``gi`` can be imported anyway.

    Raises:
        GStreamerError: There is no gi for this version of Python, or no place for the link.
    """
    if _importable("gi"):
        return None
    system = system_gi()
    if system is None:
        version = "{}.{}".format(*sys.version_info[:2])
        raise GStreamerError(
            f"the system has no gi for Python {version}, so GStreamer cannot load elements while "
            "this environment is active; make it with the Python of the system"
        )
    link = Path(sysconfig.get_path("purelib"), "gi")
    try:
        link.symlink_to(system, target_is_directory=True)
    except OSError as error:
        raise GStreamerError(f"cannot link {link} to {system}: {error.strerror}") from error
    return link


def system_gi() -> Path | None:
    """The distribution's ``gi``, if it is for this version of Python."""
    suffix = f"cpython-{sys.version_info[0]}{sys.version_info[1]}-"
    for folder in (
        Path("/usr/lib/python3/dist-packages/gi"),
        Path("/usr/lib64/python{}.{}/site-packages/gi".format(*sys.version_info[:2])),
        Path("/usr/lib/python{}.{}/site-packages/gi".format(*sys.version_info[:2])),
    ):
        if any(file.name.startswith(f"_gi.{suffix}") for file in folder.glob("_gi.*")):
            return folder
    return None


def environment_lines() -> list[str]:
    """Shell commands after which GStreamer finds the elements of this environment."""
    return [f'export GST_PLUGIN_PATH="{plugin_folder()}${{GST_PLUGIN_PATH:+:$GST_PLUGIN_PATH}}"']


def examine(environment: Mapping[str, str] = os.environ) -> Iterator[Finding]:
    """Looks at everything that must be right, the basics first.

    Args:
        environment: In which GStreamer is to be run.

    Yields:
        Findings; after one that makes the rest pointless there are no more.
    """
    inspect = shutil.which("gst-inspect-1.0", path=environment.get("PATH"))
    if inspect is None:
        yield _wrong("gst-inspect-1.0 is not installed", APT_LINE)
        return
    with tempfile.TemporaryDirectory() as folder:
        # A registry of its own: what is wrong must not be remembered in the user's.
        fresh = {**environment, "GST_REGISTRY": f"{folder}/registry"}
        first = _run([inspect, "--version"], fresh)  # complains while it makes the registry
        version = next(iter(first.stdout.splitlines()), "of unknown version")
        yield Finding(f"{inspect}: {version}")
        loader = _run([inspect, "--plugin", "python"], fresh)
        if loader.returncode:
            yield _loader_missing(first.stderr + loader.stderr)
            return
        yield Finding("the loader for Python elements is there")
        yield from _examine_library()
        yield from _examine_places(environment)
        unknown = _unlisted(loader.stdout)
        if not unknown:
            yield _examine_start(fresh)
        yield from _examine_decoders(inspect, fresh)
    if unknown:
        yield _wrong(
            f"not known to GStreamer: {', '.join(unknown)}",
            'nnrvideo gst install --user; or: eval "$(nnrvideo gst env)"',
        )
        return
    stale = _unlisted(_run([inspect, "--plugin", "python"], environment).stdout)
    if stale:
        yield _wrong(
            f"GStreamer's registry remembers an earlier failure: {', '.join(stale)}",
            "nnrvideo gst install",
        )
    else:
        yield Finding(f"known to GStreamer: {', '.join(ELEMENTS)}")


def _unlisted(features: str) -> list[str]:
    """Our elements that are not among the features of the loader's plugin."""
    return [element for element in ELEMENTS if f" {element}: " not in features]


def _loader_missing(complaint: str) -> Finding:
    what = "GStreamer's loader for Python elements"
    if "pygobject" in complaint:
        return _wrong(
            f"{what} cannot import gi in the first python3 of PATH",
            "'nnrvideo gst install' links the system's gi into this environment; or deactivate "
            "the environment before you run GStreamer",
        )
    return _wrong(
        f"{what} is missing",
        "apt-get install gstreamer1.0-python3-plugin-loader python3-gst-1.0",
    )


def _examine_library() -> Iterator[Finding]:
    for module, distribution in _NEEDED.items():
        found = _run([sys.executable, "-P", "-c", f"import {module}"], os.environ)
        if found.returncode:
            yield _wrong(
                f"{module} cannot be imported by {sys.executable}: {_complaint(found.stderr)}",
                f"{sys.executable} -m pip install {distribution}",
            )
            return
    yield Finding(f"what nnrvideo needs can be imported by {sys.executable}")


def _examine_start(environment: Mapping[str, str]) -> Finding:
    """Starts an element, as only then the library is loaded, by the Python of GStreamer."""
    launch = shutil.which("gst-launch-1.0", path=environment.get("PATH"))
    if launch is None:
        return _wrong("gst-launch-1.0 is not installed", APT_LINE)
    chain = ["fakesrc", "num-buffers=0", "!", "nnrenhance", "!", "fakesink"]
    started = _run([launch, "-q", *chain], environment)
    if started.returncode == 0:
        return Finding("nnrenhance starts")
    said = re.search(r"ERROR: from element \S*nnrenhance\S*: (.+)", started.stderr)
    return _wrong(
        f"nnrenhance does not start: {said[1] if said else _complaint(started.stderr)}",
        "'nnrvideo gst install --user' from the environment whose nnrvideo shall be used",
    )


def _examine_places(environment: Mapping[str, str]) -> Iterator[Finding]:
    copied = user_folder(environment)
    source = plugin_folder() / "python"
    if not (copied / _SHIM).is_dir():
        return
    stale = [
        str(file)
        for file in _shim_files(source)
        if not (copied / file).is_file()
        or (copied / file).read_bytes() != (source / file).read_bytes()
    ]
    again = "nnrvideo gst install --user"
    if stale:
        yield _wrong(f"{copied} is of another version of nnrvideo: {stale[0]}", again)
    where = copied / _SHIM / _WHERE
    bound = json.loads(where.read_text())["site_packages"] if where.is_file() else ""
    if bound != sysconfig.get_path("purelib"):
        yield _wrong(f"{copied} belongs to another environment: {bound}", again)
    elif not stale:
        yield Finding(f"{copied} belongs to this environment")


def _examine_decoders(inspect: str, environment: Mapping[str, str]) -> Iterator[Finding]:
    for element, package in (("avdec_h264", "libav"), ("h264parse", "plugins-bad")):
        if _run([inspect, "--exists", element], environment).returncode:
            yield _wrong(f"{element} is missing", f"apt-get install gstreamer1.0-{package}")


def _wrong(what: str, remedy: str) -> Finding:
    return Finding(what, ok=False, remedy=remedy)


def _shim_files(folder: Path) -> list[Path]:
    files = [*folder.glob("nnr*.py"), *(folder / _SHIM).glob("*.py")]
    return sorted(file.relative_to(folder) for file in files)


def _replace(path: Path, content: bytes) -> None:
    temporary = path.with_name(f".{path.name}.part")
    temporary.write_bytes(content)
    temporary.replace(path)


def _importable(module: str) -> bool:
    return _run([sys.executable, "-P", "-c", f"import {module}"], os.environ).returncode == 0


def _run(command: list[str], environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603 - programs by full path, arguments of ours
        command,
        env=dict(environment),
        capture_output=True,
        text=True,
        errors="replace",
        timeout=_TIMEOUT,
        check=False,
    )


def _complaint(text: str) -> str:
    """The line of a program's error output that says most."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    telling = [line for line in lines if re.search(r"Error|CRITICAL|No such", line)]
    return (telling or lines or [""])[-1]
