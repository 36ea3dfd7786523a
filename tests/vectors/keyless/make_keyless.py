#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A Sigstore instance of our own, and signatures that it witnessed, good and bad.

Writes trusted_root.json and one bundle per line of the table at the end (needs the package
cryptography and the program openssl). All are over the worked example of
docs/formats/signature.md. Keys are made anew and thrown away.
"""
import base64
import datetime
import hashlib
import json
import os
import subprocess
import tempfile

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

HERE = os.path.dirname(os.path.abspath(__file__))
UTC = datetime.timezone.utc
NOW = datetime.datetime.now(UTC).replace(microsecond=0)
T = int(NOW.timestamp())
HOLDER, PROVIDER = "signer@example.com", "https://accounts.example.com"
STATEMENT = (
    '{"subject":[{"name":"demo","digest":{"sha256":"c21623981395433ec219ba1f0b8fda9bbc5d7ae2cc0ece'
    'f162667566c8d9e5cb"}}],"_type":"https://in-toto.io/Statement/v1","predicateType":"https://model'
    '_signing/signature/v1.0","predicate":{"resources":[{"name":"config.json","digest":"44136fa355b'
    '3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","algorithm":"sha256"},{"name":"model.saf'
    'etensors","digest":"d7e1133cd341e7d3cc71b7b59792f107c0584c2c03448dd4eb743acb5fd85371","algorith'
    'm":"sha256"}],"serialization":{"method":"files","hash_type":"sha256","allow_symlinks":false,"ign'
    'ore_paths":[".git",".gitattributes",".github",".gitignore","attestations","model.sig"]}}}'
).encode()
TYPE = "application/vnd.in-toto+json"
SCT_OID = x509.ObjectIdentifier("1.3.6.1.4.1.11129.2.4.2")
FULCIO = "1.3.6.1.4.1.57264.1."


def b64(data):
    return base64.b64encode(data).decode()


def sha(data):
    return hashlib.sha256(data).digest()


def spki(key):
    return key.public_key().public_bytes(serialization.Encoding.DER,
                                         serialization.PublicFormat.SubjectPublicKeyInfo)


def der(cert):
    return cert.public_bytes(serialization.Encoding.DER)


def tlv(tag, data):
    size = bytes([len(data)]) if len(data) < 128 else \
        bytes([0x82]) + len(data).to_bytes(2, "big")
    return bytes([tag]) + size + data


def name(text):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)] if text else [])


def builder(subject, key, issuer, start, end):
    return (x509.CertificateBuilder().subject_name(name(subject)).issuer_name(name(issuer))
            .public_key(key.public_key()).serial_number(x509.random_serial_number())
            .not_valid_before(start).not_valid_after(end))


def usage(ca):
    return x509.KeyUsage(not ca, False, False, False, False, ca, ca, False, False)


def authority(subject, key, issuer, issuer_key, years=(2020, 2060)):
    return (builder(subject, key, issuer, *(datetime.datetime(y, 1, 1, tzinfo=UTC)
                                            for y in years))
            .add_extension(x509.BasicConstraints(True, None), True)
            .add_extension(usage(True), True).sign(issuer_key, hashes.SHA256()))


class Instance:
    def __init__(self):
        p256 = ec.SECP256R1()
        self.root, self.inter = ec.generate_private_key(p256), ec.generate_private_key(p256)
        self.root_cert = authority("root", self.root, "root", self.root)
        self.inter_cert = authority("issuer", self.inter, "root", self.root)
        self.ct, self.other = ec.generate_private_key(p256), ec.generate_private_key(p256)
        self.log1, self.log2 = ec.generate_private_key(p256), ed25519.Ed25519PrivateKey.generate()
        self.id1 = sha(spki(self.log1))
        self.origin2 = "log2.example.com"
        self.id2 = sha(self.origin2.encode() + b"\n\x01" + spki(self.log2)[-32:])
        self.tsa_root, self.tsa = ec.generate_private_key(p256), ec.generate_private_key(p256)
        self.tsa_root_cert = authority("stamps", self.tsa_root, "stamps", self.tsa_root)
        self.tsa_cert = self.stamper(self.tsa, (2020, 2060))
        self.old_tsa = ec.generate_private_key(p256)
        self.old_tsa_cert = self.stamper(self.old_tsa, (2020, 2021))

    def stamper(self, key, years):
        return (builder("stamper", key, "stamps", *(datetime.datetime(y, 1, 1, tzinfo=UTC)
                                                    for y in years))
                .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING]), True)
                .add_extension(usage(False), True).sign(self.tsa_root, hashes.SHA256()))

    def trusted_root(self):
        def log(key, log_id, start="2020-01-01T00:00:00Z"):
            return {"baseUrl": "https://log.example.com", "hashAlgorithm": "SHA2_256",
                    "publicKey": {"rawBytes": b64(spki(key)), "keyDetails":
                                  "PKIX_ED25519" if key is self.log2 else
                                  "PKIX_ECDSA_P256_SHA_256",
                                  "validFor": {"start": start}},
                    "logId": {"keyId": b64(log_id)}}

        def ca(*certs, end="2059-12-31T23:59:59.999Z"):
            return {"subject": {"organization": "example.com", "commonName": "test"},
                    "uri": "https://example.com", "certChain": {"certificates": [{"rawBytes": b64(der(c))} for c in certs]},
                    "validFor": {"start": "2020-01-01T00:00:00Z", "end": end}}
        return {"mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
                "tlogs": [log(self.log1, self.id1), log(self.log2, self.id2)],
                "certificateAuthorities": [
                    ca(self.root_cert, end="2020-06-01T00:00:00Z"),
                    ca(self.inter_cert, self.root_cert)],
                "ctlogs": [log(self.ct, sha(spki(self.ct)))],
                "timestampAuthorities": [ca(self.tsa_cert, self.tsa_root_cert)]}

    def sct(self, tbs, key=None):
        body = (b"\0\0" + (1000 * T).to_bytes(8, "big") + b"\0\1" + sha(spki(self.inter)) +
                len(tbs).to_bytes(3, "big") + tbs + b"\0\0")
        sig = (key or self.ct).sign(body, ec.ECDSA(hashes.SHA256()))
        one = (b"\0" + sha(spki(self.ct)) + (1000 * T).to_bytes(8, "big") + b"\0\0\4\3" +
               len(sig).to_bytes(2, "big") + sig)
        entry = len(one).to_bytes(2, "big") + one
        return tlv(4, len(entry).to_bytes(2, "big") + entry)

    def leaf(self, key, san=x509.RFC822Name(HOLDER), old=PROVIDER, new=PROVIDER, sct="good",
             start=-60, end=540, eku=ExtendedKeyUsageOID.CODE_SIGNING, subject=""):
        b = (builder(subject, key, "issuer", NOW + datetime.timedelta(seconds=start),
                     NOW + datetime.timedelta(seconds=end))
             .add_extension(usage(False), True)
             .add_extension(x509.ExtendedKeyUsage([eku]), False)
             .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(
                 self.inter.public_key()), False)
             .add_extension(x509.SubjectAlternativeName(san if isinstance(san, list) else [san]),
                            True))
        if old:
            b = b.add_extension(x509.UnrecognizedExtension(
                x509.ObjectIdentifier(FULCIO + "1"), old.encode()), False)
        if new:
            b = b.add_extension(x509.UnrecognizedExtension(
                x509.ObjectIdentifier(FULCIO + "8"), tlv(12, new.encode())), False)
        if sct:
            tbs = b.sign(self.inter, hashes.SHA256()).tbs_certificate_bytes
            b = b.add_extension(x509.UnrecognizedExtension(
                SCT_OID, self.sct(tbs, self.other if sct == "bad" else None)), False)
        return b.sign(self.inter, hashes.SHA256())

    def stamp(self, message, key=None, cert=None, digest="sha256"):
        """By openssl ts, as an authority would answer it."""
        with tempfile.TemporaryDirectory() as work:
            def path(n):
                return os.path.join(work, n)
            for n, data in (("message", message),
                            ("key", (key or self.tsa).private_bytes(
                                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                                serialization.NoEncryption())),
                            ("cert", (cert or self.tsa_cert).public_bytes(
                                serialization.Encoding.PEM)),
                            ("serial", b"01\n"),
                            ("config", b"""[tsa]
