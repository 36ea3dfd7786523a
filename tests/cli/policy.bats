#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# weightward policy: explain and test.

load helper

POLICIES=$BATS_TEST_DIRNAME/../../policies

table() {
    cat >table.json <<EOF
{"type": "weightward.policy-test/1", "roles": {"partner": ["k1"], "owner": ["k2"]},
 "models": {"a": {"root": "00000000000000000000000000000000000000000000000000000000000000aa",
                  "signer": "k2", "tags": ["partner"]}},
 "cases": [{"name": "alone", "requester": "k1", "now": "2026-11-25T00:00:00Z",
            "expect": "$1", "request": "{\"type\":\"weightward.request/1\",\"action\":\"merge\",\"nonce\":\"1\",\"time\":\"2026-11-24T00:00:00Z\",\"output\":{\"locked\":true},\"sources\":[{\"model\":\"sha256:00000000000000000000000000000000000000000000000000000000000000aa\",\"weight\":\"0.5\"}]}"}]}
EOF
}

@test "explain prints what the snapshots hold" {
    for policy in "$POLICIES"/*.json; do
        "$WW" policy explain "$policy" >said
        cmp said "$POLICIES/snapshots/$(basename "$policy" .json).txt"
    done
}

@test "test says what decided, and fails when a case comes out otherwise" {
    table deny
    run "$WW" policy test table.json "$POLICIES/partners-only.json"
    [ "$status" -eq 0 ]
    [[ $output == *"min_sources"* ]]
    table permit
    run "$WW" policy test table.json "$POLICIES/partners-only.json"
    [ "$status" -eq 1 ]
    [[ $output == *WRONG* ]]
    run "$WW" policy test --json -q table.json "$POLICIES/partners-only.json"
    [ "$status" -eq 1 ]
    echo "$output" | jq -e '.schema == "weightward.policy/1" and .wrong == 1 and
        .cases[0].reason == "no-permit" and .cases[0].failed == "min_sources"'
}

@test "a misspelt condition rejects the policy and names the nearest" {
    sed 's/max_weight/max_wieght/' "$POLICIES/partners-only.json" >typo.json
    refused 3 "max_weight" "$WW" policy explain typo.json
}

@test "wrong use is told" {
    refused 2 "explain POLICY" "$WW" policy explain a b c
    refused 4 "nowhere" "$WW" policy explain nowhere.json
}
