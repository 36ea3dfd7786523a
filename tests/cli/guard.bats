#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Policies asked by the commands that use models.

load helper

# Two models of 'owner' with a card and an origin, under a root of owner and partner.
# house POLICY-FILE: the policy in force, from the folder of policies.
house() {
    "$WW" key new signing --out owner --no-passphrase -q
    "$WW" key new signing --out partner --no-passphrase -q
    "$WW" key new lock --out lock --no-passphrase -q
    cp "$1" policy.json
    "$WW" policy sign policy.json --key owner.key -q
    make_root root.json 1 1 owner partner policy.json
    "$WW" policy sign root.json --key owner.key -q
    for name in a b; do
        model "$name" partner
    done
    sed "s/rev\$/a/" >recipe.yml <<END
models:
  - model: a
    parameters: {weight: 0.5}
  - model: b
    parameters: {weight: 0.5}
merge_method: linear
dtype: float32
END
}
# model NAME TAG: signed by owner, asks for the policy.
model() {
    cp -r "$AMBER/../expert-$([ "$1" = a ] && echo rev || echo caesar)" "$1"
    chmod -R u+w "$1"
    printf -- '---\nlicense: mit\ntags:\n- %s\n---\n# %s\n' "$2" "$1" >"$1/README.md"
    rm -rf "$1/attestations" "$1/model.sig"
    "$WW" policy refer "$1" policy.signed.json -q
    "$WW" sign "$1" --key owner.key --tensors --origin -q
}
ROOT=(--policy-root root.signed.json --policy policy.signed.json)

@test "a model that asks for policies is not processed without a root" {
    house "$BATS_TEST_DIRNAME/../../policies/partners-only.json"
    refused 4 "asks for policies" "$WW" lock a out --key lock -q
    refused 4 "asks for policies" "$WW" merge recipe.yml out -q
    refused 4 "asks for policies" "$WW" merge recipe.yml out --part 1/2 -q
    refused 2 "'merge --dry-run' does nothing with --policy-root" "$WW" merge recipe.yml --dry-run "${ROOT[@]}" -q
    refused 4 "asks for policies" "$WW" extract a b out -q
    nothing_written out
    # Taking the reference out breaks the signature.
    rm a/weightward-policy.json
    refused 1 "weightward-policy.json" "$WW" lock a out --key lock "${ROOT[@]}" --as owner.key -q
}

@test "partners-only: the owner may lock, partners may merge what stays locked" {
    house "$BATS_TEST_DIRNAME/../../policies/partners-only.json"
    refused 1 "no-permit, no line is about this action, this model .*and who asks" \
        "$WW" lock a out --key lock "${ROOT[@]}" --as partner.key -q
    nothing_written out
    payload() { jq -r .dsseEnvelope.payload "$1" | base64 -d; }
    payload out.decision.sigstore.json | jq -e '
        .predicateType == "https://slsa.dev/verification_summary/v1" and
        .predicate.verificationResult == "FAILED" and .predicate.weightward_decision.reason == "no-permit"'
    for m in a b; do
        "$WW" lock "$m" "locked-$m" --key lock --sign owner.key "${ROOT[@]}" -q
    done
    payload locked-a/attestations/decision.sigstore.json | jq -e '
        .predicate.verificationResult == "PASSED" and .predicate.weightward_decision.rules == ["owner"] and
        (.subject | length) == 2'
    "$WW" verify locked-a --key owner.pub -q
    # Open models: the output would be open.
    refused 1 "output_lock" "$WW" merge recipe.yml out "${ROOT[@]}" --as partner.key \
        --decision no.json -q
    sed -i 's/model: /model: locked-/' recipe.yml
    "$WW" merge recipe.yml merged "${ROOT[@]}" --as partner.key --order-free -q
    payload merged/attestations/decision.sigstore.json | jq -e '
        .predicate.weightward_decision.rules == ["partner-merge"] and .predicate.weightward_decision.must_lock'
    sed -i 's/0.5/0.7/' recipe.yml
    sed -i 's/linear/linear\nparameters: {normalize: false}/' recipe.yml
    refused 1 "max_weight" "$WW" merge recipe.yml out "${ROOT[@]}" --as partner.key \
        --decision no2.json --order-free -q
    # The merge itself has no evidence of its parents that could be walked.
    refused 4 "lineage-unknown|unsigned-source" "$WW" lock merged out --key lock "${ROOT[@]}" \
        --as owner.key --decision no3.json -q
}

