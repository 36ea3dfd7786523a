#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# sign_cache.sh BUILD FOLDER [GIB]: sign a folder with one large (sparse) file, edit its
# README, and sign it again with and without the digest cache.
set -eu
build=$1
folder=$2
gib=${3:-4}
work=$(mktemp -d "$folder/ww-bench.XXXXXX")
trap 'rm -rf "$work"' EXIT
"$build/weightward" key new signing --out "$work/me" --no-passphrase -q
mkdir "$work/model"
truncate -s "${gib}G" "$work/model/model.safetensors"
echo first >"$work/model/README.md"
timed() { # WORDS OPTIONS...
    words=$1
    shift
    a=$(date +%s.%N)
    "$build/weightward" sign "$work/model" --key "$work/me.key" --replace -q "$@"
    b=$(date +%s.%N)
    echo "$a $b" | awk -v words="$words" '{printf "%s: %.3f s\n", words, $2-$1}'
}
sleep 5
timed "first signature of $gib GiB, cache made" --cache "$work/cache"
for round in 1 2 3; do
    echo "edit $round" >"$work/model/README.md"
    timed "README edited, with the cache" --cache "$work/cache"
done
timed "README edited, without it"
"$build/weightward" verify "$work/model" --key "$work/me.pub" -q
