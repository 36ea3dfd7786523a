#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
bats_require_minimum_version 1.5.0
load helper

family=$BATS_TEST_DIRNAME/../vectors/amber
rev=$family/expert-rev
caesar=$family/expert-caesar

blend() {
    cat >recipe.yml <<EOR
merge_method: task_arithmetic
base_model: $family/base
models:
  - model: $rev
    parameters: {weight: $1}
  - model: $caesar
    parameters: {weight: $2}
dtype: float32
out_dtype: bfloat16
EOR
    "$WW" merge recipe.yml suspect -q
}
teardown() {
    [ -z "${place:-}" ] || {
        chmod -R u+w "$place"
        rm -r "$place"
    }
}
index_all() {
    "$WW" lineage index "${1:-c.db}" "$family/base" --root -q
    "$WW" lineage index "${1:-c.db}" "$rev" "$caesar" -q
}
# sql FILE STATEMENTS: what a foreign hand could do to the file.
sql() {
    python3 -c 'import sqlite3, sys
db = sqlite3.connect(sys.argv[1]); db.executescript(sys.argv[2]); db.commit()' "$1" "$2"
}

@test "a blend's root, sources and shares are found and confirmed on the files" {
    once index_all
    once blend 0.6 0.25
    "$WW" lineage find c.db suspect --json -q >answer
    jq -e '.schema == "weightward.lineage/1" and .word == "find" and .root == "base" and
           (.root_evidence | test("marked as a root")) and
           [.matches[].name] == ["expert-rev", "expert-caesar"] and
           (.matches | all(.kind == "source" and .confirmed)) and
           (.matches[0].share - 0.6 | fabs) < 0.001 and .matches[0].interval[1] < 0.61 and
           (.matches[1].share - 0.25 | fabs) < 0.001 and .unexplained < 0.01' answer
    "$WW" lineage find c.db suspect --json -q --no-confirm >answer
    jq -e '(.matches[0].share - 0.6 | fabs) < 0.02 and .matches[0].interval == null and
           (.matches | all(.confirmed | not))' answer
    run -0 "$WW" lineage find c.db suspect
    [[ $output == "SUPPORTS: "* ]]
}

@test "a source with twins in the catalogue is named where a recipe gives the bits" {
    cat >recipe.yml <<EOR
merge_method: ties
base_model: $family/base
models:
  - {model: $rev, parameters: {weight: 0.6, density: 0.6}}
  - {model: $caesar, parameters: {weight: 0.5, density: 0.6}}
dtype: float32
out_dtype: bfloat16
EOR
    "$WW" merge recipe.yml suspect -q
    for seed in 5 6; do
        "$WW_BIN/perturb_model" "$rev" "twin$seed" 0.003 "$seed"
    done
    index_all
    "$WW" lineage index c.db twin5 twin6 -q
    for how in "" --no-confirm; do
        "$WW" lineage find c.db suspect --json -q $how | jq -c '[.matches[] | [.name, .kind]]'
    done >kinds
    cat >expected <<EOR
[["expert-rev","source"],["expert-caesar","source"]]
[["expert-rev","similar"],["expert-caesar","source"]]
EOR
    cmp kinds expected
}

@test "a source is named where a model that is nearly it is more like the suspect" {
    once blend 0.5 0.4
    cat >recipe.yml <<EOR
merge_method: task_arithmetic
base_model: $family/base
models:
  - {model: $rev, parameters: {weight: 1.0}}
  - {model: $caesar, parameters: {weight: 0.03}}
dtype: bfloat16
EOR
    "$WW" merge recipe.yml leaning -q
    "$WW_BIN/perturb_model" leaning near 0.0004 5
    index_all
    "$WW" lineage index c.db near -q
    "$WW" lineage find c.db suspect --json -q --no-confirm >answer
    [ "$(jq -c '.matches[0].name' answer)" = '"near"' ]
    "$WW" lineage find c.db suspect --json -q >answer
    jq -e '[.matches[] | select(.kind == "source") | .name] | sort == ["expert-caesar", "expert-rev"]' answer
    jq -e '.matches[] | select(.name == "expert-rev") | .share > 0.499 and .share < 0.501' answer
}

