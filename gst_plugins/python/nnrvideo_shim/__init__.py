# SPDX-License-Identifier: Apache-2.0
"""What the GStreamer elements of nnrvideo share before nnrvideo itself is imported.

GStreamer's Python loader imports the files beside this folder while it builds its registry, and
remembers failures.  So nothing but ``gi`` is imported there and here: the elements always exist,
and what is missing is said when one of them is started, in words, on the bus.

Each element is a shell: a type with pads and properties.  What it does lives in ``nnrvideo.gst``,
in the environment that this folder belongs to; :func:`logic_of` finds it on NULL -> READY.
"""

import importlib
import importlib.util
import json
import os
import re
import site
import sys
import traceback
from pathlib import Path

import gi

gi.require_version("Gst", "1.0")
from gi.repository import GLib, GObject, Gst  # noqa: E402

AUTHOR = "the nnrvideo authors"
_HERE = Path(__file__).resolve().parent
_WHERE = _HERE / "where.json"  # written by "nnrvideo gst install --user"
_VERSION = "python%d.%d" % sys.version_info[:2]

READY = GObject.ParamFlags.READWRITE | Gst.PARAM_MUTABLE_READY
PLAYING = GObject.ParamFlags.READWRITE | Gst.PARAM_MUTABLE_PLAYING

# Video that can carry networks inside.  VP8 and VP9 cannot, and GStreamer 1.22 decodes no VVC.
CODED_CAPS = (
    "video/x-h264, stream-format=(string){ avc, avc3, byte-stream }, alignment=(string)au; "
    "video/x-h265, stream-format=(string){ hvc1, hev1, byte-stream }, alignment=(string)au; "
    "video/x-av1, stream-format=(string)obu-stream, alignment=(string){ tu, frame }"
)
# Kept equal to nnrvideo.gst.frames.FORMATS by a test.
RAW_FORMATS = (
    "I420, YV12, NV12, NV21, Y42B, Y444, GRAY8, I420_10LE, I422_10LE, Y444_10LE, "
    "I420_12LE, I422_12LE, Y444_12LE, P010_10LE"
)
RAW_CAPS = (
    f"video/x-raw, format=(string){{ {RAW_FORMATS} }}, "
    "width=(int)[ 1, 32768 ], height=(int)[ 1, 32768 ], framerate=(fraction)[ 0/1, max ]"
)


class ShimError(Exception):
    """Why the library cannot be used, for the user."""


def template(name, caps):
    """An always pad's template; "sink" or "src"."""
    direction = Gst.PadDirection.SINK if name == "sink" else Gst.PadDirection.SRC
    return Gst.PadTemplate.new(name, direction, Gst.PadPresence.ALWAYS, Gst.Caps.from_string(caps))


def make_pads(element, sink, src):
    """Gives an element its two pads, whose functions ask the element's logic."""
    for attribute, pad_template in (("sinkpad", sink), ("srcpad", src)):
        pad = Gst.Pad.new_from_template(pad_template, pad_template.name_template)
        setattr(element, attribute, pad)
    element.sinkpad.set_chain_function_full(_chain)
    element.sinkpad.set_event_function_full(_sink_event)
    element.sinkpad.set_query_function_full(_sink_query)
    element.srcpad.set_event_function_full(_src_event)
    element.srcpad.set_query_function_full(_src_query)
    element.add_pad(element.sinkpad)
    element.add_pad(element.srcpad)


def change_state(element, transition, parent_change):
    """``do_change_state`` of every shell: the logic lives from NULL -> READY to READY -> NULL."""
    if transition == Gst.StateChange.NULL_TO_READY:
        try:
            element.logic = logic_of(element)
        except Exception as error:
            report(element, error)
            return Gst.StateChangeReturn.FAILURE
    result = parent_change(element, transition)
    failed = result == Gst.StateChangeReturn.FAILURE
    logic = element.logic
    if logic is None:
        return result
    if transition == Gst.StateChange.PAUSED_TO_READY or (
        failed and transition == Gst.StateChange.READY_TO_PAUSED
    ):
        _guarded(element, logic.reset)
    elif transition == Gst.StateChange.READY_TO_NULL or (
        failed and transition == Gst.StateChange.NULL_TO_READY
    ):
        element.logic = None  # first: it refers to the element
        _guarded(element, logic.close)
    return result


