#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# base+adapter in a recipe: one way of many to the same bytes, and what is refused.
bats_require_minimum_version 1.5.0
load helper

make_adapted() {
    cp -r "$AMBER/../base" "$AMBER/../expert-rev" .
    chmod -R u+w .
    "$WW" extract base expert-rev ad --rank 4 -q
    cat >recipe.yml <<'YML'
merge_method: ties
base_model: base
models:
  - model: base+ad
    parameters: {weight: 0.5, density: 0.4}
  - model: expert-rev
    parameters: {weight: 0.5, density: 0.4}
dtype: float32
out_dtype: bfloat16
YML
}
# adapter NAME KEY=VALUE...: one LoRA of zeros for one weight of the base, settings in JSON.
adapter() {
    mkdir "$1"
    jq -n "{peft_type: \"LORA\", r: 2, lora_alpha: 2} + {$2}" >"$1/adapter_config.json"
    local module=base_model.model.${3:-model.layers.0.self_attn.q_proj}
    safetensors "$1/adapter_model.safetensors" "$(jq -cn --arg m "$module" --argjson w "${4:-128}" '{
        ($m + ".lora_A.weight"): {dtype: "F32", shape: [2, $w], data_offsets: [0, (8 * $w)]},
        ($m + ".lora_B.weight"): {dtype: "F32", shape: [128, 2],
                                  data_offsets: [(8 * $w), (8 * $w + 1024)]}}')" $((8 * ${4:-128} + 1024))
    printf 'merge_method: passthrough\nmodels: [{model: base+%s}]\n' "$1" >"$1.yml"
}

@test "a sum with an adapter merges to the same bytes for any number of threads and any memory" {
    once make_adapted
    "$WW" merge recipe.yml out1 --threads 1 -q
    for n in 2 3 8; do
        "$WW" merge recipe.yml "out$n" --threads "$n" --memory 64 -q
        diff -r out1 "out$n" -x attestations
    done
}

@test "the plan, the record and a re-derivation know the adapter" {
    once make_adapted
    make_keys
    "$WW" merge recipe.yml out --sign me.key -q
    "$WW" verify out --key me.pub -q
    "$WW" merge --dry-run recipe.yml >plan
    grep -q 'base+ad' plan
    jq -r .dsseEnvelope.payload out/attestations/provenance.sigstore.json | base64 -d >record
    jq -e '[.predicate.buildDefinition.resolvedDependencies[].name] == ["base", "ad", "expert-rev"]' record
    jq -e --arg sha "$(sha256sum <ad/adapter_config.json | cut -d' ' -f1)" '
        .predicate.buildDefinition.resolvedDependencies[1].annotations.files[1].digest.sha256 == $sha' record
    "$WW" merge --rederive out -q
    "$WW" merge --rederive out --sample 5 -q
    sed -i 's/"lora_alpha": *4/"lora_alpha": 5/' ad/adapter_config.json
    refused 1 "plan is not the recorded one" "$WW" merge --rederive out
}

@test "an adapter is added to a locked base that is opened with its key, and to no other" {
    once make_adapted
    make_keys
    "$WW" merge recipe.yml plain -q
    "$WW" lock base locked --key lock -q
    sed 's/base+ad/locked+ad/; s/base_model: base/base_model: locked/' recipe.yml >locked.yml
    "$WW" merge locked.yml opened --unlock-with lock -q
    cmp plain/model.safetensors opened/model.safetensors
    printf 'merge_method: passthrough\nmodels: [{model: locked+ad}]\n' >one.yml
    refused 6 "unlock-with" "$WW" merge one.yml out
    "$WW" lock ad carried --base locked --key lock -q
    printf 'merge_method: passthrough\nmodels: [{model: base+carried}]\n' >two.yml
    refused 6 "follows a lock" "$WW" merge two.yml out
    nothing_written out
}

