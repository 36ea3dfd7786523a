#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
bats_require_minimum_version 1.5.0
load helper

signed_model() {
    make_model
    make_keys
    "$WW" sign model --key me.key --tensors -q
}

@test "sign, then verify with both programs" {
    signed_model
    "$WW" verify model --key me.pub
    "$VERIFY" model --key me.pub
    "$VERIFY" verify model --key me.pub --json >answer
    jq -e '.schema == "weightward.verify/1" and .files_checked >= 5 and
           (.not_checked | type) == "array"' answer
}

@test "every way to change a signed folder is refused by name" {
    signed_model
    refused_verify() {
        refused 1 "$1" "$VERIFY" model --key me.pub
    }
    flip model/model.safetensors 300000
    refused_verify "model.safetensors"
    rm -r model
    make_model
    "$WW" sign model --key me.key -q
    echo more >model/extra.txt
    refused_verify "extra.txt"
    "$VERIFY" model --key me.pub --ignore-unsigned-files
    "$VERIFY" model --key me.pub --ignore-paths extra.txt
    rm model/extra.txt
    mv model/config.json kept
    refused_verify "config.json"
    mv kept model/config.json
    mv model/tokenizer.json kept
    ln -s ../kept model/tokenizer.json
    refused_verify "tokenizer.json"
    rm model/tokenizer.json
    mv kept model/tokenizer.json
    "$VERIFY" model --key me.pub
    rm model/model.sig
    refused_verify "no signature 'model.sig'"
}

@test "a signature by another key names both" {
    signed_model
    "$WW" key new signing --out other --no-passphrase -q
    refused 1 "key" "$VERIFY" model --key other.pub --json
    [ "$(jq -r .error.code stdout)" = WW_E_UNTRUSTED ]
}

@test "a keyless signature is verified by holder, provider and pinned root together" {
    cases=$BATS_TEST_DIRNAME/../vectors/oms/cases-keyless
    cp -r "$cases/historical-v1.1.0-sigstore/model" model
    keyless() {
        "$VERIFY" model --signature "$cases/historical-v1.1.0-sigstore/bundle.sig" "$@"
    }
    holder="--identity stefanb@us.ibm.com"
    provider="--identity-provider https://sigstore.verify.ibm.com/oauth2"
    root="--trusted-root $cases/trusted_root.json"
    # shellcheck disable=SC2086
    {
        keyless $holder $provider $root | grep "signed by stefanb@us.ibm.com"
        refused 1 "expected 'else@us.ibm.com'" keyless --identity else@us.ibm.com $provider $root
        refused 2 "go together" keyless $holder $provider
        refused 2 "go together" keyless $provider $root
        refused 2 "whom do you trust" keyless $root
        refused 2 "the log says when" keyless $holder $provider $root --at 1760062340
        refused 3 "trusted root" keyless $holder $provider --trusted-root model/signme-1
    }
    echo x >>model/signme-1
    # shellcheck disable=SC2086
    refused 1 "signme-1" keyless $holder $provider $root
}

@test "one tensor alone" {
    signed_model
    "$VERIFY" model --key me.pub --tensor model.norm.weight --json >answer
    jq -e '.tensors_checked == 1' answer
    refused 3 "nosuch" "$VERIFY" model --key me.pub --tensor nosuch ||
        refused 1 "nosuch" "$VERIFY" model --key me.pub --tensor nosuch
    flip model/model.safetensors 1200000
    tensor=$(python3 - <<'PY'
import json, struct
f = open("model/model.safetensors", "rb")
n = struct.unpack("<Q", f.read(8))[0]
h = json.loads(f.read(n))
print([k for k, v in h.items() if k != "__metadata__" and
       v["data_offsets"][0] <= 1200000 - 8 - n < v["data_offsets"][1]][0])
PY
)
    refused 1 "$tensor" "$VERIFY" model --key me.pub --tensor "$tensor"
}

@test "all curves, and sealed keys through a file and a descriptor" {
    make_model
    echo "long enough" >pass
    for curve in P-256 P-384 P-521; do
        "$WW" key new signing --out "k$curve" --curve "$curve" --passphrase-file pass -q
        "$WW" sign model --key "k$curve.key" --passphrase-file pass --replace -q
        "$VERIFY" model --key "k$curve.pub"
    done
    "$WW" sign model --key kP-256.key --passphrase-fd 9 --replace -q 9<pass
    refused 5 "passphrase" "$WW" sign model --key kP-256.key --replace </dev/null
    openssl pkey -in kP-256.key -passin file:pass -noout
}

@test "key files readable by others are refused" {
    make_model
    make_keys
    chmod 644 me.key
    refused 5 "chmod 600" "$WW" sign model --key me.key
    chmod 600 me.key
    chmod 640 lock
    refused 5 "chmod 600" "$WW" lock model out --key lock
}

@test "existing keys and signatures are never overwritten" {
    make_model
    make_keys
    before=$(sha256sum me.key lock)
    refused 4 "exists" "$WW" key new signing --out me --no-passphrase
    refused 4 "exists" "$WW" key new lock --out lock --no-passphrase
    [ "$before" = "$(sha256sum me.key lock)" ]
    "$WW" sign model --key me.key -q
    refused 4 "exists" "$WW" sign model --key me.key
}

@test "no secret in the process list or the output" {
    make_model
    echo a-very-special-passphrase >pass
    "$WW" key new lock --out sealed --passphrase-file pass 2>stderr
    strace -f -e trace=execve,write -s 4096 "$WW" lock model out --key sealed \
        --passphrase-file pass 2>trace >/dev/null || skip "strace is not installed"
    run ! grep -q a-very-special-passphrase trace
    run ! grep -rq a-very-special-passphrase out stderr
}

@test "weightward-verify holds no secret-key code, no network, no BLAS" {
    nm -u "$VERIFY" >undefined 2>/dev/null || nm -D "$VERIFY" >undefined
    run ! grep -E 'PrivateKey|EVP_DigestSign|EVP_PKEY_sign|EVP_PKEY_keygen|crypto_pwhash|crypto_secretbox|crypto_aead|crypto_box|sodium_malloc|socket|connect|getaddrinfo|cblas|openblas|dgemm|dsyevd|dgesdd|dgetrf' undefined
    readelf -d "$VERIFY" >needed
    grep -q 'NEEDED.*libcrypto' needed
    run ! grep -iE 'NEEDED.*(blas|lapack|gfortran)' needed
    run ! grep -aq libopenblas "$VERIFY"
    grep -aq libopenblas "$WW"
    nm "$VERIFY" >defined
    run ! grep -E 'ww_(signkey|lockkey|recipient|lock_folder|unlock_folder|secret_open|sealed)' defined
}
