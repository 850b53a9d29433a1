# SPDX-License-Identifier: Apache-2.0
"""How good descriptors are: a corpus of edited copies, and what is found in it."""

from nnrvideo.descriptors.bench.corpus import Corpus, build_corpus
from nnrvideo.descriptors.bench.localisation import Localisation, localisation
from nnrvideo.descriptors.bench.measure import Figures, figures
from nnrvideo.descriptors.bench.run import Bench, Measured, cross, run

__all__ = [
    "Bench",
    "Corpus",
    "Figures",
    "Localisation",
    "Measured",
    "build_corpus",
    "cross",
    "figures",
    "localisation",
    "run",
]
