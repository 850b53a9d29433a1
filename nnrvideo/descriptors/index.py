# SPDX-License-Identifier: Apache-2.0
"""``Index``: the descriptors of many films in one file, and exact search in them.

The file only ever grows: a header block, then one block for each film, each with its length and
CRC.  A block is written, and on disk, before :meth:`Index.add` returns; whatever kills the process
leaves at most one unfinished block at the end, which the next reader leaves out and the next writer
cuts off.  What was added stays, so that building again goes on where it ended.

    "NVX" 0x01
    block()   size u(32), crc32 u(32), payload
    payload   of the first: a .nvd stream with a header alone
              of others: name_size u(16), name (UTF-8), a .nvd stream of the film

Search is exhaustive: of a million descriptors of 256 bits faiss takes about 2 ms on one core, less
than any approximate index takes for the same recall; and it needs no training and no rebuilding.
Without faiss NumPy does the same, 15 times slower.
"""

from __future__ import annotations

import importlib
import logging
import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, final

import numpy as np
import numpy.typing as npt

from nnrvideo.descriptors.files import KeyFrames, parts
from nnrvideo.descriptors.matching import Match, compare, require_comparable
from nnrvideo.descriptors.package import Array
from nnrvideo.descriptors.similarity import hamming
from nnrvideo.descriptors.stream import Header, Item, read_stream, write_stream
from nnrvideo.errors import BitstreamError, ContainerError, LimitExceededError
from nnrvideo.files import PathLike, try_lock

_log = logging.getLogger(__name__)

MAGIC: Final = b"NVX\x01"
MAX_BLOCK_BYTES: Final = 1 << 28
MAX_NAME_BYTES: Final = 4096

_NEIGHBOURS: Final = 100  # of each key frame of a query
_LISTED: Final = 50  # films


@final
@dataclass(frozen=True, slots=True)
class Hit:
    """A film that shares content with the query.

    Args:
        name: Of the film.
        match: What is shared.
    """

    name: str
    match: Match


@final
@dataclass(frozen=True, slots=True)
class _Film:
    name: str
    frames: KeyFrames


@final
@dataclass(eq=False)
class _Table:
    """All descriptors worth comparing, ready for search."""

    values: Array
    film: npt.NDArray[np.int64]
    engine: Any = field(default=None)


