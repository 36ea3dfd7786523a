#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
bats_require_minimum_version 1.5.0
load helper
FAMILY=$BATS_TEST_DIRNAME/../vectors/amber

@test "attack gives an exact lock's weights back bit for bit, by the base model" {
    make_locked
    run --separate-stderr "$WW" attack locked out --anchor "$FAMILY/base" --truth model
    [ "$status" = 0 ]
    [[ $stderr == *"undone: every weight has the bits of the truth"* ]]
    cmp model/model.safetensors out/model.safetensors
    cmp model/config.json out/config.json
    [ ! -e out/attestations ]
    [ ! -e out/model.sig ]
}

@test "attack works by a sibling, and without powers of two" {
    make_model
    make_keys
    "$WW" lock model locked --key lock --no-scale -q
    "$WW" attack locked out --anchor "$FAMILY/expert-caesar" -q
    cmp model/model.safetensors out/model.safetensors
}

# cut_words FROM TO ROWS: the same model with the first words alone
cut_words() {
    mkdir "$2"
    jq --argjson n "$3" '.vocab_size = $n' "$1/config.json" >"$2/config.json"
    python3 - "$1/model.safetensors" "$2/model.safetensors" "$3" <<'PY'
import json
import sys

data, rows = open(sys.argv[1], "rb").read(), int(sys.argv[3])
end = 8 + int.from_bytes(data[:8], "little")
head, body, parts = json.loads(data[8:end]), data[end:], []
for name, t in sorted((n, t) for n, t in head.items() if n != "__metadata__"):
    first, last = t["data_offsets"]
    if "embed_tokens" in name or "lm_head" in name:
        last, t["shape"][0] = first + (last - first) // t["shape"][0] * rows, rows
    at = sum(map(len, parts))
    parts.append(body[first:last])
    t["data_offsets"] = [at, at + last - first]
text = json.dumps(head).encode()
text += b" " * (-len(text) % 8)
open(sys.argv[2], "wb").write(len(text).to_bytes(8, "little") + text + b"".join(parts))
PY
}

@test "a lock above more words than the anchor has, or fewer, is undone, and the rows alone are counted" {
    make_locked
    cut_words "$FAMILY/base" fewer 96
    "$WW" attack locked out --anchor fewer --truth model --json -q >answer
    jq -e '.found.rows_alone == 8 and .identical_bytes == 1 and .distance_after < 0.1' answer
    cmp model/model.safetensors out/model.safetensors
    run --separate-stderr "$WW" attack locked out2 --anchor fewer --mode invariant
    [ "$status" = 1 ]
    [[ $stderr == *"8 rows that the anchor's lack"* ]]
    nothing_written out2
    cut_words model small 90
    "$WW" lock small small-locked --key lock -q
    "$WW" attack small-locked small-out --anchor "$FAMILY/base" --json -q >answer
    jq -e '.found.rows_alone == 0' answer
    cmp small/model.safetensors small-out/model.safetensors
}

@test "attack --json prints one object with the promised members" {
    make_locked
    "$WW" attack locked out --anchor "$FAMILY/base" --truth model --json -q >answer
    jq -e '.schema == "weightward.attack/1" and .mode == "joint" and .recovered == 1 and
           .identical_bytes == 1 and .distance_before > 1 and .distance_after < 0.1 and
           .found.residual_moved > 100 and .found.dense_heads == 0 and .function_drift < 1e-12 and
           (.tensors | length) == 39 and .seconds > 0' answer
    "$WW" attack locked out2 --anchor "$FAMILY/base" --json -q >answer
    jq -e 'has("recovered") == false and has("identical_bytes") == false' answer
}

@test "a lock by dense matrices is undone up to what the stored bits lost" {
    make_model
    "$WW_BIN/merge_lock" model locked 4 3
    "$WW" attack locked out --anchor "$FAMILY/base" --truth model --json -q >answer
    jq -e '.recovered > 0.9 and .recovered < 1 and .distance_before > 0.5 and
           .distance_after < 0.04 and .found.dense_heads == 16' answer
    a=$("$WW_BIN/task_score" model "$AMBER/../tasks/rev.test.jsonl" --rows 32)
    b=$("$WW_BIN/task_score" out "$AMBER/../tasks/rev.test.jsonl" --rows 32)
    [ "$a" = "$b" ]
}

@test "the published solver does not undo a lock of the residual stream" {
    make_locked
    "$WW" attack locked out --anchor "$FAMILY/base" --truth model --mode aga --json -q >answer
    jq -e '.mode == "aga" and .recovered < 0 and .identical_bytes < 0.5' answer
    [ -e out/model.safetensors ]
}

@test "mode naive measures and writes nothing" {
    make_locked
    "$WW" attack locked out --anchor "$FAMILY/base" --mode naive --json -q >answer
    jq -e '.distance_before == .distance_after' answer
    nothing_written out
}

@test "attack on a model without a lock leaves it as it is" {
    make_model
    "$WW" attack model out --anchor "$FAMILY/base" 2>said
    grep -q "no lock was found: the weights are as they were" said
    cmp model/model.safetensors out/model.safetensors
}

