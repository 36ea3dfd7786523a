#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The guides, run as they are printed: blocks of sh are the commands, lines of the text blocks
# behind them must be said in that order, '...' standing for anything.
bats_require_minimum_version 1.5.0
load helper

ROOT=$BATS_TEST_DIRNAME/../..

# blocks KIND FILE: the lines of all fenced blocks of a kind.
blocks() {
    awk -v kind="$1" '/^```/ { on = $0 == "```" kind; next } on' "$2"
}

follow() {
    local guide=$ROOT/docs/guides/$1.md pattern said line
    blocks sh "$guide" | sed "s|\$PWD/build/release|$WW_BIN|" >commands
    (cd "$ROOT" && TMPDIR=$BATS_TEST_TMPDIR bash -eu "$BATS_TEST_TMPDIR/commands" 2>&1) >said
    [ "$(blocks text "$guide" | wc -l)" -gt 5 ]
    exec 9<said
    while IFS= read -r line; do
        # Everything is itself but the three dots.
        pattern=$(sed 's/[][*?\\]/\\&/g; s/\.\.\./*/g' <<<"$line")
        said=
        while IFS= read -r said <&9; do
            # shellcheck disable=SC2053
            [[ $said == $pattern ]] && break
        done
        # shellcheck disable=SC2053
        if ! [[ $said == $pattern ]]; then
            echo "not said, or not at its place: $line"
            cat said
            return 1
        fi
    done < <(blocks text "$guide")
    exec 9<&-
}

@test "the publisher's guide" {
    follow publisher
}

@test "the auditor's guide" {
    follow auditor
}

@test "the guide to handing out fine-tunes" {
    follow fine-tunes
}
