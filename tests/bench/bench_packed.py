# SPDX-License-Identifier: Apache-2.0
"""Running a large quantised network without inflating it: memory that a session adds.

    python tests/bench/bench_packed.py [--weights 62]

A network of that many million weights, once of convolutions with 8-bit weights between
QuantizeLinear and DequantizeLinear, once of matrix products with 4-bit weights (MatMulNBits), is
loaded by the player's backend and run; each in a process of its own.  The figure is the highest
resident memory above the imports, weights and mapped pages of files included, over the bytes of the
same weights in float32.  First from arrays, then decoded from an NNC bitstream into a store and
loaded from there, which is a peak of its own; of what is resident at the end, the part that is
private is given as well.  The output of one layer is compared with the dequantised one in numpy,
that from the store with that from arrays.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from nnrvideo.model import (
    Network,
    Topology,
    WeightStore,
    pack,
    stored_bytes,
    unpack_stored,
)
from nnrvideo.model.prepare import for_runtime
from nnrvideo.nnc import EncodeSettings
from nnrvideo.runtime import OnnxRuntimeBackend
from nnrvideo.tensors import TensorSet

WIDTH = 512  # channels
SIDE = 8  # positions of the picture in each direction
GAIN = 1 / 4964  # of weights up to 127, so that signals neither grow nor vanish


def external(array, name, kind):
    tensor = TensorProto(name=name, data_type=kind, dims=array.shape)
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="nnc")
    return tensor


def convolutions(count, *, real):
    """Convolutions 3x3 with int8 weights, or the same in real numbers."""
    random = np.random.default_rng(0)
    nodes, inside, outside, arrays = [], [], [], {}

    def constant(name, value):
        inside.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    scale, zero = constant("s", np.float32(1 / 32)), constant("z", np.uint8(128))
    weight_scale = constant("ws", np.float32(GAIN))
    weight_zero = constant("wz", np.int8(0))
    last = "x"
    for layer in range(count):
        weight = random.integers(-127, 128, (WIDTH, WIDTH, 3, 3), np.int8)
        name = f"w{layer}"
        if real:
            arrays[name] = weight.astype(np.float32) * np.float32(GAIN)
            outside.append(external(weight, name, TensorProto.FLOAT))
            source = name
        else:
            arrays[name] = weight
            outside.append(external(weight, name, TensorProto.INT8))
            source = f"wd{layer}"
            nodes.append(
                helper.make_node("DequantizeLinear", [name, weight_scale, weight_zero], [source])
            )
        q, d, out = f"q{layer}", f"d{layer}", f"c{layer}"
        nodes.append(helper.make_node("QuantizeLinear", [last, scale, zero], [q]))
        nodes.append(helper.make_node("DequantizeLinear", [q, scale, zero], [d]))
        nodes.append(helper.make_node("Conv", [d, source], [out], pads=[1] * 4))
        last = out
    nodes.append(helper.make_node("QuantizeLinear", [last, scale, zero], ["qy"]))
    nodes.append(helper.make_node("DequantizeLinear", ["qy", scale, zero], ["y"]))
    shape = [1, WIDTH, SIDE, SIDE]
    return build(nodes, inside + outside, shape, {}), arrays, shape


def products(count, *, real):
    """Matrix products with 4-bit weights in blocks of 32, or the same in real numbers."""
    random = np.random.default_rng(0)
    size, block = 2048, 32
    nodes, outside, arrays = [], [], {}
    last = "x"
    for layer in range(count):
        packed = random.integers(0, 256, (size, size // block, block // 2), np.uint8)
        scales = random.uniform(0.5, 1.5, (size, size // block)).astype(np.float32) / 200
        names = f"w{layer}", f"s{layer}"
        out = "y" if layer == count - 1 else f"m{layer}"
        if real:
            low, high = packed & 15, packed >> 4
            values = np.stack([low, high], axis=-1).reshape(size, size // block, block)
            weight = ((values.astype(np.float32) - 8) * scales[..., None]).reshape(size, size)
            arrays[names[0]] = np.ascontiguousarray(weight.T)
            outside.append(external(arrays[names[0]], names[0], TensorProto.FLOAT))
            nodes.append(helper.make_node("MatMul", [last, names[0]], [out]))
        else:
            arrays |= dict(zip(names, (packed, scales), strict=True))
            outside.append(external(packed, names[0], TensorProto.UINT8))
            outside.append(external(scales, names[1], TensorProto.FLOAT))
            nodes.append(
                helper.make_node(
                    "MatMulNBits", [last, *names], [out], domain="com.microsoft",
                    K=size, N=size, bits=4, block_size=block,
                )
            )  # fmt: skip
        last = out
    return build(nodes, outside, [1, size], {"com.microsoft": 1}), arrays, [1, size]


def build(nodes, initializers, shape, domains):
    graph = helper.make_graph(
        nodes,
        "large",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        initializers,
    )
    imports = [helper.make_opsetid("", 17)]
    imports += [helper.make_opsetid(name, version) for name, version in domains.items()]
    return helper.make_model(graph, opset_imports=imports, ir_version=8).SerializeToString()


def first_input(shape):
    return np.random.default_rng(1).normal(0, 1, shape).astype(np.float32)


def one_convolution():
    """One layer of the convolutions in double precision, rounded where the network rounds."""
    _, arrays, shape = convolutions(1, real=True)

    def rounded(values):
        return (np.clip(np.rint(values * 32) + 128, 0, 255) - 128) / 32

    x = np.pad(rounded(first_input(shape).astype(np.float64)), ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(x, (3, 3), axis=(2, 3))
    weight = arrays["w0"].astype(np.float64)
    return rounded(np.einsum("nchwyx,ocyx->nohw", windows, weight, optimize=True))


def one_product():
    """One layer of the products, dequantised, in double precision."""
    _, arrays, shape = products(1, real=True)
    return first_input(shape).astype(np.float64) @ arrays["w0"].astype(np.float64)


REFERENCES = {"int8 convolutions": one_convolution, "4-bit products": one_product}
KINDS = {"int8 convolutions": (convolutions, WIDTH**2 * 9), "4-bit products": (products, 2048**2)}


def child(kind, count, how, folder):
    import onnxruntime  # noqa: F401 - part of the base line

    make, _ = KINDS[kind]
    first_input((4,))  # NumPy loads its random numbers when they are first used
    backend = OnnxRuntimeBackend(providers=["CPUExecutionProvider"], threads=2)
    coded = Path(folder, "net.nnc")
    if how == "pack":
        graph, arrays, _ = make(count, real=False)
        network = Network(Topology.parse(graph), TensorSet(arrays))
        coded.write_bytes(pack(network, EncodeSettings(preset="fast")))
        return
    restart_peak()
    base = resident()
    decoding = 0
    if how == "stored":
        store = WeightStore(Path(folder, "store"))
        network = unpack_stored(coded.read_bytes(), store)
        decoding = resident()["VmHWM"] - base["VmRSS"]
        restart_peak()
        size = stored_bytes(network.tensors)
        shape = network.graph.inputs[0].dims
        with store.opened(size) as opened:
            model, arrays = for_runtime(network.graph, network.tensors, opened)
            session = backend.load_mapped(model.SerializeToString(), arrays, opened.folder)
    else:
        graph, arrays, shape = make(count, real=how == "real")
        session = backend.load(graph, arrays)
    x = first_input(shape)
    (y,) = session.run({"x": x})
    after = resident()
    peak = after["VmHWM"] - base["VmRSS"]
    private = after["RssAnon"] - base["RssAnon"]
    print(json.dumps([peak, private, decoding, y.ravel()[:4096].astype(float).tolist()]))


def resident():
    """Fields of the process's status that are sizes, in MiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    fields = (line.split() for line in lines if line.endswith(" kB"))
    return {field[0].rstrip(":"): int(field[1]) / 1024 for field in fields}


