#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# stream_vs_cp.sh BUILD FOLDER [ROUNDS [MIB]]: the executor (every matrix through a kernel
# that permutes rows and columns, source digest, output digest, tensor tree, flushed to
# the disk) against `cp -r` of the same files, paired round by round. The page cache is
# dropped where that is allowed. FOLDER needs three times MIB (3000) and is left clean.
set -eu
build=$1
folder=$2
rounds=${3:-3}
mib=${4:-3000}
work=$(mktemp -d "$folder/ww-bench.XXXXXX")
trap 'rm -rf "$work"' EXIT

cold() {
    sync
    echo 3 2>/dev/null >/proc/sys/vm/drop_caches || echo "(page cache not dropped)"
}
now() {
    date +%s.%N
}

"$build/bench_stream" make "$work" "$mib"
for round in $(seq "$rounds"); do
    cold
    a=$(now)
    cp -r "$work/src" "$work/copy"
    b=$(now)
    rm -rf "$work/copy"
    cold
    c=$(now)
    "$build/bench_stream" run "$work"
    d=$(now)
    rm -rf "$work/out"
    echo "$round $a $b $c $d" |
        awk '{printf "round %s: cp %.2f s, stream %.2f s, ratio %.2f\n", $1, $3-$2, $5-$4,
              ($5-$4)/($3-$2)}'
done