@test "adapters that do not belong to the base, or are of a kind that is not added, are refused" {
    once make_adapted
    adapter good 'task_type: "CAUSAL_LM"'
    "$WW" merge good.yml out -q
    cmp out/model.safetensors base/model.safetensors
    rm -r out
    adapter missing '' model.layers.9.self_attn.q_proj
    refused 3 "does not have; is it the adapter's base" "$WW" merge missing.yml out
    adapter narrow '' model.layers.0.self_attn.q_proj 64
    refused 3 "does not fit .*is it the adapter's base" "$WW" merge narrow.yml out
    adapter ia3 'peft_type: "IA3"'
    refused 6 "of type 'IA3', expected LORA" "$WW" merge ia3.yml out
    adapter replicated 'layer_replication: [[0, 4], [2, 6]]'
    refused 6 "layer_replication" "$WW" merge replicated.yml out
    adapter regex 'alpha_pattern: {"(?=q).*q_proj": 3}'
    refused 6 "group that looks around" "$WW" merge regex.yml out
    printf 'merge_method: passthrough\nmodels: [{model: base+nowhere}]\n' >nowhere.yml
    refused 4 "adapter 'nowhere' is no folder" "$WW" merge nowhere.yml out
    # the first factor of the last weight that is read
    adapter nan ''
    printf '\0\0\300\177' | dd of=nan/adapter_model.safetensors bs=1 conv=notrunc status=none \
        seek=$(($(stat -c %s nan/adapter_model.safetensors) - 4))
    refused 3 "holds NaN or infinity; repair the weights first" "$WW" merge nan.yml out
    nothing_written out
}

@test "an adapter made for a model of another name is refused, or doubted when that is not plain" {
    once make_adapted
    jq '._name_or_path = "org/amber"' base/config.json >c
    mv c base/config.json
    adapter doubted 'base_model_name_or_path: "somewhere/on/a/disk"'
    "$WW" merge doubted.yml out 2>said
    grep -q "was made for 'somewhere/on/a/disk'" said
    # a line of its own, and a character that is cut, in what it says
    adapter forged 'base_model_name_or_path: ("xy\nwarning: well " + "é" * 100)'
    "$WW" merge forged.yml out3 --json >answer 2>said
    jq -e '.warnings | any(test("xy.x0awarning: well"))' answer
    run -1 grep '^warning: well' said
    rm -r out3
    adapter right 'base_model_name_or_path: "other/Amber"'
    "$WW" merge right.yml out2 2>said
    ! grep -q "was made for" said || false
    adapter wrong 'base_model_name_or_path: "org/beryl"'
    refused 1 "was made for 'org/beryl'" "$WW" merge wrong.yml out3
    "$WW" merge wrong.yml out3 --allow-mixed -q
}

@test "a tied base takes an embedding only with the equal head, and no larger vocabulary" {
    once make_adapted
    # without its head the base ties
    python3 - <<'PY'
import json, struct
with open("base/model.safetensors", "rb") as f:
    n, = struct.unpack("<Q", f.read(8))
    head, data = json.loads(f.read(n)), f.read()
out, body = {}, b""
for name, t in sorted(head.items()):
    if name in ("lm_head.weight", "__metadata__"):
        continue
    a, b = t["data_offsets"]
    out[name] = dict(t, data_offsets=[len(body), len(body) + b - a])
    body += data[a:b]
out["model.embed_positions.weight"] = {"dtype": "F32", "shape": [4, 128], "data_offsets": [len(body), len(body) + 2048]}
body += bytes(2048)
text = json.dumps(out).encode()
with open("base/model.safetensors", "wb") as f:
    f.write(struct.pack("<Q", len(text)) + text + body)
PY
    sed -i 's/"tie_word_embeddings": false/"tie_word_embeddings": true/' base/config.json
    saved() {
        mkdir "$1"
        echo '{"peft_type": "LORA", "r": 2, "lora_alpha": 2}' >"$1/adapter_config.json"
        safetensors "$1/adapter_model.safetensors" "$2" "$3"
        printf 'merge_method: passthrough\nmodels: [{model: base+%s}]\n' "$1" >"$1.yml"
    }
    local e=base_model.model.model.embed_tokens.weight h=base_model.model.lm_head.weight
    saved alone "{\"$e\":{\"dtype\":\"F32\",\"shape\":[100,128],\"data_offsets\":[0,51200]}}" 51200
    refused 6 "an embedding and no head" "$WW" merge alone.yml out
    saved both "{\"$e\":{\"dtype\":\"F32\",\"shape\":[100,128],\"data_offsets\":[0,51200]},\"$h\":{\"dtype\":\"F32\",\"shape\":[100,128],\"data_offsets\":[51200,102400]}}" 102400
    "$WW" merge both.yml out -q
    rm -r out
    flip both/adapter_model.safetensors "$(($(stat -c %s both/adapter_model.safetensors) - 2))"
    refused 6 "a head and an embedding that differ" "$WW" merge both.yml out
    saved larger "{\"$e\":{\"dtype\":\"F32\",\"shape\":[104,128],\"data_offsets\":[0,53248]},\"$h\":{\"dtype\":\"F32\",\"shape\":[104,128],\"data_offsets\":[53248,106496]}}" 106496
    refused 3 "does not fit" "$WW" merge larger.yml out
    # factors of it change both, as PEFT's merge has it, and each way to the sum says so
    saved factors "{\"${e%weight}lora_embedding_A\":{\"dtype\":\"F32\",\"shape\":[2,100],\"data_offsets\":[0,800]},\"${e%weight}lora_embedding_B\":{\"dtype\":\"F32\",\"shape\":[128,2],\"data_offsets\":[800,1824]}}" 1824
    "$WW" merge factors.yml summed 2>said
    grep -q "embedding that is the head too: both change" said
    "$WW" rmm pack f.pkg f=factors --exact --base base -q
    "$WW" rmm unpack f.pkg f sum --form model --base base 2>said
    grep -q "adapter 'f' changes an embedding that is the head too: both change" said
    # those of a table of positions change no head
    saved places '{"base_model.model.model.embed_positions.lora_embedding_A":{"dtype":"F32","shape":[2,4],"data_offsets":[0,32]},"base_model.model.model.embed_positions.lora_embedding_B":{"dtype":"F32","shape":[128,2],"data_offsets":[32,1056]}}' 1056
    "$WW" merge places.yml placed 2>said
    ! grep -q "head too" said || false
    printf 'tokenizer_source: union\n' >>larger.yml
    refused 3 "does not fit" "$WW" merge larger.yml out
    nothing_written out
}

