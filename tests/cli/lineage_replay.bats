#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
bats_require_minimum_version 1.5.0
load helper
load recipes

@test "the true recipe gives all bits, and every source is needed" {
    once merged task_arithmetic 0.6 0.25
    "$WW" lineage replay suspect --recipe recipe.yml --control "$family/base" --json -q >answer
    jq -e '.schema == "weightward.lineage/1" and .word == "replay" and .supports and
           .match == 1 and .ceiling > 0.99 and (.inferred | not) and .moved > 100000 and
           .tensors == 39 and .tensors_fit == 0 and
           (.match_controls | length) == 4 and (.match_controls | all(.match < 0.9)) and
           (.match_controls[0].control == null) and
           (.arithmetics | map(select(.match >= 0.99)) | length) >= 1' answer
}

@test "another weight is not supported, with status 1" {
    once merged task_arithmetic 0.6 0.25
    recipe task_arithmetic 0.5 0.25 >wrong.yml
    run -1 "$WW" lineage replay suspect --recipe wrong.yml -q
    [[ $output == "DOES NOT SUPPORT: "* ]]
}

@test "a recipe is inferred on one half and replayed on the other" {
    once merged task_arithmetic 0.6 0.25
    infer --json >answer
    jq -e '.supports and .inferred and .match > 0.999 and .tensors + .tensors_fit == 39 and
           .tensors > 5 and .tensors_fit > 5 and (.recipe | test("weight: 0.6")) and
           (.recipe | test("weight: 0.25")) and (.match_controls | all(.match < 0.9))' answer
    jq -r .recipe answer >inferred.yml
    "$WW" merge inferred.yml again -q
    cmp suspect/model.safetensors again/model.safetensors
}

@test "TIES is inferred with its density, and equal values at its cut are not counted" {
    merged ties 0.7 0.7 "parameters: {normalize: false}"
    infer --json >answer
    jq -e '.supports and .method == "ties" and .match > 0.999 and .undecided > 0 and
           (.recipe | test("density: 0.6"))' answer
}

@test "elements that arcee fusion takes or leaves by a rounding are not counted" {
    cat >recipe.yml <<EOF
merge_method: arcee_fusion
base_model: $family/expert-rev
models: [{model: $family/expert-caesar}]
dtype: float32
out_dtype: bfloat16
EOF
    "$WW" merge recipe.yml suspect -q
    "$WW" lineage replay suspect --recipe recipe.yml --json -q >answer
    jq -e ".match == 1 and .undecided > 0 and .undecided < 0.1 * .moved" answer
}

@test "SLERP is told from a sum" {
    cat >recipe.yml <<EOF
merge_method: slerp
base_model: $family/expert-rev
models: [{model: $family/expert-rev}, {model: $family/expert-caesar}]
parameters: {t: 0.3}
dtype: float32
out_dtype: bfloat16
EOF
    "$WW" merge recipe.yml suspect -q
    infer --json >answer
    jq -e '.supports and .method == "slerp" and (.recipe | test("t: 0.3"))' answer
    "$WW" lineage decompose suspect --base "$family/base" --candidate "$family/expert-rev" \
        --candidate "$family/expert-caesar" --json -q |
        jq -e '.method.best == "slerp" and (.method.not_excluded | index("nuslerp"))'
}

@test "SLERP of near twins is listed, with a number of three decimals" {
    "$WW_BIN/perturb_model" "$family/expert-rev" twin 0.003 5
    cat >recipe.yml <<EOF
merge_method: slerp
base_model: $family/expert-rev
models: [{model: $family/expert-rev}, {model: twin}]
parameters: {t: 0.666}
dtype: float32
out_dtype: bfloat16
EOF
    "$WW" merge recipe.yml suspect -q
    "$WW" lineage decompose suspect --base "$family/base" --candidate "$family/expert-rev" \
        --candidate twin --json -q |
        jq -e '.method.match > 0.99 and ([.method.best] + .method.not_excluded | index("slerp"))'
}

