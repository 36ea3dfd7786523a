#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The public conformance suite of OpenSSF Model Signing in its present form, case by case.

    test_oms_suite.py BUILD

37 round trips and 55 stored bundles, by the names and descriptions of the suite (conformance/
of the specification's repository, as proposed in September 2026). Models, keys, certificates
and changed bundles are made here, with openssl; the suite fetches its 19 bundles of older
releases, other clients and keyless signers from a registry, and they are taken from
tests/vectors/oms, where they lie. Bundles that a client must refuse are made by exchanging the
material of a good one, or by signing a changed statement with the right key, so that nothing but
what the case is about is wrong with them; each kind has a control.
Five round trips sign keyless, for which an identity is needed from the network: not offered.
"""
import base64
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
VECTORS = HERE.parent / "vectors/oms"
DAY = "{:04d}0101000000Z".format

# name: {path: content}; "-" before a path: left out by --ignore-paths when it is signed
MODELS = {
    "simple": {"signme-1": b"signme-1\n", "signme-2": b"signme-2", "-ignore-me": b""},
    "single-file": {"model.bin": b"\xef" * 256},
    "multi-file": {"config.json": b'{"model": "test", "version": "1.0"}',
                   "weights.bin": b"\xab" * 1024, "subdir/adapter.bin": b"\xcd" * 512},
    "binary-content": {"header.bin": bytes.fromhex("0001fffe000089504e47"),
                       "weights.bin": bytes(range(256)) * 4},
    "empty": {".gitignore": b".gitkeep\n"},
    "dotfiles": {".config": b"config data", ".env.example": b"env", "model.bin": b"model"},
    "empty-file": {"empty.bin": b"", "signme-1": b"signme-1"},
    "git-dir": {".gitattributes": b"", ".gitignore": b"", "model.bin": b"model data",
                ".git/HEAD": b"git object", ".github/ci.yml": b"workflow"},
    "hidden": {"model.bin": b"main", ".cache/weights.bin": b"cached",
               ".local/share/data.bin": b"local"},
    "nested-gitignore": {"model.bin": b"content\n", "subdir/.gitignore": b"nested\n"},
    "nested-ignore": {"-ignore-me": b"top\n", "signme-1": b"content\n",
                      "subdir/ignore-me": b"nested\n"},
    "unicode": {"weights.bin": b"weights", "模型.bin": b"model data"},
    "special": {"file (copy).bin": b"1", "normal.bin": b"3", "path with spaces/model.bin": b"2"},
    "deep": {"a/very/deep/directory/tree/weights.bin": b"deep weights"},
    "deep-git": {"a/very/deep/directory/tree/weights.bin": b"deep", "-.git/HEAD": b"object"},
    "multi-git": {"model.bin": b"main", "-.git/HEAD": b"root", "submodule/model.bin": b"sub",
                  "-submodule/.git/HEAD": b"git sub"},
    "multi-gitignore": {"model.bin": b"main", "-.gitignore": b"", "subdir/data.bin": b"sub",
                        "-subdir/.gitignore": b"nested"},
    "git-and-ignore": {"model.bin": b"model", "-.git/HEAD": b"object", "-.gitignore": b"",
                       "-.gitattributes": b"", "-ignored-file.tmp": b"out"},
    "assets": {"weights.bin": b"weights", "config.json": b'{"version": "1.0"}',
               "assets/vocab.txt": b"vocabulary", "assets/tokenizer.bin": b"\xaa" * 128},
}
GIT = (".git/", ".gitignore", ".gitattributes", ".github/")
# round trip: (method, model, key group, options)
TRIPS = {
    "certificate-multi-file": ("certificate", "multi-file", "chain", {}),
    "certificate-self-signed": ("certificate", "simple", "self-signed", {}),
    "certificate-simple": ("certificate", "simple", "chain", {}),
    "key-assets-subdir": ("key", "assets", "chain", {}),
    "key-binary-content": ("key", "binary-content", "chain", {}),
    "key-deeply-nested": ("key", "deep", "chain", {}),
    "key-deeply-nested-with-git": ("key", "deep-git", "chain", {}),
    "key-default-ignores": ("key", "git-dir", "chain", {}),
    "key-dotfile-included": ("key", "dotfiles", "chain", {}),
    "key-empty-file": ("key", "empty-file", "chain", {}),
    "key-empty-model-rejected": ("key", "empty", "chain", {"refused": True}),
    "key-files-in-hidden-dir": ("key", "hidden", "chain", {}),
    "key-git-and-ignore-combined": ("key", "git-and-ignore", "chain", {}),
    "key-ignore-paths": ("key", "simple", "chain", {}),
    "key-ignore-paths-exact-match": ("key", "nested-ignore", "chain", {}),
    "key-ignore-unsigned": ("key", "simple", "chain", {"extra": True}),
    "key-multi-file": ("key", "multi-file", "chain", {}),
    "key-multi-git-dirs": ("key", "multi-git", "chain", {}),
    "key-multi-gitignore": ("key", "multi-gitignore", "chain", {}),
    "key-nested-git-not-excluded": ("key", "nested-gitignore", "chain", {}),
    "key-p256": ("key", "simple", "P-256", {}),
    "key-p384": ("key", "simple", "P-384", {}),
    "key-p521": ("key", "simple", "P-521", {}),
    "key-sig-inside-model": ("key", "simple", "chain", {"inside": True}),
    "key-simple": ("key", "simple", "chain", {}),
    "key-simple-deterministic": ("key", "simple", "chain", {"twice": True}),
    "key-single-file": ("key", "single-file", "chain", {}),
    "key-special-chars-path": ("key", "special", "chain", {}),
    "key-symlink-cycle": ("key", "simple", "chain", {"link": ".", "refused": True}),
    "key-symlink-default-rejected": ("key", "simple", "chain",
                                     {"link": "signme-1", "refused": True}),
    "key-symlink-outside-root": ("key", "simple", "chain",
                                 {"link": "/nonexistent/target", "refused": True}),
    "key-unicode-filename": ("key", "unicode", "chain", {}),
}
KEYLESS_TRIPS = ["ignore-paths", "multi-file", "sig-inside-model", "simple", "single-file"]
# stored with the bundle of another release, client or signer
STORED = ["go-interop-certificate", "go-interop-key", "historical-v0.2.0-certificate"] + [
    f"historical-v{v}-{m}" for v in ("0.3.1", "1.0.0", "1.0.1", "1.1.0")
    for m in ("certificate", "elliptic-key", "sigstore")] + [
    f"sigstore-{n}_fail" for n in ("tampered-content", "verify-as-key", "wrong-identity",
                                   "wrong-issuer")]
CHAINS = {  # group: years of (root, intermediate, leaf), code signing
    "chain": ((2020, 2090), (2020, 2090), (2020, 2090), True),
    "no-code-signing": (None, None, (2020, 2090), False),
    "expired": (None, None, (2019, 2020), True),
    "not-yet-valid": (None, None, (2080, 2090), True),
    "expired-intermediate": (None, (2019, 2020), (2019, 2090), True),
    "not-yet-valid-intermediate": (None, (2080, 2090), (2020, 2090), True),
    "expired-intermediate-expired-leaf": (None, (2019, 2020), (2019, 2020), True),
    "expired-root": ((2019, 2020), (2019, 2090), (2019, 2090), True),
    "all-expired": ((2019, 2020), (2019, 2020), (2019, 2020), True),
    "wrong": ((2020, 2090), (2020, 2090), (2020, 2090), True),
}


def run(*args):
    return subprocess.run([str(a) for a in args], capture_output=True, text=True)


def openssl(*args):
    done = run("openssl", *args)
    assert done.returncode == 0, done.stderr


class Keys:
    """Key files of the groups; certificates above one another as the suite has them."""

    def __init__(self, folder):
        self.folder = folder
        for curve in ("P-256", "P-384", "P-521"):
            self.pair(curve, curve)
        for group, (root, middle, leaf, signs) in CHAINS.items():
            root_name = f"{group}-root" if root else "chain-root"
            middle_name = f"{group}-middle" if middle else "chain-middle"
            if root:
                self.certificate(root_name, root, None, "CA")
            if middle:
                self.certificate(middle_name, middle, root_name, "CA")
            self.certificate(group, leaf, middle_name, "sign" if signs else "other")
            shutil.copy(self.path(f"{root_name}.crt"), self.path(f"{group}.anchor"))
            shutil.copy(self.path(f"{middle_name}.crt"), self.path(f"{group}.above"))
        self.certificate("self-signed", (2020, 2090), None, "sign")
        for end in ("anchor", "above"):
            shutil.copy(self.path("self-signed.crt"), self.path(f"self-signed.{end}"))

    def path(self, name):
        return self.folder / name

    def pair(self, name, curve):
        openssl("genpkey", "-algorithm", "EC", "-pkeyopt", f"ec_paramgen_curve:{curve}", "-out",
                self.path(f"{name}.key"))
        os.chmod(self.path(f"{name}.key"), 0o600)
        openssl("pkey", "-in", self.path(f"{name}.key"), "-pubout", "-out",
                self.path(f"{name}.pub"))

    def certificate(self, name, years, above, kind):
        self.pair(name, "P-384")
        # A CA of openssl's, since "openssl req" of 3.0 cannot set both dates.
        config = self.path(f"{name}.cnf")
        extensions = {
            "CA": "basicConstraints=critical,CA:true\nkeyUsage=critical,keyCertSign,cRLSign\n",
            "sign": "basicConstraints=critical,CA:false\nkeyUsage=critical,digitalSignature\n"
                    "extendedKeyUsage=codeSigning\n",
            "other": "basicConstraints=critical,CA:false\nkeyUsage=critical,digitalSignature\n"
                     "extendedKeyUsage=clientAuth\n"}[kind]
        self.path(f"{name}.db").write_text("")
        config.write_text(
            "[ca]\ndefault_ca=d\n[d]\nnew_certs_dir={0}\ndatabase={0}/{1}.db\nrand_serial=yes\n"
            "default_md=sha384\npolicy=p\nunique_subject=no\n[p]\ncommonName=supplied\n"
            "[req]\ndistinguished_name=n\n[n]\n[x]\nsubjectKeyIdentifier=hash\n{2}".format(
                self.folder, name, extensions))
        openssl("req", "-new", "-config", config, "-key", self.path(f"{name}.key"), "-subj",
                f"/CN={name}", "-out", self.path(f"{name}.csr"))
        signer = above or name
        args = ["-selfsign"] if not above else ["-cert", self.path(f"{above}.crt")]
        openssl("ca", "-batch", "-notext", "-config", config, "-extensions", "x", "-startdate",
                DAY(years[0]), "-enddate", DAY(years[1]), "-keyfile", self.path(f"{signer}.key"),
                "-in", self.path(f"{name}.csr"), "-out", self.path(f"{name}.crt"), *args)


class Suite:
    def __init__(self, build, folder):
        self.program = Path(build).resolve() / "weightward"
        self.folder = folder
        (folder / "keys").mkdir()
        self.keys = Keys(folder / "keys")
        self.passed, self.failed, self.n = [], [], 0

    def model(self, name):
        self.n += 1
        root = self.folder / f"models-{self.n}" / name
        for path, content in MODELS[name].items():
            at = root / path.removeprefix("-")
            at.parent.mkdir(parents=True, exist_ok=True)
            at.write_bytes(content)
        return root

    def ignored(self, name):
        out = []
        for path in MODELS[name]:
            if path.startswith("-"):
                out += ["--ignore-paths", path[1:]]
        return out

    def sign(self, model, name, method, group, bundle):
        key = self.keys.path(f"{group}.key")
        more = []
        if method == "certificate":
            more = ["--certificate", self.keys.path(f"{group}.crt"), "--certificate-chain",
                    self.keys.path(f"{group}.above")]
        return run(self.program, "sign", model, "--key", key, "--signature", bundle, "-q",
                   *self.ignored(name), *more)

    def verify(self, model, name, method, group, bundle, *more):
        trust = {"key": ["--key", self.keys.path(f"{group}.pub")],
                 "certificate": ["--certificate-chain", self.keys.path(f"{group}.anchor")],
                 "sigstore": ["--identity", "test@example.com", "--identity-provider",
                              "https://accounts.example.com", "--trusted-root",
                              VECTORS / "cases-keyless/trusted_root.json"]}[method]
        return run(self.program, "verify", model, "--signature", bundle, "-q", *trust,
                   *self.ignored(name), *more)

    def note(self, case, why):
        if why:
            self.failed.append(f"{case}: {why}")
        else:
            self.passed.append(case)

    def trip(self, case):
        method, name, group, o = TRIPS[case]
        model = self.model(name)
        bundle = (model if o.get("inside") else self.folder) / f"{case}.sig"
        if "link" in o:
            (model / "a-link").symlink_to(o["link"])
        done = self.sign(model, name, method, group, bundle)
        if o.get("refused"):
            return None if done.returncode == 1 or done.returncode == 3 else \
                f"signing ended with {done.returncode}: {done.stderr}"
        if done.returncode:
            return done.stderr
        if o.get("extra"):
            (model / "extra.bin").write_bytes(b"later")
            if self.verify(model, name, method, group, bundle).returncode != 1:
                return "the extra file was not refused"
        done = self.verify(model, name, method, group, bundle,
                           *(["--ignore-unsigned-files"] if o.get("extra") else []))
        if done.returncode:
            return done.stderr
        listed = [r["name"] for r in self.payload(bundle)["predicate"]["resources"]]
        wanted = sorted(p for p in MODELS[name] if not p.startswith(("-", *GIT)))
        if listed != wanted:
            return f"signed {listed}, expected {wanted}"
        if o.get("twice"):
            again = self.folder / f"{case}-2.sig"
            self.sign(model, name, method, group, again)
            if self.payload(again) != self.payload(bundle):
                return "another manifest the second time"
        return None

    @staticmethod
    def payload(bundle):
        envelope = json.loads(bundle.read_text())["dsseEnvelope"]
        return json.loads(base64.b64decode(envelope["payload"]))

    def sign_again(self, envelope, key):
        payload = base64.b64decode(envelope["payload"])
        kind = envelope["payloadType"].encode()
        text, sig = self.folder / "pae", self.folder / "pae.sig"
        text.write_bytes(b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload))
        openssl("dgst", "-sha384", "-sign", key, "-out", sig, text)
        envelope["signatures"][0]["sig"] = base64.b64encode(sig.read_bytes()).decode()

    def changed(self, bundle, name, change, key=None):
        """A copy of a bundle; change gets the bundle and its payload, and edits either. Signed
        anew where there is a key, and something to sign."""
        made = json.loads(bundle.read_text())
        payload = json.loads(base64.b64decode(made["dsseEnvelope"]["payload"]))
        before = json.dumps(payload)
        change(made, payload)
        if json.dumps(payload) != before:
            text = json.dumps(payload, indent=2).encode()
            made["dsseEnvelope"]["payload"] = base64.b64encode(text).decode()
        if key and made.get("dsseEnvelope", {}).get("signatures"):
            self.sign_again(made["dsseEnvelope"], key)
        path = self.folder / f"{name}.sig"
        path.write_text(json.dumps(made))
        return path

    def with_chain(self, group):
        """Signed by the leaf's key, with its certificates as material."""
        model = self.model("simple")
        bundle = self.folder / f"{group}-material.sig"
        done = self.sign(model, "simple", "key", group, bundle)
        assert done.returncode == 0, done.stderr

        def change(made, _):
            rows = []
            for end in ("crt", "above"):
                der = run("openssl", "x509", "-in", self.keys.path(f"{group}.{end}"),
                          "-outform", "PEM").stdout
                rows.append({"rawBytes": "".join(der.split("\n")[1:-2])})
            made["verificationMaterial"] = {"x509CertificateChain": {"certificates": rows},
                                            "tlogEntries": []}
        return model, self.changed(bundle, f"{group}-certificates", change)

    def expect(self, case, done, good):
        if good:
            self.note(case, done.stderr if done.returncode else None)
        else:  # 1: refused, 3: malformed, 4: no file; never usage or a crash
            self.note(case, None if done.returncode in (1, 3)
                      else f"ended with {done.returncode}: {done.stderr}")

    def stored_made(self):
        self.certificates()
        key = self.folder / "key-simple-stored.sig"
        cert = self.folder / "certificate-simple-stored.sig"
        model = self.model("simple")
        for method, bundle in (("key", key), ("certificate", cert)):
            assert self.sign(model, "simple", method, "chain", bundle).returncode == 0
        for case, method, name in (("certificate-simple", "certificate", "simple"),
                                   ("key-ignore-paths", "key", "simple"),
                                   ("key-multi-file", "key", "multi-file"),
                                   ("key-simple", "key", "simple"),
                                   ("key-single-file", "key", "single-file")):
            m = self.model(name)
            bundle = self.folder / f"stored-{case}.sig"
            self.sign(m, name, method, "chain", bundle)
            self.expect(case, self.verify(m, name, method, "chain", bundle), True)
        self.others(key, cert)
        self.mutations(key)
        self.models(key)

    def certificates(self):
        for group in CHAINS:
            model, bundle = self.with_chain(group)
            done = self.verify(model, "simple", "certificate", group, bundle)
            if group in ("chain", "wrong"):
                assert done.returncode == 0, done.stderr  # the control of the others
            else:
                self.expect(f"certificate-{group}_fail", done, False)

    def others(self, key, cert):
        model = self.model("simple")
        for case, method, group, bundle in (
                ("certificate-simple-wrong-ca_fail", "certificate", "wrong", cert),
                ("certificate-verify-as-key_fail", "key", "chain", cert),
                ("certificate-verify-as-sigstore_fail", "sigstore", "chain", cert),
                ("key-simple-wrong-key_fail", "key", "wrong", key),
                ("key-verify-as-certificate_fail", "certificate", "chain", key),
                ("key-verify-as-sigstore_fail", "sigstore", "chain", key)):
            self.expect(case, self.verify(model, "simple", method, group, bundle), False)

    def mutations(self, key):
        def put(where, value):
            def change(made, payload):
                at = payload if where[0] == "payload" else made
                for part in where[1:-1]:
                    at = at[part]
                at[where[-1]] = value
                if value is None:
                    del at[where[-1]]
            return change
        wrong = {
            "key-simple-empty-resources_fail": put(["payload", "predicate", "resources"], []),
            "key-simple-missing-serialization_fail":
                put(["payload", "predicate", "serialization"], None),
            "key-simple-no-signature_fail": put(["bundle", "dsseEnvelope", "signatures"], []),
            "key-simple-wrong-mediatype_fail": put(["bundle", "mediaType"], "application/json"),
            "key-simple-wrong-payload-type_fail":
                put(["bundle", "dsseEnvelope", "payloadType"], "application/octet-stream"),
            "key-simple-wrong-statement-type_fail":
                put(["payload", "_type"], "https://in-toto.io/Statement/v0.1"),
            "malformed-wrong-predicate_fail":
                put(["payload", "predicateType"], "https://example.com/wrong/v1.0"),
            "malformed-missing-envelope_fail": put(["bundle", "dsseEnvelope"], None),
        }
        model = self.model("simple")
        signer = self.keys.path("chain.key")
        good = self.changed(key, "signed-again", lambda *_: None, signer)
        done = self.verify(model, "simple", "key", "chain", good)
        assert done.returncode == 0, done.stderr  # the control of the others
        for case, change in wrong.items():
            bundle = self.changed(key, case, change, signer)
            self.expect(case, self.verify(model, "simple", "key", "chain", bundle), False)
        for case, text in (("key-simple-corrupted-bundle_fail", '{"garbage": true}'),
                           ("key-simple-truncated-bundle_fail", key.read_text()[:100]),
                           ("malformed-empty-bundle_fail", "")):
            bundle = self.folder / f"{case}.sig"
            bundle.write_text(text)
            self.expect(case, self.verify(model, "simple", "key", "chain", bundle), False)

    def models(self, key):
        ignore = "--ignore-unsigned-files"
        for case, change, more, good in (
                ("key-simple-extra-file_fail", ("write", "injected.bin"), [], False),
                ("key-simple-missing-file_fail", ("remove", "signme-2"), [], False),
                ("key-simple-tampered-content_fail", ("write", "signme-1"), [], False),
                ("key-tampered-with-ignore-unsigned_fail", ("write", "signme-1"), [ignore],
                 False),
                ("key-missing-file-with-ignore-unsigned_fail", ("remove", "signme-2"), [ignore],
                 False),
                ("key-simple-ignore-unsigned-files", ("write", "extra.bin"), [ignore], True)):
            model = self.model("simple")
            if change[0] == "write":
                (model / change[1]).write_bytes(b"TAMPERED CONTENT\n")
            else:
                (model / change[1]).unlink()
            self.expect(case, self.verify(model, "simple", "key", "chain", key, *more), good)

    def stored_vectors(self):
        """By the runner of the vectors, which checks each refusal's control too."""
        done = run("sh", VECTORS / "run_cases.sh", "-v", "--keyless", self.program)
        lines = {line.split()[1].rstrip(":"): line for line in done.stdout.splitlines()
                 if len(line.split()) > 1}
        for case in STORED:
            line = lines.get(case, "not run")
            self.note(case, None if line.startswith("ok") else line)


def main():
    with tempfile.TemporaryDirectory() as folder:
        os.umask(0o077)
        suite = Suite(sys.argv[1], Path(folder))
        for case in TRIPS:
            suite.note(case, suite.trip(case))
        trips = len(suite.passed)
        suite.stored_made()
        suite.stored_vectors()
        names = {f"trip {c}" for c in TRIPS} | {f"trip sigstore-{c}" for c in KEYLESS_TRIPS}
        assert len(names) == 37
        stored = len(suite.passed) - trips
        assert len(suite.passed) + len(suite.failed) == len(TRIPS) + 55, "a case was left out"
        for line in suite.failed:
            print("FAILED", line)
        print(f"{trips} of 37 round trips (5 sign keyless, not offered), {stored} of 55 stored "
              "bundles")
        sys.exit(1 if suite.failed else 0)


main()