@test "what an attack wrote can be signed" {
    make_locked
    "$WW" attack locked out --anchor "$FAMILY/base" --sign me.key -q
    "$WW" verify out --key me.pub
}

@test "an unrelated anchor is refused with the distances" {
    make_locked
    python3 - "$FAMILY/base" unrelated <<'PY'
import os, random, shutil, struct, sys
shutil.copytree(sys.argv[1], sys.argv[2])
path = sys.argv[2] + "/model.safetensors"
os.chmod(sys.argv[2], 0o755)
os.chmod(path, 0o644)
data = bytearray(open(path, "rb").read())
start = 8 + struct.unpack("<Q", data[:8])[0]
values = [bytes(data[i:i + 2]) for i in range(start, len(data), 2)]
random.Random(1).shuffle(values)
data[start:] = b"".join(values)
open(path, "wb").write(data)
PY
    refused 1 "not related: their distance is [0-9.]+ .* [0-9.]+ after alignment; the cosine of their .* is [0-9.]+ then, expected at least 0\.[57]" \
        "$WW" attack locked out --anchor unrelated
    nothing_written out
}

@test "an anchor of other shapes or another architecture is refused" {
    make_locked
    refused 1 "the anchor is of architecture 't5'" \
        "$WW" attack locked out --anchor "$BATS_TEST_DIRNAME/../vectors/forward/t5"
    refused 1 "the anchor has 2 attentions" \
        "$WW" attack locked out --anchor "$BATS_TEST_DIRNAME/../vectors/forward/llama"
    nothing_written out
}

@test "lock --anchor puts the outcome of the attack into the signed manifest" {
    make_model
    make_keys
    "$WW" lock model locked --key lock --sign me.key --anchor "$FAMILY/base" --json >answer 2>said
    grep -q "who has such a model can undo this lock" said
    jq -e '.attack.mode == "joint" and .attack.recovered == 1 and
           .attack.identical_bytes == 1 and .attack.distance_before > 1 and
           .attack.distance_after < 0.1 and .attack.seconds > 0' answer
    jq -r .dsseEnvelope.payload locked/attestations/tensors.sigstore.json | base64 -d >statement
    jq -e '.predicate.lock.attack.identical_bytes == 1 and
           .predicate.lock.attack.mode == "joint"' statement
    "$WW" verify locked --key me.pub
    "$WW" unlock locked back --key lock -q
    diff -r model back
}

@test "a lock without an anchor says that nothing was measured" {
    make_locked
    jq -r .dsseEnvelope.payload locked/attestations/tensors.sigstore.json | base64 -d >statement
    jq -e '.predicate.lock.attack == "not measured"' statement
}

@test "lock --anchor with a stranger refuses and writes nothing" {
    make_model
    make_keys
    refused 1 "the anchor is of architecture 't5'" "$WW" lock model locked --key lock \
        --anchor "$BATS_TEST_DIRNAME/../vectors/forward/t5"
    nothing_written locked
    refused 2 "goes with the base" "$WW" lock model locked --key lock --anchor model --base x
}

@test "wrong use of attack" {
    make_locked
    refused 2 "--anchor MODEL is needed" "$WW" attack locked out
    refused 2 "--mode takes joint, aga, invariant or naive, not 'best'" "$WW" attack locked out --anchor "$FAMILY/base" --mode best
    refused 4 "anchor 'nowhere'" "$WW" attack locked out --anchor nowhere
    mkdir there
    refused 4 "exists" "$WW" attack locked there --anchor "$FAMILY/base"
    [ -z "$(ls there)" ]
}

@test "a merge by invariants needs no alignment inside of heads, and says what it did" {
    make_locked
    "$WW" attack locked out --anchor "$FAMILY/expert-caesar" --mode invariant --truth model \
        --json -q >answer
    jq -e '.mode == "invariant" and .weight == 0.5 and .found.product_heads == 16 and
           .found.inner_moved == 0 and .found.dense_heads == 0 and
           .dropped > 0 and .dropped < 0.01 and .recovered > 0.8 and .recovered < 1 and
           .identical_bytes > 0.8 and .distance_before > 1 and .distance_after < 0.1' answer
    "$WW" attack locked own --anchor model --mode invariant --weight 0.3 --truth model 2>said
    grep -q "merged with the anchor at weight 0.3 by the products of 16 heads" said
    grep -q "every weight has the bits of the truth's merge" said
    cmp model/model.safetensors own/model.safetensors
}

@test "a merge by invariants of a stranger is refused, and a weight has its bounds" {
    make_locked
    refused 1 "the anchor is of architecture 't5'" "$WW" attack locked out --mode invariant \
        --anchor "$BATS_TEST_DIRNAME/../vectors/forward/t5"
    refused 2 "--weight is between 0 and 1" "$WW" attack locked out --mode invariant \
        --anchor "$FAMILY/base" --weight 1
    refused 2 "--weight goes with --mode invariant" "$WW" attack locked out --weight 0.5 \
        --anchor "$FAMILY/base"
    nothing_written out
}
