#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Digests of sources that an earlier merge took.
bats_require_minimum_version 1.5.0
load helper

recipe() { # SOURCE: half of it and half of a bundled model
    cat >recipe.yml <<YML
merge_method: linear
models:
  - {model: $1, parameters: {weight: 0.5}}
  - {model: $AMBER/../expert-caesar, parameters: {weight: 0.5}}
YML
}
merge() { # FOLDER MORE...: into FOLDER/out
    mkdir "$1"
    "$WW" merge recipe.yml "$1/out" --sign me.key "${@:2}" --json -q >"$1.json"
}
record() {
    jq -r .dsseEnvelope.payload "$1/out/attestations/provenance.sigstore.json" | base64 -d
}

@test "sources that have not changed are not hashed again, and the record is the same" {
    make_keys
    recipe "$AMBER"
    merge without
    merge first --cache digests
    merge second --cache digests
    jq -e '.files_cached == 0' without.json
    jq -e '.files_cached == 0' first.json
    jq -e '.files_cached == 2' second.json
    for m in first second; do
        cmp <(record without) <(record "$m")
        cmp without/out/model.safetensors "$m/out/model.safetensors"
    done
    "$WW" verify second/out --key me.pub -q
    "$WW" merge --rederive second/out -q
    # without trees less is asked, and what was kept stays
    merge third --cache digests --no-source-trees
    jq -e '.files_cached == 2' third.json
    merge fourth --cache digests
    jq -e '.files_cached == 2' fourth.json
    [ "$(stat -c %a digests)" = 600 ]
}

@test "a file that was kept without its tree is hashed where trees are recorded" {
    make_keys
    recipe "$AMBER"
    merge first --cache digests --no-source-trees
    merge second --cache digests
    jq -e '.files_cached == 0' second.json
    jq -e '[.sources[].sha256_tree | length] == [64, 64]' second.json
    merge third --cache digests
    jq -e '.files_cached == 2' third.json
}

@test "a source that changed is hashed, also when its time of modification is set back" {
    make_keys
    make_model
    recipe model
    sleep 4.1 # until then a change might not show in its times
    merge first --cache digests
    merge second --cache digests
    jq -e '.files_cached == 2' second.json
    touch -r model/model.safetensors before
    flip model/model.safetensors $(($(stat -c %s model/model.safetensors) - 3))
    touch -r before model/model.safetensors
    merge third --cache digests
    jq -e '.files_cached == 1' third.json
    record third | grep -qF "$(sha256sum <model/model.safetensors | cut -d' ' -f1)"
    # it has changed just now, so it was not kept
    merge fourth --cache digests
    jq -e '.files_cached == 1' fourth.json
}

@test "a cache that another key signed, or that is damaged, is refused" {
    make_keys
    recipe "$AMBER"
    merge first --cache digests
    "$WW" key new signing --out other --no-passphrase -q
    refused 1 "remove it to hash everything anew" \
        "$WW" merge recipe.yml out --sign other.key --cache digests
    truncate -s -20 digests
    refused 3 "remove it to hash everything anew" \
        "$WW" merge recipe.yml out --sign me.key --cache digests
    nothing_written out
}

@test "a cache has a place outside of models, and a key" {
    make_keys
    make_model
    recipe model
    refused 2 "--cache needs --sign KEY" "$WW" merge recipe.yml out --cache digests
    refused 2 "neither --lock nor --join" \
        "$WW" merge recipe.yml out --sign me.key --cache digests --lock lock
    refused 2 "lies inside the model" \
        "$WW" merge recipe.yml out --sign me.key --cache model/digests
    refused 4 "" "$WW" merge recipe.yml out --sign me.key --cache out/digests
    nothing_written out
    [ ! -e model/digests ]
}

@test "results of recipes on the way are hashed, their sources are not" {
    make_keys
    cat >recipe.yml <<YML
name: half
merge_method: linear
models:
  - {model: $AMBER, parameters: {weight: 0.5}}
  - {model: $AMBER/../expert-caesar, parameters: {weight: 0.5}}
---
merge_method: linear
models:
  - {model: half, parameters: {weight: 0.5}}
  - {model: $AMBER/../base, parameters: {weight: 0.5}}
YML
    merge without
    merge first --cache digests
    merge second --cache digests
    jq -e '.files_cached == 3' second.json
    cmp <(record without) <(record second)
}

bytes_read_by() { # COMMAND...
    bash -c '"$@" >&2 && sed -n "s/^rchar: //p" /proc/self/io' - "$@"
}

@test "a source comes back from the package of a merge whose sources were known, and each was read once" {
    make_keys
    recipe "$AMBER"
    first=$(bytes_read_by "$WW" merge recipe.yml first --sign me.key --cache digests \
        --reversible first.pkg -q)
    second=$(bytes_read_by "$WW" merge recipe.yml second --sign me.key --cache digests \
        --reversible sources.pkg --report second.json -q)
    jq -e '.files_cached == 2' second.json
    [ "$first" -gt 2000000 ]
    [ "$second" -le $((first + 100000)) ]
    "$WW" rmm unmerge sources.pkg expert-rev back --merged second \
        --source "$AMBER/../expert-caesar" -q
    cmp "$AMBER/model.safetensors" back/model.safetensors
}
