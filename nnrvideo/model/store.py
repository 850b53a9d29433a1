# SPDX-License-Identifier: Apache-2.0
"""``WeightStore``: weights of large networks in files named by their content, for runtimes to map.

A runtime that gets weights as arrays keeps a copy of its own, and often one in the order that its
kernels like beside it.  From a file it maps one tensor after the other and lets it go once it is
reordered; what it leaves as it is stays in pages that all processes share and that the system can
take back.  The same tensor of several networks, or of a network and its update, is one file.

A name is the SHA-256 of the content and nothing else, so nothing that a stream says reaches a
path.  Files are checked against their names whenever they are asked for, take their names when
they are complete, and are never changed afterwards.  Whoever uses the store holds its lock
together with others; whoever makes room holds it alone.

A file that shrinks while it is mapped, or a disk that fails, ends the process, as with any mapped
file.  So files are read-only, and a folder where others may write is not used.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import mmap
import os
import re
import stat
import sys
import time
import weakref
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Final, final

import numpy as np

from nnrvideo.errors import ContainerError
from nnrvideo.files import OutputFile, PathLike, sha256_of, try_lock
from nnrvideo.model.graph import Array

_log = logging.getLogger(__name__)

FOLDER_VARIABLE: Final = "NNRVIDEO_WEIGHTS"
MAX_BYTES: Final = 4 << 30
MIN_NETWORK_BYTES: Final = 8 << 20
MIN_TENSOR_BYTES: Final = 64 << 10

_NAME: Final = re.compile(r"[0-9a-f]{64}")
_LOCK: Final = "lock"
_LOCK_SECONDS: Final = 10.0  # for others to make room: milliseconds, on a machine that has them
_LOCK_STEP: Final = 0.01
_WRITE_BITS: Final = stat.S_IWGRP | stat.S_IWOTH

_names: weakref.WeakKeyDictionary[mmap.mmap, str] = weakref.WeakKeyDictionary()


def default_folder() -> Path | None:
    """Where weights are kept if nobody says otherwise.

    Returns:
        The folder that the environment variable ``NNRVIDEO_WEIGHTS`` names, or None if it is ``0``
        or empty; without it ``nnrvideo/weights`` in the user's cache folder (``XDG_CACHE_HOME``
        or ``~/.cache``; ``~/Library/Caches``; ``%LOCALAPPDATA%``), None if there is no such.
    """
    chosen = os.environ.get(FOLDER_VARIABLE)
    if chosen is not None:
        return None if chosen in {"", "0"} else Path(chosen)
    variable = "LOCALAPPDATA" if sys.platform == "win32" else "XDG_CACHE_HOME"
    # The XDG specification has relative paths ignored.
    cache = Path(os.environ.get(variable, ""))
    if not cache.is_absolute():
        try:
            home = Path.home()
        except RuntimeError:
            return None
        cache = home / ("Library/Caches" if sys.platform == "darwin" else ".cache")
    return cache / "nnrvideo" / "weights"


@final
class WeightStore:
    """A folder of weights, for any number of threads and processes.

    Args:
        folder: Where; made when it is first needed.  None for :func:`default_folder`, the empty
            string for no folder: nothing is stored then.
        max_bytes: What the files may take together; those not used for longest are removed.  A
            network that alone takes more is not stored, and while networks are being loaded the
            newest of them may be there in addition.
        min_network_bytes: Networks below never touch the disk.
        min_tensor_bytes: Nor do tensors below, of any network.

    Attributes:
        folder: Where, or None.
    """

    def __init__(
        self,
        folder: PathLike | None = None,
        *,
        max_bytes: int = MAX_BYTES,
        min_network_bytes: int = MIN_NETWORK_BYTES,
        min_tensor_bytes: int = MIN_TENSOR_BYTES,
    ) -> None:
        chosen = default_folder() if folder is None else folder
        given = chosen is not None and os.fspath(chosen)
        self.folder = Path(given).absolute() if given else None
        self._max = max_bytes
        self._min_network = min_network_bytes
        self._min_tensor = min_tensor_bytes
        self._complained = False

    def takes(self, size: int) -> bool:
        """Whether a network of that many bytes would be stored."""
        return self.folder is not None and self._min_network <= size <= self._max

    @contextlib.contextmanager
    def opened(self, size: int) -> Iterator[OpenStore | None]:
        """The store for one network; what is put there stays at least until this is left.

        Args:
            size: Bytes of the network's values.

        Yields:
            The open store; None where the network is too small or too large, or the folder cannot
            be used, of which the log has one line.
        """
        file = None
        if self.folder is not None and self.takes(size):
            try:
                file = _enter(self.folder)
            except OSError as error:
                self._complain(error.strerror or str(error))
        if self.folder is None or file is None:
            yield None
            return
        try:
            yield OpenStore(self.folder, self._min_tensor, self._complain)
        finally:
            with contextlib.suppress(OSError):
                if try_lock(file):
                    _make_room(self.folder, self._max)
            os.close(file)

    def _complain(self, reason: str) -> None:
        if not self._complained:
            self._complained = True
            _log.warning("weights stay in memory, %s cannot be used: %s", self.folder, reason)


@final
class OpenStore:
    """A store while a network is being put there or loaded from it; see :class:`WeightStore`.

    Args:
        folder: Exists, and its lock is held.
        min_tensor_bytes: Smaller tensors are not taken.
        complain: Called with the reason when the folder turns out to be unusable.

    Attributes:
        folder: Where the files are.
    """

    def __init__(
        self, folder: Path, min_tensor_bytes: int, complain: Callable[[str], None]
    ) -> None:
        self.folder = folder
        self._min_tensor = min_tensor_bytes
        self._complain = complain
        self._usable = True

    def put(
        self, size: int, parts: Callable[[], Iterable[bytes]], name: str | None = None
    ) -> str | None:
        """Stores a tensor unless it is there already, undamaged.

        Args:
            size: Bytes of the content.
            parts: Yields the content, the same each time that it is called.
            name: What :func:`name_of` said: the content need not be looked at if it is there.

        Returns:
            Name of the file in :attr:`folder`; None if the tensor is too small, or the folder
            takes no more.

        Raises:
            Exception: Whatever ``parts`` raises.
        """
        if size < self._min_tensor or not self._usable:
            return None
        try:
            if name is None or not _is_intact(self.folder / name, size):
                digest = hashlib.sha256()
                for part in parts():
                    digest.update(part)
                name = digest.hexdigest()
                if not _is_intact(self.folder / name, size):
                    _write(self.folder / name, parts())
            os.utime(self.folder / name)  # last used; times of reading are rarely kept
        except (OSError, ContainerError) as error:
            # What is stored already serves; more attempts would fail likewise.
            self._usable = False
            self._complain(str(error))
            return None
        return name

    def map(self, name: str, dtype: np.dtype[Any], shape: tuple[int, ...]) -> Array:
        """Values of a stored tensor, in pages of its file.

        Args:
            name: As :meth:`put` returned it, while this store is open.
            dtype: Type of the values, one that NumPy stores as ONNX does.
            shape: Their shape.

        Returns:
            A read-only array; it holds after the file is removed from the store.

        Raises:
            OSError: The file cannot be mapped.
        """
        little = dtype.newbyteorder("<") if dtype.kind != "V" else dtype
        found = np.asarray(np.memmap(self.folder / name, little, mode="r", shape=shape))
        mapping = _mapping(found)
        if mapping is not None:
            _names[mapping] = name
        return found


def name_of(value: Array) -> str | None:
    """Name of the stored tensor that an array is mapped from, None for any other array.

    Looking at the content instead would bring all of it into memory.
    """
    mapping = _mapping(value)
    whole = mapping is not None and value.flags.c_contiguous and value.nbytes == len(mapping)
    return _names.get(mapping) if mapping is not None and whole else None


def _mapping(value: Array) -> mmap.mmap | None:
    owner: object = value
    while isinstance(owner, np.ndarray):
        owner = owner.base
    return owner if isinstance(owner, mmap.mmap) else None


def _enter(folder: Path) -> int:
    """Makes the folder if need be and joins the others that hold its lock.

    Returns:
        A descriptor that holds the lock until it is closed.

    Raises:
        OSError: The folder cannot be made, used or trusted.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    facts = folder.stat()
    if sys.platform != "win32" and (
        facts.st_uid not in {os.getuid(), 0} or facts.st_mode & _WRITE_BITS
    ):
        # Others could exchange a file between our check and its use.
        raise OSError("others may write there")
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0)
    file = os.open(folder / _LOCK, flags, 0o600)
    try:
        _share(file)
    except BaseException:
        os.close(file)
        raise
    return file


