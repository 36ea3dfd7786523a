#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
bats_require_minimum_version 1.5.0
load helper

@test "lock and unlock give every byte back" {
    make_locked
    "$WW" unlock locked back --key lock -q
    diff -r model back
}

@test "lock changes every weight tensor and no side file" {
    make_locked
    run -0 "$WW_BIN/compare_models" model locked
    [[ $output == "tensors that differ: 39 of 39"* ]]
    cmp model/config.json locked/config.json
    cmp <(head -c 4096 model/model.safetensors) <(head -c 4096 locked/model.safetensors)
}

@test "the locked model answers with the same tokens" {
    make_locked
    a=$("$WW_BIN/task_score" model "$AMBER/../tasks/rev.test.jsonl" --rows 16)
    b=$("$WW_BIN/task_score" locked "$AMBER/../tasks/rev.test.jsonl" --rows 16)
    [ "$a" = "$b" ]
}

@test "the same key gives the same bytes for 1, 2, 3 and 8 threads" {
    make_model
    make_keys
    for n in 1 2 3 8; do
        "$WW" lock model "out$n" --key lock --threads "$n" -q
        cmp out1/model.safetensors "out$n/model.safetensors"
    done
}

@test "lock --json prints one object with the promised members" {
    make_model
    make_keys
    "$WW" lock model locked --key lock --sign me.key --json -q >answer
    jq -e '.schema == "weightward.lock/1" and .level == "exact" and
           (.blocks | length) == 4 and (.blocks[0].moved | index("residual")) != null and
           .check.blocks == 4 and .check.max_relative_error < 1e-5 and
           .tensors_changed == 39 and .bytes_written > 1000000 and .seconds > 0' answer
}

@test "the source's own signature comes back" {
    make_model
    make_keys
    "$WW" sign model --key me.key -q
    "$WW" lock model locked --key lock --sign me.key -q
    "$WW" verify locked --key me.pub
    "$WW" unlock locked back --key lock -q
    diff -r model back
    "$WW" verify back --key me.pub
}

@test "wrong key, wrong model and damaged model are three different errors" {
    make_locked
    "$WW" key new lock --out other --no-passphrase -q
    refused 5 "not the one this model was locked with" "$WW" unlock locked back --key other
    nothing_written back

    cp -r locked damaged
    flip damaged/model.safetensors 600000
    refused 1 "not as it was locked" "$WW" unlock damaged back --key lock --json
    [ "$(jq -r .error.code stdout)" = WW_E_DAMAGED ]
    nothing_written back

    cp -r locked wrong
    python3 - wrong/model.safetensors <<'PY'
import sys
path = sys.argv[1]
data = bytearray(open(path, "rb").read())
at = data.index(b"model.norm.weight")
data[at:at + 17] = b"model.norm.weighs"
open(path, "wb").write(data)
PY
    refused 1 "manifest|another model" "$WW" unlock wrong back --key lock --json
    [ "$(jq -r .error.code stdout)" = WW_E_WRONG_MODEL ]
    nothing_written back
}

@test "a file beside the weights that is another one now is asked for by its digest" {
    local sum
    make_locked
    sum=$(sha256sum <model/generation_config.json | cut -d' ' -f1)
    echo >>locked/generation_config.json
    refused 1 "generation_config.json' has another size .* bytes and SHA-256 $sum" \
        "$WW" unlock locked back --key lock
    sed 's/1/2/' model/generation_config.json >locked/generation_config.json
    refused 1 "was changed after the lock; .*SHA-256 $sum" "$WW" unlock locked back --key lock
    rm locked/generation_config.json
    refused 1 "is missing; .*SHA-256 $sum" "$WW" unlock locked back --key lock
    nothing_written back
    cp model/generation_config.json locked/
    "$WW" unlock locked back --key lock -q
    diff -r model back
}

@test "weights come back alone, by their digests, where config.json is lost or another one" {
    local sum
    make_locked
    sum=$(sha256sum <model/config.json | cut -d' ' -f1)
    rm locked/config.json
    refused 1 "config.json' of the locked model is missing; .*SHA-256 $sum" "$WW" unlock locked back --key lock
    refused 6 "no config.json.*any config.json of the same architecture" \
        "$WW" unlock locked back --key lock --weights-only
    jq '.num_attention_heads = 8 | .num_key_value_heads = 4 | .head_dim = 16' model/config.json >locked/config.json
    refused 1 "model.safetensors' does not come back as it was" "$WW" unlock locked back --key lock --weights-only
    nothing_written back
    jq '. + {"torch_dtype": "float32"}' model/config.json >locked/config.json
    sed 's/1/2/' model/generation_config.json >locked/generation_config.json
    "$WW" unlock locked back --key lock --weights-only 2>warnings
    grep -q "file 'config.json' has another size .* is not restored" warnings
    grep -q "file 'generation_config.json' was changed after the lock and is not restored" warnings
    grep -q "every restored file has its source's digest" warnings
    diff -r model back >differs || true
    [ "$(cat differs)" = "$(printf 'Only in model: config.json\nOnly in model: generation_config.json')" ]
}

@test "an unlocked model cannot be unlocked, a locked one not locked again" {
    make_locked
    refused 3 "not locked: it carries no lock manifest" "$WW" unlock model back --key lock
    refused 6 "locked already; unlock it first" "$WW" lock locked twice --key lock
    nothing_written twice
}

