#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
bats_require_minimum_version 1.5.0
load helper

make_family() {
    copy_family
    cat >recipe.yml <<'YML'
merge_method: task_arithmetic
base_model: base
models:
  - model: expert-rev
    parameters: {weight: 0.5}
  - model: expert-caesar
    parameters:
      weight:
        - filter: mlp
          value: [0.4, 0.6]
        - value: 0.5
dtype: float32
out_dtype: bfloat16
YML
}

@test "a signed merge verifies, and can be computed again from its record" {
    make_family
    make_keys
    "$WW" merge recipe.yml out --sign me.key -q
    "$WW" verify out --key me.pub
    "$WW_BIN/weightward-verify" out --key me.pub
    "$WW" merge --rederive out -q
    "$WW" merge recipe.yml --rederive out --sample 3 --json -q >answer
    jq -e '.tensors_checked == 3 and .tensors == 39' answer
    refused 2 "is a number of tensors from 1" "$WW" merge --rederive out --sample 0
    cmp recipe.yml out/mergekit_config.yml
    [ ! -e out.partial ]
}

@test "merge --json prints one object with the promised members" {
    make_family
    "$WW" merge recipe.yml out --json --report report.json -q >answer
    jq -e '.schema == "weightward.merge/1" and .method == "task_arithmetic" and
           (.evidence | startswith("the only method that reliably gains")) and
           (.plan_sha256 | length) == 64 and (.sources | length) == 3 and
           (.sources[0].sha256_tree | length) == 64 and (.output_sha256_tree | length) == 64 and
           .bytes_read > 3000000 and .bytes_written > 1000000 and .seconds > 0 and
           .warnings == []' answer
    cmp answer report.json
}

# The kernels of OpenBLAS for two processors. In double precision they do differ, as the
# method by whole matrices shows.
@test "elementwise methods give the same bytes whatever OpenBLAS chooses" {
    make_family
    grep -qw avx2 /proc/cpuinfo || skip "a processor with one core type"
    for m in ties slerp model_stock karcher geometric_median sce della tsv_m; do
        {
            echo "merge_method: $m"
            case $m in karcher | geometric_median) ;; *) echo "base_model: base" ;; esac
            case $m in
            slerp) printf 'parameters: {t: 0.3}\nmodels: [{model: expert-rev}]\n' ;;
            *) printf 'models:\n  - {model: expert-rev, parameters: {weight: 0.6, density: 0.4, epsilon: 0.1}}\n' &&
                echo '  - {model: expert-caesar, parameters: {weight: 0.5, density: 0.6, epsilon: 0.1}}' ;;
            esac
            echo "dtype: float32"
            echo "out_dtype: float64"
        } >one.yml
        rm -rf one two
        OPENBLAS_CORETYPE=Prescott "$WW" merge one.yml one -q --no-source-trees
        OPENBLAS_CORETYPE=Haswell "$WW" merge one.yml two -q --no-source-trees
        if [ "$m" = tsv_m ]; then
            if cmp -s one/model.safetensors two/model.safetensors; then
                skip "this OpenBLAS has one core type"
            fi
        else
            cmp one/model.safetensors two/model.safetensors
        fi
    done
}

@test "the same recipe gives the same bytes for 1, 2, 3 and 8 threads" {
    make_family
    for n in 1 2 3 8; do
        "$WW" merge recipe.yml "out$n" --threads "$n" -q
        diff -r out1 "out$n" -x attestations
    done
}

@test "a changed weight, a changed source and another recipe are told by a re-derivation" {
    make_family
    "$WW" merge recipe.yml out -q
    cp -r out bad
    flip bad/model.safetensors 700000
    flip bad/model.safetensors $(($(stat -c %s bad/model.safetensors) - 2)) # in another tensor
    refused 1 "'model.safetensors' is not what the recipe and the sources give" \
        "$WW" merge --rederive bad
    refused 1 "tensor 'model\.[a-z0-9_.]*' is not what the recipe" \
        "$WW" merge --rederive bad --sample 38
    "$WW" merge --rederive out --sample 3 2>said # says no more than was looked at
    grep -q "^3 of the 39 tensors of 'out', chosen at random, are what the recipe and the sources give" said
    sed 's/0.5}/0.6}/' recipe.yml >other.yml
    refused 1 "is not the one in the record" "$WW" merge other.yml --rederive out
    flip expert-rev/model.safetensors 700001
    refused 1 "source 'expert-rev' is not the one that was merged" "$WW" merge --rederive out
    refused 4 "holds no record of a merge" "$WW" merge --rederive base
}

@test "a plan can be seen before anything is written" {
    make_family
    "$WW" merge recipe.yml --dry-run >plan
    grep -q "^method task_arithmetic" plan
    grep -q "^evidence: the only method that reliably gains on language models" plan
    grep -q "^model 2: base (base)" plan
    grep -q "model.layers.0.mlp.up_proj.weight BF16 .* model 1 weight=0.4" plan
    grep -q "model.layers.3.mlp.up_proj.weight BF16 .* model 1 weight=0.6" plan
    [ ! -e out ]
    "$WW" merge recipe.yml --dry-run --json >planned
    "$WW" merge recipe.yml out --json -q >done
    [ "$(jq .plan_sha256 planned)" = "$(jq .plan_sha256 done)" ]
}

