#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""How often an interval of a share holds the truth, by what merged and what was stored.

    .venv/bin/python tests/bench/lineage_intervals.py BUILD FAMILY [--n 60] [--first 0] [--seed 1] [--work FOLDER]

Suspect I of a seed is always the same: a sum of one to three fine-tunes of FAMILY by mergekit
(linear, task arithmetic, SLERP with one number), computed in float32 or, one in four, in
bfloat16, stored in BF16, as F32 or Q8_0, all sources given, in half of them a decoy beside. The
truth is the weight as the recipe has it; of SLERP what its arcs give, a mean over the tensors; of
a decoy nothing. Told by storage, dtype, method and kind: how many intervals hold it.
"""
import argparse
import collections
import os
import random
import tempfile

import torch

import lineage_random as drawn

STORED = ("-", "cast float32", "gguf Q8_0")
METHODS = ("task_arithmetic", "linear", "slerp")
NEAR = 1e-4  # of what is printed


class Draw:
    """Storage, method and decoy go round, so that each meets each; the rest is random."""

    def __init__(self, seed, i, family):
        self.r = random.Random(f"intervals/{seed}/{i}")
        self.stored, self.method = STORED[i % 3], METHODS[i // 3 % 3]
        self.dtype = "bfloat16" if self.r.random() < 0.25 else "float32"
        k = 2 if self.method == "slerp" else self.r.choice((1, 2, 2, 3))
        tunes = self.r.sample(family.tunes, len(family.tunes))
        self.sources, self.decoys = tunes[:k], tunes[k: k + i // 9 % 2]
        self.weights = getattr(self, "_" + self.method)(k)
        self.seed = self.r.randrange(1 << 30)

    def _task_arithmetic(self, k):
        return [round(self.r.uniform(0.05, 1.1) * self.r.choice((1, 1, 1, -1) if k > 1 else (1,)), 2) for _ in range(k)]

    def _linear(self, k):
        raw = [self.r.uniform(0.2, 1) for _ in range(k)]
        rest = [round(x / sum(raw), 2) for x in raw[1:]]
        return [round(1 - sum(rest), 2), *rest]

    def _slerp(self, _):
        t = round(self.r.uniform(0.1, 0.9), 2)
        return [round(1 - t, 2), t]

    def config(self, base):
        out = {"merge_method": self.method, "dtype": self.dtype, "out_dtype": "bfloat16"}
        if self.method == "slerp":
            return {**out, "base_model": self.sources[0], "parameters": {"t": self.weights[1]}, "models": [{"model": s} for s in self.sources]}
        models = [{"model": s, "parameters": {"weight": w}} for s, w in zip(self.sources, self.weights)]
        return {**out, "models": models, **({"base_model": base} if self.method == "task_arithmetic" else {})}

    def truth(self):
        """Of one tensor SLERP's weights are sin((1 - t) angle) / sin(angle) and sin(t angle) / sin(angle)."""
        if self.method != "slerp":
            return self.weights
        one, two = (drawn.made.weights(s) for s in self.sources)
        shares, total = torch.zeros(2, dtype=torch.float64), 0
        for name, v in one.items():
            a, b = v.double().flatten(), two[name].double().flatten()
            angle = torch.arccos((a @ b / a.norm() / b.norm()).clamp(-1, 1))
            even = angle.cos() > 0.9995  # mergekit's own limit, where it is a sum
            parts = torch.tensor(self.weights, dtype=torch.float64)
            shares += v.numel() * (parts if even else (parts * angle).sin() / angle.sin())
            total += v.numel()
        return (shares / total).tolist()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("build")
    parser.add_argument("family")
    parser.add_argument("--n", type=int, default=60)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--work")
    args = parser.parse_args()
    torch.set_num_threads(1)
    held = collections.defaultdict(lambda: [0, 0])
    with tempfile.TemporaryDirectory() as temporary:
        family = drawn.Family(args.build, args.family, os.path.join(args.work or temporary, "merges"))
        for i in range(args.first, args.first + args.n):
            d = Draw(args.seed, i, family)
            path = family.merges.merge(d.config(family.base), d.seed)[0]
            with tempfile.TemporaryDirectory() as one:
                if d.stored != "-":
                    path = family.disguises.apply(d.stored, path, os.path.join(one, "stored"), torch.Generator())
                found = drawn.decompose(args.build, family, path, d.sources + d.decoys)
            told = []
            for name, want, of in zip(d.sources + d.decoys, d.truth() + [0.0] * len(d.decoys), found["sources"]):
                low, high = of["interval"]
                miss = max(0.0, low - want, want - high)
                for key in (f"stored {d.stored}, {d.dtype}", f"{d.method}, {d.dtype}", "decoys" if name in d.decoys else "sources", "all"):
                    held[key][0] += miss <= NEAR
                    held[key][1] += 1
                told.append(f"{os.path.basename(name)} {want:.4f} {of['share']:.4f} ({low:.4f} {high:.4f})" + (f" MISS {miss:.4f}" if miss > NEAR else ""))
            print(i, d.method, d.dtype, d.stored, found["method"]["best"], f"{found['method']['match']:.4f}", f"noise {found['noise']:.2e}",
                  *told, sep=" | ", flush=True)
    for key in sorted(held):
        drawn.rate(key, *held[key])


if __name__ == "__main__":
    main()
