# SPDX-License-Identifier: Apache-2.0
"""The few functions of GStreamer that its bindings of 1.22 do not offer, by way of ctypes.

A custom meta's structure comes as a copy, so that it cannot be written; debug categories cannot be
made.  Where the libraries are not found under their names, both are done without: pictures are
then told by their timestamps alone, and debug output goes to Python's logging.
"""

from __future__ import annotations

import ctypes
from typing import Any

_NAME = "libgstreamer-1.0.so.0"
_INT64 = 10 << 2  # G_TYPE_INT64, a fundamental type and therefore a constant
_BOOLEAN = 5 << 2  # G_TYPE_BOOLEAN


def _load() -> Any:
    try:
        library = ctypes.CDLL(_NAME)
    except OSError:
        return None
    pointer, text, number = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int
    library.gst_buffer_add_custom_meta.restype = pointer
    library.gst_buffer_add_custom_meta.argtypes = [pointer, text]
    library.gst_custom_meta_get_structure.restype = pointer
    library.gst_custom_meta_get_structure.argtypes = [pointer]
    library.gst_structure_set.restype = None
    library.gst_buffer_get_type.restype = ctypes.c_size_t
    # The call is variadic, but ctypes need not know: each argument is given its type.
    library._gst_debug_category_new.restype = pointer  # noqa: SLF001 - a macro's back end
    library._gst_debug_category_new.argtypes = [text, ctypes.c_uint, text]  # noqa: SLF001
    library.gst_debug_category_get_threshold.restype = number
    library.gst_debug_category_get_threshold.argtypes = [pointer]
    library.gst_debug_log_literal.restype = None
    library.gst_debug_log_literal.argtypes = [
        pointer, number, text, text, number, pointer, text,
    ]  # fmt: skip
    return library


_library = _load()


def add_custom_meta(buffer: Any, name: str, *, time: int, clvs_start: bool) -> bool:
    """Adds a registered custom meta with the fields ``time`` (int64) and ``clvs-start`` (boolean).

    Args:
        buffer: Writable ``Gst.Buffer``.
        name: Of the registered meta.
        time: Nanoseconds.
        clvs_start: Whether a coded layer video sequence starts with the picture.

    Returns:
        Whether the meta was added.
    """
    if _library is None:
        return False
    # The hash of a boxed value or an object is its address: what PyGObject has instead of a name.
    meta = _library.gst_buffer_add_custom_meta(hash(buffer), name.encode())
    if not meta:
        return False
    structure = _library.gst_custom_meta_get_structure(meta)
    _library.gst_structure_set(
        ctypes.c_void_p(structure),
        ctypes.c_char_p(b"time"),
        ctypes.c_size_t(_INT64),
        ctypes.c_int64(time),
        ctypes.c_char_p(b"clvs-start"),
        ctypes.c_size_t(_BOOLEAN),
        ctypes.c_int(clvs_start),
        ctypes.c_void_p(None),
    )
    return True


def add_bytes_meta(buffer: Any, name: str, content: Any) -> bool:
    """Adds a registered custom meta with the field ``stream``, a ``Gst.Buffer``.

    Args:
        buffer: Writable ``Gst.Buffer``.
        name: Of the registered meta.
        content: ``Gst.Buffer``; the meta keeps it.

    Returns:
        Whether the meta was added.
    """
    if _library is None:
        return False
    meta = _library.gst_buffer_add_custom_meta(hash(buffer), name.encode())
    if not meta:
        return False
    structure = _library.gst_custom_meta_get_structure(meta)
    _library.gst_structure_set(
        ctypes.c_void_p(structure),
        ctypes.c_char_p(b"stream"),
        ctypes.c_size_t(_library.gst_buffer_get_type()),
        ctypes.c_void_p(hash(content)),
        ctypes.c_void_p(None),
    )
    return True


def debug_category(name: str, description: str) -> int | None:
    """Makes a debug category; None where that is impossible."""
    if _library is None:
        return None
    category = _library._gst_debug_category_new(name.encode(), 0, description.encode())  # noqa: SLF001
    return int(category) if category else None


def debug_threshold(category: int) -> int:
    """Level up to which a category is printed (1 error ... 5 debug)."""
    return int(_library.gst_debug_category_get_threshold(category))


def debug_log(category: int, level: int, text: str, *, file: str, function: str, line: int) -> None:
    """Prints a line of a category."""
    _library.gst_debug_log_literal(
        category, level, file.encode(), function.encode(), line, None, text.encode()
    )