# twins N SHARE: noise beside rev, in a catalogue without it.
twins() {
    once blend 0.6 0.25
    "$WW" lineage index c.db "$family/base" --root -q
    for ((seed = 5; seed < 5 + $1; seed++)); do
        "$WW_BIN/perturb_model" "$rev" "twin$seed" "$2" "$seed"
        "$WW" lineage index c.db "twin$seed" -q
    done
}
kinds() { jq -c '[.matches[] | [.name, .kind]]' "$@"; }

@test "a twin of a source that is not there is no source where the files say that one is missing" {
    twins 1 0.008
    "$WW" lineage index c.db "$caesar" -q
    "$WW" lineage find c.db suspect --json -q --no-confirm >answer
    jq -e '.unexplained < 0.05 and (.incomplete | not)' answer
    [ "$(kinds answer)" = '[["twin5","source"],["expert-caesar","source"]]' ]
    "$WW" lineage find c.db suspect --json -q >answer
    jq -e '.incomplete and (.matches | all(.kind == "similar" and .confirmed))' answer
    run -0 "$WW" lineage find c.db suspect -q
    [[ $output == "SUPPORTS IN PART: 'suspect' is mostly like catalogued models"* ]]
}

@test "one of many checkpoints is not named where files of others were not compared" {
    twins 12 0.0004
    "$WW" lineage index c.db "$caesar" -q
    "$WW" lineage find c.db suspect --json -q >answer
    jq -e '[.matches[] | select(.kind == "source").name] == ["expert-caesar"] and
           (.matches | any(.kind == "similar" and (.name | test("twin")) and .confirmed))' answer
}

@test "a catalogued model is found by its digest, the root by itself" {
    once index_all
    cp -r "$rev" copy
    "$WW" lineage find c.db copy --json -q >answer
    jq -e '.matches == [{name: "expert-rev", kind: "identical", share: null, interval: null,
           confirmed: false, cosine: 0, evidence: .matches[0].evidence}]' answer
    "$WW" lineage find c.db "$family/base" --json -q >answer
    jq -e '.matches[0].name == "base" and .tensors_frozen == .tensors' answer
}

