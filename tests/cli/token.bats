#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Keys that stay elsewhere: in a token (SoftHSM), or behind a program.
bats_require_minimum_version 1.5.0
load helper

MODULE=/usr/lib/softhsm/libsofthsm2.so

make_pair() { # NAME CURVE
    openssl genpkey -algorithm EC -pkeyopt "ec_paramgen_curve:$2" -out "$1.pem" 2>/dev/null
    openssl pkey -in "$1.pem" -pubout -out "$1.pub"
}

make_token() {
    [ -e "$MODULE" ] || skip "SoftHSM is not installed"
    export SOFTHSM2_CONF=$PWD/softhsm.conf
    mkdir tokens
    printf 'directories.tokendir = %s/tokens\nobjectstore.backend = file\nlog.level = ERROR\n' \
        "$PWD" >softhsm.conf
    softhsm2-util --init-token --free --label release --pin 1234 --so-pin 5678 >/dev/null
    local id=10
    for curve in P-256 P-384; do
        make_pair "$curve" "$curve"
        softhsm2-util --import "$curve.pem" --token release --label "$curve" --id $id \
            --pin 1234 >/dev/null
        id=$((id + 1))
    done
    echo 1234 >pin
}

# uri ATTRIBUTES [QUERY]
uri() {
    echo "pkcs11:$1?module-path=$MODULE${2:+&$2}"
}

@test "a key in a token signs with sign, lock, key and certificate method" {
    make_token
    make_model
    for curve in P-256 P-384; do
        "$WW" sign model --replace -q \
            --key "$(uri "token=release;object=$curve" "pin-source=file:$PWD/pin")"
        "$VERIFY" model --key "$curve.pub"
    done
    "$WW" sign model --replace -q --tensors --key "$(uri "id=%10;type=private")" \
        --passphrase-file pin
    "$VERIFY" model --key P-256.pub
    "$WW" key new lock --out lock --no-passphrase -q
    "$WW" lock model locked --key lock -q --sign "$(uri object=P-384)" --sign-passphrase-file pin
    "$VERIFY" locked --key P-384.pub

    vectors=$BATS_TEST_DIRNAME/../vectors/sign
    softhsm2-util --import "$vectors/leaf.key" --token release --label leaf --id 77 \
        --pin 1234 >/dev/null
    "$WW" sign model --replace -q --key "$(uri object=leaf "pin-source=$PWD/pin")" \
        --certificate "$vectors/leaf.pem" --certificate-chain "$vectors/chain.pem"
    "$VERIFY" model --certificate-chain "$vectors/root.pem"
}

@test "what is wrong with a token or its URI is said, and nothing is written" {
    make_token
    make_model
    try() { # STATUS PATTERN URI
        refused "$1" "$2" "$WW" sign model --passphrase-file pin --key "$3"
        nothing_written model/model.sig
    }
    try 5 "no EC private key" "$(uri object=other)"
    try 5 "0 of the . tokens fit" "$(uri "token=other;object=P-256")"
    try 5 "0 of the . tokens fit" "$(uri "serial=0;object=P-256")"
    try 2 "pin-value" "$(uri object=P-256 pin-value=1234)"
    try 2 "'colour', which is not known" "$(uri "colour=red;object=P-256")"
    try 2 "'object' twice" "$(uri "object=P-256;object=P-384")"
    try 2 "names no key" "$(uri token=release)"
    try 2 "hexadecimal" "$(uri "id=%1")"
    try 2 "of type 'public'" "$(uri "object=P-256;type=public")"
    try 2 "absolute .*module-path" "pkcs11:object=P-256"
    try 2 "absolute .*module-path" "pkcs11:object=P-256?module-path=libsofthsm2.so"
    try 2 "absolute path" "$(uri object=P-256 'pin-source=|cat')"
    try 4 "cannot be loaded" "pkcs11:object=P-256?module-path=$PWD/none.so"
    try 5 "no PKCS #11 library" "pkcs11:object=P-256?module-path=/lib/x86_64-linux-gnu/libm.so.6"
    echo 9999 >pin
    try 5 "PIN is wrong" "$(uri object=P-256)"
    refused 5 "wants a PIN" "$WW" sign model --key "$(uri object=P-256)" </dev/null
    chmod 644 pin
    refused 5 "open to others" "$WW" sign model --key "$(uri object=P-256 "pin-source=$PWD/pin")"
    nothing_written model/model.sig
}

