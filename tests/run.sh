#!/usr/bin/env bash
# Sets up everything that the tests need and runs them: lint, types, import rules, all tests
# against the installed package, then the wheel in a bare environment.
#
#   bash tests/run.sh            everything
#   bash tests/run.sh quick      lint, types and unit tests only
#
# NNRVIDEO_VENV    folder of the virtual environment (default: .venv/test in the checkout)
# NNRVIDEO_SHARED  folder with conformance vectors and clips (default: ../shared; optional)
# NNRVIDEO_TORCH   PyTorch as pip shall install it, for the tests of training, e.g. torch==2.13.0;
#                  without it they skip, because what pip chooses by itself may be gigabytes
set -euo pipefail
unset PYTHONPATH  # what is installed shall be tested, not what the caller has lying about
cd "$(dirname "$0")/.."
root=$PWD
python=${PYTHON:-python3}
venv=${NNRVIDEO_VENV:-$root/.venv/test}
export PIP_DISABLE_PIP_VERSION_CHECK=1

step() { printf '\n== %s\n' "$*"; }

step "environment: $venv"
[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
. "$venv/bin/activate"
# A regular install, so that the tests see what a user gets and not the source tree.
pip install --quiet ".[test,cluster]"
nnrvideo --version

step "the native core is in use"
python -P - <<'PY'  # -P: not the source tree, which has no core in it
import sys
from nnrvideo.entropy import BACKEND
if BACKEND != "native":
    sys.exit("the native core is missing: is there a C++ compiler? (pip install -v . tells more)")
PY

step "lint"
ruff check .
ruff format --check .
lint-imports

step "types"
mypy

if [ "${1:-}" = quick ]; then
    step "unit and property tests"
    pytest -q tests/unit tests/property
    exit
fi

step "NNCodec for the interoperability tests"
bash tests/interop/setup_nncodec.sh || echo "NNCodec cannot be set up here: its tests will skip"

step "GStreamer for the tests of the elements"
# From the distribution: pip cannot deliver it on Linux.  Without it those tests skip and say why,
# except in CI.
if ! command -v gst-launch-1.0 >/dev/null && command -v apt-get >/dev/null; then
    root_do=""
    [ "$(id -u)" = 0 ] || root_do="sudo -n"
    install=$(python -P -c "from nnrvideo.gst.setup import APT_LINE; print(APT_LINE)")
    # shellcheck disable=SC2086 - words of a command
    { $root_do apt-get -qq update &&
        $root_do env DEBIAN_FRONTEND=noninteractive $install -qq -y >/dev/null; } ||
        echo "GStreamer cannot be installed here: its tests will skip"
fi

if [ -n "${NNRVIDEO_TORCH:-}" ]; then
    step "PyTorch for the tests of training"
    pip install --quiet "$NNRVIDEO_TORCH" || echo "no $NNRVIDEO_TORCH here: its tests will skip"
fi

step "all tests, native backend"
pytest -q tests --ignore tests/gst

step "GStreamer elements"
pytest -q tests/gst

step "coder and bitstream tests, pure-Python backend"
NNRVIDEO_PURE=1 pytest -q tests/unit/entropy tests/unit/nnc tests/property tests/hostile

step "a wheel in a bare environment, outside the source tree"
bash tests/wheel.sh

step "everything passed"
