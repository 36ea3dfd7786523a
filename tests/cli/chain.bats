#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
bats_require_minimum_version 1.5.0
load helper

# base (an origin) -> locked -> merged with a sibling -> merged again, by three signers.
# Made once: every test works on a copy.
make_chain() {
    if [ ! -e "$BATS_FILE_TMPDIR/made" ]; then
        (cd "$BATS_FILE_TMPDIR" && build_chain && touch made)
    fi
    cp -r "$BATS_FILE_TMPDIR"/{a,b,c}.pub .
    cp -r "$BATS_FILE_TMPDIR/$1" "$1"
    chmod -R u+w .
}
merge_recipe() {
    printf 'merge_method: linear\nmodels:\n'
    for m in "$@"; do
        printf '  - {model: %s, parameters: {weight: 1}}\n' "$m"
    done
    printf 'dtype: float32\nout_dtype: bfloat16\n'
}
build_chain() {
    copy_family
    for k in a b c; do
        "$WW" key new signing --out "$k" --no-passphrase -q
    done
    "$WW" key new lock --out lock --no-passphrase -q
    "$WW" sign expert-rev --key a.key --tensors --origin -q
    "$WW" sign expert-caesar --key b.key -q
    "$WW" lock expert-rev locked-rev --key lock --sign a.key -q
    "$WW" lock expert-caesar locked-caesar --key lock --sign a.key -q
    merge_recipe locked-rev locked-caesar >first.yml
    "$WW" merge first.yml first --sign b.key -q
    merge_recipe first locked-rev >second.yml
    "$WW" merge second.yml second --sign c.key -q
}
KEYS="--key a.pub --key b.pub --key c.pub"
# The file of ancestor NAME in FOLDER.
ancestor() {
    "$WW" verify "$1" --chain $KEYS --json |
        jq -r --arg n "$2" '.chain[] | select(.name == $n) | .evidence_sha256' |
        sed "s|.*|$1/attestations/ancestors/&.sigstore.json|"
}

