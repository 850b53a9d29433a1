# SPDX-License-Identifier: Apache-2.0
"""``python -m nnrvideo`` is the same as the command ``nnrvideo``."""

from nnrvideo.cli.main import run

if __name__ == "__main__":
    run()
