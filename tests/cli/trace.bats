#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
bats_require_minimum_version 1.5.0
load helper

# Copies for ada and bob in copies.ledger.
make_copies() {
    make_model
    make_keys
    for name in ada bob; do
        "$WW" lock model "$name" --key lock --sign me.key --for "$name" \
            --ledger copies.ledger -q
    done
}

@test "a copy is traced, verified and unlocked" {
    make_copies
    run -0 "$WW" trace bob --ledger copies.ledger --key lock --signed-by me.pub
    [[ $output == *"MATCH: 'bob' comes from the copy of 'bob'"* ]]
    [[ $output == *"1408 of 1408 signs"* ]]
    [[ $output == *"erases the trace"* ]]
    "$WW" verify bob --key me.pub
    "$WW" unlock bob back --key lock -q
    diff -r model back
}

@test "trace --json prints one object with the promised members" {
    make_copies
    "$WW" trace ada --ledger copies.ledger --key lock --signed-by me.pub --json -q >answer
    jq -e '.schema == "weightward.trace/1" and .match == "ada" and .p_value < 1e-100 and
           .bound == 1e-6 and .entries == 2 and .coordinates == 1408 and
           (.ranking | length) == 2 and .ranking[0].recipient == "ada" and
           .ranking[1].p_value > 1e-6 and (.note | test("erases")) and
           .warnings == []' answer
    [ "$(jq -s length answer)" = 1 ]
}

@test "the source itself and copies for nobody are not accused" {
    make_copies
    "$WW" lock model plain --key lock -q
    for suspect in model plain "$AMBER/../base" "$AMBER/../expert-caesar"; do
        run -1 "$WW" trace "$suspect" --ledger copies.ledger --key lock --signed-by me.pub
        [[ $output == *"NO MATCH"* ]]
        run -1 "$WW" trace "$suspect" --ledger copies.ledger --key lock --anchor model
    done
    status=0
    "$WW" trace model --ledger copies.ledger --key lock --json -q >answer || status=$?
    [ "$status" = 1 ]
    jq -e '.match == null and .p_value > 1e-6 and (.warnings | length) == 1' answer
}

@test "of a merge of copies each is told" {
    once make_copies
    "$WW" lock model cid --key lock --sign me.key --for cid --ledger copies.ledger -q
    "$WW_BIN/average_models" ada bob both # merge itself asks for them to be unlocked first
    run -0 "$WW" trace both --ledger copies.ledger --key lock --signed-by me.pub
    [[ $output == *"comes from the copy of "*"  also: "*" within the bound too"*"  next: 'cid'"* ]]
    "$WW" trace both --ledger copies.ledger --key lock --signed-by me.pub --json -q |
        jq -e '[.ranking[] | select(.within_bound) | .recipient] | sort == ["ada", "bob"]'
}

# to_gguf FOLDER FILE: a Llama in BF16 as llama.cpp's converter has it, rows of heads turned.
to_gguf() {
    python3 - "$@" <<'PY'
import json, struct, sys
folder, out = sys.argv[1:]
config = json.load(open(folder + "/config.json"))
file = open(folder + "/model.safetensors", "rb").read()
start = 8 + int.from_bytes(file[:8], "little")
u32, u64 = (lambda v: struct.pack("<I", v)), (lambda v: struct.pack("<Q", v))
text = lambda s: u64(len(s)) + s.encode()
heads = {"attn_q": config["num_attention_heads"], "attn_k": config["num_key_value_heads"]}
names = {"embed_tokens": "token_embd", "norm": "output_norm", "lm_head": "output",
         "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
         "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
         "mlp.down_proj": "ffn_down", "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm"}
tensors = json.loads(file[8:start])
tensors.pop("__metadata__", None)
info = data = b""
for name, t in tensors.items():
    begin, end = (start + offset for offset in t["data_offsets"])
    layer, part = "", name.removeprefix("model.").removesuffix(".weight")
    if part.startswith("layers."):
        _, at, part = part.split(".", 2)
        layer = f"blk.{at}."
    raw, shape, to = file[begin:end], t["shape"], names[part]
    if to in heads:
        row, half = shape[1] * 2, shape[0] // heads[to] // 2
        rows = [raw[r:r + row] for r in range(0, len(raw), row)]
        raw = b"".join(rows[2 * half * h + half * side + pair]
                       for h in range(heads[to]) for pair in range(half) for side in range(2))
    info += text(f"{layer}{to}.weight") + u32(len(shape)) + b"".join(map(u64, shape[::-1]))
    info += u32(30) + u64(len(data))
    data += raw + bytes(-len(raw) % 32)
keys = text("general.architecture") + u32(8) + text("llama")
for name, n in (("", heads["attn_q"]), ("_kv", heads["attn_k"])):
    keys += text("llama.attention.head_count" + name) + u32(4) + u32(n)
head = b"GGUF" + u32(3) + u64(len(tensors)) + u64(3) + keys + info
open(out, "wb").write(head + bytes(-len(head) % 32) + data)
PY
}

