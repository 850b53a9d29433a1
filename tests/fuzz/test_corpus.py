# SPDX-License-Identifier: Apache-2.0
"""Replays what fuzzing found worth keeping, without a fuzzer.

``corpus`` holds those inputs that cover most of what all inputs covered, and, as ``found-...``,
inputs that once broke something.  ``run.sh`` is the fuzzing itself.
"""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
CORPUS = HERE / "corpus"
NATIVE = HERE.parents[1] / "nnrvideo" / "native"
NATIVE_TARGETS = ("batch", "decode", "round_trip", "search", "unit")
COMPILER = shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")
SANITISERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all")


def _python_targets():
    spec = importlib.util.spec_from_file_location("nnrvideo_fuzz_targets", HERE / "targets.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.TARGETS


PYTHON_TARGETS = _python_targets()


def compiled(folder, flags):
    """Objects of the core, the targets and the replayer; None if the compiler has not the flags."""
    sources = [
        *(NATIVE / "src").glob("*.cpp"),
        *(NATIVE / "fuzz" / f"{name}.cpp" for name in (*NATIVE_TARGETS, "replay")),
    ]
    common = [
        "-std=c++17",
        "-pthread",
        "-O1",
        "-Wall",
        "-Wextra",
        "-ffp-contract=off",
        "-D_GLIBCXX_ASSERTIONS",
    ]
    common += ["-I", str(NATIVE / "include"), "-I", str(NATIVE / "src")]

    def build(source):
        target = folder / f"{source.parent.name}-{source.stem}.o"
        command = [COMPILER, *common, *flags, "-c", str(source), "-o", str(target)]
        return target, subprocess.run(command, capture_output=True, text=True, check=False)

    with ThreadPoolExecutor() as pool:
        results = list(pool.map(build, sources))
    return {target.stem: target for target, _ in results}, [
        run.stderr for _, run in results if run.returncode
    ]


@pytest.fixture(scope="session")
def replayers(tmp_path_factory):
    """Programs by target: with sanitisers where the compiler comes with their libraries."""
    faults = []
    for flags in (SANITISERS, ()):
        folder = tmp_path_factory.mktemp("fuzz")
        objects, faults = compiled(folder, flags)
        if faults:
            continue
        core = [path for name, path in objects.items() if name.startswith("src-")]
        programs = {}
        for name in NATIVE_TARGETS:
            programs[name] = folder / name
            parts = [objects[f"fuzz-{name}"], objects["fuzz-replay"], *core]
            command = [COMPILER, *flags, *map(str, parts), "-o", str(programs[name])]
            linked = subprocess.run(command, capture_output=True, text=True, check=False)
            if linked.returncode:
                faults.append(linked.stderr)
        if not faults:
            return programs
    pytest.fail("\n".join(faults))


@pytest.mark.skipif(COMPILER is None, reason="no C++ compiler")
@pytest.mark.skipif(not NATIVE.is_dir(), reason="no source tree")
@pytest.mark.parametrize("name", NATIVE_TARGETS)
def test_native_corpus(name, replayers):
    files = list((CORPUS / name).iterdir())
    assert files
    ran = subprocess.run(
        [replayers[name], CORPUS / name], capture_output=True, text=True, check=False, timeout=300
    )
    # The last file that is named is the one that failed.
    assert ran.returncode == 0, ran.stderr[-4000:]
    assert f"{len(files)} inputs replayed" in ran.stdout


@pytest.mark.parametrize("name", PYTHON_TARGETS)
def test_python_corpus(name):
    files = sorted((CORPUS / name).iterdir())
    assert files
    for path in files:
        try:
            PYTHON_TARGETS[name](path.read_bytes())
        except Exception as error:
            error.add_note(f"while replaying {path}")
            raise


def test_corpus_stays_small_and_complete():
    files = [path for path in CORPUS.rglob("*") if path.is_file()]
    assert {path.parent.name for path in files} == {*NATIVE_TARGETS, *PYTHON_TARGETS}
    assert sum(path.stat().st_size for path in files) <= 300_000
