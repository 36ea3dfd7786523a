#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# What people will hand to a comparison that is none.
bats_require_minimum_version 1.5.0
load helper

family=$BATS_TEST_DIRNAME/../vectors/amber

decompose() {
    "$WW" lineage decompose "$1" --base "$family/base" --candidate "$family/expert-rev" \
        --candidate "$family/expert-caesar" -q "${@:2}"
}

# rewrite FOLDER PYTHON: a copy of expert-rev whose header h and data d (bytearray, BF16)
# the text may change.
rewrite() {
    cp -r "$family/expert-rev" "$1"
    chmod -R u+w "$1"
    python3 - "$1/model.safetensors" "$2" <<'PY'
import json, random, struct, sys
path, change = sys.argv[1:]
raw = open(path, "rb").read()
n = struct.unpack("<Q", raw[:8])[0]
h, d = json.loads(raw[8:8 + n]), bytearray(raw[8 + n:])
random.seed(1)
exec(change)
head = json.dumps(h).encode()
head += b" " * (-len(head) % 8)
open(path, "wb").write(struct.pack("<Q", len(head)) + head + d)
PY
}

@test "a stranger of the same shapes is refused as no relative" {
    rewrite stranger 'd[:] = b"".join(struct.pack("<H", random.getrandbits(16) & 0x80ff | 0x3c00) for _ in range(len(d) // 2))'
    refused 1 "no relative of .*cosine" decompose stranger
    refused 1 "no relative" "$WW" lineage report stranger --base "$family/base" \
        --candidate "$family/expert-rev" --out out
    nothing_written out
}

@test "the base as suspect, a candidate as suspect, equal candidates: each says what it is" {
    decompose "$family/base" --json >answer
    jq -e '(.sources | all(.included | not)) and .method.best == "none" and
           (.warnings | any(test("does not differ from the base")))' answer
    decompose "$family/expert-caesar" --json >answer
    jq -e '.sources[1].recipe == 1 and .sources[1].included and (.sources[0].included | not)' answer
    "$WW" lineage report "$family/expert-rev" --base "$family/base" --candidate "$family/base" \
        --candidate "$family/expert-rev" --candidate "$family/expert-rev" --out out -q
    jq -e '[.findings[] | select(.about == "source")] |
           (.[0].scale == "does not support" and (.[0].basis | test("does not differ from the base"))) and
           .[1].scale == "supports" and
           (.[2].scale == "does not support" and (.[2].basis | test("cannot be told from")))' \
        out/report.json
}

@test "tensors that are missing or of another shape are left out, and that is said" {
    rewrite missing 'name = [k for k in h if k.endswith("up_proj.weight")][0]; x = h.pop(name)["data_offsets"]; del d[x[0]:x[1]]; [v.__setitem__("data_offsets", [o - (x[1] - x[0]) * (o >= x[1]) for o in v["data_offsets"]]) for k, v in h.items() if k != "__metadata__"]'
    decompose missing --json >answer
    jq -e '.sources[0].recipe == 1 and
           (.warnings | any(test("lacks tensor .*up_proj.weight. of the base")))' answer
    rewrite shaped 'name = [k for k in h if k.endswith("up_proj.weight")][0]; h[name]["shape"].reverse()'
    decompose shaped --json >answer
    jq -e '.sources[0].recipe == 1 and
           (.warnings | any(test("1 tensor of the suspect is not compared: .*up_proj.weight"))) and
           .incomplete' answer
    rewrite turned 'name = [k for k in h if k.endswith("up_proj.weight")][0]; x, y = h[name]["data_offsets"]; v = memoryview(bytes(d[x:y])).cast("H"); d[x:y] = b"".join(struct.pack("<H", i) for i in reversed(v))'
    decompose turned --json >answer
    jq -e '.sources[0].recipe == 1 and .strangers == 1 and .incomplete' answer
}