@test "unlocking is asked about as well, and a revoked source denies through a lock" {
    house "$BATS_TEST_DIRNAME/../../policies/partners-only.json"
    "$WW" lock a locked --key lock --sign owner.key "${ROOT[@]}" -q
    refused 1 "no-permit" "$WW" unlock locked out --key lock "${ROOT[@]}" --as partner.key -q
    "$WW" unlock locked back --key lock "${ROOT[@]}" --as owner.key -q
    # Where the file that asks is gone, and the evidence of it, nothing asks: it is missed.
    cp -r locked silent
    rm -r silent/weightward-policy.json silent/attestations/provenance* silent/attestations/ancestors
    refused 1 "weightward-policy.json' of the locked model is missing; put the one back .*[0-9a-f]$" \
        "$WW" unlock silent out1 --key lock --weights-only -q
    cmp a/model.safetensors back/model.safetensors
    base=$("$WW" verify a --key owner.pub --json -q | jq -r .tensor_root)
    make_root root2.json 2 1 owner partner policy.json \
        "[{\"kind\":\"model\",\"id\":\"$base\",\"at\":\"2026-01-01T00:00:00Z\"}]"
    "$WW" policy sign root2.json --key owner.key -q
    refused 1 "revoked" "$WW" unlock locked out2 --key lock "${ROOT[@]}" \
        --policy-root root2.signed.json --as owner.key -q
    local asker
    asker=$("$WW" key show partner.pub --json | jq -r .id)
    make_root root3.json 2 1 owner partner policy.json \
        "[{\"kind\":\"key\",\"id\":\"$asker\",\"at\":\"2026-01-01T00:00:00Z\"}]"
    "$WW" policy sign root3.json --key owner.key -q
    refused 1 "revoked, the key of who asks, $asker" "$WW" unlock locked out4 --key lock "${ROOT[@]}" \
        --policy-root root3.signed.json --as partner.key -q
    # Evidence of the ancestor taken away: it cannot be told.
    rm -r locked/attestations/ancestors
    refused 4 "lineage-unknown" "$WW" unlock locked out3 --key lock "${ROOT[@]}" --as owner.key -q
}

@test "a statement of another model by the same signer is not taken for this one's" {
    house "$BATS_TEST_DIRNAME/../../policies/partners-only.json"
    cp b/attestations/tensors.sigstore.json a/attestations/
    "$WW" verify a --key owner.pub -q
    refused 1 "differs from its signed statement" "$WW" lock a out --key lock "${ROOT[@]}" \
        --as owner.key -q
    nothing_written out
}

@test "a policy that the root does not name, and a stranger" {
    house "$BATS_TEST_DIRNAME/../../policies/no-merge-release.json"
    "$WW" key new signing --out stranger --no-passphrase -q
    refused 1 "no-permit" "$WW" lock a out --key lock "${ROOT[@]}" --as stranger.key \
        --decision d1 -q
    cp "$BATS_TEST_DIRNAME/../../policies/open-release.json" open.json
    "$WW" policy sign open.json --key owner.key -q
    refused 1 "not named" "$WW" lock a out --key lock "${ROOT[@]}" --policy open.signed.json \
        --as owner.key -q
    nothing_written out
}

