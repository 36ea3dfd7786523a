#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# verify --chain under a trust root and its revocations, and with certificates in it.
bats_require_minimum_version 1.5.0
load helper

# model (an origin of owner) -> locked by partner.
pair() {
    make_model
    for k in owner partner; do
        "$WW" key new signing --out "$k" --no-passphrase -q
    done
    "$WW" key new lock --out lock --no-passphrase -q
    "$WW" sign model --key owner.key --tensors --origin -q "$@"
    "$WW" lock model locked --key lock --sign partner.key -q
    make_root root.json 1 1 owner partner
    "$WW" policy sign root.json --key owner.key -q
}
# revoke KIND ID: root 2.
revoke() {
    rm -f root2.*
    make_root root2.json 2 1 owner partner "" \
        "[{\"kind\":\"$1\",\"id\":\"$2\",\"at\":\"2026-01-01T00:00:00Z\"}]"
    "$WW" policy sign root2.json --key owner.key -q
}
under() {
    "$WW" verify locked --chain --root root.signed.json "$@"
}

@test "a chain is verified by the keys of a trust root" {
    pair
    under --json | jq -e '[.chain[].action] == ["lock", "origin"]'
    "$WW_BIN/weightward-verify" locked --chain --root root.signed.json
    jq '.keys |= map_values(.may_sign = ["application/vnd.weightward.root+json"])' root.json |
        jq 'del(.policies) + {policies: []}' >root3.json
    "$WW" policy sign root3.json --key owner.key -q
    refused 1 "the trust root does not let sign models now" \
        "$WW" verify locked --chain --root root3.signed.json
    refused 2 "leave --key out" under --key owner.pub
    refused 2 "add --chain" "$WW" verify locked --key owner.pub --root root.signed.json
    refused 2 "add --root" "$WW" verify locked --chain --key owner.pub --state seen
}

@test "what a trust root revokes is refused at its link" {
    pair
    answer=$(under --json)
    of() { jq -r --argjson i "$1" ".chain[\$i].$2" <<<"$answer"; }
    while read -r kind id pattern; do
        revoke "$kind" "$id"
        refused 1 "$pattern" under --root root2.signed.json
    done <<END
key $("$WW" key show partner.pub --json | jq -r .id) link 'locked': the key that signed it is revoked
attestation $(of 1 evidence_sha256) link 'model': its statement is revoked
attestation $(of 0 evidence_sha256) link 'locked': its statement is revoked
model $(of 1 tensor_root) link 'model': this model is revoked
model $(of 0 tensor_root) link 'locked': this model is revoked
model $(of 1 root_sha256) link 'model': this folder is revoked
END
    "$WW" sign model --key partner.key --tensors --origin --replace -q
    rm -r locked
    "$WW" lock model locked --key lock --sign owner.key -q
    revoke key "$("$WW" key show partner.pub --json | jq -r .id)"
    refused 1 "link 'model': the key that signed it is revoked" under --root root2.signed.json
    # An older root, which knows of no revocation, is refused once a newer was seen.
    revoke model "$(printf '%064d' 7)"
    under --root root2.signed.json --state seen -q
    refused 1 "seen before" under --state seen
}

certificates() {
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 \
        -subj "/CN=test root" -keyout ca.key -out ca.pem 2>openssl.err \
        -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign
    openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out leaf.key 2>>openssl.err
    openssl req -new -key leaf.key -subj "/CN=the publisher" -out leaf.csr
    printf '%s\n' keyUsage=critical,digitalSignature extendedKeyUsage=codeSigning \
        basicConstraints=CA:FALSE subjectKeyIdentifier=hash authorityKeyIdentifier=keyid >ext
    openssl x509 -req -in leaf.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 20 \
        -extfile ext -out leaf.pem 2>>openssl.err
}

@test "links by certificate and by key stand in one chain, under a trust root as well" {
    pair
    certificates
    cert=(--certificate leaf.pem --certificate-chain ca.pem)
    "$WW" sign model --key leaf.key "${cert[@]}" --tensors --origin --replace -q
    rm -r locked
    "$WW" lock model locked --key lock --sign partner.key -q
    "$WW" verify locked --chain --key partner.pub --certificate-chain ca.pem --json |
        jq -e '.chain[1].action == "origin" and (.chain[1].signer | test("publisher"))'
    under --certificate-chain ca.pem
    refused 1 "link 'model': it is signed by a certificate, and no certificate" under
    refused 1 "signature 'model.sig': it is signed by key" \
        "$WW" verify locked --chain --certificate-chain ca.pem
    refused 1 "link 'model'" "$WW" verify locked --chain --key partner.pub \
        --certificate-chain ca.pem --at 1000000000
    refused 1 "link 'model'" "$WW" verify locked --chain --key partner.pub \
        --certificate-chain ca.pem --at 2001-09-09T01:46:40Z
    refused 2 "--at takes a time like 2026" "$WW" verify locked --chain --key partner.pub --at tomorrow
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 \
        -subj "/CN=other" -keyout other.key -out other.pem 2>>openssl.err
    refused 1 "link 'model'" under --certificate-chain other.pem
}
