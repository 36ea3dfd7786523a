#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Adapters added to their base, compared with peft's merge_and_unload.

    test_bake.py BUILD [CASE...]

Cases of test_adapter.py, stacked experts (target_parameters) and rows of fused projections. Weights
that peft changes are among those that bake_probe writes, and all of these agree to one float32
rounding with peft's float64 result or, where that is the base's, with the base.
"""
import json
import os
import subprocess
import sys
import tempfile

import make_models as families
import numpy as np
import peft
import torch
from safetensors.torch import load_file, save_file
from test_adapter import ATTENTION, CASES, make_adapter

STACKS = ["experts.gate_up_proj", "experts.down_proj"]
ROUTER = ["gate.weight"]  # of which "gate" is no pattern
# Files with a tensor for each expert, also under other names; as one; inputs first.
EXPERTS = [
    ("experts-qwen3", "qwen3_moe", dict(target_modules=ATTENTION,
                                        target_parameters=STACKS + ROUTER,
                                        alpha_pattern={"experts.down_proj": 5, "gate": 7})),
    ("experts-mixtral", "mixtral", dict(target_modules=[],
                                        target_parameters=STACKS[:1] + ROUTER)),
    ("experts-granite", "granitemoe", dict(target_modules=[], target_parameters=STACKS)),
    ("experts-gpt-oss", "gpt_oss", dict(target_modules=[], target_parameters=STACKS,
                                        use_rslora=True)),
]
# Modules in memory that files keep as rows of one tensor; all of them and some.
FUSED = [
    ("fused-nomic", "nomic_bert", dict(target_modules=["q_proj", "v_proj", "down_proj"],
                                       rank_pattern={"v_proj": 2}, alpha_pattern={"v_proj": 7})),
    ("fused-jina", "jina_embeddings_v3", dict(target_modules=ATTENTION)),
    ("fused-gte", "gte", dict(target_modules=["k_proj", "o_proj", "gate_proj", "down_proj"])),
    ("fused-dinov2", "dinov2-swiglu", dict(target_modules=["up_proj", "down_proj"])),
    ("fused-sarvam", "sarvam_moe", dict(target_modules=["q_proj", "k_proj"])),
]


def baked(build, base, adapter):
    out = subprocess.run([os.path.join(build, "bake_probe"), base, adapter], check=True,
                         stdout=subprocess.PIPE).stdout
    head, data = out.split(b"\n\n", 1)
    at, tensors = 0, {}
    for line in head.decode().split("\n"):
        name, count = line.split()
        tensors[name] = np.frombuffer(data, "<f4", int(count), at)
        at += 4 * int(count)
    assert at == len(data)
    return tensors


def stored(folder):
    return {n: p for f in sorted(os.listdir(folder)) if f.endswith(".safetensors")
            for n, p in load_file(os.path.join(folder, f)).items()}


def merged(base, adapter, out):
    """What peft makes of it, under the names that files have: modules of some models are
    called otherwise in memory."""
    model, _ = families.load(base)
    model = peft.PeftModel.from_pretrained(model, adapter,
                                           autocast_adapter_dtype=False).double()
    model.merge_and_unload().save_pretrained(out)
    before = stored(base)
    return {n: p for n, p in stored(out).items()
            if n in before and not torch.equal(p, before[n].double())}


def check(build, name, family, settings, out):
    base = families.write(family, out)
    adapter = os.path.join(out, "adapter")
    make_adapter(base, adapter, settings)
    got = baked(build, base, adapter)
    want = merged(base, adapter, os.path.join(out, "merged"))
    plain = stored(base)
    bad, worst = [], 0.0
    if not want:
        bad.append("peft changes nothing")
    if not {n for n in want} <= set(got):
        bad.append(f"not changed: {sorted(set(want) - set(got))[:3]}")
    for n, values in got.items():
        w = want.get(n, plain[n])       # saved whole, and equal to the base's; or not peft's
        w = w.double().numpy().ravel()
        off = np.abs(values - w) / np.maximum(np.abs(w), 1e-3 * np.abs(w).max())
        worst = max(worst, off.max())
    if not worst <= 2.0 ** -23:
        bad.append(f"off by {worst:.1e}")
    print(f"{'FAIL' if bad else 'ok':4} {name:20} {len(got)} weights, off by {worst:.1e} "
          f"{'; '.join(bad)}", flush=True)
    return not bad


def check_fused_refusals(build, out):
    """Of rows of a fused tensor: what is no pair of factors, and pairs of other rows."""
    base = families.write("nomic_bert", out)
    bad = []
    for name, more, words in [("dora", dict(use_dora=True), "where factors alone are supported"),
                              ("rows", {}, "do not fit rows"), ("half", {}, "only one of the two factors")]:
        adapter = os.path.join(out, name)
        make_adapter(base, adapter, dict(target_modules=["k_proj"], **more))
        path = os.path.join(adapter, "adapter_model.safetensors")
        tensors = load_file(path)
        if name == "rows":
            tensors = {n: t[:-4].contiguous() if "lora_B" in n else t for n, t in tensors.items()}
        if name == "half":
            tensors = {n: t for n, t in tensors.items() if "lora_B" in n}
        save_file(tensors, path)
        done = subprocess.run([os.path.join(build, "bake_probe"), base, adapter],
                              stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        if done.returncode == 0 or words not in done.stderr:
            bad.append(f"expected '{words}', got '{done.stderr}'")
    print(f"{'FAIL' if bad else 'ok':4} refusals of rows {'; '.join(bad)}", flush=True)
    return not bad


def check_refusals(build, out):
    """Pairs of factors that cannot be told apart, and those of fewer experts."""
    base = families.write("qwen3_moe", out)
    adapter = os.path.join(out, "adapter")
    make_adapter(base, adapter, dict(target_modules=[], target_parameters=STACKS))
    config = os.path.join(adapter, "adapter_config.json")
    weights = os.path.join(adapter, "adapter_model.safetensors")
    bad = []

    def refused(words):
        done = subprocess.run([os.path.join(build, "bake_probe"), base, adapter],
                              stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        if done.returncode == 0 or words not in done.stderr:
            bad.append(f"expected '{words}', got '{done.stderr}'")

    tensors = load_file(weights)
    cut = {n: t[:-4].contiguous() if "lora_A" in n else t[:, :-4].contiguous()
           for n, t in tensors.items()}
    save_file(cut, weights)
    refused("do not fit 6 experts")
    save_file(tensors, weights)
    with open(config) as f:
        settings = json.load(f)
    with open(config, "w") as f:
        json.dump(dict(settings, target_parameters=STACKS[:1]), f)
    refused("which is which cannot be told")
    print(f"{'FAIL' if bad else 'ok':4} refusals {'; '.join(bad)}", flush=True)
    return not bad


def main(build, names):
    failed = 0
    if not names or "refusals" in names:
        with tempfile.TemporaryDirectory() as out:
            failed += not check_refusals(build, out)
        with tempfile.TemporaryDirectory() as out:
            failed += not check_fused_refusals(build, out)
    for name, family, settings in CASES + EXPERTS + FUSED:
        if not names or name in names:
            with tempfile.TemporaryDirectory() as out:
                failed += not check(build, name, family, settings, out)
    print(f"{failed} failed" if failed else "all passed")
    return failed > 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
