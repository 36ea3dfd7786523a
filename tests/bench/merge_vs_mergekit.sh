#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# merge_vs_mergekit.sh [--quick] BUILD FOLDER [ROUNDS]: merges by the command line against
# mergekit-yaml on the same files, one after the other, and against what the disk allows:
# bytes read over the rate of direct reads plus bytes written over that of direct writes,
# both measured before each merge. Ends with a table for docs/benchmarks.md.
#
# Models are synthetic: a base of SIZE (0.5B) and three fine-tunes of it in bf16 (changes of sd
# 5e-4). They stay in FOLDER/models-SIZE (4 GB for 0.5B, and 2 GB for outputs); each result is a
# line of FOLDER/results-SIZE.tsv, and what has a line is not measured again: an interrupted
# run is continued by the same command. After MINUTES (10) nothing new is begun.
# METHODS and CACHES="warm cold" choose; OURS_ONLY=1 leaves mergekit out; VENV is where it is
# installed. Cold: the files' pages are dropped from the cache before each merge.
# DIGESTS=1: the signed merges find the digests of their sources in a cache of earlier ones.
# --quick: one method on a model of one layer.
set -eu
quick=
[ "${1:-}" != --quick ] || { quick=1 && shift; }
build=$1
folder=$2
rounds=${3:-1}
venv=${VENV:-$(cd "$(dirname "$0")" && pwd)/../../.venv}
size=${SIZE:-${quick:+wide}}
size=${size:-0.5B}
methods=${METHODS:-${quick:+linear}}
methods=${methods:-linear slerp task_arithmetic ties dare_ties della breadcrumbs model_stock passthrough}
caches=${CACHES:-warm cold}
models=$folder/models-$size
results=$folder/results-$size${DIGESTS:+-digests}.tsv
stop_at=$(($(date +%s) + ${MINUTES:-10} * 60))
export OMP_NUM_THREADS=2 HF_HUB_OFFLINE=1

mkdir -p "$folder"
work=$(mktemp -d "$folder/work.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

# Made beside and renamed: a folder that is there is complete.
if [ ! -d "$models" ]; then
    rm -rf "$models.making"
    mkdir "$models.making"
    "$build/make_model" "$size" "$models.making/base"
    for i in 1 2 3; do
        "$build/perturb_model" "$models.making/base" "$models.making/f$i" 0.025 "$i"
    done
    mv "$models.making" "$models"
fi
"$build/weightward" key new signing --out "$work/me" --no-passphrase -q
bytes=$(stat -c %s "$models/base/model.safetensors")

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
# One merge of all models leaves their digests.
digests=
if [ -n "${DIGESTS:-}" ]; then
    digests="--cache $work/digests"
    recipe ties >"$work/recipe.yml"
    "$build/weightward" merge "$work/recipe.yml" "$work/out" -q --sign "$work/me.key" $digests
    rm -rf "$work/out"
fi
# The sources' pages are in the cache, or not.
set_cache() {
    for m in base f1 f2 f3; do
        case $1 in
        warm) cat "$models/$m/model.safetensors" >/dev/null ;;
        cold) dd if="$models/$m/model.safetensors" iflag=nocache count=0 status=none ;;
        esac
    done
}
# measure COMMAND...: "wall cpu MiB", zeros when it fails
measure() {
    rm -rf "$work/out"
    sync
    if /usr/bin/time -f '%e %U %S %M' -o "$work/time" "$@" >"$work/log" 2>&1; then
        awk '{printf "%.2f %.2f %d", $1, $2 + $3, $4 / 1024}' "$work/time"
    else
        echo "failed: $*" >&2
        tail -n 3 "$work/log" >&2
        printf '0 0 0'
    fi
    rm -rf "$work/out"
}
# Seconds of one direct pass over a file of the models' size: reading, writing.
disk() {
    dd if="$models/f1/model.safetensors" iflag=nocache count=0 status=none
    /usr/bin/time -f %e -o "$work/read" \
        dd if="$models/f1/model.safetensors" of=/dev/null bs=8M iflag=direct status=none
    /usr/bin/time -f %e -o "$work/write" dd if=/dev/zero of="$work/written" bs=8M \
        count=$((bytes / 8388608)) oflag=direct conv=fsync status=none
    rm -f "$work/written"
    echo "$(cat "$work/read") $(cat "$work/write")"
}

one() {
    method=$1 cache=$2 round=$3
    recipe "$method" >"$work/recipe.yml"
    rates=$(disk)
    set_cache "$cache"
    plain=$(measure "$build/weightward" merge "$work/recipe.yml" "$work/out" -q --no-source-trees)
    set_cache "$cache"
    signed=$(measure "$build/weightward" merge "$work/recipe.yml" "$work/out" -q --sign "$work/me.key" $digests)
    theirs="0 0 0"
    if [ -z "${OURS_ONLY:-}" ]; then
        set_cache "$cache"
        theirs=$(measure "$venv/bin/mergekit-yaml" "$work/recipe.yml" "$work/out" \
            --lazy-unpickle --no-copy-tokenizer)
    fi
    echo "$method $cache $round $(n_read "$method") $rates $plain $signed $theirs" >>"$results"
    tail -n 1 "$results" >&2
}

touch "$results"
for round in $(seq "$rounds"); do
    for cache in $caches; do
        for method in $methods; do
            if ! grep -q "^$method $cache $round " "$results" && [ "$(date +%s)" -lt "$stop_at" ]; then
                one "$method" "$cache" "$round"
            fi
        done
    done
done

# The middle of the rounds, by wall time of ours.
sort -k2,2r -k1,1 -k7,7n "$results" | awk -v size="$size" '
function flush_row(   m, f, disk, w) {
    if (!n) return
    m = int((n + 1) / 2)
    split(rows[m], f, " ")
    disk = f[4] * f[5] + f[6]
    printf "| %s, %s | %.2f s, %.1f s, %d MiB | %.2f | %.2f s (%+.0f %%), %.1f s, %d MiB |", \
        f[1], f[2], f[7], f[8], f[9], disk ? f[7] / disk : 0, \
        f[10], f[7] ? 100 * (f[10] / f[7] - 1) : 0, f[11], f[12]
    if (f[13] > 0)
        printf " %.1f s, %.1f s, %d MiB | %.1f | %.1f |\n", \
            f[13], f[14], f[15], f[13] / f[7], f[14] / f[8]
    else
        print " not measured | | |"
    n = 0
}
BEGIN {
    print "| " size " | ours: wall, CPU, peak RSS | wall / disk | signed, with trees | mergekit: wall, CPU, peak RSS | times faster | times less CPU |"
    print "|---|---|---|---|---|---|---|"
}
{
    if (key != $1 " " $2) flush_row()
    key = $1 " " $2
    rows[++n] = $0
    reads[++all] = $5; writes[all] = $6
}
END {
    flush_row()
    for (i = 1; i <= all; i++) { r += reads[i]; w += writes[i] }
    if (all) printf "\nDisk, mean of %d: one model read in %.2f s and written in %.2f s.\n", all, r / all, w / all
}'
