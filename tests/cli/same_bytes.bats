#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
load helper

@test "merges, a lock and findings have the bytes that they had on other machines" {
    sh "$BATS_TEST_DIRNAME/same_bytes.sh" "$WW" "$(realpath "$BATS_TEST_DIRNAME/../vectors")" 3 >digests
    diff "$BATS_TEST_DIRNAME/../vectors/same-bytes.sha256" digests || {
        # What was found tells a new member from a number that moved.
        cat findings
        false
    }
}
