#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Stacks of layers, numbers that run over the layers, and adapters that were merged in.
bats_require_minimum_version 1.5.0
load helper

family=$BATS_TEST_DIRNAME/../vectors/amber

decompose() {
    "$WW" lineage decompose suspect --base "$family/base" \
        --candidate "$family/expert-rev" --candidate "$family/expert-caesar" -q "$@"
}
replay() {
    "$WW" lineage replay suspect --base "$family/base" \
        --candidate "$family/expert-rev" --candidate "$family/expert-caesar" -q "$@"
}
# slices METHOD RANGE...: "rev 0 3" is layers 0 to 2 of that expert.
stack() {
    {
        echo "merge_method: passthrough"
        echo "slices:"
        for range in "$@"; do
            # shellcheck disable=SC2086
            set -- $range
            [ "$1" = base ] || set -- "expert-$1" "$2" "$3"
            echo "  - sources: [{model: $family/$1, layer_range: [$2, $3]}]"
        done
        echo "dtype: ${dtype:-bfloat16}"
    } >recipe.yml
    "$WW" merge recipe.yml suspect -q
}
# places ANSWER: "expert-rev 0, ..." of each layer.
places() {
    jq -r '[.places[] | (.model // "-" | split("/")[-1]) + " " + (.of_layer | tostring)] | join(", ")' "$1"
}

@test "layers of two models come out as slices, and replay gives every bit" {
    stack "rev 0 3" "caesar 1 4"
    decompose --json >answer
    [ "$(places answer)" = "expert-rev 0, expert-rev 1, expert-rev 2, expert-caesar 1, expert-caesar 2, expert-caesar 3" ]
    jq -e '.method.best == "passthrough" and .method.match == 1 and (.sources | all(.included)) and
           .unexplained == 0 and .replay == 1 and (.places | all(.cosine > 0.9))' answer
    jq -r .method.recipe answer >found.yml
    "$WW" merge found.yml again -q
    cmp suspect/model.safetensors again/model.safetensors
    run -0 decompose
    [[ $output == *"layers: 0 to 2 are 0 to 2 of '"*"expert-rev', 3 to 5 are 1 to 3 of '"*"expert-caesar'"* ]]
    replay --json >answer
    jq -e '.supports and .method == "passthrough" and .match == 1' answer
}

@test "layers that are repeated, left out, or in their own places are found" {
    stack "rev 0 3" "rev 1 3" "rev 2 4"
    decompose --json >answer
    [ "$(places answer | tr -d a-z,-)" = " 0  1  2  1  2  2  3" ]
    jq -e '.method.best == "passthrough" and .sources[0].included and (.sources[1].included | not)' answer
    rm -r suspect
    stack "base 0 1" "base 2 4"
    decompose --json >answer
    [ "$(places answer)" = "base 0, base 2, base 3" ]
    jq -e '.method.best == "passthrough" and .method.match == 1' answer
    rm -r suspect
    stack "rev 0 2" "caesar 2 4"
    decompose --json >answer
    [ "$(places answer)" = "expert-rev 0, expert-rev 1, expert-caesar 2, expert-caesar 3" ]
    jq -e '.method.best == "passthrough" and (.sources | all(.included))' answer
    rm -r suspect
    dtype=float32 stack "rev 0 2" "caesar 2 4"
    decompose --json >answer
    [ "$(places answer)" = "expert-rev 0, expert-rev 1, expert-caesar 2, expert-caesar 3" ]
    jq -e '.method.best == "passthrough" and .method.match == 1' answer
}

