#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Evidence beside what is one file: packages, from version to version to their members.
bats_require_minimum_version 1.5.0
load helper

# base, rev and caesar are origins of 'owner', locked is a lock of rev; p.pkg holds rev in
# clear and caesar sealed, by 'packer'. Made once: every test works on a copy.
make_package() {
    if [ ! -e "$BATS_FILE_TMPDIR/made" ]; then
        (cd "$BATS_FILE_TMPDIR" && build_package && touch made)
    fi
    cp -r "$BATS_FILE_TMPDIR"/{{owner,packer,ann}.*,p.pkg*,locked,base,caesar} .
    chmod -R u+w .
}
build_package() {
    for k in owner packer; do
        "$WW" key new signing --out "$k" --no-passphrase -q
    done
    "$WW" key new lock --out lock --no-passphrase -q
    "$WW" key new recipient --out ann --no-passphrase -q
    cp -r "$AMBER/../base" base
    cp -r "$AMBER" rev
    cp -r "$AMBER/../expert-caesar" caesar
    chmod -R u+w .
    for m in base rev caesar; do
        rm -rf "$m/attestations" "$m/model.sig"
        printf -- '---\nlicense: mit\n---\n# %s\n' "$m" >"$m/README.md"
        "$WW" sign "$m" --key owner.key --tensors --origin -q
    done
    "$WW" lock rev locked --key lock --sign owner.key -q
    "$WW" rmm pack p.pkg rev=rev caesar=caesar --exact --base base --to caesar=ann.pub \
        --sign packer.key -q
}
KEYS=(--key owner.pub --key packer.pub)
payload() {
    jq -r .dsseEnvelope.payload "$1" | base64 -d
}
OWN=p.pkg.evidence/attestations/provenance.sigstore.json

@test "a package's chain is walked to the origins of its members and its base" {
    make_package
    "$WW" verify p.pkg --chain "${KEYS[@]}" --bom bom.json --report page.html --json >answer
    jq -e '[.chain[] | [.name, .action, .method, .depth, .license]] ==
           [["p.pkg","pack","exact",0,null],["base","origin",null,1,"mit"],
            ["rev","origin",null,1,"mit"],["caesar","unsigned",null,1,null]]' answer
    jq -e '.root_sha256 == $m and .bill_of_materials' --arg m \
        "$("$WW" rmm list p.pkg --json | jq -r .manifest_sha256)" answer
    jq -e '.components | length == 3' bom.json
    grep -q 'p.pkg' page.html
    cmp <(jq -S . p.pkg.evidence/attestations/bom.cdx.json | jq .serialNumber) \
        <(jq .serialNumber bom.json)
    "$VERIFY" p.pkg --chain "${KEYS[@]}" >told
    grep -q "pack 'p.pkg' (exact) of 'base', 'rev', 'caesar'" told
    # every section is a subject; of what is sealed there is nothing to test a guess with
    "$WW" rmm list p.pkg --json >list
    payload "$OWN" | jq -e --slurpfile l list '
        .subject[0] == {name: "p.pkg", digest: {sha256: $l[0].manifest_sha256}} and
        ([.subject[1:][].name] == ["rev", "caesar"]) and
        (.predicate.buildDefinition.resolvedDependencies[2].annotations.files ==
         [{name: "commitment of a sealed member",
           digest: {sha256: $l[0].members[1].commitment}, bytes: $l[0].members[1].files_bytes}])'
    run ! grep -rq "$(sha256sum caesar/model.safetensors | cut -d' ' -f1)" <(payload "$OWN")
    run ! grep -q "$(sha256sum caesar/model.sig | cut -d' ' -f1)" <(payload "$OWN")
}