@test "a vocabulary is put together from embeddings with an adapter added" {
    once make_adapted
    mkdir whole
    echo '{"peft_type": "LORA", "r": 2, "lora_alpha": 2}' >whole/adapter_config.json
    safetensors whole/adapter_model.safetensors '{"base_model.model.model.embed_tokens.weight":{"dtype":"F32","shape":[100,128],"data_offsets":[0,51200]}}' 51200
    cat >union.yml <<'YML'
merge_method: linear
models:
  - model: base+whole
    parameters: {weight: 1}
  - model: base
    parameters: {weight: 1}
tokenizer: {source: union, pad_to_multiple_of: 64}
YML
    printf 'merge_method: passthrough\nmodels: [{model: base+whole}]\n' >bake.yml
    "$WW" merge bake.yml baked -q
    "$WW" merge union.yml direct -q
    sed 's/base+whole/baked/' union.yml >first.yml
    "$WW" merge first.yml two-steps -q
    cmp direct/model.safetensors two-steps/model.safetensors
}

@test "adapters merge into a signed adapter that can be computed again" {
    once make_adapted
    make_keys
    "$WW" extract base "$AMBER/../expert-caesar" ad2 --rank 3 -q
    # plain LoRA only: what was extracted carries gains whole
    plain() {
        mkdir "$1"
        cp "$2/adapter_config.json" "$1"
        python3 - "$2" "$1" <<'PY'
import json, struct, sys
with open(sys.argv[1] + "/adapter_model.safetensors", "rb") as f:
    n, = struct.unpack("<Q", f.read(8))
    head, data = json.loads(f.read(n)), f.read()
out, body = {}, b""
for name, t in sorted(head.items()):
    if ".lora_" in name:
        a, b = t["data_offsets"]
        out[name] = dict(t, data_offsets=[len(body), len(body) + b - a])
        body += data[a:b]
text = json.dumps(out).encode()
with open(sys.argv[2] + "/adapter_model.safetensors", "wb") as f:
    f.write(struct.pack("<Q", len(text)) + text + body)
PY
    }
    plain one ad
    plain two ad2
    for name in one two; do # what an adapter calls its base is one value of the card
        jq '.base_model_name_or_path = "x\nlicense: mit"' $name/adapter_config.json >config
        mv config $name/adapter_config.json
    done
    cat >both.yml <<'YML'
merge_method: linear
models:
  - {model: one, parameters: {weight: 3}}
  - {model: two, parameters: {weight: 1}}
YML
    "$WW" merge --dry-run both.yml | grep -q 'rank 4 weight=0.75'
    "$WW" merge both.yml out --sign me.key -q
    "$WW" verify out --key me.pub -q
    jq -e '.peft_type == "LORA" and .r == 7 and .lora_alpha == 7' out/adapter_config.json
    cmp both.yml out/mergekit_config.yml
    grep -Fx 'base_model: "x\nlicense: mit"' out/README.md
    "$WW" merge --rederive out -q
    # the sum is what the models with the adapters added give
    printf 'merge_method: passthrough\nmodels: [{model: base+out}]\ndtype: float32\n' >sum.yml
    "$WW" merge sum.yml sum -q
    flip out/adapter_model.safetensors "$(($(stat -c %s out/adapter_model.safetensors) - 2))"
    refused 1 "is not what the recipe and the sources give" "$WW" merge --rederive out
    (cat both.yml; echo 'adapter: {rank: 2}') >small.yml
    "$WW" merge small.yml small --threads 1 -q
    "$WW" merge small.yml small2 --threads 3 -q
    cmp small/adapter_model.safetensors small2/adapter_model.safetensors
    jq -e '.r == 2' small/adapter_config.json
    sed -i 's/"lora_alpha": *3/"lora_alpha": 5/' two/adapter_config.json
    refused 1 "'two' is not the one that was merged" "$WW" merge --rederive small
}

