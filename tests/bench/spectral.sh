#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# spectral.sh BUILD FOLDER [METHOD...]: wall time, CPU time and peak memory of merging three
# noisy siblings of a synthetic 0.5B model by whole-matrix methods (default: swudi). FOLDER
# needs 6 GB and is left clean.
set -eu
build=$1
folder=$2
shift 2
[ $# -gt 0 ] || set -- swudi
work=$(mktemp -d "$folder/ww-bench.XXXXXX")
trap 'rm -rf "$work"' EXIT

"$build/make_model" 0.5B "$work/base"
for seed in 1 2 3; do
    "$build/perturb_model" "$work/base" "$work/m$seed" 0.02 "$seed" >/dev/null
done
printf '%-12s %8s %8s %10s\n' method seconds cpu peakMiB
for method; do
    printf 'merge_method: %s\nbase_model: %s/base\nmodels:\n' "$method" "$work" >"$work/recipe.yml"
    for seed in 1 2 3; do
        printf '  - model: %s/m%s\n' "$work" "$seed" >>"$work/recipe.yml"
    done
    echo 'dtype: bfloat16' >>"$work/recipe.yml"
    /usr/bin/time -f '%e %U %S %M' -o "$work/time" "$build/weightward" merge \
        "$work/recipe.yml" "$work/out" -q >"$work/log" 2>&1 || { cat "$work/log"; exit 1; }
    awk -v m="$method" '{printf "%-12s %8.1f %8.1f %10.0f\n", m, $1, $2 + $3, $4 / 1024}' \
        "$work/time"
    rm -rf "$work/out"
done
