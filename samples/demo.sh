#!/usr/bin/env bash
# Sets up everything and does the main job on a real clip:
# encode (half size + network inside the stream), probe, enhance, compare.
#
#   bash samples/demo.sh [CLIP]
#
# NNRVIDEO_VENV  folder of the virtual environment (default: .venv/demo in the checkout)
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
python=${PYTHON:-python3}
venv=${NNRVIDEO_VENV:-$root/.venv/demo}
clip=${1:-$root/samples/bbb_sample.mp4}
out=$root/out/demo
export PIP_DISABLE_PIP_VERSION_CHECK=1

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }

say "1. Installing nnrvideo into $venv"
[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
"$venv/bin/pip" install --quiet "$root"
PATH=$venv/bin:$PATH
nnrvideo --version
mkdir -p "$out"

say "2. encode: half the size, HEVC at CRF 22, the network inside the stream"
nnrvideo encode -y -i "$clip" -c:v libx265 -crf 22 "$out/coded.mp4"

say "3. probe: what travels in the file"
nnrvideo probe "$out/coded.mp4"

say "4. enhance: the network comes out of the stream and runs on the decoded pictures"
nnrvideo enhance -y -i "$out/coded.mp4" "$out/enhanced.mp4"

say "5. compare with the original: plain upscale against the network"
nnrvideo compare -y -r "$clip" -i "$out/coded.mp4" --png "$out/side-by-side.png"

say "Done. Look at $out/side-by-side.png and play $out/enhanced.mp4"
