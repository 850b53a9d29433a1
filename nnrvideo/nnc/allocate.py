# SPDX-License-Identifier: Apache-2.0
"""QPs for each tensor, by what its errors do to the network's task.

Quantisation errors of a tensor cost the task about ``c * step ** 2``, with a sensitivity ``c`` that
one trial measures; a halved step costs each of its ``n`` values one bit.  The fewest bytes for a
given loss then spend it in proportion to the number of values:

    c[t] * step[t] ** 2 = loss * n[t] / sum(n)

What the approximation leaves out (tensors that act on each other, rates below a bit) is made up for
by moving all QPs together until the measured loss is what was allowed.

Spec: the choice of qp_delta is the encoder's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from nnrvideo.nnc.codec import decode
from nnrvideo.nnc.encoder import encode
from nnrvideo.nnc.quantisation import qp_of_step
from nnrvideo.nnc.settings import EncodeSettings

Array = npt.NDArray[Any]
Metric = Callable[[Mapping[str, Array]], float]

_TRIAL: Final = 2.0**-3  # step of a trial, of the tensor's root mean square
_TRIALS: Final = 8  # at most
_STRIDE: Final = 1.5  # octaves between them
_LEAST_EFFECT: Final = 0.1  # of the allowed loss; below, it is lost in rounding
_FINEST: Final = 2.0**-20  # of a tensor's root mean square: the task cannot do without it
_COARSEST: Final = 16.0  # the same: nothing is left of it
_ERROR: Final = 0.47  # root mean square error of dependent quantisation, of the step
_SEARCH: Final = 6  # trials of the common offset


def allocate_qps(
    tensors: Mapping[str, Array],
    metric: Metric,
    loss: float,
    settings: EncodeSettings | None = None,
) -> dict[str, int]:
    """Chooses QPs with which the network loses no more than allowed, in few bytes.

    Args:
        tensors: Name to value, as for ``encode``.
        metric: Quality of the network with given tensors, larger is better, for instance the PSNR
            of its pictures in dB; called two times or more for each float tensor, and about ten
            times besides.  Smooth for small errors.
        loss: How much smaller the metric may become, > 0.
        settings: Choices of the encoder; ``qp`` and ``nonweight_qp`` play no part.

    Returns:
        QP of every float tensor, for ``EncodeSettings.qp_per_tensor``.  Tensors that the settings
        name keep their QP.

    Raises:
        ValueError: ``loss`` is not above 0, or the metric is not finite.
    """
    if not loss > 0:
        msg = f"a loss of {loss} leaves nothing to choose"
        raise ValueError(msg)
    settings = settings or EncodeSettings()
    best = _finite(metric(tensors))
    floats = {
        name: np.asarray(value, np.float32)
        for name, value in tensors.items()
        if np.asarray(value).dtype.kind == "f" and np.asarray(value).size
    }
    chosen = {name: value for name, value in floats.items() if name not in settings.qp_per_tensor}
    total = sum(value.size for value in chosen.values())
    steps = {}
    for name, value in chosen.items():
        rms = math.sqrt(float(np.mean(value.astype(np.float64) ** 2))) or 1.0
        sensitivity = _sensitivity(name, value, rms, tensors, metric, best, loss)
        allowed = loss * value.size / total
        step = math.sqrt(allowed / sensitivity) if sensitivity else rms * _COARSEST
        steps[name] = min(max(step, rms * _FINEST), rms * _COARSEST)
    return _scaled(steps, tensors, metric, best - loss, settings)


def _sensitivity(  # noqa: PLR0917
    name: str,
    value: npt.NDArray[np.float32],
    rms: float,
    tensors: Mapping[str, Array],
    metric: Metric,
    best: float,
    loss: float,
) -> float:
    """Loss by squared step, at a step whose effect is small but can be told from nothing."""
    step = rms * _TRIAL
    sensitivity = 0.0
    direction = 0
    for _ in range(_TRIALS):
        effect = max(
            # Either way, or the slope at which training has left the tensor hides its curvature.
            best - sum(_finite(metric({**tensors, name: each})) for each in (more, less)) / 2
            for more, less in _disturbed(value, step)
        )
        sensitivity = max(effect, 0.0) / step**2
        wanted = -1 if effect > loss else 1 if effect < _LEAST_EFFECT * loss else 0
        if not wanted or wanted == -direction or step > rms * _COARSEST:
            break
        direction = wanted
        step *= 2.0 ** (_STRIDE * wanted)
    return sensitivity


def _disturbed(
    value: npt.NDArray[np.float32], step: float
) -> list[tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]]:
    """Pairs of values with opposite errors of quantisation's size, none of which fits by chance.

    The errors of a vector may all have one sign, which is the worst for biases.
    """
    signs = np.random.default_rng(value.size).integers(0, 2, value.shape) * 2 - 1
    patterns = [signs, np.ones_like(signs)] if value.ndim < 2 else [signs]
    errors = [(_ERROR * step * pattern).astype(np.float32) for pattern in patterns]
    return [(value + error, value - error) for error in errors]


def _scaled(
    steps: Mapping[str, float],
    tensors: Mapping[str, Array],
    metric: Metric,
    wanted: float,
    settings: EncodeSettings,
) -> dict[str, int]:
    """The coarsest common multiple of the steps that keeps the metric, by bisection."""
    density = settings.qp_density
    octave = 1 << density

    def at(offset: int) -> dict[str, int]:
        found = {name: qp_of_step(step, density) + offset for name, step in steps.items()}
        return {**found, **settings.qp_per_tensor}

    def keeps(offset: int) -> bool:
        coded = encode(tensors, replace(settings, qp_per_tensor=at(offset)))
        return _finite(metric(decode(coded).tensors)) >= wanted

    good, bad = -4 * octave, 2 * octave
    while not keeps(good):
        good, bad = good - 4 * octave, good
        if good < -16 * octave:
            break
    for _ in range(_SEARCH + density):
        if bad - good <= 1:
            break
        middle = (good + bad) // 2
        good, bad = (middle, bad) if keeps(middle) else (good, middle)
    return at(good)


def _finite(value: float) -> float:
    if not math.isfinite(value):
        msg = f"the metric is {value}"
        raise ValueError(msg)
    return value
