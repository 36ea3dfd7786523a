#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Provenance, bills of materials and their folders against other people's libraries.

    test_evidence.py BUILD

The signature of each bundle by securesystemslib, statements by in-toto-attestation (SLSA
provenance strictly: an unknown field is an error), bills of materials by the CycloneDX
project's own validator, folders with all of it by model_signing.
"""
import base64
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile

from click.testing import CliRunner
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from google.protobuf import json_format
from in_toto_attestation.predicates.provenance.v1 import provenance_pb2
from in_toto_attestation.predicates.vsa.v1 import vsa_pb2
from in_toto_attestation.v1 import statement as in_toto
from in_toto_attestation.v1 import statement_pb2
from model_signing._cli import main as model_signing
from securesystemslib.dsse import Envelope
from securesystemslib.signer import SSlibKey

HERE = os.path.dirname(os.path.abspath(__file__))
AMBER = os.path.join(HERE, "..", "vectors", "amber")
failures = []
n_checks = 0


def check(what, holds, detail=""):
    global n_checks
    n_checks += 1
    if not holds:
        failures.append(what)
        print(f"FAIL {what}\n     {str(detail).strip()[:400]}")


def passes(what, call, *args):
    try:
        call(*args)
        check(what, True)
    except Exception as e:  # whatever a library raises means: not valid
        check(what, False, f"{type(e).__name__}: {e}")


def fails(what, call, *args):
    try:
        call(*args)
        check(what, False, "accepted")
    except Exception:
        check(what, True)


def signature(bundle, key):
    env = bundle["dsseEnvelope"]
    for s in env["signatures"]:
        s["keyid"] = "k"    # the library matches by keyid, OMS does not use it
    with open(key, "rb") as f:
        pub = load_pem_public_key(f.read())
    Envelope.from_dict(env).verify(
        [SSlibKey.from_crypto(pub, keyid="k", scheme="ecdsa-sha2-nistp256")], 1)


def provenance(bundle):
    kind, predicate = statement(bundle)
    assert kind == "https://slsa.dev/provenance/v1"
    parsed = json_format.ParseDict(predicate, provenance_pb2.Provenance())
    build = parsed.build_definition
    assert build.build_type and build.external_parameters.fields
    assert parsed.run_details.builder.id


def statement(bundle):
    text = base64.b64decode(bundle["dsseEnvelope"]["payload"], validate=True).decode()
    pb = json_format.Parse(text, statement_pb2.Statement())
    in_toto.Statement.copy_from_pb(pb).validate()
    return pb.predicate_type, json.loads(text)["predicate"]


def summary(bundle, verdict):
    """A verification summary; only members with our prefix may be unknown to the library."""
    kind, predicate = statement(bundle)
    assert kind == "https://slsa.dev/verification_summary/v1"
    for field in ("verifier", "timeVerified", "resourceUri", "policy", "verificationResult",
                  "verifiedLevels"):
        assert field in predicate, field
    assert predicate["verificationResult"] == verdict
    # this release declares the list as one string
    assert all(isinstance(v, str) for v in predicate.pop("verifiedLevels"))
    known = {k: v for k, v in predicate.items() if not k.startswith("weightward_")}
    parsed = json_format.ParseDict(known, vsa_pb2.VerificationSummary())
    assert parsed.verifier.id and parsed.policy.digest and parsed.time_verified.seconds


def bom(path):
    with open(path, encoding="utf-8") as f:
        found = JsonStrictValidator(SchemaVersion.from_version("1.6")).validate_str(f.read())
    assert not found, found


def document(type_, **members):
    return {"type": f"weightward.{type_}/1", "version": "1", "issued": "2026-01-01T00:00:00Z",
            "expires": "2099-01-01T00:00:00Z", **members}


def decisions(run, program):
    """A lock that a policy permits, and an unlocking that it denies."""
    with open("policy.json", "w", encoding="utf-8") as f:
        json.dump(document("policy", id="p", rules=[
            {"id": "lock", "effect": "permit", "subjects": ["anyone"], "actions": ["lock"],
             "resources": ["tag:partner"]}]), f)
    run("policy", "sign", "policy.json", "--key", "me.key")
    key = json.loads(run("key", "show", "me.pub", "--json"))["id"]
    kinds = [f"application/vnd.weightward.{k}+json" for k in ("root", "policy", "request")]
    with open("me.pub", encoding="utf-8") as f, open("policy.json", "rb") as p:
        root = document("root", revoked=[], roles={
            name: {"keyids": [key], "threshold": "1"} for name in ("root", "policy")},
            keys={key: {"pem": f.read(), "may_sign": kinds + ["application/vnd.in-toto+json"]}},
            policies=[{"id": "p", "version": "1", "sha256": hashlib.sha256(p.read()).hexdigest()}])
    with open("root.json", "w", encoding="utf-8") as f:
        json.dump(root, f)
    run("policy", "sign", "root.json", "--key", "me.key")
    with open("expert-rev/README.md", "w", encoding="utf-8") as f:
        f.write("---\nlicense: mit\ntags: [partner]\n---\n")
    run("sign", "expert-rev", "--key", "me.key", "--tensors", "--origin", "--replace")
    asked = ["--policy-root", "root.signed.json", "--policy", "policy.signed.json",
             "--as", "me.key", "-q"]
    run("lock", "expert-rev", "asked", "--key", "lock", "--sign", "me.key", *asked)
    done = subprocess.run([program, "unlock", "asked", "no", "--key", "lock", *asked],
                          capture_output=True, stdin=subprocess.DEVNULL, check=False)
    check("the policy denies to unlock", done.returncode == 1, done.stderr)
    return (("asked/attestations/decision.sigstore.json", "PASSED"),
            ("no.decision.sigstore.json", "FAILED"))


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    program = os.path.abspath(os.path.join(sys.argv[1], "weightward"))
    work = tempfile.mkdtemp()
    os.chdir(work)

    def run(*args):
        done = subprocess.run([program, *args, "-q"], capture_output=True, text=True,
                              stdin=subprocess.DEVNULL, check=False)
        if done.returncode:
            sys.exit(f"{args}: {done.stderr}")
        return done.stdout

    for name in ("expert-rev", "expert-caesar"):
        shutil.copytree(os.path.join(AMBER, name), name)
        subprocess.run(["chmod", "-R", "u+w", name], check=True)
    run("key", "new", "signing", "--out", "me", "--no-passphrase")
    run("key", "new", "signing", "--out", "other", "--no-passphrase")
    run("key", "new", "lock", "--out", "lock", "--no-passphrase")
    for name, license_ in (("expert-rev", "license: mit"),
                           ("expert-caesar", "license: other\nlicense_name: my terms")):
        with open(name + "/README.md", "w", encoding="utf-8") as f:
            f.write(f"---\n{license_}\n---\n")
        run("sign", name, "--key", "me.key", "--tensors", "--origin")
        run("lock", name, "locked-" + name, "--key", "lock", "--sign", "me.key")
    with open("recipe.yml", "w", encoding="utf-8") as f:
        f.write("merge_method: linear\nmodels:\n"
                "  - {model: locked-expert-rev, parameters: {weight: 1}}\n"
                "  - {model: locked-expert-caesar, parameters: {weight: 1}}\n"
                "dtype: float32\nout_dtype: bfloat16\n")
    run("merge", "recipe.yml", "merged", "--sign", "me.key")
    run("key", "new", "recipient", "--out", "al", "--no-passphrase")
    run("lock", "merged", "sealed", "--level", "sealed", "--to", "al.pub", "--sign", "me.key")
    run("extract", "expert-rev", "expert-caesar", "adapter", "--rank", "4", "--sign", "me.key")
    run("rmm", "pack", "all.pkg", "rev=expert-rev", "locked=locked-expert-rev", "--exact",
        "--sign", "me.key")
    run("rmm", "drop", "all.pkg", "rev", "--sign", "me.key")
    boms = ("one.cdx.json", "two.cdx.json")
    for path in boms:
        run("verify", "merged", "--chain", "--key", "me.pub", "--bom", path)
        passes(f"CycloneDX: {path}", bom, path)
    texts = [open(path, encoding="utf-8").read() for path in boms]
    for name in ("locked-expert-rev", "merged", "sealed", "adapter", "all.pkg.evidence"):
        passes(f"CycloneDX: of '{name}', made with it", bom, f"{name}/attestations/bom.cdx.json")
        with open(f"{name}/attestations/bom.cdx.json", encoding="utf-8") as f:
            plain = json.load(f)
        with open(f"{name}/attestations/bom.sigstore.json", encoding="utf-8") as f:
            bundle = json.load(f)
        passes(f"in-toto: the signed bill of '{name}'", statement, bundle)
        check("the signed bill is the plain one", statement(bundle) ==
              ("https://cyclonedx.org/bom", plain))
        passes(f"DSSE: the signed bill of '{name}'", signature, bundle, "me.pub")
    check("the same chain gives the same bill of materials", texts[0] == texts[1])
    licenses = {c["name"]: c.get("licenses") for c in json.loads(texts[0])["components"]}
    check("licences are in it, by SPDX id where there is one", licenses == {
        name: [{"license": license_}] for name, license_ in (
            ("locked-expert-rev", {"id": "MIT"}), ("expert-rev", {"id": "MIT"}),
            ("locked-expert-caesar", {"name": "my terms"}),
            ("expert-caesar", {"name": "my terms"}))}, licenses)
    with open("merged/attestations/provenance.sigstore.json", encoding="utf-8") as f:
        sources = statement(json.load(f))[1]["buildDefinition"]["resolvedDependencies"]
    check("licences are in the provenance", [s["annotations"]["license"] for s in sources] ==
          ["mit", "my terms"], sources)
    run("verify", "expert-rev", "--chain", "--key", "me.pub", "--bom", "origin.cdx.json")
    passes("CycloneDX: a model of no others", bom, "origin.cdx.json")

    broken = json.loads(texts[0])
    broken["metadata"]["component"]["type"] = "no such type"
    with open("broken.cdx.json", "w", encoding="utf-8") as f:
        json.dump(broken, f)
    fails("the validator refuses another type", bom, "broken.cdx.json")

    for path, verdict in decisions(run, program):
        with open(path, encoding="utf-8") as f:
            bundle = json.load(f)
        passes(f"verification summary: {path}", summary, bundle, verdict)
        passes(f"DSSE: {path}", signature, bundle, "me.pub")
    fails("a permit is no refusal", summary, bundle, "PASSED")
    bundle["dsseEnvelope"]["payload"] = base64.b64encode(
        base64.b64decode(bundle["dsseEnvelope"]["payload"]).replace(b"timeVerified", b"when")
    ).decode()
    fails("a summary without a time", summary, bundle, "FAILED")

    ancestors = [name for name in sorted(os.listdir("merged/attestations/ancestors"))
                 if name.endswith(".sigstore.json")]
    check("four statements are carried", len(ancestors) == 4, ancestors)
    files = [name + "/attestations/provenance.sigstore.json"
             for name in ("merged", "sealed", "adapter", "all.pkg.evidence")]
    carried = "all.pkg.evidence/attestations/ancestors/"
    files += [carried + name for name in sorted(os.listdir(carried))
              if name.endswith(".sigstore.json")]
    files += ["merged/attestations/ancestors/" + name for name in ancestors]
    for path in files:
        with open(path, encoding="utf-8") as f:
            bundle = json.load(f)
        passes(f"in-toto and SLSA: {path}", provenance, bundle)
        passes(f"DSSE: {path}", signature, bundle, "me.pub")
        fails(f"DSSE by another key: {path}", signature, bundle, "other.pub")
    with open("adapter/attestations/tensors.sigstore.json", encoding="utf-8") as f:
        passes("DSSE: the adapter's tensor statement", signature, json.load(f), "me.pub")
    for folder in ("expert-rev", "locked-expert-rev", "merged", "sealed", "adapter"):
        done = CliRunner().invoke(model_signing, [
            "verify", "key", folder, "--signature", folder + "/model.sig",
            "--public_key", "me.pub"])
        check(f"model_signing verifies '{folder}'", done.exit_code == 0, done.output)
    os.chdir(HERE)
    shutil.rmtree(work)
    print(f"{n_checks - len(failures)} of {n_checks} checks")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
