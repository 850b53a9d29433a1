# SPDX-License-Identifier: Apache-2.0
"""How well copies inside of films are located: real files, described as any other."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np

from nnrvideo.descriptors.bench.corpus import Corpus
from nnrvideo.descriptors.bench.samples import Progress
from nnrvideo.descriptors.describe import DescribeOptions, describe
from nnrvideo.descriptors.extractor import Form
from nnrvideo.descriptors.files import KeyFrames, parts
from nnrvideo.descriptors.matching import compare, jaccard
from nnrvideo.descriptors.package import DescriptorModel


@final
@dataclass(frozen=True, slots=True)
class Localisation:
    """What was located.

    Args:
        threshold: Similarity that was taken for a match.
        found: Share of the films in which the interval found overlaps the true one.
        mean_jaccard: Mean over all films; 0 where nothing was found.
        films: Name of the transform, and Jaccard index, of each.
    """

    threshold: float
    found: float
    mean_jaccard: float
    films: tuple[tuple[str, float], ...]


def localisation(
    corpus: Corpus,
    model: DescriptorModel,
    form: Form,
    threshold: float,
    progress: Progress = lambda *_: None,
) -> Localisation:
    """Locates the copies of a corpus.

    Args:
        corpus: With splices.
        model: Makes the descriptors.
        form: Of them.
        threshold: Similarity above which key frames match.
        progress: Called with what, done and total.

    Raises:
        ValueError: The corpus has no splices.
    """
    if not corpus.splices:
        raise ValueError("the corpus has no spliced films")
    options = DescribeOptions(form=form, rate=256, threads=1)
    references: dict[str, KeyFrames] = {}
    found = []
    for number, splice in enumerate(corpus.splices):
        if splice.clip not in references:
            references[splice.clip] = _described(Path(splice.clip), model, options)
        query = _described(corpus.folder / splice.file, model, options)
        match = compare(query, references[splice.clip], threshold)
        found.append((splice.transform, jaccard(match.query, (splice.start, splice.end))))
        progress("localisation", number + 1, len(corpus.splices))
    values = np.array([value for _, value in found])
    return Localisation(threshold, float((values > 0).mean()), float(values.mean()), tuple(found))


def _described(path: Path, model: DescriptorModel, options: DescribeOptions) -> KeyFrames:
    return parts(describe(path, model, options))[0]
