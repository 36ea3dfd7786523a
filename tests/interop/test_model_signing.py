#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Signatures against the OMS reference client, model_signing 1.1.1, in both directions.

    test_model_signing.py BUILD

BUILD holds the program weightward; model_signing is the package that this Python imports,
used through its own command line, inside this process since it takes a second to start.
Every signature that one side makes the other must accept, and what is changed afterwards
both must refuse.
"""
import base64
import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile

from click.testing import CliRunner
from cryptography.hazmat.primitives import serialization
from model_signing._cli import main as model_signing
from sigstore.models import Bundle, TrustedRoot
from sigstore.verify import Verifier, policy

HERE = os.path.dirname(os.path.abspath(__file__))
CERTS = os.path.join(HERE, "..", "vectors", "sign")
failures = []
n_checks = 0


def check(what, holds, detail=""):
    global n_checks
    n_checks += 1
    if not holds:
        failures.append(what)
        print(f"FAIL {what}\n     {detail.strip()}")


class Ours:
    name = "weightward"

    def __init__(self, build):
        self.program = os.path.join(build, "weightward")

    def run(self, *args):
        done = subprocess.run([self.program, *args], capture_output=True, text=True,
                              stdin=subprocess.DEVNULL)
        self.said = done.stdout + done.stderr
        return done.returncode

    def sign(self, model, sig, key, *more):
        return self.run("sign", model, "--signature", sig, "--key", key,
                        "--replace", *more)

    def sign_certificate(self, model, sig, key, leaf, chain):
        return self.sign(model, sig, key, "--certificate", leaf, "--certificate-chain", chain)

    def verify(self, model, sig, pub):
        return self.run("verify", model, "--signature", sig, "--key", pub)

    def verify_certificate(self, model, sig, root):
        return self.run("verify", model, "--signature", sig,
                        "--certificate-chain", root)

    def new_key(self, base, curve, *more):
        code = self.run("key", "new", "signing", "--out", base, "--curve", curve,
                        *(more or ("--no-passphrase",)))
        check(f"new {curve} key", code == 0, self.said)


class Theirs:
    name = "model_signing"

    def run(self, *args):
        done = CliRunner().invoke(model_signing, args)
        self.said = done.output
        return done.exit_code

    def sign(self, model, sig, key, *more):
        return self.run("sign", "key", model, "--signature", sig, "--private_key", key,
                        *more)

    def sign_certificate(self, model, sig, key, leaf, chain):
        return self.run("sign", "certificate", model, "--signature", sig,
                        "--private_key", key, "--signing_certificate", leaf,
                        "--certificate_chain", chain)

    def verify(self, model, sig, pub):
        return self.run("verify", "key", model, "--signature", sig, "--public_key", pub)

    def verify_certificate(self, model, sig, root):
        return self.run("verify", "certificate", model, "--signature", sig,
                        "--certificate_chain", root)


def safetensors(values):
    header = json.dumps({"w": {"dtype": "F32", "shape": [len(values)],
                               "data_offsets": [0, 4 * len(values)]}}).encode()
    header += b" " * (-len(header) % 8)
    return struct.pack("<Q", len(header)) + header + struct.pack(f"<{len(values)}f", *values)


def make_model(path):
    files = {"config.json": b"{}", "model.safetensors": safetensors([1.0, -2.5, 3.25]),
             "a/b.txt": b"inner", "a.txt": b"outer", "empty": b"",
             "tokenizer/vocab \u00e9\U0001f600 \"q\".txt": b"a\nb\n", ".gitignore": b"x",
             ".git/HEAD": b"ref"}
    for name, data in files.items():
        full = os.path.join(path, name)
        os.makedirs(os.path.dirname(full), exist_ok=True)
        with open(full, "wb") as f:
            f.write(data)


def change(path, offset):
    with open(path, "r+b") as f:
        f.seek(offset)
        byte = f.read(1)
        f.seek(offset)
        f.write(bytes([byte[0] ^ 1]))


def bundle_of(sig):
    with open(sig, encoding="utf-8") as f:
        bundle = json.load(f)
    return bundle, json.loads(base64.b64decode(bundle["dsseEnvelope"]["payload"]))


def tamper_model(model):
    """Yield a name after each change; the model is whole again afterwards."""
    def path(name):
        return os.path.join(model, name)
    change(path("model.safetensors"), -1 + os.path.getsize(path("model.safetensors")))
    yield "one bit of the weights"
    change(path("model.safetensors"), -1 + os.path.getsize(path("model.safetensors")))
    os.rename(path("a.txt"), path("../kept"))
    yield "a file missing"
    os.rename(path("../kept"), path("a.txt"))
    os.rename(path("a.txt"), path("b.txt"))
    yield "a file renamed"
    os.rename(path("b.txt"), path("a.txt"))
    with open(path("tokenizer/planted.py"), "w", encoding="ascii") as f:
        f.write("1")
    yield "a file added"
    os.remove(path("tokenizer/planted.py"))
    with open(path("empty"), "w", encoding="ascii") as f:
        f.write("x")
    yield "an empty file filled"
    with open(path("empty"), "w", encoding="ascii"):
        pass


def tamper_bundle(sig):
    """Yield a name for each changed copy of the bundle, which lies in sig meanwhile."""
    with open(sig, "rb") as f:
        whole = f.read()
    bundle, statement = bundle_of(sig)
    for name in ("payload", "signature", "payload type", "media type"):
        changed = json.loads(whole)
        envelope = changed["dsseEnvelope"]
        if name == "payload":
            other = dict(statement, predicate=dict(statement["predicate"], resources=[]))
            envelope["payload"] = base64.b64encode(json.dumps(other).encode()).decode()
        elif name == "signature":
            raw = bytearray(base64.b64decode(envelope["signatures"][0]["sig"]))
            raw[-1] ^= 1
            envelope["signatures"][0]["sig"] = base64.b64encode(raw).decode()
        elif name == "payload type":
            envelope["payloadType"] = "application/json"
        else:
            changed["mediaType"] = "application/json"
        with open(sig, "w", encoding="utf-8") as f:
            json.dump(changed, f)
        yield name
    with open(sig, "wb") as f:
        f.write(whole)


def check_refusals(label, sides, model, sig, verify):
    for name in tamper_model(model):
        for side in sides:
            check(f"{label}: {side.name} refuses {name}", verify(side, model, sig) == 1,
                  side.said)
    for name in tamper_bundle(sig):
        for side in sides:
            code = verify(side, model, sig)
            check(f"{label}: {side.name} refuses another {name}", code in (1, 3), side.said)
    for side in sides:
        check(f"{label}: {side.name} accepts it again", verify(side, model, sig) == 0,
              side.said)


def test_keys(ours, theirs, work, model):
    ours.new_key(os.path.join(work, "stranger"), "P-256")
    for curve in ("P-256", "P-384", "P-521"):
        base = os.path.join(work, curve)
        ours.new_key(base, curve)
        bundles = {}
        for signer in (ours, theirs):
            label = f"{curve} signed by {signer.name}"
            sig = os.path.join(work, f"{curve}-{signer.name}.sig")
            check(label, signer.sign(model, sig, base + ".key") == 0, signer.said)
            bundles[signer.name] = bundle_of(sig)

            def verify(side, model, sig):
                return side.verify(model, sig, base + ".pub")
            for side in (ours, theirs):
                check(f"{label}: {side.name} accepts", verify(side, model, sig) == 0,
                      side.said)
                code = side.verify(model, sig, os.path.join(work, "stranger.pub"))
                check(f"{label}: {side.name} refuses another key", code == 1, side.said)
            check_refusals(label, (ours, theirs), model, sig, verify)
        compare(curve, bundles)


def compare(curve, bundles):
    """The same hint, the same files and digests; only the order may differ."""
    (ours, ours_said), (theirs, theirs_said) = bundles["weightward"], bundles["model_signing"]
    check(f"{curve}: same hint", ours["verificationMaterial"]["publicKey"]["hint"] ==
          theirs["verificationMaterial"]["publicKey"]["hint"])
    check(f"{curve}: same members", sorted(ours) == sorted(theirs) and
          sorted(ours_said) == sorted(theirs_said))

    def files(statement):
        return sorted((r["name"], r["digest"], r["algorithm"])
                      for r in statement["predicate"]["resources"])
    check(f"{curve}: same files", files(ours_said) == files(theirs_said),
          f"{files(ours_said)}\n{files(theirs_said)}")
    check(f"{curve}: same subject",
          ours_said["subject"][0]["name"] == theirs_said["subject"][0]["name"])
    names = [r["name"] for r in ours_said["predicate"]["resources"]]
    check(f"{curve}: order of the specification", names == sorted(names))


def test_same_root(ours, theirs, work):
    """Where both orders agree, the root digest is the same."""
    model = os.path.join(work, "flat")
    os.mkdir(model)
    for name in ("config.json", "model.safetensors", "z.txt"):
        with open(os.path.join(model, name), "w", encoding="ascii") as f:
            f.write(name)
    roots = []
    for side in (ours, theirs):
        sig = os.path.join(work, f"flat-{side.name}.sig")
        check(f"flat folder signed by {side.name}",
              side.sign(model, sig, os.path.join(work, "P-256.key")) == 0, side.said)
        roots.append(bundle_of(sig)[1]["subject"])
    check("same subject and root digest", roots[0] == roots[1], str(roots))


def test_git(ours, theirs, work):
    """Who signs git's files too is held to them: nothing may be added beside."""
    model, sig = os.path.join(work, "repository"), os.path.join(work, "repository.sig")
    key = os.path.join(work, "P-256")
    os.makedirs(os.path.join(model, ".git"))
    for name in ("config.json", ".git/config"):
        with open(os.path.join(model, name), "w", encoding="ascii") as f:
            f.write(name)
    check("git's files signed",
          theirs.sign(model, sig, key + ".key", "--no-ignore-git-paths") == 0, theirs.said)
    check("git's files accepted", ours.verify(model, sig, key + ".pub") == 0, ours.said)
    with open(os.path.join(model, ".git", "more"), "w", encoding="ascii") as f:
        f.write("x")
    check("a file beside git's is refused", ours.verify(model, sig, key + ".pub") == 1, ours.said)


