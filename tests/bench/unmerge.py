#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What a source of a merge takes beside the merge and its other sources.

    unmerge.py BUILD FOLDER FAMILY

Bits for each parameter: coded weights alone, and the whole package, against the merge alone
and against what it says with the others. FAMILY holds base, expert-rev and expert-caesar in
BF16; synthetic models are a base of standard deviation 0.02 and changes of stated ones,
rounded once, 8 Mi weights each. Every source is restored and compared. FOLDER needs 300 MB
and is left clean.
"""
import json
import os
import shutil
import subprocess
import sys
import tempfile

import torch
from safetensors import safe_open
from safetensors.torch import save_file

N = 8 << 20


def parameters(folder):
    with safe_open(os.path.join(folder, "model.safetensors"), "pt") as f:
        return sum(f.get_tensor(k).numel() for k in f.keys())


def recipe(path, method, sources, weights, base=None):
    lines = [f"merge_method: {method}", *([f"base_model: {base}"] if base else []), "models:"]
    for source, weight in zip(sources, weights):
        lines += [f"  - model: {source}", f"    parameters: {{weight: {weight}}}"]
    with open(path, "w") as f:
        f.write("\n".join(lines) + "\n")


def measure(ww, work, label, method, sources, weights, base=None):
    def run(*command):
        subprocess.run([ww, *command, "-q"], check=True)

    at = {k: os.path.join(work, k) for k in ("r.yml", "merged", "p.pkg", "out")}
    recipe(at["r.yml"], method, sources, weights, base)
    run("merge", at["r.yml"], at["merged"])
    others = [a for s in sources[1:] + ([base] if base else []) for a in ("--source", s)]
    numbers = parameters(sources[0])
    row = []
    for how in (["--base", at["merged"]], ["--merged", at["merged"], *others]):
        run("rmm", "pack", at["p.pkg"], f"m={sources[0]}", "--exact", *how)
        listed = json.loads(subprocess.check_output([ww, "rmm", "list", at["p.pkg"], "--json"]))
        codec = listed["members"][0]["codec"]
        row += [8 * sum(codec.get(c, 0) for c in ("order", "split", "few", "same")) / numbers,
                8 * listed["bytes"] / numbers]
        if how[0] == "--merged":
            run("rmm", "unmerge", at["p.pkg"], "m", at["out"], "--merged", at["merged"], *others)
            assert subprocess.run(["diff", "-r", sources[0], at["out"]]).returncode == 0
        os.remove(at["p.pkg"])
    print(f"{label:52} | {row[0]:6.2f} {row[1]:6.2f} | {row[2]:6.2f} {row[3]:6.2f}", flush=True)
    shutil.rmtree(at["merged"])
    shutil.rmtree(at["out"])
    os.remove(at["r.yml"])


def synthetic(work):
    g = torch.Generator().manual_seed(1)
    base = torch.randn(N, generator=g) * 0.02
    for delta in (1e-4, 5e-4, 2e-3):
        sources = []
        for k in range(2):
            folder = os.path.join(work, f"s{k}")
            os.makedirs(folder, exist_ok=True)
            save_file({"w": (base + torch.randn(N, generator=g) * delta).bfloat16()},
                      os.path.join(folder, "model.safetensors"))
            with open(os.path.join(folder, "config.json"), "w") as f:
                json.dump({"model_type": "none"}, f)
            sources.append(folder)
        yield f"average of two, changes of sd {delta:g}", "linear", sources, (1, 1)


def main():
    ww, folder, family = os.path.join(sys.argv[1], "weightward"), *sys.argv[2:4]
    work = tempfile.mkdtemp(prefix="ww-bench.", dir=folder)
    base, rev, caesar = (os.path.join(os.path.abspath(family), n)
                         for n in ("base", "expert-rev", "expert-caesar"))
    print(f"{'source':52} | {'merge alone':>13} | {'with the others':>13}")
    try:
        measure(ww, work, "rev of rev and caesar, averaged", "linear", [rev, caesar], (1, 1))
        measure(ww, work, "caesar of the same", "linear", [caesar, rev], (1, 1))
        measure(ww, work, "rev of 0.7 rev and 0.3 caesar", "linear", [rev, caesar], (0.7, 0.3))
        measure(ww, work, "caesar of 0.3 caesar and 0.7 rev", "linear", [caesar, rev],
                (0.3, 0.7))
        measure(ww, work, "rev of base, 0.6 rev and 0.6 caesar, task arithmetic",
                "task_arithmetic", [rev, caesar], (0.6, 0.6), base)
        for case in synthetic(work):
            measure(ww, work, *case)
    finally:
        shutil.rmtree(work)


main()
