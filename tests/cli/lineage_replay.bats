#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
bats_require_minimum_version 1.5.0
load helper

family=$BATS_TEST_DIRNAME/../vectors/amber

# recipe METHOD WEIGHT WEIGHT [LINE]: the two experts; LINE is one more of the whole.
recipe() {
    cat <<EOF
merge_method: $1
base_model: $family/base
models:
  - model: $family/expert-rev
    parameters: {weight: $2, density: 0.6}
  - model: $family/expert-caesar
    parameters: {weight: $3, density: 0.6}
${4:-}
dtype: float32
out_dtype: bfloat16
EOF
}
merged() {
    recipe "$@" >recipe.yml
    "$WW" merge recipe.yml suspect -q
}
infer() {
    "$WW" lineage replay suspect --base "$family/base" --candidate "$family/expert-rev" \
        --candidate "$family/expert-caesar" -q "$@"
}

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

@test "each source of TIES may have a density of its own" {
    merged ties 0.6 0.5 "parameters: {normalize: false}"
    sed '0,/density: 0.6/s//density: 0.3/' recipe.yml >own.yml
    rm -r suspect
    "$WW" merge own.yml suspect -q
    "$WW" lineage decompose suspect --base "$family/base" --candidate "$family/expert-rev" \
        --candidate "$family/expert-caesar" --json -q >answer
    jq -e '.method.best == "ties" and .method.match > 0.999 and
           (.method.recipe | test("density: 0.3") and test("density: 0.6"))' answer
}

@test "sources of SCE are found by the bits where a sum does not show them" {
    merged dare_linear 0.8 -0.8
    mv suspect third
    cat >recipe.yml <<EOF
merge_method: sce
base_model: $family/base
models: [{model: $family/expert-rev}, {model: $family/expert-caesar}, {model: third}]
parameters: {select_topk: 0.2}
dtype: float32
out_dtype: bfloat16
EOF
    "$WW" merge recipe.yml suspect -q
    "$WW" lineage decompose suspect --base "$family/base" --candidate "$family/expert-rev" \
        --candidate "$family/expert-caesar" --candidate third --json -q >answer
    jq -e '.method.best == "sce" and .method.match > 0.999 and (.sources | all(.included)) and
           (.sources | map(select(.note)) | length) > 0' answer
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
}

@test "dropping by chance is told from dropping by size" {
    merged dare_linear 0.5 0.5
    "$WW" lineage decompose suspect --base "$family/base" --candidate "$family/expert-rev" \
        --candidate "$family/expert-caesar" --json -q >answer
    jq -e '.method.best == "dare_linear" and (.method.not_excluded | index("dare_ties")) and
           (.method.keep_rates | length) == 20 and (.sources | all(.included))' answer
}

@test "replays are the same for any number of threads" {
    merged ties 0.7 0.7
    for n in 1 3; do
        "$WW" lineage replay suspect --recipe recipe.yml --json -q --threads "$n" |
            jq 'del(.seconds)' >"t$n"
    done
    cmp t1 t3
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