@test "slices stack layers and config.json counts them" {
    make_family
    cat >stack.yml <<'YML'
merge_method: passthrough
slices:
  - sources: [{model: expert-rev, layer_range: [0, 3]}]
  - sources: [{model: expert-caesar, layer_range: [1, 4]}]
dtype: bfloat16
YML
    "$WW" merge stack.yml out -q
    jq -e '.num_hidden_layers == 6' out/config.json
    "$WW" inspect out --json | jq -e '(.blocks | length) == 6'
    "$WW" merge --rederive out -q
}

@test "an embedding that is numbered as a layer is not stacked" {
    make_family
    python3 - <<'PY'
import json, struct
path = "expert-rev/model.safetensors"
data = open(path, "rb").read()
n, = struct.unpack("<Q", data[:8])
header = data[8:8 + n].replace(b"model.embed_tokens.weight", b"model.layers.0.wte.weight")
open(path, "wb").write(data[:8] + header + data[8 + n:])
config = json.load(open("expert-rev/config.json"))
json.dump({**config, "model_type": "of nobody", "architectures": ["X"]}, open("expert-rev/config.json", "w"))
PY
    cat >stack.yml <<'YML'
merge_method: passthrough
slices:
  - sources: [{model: expert-rev, layer_range: [0, 2]}]
  - sources: [{model: expert-rev, layer_range: [1, 4]}]
dtype: bfloat16
YML
    refused 6 "holds the embedding" "$WW" merge stack.yml out -q
    nothing_written out
}

@test "factors that go by the number of layers, or by a layer's own, are told when layers are stacked" {
    python3 - <<'PY'
import json, os, struct
def write(name, attention, config):
    layer = dict(input_layernorm=(8,), post_attention_layernorm=(8,))
    layer |= {f"mlp.{n}_proj": s for n, s in dict(gate=(6, 8), up=(6, 8), down=(8, 6)).items()}
    layer |= {f"self_attn.{n}": s for n, s in attention.items()}
    names = {"model.embed_tokens": (5, 8), "model.norm": (8,)}
    names |= {f"model.layers.{i}.{n}": s for i in range(2) for n, s in layer.items()}
    header, at = {}, 0
    for n, s in names.items():
        size = 4 * s[0] * (s[1] if len(s) == 2 else 1)
        header[n if "lambda" in n else n + ".weight"] = dict(dtype="F32", shape=s, data_offsets=[at, at + size])
        at += size
    os.mkdir(name)
    with open(name + "/model.safetensors", "wb") as f:
        text = json.dumps(header).encode()
        f.write(struct.pack("<Q", len(text)) + text + bytes(at))
    with open(name + "/config.json", "w") as f:
        json.dump(dict(tie_word_embeddings=True, vocab_size=5, hidden_size=8, intermediate_size=6, num_hidden_layers=2,
                       num_attention_heads=2, num_key_value_heads=2, **config), f)


write("mini", dict(q_a_proj=(4, 8), q_a_layernorm=(4,), q_b_proj=(12, 4), kv_a_proj_with_mqa=(6, 8),
                   kv_a_layernorm=(4,), kv_b_proj=(16, 4), o_proj=(8, 8)),
      dict(model_type="minicpm3", architectures=["MiniCPM3ForCausalLM"], q_lora_rank=4, kv_lora_rank=4,
           qk_nope_head_dim=4, qk_rope_head_dim=2, v_head_dim=4, scale_depth=1.4))
write("diff", {f"{n}_proj": (8, 8) for n in "qkvo"} | {f"lambda_{n}": (4,) for n in ("q1", "k1", "q2", "k2")},
      dict(model_type="diffllama", architectures=["DiffLlamaForCausalLM"]))
PY
    for m in mini diff; do
        printf 'merge_method: passthrough\nslices: [%s, %s]\n' "{sources: [{model: $m, layer_range: [0, 2]}]}" \
            "{sources: [{model: $m, layer_range: [1, 2]}]}" >stack.yml
        "$WW" merge stack.yml "out-$m" -q --json >"$m.said"
    done
    jq -e '.warnings[] | select(contains("layer 0 of '"'mini'"', has another factor on its branches"))' mini.said
    jq -e '.warnings[] | select(contains("layer 1 of '"'diff'"', has another factor by its number"))' diff.said
}

