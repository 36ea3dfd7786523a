#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
bats_require_minimum_version 1.5.0
load helper

family=$BATS_TEST_DIRNAME/../vectors/amber

# recipe METHOD A B: a merge of the two experts.
blend() {
    cat >recipe.yml <<EOF
merge_method: $1
base_model: $family/base
models:
  - model: $family/expert-rev
    parameters: {weight: $2}
  - model: $family/expert-caesar
    parameters: {weight: $3}
dtype: float32
out_dtype: bfloat16
EOF
    "$WW" merge recipe.yml suspect -q
}
decompose() {
    "$WW" lineage decompose suspect --base "$family/base" \
        --candidate "$family/expert-rev" --candidate "$family/expert-caesar" -q "$@"
}

@test "shares of a merge come out, and its bits with them" {
    blend task_arithmetic 0.6 0.25
    decompose --json >answer
    jq -e '.schema == "weightward.lineage/1" and .word == "decompose" and
           .sources[0].recipe == 0.6 and .sources[1].recipe == 0.25 and
           (.sources | all(.included)) and .replay > 0.999 and .unexplained < 0.001 and
           .method.best == "task_arithmetic" and .status == "exploratory" and
           .root.layers == 4 and .root.fixed_points > 1000 and .root.log10_p < -1000 and
           .sources[0].p_value == null and (.per_layer | length) == 5 and
           (.per_layer | all(.shares[0] > 0.59 and .shares[0] < 0.61))' answer
    run -0 decompose
    [[ $output == "SUPPORTS: "* ]]
    [[ $output == *"exploratory"* ]]
}

@test "findings are the same for any number of threads" {
    blend task_arithmetic 0.3 0.7
    for n in 1 3; do
        decompose --json --threads "$n" | jq 'del(.seconds)' >"t$n"
    done
    cmp t1 t3
}

@test "a candidate that went nowhere is not accused" {
    cp -r "$family/expert-rev" suspect
    decompose --json >answer
    jq -e '.sources[0].recipe == 1 and .sources[0].included and
           (.sources[1].included | not) and .sources[1].share < 0.001 and .replay == 1' answer
}

@test "a source that is not given leaves the answer in part, and no method is named" {
    blend task_arithmetic 0.4 0.5
    "$WW" lineage decompose suspect --base "$family/base" --candidate "$family/expert-rev" --json -q >answer
    jq -e '.sources[0].included and .incomplete and .unexplained > 0.2 and .method.best == "unclear"' answer
    jq -e '.method.not_excluded == []' answer # a sum was not selected
    # No program is to take the nearest recipe for the suspect's.
    jq -e '.method.recipe == null and .method.match < 0.9 and (.method.nearest | test("expert-rev"))' answer
    run -1 "$WW" lineage replay suspect --base "$family/base" --candidate "$family/expert-rev" --json -q
    jq -e '(.supports | not) and .recipe == null and (.nearest | test("expert-rev"))' <<<"$output"
    run -0 "$WW" lineage decompose suspect --base "$family/base" --candidate "$family/expert-rev" -q
    [[ $output == "SUPPORTS IN PART: "*"of the difference is not explained"* && $output == *"; the nearest recipe gives "* ]]
    # Stored wider it is the same: what rounding left at the base was not dropped.
    printf 'merge_method: passthrough\nmodels: [{model: suspect}]\ndtype: float32\n' >wide.yml
    "$WW" merge wide.yml wide -q
    "$WW" lineage decompose wide --base "$family/base" --candidate "$family/expert-rev" --json -q >answer
    jq -e '.sources[0].included and .incomplete and .unexplained > 0.2 and .method.best == "unclear"' answer
}

@test "a small source that is not given is seen by the elements, where a sum hides it" {
    blend task_arithmetic 0.6 0.1
    "$WW" lineage decompose suspect --base "$family/base" --candidate "$family/expert-rev" --json -q >answer
    jq -e '.sources[0].included and .incomplete and .unexplained > 0.01 and .unexplained < 0.05 and
           .method.parts < 0.85 and .method.match < 0.9' answer
}

