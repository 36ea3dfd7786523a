#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# attack_speed.sh BUILD FOLDER [SIZE...]: wall time and peak memory of `weightward attack` on
# synthetic models (0.5B, 1.5B), exact lock, anchor a sibling with noise of 5 % of each
# tensor's spread. The weights must come back bit for bit. FOLDER needs 12 GB and is left
# clean.
set -eu
build=$1
folder=$2
shift 2
work=$(mktemp -d "$folder/ww-bench.XXXXXX")
trap 'rm -rf "$work"' EXIT

"$build/weightward" key new lock --out "$work/lock" --no-passphrase -q
for size in ${*:-0.5B 1.5B}; do
    "$build/make_model" "$size" "$work/model"
    "$build/perturb_model" "$work/model" "$work/anchor" 0.05 7
    "$build/weightward" lock "$work/model" "$work/locked" --key "$work/lock" -q
    /usr/bin/time -f '%e %U %M' -o "$work/time" "$build/weightward" attack "$work/locked" \
        "$work/out" --anchor "$work/anchor" --truth "$work/model" --json -q >"$work/answer"
    cmp "$work/model/model.safetensors" "$work/out/model.safetensors"
    awk -v size="$size" '{ printf "%s: %.1f s wall, %.1f s CPU, %d MiB peak\n", size, $1, $2, $3 / 1024 }' \
        "$work/time"
    jq -c '{identical_bytes, function_drift, distance_before, distance_after}' "$work/answer"
    rm -rf "$work/model" "$work/anchor" "$work/locked" "$work/out"
done