@test "a layer whose attention goes by its number is told when it moves" {
    make_family
    for m in base expert-rev; do
        jq '.model_type = "smollm3" | .architectures = ["SmolLM3ForCausalLM"]' $m/config.json >config
        mv config $m/config.json
    done
    printf 'merge_method: passthrough\nslices: [%s, %s]\n' '{sources: [{model: expert-rev, layer_range: [0, 3]}]}' \
        '{sources: [{model: base, layer_range: [1, 4]}]}' >stack.yml
    "$WW" merge stack.yml out -q --json >said
    jq -e '.warnings[] | select(contains("layer 3 of the output, layer 1 of '"'base'"', has another kind of rotary"))' said
    jq '.no_rope_layers = [1, 1, 1, 0]' expert-rev/config.json >config
    mv config expert-rev/config.json
    "$WW" merge stack.yml listed -q --json >said
    jq -e '[.warnings[]? | select(contains("another kind of"))] == []' said
    jq -e '.no_rope_layers == [1, 1, 1, 1, 1, 0]' listed/config.json
}

@test "recipes of one file feed each other and leave nothing behind" {
    make_family
    cat >graph.yml <<'YML'
name: left
merge_method: linear
models:
  - {model: expert-rev, parameters: {weight: 1}}
  - {model: base, parameters: {weight: 1}}
dtype: float32
---
merge_method: task_arithmetic
base_model: base
models:
  - {model: left, parameters: {weight: 1}}
  - {model: expert-caesar, parameters: {weight: 0.5}}
out_dtype: bfloat16
YML
    "$WW" merge graph.yml out --json -q >answer
    jq -e '[.sources[].name] == ["expert-rev", "base", "expert-caesar"]' answer
    [ ! -e out.steps ]
    "$WW" merge --rederive out -q
    [ ! -e out.steps ]
    mkdir out2.steps
    refused 4 "for intermediate results cannot be made" "$WW" merge graph.yml out2
}

@test "of Mistral's own layout params.json goes along, and of a second copy nothing" {
    make_family
    for m in expert-rev expert-caesar; do
        cp -r $m own-$m && cd own-$m && rm config.json
        mv model.safetensors consolidated.safetensors && echo '{"dim": 128}' >params.json && cd ..
        cp own-$m/consolidated.safetensors own-$m/params.json $m
    done
    sed '/^base/d; s/task_arithmetic/linear/' recipe.yml >both.yml
    sed 's/: expert/: own-expert/' both.yml >own.yml
    "$WW" merge own.yml own -q
    cmp own-expert-rev/params.json own/params.json
    "$WW" merge both.yml both 2>said
    grep "'consolidated.safetensors' .* which a merge leaves out" said
    [ ! -e both/params.json ]
    [ ! -e both/consolidated.safetensors ]
    cmp both/model.safetensors own/consolidated.safetensors
}

@test "what cannot be merged is refused in one sentence and writes nothing" {
    make_family
    sed 's/merge_method: .*/merge_method: task_aritmetic/' recipe.yml >bad.yml
    refused 6 "is 'task_arithmetic' meant" "$WW" merge bad.yml out
    sed 's/expert-rev/nowhere/' recipe.yml >bad.yml
    refused 4 "model 'nowhere' is no folder" "$WW" merge bad.yml out
    sed 's/nowhere/base\/model.safetensors/' bad.yml >file.yml
    refused 4 "model 'base/model.safetensors' is a file; name the folder" "$WW" merge file.yml out
    mkdir here
    touch here/base # hides no folder beside the recipe
    (cd here && "$WW" merge --dry-run ../recipe.yml -q >plan)
    sed 's/0.5}/high}/' recipe.yml >bad.yml
    refused 3 "weight is 'high', a number is expected" "$WW" merge bad.yml out
    printf 'a: [1\n' >bad.yml
    refused 3 "recipe 'bad.yml' line 2" "$WW" merge bad.yml out
    refused 4 "'base' exists; choose another name or remove it" "$WW" merge recipe.yml base
    refused 2 "lies inside the model" "$WW" merge recipe.yml base/out
    refused 2 "a recipe and an output folder are needed" "$WW" merge recipe.yml
    refused 2 "writes nothing" "$WW" merge --rederive base --sign x
    refused 2 "takes the seed from the record" "$WW" merge --rederive base --seed 0
    for idle in "--shard-size 5M" "--license mit" --paper --no-source-trees "--policy-root base"; do
        refused 2 "'merge --rederive' does nothing with ${idle%% *}" "$WW" merge --rederive base $idle
    done
    refused 2 "a --report that is JSON" "$WW" merge --rederive base --report page.html
    refused 2 "shard-size is a number" "$WW" merge recipe.yml out --shard-size 5X
    nothing_written out
    nothing_written base/out
}

@test "a head that is tied by config.json and stored as another matrix is refused" {
    make_family
    sed -i 's/"tie_word_embeddings": false/"tie_word_embeddings": true/' expert-rev/config.json
    refused 3 "ties the head to the embedding and 'lm_head.weight' is another" \
        "$WW" merge recipe.yml out
    nothing_written out
}

