# SPDX-License-Identifier: Apache-2.0
"""``FilterLibrary``: builds filters off the playing thread, and never builds one twice.

A stream repeats its networks at every random access point.  They are recognised by their content,
so a repetition costs a comparison of bytes.  What failed once is remembered as well: it fails
again at once, and is complained about once.
"""

from __future__ import annotations

import hashlib
import logging
import math
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from threading import Condition
from typing import Generic, TypeVar, final

from nnrvideo.errors import InferenceError, NnrVideoError
from nnrvideo.limits import Limits
from nnrvideo.model import Network, WeightStore
from nnrvideo.picture import PictureFormat
from nnrvideo.player import characteristics
from nnrvideo.player.filter import NetworkFilter
from nnrvideo.player.networks import Resolver, decode_network, load_network
from nnrvideo.player.precision import Precision, PrecisionPolicy
from nnrvideo.runtime.base import InferenceBackend
from nnrvideo.runtime.resample import Upscaler
from nnrvideo.sei import Nnpfc

_log = logging.getLogger(__name__)

_MAX_FILTERS = 8  # sessions kept; each holds its weights and an arena
_MAX_NETWORKS = 8  # decoded networks kept
_OVERHEAD = 40 << 20  # bytes that a session and its libraries hold beside their work (measured)
_MAX_WAITING = 16  # filters that may wait for the builder; more than any sane stream sends

_K = TypeVar("_K")
_V = TypeVar("_V")

Content = tuple[Nnpfc, Nnpfc | None]
"""Base and update; two of them are equal if all their bytes are."""


