#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# EMR as a package: the unified model, and for each task a mask of one bit per weight with
# its factor; a task's model comes back out of it bit for bit.
bats_require_minimum_version 1.5.0
load helper

# emr TASK MASK [MORE]: the recipe of one output.
emr() {
    printf 'merge_method: emr\nbase_model: base\nparameters: {task: %s, mask: %s}\n%s\n' "$1" "$2" "${3:-}"
    printf 'models:\n  - {model: expert-rev}\n  - {model: expert-caesar}\n'
}

make_package() {
    cp -r "$AMBER/../base" "$AMBER/../expert-rev" "$AMBER/../expert-caesar" .
    chmod -R u+w .
    emr 0 false >unified.yml
    "$WW" merge unified.yml unified -q
    for k in 1 2; do
        emr $k false >task$k.yml
        emr $k true 'out_dtype: float64' >mask$k.yml
        "$WW" merge task$k.yml task$k -q
        "$WW" merge mask$k.yml mask$k -q
    done
    "$WW" rmm pack --exact tasks.pkg unified=unified mask1=mask1 mask2=mask2 --base base -q
}

@test "a task's model comes back out of a package of masks bit for bit" {
    make_package
    rm -rf unified mask1 mask2
    "$WW" rmm unpack tasks.pkg unified unified --base base -q
    for k in 1 2; do
        "$WW" rmm unpack tasks.pkg mask$k mask$k --base base -q
        printf 'merge_method: masks\nbase_model: base\nmodels:\n  - {model: unified, statistics: mask%s}\n' \
            $k >back.yml
        "$WW" merge back.yml back$k -q
        cmp back$k/model.safetensors task$k/model.safetensors
    done
    run ! cmp -s back1/model.safetensors back2/model.safetensors
}

@test "a mask in a package costs a bit for each weight" {
    make_package
    "$WW" rmm list tasks.pkg --json >list.json
    local weights
    weights=$(($(jq '[.members[] | select(.name == "mask1")][0].files_bytes' list.json) / 8))
    # Beside the bits: headers, config, evidence, and two numbers for each chunk.
    jq -e --argjson n $weights '[.members[] | select(.name | startswith("mask")) |
        .codec.few <= $n / 8 + 4096 and .codec.few >= $n / 9 and .bytes <= $n / 8 + 40000] ==
        [true, true]' list.json
}