@test "a chain of merges and locks is walked to its roots from the last model alone" {
    make_chain second
    "$WW" verify second --chain $KEYS --json >answer
    jq -e '[.chain[] | [.name, .action, .depth]] ==
           [["second","merge",0],["first","merge",1],["locked-rev","lock",2],
            ["expert-rev","origin",3],["locked-caesar","lock",2],
            ["expert-caesar","signed",3]]' answer
    jq -e '.chain[0].sources == [1,2] and .chain[0].method == "linear" and
           .chain[2].method == "exact" and .chain[3].sources == []' answer
    # a lock names its source's tensor root, which it has from the source's own statement
    payload() { jq -r .dsseEnvelope.payload "$1" | base64 -d; }
    link() { jq -r --arg n "$1" '.chain[] | select(.name == $n) | .tensor_root' answer; }
    root=$(link expert-rev)
    [ ${#root} -eq 64 ]
    payload "$(ancestor second locked-rev)" | jq -e --arg r "$root" '
        .predicate.buildDefinition.resolvedDependencies[0].annotations.tensor_tree == $r'
    # one that had none, or not of these files, is left without
    payload "$(ancestor second locked-caesar)" | jq -e '
        .predicate.buildDefinition.resolvedDependencies[0].annotations.tensor_tree == null'
    # an origin that nobody stated is said to be that
    jq -e '(.chain_not_checked | length) == 1 and
           (.chain_not_checked[0] | test("origin of .expert-caesar."))' answer
    "$WW" verify second --chain $KEYS >told
    grep -q "5 ancestors" told
    "$WW_BIN/weightward-verify" second --chain $KEYS >told2
    cmp told told2
}

@test "every signer must be known, and the first who is not is named" {
    make_chain second
    refused 1 "signature 'model.sig': .*not given" \
        "$WW" verify second --chain --key a.pub --key b.pub
    refused 1 "link 'first': .*not given" "$WW" verify second --chain --key a.pub --key c.pub
    refused 1 "link 'locked-rev': .*not given" \
        "$WW" verify second --chain --key b.pub --key c.pub
    refused 2 "several keys are for --chain" "$WW" verify second $KEYS
    refused 2 "not with" "$WW" verify second --chain $KEYS --tensor x
}

@test "evidence that is missing, changed or another's breaks the chain at its link" {
    make_chain second
    grandparent=$(ancestor second expert-rev)
    parent=$(ancestor second first)
    cp -r second cut
    rm "${grandparent/second/cut}"
    refused 4 "link 'expert-rev': its evidence .* is missing" "$WW" verify cut --chain $KEYS
    cp -r second swapped
    cp "$parent" "${grandparent/second/swapped}"
    refused 1 "link 'expert-rev': its evidence .* is not what its name says" \
        "$WW" verify swapped --chain $KEYS
    # a parent that was made again: its bytes are the same, its statement is another
    cp -r second again
    cp "$BATS_FILE_TMPDIR/second/attestations/provenance.sigstore.json" \
        "${parent/second/again}"
    refused 1 "link 'first'" "$WW" verify again --chain $KEYS
}

@test "a chain's own statement must be about the folder and its tensors" {
    make_chain second
    cp "$BATS_FILE_TMPDIR/first/attestations/provenance.sigstore.json" \
        second/attestations/provenance.sigstore.json
    refused 1 "provenance speaks of a folder with root" "$WW" verify second --chain $KEYS
    rm -rf second
    make_chain second
    cp "$BATS_FILE_TMPDIR/first/attestations/tensors.sigstore.json" \
        second/attestations/tensors.sigstore.json
    refused 1 "other tensors than the tensor statement" "$WW" verify second --chain $KEYS
}

@test "a signed bill of materials stands beside the model and must tell of its chain" {
    make_chain second
    "$WW" verify second --chain $KEYS --json | jq -e '.bill_of_materials == true'
    "$WW" verify second --chain $KEYS | grep -q "signed bill of materials"
    mv second renamed
    "$WW" verify renamed --chain $KEYS
    bom=attestations/bom.sigstore.json
    jq -r .dsseEnvelope.payload renamed/$bom | base64 -d |
        jq -S .predicate >signed
    jq -S . renamed/attestations/bom.cdx.json | cmp - signed
    cp -r renamed other
    cp "$BATS_FILE_TMPDIR/first/$bom" other/$bom
    refused 1 "bill of materials: it tells of another chain" "$WW" verify other --chain $KEYS
    cp renamed/$bom other/$bom
    echo >>other/attestations/bom.cdx.json
    refused 1 "bom.cdx.json' differs from the signed one" "$WW" verify other --chain $KEYS
    cp -r "$BATS_FILE_TMPDIR/second" changed
    chmod -R u+w changed
    flip changed/$bom "$(($(stat -c %s changed/$bom) / 2))"
    run "$WW" verify changed --chain $KEYS
    [ "$status" -ne 0 ]
    [[ $output == *"bill of materials"* ]]
    # none at all is no failure
    rm changed/attestations/bom.*
    "$WW" verify changed --chain $KEYS --json | jq -e '.bill_of_materials == false'
}

@test "every truncation and every changed byte of the evidence is refused" {
    make_chain locked-rev
    for f in model.sig attestations/provenance.sigstore.json \
        attestations/tensors.sigstore.json; do
        size=$(stat -c %s "locked-rev/$f")
        cp "locked-rev/$f" good
        # 12 places a file here; all of them in the unit test
        for i in 0 1 2 3 4 5 6 7 8 9 10 11; do
            at=$((i * (size - 1) / 11))
            flip "locked-rev/$f" "$at"
            ! "$WW" verify locked-rev --chain $KEYS >said 2>&1 || { echo "$f at $at"; false; }
            head -c "$at" good >"locked-rev/$f"
            ! "$WW" verify locked-rev --chain $KEYS >said 2>&1 || { echo "$f cut $at"; false; }
            cp good "locked-rev/$f"
        done
    done
    "$WW" verify locked-rev --chain $KEYS
}

@test "an unlocked model has the chain of the original, and no lock in it" {
    make_chain locked-rev
    "$WW" unlock locked-rev open --key "$BATS_FILE_TMPDIR/lock" >said 2>&1
    ! grep -q "not restored" said || false
    : >locked-rev/later.txt
    "$WW" unlock locked-rev again --key "$BATS_FILE_TMPDIR/lock" >said 2>&1
    grep -q "file 'later.txt' was added after the lock and is not restored" said
    "$WW" verify open --chain $KEYS --json | jq -e '[.chain[].action] == ["origin"]'
}

@test "an origin is stated of a folder that one signed oneself, and of no descendant" {
    make_chain locked-rev
    cp -r "$BATS_FILE_TMPDIR"/{a,b}.key .
    refused 4 "made of 1 models by a lock" "$WW" sign locked-rev --key a.key --origin --replace
    cp -r "$AMBER" plain
    chmod -R u+w plain
    "$WW" sign plain --key b.key -q
    "$WW" verify plain --chain --key b.pub >said
    grep -q "origin of 'plain', which is signed but carries no provenance" said
    "$WW" sign plain --key b.key --origin --replace -q
    "$WW" verify plain --chain --key b.pub --json |
        jq -e '.chain[0].action == "origin" and .chain_not_checked == []'
}

@test "an unsigned step says that it is not signed" {
    make_chain locked-rev
    merge_recipe locked-rev locked-rev >m.yml
    "$WW" merge m.yml out -q || { merge_recipe locked-rev >m.yml; "$WW" merge m.yml out -q; }
    "$WW" sign out --key "$BATS_FILE_TMPDIR/a.key" -q
    refused 1 "'attestations/provenance.intoto.json' is not signed" \
        "$WW" verify out --chain $KEYS
}

@test "a chain is written as a page and as a bill of materials, the same each time" {
    make_chain second
    # what cannot be written is told before a verdict is worked out
    refused 4 "cannot write a report into folder 'nodir/'" "$WW" verify second --chain $KEYS --report nodir/page.html
    refused 4 "'second' exists already" "$WW" verify second --chain $KEYS --bom second
    [ ! -s stdout ]
    "$WW" verify second --chain $KEYS --report page.html --bom bom.json >told
    grep -q '<svg' page.html
    [ "$(grep -c '<rect' page.html)" = 6 ]
    [ "$(grep -c '<line' page.html)" = 6 ]
    grep -q "origin of 'expert-caesar'" page.html
    ! grep -qE 'https?://|<script' page.html || false
    jq -e '.specVersion == "1.6" and (.components | length) == 5 and
           (.dependencies | length) == 6 and (.metadata.component.pedigree.ancestors | length) == 2 and
           (.formulation[0].workflows | length) == 4' bom.json
    "$WW" verify second --chain $KEYS --bom bom2.json >told
    cmp bom.json bom2.json
    refused 4 "'bom2.json' exists already" "$WW" verify second --chain $KEYS --bom bom2.json
    refused 2 "add --chain" "$WW" verify second --key c.pub --bom bom3.json
    # a broken chain leaves a page that says where, and no bill
    refused 1 "link 'first'" "$WW" verify second --chain --key c.pub --report broken.html --bom no.json
    grep -q "does not hold: link .first." broken.html
    [ ! -e no.json ]
    # a page that does not fit is not left half there
    (ulimit -f 1 && trap '' XFSZ && refused 4 "half.html" "$WW" verify second --chain $KEYS --report half.html)
    nothing_written half.html
}

@test "names of others cannot put anything into a page" {
    make_chain locked-rev
    cp -r "$BATS_FILE_TMPDIR"/a.key .
    cp -r "$AMBER" 'a<script>x'
    chmod -R u+w 'a<script>x'
    "$WW" sign 'a<script>x' --key a.key --origin -q
    "$WW" verify 'a<script>x' --chain $KEYS --report page.html >told
    ! grep -q '<script>' page.html || false
    grep -q 'a&lt;script&gt;x' page.html
}

@test "a signed adapter has a chain to the two models whose difference it is" {
    make_chain expert-rev
    cp -r "$BATS_FILE_TMPDIR"/{base,a.key} .
    chmod -R u+w base
    "$WW" extract base expert-rev adapter --rank 2 --sign a.key -q
    "$WW" verify adapter --chain $KEYS --json |
        jq -e '[.chain[] | [.name, .action]] ==
               [["adapter","extract"],["base","unsigned"],["expert-rev","origin"]]'
}

@test "a signed adapter that follows its base into a lock has a chain, and tensors of its own" {
    make_pair_of_origins() { for m in expert-rev expert-caesar; do
        cp -r "$AMBER/../$m" "$m"
        chmod -R u+w "$m"
        "$WW" sign "$m" --key a.key --tensors --origin -q
    done; }
    "$WW" key new signing --out a --no-passphrase -q
    "$WW" key new lock --out lock --no-passphrase -q
    make_pair_of_origins
    "$WW" extract expert-rev expert-caesar adapter --rank 4 --sign a.key -q
    "$WW" lock expert-rev locked --key lock --sign a.key -q
    "$WW" lock adapter carried --base locked --key lock --sign a.key -q
    "$WW" verify carried --chain --key a.pub --json -q | jq -e '
        [.chain[] | [.name, .action]] == [["carried", "lock"], ["adapter", "extract"],
            ["expert-rev", "origin"], ["expert-caesar", "origin"]] and
        ([.chain[] | .tensor_root] | unique | length == 4)'
    "$WW" verify carried --key a.pub -q \
        --tensor base_model.model.model.layers.0.mlp.down_proj.lora_A.weight
    "$WW" unlock carried back --base locked --key lock -q
    diff -r adapter back
    flip carried/attestations/provenance.sigstore.json 300
    refused 1 "provenance" "$WW" verify carried --chain --key a.pub
    rm carried/attestations/ancestors/*
    cp back/attestations/provenance.sigstore.json carried/attestations
    refused 1 "another|speaks of" "$WW" verify carried --chain --key a.pub
}
