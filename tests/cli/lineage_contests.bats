#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Many recipes are computed for an answer: too slow for sanitizers.
bats_require_minimum_version 1.5.0
load helper
load recipes

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

@test "TIES that is divided by its weights and scaled by lambda is found as it was written" {
    merged ties 0.7 0.4 "parameters: {normalize: true, lambda: 0.8}"
    "$WW" lineage decompose suspect --base "$family/base" --candidate "$family/expert-rev" \
        --candidate "$family/expert-caesar" --json -q >answer
    jq -e '.method.best == "ties" and .method.match > 0.999 and
           (.method.recipe | test("lambda: 0.8") and test("normalize: true") and
                             test("weight: 0.7") and test("weight: 0.4"))' answer
}

@test "of a model that was scaled, and of a sum of less than a model, shares are the weights" {
    recipe linear 0.6 0.3 | sed -e 's/, density: 0.6//' -e '/^base_model/d' >recipe.yml
    echo "parameters: {normalize: false}" >>recipe.yml
    "$WW" merge recipe.yml suspect -q
    "$WW" lineage decompose suspect --base "$family/base" --candidate "$family/expert-rev" \
        --candidate "$family/expert-caesar" --json -q >answer
    jq -e '.method.best == "linear" and .sources[0].share == 0.6 and .sources[1].share == 0.3 and
           .sources[1].interval[0] < 0.3 and .sources[1].interval[1] > 0.3' answer
    printf 'merge_method: passthrough\nmodels:\n  - {model: %s, parameters: {scale: 0.95}}\n' \
        "$family/expert-rev" >recipe.yml
    "$WW" merge recipe.yml scaled -q
    "$WW" lineage decompose scaled --base "$family/base" --candidate "$family/expert-rev" \
        --candidate "$family/expert-caesar" --json -q >answer
    jq -e '.method.best == "passthrough" and .sources[0].share == 0.95' answer
}

@test "weights of twins in a scaled sum have intervals as wide as the bits leave them" {
    recipe linear 0.95 0.05 | sed -e 's/, density: 0.6//' -e '/^base_model/d' >recipe.yml
    "$WW" merge recipe.yml twin -q
    recipe linear 0.333 0.567 "parameters: {normalize: false}" |
        sed -e 's/, density: 0.6//' -e '/^base_model/d' -e "s|$family/expert-caesar|twin|" >recipe.yml
    "$WW" merge recipe.yml suspect -q
    "$WW" lineage decompose suspect --base "$family/base" --candidate "$family/expert-rev" \
        --candidate twin --json -q >answer
    jq -e '.method.best == "linear" and
           .sources[0].interval[0] < 0.333 and .sources[0].interval[1] > 0.333 and
           .sources[1].interval[0] < 0.567 and .sources[1].interval[1] > 0.567' answer
}

@test "where a sum of less than a model is not found, shares are said to be a guess" {
    recipe linear 0.97 0.03 | sed -e 's/, density: 0.6//' -e '/^base_model/d' >recipe.yml
    "$WW" merge recipe.yml twin -q
    for whole in false true; do
        rm -rf suspect
        recipe linear 0.333 0.567 "parameters: {normalize: $whole}" |
            sed -e 's/, density: 0.6//' -e '/^base_model/d' -e "s|$family/expert-caesar|twin|" >recipe.yml
        "$WW" merge recipe.yml suspect -q
        "$WW" lineage decompose suspect --base "$family/base" --candidate "$family/expert-rev" \
            --candidate twin --json -q >answer
        # Neither interval holds the weight, and the note says that they may not.
        jq -e --argjson whole $whole '[.warnings[]? | test("the base is in the suspect at 0.90 of its size")] |
               any == ($whole | not)' answer
        $whole || jq -e '.method.match < 0.99 and .sources[0].interval[0] > 0.333' answer
    done
}

@test "a relative that takes up what TIES leaves is no source where the recipe weighs it with nothing" {
    recipe ties 1 0 "parameters: {normalize: false}" | sed 's/density: 0.6/density: 0.3/' >recipe.yml
    "$WW" merge recipe.yml relative -q
    merged ties 0.6 0.5
    "$WW" lineage decompose suspect --base "$family/base" --candidate "$family/expert-rev" \
        --candidate "$family/expert-caesar" --candidate relative --json -q >answer
    jq -e '.method.best == "ties" and .method.match > 0.999 and .sources[2].share > 0.1 and
           [.sources[].included] == [true, true, false] and
           (.method.recipe | test("relative") | not)' answer
}