@test "a merge goes on from an earlier one without adapters or slices" {
    once make_adapted
    cont() {
        printf 'merge_method: opcm\nbase_model: %s\nmodels:\n- {model: %s%s}\n- {model: expert-rev}\n' "$@"
    }
    cont base base+ad "" >first.yml
    "$WW" merge first.yml first -q
    cont base first ", parameters: {earlier: true}" >next.yml
    "$WW" merge next.yml next -q
    cont base first+ad ", parameters: {earlier: true}" >r.yml
    refused 3 "take no adapters" "$WW" merge r.yml out -q
    cont base+ad first ", parameters: {earlier: true}" >r.yml
    refused 3 "take no adapters" "$WW" merge r.yml out -q
    sources() {
        printf '  - sources: [%s, {model: base, layer_range: [%s]}, {model: expert-rev, layer_range: [%s]}]\n' \
            "{model: $1, layer_range: [$2]$3}" "$2" "$2"
    }
    { printf 'merge_method: opcm\nbase_model: base\nslices:\n'
      sources first "0, 2" ", parameters: {earlier: true}"
      sources first "2, 4" ", parameters: {earlier: true}"; } >r.yml
    refused 3 "goes into whole models, not slices" "$WW" merge r.yml out -q
    { printf 'merge_method: opcm\nbase_model: base\nslices:\n'
      echo '  - sources: [{model: base, layer_range: [0, 4]}, {model: expert-rev, layer_range: [0, 4]}]'; } >slices.yml
    "$WW" merge slices.yml slices -q
    cont base slices ", parameters: {earlier: true}" >r.yml
    refused 3 "it was merged by slices" "$WW" merge r.yml out -q
    cont base+ad base "" >other.yml
    "$WW" merge other.yml other -q
    cont base other ", parameters: {earlier: true}" >r.yml
    refused 3 "its base is no model of its own" "$WW" merge r.yml out -q
}