@test "models beside the recipe are found from another folder" {
    make_family
    mkdir elsewhere
    cd elsewhere
    "$WW" merge ../recipe.yml out -q
    jq -e . out/config.json
    # and again, beside the folder that they became
    (cd .. && "$WW" merge recipe.yml out -q && mkdir far)
    cd ../far
    "$WW" merge --rederive ../out -q
    mv ../expert-rev .
    mkdir deep
    cd deep
    refused 4 "line [0-9]* of the recorded recipe: model 'expert-rev' is no folder here, nor are '../../out/expert-rev' and '../../out/../expert-rev'; run this in" \
        "$WW" merge --rederive ../../out
    mv ../expert-rev ../../base ../../expert-caesar ../../recipe.yml ../../elsewhere
    "$WW" merge ../../elsewhere/recipe.yml --rederive ../../out -q
}

@test "a NaN is refused with the tensor's name" {
    make_family
    printf '\xc0\x7f' | dd of=expert-rev/model.safetensors bs=1 seek=700000 conv=notrunc status=none
    refused 3 "tensor 'model\.layers\.[0-9]" "$WW" merge recipe.yml out
    nothing_written out
}

@test "sources are recorded by files alone when that is asked for" {
    make_family
    "$WW" merge recipe.yml out --no-source-trees --json -q >answer
    jq -e '.sources[0] | has("sha256_tree") | not' answer
    "$WW" merge --rederive out -q
}

@test "shards are cut at the asked size and the index names them" {
    make_family
    "$WW" merge recipe.yml whole -q
    "$WW" merge recipe.yml out --shard-size 500K -q
    [ -e out/model-00001-of-00003.safetensors ]
    jq -e '.weight_map | length == 39' out/model.safetensors.index.json
    run -0 "$WW_BIN/compare_models" whole out
    [[ $output == "tensors that differ: 0 of 39"* ]]
    "$WW" merge --rederive out -q
}

@test "a union of vocabularies is merged and can be computed again" {
    make_family
    python3 - <<'PY'
import json
with open("expert-caesar/tokenizer.json") as f:
    t = json.load(f)
t["model"]["vocab"]["<only here>"] = t["model"]["vocab"].pop("~")
with open("expert-caesar/tokenizer.json", "w") as f:
    json.dump(t, f)
PY
    echo "tokenizer: {source: union, pad_to_multiple_of: 8}" >>recipe.yml
    "$WW" merge recipe.yml out -q
    jq -e '.vocab_size == 104' out/config.json
    jq -e '.added_tokens[-1] | .id == 100 and .content == "<only here>"' out/tokenizer.json
    "$WW" inspect out -q
    "$WW" merge --rederive out -q
}

# The family locked with one key, in folder l. Options go to lock.
make_locked_family() {
    make_family
    make_keys
    mkdir l
    for m in base expert-rev expert-caesar; do
        "$WW" lock "$m" "l/$m" --key lock -q "$@"
    done
    cp recipe.yml l
}

@test "models locked with one key merge while locked, and the lock comes off the merge" {
    make_locked_family --no-scale
    "$WW" merge recipe.yml plain --order-free -q
    "$WW" merge --rederive plain -q
    (cd l && "$WW" merge recipe.yml out --sign ../me.key -q)
    "$WW" verify l/out --key me.pub
    "$WW" inspect l/out --json | jq -e '.locked == true'
    (cd l && "$WW" merge --rederive out -q)
    ! cmp -s plain/model.safetensors l/out/model.safetensors || false
    "$WW" unlock l/out back --key lock 2>said
    grep -q "there is no source to compare with" said
    cmp plain/model.safetensors back/model.safetensors
    cmp plain/config.json back/config.json
    [ ! -e back/attestations ]
    "$WW" key new lock --out other --no-passphrase -q
    refused 5 "not the one that the sources of the merge" "$WW" unlock l/out no --key other
    flip l/out/model.safetensors 700000
    refused 1 "is not as it was merged" "$WW" unlock l/out no --key lock
    nothing_written no
}

@test "the lock of a merge comes off by the config.json that the merge wrote, and by no other" {
    local sum
    make_locked_family
    printf 'merge_method: linear\nparameters: {weight: 1}\nmodels: [{model: %s}, {model: %s}]\n' \
        expert-rev expert-caesar >l/linear.yml
    (cd l && "$WW" merge linear.yml out -q)
    cp l/out/config.json kept
    sum=$(sha256sum <kept | cut -d' ' -f1)
    jq '.num_attention_heads = 8 | .num_key_value_heads = 4 | .head_dim = 16' kept >l/out/config.json
    refused 1 "config.json' is not the one that the merge wrote.*SHA-256 $sum" "$WW" unlock l/out no --key lock
    rm l/out/config.json
    refused 1 "put the one back that has SHA-256 $sum" "$WW" unlock l/out no --key lock
    cp kept l/out/config.json
    refused 6 "merged while locked: no digest" "$WW" unlock l/out no --key lock --weights-only
    nothing_written no
    "$WW" unlock l/out back --key lock -q
    cmp kept back/config.json
}

