# SPDX-License-Identifier: Apache-2.0
"""The properties of ``nnrenhance``, read and proven when the element is started."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar, final

from nnrvideo.authoring import describe
from nnrvideo.errors import InferenceError, NnrVideoError
from nnrvideo.gst.errors import BAD_FILE, BAD_SETTING, MISSING_LIBRARY, ElementError
from nnrvideo.runtime import OnnxRuntimeBackend, Upscaler
from nnrvideo.sei import pack_records, random_access_messages

_Choice = TypeVar("_Choice", bound=Enum)


class Mode(Enum):
    """Property ``mode``."""

    AUTO = "auto"  # networks, never at the price of real time
    NETWORK = "network"  # networks, however long they take
    PLAIN = "plain"
    OFF = "off"  # pictures pass untouched


class ScalePolicy(Enum):
    """Property ``scale-policy``."""

    FIXED = "fixed"
    DYNAMIC = "dynamic"


@final
class Settings:
    """What does not change while a stream runs.

    Args:
        element: The shell.

    Attributes:
        backend: Runs the networks.
        model: Messages that stand for ``model-file``, or None: those of the stream apply.

    Raises:
        ElementError: onnxruntime is missing, a property has an impossible value, or the file of
            ``model-file`` is no network.
    """

    def __init__(self, element: Any) -> None:
        self.upscaler = choice(Upscaler, element.upscaler, "upscaler")
        self.fixed = choice(ScalePolicy, element.scale_policy, "scale-policy") is ScalePolicy.FIXED
        self.deadline: float = element.deadline
        self.max_memory_mib: int = element.max_memory
        self.backend = _backend(element.execution_provider, element.threads or None)
        self.model = _model(element.model_file)


def choice(kind: type[_Choice], value: str, name: str) -> _Choice:
    """The member of an enumeration that a property names.

    Raises:
        ElementError: There is none.
    """
    try:
        return kind(value)
    except ValueError:
        raise _impossible(name, value, [str(member.value) for member in kind]) from None


def _backend(provider: str | None, threads: int | None) -> OnnxRuntimeBackend:
    backend = OnnxRuntimeBackend(providers=[provider] if provider else None, threads=threads)
    try:
        able = backend.capabilities()
    except InferenceError as error:
        raise ElementError(
            f"{error}; nnrenhance runs networks by onnxruntime: pip install onnxruntime",
            MISSING_LIBRARY,
        ) from error
    if provider and provider not in able.providers:
        raise _impossible("execution-provider", provider, able.providers)
    return backend


def _model(path: str | None) -> bytes | None:
    if not path:
        return None
    try:
        return pack_records(random_access_messages(describe(Path(path).read_bytes())))
    except OSError as error:
        raise ElementError(
            f"model-file {path} cannot be read: {error.strerror}", BAD_FILE
        ) from error
    except (NnrVideoError, ValueError) as error:
        raise ElementError(
            f"model-file {path} is not a network as 'nnrvideo pack' writes it: {error}", BAD_FILE
        ) from error


def _impossible(name: str, value: str, able: Iterable[str]) -> ElementError:
    return ElementError(f"{name} cannot be {value!r}; it is one of {', '.join(able)}", BAD_SETTING)
