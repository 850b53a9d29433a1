# SPDX-License-Identifier: Apache-2.0
"""Where media files are written: see :mod:`nnrvideo.files`, which has no need of PyAV."""

from nnrvideo.files import OutputFile

__all__ = ["OutputFile"]