@final
@dataclass(frozen=True, slots=True)
class MemoryShare:
    """What of a bound on memory is left for one run of a network.

    Args:
        bound: Bytes for everything that a player adds by enhancing.
        runs: Networks that run at the same time.
        pictures: Decoded pictures and results that wait meanwhile.
    """

    bound: int
    runs: int = 1
    pictures: int = 0

    def of_one_run(self, source: PictureFormat, target: PictureFormat) -> int:
        """Bytes for one run, at least a fifth of its even share."""
        waiting = self.pictures * (_picture_bytes(source) + _picture_bytes(target))
        left = self.bound - waiting - _OVERHEAD
        return max(left, self.bound // 5) // self.runs


def _picture_bytes(form: PictureFormat) -> int:
    sizes = (math.prod(form.plane_shape(c)) for c in range(form.chroma_format.planes))
    return sum(sizes) * form.dtype.itemsize


@final
class FilterLibrary:
    """Builds and keeps filters.

    Args:
        backend: Runs the networks.
        limits: Bounds on every network.
        memory: Shares the bound on memory out.
        upscaler: For colour components that a network does not make.
        resolver: Finds networks that are named by URI; None refuses them all.
        precision: The numbers that networks compute in.
        warm_up: Run each network until its runtime has settled.
        on_built: Called from the builder's thread with the content, the filter or the error, and
            the seconds that it took; once for each content and picture format.
        store: Keeps the weights of large networks in files.
    """

    def __init__(
        self,
        backend: InferenceBackend,
        *,
        limits: Limits,
        memory: MemoryShare,
        upscaler: Upscaler,
        resolver: Resolver | None,
        precision: Precision,
        warm_up: bool,
        on_built: Callable[[Content, NetworkFilter | NnrVideoError, float], None],
        store: WeightStore | None = None,
    ) -> None:
        self._backend = backend
        self._limits = limits
        self._memory = memory
        self._upscaler = upscaler
        self._resolver = resolver
        self._precision = PrecisionPolicy(precision, backend)
        self._warm_up = warm_up
        self._on_built = on_built
        self._store = store
        self._filters: Recent[tuple[Content, PictureFormat], Future[NetworkFilter]] = Recent(
            _MAX_FILTERS
        )
        self._networks: Recent[Content, Network] = Recent(_MAX_NETWORKS)
        self._waiting = 0
        self._lock = Condition()
        # One builder: networks become ready in the order of the stream, and playing goes on.
        self._builder = ThreadPoolExecutor(1, thread_name_prefix="nnrvideo-builder")

    def request(
        self, content: Content, source: PictureFormat, *, optional: bool = False
    ) -> Future[NetworkFilter] | None:
        """The filter for some content, built or being built.

        Args:
            content: Base and update.
            source: Format of the pictures to filter.
            optional: Do nothing if the builder has enough to do already.

        Returns:
            A future that yields the filter or raises an :class:`NnrVideoError`; None only for an
            optional request that was turned down.
        """
        key = content, source
        with self._lock:
            known = self._filters.get(key)
            if known is not None:
                return known
            if optional and self._waiting >= _MAX_WAITING:
                return None
            self._waiting += 1
            future = self._builder.submit(self._build, content, source)
            self._filters.put(key, future)
            return future

    def wait(self, timeout: float | None) -> bool:
        """Waits until nothing is being built; returns whether that is so."""
        with self._lock:
            return self._lock.wait_for(lambda: not self._waiting, timeout)

    def close(self) -> None:
        """Stops the builder; what it is doing is finished, what waits is dropped."""
        self._builder.shutdown(wait=True, cancel_futures=True)

    def _build(self, content: Content, source: PictureFormat) -> NetworkFilter:
        started = time.perf_counter()
        try:
            built = self._make(content, source)
        except NnrVideoError as error:
            self._finish(content, error, started)
            raise
        except Exception as error:
            # The stream decided what ran here; whatever it provoked must not reach the player.
            _log.debug("unexpected failure while building a network", exc_info=True)
            wrapped = InferenceError(f"the network cannot be built: {error!r}")
            self._finish(content, wrapped, started)
            raise wrapped from error
        self._finish(content, built, started)
        return built

    def _finish(
        self, content: Content, result: NetworkFilter | NnrVideoError, started: float
    ) -> None:
        with self._lock:
            self._waiting -= 1
            self._lock.notify_all()
        self._on_built(content, result, time.perf_counter() - started)

    def _make(self, content: Content, source: PictureFormat) -> NetworkFilter:
        base, update = content
        properties = properties_of(content)
        # The cheap refusals come before the payload is decoded.
        characteristics.require_supported(properties)
        target = characteristics.output_format(properties, source, self._limits)
        network = self._networks.get(content)
        if network is None:
            network = decode_network(
                base, update, limits=self._limits, resolver=self._resolver, store=self._store
            )
            self._networks.put(content, network)
        loaded = load_network(
            network,
            properties,
            source,
            self._backend,
            limits=self._limits,
            precision=self._precision,
            store=self._store,
        )
        return NetworkFilter(
            loaded,
            properties,
            source,
            limits=self._limits,
            max_memory_bytes=self._memory.of_one_run(source, target),
            upscaler=self._upscaler,
            warm_up=self._warm_up,
        )


def properties_of(content: Content) -> Nnpfc:
    """The message whose properties hold: an update may bring its own."""
    base, update = content
    return update if update is not None and update.nnpfc_property_present_flag else base


def fingerprint(content: Content) -> str:
    """Short name of some content for logs and for remembering complaints."""
    digest = hashlib.sha256()
    for message in content:
        if message is not None:
            # The text of a message shows every element but the payload.
            digest.update(repr(message).encode() + message.nnpfc_payload_byte)
    return digest.hexdigest()[:16]


@final
class Recent(Generic[_K, _V]):
    """A dictionary of bounded size that forgets what was not used for longest."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._entries: OrderedDict[_K, _V] = OrderedDict()

    def get(self, key: _K) -> _V | None:
        """What was put under a key, or None; it counts as used."""
        value = self._entries.get(key)
        if value is not None:
            self._entries.move_to_end(key)
        return value

    def put(self, key: _K, value: _V) -> None:
        """Keeps a value, and forgets another if there are too many."""
        self._entries[key] = value
        while len(self._entries) > self._capacity:
            self._entries.popitem(last=False)
