#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
bats_require_minimum_version 1.5.0
load helper

make_dense() {
    make_model
    make_keys
    "$WW" lock model locked --key lock --sign me.key --level dense -q "$@"
}

@test "a dense lock verifies, and every byte comes back" {
    make_dense
    "$WW" verify locked --key me.pub -q
    "$WW" unlock locked back --key lock -q
    diff -r model back
}

@test "--condition 4 too" {
    make_dense --condition 4
    "$WW" unlock locked back --key lock -q
    diff -r model back
}

@test "lock tells what was mixed and what that costs" {
    make_model
    make_keys
    "$WW" lock model locked --key lock --level dense --json >answer 2>talk
    jq -e '.level == "dense" and .dense.law == "haar" and .dense.weights == 196608 and
           .dense.bits_per_weight < 2.3 and .dense.residual_bytes > 10000 and
           .dense.projection_error < 0.01 and .dense.output_change < 0.02 and
           .dense.blocks_run == 4 and .check.max_relative_error < 1e-5 and
           (.blocks[0].moved | index("vo-dense")) != null and
           (.blocks[0].moved | index("qk-phases")) != null' answer
    grep -q "bits per weight" talk
    grep -q "blocks change by at most" talk
}

@test "the manifest carries level, law, residual and the measured change" {
    make_model
    make_keys
    "$WW" lock model locked --key lock --level dense --condition 2.5 -q
    jq -e '.predicate.lock | .level == "dense" and .dense.law == "conditioned" and
           .dense.condition == 2.5 and .dense.output_change > 0 and
           .dense.residual.path == "attestations/residual.sealed" and
           (.dense.residual.sha256 | length) == 64' locked/attestations/tensors.intoto.json
    [ "$(jq -r .predicate.lock.dense.residual.sha256 locked/attestations/tensors.intoto.json)" = \
      "$(sha256sum locked/attestations/residual.sealed | cut -d' ' -f1)" ]
}

@test "the same key gives the same bytes for 1, 2, 3 and 8 threads" {
    make_model
    make_keys
    for n in 1 2 3 8; do
        "$WW" lock model "out$n" --key lock --threads "$n" --level dense -q
        cmp out1/model.safetensors "out$n/model.safetensors"
        cmp out1/attestations/residual.sealed "out$n/attestations/residual.sealed"
    done
}

@test "the locked model answers with the same tokens" {
    make_dense
    a=$("$WW_BIN/task_score" model "$AMBER/../tasks/rev.test.jsonl" --rows 16)
    b=$("$WW_BIN/task_score" locked "$AMBER/../tasks/rev.test.jsonl" --rows 16)
    [ "$a" = "$b" ]
}

@test "wrong key, changed weights and a changed residual are three different errors" {
    make_dense
    "$WW" key new lock --out other --no-passphrase -q
    refused 5 "not the one this model was locked with" "$WW" unlock locked back --key other
    cp -r locked bad
    printf 'x' | dd of=bad/model.safetensors bs=1 seek=700000 conv=notrunc status=none
    refused 1 "was changed" "$WW" unlock bad back --key lock
    cp -r locked worse
    printf 'x' | dd of=worse/attestations/residual.sealed bs=1 seek=9000 conv=notrunc status=none
    refused 1 "residual.sealed" "$WW" unlock worse back --key lock
    nothing_written back
}

@test "options that do not go together are told" {
    make_model
    make_keys
    refused 2 "exact, dense or sealed" "$WW" lock model out --key lock --level steel
    refused 2 "needs --level dense" "$WW" lock model out --key lock --condition 3
    refused 2 "exclude each other" "$WW" lock model out --key lock --scale --no-scale
    refused 2 "at most 4" "$WW" lock model out --key lock --level dense --condition 5
    [ ! -e out ]
}

@test "kill -9 leaves no output, and --resume finishes the same bytes" {
    make_model
    make_keys
    "$WW" lock model whole --key lock --level dense -q
    "$WW" lock model out --key lock --level dense -q &
    pid=$!
    for _ in $(seq 400); do
        [ -e out.partial ] && break
        sleep 0.005
    done
    kill -9 "$pid" 2>/dev/null || true
    wait "$pid" 2>/dev/null || true
    if [ ! -e out ]; then
        "$WW" lock model out --key lock --level dense --resume -q
    fi
    # Statements name the folder.
    diff -r -x "*.intoto.json" whole out
}
