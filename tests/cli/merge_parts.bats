#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Merges in parts, and that nothing but recipe and sources decides a byte.
bats_require_minimum_version 1.5.0
load helper

make_family() {
    copy_family
    recipe ties density=0.4 >recipe.yml
}

# recipe METHOD [NAME=VALUE]...
recipe() {
    local method=$1 p=
    shift
    for v in "$@"; do
        p="$p, ${v/=/: }"
    done
    cat <<YML
merge_method: $method
base_model: base
models:
  - {model: expert-rev, parameters: {weight: 0.5$p}}
  - {model: expert-caesar, parameters: {weight: 0.6$p}}
dtype: float32
out_dtype: bfloat16
YML
}

# The same folder, made into x/out, so that its name in the evidence is the same too.
whole() {
    mkdir -p x
    "$WW" merge recipe.yml x/out -q "$@"
}

@test "parts joined are the folder that one run gives, for 1, 2, 3 and 50 of them" {
    make_family
    whole
    for n in 1 2 3 50; do
        for i in $(seq "$n" -1 1); do
            "$WW" merge recipe.yml out --part "$i/$n" --threads $((i % 3 + 1)) -q
        done
        "$WW" merge recipe.yml out --join "$n" -q
        diff -rq x/out out
        "$WW" merge --rederive out -q
        rm -r out out.part-*
    done
}

@test "a method that goes by the whole model does so in every part, and under a lock" {
    make_family
    "$WW" key new lock --out key --no-passphrase -q
    whole --paper
    for i in 1 2 3; do
        "$WW" merge recipe.yml out --part "$i/3" --paper -q
    done
    "$WW" merge recipe.yml out --join 3 --paper -q
    diff -rq x/out out
    "$WW" merge recipe.yml locked --lock key --paper -q
    "$WW" unlock locked back --key key -q
    cmp x/out/model.safetensors back/model.safetensors
    whole2=$(sha256sum <x/out/model.safetensors)
    rm -r x
    whole
    [ "$whole2" != "$(sha256sum <x/out/model.safetensors)" ]
}

@test "parts of sharded and of locked sources, with shards of another size" {
    make_family
    whole --shard-size 500K
    mv x/out expert-rev2
    rm -r expert-rev
    mv expert-rev2 expert-rev
    "$WW" key new lock --out key --no-passphrase -q
    mv expert-caesar open
    "$WW" lock open expert-caesar --key key -q
    whole --shard-size 300K --unlock-with key
    for i in 1 2 3; do
        "$WW" merge recipe.yml out --part "$i/3" --shard-size 300K --unlock-with key -q
    done
    jq -e '.inputs | length < 5' out.part-1-of-3/part.json
    "$WW" merge recipe.yml out --join 3 --shard-size 300K --unlock-with key -q
    diff -rq x/out out
}

@test "a part that is missing, of another merge, changed, or of other sources is told" {
    make_family
    for i in 1 2 3; do
        "$WW" merge recipe.yml out --part "$i/3" -q
    done
    cp -r out.part-2-of-3 kept
    refused 4 "part-2-of-3.*exists" "$WW" merge recipe.yml out --part 2/3
    refused 4 "out.part-1-of-4" "$WW" merge recipe.yml out --join 4
    refused 1 "is of another merge" "$WW" merge recipe.yml out --join 3 --seed 1
    flip out.part-2-of-3/tensors.bin 1000
    refused 1 "part 'out.part-2-of-3' is not as it was written" \
        "$WW" merge recipe.yml out --join 3
    truncate -s -1 out.part-2-of-3/tensors.bin
    refused 1 "has .* bytes, expected" "$WW" merge recipe.yml out --join 3
    rm -r out.part-2-of-3
    cp -r out.part-1-of-3 out.part-2-of-3
    refused 1 "says that it is part 1 of 3" "$WW" merge recipe.yml out --join 3
    rm -r out.part-2-of-3
    mv kept out.part-2-of-3
    echo '{"schema": 1}' >out.part-3-of-3/part.json
    refused 3 "no record of a part" "$WW" merge recipe.yml out --join 3
    rm -r out.part-3-of-3
    "$WW" merge recipe.yml out --part 3/3 -q
    flip expert-rev/model.safetensors 700000
    refused 4 "source 'expert-rev/model.safetensors' is not what part" \
        "$WW" merge recipe.yml out --join 3
    nothing_written out
    for bad in 0/3 4/3 2 x/3 1/2000; do
        refused 2 "part is a number" "$WW" merge recipe.yml out --part "$bad"
    done
    refused 2 "are one each" "$WW" merge recipe.yml out --part 1/2 --join 2
    refused 2 "sign when joining" "$WW" merge recipe.yml out --part 1/2 --sign x
}

@test "threads, memory, three runs and the processor's BLAS decide no byte" {
    make_family
    for method in ties dare_ties della breadcrumbs model_stock slerp sce arcee_fusion; do
        recipe "$method" density=0.4 >recipe.yml
        case $method in
        slerp | arcee_fusion)
            sed -i '/expert-caesar/d; s/base_model: base/base_model: expert-caesar/' recipe.yml
            [ $method != slerp ] || echo 'parameters: {t: 0.3}' >>recipe.yml
            sed -i 's/weight: 0.5.*/weight: 1}}/' recipe.yml
            [ $method != slerp ] || sed -i 's/^models:/models:\n  - {model: expert-caesar}/' recipe.yml
            ;;
        esac
        rm -rf out
        "$WW" merge recipe.yml out -q --threads 1
        cp out/model.safetensors first
        for how in "--threads 2" "--threads 3 --memory 16" "--threads 8 --memory 1000" \
            "--no-direct-io" ""; do
            rm -r out
            # shellcheck disable=SC2086
            OPENBLAS_CORETYPE=Nehalem "$WW" merge recipe.yml out -q $how
            cmp first out/model.safetensors
        done
    done
}