@test "matrices that start out the same in every model do not make strangers relatives" {
    python3 - <<'PY'
import json, math, os, random, struct
def save(name, seed, moved=()):
    r = random.Random(seed)
    w = [r.gauss(0, 0.02) for _ in range(256 * 64)]
    for s, size in moved:
        m = random.Random(s)
        w = [v + size * m.gauss(0, 0.001) for v in w]
    tensors = {"layers.0.mixer.A_log": ([64, 16], [math.log(1 + i % 16) for i in range(1024)]),
               "layers.0.mixer.in_proj.weight": ([256, 64], w),
               "layers.0.mix": ([1, 1, 64], [i / 64 for i in range(64)])}
    head, data = {}, b""
    for k, (shape, v) in tensors.items():
        raw = struct.pack(f"<{len(v)}f", *v)
        head[k] = {"dtype": "F32", "shape": shape, "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    os.makedirs(name)
    text = json.dumps(head).encode()
    with open(f"{name}/model.safetensors", "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + data)
save("base", 1)
save("a", 1, [(2, 1)])
save("b", 1, [(3, 1)])
save("merge", 1, [(2, 0.6), (3, 0.3)])
save("stranger", 4, [(5, 0.6), (6, 0.3)])
PY
    "$WW" lineage decompose merge --base base --candidate a --candidate b --json -q >answer
    jq -e '.sources | all(.included)' answer
    refused 1 "no relative of .*cosine" "$WW" lineage decompose stranger --base base --candidate a \
        --candidate b -q
}

@test "a value that is no number is refused by the tensor's name" {
    rewrite nan 'd[1000:1002] = b"\xc0\x7f"'
    refused 3 "tensor '.*' of 'nan' holds NaN or infinity; repair the weights first" decompose nan
    rewrite infinite 'd[1000:1002] = b"\x80\x7f"'
    refused 3 "tensor '.*' of 'infinite' holds NaN or infinity; repair the weights first" decompose infinite
}

# gguf FILE KEYS TENSORS TAIL: Python expressions of bytes, with counts as given.
gguf() {
    python3 - "$@" <<'PY'
import struct, sys
path, head, keys, tensors, tail = sys.argv[1:]
u32, u64 = (lambda v: struct.pack("<I", v)), (lambda v: struct.pack("<Q", v))
text = lambda s: u64(len(s)) + s
key = lambda name, v: text(name) + u32(4) + u32(v)
def tensor(name=b"output.weight", dims=(8, 4), kind=0, offset=0):
    return text(name) + u32(len(dims)) + b"".join(map(u64, dims)) + u32(kind) + u64(offset)
open(path, "wb").write(eval(head) + eval(keys) + eval(tensors) + eval(tail))
PY
}

@test "a GGUF file that lies is refused, whatever it lies about" {
    one='b"GGUF" + u32(3) + u64(1) + u64(0)'
    while IFS='|' read -r words head keys tensors tail; do
        gguf x.gguf "$head" "$keys" "$tensors" "$tail"
        refused 6 "$words" decompose x.gguf
    done <<TABLE
does not begin|b"FUGG" + u32(3) + u64(1) + u64(0)|b""|tensor()|bytes(200)
version 1|b"GGUF" + u32(1) + u64(1) + u64(0)|b""|tensor()|bytes(200)
more than the file holds|b"GGUF" + u32(3) + u64(2**63) + u64(0)|b""|tensor()|bytes(200)
more than the file holds|b"GGUF" + u32(3) + u64(1) + u64(2**61)|b""|tensor()|bytes(200)
name of a key|b"GGUF" + u32(3) + u64(1) + u64(1)|u64(2**64 - 1) + b"x"|tensor()|bytes(200)
there twice|b"GGUF" + u32(3) + u64(1) + u64(2)|key(b"a.b", 1) + key(b"a.b", 2)|tensor()|bytes(200)
general.alignment|b"GGUF" + u32(3) + u64(1) + u64(1)|key(b"general.alignment", 3)|tensor()|bytes(200)
type 99|$one|b""|tensor(kind=99)|bytes(200)
zero, too large|$one|b""|tensor(dims=(0, 4))|bytes(200)
too large|$one|b""|tensor(dims=(2**40, 2**40))|bytes(200)
5 dimensions|$one|b""|tensor(dims=(1, 1, 1, 1, 1))|bytes(200)
expected 0|$one|b""|tensor(offset=2**62)|bytes(200)
cut off|$one|b""|tensor(dims=(64, 1))|bytes(220)
whole blocks|$one|b""|tensor(dims=(7, 4), kind=8)|bytes(200)
there twice|b"GGUF" + u32(3) + u64(2) + u64(0)|b""|tensor() + tensor(offset=128)|bytes(400)
TABLE
}

@test "a candidate of another architecture is refused by both names" {
    mkdir other
    safetensors other/model.safetensors '{"w":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}' 16
    refused 1 "other" "$WW" lineage decompose "$family/expert-rev" --base "$family/base" \
        --candidate other
}

@test "answers that cannot be compared with a head are refused by name and line" {
    local head=$BATS_TEST_DIRNAME/../vectors/amber/base
    refused 4 "lineage: cannot open 'none.jsonl'" "$WW" lineage logits none.jsonl --candidate "$head" -q
    : >empty.jsonl
    refused 3 "'empty.jsonl': no answer" "$WW" lineage logits empty.jsonl -q
    printf '{"logits": [1, 2]}\n{"logits": [1, 2, 3]}\n' >a.jsonl
    refused 3 "'a.jsonl': line 2: 3 tokens, those before have 2" "$WW" lineage logits a.jsonl -q
    printf '{"logprobs": [-1, -9999]}\n' >a.jsonl
    refused 3 "masked token" "$WW" lineage logits a.jsonl -q
    printf '{"ids": [1, 2], "logprobs": [-1, -2]}\n{"ids": [3, 4], "logprobs": [-1, -2]}\n' >a.jsonl
    refused 6 "0 tokens are common to all answers" "$WW" lineage logits a.jsonl -q
    printf '{"logits": [%s]}\n' "$(seq -s, 100)" >a.jsonl
    refused 6 "fits any answer over fewer than 130" "$WW" lineage logits a.jsonl --candidate "$head" -q
    refused 2 "need a --candidate" "$WW" lineage logits a.jsonl --base "$head" -q
    truncate -s 66M a.jsonl
    refused 3 "'a.jsonl': a line is longer than 64 MiB" "$WW" lineage logits a.jsonl -q
    safetensors a.safetensors '{"x":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}' 16
    refused 3 "expected a float matrix 'logits'" "$WW" lineage logits a.safetensors -q
    safetensors a.safetensors '{"logits":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]},
        "logprobs":{"dtype":"F32","shape":[1,2],"data_offsets":[8,16]}}' 16
    refused 3 "both 'logits' and 'logprobs' are there" "$WW" lineage logits a.safetensors -q
    safetensors a.safetensors '{"logits":{"dtype":"F32","shape":[0,2],"data_offsets":[0,0]}}' 0
    refused 3 "'a.safetensors': no answer" "$WW" lineage logits a.safetensors -q
    safetensors a.safetensors '{"logits":{"dtype":"F32","shape":[3,1],"data_offsets":[0,12]}}' 12
    refused 3 "an answer over 1 tokens, expected two or more" "$WW" lineage logits a.safetensors -q
    cp -r "$head" headless
    safetensors headless/model.safetensors '{"x":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}' 16
    printf '{"logits": [%s]}\n' "$(seq -s, 100)" >a.jsonl
    refused 3 "'headless' has no head that can be read" "$WW" lineage logits a.jsonl --candidate headless -q
}
