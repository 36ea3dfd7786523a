#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# lineage.sh BUILD FOLDER [FAMILY]: decomposition of a merge of three siblings on a synthetic
# 0.5B model with two decoys, wall time beside plain reading of the same files, peak memory;
# then, with FAMILY (folder of trained models with base, expert-* and mk-*), the shares that
# come out of merges made by mergekit. FOLDER needs 8 GB and is left clean.
set -eu
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
cat "$work"/*/model.safetensors >/dev/null
/usr/bin/time -f '%e' -o "$work/read" cat "$work"/*/model.safetensors >/dev/null
/usr/bin/time -f '%e %U %M' -o "$work/time" "$build/weightward" lineage decompose \
    "$work/suspect" --base "$work/base" --candidate "$work/m1" --candidate "$work/m2" \
    --candidate "$work/m3" --candidate "$work/m4" --candidate "$work/m5" --json -q >"$work/answer"
awk -v read="$(cat "$work/read")" '{ printf "0.5B, base + 5: %.1f s wall, %.1f s CPU, %d MiB peak; cat of the same files %.1f s\n", $1, $2, $3 / 1024, read }' "$work/time"
jq -c '[.sources[] | [.share, .interval]], .replay, .r2, .r2_ceiling' "$work/answer"

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
