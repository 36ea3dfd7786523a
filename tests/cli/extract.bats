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
    nothing_written out
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

# make_pair CONFIG NAME=ROWSxCOLUMNS... in the folders base and tuned: tuned has other numbers.
make_pair() {
    python3 - "$@" <<'PY'
import json, os, struct, sys
sizes = {n: [int(x) for x in s.split("x") if x] for n, s in (a.rsplit("=", 1) for a in sys.argv[2:])}
for folder, step in (("base", 3), ("tuned", 5)):
    header, data = {}, b""
    for i, (name, shape) in enumerate(sizes.items()):
        count = 1
        for n in shape:
            count *= n
        numbers = [(step * k * k + 7 * i) % 11 / 8 - 0.5 for k in range(count)]
        kind, coded = "F32", struct.pack(f"<{count}f", *numbers)
        if name.endswith("_ids"):   # places: whole numbers, the same in both
            kind, coded = "I64", struct.pack(f"<{count}q", *range(count))
        header[name] = dict(dtype=kind, shape=shape, data_offsets=[len(data), len(data) + len(coded)])
        data += coded
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    os.mkdir(folder)
    with open(f"{folder}/model.safetensors", "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + data)
    with open(f"{folder}/config.json", "w") as f:
        f.write(sys.argv[1])
PY
}

# PEFT has no factors for them, and a weight that came whole and as factors counted twice.
@test "a router with a correction is carried whole, and comes back" {
    make_pair '{"model_type": "deepseek_v3"}' model.layers.0.mlp.gate.weight=4x3 \
        model.layers.0.mlp.gate.e_score_correction_bias=4 model.layers.0.mlp.up_proj.weight=4x3
    "$WW" extract base tuned out -q
    jq -e '.modules_to_save == ["model.layers.0.mlp.gate"]
        and .target_modules == ["model.layers.0.mlp.up_proj"]' out/adapter_config.json
    printf 'merge_method: passthrough\nmodels: [{model: base+out}]\n' >recipe.yml
    "$WW" merge recipe.yml back -q
    python3 - <<'PY'
import json, struct
def read(name):
    with open(name, "rb") as f:
        header = json.loads(f.read(struct.unpack("<Q", f.read(8))[0]))
        data = f.read()
    return {n: struct.unpack(f"<{(b - a) // 4}f", data[a:b])
            for n, (a, b) in ((n, t["data_offsets"]) for n, t in header.items() if n[0] != "_")}
back, tuned = read("back/model.safetensors"), read("tuned/model.safetensors")
assert back.keys() == tuned.keys(), back.keys()
for n in tuned:
    assert all(abs(x - y) < 1e-5 for x, y in zip(back[n], tuned[n], strict=True)), n
PY
}

@test "places beside a parameter that is carried whole stay where they are" {
    make_pair '{"model_type": "clip_vision_model"}' vision_model.embeddings.class_embedding=4 \
        vision_model.embeddings.position_ids=1x3
    "$WW" extract base tuned out -q
    jq -e '.modules_to_save == ["vision_model.embeddings"]' out/adapter_config.json
    printf 'merge_method: passthrough\nmodels: [{model: base+out}]\n' >recipe.yml
    "$WW" merge recipe.yml back -q
    refused 6 "do not differ" "$WW" extract back tuned none
}

@test "parameters of no module that PEFT saves are carried by their names alone, and come back" {
    make_pair '{"model_type": "siglip"}' logit_scale= model.self_attn.sinks=4 model.self_attn.q_proj.weight=4x3 \
        head.attention.in_proj_bias=9 head.attention.in_proj_weight=9x3 head.attention.out_proj.weight=3x3
    "$WW" extract base tuned out -q
    jq -e '.modules_to_save == ["head.attention.out_proj"] and .target_modules == ["model.self_attn.q_proj"]' \
        out/adapter_config.json
    printf 'merge_method: passthrough\nmodels: [{model: base+out}]\n' >recipe.yml
    "$WW" merge recipe.yml back -q
    "$WW" extract back tuned none --rank 1 -q --json >said
    jq -e '.whole == 0 and .matrices == 1 and .unchanged == 5' said
}

@test "an adapter with a weight whole and as factors is not merged" {
    make_pair '{}' base_model.model.up.weight=4x3 base_model.model.up.lora_A.weight=1x3 \
        base_model.model.up.lora_B.weight=4x1
    mv tuned/model.safetensors tuned/adapter_model.safetensors
    echo '{"peft_type": "LORA", "r": 1, "lora_alpha": 1}' >tuned/adapter_config.json
    rm -r base tuned/config.json
    mv tuned twice
    make_pair '{"model_type": "llama"}' up.weight=4x3
    printf 'merge_method: passthrough\nmodels: [{model: base+twice}]\n' >recipe.yml
    refused 3 "which of them counts" "$WW" merge recipe.yml out
}

@test "what reads a tied embedding is carried too, or named" {
    make_pair '{"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"]}' transformer.wte.weight=4x3
    "$WW" extract base tuned out -q
    jq -e '(.modules_to_save | sort) == ["lm_head", "transformer.wte"]' out/adapter_config.json
    rm -r base tuned
    make_pair '{"model_type": "t5", "architectures": ["T5EncoderModel"]}' shared.weight=4x3
    "$WW" extract base tuned shared --json -q >said
    jq -e '.warnings[0] | contains("is read by several modules")' said
    rm -r base tuned
    make_pair '{"model_type": "whisper", "architectures": ["WhisperForConditionalGeneration"]}' \
        model.decoder.embed_tokens.weight=4x3
    "$WW" extract base tuned whisper --json -q >said
    jq -e '.warnings[0] | contains("tied to the head")' said
}

# pair CONFIG TENSOR=SHAPE...: a new pair and its adapter, as out; said has the answer.
pair() {
    rm -rf base tuned out back
    make_pair "$@"
    "$WW" extract base tuned out --json -q >said
}

@test "an encoder with a tied head comes back, and PEFT is named no module of layers as one" {
    printf 'merge_method: passthrough\nmodels: [{model: base+out}]\n' >recipe.yml
    pair '{"model_type": "roberta", "architectures": ["RobertaForMaskedLM"]}' \
        roberta.embeddings.word_embeddings.weight=4x3 lm_head.dense.weight=3x3
    jq -e '.modules_to_save == ["roberta.embeddings.word_embeddings"]' out/adapter_config.json
    "$WW" merge recipe.yml back -q
    pair '{"model_type": "bert", "architectures": ["BertForMaskedLM"]}' \
        bert.embeddings.word_embeddings.weight=4x3 cls.predictions.transform.dense.weight=3x3
    "$WW" merge recipe.yml back -q
}

@test "a classifier has no head that could be tied" {
    pair '{"model_type": "bert", "tie_word_embeddings": true, "architectures": ["BertForSequenceClassification"]}' \
        bert.embeddings.word_embeddings.weight=4x3 classifier.weight=2x3
    jq -e '(.warnings // []) == []' said
    jq -e '.modules_to_save == ["bert.embeddings.word_embeddings"]' out/adapter_config.json
}

@test "modules of files of the class without a head have the names that PEFT sees" {
    pair '{"model_type": "gpt_neo", "architectures": ["GPTNeoForCausalLM"]}' h.0.mlp.c_fc.weight=4x3
    jq -e '.target_modules == ["transformer.h.0.mlp.c_fc"]' out/adapter_config.json
    pair '{"model_type": "bart", "architectures": ["BartForConditionalGeneration"]}' \
        encoder.layers.0.fc1.weight=4x3 final_logits_bias=1x4
    jq -e '.target_modules == ["model.encoder.layers.0.fc1"]' out/adapter_config.json
    printf 'merge_method: passthrough\nmodels: [{model: base+out}]\n' >recipe.yml
    "$WW" merge recipe.yml back -q
}

@test "modules that PEFT may pass over are told" {
    pair '{"model_type": "gpt_neox", "architectures": ["GPTNeoXForCausalLM"]}' embed_out.weight=4x3
    jq -e '.warnings[0] | contains("another name")' said
    pair '{"model_type": "mixtral"}' model.layers.0.block_sparse_moe.experts.0.w1.weight=4x3
    jq -e '.warnings[0] | contains("of a mixture of experts")' said
    pair '{"model_type": "qwen3_moe"}' model.layers.0.mlp.gate.weight=4x3
    jq -e '.warnings[0] | contains("of a mixture of experts")' said
    pair '{"model_type": "wavlm"}' wavlm.encoder.layers.0.attention.q_proj.weight=4x3
    jq -e '.warnings[0] | contains("does not run")' said
    pair '{"model_type": "llama"}' model.layers.0.mlp.gate_proj.weight=4x3
    jq -e '(.warnings // []) == []' said
}

@test "of quantised weights nothing is computed, whatever config.json says" {
    make_pair '{"model_type": "llama"}' model.layers.0.up_proj.qweight=4x8 \
        model.layers.0.up_proj.scales=1x4 model.norm.weight=4
    sed -i 's/qweight": {"dtype": "F32"/qweight": {"dtype": "I32"/' {base,tuned}/model.safetensors
    refused 6 "model 'base' is quantised .'model.layers.0.up_proj.qweight': GPTQ" \
        "$WW" extract base tuned out
    refused 6 "model 'base' is quantised" "$WW" lineage decompose tuned --base base --candidate tuned
    printf 'merge_method: linear\nmodels: [{model: base}, {model: tuned}]\n' >recipe.yml
    refused 6 "model 'base' is quantised" "$WW" merge recipe.yml out --allow-mixed
    rm -r base tuned
    make_pair '{"quantization_config": {"quant_method": "fp8"}}' model.up_proj.weight=4x8
    refused 6 "model 'base' is quantised .fp8." "$WW" extract base tuned out
}

@test "whole numbers that changed are told" {
    make_pair '{"model_type": "llama"}' model.up_proj.weight=4x8 model.count=4
    sed -i 's/count": {"dtype": "F32"/count": {"dtype": "I32"/' {base,tuned}/model.safetensors
    run "$WW" extract base tuned out
    [[ $status == 0 && $output == *"'model.count' changed and is left out: whole numbers"* ]]
}

@test "an embedding of another name and gains by heads are no linear layers" {
    pair '{"model_type": "ctrl"}' transformer.w.weight=4x3
    jq -e '.modules_to_save == ["transformer.w"] and .target_modules == null' out/adapter_config.json
    pair '{"model_type": "cohere"}' model.layers.0.self_attn.q_norm.weight=4x3
    jq -e '.modules_to_save == ["model.layers.0.self_attn.q_norm"]' out/adapter_config.json
}
