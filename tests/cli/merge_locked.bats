#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Merging models that are locked with one key: real locks of the trained family.
bats_require_minimum_version 1.5.0
load helper

FAMILY=$BATS_TEST_DIRNAME/../vectors/amber

# Three models and the same three under one key, in lo/. Options go to lock.
make_family() {
    mkdir lo
    make_keys
    local name
    for name in base expert-rev expert-caesar; do
        cp -r "$FAMILY/$name" "$name"
        chmod -R u+w "$name"
        "$WW" lock "$name" "lo/$name" --key lock -q "$@"
    done
}

# merge METHOD FLAGS OUT PREFIX BASE [NAME=VALUE]...
merge() {
    local method=$1 flags=$2 out=$3 prefix=$4 base=$5
    shift 5
    [ "$base" = - ] || base=$prefix$base
    "$WW_BIN/merge_folders" "$method" "$flags" "$out" "$base" \
        "${prefix}expert-rev" "${prefix}expert-caesar" "$@"
}

# The merge of the locked models is the lock of the merge, bit for bit.
same_under_key() {
    local method=$1 base=$2
    shift 2
    rm -rf open open-locked locked-merge
    merge "$method" o open "" "$base" "$@"
    merge "$method" o locked-merge lo/ "$base" "$@"
    "$WW" lock open open-locked --key lock --no-scale -q
    cmp open-locked/model.safetensors locked-merge/model.safetensors
    ! cmp -s open/model.safetensors locked-merge/model.safetensors || false
}

@test "merges of locked models are locks of merges, for every order-free method" {
    once make_family --no-scale
    same_under_key linear - weight=0.3,0.7
    same_under_key task_arithmetic base weight=0.6,0.5 lambda=0.9
    same_under_key ties base weight=0.6,0.5 density=0.4,0.3
    same_under_key dare_linear base weight=0.6,0.5 density=0.4,0.3
    same_under_key dare_ties base weight=0.6,0.5 density=0.4,0.3
    same_under_key breadcrumbs base weight=0.6,0.5 density=0.4 gamma=0.02
    same_under_key breadcrumbs_ties base weight=0.6,0.5 density=0.4 gamma=0.02
    same_under_key della base weight=0.6,0.5 density=0.4,0.5
    same_under_key della_linear base weight=0.6,0.5 density=0.4,0.5
    same_under_key magmax base
    same_under_key ram base
    same_under_key ramplus_tl base
    same_under_key consensus base
    same_under_key mwa - metric=0.3,0.7
    same_under_key emr base task=1
    same_under_key pcb base pcb_ratio=0.3
}

@test "with ties by index and masks by place it is another merge" {
    once make_family --no-scale
    merge ties - open "" base weight=1 density=0.4
    merge ties - locked-merge lo/ base weight=1 density=0.4
    "$WW" lock open open-locked --key lock --no-scale -q
    ! cmp -s open-locked/model.safetensors locked-merge/model.safetensors || false
}

@test "methods that sum over tensors are right to the rounding of the sums" {
    once make_family --no-scale
    for method in karcher multislerp model_stock sce; do
        rm -rf open locked-merge back
        base=base
        [ $method != karcher ] || base=-
        merge $method o open "" $base
        merge $method o locked-merge lo/ $base
        "$WW" lock open open-locked-$method --key lock --no-scale -q
        run -0 "$WW_BIN/compare_models" open-locked-$method locked-merge
        echo "$method: $output"
        differ=$(cmp -l open-locked-$method/model.safetensors locked-merge/model.safetensors |
            wc -l || true)
        total=$(stat -c %s open/model.safetensors)
        [ "$((differ * 1000))" -le "$total" ]
    done
}

@test "linear and task arithmetic hold for locks with powers of two" {
    once make_family --scale
    for method in linear task_arithmetic; do
        rm -rf open locked-merge open-locked
        base=base
        [ $method != linear ] || base=-
        merge $method o open "" $base weight=0.3,0.7
        merge $method o locked-merge lo/ $base weight=0.3,0.7
        "$WW" lock open open-locked --key lock --scale -q
        cmp open-locked/model.safetensors locked-merge/model.safetensors
    done
}