@test "requests and approvals: two people, and not the same one" {
    jq '.rules = [{id: "two", effect: "permit", subjects: ["anyone"], actions: ["lock"],
        resources: ["tag:partner"], when: {approvals: {role: "approver", threshold: "1",
        distinct_from: "requester"}}}]' \
        "$BATS_TEST_DIRNAME/../../policies/partners-only.json" >p.json
    house p.json
    refused 1 "approvals" "$WW" lock a out --key lock "${ROOT[@]}" --as owner.key --decision d1 -q
    refused 3 "action 'sell' is unknown; known are lock" "$WW" policy request sell a --key owner.key --out req -q
    # Of no method it is one for the level that lock has unless told.
    "$WW" policy request lock a --output out --locked --key owner.key --out req -q
    "$WW" policy approve req --key owner.key --out self -q
    "$WW" policy approve req --key partner.key --out other -q
    "$WW" policy check req other --root root.signed.json >said
    grep -q "approval 'other'" said
    with() { "$WW" lock a "$1" --key lock "${ROOT[@]}" --as owner.key --request req -q "${@:2}"; }
    refused 1 "approvals" with out --decision d2
    refused 1 "approvals" with out --approval self --decision d3
    refused 1 "request-does-not-fit.*another output: 'elsewhere', the request says out" \
        with elsewhere --approval other --decision d4
    refused 1 "request-does-not-fit.*another method: 'dense', the request says exact" \
        with out --level dense --approval other --decision d5
    "$WW" policy request lock a --method exact --output out --locked --key partner.key --out req2 -q
    refused 1 "approves another request" "$WW" lock a out --key lock "${ROOT[@]}" --as owner.key \
        --request req2 --approval other -q
    nothing_written out
    with out --approval other
    [ -f out/attestations/decision.sigstore.json ]
}

@test "a signed card that cannot be read takes no tag out of a decision" {
    cp -r "$AMBER/../expert-rev" probe
    chmod -R u+w probe
    "$WW" key new signing --out k --no-passphrase -q
    rm -rf probe/attestations probe/model.sig
    "$WW" sign probe --key k.key --tensors -q
    jq --arg root "$("$WW" verify probe --key k.pub --json -q | jq -r .tensor_root)" '.rules = [
        {id: "all", effect: "permit", subjects: ["anyone"], actions: ["lock"], resources: ["model:sha256:\($root)"]},
        {id: "not", effect: "forbid", subjects: ["anyone"], actions: ["lock"], resources: ["tag:secret"]}]' \
        "$BATS_TEST_DIRNAME/../../policies/partners-only.json" >p.json
    house p.json
    rm -r a
    cp -r probe a
    rm -r a/attestations a/model.sig
    printf -- '---\nlicense: mit\ntags:\n- secret\n---\n' >a/README.md
    "$WW" sign a --key owner.key --tensors --origin -q
    refused 1 "forbidden" "$WW" lock a out --key lock "${ROOT[@]}" --as owner.key --decision d1 -q
    head -c 1100000 /dev/zero | tr '\0' x >>a/README.md
    "$WW" sign a --key owner.key --tensors --origin --replace -q
    refused 3 "README.md' has 11.* bytes, at most" "$WW" lock a out --key lock "${ROOT[@]}" --as owner.key -q
    nothing_written out
}

@test "what is exchanged after it was judged is noticed" {
    house "$BATS_TEST_DIRNAME/../../policies/partners-only.json"
    echo secret >pw
    chmod 600 pw
    for m in a b; do
        "$WW" lock "$m" "sealed-$m" --level sealed --passphrase-file pw --sign owner.key "${ROOT[@]}" -q
    done
    late() {
        for _ in {1..1000}; do ! grep -q "policy: permitted" said || break; sleep 0.02; done
        mv sealed-a aside
        mv sealed-b sealed-a
        cat pw
    }
    : >said
    local rc=0
    "$WW" unlock sealed-a out --passphrase-fd 7 "${ROOT[@]}" --as owner.key 7< <(late) >said 2>&1 || rc=$?
    [ "$rc" = 4 ]
    grep -q "'sealed-a' changed after policies were asked about it" said
    [ ! -e out/attestations/unlock-decision.sigstore.json ]
}

@test "a policy older than a model asks for, or one left out, is not enough" {
    house "$BATS_TEST_DIRNAME/../../policies/partners-only.json"
    refused 4 "not given" "$WW" lock a out --key lock --policy-root root.signed.json \
        --as owner.key -q
    jq '.version = "2"' policy.json >p2.json
    "$WW" policy sign p2.json --key owner.key -q
    cp -r a c
    rm c/weightward-policy.json c/model.sig c/attestations -r
    "$WW" policy refer c p2.signed.json -q
    "$WW" sign c --key owner.key --tensors --origin -q
    refused 4 "version 2 or later" "$WW" lock c out --key lock "${ROOT[@]}" --as owner.key -q
    refused 2 "--as" "$WW" lock a out --key lock "${ROOT[@]}" -q
    refused 3 "not signed" "$WW" lock a out --key lock --policy-root root.json \
        --policy policy.signed.json --as owner.key -q
}
