#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Builds and runs every fuzz target, then prints what each has done.
#
#   bash tests/fuzz/run.sh [SECONDS]     for each target (default: 60)
#
# The native targets need clang with libFuzzer, the Python targets atheris (pip install ".[fuzz]")
# and the editable or installed package; what is missing is left out, and said. The working corpus
# and findings lie in build/fuzz; a later run goes on where this one stopped.
#
# FUZZ_TARGETS   only these, e.g. "decode nnc"
# FUZZ_MERGE=1   afterwards write the inputs that cover most to tests/fuzz/corpus, FUZZ_KEEP (36) of
#                each target; those called found-... stay, for each has broken something once
set -uo pipefail
cd "$(dirname "$0")/../.."
seconds=${1:-60}
targets=${FUZZ_TARGETS:-batch decode round_trip search unit nnc sei carriage model}
work=$PWD/build/fuzz
committed=$PWD/tests/fuzz/corpus
python=${PYTHON:-python3}
mkdir -p "$work"/{corpus,findings,logs,seeds}

is_native() { [ -f "nnrvideo/native/fuzz/$1.cpp" ]; }
max_len() { case $1 in batch | decode | search | unit) echo 600 ;; round_trip) echo 1000 ;; *) echo 4096 ;; esac; }
run() { # TARGET OPTIONS...
    local target=$1
    shift
    if is_native "$target"; then
        "$work/native/fuzz_$target" "$@"
    else
        "$python" tests/fuzz/fuzz_python.py "$target" "$@"
    fi
}

if command -v clang++ >/dev/null; then
    cmake -S nnrvideo/native -B "$work/native" -DCMAKE_CXX_COMPILER=clang++ \
        -DNNRCORE_BUILD_PYTHON=OFF -DNNRCORE_BUILD_FUZZERS=ON >"$work/logs/build.log" 2>&1 &&
        cmake --build "$work/native" --parallel >>"$work/logs/build.log" 2>&1 ||
        { cat "$work/logs/build.log"; exit 1; }
fi
if "$python" -c "import atheris" 2>/dev/null; then
    "$python" tests/fuzz/seeds.py "$work/seeds" || exit 1
fi

table=$(printf '%-12s %12s %9s %18s %8s %s\n' target executions exec/s "edges of all" corpus result)
status=0
for target in $targets; do
    if is_native "$target"; then
        needs="clang++" found=$(command -v clang++)
    else
        needs="atheris" found=$("$python" -c "import atheris; print(1)" 2>/dev/null)
    fi
    if [ -z "$found" ]; then
        table+=$'\n'$(printf '%-12s left out: no %s' "$target" "$needs")
        continue
    fi
    mkdir -p "$work/corpus/$target" "$work/seeds/$target" "$committed/$target"
    log=$work/logs/$target.log
    echo "== $target for $seconds s"
    run "$target" -max_total_time="$seconds" -max_len="$(max_len "$target")" -timeout=20 \
        -print_final_stats=1 -artifact_prefix="$work/findings/$target-" \
        "$work/corpus/$target" "$committed/$target" "$work/seeds/$target" >"$log" 2>&1
    result=$?
    if [ $result -eq 0 ]; then
        result="no finding"
    else
        result="FINDING, see $log"
        status=1
    fi
    number() { sed -n "s/^stat::$1: *//p" "$log" | tail -1; }
    # "INFO: Loaded 1 modules (2711 inline 8-bit counters)", which atheris does not say, and
    # "#8 DONE cov: 884 ft: 3127 corp: 326/11Kb". Templates count once for each use.
    edges=$(grep -aoE 'cov: [0-9]+' "$log" | tail -1 | cut -d' ' -f2)
    all=$(sed -nE 's/.*\(([0-9]+) inline 8-bit counters\).*/\1/p' "$log" | tail -1)
    corpus=$(grep -aoE 'corp: [0-9]+' "$log" | tail -1 | cut -d' ' -f2)
    table+=$'\n'$(printf '%-12s %12s %9s %18s %8s %s' "$target" \
        "$(number number_of_executed_units)" "$(number average_exec_per_sec)" \
        "${edges:-?}${all:+ of $all}" "${corpus:-?}" "$result")
done

if [ -n "${FUZZ_MERGE:-}" ]; then
    for target in $targets; do
        fresh=$(mktemp -d)
        # The first inputs add most and the last ones an edge each, so a number of files is enough.
        # Without counters only edges count: how often a loop runs is worth fuzzing, not keeping.
        run "$target" -set_cover_merge=1 -use_counters=0 -max_len="$(max_len "$target")" "$fresh" \
            "$committed/$target" "$work/corpus/$target" "$work/seeds/$target" \
            >"$work/logs/merge-$target.log" 2>&1
        if [ -z "$(ls "$fresh")" ]; then
            echo "cannot merge $target, see $work/logs/merge-$target.log"
            continue
        fi
        find "$fresh" -type f -printf '%T@ %p\n' | sort -n | tail -n +$((${FUZZ_KEEP:-36} + 1)) |
            cut -d' ' -f2- | xargs -r rm
        find "$committed/$target" -name 'found-*' -exec cp {} "$fresh" \;
        rm -rf "${committed:?}/$target"
        mv "$fresh" "$committed/$target"
        chmod 755 "$committed/$target"
    done
fi

printf '\n%s\n' "$table"
exit $status