class Index:
    """An index in a file.

    Args:
        path: The file; made by the first :meth:`add`.
        threads: Of the search.

    Raises:
        BitstreamError: Not an index, or damaged otherwise than by an unfinished end.
        LimitExceededError: A block is too large.
        OSError: The file cannot be read.
    """

    def __init__(self, path: PathLike, *, threads: int = 1) -> None:
        self.path = Path(path)
        self.header: Header | None = None
        self.unfinished = 0  # bytes at the end that belong to no whole block
        self._threads = threads
        self._films: list[_Film] = []
        self._names: set[str] = set()
        self._size = 0  # of the file, as far as we know it
        self._count = 0
        self._table: _Table | None = None
        self._file: Any = None
        if self.path.exists():
            self._load()

    def __len__(self) -> int:
        """Key frames that are searched."""
        return self._count

    def __contains__(self, name: str) -> bool:
        return name in self._names

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def films(self) -> tuple[str, ...]:
        """Names, in the order in which they were added."""
        return tuple(film.name for film in self._films)

    def film(self, name: str) -> KeyFrames:
        """Key frames of a film.

        Raises:
            KeyError: It is not in the index.
        """
        for film in self._films:
            if film.name == name:
                return film.frames
        raise KeyError(name)

    def close(self) -> None:
        """Lets go of the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def add(self, name: str, items: list[Item]) -> None:
        """Adds a film; it is on disk when this returns.

        Args:
            name: What search calls it; not in the index yet.
            items: A header and segments, all of one model.

        Raises:
            ModelError: Of another model or form than the index.
            ValueError: The name is taken or too long, or the model changes within the film.
            ContainerError: Another process is writing, or has written since the index was read.
        """
        found = parts(items)
        if len(found) != 1:
            raise ValueError(f"{name} has descriptors of {len(found)} models; an index takes one")
        encoded = name.encode()
        if name in self._names or len(encoded) > MAX_NAME_BYTES:
            raise ValueError(f"{name[:80]} is in the index already, or its name is too long")
        header = found[0].header
        if self.header is not None:
            require_comparable(header, self.header)
        self._open()
        if self.header is None:
            self.header = header
            self._append(write_stream([header]))
        self._append(len(encoded).to_bytes(2, "big") + encoded + write_stream(items))
        self._take(name, found[0])

    def search(self, query: KeyFrames, *, threshold: float | None = None) -> list[Hit]:
        """Finds films that share content with a query.

        Args:
            query: Key frames of a film or a picture.
            threshold: Similarity above which key frames match; the models' by default.

        Returns:
            Up to 50 films that match, best first.

        Raises:
            ModelError: The query is of another model or form.
        """
        if self.header is None:
            return []
        require_comparable(query.header, self.header)
        worth = query.worth_comparing()
        if not len(worth) or not self._count:
            return []
        _, neighbours = self.nearest(worth.values, _NEIGHBOURS)
        table = self._ready()
        films = np.unique(table.film[neighbours[neighbours >= 0]])
        hits = []
        for film in (self._films[index] for index in films):
            match = compare(query, film.frames, threshold)
            if match.matches:
                hits.append(Hit(film.name, match))
        hits.sort(key=lambda hit: (-hit.match.score, hit.name))
        return hits[:_LISTED]

    def nearest(
        self, values: Array, count: int
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
        """The descriptors that are nearest to others, exactly.

        Args:
            values: (n, width) of the index's form.
            count: k.

        Returns:
            Distances (n, k) of bits, or less cosine of levels, increasing, and the key frames'
            numbers, counted over all films; -1 where there are fewer than k.
        """
        table = self._ready()
        assert self.header is not None
        bits = self.header.form.bits
        if table.engine is None:
            return _numpy_search(values, table.values, min(count, self._count), bits)
        query = values if bits else _unit(values)
        distances, numbers = table.engine.search(np.ascontiguousarray(query), count)
        signed = distances.astype(np.float64) * (1 if bits else -1)
        return signed, numbers.astype(np.int64)

    def _ready(self) -> _Table:
        if self._table is None:
            assert self.header is not None
            worth = [film.frames.worth_comparing().values for film in self._films]
            width, bits = self.header.width, self.header.form.bits
            empty = np.empty((0, width), np.uint8 if bits else np.int16)
            values = np.concatenate([*worth, empty])
            owner = np.repeat(np.arange(len(worth)), [len(each) for each in worth])
            self._table = _Table(values, owner, _engine(values, bits, self._threads))
        return self._table

    def _take(self, name: str, frames: KeyFrames) -> None:
        self._films.append(_Film(name, frames))
        self._names.add(name)
        self._count += len(frames.worth_comparing())
        self._table = None

    def _open(self) -> None:
        if self._file is not None:
            return
        file = self.path.open("r+b" if self.path.exists() else "x+b")
        try:
            end = _claim(file, self._size, self.path)
            if self.unfinished:
                end = file.seek(end - self.unfinished)
                file.truncate()
                self.unfinished = 0
            if end == 0:
                file.write(MAGIC)
        except BaseException:
            file.close()
            raise
        self._file = file

    def _append(self, payload: bytes) -> None:
        if len(payload) > MAX_BLOCK_BYTES:
            raise LimitExceededError(
                "bytes of a block",
                limit="MAX_BLOCK_BYTES",
                value=len(payload),
                allowed=MAX_BLOCK_BYTES,
            )
        head = len(payload).to_bytes(4, "big") + zlib.crc32(payload).to_bytes(4, "big")
        self._file.write(head + payload)
        self._file.flush()
        os.fsync(self._file.fileno())
        self._size = self._file.tell()

    def _load(self) -> None:
        data = self.path.read_bytes()
        self._size = len(data)
        if data[: len(MAGIC)] != MAGIC:
            if MAGIC.startswith(data):  # killed before the first block
                self.unfinished = len(data)
                return
            raise BitstreamError(f"{self.path} is no index: it does not start with NVX", bit=0)
        for number, payload in enumerate(self._blocks(data)):
            if number == 0:
                first = next(iter(read_stream(payload)), None)
                if not isinstance(first, Header):
                    raise BitstreamError("an index without a header", unit=str(self.path))
                self.header = first
                continue
            size = int.from_bytes(payload[:2], "big")
            name = payload[2 : 2 + size].decode("utf-8", "replace")
            found = parts(read_stream(payload[2 + size :]))
            if len(found) != 1 or self.header is None:
                raise BitstreamError(f"block {number} holds no film", unit=str(self.path))
            require_comparable(found[0].header, self.header)
            self._take(name, found[0])

    def _blocks(self, data: bytes) -> Iterator[bytes]:
        position = len(MAGIC)
        while position < len(data):
            begin = position + 8
            size = int.from_bytes(data[position : position + 4], "big")
            end = begin + size
            whole = begin <= len(data) and size <= MAX_BLOCK_BYTES and end <= len(data)
            payload = data[begin:end] if whole else b""
            good = whole and zlib.crc32(payload).to_bytes(4, "big") == data[position + 4 : begin]
            if not good:
                if whole and end < len(data):
                    raise BitstreamError(
                        f"{self.path} is damaged: a block fails its check", bit=8 * position
                    )
                self.unfinished = len(data) - position
                _log.warning(
                    "%s: %d bytes of an unfinished block are left out", self.path, self.unfinished
                )
                return
            yield payload
            position = end


def _claim(file: Any, size: int, path: Path) -> int:
    """Keeps other writers out; what is cut off or written over now must not be theirs."""
    if not try_lock(file.fileno()):
        raise ContainerError(f"another process is writing {path}")
    end = int(file.seek(0, os.SEEK_END))
    if end != size:
        raise ContainerError(f"{path} has changed since it was read; read it again")
    return end


def _engine(values: Array, bits: int, threads: int) -> Any:
    """Faiss over the values, or None where it is not installed."""
    try:
        faiss = importlib.import_module("faiss")
    except ImportError:
        return None
    faiss.omp_set_num_threads(threads)
    engine = faiss.IndexBinaryFlat(bits) if bits else faiss.IndexFlatIP(values.shape[1])
    engine.add(np.ascontiguousarray(values if bits else _unit(values)))
    return engine


def _unit(levels: Array) -> npt.NDArray[np.float32]:
    wide = levels.astype(np.float32)
    norms = np.sqrt(np.einsum("nd,nd->n", wide, wide))[:, None]
    return np.asarray(np.divide(wide, norms, out=np.zeros_like(wide), where=norms > 0))


def _numpy_search(
    values: Array, table: Array, count: int, bits: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    distances = np.empty((len(values), count))
    numbers = np.empty((len(values), count), np.int64)
    for row, value in enumerate(values):
        if bits:
            found = hamming(value[None], table)[0].astype(np.float64)
        else:
            found = -(_unit(value[None]) @ _unit(table).T)[0].astype(np.float64)
        nearest = np.argpartition(found, count - 1)[:count]
        nearest = nearest[np.lexsort((nearest, found[nearest]))]
        distances[row], numbers[row] = found[nearest], nearest
    return distances, numbers
