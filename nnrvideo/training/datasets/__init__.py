# SPDX-License-Identifier: Apache-2.0
"""Training data in the forms that people have them, behind one interface; needs no PyTorch.

For classification: folders of classes (ImageFolder), CSV with labels and times in films, COCO JSON,
WebDataset tar files.  For restoration: pairs of folders of pictures, pairs of films.  Each loader
gives a :class:`Dataset`, which yields NumPy arrays, can be split without leaks, and says what it
holds in a :class:`DataCard`.  The same pictures and labels have the same ids and the same hash, by
whatever loader they came.

Data may come from strangers: names stay inside the folder they are given in, tar files are never
extracted, sizes are compared with bounds before anything of that size is made.
"""

from nnrvideo.training.datasets.coco import load_coco
from nnrvideo.training.datasets.datacard import DataCard, data_card
from nnrvideo.training.datasets.dataset import Dataset, Sample
from nnrvideo.training.datasets.folders import load_image_folder
from nnrvideo.training.datasets.items import FileItem, Item, TarItem
from nnrvideo.training.datasets.pairs import load_film_pairs, load_folder_pairs, pair_set
from nnrvideo.training.datasets.split import split
from nnrvideo.training.datasets.table import load_csv
from nnrvideo.training.datasets.tarfiles import load_webdataset

__all__ = [
    "DataCard",
    "Dataset",
    "FileItem",
    "Item",
    "Sample",
    "TarItem",
    "data_card",
    "load_coco",
    "load_csv",
    "load_film_pairs",
    "load_folder_pairs",
    "load_image_folder",
    "load_webdataset",
    "pair_set",
    "split",
]