@test "a twin that stands for a source which is not given leaves a sum in part" {
    "$WW_BIN/perturb_model" "$family/expert-rev" twin 0.003 5
    blend task_arithmetic 0.6 0.25
    "$WW" lineage decompose suspect --base "$family/base" --candidate twin \
        --candidate "$family/expert-caesar" --json -q >answer
    jq -e '.incomplete and .unexplained > 0.001 and .unexplained < 0.01' answer
    "$WW_BIN/perturb_model" "$family/expert-rev" near 0.0004 5
    "$WW" lineage decompose suspect --base "$family/base" --candidate near \
        --candidate "$family/expert-caesar" --json -q >answer
    jq -e '.incomplete and .unexplained < 0.001' answer
}

@test "a source that is not given and went into one tensor leaves the answer in part" {
    cat >recipe.yml <<EOF
merge_method: task_arithmetic
base_model: $family/base
models:
  - model: $family/expert-rev
    parameters: {weight: 0.5}
  - model: $family/expert-caesar
    parameters: {weight: [{filter: layers.1.self_attn.k_proj, value: 3}, {value: 0}]}
dtype: float32
out_dtype: bfloat16
EOF
    "$WW" merge recipe.yml suspect -q
    "$WW" lineage decompose suspect --base "$family/base" --candidate "$family/expert-rev" --json -q >answer
    jq -e '.sources[0].included and .incomplete and .unexplained > 0.2 and .method.best == "unclear" and
           .method.match > 0.9' answer
}

@test "noise that was added is told from a source that is not given" {
    blend task_arithmetic 0.6 0.3
    "$WW_BIN/perturb_model" suspect noisy 0.002 7
    "$WW" lineage decompose noisy --base "$family/base" --candidate "$family/expert-rev" \
        --candidate "$family/expert-caesar" --json -q >answer
    jq -e '(.incomplete | not) and .unexplained > 0.001 and .noise_test.noise_like and
           .noise_test.score < 4 and .noise_test.hides < 0.1 and
           .noise_test.structured < .unexplained' answer
    run -0 "$WW" lineage decompose noisy --base "$family/base" --candidate "$family/expert-rev" \
        --candidate "$family/expert-caesar" -q
    [[ $output == "SUPPORTS: "*"it looks like noise"* ]]
    # As little of a source as the noise is long, below the noise.
    rm -r suspect noisy
    blend task_arithmetic 0.6 0.05
    "$WW_BIN/perturb_model" suspect noisy 0.002 7
    "$WW" lineage decompose noisy --base "$family/base" --candidate "$family/expert-rev" --json -q >answer
    jq -e '.incomplete and (.noise_test | (.noise_like | not) and .score > 4 and .structured > 0)' answer
    run -0 "$WW" lineage decompose noisy --base "$family/base" --candidate "$family/expert-rev" -q
    [[ $output == "SUPPORTS IN PART: "*"is not as noise would be"* ]]
}

@test "a source that changed few tensors is told by those" {
    local numbers
    cat >words.yml <<EOF
merge_method: task_arithmetic
base_model: $family/base
models:
  - model: $family/expert-rev
    parameters: {weight: [{filter: embed_tokens, value: 1}, {value: 0}]}
dtype: bfloat16
EOF
    "$WW" merge words.yml words -q
    # Of all tensors one fit, and where numbers run over the layers means over tensors.
    for numbers in 0.3 "[0.1, 0.9, 0.3, 0.5]"; do
        cat >recipe.yml <<EOF
merge_method: task_arithmetic
base_model: $family/base
models:
  - {model: words, parameters: {weight: 0.6}}
  - {model: $family/expert-caesar, parameters: {weight: $numbers}}
dtype: float32
out_dtype: bfloat16
EOF
        "$WW" merge recipe.yml suspect -q
        "$WW" lineage decompose suspect --base "$family/base" --candidate words \
            --candidate "$family/expert-caesar" --candidate "$family/expert-rev" --json -q >answer
        jq -e '(.sources | map(.included)) == [true, true, false] and (.incomplete | not) and
               .sources[0].share > 0.59 and .sources[0].share < 0.61 and
               .sources[0].interval[0] > 0.58 and .sources[0].interval[1] < 0.62 and
               .method.best == "task_arithmetic"' answer
        # Without it the bits of all other tensors come out, 99 of 100.
        "$WW" lineage decompose suspect --base "$family/base" --candidate "$family/expert-caesar" \
            --candidate "$family/expert-rev" --json -q >answer
        jq -e ".incomplete and .method.match > 0.98" answer
        rm -r suspect
    done
}

