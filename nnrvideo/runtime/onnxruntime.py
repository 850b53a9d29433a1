# SPDX-License-Identifier: Apache-2.0
"""Inference by ONNX Runtime; the only module that imports it, and only when a session is made.

Weights are handed over as external initialisers, never serialised into the model.  From an array
the library takes a copy, which it drops once its kernels have reordered the weights; from a file
it maps one tensor at a time and copies nothing, so large networks come in files.  A provider that
cannot be used is a *reported* fallback, never a silent one.
"""

from __future__ import annotations

import importlib
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, final

import numpy as np

from nnrvideo.errors import InferenceError
from nnrvideo.runtime.base import Array, Capabilities, Session, TensorInfo

_log = logging.getLogger(__name__)

_CPU = "CPUExecutionProvider"
# Best first.  Providers that compile for minutes (TensorRT) are only used when asked for.
_PREFERRED = (
    "CUDAExecutionProvider",
    "ROCMExecutionProvider",
    "CoreMLExecutionProvider",
    "DmlExecutionProvider",
    _CPU,
)
_MAX_DEFAULT_THREADS = 4
_FOLDER_ENTRY = "session.model_external_initializers_file_folder_path"
_FATAL = 4  # ORT log level: load errors come as exceptions, a second copy on stderr helps nobody

_DTYPES: dict[str, np.dtype[Any]] = {
    "tensor(float)": np.dtype(np.float32),
    "tensor(float16)": np.dtype(np.float16),
    "tensor(double)": np.dtype(np.float64),
    "tensor(uint8)": np.dtype(np.uint8),
    "tensor(int8)": np.dtype(np.int8),
    "tensor(uint16)": np.dtype(np.uint16),
    "tensor(int16)": np.dtype(np.int16),
    "tensor(uint32)": np.dtype(np.uint32),
    "tensor(int32)": np.dtype(np.int32),
    "tensor(int64)": np.dtype(np.int64),
    "tensor(bool)": np.dtype(np.bool_),
}


def default_threads() -> int:
    """Threads for one run: the cores that this process may use, at most 4.

    More threads than that rarely help the small networks that travel in a stream, and a player
    shares the machine with a decoder and a display.
    """
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # not on every system
        cores = os.cpu_count() or 1
    return max(1, min(cores, _MAX_DEFAULT_THREADS))


@final
class OnnxRuntimeBackend:
    """Runs ONNX graphs with ONNX Runtime.

    Args:
        providers: Execution providers in the order to try, spelt as ONNX Runtime spells them; None
            takes what is installed, accelerators first.  The CPU is always the last resort.
        threads: Threads for one run, at least 1; None for :func:`default_threads`.

    Raises:
        ValueError: ``threads`` is below 1.
    """

    def __init__(
        self, *, providers: Sequence[str] | None = None, threads: int | None = None
    ) -> None:
        if threads is not None and threads < 1:
            msg = f"threads must be at least 1, got {threads}"
            raise ValueError(msg)
        self._wanted = tuple(providers) if providers is not None else None
        self._threads = threads or default_threads()

    def capabilities(self) -> Capabilities:
        """What can be run here.

        Raises:
            InferenceError: ONNX Runtime is not installed.
        """
        ort = _import()
        present = set(ort.get_available_providers())
        known = tuple(name for name in _PREFERRED if name in present)
        return Capabilities("onnxruntime", str(ort.__version__), known, self._threads)

    def load(self, graph: bytes, initializers: Mapping[str, Array]) -> Session:
        """Prepares a network for running.

        Args:
            graph: Serialised ONNX ModelProto; at most 2 GiB, as protobuf allows.
            initializers: Arrays for the tensors that the graph marks as external data.

        Returns:
            A session on the first provider that accepts the network.

        Raises:
            InferenceError: ONNX Runtime is missing, or no provider accepts the network.
        """
        return self._load(graph, initializers, None)

    def load_mapped(self, graph: bytes, initializers: Mapping[str, Array], folder: Path) -> Session:
        """Prepares a network for running, with weights in files.

        Kernels that reorder their weights hold them in memory once, in that order; the others run
        on the pages of the files, which all processes share.

        Args:
            graph: Serialised ONNX ModelProto, at most 2 GiB without what is in files.
            initializers: Arrays for the external tensors that are not.
            folder: Where the files are that the graph refers to.

        Returns:
            A session on the first provider that accepts the network.

        Raises:
            InferenceError: ONNX Runtime is missing, or no provider accepts the network.
        """
        return self._load(graph, initializers, folder)

    def _load(
        self, graph: bytes, initializers: Mapping[str, Array], folder: Path | None
    ) -> Session:
        ort = _import()
        present = ort.get_available_providers()
        wanted = self._wanted if self._wanted is not None else _PREFERRED
        fallbacks: list[str] = []
        for name in dict.fromkeys((*wanted, _CPU)):
            if name not in present:
                # Only what the user named himself is worth a report; defaults are a wish list.
                if self._wanted is not None:
                    fallbacks.append(f"{name}: not present in this build of onnxruntime")
                continue
            try:
                session = self._session(ort, name, graph, initializers, folder)
            except Exception as error:
                fallbacks.append(f"{name}: {_first_line(error)}")
                continue
            used = session.get_providers()[0]
            if used != name:
                fallbacks.append(f"{name}: onnxruntime chose {used}")
            for reason in fallbacks:
                _log.warning("execution provider not used: %s", reason)
            return _OrtSession(session, used, tuple(fallbacks), initializers)
        raise InferenceError(f"the network cannot be loaded: {'; '.join(fallbacks)}")

    def _session(
        self,
        ort: Any,
        provider: str,
        graph: bytes,
        initializers: Mapping[str, Array],
        folder: Path | None,
    ) -> Any:
        options = ort.SessionOptions()
        # The blocked convolution layout, worth a factor of 2, exists only at this level.
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.intra_op_num_threads = self._threads
        options.inter_op_num_threads = 1
        options.log_severity_level = _FATAL
        # Threads that spin for work starve the decoder on small machines.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        if folder is not None:
            options.add_session_config_entry(_FOLDER_ENTRY, str(folder))
        if initializers:
            names = list(initializers)
            values = [ort.OrtValue.ortvalue_from_numpy(initializers[name]) for name in names]
            options.add_external_initializers(names, values)
        chain = [provider] if provider == _CPU else [provider, _CPU]
        return ort.InferenceSession(graph, sess_options=options, providers=chain)


