#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Policies about what a model was made of: grandparent -> parent -> the model at hand.
bats_require_minimum_version 1.5.0
load helper

# a and b are origins of 'owner' -> first is a merge of both -> second is one of first and b,
# locked is a lock of it. Made once: every test works on a copy.
family() {
    if [ ! -e "$BATS_FILE_TMPDIR/made" ]; then
        (cd "$BATS_FILE_TMPDIR" && build_family && touch made)
    fi
    cp -r "$BATS_FILE_TMPDIR"/{owner,partner}.{key,pub} "$BATS_FILE_TMPDIR"/{lock,root.json} .
    cp -r "$BATS_FILE_TMPDIR"/{root.signed.json,policy.json,policy.signed.json,*.yml} .
    cp -r "$BATS_FILE_TMPDIR"/{second,locked,b,other} .
    chmod -R u+w .
    A=$(cat "$BATS_FILE_TMPDIR/a.root")
    B=$(cat "$BATS_FILE_TMPDIR/b.root")
}
recipe() {
    printf 'merge_method: linear\nmodels:\n'
    printf '  - {model: %s, parameters: {weight: 0.5}}\n' "$@"
    printf 'dtype: float32\nout_dtype: bfloat16\n'
}
# policy VERSION [RULE]: permits everything in the lineages of a and b.
policy() {
    jq -n --arg v "$1" --arg a "$A" --arg b "$B" --argjson more "${2:-[]}" '
        {type: "weightward.policy/1", id: "family", version: $v,
         issued: "2026-01-01T00:00:00Z", expires: "2099-01-01T00:00:00Z",
         rules: ([{id: "all", effect: "permit", subjects: ["anyone"],
                   actions: ["lock", "unlock", "merge", "extract", "redistribute"],
                   resources: ["lineage:sha256:" + $a, "lineage:sha256:" + $b]}] + $more)}'
}
tensor_root() {
    "$WW" verify "$1" --key "$2" --json -q | jq -r .tensor_root
}
build_family() {
    for k in owner partner; do
        "$WW" key new signing --out "$k" --no-passphrase -q
    done
    "$WW" key new lock --out lock --no-passphrase -q
    cp -r "$AMBER" a
    cp -r "$AMBER/../expert-caesar" b
    cp -r "$AMBER/../base" other
    chmod -R u+w .
    for m in a b; do
        printf -- '---\nlicense: mit\n---\n# %s\n' "$m" >"$m/README.md"
        "$WW" sign "$m" --key owner.key --tensors -q
        tensor_root "$m" owner.pub >"$m.root"
        rm -r "$m/attestations" "$m/model.sig"
    done
    A=$(cat a.root)
    B=$(cat b.root)
    policy 1 >policy.json
    "$WW" policy sign policy.json --key owner.key -q
    make_root root.json 1 1 owner partner policy.json
    "$WW" policy sign root.json --key owner.key -q
    for m in a b; do
        "$WW" policy refer "$m" policy.signed.json -q
        "$WW" sign "$m" --key owner.key --tensors --origin -q
    done
    "$WW" sign other --key owner.key --tensors --origin -q
    recipe a b >first.yml
    recipe first b >second.yml
    recipe second b >third.yml
    "$WW" merge first.yml first --sign partner.key "${ROOT[@]}" -q
    "$WW" merge second.yml second --sign partner.key "${ROOT[@]}" -q
    "$WW" lock second locked --key lock --sign owner.key "${ROOT[@]}" -q
}
ROOT=(--policy-root root.signed.json --policy policy.signed.json)
# next VERSION POLICY [REVOKED]: a root that follows.
next() {
    make_root "root$1.json" "$1" 1 owner partner "$2" "${3:-[]}"
    "$WW" policy sign "root$1.json" --key owner.key -q
}
revoked() {
    printf '[{"kind":"%s","id":"%s","at":"2026-01-01T00:00:00Z","why":"test"}]' "$1" "$2"
}
payload() {
    jq -r .dsseEnvelope.payload "$1" | base64 -d
}

