# SPDX-License-Identifier: Apache-2.0
from typing import TypeVar

import numpy as np
import numpy.typing as npt

_Made = TypeVar("_Made")

class Spec:
    def __init__(
        self,
        rows: int,
        cols: int,
        general_profile_idc: int,
        unary_length: int,
        dq_flag: bool,
        scan_order: int,
        codebook_size: int,
        codebook_zero_offset: int,
        parent_node_id_present_flag: bool,
        reference: npt.NDArray[np.int32] | None,
        history: npt.NDArray[np.uint8] | None,
        nncodec1: bool,
    ) -> None: ...

class Choices:
    def __init__(
        self,
        init_indices: npt.NDArray[np.uint8],
        row_skip_flags: npt.NDArray[np.uint8] | None,
        hist_dep_sig_prob_enabled_flag: bool,
    ) -> None: ...

class Decoder:
    def __init__(self, data: bytes) -> None: ...
    def uae(self, count: int) -> int: ...
    def iae(self, count: int) -> int: ...
    def tensor(
        self,
        spec: Spec,
        levels: npt.NDArray[np.int32],
        points: npt.NDArray[np.int64] | None,
        threads: int,
    ) -> tuple[bool, bytes | None, bytes, list[tuple[int, int, int]]]: ...
    def terminate(self) -> int: ...
    def bits_consumed(self) -> int: ...
    def state(self) -> tuple[int, int, int, list[tuple[int, int]]]: ...
    def reset_contexts(self, unary_length: int) -> None: ...
    def initialise_context(self, slot: int, index: int) -> None: ...
    def ae(self, slot: int) -> int: ...

class Encoder:
    def __init__(self) -> None: ...
    def uae(self, value: int, count: int) -> None: ...
    def iae(self, value: int, count: int) -> None: ...
    def tensor(self, spec: Spec, levels: npt.NDArray[np.int32], choices: Choices) -> None: ...
    def terminate(self) -> bytes: ...
    def entry_points(self) -> list[list[tuple[int, int, int]]]: ...
    def state(self) -> tuple[int, int, int, list[tuple[int, int]]]: ...
    def reset_contexts(self, unary_length: int) -> None: ...
    def initialise_context(self, slot: int, index: int) -> None: ...
    def ae(self, bin: int, slot: int) -> None: ...

def decode_batch(
    payloads: list[bytes],
    codewords: npt.NDArray[np.int64],
    tensors: npt.NDArray[np.int64],
    levels: npt.NDArray[np.int32],
    values: npt.NDArray[np.float32],
    threads: int,
) -> list[list[tuple[int, bytes | None, bytes]] | None]: ...
def frozen(type: type[_Made], names: tuple[str, ...], values: tuple[object, ...]) -> _Made: ...
def parse_plain_unit(
    data: bytes,
    general_profile_idc: int,
    mps_parent_signalling_enabled_flag: bool,
    max_string_bytes: int,
    max_tensors: int,
    max_dimensions: int,
    max_elements: int,
) -> (
    tuple[
        bool,
        bool,
        int,
        bool,
        tuple[str, ...],
        tuple[int, int, int] | None,
        bool,
        int | None,
        int,
        tuple[int, ...],
        int | None,
        int,
    ]
    | None
): ...
def search_init_indices(
    spec: Spec, levels: npt.NDArray[np.int32], choices: Choices, stride: int
) -> bytes: ...
def estimate_cost(spec: Spec, levels: npt.NDArray[np.int32], choices: Choices) -> int: ...
def quantise_tensor(
    spec: Spec,
    values: npt.NDArray[np.float32],
    step: float,
    lambda_: float,
    choices: Choices,
    levels: npt.NDArray[np.int32],
) -> None: ...
def less_probable_cost() -> list[int]: ...
def more_probable_cost() -> list[int]: ...