def test_inside(ours, theirs, work, model):
    """The signature in the folder, with the tensor tree and evidence added later."""
    sig = os.path.join(model, "model.sig")
    key = os.path.join(work, "P-256")
    check("signed inside with tensors",
          ours.run("sign", model, "--key", key + ".key", "--tensors") == 0,
          ours.said)
    with open(os.path.join(model, "attestations", "later.json"), "w", encoding="ascii") as f:
        f.write("{}")
    for side in (ours, theirs):
        check(f"{side.name} accepts it with evidence added later",
              side.verify(model, sig, key + ".pub") == 0, side.said)
    check("one tensor alone", ours.run("verify", model, "--key", key + ".pub",
                                       "--tensor", "w") == 0, ours.said)
    os.remove(sig)
    shutil.rmtree(os.path.join(model, "attestations"))


def test_sealed_key(ours, theirs, work, model):
    """A key that we sealed with scrypt opens elsewhere. Not by --password of model_signing
    1.1.1, which hands text to a function that wants bytes."""
    base = os.path.join(work, "sealed")
    secret = os.path.join(work, "secret")
    with open(os.open(secret, os.O_CREAT | os.O_WRONLY, 0o600), "w", encoding="ascii") as f:
        f.write("correct horse\n")
    ours.new_key(base, "P-256", "--passphrase-file", secret)
    with open(base + ".key", "rb") as f:
        key = serialization.load_pem_private_key(f.read(), b"correct horse")
    with open(base + ".plain", "wb") as f:
        f.write(key.private_bytes(serialization.Encoding.PEM,
                                  serialization.PrivateFormat.PKCS8,
                                  serialization.NoEncryption()))
    sig = os.path.join(work, "sealed.sig")
    check("signed with the opened key", theirs.sign(model, sig, base + ".plain") == 0,
          theirs.said)
    check("its public half verifies", ours.verify(model, sig, base + ".pub") == 0, ours.said)