@test "an existing output folder is left alone" {
    make_model
    make_keys
    mkdir out
    echo mine >out/file
    refused 4 "out.*exists" "$WW" lock model out --key lock
    [ "$(cat out/file)" = mine ]
}

@test "output inside the model, or the model itself, is refused" {
    make_model
    make_keys
    refused 2 "lies inside the model" "$WW" lock model model/out --key lock
    nothing_written model/out
}

@test "NaN in the weights is refused and named" {
    make_model
    make_keys
    printf '\xc0\x7f' | dd of=model/model.safetensors bs=1 seek=700000 conv=notrunc status=none
    refused 3 "NaN|not finite|nonfinite|infinit" "$WW" lock model locked --key lock
    nothing_written locked
}

@test "kill -9 at any moment leaves no output, and --resume finishes the same bytes" {
    make_model
    make_keys
    "$WW" lock model whole --key lock -q
    for delay in 0.005 0.01 0.02 0.03 0.05 0.08; do
        rm -rf out out.partial
        killed_after "$delay" "$WW" lock model out --key lock -q || true
        if [ ! -e out ]; then
            if [ -e out.partial ]; then
                refused 4 "resume" "$WW" lock model out --key lock
                "$WW" lock model out --key lock --resume -q
            else
                "$WW" lock model out --key lock -q
            fi
        fi
        cmp whole/model.safetensors out/model.safetensors
        [ ! -e out.partial ]
    done
}

@test "--resume refuses what another key or model began" {
    make_model
    make_keys
    "$WW" key new lock --out other --no-passphrase -q
    # A run that may write no larger files ends with its weights begun.
    status=0
    (ulimit -f 8 && exec "$WW" lock model out --key lock -q) || status=$?
    [ "$status" = $((128 + $(kill -l XFSZ))) ]
    [ -e out.partial/model.safetensors ]
    refused 4 "an interrupted run left it" "$WW" lock model out --key lock
    refused 4 "written by another run; wait for it" flock out.partial "$WW" lock model out --key lock
    [ -e out.partial/model.safetensors ]
    status=0
    "$WW" lock model out --key other --resume 2>stderr || status=$?
    [ "$status" = 4 ]
    [ ! -e out ]
}

@test "a full disk is an error, and nothing is left" {
    make_model
    make_keys
    mkdir small
    mount -t tmpfs -o size=600k tmpfs small 2>/dev/null || skip "needs the right to mount"
    status=0
    "$WW" lock model small/out --key lock 2>stderr || status=$?
    left=$(ls -A small)
    umount small
    [ "$status" = 4 ]
    grep -qi "disk" stderr
    [ -z "$left" ]
}

@test "SIGINT ends with 130" {
    "$WW_BIN/make_model" wide big || skip "no room"
    make_keys
    "$WW" lock big out --key lock --sign me.key -q --threads 1 2>said &
    pid=$!
    for _ in {1..1000}; do
        [ ! -e out.partial/model.safetensors ] || break
        sleep 0.01
    done
    kill -INT "$pid"
    status=0
    wait "$pid" || status=$?
    rm -rf big
    [ "$status" = 130 ]
    [ ! -e out ]
    grep "what was written is in 'out.partial': go on with --resume, or remove it" said
}

@test "passphrase-sealed and recipient-sealed lock keys open" {
    make_model
    echo secret >pass
    "$WW" key new lock --out sealed --passphrase-file pass -q
    "$WW" key new recipient --out bob --no-passphrase -q
    "$WW" key new lock --out for-bob --to bob.pub -q
    "$WW" lock model a --key sealed --passphrase-file pass -q
    "$WW" unlock a a-back --key sealed --passphrase-file pass -q
    diff -r model a-back
    "$WW" lock model b --key for-bob --open-with bob.key -q
    "$WW" unlock b b-back --key for-bob --open-with bob.key -q
    diff -r model b-back
    echo wrong >pass
    refused 5 "passphrase" "$WW" unlock a c --key sealed --passphrase-file pass
    refused 5 "passphrase" "$WW" unlock a c --key sealed </dev/null
}

@test "factors of two are in a lock unless --no-scale, or F16 leaves no room" {
    make_model
    make_keys
    "$WW" lock model locked --key lock --json -q >answer
    jq -e '.blocks[0].moved | index("scales") != null' answer
    "$WW" lock model even --key lock --no-scale --json -q >answer
    jq -e '.blocks[0].moved | index("scales") == null' answer
    "$WW" unlock even back --key lock -q
    diff -r model back
    "$WW" lock model dense --key lock --level dense --json -q >answer
    jq -e '.blocks[0].moved | index("scales") != null' answer
    "$WW" unlock dense back2 --key lock -q
    diff -r model back2
    printf 'merge_method: passthrough\nout_dtype: float16\nmodels: [{model: model}]\n' >half.yml
    "$WW" merge half.yml half -q
    "$WW" lock half out --key lock 2>said
    grep -q "warning: no factors of two in this lock: tensor '.*' is F16" said
    "$WW" unlock out back3 --key lock -q
    diff -r half back3
    refused 6 "is F16" "$WW" lock half no --key lock --scale
    nothing_written no
}
