# SPDX-License-Identifier: Apache-2.0
"""Figures of retrieval and of pairwise matching.  A score that is not a number is a failure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

import numpy as np
import numpy.typing as npt

Scores = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


@final
@dataclass(frozen=True, slots=True)
class Figures:
    """What a way of describing achieves.

    Args:
        mean_average_precision: Over all queries.
        tpr_1: True positive rate at 1 % false positives.
        tpr_01: At 0.1 %.
        threshold_1: Score above which 1 % of the negative pairs lie.
        by_transform: ``tpr_1`` and mean average precision of each transform.
        negatives: Number of negative pairs.
    """

    mean_average_precision: float
    tpr_1: float
    tpr_01: float
    threshold_1: float
    by_transform: dict[str, tuple[float, float]]
    negatives: int

    def to_json(self) -> dict[str, Any]:
        """For programs."""
        return {
            "map": self.mean_average_precision,
            "tpr_1": self.tpr_1,
            "tpr_01": self.tpr_01,
            "threshold_1": self.threshold_1,
            "negatives": self.negatives,
            "by_transform": {
                name: {"tpr_1": tpr, "map": precision}
                for name, (tpr, precision) in self.by_transform.items()
            },
        }


def figures(scores: Scores, right: Mask, wrong: Mask, transforms: npt.NDArray[Any]) -> Figures:
    """Figures of a table of scores.

    Args:
        scores: (queries, candidates); higher is more alike.
        right: Which candidate is what the query was made of; one of each row.
        wrong: Which candidates are none of it; those that are neither do not count.
        transforms: Name of each query's.
    """
    # A right candidate that is not a number comes last, a wrong one first.
    worst = np.where(right, -np.inf, np.inf)
    safe = np.where(np.isnan(scores), worst, scores)
    positive = np.where(right, safe, -np.inf).max(axis=1)
    # Candidates that are as alike as the right one stand before it.
    rank = 1 + ((safe >= positive[:, None]) & wrong).sum(axis=1)
    precision = 1 / rank
    negatives = np.sort(safe[wrong])[::-1]
    limits = [_limit(negatives, rate) for rate in (0.01, 0.001)]
    found = [positive > limit for limit in limits]
    groups = {
        str(name): (
            float(found[0][transforms == name].mean()),
            float(precision[transforms == name].mean()),
        )
        for name in dict.fromkeys(transforms.tolist())
    }
    return Figures(
        float(precision.mean()),
        float(found[0].mean()),
        float(found[1].mean()),
        limits[0],
        groups,
        len(negatives),
    )


def _limit(negatives: Scores, rate: float) -> float:
    """The score that so large a share of the negatives exceeds, at most."""
    return float(negatives[min(len(negatives) - 1, int(rate * len(negatives)))])
