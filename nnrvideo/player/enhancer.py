# SPDX-License-Identifier: Apache-2.0
"""``Enhancer``: messages and decoded pictures go in, enhanced pictures come out.

The caller decodes; worker threads run the networks; a builder thread makes them.  Side data are
sent in decoding order, pictures in output order, and the two meet by their timestamps.  Whatever a
stream contains, every picture sent yields exactly one picture with the same timestamp: enhanced if
a network applies and works, else resampled plainly, and an event says why.

    caller   send_side_data ──► Stream           send_frame ──► Line          receive ◄── Line
    workers                                      Line ──► filter or plain resampler ──► Line
    builder                     NNC decode, check, load, warm up ──► filter

With ``realtime=False`` (files) the workers wait for networks, so the output depends on the stream
alone.  With ``realtime=True`` nothing waits longer than a picture can: pictures are resampled
plainly until the network is ready, and while it is too slow.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Literal, Self, final

from nnrvideo.errors import NnrVideoError
from nnrvideo.limits import Limits
from nnrvideo.model import WeightStore
from nnrvideo.picture import Picture, PictureFormat
from nnrvideo.player.events import Enhanced, Event, EventKind, Pts, Statistics, Status
from nnrvideo.player.execution import Execution
from nnrvideo.player.filter import NetworkFilter
from nnrvideo.player.library import Content, FilterLibrary, MemoryShare, fingerprint
from nnrvideo.player.line import Job, Line
from nnrvideo.player.networks import Resolver
from nnrvideo.player.pace import Pace
from nnrvideo.player.precision import Precision
from nnrvideo.player.reporter import Counts, Reporter
from nnrvideo.player.stream import Stream
from nnrvideo.runtime.base import InferenceBackend
from nnrvideo.runtime.onnxruntime import OnnxRuntimeBackend, default_threads
from nnrvideo.runtime.resample import Upscaler

_log = logging.getLogger(__name__)


@final
class Enhancer:
    """Applies the networks of a stream to its pictures.

    Use it as a context manager, or call :meth:`close`.  The methods may be called from different
    threads; ``on_event`` is called from whichever thread finds out.

    Args:
        output_size: Width and height of every output picture; None leaves it to the first network
            that is announced before the first picture, else to that picture.
        geometry: "fixed": all output pictures have one size and sample format, whatever networks
            come and go.  "dynamic": each has what its network makes, or the input's.
        fallback: Kernel for pictures, and colour components, without a network.
        realtime: Never wait for a network longer than a picture can wait; timestamps are then
            seconds.
        deadline: Share of a picture's duration that a network may take in real time.
        threads: Threads for networks; None for at most 4.
        workers: Pictures in work at the same time, which share the threads out among them.  As
            many as threads gives the most pictures per second; 1 the shortest time for each; 0
            works on each picture inside :meth:`receive`, in the thread that calls it.
        providers: Execution providers in order of preference; None for the best present.
        precision: "auto" computes in 8-bit integers where the encoder allows it and the processor
            does it exactly; "fp32" never; "int8" as "auto", with a warning where it cannot be.
        max_memory_mib: Bound on the memory of the networks at work and of the pictures in the
            queue, in MiB; networks run in bands of pictures to keep it.
        queue_size: Pictures inside the enhancer, waiting, in work and finished together.
        warm_up: Run each network twice before it is ready, so that its first picture takes no
            longer than others.  Without it networks are ready sooner, which suits files.
        source: Format of the pictures to come, so that networks are built before the first.
        limits: Bounds on what a stream may ask for; a desktop's if absent.
        backend: Runs the networks instead of ONNX Runtime; ``threads`` and ``providers`` are its
            own business then.  With several workers its sessions are run by several threads.
        resolver: Finds networks that are named by URI; None refuses them: a stream must not make
            a player fetch things.
        on_event: Receives every :class:`Event`.
        clock: Seconds on the clock of ``due``, see :meth:`send_frame`.
        weight_folder: Where weights of large networks are kept in files, see
            :class:`nnrvideo.model.WeightStore`, which bounds them and says which networks are
            large; None for ``NNRVIDEO_WEIGHTS`` or the user's cache folder, the empty string to
            keep all weights in memory.

    Raises:
        ValueError: An argument is out of range.
    """

    def __init__(
        self,
        *,
        output_size: tuple[int, int] | None = None,
        geometry: Literal["fixed", "dynamic"] = "fixed",
        fallback: Upscaler | str = Upscaler.BICUBIC,
        realtime: bool = False,
        deadline: float = 0.8,
        threads: int | None = None,
        workers: int = 1,
        providers: Sequence[str] | None = None,
        precision: Precision | str = Precision.AUTO,
        max_memory_mib: int = 256,
        queue_size: int = 6,
        warm_up: bool = True,
        source: PictureFormat | None = None,
        limits: Limits | None = None,
        backend: InferenceBackend | None = None,
        resolver: Resolver | None = None,
        on_event: Callable[[Event], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
        weight_folder: str | os.PathLike[str] | None = None,
    ) -> None:
        if geometry not in ("fixed", "dynamic"):
            raise ValueError(f"geometry is fixed or dynamic, not {geometry!r}")
        if output_size is not None and min(output_size) < 1:
            raise ValueError(f"output size {output_size} is impossible")
        if min(queue_size, max_memory_mib) < 1:
            raise ValueError("queue_size and max_memory_mib must be at least 1")
        if workers < 0:
            raise ValueError(f"workers must be at least 0, got {workers}")
        if threads is not None and threads < 1:
            raise ValueError(f"threads must be at least 1, got {threads}")
        at_once = max(1, workers)
        limits = limits or Limits.desktop()
        upscaler = Upscaler(fallback)
        self._reporter = Reporter(on_event)
        self._counts = Counts()
        self._library = FilterLibrary(
            backend
            or OnnxRuntimeBackend(
                providers=providers, threads=max(1, (threads or default_threads()) // at_once)
            ),
            limits=limits,
            memory=MemoryShare(max_memory_mib << 20, at_once, queue_size),
            upscaler=upscaler,
            resolver=resolver,
            precision=Precision(precision),
            warm_up=warm_up,
            on_built=self._on_built,
            store=WeightStore(weight_folder),
        )
        self._line = Line(max(queue_size, workers))
        self._execution = Execution(
            self._library,
            upscaler=upscaler,
            realtime=realtime,
            pace=Pace(deadline),
            busy=lambda: self._line.busy,
            tell=self._tell,
            clock=clock,
        )
        self._lock = threading.RLock()  # guards all below
        self._stream = Stream(
            limits=limits,
            output_size=output_size,
            fixed=geometry == "fixed",
            source=source,
            reporter=self._reporter,
            announce=lambda content, form: self._library.request(content, form, optional=True),
        )
        self._closed = False
        self._workers = [
            threading.Thread(target=self._work, name=f"nnrvideo-enhancer-{index}", daemon=True)
            for index in range(workers)
        ]
        for worker in self._workers:
            worker.start()

    # -- what goes in ------------------------------------------------------------------------

    def send_side_data(
        self, pts: Pts, records: bytes, clvs_start: bool = False, *, source: str = "sei"
    ) -> None:
        """Takes the messages of one access unit; cheap, and never raises for their content.

        Args:
            pts: Presentation time of the access unit's picture.
            records: Concatenated ``sei_message()`` structures, any payload types; empty if the
                access unit has none but starts a CLVS.
            clvs_start: The picture starts a coded layer video sequence, which ends the scope of
                all earlier networks.
            source: Where they come from ("sei", "obu", "container", "file"); for messages.

        Raises:
            ValueError: The enhancer is closed.
        """
        with self._lock:
            self._require_open()
            events = self._stream.hear(pts, records, clvs_start=clvs_start, source=source)
        self._tell(events)

    def send_frame(
        self,
        picture: Picture,
        pts: Pts,
        *,
        strength: float = 1.0,
        plain: bool = False,
        due: float | None = None,
        into: Picture | None = None,
        timeout: float | None = 0.0,
    ) -> Status:
        """Takes one decoded picture.

        Args:
            picture: Its planes must stay unchanged until the result has been received.
            pts: Presentation time, growing from picture to picture; the side data of this and of
                all earlier access units must have been sent.
            strength: StrengthControlVal for networks that take one, 0 to 1.
            plain: Resample it plainly, as :meth:`skip` asks for, because it is late already.
            due: Time on the clock by which the result is wanted, with ``realtime``.  The network
                runs if it is expected to be done by then; without it, a network is too slow if it
                takes more than its share of the time between pictures.
            into: Writable planes of the caller, with any strides, for the result.  They are used
                if the result has their format (:meth:`peek` tells it) and is not the decoded
                picture itself; ``result.info.into`` says so.  After :meth:`flush` worker threads
                may still write to them, until :meth:`close`; with ``workers=0`` nobody does.
            timeout: Seconds to wait for room in the queue; None waits as long as it takes.

        Returns:
            ``OK``, or ``AGAIN`` if the queue is full: receive first, then send it again.

        Raises:
            ValueError: The enhancer is closed, or ``into`` cannot be written.
        """
        if into is not None and not all(plane.flags.writeable for plane in into.planes):
            raise ValueError("the planes for the result cannot be written")
        if not self._line.wait_for_room(timeout):
            self._require_open()
            return Status.AGAIN
        with self._lock:
            self._require_open()
            contents, duration, events = self._stream.picture(pts, picture.format)
            self._counts.add(frames_in=1)
            target = self._stream.target
            job = Job(picture, pts, contents, target, strength, duration, due, plain, into)
            self._line.put(job)
        self._tell(events)
        return Status.OK

    def pass_over(self, pts: Pts, source: PictureFormat) -> None:
        """Notes a picture that nobody wants: it takes part in the stream, and nothing comes out.

        Args:
            pts: Its time; as for :meth:`send_frame`, its side data have been sent.
            source: Its format.

        Raises:
            ValueError: The enhancer is closed.
        """
        with self._lock:
            self._require_open()
            _, _, events = self._stream.picture(pts, source)
        self._tell(events)

    def skip(self, pts: Pts | None = None) -> bool:
        """Asks for plain resampling of a picture that has been sent, because time is short.

        Args:
            pts: Its time; None for all that wait.

        Returns:
            Whether a picture was still waiting.
        """
        return self._line.skip(pts)

    def wait_for_networks(self, timeout: float | None = None) -> bool:
        """Waits until no network is being built, so that playing can start with it.

        Args:
            timeout: Seconds; None waits as long as it takes.

        Returns:
            Whether all that were announced are ready or rejected.
        """
        return self._library.wait(timeout)

    # -- what comes out ----------------------------------------------------------------------

    def receive(self, timeout: float | None = 0.0) -> Enhanced | Literal[Status.AGAIN]:
        """The next output picture, in the order of sending.

        Args:
            timeout: Seconds to wait for a picture in work; None waits as long as it takes.

        Returns:
            The picture, or ``AGAIN`` if none is ready; at once if none is in work.
        """
        while not self._workers and not self._line.ready and self._work_on_next(wait=False):
            pass
        result = self._line.next(timeout)
        if result is None:
            return Status.AGAIN
        self._counts.add(frames_out=1)
        return result

    @property
    def ready(self) -> int:
        """Pictures that :meth:`receive` would hand out one after the other without waiting."""
        return self._line.ready

    @property
    def pending(self) -> int:
        """Pictures that were sent and not received."""
        return self._line.inside

    def peek(self, pts: Pts, source: PictureFormat | None = None) -> PictureFormat | None:
        """Format of the output picture that the picture at ``pts`` will become.

        Args:
            pts: Presentation time; its side data have been sent, later pictures have not.
            source: Format of the input pictures; may be left out once one has been sent.

        Returns:
            The format, or None while ``source`` is unknown.
        """
        with self._lock:
            return self._stream.peek(pts, source)

    @property
    def output_format(self) -> PictureFormat | None:
        """Format of all output pictures; None before the first picture or if it is dynamic."""
        return self._stream.target

    @property
    def output_size(self) -> tuple[int, int] | None:
        """Width and height of all output pictures; None while unknown or if it is dynamic."""
        return self._stream.output_size

    @property
    def on_event(self) -> Callable[[Event], None] | None:
        """Receives every event; may be changed at any time."""
        return self._reporter.on_event

    @on_event.setter
    def on_event(self, receiver: Callable[[Event], None] | None) -> None:
        self._reporter.on_event = receiver

    def stats(self) -> Statistics:
        """Counts so far."""
        return self._counts.snapshot(self._execution.state)

    # -- life cycle --------------------------------------------------------------------------

    def flush(self) -> None:
        """Forgets all pictures and all messages, as for a seek; returns at once.

        Networks that were built stay in memory, so a stream that repeats them loses nothing.
        """
        with self._lock:
            self._counts.add(flushed=self._line.clear())
            self._stream.flush()
            self._execution.restart()

    def drain(self) -> None:
        """Waits until every picture sent is ready to be received."""
        while not self._workers and self._work_on_next(wait=False):
            pass
        self._line.drain()

    def close(self) -> None:
        """Stops the threads; pictures inside are lost.  Closing twice does no harm."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        self._line.close()
        self._library.close()
        for worker in self._workers:
            worker.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # -- inside ------------------------------------------------------------------------------

    def _require_open(self) -> None:
        if self._closed:
            raise ValueError("the enhancer is closed")

    def _tell(self, events: Sequence[Event]) -> None:
        rejected = sum(event.kind is EventKind.NETWORK_REJECTED for event in events)
        if rejected:
            self._counts.add(networks_rejected=rejected)
        self._reporter.tell(events)

    def _on_built(
        self, content: Content, result: NetworkFilter | NnrVideoError, seconds: float
    ) -> None:
        """Hears from the builder's thread."""
        nnpfc_id = content[0].nnpfc_id
        events = []
        if isinstance(result, NetworkFilter):
            self._counts.built(seconds, result.provider, result.precision.name)
            events.append(Event(EventKind.NETWORK_READY, nnpfc_id, fingerprint(content)))
            reason = result.precision.reason
            if reason and self._reporter.first_time(reason):
                _log.warning("fp32 instead of int8 (nnpfc_id %d): %s", nnpfc_id, reason)
        elif self._reporter.first_time(f"{fingerprint(content)} {result}"):
            events.append(Event(EventKind.NETWORK_REJECTED, nnpfc_id, str(result)))
        self._tell(events)

    def _work(self) -> None:
        while self._work_on_next():
            pass

    def _work_on_next(self, *, wait: bool = True) -> bool:
        """Makes the next output picture; returns whether there was one to make."""
        job = self._line.take(wait=wait)
        if job is None:
            return False
        result = self._execution.process(job)
        with self._lock:
            if self._line.finish(job, result):
                self._counts.made(result.info)
        return True
