# SPDX-License-Identifier: Apache-2.0
"""The seam between a network and whatever executes it.

A backend turns a graph and its weights into a :class:`Session`; a session maps arrays to arrays.
Neither knows about pictures (that is :mod:`nnrvideo.runtime.layout`) nor about the operators that a
received graph may hold: a graph reaches a backend only after the operator check.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, final, runtime_checkable

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


@final
@dataclass(frozen=True, slots=True)
class TensorInfo:
    """An input or output of a graph.

    Args:
        name: Name in the graph.
        shape: Sizes; None where the graph leaves a size open.
        dtype: Type of the elements.
    """

    name: str
    shape: tuple[int | None, ...]
    dtype: np.dtype[Any]


@final
@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a backend can do on this machine; asked before a network is fetched or decoded.

    Args:
        backend: Name of the backend.
        version: Version of the library behind it.
        providers: Execution providers present, best first.
        threads: Threads that a session would use for one run.
    """

    backend: str
    version: str
    providers: tuple[str, ...]
    threads: int


class Session(Protocol):
    """A loaded network, ready to run; by several threads at once if its enhancer has several."""

    @property
    def inputs(self) -> tuple[TensorInfo, ...]:
        """Inputs in graph order."""

    @property
    def outputs(self) -> tuple[TensorInfo, ...]:
        """Outputs in graph order."""

    @property
    def provider(self) -> str:
        """Execution provider that runs the network."""

    @property
    def fallbacks(self) -> tuple[str, ...]:
        """Providers that were asked for and not used, each with its reason."""

    def run(self, feeds: Mapping[str, Array]) -> tuple[Array, ...]:
        """Runs the network once.

        Args:
            feeds: C-contiguous array for each input name.

        Returns:
            The outputs in graph order; the caller owns them.

        Raises:
            InferenceError: The provider failed, or an array does not fit its input.
        """


@runtime_checkable
class WritingSession(Session, Protocol):
    """A session that can leave its outputs in memory of the caller."""

    def run_into(self, feeds: Mapping[str, Array], outputs: Sequence[Array]) -> None:
        """Runs the network once.

        Args:
            feeds: C-contiguous array for each input name.
            outputs: C-contiguous arrays, of exactly the shapes and types that come out, in graph
                order.

        Raises:
            InferenceError: The provider failed, or an array does not fit; what the outputs hold
                then is not said.
        """


class InferenceBackend(Protocol):
    """Executes networks; see :class:`nnrvideo.runtime.onnxruntime.OnnxRuntimeBackend`."""

    def capabilities(self) -> Capabilities:
        """What can be run here."""

    def load(self, graph: bytes, initializers: Mapping[str, Array]) -> Session:
        """Prepares a network for running.

        Args:
            graph: Serialised graph in the backend's format (ONNX ModelProto).
            initializers: Weights that the graph declares as external data, by name.

        Returns:
            The session; it keeps ``initializers`` alive.

        Raises:
            InferenceError: No provider accepts the network.
        """


@runtime_checkable
class MappingBackend(InferenceBackend, Protocol):
    """A backend that can map weights from files, so that it need not copy them."""

    def load_mapped(self, graph: bytes, initializers: Mapping[str, Array], folder: Path) -> Session:
        """Prepares a network for running.

        Args:
            graph: As for :meth:`load`; its external data of other locations than an NNC stream
                lie in files.
            initializers: The weights that do not.
            folder: Where the files lie.  They may be removed afterwards; they are never changed.

        Returns:
            The session; it keeps ``initializers`` alive.

        Raises:
            InferenceError: No provider accepts the network.
        """