@test "a tensor that no candidate changed and the suspect did puts an answer in part" {
    # caesar but for its embeddings, and its embeddings alone.
    local which
    for which in "still 0 1" "words 1 0"; do
        set -- $which
        cat >one.yml <<EOF
merge_method: task_arithmetic
base_model: $family/base
models:
  - model: $family/expert-caesar
    parameters: {weight: [{filter: embed_tokens, value: $2}, {value: $3}]}
dtype: bfloat16
EOF
        "$WW" merge one.yml "$1" -q
    done
    # Where candidates move weights the recipe of what is known gives all bits.
    for which in "0 (.incomplete | not)" "0.6 .incomplete"; do
        cat >recipe.yml <<EOF
merge_method: task_arithmetic
base_model: $family/base
models:
  - {model: still, parameters: {weight: 0.6}}
  - {model: words, parameters: {weight: ${which%% *}}}
dtype: float32
out_dtype: bfloat16
EOF
        "$WW" merge recipe.yml suspect -q
        "$WW" lineage decompose suspect --base "$family/base" --candidate still --json -q >answer
        jq -e "${which#* } and .method.match > 0.999" answer
        [ "${which%% *}" = 0 ] || "$WW" lineage report suspect --base "$family/base" --candidate still --out out -q
        rm -r suspect
    done
    jq -e '.findings[] | select(.about == "completeness") | .scale == "cannot tell" and
           (.basis | test("tensors of the suspect have other bits"))' out/report.json
}

@test "short noise on one source with few rounding steps is told as noise, or as too little" {
    blend task_arithmetic 0.65 0
    "$WW_BIN/perturb_model" suspect noisy 0.002 7
    "$WW" lineage decompose noisy --base "$family/base" --candidate "$family/expert-rev" --json -q >answer
    jq -e '(.incomplete | not) and .noise_test.noise_like and .noise_test.score < 3' answer
    "$WW_BIN/perturb_model" suspect less 0.001 7
    "$WW" lineage decompose less --base "$family/base" --candidate "$family/expert-rev" --json -q >answer
    jq -e '.incomplete and (.noise_test | .score < 3 and .hides < 0.1 and .copies < 6)' answer
    run -0 "$WW" lineage decompose less --base "$family/base" --candidate "$family/expert-rev" -q
    [[ $output == *"so little that a noisy copy of a source would not show"* ]]
}

@test "a source that changed gains of norms alone does not pass for noise" {
    cat >recipe.yml <<EOF
merge_method: task_arithmetic
base_model: $family/base
models:
  - model: $family/expert-rev
    parameters: {weight: 0.5}
  - model: $family/expert-caesar
    parameters: {weight: [{filter: norm, value: 4}, {value: 0}]}
dtype: float32
out_dtype: bfloat16
EOF
    "$WW" merge recipe.yml suspect -q
    "$WW_BIN/perturb_model" suspect noisy 0.001 7
    "$WW" lineage decompose noisy --base "$family/base" --candidate "$family/expert-rev" --json -q >answer
    jq -e '.incomplete and .noise_test.score > 6 and .noise_test.hides < 0.1' answer
}

@test "a weight below zero comes out with its bits, and is told as such" {
    blend task_arithmetic 0.7 -0.4
    decompose --json >answer
    jq -e '.sources[0].recipe == 0.7 and .sources[1].recipe == -0.4 and
           (.sources | all(.included)) and .sources[1].interval[1] < -0.39 and
           .replay > 0.999 and .method.best == "task_arithmetic" and (.incomplete | not) and
           (.per_layer | all(.shares[1] < -0.39 and .shares[1] > -0.41))' answer
    "$WW" lineage report suspect --base "$family/base" --candidate "$family/expert-rev" \
        --candidate "$family/expert-caesar" --out out -q
    jq -e '[.findings[] | select(.about == "source") | .claim | test("was taken away in")] ==
           [false, true]' out/report.json
    run -0 decompose
    [[ $output == "SUPPORTS: "* ]]
    [[ $output == *", 1 of them below zero"*"share -0.4000"*", taken away"* ]]
}

