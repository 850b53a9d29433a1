# SPDX-License-Identifier: Apache-2.0
"""Prints when it pays to predict an update by the one before, and what short element ids save.

    python tests/bench/bench_updates.py [NET.onnx ...]

A perceptron that enlarges patches of made pictures is trained with NumPy; its checkpoints, at
several distances, are sent as a chain of updates, with steps of a quarter of a difference's root
mean square and of all of it.  Bytes and errors are ratios to the same chain without prediction.
"""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from nnrvideo import model, nnc

UPDATES = 19
CASES = {
    "momentum 0.9, every step": {"every": 1, "rate": 0.2, "momentum": 0.9},
    "momentum 0.9, every 5 steps": {"every": 5, "rate": 0.2, "momentum": 0.9},
    "momentum 0.9, every 50 steps": {"every": 50, "rate": 0.2, "momentum": 0.9},
    "momentum 0.99, every 10 steps": {"every": 10, "rate": 0.02, "momentum": 0.99},
    "Adam, every step": {"every": 1, "rate": 1e-3, "momentum": None, "warm": 200},
    "Adam, every 10 steps": {"every": 10, "rate": 1e-3, "momentum": None, "warm": 200},
}


def patches(random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """5 x 5 samples of small pictures and the 2 x 2 that belong to the middle one, less it."""
    inputs, outputs = [], []
    for _ in range(8):
        noise = random.normal(0, 1, (256, 256))
        frequencies = np.hypot(*np.meshgrid(np.fft.fftfreq(256), np.fft.fftfreq(256)))
        picture = np.fft.ifft2(np.fft.fft2(noise) / (0.01 + frequencies) ** 1.2).real
        picture /= 4 * picture.std()
        small = picture.reshape(128, 2, 128, 2).mean((1, 3))
        y, x = random.integers(2, 126, (2, 4000))
        middle = small[y, x][:, None]
        window = [small[y + dy, x + dx] for dy in range(-2, 3) for dx in range(-2, 3)]
        target = [picture[2 * y + dy, 2 * x + dx] for dy in (0, 1) for dx in (0, 1)]
        inputs.append(np.stack(window, 1) - middle)
        outputs.append(np.stack(target, 1) - middle)
    return 4 * np.concatenate(inputs), 4 * np.concatenate(outputs)


def checkpoints(
    *, every: int, rate: float, momentum: float | None, warm: int = 20
) -> list[dict[str, np.ndarray]]:
    """Weights of a network 25-64-64-4 in training; without momentum by Adam."""
    random = np.random.default_rng(1)
    inputs, outputs = patches(random)
    sizes = (25, 64, 64, 4)
    weights = {}
    for layer, (rows, cols) in enumerate(zip(sizes, sizes[1:], strict=False)):
        weights[f"w{layer}"] = random.normal(0, math.sqrt(2 / rows), (rows, cols))
        weights[f"b{layer}"] = np.zeros(cols)
    first = {name: np.zeros_like(value) for name, value in weights.items()}
    second = {name: np.zeros_like(value) for name, value in weights.items()}
    found = []
    for step in range(warm + every * UPDATES + 1):
        chosen = random.integers(0, len(inputs), 256)
        layers = [inputs[chosen]]
        for layer in range(3):
            value = layers[-1] @ weights[f"w{layer}"] + weights[f"b{layer}"]
            layers.append(np.maximum(value, 0) if layer < 2 else value)
        slope = 2 * (layers[-1] - outputs[chosen]) / layers[-1].size
        gradients = {}
        for layer in (2, 1, 0):
            gradients[f"w{layer}"] = layers[layer].T @ slope
            gradients[f"b{layer}"] = slope.sum(0)
            slope = (slope @ weights[f"w{layer}"].T) * (layers[layer] > 0)
        for name, gradient in gradients.items():
            if momentum is not None:
                first[name] = momentum * first[name] - rate * gradient
                weights[name] = weights[name] + first[name]
                continue
            first[name] = 0.9 * first[name] + 0.1 * gradient
            second[name] = 0.999 * second[name] + 0.001 * gradient**2
            scale = np.sqrt(second[name] / (1 - 0.999 ** (step + 1))) + 1e-8
            weights[name] = weights[name] - rate * first[name] / (1 - 0.9 ** (step + 1)) / scale
        if step >= warm and (step - warm) % every == 0:
            found.append({name: value.astype(np.float32) for name, value in weights.items()})
    return found


def flat(tensors: dict[str, np.ndarray]) -> np.ndarray:
    """All values in a row."""
    return np.concatenate([tensors[name].ravel() for name in sorted(tensors)]).astype(np.float64)


def chain(found: list[dict[str, np.ndarray]], qp: int, predict: nnc.Prediction) -> list[float]:
    """Bytes of all updates, mean error, and how many of them were predicted."""
    settings = nnc.EncodeSettings(qp=qp)
    received = model.receive(nnc.encode(found[0], settings))
    size, error, predicted = 0, 0.0, 0
    for wanted in found[1:]:
        update = model.diff(received, wanted, settings, predict=predict)
        received = model.receive(update, received)
        size += len(update)
        predicted += received.decoded.is_predicted
        error += math.sqrt(np.mean((flat(dict(received.tensors)) - flat(wanted)) ** 2))
    return [size, error / UPDATES, predicted]


def predictions() -> None:
    """A line for each case."""
    print(f"{'checkpoints':32} {'cosine':>6} {'bytes':>6} {'always, error':>14} auto, error, of")
    for name, case in CASES.items():
        found = checkpoints(**case)
        steps = [flat(b) - flat(a) for a, b in zip(found, found[1:], strict=False)]
        pairs = zip(steps, steps[1:], strict=False)
        cosine = np.mean([a @ b / np.linalg.norm(a) / np.linalg.norm(b) for a, b in pairs])
        rms = np.mean([math.sqrt(np.mean(step**2)) for step in steps])
        for ratio in (0.25, 1.0):
            qp = round(4 * math.log2(rms * ratio))
            never, always, auto = (chain(found, qp, each) for each in ("never", "always", "auto"))
            print(
                f"{name:32} {cosine:6.2f} {never[0]:6} "
                f"{always[0] / never[0]:7.3f} {always[1] / never[1]:6.3f} "
                f"{auto[0] / never[0]:6.3f} {auto[1] / never[1]:.3f} {auto[2]} of {UPDATES}"
            )


def many_tensors() -> model.Network:
    """200 convolutions with biases, in a row."""
    random = np.random.default_rng(0)
    nodes, weights, last = [], [], "x"
    for number in range(200):
        names = [f"block{number}.conv.weight", f"block{number}.conv.bias"]
        values = random.laplace(0, 0.06, (8, 8, 3, 3)), random.normal(0, 0.05, 8)
        for name, value in zip(names, values, strict=True):
            weights.append(numpy_helper.from_array(value.astype(np.float32), name))
        nodes.append(helper.make_node("Conv", [last, *names], [f"y{number}"], pads=[1] * 4))
        last = f"y{number}"
    ports = [
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, dims)]
        for name, dims in (("x", [1, 8, "h", "w"]), (last, None))
    ]
    graph = helper.make_graph(nodes, "many", *ports, weights)
    opsets = [helper.make_opsetid("", 17)]
    made = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    return model.load_onnx(made.SerializeToString())


def ids(networks: dict[str, model.Network]) -> None:
    """What short ids save on each network and on an update of it."""
    settings = nnc.EncodeSettings(qp=-32)
    for name, network in networks.items():
        sizes = []
        for form in ("names", "short"):
            random = np.random.default_rng(0)
            base = model.pack(network, settings, ids=form)
            received = model.receive(base)
            moved = {
                each: (value + random.normal(0, 0.003, value.shape)).astype(value.dtype)
                for each, value in received.tensors.items()
            }
            sizes.append((len(base), len(model.diff(received, moved, settings))))
        (base, update), (short_base, short_update) = sizes
        print(
            f"{name}: {base} -> {short_base} bytes ({short_base / base - 1:+.1%}), "
            f"update {update} -> {short_update} ({short_update / update - 1:+.1%})"
        )


if __name__ == "__main__":
    predictions()
    ids({Path(path).stem: model.load_onnx(Path(path)) for path in sys.argv[1:]})
    ids({"400 tensors": many_tensors()})
