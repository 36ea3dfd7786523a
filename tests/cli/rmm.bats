#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Packages from the command line: what comes back, exit statuses, one JSON object.
bats_require_minimum_version 1.5.0
load helper

FAMILY=$BATS_TEST_DIRNAME/../vectors/amber

make_package() {
    "$WW" key new signing --out me --no-passphrase -q
    "$WW" key new recipient --out ann --no-passphrase -q
    "$WW" key new recipient --out bob --no-passphrase -q
    "$WW" rmm pack p.pkg rev="$FAMILY/expert-rev" caesar="$FAMILY/expert-caesar" --exact \
        --base "$FAMILY/base" --to rev=ann.pub --sign me.key -q
}

@test "members come back byte for byte, each for whom it is" {
    once make_package
    "$WW" rmm verify p.pkg --key me.pub --base "$FAMILY/base" --open-with ann.key --json >v.json
    [ "$(jq -r '.schema, .command, .restored, .version, (.members | length)' v.json | xargs)" = \
        "weightward.rmm/1 verify 2 1 2" ]
    "$WW" rmm verify p.pkg --base "$FAMILY/base" 2>said
    grep -q "1 of 2 members restored in memory, every file with its digest; the others are sealed: --open-with KEY" said
    "$WW" rmm unpack p.pkg caesar out-1 --base "$FAMILY/base" --signed-by me.pub -q
    diff -r "$FAMILY/expert-caesar" out-1
    refused 5 "recipients" "$WW" rmm unpack p.pkg rev out-2 --base "$FAMILY/base"
    refused 5 "none of them" "$WW" rmm unpack p.pkg rev out-2 --base "$FAMILY/base" \
        --open-with bob.key
    nothing_written out-2
    "$WW" rmm share p.pkg --to rev=bob.pub --open-with ann.key -q
    "$WW" rmm verify p.pkg --key me.pub -q
    "$WW" rmm unpack p.pkg rev out-2 --base "$FAMILY/base" --open-with bob.key -q
    diff -r "$FAMILY/expert-rev" out-2
}

@test "one tensor comes alone through a pipe" {
    once make_package
    "$WW" rmm unpack p.pkg caesar - --base "$FAMILY/base" --tensor model.norm.weight >tensor
    python3 - "$FAMILY/expert-caesar/model.safetensors" tensor <<'PY'
import json, struct, sys
data = open(sys.argv[1], "rb").read()
n = struct.unpack("<Q", data[:8])[0]
begin, end = json.loads(data[8:8 + n])["model.norm.weight"]["data_offsets"]
assert open(sys.argv[2], "rb").read() == data[8 + n + begin:8 + n + end]
PY
    refused 3 "no tensor 'model.nrm.weight'; is 'model.norm.weight' meant?" \
        "$WW" rmm unpack p.pkg caesar - --base "$FAMILY/base" --tensor model.nrm.weight
    refused 3 "no tensor 'x'" "$WW" rmm unpack p.pkg caesar - --base "$FAMILY/base" --tensor x
    refused 2 "standard output" "$WW" rmm unpack p.pkg caesar out --tensor x
    refused 2 "nothing that --resume" "$WW" rmm unpack p.pkg caesar - --tensor x --resume
}

@test "a later version is coded against the one before, for the same people" {
    once make_package
    "$WW" rmm mix p.pkg later --weight rev=0.9 --weight caesar=0.1 --base "$FAMILY/base" \
        --open-with ann.key -q
    "$WW" rmm pack alone.pkg rev="$FAMILY/expert-rev" rev-2=later --exact --base "$FAMILY/base" -q
    "$WW" rmm pack v.pkg rev="$FAMILY/expert-rev" rev-2=later --versions --exact \
        --base "$FAMILY/base" -q
    "$WW" rmm list v.pkg >list
    grep -q "version of rev: who opens it can read that too" list
    [ "$("$WW" rmm list v.pkg --json | jq -r '.members[1].parent')" = rev ]
    [ "$(stat -c %s v.pkg)" -lt "$(($(stat -c %s alone.pkg) * 9 / 10))" ]
    "$WW" rmm unpack v.pkg rev-2 out-1 --base "$FAMILY/base" -q
    diff -r later out-1
    refused 1 "everyone" "$WW" rmm add p.pkg rev-2=later --exact --base "$FAMILY/base" \
        --after rev --sign me.key
    refused 1 "'bob.pub' may not open" "$WW" rmm add p.pkg rev-2=later --exact \
        --base "$FAMILY/base" --chain rev-2=rev --to rev-2=bob.pub --sign me.key
    "$WW" rmm add p.pkg rev-2=later --exact --base "$FAMILY/base" --after rev \
        --to rev-2=ann.pub --open-with ann.key --sign me.key -q
    refused 1 "may not open" "$WW" rmm share p.pkg --to rev-2=bob.pub --open-with ann.key
    refused 2 "drop it first" "$WW" rmm drop p.pkg rev --sign me.key
    "$WW" rmm unpack p.pkg rev-2 out-2 --base "$FAMILY/base" --open-with ann.key -q
    diff -r later out-2
    refused 2 "goes with add" "$WW" rmm pack x.pkg rev=later --exact --after rev
    refused 2 "--chain takes" "$WW" rmm pack x.pkg rev=later --exact --chain rev2=rev
}

@test "a version is not rolled back, a dropped member is gone" {
    once make_package
    cp p.pkg old.pkg
    refused 2 "is signed" "$WW" rmm drop p.pkg caesar
    "$WW" rmm drop p.pkg caesar --sign me.key --json >d.json
    [ "$(jq -r '.command, .version, .members[].name' d.json | xargs)" = "drop 2 rev" ]
    "$WW" rmm verify p.pkg --key me.pub --at-least 2 -q
    refused 1 "version 1, expected at least 2" "$WW" rmm verify old.pkg --key me.pub --at-least 2
    refused 1 "version 1, expected at least 2" "$WW" rmm unpack old.pkg rev x --base "$FAMILY/base" --at-least 2
    refused 1 "version 1, expected at least 2" "$WW" rmm mix old.pkg x --weight rev=1 --at-least 2
    nothing_written x
    refused 4 "no member 'caesar'" "$WW" rmm unpack p.pkg caesar out --base "$FAMILY/base"
    "$WW" rmm add p.pkg again="$FAMILY/expert-caesar" --exact --base "$FAMILY/base" \
        --sign me.key -q
    "$WW" rmm unpack p.pkg again out --base "$FAMILY/base" -q
    diff -r "$FAMILY/expert-caesar" out
}