@test "replays are the same for any number of threads" {
    merged ties 0.7 0.7
    for n in 1 3; do
        "$WW" lineage replay suspect --recipe recipe.yml --json -q --threads "$n" |
            jq 'del(.seconds)' >"t$n"
    done
    cmp t1 t3
}

@test "a locked suspect is unlocked by the base before its bits are compared" {
    once merged task_arithmetic 0.6 0.25
    "$WW" key new lock --out lock --no-passphrase -q
    for level in exact dense; do
        "$WW" lock suspect "$level" --key lock --level "$level" -q
        "$WW" lineage replay "$level" --recipe recipe.yml --json -q >answer
        jq -e '.supports and .match == 1 and (.warnings | any(test("a lock, undone")))' answer
    done
    jq -e '.warnings | any(test("mixed by dense matrices"))' answer
    "$WW" lineage replay exact --base "$family/base" --candidate "$family/expert-rev" \
        --candidate "$family/expert-caesar" --json -q | jq -e '.supports and .inferred'
}

@test "what was rounded to BF16 and then stored wider is replayed as what it was, locked or not" {
    once merged task_arithmetic 0.6 0.25
    for dtype in float16 float32; do
        printf 'merge_method: passthrough\nmodels: [{model: suspect}]\ndtype: %s\n' "$dtype" >wide.yml
        "$WW" merge wide.yml "$dtype" -q
        "$WW" lineage replay "$dtype" --recipe recipe.yml --json -q >answer
        jq -e '.supports and .match > 0.999' answer
    done
    "$WW" key new lock --out lock --no-passphrase -q
    "$WW" lock float32 locked --key lock -q
    "$WW" lineage decompose locked --base "$family/base" --candidate "$family/expert-rev" \
        --candidate "$family/expert-caesar" --json -q >answer
    jq -e '.method.best == "task_arithmetic" and .method.match > 0.999 and
           (.method.recipe | test("out_dtype: bfloat16"))' answer
}

@test "what cannot be replayed is refused by name" {
    once merged task_arithmetic 0.6 0.25
    refused 2 "--recipe FILE" "$WW" lineage replay suspect
    refused 2 "leave --base" "$WW" lineage replay suspect --recipe recipe.yml --base x
    refused 4 "nowhere" "$WW" lineage replay nowhere --recipe recipe.yml
    refused 4 "missing.yml" "$WW" lineage replay suspect --recipe missing.yml
    mkdir other
    safetensors other/model.safetensors '{"w":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}' 16
    refused 1 "another architecture" "$WW" lineage replay other --recipe recipe.yml
}

@test "without a candidate that fits there is no recipe" {
    cp -r "$family/base" suspect
    run -1 infer --json
    jq -e '.supports | not' <<<"$output"
}

@test "more controls than one reading takes give each the same answer" {
    once merged task_arithmetic 0.6 0.25
    for _ in {1..33}; do set -- "$@" --control "$family/base"; done
    "$WW" lineage replay suspect --recipe recipe.yml "$@" --json -q >answer
    jq -e '.match == 1 and (.match_controls | length) == 68 and
           ([.match_controls[] | select(.control) | [.source, .match]] | unique | length) == 2' answer
}

@test "a difference added to a model is replayed, though without that model weights make nothing" {
    cat >difference.yml <<EOF
merge_method: linear
models:
  - {model: $family/expert-rev, parameters: {weight: 1}}
  - {model: $family/expert-caesar, parameters: {weight: 0.8}}
  - {model: $family/base, parameters: {weight: -0.8}}
dtype: float32
out_dtype: bfloat16
EOF
    "$WW" merge difference.yml difference -q
    "$WW" lineage replay difference --recipe difference.yml --json -q |
        jq -e '.supports and .match > 0.999 and (.match_controls | length) == 3'
}