# rounded SRC DST [STEPS]: matrices of its layers as int8 with scales of rows, and in
# DST-bf16 what these stand for.
rounded() {
    mkdir "$2" "$2-bf16"
    cp "$1/config.json" "$2"
    cp "$1/config.json" "$2-bf16"
    python3 - "$1" "$2" "${3:-127}" <<'EOP'
import array, json, struct, sys
def near(x):
    bits = struct.unpack("<I", struct.pack("<f", x))[0]
    return (bits + 0x7fff + (bits >> 16 & 1)) >> 16
def save(folder, tensors):
    new, at = {}, 0
    for name, dtype, shape, data in tensors:
        new[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + len(data)]}
        at += len(data)
    text = json.dumps(new).encode()
    text += b" " * (-len(text) % 8)
    with open(folder + "/model.safetensors", "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + b"".join(t[3] for t in tensors))
raw = open(sys.argv[1] + "/model.safetensors", "rb").read()
n = struct.unpack("<Q", raw[:8])[0]
head, body = json.loads(raw[8:8 + n]), raw[8 + n:]
wide, plain, whole, floats = [], [], [], []
for name, t in sorted(head.items()):
    data = body[slice(*t["data_offsets"])] if name != "__metadata__" else b""
    if ".layers." not in name or len(t["shape"]) != 2:
        plain += [(name, t["dtype"], t["shape"], data)] if data else []
        continue
    rows, width = t["shape"]
    v = array.array("f", array.array("I", [h << 16 for h in array.array("H", data)]).tobytes())
    scales = array.array("f", [max(map(abs, v[r * width:(r + 1) * width])) / int(sys.argv[3]) for r in range(rows)])
    q = array.array("b", [round(x / scales[i // width]) for i, x in enumerate(v)])
    wide.append((name + "_scale", "F32", [rows, 1], scales.tobytes()))
    whole.append((name, "I8", t["shape"], q.tobytes()))
    back = array.array("H", [near(x * scales[i // width]) for i, x in enumerate(q)])
    floats.append((name, "BF16", t["shape"], back.tobytes()))
save(sys.argv[2], wide + plain + whole)
save(sys.argv[2] + "-bf16", plain + floats)
EOP
}

@test "models in eight bits are catalogued decoded, and found by their bytes as well" {
    for name in base expert-rev expert-caesar; do
        rounded "$family/$name" "$name"
    done
    "$WW" lineage index c.db base --root --json -q >answer
    jq -e '.models[0].note == "28 tensors of eight-bit weights, decoded with their scales"' answer
    "$WW" lineage index c.db expert-rev expert-caesar -q
    blend 0.6 0.25 # of the weights before they were rounded
    mv suspect before
    sed "s,$family/\\([a-z-]*\\),$PWD/\\1-bf16," recipe.yml >rounded.yml
    "$WW" merge rounded.yml suspect -q
    "$WW" lineage find c.db suspect --json -q --no-confirm >answer
    jq -e '[.matches[] | [.name, .kind]] == [["expert-rev", "source"], ["expert-caesar", "source"]] and
           (.matches[0].share - 0.6 | fabs) < 0.02 and .unexplained < 0.01' answer
    make_keys
    "$WW" lock suspect locked --key lock -q
    rounded suspect again
    for form in suspect locked again; do
        "$WW" lineage find c.db "$form" --json -q >"$form.json"
        jq -e '.root == "base" and ([.matches[] | select(.share > 0.02).name] | sort) ==
               ["expert-caesar", "expert-rev"] and (.matches | all(.confirmed))' "$form.json"
    done
    jq -e '.matches | all(.kind == "source")' suspect.json locked.json
    # What rounding took of the root is in every member and in what was made before.
    for name in base expert-rev expert-caesar; do
        rounded "$family/$name" "coarse-$name" 24
    done
    "$WW" lineage index d.db coarse-base --root -q
    "$WW" lineage index d.db coarse-expert-rev coarse-expert-caesar -q
    "$WW" lineage find d.db before --json -q --no-confirm >answer
    jq -e '(.matches | all(.kind == "similar")) and (.warnings | any(test("root is quantised")))' answer
    cp -r expert-rev copy
    "$WW" lineage find c.db copy --json -q >answer
    jq -e '[.matches[] | [.name, .kind]] == [["expert-rev", "identical"]]' answer
}

# packed SRC DST: its matrices as GPTQ packs them, of some bytes.
packed() {
    python3 - "$1/model.safetensors" "$2" <<'EOP'
import json, os, struct, sys
with open(sys.argv[1], "rb") as f:
    head = json.loads(f.read(struct.unpack("<Q", f.read(8))[0]))
new, at = {}, 0
for name, t in head.items():
    if len(t.get("shape", ())) == 2:
        rows, columns = t["shape"]
        new[name.replace("weight", "qweight")] = {"dtype": "I32", "shape": [columns // 8, rows],
                                                  "data_offsets": [at, at + rows * columns // 2]}
        at += rows * columns // 2
text = json.dumps(new).encode()
os.makedirs(sys.argv[2])
with open(os.path.join(sys.argv[2], "model.safetensors"), "wb") as f:
    f.write(struct.pack("<Q", len(text)) + text + bytes(i * i % 251 for i in range(at)))
EOP
    cp "$1/config.json" "$2"
}

@test "of packed weights a copy is found by its bytes, and nothing else is said" {
    packed "$rev" packed
    "$WW" lineage index c.db "$family/base" --root -q
    run -6 "$WW" lineage find c.db packed -q
    [[ $output == *"holds packed weights"* ]]
    "$WW" lineage index c.db packed --json -q >answer
    jq -e '.models[0].note | test("packed weights are not decoded")' answer
    cp -r packed copy
    "$WW" lineage find c.db copy --json -q >answer
    jq -e '.root == null and [.matches[].kind] == ["identical"] and .unexplained == null and
           (.warnings | any(test("packed weights are not decoded")))' answer
}

@test "a sibling of a model that is not there is similar, not its source" {
    "$WW" lineage index c.db "$family/base" "$rev" -q
    "$WW" lineage find c.db "$caesar" --root base --json -q >answer
    jq -e '.root == "base" and [.matches[].kind] == ["similar"] and .unexplained > 0.8' answer
    run -0 "$WW" lineage find c.db "$caesar" --root base -q
    [[ $output == "DOES NOT SUPPORT: "* ]]
}

# shuffled SRC DST SEED: each tensor's weights in an order that follows from seed and size:
# the same shapes and values, and no relative.
shuffled() {
    cp -r "$1" "$2"
    chmod -R u+w "$2"
    python3 - "$2/model.safetensors" "$3" <<'EOP'
import array, json, random, struct, sys
path, seed = sys.argv[1:]
raw = open(path, "rb").read()
n = struct.unpack("<Q", raw[:8])[0]
head, body = json.loads(raw[8:8 + n]), bytearray(raw[8 + n:])
orders = {}
for name, t in head.items():
    if name != "__metadata__":
        a, b = t["data_offsets"]
        v = array.array("H", bytes(body[a:b]))
        if len(v) not in orders:
            orders[len(v)] = list(range(len(v)))
            random.Random(f"{seed} {len(v)}").shuffle(orders[len(v)])
        body[a:b] = array.array("H", [v[i] for i in orders[len(v)]]).tobytes()
open(path, "wb").write(raw[:8 + n] + body)
EOP
}

@test "two families of one architecture are told apart, and one that is not there is neither" {
    index_all
    blend 0.6 0.25
    for name in base expert-rev expert-caesar; do
        shuffled "$family/$name" "other-$name" 1
    done
    "$WW" lineage index c.db other-base --root -q
    "$WW" lineage index c.db other-expert-rev other-expert-caesar -q
    shuffled suspect suspect-1 1
    shuffled suspect suspect-2 2
    "$WW" lineage find c.db suspect --json -q >answer
    jq -e '.root == "base" and [.matches[].name] == ["expert-rev", "expert-caesar"] and
           .family == 6 and (.matches | all(.kind == "source" and .confirmed))' answer
    "$WW" lineage find c.db suspect-1 --json -q >answer
    jq -e '.root == "other-base" and [.matches[].name] == ["other-expert-rev", "other-expert-caesar"] and
           (.matches[0].share - 0.6 | fabs) < 0.001 and (.matches | all(.confirmed))' answer
    "$WW" lineage find c.db suspect-2 --json -q >answer
    jq -e '.root == null and .matches == [] and .layers == [] and .rows == []' answer
    "$WW" lineage find c.db suspect-2 --root base --json -q --no-confirm >answer
    jq -e '.matches == []' answer
    # A print whose files are another model's: the files are believed.
    for pair in base:other-base expert-rev:other-expert-rev expert-caesar:other-expert-caesar; do
        sql c.db "UPDATE ww_models SET (place, stamp) = (SELECT place, stamp FROM ww_models
                  WHERE name = '${pair%%:*}') WHERE name = '${pair##*:}'"
    done
    "$WW" lineage find c.db suspect-1 --json -q >answer
    jq -e '.root == null and .matches == [] and (.warnings | any(test("taken back")))' answer
    run -0 "$WW" lineage find c.db suspect-2 -q
    [[ $output == "DOES NOT SUPPORT: "*"root: none in the catalogue is related"* ]]
}

@test "a catalogue on a medium that cannot be written is searched, and not added to" {
    place=$(mktemp -d /tmp/ww-ro-XXXXXX)
    as=()
    [ "$(id -u)" != 0 ] || as=(setpriv --reuid=nobody --regid=nogroup --clear-groups)
    "${as[@]}" test -x "$WW" -a -r "$rev/config.json" || skip "nobody may not run what is tested"
    index_all "$place/c.db"
    blend 0.6 0.25
    cp -r suspect "$place/suspect"
    chmod -R a+rX,a-w "$place"
    run -0 "${as[@]}" "$WW" lineage find "$place/c.db" "$place/suspect" --json -q
    jq -e '[.matches[].name] == ["expert-rev", "expert-caesar"]' <<<"$output"
    refused 4 "cannot write" "${as[@]}" "$WW" lineage index "$place/c.db" "$place/suspect" -q
    [ "$(ls "$place" | tr '\n' ' ')" = "c.db suspect " ]
}

@test "a model of another architecture has no root here" {
    once index_all
    mkdir other
    safetensors other/model.safetensors '{"w":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}' 16
    "$WW" lineage find c.db other --json -q >answer
    jq -e '.root == null and .matches == []' answer
}

@test "rows that are no longer than their hashes have none" {
    mkdir thin
    safetensors thin/model.safetensors '{"w":{"dtype":"F32","shape":[3,2],"data_offsets":[0,24]},
        "x":{"dtype":"F32","shape":[3,4],"data_offsets":[24,72]}}' 72
    "$WW" lineage index c.db thin -q
    [ "$(python3 -c 'import sqlite3
print(sqlite3.connect("c.db").execute("SELECT name, length(hashes) FROM ww_tensors ORDER BY name").fetchall())')" = \
        "[('w', 0), ('x', 24)]" ]
}

@test "layers put together of two models are found where they came from" {
    once index_all
    cat >recipe.yml <<EOR
merge_method: passthrough
slices:
  - sources: [{model: $rev, layer_range: [0, 3]}]
  - sources: [{model: $caesar, layer_range: [1, 4]}]
EOR
    "$WW" merge recipe.yml suspect -q
    "$WW" lineage find c.db suspect --json -q >answer
    jq -e '[.layers[] | [.layer, .name, .of_layer]] ==
           [[0, "expert-rev", 0], [1, "expert-rev", 1], [2, "expert-rev", 2],
            [3, "expert-caesar", 1], [4, "expert-caesar", 2], [5, "expert-caesar", 3]] and
           (.layers | all(.tensors_equal == .tensors)) and
           ([.matches[] | select(.kind == "layers").name] | sort) ==
           ["expert-caesar", "expert-rev"]' answer
}

# What a lock leaves of a blend: no weight in its place, the heads' spectra as they were.
@test "a locked blend is found by the spectra of its heads and confirmed on the files" {
    once index_all
    blend 0.7 0.2
    make_keys
    for level in exact dense; do
        "$WW" lock suspect "locked-$level" --key lock --level "$level" -q
        "$WW" lineage find c.db "locked-$level" --json -q --no-confirm >answer
        jq -e '.root == "base" and (.root_evidence | test("spectra of heads alike")) and
               [.matches[] | select(.kind == "source").name] == ["expert-rev", "expert-caesar"] and
               (.matches[0].share - 0.7 | fabs) < 0.15 and
               (.matches[1].share - 0.2 | fabs) < 0.15 and
               (.matches[0].evidence | test("differences of spectra"))' answer
    done
    "$WW" lineage find c.db locked-exact --json -q >answer
    jq -e '[.matches[] | [.name, .confirmed]] == [["expert-rev", true], ["expert-caesar", true]] and
           (.matches[0].share - 0.7 | fabs) < 0.002' answer
    for bad in "x'0000'" "'text'" "zeroblob(8) || x'0000c07f' || substr(spectra, 13)"; do
        cp c.db bad.db
        sql bad.db "UPDATE ww_spectra SET spectra = $bad"
        refused 3 "damaged: a spectrum" "$WW" lineage find bad.db locked-exact -q
    done
    # Spectra of nothing are like nothing.
    cp c.db zero.db
    sql zero.db "UPDATE ww_spectra SET spectra = zeroblob(length(spectra))"
    "$WW" lineage find zero.db locked-exact --json -q --no-confirm >answer
    jq -e '(.root_evidence // "" | test("spectra") | not) and .matches == []' answer
}

@test "a locked model is found as what was locked, a locked stranger is not" {
    "$WW" lineage index c.db "$family/base" "$caesar" --root -q
    make_keys
    "$WW" lock "$caesar" locked --key lock -q
    "$WW" lineage find c.db locked --root base --json -q --no-confirm >answer
    jq -e '[.matches[] | [.name, .kind]] == [["expert-caesar", "source"]] and
           (.matches[0].share - 1 | fabs) < 0.01' answer
    "$WW" lock "$rev" stranger --key lock -q
    "$WW" lineage find c.db stranger --root base --json -q --no-confirm >answer
    jq -e '[.matches[] | select(.kind == "source")] == []' answer
}

@test "rows of another vocabulary and depth are found where they came from" {
    once index_all
    python3 - "$rev" other <<'EOP'
import json, os, struct, sys
src, out = sys.argv[1:]
data = open(os.path.join(src, "model.safetensors"), "rb").read()
n = struct.unpack("<Q", data[:8])[0]
head, body = json.loads(data[8:8 + n]), data[8 + n:]
new, at, parts = {}, 0, []
for name, t in sorted(head.items()):
    if name == "__metadata__" or ".layers.3." in name:
        continue
    b = body[slice(*t["data_offsets"])]
    if name == "model.embed_tokens.weight":
        row = len(b) // t["shape"][0]
        b = bytes([17]) * (7 * row) + b[row:]      # seven new tokens in front, one old one gone
        t["shape"][0] += 6
    new[name] = {"dtype": t["dtype"], "shape": t["shape"], "data_offsets": [at, at + len(b)]}
    at += len(b)
    parts.append(b)
text = json.dumps(new).encode()
os.mkdir(out)
with open(os.path.join(out, "model.safetensors"), "wb") as f:
    f.write(struct.pack("<Q", len(text)) + text + b"".join(parts))
EOP
    "$WW" lineage find c.db other --json -q >answer
    jq -e '.root == null and [.rows[].tensor] == ["lm_head.weight", "embed_tokens.weight"] and (.rows[] | select(.tensor == "embed_tokens.weight")) ==
           {tensor: "embed_tokens.weight", name: "expert-rev", of_tensor: "embed_tokens.weight",
            rows_equal: 99, rows: 106, rows_of_tensor: 100}' answer
    run -0 "$WW" lineage find c.db other -q
    [[ $output == *"99 of 106 rows of 'embed_tokens.weight' are rows of 'embed_tokens.weight' in 'expert-rev'"* ]]
}

@test "fine sketches bring shares nearer to the truth" {
    once blend 0.6 0.25
    "$WW" lineage index c.db "$family/base" "$rev" "$caesar" -q
    "$WW" lineage index f.db "$family/base" "$rev" "$caesar" --fine -q
    for db in c f; do
        "$WW" lineage find "$db.db" suspect --root base --json -q --no-confirm >"$db.json"
    done
    jq -e '.fine_sketches == false' c.json
    jq -e '.fine_sketches and (.matches[0].share - 0.6 | fabs) < 0.002' f.json
    cp f.db bad.db
    sql bad.db "UPDATE ww_details SET fine = substr(fine, 5)"
    refused 3 "fine has 524284 bytes" "$WW" lineage find bad.db suspect --root base -q
}

@test "known weights are left out, and a second name says so" {
    once index_all
    "$WW" lineage index c.db "$rev" --json -q >answer
    jq -e '.models == [{name: "expert-rev", added: false, known_as: "expert-rev", note: null}] and
           .bytes_read == 0 and .models_in_catalogue == 3' answer
    cp -r "$rev" copy
    "$WW" lineage index c.db copy --json -q >answer
    jq -e '.models[0].known_as == "expert-rev" and .bytes_read > 0' answer
    # Where they lie is what a suspect is compared with: the copy counts once it is all there is.
    "$WW" lineage index m.db "$family/base" --root -q
    "$WW" lineage index m.db first=copy -q
    mv copy moved
    once blend 0.6 0
    "$WW" lineage find m.db suspect --json -q | jq -e '.warnings | any(test("not where"))'
    "$WW" lineage index m.db moved "$rev" --json -q | jq -e '.models | all(.known_as == "first")'
    "$WW" lineage find m.db suspect --json -q | jq -e '.warnings == [] and (.matches | all(.confirmed))'
}

@test "other weights under a known name are refused, NAME=FOLDER gives another" {
    once index_all
    mkdir elsewhere
    cp -r "$caesar" elsewhere/expert-rev
    chmod -R u+w elsewhere
    size=$(stat -c %s elsewhere/expert-rev/model.safetensors)
    flip elsewhere/expert-rev/model.safetensors $((size - 2))
    refused 4 "other weights as 'expert-rev'" "$WW" lineage index c.db elsewhere/expert-rev -q
    "$WW" lineage index c.db second=elsewhere/expert-rev --json -q | jq -e '.models_in_catalogue == 4'
}

@test "a catalogue has the same bytes for any number of threads" {
    for n in 1 4; do
        "$WW" lineage index "t$n.db" "$family/base" "$rev" --threads "$n" --fine -q
    done
    cmp t1.db t4.db
}

@test "a sample of the rows finds the sources too, and never mixes with whole prints" {
    "$WW" lineage index s.db "$family/base" "$rev" "$caesar" --sample -q
    once blend 0.6 0.25
    "$WW" lineage find s.db suspect --root base --json -q --no-confirm >answer
    jq -e '[.matches[].name] == ["expert-rev", "expert-caesar"]' answer
    refused 2 "do not mix" "$WW" lineage index s.db "$rev" -q
}

@test "four writers at once lose nothing" {
    for i in 1 2 3 4; do
        cp -r "$rev" "m$i"
        chmod -R u+w "m$i"
        flip "m$i/model.safetensors" $(($(stat -c %s "m$i/model.safetensors") - 2 * i))
    done
    for i in 1 2 3 4; do
        "$WW" lineage index c.db "$family/base" "m$i" -q >"log$i" 2>&1 &
        pids[i]=$!
    done
    for i in 1 2 3 4; do wait "${pids[i]}"; done
    "$WW" lineage index c.db "$family/base" --json -q | jq -e '.models_in_catalogue == 5'
}

@test "what is no catalogue, damaged or newer is refused" {
    refused 4 "no catalogue 'none.db'" "$WW" lineage find none.db "$rev" -q
    head -c 70000 /dev/urandom >noise.db
    refused 3 "no catalogue" "$WW" lineage find noise.db "$rev" -q
    refused 3 "no catalogue" "$WW" lineage index noise.db "$rev" -q
    : >bare.db # a run that was killed before it wrote anything
    refused 3 "'bare.db' is empty" "$WW" lineage find bare.db "$rev" -q
    sql stamped.db "PRAGMA application_id = 1467433825; PRAGMA user_version = 3" # or before its tables
    refused 3 "'stamped.db' is empty" "$WW" lineage find stamped.db "$rev" -q
    "$WW" lineage index stamped.db "$rev" -q
    sql foreign.db "CREATE TABLE t (x)"
    refused 3 "another program" "$WW" lineage index foreign.db "$rev" -q
    refused 3 "expected the file of a catalogue" "$WW" lineage index "$family" "$rev" -q
    once index_all
    cp c.db newer.db
    sql newer.db "PRAGMA user_version = 4"
    refused 6 "version 4, this program knows 3" "$WW" lineage find newer.db "$rev" -q
    refused 6 "version 4, this program knows 3" "$WW" lineage index newer.db "$rev" -q
    cp c.db older.db
    sql older.db "UPDATE ww_meta SET value = 1 WHERE name = 'version'; PRAGMA user_version = 1"
    refused 6 "version 1, this program knows 3" "$WW" lineage find older.db "$rev" -q
    refused 6 "version 1, this program knows 3" "$WW" lineage index older.db "$rev" -q
    cp c.db cut.db
    truncate -s -65536 cut.db
    refused 3 "damaged" "$WW" lineage find cut.db "$rev" -q
    cp c.db short.db
    sql short.db "UPDATE ww_sketches SET coarse = substr(coarse, 1, 100)"
    refused 3 "a sketch has 100 bytes" "$WW" lineage find short.db "$caesar" -q
    cp c.db text.db
    sql text.db "UPDATE ww_tensors SET hashes = 'x'"
    refused 3 "a list of rows" "$WW" lineage find text.db "$BATS_TEST_DIRNAME/../vectors/amber/expert-rev" \
        -q --root expert-caesar || refused 3 "a list of rows" "$WW" lineage find text.db suspect -q
}

@test "a full disk is said, and what was there stays" {
    "$WW" lineage index c.db "$family/base" -q
    cp c.db before
    # The limit stands for the disk: writing beyond it fails.
    run -4 bash -c "trap '' XFSZ; ulimit -f $(($(stat -c %s c.db) / 1024 + 64)); '$WW' lineage index c.db '$rev' -q"
    "$WW" lineage index c.db "$family/base" --json -q | jq -e '.models_in_catalogue == 1'
    # No room for the first page of a new one, which then is none.
    refused 4 "'new.db' failed" bash -c \
        "trap '' XFSZ; ulimit -f 1; '$WW' lineage index new.db '$rev' -q"
    nothing_written new.db
    [ ! -e new.db-journal ]
}

@test "a password in the server's address is refused before anything is sent" {
    refused 2 "holds a password" "$WW" lineage find postgresql://me:secret@127.0.0.1:1/x "$rev" -q
    refused 2 "holds a password" "$WW" lineage find "postgresql://127.0.0.1:1/x?password=s" "$rev" -q
    ! grep -q secret stderr || false
    refused 4 "cannot reach" "$WW" lineage find postgresql://127.0.0.1:1/x "$rev" -q
}