@test "a lineage that is proven to its origins is permitted, by rules about the grandparent" {
    family
    payload locked/attestations/decision.sigstore.json |
        jq -e '.predicate.weightward_decision.rules == ["all"]'
    "$WW" unlock locked open --key lock "${ROOT[@]}" --as partner.key -q
    # What was decided about the merge came back with it; this decision is another.
    cmp second/attestations/decision.sigstore.json open/attestations/decision.sigstore.json
    payload open/attestations/unlock-decision.sigstore.json |
        jq -e '.predicate.weightward_decision.action == "unlock"'
    "$WW" merge third.yml third --sign partner.key "${ROOT[@]}" -q
    # What is made of a model that asks for policies is asked about as well.
    refused 4 "asks for policies" "$WW" merge third.yml out -q
    refused 4 "asks for policies" "$WW" lock second out --key lock -q
}

@test "a revoked grandparent denies merge, lock, unlock and extract, and is named" {
    family
    next 2 policy.json "$(revoked model "$A")"
    THEN=("${ROOT[@]}" --policy-root root2.signed.json --as owner.key -q)
    refused 1 "merge '.*second', made of 'a': revoked" "$WW" merge third.yml out "${THEN[@]}"
    payload out.decision.sigstore.json | jq -e --arg a "$A" '
        .predicate.verificationResult == "FAILED" and
        .predicate.weightward_decision.model == {name: "a", tensor_root: $a}'
    refused 1 "lock 'second', made of 'a': revoked" \
        "$WW" lock second out2 --key lock "${THEN[@]}"
    refused 1 "unlock 'locked', made of 'a': revoked" \
        "$WW" unlock locked out3 --key lock "${THEN[@]}"
    refused 1 "extract 'second', made of 'a': revoked" \
        "$WW" extract b second out4 "${THEN[@]}"
    nothing_written out
    # A model that was not made of it is not touched.
    "$WW" lock b out5 --key lock --sign owner.key "${THEN[@]}"
}

@test "a revoked signer or statement of an ancestor denies" {
    family
    next 2 policy.json "$(revoked key "$("$WW" key show partner.pub --json | jq -r .id)")"
    refused 1 "made of 'first': revoked|'locked', made of 'second': revoked" \
        "$WW" unlock locked out --key lock "${ROOT[@]}" --policy-root root2.signed.json \
        --as owner.key -q
    statement=$("$WW" verify locked --chain --key owner.pub --key partner.pub --json |
        jq -r '.chain[] | select(.name == "first") | .evidence_sha256')
    rm root2.*
    next 2 policy.json "$(revoked attestation "$statement")"
    refused 1 "made of 'first': revoked" "$WW" unlock locked out --key lock "${ROOT[@]}" \
        --policy-root root2.signed.json --as owner.key -q
}

@test "a forbid of a grandparent denies by its rule" {
    family
    policy 2 "[{\"id\": \"no-a\", \"effect\": \"forbid\", \"subjects\": [\"anyone\"],
        \"actions\": [\"merge\"], \"resources\": [\"model:sha256:$A\"]}]" >policy2.json
    "$WW" policy sign policy2.json --key owner.key -q
    next 2 policy2.json
    THEN=(--policy-root root.signed.json --policy-root root2.signed.json
        --policy policy2.signed.json --as owner.key -q)
    refused 1 "made of 'a': forbidden by rule no-a" "$WW" merge third.yml out "${THEN[@]}"
    "$WW" lock second out2 --key lock --sign owner.key "${THEN[@]}"
}

