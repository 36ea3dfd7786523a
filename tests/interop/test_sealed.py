# SPDX-License-Identifier: Apache-2.0
"""Sealed models opened by an independent reader: for a recipient and by a passphrase.

    python test_sealed.py BUILD
"""

import os
import subprocess
import sys
import tempfile

from nacl.public import PrivateKey  # noqa: F401  (a clear message when it is missing)

from sealed_model import SealedModel
from read_sealed import read_record

HERE = os.path.dirname(os.path.abspath(__file__))
AMBER = os.path.join(HERE, "..", "vectors", "amber", "expert-rev")


def main():
    program = os.path.join(os.path.abspath(sys.argv[1]), "weightward")
    os.umask(0o077)
    with tempfile.TemporaryDirectory() as work:
        def run(*args):
            subprocess.run([program, *args, "-q"], cwd=work, check=True)

        def check(folder, **key):
            model = SealedModel(os.path.join(work, folder), **key)
            for entry in model.manifest["sealed"]:
                with open(os.path.join(AMBER, entry["path"]), "rb") as f:
                    assert model.read(entry) == f.read(), entry["path"]
            return len(model.manifest["sealed"])

        for name in ("alice", "bob"):
            run("key", "new", "recipient", "--out", name, "--no-passphrase")
        run("lock", AMBER, "sealed", "--level", "sealed", "--to", "alice.pub", "--to",
            "bob.pub")
        n = 0
        for name in ("alice", "bob"):
            with open(os.path.join(work, name + ".key"), "rb") as f:
                kind, _, secret = read_record(f.read(), None, None)
            assert kind == b"rcpt"
            n += check("sealed", recipient=secret)
        with open(os.path.join(work, "pass"), "w", encoding="utf-8") as f:
            f.write("open sesame\n")
        run("lock", AMBER, "sealed2", "--level", "sealed", "--passphrase-file", "pass")
        n += check("sealed2", passphrase=b"open sesame")
    print(f"sealed models: {n} files read by an independent reader")


if __name__ == "__main__":
    main()