@test "a package as a folder has the same chain, and nothing else in it is taken for verified" {
    make_package
    "$WW" rmm pack f/ caesar=caesar --exact --base base --folder --sign packer.key -q
    "$WW" rmm add f/ locked=locked --exact --sign packer.key -q
    "$WW" verify f/ --chain "${KEYS[@]}" --json >answer
    jq -e '[.chain[] | [.name, .action, .depth]] ==
           [["f","pack",0],["f version 1","pack",1],["base","origin",2],["caesar","origin",2],
            ["locked","lock",1],["rev","origin",2]]' answer
    jq -e '.root_sha256 == $m and .bill_of_materials' --arg m \
        "$("$WW" rmm list f --json | jq -r .manifest_sha256)" answer
    "$VERIFY" f --chain "${KEYS[@]}" >told
    grep -q "pack 'f' (exact) of 'f version 1', 'locked'" told
    cp caesar/config.json f/
    refused 1 "'config.json' in package 'f' is no part of it" "$VERIFY" f --chain "${KEYS[@]}"
    rm f/config.json
    SECTIONS=(f/[0-9a-f]*)
    flip "${SECTIONS[0]}" 9
    refused 1 "is not what the manifest says" "$VERIFY" f --chain "${KEYS[@]}"
    rm -r f.evidence
    refused 4 "no evidence beside it" "$VERIFY" f/ --chain "${KEYS[@]}"
}

@test "versions of a package are links of a chain, and say which members are locked" {
    make_package
    cp "$OWN" first
    "$WW" rmm add p.pkg locked=locked --exact --sign packer.key -q
    "$WW" rmm drop p.pkg rev --sign packer.key -q
    "$WW" verify p.pkg --chain "${KEYS[@]}" --json >answer
    jq -e '[.chain[] | [.name, .action, .depth]] ==
           [["p.pkg","pack",0],["p.pkg version 2","pack",1],["p.pkg version 1","pack",2],
            ["base","origin",3],["rev","origin",3],["caesar","unsigned",3],
            ["locked","lock",2]]' answer
    jq -e '.chain[6].sources == [4]' answer
    payload "$OWN" | jq -e '.predicate.buildDefinition.externalParameters ==
        {step: "drop", dropped: "rev", version: "3"}'
    second=$(jq -r '.chain[1].evidence_sha256' answer)
    payload "p.pkg.evidence/attestations/ancestors/$second.sigstore.json" | jq -e --arg id \
        "$(payload locked/attestations/tensors.sigstore.json | jq -r .predicate.lock.lock_id)" '
        .predicate.buildDefinition.resolvedDependencies[1].annotations.locked == $id'
    cmp first "p.pkg.evidence/attestations/ancestors/$(sha256sum <first |
        cut -d' ' -f1).sigstore.json"
    # whom a sealed member is opened by changes nothing that was signed
    "$WW" key new recipient --out bob --no-passphrase -q
    "$WW" rmm share p.pkg --to caesar=bob.pub --open-with ann.key -q
    "$WW" verify p.pkg --chain "${KEYS[@]}" -q
}

@test "a package or evidence that was changed, exchanged or lost breaks the chain" {
    make_package
    try() { # STATUS PATTERN
        refused "$1" "$2" "$WW" verify p.pkg --chain "${KEYS[@]}"
        rm -rf p.pkg p.pkg.evidence
        cp -r "$BATS_FILE_TMPDIR"/p.pkg* .
    }
    flip p.pkg 5000
    try 1 "section of member 'rev' is not what"
    flip "$OWN" 60
    try 3 "provenance.sigstore.json"
    rm -r p.pkg.evidence
    try 4 "no evidence beside it"
    rm "$OWN"
    try 4 "no 'attestations/provenance.sigstore.json' beside"
    rm -r p.pkg.evidence/attestations/ancestors
    try 4 "link 'base': its evidence .* missing"
    "$WW" rmm pack q.pkg caesar=caesar --exact --sign packer.key -q
    cp q.pkg.evidence/attestations/provenance.sigstore.json "$OWN"
    try 1 "speaks of a file known by"
    cp q.pkg.evidence/attestations/bom.sigstore.json p.pkg.evidence/attestations/
    try 1 "bill of materials: it tells of another chain"
    "$WW" rmm pack open.pkg caesar=caesar --exact -q
    mv open.pkg p.pkg
    try 1 "is not signed"
    refused 1 "the signature of package .*not given" "$WW" verify p.pkg --chain --key owner.pub
    refused 1 "link 'base': .*not given" "$WW" verify p.pkg --chain --key packer.pub
    refused 2 "nothing of it can be ignored" "$WW" verify p.pkg --chain "${KEYS[@]}" \
        --ignore-unsigned-files
    refused 2 "nothing of it can be ignored" "$WW" verify p.pkg --chain "${KEYS[@]}" \
        --ignore-paths rev
    # evidence of an older version, as a crash leaves it, is not that of the version added to
    cp -r p.pkg.evidence older
    "$WW" rmm add p.pkg again=locked --exact --sign packer.key -q
    rm -r p.pkg.evidence
    mv older p.pkg.evidence
    refused 1 "speaks of a file known by" "$WW" verify p.pkg --chain "${KEYS[@]}"
    "$WW" rmm add p.pkg third=locked --exact --sign packer.key -q
    "$WW" verify p.pkg --chain "${KEYS[@]}" | grep -q "origin of 'p.pkg version 2'"
    cp "$BATS_FILE_TMPDIR"/p.pkg .
    # a package that lost its evidence, and one that never had any, can be added to
    rm -r p.pkg.evidence
    "$WW" rmm add p.pkg locked=locked --exact --sign packer.key -q
    "$WW" verify p.pkg --chain "${KEYS[@]}" | grep -q "origin of 'p.pkg version 1'"
}

