#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The library's page is clean mdoc, and the page check of tools/dev/check sees a code that is
# missing, one that does not exist and one with another number.
set -eu
source=$(cd "$(dirname "$0")/../.." && pwd)
page=$source/docs/man/libweightward.3
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT INT TERM

mandoc -T lint -W warning "$page"

mkdir -p "$work/tools/dev" "$work/docs/man" "$work/include/weightward"
cp "$source/tools/dev/check" "$work/tools/dev"
cp "$source/include/weightward/error.h" "$work/include/weightward"
says() {
    sed "$2" "$page" >"$work/docs/man/libweightward.3"
    python3 - "$work" >"$work/out" <<'CHECK'
import importlib.machinery
import importlib.util
import sys
sys.dont_write_bytecode = True
loader = importlib.machinery.SourceFileLoader("check", sys.argv[1] + "/tools/dev/check")
check = importlib.util.module_from_spec(importlib.util.spec_from_loader("check", loader))
loader.exec_module(check)
check.check_error_page()
print("\n".join(check.breaches))
CHECK
    if [ "$(cat "$work/out")" != "$1" ]; then
        echo "want: $1"
        echo "got:  $(cat "$work/out")"
        exit 1
    fi
}
at=docs/man/libweightward.3:1:
says "" ""
says "$at WW_E_JSON (201) is not described" "/^\.It Dv WW_E_JSON /d"
says "$at WW_E_JSON (201) is not described
$at WW_E_JSON (299) does not exist" "s/WW_E_JSON No (201)/WW_E_JSON No (299)/"
says "$at WW_E_JSON (201) is not described
$at WW_E_JSUN (201) does not exist" "s/WW_E_JSON No/WW_E_JSUN No/"
