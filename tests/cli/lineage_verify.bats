#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
bats_require_minimum_version 1.5.0
load helper

family=$BATS_TEST_DIRNAME/../vectors/amber

merged() {
    cat >recipe.yml <<EOF
merge_method: task_arithmetic
base_model: $family/base
models:
  - model: $family/expert-rev
    parameters: {weight: 0.6}
  - model: $family/expert-caesar
    parameters: {weight: 0.25}
dtype: float32
out_dtype: bfloat16
EOF
    "$WW" merge recipe.yml suspect -q
    chmod -R u+w suspect
}
card() {
    rm -f suspect/mergekit_config.yml
    printf -- '---\nbase_model: [%s]\n---\ntext\n' "$1" >suspect/README.md
}
verify() {
    "$WW" lineage verify suspect -q "$@"
}
here=(--source org/base="$family/base" --source org/rev="$family/expert-rev"
    --source org/caesar="$family/expert-caesar" --base "$family/base")

@test "the recipe in a folder agrees with its weights" {
    merged
    verify --json | jq -e '.agrees and .declared_by == "mergekit_config.yml" and
        .match == 1 and (.declared | length) == 2 and (.declared | all(.observed))'
    run -0 verify
    [[ $output == "AGREES: "* ]]
}

@test "a recipe that was not followed disagrees" {
    merged
    sed -i 's/0.25/0.4/' suspect/mergekit_config.yml
    run -1 verify --json
    jq -e '.agrees == false and (.why | test("does not give"))' <<<"$output"
}

@test "a recipe whose bits a candidate gives as well is a true one, and one that it gives better is not" {
    merged
    cp -r "$family/expert-rev" copy
    for same in copy "$family/expert-rev"; do
        run -0 verify --candidate "$same"
        [[ $output == "AGREES: "*"as it does with a candidate in the place of one of its sources"* ]]
    done
    "$WW_BIN/perturb_model" "$family/expert-rev" twin 0.0001 1
    sed -i "s,$family/expert-rev,$PWD/twin," suspect/mergekit_config.yml
    run -1 verify --candidate "$family/expert-rev"
    [[ $output == "DISAGREES: "* ]]
    cp recipe.yml suspect/mergekit_config.yml
    sed -i "/^dtype/i\\  - {model: $PWD/twin, parameters: {weight: 0}}" suspect/mergekit_config.yml
    run -1 verify
    [[ $output == "DISAGREES: "*"as well without one of its sources"* ]]
}

@test "a recipe that makes little of what the folder holds cannot be told" {
    merged
    LC_ALL=C sed -i 's/model\.layers\./model.lazers./g' suspect/model.safetensors
    run -6 verify
    [[ $output == "COULD NOT TELL: "*"fewer than half"* ]]
}

@test "models of a recipe may lie elsewhere; one that is nowhere cannot be told" {
    merged
    cp suspect/mergekit_config.yml kept
    sed -i "s,$family/expert-rev,org/rev," suspect/mergekit_config.yml
    run -6 verify
    [[ $output == "COULD NOT TELL: "* ]]
    verify --source org/rev="$family/expert-rev" --json | jq -e '.agrees'
}

@test "a card that names the sources agrees, one that leaves a source out does not" {
    merged
    card "org/base, org/rev, org/caesar"
    verify "${here[@]}" --json | jq -e '.agrees and .declared_by == "README.md" and
        (.declared | length) == 2 and (.declared[0].share > 0.59)'
    card "org/rev"
    run -1 verify "${here[@]}" --candidate "$family/expert-caesar"
    [[ $output == *"is not declared, and supported"* ]]
}

@test "a relative of a source that is not here is not accused" {
    merged
    cat >cousin.yml <<EOF
merge_method: dare_linear
base_model: $family/base
models: [{model: $family/expert-caesar, parameters: {weight: 1, density: 0.5}}]
dtype: float32
out_dtype: bfloat16
EOF
    "$WW" merge cousin.yml cousin -q
    card "org/rev"
    run -6 verify "${here[@]}" --candidate cousin
    [[ $output == "COULD NOT TELL: "*"relatives of a source"*"'cousin' is not declared, and looks like a source"* ]]
    # Nor does it stand for a source.
    card "org/rev, org/cousin"
    run -6 verify "${here[@]}" --source org/cousin=cousin
    [[ $output == "COULD NOT TELL: "*"a relative stands for a source"*"looks like a source"* ]]
}

