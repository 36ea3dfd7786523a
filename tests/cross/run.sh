#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The chunk decoders on another processor: cross-compiled for aarch64, run by qemu over
# stored chunks of every form. What they decode has the stored digest, and is what this
# machine decodes with vector instructions.
#
#   run.sh [make]    make: write the stored chunks and their digest anew
set -eu
cd "$(dirname "$0")/../.."

vectors=tests/vectors/chunks
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
sources="tests/cross/chunks.c src/codec/adaptive.c src/codec/rans.c src/codec/rans_lanes.c
    src/codec/rans_lanes_512.c src/codec/rans_lanes_x86.c
    src/rmm/chunk.c src/rmm/chunk_adaptive.c src/rmm/chunk_order.c src/rmm/chunk_split.c src/rmm/chunk_text.c src/rmm/chunk_folded.c
    src/rmm/chunk_own.c src/rmm/chunk_few.c src/rmm/chunk_dense.c src/rmm/chunk_narrow.c src/rmm/rank_predict.c
    src/rmm/shared.c
    src/la/exact_gemm_f32.c src/model/convert.c src/model/recode.c
    src/model/dtype.c src/util/alloc.c src/util/buf.c
    src/util/error.c src/util/fail.c src/util/fault.c src/util/shown.c src/util/str.c"
# What vector instructions may hash on their way, here alone.
digests="src/crypto/sha.c src/crypto/sha_x86.c src/crypto/hash.c src/crypto/ossl.c"
flags="-std=c11 -O2 -D_GNU_SOURCE -ffp-contract=off -fno-strict-aliasing
    -Iinclude -Isrc -Itests/support"

# shellcheck disable=SC2086
cc $flags -o "$work/here" $sources $digests -lcrypto -lm
if [ "${1:-}" = make ]; then
    mkdir -p "$vectors"
    "$work/here" make "$vectors/chunks.bin"
    "$work/here" decode "$vectors/chunks.bin" | sha256sum | cut -d' ' -f1 >"$vectors/sha256"
fi
want=$(cat "$vectors/sha256")
# shellcheck disable=SC2086
aarch64-linux-gnu-gcc $flags -static -o "$work/there" $sources -lm

# NAME COMMAND...
check() {
    name=$1
    shift
    "$@" decode "$vectors/chunks.bin" >"$work/out" || { echo "$name: a chunk fails"; exit 1; }
    got=$(sha256sum <"$work/out" | cut -d' ' -f1)
    [ "$got" = "$want" ] || { echo "$name: digest $got, expected $want"; exit 1; }
    echo "$name: $(wc -c <"$work/out") bytes decoded, sha256 $got"
}
check "this machine" "$work/here"
check aarch64 qemu-aarch64 "$work/there"
