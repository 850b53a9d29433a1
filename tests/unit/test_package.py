# SPDX-License-Identifier: Apache-2.0
"""The package as a whole: light import, lazy names, the native backend where it must be."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import nnrvideo
from nnrvideo.entropy import BACKEND

HEAVY = ("av", "cv2", "ml_dtypes", "onnx", "onnxruntime", "rich", "torch")


@pytest.mark.parametrize(
    "module", ["nnrvideo", "nnrvideo.cli.main", "nnrvideo.nnc", "nnrvideo.sei"]
)
def test_import_loads_numpy_and_nothing_heavier(module):
    program = (
        f"import sys, {module}; "
        f"print([m for m in {HEAVY} if m in sys.modules], 'numpy' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, check=True)
    assert result.stdout.decode().split() == ["[]", "True"]


def test_every_lazy_name_exists_and_is_typed():
    source = Path(nnrvideo.__file__).read_text()
    typed = {
        alias.asname
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.asname
    }
    assert typed == set(nnrvideo._LAZY)
    for name in nnrvideo._LAZY:
        assert getattr(nnrvideo, name) is not None
        assert name in dir(nnrvideo)


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="frobnicate"):
        nnrvideo.frobnicate  # noqa: B018


def test_backend_is_native_unless_pure_was_asked_for():
    assert BACKEND == ("python" if os.environ.get("NNRVIDEO_PURE") else "native")


def test_pure_backend_can_be_asked_for():
    environment = {**os.environ, "NNRVIDEO_PURE": "1"}
    program = "from nnrvideo.entropy import BACKEND; print(BACKEND)"
    result = subprocess.run(
        [sys.executable, "-P", "-c", program], capture_output=True, check=True, env=environment
    )
    assert result.stdout.decode().strip() == "python"
