#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What a merged adapter costs whoever codes it as the base and a product.

    rmm_bound.py BASE MERGED ADAPTER [--sample N]

BASE and MERGED are models in BF16, MERGED the base and the LoRA adapter, rounded once. Factors
that give MERGED exactly fill a region, and a code that spares every bit that need not be told
takes -log2 of the probability of that region. Numbers of factors count as Gaussians, of the
variance of their latent index in the scaled decomposition of the product. The region's volume
is taken for each row of B with A as it is, and for each column of A with B as it is, where it is
a polytope of as many axes as the rank: its volume by hit and run and importance sampling,
N (24) rows and columns of each matrix. That both are unknown makes it larger; by how much is
computed as if it were an ellipsoid, with the freedom of r x r numbers in which a product has
many factors. An estimate, no proof; tables, manifest and all else cost nothing in it.
"""
import argparse
import json
import os

import numpy as np
import torch
from safetensors.torch import load_file

STEPS, FIRST, DRAWS, FEWEST = 400, 100, 3000, 20


def edges(w):
    """Between which numbers a sum lay that was rounded to each of w."""
    bits = w.view(torch.int16).numpy().astype(np.int64) & 0xffff
    order = np.where(bits & 0x8000, -(bits & 0x7fff), bits)

    def value(o):
        return (np.where(o < 0, -o | 0x8000, o).astype(np.uint32) << 16).view(np.float32).astype(float)

    return (value(order - 1) + value(order)) / 2, (value(order) + value(order + 1)) / 2


def walk(rng, m, low, high, x):
    """Points of each polytope low <= m x <= high, from the one in x."""
    ways, at, out = np.linalg.inv(np.linalg.cholesky(m.T @ m)), x @ m.T, []
    for step in range(STEPS):
        way = rng.standard_normal(x.shape) @ ways
        slope = way @ m.T
        a, b = (low - at) / slope, (high - at) / slope
        begin, end = np.minimum(a, b).max(1), np.maximum(a, b).min(1)
        far = (begin + (end - begin) * rng.random(len(x)))[:, None]
        x, at = x + far * way, at + far * slope
        if step >= FIRST:
            out.append(x)
    return np.array(out)


def volumes(rng, m, low, high, x):
    """log2 of the volume of each polytope."""
    points, out = walk(rng, m, low, high, x), []
    for v in range(len(x)):
        root = np.linalg.cholesky(1.6 * np.cov(points[:, v].T))
        z = rng.standard_normal((DRAWS, len(root)))
        all_at = (points[:, v].mean(0) + z @ root.T) @ m.T
        inside = ((all_at >= low[v]) & (all_at <= high[v])).all(1)
        assert inside.sum() >= FEWEST, "too few draws are in a polytope"
        density = -0.5 * (z[inside]**2).sum(1) - np.log(np.diag(root)).sum() \
            - 0.5 * len(root) * np.log(2 * np.pi)
        out.append((np.logaddexp.reduce(-density) - np.log(DRAWS)) / np.log(2))
    return np.array(out)


def side(rng, x, m, low, high, sample):
    """Bits of all rows of x, of which sample are looked at; the product is x m^T."""
    at = x @ m.T
    fit = np.flatnonzero(((at > low) & (at < high)).all(1))
    some = rng.permutation(fit)[:sample]
    entropy = np.log2(x.std(0)).sum() + 0.5 * m.shape[1] * np.log2(2 * np.pi * np.e)
    return len(x) * (entropy - volumes(rng, m, low[some], high[some], x[some]).mean())


def together(b, a, low, high):
    """Bits that are saved since neither factor is known, by the determinants."""
    w = 12 / (high - low)**2
    of_b = np.einsum("kj,ij,lj->ikl", a, w, a) + np.diag(1 / b.var(0))
    of_a = np.einsum("ik,ij,il->jkl", b, w, b) + np.diag(1 / a.var(1))
    r, n = b.shape[1], a.size
    cross = np.einsum("ij,kj,il->ikjl", w, a, b).reshape(len(b), r, n)
    rest = -cross.reshape(-1, n).T @ np.linalg.solve(of_b, cross).reshape(-1, n)
    for j, block in enumerate(of_a):
        rest[j * r:(j + 1) * r, j * r:(j + 1) * r] += block
    apart = np.linalg.slogdet(of_a)[1].sum()
    return 0.5 * (apart - np.linalg.slogdet(rest)[1]) / np.log(2)


def main():
    p = argparse.ArgumentParser()
    for name in ("base", "merged", "adapter"):
        p.add_argument(name)
    p.add_argument("--sample", type=int, default=24)
    args = p.parse_args()
    torch.set_num_threads(1)
    rng, total, saved, numbers = np.random.default_rng(1), 0, 0, 0
    base, merged = (load_file(os.path.join(x, "model.safetensors")) for x in (args.base, args.merged))
    factors = load_file(os.path.join(args.adapter, "adapter_model.safetensors"))
    with open(os.path.join(args.adapter, "adapter_config.json"), encoding="utf-8") as f:
        config = json.load(f)
    for name in sorted(k for k in factors if ".lora_A." in k):
        module = name[len("base_model.model."):-len(".lora_A.weight")] + ".weight"
        change = factors[name.replace("lora_A", "lora_B")].double() @ factors[name].double()
        u, s, v = np.linalg.svd(config["lora_alpha"] / config["r"] * change.numpy(), full_matrices=False)
        r = len(factors[name])
        b, a = u[:, :r] * np.sqrt(s[:r]), np.sqrt(s[:r])[:, None] * v[:r]
        stored = base[module].double().numpy()
        low, high = (e - stored for e in edges(merged[module]))
        bits = side(rng, b, a.T, low, high, args.sample) + side(rng, a.T, b, low.T, high.T, args.sample)
        total, saved, numbers = total + bits, saved + together(b, a, low, high), numbers + b.size + a.size
        print(f"{module}: {bits / (b.size + a.size):.2f} bits for each number", flush=True)
    print(f"{numbers} numbers of factors: {total / 8:.0f} bytes one factor at a time, "
          f"{saved / 8:.0f} less for both: {(total - saved) / 8:.0f}")


main()
