#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The library's page is clean mdoc, and tools/dev/check sees what pages lack: a code, a command, a
# merge method or a room that is missing, one that does not exist, one at the wrong place.
set -eu
source=$(cd "$(dirname "$0")/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT INT TERM

mandoc -T lint -W warning "$source/docs/man/libweightward.3"

for file in tools/dev/check tools/dev/layers.txt include/weightward/error.h tools/weightward/main.c \
    src/merge/methods.c docs/merge-methods.md docs/architecture.md docs/man/libweightward.3 \
    docs/man/weightward.1 docs/man/weightward-merge.1; do
    mkdir -p "$work/$(dirname "$file")"
    cp "$source/$file" "$work/$file"
done
# says WANT CHECK PAGE EDIT: what this check says once the page was edited.
says() {
    sed "$4" "$source/$3" >"$work/$3"
    python3 - "$work" "$2" >"$work/out" <<'CHECK'
import importlib.machinery
import importlib.util
import sys
sys.dont_write_bytecode = True
loader = importlib.machinery.SourceFileLoader("check", sys.argv[1] + "/tools/dev/check")
check = importlib.util.module_from_spec(importlib.util.spec_from_loader("check", loader))
loader.exec_module(check)
eval("check." + sys.argv[2])
print("\n".join(check.breaches))
CHECK
    cp "$source/$3" "$work/$3"
    if [ "$(cat "$work/out")" != "$1" ]; then
        echo "want: $1"
        echo "got:  $(cat "$work/out")"
        exit 1
    fi
}
page=docs/man/libweightward.3
codes() { says "$1" "check_error_page()" $page "$2"; }
codes "" ""
codes "$page:1: WW_E_JSON (201) is not described" "/^\.It Dv WW_E_JSON /d"
codes "$page:1: WW_E_JSON (201) is not described
$page:1: WW_E_JSON (299) does not exist" "s/WW_E_JSON No (201)/WW_E_JSON No (299)/"
codes "$page:1: WW_E_JSON (201) is not described
$page:1: WW_E_JSUN (201) does not exist" "s/WW_E_JSON No/WW_E_JSUN No/"

page=docs/man/weightward.1
commands() { says "$1" "check_commands()" $page "$2"; }
commands "" ""
commands "$page:1: command key is not described" "/^\.It Cm key$/d"
commands "$page:1: command evo is not described
$page:1: command key is described twice" "s/^\.It Cm evo$/.It Cm key/"
commands "$page:1: command keys does not exist" "s/^\.It Cm key$/.It Cm key , keys/"
commands "$page:1: weightward-evo(1) is not among the other pages" "s/^\.Xr weightward-evo 1 ,$//"

page=docs/man/weightward-merge.1
says "" "check_methods()" $page ""
says "$page:1: method sce is not described
$page:1: method sze does not exist" "check_methods()" $page "s/ sce ,/ sze ,/"
page=docs/merge-methods.md
says "$page (what is known):1: method sce is not described
$page:1: method sce is not described" "check_methods()" $page "/^| sce |/d"

page=docs/architecture.md
picture() { says "$1" "check_picture(check.layers())" $page "$2"; }
picture "" ""
picture "$page:1: room sign is not in the picture of layers" "/^    sign$/d"
picture "$page:1: room lock is not above attack in the picture of layers
$page:1: room lock is not above merge in the picture of layers
$page:1: room lock is not above trace in the picture of layers" \
    "s/^    trust  lock  seal$/    trust  seal/; s/^    attack /    attack  lock /"