@test "what no merge of adapters can be is refused" {
    once make_adapted
    adapter a 'base_model_name_or_path: "amber"'
    adapter b 'base_model_name_or_path: "beryl"'
    adapter c 'base_model_name_or_path: "amber"' model.layers.0.self_attn.q_proj 64
    adapter d 'base_model_name_or_path: "amber", fan_in_fan_out: true'
    both() {
        printf 'merge_method: %s\nbase_model: base\nmodels:\n- {model: %s, parameters: {weight: 1}}\n- {model: %s, parameters: {weight: -1}}\n%s\n' \
            "$1" "$2" "$3" "$4" >r.yml
    }
    both task_arithmetic a b ''
    refused 1 "made for 'amber'.*'beryl'" "$WW" merge r.yml out
    both task_arithmetic a c ''
    refused 3 "not of one base" "$WW" merge r.yml out
    both task_arithmetic a d ''
    refused 1 "fan_in_fan_out" "$WW" merge r.yml out
    both ties a a2 ''
    cp -r a a2
    refused 6 "does not merge adapters" "$WW" merge r.yml out
    both breadcrumbs a a2 'adapter: {combine: factors}'
    refused 6 "gamma of 'a' is 0.01" "$WW" merge r.yml out
    both breadcrumbs a a2 'adapter: {combine: whole}'
    refused 6 "gamma of 'a' is 0.01" "$WW" merge r.yml out
    both ties a a2 $'adapter: {combine: whole}\nparameters: {lambda: 0.5}'
    refused 6 "'combine: factors' and 'whole' have no lambda" "$WW" merge r.yml out
    both knots a a2 'adapter: {combine: whole}'
    refused 6 "does not merge adapters by whole differences" "$WW" merge r.yml out
    both breadcrumbs a a2 $'adapter: {combine: whole, sign: frequency}\nparameters: {gamma: 0}'
    refused 3 "methods that elect a sign" "$WW" merge r.yml out
    both task_arithmetic a a2 'adapter: {combine: half}'
    refused 3 "combine of an adapter is 'sum', 'factors' or 'whole'" "$WW" merge r.yml out
    both task_arithmetic a a2 'adapter: {sign: [total]}'
    refused 3 "sign of an adapter is 'total' or 'frequency'" "$WW" merge r.yml out
    both dare_ties a a2 $'adapter: {combine: factors}\nparameters: {density: 0}'
    refused 3 "density 0 keeps nothing of 'a'" "$WW" merge r.yml out
    both task_arithmetic a expert-rev ''
    refused 3 "an adapter and 'expert-rev' a model" "$WW" merge r.yml out
    both task_arithmetic a ad ''
    refused 6 "has a whole weight" "$WW" merge r.yml out --allow-mixed
    both task_arithmetic a a2 'adapter: {rank: 0}'
    refused 3 "whole number from 1" "$WW" merge r.yml out
    both task_arithmetic expert-rev base 'adapter: {rank: 2}'
    refused 3 "whose models are adapters" "$WW" merge r.yml out
    both linear a a2 ''
    refused 3 "sum to 0" "$WW" merge r.yml out
    nothing_written out
}

@test "factors that experts share are neither merged into an adapter nor carried over a lock" {
    cp -r "$AMBER/../base" .
    chmod -R u+w base
    make_keys
    "$WW" lock base locked --key lock -q
    adapter stacked 'target_parameters: ["experts.down_proj"]'
    printf 'merge_method: linear\nmodels: [{model: stacked, parameters: {weight: 1}}]\n' >one.yml
    refused 6 "uses target_parameters" "$WW" merge one.yml out
    refused 6 "uses target_parameters" "$WW" lock stacked out --base locked --key lock
    adapter plain 'target_parameters: ["q_proj.weight"]'
    "$WW" merge --dry-run plain.yml >/dev/null
    [ ! -e out ]
}

@test "factors of rows: what is left alone keeps its bytes, and others are refused before a byte is written" {
    python3 - <<'PY'
import json, os, struct
def write(folder, prefix, config, name, tensors):
    os.mkdir(folder)
    json.dump(config, open(f"{folder}/{prefix}config.json", "w"))
    header, data = {}, b""
    for key, (dtype, shape, values) in tensors.items():
        values = struct.pack(f"<{len(values)}{'f' if dtype == 'F32' else 'b'}", *values)
        header[key] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + len(values)]}
        data += values
    header = json.dumps(header).encode()
    open(f"{folder}/{name}", "wb").write(struct.pack("<Q", len(header)) + header + data)
layer, module = "model.layers.0.attention.", "base_model.model.model.layers.0.self_attn.k_proj.lora_"
write("fused", "", {"model_type": "sarvam_moe", "architectures": ["X"]}, "model.safetensors",
      {layer + "query_key_value.weight": ("F32", [8, 4], [-0.0] * 32), layer + "dense.weight": ("F32", [4, 4], [1] * 16)})
for name, dtype in ("floats", "F32"), ("integers", "I8"):
    write(name, "adapter_", {"peft_type": "LORA", "r": 1, "lora_alpha": 1}, "adapter_model.safetensors",
          {module + "A.weight": (dtype, [1, 4], [1] * 4), module + "B.weight": (dtype, [2, 1], [2] * 2)})
PY
    printf 'merge_method: passthrough\nmodels: [{model: fused+floats}]\n' >floats.yml
    sed 's/floats/integers/' floats.yml >integers.yml
    "$WW" merge floats.yml out -q --allow-mixed
    tail -c 128 out/model.safetensors | od -An -v -tx4 -w16 | uniq -c | tr -s ' ' >rows
    diff rows - <<'TXT'
 4 80000000 80000000 80000000 80000000
 2 40000000 40000000 40000000 40000000
 2 80000000 80000000 80000000 80000000
TXT
    refused 6 "stored as I8" "$WW" merge --dry-run integers.yml
}
