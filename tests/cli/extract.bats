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
    refused 2 "rank" "$WW" extract model "$AMBER" out --rank -1
    refused 2 "energy" "$WW" extract model "$AMBER" out --energy 2
    mkdir exists
    refused 4 "exists" "$WW" extract "$AMBER/../base" "$AMBER" exists --rank 2
    [ ! -e out ] && [ ! -e out.partial ]
}