@final
class _OrtSession:
    """A loaded network; keeps the weights alive, because ONNX Runtime only points at them."""

    def __init__(
        self,
        session: Any,
        provider: str,
        fallbacks: tuple[str, ...],
        initializers: Mapping[str, Array],
    ) -> None:
        self._session = session
        self._initializers = dict(initializers)
        self.provider = provider
        self.fallbacks = fallbacks
        self.inputs = tuple(_info(node) for node in session.get_inputs())
        self.outputs = tuple(_info(node) for node in session.get_outputs())
        self._output_names = [info.name for info in self.outputs]

    def run(self, feeds: Mapping[str, Array]) -> tuple[Array, ...]:
        """Runs the network once; see :meth:`nnrvideo.runtime.base.Session.run`."""
        try:
            return tuple(self._session.run(self._output_names, dict(feeds)))
        except Exception as error:
            raise InferenceError(_first_line(error), provider=self.provider) from error

    def run_into(self, feeds: Mapping[str, Array], outputs: Sequence[Array]) -> None:
        """Runs the network once; see :meth:`nnrvideo.runtime.base.WritingSession.run_into`."""
        try:
            binding = self._session.io_binding()
            for name, value in feeds.items():
                binding.bind_cpu_input(name, value)
            for name, value in zip(self._output_names, outputs, strict=True):
                address = value.__array_interface__["data"][0]
                binding.bind_output(name, "cpu", 0, value.dtype.type, value.shape, address)
            self._session.run_with_iobinding(binding)
        except Exception as error:
            raise InferenceError(_first_line(error), provider=self.provider) from error


def _import() -> Any:
    try:
        # The sibling of the same name is nnrvideo.runtime.onnxruntime; this is the library.
        return importlib.import_module("onnxruntime")
    except ImportError as error:
        msg = f"onnxruntime cannot be imported: {error}"
        raise InferenceError(msg) from error


def _info(node: Any) -> TensorInfo:
    if node.type not in _DTYPES:
        msg = f"{node.name!r} has the type {node.type}, which no picture can fill"
        raise InferenceError(msg)
    shape = tuple(size if isinstance(size, int) and size > 0 else None for size in node.shape)
    return TensorInfo(node.name, shape, _DTYPES[node.type])


def _first_line(error: Exception) -> str:
    text = str(error).strip().splitlines()
    return text[0] if text else type(error).__name__