def test_certificates(ours, theirs, work, model):
    key = os.path.join(work, "leaf.key")
    shutil.copy(os.path.join(CERTS, "leaf.key"), key)
    os.chmod(key, 0o600)
    leaf, chain, root = (os.path.join(CERTS, n) for n in ("leaf.pem", "chain.pem", "root.pem"))
    stranger = os.path.join(HERE, "..", "vectors", "oms", "cases", "certificate-simple",
                            "ca.pem")
    for signer in (ours, theirs):
        label = f"certificate, signed by {signer.name}"
        sig = os.path.join(work, f"certificate-{signer.name}.sig")
        check(label, signer.sign_certificate(model, sig, key, leaf, chain) == 0, signer.said)

        def verify(side, model, sig):
            return side.verify_certificate(model, sig, root)
        for side in (ours, theirs):
            check(f"{label}: {side.name} accepts", verify(side, model, sig) == 0, side.said)
            check(f"{label}: {side.name} refuses under another root",
                  side.verify_certificate(model, sig, stranger) == 1, side.said)
        check_refusals(label, (ours, theirs), model, sig, verify)


def make_token(work, keys):
    """A SoftHSM token with these PEM keys, {label: file}; the path of its library."""
    module = "/usr/lib/softhsm/libsofthsm2.so"
    tokens = os.path.join(work, "tokens")
    os.mkdir(tokens)
    config = os.path.join(work, "softhsm.conf")
    with open(config, "w", encoding="ascii") as f:
        f.write(f"directories.tokendir = {tokens}\nobjectstore.backend = file\n"
                "log.level = ERROR\n")
    os.environ["SOFTHSM2_CONF"] = config

    def util(*args):
        subprocess.run(["softhsm2-util", *args], check=True, capture_output=True)
    util("--init-token", "--free", "--label", "release", "--pin", "1234", "--so-pin", "5678")
    for number, (label, file) in enumerate(keys.items()):
        util("--import", file, "--token", "release", "--label", label, "--id", f"1{number}",
             "--pin", "1234")
    return module


