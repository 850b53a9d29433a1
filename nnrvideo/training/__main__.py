# SPDX-License-Identifier: Apache-2.0
"""``python -m nnrvideo.training``: clips in, a trained network as NNC bitstream out."""

from __future__ import annotations

import sys

try:
    from nnrvideo.training.command import main
except ImportError as error:
    # Without PyTorch: one sentence is more use than a traceback.
    sys.exit(f"error: {error}")

if __name__ == "__main__":
    sys.exit(main())
