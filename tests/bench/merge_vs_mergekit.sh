#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# merge_vs_mergekit.sh BUILD FOLDER [ROUNDS]: merges of a synthetic 0.5B base with three
# fine-tunes (bf16, changes of sd 5e-4) by the command line, against mergekit-yaml of .venv on
# the same files, round by round, and against what the disk allows: bytes read over the rate
# of direct reads plus bytes written over that of direct writes, measured before each round.
# The last columns are the cost of signing and of the sources' tree roots.
#
# FOLDER needs 9 GB and is left clean; MODELS=PATH keeps the models there for another run. Cold drops the page cache, which needs root. METHODS,
# CACHES="warm cold" and OURS_ONLY=1 choose. Rates of a virtual disk vary: compare in a row.
set -eu
build=$1
rounds=${3:-3}
here=$(cd "$(dirname "$0")" && pwd)
venv=$here/../../.venv/bin
work=$(mktemp -d "$2/ww-bench.XXXXXX")
trap 'rm -rf "$work"' EXIT
export OMP_NUM_THREADS=2 HF_HUB_OFFLINE=1

models=${MODELS:-$work}
if [ ! -d "$models/f3" ]; then
    mkdir -p "$models"
    "$build/make_model" 0.5B "$models/base"
    for i in 1 2 3; do
        "$build/perturb_model" "$models/base" "$models/f$i" 0.025 "$i"
    done
fi
"$build/weightward" key new signing --out "$work/me" --no-passphrase -q
size=$(stat -c %s "$models/base/model.safetensors")

# recipe METHOD: mergekit's file
recipe() {
    echo "dtype: bfloat16"
    echo "merge_method: $1"
    case $1 in
    linear) names="f1 f2" ;;
    passthrough) names=f1 ;;
    slerp) names="base f1" && echo "parameters: {t: 0.4}" ;;
    *) names="f1 f2 f3" ;;
    esac
    [ "$1" = linear ] || [ "$1" = passthrough ] || echo "base_model: $models/base"
    echo "models:"
    for m in $names; do
        echo "  - {model: $models/$m, parameters: {weight: 0.6, density: 0.5, epsilon: 0.1}}"
    done
}
n_read() {
    case $1 in
    linear | slerp) echo 2 ;;
    passthrough) echo 1 ;;
    *) echo 4 ;;
    esac
}
cold() {
    [ "$1" = warm ] || { sync; echo 3 >/proc/sys/vm/drop_caches; }
}
# seconds COMMAND...: wall, "wall cpu MiB" in $work/time
seconds() {
    rm -rf "$work/out"
    if /usr/bin/time -f '%e %U %S %M' -o "$work/time" "$@" >"$work/log" 2>&1; then
        awk '{printf "%.2f %.1f %d", $1, $2 + $3, $4 / 1024}' "$work/time"
    else
        tail -n 2 "$work/log" >&2
        printf '0 0 0'
    fi
}
# MB/s of one direct pass over a file of the models' size
rates() {
    cold "$1"
    # Warm sources are read through the page cache, by copying out of it.
    flag=iflag=direct
    [ "$1" = cold ] || flag=iflag=fullblock
    read_s=$(/usr/bin/time -f %e dd if="$models/base/model.safetensors" of=/dev/null bs=4M $flag 2>&1 | tail -n 1)
    write_s=$(/usr/bin/time -f %e dd if=/dev/zero of="$work/written" bs=4M \
        count=$((size / 4194304)) oflag=direct conv=fsync 2>&1 | tail -n 1)
    rm -f "$work/written"
}

for method in ${METHODS:-linear task_arithmetic ties dare_ties slerp della model_stock passthrough}; do
    recipe "$method" >"$work/recipe.yml"
    for cache in ${CACHES:-warm cold}; do
        for round in $(seq "$rounds"); do
            rates "$cache"
            cold "$cache"
            ours=$(seconds "$build/weightward" merge "$work/recipe.yml" "$work/out" -q --no-source-trees)
            cold "$cache"
            trees=$(seconds "$build/weightward" merge "$work/recipe.yml" "$work/out" -q --sign "$work/me.key")
            theirs="0 0 0"
            if [ -z "${OURS_ONLY:-}" ]; then
                cold "$cache"
                theirs=$(seconds "$venv/mergekit-yaml" "$work/recipe.yml" "$work/out" \
                    --lazy-unpickle --no-copy-tokenizer)
            fi
            echo "$method $cache $round $read_s $write_s $(n_read "$method") $ours $trees $theirs"
        done
    done
done | awk '
BEGIN {
    printf "%-16s %-4s %s %7s %7s  %-20s %6s  %-24s %-20s %s\n", "method", "", "n", "1 read", "1 write",
        "ours: s, cpu, MiB", "/ disk", "signed, source trees", "mergekit", "times"
}
{
    disk = $4 * $6 + $5
    printf "%-16s %-4s %s %7.2f %7.2f  %6.2f %5.1f %5d   %6.2f  %6.2f %5.1f %5d %+5.0f%%  %7.1f %6.1f %5d  %s\n",
        $1, $2, $3, $4, $5, $7, $8, $9, (disk > 0) ? $7 / disk : 0, $10, $11, $12,
        ($7 > 0) ? 100 * ($10 / $7 - 1) : 0, $13, $14, $15, ($13 > 0) ? sprintf("%.1f", $13 / $7) : "-"
    fflush()
}'