@test "layers that only begin like those of models are no stack" {
    local file=suspect/model.safetensors head from end
    stack "rev 0 2" "caesar 2 4"
    head=$(od -An -tu8 -N8 "$file" | tr -d ' ')
    tail -c +9 "$file" | head -c "$head" |
        jq -r 'del(.__metadata__)[].data_offsets | select(.[1] - .[0] > 8192) | @tsv' >offsets
    [ -s offsets ]
    while read -r from end; do
        head -c $((end - from - 8192)) /dev/zero | tr '\0' '<' |
            dd of="$file" seek=$((8 + head + from + 8192)) oflag=seek_bytes conv=notrunc status=none
    done <offsets
    decompose --json >answer
    [ "$(places answer)" = "expert-rev 0, expert-rev 1, expert-caesar 2, expert-caesar 3" ]
    jq -e '.method.best != "passthrough" and .method.match < 0.5' answer
    run -0 decompose
    [[ $output == *"layers: 0 to 1 begin as 0 to 1 of '"*"expert-rev', 2 to 3 begin as 2 to 3 of '"* ]]
}

@test "a layer that is like none is told apart from those behind it" {
    local file=suspect/model.safetensors head from end
    stack "rev 0 2" "rev 0 4"
    head=$(od -An -tu8 -N8 "$file" | tr -d ' ')
    tail -c +9 "$file" | head -c "$head" |
        jq -r 'to_entries[] | select(.key | test("layers[.][01][.]")) | .value.data_offsets | @tsv' >offsets
    [ -s offsets ]
    while read -r from end; do
        head -c $((end - from)) /dev/urandom | tr '\200-\377' '\000-\177' | tr '\100-\177' '\000-\077' |
            dd of="$file" seek=$((8 + head + from)) oflag=seek_bytes conv=notrunc status=none
    done <offsets
    decompose --json >answer
    [ "$(places answer)" = "- null, - null, expert-rev 0, expert-rev 1, expert-rev 2, expert-rev 3" ]
    run -0 decompose
    [[ $output == *"layers: 0 to 1 are like none, 2 to 5 begin as 0 to 3 of '"*"expert-rev'"* ]]
}

@test "a blend of stacked layers is a sum with slices" {
    cat >recipe.yml <<YML
merge_method: task_arithmetic
base_model: $family/base
slices:
  - sources:
      - {model: $family/base, layer_range: [0, 3]}
      - {model: $family/expert-rev, layer_range: [0, 3], parameters: {weight: 0.6}}
      - {model: $family/expert-caesar, layer_range: [0, 3], parameters: {weight: 0.25}}
  - sources:
      - {model: $family/base, layer_range: [1, 4]}
      - {model: $family/expert-rev, layer_range: [1, 4], parameters: {weight: 0.6}}
      - {model: $family/expert-caesar, layer_range: [1, 4], parameters: {weight: 0.25}}
dtype: float32
out_dtype: bfloat16
YML
    "$WW" merge recipe.yml suspect -q
    decompose --json >answer
    [ "$(places answer)" = "- 0, - 1, - 2, - 1, - 2, - 3" ]
    jq -e '.method.best == "task_arithmetic" and .method.match > 0.999 and
           .sources[0].recipe == 0.6 and .sources[1].recipe == 0.25' answer
    jq -r .method.recipe answer >found.yml
    "$WW" merge found.yml again -q
    cmp suspect/model.safetensors again/model.safetensors
}

@test "weights that run over the layers come out as lists" {
    cat >recipe.yml <<YML
merge_method: task_arithmetic
base_model: $family/base
models:
  - {model: $family/expert-rev, parameters: {weight: [0.7, 0.2]}}
  - {model: $family/expert-caesar, parameters: {weight: [0.1, 0.4, 0.3]}}
dtype: float32
out_dtype: bfloat16
YML
    "$WW" merge recipe.yml suspect -q
    decompose --json >answer
    jq -e '.method.best == "task_arithmetic" and .method.gradient and .method.match > 0.999 and .varies and
           (.per_layer[0].shares[0] | . > 0.69 and . < 0.71) and
           (.per_layer[3].shares[0] | . > 0.19 and . < 0.21) and
           (.method.recipe | test("\\[0.7, 0.2\\]") and test("\\[0.1, 0.4, 0.3\\]"))' answer
    replay --json >answer
    jq -e '.supports and .match > 0.999 and (.match_controls | all(.match < 0.9))' answer
}

