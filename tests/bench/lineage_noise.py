#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Is noise told from a source that is missing?

    .venv/bin/python tests/bench/lineage_noise.py BUILD FAMILY added|missing [--n 100] [--first 0] [--seed 1]

Suspects are sums of one to three fine-tunes of FAMILY (base, expert-*, sibling-*, t0 to t9, *-merged) at
random shares, rounded to BF16, then stored as they are, as F32, Q8_0, int8 or FP8. To those of `added`
noise of one of five forms was added, of 0.02 to 0.4 of the difference from the base, and all
sources are given. Those of `missing` have a further source of a share of 0.02 to 0.5 that is not
given, and two in three have noise as well. Decoys are given beside. Counted: how often what is
unexplained is called noise-like, how often an answer is in part, and who is named who did not
go in; of a missing source, how often no doubt is told though its share is what would have shown.
"""
import argparse
import glob
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile

import torch
from safetensors.torch import load_file, save_file

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "interop"), HERE]
import test_lineage_disguise as peers  # noqa: E402
from lineage_random import rate  # noqa: E402

SIZES = (0.02, 0.05, 0.1, 0.2, 0.4)
STORED = ("bf16", "bf16", "bf16", "f32", "Q8_0", "int8", "fp8-rows")
FORMS = {
    "gauss": lambda v, g: torch.randn(v.shape, generator=g),
    "uniform": lambda v, g: 3.464 * (torch.rand(v.shape, generator=g) - 0.5),
    "heavy": lambda v, g: torch.randn(v.shape, generator=g) / torch.randn(*v.shape, 4, generator=g).square().mean(-1).sqrt(),
    "by weight": lambda v, g: torch.randn(v.shape, generator=g) * v.abs() / v.square().mean().sqrt(),
    "by row": lambda v, g: torch.randn(v.shape, generator=g) * torch.exp(0.7 * torch.randn(v.shape[0], *[1] * (v.ndim - 1), generator=g)),
}


class Family:
    def __init__(self, path):
        self.path, self.cache = path, {}
        self.base = self.weights("base")
        self.tunes = sorted(os.path.basename(p) for k in ("expert-*", "sibling-*", "t[0-9]", "*-merged")
                            for p in glob.glob(os.path.join(path, k)) if os.path.exists(os.path.join(p, "model.safetensors")))

    def weights(self, name):
        if name not in self.cache:
            self.cache[name] = {k: v.float() for k, v in load_file(os.path.join(self.path, name, "model.safetensors")).items()}
        return self.cache[name]

    def blend(self, shares):
        out = {}
        for k, b in self.base.items():
            out[k] = b.double() + sum(s * (self.weights(n)[k].double() - b.double()) for n, s in shares.items())
        return {k: v.bfloat16().float() for k, v in out.items()}


def noisy(family, tensors, form, size, g):
    return {k: v + size * (v - family.base[k]).square().mean().sqrt() * FORMS[form](v, g) for k, v in tensors.items()}


def store(family, tensors, kind, work):
    tensors = {k: (v if kind == "f32" else v.bfloat16()).contiguous() for k, v in tensors.items()}
    if kind == "Q8_0":
        return peers.write_gguf(os.path.join(work, "suspect.gguf"), tensors, "Q8_0")
    if kind in ("int8", "fp8-rows"):
        tensors = peers.eight_bit(tensors, kind)
    save_file(tensors, os.path.join(work, "model.safetensors"), {"format": "pt"})
    shutil.copy(os.path.join(family.path, "base", "config.json"), work)
    return work


def draw(family, seed, i, missing):
    r = random.Random(f"{seed}/{i}/{missing}")
    tunes = r.sample(family.tunes, len(family.tunes))
    k = r.choice((1, 2, 2, 3))
    sources, lost, decoys = tunes[:k], tunes[k] if missing else None, tunes[k + missing:][: r.randint(1, 2)]
    return {"shares": {s: round(r.uniform(0.2, 0.8), 2) for s in sources}, "lost": lost,
            "share": round(0.02 * 25 ** r.random(), 3) if missing else 0, "given": r.sample(sources + decoys, k + len(decoys)),
            "form": None if missing and r.random() < 1 / 3 else r.choice(list(FORMS)), "size": r.choice(SIZES),
            "stored": r.choice(STORED), "seed": r.randrange(1 << 30)}


def ask(build, family, d):
    g = torch.Generator().manual_seed(d["seed"])
    with tempfile.TemporaryDirectory() as work:
        tensors = family.blend({**d["shares"], **({d["lost"]: d["share"]} if d["lost"] else {})})
        tensors = noisy(family, tensors, d["form"], d["size"], g) if d["form"] else tensors
        path = lambda n: os.path.join(family.path, n)
        done = subprocess.run([os.path.join(build, "weightward"), "lineage", "decompose", store(family, tensors, d["stored"], work),
                               "--base", path("base"), *[a for c in d["given"] for a in ("--candidate", path(c))], "--json", "-q"],
                              capture_output=True, text=True)
    return json.loads(done.stdout) if done.returncode == 0 else {"error": done.stderr.strip()}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("build")
    parser.add_argument("family")
    parser.add_argument("kind", choices=("added", "missing"))
    parser.add_argument("--n", type=int, default=100)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(1)
    family, rows = Family(os.path.abspath(args.family)), []
    for i in range(args.first, args.first + args.n):
        d = draw(family, args.seed, i, args.kind == "missing")
        found = ask(args.build, family, d)
        test = found.get("noise_test", {})
        named = {os.path.basename(s["name"]) for s in found.get("sources", []) if s["included"]}
        rows.append({**d, "wrong": named - set(d["shares"]), "not named": set(d["shares"]) - named, "test": test,
                     "clean": "error" not in found and not found["incomplete"] and bool(named)})
        print(i, d["shares"], f"lost {d['lost']} {d['share']}" if d["lost"] else "-", f"{d['form']} {d['size']}" if d["form"] else "-",
              d["stored"], f"unexplained {found.get('unexplained', -1):.4f}", f"score {test.get('score', -1):.1f}",
              f"structured {test.get('structured', -1):.4f}", f"hides {test.get('hides', -1):.3f}",
              found.get("error") or ("whole" if rows[-1]["clean"] else "in part"),
              "named " + " ".join(rows[-1]["wrong"]) if rows[-1]["wrong"] else "-", sep=" | ", flush=True)
    rate("not in part", sum(r["clean"] for r in rows), len(rows))
    rate("noise-like", sum(bool(r["test"].get("noise_like")) for r in rows), len(rows))
    rate("named who did not go in, not in part", sum(bool(r["wrong"]) and r["clean"] for r in rows), len(rows))
    rate("a source not named", sum(bool(r["not named"]) for r in rows), len(rows))
    if args.kind == "missing":
        shown = [r for r in rows if r["test"] and r["share"] >= r["test"]["hides"]]
        rate("noise-like, though the missing share is one that would have shown", sum(r["test"]["noise_like"] for r in shown), len(shown))
        for low, high in ((0.02, 0.05), (0.05, 0.1), (0.1, 0.51)):
            some = [r for r in rows if low <= r["share"] < high]
            rate(f"not in part, missing share {low} to {high}", sum(r["clean"] for r in some), len(some))


if __name__ == "__main__":
    main()