@test "breadcrumbs with elected signs are told from TIES" {
    merged breadcrumbs_ties 0.6 0.5
    "$WW" lineage decompose suspect --base "$family/base" --candidate "$family/expert-rev" \
        --candidate "$family/expert-caesar" --json -q >answer
    jq -e '.method.best == "breadcrumbs_ties" and .method.match > 0.999' answer
}

@test "weights that count beside their sum alone are found as they were written" {
    recipe multislerp 0.6 0.4 | sed 's/, density: 0.6//' >recipe.yml
    "$WW" merge recipe.yml suspect -q
    "$WW" lineage decompose suspect --base "$family/base" --candidate "$family/expert-rev" \
        --candidate "$family/expert-caesar" -q >said
    grep -q '^method: multislerp; the best recipe gives 1.0000 of the bits of a sample' said
    # Parts of their sum that are no hundredths.
    recipe multislerp 0.33 0.52 | sed 's/, density: 0.6//' >recipe.yml
    "$WW" merge recipe.yml other -q
    "$WW" lineage decompose other --base "$family/base" --candidate "$family/expert-rev" \
        --candidate "$family/expert-caesar" --json -q |
        jq -e '.method.best == "multislerp" and .method.match > 0.99'
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

@test "dropping by chance is told from dropping by size" {
    merged dare_linear 0.5 0.5
    "$WW" lineage decompose suspect --base "$family/base" --candidate "$family/expert-rev" \
        --candidate "$family/expert-caesar" --json -q >answer
    jq -e '.method.best == "dare_linear" and .method.not_excluded == ["sce"] and
           (.method.keep_rates | length) == 20 and (.sources | all(.included)) and
           .method.parts > 0.95 and (.sources | all(.kept > 0.57 and .kept < 0.63))' answer
    # One by one, the elements show no other source, and what is printed says so.
    "$WW" lineage report suspect --base "$family/base" --candidate "$family/expert-rev" \
        --candidate "$family/expert-caesar" --out out -q
    jq -e '[.findings[] | select(.about == "source") | .basis |
            test("so that nothing shows another one")] == [true, true]' out/report.json
}

@test "what signs drop is told from what length drops" {
    merged dare_ties 0.5 0.5
    "$WW" lineage decompose suspect --base "$family/base" --candidate "$family/expert-rev" \
        --candidate "$family/expert-caesar" --json -q >answer
    jq -e '.method.best == "dare_ties" and
           (.method.not_excluded | index("dare_linear") == null and index("della_linear") == null)' answer
}

@test "a source that is not given shows where elements were dropped by chance" {
    merged dare_linear 0.5 0.5
    "$WW" lineage decompose suspect --base "$family/base" --candidate "$family/expert-rev" --json -q >answer
    jq -e '.sources[0].included and .incomplete and .method.parts < 0.85' answer
}

@test "sums over some of the given sources say that elements were selected, where one is not given" {
    "$WW_BIN/perturb_model" "$family/base" third 0.001 5
    cat >recipe.yml <<EOF
merge_method: ties
base_model: $family/base
models:
  - {model: $family/expert-rev, parameters: {weight: 0.6, density: 0.8}}
  - {model: $family/expert-caesar, parameters: {weight: 0.7, density: 0.7}}
  - {model: third, parameters: {weight: 0.5, density: 0.8}}
parameters: {normalize: true}
dtype: float32
out_dtype: bfloat16
EOF
    "$WW" merge recipe.yml suspect -q
    "$WW" lineage decompose suspect --base "$family/base" --candidate "$family/expert-rev" \
        --candidate "$family/expert-caesar" --json -q >answer
    jq -e '.incomplete and .method.best == "unclear" and .method.parts < 0.85 and
           (.method.not_excluded | index("ties") and (index("linear") | not))' answer
}

@test "a few elements that were dropped from each of two sources are seen" {
    recipe dare_linear 0.5 0.5 | sed 's/density: 0.6/density: 0.9/' >recipe.yml
    "$WW" merge recipe.yml suspect -q
    "$WW" lineage decompose suspect --base "$family/base" --candidate "$family/expert-rev" \
        --candidate "$family/expert-caesar" --json -q >answer
    jq -e '.method.best == "dare_linear" and (.incomplete | not) and
           (.sources | all(.kept > 0.88 and .kept < 0.92))' answer
}

@test "what another source fills in where TIES dropped leaves the answer in part" {
    merged ties 0.6 0.6 "parameters: {normalize: false}"
    for given in expert-rev expert-caesar; do
        "$WW" lineage decompose suspect --base "$family/base" --candidate "$family/$given" --json -q >answer
        jq -e '.incomplete and .method.best == "unclear" and (.method.keep_rates == null) and
               (.method.not_excluded | index("ties with a source that was not given"))' answer
    done
}
