# SPDX-License-Identifier: Apache-2.0
"""The table of a corpus: every way of describing, by the same rules."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, final

import numpy as np
import numpy.typing as npt

from nnrvideo.descriptors.bench.corpus import Corpus
from nnrvideo.descriptors.bench.measure import Figures, Mask, Scores, figures
from nnrvideo.descriptors.bench.samples import Progress, Set, files_of, load_set, vectors
from nnrvideo.descriptors.package import DescriptorModel
from nnrvideo.descriptors.pooling import to_bits
from nnrvideo.descriptors.similarity import hamming

_NEVER = -2.0  # below any similarity: what is not compared does not match


@final
@dataclass(frozen=True, slots=True)
class Measured:
    """A row of the table.

    Args:
        name: Of the way of describing.
        size: Bytes of a descriptor.
        figures: What it achieves.
        frame_threshold: Similarity that 1 % of pairs of pictures of different clips exceed; NaN
            where it was not asked for.
    """

    name: str
    size: int
    figures: Figures
    frame_threshold: float = float("nan")


@dataclass(eq=False)
class Bench:
    """A corpus whose pictures are in memory.

    Args:
        corpus: The corpus.
        long_side: Of the small pictures; models that want another are refused.
        progress: Called with what, done and total.
        hashes: Whether :func:`run` shall compare with PDQ and vPDQ.
    """

    corpus: Corpus
    long_side: int
    progress: Progress = lambda *_: None
    hashes: bool = True
    queries: Set = field(init=False)
    candidates: Set = field(init=False)
    right: Mask = field(init=False)
    wrong: Mask = field(init=False)
    transforms: npt.NDArray[Any] = field(init=False)

    def __post_init__(self) -> None:
        query_files, candidate_files = files_of(self.corpus)
        side, progress = self.long_side, self.progress
        self.queries = load_set(
            query_files, side, between=True, hashes=self.hashes, progress=progress, what="queries"
        )
        self.candidates = load_set(
            candidate_files,
            side,
            between=False,
            hashes=self.hashes,
            progress=progress,
            what="references",
        )
        owners = np.array([each.reference for each in self.corpus.queries])
        groups = np.array([each.group for each in self.corpus.queries])
        others = [each.group for each in self.corpus.references]
        others += [each.group for each in self.corpus.distractors]
        other_groups = np.array(others)
        self.right = owners[:, None] == np.arange(len(others))[None]
        self.wrong = groups[:, None] != other_groups[None]
        self.transforms = np.array([each.transform for each in self.corpus.queries])

    def vectors(self, model: DescriptorModel, rotations: int) -> tuple[Any, Any]:
        """Real descriptors of the queries and of the candidates."""
        if model.manifest.long_side != self.long_side:
            msg = f"the model wants pictures of {model.manifest.long_side}, not {self.long_side}"
            raise ValueError(msg)
        name = f"{self.corpus.digest}-{model.model_id.hex()[:16]}-{rotations}"
        folder = self.corpus.folder
        return (
            vectors(model, rotations, self.queries, folder / f"q-{name}.npy", self.progress),
            vectors(model, rotations, self.candidates, folder / f"c-{name}.npy", self.progress),
        )

    def measure(self, frame_scores: Scores, gate: int = 0) -> Figures:
        """Figures of similarities of all pictures of queries to all of candidates."""
        scores = frame_scores.copy()
        scores[self.queries.quality < gate] = _NEVER
        scores[:, self.candidates.quality < gate] = _NEVER
        scores = np.maximum.reduceat(scores, self.queries.first, axis=0)
        scores = np.maximum.reduceat(scores, self.candidates.first, axis=1)
        return figures(scores, self.right, self.wrong, self.transforms)

    def frame_threshold(self, frame_scores: Scores, gate: int) -> float:
        """Similarity that 1 % of the pairs of pictures exceed that show different things."""
        counts = np.diff(np.append(self.queries.first, len(self.queries.rgb)))
        rows = np.repeat(np.arange(len(counts)), counts)
        counts = np.diff(np.append(self.candidates.first, len(self.candidates.rgb)))
        columns = np.repeat(np.arange(len(counts)), counts)
        wrong = self.wrong[rows][:, columns]
        wrong &= (self.queries.quality >= gate)[:, None]
        wrong &= (self.candidates.quality >= gate)[None]
        return float(np.quantile(frame_scores[wrong], 0.99))


def coded(
    model: DescriptorModel, rows: npt.NDArray[np.float64], bits: int
) -> npt.NDArray[np.uint8]:
    """Bits of real descriptors."""
    return np.stack([to_bits(row, model.projection, bits) for row in rows])


def scores_of(
    model: DescriptorModel,
    left: npt.NDArray[np.float64],
    right: npt.NDArray[np.float64],
    bits: int,
) -> Scores:
    """Similarities of pictures; NaN where either has no descriptor."""
    if not bits:
        return np.asarray(left @ right.T)
    found = 1 - 2 * hamming(coded(model, left, bits), coded(model, right, bits)) / bits
    found[np.isnan(left).any(axis=1)] = np.nan
    found[:, np.isnan(right).any(axis=1)] = np.nan
    return np.asarray(found)


def run(bench: Bench, model: DescriptorModel) -> list[Measured]:
    """Measures the model's descriptors, and PDQ, vPDQ and colours beside them."""
    table: list[Measured] = []
    gate = model.manifest.min_quality
    for rotations in (4, 1) if model.manifest.rotations == 4 else (1,):
        query, candidate = bench.vectors(model, rotations)
        for bits in (0, *(b for b in (1024, 512, 256) if b <= model.max_bits)):
            size = bits // 8 if bits else 4 * model.dimensions
            form = f"{bits} bit" if bits else f"{model.dimensions} real"
            scores = scores_of(model, query, candidate, bits)
            table.append(
                Measured(
                    f"NIP-{rotations} {form}",
                    size,
                    bench.measure(scores, gate),
                    bench.frame_threshold(scores, gate),
                )
            )
    if not bench.hashes:
        return table
    pdq = 1 - 2 * hamming(bench.queries.pdq, bench.candidates.pdq) / 256
    table.append(Measured("PDQ", 32, bench.measure(pdq)))
    if bench.queries.vpdq is not None and bench.candidates.vpdq is not None:
        found = [
            [float((1 - 2 * hamming(q, c) / 256).max()) for c in bench.candidates.vpdq]
            for q in bench.queries.vpdq
        ]
        best = np.array(found)
        own = figures(best, bench.right, bench.wrong, bench.transforms)
        table.append(Measured("vPDQ, best frame pair", 32, own))
    colours = bench.queries.colours @ bench.candidates.colours.T / 3
    table.append(Measured("colour histogram", 384, bench.measure(colours)))
    return table


def cross(
    bench: Bench,
    original: DescriptorModel,
    other: DescriptorModel,
    *,
    rotations: int,
    bits: int,
) -> tuple[Figures, Figures]:
    """How an other model does among descriptors of the original.

    Returns:
        The other on both sides; and the other's queries against the original's references.
    """
    query, candidate = bench.vectors(other, rotations)
    _, references = bench.vectors(original, rotations)
    gate = original.manifest.min_quality
    own = bench.measure(scores_of(other, query, candidate, bits), gate)
    mixed = bench.measure(scores_of(other, query, references, bits), gate)
    return own, mixed
