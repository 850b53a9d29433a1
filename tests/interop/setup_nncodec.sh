#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Builds a virtual environment with NNCodec, the other implementation that our streams are
# exchanged with.  It needs a C++ compiler and the Python headers, and takes about two minutes.
#
# NNRVIDEO_NNCODEC_VENV  folder of the environment (default: .venv/nncodec in the checkout)
set -euo pipefail
cd "$(dirname "$0")/../.."
venv=${NNRVIDEO_NNCODEC_VENV:-$PWD/.venv/nncodec}
python=${PYTHON:-python3}
export PIP_DISABLE_PIP_VERSION_CHECK=1

if [ -x "$venv/bin/python" ] && "$venv/bin/python" tests/interop/nncodec_driver.py check; then
    exit 0
fi
[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
# NNCodec declares torch and more; its tensor coder needs numpy only, see nncodec_driver.py.
"$venv/bin/pip" install --quiet 'numpy<2' pybind11 'setuptools<81' wheel
"$venv/bin/pip" install --quiet --no-deps --no-build-isolation nncodec==2.1.3
"$venv/bin/python" tests/interop/nncodec_driver.py check
