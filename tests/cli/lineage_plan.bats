#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
bats_require_minimum_version 1.5.0
load helper

family=$BATS_TEST_DIRNAME/../vectors/amber
models=(--base "$family/base" --candidate "$family/expert-rev")

suspect() {
    cp -r "$family/expert-rev" suspect
    "$WW" key new signing --out me --no-passphrase -q
    "$WW" lineage plan plan "${models[@]}" --control "$family/expert-caesar" --seed 5 \
        --sign me.key -q
}
planned() {
    "$WW" lineage "$1" suspect "${models[@]}" --control "$family/expert-caesar" --seed 5 \
        --plan plan --key me.pub -q "${@:2}"
}

@test "a run that was planned is confirmatory, another one exploratory" {
    suspect
    planned decompose --json | jq -e '.status == "confirmatory" and .sources[0].recipe == 1'
    planned replay --json | jq -e '.status == "confirmatory" and .supports'
    "$WW" lineage decompose suspect "${models[@]}" --json -q |
        jq -e '.status == "exploratory"'
    run -0 planned decompose
    [[ $output == *"confirmatory, as the plan says"* ]]
}

@test "a run that differs from its plan is refused before the suspect is opened" {
    suspect
    rm -r suspect
    refused 1 "seed 5, the run has 6" "$WW" lineage decompose suspect "${models[@]}" \
        --control "$family/expert-caesar" --seed 6 --plan plan --key me.pub
    refused 1 "1 controls, 0 are given" "$WW" lineage decompose suspect "${models[@]}" \
        --seed 5 --plan plan --key me.pub
    refused 1 "1 candidates, 2 are given" "$WW" lineage replay suspect "${models[@]}" \
        --candidate "$family/expert-caesar" --control "$family/expert-caesar" --seed 5 \
        --plan plan --key me.pub
    refused 1 "not the model that plan" "$WW" lineage decompose suspect \
        --base "$family/base" --candidate "$family/expert-caesar" \
        --control "$family/expert-caesar" --seed 5 --plan plan --key me.pub
    refused 4 "suspect" planned decompose
}

@test "a model that changed since the plan is refused" {
    suspect
    cp -r "$family/expert-caesar" control
    chmod -R u+w control
    "$WW" lineage plan other "${models[@]}" --control control --sign me.key -q
    flip control/model.safetensors 500001
    refused 1 "not the model that plan" "$WW" lineage decompose suspect "${models[@]}" \
        --control control --plan other --key me.pub
}

@test "a changed plan and another key's plan are refused" {
    suspect
    "$WW" key new signing --out other --no-passphrase -q
    refused 1 "plan 'plan'" "$WW" lineage decompose suspect "${models[@]}" --plan plan \
        --key other.pub
    jq -c '.dsseEnvelope.payload |= (@base64d | sub("\"seed\":5"; "\"seed\":6") | @base64)' \
        plan >changed
    refused 1 "plan 'changed'" "$WW" lineage decompose suspect "${models[@]}" \
        --control "$family/expert-caesar" --seed 6 --plan changed --key me.pub
    refused 2 "needs --key" "$WW" lineage decompose suspect "${models[@]}" --plan plan
    refused 2 "add --plan" "$WW" lineage decompose suspect "${models[@]}" --key me.pub
    refused 4 "nowhere" "$WW" lineage decompose suspect "${models[@]}" --plan nowhere \
        --key me.pub
}

@test "a plan needs a signature and a new file" {
    suspect
    refused 2 "--sign KEY" "$WW" lineage plan again "${models[@]}"
    refused 4 "plan" "$WW" lineage plan plan "${models[@]}" --sign me.key
    nothing_written again
    echo "merge_method: linear" >recipe.yml
    refused 2 "one of the two" "$WW" lineage replay suspect --recipe recipe.yml --plan plan \
        --key me.pub
}
