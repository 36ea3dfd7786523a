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
    [[ $output == *WRONG*"; expected permit"* ]]
    run "$WW" policy test --json -q table.json "$POLICIES/partners-only.json"
    [ "$status" -eq 1 ]
    echo "$output" | jq -e '.schema == "weightward.policy/1" and .wrong == 1 and
        .cases[0].reason == "no-permit" and .cases[0].failed == "min_sources" and
        .cases[0].expected == "permit"'
    refused 6 "type is 'weightward.policy/1', expected 'weightward.policy-test/1'" \
        "$WW" policy test "$POLICIES/partners-only.json" "$POLICIES/partners-only.json"
}

@test "a licence is the same in any case" {
    local a=$(printf %064d 1) b=$(printf %064d 2)
    jq -n --arg a "$a" --arg b "$b" '{type: "weightward.policy-test/1",
        models: {a: {root: $a, signer: "k", license: "mit", tags: ["open"]},
                 b: {root: $b, signer: "k", license: "gpl-3.0", tags: ["open"]}},
        cases: [{name: "c", requester: "k", now: "2026-11-25T00:00:00Z", expect: "deny",
                 request: ({type: "weightward.request/1", action: "merge", nonce: "1", time: "2026-11-24T00:00:00Z",
                            sources: [{model: "sha256:\($a)"}, {model: "sha256:\($b)"}]} | tojson)}]}' >table.json
    jq '.rules = [{id: "r", effect: "permit", subjects: ["anyone"], actions: ["merge"], resources: ["tag:open"],
                   when: {licenses_denied: ["GPL-3.0"]}}]' "$POLICIES/open-release.json" >p.json
    "$WW" policy test table.json p.json
}

@test "a misspelt condition rejects the policy and names the nearest" {
    sed 's/max_weight/max_wieght/' "$POLICIES/partners-only.json" >typo.json
    refused 3 "max_weight" "$WW" policy explain typo.json
}

@test "wrong use is told" {
    refused 2 "explain POLICY" "$WW" policy explain a b c
    refused 2 "known are" "$WW" policy exlpain a
    refused 2 "--key" "$WW" policy sign x.json
    refused 2 "--root" "$WW" policy check x.json
    refused 2 "does nothing with --root" "$WW" policy explain x.json --root root.json
    refused 4 "nowhere" "$WW" policy explain nowhere.json
}

@test "policies are signed one key after the other and checked under a root" {
    "$WW" key new signing --out k1 --no-passphrase 2>said
    "$WW" key new signing --out k2 --no-passphrase 2>said
    make_root root.json 1 2 k1 k2
    "$WW" policy sign root.json --key k1.key
    refused 1 "by 1 keys" "$WW" policy check --root root.signed.json
    refused 4 "to add a signature, sign that file" "$WW" policy sign root.json --key k2.key
    "$WW" policy sign root.signed.json --key k2.key
    refused 4 "already" "$WW" policy sign root.signed.json --key k2.key
    run "$WW" policy check --root root.signed.json --at 2026-12-01T00:00:00Z
    [ "$status" -eq 0 ]
    [[ $output == *"root version 1, until 2099"* ]]
    sed 's/"issued": "[^"]*"/"issued": "2026-11-01T00:00:00Z"/' "$POLICIES/open-release.json" >p.json
    "$WW" policy sign p.json --key k1.key --out p.signed
    "$WW" policy explain p.signed >a
    "$WW" policy explain p.json >b
    cmp a b
    refused 1 "not named" "$WW" policy check p.signed --root root.signed.json
    make_root root2.json 2 1 k1 k2 p.json
    "$WW" policy sign root2.json --key k1.key
    "$WW" policy sign root2.signed.json --key k2.key
    run "$WW" policy check p.signed --root root.signed.json --root root2.signed.json --state seen --json -q
    [ "$status" -eq 0 ]
    echo "$output" | jq -e '.root.version == "2" and (.files[0].signers | length) == 1'
    [ "$(stat -c %a seen)" = 600 ]
    refused 1 "seen before" "$WW" policy check --root root.signed.json --state seen
    refused 3 "not signed" "$WW" policy check --root p.json
    refused 2 "--at" "$WW" policy check p.signed --root root.signed.json --at tomorrow
}
