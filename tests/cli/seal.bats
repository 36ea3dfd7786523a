#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
bats_require_minimum_version 1.5.0
load helper

make_people() {
    for name in alice bob mallory; do
        "$WW" key new recipient --out $name --no-passphrase -q
    done
}
make_sealed() {
    make_model
    make_keys
    make_people
    "$WW" lock model sealed --level sealed --to alice.pub --to bob.pub --sign me.key -q
}

@test "each recipient gets every byte back, a stranger nothing" {
    once make_sealed
    "$WW" unlock sealed back --open-with alice.key -q
    diff -r model back
    "$WW" unlock sealed back2 --open-with bob.key -q
    diff -r model back2
    refused 5 "sealed for 2 recipients" "$WW" unlock sealed back3 --open-with mallory.key --json
    [ "$(jq -r .error.code stdout)" = WW_E_NOT_FOR_YOU ]
    refused 5 "key file of one is needed" "$WW" unlock sealed back3
    nothing_written back3
}

@test "a sealed folder is signed like any other, and changes show without a key" {
    once make_sealed
    "$WW" verify sealed --key me.pub
    "$VERIFY" sealed --key me.pub
    flip sealed/model.safetensors.sealed 500000
    refused 1 "model.safetensors.sealed" "$WW" verify sealed --key me.pub
    refused 1 "chunk 1 of 2 was altered" "$WW" unlock sealed back --open-with alice.key --json
    [ "$(jq -r .error.code stdout)" = WW_E_SEALED ]
    nothing_written back
}

@test "no weights and no digest of them are readable in a sealed folder" {
    make_model
    make_keys
    make_people
    "$WW" sign model --key me.key -q
    "$WW" lock model sealed --level sealed --to alice.pub -q
    [ ! -e sealed/model.safetensors ]
    ! grep -rq "$(sha256sum model/model.safetensors | cut -c1-64)" sealed || false
    cmp model/config.json sealed/config.json
    "$WW" unlock sealed back --open-with alice.key -q
    diff -r model back
    "$WW" verify back --key me.pub
}

@test "a locked model can be sealed, and comes back locked" {
    make_locked
    make_people
    "$WW" lock locked sealed --level sealed --to alice.pub -q
    "$WW" unlock sealed locked2 --open-with alice.key -q
    diff -r locked locked2
    "$WW" unlock locked2 back --key lock -q
    diff -r model back
}

@test "one file goes through a pipe, good chunks only" {
    once make_sealed
    "$WW" unlock sealed - --file model.safetensors --open-with alice.key >out
    cmp out model/model.safetensors
    # the second chunk is bad: the first one and no byte more
    flip sealed/model.safetensors.sealed 1100000
    status=0
    "$WW" unlock sealed - --file model.safetensors --open-with alice.key >out 2>err || status=$?
    [ "$status" = 1 ]
    grep -q "chunk 2 of 2" err
    header=$(($(od -An -tu8 -N8 model/model.safetensors) + 8))
    [ "$(stat -c %s out)" = $((header + 1048576)) ]
    cmp -n "$(stat -c %s out)" out model/model.safetensors
}

@test "a cut, a swapped and a renamed file are refused" {
    once make_sealed
    cp -r sealed cut
    truncate -s -1 cut/model.safetensors.sealed
    refused 1 "cut or something was added" "$WW" unlock cut back --open-with alice.key
    "$WW" lock model other --level sealed --to alice.pub -q
    cp -r sealed mixed
    cp other/model.safetensors.sealed mixed/
    refused 1 "belongs to another sealed model" "$WW" unlock mixed back --open-with alice.key
    cp -r sealed keys
    cp other/attestations/keys.sealed keys/attestations/
    refused 1 "another sealed model" "$WW" unlock keys back --open-with alice.key
    rm -r cut
    cp -r sealed cut
    rm cut/model.safetensors.sealed
    refused 1 "is missing" "$WW" unlock cut back --open-with alice.key
    nothing_written back
}

@test "a passphrase seals and opens" {
    make_model
    printf 'open sesame\n' >pass
    printf 'open barley\n' >wrong
    "$WW" lock model sealed --level sealed --passphrase-file pass -q
    refused 5 "does not open" "$WW" unlock sealed back --passphrase-file wrong
    "$WW" unlock sealed back --passphrase-file pass --json -q >answer
    jq -e '.schema == "weightward.unlock/1" and .level == "sealed" and .recipients == 0 and
           .files == 1 and .bytes > 1000000' answer
    diff -r model back
    make_people
    refused 6 "sealed by a passphrase" "$WW" recipients add sealed --to alice.pub
}

