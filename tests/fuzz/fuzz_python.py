# SPDX-License-Identifier: Apache-2.0
"""Fuzzes one Python target with atheris: ``fuzz_python.py TARGET [libFuzzer options] CORPUS``.

atheris is an extra of its own (``pip install ".[fuzz]"``).
"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import atheris

sys.path.insert(0, str(Path(__file__).resolve().parent))
with atheris.instrument_imports(include=["nnrvideo"]):
    import targets
from mutate_model import mutate


def _mutate_model(data: bytes, max_size: int, seed: int) -> bytes:
    """Every eighth input is mangled as bytes, as a broken transport would."""
    changed = mutate(data, max_size, seed) if seed % 8 else None
    return changed if changed is not None else atheris.Mutate(data, max_size)


def main() -> None:
    """Runs until libFuzzer has had enough."""
    if len(sys.argv) < 2 or sys.argv[1] not in targets.TARGETS:
        sys.exit(f"usage: fuzz_python.py {{{','.join(targets.TARGETS)}}} [options] [corpus]")
    name = sys.argv[1]
    options = {"custom_mutator": _mutate_model} if name == "model" else {}
    # To merge, libFuzzer has a shell run its first argument again, with others after it.
    again = shlex.join([sys.executable, __file__, name])
    atheris.Setup([again, *sys.argv[2:]], targets.TARGETS[name], **options)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