@test "nearswap of locked models is the lock of the nearswap" {
    make_locked_family --no-scale
    printf 'merge_method: nearswap\nbase_model: expert-rev\nparameters: {t: 0.001}\n%s\n%s\n%s\n' \
        'models: [{model: expert-rev}, {model: expert-caesar}]' \
        "dtype: float32" "out_dtype: bfloat16" | tee l/near.yml >near.yml
    "$WW" merge near.yml plain --order-free -q
    (cd l && "$WW" merge near.yml out -q)
    "$WW" unlock l/out back --key lock -q
    cmp plain/model.safetensors back/model.safetensors
    ! cmp -s plain/model.safetensors expert-rev/model.safetensors || false
}

@test "locks with factors of two merge by weighted sums alone" {
    make_locked_family
    local method
    for method in linear task_arithmetic; do
        cat >sum.yml <<YML
merge_method: $method
base_model: base
models:
  - {model: expert-rev, parameters: {weight: 0.3}}
  - {model: expert-caesar, parameters: {weight: 0.6}}
dtype: float32
out_dtype: bfloat16
YML
        [ $method != linear ] || sed -i /base_model/d sum.yml
        cp sum.yml l
        rm -rf plain l/out back
        "$WW" merge sum.yml plain --order-free -q
        (cd l && "$WW" merge sum.yml out -q && "$WW" merge --rederive out -q)
        "$WW" unlock l/out back --key lock -q
        cmp plain/model.safetensors back/model.safetensors
    done
    cd l
    for method in ties dare_linear dare_ties breadcrumbs breadcrumbs_ties della \
        della_linear consensus; do
        sed "s/task_arithmetic/$method/" sum.yml >x.yml
        refused 6 "'$method' goes by the values.*factors of two" "$WW" merge x.yml no
        nothing_written no
    done
}

@test "locked models that would give noise are refused" {
    make_locked_family --no-scale
    cat >l/slerp.yml <<'YML'
merge_method: slerp
base_model: expert-rev
models: [{model: expert-rev}, {model: expert-caesar}]
parameters: {t: 0.3}
YML
    cat >l/stack.yml <<'YML'
merge_method: passthrough
slices: [{sources: [{model: expert-rev, layer_range: [0, 2]}]}]
YML
    "$WW" key new lock --out other --no-passphrase -q
    "$WW" lock expert-rev l/other --key other -q
    "$WW" lock expert-rev l/scaled --key lock -q
    cp -r expert-rev l/plain
    cd l
    refused 6 "'slerp' cannot merge locked models.*these can: .*task_arithmetic" \
        "$WW" merge slerp.yml out
    refused 6 "cannot be cut into slices" "$WW" merge stack.yml out
    sed 's/expert-rev/other/' recipe.yml >x.yml
    refused 5 "locked with different keys" "$WW" merge x.yml out
    sed 's/expert-rev/scaled/' recipe.yml >x.yml
    refused 6 "with factors of two and .* without" "$WW" merge x.yml out
    sed 's/expert-rev/plain/' recipe.yml >x.yml
    refused 6 "is locked and 'plain' is not" "$WW" merge x.yml out
    (echo "name: left"; cat recipe.yml; echo "---"; cat <<'YML') >x.yml
merge_method: linear
models: [{model: left, parameters: {weight: 1}}]
YML
    refused 6 "such a recipe stands alone" "$WW" merge x.yml out
    nothing_written out
}

@test "a page shows what the merge did, by layer, and is one file" {
    make_family
    "$WW" merge recipe.yml out -q --report page.html
    "$WW" merge recipe.yml again -q
    diff -rq -x attestations out again
    grep -q '^<!DOCTYPE html>' page.html
    [ "$(grep -c '<svg' page.html)" = 3 ]
    [ "$(grep -c '<polyline' page.html)" = 6 ]
    ! grep -qi '<script\|src=\|href=\|url(' page.html || false
    grep -q '<title>model.layers.3: ' page.html
    python3 - page.html <<'PY'
import re, sys, xml.dom.minidom
page = open(sys.argv[1]).read()
for svg in re.findall(r"<svg.*?</svg>", page, re.S):
    xml.dom.minidom.parseString(svg)
PY
    refused 4 "a report is a new file" "$WW" merge recipe.yml third -q --report page.html
    refused 4 "cannot write a report into folder 'none/'" "$WW" merge recipe.yml third -q --report none/page.html
    nothing_written third
}

@test "modules are known by name, hold all of a model and are not cut" {
    make_family
    printf 'merge_method: linear\nmodules:\n  %s: {models: [{model: base, parameters: {weight: 1}}]}\n' face >r.yml
    refused 6 "module 'face' is not known" "$WW" merge r.yml out
    sed -i 's/face/text_decoder/' r.yml
    refused 3 "no tensor of 'base' is in module 'text_decoder'" "$WW" merge r.yml out
    sed -i 's/text_decoder/shared/' r.yml
    "$WW" merge --dry-run r.yml >/dev/null
    printf '  default: {models: [{model: base, parameters: {weight: 1}}]}\n' >>r.yml
    refused 6 "module 'default' is not known" "$WW" merge r.yml out
    printf 'merge_method: passthrough\nmodules:\n  shared: {slices: [{sources: [{model: base, layer_range: [0, 2]}]}]}\n' >r.yml
    refused 6 "has slices" "$WW" merge r.yml out
}