default_tsa = stamp
[stamp]
serial = serial
signer_cert = cert
signer_key = key
signer_digest = sha256
default_policy = 1.2.3.4
digests = sha256, sha512, sha1
ess_cert_id_alg = sha256
""")):
                with open(path(n), "wb") as f:
                    f.write(data)
            subprocess.run(["openssl", "ts", "-query", "-data", "message", "-" + digest, "-cert",
                            "-out", "query"], cwd=work, check=True, capture_output=True)
            subprocess.run(["openssl", "ts", "-reply", "-queryfile", "query", "-config", "config",
                            "-out", "reply"], cwd=work, check=True, capture_output=True)
            with open(path("reply"), "rb") as f:
                return f.read()


def tree(leaves):
    if len(leaves) == 1:
        return leaves[0]
    k = 1 << (len(leaves) - 1).bit_length() - 1
    return sha(b"\1" + tree(leaves[:k]) + tree(leaves[k:]))


def path_to(i, leaves):
    if len(leaves) == 1:
        return []
    k = 1 << (len(leaves) - 1).bit_length() - 1
    if i < k:
        return path_to(i, leaves[:k]) + [tree(leaves[k:])]
    return path_to(i - k, leaves[k:]) + [tree(leaves[:k])]


def entry(inst, kind, version, spec, at=T, log=1, promise=True, witness=False):
    body = json.dumps({"apiVersion": version, "kind": kind, "spec": spec},
                      separators=(",", ":"), sort_keys=True).encode()
    index, size = 8, 13
    leaves = [sha(b"\0" + (body if i == index else bytes([i]))) for i in range(size)]
    root = tree(leaves)
    origin, log_id = ("log1.example.com - 42", inst.id1) if log == 1 else (inst.origin2, inst.id2)
    note = f"{origin}\n{size}\n{b64(root)}\n"

    def line(who, key, key_id):
        sig = key.sign(note.encode(), ec.ECDSA(hashes.SHA256())) if key is inst.log1 else \
            key.sign(note.encode())
        return f"\u2014 {who} {b64(key_id[:4] + sig)}\n"
    lines = line("log1.example.com", inst.log1, inst.id1) if log == 1 else \
        line(inst.origin2, inst.log2, inst.id2)
    if witness:
        lines = line("witness.example.com", ed25519.Ed25519PrivateKey.generate(), b"abcd") + lines
    outer = 100 + index if promise else index
    out = {"logIndex": str(outer), "logId": {"keyId": b64(log_id)},
           "kindVersion": {"kind": kind, "version": version},
           "inclusionProof": {"logIndex": str(index), "rootHash": b64(root),
                              "treeSize": str(size),
                              "hashes": [b64(h) for h in path_to(index, leaves)],
                              "checkpoint": {"envelope": note + "\n" + lines}},
           "canonicalizedBody": b64(body)}
    if promise:
        said = json.dumps({"body": b64(body), "integratedTime": at, "logID": log_id.hex(),
                           "logIndex": outer}, separators=(",", ":"), sort_keys=True)
        out["integratedTime"] = str(at)
        out["inclusionPromise"] = {"signedEntryTimestamp": b64(
            inst.log1.sign(said.encode(), ec.ECDSA(hashes.SHA256())))}
    return out


def pem(cert):
    return b64(cert.public_bytes(serialization.Encoding.PEM))


def dsse1(sig, cert):
    return {"envelopeHash": {"algorithm": "sha256", "value": "00" * 32},
            "payloadHash": {"algorithm": "sha256", "value": sha(STATEMENT).hex()},
            "signatures": [{"signature": b64(sig), "verifier": pem(cert)}]}


def intoto2(sig, cert):
    return {"content": {"envelope": {"payloadType": TYPE, "signatures": [
        {"publicKey": pem(cert), "sig": b64(b64(sig).encode())}]},
        "hash": {"algorithm": "sha256", "value": "00" * 32},
        "payloadHash": {"algorithm": "sha256", "value": sha(STATEMENT).hex()}}}


def dsse2(sig, cert):
    return {"dsseV002": {"payloadHash": {"algorithm": "SHA2_256", "digest": b64(sha(STATEMENT))},
                         "signatures": [{"content": b64(sig), "verifier": {
                             "keyDetails": "PKIX_ECDSA_P256_SHA_256",
                             "x509Certificate": {"rawBytes": b64(der(cert))}}}]}}


def bundle(inst, kind="v1", leaf=None, stamps=(), chain=False, entries=None, **options):
    key = ec.generate_private_key(ec.SECP256R1())
    cert = inst.leaf(key, **(leaf or {}))
    pae = f"DSSEv1 {len(TYPE)} {TYPE} {len(STATEMENT)} ".encode() + STATEMENT
    sig = key.sign(pae, ec.ECDSA(hashes.SHA256()))
    kinds = {"v1": ("dsse", "0.0.1", dsse1), "intoto": ("intoto", "0.0.2", intoto2),
             "v2": ("dsse", "0.0.2", dsse2), "unknown": ("hashedrekord", "0.0.1", dsse1)}
    name_, version, spec = kinds[kind]
    if kind == "v2":
        options = {"log": 2, "promise": False, **options}
    one = entry(inst, name_, version, spec(sig, cert), **options)
    if kind == "disagree":
        one["kindVersion"]["kind"] = "intoto"
    material = {"tlogEntries": [one] * (1 if entries is None else entries)}
    if chain:
        material = {"x509CertificateChain": {"certificates": [
            {"rawBytes": b64(der(c))} for c in (cert, inst.inter_cert)]}, "tlogEntries": []}
    else:
        material["certificate"] = {"rawBytes": b64(der(cert))}
    material["timestampVerificationData"] = {"rfc3161Timestamps": [
        {"signedTimestamp": b64(s(sig) if callable(s) else s)} for s in stamps]}
    return {"mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
            "verificationMaterial": material,
            "dsseEnvelope": {"payload": b64(STATEMENT), "payloadType": TYPE,
                             "signatures": [{"sig": b64(sig)}]}}


def main():
    inst = Instance()
    other_name = x509.OtherName(x509.ObjectIdentifier(FULCIO + "7"), tlv(12, HOLDER.encode()))
    two = [x509.RFC822Name(HOLDER), x509.RFC822Name("second@example.com")]
    stamp = inst.stamp
    table = {
        "good-v1": {},
        "good-intoto": {"kind": "intoto"},
        "good-v2": {"kind": "v2", "stamps": [stamp]},
        "good-witness": {"witness": True},
        "good-stamped": {"stamps": [stamp, lambda m: stamp(m, digest="sha512")]},
        "good-uri": {"leaf": {"san": x509.UniformResourceIdentifier(
            "https://github.com/example/model/.github/workflows/sign.yml@refs/heads/main")}},
        "good-user-name": {"leaf": {"san": other_name}},
        "good-old-provider": {"leaf": {"new": None}},
        "good-new-provider": {"leaf": {"old": None}},
        "bad-no-entry": {"entries": 0},
        "bad-33-entries": {"entries": 33},
        "bad-kind": {"kind": "unknown"},
        "bad-v2-no-stamp": {"kind": "v2"},
        "bad-no-promise": {"promise": False},
        "bad-late": {"at": T + 3600},
        "bad-early": {"at": T - 3600},
        "bad-no-sct": {"leaf": {"sct": None}},
        "bad-sct": {"leaf": {"sct": "bad"}},
        "bad-two-holders": {"leaf": {"san": two}},
        "bad-dns-holder": {"leaf": {"san": x509.DNSName("example.com")}},
        "bad-two-providers": {"leaf": {"old": "https://other.example.com"}},
        "bad-no-provider": {"leaf": {"old": None, "new": None}},
        "bad-purpose": {"leaf": {"eku": ExtendedKeyUsageOID.SERVER_AUTH}},
        "bad-stamp-other": {"stamps": [lambda m: stamp(b"other")]},
        "bad-stamp-sha1": {"stamps": [lambda m: stamp(m, digest="sha1")]},
        "bad-stamp-expired": {"stamps": [lambda m: stamp(m, inst.old_tsa, inst.old_tsa_cert)]},
        "bad-stamp-junk": {"stamps": [b"0\0"]},
        "bad-leaf-expired-when-stamped": {"leaf": {"start": -7200, "end": -3600},
                                          "at": T - 5000, "stamps": [stamp]},
        "chain-stamped": {"chain": True, "leaf": {"subject": "signer"}, "stamps": [stamp]},
        "chain-unstamped": {"chain": True, "leaf": {"start": -7200, "end": -3600}},
        "chain-stamp-other": {"chain": True, "stamps": [lambda m: stamp(b"other")]},
    }
    for file, options in table.items():
        with open(os.path.join(HERE, file + ".json"), "w", encoding="ascii") as f:
            json.dump(bundle(inst, **options), f, separators=(",", ":"))
            f.write("\n")
    with open(os.path.join(HERE, "trusted_root.json"), "w", encoding="ascii") as f:
        json.dump(inst.trusted_root(), f, indent=1)
        f.write("\n")
    with open(os.path.join(HERE, "root.pem"), "wb") as f:
        f.write(inst.root_cert.public_bytes(serialization.Encoding.PEM))


if __name__ == "__main__":
    main()
