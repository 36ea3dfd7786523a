#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Copies as GGUF files that llama.cpp's own quantisers made, each traced by the base's layout.

    trace_gguf.py WEIGHTWARD

One line for each level and type: signs that agree with the copy's own entry and with another's.
"""
import json
import os
import subprocess
import sys
import tempfile

import torch
from safetensors.torch import load_file

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "interop"))
import llama_quants as quants  # noqa: E402

KINDS = ("F16", "Q8_0", "Q4_K", "Q4_0", "IQ4_XS", "Q3_K", "Q2_K")


def main():
    program, lib = os.path.abspath(sys.argv[1]), quants.library()

    def run(*words):
        return subprocess.run([program, *words, "-q"], capture_output=True, text=True, check=False)

    g = torch.Generator().manual_seed(3)
    base = quants.make_base(g, 2)
    change = quants.make_delta(base, g, 0.02, 0.004)
    with tempfile.TemporaryDirectory() as work:
        os.chdir(work)
        quants.folder("base", base)
        quants.folder("source", {k: (v.double() + change[k]).bfloat16() for k, v in base.items()})
        run("key", "new", "signing", "--out", "me", "--no-passphrase")
        run("key", "new", "lock", "--out", "lock", "--no-passphrase")
        for level in ("exact", "dense"):
            for name in ("ada", "bob"):
                run("lock", "source", f"{name}-{level}", "--level", level, "--key", "lock", "--sign",
                    "me.key", "--for", name, "--ledger", level)
            tensors = load_file(f"bob-{level}/model.safetensors")
            for kind in KINDS:
                quants.write_gguf(lib, "bob.gguf", tensors, kind)
                said = json.loads(run("trace", "bob.gguf", "--ledger", level, "--key", "lock", "--anchor",
                                      "base", "--signed-by", "me.pub", "--json").stdout)
                own, other = ([r for r in said["ranking"] if r["recipient"] == name][0]
                              for name in ("bob", "ada"))
                assert said["match"] == "bob", said
                print(f"{level} {kind}: {own['agree']} of {own['votes']}, of another "
                      f"{other['agree']} of {other['votes']}, chance {said['p_value']:.0e}")


main()
