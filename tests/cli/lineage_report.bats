#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
bats_require_minimum_version 1.5.0
load helper

family=$BATS_TEST_DIRNAME/../vectors/amber

# blend NAME A B: a merge of the two experts, as the bits and as the folder NAME.
blend() {
    cat >recipe.yml <<YML
merge_method: task_arithmetic
base_model: $family/base
models:
  - {model: $family/expert-rev, parameters: {weight: $2}}
  - {model: $family/expert-caesar, parameters: {weight: $3}}
dtype: float32
out_dtype: bfloat16
YML
    "$WW" merge recipe.yml "$1" -q
}
# report SUSPECT OUT OPTIONS: on the two experts.
report() {
    "$WW" lineage report "$1" --base "$family/base" --candidate "$family/expert-rev" \
        --candidate "$family/expert-caesar" --out "$2" -q "${@:3}"
}
scale() {
    jq -r --arg about "$2" '[.findings[] | select(.about == $about) | .scale] | join(" ")' \
        "$1/report.json"
}

# An authority of our own that signs times (RFC 3161), and a trusted root that names it.
make_authority() {
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 \
        -keyout tsa.key -out tsa.pem -subj "/CN=stamps" \
        -addext "extendedKeyUsage=critical,timeStamping" \
        -addext "keyUsage=critical,digitalSignature" -addext "basicConstraints=CA:FALSE" \
        2>openssl.err
    cat >tsa.cnf <<CNF
[tsa]
serial = $PWD/serial
default_policy = 1.2.3.4
digests = sha256
signer_digest = sha256
accuracy = secs:1
CNF
    echo 01 >serial
    jq -n --arg cert "$(openssl x509 -in tsa.pem -outform DER | base64 -w0)" '
        {mediaType: "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
         tlogs: [], certificateAuthorities: [], ctlogs: [],
         timestampAuthorities: [{subject: {organization: "test", commonName: "stamps"},
             uri: "https://example.com",
             certChain: {certificates: [{rawBytes: $cert}]},
             validFor: {start: "2020-01-01T00:00:00Z"}}]}' >trusted_root.json
}
# stamp FOLDER: the authority's time into the folder's signature.
stamp() {
    jq -r '.dsseEnvelope.signatures[0].sig' "$1/model.sig" | base64 -d >sig.bin
    openssl ts -query -data sig.bin -sha256 -cert -out query.tsq 2>>openssl.err
    openssl ts -reply -config tsa.cnf -section tsa -queryfile query.tsq -signer tsa.pem \
        -inkey tsa.key -out reply.tsr 2>>openssl.err
    jq --arg stamp "$(base64 -w0 <reply.tsr)" \
        '.verificationMaterial.timestampVerificationData =
             {rfc3161Timestamps: [{signedTimestamp: $stamp}]}' "$1/model.sig" >stamped
    mv stamped "$1/model.sig"
}
# signed NAME: a copy of a folder, signed and stamped.
signed() {
    cp -r "$1" "$2"
    chmod -R u+w "$2"
    "$WW" sign "$2" --key me.key -q
    stamp "$2"
}

@test "a report has its sentences, pictures and numbers, and one signature over both files" {
    once blend suspect 0.6 0.25
    make_keys
    report suspect out --replay --sign me.key
    [ "$(ls out | tr '\n' ' ')" = "model.sig report.html report.json " ]
    "$WW" verify out --key me.pub -q
    jq -e '.schema == "weightward.lineage/1" and .word == "report" and .status == "exploratory" and
           .decompose.sources[0].recipe == 0.6 and .replay.supports and
           (.per_tensor | length) == (.decompose.tensors) and
           (.per_tensor | all(.unexplained < 0.01)) and (.models | length) == 4 and
           (.models | all(.sha256_tree | length == 64)) and (.commands | length) == 2' \
        out/report.json
    [ "$(scale out root)" = "supports" ]
    [ "$(scale out source)" = "supports supports" ]
    [ "$(scale out recipe)" = "supports" ]
    [ "$(scale out completeness)" = "supports" ]
    [ "$(scale out priority)" = "cannot tell cannot tell" ]
    [ "$(grep -c '<svg' out/report.html)" = 4 ]
    # The maps show what the JSON says: every cell of each source, and the residual of each tensor.
    jq -r '.decompose as $d | range(2) as $k | $d.per_class[] | select(.shares != []) |
           (if .layer == null then "outside of layers" else "layer \(.layer)" end) + ", " + .class + ": " +
           "\(.shares[$k]) \(.elements)"' out/report.json |
        awk '{ n = NF; printf "%s", $1; for (i = 2; i < n - 1; i++) printf " %s", $i; printf " %.4f, %s weights\n", $(n - 1), $n }' >cells
    [ "$(wc -l <cells)" -ge 16 ]
    while read -r line; do grep -qF "<title>$line moved far enough" out/report.html; done <cells
    jq -r '.per_tensor[] | select(.unexplained >= 0) | "\(.name) \(.unexplained)"' out/report.json |
        awk '{ printf "%s: %.4f unexplained\n", $1, $2 }' >residuals
    [ -s residuals ]
    while read -r line; do grep -qF "<title>$line" out/report.html; done <residuals
    # Sentences keep to the scale; the replay's table has a row for each recipe.
    jq -e 'all(.findings[]; .scale == "supports" or .scale == "does not support" or .scale == "cannot tell")' out/report.json
    [ "$(grep -cE '<li><span class="(yes|no|untold)">(The evidence (supports|does not support) that|It cannot be told whether) ' out/report.html)" = "$(jq '.findings | length' out/report.json)" ]
    [ "$(grep -cE '<tr><td>(with|without) ' out/report.html)" = "$(jq '.replay.match_controls | length' out/report.json)" ]
    grep -q "exploratory" out/report.html
    grep -q "no rate of false claims is known" out/report.html
    flip out/report.html 900
    refused 1 "report.html" "$WW" verify out --key me.pub
}

