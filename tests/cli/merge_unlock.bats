#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Locked sources that are read as the open ones while they are merged.
bats_require_minimum_version 1.5.0
load helper

# The family, open in o/, and locked in l/ with a key and a kind of lock for each.
make_families() {
    mkdir o l
    (cd o && copy_family)
    for k in one two three; do
        "$WW" key new lock --out "$k" --no-passphrase -q
    done
    "$WW" lock o/base l/base --key one --no-scale -q
    "$WW" lock o/expert-rev l/expert-rev --key two --no-scale -q
    "$WW" lock o/expert-caesar l/expert-caesar --key three -q
    cat >o/recipe.yml <<'YML'
merge_method: ties
base_model: base
models:
  - {model: expert-rev, parameters: {weight: 0.5, density: 0.4}}
  - {model: expert-caesar, parameters: {weight: 0.6, density: 0.3}}
dtype: float32
out_dtype: bfloat16
YML
    cp o/recipe.yml l
}
KEYS="--unlock-with one --unlock-with two --unlock-with three"

# The weights and files beside them are those of the merge of the open models.
same_as_open() {
    diff -rq -x attestations -x README.md "$1" "$2"
}

@test "sources of three keys are merged as the open models, whatever the threads" {
    once make_families
    "$WW" merge o/recipe.yml open -q
    for n in 1 3 8; do
        # shellcheck disable=SC2086
        "$WW" merge l/recipe.yml "out$n" $KEYS --threads "$n" -q
        same_as_open open "out$n"
    done
    jq -e '[.predicate.buildDefinition.resolvedDependencies[].annotations.unlocked |
            length] == [64, 64, 64]' out1/attestations/provenance.intoto.json
    [ ! -e l/base/model.safetensors.partial ]
    [ ! -e out1.steps ]
}

