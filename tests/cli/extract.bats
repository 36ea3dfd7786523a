#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# weightward extract: refusals, and what is written.

load helper

@test "two siblings give a signed adapter" {
    make_keys
    "$WW" extract "$AMBER/../base" "$AMBER" out --rank 4 --sign me.key -q
    "$WW" verify out --key me.pub -q
    jq -e '.peft_type == "LORA" and .r == 4' out/adapter_config.json
}

@test "what cannot be extracted is refused, and nothing is left" {
    make_model
    refused 6 "do not differ" "$WW" extract model "$AMBER" out
    "$WW" key new lock --out lock --no-passphrase -q
    "$WW" lock model locked --key lock -q
    refused 6 "'locked' is locked and '.*base' is not" "$WW" extract "$AMBER/../base" locked out
    refused 6 "'locked' is locked and 'model' is not" "$WW" extract locked model out
    "$WW" key new lock --out other --no-passphrase -q
    "$WW" lock "$AMBER/../base" base-lock --key lock -q
    "$WW" lock "$AMBER/../base" base-other --key other -q
    "$WW" lock "$AMBER/../base" base-plain --key lock --no-scale -q
    refused 5 "'base-other' and 'locked' are locked with different keys" \
        "$WW" extract base-other locked out
    refused 6 "'locked' is locked with factors of two and 'base-plain' without" \
        "$WW" extract base-plain locked out
    "$WW" extract base-lock locked of-locked --rank 1 -q
    refused 2 "rank" "$WW" extract model "$AMBER" out --rank -1
    refused 2 "energy" "$WW" extract model "$AMBER" out --energy 2
    mkdir exists
    refused 4 "exists" "$WW" extract "$AMBER/../base" "$AMBER" exists --rank 2
    [ ! -e out ] && [ ! -e out.partial ]
}

# Nothing lies in the nameless file then: all of the adapter is read where it is written.
@test "a model whose gains alone changed becomes an adapter of whole weights, and comes back" {
    make_model
    python3 - <<'PY'
import json, struct
with open("model/model.safetensors", "r+b") as f:
    size = struct.unpack("<Q", f.read(8))[0]
    at = json.loads(f.read(size))["model.norm.weight"]["data_offsets"][0]
    f.seek(8 + size + at)
    f.write(b"\x80\x3f\x00\x40")
PY
    for n in 1 3; do
        "$WW" extract "$AMBER" model "out$n" --threads "$n" -q
    done
    diff -r out1 out3
    jq -e '.modules_to_save == ["model.norm"] and .target_modules == null' out1/adapter_config.json
    printf 'merge_method: passthrough\nmodels: [{model: %s+out1}]\n' "$AMBER" >recipe.yml
    "$WW" merge recipe.yml back -q
    cmp back/model.safetensors model/model.safetensors
}
