# SPDX-License-Identifier: Apache-2.0
"""Do two films share content, and where: key frames compared, verified in time, localised."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, final

import numpy as np
import numpy.typing as npt

from nnrvideo.descriptors.files import KeyFrames
from nnrvideo.descriptors.pdq import PDQ_DISTANCE
from nnrvideo.descriptors.similarity import Scores, hamming, similarities
from nnrvideo.descriptors.stream import Header
from nnrvideo.errors import ModelError

_OFFSETS: Final = 512  # candidates, best pairs first
_WEAK: Final = 0.8  # of the threshold
_SLACK: Final = 0.25  # seconds that key frames of a copy may lie apart


@final
@dataclass(frozen=True, slots=True)
class Match:
    """What two films share.

    Args:
        score: Similarity of the best pair of key frames, -1 to 1; NaN where there is none to
            compare.
        threshold: Similarity above which a pair matches.
        query: Start and end of what is shared, in seconds of the query; None for no match.
        reference: The same in the reference.
        seconds: How much of that interval matches, in time with the reference.
        pairs: Pairs of key frames that match at this offset.
        best: Seconds at which the best pair's key frames stand, in the query and in the reference;
            None where there is none to compare.
        pdq_distance: Smallest distance of PDQ hashes, 0 to 256; None without hashes.
        interoperable: Whether two different models are behind this.
    """

    score: float
    threshold: float
    query: tuple[float, float] | None
    reference: tuple[float, float] | None
    seconds: float
    pairs: int
    best: tuple[float, float] | None
    pdq_distance: int | None
    interoperable: bool

    @property
    def matches(self) -> bool:
        """Whether anything is shared."""
        return self.query is not None

    @property
    def near_identical(self) -> bool:
        """Whether PDQ says that two pictures are copies without edits."""
        return self.pdq_distance is not None and self.pdq_distance <= PDQ_DISTANCE


def require_comparable(query: Header, reference: Header) -> bool:
    """Refuses descriptors that mean different things.

    Returns:
        True if they come from two models that are listed as interoperable.

    Raises:
        ModelError: Another form, or another model that neither side lists.
    """
    if (query.form, query.dimensions) != (reference.form, reference.dimensions):
        raise ModelError(
            f"descriptors of different forms cannot be compared: {_form(query)} and "
            f"{_form(reference)}"
        )
    if query.model_id == reference.model_id:
        return False
    for one, other in ((query, reference), (reference, query)):
        if any(each.model_id == other.model_id for each in one.interoperable):
            return True
    raise ModelError(
        f"descriptors of different models cannot be compared: {query.model_id.hex()[:16]} and "
        f"{reference.model_id.hex()[:16]}; neither model lists the other as interoperable"
    )


def _form(header: Header) -> str:
    size = f"{header.form.bits} bits" if header.form.bits else f"{header.dimensions} numbers"
    return f"{size}, {header.form.rotations} rotations"


def compare(query: KeyFrames, reference: KeyFrames, threshold: float | None = None) -> Match:
    """Compares two films.

    Args:
        query: Key frames of one.
        reference: Key frames of the other.
        threshold: Similarity above which key frames match; the larger of the models' by default.

    Raises:
        ModelError: As :func:`require_comparable`.
    """
    interoperable = require_comparable(query.header, reference.header)
    query, reference = query.worth_comparing(), reference.worth_comparing()
    if threshold is None:
        threshold = max(query.header.threshold, reference.header.threshold)
    if not len(query) or not len(reference):
        return Match(float("nan"), threshold, None, None, 0.0, 0, None, None, interoperable)
    scores = similarities(query.values, reference.values, query.header.form.bits)
    best = int(np.argmax(scores))
    row, column = divmod(best, len(reference))
    found = localise(scores, query, reference, threshold)
    distance = None
    if query.pdq is not None and reference.pdq is not None:
        distance = int(hamming(query.pdq, reference.pdq).min())
    return Match(
        float(scores.ravel()[best]),
        threshold,
        found.query if found else None,
        found.reference if found else None,
        found.seconds if found else 0.0,
        found.pairs if found else 0,
        (float(query.start[row]), float(reference.start[column])),
        distance,
        interoperable,
    )


def compare_parts(
    query: Sequence[KeyFrames], reference: Sequence[KeyFrames], threshold: float | None = None
) -> tuple[Match, list[str]]:
    """Compares films whose model changed on the way.

    Returns:
        The best match of two parts, and why other pairs of parts were not compared.

    Raises:
        ModelError: No two parts can be compared.
    """
    found: list[Match] = []
    refused: list[str] = []
    for left in query:
        for right in reference:
            try:
                found.append(compare(left, right, threshold))
            except ModelError as error:
                refused.append(str(error))
    if not found:
        raise ModelError(refused[0] if refused else "there is nothing to compare")
    return max(
        found, key=lambda match: (match.seconds, np.nan_to_num(match.score, nan=-2))
    ), refused


@final
@dataclass(frozen=True, slots=True)
class Location:
    """Where shared content lies, in seconds, and how much of it matches."""

    query: tuple[float, float]
    reference: tuple[float, float]
    seconds: float
    pairs: int


def localise(
    scores: Scores, query: KeyFrames, reference: KeyFrames, threshold: float
) -> Location | None:
    """Finds the interval that two films share.

    A pair that matches speaks for the offset at which both are shown at once.  At the offset that
    most speak for, the interval is taken in which the seconds that match exceed those that do not
    by the most; there, pairs that are shown at once match above 0.8 of the threshold.

    Args:
        scores: (n, m) similarities.
        query: n key frames.
        reference: m key frames.
        threshold: Similarity above which a pair matches.

    Returns:
        The interval, or None where nothing matches.
    """
    rows, columns = np.nonzero(scores > threshold)
    if not len(rows):
        return None
    order = np.argsort(-scores[rows, columns], kind="stable")
    rows, columns = rows[order], columns[order]
    starts, ends = reference.start[columns], reference.end[columns]
    offsets = np.unique(np.round(starts[:_OFFSETS] - query.start[rows[:_OFFSETS]], 3))
    best, together = 0.0, np.zeros(len(rows))
    chosen = 0.0
    for offset in offsets:
        shared = _shared(query.start[rows] + offset, query.end[rows] + offset, starts, ends)
        if shared.sum() > best:
            best, chosen, together = float(shared.sum()), float(offset), shared
    if not best:
        return None
    strong = _rows_at(query, rows[together > 0])
    # Once the offset is known, neighbours that are alike at it need less to be believed.
    near, other = np.nonzero(scores > (_WEAK * threshold if threshold > 0 else threshold))
    at_offset = _shared(
        query.start[near] + chosen,
        query.end[near] + chosen,
        reference.start[other],
        reference.end[other],
    )
    weak = _rows_at(query, near[at_offset > 0])
    first, last = _densest(query, strong | weak)
    if not strong[first : last + 1].any():
        first, last = _densest(query, strong)
    matched = np.where(strong | weak, query.end - query.start, 0.0)
    start = max(float(query.start[first]), float(reference.start[0]) - chosen - _SLACK)
    end = min(float(query.end[last]), float(reference.end[-1]) - chosen + _SLACK)
    inside = (rows >= first) & (rows <= last) & (together > 0)
    low = max(start + chosen, float(reference.start[0]))
    high = min(end + chosen, float(reference.end[-1]))
    return Location(
        (start, end),
        (low, high),
        min(float(matched[first : last + 1].sum()), end - start),
        int(inside.sum()),
    )


def _shared(
    a_start: npt.NDArray[np.float64],
    a_end: npt.NDArray[np.float64],
    b_start: npt.NDArray[np.float64],
    b_end: npt.NDArray[np.float64],
) -> npt.NDArray[np.float64]:
    """Seconds that pairs of intervals have in common."""
    return np.asarray(np.maximum(np.minimum(a_end, b_end) - np.maximum(a_start, b_start), 0))


def _rows_at(query: KeyFrames, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    found = np.zeros(len(query), bool)
    found[rows] = True
    return found


def _densest(query: KeyFrames, matched: npt.NDArray[np.bool_]) -> tuple[int, int]:
    """First and last key frame of the run with the largest excess of seconds that match.

    A key frame stands for all that is shown until the next one, however dense the other side is.
    """
    length = query.end - query.start
    gain = np.where(matched, length, -length)
    # Between key frames that were left out there is time for which nothing speaks.
    gap = np.append(0, np.maximum(query.start[1:] - query.end[:-1], 0))
    best, place = -np.inf, (0, 0)
    total, begin = 0.0, 0
    for index, value in enumerate(gain):
        total -= gap[index]
        if total <= 0:
            total, begin = 0.0, index
        total += value
        if total > best:
            best, place = total, (begin, index)
    return place


def jaccard(found: tuple[float, float] | None, truth: tuple[float, float]) -> float:
    """Length of the intersection of two intervals, of that of their union."""
    if found is None:
        return 0.0
    shared = max(0.0, min(found[1], truth[1]) - max(found[0], truth[0]))
    whole = (found[1] - found[0]) + (truth[1] - truth[0]) - shared
    return shared / whole if whole > 0 else 0.0
