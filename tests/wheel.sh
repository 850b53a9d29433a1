#!/usr/bin/env bash
# Builds wheels and tries them where a user would: in a fresh environment, outside the source
# tree.  Then the same without a C++ compiler, where the pure-Python backend must take over and
# say so.
set -euo pipefail
unset PYTHONPATH  # what is installed shall be tested, not what the caller has lying about
root=$(cd "$(dirname "$0")/.." && pwd)
python=${PYTHON:-python3}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export PIP_DISABLE_PIP_VERSION_CHECK=1

smoke() { # VENV BACKEND
    cd "$work"
    "$1/bin/nnrvideo" --version | tee "$work/version.txt"
    grep -q "backend: $2" "$work/version.txt"
    "$1/bin/python" - "$work" <<'PY'
import sys, pathlib
import numpy as np
folder = pathlib.Path(sys.argv[1])
rng = np.random.default_rng(1)
np.savez(folder / "in.npz", w=rng.normal(size=(16, 27)).astype(np.float32), b=np.zeros(16, np.float32))
PY
    "$1/bin/nnrvideo" pack in.npz -o out.nnc -y --qp -24
    "$1/bin/nnrvideo" unpack out.nnc -o out.npz -y
    "$1/bin/python" - "$work" <<'PY'
import sys, pathlib
import numpy as np
folder = pathlib.Path(sys.argv[1])
a, b = np.load(folder / "in.npz"), np.load(folder / "out.npz")
assert list(a) == list(b), (list(a), list(b))
assert np.abs(a["w"] - b["w"]).max() < 0.05
import nnrvideo.data
for name in nnrvideo.data.NETWORK_NAMES:
    assert nnrvideo.data.base_network(name)[:3] == bytes([0, 4, 2])
    assert nnrvideo.data.model_card(name).startswith(f"# {name}\n")
    assert nnrvideo.data.model_card_json(name).startswith("{")
print("pack and unpack in a bare environment: fine")
PY
    "$1/bin/nnrvideo" gst install --target "$work/plugins" -q
    test -f "$work/plugins/python/nnrenhance.py"
}

"$python" -m venv "$work/native"
"$work/native/bin/pip" wheel --quiet --no-deps -w "$work/wheels" "$root"
"$work/native/bin/pip" install --quiet "$work"/wheels/nnrvideo-*.whl
smoke "$work/native" native

"$python" -m venv "$work/pure"
CC=/nonexistent CXX=/nonexistent "$work/pure/bin/pip" install --quiet "$root"
smoke "$work/pure" python
