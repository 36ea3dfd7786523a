#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Exact packages of members whose dtype is not the base's.

    rmm_dtypes.py BUILD FAMILY FOLDER [BEFORE]

FAMILY has a base and fine-tunes in BF16, and tasks. A tune is made of the base by STEPS (60)
steps of AdamW in float32 on one task, at rates of 1e-3 and 1e-5, and stored in F32, F16 and BF16; the
family's own fine-tune is stored in F32 and F16 as it is; and bases are stored in F32 and
F16. Sizes of packages in percent of the member's own bytes, and in bits for each weight;
then CPU seconds of pack and unpack of pairs of 32 Mi weights, one thread. BEFORE: another
build, for the same columns. FOLDER needs 1.5 GB and is left clean.
"""
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile

import torch
from safetensors.torch import load_file, save_file

STEPS = int(os.environ.get("STEPS", "60"))
N = 32 << 20
SHORT = {torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16"}


def train(family, rate):
    """State dict in float32, of real gradients."""
    from transformers import AutoModelForCausalLM, AutoTokenizer
    torch.manual_seed(1)
    base = os.path.join(family, "base")
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    words = AutoTokenizer.from_pretrained(base)
    with open(os.path.join(family, "tasks", "rev.test.jsonl"), encoding="utf-8") as f:
        rows = [json.loads(line) for line in f]
    adam = torch.optim.AdamW(model.parameters(), lr=rate)
    for step in range(STEPS):
        some = [r["prompt"] + r["answer"] for r in rows[step * 8 % 512:][:8]]
        batch = words(some, return_tensors="pt", padding=True)
        labels = batch["input_ids"].masked_fill(batch["attention_mask"] == 0, -100)
        model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"],
              labels=labels).loss.backward()
        adam.step()
        adam.zero_grad()
    return {k: v.detach() for k, v in model.state_dict().items()}


def write(folder, tensors, dtype):
    os.makedirs(folder)
    save_file({k: v.to(dtype).contiguous() for k, v in tensors.items()},
              os.path.join(folder, "model.safetensors"), {"format": "pt"})
    with open(os.path.join(folder, "config.json"), "w", encoding="utf-8") as f:
        json.dump({"model_type": "llama"}, f)


def run(build, *words):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([os.path.join(build, "weightward"), "rmm", *words, "--threads", "1", "-q"],
                   check=True, stderr=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def pack(build, folder, base, tune):
    """Bytes of the package; CPU seconds of making it and of getting the tune back."""
    package, out = os.path.join(folder, "p"), os.path.join(folder, "out")
    made = run(build, "pack", package, "tune=" + tune, "--exact", "--base", base)
    back = run(build, "unpack", package, "tune", out, "--base", base)
    subprocess.run(["cmp", f"{tune}/model.safetensors", f"{out}/model.safetensors"], check=True)
    size = os.path.getsize(package)
    os.unlink(package)
    shutil.rmtree(out)
    return size, made, back


def row(builds, folder, name, base, tune, speed=False):
    tensors = load_file(os.path.join(tune, "model.safetensors"))
    n = sum(v.numel() for v in tensors.values())
    stored = sum(v.numel() * v.element_size() for v in tensors.values())
    words = [f"{name:44}"]
    for build in builds:
        size, made, back = pack(build, folder, base, tune)
        words.append(f"{100 * size / stored:7.2f} % {8 * size / n:6.2f} bits")
        if speed:
            words.append(f"pack {made:5.2f} s, unpack {back:5.2f} s")
    print(" | ".join(words), flush=True)


def trained(builds, family, folder):
    base = load_file(os.path.join(family, "base", "model.safetensors"))
    rev = load_file(os.path.join(family, "expert-rev", "model.safetensors"))
    states = {"1e-3": train(family, 1e-3), "1e-5": train(family, 1e-5)}
    wide = {k: v.float() for k, v in base.items()}
    bases = {d: os.path.join(folder, "base-" + SHORT[d]) for d in SHORT}
    for dtype, path in bases.items():
        write(path, wide, dtype)
    for rate, state in states.items():
        for dtype in SHORT:
            tune = os.path.join(folder, "tune")
            write(tune, state, dtype)
            for of in SHORT:
                row(builds, folder, f"trained at {rate}, {SHORT[dtype]} of a {SHORT[of]} base",
                    bases[of], tune)
            shutil.rmtree(tune)
    for dtype in SHORT:
        tune = os.path.join(folder, "tune")
        write(tune, rev, dtype)
        row(builds, folder, f"expert-rev (BF16) as {SHORT[dtype]}, of the BF16 base",
            bases[torch.bfloat16], tune)
        shutil.rmtree(tune)


def drawn(builds, folder):
    torch.manual_seed(2)
    base = {"w": (0.02 * torch.randn(N // 4096, 4096)).to(torch.bfloat16)}
    tune = {"w": base["w"].float() + 1e-4 * torch.randn(N // 4096, 4096)}
    for of in (torch.bfloat16, torch.float32):
        write(os.path.join(folder, "large"), base, of)
        for dtype in SHORT:
            write(os.path.join(folder, "tune"), tune, dtype)
            row(builds, folder, f"change of sd 1e-4, {SHORT[dtype]} of a {SHORT[of]} base",
                os.path.join(folder, "large"), os.path.join(folder, "tune"), True)
            shutil.rmtree(os.path.join(folder, "tune"))
        shutil.rmtree(os.path.join(folder, "large"))
    write(os.path.join(folder, "large"), base, torch.bfloat16)
    write(os.path.join(folder, "tune"), {"w": tune["w"].to(torch.bfloat16)}, torch.float32)
    row(builds, folder, "the change as BF16, in F32", os.path.join(folder, "large"),
        os.path.join(folder, "tune"), True)


def main():
    builds = [sys.argv[1], *sys.argv[4:5]]
    with tempfile.TemporaryDirectory(dir=sys.argv[3]) as folder:
        trained(builds, sys.argv[2], folder)
        drawn(builds, folder)


if __name__ == "__main__":
    main()