@test "a model that lies farther from the base and went nowhere shifts no share" {
    "$WW_BIN/perturb_model" "$family/base" near 0.003 1
    cat >recipe.yml <<EOF
merge_method: task_arithmetic
base_model: $family/base
models: [{model: near, parameters: {weight: 0.6}}]
dtype: float32
out_dtype: bfloat16
EOF
    "$WW" merge recipe.yml sum -q
    "$WW_BIN/perturb_model" sum suspect 0.0003 2
    "$WW" lineage decompose suspect --base "$family/base" --candidate near \
        --candidate "$family/expert-rev" --json -q >answer
    "$WW" lineage decompose suspect --base "$family/base" --candidate near \
        --control "$family/expert-rev" --json -q >controlled
    jq -se 'all(.[]; .sources[0].interval[0] < 0.6 and .sources[0].interval[1] > 0.6) and
            all(.[]; .sources[0].share > 0.595 and .sources[0].share < 0.605) and
            (.[0].sources[1].included | not) and .[1].sources[0].p_value == 0.5' answer controlled
    run -0 "$WW" lineage decompose suspect --base "$family/base" --candidate near -q
    [[ $output == "SUPPORTS IN PART: "*"may look like a small share: give --control models"* ]]
}

@test "controls give a p-value with the floor that their number sets" {
    blend task_arithmetic 1.0 0.0
    "$WW" lineage decompose suspect --base "$family/base" --candidate "$family/expert-rev" \
        --control "$family/expert-caesar" --json -q >answer
    jq -e '.sources[0].p_value == 0.5' answer
}

@test "a control that is the base, a candidate or another control is no draw of its own" {
    blend task_arithmetic 1.0 0.0
    cp -r "$family/expert-caesar" again
    "$WW" lineage decompose suspect --base "$family/base" --candidate "$family/expert-rev" \
        --control "$family/expert-caesar" --control again --control "$family/base" \
        --control "$family/expert-rev" --json -q >answer
    jq -e '.sources[0].p_value == 0.5 and (.warnings | length) == 3 and
           (.warnings | all(test("left out of the ranks")))' answer
}

@test "a sibling of the suspect that controls match is not accused" {
    "$WW_BIN/perturb_model" "$family/expert-rev" twin 0.003 5
    "$WW" lineage decompose "$family/expert-rev" --base "$family/base" \
        --candidate "$family/expert-caesar" --control twin --json -q >answer
    jq -e '(.sources[0].included | not) and .sources[0].p_value == 1 and (.incomplete | not) and
           (.sources[0].note | test("1 of 1 controls reach as much")) and .method.best == "none" and
           .r2 == 0 and .method.recipe == null' answer
    # Nor without one: it has more in common with the suspect in some tensors than in others.
    run -0 "$WW" lineage decompose "$family/expert-rev" --base "$family/base" \
        --candidate "$family/expert-caesar" -q
    [[ $output == "DOES NOT SUPPORT"* ]]
    "$WW" lineage decompose "$family/expert-rev" --base "$family/base" \
        --candidate "$family/expert-caesar" --json -q >answer
    jq -e '(.sources[0].included | not) and .sources[0].share > 0.3 and (.incomplete | not) and
           (.sources[0].note | test("as siblings have more in common")) and .r2 == 0' answer
    # One that went in has the same in all.
    blend task_arithmetic 0.3 0.7
    run -0 "$WW" lineage decompose suspect --base "$family/base" --candidate "$family/expert-rev" -q
    [[ $output == "SUPPORTS IN PART: "*"may look the same: give --control models"* ]]
}

@test "who controls show to be no source explains nothing, and its part is another's" {
    blend task_arithmetic 0.7 0.5
    "$WW_BIN/perturb_model" "$family/expert-caesar" twin 0.002 5
    "$WW" lineage decompose suspect --base "$family/base" --candidate "$family/expert-rev" \
        --candidate twin --control "$family/expert-caesar" --json -q >answer
    "$WW" lineage decompose suspect --base "$family/base" --candidate "$family/expert-rev" \
        --json -q >alone
    jq -se '.[0].sources[0].included and (.[0].sources[1].included | not) and .[0].incomplete and
            .[0].r2 < .[1].r2 + 0.01 and .[0].method.recipe == null' answer alone
}