def restart_peak():
    Path("/proc/self/clear_refs").write_text("5")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", type=float, default=62)
    parser.add_argument("--child", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        kind, count, how, folder = options.child
        child(kind, int(count), how, folder)
        return
    for kind, (_, each) in KINDS.items():
        count = int(np.ceil(options.weights * 1e6 / each))
        full = 4 * count * each / 2**20
        print(f"{kind}: {count * each / 1e6:.1f} M weights, {full:.0f} MiB in float32")
        with tempfile.TemporaryDirectory() as folder:
            *packed, in_memory = run(kind, count, "arrays", folder)
            *inflated, _ = run(kind, count, "real", folder)
            run(kind, count, "pack", folder)
            *first, once = run(kind, count, "stored", folder)
            *later, again = run(kind, count, "stored", folder)
        for name, (peak, private, decoding) in {
            "float32, from arrays": inflated,
            "packed, from arrays": packed,
            "packed, from the store, first": first,
            "packed, from the store, later": later,
        }.items():
            before = f"; decoding before {decoding / full:.2f}" if decoding else ""
            print(
                f"  {name}: adds {peak:.0f} MiB at its peak ({peak / full:.2f}), "
                f"private at the end {private:.0f} MiB ({private / full:.2f}){before}"
            )
        print(f"  from the store the same bits: {in_memory == once == again}")
        # One layer: where activations are rounded, the smallest difference grows from layer to
        # layer until it is as large as the rounding, and tells nothing about the weights.
        got = np.array(run(kind, 1, "arrays", "")[-1])
        wanted = REFERENCES[kind]().ravel()[: got.size]
        error = np.sqrt(np.mean((got - wanted) ** 2) / np.mean(wanted**2))
        equal = np.mean(np.abs(got - wanted) <= 1e-4 * np.abs(wanted).max())
        print(f"  one layer: {100 * equal:.2f} % of the values within 1e-4, {error:.1e} r.m.s.")


def run(kind, count, how, folder):
    """What a process of its own prints: sizes in MiB and the first values of the output."""
    done = subprocess.run(
        [sys.executable, __file__, "--child", kind, str(count), how, folder],
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    return json.loads(done.stdout.splitlines()[-1]) if done.stdout else None


if __name__ == "__main__":
    main()