@test "changed packages, other bases and other signers are refused" {
    once make_package
    "$WW" key new signing --out other --no-passphrase -q
    refused 1 "" "$WW" rmm verify p.pkg --key other.pub
    refused 1 "made with" "$WW" rmm unpack p.pkg caesar out --base "$FAMILY/expert-rev"
    refused 2 "name the base" "$WW" rmm unpack p.pkg caesar out
    nothing_written out
    cp p.pkg bad.pkg
    flip bad.pkg 9000
    refused 1 "section of member 'rev'" "$WW" rmm verify bad.pkg
    # No later version carries the damage on, but for one without that member.
    cp bad.pkg before.pkg
    refused 1 "member 'rev' is not what the manifest says, so it is not carried on" "$WW" rmm drop bad.pkg caesar --sign me.key
    refused 1 "is not carried on" "$WW" rmm share bad.pkg --to rev=bob.pub --open-with ann.key
    cmp bad.pkg before.pkg
    "$WW" rmm drop bad.pkg rev --sign me.key -q
    "$WW" rmm verify bad.pkg --key me.pub -q
    cp p.pkg bad.pkg
    flip bad.pkg 40
    refused 3 "head is damaged" "$WW" rmm list bad.pkg
    head -c 100000 p.pkg >cut.pkg
    refused 3 "does not end" "$WW" rmm list cut.pkg
    refused 3 "no package" "$WW" rmm list me.pub
    "$WW" rmm pack plain.pkg rev="$FAMILY/expert-rev" --exact --base "$FAMILY/base" -q
    refused 1 "not signed" "$WW" rmm verify plain.pkg --key me.pub
}