@test "attention and feed-forward may have numbers of their own" {
    cat >recipe.yml <<YML
merge_method: slerp
base_model: $family/expert-rev
models: [{model: $family/expert-rev}, {model: $family/expert-caesar}]
parameters:
  t:
    - {filter: self_attn, value: [0, 0.5, 0.3, 0.7]}
    - {filter: mlp, value: [1, 0.5, 0.7, 0.3]}
    - {value: 0.5}
dtype: float32
out_dtype: bfloat16
YML
    "$WW" merge recipe.yml suspect -q
    decompose --json >answer
    jq -e '.method.best == "slerp" and .method.gradient and .method.match > 0.999 and
           (.method.recipe | test("filter: self_attn"))' answer
}

@test "an adapter that was merged in leaves its rank" {
    "$WW" extract "$family/base" "$family/expert-rev" adapter --rank 4 -q
    for model in base expert-caesar; do
        printf 'merge_method: passthrough\nmodels: [{model: %s+adapter}]\n' "$family/$model" >recipe.yml
        "$WW" merge recipe.yml suspect -q
        "$WW" lineage decompose suspect --base "$family/base" --candidate "$family/expert-caesar" --json -q >answer
        jq -e --arg of "$model" '.method.best == "lora" and (.ranks | length) > 20 and
            ([.ranks[] | select(.rank == 4)] | length) >= 0.9 * (.ranks | length) and
            (.ranks | all(.rank <= 5)) and .sources[0].included == ($of != "base")' answer
        rm -r suspect
    done
    # In a blend, candidates have taken up a part of it.
    printf 'merge_method: task_arithmetic\nbase_model: %s\nmodels:\n' "$family/base" >recipe.yml
    printf '  - {model: %s, parameters: {weight: %s}}\n' "$family/expert-caesar" 0.6 "$family/base+adapter" 0.15 >>recipe.yml
    "$WW" merge recipe.yml suspect -q
    "$WW" lineage decompose suspect --base "$family/base" --candidate "$family/expert-caesar" --json -q >answer
    jq -e '.method.best == "lora" and .sources[0].included and .incomplete' answer
    # As it is, it is as little of them.
    "$WW" lineage decompose adapter --base "$family/base" --candidate "$family/expert-rev" \
        --candidate "$family/expert-caesar" --json -q >answer
    jq -e '.method.best == "lora" and (.ranks | all(.rank == 4)) and (.incomplete | not) and
           (.sources | all(.included | not))' answer
}

@test "a full fine-tune is not called an adapter" {
    cp -r "$family/expert-rev" suspect
    "$WW" lineage decompose suspect --base "$family/base" --candidate "$family/expert-caesar" --json -q >answer
    jq -e '.method.best != "lora" and .ranks == null' answer
}

@test "findings about the depth are the same for any number of threads" {
    stack "rev 0 3" "caesar 1 4"
    for n in 1 3; do
        decompose --json --threads "$n" | jq 'del(.seconds)' >"t$n"
    done
    cmp t1 t3
}

@test "a path between twins that a sum with lists nearly gives is not excluded" {
    cat >recipe.yml <<EOF
merge_method: linear
models:
  - {model: $family/expert-rev, parameters: {weight: 0.97}}
  - {model: $family/expert-caesar, parameters: {weight: 0.03}}
dtype: float32
out_dtype: bfloat16
EOF
    "$WW" merge recipe.yml twin -q
    cat >recipe.yml <<EOF
merge_method: slerp
base_model: $family/expert-rev
models: [{model: $family/expert-rev}, {model: twin}]
parameters: {t: [0.1, 0.3]}
dtype: float32
out_dtype: bfloat16
EOF
    "$WW" merge recipe.yml suspect -q
    "$WW" lineage decompose suspect --base "$family/base" --candidate "$family/expert-rev" \
        --candidate twin --json -q >answer
    jq -e '.method.gradient and .method.match > 0.99 and .method.match < 0.999 and
           (.method.not_excluded | index("slerp"))' answer
}