@test "models of a recipe are found in a cache of the hub by name and revision" {
    make_family
    "$WW" merge recipe.yml want -q
    for m in base expert-rev expert-caesar; do
        folder=hub/models--org--$m
        mkdir -p $folder/blobs $folder/refs $folder/snapshots/0123abc
        printf 0123abc >$folder/refs/main
        for f in "$m"/*; do
            mv "$f" "$folder/blobs/$m-${f##*/}"
            ln -s "../../blobs/$m-${f##*/}" "$folder/snapshots/0123abc/${f##*/}"
        done
        rm -r "$m"
    done
    sed 's#: base#: org/base#; s#: expert#: org/expert#; s#expert-rev$#&@main#' recipe.yml >published.yml
    refused 4 "say where a cache of the hub is" "$WW" merge published.yml out
    "$WW" merge published.yml out --hub-cache hub 2>said
    ! grep warning said || false
    cmp want/model.safetensors out/model.safetensors
    grep -q -- '- "org/expert-rev"' out/README.md
    "$WW" merge --rederive out --hub-cache hub -q
    sed -i 's|rev@main|rev@other|' published.yml
    refused 4 "and not in the cache" "$WW" merge published.yml out2 --hub-cache hub
    sed -i 's|org/expert-rev@other|../models--org--expert-rev|' published.yml
    refused 4 "and not in the cache" "$WW" merge published.yml out2 --hub-cache hub/models--org--base
}

@test "options of mergekit are met with those that do the same" {
    refused 2 "here it is --allow-mixed" "$WW" merge recipe.yml out --allow-crimes
    refused 2 "here it is --shard-size" "$WW" merge --out-shard-size=1B recipe.yml out
    refused 2 "the tokenizer is always copied" "$WW" merge recipe.yml out --copy-tokenizer
    refused 2 "leave it away" "$WW" merge recipe.yml out --cuda
    refused 2 "'--no-cuda' is an option of mergekit; leave it away: it is off here" \
        "$WW" merge recipe.yml out --no-cuda
    refused 2 "here it is --threads" "$WW" merge recipe.yml out -j4
    refused 2 "unknown option '--no-cudas'" "$WW" merge recipe.yml out --no-cudas
    refused 2 "made as they read it" "$WW" merge recipe.yml out -I folder
    refused 2 "here it is --rank" "$WW" extract a b c --max-rank=8
    refused 2 "say weightward extract BASE MODEL OUT" "$WW" extract --model b --base-model a --out-path c
    refused 2 "'--no-lazy-unpickle' is an option of mergekit; leave it away" "$WW" extract a b c --no-lazy-unpickle
    refused 2 "unknown option '--no-rank'" "$WW" extract a b c --no-rank
    refused 2 "'mergekit-moe' is a program of mergekit; experts are not made" "$WW" mergekit-moe recipe.yml out
    refused 2 "'tokensurgeon' is .* tokenizer_source in a recipe" "$WW" tokensurgeon a b c
    refused 2 "no command 'mergekit-thing'" "$WW" mergekit-thing
}

@test "a recipe that cannot be meant is refused with its line, and writes nothing" {
    make_family
    given() { # METHOD PARAMETERS
        printf 'merge_method: %s\nbase_model: base\nmodels:\n' "$1"
        printf '  - {model: expert-rev, parameters: {%s}}\n' "$2"
    }
    bad() { refused 3 "$1" "$WW" merge bad.yml out; }
    # Eight lists of ten aliases each: ten to the eighth values out of 300 bytes.
    {
        echo 'l0: &l0 [x, x, x, x, x, x, x, x, x, x]'
        for i in 1 2 3 4 5 6 7 8; do
            printf 'l%d: &l%d [%s*l%d]\n' $i $i "$(printf "*l$((i - 1)), %.0s" 1 2 3 4 5 6 7 8 9)" \
                $((i - 1))
        done
        given linear "weight: 1"
    } >bad.yml
    bad "more than 65536 values, aliases counted"
    {
        printf 'name: one\nmerge_method: linear\nmodels: [{model: two, parameters: {weight: 1}}]\n'
        printf -- '---\nname: two\nmerge_method: linear\nmodels: [{model: one, parameters: {weight: 1}}]\n'
    } >bad.yml
    bad "recipe 'one' takes its own result, by way of 'two'"
    for density in 1.5 -0.5 .inf .nan; do
        given ties "weight: 1, density: $density" >bad.yml
        bad "line 4: density is"
    done
    given linear "weight: []" >bad.yml
    bad "line 4: weight"
    given linear "weight: [1, x]" >bad.yml
    bad "line 4: weight is 'x', a number is expected"
    given linear "weight: [{filter: mlp, value: 1}]" >bad.yml
    bad "needs weight for model 'expert-rev'; nothing gives one to tensor"
    for range in "0, 99" "3, 2" "-1, 2" "0"; do
        printf 'merge_method: passthrough\nslices: [{sources: [{model: base, layer_range: [%s]}]}]\n' \
            "$range" >bad.yml
        bad "layer_range"
    done
    nothing_written out
}