@test "evidence of an ancestor that is missing, changed or of a stranger denies" {
    family
    ask() { "$WW" lock "$1" out --key lock "${ROOT[@]}" --as owner.key -q; }
    statement=$("$WW" verify second --chain --key owner.pub --key partner.pub --json |
        jq -r '.chain[] | select(.name == "a") | .evidence_sha256')
    grandparent=attestations/ancestors/$statement.sigstore.json
    cp -r second cut
    rm "cut/$grandparent"
    refused 4 "lineage-unknown.*ancestor 'a': its evidence .* missing" ask cut
    cp -r second cut2
    rm cut2/attestations/ancestors/*.policy.json
    refused 4 "lineage-unknown.*ancestor 'a': its card or policy reference" ask cut2
    cp -r second changed
    flip "changed/$grandparent" 200
    refused 1 "ancestor 'a': its evidence .* is not what its name says" ask changed
    cp -r second bare
    rm bare/attestations/provenance.sigstore.json
    refused 4 "lineage-unknown.*nothing signed says" ask bare
    # Signed by a key that the root does not know.
    "$WW" key new signing --out stranger --no-passphrase -q
    "$WW" sign other --key stranger.key --tensors --origin --replace -q
    recipe other b >mixed.yml
    "$WW" merge mixed.yml mixed --sign partner.key -q 2>&1 | grep -q "asks for policies"
    rm b/weightward-policy.json b/model.sig -r b/attestations
    "$WW" sign b --key owner.key --tensors --origin -q
    "$WW" merge mixed.yml mixed --sign partner.key -q
    refused 4 "lineage-unknown.*ancestor 'other': .*does not let sign" ask mixed
    nothing_written out
}

@test "a policy older than a grandparent asks for is refused, whoever kept no state" {
    family
    cp policy.signed.json policy1.signed.json
    policy 2 >policy2.json
    "$WW" policy sign policy2.json --key owner.key -q
    rm -r b/attestations b/model.sig b/weightward-policy.json
    "$WW" policy refer b policy2.signed.json -q
    "$WW" sign b --key owner.key --tensors --origin -q
    next 2 policy2.json
    NEW=(--policy-root root.signed.json --policy-root root2.signed.json
        --policy policy2.signed.json)
    recipe second b >mixed.yml
    "$WW" merge mixed.yml mixed --sign partner.key "${NEW[@]}" -q
    refused 4 "asks for policy 'family' of version 2 or later" \
        "$WW" lock mixed out --key lock "${ROOT[@]}" --as owner.key -q
    "$WW" lock mixed out --key lock "${NEW[@]}" --sign owner.key -q
}

@test "an adapter is asked about like a model, as it is written" {
    family
    "$WW" extract b second ad --rank 4 --sign partner.key "${ROOT[@]}" -q
    "$WW" verify ad --chain --key owner.pub --key partner.pub -q
    AD=$(tensor_root ad partner.pub)
    refused 4 "'ad' asks for policies" "$WW" rmm pack ad.pkg ad=ad --exact -q
    "$WW" rmm pack ad.pkg ad=ad --exact --sign partner.key "${ROOT[@]}" -q
    refused 1 "asks for policies" "$WW" rmm rows ad.pkg out --directions 1
    refused 4 "asks for policies" "$WW" rmm mix ad.pkg out --weight ad=1
    nothing_written out
    # What adapters share tells of all of them: made where each of them is permitted, and
    # read alone by nobody, also after one that asks was dropped.
    cp -r ad twin
    "$WW" extract "$AMBER/../base" "$AMBER" free --rank 4 --portable -q
    GROUP=(--codec rows --directions 1 --exact --sign partner.key -q)
    refused 4 "'ad' asks for policies" "$WW" rmm pack g.pkg free=free ad=ad "${GROUP[@]}"
    refused 4 "evidence of 'free' is missing" "$WW" rmm pack g.pkg ad=ad free=free \
        "${GROUP[@]}" "${ROOT[@]}" --decision no.json
    nothing_written g.pkg
    rm no.json
    "$WW" rmm pack g.pkg ad=ad twin=twin "${GROUP[@]}" "${ROOT[@]}"
    "$WW" rmm verify g.pkg -q
    "$WW" verify g.pkg --chain --key owner.pub --key partner.pub -q
    "$WW" rmm drop g.pkg twin --sign partner.key -q
    refused 4 "'basis' asks for policies" "$WW" rmm unpack g.pkg basis out
    refused 1 "'basis' asks for policies" "$WW" rmm unpack g.pkg basis - --tensor any
    refused 4 "evidence of 'basis' is missing" "$WW" rmm unpack g.pkg basis out \
        "${ROOT[@]}" --as partner.key --decision no.json -q
    refused 4 "'ad' asks for policies" "$WW" rmm unpack g.pkg ad out
    nothing_written out
    "$WW" rmm unpack g.pkg ad out "${ROOT[@]}" --as partner.key -q
    rm out/attestations/unpack-decision.sigstore.json
    diff -r ad out
    rm -r out no.json
    recipe b+ad b >with.yml
    "$WW" merge with.yml made --sign partner.key "${ROOT[@]}" -q
    payload made/attestations/decision.sigstore.json |
        jq -e --arg ad "$AD" '[.subject[].digest.sha256] | index($ad)'
    next 2 policy.json "$(revoked model "$AD")"
    refused 1 "redistribute 'ad': revoked" "$WW" rmm pack h.pkg ad=ad twin=twin \
        "${GROUP[@]}" "${ROOT[@]}" --policy-root root2.signed.json
    nothing_written h.pkg
    recipe made b >next.yml
    refused 1 "revoked" "$WW" merge with.yml out "${ROOT[@]}" \
        --policy-root root2.signed.json --as owner.key -q
    refused 1 "merge '.*made', made of 'ad': revoked" "$WW" merge next.yml out \
        "${ROOT[@]}" --policy-root root2.signed.json --as owner.key -q
    # One byte of it, and the signature is not about it any more.
    flip ad/adapter_model.safetensors 9000
    refused 1 "adapter_model.safetensors" "$WW" merge with.yml out "${ROOT[@]}" \
        --as owner.key -q
    nothing_written out
}

@test "a sealed model is asked about by what lies in it" {
    family
    "$WW" key new recipient --out al --no-passphrase -q
    "$WW" lock second sealed --level sealed --to al.pub --sign owner.key "${ROOT[@]}" -q
    "$WW" unlock sealed open --open-with al.key "${ROOT[@]}" --as partner.key -q
    cmp second/model.safetensors open/model.safetensors
    payload open/attestations/unlock-decision.sigstore.json | jq -e --arg r \
        "$(tensor_root second partner.pub)" '.subject[1].digest.sha256 == $r and
        (.predicate.weightward_decision | .action == "unlock" and .rules == ["all"])'
    # What does not say which model it is cannot be permitted.
    "$WW" lock second mute --level sealed --to al.pub --sign owner.key --no-lineage \
        "${ROOT[@]}" -q
    refused 4 "no signed tensor statement" "$WW" unlock mute out --open-with al.key \
        "${ROOT[@]}" --as partner.key -q
    next 2 policy.json "$(revoked model "$A")"
    refused 1 "unlock 'sealed', made of 'a': revoked" "$WW" unlock sealed out \
        --open-with al.key "${ROOT[@]}" --policy-root root2.signed.json --as partner.key -q
    nothing_written out
}

@test "a member of a package is asked about before its folder appears" {
    family
    PACK=(p.pkg second=second b=b --exact --base other --sign owner.key -q)
    refused 4 "'second' asks for policies" "$WW" rmm pack "${PACK[@]}"
    nothing_written p.pkg
    "$WW" rmm pack "${PACK[@]}" "${ROOT[@]}"
    payload p.pkg.v1.decision.sigstore.json | jq -e --arg r "$(tensor_root second partner.pub)" '
        (.subject | map(.digest.sha256) | index($r)) and
        (.predicate.verificationResult == "PASSED") and
        (.predicate.weightward_decision.action == "redistribute")'
    refused 4 "second' asks for policies" "$WW" rmm mix p.pkg out --weight second=1 --base other
    refused 4 "'second' asks for policies" "$WW" rmm unpack p.pkg second out --base other
    nothing_written out
    "$WW" rmm unpack p.pkg second out --base other "${ROOT[@]}" --as partner.key -q
    payload out/attestations/unpack-decision.sigstore.json | jq -e --arg r \
        "$(tensor_root second partner.pub)" '.subject[1] == {name: "second",
        digest: {sha256: $r}} and .predicate.weightward_decision.action == "extract"'
    # All that was packed is there as it was, its own decision too.
    rm out/attestations/unpack-decision.sigstore.json
    diff -r second out
    refused 1 "asks for policies" "$WW" rmm unpack p.pkg second - --base other \
        --tensor model.norm.weight
    refused 2 "whole members" "$WW" rmm unpack p.pkg b - --base other \
        --tensor model.norm.weight "${ROOT[@]}" --as partner.key
    next 2 policy.json "$(revoked model "$A")"
    refused 1 "redistribute 'second', made of 'a': revoked" \
        "$WW" rmm add p.pkg again=second --exact --base other --sign owner.key "${ROOT[@]}" \
        --policy-root root2.signed.json --decision no.json -q
    payload no.json | jq -e '.predicate.weightward_decision.action == "redistribute"'
    "$WW" rmm list p.pkg --json | jq -e '(.members | length) == 2'
    refused 2 "asks no policies" "$WW" rmm drop p.pkg b "${ROOT[@]}" --as owner.key
    # A package is not written when its decision has no place.
    ADD=(rmm add p.pkg again=second --exact --base other --sign owner.key "${ROOT[@]}" -q)
    touch p.pkg.v2.decision.sigstore.json
    refused 4 "v2.decision.sigstore.json' exists" "$WW" "${ADD[@]}"
    refused 4 "'no.json' exists" "$WW" "${ADD[@]}" --decision no.json
    "$WW" rmm list p.pkg --json | jq -e '(.members | length) == 2'
    refused 1 "extract 'second', made of 'a': revoked" "$WW" rmm unpack p.pkg second out2 \
        --base other "${ROOT[@]}" --policy-root root2.signed.json --as partner.key -q
    payload out2.decision.sigstore.json | jq -e '.predicate.verificationResult == "FAILED"'
    nothing_written out2
}

@test "a further recipient of a member is asked about like packing" {
    family
    for k in al bob eve; do
        "$WW" key new recipient --out "$k" --no-passphrase -q
    done
    "$WW" rmm pack p.pkg second=second --exact --base other --to second=al.pub \
        --sign owner.key "${ROOT[@]}" -q
    SHARE=(rmm share p.pkg --to second=bob.pub --open-with al.key --base other -q)
    refused 4 "'second' asks for policies" "$WW" "${SHARE[@]}"
    "$WW" "${SHARE[@]}" "${ROOT[@]}" --as partner.key
    payload p.pkg.v1.share.decision.sigstore.json | jq -e --arg r "$(tensor_root second partner.pub)" '
        (.subject | map(.digest.sha256) | index($r)) and
        (.predicate.weightward_decision.action == "redistribute")'
    [ ! -e p.pkg.members ]
    "$WW" rmm unpack p.pkg second out --base other --open-with bob.key "${ROOT[@]}" \
        --as partner.key -q
    cmp second/model.safetensors out/model.safetensors
    cp p.pkg before
    refused 4 "share.decision.sigstore.json' exists" "$WW" "${SHARE[@]}" "${ROOT[@]}" \
        --as partner.key
    # The next decision has another name, and is there when only some could be let in.
    refused 4 "nobody.pub" "$WW" "${SHARE[@]/bob.pub/eve.pub}" --to second=nobody.pub "${ROOT[@]}" \
        --as partner.key --decision again.json
    payload again.json | jq -e '.predicate.verificationResult == "PASSED"'
    cp p.pkg before
    next 2 policy.json "$(revoked model "$A")"
    refused 1 "redistribute 'second', made of 'a': revoked" "$WW" "${SHARE[@]}" "${ROOT[@]}" \
        --policy-root root2.signed.json --as partner.key --decision no.json
    cmp before p.pkg
    [ ! -e p.pkg.members ]
}

@test "a reversible merge packs its sources, and policies are asked about that too" {
    family
    "$WW" merge third.yml third --reversible p.pkg --sign partner.key "${ROOT[@]}" -q
    payload p.pkg.v1.decision.sigstore.json | jq -e '
        .predicate.verificationResult == "PASSED" and
        .predicate.weightward_decision.action == "redistribute"'
    refused 2 "a request is of one action" "$WW" merge third.yml out --reversible q.pkg \
        --sign partner.key "${ROOT[@]}" --request none
    policy 2 "$(jq -n --arg b "$B" '[{id: "kept", effect: "forbid", subjects: ["anyone"],
        actions: ["redistribute"], resources: ["model:sha256:" + $b]}]')" >policy2.json
    "$WW" policy sign policy2.json --key owner.key -q
    next 2 policy2.json
    THEN=(--policy-root root.signed.json --policy-root root2.signed.json
        --policy policy2.signed.json --sign partner.key -q)
    refused 1 "redistribute .*forbidden" "$WW" merge third.yml out --reversible q.pkg "${THEN[@]}"
    nothing_written out
    nothing_written q.pkg
    "$WW" merge third.yml out "${THEN[@]}"
}

@test "unmerging is asked about like unpacking, and extracting like both" {
    family
    # third is a merge of second and b: second comes back from it, b and a package
    "$WW" merge third.yml third --sign partner.key "${ROOT[@]}" -q
    "$WW" rmm pack p.pkg second=second --exact --merged third --source b --sign owner.key \
        "${ROOT[@]}" -q
    BACK=(p.pkg second out --merged third --source b -q)
    refused 4 "'second' asks for policies" "$WW" rmm unmerge "${BACK[@]}"
    nothing_written out
    "$WW" rmm unmerge "${BACK[@]}" "${ROOT[@]}" --as partner.key
    payload out/attestations/unpack-decision.sigstore.json | jq -e '
        .predicate.verificationResult == "PASSED" and
        .predicate.weightward_decision.action == "extract"'
    rm out/attestations/unpack-decision.sigstore.json
    diff -r second out
    rm -r out
    denied() { # PATTERN COMMAND...: exit 1, and a record that the asker signed
        local pattern=$1
        shift
        refused 1 "$pattern" "$@" --as partner.key --decision no.json -q
        nothing_written out
        [ ! -e out.member ]
        payload no.json | jq -e '.predicateType == "https://slsa.dev/verification_summary/v1"
            and .predicate.verificationResult == "FAILED" and
            .predicate.weightward_decision.action == "extract"'
        openssl base64 -d -A <<<"$(jq -r '.dsseEnvelope.signatures[0].sig' no.json)" >sig
        printf 'DSSEv1 28 application/vnd.in-toto+json %d ' "$(payload no.json | wc -c)" >pae
        payload no.json >>pae
        openssl dgst -sha256 -verify partner.pub -signature sig pae
        rm no.json
    }
    # a policy that permits merging alone, in force under the same root's successor
    policy 2 | jq '.rules[0].actions = ["merge"]' >policy2.json
    "$WW" policy sign policy2.json --key owner.key -q
    next 2 policy2.json
    ONLY=(--policy-root root.signed.json --policy-root root2.signed.json
        --policy policy2.signed.json)
    denied "no-permit" "$WW" rmm unmerge "${BACK[@]}" "${ONLY[@]}"
    denied "no-permit" "$WW" rmm unpack p.pkg second out --merged third --source b "${ONLY[@]}"
    denied "no-permit" "$WW" extract b second out --rank 2 "${ONLY[@]}"
    rm root2.*
    next 2 policy.json "$(revoked model "$A")"
    THEN=("${ROOT[@]}" --policy-root root2.signed.json)
    denied "extract 'second', made of 'a': revoked" "$WW" rmm unmerge "${BACK[@]}" "${THEN[@]}"
    denied "extract 'second', made of 'a': revoked" "$WW" extract b second out --rank 2 \
        "${THEN[@]}"
}

@test "a policy older than one that an ancestor was decided under is refused" {
    family
    policy 2 >policy2.json
    "$WW" policy sign policy2.json --key owner.key -q
    next 2 policy2.json
    NEW=(--policy-root root.signed.json --policy-root root2.signed.json
        --policy policy2.signed.json)
    "$WW" merge third.yml third --sign partner.key "${NEW[@]}" -q
    payload third/attestations/decision.sigstore.json | jq -e '
        .predicate.weightward_decision.policies == [{id: "family", version: "2"}]'
    lock() { "$WW" lock "$1" out --key lock --as owner.key -q "${@:2}"; }
    refused 1 "'family' of version 1 is older than version 2, under which 'third'" \
        lock third "${ROOT[@]}"
    recipe third b >fourth.yml
    "$WW" merge fourth.yml fourth --sign partner.key "${NEW[@]}" -q
    "$WW" verify fourth --chain --key owner.pub --key partner.pub -q
    # Its own record is named by nothing yet; that of its parent is.
    rm fourth/attestations/decision.sigstore.json
    refused 1 "'family' of version 1 is older than version 2" lock fourth "${ROOT[@]}"
    record=$(sha256sum <third/attestations/decision.sigstore.json | cut -d' ' -f1)
    carried=attestations/ancestors/$record.decision.sigstore.json
    cp -r fourth cut
    rm "cut/$carried"
    refused 4 "lineage-unknown.*ancestor 'third': its evidence .*decision.* missing" \
        lock cut "${NEW[@]}"
    refused 4 "link 'third'.*decision.* missing" \
        "$WW" verify cut --chain --key owner.pub --key partner.pub
    cp -r fourth changed
    flip "changed/$carried" 200
    refused 1 "ancestor 'third': .*not what its name says" lock changed "${NEW[@]}"
    nothing_written out
    # A root may revoke a record, as when a thief has raised a version.
    next 3 policy.json "$(revoked attestation "$record")"
    lock fourth --policy-root root.signed.json --policy-root root2.signed.json \
        --policy-root root3.signed.json --policy policy.signed.json
}
