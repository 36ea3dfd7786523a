#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# lock_vs_cp.sh BUILD FOLDER [ROUNDS]: wall time of lock and unlock (with hashing and
# signing) of synthetic 0.5B and 1.5B models against `cp -r` of the same folder, cold,
# paired round by round; peak memory beside it. FOLDER needs 10 GB and is left clean.
# Needs root to drop the page cache.
set -eu
build=$1
folder=$2
rounds=${3:-3}
work=$(mktemp -d "$folder/ww-bench.XXXXXX")
trap 'rm -rf "$work"' EXIT

cold() {
    sync
    echo 3 >/proc/sys/vm/drop_caches
}
# timed OUT COMMAND...: seconds and peak KiB into the variables seconds, peak
timed() {
    cold
    /usr/bin/time -f '%e %M' -o "$work/time" "$@" >/dev/null 2>"$work/log" ||
        { cat "$work/log"; exit 1; }
    seconds=$(cut -d' ' -f1 "$work/time")
    peak=$(cut -d' ' -f2 "$work/time")
}

"$build/weightward" key new signing --out "$work/me" --no-passphrase -q
"$build/weightward" key new lock --out "$work/lock" --no-passphrase -q
for size in 0.5B 1.5B; do
    "$build/make_model" "$size" "$work/model"
    echo "$size: $(du -sm "$work/model" | cut -f1) MB"
    printf '%5s %7s %6s %6s %7s %8s %13s %8s %10s\n' round cp+sync cp lock unlock lock/cp lock/cp+sync lockMiB unlockMiB
    for round in $(seq "$rounds"); do
        timed sh -c "cp -r '$work/model' '$work/copy' && sync '$work/copy/model.safetensors'"
        cp_sync=$seconds
        rm -rf "$work/copy"
        timed cp -r "$work/model" "$work/copy"
        cp=$seconds
        rm -rf "$work/copy"
        timed "$build/weightward" lock "$work/model" "$work/locked" --key "$work/lock" \
            --sign "$work/me.key"
        lock=$seconds
        lock_peak=$peak
        timed "$build/weightward" unlock "$work/locked" "$work/back" --key "$work/lock"
        printf '%5s %7s %6s %6s %7s %8s %13s %8s %10s\n' "$round" "$cp_sync" "$cp" "$lock" \
            "$seconds" "$(awk "BEGIN{printf \"%.2f\", $lock/$cp}")" \
            "$(awk "BEGIN{printf \"%.2f\", $lock/$cp_sync}")" $((lock_peak / 1024)) $((peak / 1024))
        cmp "$work/model/model.safetensors" "$work/back/model.safetensors"
        rm -rf "$work/locked" "$work/back"
    done
    rm -rf "$work/model"
done