def test_tokens(ours, theirs, work, model):
    """The same keys in a token, used by both, with the key and the certificate method."""
    leaf, chain, root = (os.path.join(CERTS, n) for n in ("leaf.pem", "chain.pem", "root.pem"))
    module = make_token(work, {"P-256": os.path.join(work, "P-256.key"),
                               "P-384": os.path.join(work, "P-384.key"),
                               "leaf": os.path.join(CERTS, "leaf.key")})
    pin = os.path.join(work, "pin")
    with open(os.open(pin, os.O_CREAT | os.O_WRONLY, 0o600), "w", encoding="ascii") as f:
        f.write("1234")

    def check_both(label, signer, sig, verify):
        for side in (ours, theirs):
            check(f"{label}, signed by {signer.name}: {side.name} accepts",
                  verify(side, model, sig) == 0, side.said)
    for label in ("P-256", "P-384"):
        uri = f"pkcs11:token=release;object={label}?module-path={module}"
        sig = os.path.join(work, f"token-{label}.sig")
        pub = os.path.join(work, label + ".pub")

        def verify(side, model, sig, pub=pub):
            return side.verify(model, sig, pub)
        check(f"token {label}", ours.sign(model, sig, uri, "--passphrase-file", pin) == 0,
              ours.said)
        check_both(f"token {label}", ours, sig, verify)
        check(f"token {label} by them",
              theirs.run("sign", "pkcs11-key", model, "--signature", sig, "--pkcs11_uri",
                         uri + "&pin-value=1234") == 0, theirs.said)
        check_both(f"token {label}", theirs, sig, verify)
    uri = f"pkcs11:token=release;object=leaf?module-path={module}"
    sig = os.path.join(work, "token-certificate.sig")

    def verify_root(side, model, sig):
        return side.verify_certificate(model, sig, root)
    check("token, certificate", ours.sign(model, sig, uri, "--passphrase-file", pin,
                                          "--certificate", leaf, "--certificate-chain",
                                          chain) == 0, ours.said)
    check_both("token, certificate", ours, sig, verify_root)
    # Not by them: 1.1.1 builds a bundle without tlogEntries, which its own reader refuses.


# Where sigstore decides otherwise than we do, and why.
SIGSTORE_ACCEPTS = {"bad-stamp-expired", "bad-stamp-other", "bad-stamp-sha1",  # the log's time is enough
                    "bad-two-holders"}                                         # any of them counts
SIGSTORE_REFUSES = {"good-intoto", "good-v2",          # kinds of entries that it does not read
                    "good-new-provider",               # it reads the older extension alone
                    "good-user-name", "good-uri"}      # the latter has another holder


def test_keyless(ours, work):
    """The keyless bundles of an instance of our own, verified by sigstore and by us."""
    folder = os.path.join(HERE, "..", "vectors", "keyless")
    root = os.path.join(folder, "trusted_root.json")
    holder, provider = "signer@example.com", "https://accounts.example.com"
    verifier = Verifier(trusted_root=TrustedRoot.from_file(root))
    who = policy.Identity(identity=holder, issuer=provider)
    model = os.path.join(work, "worked", "demo")
    os.makedirs(model)
    header = b'{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}  '
    weights = struct.pack("<Q", len(header)) + header + struct.pack("<f", 1.0)
    for name, data in (("config.json", b"{}"), ("model.safetensors", weights)):
        with open(os.path.join(model, name), "wb") as f:
            f.write(data)
    for file in sorted(os.listdir(folder)):
        name = file.removesuffix(".json")
        if not name.startswith(("good-", "bad-")):
            continue
        path, said = os.path.join(folder, file), ""
        try:
            with open(path, encoding="ascii") as f:
                verifier.verify_dsse(Bundle.from_json(f.read()), who)
            theirs = True
        except Exception as error:  # any refusal counts, and they have many
            theirs, said = False, str(error)
        code = ours.run("verify", model, "--signature", path, "--trusted-root", root,
                        "--identity", holder, "--identity-provider", provider)
        good = name.startswith("good-") and name != "good-uri"
        check(f"keyless {name}: our verdict", (code == 0) == good and code != 2, ours.said)
        expected = name in SIGSTORE_ACCEPTS or (good and name not in SIGSTORE_REFUSES)
        check(f"keyless {name}: sigstore's verdict", theirs == expected, said)


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    ours, theirs = Ours(sys.argv[1]), Theirs()
    with tempfile.TemporaryDirectory() as work:
        model = os.path.join(work, "demo")
        make_model(model)
        test_keys(ours, theirs, work, model)
        test_same_root(ours, theirs, work)
        test_git(ours, theirs, work)
        test_inside(ours, theirs, work, model)
        test_sealed_key(ours, theirs, work, model)
        test_certificates(ours, theirs, work, model)
        test_tokens(ours, theirs, work, model)
        test_keyless(ours, work)
    print(f"model_signing: {n_checks - len(failures)} of {n_checks} checks passed")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
