# SPDX-License-Identifier: Apache-2.0
"""Brings in PyTorch, or says in one sentence how to get it.

PyTorch is the optional extra ``train``: no player and no embedder needs it, so nothing outside this
package may import it, and everything inside this package imports it from here.
"""

from __future__ import annotations

try:
    import torch
    from torch import nn
    from torch.nn import functional
except ImportError as error:
    raise ImportError(
        "nnrvideo.training needs PyTorch, which is an optional extra: pip install nnrvideo[train]"
    ) from error

__all__ = ["functional", "nn", "torch"]
