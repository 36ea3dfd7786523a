#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# merge_vs_mergekit.sh BUILD FOLDER [ROUNDS]: wall time, CPU time and peak memory of merges
# of a synthetic 0.5B base with three fine-tunes (bf16, changes of sd 5e-4), against
# mergekit-yaml of .venv on the same files, warm and cold, round by round. Then ours in 512
# MiB of address space. FOLDER needs 8 GB and is left clean. Cold needs root; CACHES=warm
# and OURS_ONLY=1 leave parts out.
set -eu
build=$1
rounds=${3:-3}
here=$(cd "$(dirname "$0")" && pwd)
venv=$here/../../.venv/bin
work=$(mktemp -d "$2/ww-bench.XXXXXX")
trap 'rm -rf "$work"' EXIT
export OMP_NUM_THREADS=2 HF_HUB_OFFLINE=1

"$build/make_model" 0.5B "$work/base"
for i in 1 2 3; do
    mkdir "$work/f$i"
    cp "$work/base/config.json" "$work/f$i/"
    "$venv/python" - "$work/base" "$work/f$i" "$i" <<'PY'
import sys
import torch
from safetensors import safe_open
from safetensors.torch import save_file
base, out, seed = sys.argv[1], sys.argv[2], int(sys.argv[3])
g = torch.Generator().manual_seed(seed)
with safe_open(base + "/model.safetensors", "pt") as f:
    tensors = {k: (f.get_tensor(k).float() + 5e-4 * torch.randn(
        f.get_tensor(k).shape, generator=g)).bfloat16() for k in f.keys()}
save_file(tensors, out + "/model.safetensors", metadata={"format": "pt"})
PY
done

# recipe METHOD MODELS PARAMETERS: mergekit's file for the same merge
recipe() {
    method=$1
    models=$2
    echo "dtype: bfloat16"
    echo "merge_method: $method"
    [ "$method" = linear ] || [ "$method" = passthrough ] || echo "base_model: $work/base"
    [ "$method" = slerp ] && echo "parameters: {t: 0.4}"
    echo "models:"
    for m in $models; do
        echo "  - {model: $work/$m, parameters: {weight: 1.0, density: 0.5}}"
    done
}
cold() {
    [ "$1" = warm ] || { sync; echo 3 >/proc/sys/vm/drop_caches; }
}
# timed COMMAND...: "wall cpu MiB", or "failed"
timed() {
    rm -rf "$work/out"
    if /usr/bin/time -f '%e %U %S %M' -o "$work/time" "$@" >"$work/log" 2>&1; then
        awk '{printf "%.1f s %.1f cpu %d MiB", $1, $2 + $3, $4 / 1024}' "$work/time"
    else
        printf 'failed'
    fi
}

printf '%-16s %-5s %-5s %-28s %s\n' method cache round weightward mergekit
for method in linear slerp task_arithmetic ties dare_ties model_stock passthrough; do
    base=$work/base
    models="f1 f2 f3"
    set --
    case $method in
    linear) base=- models="f1 f2" ;;
    passthrough) base=- models=f1 ;;
    slerp) models=f1 && set -- t=0.4 ;;
    ties | dare_ties) set -- density=0.5 ;;
    esac
    recipe "$method" "$models" >"$work/recipe.yml"
    [ "$method" = slerp ] && sed -i "s|^models:|models:\n  - {model: $work/base}|" "$work/recipe.yml"
    paths=
    for m in $models; do
        paths="$paths $work/$m"
    done
    for cache in ${CACHES:-warm cold}; do
        for round in $(seq "$rounds"); do
            cold $cache
            # shellcheck disable=SC2086
            ours=$(timed "$build/merge_folders" "$method" - "$work/out" "$base" $paths "$@")
            theirs=skipped
            if [ -z "${OURS_ONLY:-}" ]; then
                cold $cache
                theirs=$(timed "$venv/mergekit-yaml" "$work/recipe.yml" "$work/out" \
                    --lazy-unpickle --no-copy-tokenizer)
            fi
            printf '%-16s %-5s %-5s %-28s %s\n' "$method" "$cache" "$round" "$ours" "$theirs"
        done
    done
done

# The hard limit: address space, which the kernel enforces without a control group.
rm -rf "$work/out"
(
    ulimit -v 524288
    "$build/merge_folders" ties - "$work/out" "$work/base" "$work/f1" "$work/f2" "$work/f3" \
        density=0.5
) && echo "ties of base and 3 in 512 MiB of address space: done"