@test "a report says no more and no less of completeness than the answer does" {
    cat >recipe.yml <<EOF
merge_method: ties
base_model: $family/base
models:
  - model: $family/expert-rev
    parameters: {weight: 0.6, density: 0.5}
  - model: $family/expert-caesar
    parameters: {weight: 0.4, density: 0.5}
parameters: {normalize: false}
dtype: float32
out_dtype: bfloat16
EOF
    "$WW" merge recipe.yml selected -q
    report selected out
    jq -e '.decompose.unexplained > 0.01 and .decompose.method.best == "ties"' out/report.json
    [ "$(scale out completeness)" = "supports" ]
    # A near twin of a source leaves an answer in part, and less than is asked for.
    once blend suspect 0.6 0.25
    "$WW_BIN/perturb_model" "$family/expert-rev" twin 0.003 5
    "$WW" lineage report suspect --base "$family/base" --candidate twin \
        --candidate "$family/expert-caesar" --out twins -q
    jq -e '.decompose.incomplete and .decompose.unexplained < 0.01' twins/report.json
    [ "$(scale twins completeness)" = "cannot tell" ]
    # Of a table that points elsewhere nothing is known.
    cat >turned.yml <<EOF
merge_method: passthrough
models:
  - model: suspect
    parameters: {scale: [{filter: embed_tokens, value: -1}, {value: 1}]}
dtype: bfloat16
EOF
    "$WW" merge turned.yml turned -q
    "$WW_BIN/perturb_model" turned noisy 0.002 7
    report noisy tables
    jq -e '.decompose.strangers == 1 and (.decompose.incomplete | not) and .decompose.unexplained < 0.01' \
        tables/report.json
    [ "$(scale tables completeness)" = "cannot tell" ]
}

@test "its commands give its numbers again" {
    once blend suspect 0.6 0.25
    report suspect "out" --replay
    eval "$(jq -r '.commands[0]' out/report.json | sed "s|^weightward|$WW|") --json -q" >again
    jq -e --slurpfile r out/report.json \
        'del(.schema, .word, .base, .seconds) == ($r[0].decompose | del(.seconds))' again
    eval "$(jq -r '.commands[1]' out/report.json | sed "s|^weightward|$WW|") --json -q" |
        jq -e '.supports'
}

@test "bits of rounded weights cannot be compared, and the report says so" {
    once blend suspect 0.6 0.25
    chmod -R u+w suspect
    python3 - suspect/model.safetensors <<'EOP'
import json, struct, sys
raw = open(sys.argv[1], "rb").read()
n = struct.unpack("<Q", raw[:8])[0]
head, body, out = json.loads(raw[8:8 + n]), raw[8 + n:], bytearray()
for t in sorted((t for k, t in head.items() if k != "__metadata__"), key=lambda t: t["data_offsets"]):
    part = body[slice(*t["data_offsets"])]
    if len(t["shape"]) == 2:  # BF16 to float, and the upper byte of a half is an E5M2
        wide = bytearray(2 * len(part))
        wide[2::4], wide[3::4] = part[::2], part[1::2]
        values = struct.unpack(f"<{len(part) // 2}f", wide)
        part, t["dtype"] = struct.pack(f"<{len(values)}e", *values)[1::2], "F8_E5M2"
    t["data_offsets"] = [len(out), len(out) + len(part)]
    out += part
text = json.dumps(head).encode()
open(sys.argv[1], "wb").write(struct.pack("<Q", len(text)) + text + out)
EOP
    report suspect out --replay
    [ "$(scale out recipe)" = "cannot tell" ]
    jq -e '.findings[] | select(.about == "recipe") | .basis | test("no bits can be compared")' out/report.json
}

