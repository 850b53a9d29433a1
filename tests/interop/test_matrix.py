# SPDX-License-Identifier: Apache-2.0
"""A matrix of what our encoder can write, decoded by NNCodec 2.1.3 to the same bits."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

from nnrvideo import nnc

from .conftest import assert_same

pytestmark = pytest.mark.interop

SHAPES = ((5,), (64,), (1, 9), (9, 1), (12, 20), (17, 3, 3, 3), (70, 33))


def tensors(random: np.random.Generator) -> dict[str, np.ndarray]:
    """Two float tensors and one of integers, of random shapes and spreads."""
    found: dict[str, np.ndarray] = {}
    for name in ("a", "b"):
        shape = SHAPES[random.integers(len(SHAPES))]
        values = random.laplace(0, 10.0 ** random.uniform(-3, 1), shape)
        values[random.random(shape[0]) < 0.2] = 0
        found[name] = values.astype(np.float32)
    shape = SHAPES[random.integers(len(SHAPES))]
    found["i"] = random.integers(-20, 20, shape, np.int32)
    return found


def combinations() -> list[tuple[str, bytes]]:
    """Streams of every combination of the options that change the syntax."""
    random = np.random.default_rng(2)
    presets = ("fast", "medium", "slow", "placebo")
    options = itertools.product((True, False), (0, 1, 2, 4), (0, 2, 4), ("never", "always"), (0, 1))
    streams = []
    for number, (dq, scan, density, codebook, profile) in enumerate(options):
        for preset in (presets[number % 4], presets[(number + 1 + number // 4) % 4]):
            settings = nnc.EncodeSettings(
                preset=preset,
                qp=-6 << density,
                qp_density=density,
                dependent_quantisation=dq,
                scan_order=scan,
                codebook=codebook,
                profile=profile,
                nonweight_qp=(None, -9 << density)[number % 2],
                cabac_unary_length_minus1=(None, 0, 5, 30)[number % 4],
                row_skipping=number % 3 > 0,
                search=number % 5 > 0,
                node_ids=number % 7 > 0,
            )
            streams.append((str(settings), nnc.encode(tensors(random), settings)))
    return streams


def blocks() -> list[tuple[str, bytes]]:
    """Weights with biases, local scales and batch norms in one unit."""
    random = np.random.default_rng(3)
    roles = (nnc.Role.BIAS, nnc.Role.SCALING, nnc.Role.BETA)
    norm = (nnc.Role.BETA, nnc.Role.GAMMA, nnc.Role.MEAN, nnc.Role.VARIANCE)
    streams = []
    chosen = [set(c) for n in (1, 2, 3) for c in itertools.combinations(roles, n)]
    for wanted, dq, scan, profile in itertools.product(chosen, (True, False), (0, 1), (0, 1)):
        rows = int(random.integers(2, 24))
        found = {"w": random.laplace(0, 0.1, (rows, 4, 3)).astype(np.float32)}
        block = {nnc.Role.WEIGHT: "w"}
        for role in nnc.Role:
            if role in wanted or (nnc.Role.BETA in wanted and role in norm):
                # NNCodec expects a scale to be named after its weight.
                name = "w_scaling" if role is nnc.Role.SCALING else role.value
                found[name] = random.uniform(0.5, 2, rows).astype(np.float32)
                block[role] = name
        settings = nnc.EncodeSettings(
            qp=-24, dependent_quantisation=dq, scan_order=scan, profile=profile
        )
        what = f"{sorted(each.value for each in wanted)} {settings}"
        streams.append((what, nnc.encode(found, settings, blocks=[block])))
    return streams


def factors() -> list[tuple[str, bytes]]:
    """Weights of low rank, with and without a bias."""
    random = np.random.default_rng(4)
    streams = []
    for bias, dq, scan in itertools.product((False, True), (True, False), (0, 1)):
        weight = random.normal(0, 1, (30, 2)) @ random.normal(0, 0.2, (2, 36))
        found = {"w": weight.reshape(30, 4, 3, 3), "b": random.normal(0, 0.1, 30)}
        found = {name: value.astype(np.float32) for name, value in found.items()}
        block = [{nnc.Role.WEIGHT: "w", nnc.Role.BIAS: "b"}] if bias else []
        settings = nnc.EncodeSettings(low_rank=0.9999, dependent_quantisation=dq, scan_order=scan)
        streams.append((f"low rank {bias} {settings}", nnc.encode(found, settings, blocks=block)))
    return streams


def test_everything_we_write(exchange):
    streams = combinations() + blocks()
    assert len(streams) >= 240
    exchange([stream for _, stream in streams], [what for what, _ in streams])


def test_low_rank(nncodec, tmp_path):
    """NNCodec's coder reads factors; its front end then fails on them, whoever wrote them."""
    for number, (what, stream) in enumerate(factors()):
        source, target = tmp_path / f"{number}.nnc", tmp_path / f"{number}.npz"
        source.write_bytes(stream)
        assert nncodec("sequence", source, target) == [{}], what
        assert_same(target, nnc.decode(stream).tensors, what)


SEQUENCES = [
    pytest.param(dq, scan, device, predict, id=f"dq{int(dq)}-scan{scan}-device{device}-{predict}")
    for dq, scan, device, predict in itertools.product(
        (True, False), (0, 1), (0, 3), ("never", "always")
    )
]


@pytest.mark.parametrize(("dq", "scan", "device", "predict"), SEQUENCES)
def test_sequences_of_updates(nncodec, tmp_path, dq, scan, device, predict):
    """A base and seven updates, the same tensors again and again: TCA and HDSP come into use.

    Of predicted updates NNCodec returns what was transmitted, and leaves the sum to others.
    """
    random = np.random.default_rng([dq, scan, device])
    shapes = {"w": (24, 30), "c": (9, 4, 3, 3), "b": (24,)}
    settings = nnc.EncodeSettings(
        qp=-12, dependent_quantisation=dq, scan_order=scan, device_id=device
    )
    base = {name: random.laplace(0, 0.5, shape) for name, shape in shapes.items()}
    base = {name: value.astype(np.float32) for name, value in base.items()}
    # Training goes on in one direction for a while, so that updates resemble each other.
    places = {name: random.random(shape) < 0.2 for name, shape in shapes.items()}
    course = {name: random.laplace(0, 0.5, shape) * places[name] for name, shape in shapes.items()}
    state = nnc.DecoderState()
    streams, found, used = [nnc.encode(base, settings)], [], set()
    found.append(nnc.decode(streams[0], state=state).tensors)
    for number in range(7):
        changes = {
            name: (course[name] * random.uniform(0.7, 1.3, shape)).astype(np.float32)
            for name, shape in shapes.items()
            if (number + len(name)) % 3
        }
        chosen = replace(settings, preset=("fast", "medium", "slow")[number % 3])
        streams.append(nnc.encode_update(changes, state, chosen, predict=predict))
        decoded = nnc.decode(streams[-1], state=state)
        found.append(decoded.tensors)
        used |= {
            unit.parent.temporal_context_modeling_flag
            for unit in decoded.units
            if isinstance(unit, nnc.DataUnit)
        }
    files = []
    for number, stream in enumerate(streams):
        (tmp_path / f"{number}.nnc").write_bytes(stream)
        files += [tmp_path / f"{number}.nnc", tmp_path / f"{number}.npz"]
    answers = nncodec("sequence", *files)
    assert not any("error" in answer for answer in answers), answers
    for number, ours in enumerate(found):
        assert_same(tmp_path / f"{number}.npz", ours, number)
    assert True in used