@test "a merge with the roundings of mergekit says so, and is computed again with them" {
    make_family
    {
        printf 'merge_method: ties\nbase_model: base\nmodels:\n'
        printf '  - {model: %s, parameters: {weight: 0.7, density: 0.4}}\n' expert-rev expert-caesar
        printf 'dtype: bfloat16\n'
    } >recipe.yml
    "$WW" key new signing --out me --no-passphrase -q
    "$WW" merge recipe.yml exact -q
    "$WW" merge recipe.yml out --arithmetic mergekit --sign me.key -q
    ! cmp -s exact/model.safetensors out/model.safetensors || false
    jq -r .dsseEnvelope.payload out/attestations/provenance.sigstore.json | base64 -d |
        jq -e '.predicate.buildDefinition.externalParameters.peer_arithmetic == true'
    "$WW" merge --rederive out -q
    "$WW" merge --rederive exact -q
    # The weights of the other arithmetic are not what the record promises.
    cp exact/model.safetensors out/model.safetensors
    refused 1 "model.safetensors" "$WW" merge --rederive out
    sed 's/ties/sce/; s/, density: 0.4//' recipe.yml >other.yml
    refused 6 "has no arithmetic of mergekit's here" "$WW" merge other.yml not \
        --arithmetic mergekit
    refused 2 "exact or mergekit" "$WW" merge recipe.yml not --arithmetic other
    nothing_written not
}

@test "a merge that takes nothing from the models says that it is the base" {
    make_family
    given() { # METHOD PARAMETERS WEIGHT
        printf 'merge_method: %s\nbase_model: base\nparameters: {%s}\nmodels:\n' "$1" "$2"
        printf '  - {model: %s, parameters: {weight: %s}}\n' expert-rev "$3" expert-caesar "$3"
        printf 'dtype: float32\nout_dtype: bfloat16\n'
    }
    told() { jq -e '[.warnings[] | select(endswith("the output is the base"))] | length == '"$1" out.json; }
    try() { # FOLDER TIMES OPTIONS...
        "$WW" merge recipe.yml "$1" -q --json "${@:3}" >out.json
        told "$2"
    }
    "$WW" key new lock --out lock --no-passphrase -q
    given ram "epsilon: 1000" 1 >recipe.yml
    try one 1
    cmp one/model.safetensors base/model.safetensors
    try two 1 --lock lock
    given ram "epsilon: 1e-5" 1 >recipe.yml
    try three 0
    try four 0 --lock lock
    cp -r base twin # beside others that move the base, by both methods
    for m in ram ramplus_tl; do
        sed "s/: ram$/: $m/; s/expert-rev/twin/" recipe.yml >twin.yml
        "$WW" merge twin.yml "$m" -q --json >out.json
        [ "$(jq -r '.warnings[]' out.json | grep taken)" = "nothing was taken from 'twin': $m left all of its changes out as too small" ]
    done
    # What bakes an adapter into its model is often written as a merge of a base and nothing else.
    for m in task_arithmetic della; do
        printf 'merge_method: %s\nbase_model: base\nmodels: [{model: base}]\n' $m >recipe.yml
        try "alone-$m" 1
        cmp "alone-$m/model.safetensors" base/model.safetensors
        "$WW" merge --rederive "alone-$m" -q
    done
    sed 's/della/ram/' recipe.yml >no.yml
    refused 3 "method 'ram' takes 1 to 62 models beside the base, here are 0" "$WW" merge no.yml no
    given task_arithmetic "" 1e-9 >recipe.yml # gone when it is rounded
    try five 1
    given task_arithmetic "" 0 >recipe.yml # said before anything is computed, and once
    try six 1
    # Of fewer layers it is no base, whether the recipe or the numbers tell.
    for weight in 0 1e-9; do
        printf 'merge_method: task_arithmetic\nbase_model: base\nslices:\n- sources:\n' >recipe.yml
        printf '  - {model: %s, layer_range: [0, 1], parameters: {weight: %s}}\n' base 1 expert-rev $weight >>recipe.yml
        printf 'dtype: float32\nout_dtype: bfloat16\n' >>recipe.yml
        try "part$weight" 0
        jq -e '[.warnings[] | select(endswith("the output is made of the base alone"))] | length == 1' out.json
    done
}

@test "what lies in folders beside the weights goes along into a lock as well" {
    make_family
    mkdir base/additional_chat_templates
    echo template >base/additional_chat_templates/tool.jinja
    "$WW" key new lock --out lock --no-passphrase -q
    "$WW" merge recipe.yml out --lock lock -q
    cmp base/additional_chat_templates/tool.jinja out/additional_chat_templates/tool.jinja
}