@test "recipients come and go" {
    once make_sealed
    [ "$("$WW" recipients list sealed | wc -l)" = 2 ]
    refused 5 "none of them" "$WW" recipients add sealed --open-with mallory.key --to mallory.pub
    "$WW" recipients add sealed --open-with alice.key --to mallory.pub
    "$WW" unlock sealed back --open-with mallory.key -q
    refused 2 "already" "$WW" recipients add sealed --open-with alice.key --to mallory.pub
    id=$("$WW" key show bob.pub --json | jq -r .id)
    "$WW" recipients remove sealed --open-with mallory.key --id "$id" --to alice.pub
    [ "$("$WW" recipients list sealed --json | jq '.recipients | length')" = 1 ]
    refused 5 "for 1 recipient, and this is none of them" "$WW" unlock sealed back2 --open-with bob.key
    "$WW" unlock sealed back2 --open-with mallory.key -q
    refused 2 "no recipient would be left" "$WW" recipients remove sealed \
        --open-with mallory.key --to mallory.pub
    # attestations are outside of the signature
    "$WW" verify sealed --key me.pub
    refused 4 "keys.sealed" "$WW" recipients list model
}

@test "what goes wrong in use is said before anything is written" {
    make_model
    make_keys
    make_people
    refused 5 "signing key" "$WW" lock model out --level sealed --to me.pub
    refused 5 "give its .pub file" "$WW" lock model out --level sealed --to alice.key
    refused 2 "no one is named" "$WW" lock model out --level sealed </dev/null
    refused 2 "without --key" "$WW" lock model out --level sealed --to alice.pub --key lock
    refused 2 "cannot be resumed" "$WW" lock model out --level sealed --to alice.pub --resume
    refused 2 "are the same" "$WW" lock model out --level sealed --to alice.pub --to alice.pub
    refused 2 "level takes exact, dense or sealed, not 'best'" "$WW" lock model out --level best --key lock
    refused 2 "goes with --level sealed" "$WW" lock model out --to alice.pub --key lock
    nothing_written out
    "$WW" lock model sealed --level sealed --to alice.pub -q
    refused 2 "standard output" "$WW" unlock sealed out --file model.safetensors --open-with alice.key
    refused 2 "standard output" "$WW" unlock sealed - --open-with alice.key
    refused 4 "no sealed file" "$WW" unlock sealed - --file config.json --open-with alice.key
    refused 6 "sealed already" "$WW" lock sealed out --level sealed --to alice.pub
    refused 6 "is sealed" "$WW" inspect sealed
    nothing_written out
}

@test "a killed run leaves nothing that opens" {
    make_model
    make_people
    # a model big enough to be killed on the way
    safetensors model/model.safetensors \
        '{"a":{"dtype":"U8","shape":[300000000],"data_offsets":[0,300000000]}}' 300000000
    "$WW" lock model sealed --level sealed --to alice.pub -q &
    pid=$!
    for _ in $(seq 200); do
        [ -s sealed.partial/model.safetensors.sealed ] && break
        sleep 0.01
    done
    kill -9 $pid
    wait $pid || true
    if [ ! -e sealed ]; then
        [ ! -e sealed.partial/attestations/keys.sealed ]
        refused 2 "LOCKKEY is needed" "$WW" unlock sealed.partial back --open-with alice.key
    fi
    nothing_written back
}

@test "a signed sealed model says what it was made of, an opened one still does" {
    make_keys
    make_people
    cp -r "$AMBER" a
    cp -r "$AMBER/../expert-caesar" b
    chmod -R u+w .
    "$WW" sign a --key me.key --tensors --origin -q
    "$WW" sign b --key me.key --tensors --origin -q
    printf 'merge_method: linear\nmodels:\n  - {model: %s, parameters: {weight: 1}}\n%s\n' a \
        '  - {model: b, parameters: {weight: 1}}' >r.yml
    "$WW" merge r.yml m --sign me.key -q
    "$WW" lock m sealed --level sealed --to alice.pub --sign me.key -q
    "$WW" verify sealed --key me.pub --chain --json -q | jq -e '
        [.chain[] | .action] == ["seal", "merge", "origin", "origin"] and
        ([.chain[] | .name] == ["sealed", "m", "a", "b"])'
    "$WW" unlock sealed back --open-with alice.key 2>said
    ! grep -q "added after sealing" said || false
    diff -r m back
    "$WW" verify back --key me.pub --chain --json -q | jq -e '[.chain[] | .name] == ["m", "a", "b"]'
    # The statement is about these files and that source, and bears a signature.
    cp -r sealed cut
    rm cut/attestations/ancestors/*.sigstore.json
    refused 4 "link 'm'.*missing" "$WW" verify cut --key me.pub --chain
    cp -r sealed changed
    flip changed/attestations/provenance.sigstore.json 300
    refused 1 "provenance" "$WW" verify changed --key me.pub --chain
    # Or says nothing of it.
    "$WW" lock m mute --level sealed --to alice.pub --sign me.key --no-lineage -q
    [ ! -e mute/attestations/provenance.sigstore.json ]
    ! grep -rq "$(sha256sum m/model.safetensors | cut -c1-64)" mute || false
    refused 2 "no-lineage" "$WW" lock m x --level exact --key lock --sign me.key --no-lineage
    refused 2 "goes with a signature" "$WW" lock m x --level sealed --to alice.pub --no-lineage
    nothing_written x
}