@test "a declared source that is not in the weights disagrees" {
    merged
    cp "$family/expert-rev/model.safetensors" suspect/
    card "org/rev, org/caesar"
    run -1 verify "${here[@]}"
    [[ $output == *"'org/caesar' is declared in README.md: not supported"* ]]
}

@test "a model is the one in its folder, whatever path leads there" {
    merged
    ln -s "$family/base" root
    card "org/base, org/rev, org/copy, org/caesar"
    run -0 verify "${here[@]}" --source org/base=root --source org/copy="$family/expert-rev/" --base root
    run -0 verify "${here[@]/%"/base"/"/base/"}" --source org/copy="$family/expert-rev" --candidate "$family/expert-rev/"
    # A copy of the base says nothing.
    cp -r "$family/base" copy
    run -6 verify "${here[@]}" --source org/copy=copy
    [[ $output == *"'org/copy' is declared in README.md: the weights say nothing of it"* ]]
}

@test "a merge that is declared as one model's fine-tune or rounding cannot be told" {
    merged
    card "org/rev"
    run -6 verify "${here[@]}"
    [[ $output == "COULD NOT TELL: "*"smaller share"* ]]
    printf -- '---\nbase_model: org/rev\nbase_model_relation: quantized\n---\n' >suspect/README.md
    run -6 verify "${here[@]}"
    [[ $output == "COULD NOT TELL: "*"quantised copy"* ]]
}

@test "a recipe that draws its elements by chance is held against a draw" {
    merged
    sed -e 's/task_arithmetic/dare_linear/' -e 's/}$/, density: 0.5}/' recipe.yml >drawn.yml
    "$WW" merge drawn.yml drawn --seed 5 -q
    "$WW" lineage verify drawn -q --json | jq -e '.agrees and .drawn and .match < 0.9 and
        (.declared | all(.observed and .share > 0.2))'
    while IFS='|' read -r wrong word; do
        sed "$wrong" drawn.yml >wrong.yml
        run -1 "$WW" lineage replay drawn --recipe wrong.yml -q
        [[ $output == *"no such draw: "*"$word"* ]]
    done <<EOF
s/0.25/0.35/|the share of '$family/expert-caesar' is 0.2
s/0.25/0.61/;s/0.6,/0.25,/|the share of '$family/expert-rev' is 0.5
s/0.5}/0.6}/|of the elements left the base
s/dare_linear/della_linear/|or method
s,base_model: .*/base,base_model: $family/expert-rev,|
EOF
    # Of two sources it names one.
    chmod -R u+w drawn
    sed '/expert-caesar/,+1d' drawn.yml >drawn/mergekit_config.yml
    run -1 "$WW" lineage verify drawn -q
    [[ $output == "DISAGREES: the share of"* ]]
    run -1 "$WW" lineage verify drawn -q --candidate "$family/expert-caesar"
    [[ $output == *"'$family/expert-caesar' is not declared"* ]]
}

@test "what is not here or not declared could not be told" {
    merged
    card "org/rev, org/unknown"
    run -6 verify "${here[@]}" --json
    jq -e '.agrees == null and (.declared[1].found | not) and
        .declared[0].observed == null' <<<"$output"
    rm suspect/README.md
    run -6 verify
    [[ $output == *"declares nothing"* ]]
    card "org/rev, org/caesar"
    refused 4 "cannot open folder.*nowhere" verify "${here[@]}" --base nowhere # not the recipe that is none
    printf 'no card\n' >suspect/README.md
    run -6 verify
    printf -- '---\nbase_model: {a: [b\n---\n' >suspect/README.md
    run -6 verify
}

@test "a card that is read in part is not taken for all that it declares" {
    merged
    rm suspect/mergekit_config.yml
    while IFS='|' read -r said word; do
        printf -- "---\n$said\n---\n" >suspect/README.md
        run -6 verify "${here[@]}" --candidate "$family/expert-caesar" --json
        jq -e --arg word "$word" '.why | test($word)' <<<"$output"
    done <<'EOR'
base_model:\n- org/rev\n- name: org/caesar\n  revision: main|no name of a model
base_model: {name: org/rev}|no name of a model
base_model: [[org/rev, org/caesar]]|no name of a model
base_model:\n\t- org/rev|cannot be read as YAML
base_model: org/rev\nbase_model: org/caesar|cannot be read as YAML
base_model: []|declares nothing
base_models: [org/rev]|declares nothing
base_model: [org/rev@main, org/caesar]|is not here
EOR
}

@test "wrong arguments are refused" {
    refused 2 "NAME=PATH" "$WW" lineage verify suspect --source name
    refused 4 "nowhere" "$WW" lineage verify nowhere
}