@test "what has the digest of a package or a folder and is none is refused" {
    make_package
    read -r at len < <(od -An -td8 -j24 -N16 p.pkg)
    tail -c +$((at + 1)) p.pkg | head -c "$len" >manifest
    cp -r p.pkg.evidence manifest.evidence
    [ "$(sha256sum <manifest | cut -d' ' -f1)" = \
        "$("$WW" rmm list p.pkg --json | jq -r .manifest_sha256)" ]
    refused 1 "speaks of a package, found a plain file" "$WW" verify manifest --chain "${KEYS[@]}"
    # the root of a folder is the digest of its files' digests
    printf '%b' "$(payload base/model.sig | jq -r '.predicate.resources[].digest' |
        tr -d '\n' | sed 's/../\\x&/g')" >digests
    [ "$(sha256sum <digests | cut -d' ' -f1)" = \
        "$(payload base/model.sig | jq -r '.subject[0].digest.sha256')" ]
    mkdir digests.evidence
    cp -r base/attestations digests.evidence/
    refused 1 "speaks of a folder, found a plain file" "$WW" verify digests --chain "${KEYS[@]}"
}

@test "a package whose evidence cannot be written says so" {
    make_package
    : >q.pkg.evidence
    refused 3 "package 'q.pkg' is there, but not its evidence: the evidence of 'q.pkg'" \
        "$WW" rmm pack q.pkg caesar=caesar --exact --sign packer.key -q
    "$WW" rmm verify q.pkg --key packer.pub -q
}

@test "a revoked member breaks the chain of a package under a trust root" {
    make_package
    make_root root.json 1 1 owner packer
    "$WW" policy sign root.json --key owner.key -q
    "$WW" verify p.pkg --chain --root root.signed.json -q
    base=$("$WW" verify base --key owner.pub --json | jq -r .tensor_root)
    make_root root2.json 2 1 owner packer "" \
        "[{\"kind\":\"model\",\"id\":\"$base\",\"at\":\"2026-01-01T00:00:00Z\"}]"
    "$WW" policy sign root2.json --key owner.key -q
    refused 1 "link 'base': this model is revoked" "$WW" verify p.pkg --chain \
        --root root.signed.json --root root2.signed.json
}

@test "how far adapters that share rows are off is stated as it was measured" {
    "$WW" key new signing --out packer --no-passphrase -q
    for m in rev caesar; do
        "$WW" extract "$AMBER/../base" "$AMBER/../expert-$m" $m --rank 4 --portable -q
    done
    "$WW" rmm pack p.pkg rev=rev caesar=caesar --codec rows --directions 1 --sign packer.key \
        --json >list
    payload "$OWN" | jq -e --slurpfile l list '.predicate.buildDefinition.externalParameters |
        .mode == "bounded" and .error > 0 and .error == ([$l[0].members[1:][].error] | max)'
}
