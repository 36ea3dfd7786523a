#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# seal_vs_openssl.sh BUILD FOLDER [ROUNDS]: wall and CPU time of lock --level sealed and of
# unlocking, against `openssl enc -aes-256-ctr` of the same weight file, with and without a
# sync behind it (sealing always syncs), cold and warm, paired round by round. FOLDER needs
# 4 GB and is left clean. Needs root to drop the page cache.
set -eu
build=$1
folder=$2
rounds=${3:-3}
work=$(mktemp -d "$folder/ww-bench.XXXXXX")
trap 'rm -rf "$work"' EXIT
key=000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f

# timed COMMAND...: seconds into the variables wall and cpu
timed() {
    sync
    [ "$state" = warm ] || echo 3 >/proc/sys/vm/drop_caches
    [ "$state" = cold ] || cat "$read" >/dev/null
    /usr/bin/time -f '%e %U %S' -o "$work/time" "$@" >/dev/null 2>"$work/log" ||
        { cat "$work/log"; exit 1; }
    wall=$(cut -d' ' -f1 "$work/time")
    cpu=$(awk '{print $2 + $3}' "$work/time")
}
enc="openssl enc -aes-256-ctr -K $key -iv 00000000000000000000000000000000"

"$build/weightward" key new recipient --out "$work/r" --no-passphrase -q
"$build/make_model" 0.5B "$work/model"
weights=$work/model/model.safetensors
echo "$(du -m "$weights" | cut -f1) MB, $(nproc) CPUs, load $(cut -d' ' -f1 /proc/loadavg)"
printf '%5s %5s | %6s %5s | %8s | %6s %5s | %6s %5s | %9s %14s\n' state round enc cpu enc+sync \
    seal cpu unseal cpu enc/seal enc+sync/seal
for state in cold warm; do
    for round in $(seq "$rounds"); do
        read=$weights
        timed sh -c "$enc -in $weights -out $work/enc"
        enc_wall=$wall enc_cpu=$cpu
        rm -f "$work/enc"
        timed sh -c "$enc -in $weights -out $work/enc && sync $work/enc"
        sync_wall=$wall
        rm -f "$work/enc"
        timed "$build/weightward" lock "$work/model" "$work/sealed" --level sealed \
            --to "$work/r.pub"
        seal_wall=$wall seal_cpu=$cpu
        read=$work/sealed/model.safetensors.sealed
        timed "$build/weightward" unlock "$work/sealed" "$work/back" --open-with "$work/r.key"
        cmp "$weights" "$work/back/model.safetensors"
        rm -rf "$work/sealed" "$work/back"
        printf '%5s %5s | %6s %5s | %8s | %6s %5s | %6s %5s | %9s %14s\n' "$state" "$round" \
            "$enc_wall" "$enc_cpu" "$sync_wall" "$seal_wall" "$seal_cpu" "$wall" "$cpu" \
            "$(awk "BEGIN{printf \"%.2f\", $enc_wall/$seal_wall}")" \
            "$(awk "BEGIN{printf \"%.2f\", $sync_wall/$seal_wall}")"
    done
done
