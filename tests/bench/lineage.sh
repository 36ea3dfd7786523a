#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# lineage.sh [--cold [ROUNDS]] BUILD FOLDER [FAMILY]: decomposition of a merge of three siblings
# on a synthetic 0.5B model with two decoys, wall time beside plain reading of the same files,
# peak memory; then, with FAMILY (folder of trained models with base, expert-* and mk-*), the
# shares that come out of merges made by mergekit. FOLDER needs 8 GB and is left clean.
#
# --cold: ROUNDS (3) times from the disk, the files' pages dropped from the cache before each
# reading, beside direct reads of the same files (what the disk gives) and `cat` of them. What
# lay in the cache when a reading began, and what came from the disk, is told each time.
set -eu
rounds=0
if [ "$1" = --cold ]; then
    rounds=3
    shift
    case $1 in
    *[!0-9]*) ;;
    *)
        rounds=$1
        shift
        ;;
    esac
fi
build=$1
folder=$2
family=${3:-}
work=$(mktemp -d "$folder/ww-bench.XXXXXX")
trap 'rm -rf "$work"' EXIT

"$build/make_model" 0.5B "$work/base"
for i in 1 2 3 4 5; do
    "$build/perturb_model" "$work/base" "$work/m$i" 0.01 "$i"
done
cat >"$work/recipe.yml" <<YML
merge_method: task_arithmetic
base_model: $work/base
models:
  - {model: $work/m1, parameters: {weight: 0.4}}
  - {model: $work/m2, parameters: {weight: 0.3}}
  - {model: $work/m3, parameters: {weight: 0.2}}
dtype: float32
out_dtype: bfloat16
YML
"$build/weightward" merge "$work/recipe.yml" "$work/suspect" -q

# timed NAME COMMAND...: seconds, CPU seconds, peak KiB and blocks of 512 bytes from the disk
# into work/NAME; what is printed into work/NAME.out.
timed() {
    name=$1
    shift
    /usr/bin/time -f '%e %U %S %M %I' -o "$work/$name" "$@" >"$work/$name.out"
}

decompose() {
    timed "$1" "$build/weightward" lineage decompose "$work/suspect" --base "$work/base" \
        --candidate "$work/m1" --candidate "$work/m2" --candidate "$work/m3" \
        --candidate "$work/m4" --candidate "$work/m5" --json -q
}

# Pages that are clean leave the cache without any right of root.
drop() {
    sync
    for file in "$work"/*/model.safetensors; do
        dd if="$file" iflag=nocache count=0 status=none
    done
    fincore -b -n -o res "$work"/*/model.safetensors |
        awk '{ sum += $1 } END { printf "%d MB of the files lie in the cache; ", sum / 1e6 }'
}

read_direct() {
    for file in "$work"/*/model.safetensors; do
        dd if="$file" of=/dev/null bs=8M iflag=direct status=none
    done
}

read_plain() {
    timed read sh -c 'cat "$@" >/dev/null' sh "$work"/*/model.safetensors
}

cold() {
    size=$(stat -c %s "$work"/*/model.safetensors | awk '{ sum += $1 } END { print sum }')
    for round in $(seq "$rounds"); do
        drop
        start=$(date +%s.%N)
        read_direct
        end=$(date +%s.%N)
        echo "$size $start $end" | awk '{ printf "direct reads: %.2f s, %.2f GB/s\n", $3 - $2, $1 / ($3 - $2) / 1e9 }'
        direct=$(echo "$start $end" | awk '{ print $2 - $1 }')
        drop
        read_plain
        awk '{ printf "cat: %.2f s, %.2f GB from the disk\n", $1, $5 * 512 / 1e9 }' "$work/read"
        drop
        decompose time
        awk -v direct="$direct" '{ printf "decompose: %.2f s by the clock, %.2f times the direct reads, %.2f s CPU, %d MiB peak, %.2f GB from the disk\n",
            $1, $1 / direct, $2 + $3, $4 / 1024, $5 * 512 / 1e9 }' "$work/time"
    done
}

if [ "$rounds" -gt 0 ]; then
    cold
else
    cat "$work"/*/model.safetensors >/dev/null
    read_plain
    decompose time
    awk -v read="$(cut -d' ' -f1 "$work/read")" '{ printf "0.5B, base + 5: %.1f s wall, %.1f s CPU, %d MiB peak; cat of the same files %.1f s\n", $1, $2, $4 / 1024, read }' "$work/time"
fi
jq -c '[.sources[] | [.share, .interval]], .replay, .r2, .r2_ceiling' "$work/time.out"

[ -n "$family" ] || exit 0
for suspect in "$family"/mk-*; do
    set --
    for candidate in "$family"/expert-* "$family"/sibling-*; do
        set -- "$@" --candidate "$candidate"
    done
    "$build/weightward" lineage decompose "$suspect" --base "$family/base" "$@" --json -q |
        jq -rc --arg name "$(basename "$suspect")" \
            '[$name, .method.best, .replay, .unexplained,
              ([.sources[] | select(.included) | (.name | split("/")[-1]) + " " + (.share | tostring)] | join(", "))] | @tsv'
done
