#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Merges that are cut off, and what they leave.
bats_require_minimum_version 1.5.0
load helper

# Models with a module beside them, which goes along.
make_family() {
    local header='{"linear.weight":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}' m
    copy_family
    for m in base expert-rev expert-caesar; do
        mkdir "$m/2_Dense"
        echo '[{"path": ""}, {"path": "2_Dense"}]' >"$m/modules.json"
        echo '{"in_features": 2}' >"$m/2_Dense/config.json"
        printf 'H\0\0\0\0\0\0\0%-72s12345678' "$header" >"$m/2_Dense/model.safetensors"
    done
    cat >recipe.yml <<'YML'
merge_method: ties
base_model: base
models:
  - {model: expert-rev, parameters: {weight: 0.5, density: 0.4}}
  - {model: expert-caesar, parameters: {weight: 0.6, density: 0.3}}
dtype: float32
out_dtype: bfloat16
YML
}

# kill_when PATH COMMAND...: run it, and kill it as soon as the path is there.
kill_when() {
    local path=$1 pid
    shift
    "$@" &
    pid=$!
    while [ ! -e "$path" ] && kill -0 "$pid" 2>/dev/null; do :; done
    kill -KILL "$pid" 2>/dev/null || true
    wait "$pid" 2>/dev/null || true
}

# kill_and_resume "MERGE ARGUMENTS" PATH...: kill merges at these moments and some others,
# and finish each from what it left.
kill_and_resume() {
    local args=$1 moment left=0
    shift
    for moment in "$@" 0.004 0.01 0.02 0.04; do
        rm -rf out out.partial out.steps
        case $moment in
        # shellcheck disable=SC2086
        0.*) killed_after "$moment" "$WW" merge $args out -q || true ;;
        # shellcheck disable=SC2086
        *) kill_when "$moment" "$WW" merge $args out -q ;;
        esac
        [ ! -e out ] || continue
        if [ -e out.partial ] || [ -e out.steps ]; then
            left=$((left + 1))
            # shellcheck disable=SC2086
            refused 4 "resume" "$WW" merge $args out -q
        fi
        # shellcheck disable=SC2086
        "$WW" merge $args out --resume -q
        diff -rq whole out
        [ ! -e out.partial ]
        [ ! -e out.steps ]
    done
    echo "killed with something written: $left times"
    [ "$left" -gt 0 ]
}

@test "kill -9 at any moment leaves no output, and --resume finishes the same folder" {
    make_family
    mkdir x
    "$WW" merge recipe.yml x/out -q # the folder's name is in its evidence
    mv x/out whole
    kill_and_resume recipe.yml out.partial out.partial/model.safetensors out.partial/attestations
}

@test "the same of several recipes in one file, whose results lie beside the output" {
    make_family
    cat >graph.yml <<'YML'
name: left
merge_method: linear
models:
  - {model: expert-rev, parameters: {weight: 1}}
  - {model: base, parameters: {weight: 1}}
---
merge_method: linear
models:
  - {model: left, parameters: {weight: 1}}
  - {model: expert-caesar, parameters: {weight: 0.5}}
YML
    mkdir x
    "$WW" merge graph.yml x/out -q
    mv x/out whole
    kill_and_resume graph.yml out.steps out.steps/left out.partial out.partial/model.safetensors
}

# Runs until one is caught with weights begun.
catch_one() {
    for _ in $(seq 60); do
        rm -rf out out.partial
        kill_when out.partial/model.safetensors "$WW" merge recipe.yml out -q --threads 1
        [ -e out.partial/model.safetensors ] && return 0
    done
    return 1
}

@test "--resume refuses what another recipe began, and takes a changed source as it is" {
    make_family
    catch_one
    sed 's/0.5,/0.7,/' recipe.yml >other.yml
    refused 4 "another|began|differ|resume" "$WW" merge other.yml out --resume -q
    [ ! -e out ]
    flip expert-rev/model.safetensors 700000
    "$WW" merge recipe.yml out --resume -q
    "$WW" merge recipe.yml fresh -q
    cmp out/model.safetensors fresh/model.safetensors
}

@test "a full disk is an error, and nothing is left" {
    make_family
    mkdir small
    mount -t tmpfs -o size=600k tmpfs small 2>/dev/null || skip "needs the right to mount"
    status=0
    "$WW" merge recipe.yml small/out 2>stderr || status=$?
    left=$(ls -A small)
    umount small
    [ "$status" = 4 ]
    grep -qi "disk\|space" stderr
    [ -z "$left" ]
}

@test "a file that may not grow any further is an error, and nothing is left" {
    make_family
    status=0
    (ulimit -f 700 && trap '' XFSZ && "$WW" merge recipe.yml out 2>stderr) || status=$?
    cat stderr
    [ "$status" = 4 ]
    nothing_written out
}

@test "a source that changes while it is read is told, and nothing appears" {
    make_family
    while :; do touch expert-rev/model.safetensors; done &
    pid=$!
    status=0
    "$WW" merge recipe.yml out 2>stderr || status=$?
    kill $pid
    cat stderr
    [ "$status" = 4 ] || [ "$status" = 1 ]
    grep -q "expert-rev.*changed while" stderr
    nothing_written out
}

@test "a parent that lacks a shard is told before anything is written" {
    make_family
    sed 's/ties/linear/; /density/!b; s/, density: 0..//' recipe.yml | grep -v base_model >split.yml
    "$WW" merge split.yml shards --shard-size 500K -q
    rm shards/model-00002-of-00003.safetensors
    sed 's/expert-rev/shards/' recipe.yml >r.yml
    refused 3 "model-00002-of-00003.safetensors" "$WW" merge r.yml out
    nothing_written out
    "$WW" merge split.yml again --shard-size 500K -q
    truncate -s -1 again/model-00002-of-00003.safetensors
    sed 's/expert-rev/again/' recipe.yml >r.yml
    refused 3 "model-00002-of-00003.safetensors" "$WW" merge r.yml out
    nothing_written out
}

@test "a merge that is locked as it is made is finished by --resume too" {
    make_family
    "$WW" key new lock --out mine --no-passphrase -q
    mkdir x
    "$WW" merge recipe.yml x/out --lock mine -q
    mv x/out whole
    mkdir out.steps # killed before its mark was written
    touch out.steps/.weightward-work.partial
    "$WW" merge recipe.yml out --lock mine --resume -q
    diff -rq whole out
    rm -r out
    kill_and_resume "recipe.yml --lock mine" out.steps out.steps/open/out/config.json \
        out.steps/open/out/attestations out.partial out.partial/model.safetensors
}
