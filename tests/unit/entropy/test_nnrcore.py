# SPDX-License-Identifier: Apache-2.0
"""The native core links and works without Python: its own test program, under sanitisers."""

import shutil
import subprocess
from pathlib import Path

import pytest

NATIVE = Path(__file__).resolve().parents[3] / "nnrvideo" / "native"
COMPILER = shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")


@pytest.mark.skipif(COMPILER is None, reason="no C++ compiler")
@pytest.mark.skipif(not NATIVE.is_dir(), reason="no source tree")
def test_core_without_python(tmp_path):
    program = tmp_path / "nnrcore_test"
    flags = ["-std=c++17", "-pthread", "-O1", "-g", "-Wall", "-Wextra", "-ffp-contract=off"]
    flags += ["-I", str(NATIVE / "include"), "-I", str(NATIVE / "src")]
    sources = [str(NATIVE / "tests/nnrcore_test.cpp"), *map(str, (NATIVE / "src").glob("*.cpp"))]
    sanitisers = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    for extra in (sanitisers, []):  # not every compiler comes with its sanitisers' libraries
        command = [str(COMPILER), *flags, *extra, *sources, "-o", str(program)]
        built = subprocess.run(command, capture_output=True, text=True, check=False)
        if built.returncode == 0:
            break
    assert built.returncode == 0, built.stderr
    ran = subprocess.run([program], capture_output=True, text=True, check=False, timeout=300)
    assert ran.returncode == 0, ran.stderr
    assert "all tests passed" in ran.stdout
