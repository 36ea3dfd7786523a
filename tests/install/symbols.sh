#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# symbols.sh LIBRARY: the committed version script is what the public headers say, and the
# library exports exactly that, each function under the version's node.
set -eu
library=$1
source=$(cd "$(dirname "$0")/../.." && pwd)
map=$source/src/libweightward.map
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT INT TERM

"$source/tools/dev/symbols" >"$work/map"
if ! diff -u "$map" "$work/map"; then
    echo "the headers changed: tools/dev/symbols > src/libweightward.map"
    exit 1
fi

# The comparison sees one function more, and refuses one without WW_API.
cp "$source"/include/weightward/*.h "$work"
echo 'WW_API int ww_one_more(void);' >>"$work/run.h"
"$source/tools/dev/symbols" "$work" >"$work/more"
diff "$map" "$work/more" >"$work/diff" && exit 1
[ "$(grep '^>' "$work/diff")" = ">     ww_one_more;" ]
echo 'int ww_not_marked(void);' >>"$work/run.h"
if "$source/tools/dev/symbols" "$work" >/dev/null 2>&1; then
    echo "a function without WW_API went unseen"
    exit 1
fi

node=$(sed -n 's/^\(WEIGHTWARD_[0-9.]*\) {$/\1/p' "$map")
sed -n "s/^    \(ww_.*\);\$/\1@@$node/p" "$map" | LC_ALL=C sort >"$work/want"
[ -s "$work/want" ]
"${NM:-nm}" -D --defined-only "$library" | sed -n "s/^[0-9a-f]* [^A] //p" |
    LC_ALL=C sort >"$work/got"
if ! diff -u "$work/want" "$work/got"; then
    echo "'$library' does not export what the headers promise"
    exit 1
fi
echo "$(wc -l <"$work/want") functions under $node"