@test "a token that is removed while it signs leaves nothing behind" {
    # a module made for it: what it signs last is "token removed"
    local module=$WW_BIN/tests/unit/crypto/libfake_token.so
    [ -e "$module" ] || skip "the module is not built"
    make_model
    make_pair mine P-256
    "$WW" key new lock --out lock --no-passphrase -q
    echo 1234 >pin
    local gone="pkcs11:token=fake;object=removed?module-path=$module"
    refused 5 "the token was removed" "$WW" sign model --tensors --passphrase-file pin --key "$gone"
    nothing_written model/model.sig
    [ ! -e model/attestations/tensors.sigstore.json ]
    refused 5 "the token was removed" "$WW" lock model locked --key lock --sign "$gone" \
        --sign-passphrase-file pin
    nothing_written locked
    printf 'merge_method: linear\nmodels:\n- {model: model, parameters: {weight: 1}}\n' >r.yml
    refused 5 "the token was removed" "$WW" merge r.yml merged --sign "$gone" \
        --sign-passphrase-file pin
    nothing_written merged
    refused 5 "the token was removed" "$WW" rmm pack p.pkg m=model --exact --sign "$gone" \
        --sign-passphrase-file pin
    nothing_written p.pkg
    echo 9999 >pin
    refused 5 "PIN is wrong" "$WW" lock model locked --key lock --sign "$gone" \
        --sign-passphrase-file pin
    nothing_written locked
}

program() { # NAME, its body on standard input
    { echo '#!/bin/sh'; cat; } >"$1"
    chmod +x "$1"
}

@test "a program signs the digest, without a shell" {
    make_model
    for curve in P-256 P-384 P-521; do
        make_pair "$curve" "$curve"
        program "sign it;$curve" <<EOF
echo "\$1" >hash
exec openssl pkeyutl -sign -inkey "$PWD/$curve.pem"
EOF
        "$WW" sign model --replace -q --key "$curve.pub" --signer "./sign it;$curve"
        "$VERIFY" model --key "$curve.pub"
    done
    [ "$(cat hash)" = sha512 ]
    "$WW" key new lock --out lock --no-passphrase -q
    "$WW" lock model locked --key lock -q --sign "program:./sign it;P-256?public-key=P-256.pub"
    "$VERIFY" locked --key P-256.pub
}

@test "a program that fails, hangs, lies or talks too much leaves no signature" {
    make_model
    make_pair mine P-256
    make_pair other P-256
    try() { # PATTERN [OPTIONS...]
        local pattern=$1
        shift
        refused 5 "$pattern" "$WW" sign model --key mine.pub --signer ./signer "$@"
        nothing_written model/model.sig
    }
    program signer <<<'exit 3'
    try "ended with status 3"
    program signer <<<'kill -9 $$'
    try "killed by signal 9"
    program signer <<<'cat >/dev/null'
    try "printed nothing"
    program signer <<<'cat'
    try "does not verify under the public key"
    program signer <<<'head -c 300 /dev/zero'
    try "more than the 256 bytes"
    program signer <<<'exec sleep 30'
    try "did not answer within 1 seconds" --signer-timeout 1
    program signer <<<'exec >&-; exec sleep 30'
    try "did not end within 1 seconds" --signer-timeout 1
    program signer <<<"exec openssl pkeyutl -sign -inkey '$PWD/other.pem'"
    try "does not verify under the public key"
    chmod -x signer
    try "cannot be started"
    refused 2 "must be a path" "$WW" sign model --key mine.pub --signer signer
    refused 4 "cannot be started" "$WW" sign model --key mine.pub --signer ./none
    refused 2 "signer-timeout" "$WW" sign model --key mine.pem --signer-timeout 5
    nothing_written model/model.sig
}