@test "names are text in the page and words in the commands" {
    blend "a<b>&'c" 1.0 0.0
    report "a<b>&'c" out
    grep -q "a&lt;b&gt;&amp;'c" out/report.html
    ! grep -q "a<b>" out/report.html || false
    ! grep -q "<script" out/report.html || false
    eval "$(jq -r '.commands[0]' out/report.json | sed "s|^weightward|$WW|") --json -q" |
        jq -e '.sources[0].recipe == 1'
}

@test "under a plan it is confirmatory, with the rank among the controls" {
    once blend suspect 1.0 0.0
    make_keys
    models=(--base "$family/base" --candidate "$family/expert-rev" --control "$family/expert-caesar")
    "$WW" lineage plan plan "${models[@]}" --sign me.key -q
    "$WW" lineage report suspect "${models[@]}" --plan plan --key me.pub --out out -q
    jq -e --arg sum "$(sha256sum <plan | cut -d' ' -f1)" \
        '.status == "confirmatory" and .plan_sha256 == $sum and
         (.statistics[0] | .statistic > .controls[0]) and
         (.findings[] | select(.about == "source") | .basis | test("p 0.5 by rank among 1 controls"))' \
        out/report.json
    [ "$(grep -c '<svg' out/report.html)" = 4 ]
    refused 1 "differs|not the model|candidates" "$WW" lineage report suspect "${models[@]}" \
        --candidate "$family/expert-caesar" --plan plan --key me.pub --out other
    nothing_written other
}

@test "the older commitment is told by a third party's time alone" {
    make_keys
    make_authority
    signed "$family/expert-rev" source
    sleep 1.1
    blend merged 1.0 0.0
    signed merged suspect
    ask() {
        "$WW" lineage report suspect --base "$family/base" --candidate source -q "$@"
    }
    ask --trust me.pub --trusted-root trusted_root.json --out older
    [ "$(scale older priority)" = "supports" ]
    jq -e '.models[0].holds and .models[2].holds and (.models[2].witnessed < .models[0].witnessed)' \
        older/report.json
    # without a root no time counts, without a key no signature
    ask --trust me.pub --out timeless
    [ "$(scale timeless priority)" = "cannot tell" ]
    ask --trusted-root trusted_root.json --out untrusted
    jq -e '.models[2] | .signed and (.holds | not) and (.why | test("not one that is trusted"))' \
        untrusted/report.json
    # the other way round
    "$WW" lineage report source --base "$family/base" --candidate suspect --trust me.pub \
        --trusted-root trusted_root.json --out younger -q
    [ "$(scale younger priority)" = "does not support" ]
    # a time of another signature is none
    jq -s '.[0] * {verificationMaterial: {timestampVerificationData:
        .[1].verificationMaterial.timestampVerificationData}}' suspect/model.sig \
        source/model.sig >moved
    mv moved suspect/model.sig
    ask --trust me.pub --trusted-root trusted_root.json --out moved
    [ "$(scale moved priority)" = "cannot tell" ]
    jq -e '.models[0].why | test("imprint")' moved/report.json
    # a file that changed takes the commitment away
    echo >>source/config.json
    ask --trust me.pub --trusted-root trusted_root.json --out broken
    jq -e '.models[2] | (.holds | not) and (.why | test("config.json"))' broken/report.json
    [ "$(scale broken priority)" = "cannot tell" ]
}

@test "what is left out or in the way is refused" {
    once blend suspect 1.0 0.0
    mkdir there
    refused 2 "--out FOLDER" "$WW" lineage report suspect --base "$family/base" \
        --candidate "$family/expert-rev"
    refused 4 "there" report suspect there
    refused 4 "nowhere" report suspect nowhere/out
    refused 2 "inside the model" report suspect suspect/out
    refused 2 "go together" report suspect out --identity me
    refused 2 "needs --key" report suspect out --plan plan
    refused 4 "missing" report suspect out --trust missing
    refused 2 "path of the suspect, 's\\\\xff', is not UTF-8" report $'s\xff' out
    refused 2 "holds control characters" report $'s\n' out
    refused 2 "no recipe can name it" "$WW" lineage decompose suspect --base $'b\n' --candidate "$family/expert-rev"
    refused 2 "path of the control \(--control\), " report suspect out --control $'c\xff'
    nothing_written out
}