def logic_of(element):
    """Makes the logic of a shell: ``nnrvideo.gst.<module>.Logic(element)``."""
    return library(element.LOGIC).Logic(element)


def library(module):
    """Imports ``nnrvideo.gst.<module>``.

    Raises:
        ShimError: nnrvideo, or something that it needs, is not there.
    """
    where = _open_environment()
    try:
        return importlib.import_module(f"nnrvideo.gst.{module}")
    except ImportError as error:
        raise ShimError(
            f"nnrvideo cannot be loaded from {where}: {error}. "
            "'nnrvideo gst doctor' in that environment tells more."
        ) from error


def report(element, error):
    """Posts an exception as the error of an element."""
    domain, code = getattr(error, "gst_error", (Gst.StreamError.quark(), Gst.StreamError.FAILED))
    if isinstance(error, ShimError):
        domain, code = Gst.LibraryError.quark(), Gst.LibraryError.INIT
    last = traceback.extract_tb(error.__traceback__)[-1:]
    debug = "".join(f"{Path(f.filename).name}:{f.lineno}: {f.name}: " for f in last)
    text = " ".join(str(error).split()) or type(error).__name__
    gerror = GLib.Error.new_literal(domain, text, int(code))
    element.post_message(Gst.Message.new_error(element, gerror, debug + type(error).__name__))


def _open_environment():
    """Makes the packages of our environment importable; says where that is."""
    if importlib.util.find_spec("nnrvideo") is not None:
        return "the running program's own environment"
    wrong = []
    for folder in _candidates():
        if not (folder / "nnrvideo").is_dir() and not any(folder.glob("nnrvideo-*.dist-info")):
            continue
        found = re.search(r"python3\.\d+", str(folder))
        if found and found[0] != _VERSION:
            wrong.append(f"{folder} belongs to {found[0]}")
            continue
        known = list(sys.path)
        site.addsitedir(str(folder))  # with its .pth files, which editable installs live by
        added = [entry for entry in sys.path if entry not in known]
        sys.path[:] = added + known  # ours first: the system's numpy may be too old for us
        importlib.invalidate_caches()
        return str(folder)
    if wrong:
        raise ShimError(
            f"GStreamer runs {_VERSION}, but {'; '.join(wrong)}. "
            f"Install nnrvideo into an environment made by {_VERSION}."
        )
    raise ShimError(
        "nnrvideo is not installed where these elements look for it "
        f"({', '.join(map(str, _candidates())) or 'nowhere'}). Install it with {_VERSION} "
        "(pip install nnrvideo), then run 'nnrvideo gst install --user'."
    )


def _candidates():
    """site-packages folders that may hold nnrvideo, the likeliest first."""
    if _WHERE.is_file():
        yield Path(json.loads(_WHERE.read_text())["site_packages"])
        return
    for parent in _HERE.parents:
        if parent.name in ("site-packages", "dist-packages"):
            yield parent
            return
    roots = [Path(os.environ["VIRTUAL_ENV"])] if "VIRTUAL_ENV" in os.environ else []
    roots += sorted((_HERE.parents[2] / ".venv").glob("*"))  # of a checkout
    for root in roots:
        yield from sorted(root.glob("lib/python3.*/site-packages"))


def _guarded(element, function, *arguments, failure=None):
    """Whatever goes wrong becomes an error message on the bus, never a traceback."""
    try:
        return function(*arguments)
    except Exception as error:
        report(element, error)
        return failure


def _chain(_pad, element, buffer):
    logic = element.logic
    if logic is None:
        return Gst.FlowReturn.FLUSHING
    return _guarded(element, logic.chain, buffer, failure=Gst.FlowReturn.ERROR)


def _sink_event(pad, element, event):
    logic = element.logic
    if logic is None:
        return pad.event_default(element, event)
    return _guarded(element, logic.sink_event, event, failure=False)


def _src_event(pad, element, event):
    logic = element.logic
    if logic is None:
        return pad.event_default(element, event)
    return _guarded(element, logic.src_event, event, failure=False)


def _sink_query(pad, element, query):
    logic = element.logic
    if logic is None:
        return pad.query_default(element, query)
    return _guarded(element, logic.sink_query, query, failure=False)


def _src_query(pad, element, query):
    logic = element.logic
    if logic is None:
        return pad.query_default(element, query)
    return _guarded(element, logic.src_query, query, failure=False)