@test "wrong use is refused before anything is written" {
    once make_package
    refused 2 "say one of --exact" "$WW" rmm pack x.pkg rev="$FAMILY/expert-rev"
    refused 2 "say one of --exact" "$WW" rmm pack x.pkg rev="$FAMILY/expert-rev" --exact --error 0.1
    refused 2 "expected 0.0001 to 1" "$WW" rmm pack x.pkg rev="$FAMILY/expert-rev" --error 7
    refused 6 "name the base" "$WW" rmm pack x.pkg rev="$FAMILY/expert-rev" --error 0.1
    refused 2 "say one of --exact" "$WW" rmm pack x.pkg rev="$FAMILY/expert-rev" --error 0.1 --budget 9
    refused 3 "with all changes rounded away" "$WW" rmm pack x.pkg rev="$FAMILY/expert-rev" \
        --base "$FAMILY/base" --budget 1000
    refused 2 "NAME=PATH" "$WW" rmm pack x.pkg "$FAMILY/expert-rev" --exact
    refused 2 "name of a member" "$WW" rmm pack x.pkg rev="$FAMILY/expert-rev" --exact \
        --to other=ann.pub
    refused 4 "exists" "$WW" rmm pack p.pkg rev="$FAMILY/expert-rev" --exact
    refused 2 "two members" "$WW" rmm pack x.pkg a="$FAMILY/expert-rev" a="$FAMILY/base" --exact
    mkdir in
    cp -r "$FAMILY/base" in/base
    refused 2 "inside the model" "$WW" rmm pack in/base/x.pkg a=in/base --exact
    refused 2 "inside the model" "$WW" rmm pack in/base/x.pkg a="$FAMILY/expert-rev" --exact --base in/base
    refused 2 "inside the model" "$WW" rmm unpack p.pkg caesar in/base/out --base in/base
    refused 1 "packages hold theirs: 'weightward rmm verify'" "$WW" verify p.pkg --key me.pub
    diff -r "$FAMILY/base" in/base
    refused 2 "unknown word 'merge'; known are: pack, add" "$WW" rmm merge x.pkg
    refused 2 "unknown word 'frob'" "$WW" rmm frob
    refused 2 "the form is" "$WW" rmm unpack p.pkg
    refused 2 "is added with --after PARENT" "$WW" rmm add p.pkg x="$FAMILY/expert-rev" --versions --exact
    mkdir -p hub/blobs hub/snapshots/1
    cp "$FAMILY/expert-rev"/* hub/snapshots/1
    refused 6 "below its 'snapshots'" "$WW" rmm pack x.pkg x=hub --exact
    "$WW" rmm drop --help >help
    grep -q "rmm drop PKG NAME" help
    grep -q -- --sign help
    run ! grep -qE -- "^ +--(base|error|policy-root)" help
    refused 2 "does nothing with --key" "$WW" rmm unpack p.pkg rev out --key me.pub
    refused 2 "does nothing with --at-least" "$WW" rmm list p.pkg --at-least 2
    refused 2 "from 1 on" "$WW" rmm verify p.pkg --at-least -1
    refused 2 "does nothing with --signed-by" "$WW" rmm verify p.pkg --signed-by me.pub
    nothing_written out
    nothing_written x.pkg
}

@test "adapters that are no sum with their base come back, and in no other form" {
    local setting
    "$WW" extract "$FAMILY/base" "$FAMILY/expert-rev" lora --rank 2 --portable -q
    for setting in '.peft_type = "LOHA"' '.use_bdlora = {nblocks: 2}' '.init_lora_weights = "olora"' \
        '.trainable_token_indices = [1]' '.layer_replication = [[0, 2]]'; do
        rm -rf odd back a.pkg
        cp -r lora odd
        jq "$setting" lora/adapter_config.json >odd/adapter_config.json
        "$WW" rmm pack a.pkg odd=odd --error 0.1 2>said
        grep -q "warning: member 'odd' is an adapter with settings that are not understood" said
        "$WW" rmm unpack a.pkg odd back -q
        diff -r odd back
        refused 6 "; form 'peft' leaves it as it is" "$WW" rmm unpack a.pkg odd x --form portable
        refused 6 "; form 'peft' leaves it as it is" \
            "$WW" rmm unpack a.pkg odd x --form model --base "$FAMILY/base"
        "$WW" rmm unpack a.pkg odd peft --form peft -q
        diff -r odd peft
        rm -rf peft
        nothing_written x
    done
}

@test "an adapter is added to the base that it was packed with and to no other" {
    local other=$FAMILY/expert-rev known="the base of its adapters"
    "$WW" extract "$FAMILY/base" "$other" lora --rank 2 --portable -q
    "$WW" rmm pack a.pkg lora=lora --exact -q
    "$WW" rmm unpack a.pkg lora one --form model --base "$other" 2>said
    grep -q "warning: .*$known" said
    [ "$("$WW" rmm verify a.pkg --base "$other" --json | jq .base_unknown)" = true ]
    "$WW" rmm mix a.pkg mixed --weight lora=1 --form model --base "$other" 2>said
    grep -q "warning: .*$known" said
    "$WW" rmm add a.pkg twin=lora --exact --base "$FAMILY/base" -q
    "$WW" rmm unpack a.pkg lora two --form model --base "$FAMILY/base" 2>said
    ! grep -q warning said || false
    [ "$("$WW" rmm verify a.pkg --base "$FAMILY/base" --json | jq .base_unknown)" = false ]
    "$WW" rmm unpack a.pkg twin same --base "$other" -q # as it was packed it needs none
    diff -r lora same
    refused 1 "not the one that the package" "$WW" rmm unpack a.pkg lora x --form model --base "$other"
    nothing_written x
    refused 1 "not the one that the package" "$WW" rmm mix a.pkg x --weight lora=1 --form model --base "$other"
    nothing_written x
    printf 'merge_method: linear\nmodels:\n- {model: %s+member:lora, parameters: {weight: 1}}\n' \
        "$FAMILY/base" >r.yml
    "$WW" rmm mix a.pkg by-recipe --recipe r.yml 2>said
    ! grep -q "$known" said || false
    sed -i "s,$FAMILY/base,$other," r.yml
    refused 1 "not the one that the package" "$WW" rmm mix a.pkg x --recipe r.yml --base "$FAMILY/base"
    nothing_written x
    refused 1 "not the one that the package" "$WW" rmm verify a.pkg --base "$other"
    refused 1 "not the one that the package" "$WW" rmm add a.pkg third=lora --exact --base "$other"
}

@test "locked members come back to be unlocked, changed ones are warned about, and adapters of two locks are no sum" {
    "$WW" extract "$FAMILY/base" "$FAMILY/expert-rev" lora --rank 2 --portable -q
    for key in one two; do
        "$WW" key new lock --out $key --no-passphrase -q
        "$WW" lock "$FAMILY/base" base-$key --key $key --no-scale -q
        "$WW" lock lora lora-$key --base base-$key --key $key -q
    done
    cp -r lora-one twin
    "$WW" rmm pack a.pkg a=lora-one twin=twin b=lora-two open=lora --exact --base base-one 2>said
    [ "$(grep -c warning said)" = 2 ]
    grep -q "warning: member 'open' follows no lock and the base is locked" said
    grep -q "warning: member 'b' follows another lock than the base's" said
    "$WW" rmm unpack a.pkg a back -q
    "$WW" unlock back plain --base base-one --key one -q
    cmp lora/adapter_model.safetensors plain/adapter_model.safetensors
    "$WW" rmm mix a.pkg sum --weight a=0.5 --weight twin=0.5 2>said
    grep -q "warning: the adapters follow a lock" said
    refused 6 "do not follow one lock" "$WW" rmm mix a.pkg x --weight a=1 --weight b=1
    refused 6 "do not follow one lock" "$WW" rmm mix a.pkg x --weight a=1 --weight open=1
    nothing_written x
    "$WW" lock "$FAMILY/expert-rev" rev-one --key one --no-scale -q
    "$WW" rmm pack b.pkg a=lora-one rev=rev-one open=lora --error 0.5 --base base-one --json >b.json
    [ "$(jq '.warnings | length' b.json)" = 3 ]
    jq -r '.warnings[]' b.json | grep -q "'rev' is locked and comes back changed"
    "$WW" rmm pack d.pkg open="$FAMILY/expert-rev" --exact --base base-one 2>said
    grep -q "warning: member 'open' is not locked and the base is" said
    "$WW" rmm pack c.pkg a=lora-one rev=rev-one --exact --base "$FAMILY/base" 2>said
    grep -q "warning: member 'rev' is locked and the base is not" said
    grep -q "warning: member 'a' follows a lock and the base is not locked" said
}

@test "a member of dtypes that the base's do not become is told of" {
    cp -r "$FAMILY/expert-rev" wide
    chmod -R u+w wide
    python3 - wide/model.safetensors <<'PY'
import json, struct, sys
data = open(sys.argv[1], "rb").read()
n = struct.unpack("<Q", data[:8])[0]
head = json.loads(data[8:8 + n])
for name, t in head.items():
    if name != "__metadata__":
        t["dtype"] = "I16"
head = json.dumps(head).encode()
open(sys.argv[1], "wb").write(struct.pack("<Q", len(head)) + head + data[8 + n:])
PY
    "$WW" rmm pack w.pkg wide=wide --error 0.5 --base "$FAMILY/base" 2>said
    grep -q "warning: member 'wide': 0 % of its weights have names and shapes of the base's, and its dtypes or others of BF16, F16 and F32" said
    "$WW" rmm inspect w.pkg --base "$FAMILY/base" | grep -q "a model of which no tensor is one of the base's by name, shape and dtype"
    "$WW" rmm unpack w.pkg wide back --base "$FAMILY/base" -q
    diff -r wide back
}

@test "a fine-tune that is stored in float32 is coded against a base in bfloat16" {
    cp -r "$FAMILY/expert-rev" wide
    chmod -R u+w wide
    python3 - wide/model.safetensors <<'PY'
import json, struct, sys
data = open(sys.argv[1], "rb").read()
n = struct.unpack("<Q", data[:8])[0]
head, at = json.loads(data[8:8 + n]), data[8 + n:]
for name, t in head.items():
    if name != "__metadata__":
        t["dtype"], t["data_offsets"] = "F32", [2 * x for x in t["data_offsets"]]
wide = bytearray(2 * len(at))
wide[2::4], wide[3::4] = at[::2], at[1::2]
head = json.dumps(head).encode()
open(sys.argv[1], "wb").write(struct.pack("<Q", len(head)) + head + wide)
PY
    "$WW" rmm pack a.pkg rev="$FAMILY/expert-rev" --exact --base "$FAMILY/base" -q
    "$WW" rmm pack w.pkg wide=wide --exact --base "$FAMILY/base" 2>said
    run grep warning said
    [ "$status" -eq 1 ]
    # The same weights cost the same: a header of other bytes, and a word for each tensor.
    [ "$(stat -c %s w.pkg)" -lt "$(($(stat -c %s a.pkg) + 4097))" ]
    "$WW" rmm unpack w.pkg wide back --base "$FAMILY/base" -q
    diff -r wide back
    "$WW" rmm verify w.pkg --base "$FAMILY/base" -q
    "$WW" rmm pack both.pkg wide=wide rev="$FAMILY/expert-rev" --exact --base "$FAMILY/base" -q
    "$WW" rmm inspect both.pkg --base "$FAMILY/base" --json >found
    python3 -c '
import json
a = json.load(open("found"))
assert a["cosines"] and min(a["cosines"]) > 0.999999, a["cosines"]
'
}

@test "an adapter comes back in other forms, a model does not" {
    "$WW" extract "$FAMILY/base" "$FAMILY/expert-rev" lora --rank 3 --portable -q
    grep -Fx 'base_model: "base"' lora/README.md
    jq '.base_model_name_or_path = "x\nlicense: mit"' lora/adapter_config.json >config
    mv config lora/adapter_config.json
    "$WW" rmm pack a.pkg lora=lora rev="$FAMILY/expert-rev" --exact -q
    "$WW" rmm unpack a.pkg lora same --form peft -q
    diff -r lora same
    "$WW" rmm unpack a.pkg lora plain --form portable -q
    cmp lora/adapter_model.safetensors plain/adapter_model.safetensors
    grep -Fx 'base_model: "x\nlicense: mit"' plain/README.md
    "$WW" rmm unpack a.pkg lora lora.gguf --form gguf --base "$FAMILY/base" --json >g.json
    [ "$(jq -r '.command, .restored' g.json | xargs)" = "unpack 1" ]
    [ "$(head -c 4 lora.gguf)" = GGUF ]
    "$WW" rmm unpack a.pkg lora sum --form model --base "$FAMILY/base" -q
    "$WW" inspect sum -q
    cmp "$FAMILY/base/config.json" sum/config.json
    nm "$WW" | grep -q __asan_init || # has much memory of its own
        for form in portable gguf model; do
            (ulimit -v 524288 && "$WW" rmm unpack a.pkg lora few-$form --form $form --base "$FAMILY/base" --threads 2 -q)
        done
    refused 2 "needs the base" "$WW" rmm unpack a.pkg lora x --form model
    refused 2 "takes files" "$WW" rmm unpack a.pkg lora x --form zip
    refused 2 "together" "$WW" rmm unpack a.pkg lora - --form peft --tensor y
    for left in x.member.partial x.partial; do # of a run that was killed; forms are not resumed
        mkdir $left
        refused 4 "'$left' exists, an interrupted run left it; remove it" \
            "$WW" rmm unpack a.pkg lora x --form portable
        rmdir $left
    done
    refused 6 "is a model" "$WW" rmm unpack a.pkg rev x --form model --base "$FAMILY/base"
    cp -r "$FAMILY/base" gemma
    jq '.model_type = "gemma2"' "$FAMILY/base/config.json" >gemma/config.json
    refused 6 "convert what form 'model' gives" "$WW" rmm unpack a.pkg lora x --form gguf --base gemma
    jq '.use_dora = true' lora/adapter_config.json >same/adapter_config.json
    "$WW" rmm pack d.pkg dora=same --exact -q
    refused 6 "form 'model' adds it" "$WW" rmm unpack d.pkg dora x --form portable
    # Another form is named where it is one: an adapter of a base with more words is none.
    mkdir more
    echo '{"peft_type": "LORA", "r": 2, "lora_alpha": 2}' >more/adapter_config.json
    safetensors more/adapter_model.safetensors \
        '{"base_model.model.lm_head.weight":{"dtype":"F32","shape":[104,128],"data_offsets":[0,53248]}}' 53248
    "$WW" rmm pack m.pkg more=more --exact -q
    refused 6 "form 'model' adds it" "$WW" rmm unpack m.pkg more x --form portable
    refused 6 "whole weight; form 'peft' leaves it" "$WW" rmm unpack m.pkg more x --form portable --base "$FAMILY/base"
    refused 3 "has 104 rows in the place of 100, as of a base whose vocabulary was resized" \
        "$WW" rmm unpack m.pkg more x --form model --base "$FAMILY/base"
    # PEFT keeps adapters of other names below: a form is of the one at the top, and says so.
    cp -r lora two
    cp -r lora two/second
    "$WW" rmm pack t.pkg two=two --exact -q
    "$WW" rmm unpack t.pkg two first --form portable 2>said
    grep -q "warning: member 'two' has another adapter in 'second', which is not in this form" said
    [ ! -e first/second ]
    # Of a pattern that is not read the text names the member, not where it lay for a while.
    jq '.use_dora = false | .alpha_pattern = {"(?=q).": 2}' same/adapter_config.json >p.json
    mv p.json same/adapter_config.json
    "$WW" rmm pack q.pkg looks=same --exact -q
    refused 6 "of adapter 'looks': it has a group that looks around" \
        "$WW" rmm unpack q.pkg looks x --form portable
    nothing_written x
    [ ! -e x.member ]
}

@test "a package takes what its contents ask for, whatever the threads" {
    for threads in 1 3; do
        "$WW" rmm pack "t$threads.pkg" rev="$FAMILY/expert-rev" --exact --base "$FAMILY/base" \
            --threads "$threads" -q
    done
    cmp t1.pkg t3.pkg
    "$WW" rmm list t1.pkg --json >l.json
    # 1.2 MiB of bf16 moved by a whole training: about 35 percent
    [ "$(jq '.ratio < 0.45 and .members[0].codec.order > 0 and .bytes > 0' l.json)" = true ]
    [ "$(jq -r '.members[0].mode, .base' l.json | xargs)" = "exact base" ]
}

@test "a source comes back from a merge, the other source and a package" {
    printf 'merge_method: linear\nmodels:\n- {model: %s}\n- {model: %s}\nparameters: {weight: 1}\n' \
        "$FAMILY/expert-rev" "$FAMILY/expert-caesar" >r.yml
    "$WW" merge r.yml m -q
    "$WW" key new signing --out me --no-passphrase -q
    "$WW" key new recipient --out ann --no-passphrase -q
    "$WW" rmm pack p.pkg rev="$FAMILY/expert-rev" --exact --merged m \
        --source "$FAMILY/expert-caesar" --to rev=ann.pub --sign me.key -q
    "$WW" rmm verify p.pkg --key me.pub --merged m --source "$FAMILY/expert-caesar" \
        --open-with ann.key --json >v.json
    # 1.2 MiB of BF16: 1.72 bits of 16, and 10 KiB of header, table, manifest, keys and signature
    [ "$(jq '.restored == 1 and .ratio < 0.118' v.json)" = true ]
    "$WW" rmm unmerge p.pkg rev out --merged m --source "$FAMILY/base" \
        --source "$FAMILY/expert-caesar" --open-with ann.key --signed-by me.pub -q
    diff -r "$FAMILY/expert-rev" out
    refused 1 "merged with 'expert-caesar'" "$WW" rmm unmerge p.pkg rev x --merged m \
        --source "$FAMILY/base" --open-with ann.key
    refused 1 "made with" "$WW" rmm unmerge p.pkg rev x --merged "$FAMILY/base" \
        --source "$FAMILY/expert-caesar" --open-with ann.key
    refused 2 "unmerge takes" "$WW" rmm unmerge p.pkg rev x --source "$FAMILY/base"
    refused 2 "place of --base" "$WW" rmm pack x.pkg rev="$FAMILY/expert-rev" --exact --merged m --base m
    refused 1 "name all of its sources" "$WW" rmm pack x.pkg rev="$FAMILY/expert-rev" --exact \
        --merged m
    nothing_written x
    nothing_written x.pkg
}

# Written by a weightward that knew version 2 alone: one adapter, open and sealed for ann.
@test "packages of version 2 are read, and become version 3 when their members change" {
    version() { od -An -tu4 -j16 -N4 "$1" | tr -d ' '; }
    cp "$BATS_TEST_DIRNAME"/../vectors/packages/* .
    chmod 600 ann.key
    [ "$(version v2.pkg)" = 2 ]
    "$WW" rmm verify v2.pkg -q
    (printf 'x' | dd of=v2.pkg bs=1 seek=200 conv=notrunc status=none)
    refused 1 "byte 200 lies between its parts and is not zero" "$WW" rmm verify v2.pkg
    cp "$BATS_TEST_DIRNAME"/../vectors/packages/v2.pkg .
    for member in open sealed; do
        "$WW" rmm unpack v2.pkg "$member" "$member" --open-with ann.key -q
        (cd "$member" && cat adapter_config.json adapter_model.safetensors) | sha256sum |
            grep -q ^e944ed8f51a4606c
    done
    # the same as a folder
    python3 - <<'PY'
import hashlib, os, struct
whole = open("v2.pkg", "rb").read()
os.mkdir("f")
offset, = struct.unpack("<Q", whole[24:32])
for begin, n in ((4096, 2919), (8192, 2934)):
    section = whole[begin:begin + n]
    open("f/" + hashlib.sha256(section).hexdigest(), "wb").write(section)
open("f/package", "wb").write(whole[:4096] + whole[offset:])
PY
    "$WW" rmm unpack f open again -q
    diff -r open again
    "$WW" key new recipient --out bob --no-passphrase -q
    "$WW" rmm share v2.pkg --to sealed=bob.pub --open-with ann.key -q
    [ "$(version v2.pkg)" = 2 ]
    "$WW" rmm unpack v2.pkg sealed bobs --open-with bob.key -q
    diff -r open bobs
    "$WW" rmm drop v2.pkg open -q
    [ "$(version v2.pkg)" = 3 ]
    rm -r bobs
    "$WW" rmm unpack v2.pkg sealed bobs --open-with bob.key -q
    diff -r open bobs
    printf '\004' | dd of=v2.pkg bs=1 seek=16 conv=notrunc status=none
    refused 6 "format version 4, expected 2 or 3" "$WW" rmm list v2.pkg
}

@test "a package as a folder has a file for each section, and the same manifest" {
    "$WW" extract "$FAMILY/base" "$FAMILY/expert-rev" lora --rank 2 --portable -q
    "$WW" rmm pack one.pkg lora=lora --exact -q
    PACK=(rmm pack f lora=lora --exact --folder -q)
    "$WW" "${PACK[@]}"
    [ "$("$WW" rmm list f --json | jq .manifest_sha256)" = \
        "$("$WW" rmm list one.pkg --json | jq .manifest_sha256)" ]
    [ "$("$WW" rmm list f --json | jq .bytes)" = "$(stat -c %s one.pkg)" ]
    refused 4 "'f' exists" "$WW" "${PACK[@]}"
    refused 2 "does nothing with --folder" "$WW" rmm add f more=lora --exact --folder
    FIRST=$(ls f | grep -v package)
    [ "$FIRST" = "$(sha256sum <f/"$FIRST" | cut -d' ' -f1)" ]
    touch -d 2001-01-01 f/"$FIRST"
    # A version leaves the sections that stay alone; what is dropped goes.
    cp -r lora other
    echo more >other/notes.txt
    "$WW" rmm add f other=other --exact -q
    [ "$(stat -c %Y f/"$FIRST")" = "$(date -d 2001-01-01 +%s)" ]
    "$WW" rmm verify f -q
    "$WW" rmm unpack f other out -q
    diff -r other out
    SECOND=$(ls f | grep -v -e package -e "$FIRST")
    cp f/"$SECOND" kept
    flip f/"$SECOND" 100
    refused 1 "section of member 'other'" "$WW" rmm verify f
    refused 1 "" "$WW" rmm unpack f other x
    truncate -s -1 f/"$SECOND"
    refused 3 "member 'other'" "$WW" rmm unpack f other x
    rm f/"$SECOND"
    refused 4 "member 'other'" "$WW" rmm unpack f other x
    nothing_written x
    "$WW" rmm unpack f lora mine -q
    diff -r lora mine
    cp kept f/"$SECOND"
    mkdir f/package.partial # a version that cannot be named leaves no section
    ls f >before
    refused 4 "cannot create 'package.partial'" "$WW" rmm add f third="$FAMILY/expert-rev" --exact
    ls f | diff before -
    rmdir f/package.partial
    "$WW" rmm drop f/ lora -q # as shells complete it
    [ "$(ls -A f | xargs)" = "$(printf '%s\n' "$SECOND" package | sort | xargs)" ]
    "$WW" rmm verify f --at-least 3 2>said
    run ! grep -q "warning" said
    touch f/notes f/"$(printf 'a\033b')" f/"$(printf '0%.0s' $(seq 64))" # the last is called as a section is
    "$WW" rmm verify f 2>said
    grep -q "warning: '0000.* lies in the folder and is no part of the package, nor is more" said
    run ! grep -qP '[\x00-\x08\x0b-\x1f]' said
    [ "$("$WW" rmm verify f --json | jq .foreign)" = 3 ]
    rm f/notes f/a* f/0000*
    "$WW" rmm drop f other 2>said # the last one: a share of no bytes is none
    grep -Eq "version 4: 0 members, [^ ]+ [^ ]+ in " said
    [ ! -e f.partial ]
    [ ! -e f.folder.partial ]
    # More sections than a process may have files open.
    "$WW" rmm pack g/ $(for k in $(seq 24); do echo m"$k"=other; done) --exact --folder -q
    (ulimit -n 16 && "$WW" rmm verify g -q && "$WW" rmm drop g m7 -q && "$WW" rmm unpack g m24 again -q)
    diff -r other again
    mkdir empty
    refused 3 "folder 'empty' is no package: it has no file 'package'" "$WW" rmm list empty
}

@test "a reversible merge writes the package of all its sources" {
    printf 'merge_method: task_arithmetic\nbase_model: %s\nmodels:\n- {model: %s}\n- {model: %s}\nparameters: {weight: 0.4}\n' \
        "$FAMILY/base" "$FAMILY/expert-rev" "$FAMILY/expert-caesar" >r.yml
    "$WW" key new signing --out me --no-passphrase -q
    "$WW" key new recipient --out ann --no-passphrase -q
    "$WW" merge r.yml m --reversible rest.pkg --reversible-to ann.pub --sign me.key -q
    "$WW" rmm verify rest.pkg --key me.pub --json >v.json
    [ "$(jq -r '.members[] | .name, .sealed' v.json | xargs)" = "expert-rev true expert-caesar true" ]
    "$WW" verify rest.pkg --chain --key me.pub >told
    grep -q "pack 'rest.pkg' (exact) of 'm', 'expert-rev', 'expert-caesar'" told
    grep -q "the signed bill of materials, against this chain" told
    [ "$(jq -r '.members[0].needed[] | .name, (.tensor_tree | length)' v.json | xargs)" = \
        "expert-caesar 64 base 64" ]
    "$WW" rmm list rest.pkg | grep -q "unmerge needs expert-rev"
    "$WW" rmm unmerge rest.pkg expert-caesar out --merged m --source "$FAMILY/base" \
        --source "$FAMILY/expert-rev" --open-with ann.key -q
    diff -r "$FAMILY/expert-caesar" out
    # the next version keeps what it says of the members that stay
    "$WW" rmm add rest.pkg base="$FAMILY/base" --exact --base m --sign me.key -q
    "$WW" rmm drop rest.pkg expert-rev --sign me.key -q
    "$WW" rmm unmerge rest.pkg expert-caesar again --merged m --source "$FAMILY/base" \
        --source "$FAMILY/expert-rev" --open-with ann.key --signed-by me.pub -q
    diff -r "$FAMILY/expert-caesar" again
    # A sum of one source has no others to be told from: that is a member of the merge alone.
    printf 'merge_method: linear\nmodels:\n- {model: %s, parameters: {weight: 0.5}}\nparameters: {normalize: false}\n' \
        "$FAMILY/expert-rev" >one.yml
    "$WW" merge one.yml half --reversible one.pkg/ -q
    "$WW" rmm unpack one.pkg expert-rev whole --base half -q
    diff -r "$FAMILY/expert-rev" whole
    refused 4 "exists" "$WW" merge r.yml x --reversible rest.pkg
    : >e.pkg.evidence
    run -3 "$WW" merge r.yml y --reversible e.pkg --sign me.key
    [[ $output == *"'y' is merged; what failed"*"'e.pkg' is there, but not its evidence"* ]]
    refused 2 "whole merge" "$WW" merge r.yml x --reversible x.pkg --no-source-trees
    refused 2 "goes with" "$WW" merge r.yml x --reversible-to ann.pub
    sed 's/task_arithmetic/ties/' r.yml >ties.yml
    refused 6 "cannot be solved" "$WW" merge ties.yml x --reversible x.pkg
    # Said before the merge is computed, not when it is there.
    sed 's/- {model: .*caesar/&, parameters: {weight: 0}/' r.yml >zero.yml
    refused 6 "expert-caesar' has weight 0 in 'the merge'" "$WW" merge zero.yml x --reversible x.pkg
    sed 's/weight: 0.4/weight: [{filter: mlp, value: 0.1}, {value: 0.4}]/' r.yml >own.yml
    refused 6 "of 'the merge' has weights of its own" "$WW" merge own.yml x --reversible x.pkg
    refused 6 "has weights of its own" "$WW" merge own.yml x --reversible x.pkg --memory 64
    "$WW" extract "$FAMILY/base" "$FAMILY/expert-rev" lora --rank 2 --portable -q
    sed "s#expert-rev}#base+$PWD/lora}#" r.yml >added.yml
    refused 6 "merge the adapter into its base first" "$WW" merge added.yml x --reversible x.pkg
    "$WW" key new lock --out lock --no-passphrase -q
    mkdir locked
    for one in base expert-rev expert-caesar; do
        "$WW" lock "$FAMILY/$one" "locked/$one" --key lock --no-scale -q
    done
    sed "s#$FAMILY#locked#" r.yml >locked.yml
    refused 6 "is of locked models" "$WW" merge locked.yml x --reversible x.pkg
    nothing_written x
    nothing_written x.pkg
}

@test "sources of a reversible merge with the same weights are each other's" {
    cp -r "$FAMILY/expert-rev" twin
    chmod -R u+w twin
    echo other >twin/README.md
    printf 'merge_method: linear\nmodels:\n- {model: %s, parameters: {weight: 1}}\n' "$FAMILY/expert-rev" >r.yml
    printf -- '- {model: %s, parameters: {weight: 2}}\n' twin "$FAMILY/expert-caesar" >>r.yml
    "$WW" merge r.yml m --reversible rest.pkg -q
    "$WW" rmm unmerge rest.pkg twin out --merged m --source "$FAMILY/expert-rev" --source "$FAMILY/expert-caesar" -q
    diff -r twin out
    "$WW" rmm unmerge rest.pkg expert-caesar third --merged m --source twin -q # as expert-rev too
    diff -r "$FAMILY/expert-caesar" third
}

@test "the changes of models come back within an error, or within a budget" {
    "$WW" rmm pack d.pkg rev="$FAMILY/expert-rev" --error 0.5 --base "$FAMILY/base" -q
    "$WW" rmm list d.pkg --json >l.json
    [ "$(jq '.members[0] | .mode == "bounded" and .error > 0.4 and .error <= 0.5 and .codec.dense > 0' \
        l.json)" = true ]
    "$WW" rmm verify d.pkg --base "$FAMILY/base" -q
    "$WW" rmm unpack d.pkg rev out --base "$FAMILY/base" --threads 3 -q
    cmp "$FAMILY/expert-rev/config.json" out/config.json
    ! cmp -s "$FAMILY/expert-rev/model.safetensors" out/model.safetensors || false
    # A budget is found by packing again and again: of one layer, and where the size falls
    # steeply, near an error of 1.
    for m in base expert-rev; do
        printf 'merge_method: passthrough\ndtype: bfloat16\nslices: [{sources: [{model: %s, layer_range: [0, 1]}]}]\n' \
            "$FAMILY/$m" >r.yml
        "$WW" merge r.yml "one-$m" -q
    done
    "$WW" rmm pack b.pkg rev=one-expert-rev --budget 30000 --base one-base -q
    [ "$(stat -c %s b.pkg)" -le 30000 ]
    [ "$(stat -c %s b.pkg)" -ge 27000 ]
    # what fits as it is stays as it is
    "$WW" rmm pack e.pkg rev="$FAMILY/expert-rev" --budget 900000 --base "$FAMILY/base" --json >e.json
    [ "$(jq -r '.members[0].mode' e.json)" = exact ]
    # What a package says of the whole base is measured as it will be coded.
    "$WW" extract one-base one-expert-rev lora --rank 2 --portable -q
    "$WW" rmm pack x.pkg lora=lora --exact --base one-base -q
    size=$(stat -c %s x.pkg)
    "$WW" rmm pack same.pkg lora=lora --budget "$size" --base one-base -q
    cmp x.pkg same.pkg
    "$WW" rmm pack less.pkg lora=lora --budget $((size - 1)) --base one-base --json >less.json
    # and read once: the last run knows what the first one has read
    [ "$(jq .bytes_read less.json)" -lt "$(stat -c %s one-base/model.safetensors)" ]
    [ "$(stat -c %s less.pkg)" -lt "$size" ]
}

@test "members are looked into: ranks, cosines, sizes and errors, as JSON and as a page" {
    "$WW" extract "$FAMILY/base" "$FAMILY/expert-rev" rev --rank 4 --portable -q
    "$WW" extract "$FAMILY/base" "$FAMILY/expert-caesar" caesar --rank 4 --portable -q
    "$WW" key new recipient --out ann --no-passphrase -q
    "$WW" rmm pack p.pkg rev=rev caesar=caesar closed=rev full="$FAMILY/expert-rev" --exact \
        --base "$FAMILY/base" --to closed=ann.pub -q
    "$WW" rmm inspect p.pkg rev caesar --json --report p.html >i.json
    [ "$(jq '.command == "inspect" and .cosines[0] > 0.999 and (.cosines[1] | . > 0.2 and . < 0.9) and
        .members[0].rank_99 <= 4 and (.members[0].own | length) == 5 and (.rows | length) == 1' \
        i.json)" = true ]
    grep -q '</html>' p.html
    "$WW" rmm inspect p.pkg closed full --base "$FAMILY/base" --json >c.json
    [ "$(jq '(.members[0].why_not | test("recipients")) and .members[1].unchanged < 0.2 and
        (.members[1].dense | length) == 5' c.json)" = true ]
    "$WW" rmm inspect p.pkg closed rev --open-with ann.key --json >o.json
    [ "$(jq '.cosines[1] > 0.999' o.json)" = true ]
    refused 4 "no member 'x'" "$WW" rmm inspect p.pkg x
    refused 4 "new file" "$WW" rmm inspect p.pkg rev --report p.html
}

@test "reversible merging by rows gives adapters back, to compare with" {
    for m in rev caesar; do
        "$WW" extract "$FAMILY/base" "$FAMILY/expert-$m" $m --rank 4 --portable -q
    done
    "$WW" rmm pack p.pkg rev=rev caesar=caesar full="$FAMILY/expert-rev" --exact -q
    "$WW" rmm rows p.pkg out --directions 1 --json >r.json
    # two models lie on one line: p (r + n) + r numbers of r n, and roundings to 16 bits
    [ "$(jq '.adapters == 2 and .directions == 1 and .error < 0.01 and .bytes * 8 == .raw_bytes * 10' \
        r.json)" = true ]
    [ "$(jq .r out/caesar/adapter_config.json)" = 4 ]
    "$WW" rmm rows p.pkg more rev caesar --budget 1000000 -q
    diff -r out more
    mkdir x.partial # all adapters are there before the folder has its name
    refused 4 "'x.partial' exists, an interrupted run left it; remove it" "$WW" rmm rows p.pkg x --directions 1
    rmdir x.partial
    refused 3 "expected 1 to 1" "$WW" rmm rows p.pkg x --directions 2
    refused 3 "one direction of 2 adapters takes" "$WW" rmm rows p.pkg x --budget 1000
    refused 6 "one adapter alone shares nothing; name at least two" "$WW" rmm rows p.pkg x rev --directions 1
    refused 6 "no adapter" "$WW" rmm rows p.pkg x full --directions 1
    refused 2 "say --directions" "$WW" rmm rows p.pkg x
    "$WW" extract "$FAMILY/base" "$FAMILY/expert-rev" thin --rank 2 --portable -q
    "$WW" rmm add p.pkg thin=thin --exact -q
    refused 6 "other ranks" "$WW" rmm rows p.pkg x --directions 1
    nothing_written x
}

@test "adapters that share rows come back as rmm rows gives them, from one package" {
    for m in rev caesar; do
        "$WW" extract "$FAMILY/base" "$FAMILY/expert-$m" $m --rank 4 --portable -q
    done
    "$WW" rmm pack p.pkg rev=rev caesar=caesar --exact -q
    "$WW" rmm rows p.pkg out --directions 1 -q
    "$WW" rmm pack r.pkg rev=rev caesar=caesar --codec rows --directions 1 --json >r.json
    [ "$(jq -r '.members[0] | .kind, .shared_by, .directions' r.json | xargs)" = "basis rows 1" ]
    [ "$(jq '.members[1] | .mode == "bounded" and .leak == "shared" and .error < 0.01' r.json)" = true ]
    "$WW" rmm list r.pkg >list
    grep -q "^basis .*codec rows, 1 direction$" list
    grep -q "shares basis: who opens it can read that, which tells of all that do" list
    for m in rev caesar; do
        "$WW" rmm unpack r.pkg $m back-$m -q
        cmp back-$m/adapter_model.safetensors out/$m/adapter_model.safetensors
        cmp back-$m/adapter_config.json $m/adapter_config.json
    done
    "$WW" rmm inspect r.pkg --json >i.json
    [ "$(jq -r '.members[].name' i.json | xargs)" = "rev caesar" ]
    "$WW" rmm pack e.pkg rev=rev caesar=caesar --codec rows --directions 1 --exact -q
    "$WW" rmm unpack e.pkg rev e -q
    diff -r rev e
    "$WW" rmm pack c.pkg rev=rev caesar=caesar --codec core --directions 3 --error 0.1 --json >c.json
    [ "$(jq '[.members[1:][] | .error > 0 and .error <= 0.1 and .codec.klt > 0] | all' c.json)" = true ]
    "$WW" rmm verify c.pkg --base "$FAMILY/base" -q
    "$WW" rmm verify e.pkg --base "$FAMILY/base" -q
    refused 2 "takes none, rows or core" "$WW" rmm pack x --codec cols rev=rev caesar=caesar --exact
    refused 2 "goes with --codec rows" "$WW" rmm pack x rev=rev --directions 1
    refused 2 "takes --directions" "$WW" rmm pack x rev=rev caesar=caesar --codec rows --exact
    refused 2 "core takes --directions" "$WW" rmm pack x rev=rev caesar=caesar --codec core \
        --directions 1
    refused 2 "goes without" "$WW" rmm pack x rev=rev caesar=caesar --codec rows \
        --directions 1 --versions
    "$WW" rmm unpack e.pkg basis shared -q
    [ "$(ls shared)" = basis.safetensors ]
    refused 2 "is coded by 'basis'" "$WW" rmm drop e.pkg basis
    refused 6 "is what adapters share" "$WW" rmm unpack e.pkg basis x --form peft
    refused 6 "nothing to be mixed" "$WW" rmm mix e.pkg x --weight basis=1
    nothing_written x
    "$WW" rmm drop e.pkg rev 2>said
    grep -q "not in the package any more, but what the basis tells of it is;" said
}

@test "a mixture of members is a merge with its record, by weights or by a recipe" {
    "$WW" extract "$FAMILY/base" "$FAMILY/expert-rev" rev --rank 3 --portable -q
    "$WW" extract "$FAMILY/base" "$FAMILY/expert-caesar" caesar --rank 2 --portable -q
    "$WW" key new signing --out me --no-passphrase -q
    "$WW" rmm pack p.pkg a=rev b=caesar m="$FAMILY/expert-rev" --exact --base "$FAMILY/base" \
        --sign me.key -q
    "$WW" rmm mix p.pkg sum --weight a=0.5 --weight b=-0.25 --sign me.key --signed-by me.pub -q
    "$WW" verify sum --key me.pub -q
    printf 'merge_method: linear\nmodels:\n- {model: rev, parameters: {weight: 0.5}}\n- {model: caesar, parameters: {weight: -0.25}}\nparameters: {normalize: false}\n' >r.yml
    "$WW" merge r.yml same -q
    cmp sum/adapter_model.safetensors same/adapter_model.safetensors
    [ ! -e sum.members ]
    "$WW" rmm mix p.pkg small --weight a=1 --weight b=1 --rank 2 -q
    [ "$(jq .r small/adapter_config.json)" = 2 ]
    # A sum has no room for the weight that PEFT saves below the factors of a head: it is left out where it is the base's.
    python3 - caesar "$FAMILY/base/model.safetensors" <<'PY'
import json, os, struct, sys
def read(path):
    data = open(path, "rb").read()
    n = struct.unpack("<Q", data[:8])[0]
    return {k: (v["dtype"], v["shape"], data[8 + n + v["data_offsets"][0]:8 + n + v["data_offsets"][1]])
            for k, v in json.loads(data[8:8 + n]).items() if k != "__metadata__"}
adapter = read(f"{sys.argv[1]}/adapter_model.safetensors")
head = read(sys.argv[2])["lm_head.weight"]
at = "base_model.model.lm_head"
adapter[at + ".lora_A.weight"] = ("F32", [2, 128], struct.pack("<256f", *[0.5] * 256))
adapter[at + ".lora_B.weight"] = ("F32", [100, 2], struct.pack("<200f", *[0.25] * 200))
for name, weight in (("head", head[2]), ("other", head[2][2:] + head[2][:2])):
    adapter[at + ".base_layer.weight"] = (*head[:2], weight)
    os.mkdir(name)
    index, body = {}, b""
    for k, (dtype, shape, bits) in adapter.items():
        index[k] = {"dtype": dtype, "shape": shape, "data_offsets": [len(body), len(body) + len(bits)]}
        body += bits
    text = json.dumps(index).encode()
    open(f"{name}/adapter_model.safetensors", "wb").write(struct.pack("<Q", len(text)) + text + body)
    config = json.load(open(f"{sys.argv[1]}/adapter_config.json"))
    config["target_modules"].append("lm_head")
    json.dump(config, open(f"{name}/adapter_config.json", "w"))
PY
    "$WW" rmm pack h.pkg a=rev head=head other=other --exact --base "$FAMILY/base" -q
    refused 6 "left out where it is the base's own: name that with --base" \
        "$WW" rmm mix h.pkg x --weight a=0.5 --weight head=1
    "$WW" rmm mix h.pkg headed --weight a=0.5 --weight head=1 --base "$FAMILY/base" -q
    grep -aq lm_head.lora_A headed/adapter_model.safetensors
    run ! grep -aq base_layer headed/adapter_model.safetensors
    refused 6 "another weight below its factors.*; --form model with --base makes a model, with member:other" \
        "$WW" rmm mix h.pkg x --weight a=0.5 --weight other=1 --base "$FAMILY/base"
    "$WW" rmm mix p.pkg model --weight a=1 --weight m=0.5 --base "$FAMILY/base" -q
    printf 'merge_method: ties\nbase_model: %s\nmodels:\n- {model: member:m, parameters: {weight: 1, density: 0.5}}\n- {model: %s+member:b, parameters: {weight: 1, density: 0.5}}\n' \
        "$FAMILY/base" "$FAMILY/base" >t.yml
    "$WW" rmm mix p.pkg ties --recipe t.yml --base "$FAMILY/base" --json >t.json
    [ "$(jq -r .method t.json)" = ties ]
    # the members restored under the recipe's names give the merge again
    mkdir ties.members
    "$WW" rmm unpack p.pkg m ties.members/m --base "$FAMILY/base" -q
    "$WW" rmm unpack p.pkg b ties.members/b --base "$FAMILY/base" -q
    "$WW" merge --rederive ties -q
    # Errors name members and recipes as they were given, not where they lie for a while.
    printf 'merge_method: linear\nmodels:\n- {model: member:m, parameters: {weihgt: 1}}\n' >bad.yml
    refused 3 "recipe 'bad.yml': line 3: the parameters of model 'member:m' have an unknown key" \
        "$WW" rmm mix p.pkg x --recipe bad.yml --base "$FAMILY/base"
    refused 2 "NAME=W" "$WW" rmm mix p.pkg x --weight a
    refused 4 "no member 'c'" "$WW" rmm mix p.pkg x --weight c=1
    refused 2 "two weights" "$WW" rmm mix p.pkg x --weight a=1 --weight a=2
    refused 2 "needs the base" "$WW" rmm mix p.pkg x --weight a=1 --weight m=1
    refused 2 "say --weight" "$WW" rmm mix p.pkg x
    refused 4 "exists" "$WW" rmm mix p.pkg sum --weight a=1
    sed 's/member:m/member:none/' t.yml >n.yml
    refused 4 "does not have" "$WW" rmm mix p.pkg x --recipe n.yml
    refused 2 "a recipe says itself" "$WW" rmm mix p.pkg x --recipe t.yml --rank 2
    refused 2 "is of a mixture that is an adapter" "$WW" rmm mix p.pkg x --weight m=1 --rank 2
    refused 2 "goes into the recipe" "$WW" rmm mix p.pkg "x y" --recipe t.yml
    mkdir x.members
    refused 4 "cut off" "$WW" rmm mix p.pkg x --weight a=1
    rmdir x.members
    echo '{}' >rev/weightward-policy.json
    refused 4 "asks for policies" "$WW" rmm add p.pkg asks=rev --exact --sign me.key -q
    nothing_written x
    [ ! -e x.members ]
}
