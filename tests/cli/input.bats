#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Bad model folders: one clear sentence, the right status, nothing written.
bats_require_minimum_version 1.5.0
load helper

setup() {
    new_folder
    make_keys
}

fresh_model() {
    rm -rf model
    make_model
}

lock_refused() {
    refused "$1" "$2" "$WW" lock model out --key lock
    nothing_written out
}

@test "a truncated file" {
    make_model
    truncate -s 100000 model/model.safetensors
    lock_refused 3 "model.safetensors"
}

@test "a hole, an overlap, an overflow, trailing bytes, a duplicate name" {
    make_model
    for case in \
        '{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}|8' \
        '{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}|8' \
        '{"a":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,8]}}|8' \
        '{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}|9' \
        '{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}|8' \
        '{"a":{"dtype":"F99","shape":[2],"data_offsets":[0,8]}}|8' \
        '{"a":{"dtype":"F32","shape":[2.5],"data_offsets":[0,10]}}|10' \
        '{"a":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}}|8' \
        '{"a\u0000b":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}|8'; do
        safetensors model/model.safetensors "${case%|*}" "${case##*|}"
        lock_refused 3 "model.safetensors"
    done
}

@test "three million brackets end quickly" {
    make_model
    safetensors model/model.safetensors "" 0
    python3 -c "
import struct
h = b'{\"a\":' + b'[' * 3000000
open('model/model.safetensors', 'wb').write(struct.pack('<Q', len(h)) + h)"
    lock_refused 3 "model.safetensors"
}

@test "an index that points outside, or to a tensor that is not there" {
    make_model
    mv model/model.safetensors model/model-00001-of-00001.safetensors
    index=model/model.safetensors.index.json
    echo '{"metadata":{},"weight_map":{"lm_head.weight":"../model.safetensors"}}' >$index
    lock_refused 3 "index"
    echo '{"metadata":{},"weight_map":{"nowhere":"model-00001-of-00001.safetensors"}}' >$index
    lock_refused 3 "nowhere|index"
}

@test "a link out of the tree" {
    make_model
    mv model/model.safetensors elsewhere
    ln -s ../elsewhere model/model.safetensors
    lock_refused 3 "link|leaves|outside"
}

@test "a missing tensor, an unknown tensor and a wrong shape" {
    make_model
    sed -i 's/model.norm.weight/model.nerm.weight/' model/model.safetensors
    lock_refused 3 "model.n[eo]rm.weight"
    fresh_model
    sed -i 's/"intermediate_size": 256/"intermediate_size": 128/' model/config.json
    lock_refused 3 "mlp|intermediate"
}

@test "head_dim null is derived" {
    make_model
    sed -i 's/"head_dim": 32/"head_dim": null/' model/config.json
    "$WW" lock model out --key lock -q
}

@test "an unknown model type, remote code, pruned heads" {
    make_model
    sed -i 's/"model_type": "llama"/"model_type": "lama"/' model/config.json
    lock_refused 6 "lama.*llama"
    fresh_model
    sed -i 's/"hidden_act"/"auto_map": {"AutoModel": "x.Y"}, "hidden_act"/' model/config.json
    lock_refused 6 "auto_map"
    fresh_model
    sed -i 's/"hidden_act"/"pruned_heads": {"0": [1]}, "hidden_act"/' model/config.json
    lock_refused 6 "pruned"
}

@test "quantised weights" {
    make_model
    sed -i 's/"hidden_act"/"quantization_config": {"quant_method": "gptq"}, "hidden_act"/' model/config.json
    lock_refused 6 "[Qq]uanti|gptq|GPTQ"
}

@test "an adapter alone, pickle alone, GGUF alone" {
    mkdir model
    echo '{"peft_type": "LORA"}' >model/adapter_config.json
    cp "$AMBER/model.safetensors" model/adapter_model.safetensors
    lock_refused 6 "adapter"
    rm -r model
    mkdir model
    cp "$AMBER/config.json" model/
    echo x >model/pytorch_model.bin
    lock_refused 6 "safetensors"
    rm -r model
    mkdir model
    echo GGUF >model/model.gguf
    lock_refused 6 "GGUF|gguf"
}

@test "a second copy of the weights" {
    make_model
    cp model/model.safetensors model/consolidated.safetensors
    lock_refused 3 "consolidated.safetensors"
    rm model/consolidated.safetensors
    echo x >model/pytorch_model.bin
    lock_refused 3 "pytorch_model.bin"
    # still a fine folder to look at
    "$WW" inspect model --json >answer
    jq -e '.lockable == false and (.findings | length) >= 1' answer
    mkdir model/2_Dense
    mv model/pytorch_model.bin model/2_Dense/
    lock_refused 3 "modules.json names its folder, a part of the model"
}

@test "no folder, an empty folder, a file" {
    lock_refused 4 "model"
    mkdir model
    lock_refused 4 "no weights in the folder"
    rmdir model
    echo x >model
    lock_refused 4 "it is a file"
}

@test "the wrong kind of file is told" {
    mkdir empty
    refused 4 "folder 'empty': no weights" "$WW" lock empty out --key lock
    refused 3 "'empty' is a folder, a file is expected" "$WW" lock "$AMBER" out --key empty
    chmod 644 me.pub
    refused 5 "as public keys are" "$WW" lock "$AMBER" out --key me.pub
    echo pass >pass
    "$WW" key new lock --out closed --passphrase-file pass -q
    refused 5 "its passphrase is needed: by an option that ends in 'passphrase-file'" "$WW" lock "$AMBER" out --key closed </dev/null
    refused 4 "expert-rev': there is no 'attestations/keys.sealed', it is not sealed" \
        "$WW" recipients list "$AMBER"
    refused 5 "found a lock or recipient key, expected a signing key" \
        "$WW" lock "$AMBER" out --key lock --sign lock
    refused 5 "found a lock or recipient key, expected the .pub" "$WW" verify "$AMBER" --key lock
    printf 'merge_method: linear\nmodels: [{model: org/name, parameters: {weight: 1}}]\n' >r.yml
    refused 4 "recipe 'r.yml': line 2: model 'org/name' is no folder" "$WW" merge r.yml out
    nothing_written out
    # The name of a member that is not there, and of the option that is missing.
    "$WW" rmm pack p "m=$AMBER" --base "$AMBER/../base" --exact -q
    refused 2 "name the base model: --base MODEL" "$WW" rmm unpack p m out
}

@test "inspect resolves and checks" {
    run "$WW" inspect "$AMBER" --check
    [ "$status" = 0 ]
    [[ $output == *"llama"* && $output == *"rotary"* && $output == *"check: 4 blocks"* ]]
    "$WW" inspect "$AMBER" --check --count-nan --json >answer
    jq -e '.schema == "weightward.inspect/1" and .model_type == "llama" and .dtype == "BF16" and
           .parameters == 616576 and (.blocks | length) == 4 and .blocks[0].heads == 4 and
           .blocks[0].kv_heads == 2 and .blocks[0].head_dim == 32 and .lockable and
           .nonfinite == 0 and .check.max_relative_error < 1e-5 and
           .check.min_illegal_error > 1e-3' answer
}

@test "inspect --check of F16 weights goes without factors that they have no room for" {
    printf 'merge_method: passthrough\nmodels: [{model: %s}]\nout_dtype: float16\n' "$AMBER" >half.yml
    "$WW" merge half.yml half
    run "$WW" inspect half --check
    [ "$status" = 0 ]
    [[ $output == *"check: 4 blocks"* ]]
}