@test "limits are no part of a merge that takes nothing from the models" {
    python3 - <<'PY'
import json, os, struct
for folder in ("base", "one", "two"):
    os.mkdir(folder)
    header = {n: dict(dtype="F32", shape=[1 + i], data_offsets=[4 * i, 4 + 8 * i])
              for i, n in enumerate(("a.clip_max", "b.weight"))}
    text = json.dumps(header).encode()
    with open(folder + "/model.safetensors", "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + struct.pack("<3f", float("inf"), 1, 2))
    with open(folder + "/config.json", "w") as f:
        f.write('{"model_type": "plain"}')
PY
    printf 'merge_method: task_arithmetic\nbase_model: base\nparameters: {weight: 0.5}\n' >recipe.yml
    printf 'models: [{model: one}, {model: two}]\n' >>recipe.yml
    "$WW" merge recipe.yml out -q --json >out.json
    jq -e '[.warnings[] | select(startswith("every number is that of the base"))] | length == 1' out.json
}

@test "what its architecture has and a model lacks is refused or told, since names alone are merged" {
    make_family
    lacks() { # PATTERN: the error, and with the switch the only warning
        refused 3 "$1.*to merge without it say --allow-mixed" "$WW" merge recipe.yml out
        nothing_written out
        "$WW" merge recipe.yml out -q --json --allow-mixed >out.json
        jq -e --arg p "$1" '.warnings | length == 1 and (.[0] | test($p))' out.json
        "$WW" merge --rederive out -q
        rm -r out
    }
    printf 'merge_method: passthrough\nmodels: [{model: base}]\n' >recipe.yml
    sed -i 's/"num_hidden_layers": \([0-9]*\)/"num_hidden_layers": 1\1/' base/config.json
    lacks "'base': the weights hold [0-9]* layers .'model.layers.'., config.json says 1[0-9]*; is a shard missing"
    cp "$AMBER/../base/config.json" base
    LC_ALL=C sed -i '1s/"model.norm.weight"/"model.morn.weight"/' base/model.safetensors
    lacks "'base': tensor 'model.norm.weight' is missing .*; is a shard missing"
    # A decoder that was saved alone has its own number of layers.
    LC_ALL=C sed -i '1s/"model.layers[.]/"xxxdecoder.h./g' base/model.safetensors
    layers=$(jq .num_hidden_layers base/config.json)
    jq ".model_type = \"other\" | .num_hidden_layers = 1$layers | .decoder_layers = $layers" "$AMBER/../base/config.json" >base/config.json
    "$WW" merge recipe.yml out --dry-run
    jq ".decoder_layers = 1$layers" base/config.json >longer.json
    mv longer.json base/config.json
    refused 3 "config.json says 1$layers; is a shard missing" "$WW" merge recipe.yml out
}

@test "numbers that are allowed and hardly meant are told, and usual ones are not" {
    local family=$AMBER/..
    told() { # TIMES TEXT METHOD PARAMETERS
        printf 'merge_method: %s\nbase_model: %s/base\nparameters: {%s}\nmodels: [{model: %s/expert-rev}]\n' \
            "$3" "$family" "$4" "$family" >recipe.yml
        "$WW" merge recipe.yml --dry-run >/dev/null 2>warnings
        [ "$(grep -c "warning: .*$2" warnings)" = "$1" ] || { cat recipe.yml warnings && false; }
    }
    told 1 "t is 3 in tensor 'lm_head.weight', above 1: the result lies beyond" slerp "t: 3"
    told 1 "t is -0.5 in tensor .*, below 0" slerp "t: [-0.5, 1]"
    told 0 "" slerp "t: [0, 1]"
    told 1 "lambda is 100 in tensor" task_arithmetic "weight: 1, lambda: 100"
    told 1 "weight is 70 in tensor" task_arithmetic "weight: 70"
    told 0 "" task_arithmetic "weight: 70, normalize: true"
    told 0 "" task_arithmetic "weight: -1, lambda: -1"
    told 0 "" linear "weight: 300"
    told 1 "density is 1 in every tensor of every model: dare_linear drops nothing" dare_linear "weight: 1"
    told 0 "" breadcrumbs "weight: 1, density: [1, 0.9]"
    told 1 "density 0.9 and gamma 0.5 of .* are more than 1 together" breadcrumbs "weight: 1, density: 0.9, gamma: 0.5"
    told 1 "steps is 0 in tensor .*: the descent does not begin" wudi "steps: 0"
    told 1 "density is 1e-05 in tensor .*, below 0.001: next to nothing is taken" ties "weight: 1, density: 1e-5"
    told 0 "" task_arithmetic "weight: 1, density: 1e-5"
    told 0 "" ties "weight: 1, density: [0, 0.5]"
    told 1 "keep is 0 in tensor" doge "keep: 0"
}
