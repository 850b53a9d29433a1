# SPDX-License-Identifier: Apache-2.0
"""The graph that actually runs: sample values in, sample values out.

Converting samples to the numbers that a network computes with, and back, costs nothing inside the
graph but a pass over memory outside of it.  So this module puts the conversion of NNPFC around
the network: cast, scale, and for the output round, clip, cast; and it cuts off what a network
yields beyond the output patch.  The runtime then moves integers only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, final

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from nnrvideo.errors import UnsupportedFeatureError
from nnrvideo.model.contract import INTEGER, STRENGTH_CONTROL, IoContract
from nnrvideo.model.element_types import TYPE_CODES, is_foreign
from nnrvideo.model.graph import Graph, serialize, write_model
from nnrvideo.model.int8 import quantise
from nnrvideo.model.ranges import Ranges, without_ranges
from nnrvideo.model.store import OpenStore
from nnrvideo.model.stored import place
from nnrvideo.model.topology import Network

Array = npt.NDArray[Any]

_CLAUSE: Final = "Rec. ITU-T H.274, NNPFC input and output tensors"
_MAX_DEPTH: Final = 16


@final
@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """A network ready for an inference session.

    The tensors at its border have the network's own layout: (1, C, H, W), or (1, P, C, H, W), with
    channels last where the contract says so.  H and W of the input are patch + 2 * overlap; those
    of the output are exactly the output patch.

    Args:
        model: Serialised ONNX model whose weights are external, under the names in ``arrays`` or in
            files of the store that it was prepared with.
        arrays: Values for ``SessionOptions.add_external_initializers``.
        input_name: Name of the input.
        output_name: Name of the output.
        input_dtype: uint8 or uint16 sample values of ``input_bit_depth``; float32, already
            converted, where the input has a strength-control plane.
        output_dtype: uint8 or uint16 sample values of ``output_bit_depth``.
        input_bit_depth: Bits of a sample in the input pictures.
        output_bit_depth: Bits of a sample in the output pictures.
        contract: How to cut and feed patches.
    """

    model: bytes = field(repr=False)
    arrays: Mapping[str, Array] = field(repr=False)
    input_name: str
    output_name: str
    input_dtype: np.dtype[Any]
    output_dtype: np.dtype[Any]
    input_bit_depth: int
    output_bit_depth: int
    contract: IoContract


def prepare(
    network: Network,
    contract: IoContract,
    *,
    input_bit_depth: int,
    output_bit_depth: int | None = None,
    ranges: Ranges | None = None,
    observe: Sequence[str] = (),
    store: OpenStore | None = None,
) -> Prepared:
    """Wraps a network so that it takes and gives sample values.

    Args:
        network: A network that fits ``contract``.
        contract: Inferred, or declared by an NNPFC message.
        input_bit_depth: Bits of a sample in the decoded pictures, 8 to 16.
        output_bit_depth: Bits of a sample wanted, 8 to 16; by default those of the input.  An
            integer output has the depth that the contract declares, whatever is wanted here.
        ranges: Of the activations; convolutions that have one run in 8-bit integers.
        observe: Names of float32 values inside the graph that become further outputs, behind
            the pictures: for measuring, not for playing.
        store: Takes large weights, for a runtime to map them from its folder while it is open.

    Raises:
        UnsupportedFeatureError: Tensor depths over 16 bits.
        ValueError: A bit depth outside 8..16.

    Spec: Rec. ITU-T H.274 (V3) NNPFC semantics, StoreInputTensors and StoreOutputTensors.
    """
    wanted = input_bit_depth if output_bit_depth is None else output_bit_depth
    for depth in (input_bit_depth, wanted):
        if not 8 <= depth <= _MAX_DEPTH:
            msg = f"bit depth {depth} is outside 8..{_MAX_DEPTH}"
            raise ValueError(msg)
    for depth in (contract.inp_tensor_bit_depth, contract.out_tensor_bit_depth):
        if depth > _MAX_DEPTH:
            raise UnsupportedFeatureError(f"tensors of {depth} bits", clause=_CLAUSE)
    runnable = without_ranges(network) if ranges is None else quantise(network, ranges)
    return _Wrapper(runnable, contract, input_bit_depth, wanted).wrap(observe, store)


def for_runtime(
    graph: Graph, tensors: Mapping[str, Array], store: OpenStore | None = None
) -> tuple[onnx.ModelProto, dict[str, Array]]:
    """A model, and the weights to hand over beside it.

    Args:
        graph: The graph.
        tensors: Values of its external tensors.
        store: Takes large ones; the model then refers to files in its folder.

    Returns:
        The model and the arrays for its external tensors that are in no file.  Those of types that
        NumPy does not know are inside the model, because an array cannot hand them over.
    """
    placements = {} if store is None else place(graph, tensors, store)
    left = {name: value for name, value in tensors.items() if name not in placements}
    inside = {name: value for name, value in left.items() if is_foreign(value.dtype)}
    arrays = {name: value for name, value in left.items() if name not in inside}
    return write_model(graph, inside, placements), arrays


class _Wrapper:
    def __init__(
        self, network: Network, contract: IoContract, input_depth: int, output_depth: int
    ) -> None:
        self._network = network
        self._contract = contract
        self._input_depth = input_depth
        integer_out = contract.out_format_idc == INTEGER
        self._output_depth = contract.out_tensor_bit_depth if integer_out else output_depth
        self._taken = network.graph.names()
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []

    def wrap(self, observe: Sequence[str], store: OpenStore | None) -> Prepared:
        model, arrays = for_runtime(self._network.graph, self._network.tensors, store)
        graph = model.graph
        input_name, input_type = self._input_stage(graph)
        before, self._nodes = self._nodes, []
        output_name = self._output_stage(graph)
        core = list(graph.node)
        del graph.node[:]
        graph.node.extend([*before, *core, *self._nodes])
        graph.initializer.extend(self._constants)
        graph.output.extend(
            helper.make_tensor_value_info(name, TYPE_CODES[np.dtype(np.float32)], None)
            for name in observe
        )
        return Prepared(
            model=serialize(model),
            arrays=arrays,
            input_name=input_name,
            output_name=output_name,
            input_dtype=input_type,
            output_dtype=_sample_type(self._output_depth),
            input_bit_depth=self._input_depth,
            output_bit_depth=self._output_depth,
            contract=self._contract,
        )

    def _input_stage(self, graph: onnx.GraphProto) -> tuple[str, np.dtype[Any]]:
        """Samples to the network's numbers; returns the new input's name and type."""
        port = self._network.graph.inputs[0]
        contract = self._contract
        if contract.auxiliary_inp_idc & STRENGTH_CONTROL:
            # The strength is a real number and does not fit among integer samples.
            source_type = np.dtype(np.float32)
        else:
            source_type = _sample_type(self._input_depth)
        shift = contract.inp_tensor_bit_depth - self._input_depth
        ready = contract.inp_format_idc == INTEGER and shift == 0
        if source_type == port.dtype and (ready or source_type.kind == "f"):
            return port.name, source_type
        name = self._fresh("samples")
        value = self._cast(name, np.dtype(np.float32)) if source_type.kind != "f" else name
        if source_type.kind != "f":
            if contract.inp_format_idc != INTEGER:
                value = self._binary("Div", value, float(2**self._input_depth - 1))
            elif shift > 0:
                value = self._binary("Mul", value, float(2**shift))
            elif shift < 0:
                value = self._shift_down(value, -shift, contract.inp_tensor_bit_depth)
        self._nodes.append(
            helper.make_node("Cast", [value], [port.name], to=TYPE_CODES[port.dtype])
        )
        dims = None if port.dims is None else list(port.dims)
        source = helper.make_tensor_value_info(name, TYPE_CODES[source_type], dims)
        del graph.input[:]
        graph.input.append(source)
        return name, source_type

    def _shift_down(self, value: str, shift: int, depth: int) -> str:
        """Clip3(0, 2^t - 1, (x + 2^(shift - 1)) >> shift) in floating point, which is exact."""
        value = self._binary("Add", value, float(2 ** (shift - 1)))
        value = self._binary("Mul", value, 2.0**-shift)
        floor = self._fresh("floor")
        self._nodes.append(helper.make_node("Floor", [value], [floor]))
        return self._clip(floor, float(2**depth - 1))

    def _output_stage(self, graph: onnx.GraphProto) -> str:
        """The network's numbers to samples; returns the new output's name."""
        port = self._network.graph.outputs[0]
        contract = self._contract
        target_type = _sample_type(self._output_depth)
        value = self._crop(port.name)
        done = contract.out_format_idc == INTEGER and port.dtype == target_type
        if done and value == port.name:
            return port.name
        if not done:
            top = float(2**self._output_depth - 1)
            if port.dtype != np.float32:
                value = self._cast(value, np.dtype(np.float32))
            if contract.out_format_idc != INTEGER:
                value = self._binary("Mul", value, top)
            if port.dtype.kind == "f":
                value = self._binary("Add", value, 0.5)
            # Clipped to what is not negative, the cast's truncation is the floor: half goes up.
            value = self._cast(self._clip(value, top), target_type)
        # The port may promise dimensions that the crop has changed; only the type is needed.
        del graph.output[:]
        graph.output.append(helper.make_tensor_value_info(value, TYPE_CODES[target_type], None))
        return value

    def _crop(self, value: str) -> str:
        across, down = self._contract.crop_width, self._contract.crop_height
        if not across and not down:
            return value
        rank = self._contract.output_rank
        first = rank - (3 if self._contract.component_last else 2)
        cropped = self._fresh("patch")
        far = np.iinfo(np.int64).max
        ends = [-n if n else far for n in (down, across)]
        inputs = [
            value,
            self._constant("starts", np.array([down, across], np.int64)),
            self._constant("ends", np.array(ends, np.int64)),
            self._constant("axes", np.array([first, first + 1], np.int64)),
        ]
        self._nodes.append(helper.make_node("Slice", inputs, [cropped]))
        return cropped

    def _cast(self, value: str, dtype: np.dtype[Any]) -> str:
        result = self._fresh("cast")
        self._nodes.append(helper.make_node("Cast", [value], [result], to=TYPE_CODES[dtype]))
        return result

    def _clip(self, value: str, top: float) -> str:
        result = self._fresh("clip")
        bounds = [
            self._constant("low", np.array(0.0, np.float32)),
            self._constant("high", np.array(top, np.float32)),
        ]
        self._nodes.append(helper.make_node("Clip", [value, *bounds], [result]))
        return result

    def _binary(self, op_type: str, value: str, operand: float) -> str:
        result = self._fresh(op_type.lower())
        constant = self._constant(op_type.lower() + "_by", np.array(operand, np.float32))
        self._nodes.append(helper.make_node(op_type, [value, constant], [result]))
        return result

    def _constant(self, name: str, value: Array) -> str:
        fresh = self._fresh(name)
        self._constants.append(numpy_helper.from_array(value, fresh))
        return fresh

    def _fresh(self, name: str) -> str:
        """A name that the network does not use."""
        count = 0
        while (fresh := f"nnrvideo/{name}/{count}") in self._taken:
            count += 1
        self._taken.add(fresh)
        return fresh


def _sample_type(depth: int) -> np.dtype[Any]:
    return np.dtype(np.uint8 if depth <= 8 else np.uint16)