@test "a copy is traced in a GGUF file, by an anchor's layout" {
    once make_copies
    to_gguf bob bob.gguf
    to_gguf model model.gguf
    local trace=(--ledger copies.ledger --key lock --signed-by me.pub)
    "$WW" trace bob.gguf "${trace[@]}" --anchor "$AMBER/../base" --json -q >answer
    jq -e '.match == "bob" and .ranking[0].agree == 1408 and .ranking[0].votes == 1408 and
           .ranking[1].p_value > 1e-6' answer
    run -1 "$WW" trace model.gguf "${trace[@]}" --anchor "$AMBER/../base"
    refused 6 "'bob.gguf' is a GGUF file, which has no config.json: .*--anchor" "$WW" trace bob.gguf "${trace[@]}"
    head -c 100000 bob.gguf >cut.gguf
    refused 6 "cut.gguf" "$WW" trace cut.gguf "${trace[@]}" --anchor model
}

@test "quantised suspects are asked for as floats" {
    once make_copies
    cp -r bob rounded
    sed -i 's/^{/{"quantization_config": {"quant_method": "gptq"},/' rounded/config.json
    refused 6 "a trace reads floats" "$WW" trace rounded --ledger copies.ledger --key lock
}

@test "options that do not go together are usage errors" {
    make_model
    make_keys
    refused 2 "go together" "$WW" lock model out --key lock --sign me.key --for ada
    refused 2 "go together" "$WW" lock model out --key lock --sign me.key --ledger l
    refused 2 "ledger is signed" "$WW" lock model out --key lock --for ada --ledger l
    refused 2 "nonce" "$WW" lock model out --key lock --sign me.key --for a --ledger l --resume
    refused 2 "are needed" "$WW" trace model --key lock
    refused 2 "bound" "$WW" trace model --key lock --ledger l --bound 2
    refused 2 "recipient's name" "$WW" lock model out --key lock --sign me.key --for "" --ledger l
    nothing_written out
    [ ! -e l ]
}

@test "a name is there once, and a spoilt ledger is refused before anything is written" {
    make_copies
    refused 4 "'ada' has a copy" "$WW" lock model out --key lock --sign me.key --for ada \
        --ledger copies.ledger
    "$WW" key new signing --out other --no-passphrase -q
    refused 1 "signed by key" "$WW" lock model out --key lock --sign other.key --for cid \
        --ledger copies.ledger
    refused 1 "signed by key" "$WW" trace ada --ledger copies.ledger --key lock \
        --signed-by other.pub
    sed 3d copies.ledger >cut
    refused 1 "cut out" "$WW" trace ada --ledger cut --key lock
    { sed -n 1,2p copies.ledger; sed -n 4p copies.ledger; sed -n 3p copies.ledger; } >moved
    refused 1 "moved" "$WW" trace ada --ledger moved --key lock
    printf rest >>copies.ledger
    refused 3 "unfinished line" "$WW" lock model out --key lock --sign me.key --for cid \
        --ledger copies.ledger
    nothing_written out
    "$WW" lock model out --key lock --sign me.key --for cid --ledger copies.ledger \
        --mend-ledger -q
    run -0 "$WW" trace out --ledger copies.ledger --key lock -q
    [[ $output == *"'cid'"* ]]
    "$WW" key new lock --out second --no-passphrase -q
    refused 5 "none of the 3 copies" "$WW" trace out --ledger copies.ledger --key second
}

@test "the ledger is for its owner's eyes" {
    make_copies
    [ "$(stat -c %a copies.ledger)" = 600 ]
}