@test "a control that went in itself is said to be a candidate, and no keep rates are told" {
    cat >recipe.yml <<EOF
merge_method: dare_linear
base_model: $family/base
models:
- {model: $family/expert-rev, parameters: {weight: 0.5, density: 0.5}}
- {model: $family/expert-caesar, parameters: {weight: 0.4, density: 0.5}}
dtype: float32
out_dtype: bfloat16
EOF
    "$WW" merge recipe.yml suspect -q
    run -0 "$WW" lineage decompose suspect --base "$family/base" \
        --candidate "$family/expert-caesar" --control "$family/expert-rev" -q
    [[ $output == "DOES NOT SUPPORT: "*"such a model is no control but a candidate"* ]]
    [[ $output != *"elements were dropped"* ]]
}

@test "a source that changed nothing but heads which a lock mixed has the share of those" {
    cat >recipe.yml <<EOF
merge_method: task_arithmetic
base_model: $family/base
models:
  - model: $family/expert-rev
    parameters: {weight: [{filter: self_attn, value: 1}, {value: 0}]}
dtype: bfloat16
EOF
    "$WW" merge recipe.yml heads -q
    cat >recipe.yml <<EOF
merge_method: task_arithmetic
base_model: $family/base
models:
  - {model: heads, parameters: {weight: 0.5}}
  - {model: $family/expert-caesar, parameters: {weight: 0.4}}
dtype: bfloat16
EOF
    "$WW" merge recipe.yml open -q
    "$WW" key new lock --out lock --no-passphrase -q
    "$WW" lock open suspect --level dense --key lock -q
    "$WW" lineage decompose suspect --base "$family/base" --candidate heads \
        --candidate "$family/expert-caesar" --json -q >answer
    jq -e '.sources[0].included and .sources[0].note == null and .sources[0].share == .sources[0].heads_share and
           .sources[0].interval[0] <= 0.5 and .sources[0].interval[1] >= 0.5' answer
}

@test "what cannot be told apart says so" {
    blend task_arithmetic 0.5 0.5
    "$WW" lineage decompose suspect --base "$family/base" --candidate "$family/base" \
        --candidate "$family/expert-rev" --candidate "$family/expert-rev" --json -q >answer
    jq -e '(.sources[0].note | test("base")) and .sources[1].note == null and
           (.sources[2].note | test("cannot be told")) and (.sources[2].included | not)' answer
}

@test "the base itself supports nothing" {
    cp -r "$family/base" suspect
    run -0 decompose
    [[ $output == "DOES NOT SUPPORT: "* ]]
}

@test "what is left out is refused by name" {
    refused 2 "--base MODEL" "$WW" lineage decompose "$family/base"
    refused 2 "decompose" "$WW" lineage guess "$family/base"
    refused 4 "nowhere" "$WW" lineage decompose nowhere --base "$family/base" \
        --candidate "$family/expert-rev"
}

@test "a model of another architecture and NaN are refused" {
    mkdir other
    safetensors other/model.safetensors '{"w":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}' 16
    refused 1 "another architecture" "$WW" lineage decompose other --base "$family/base" \
        --candidate "$family/expert-rev"
}

@test "a weight near 1, whose share is a little off, is found by its bits" {
    cat >near.yml <<EOF
merge_method: task_arithmetic
base_model: $family/base
models: [{model: $family/expert-rev, parameters: {weight: 1.02}}]
dtype: float32
out_dtype: bfloat16
EOF
    "$WW" merge near.yml near -q
    "$WW" lineage decompose near --base "$family/base" --candidate "$family/expert-rev" \
        --candidate "$family/expert-caesar" --json -q |
        jq -e '.method.best == "task_arithmetic" and .method.match > 0.999 and
            (.sources[0] | (.share - 1.02 | fabs) < 1e-9 and .interval[1] >= 1.0199999)'
}

@test "weights of a selection in thousandths come out of float16" {
    cat >fine.yml <<EOF
merge_method: ties
base_model: $family/base
models:
  - {model: $family/expert-rev, parameters: {weight: 0.302, density: 0.85}}
  - {model: $family/expert-caesar, parameters: {weight: 0.598, density: 0.85}}
parameters: {normalize: false}
dtype: float32
out_dtype: float16
EOF
    "$WW" merge fine.yml fine -q
    "$WW" lineage decompose fine --base "$family/base" --candidate "$family/expert-rev" \
        --candidate "$family/expert-caesar" --json -q |
        jq -e '.method.best == "ties" and .method.match > 0.999'
}