def _share(file: int) -> None:
    """Takes a lock together with others, waiting for whoever makes room.

    Raises:
        OSError: It was not free for longer than that takes.
    """
    end = time.monotonic() + _LOCK_SECONDS
    while not try_lock(file, shared=True):
        if time.monotonic() > end:
            raise OSError("it is locked by another process")
        time.sleep(_LOCK_STEP)


def _is_intact(path: Path, size: int) -> bool:
    try:
        facts = path.lstat()
    except FileNotFoundError:
        return False
    if stat.S_ISREG(facts.st_mode) and facts.st_size == size and sha256_of(path) == path.name:
        return True
    _log.warning("the stored weights %s are damaged and written anew", path)
    path.unlink()
    return False


def _write(path: Path, parts: Iterable[bytes]) -> None:
    with OutputFile(path, overwrite=True) as output:
        with output.temporary.open("wb") as file:
            file.writelines(parts)
        if sys.platform != "win32":  # which does not remove such files
            # Nobody shall change a file that somebody has mapped.
            output.temporary.chmod(0o400)


def _make_room(folder: Path, allowed: int) -> None:
    """Removes what killed processes left, and the files not used for longest.

    The caller holds the lock alone, so nothing here is being written, checked or loaded.  Whoever
    has a file mapped keeps its content.
    """
    stored: list[tuple[int, int, Path]] = []
    for path in folder.iterdir():
        with contextlib.suppress(OSError):
            if path.name.startswith(".") and path.name.endswith(".part"):
                path.unlink()
            elif _NAME.fullmatch(path.name):
                facts = path.lstat()
                stored.append((facts.st_mtime_ns, facts.st_size, path))
    total = sum(size for _, size, _ in stored)
    for _, size, path in sorted(stored):
        if total <= allowed:
            break
        with contextlib.suppress(OSError):
            path.unlink()
            total -= size
