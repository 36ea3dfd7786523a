#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# sign_vs_openssl.sh BUILD FOLDER [ROUNDS]: `weightward sign` of a 1 GB folder against
# `openssl dgst -sha256` over the same bytes, warm cache, paired; and the start-up time.
# SHARDS=N: the weight file under N names, so that there are as many files to hash.
set -eu
build=$1
folder=$2
rounds=${3:-5}
work=$(mktemp -d "$folder/ww-bench.XXXXXX")
trap 'rm -rf "$work"' EXIT
now() {
    date +%s.%N
}
"$build/weightward" key new signing --out "$work/me" --no-passphrase -q
"$build/make_model" 0.5B "$work/model"
for i in $(seq 2 "${SHARDS:-1}"); do
    ln "$work/model/model.safetensors" "$work/model/model-$i.safetensors"
done
cat "$work/model/"* >/dev/null
for round in $(seq "$rounds"); do
    a=$(now)
    openssl dgst -sha256 "$work/model/"* >/dev/null
    b=$(now)
    /usr/bin/time -f "%U %S" -o "$work/cpu" \
        "$build/weightward" sign "$work/model" --key "$work/me.key" --replace -q
    c=$(now)
    rm -f "$work/model/model.sig"
    echo "$round $a $b $c $(cat "$work/cpu")" | awk '{
        printf "round %s: openssl %.3f s, sign %.3f s (CPU %.2f + %.2f), ratio %.2f\n",
        $1, $3-$2, $4-$3, $5, $6, ($4-$3)/($3-$2)}'
done
a=$(now)
for _ in $(seq 100); do
    "$build/weightward" --version >/dev/null
done
b=$(now)
echo "$a $b" | awk '{printf "start-up: %.2f ms (mean of 100)\n", ($2-$1)*10}'
