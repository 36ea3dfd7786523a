#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# dense_lock.sh BUILD FOLDER MODEL...: what a dense lock costs: bits per mixed weight, change
# of the output, CPU seconds and peak memory of lock and unlock beside those of an exact lock.
# The synthetic 0.5B model is made in FOLDER (2 GB, left clean); MODEL are further folders.
set -eu
build=$1
folder=$2
shift 2
work=$(mktemp -d "$folder/ww-dense.XXXXXX")
trap 'rm -rf "$work"' EXIT
ww=$build/weightward
"$ww" key new lock --out "$work/lock" --no-passphrase -q
"$build/make_model" 0.5B "$work/0.5B"

# timed COMMAND...: CPU seconds and peak MiB
timed() {
    /usr/bin/time -f '%U %S %M' -o "$work/time" "$@" >"$work/answer" 2>"$work/log" ||
        { cat "$work/log"; exit 1; }
    awk '{ printf "%.1f s CPU, %d MiB", $1 + $2, $3 / 1024 }' "$work/time"
}
for model in "$work/0.5B" "$@"; do
    echo "$(basename "$model")"
    echo "  exact: $(timed "$ww" lock "$model" "$work/out" --key "$work/lock" -q)"
    rm -rf "$work/out"
    for law in "" "--condition 4"; do
        # shellcheck disable=SC2086
        cost=$(timed "$ww" lock "$model" "$work/out" --key "$work/lock" --level dense --json -q $law)
        jq -r '"  dense \(.dense.law): \(.dense.weights) weights, \(.dense.bits_per_weight * 100 |
               round / 100) bits each; projections change by \(.dense.projection_error), blocks by
               \(.dense.output_change) (\(.dense.blocks_run) run)"' "$work/answer" | tr -s ' \n' ' '
        echo
        echo "    lock $cost"
        echo "    unlock $(timed "$ww" unlock "$work/out" "$work/back" --key "$work/lock" -q)"
        diff -r "$model" "$work/back" && echo "    every byte came back"
        rm -rf "$work/out" "$work/back"
    done
done