@test "a method that looks at whole tensors, mixed dtypes and slices read locked models too" {
    once make_families
    cat >o/slerp.yml <<'YML'
merge_method: slerp
base_model: expert-rev
models: [{model: expert-rev}, {model: expert-caesar}]
parameters: {t: 0.3}
dtype: float32
YML
    cat >o/stack.yml <<'YML'
merge_method: passthrough
slices:
  - sources: [{model: expert-rev, layer_range: [0, 3]}]
  - sources: [{model: expert-caesar, layer_range: [1, 4]}]
YML
    cp o/*.yml l
    for r in slerp stack; do
        "$WW" merge "o/$r.yml" "open-$r" -q
        "$WW" merge "l/$r.yml" "out-$r" --unlock-with two --unlock-with three -q
        same_as_open "open-$r" "out-$r"
    done
}

@test "a dense lock is read through its residual" {
    once make_families
    rm -r l/expert-rev
    "$WW" lock o/expert-rev l/expert-rev --key two --level dense -q
    "$WW" merge o/recipe.yml open -q
    # shellcheck disable=SC2086
    "$WW" merge l/recipe.yml out $KEYS -q
    same_as_open open out
}

@test "open and locked sources go together, and a re-derivation needs the key" {
    once make_families
    rm -r l/base
    cp -r o/base l/base
    "$WW" merge o/recipe.yml open -q
    "$WW" merge l/recipe.yml out --unlock-with two --unlock-with three -q
    same_as_open open out
    "$WW" merge l/recipe.yml --rederive out --unlock-with two --unlock-with three -q
    "$WW" merge l/recipe.yml --rederive out --unlock-with three --unlock-with two --sample 5 -q
    refused 5 "different keys.*--unlock-with" "$WW" merge l/recipe.yml --rederive out
}

@test "a missing key, a wrong one and one that is bound to something else are told" {
    once make_families
    rm -r l/expert-caesar
    "$WW" lock o/expert-caesar l/expert-caesar --key three -q
    refused 5 "different keys; give the keys by --unlock-with" "$WW" merge l/recipe.yml out
    refused 5 "model 'expert-caesar' is locked, and none of the 2 keys" \
        "$WW" merge l/recipe.yml out --unlock-with one --unlock-with two
    "$WW" key new lock --out other --no-passphrase -q
    refused 5 "model 'base' is locked, and none of the 3 keys" \
        "$WW" merge l/recipe.yml out --unlock-with other --unlock-with two --unlock-with three
    refused 4 "nokey" "$WW" merge l/recipe.yml out --unlock-with nokey
    nothing_written out
}

@test "a locked source that was changed is told before anything appears" {
    once make_families
    flip l/expert-rev/model.safetensors 700000
    # shellcheck disable=SC2086
    refused 1 "not as it was locked: tensor" "$WW" merge l/recipe.yml out $KEYS
    nothing_written out
    echo >>l/base/config.json
    # shellcheck disable=SC2086
    refused 1 "model 'base': file 'config.json' of the locked model was changed" \
        "$WW" merge l/recipe.yml out $KEYS
    nothing_written out
}

@test "a merge of locked models is unlocked as a folder, and says so" {
    once make_families
    rm -r l/expert-rev l/expert-caesar
    "$WW" lock o/expert-rev l/expert-rev --key one --no-scale -q
    "$WW" lock o/expert-caesar l/expert-caesar --key one --no-scale -q
    (cd l && "$WW" merge recipe.yml merged -q)
    cat >l/next.yml <<'YML'
merge_method: linear
models: [{model: merged, parameters: {weight: 1}}, {model: base, parameters: {weight: 1}}]
YML
    refused 6 "merged while locked.*unlock it first" \
        "$WW" merge l/next.yml out --unlock-with one
}

# Ancestors' files are named by what is in them.
named() {
    sed 's/[0-9a-f]\{64\}/DIGEST/' | sort
}
# Merged and then locked, in later/; in one step, in once/: the folder's name is recorded.
# shellcheck disable=SC2086
both_ways() {
    rm -rf plain later once
    mkdir plain later once
    "$WW" merge l/recipe.yml plain/out $KEYS $SHARDS -q "$@"
    "$WW" lock plain/out later/out --key mine -q "$@"
    "$WW" merge l/recipe.yml once/out $KEYS $SHARDS --lock mine -q "$@"
    # Signatures are drawn anew each time, and a bill of materials names them by digest: of
    # these files the names must be the same, of all others the bytes.
    diff <(cd later/out && find . | named) <(cd once/out && find . | named)
    diff -rq -x '*.sigstore.json' -x model.sig -x bom.cdx.json later/out once/out
    [ ! -e once/out.steps ]
    [ ! -e once/out.partial ]
}

@test "a merge that is locked as it is made equals the merge that was locked later" {
    once make_families
    "$WW" key new lock --out mine --no-passphrase -q
    "$WW" key new signing --out me --no-passphrase -q
    both_ways
    both_ways --sign me.key --threads 1
    "$WW" verify once/out --key me.pub
    SHARDS="--shard-size 500K" both_ways --sign me.key --memory 32
    "$WW" unlock once/out back --key mine -q
    diff <(cd plain/out && find . | named) <(cd back && find . | named)
    diff -rq -x '*.sigstore.json' -x model.sig -x bom.cdx.json plain/out back
    "$WW" merge l/recipe.yml --rederive back $KEYS -q
}

@test "a merge that is locked is computed again with its key" {
    once make_families
    "$WW" key new lock --out mine --no-passphrase -q
    # shellcheck disable=SC2086
    "$WW" merge l/recipe.yml out $KEYS --shard-size 500K --lock mine -q
    # shellcheck disable=SC2086
    "$WW" merge l/recipe.yml --rederive out $KEYS --unlock-with mine --json -q >answer
    jq -e '.tensors_checked == .tensors' answer
    # shellcheck disable=SC2086
    "$WW" merge l/recipe.yml --rederive out $KEYS --unlock-with mine --sample 3 --json -q >answer
    jq -e '.tensors_checked == 3' answer
    # shellcheck disable=SC2086
    refused 5 "model 'out' is locked, and none of the 3 keys" \
        "$WW" merge l/recipe.yml --rederive out $KEYS
    refused 5 "merge 'out' is locked; give its key by --unlock-with" \
        "$WW" merge l/recipe.yml --rederive out
    # The lock of a model that is no merge.
    refused 4 "no record of a merge" "$WW" merge l/recipe.yml --rederive l/base
    # shellcheck disable=SC2086
    flip out/model-00002-of-00003.safetensors 300000
    # shellcheck disable=SC2086
    refused 1 "model-00002-of" \
        "$WW" merge l/recipe.yml --rederive out $KEYS --unlock-with mine
}

@test "what a report measures is the same for a locked merge" {
    once make_families
    "$WW" key new lock --out mine --no-passphrase -q
    "$WW" merge o/recipe.yml open --report open.html --json -q >open.json
    "$WW" merge o/recipe.yml locked --lock mine --report locked.html --json -q >locked.json
    for f in open locked; do
        jq -S '{sources, plan_sha256, output_sha256_tree}' "$f.json" >"$f.part"
        grep '<circle' "$f.html" >>"$f.part"
    done
    cmp open.part locked.part
    grep -q 'layers.0' locked.part
}

@test "a method with passes over tensors is locked as it is made too" {
    once make_families
    "$WW" key new lock --out mine --no-passphrase -q
    cat >l/recipe.yml <<'YML'
merge_method: model_stock
base_model: base
models: [{model: expert-rev}, {model: expert-caesar}]
dtype: float32
YML
    both_ways
}

@test "what cannot be locked as it is made is refused and leaves nothing" {
    once make_families
    "$WW" key new lock --out mine --no-passphrase -q
    rm -r l/expert-rev l/expert-caesar
    for m in expert-rev expert-caesar; do
        "$WW" lock "o/$m" "l/$m" --key one --no-scale -q
    done
    refused 6 "locked already; give their keys" "$WW" merge l/recipe.yml out --lock mine
    "$WW" key new lock --out bound --no-passphrase --for-model o/base -q
    refused 5 "bound to the model 'base'" "$WW" merge o/recipe.yml out --lock bound
    refused 4 "nokey" "$WW" merge o/recipe.yml out --lock nokey
    printf '\xc0\x7f' | dd of=o/expert-rev/model.safetensors bs=1 seek=700000 conv=notrunc status=none
    refused 3 "tensor 'model" "$WW" merge o/recipe.yml out --lock mine
    nothing_written out
    [ ! -e out.steps ]
    mkdir out.steps
    echo mine >out.steps/file
    refused 4 "remove it or say --resume" "$WW" merge o/recipe.yml out --lock mine
    refused 4 "remove it or say --resume" "$WW" merge o/recipe.yml out --lock mine --resume
    [ "$(cat out.steps/file)" = mine ]
}
