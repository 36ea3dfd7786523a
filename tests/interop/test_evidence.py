#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Provenance, bills of materials and their folders against other people's libraries.

    test_evidence.py BUILD

The signature of each bundle by securesystemslib, statements by in-toto-attestation (SLSA
provenance strictly: an unknown field is an error), bills of materials by the CycloneDX
project's own validator, folders with all of it by model_signing.
"""
import base64
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
    text = base64.b64decode(bundle["dsseEnvelope"]["payload"], validate=True).decode()
    pb = json_format.Parse(text, statement_pb2.Statement())
    in_toto.Statement.copy_from_pb(pb).validate()
    parsed = json_format.ParseDict(json.loads(text)["predicate"], provenance_pb2.Provenance())
    assert pb.predicate_type == "https://slsa.dev/provenance/v1"
    build = parsed.build_definition
    assert build.build_type and build.external_parameters.fields
    assert parsed.run_details.builder.id


def bom(path):
    with open(path, encoding="utf-8") as f:
        found = JsonStrictValidator(SchemaVersion.from_version("1.6")).validate_str(f.read())
    assert not found, found


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
    for name in ("expert-rev", "expert-caesar"):
        run("sign", name, "--key", "me.key", "--tensors", "--origin")
        run("lock", name, "locked-" + name, "--key", "lock", "--sign", "me.key")
    with open("recipe.yml", "w", encoding="utf-8") as f:
        f.write("merge_method: linear\nmodels:\n"
                "  - {model: locked-expert-rev, parameters: {weight: 1}}\n"
                "  - {model: locked-expert-caesar, parameters: {weight: 1}}\n"
                "dtype: float32\nout_dtype: bfloat16\n")
    run("merge", "recipe.yml", "merged", "--sign", "me.key")
    boms = ("one.cdx.json", "two.cdx.json")
    for path in boms:
        run("verify", "merged", "--chain", "--key", "me.pub", "--bom", path)
        passes(f"CycloneDX: {path}", bom, path)
    texts = [open(path, encoding="utf-8").read() for path in boms]
    check("the same chain gives the same bill of materials", texts[0] == texts[1])
    run("verify", "expert-rev", "--chain", "--key", "me.pub", "--bom", "origin.cdx.json")
    passes("CycloneDX: a model of no others", bom, "origin.cdx.json")

    broken = json.loads(texts[0])
    broken["metadata"]["component"]["type"] = "no such type"
    with open("broken.cdx.json", "w", encoding="utf-8") as f:
        json.dump(broken, f)
    fails("the validator refuses another type", bom, "broken.cdx.json")

    ancestors = sorted(os.listdir("merged/attestations/ancestors"))
    check("four statements are carried", len(ancestors) == 4, ancestors)
    files = ["merged/attestations/provenance.sigstore.json"]
    files += ["merged/attestations/ancestors/" + name for name in ancestors]
    for path in files:
        with open(path, encoding="utf-8") as f:
            bundle = json.load(f)
        passes(f"in-toto and SLSA: {path}", provenance, bundle)
        passes(f"DSSE: {path}", signature, bundle, "me.pub")
        fails(f"DSSE by another key: {path}", signature, bundle, "other.pub")
    for folder in ("expert-rev", "locked-expert-rev", "merged"):
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
