#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Whole-matrix merge methods against float64 references: the definitions in numpy (full
singular value and eigen decompositions, no shortcut of the program's), and for the methods
that descend torch's own optimisers on the published losses.

usage: test_merge_spectral.py BUILD [METHOD...]
"""

import json
import os
import subprocess
import sys
import tempfile

import numpy as np
import torch
from safetensors.numpy import save_file
from test_merge_numpy import ref_widen
from test_merge_statistics import Merge

SHAPES = ((24, 24), (40, 12), (9, 50), (16, 64))
TOLERANCE = 1e-8  # the reference asks for 1e-6
probe = ""
folder = ""


def merge(method, base, sources, threads=1, **params):
    """The merged difference as the program has it, lambda undone by the caller."""
    m, n = base.shape
    np.concatenate([base[None], sources]).astype("<f8").tofile(f"{folder}/in")
    options = [f"{k.replace('s_', '')}={float(v)!r}" for k, v in params.items()]
    subprocess.run(["rm", "-rf", f"{folder}/out"], check=True)
    subprocess.run([probe, method, str(m), str(n), str(len(sources)), str(threads),
                    f"{folder}/in", f"{folder}/out", *options], check=True)
    return np.fromfile(f"{folder}/out/merged.bin", "<f8").reshape(m, n)


def polar(x):
    u, _, vt = np.linalg.svd(x, full_matrices=False)
    return u @ vt


def tsv_m(taus):
    k = min(taus[0].shape) // len(taus)
    parts = [np.linalg.svd(t, full_matrices=False) for t in taus]
    u = np.concatenate([p[0][:, :k] for p in parts], axis=1)
    s = np.concatenate([p[1][:k] for p in parts])
    vt = np.concatenate([p[2][:k] for p in parts])
    return polar(u) @ np.diag(s) @ polar(vt)


def iso_c(taus):
    u, s, vt = np.linalg.svd(sum(taus), full_matrices=False)
    return s.mean() * u @ vt


def iso_cts(taus, fraction=0.8):
    rank, n = min(taus[0].shape), len(taus)
    tasks = round((rank - int(rank * fraction)) / n) * n
    common = rank - tasks
    u, s, vt = np.linalg.svd(sum(taus), full_matrices=False)
    uc = u[:, :common]
    parts = [np.linalg.svd(t - uc @ uc.T @ t, full_matrices=False) for t in taus]
    k = tasks // n
    us = np.concatenate([p[0][:, :k] for p in parts] + [uc], axis=1)
    ss = np.concatenate([p[1][:k] for p in parts] + [s[:common]])
    vs = np.concatenate([p[2][:k] for p in parts] + [vt[:common]])
    return ss.mean() * polar(us) @ polar(vs)


def quadratic(taus):
    c = sum(t.T @ t / np.sum(t * t) for t in taus)
    d = sum(t @ t.T @ t / np.sum(t * t) for t in taus)
    return c, d


def filtered(taus, start, f, values, v):
    _, d = quadratic(taus)
    start = sum(taus) * (1 if start else 1 / len(taus))
    return start - start @ v @ np.diag(f) @ v.T + d @ v @ np.diag(f / values) @ v.T


def swudi(taus, ratio=0.85, steps=300, start_sum=0):
    values, v = np.linalg.eigh(quadratic(taus)[0])
    values = np.maximum(values, 1e-8)
    f = 1 - np.exp(-steps * values)
    keep = max(1, int(np.ceil(ratio * len(values))))
    f[: len(values) - keep] = 0
    return filtered(taus, start_sum, f, values, v)


def aswudi(taus, threshold=0, start_sum=0):
    values, v = np.linalg.eigh(quadratic(taus)[0])
    values = np.maximum(values, 1e-8)
    sigma = np.sqrt(values)
    if threshold == 0:
        keep = int(np.ceil(sigma.sum() ** 2 / values.sum()))
    else:
        beta = min(taus[0].shape) / max(taus[0].shape)
        omega = np.sqrt(2 * (beta + 1) + 8 * beta / (beta + 1 + np.sqrt(beta**2 + 14 * beta + 1)))
        if threshold == 1:
            mu = np.sqrt(2 + np.sqrt(3)) if beta == 1 else np.sqrt((1 - beta) ** 2 + beta)
            ratio = omega / mu
        else:
            ratio = 0.56 * beta**3 - 0.95 * beta**2 + 1.82 * beta + 1.43
        keep = max(1, int(np.sum(sigma > ratio * np.median(sigma))))
    f = np.zeros(len(values))
    f[len(values) - keep:] = 1
    return filtered(taus, start_sum, f, values, v)


def wudi_flow(taus, steps=300, start_sum=0):
    values, v = np.linalg.eigh(quadratic(taus)[0])
    values = np.maximum(values, 0)
    gain = np.where(values * steps > 1e-12, -np.expm1(-steps * values) / np.maximum(values, 1e-300),
                    steps)
    start = sum(taus) * (1 if start_sum else 1 / len(taus))
    return start @ v @ np.diag(np.exp(-steps * values)) @ v.T + \
        quadratic(taus)[1] @ v @ np.diag(gain) @ v.T


def descend(start, loss, steps, optimizer):
    tau = torch.nn.Parameter(torch.tensor(start))
    opt = optimizer([tau])
    for _ in range(steps):
        opt.zero_grad()
        loss(tau).backward()
        opt.step()
    return tau.detach().numpy()


def wudi(taus, steps=300, learning_rate=1e-5):
    t = torch.tensor(np.array(taus))
    energy = (t * t).sum((1, 2), keepdim=True)
    return descend(sum(taus), lambda x: (((x[None] - t) @ t.transpose(1, 2)) ** 2 / energy).sum(),
                   steps, lambda p: torch.optim.Adam(p, lr=learning_rate))


def truncated(t, k):
    u, s, vt = np.linalg.svd(t, full_matrices=False)
    return u[:, :k] @ np.diag(s[:k]) @ vt[:k], np.diag(s[:k]) @ vt[:k]


def optmerge(taus, steps=300, learning_rate=0, adapter=0):
    k = min(taus[0].shape) // len(taus)
    mean = sum(taus) / len(taus)
    energy = torch.tensor([np.sum(t * t) for t in taus])[:, None, None]
    if adapter:
        targets = [truncated(t, k)[0] for t in taus]
        guides = taus
        how = lambda p: torch.optim.SGD(p, lr=learning_rate or 1e-4, momentum=0.9)
    else:
        targets = [mean + truncated(t - mean, k)[0] for t in taus]
        guides = [truncated(t, k)[1] for t in taus]
        how = lambda p: torch.optim.Adam(p, lr=learning_rate or 1e-5)
    t, g = torch.tensor(np.array(targets)), torch.tensor(np.array(guides))
    return descend(mean, lambda x: (((x[None] - t) @ g.transpose(1, 2)) ** 2 / energy).sum(),
                   steps, how)


def svc(taus, alpha=0.1):
    u, s, vt = np.linalg.svd(sum(taus), full_matrices=False)
    for r in range(len(s)):
        whole = u[:, r] @ sum(taus)
        parts = [u[:, r] @ t for t in taus]
        s[r] *= len(taus) / sum(max(alpha, whole @ a / (a @ a)) for a in parts)
    return u @ np.diag(s) @ vt


def ties(parts, density):
    kept = []
    for x in parts:
        flat = np.abs(x).ravel()
        order = np.argsort(-flat, kind="stable")
        mask = np.zeros(flat.size, bool)
        mask[order[: max(1, int(density * flat.size))]] = True
        kept.append(np.where(mask.reshape(x.shape), x, 0))
    sign = np.where(sum(kept) >= 0, 1, -1)
    agree = [np.sign(x) == sign for x in kept]
    return sum(np.where(a, x, 0) for a, x in zip(agree, kept)) / np.maximum(sum(agree), 1)


def span(x):
    u, s, _ = np.linalg.svd(x, full_matrices=False)
    return u[:, s > 1e-10 * s[0]]


def knots(taus, density=0.2):
    n = taus[0].shape[1]
    u, s, vt = np.linalg.svd(np.concatenate(taus, axis=1), full_matrices=False)
    rank = int(np.sum(s > 1e-10 * s[0]))
    parts = [vt[:rank, i * n:(i + 1) * n] for i in range(len(taus))]
    return u[:, :rank] @ np.diag(s[:rank]) @ ties(parts, density)


def core_space(taus, density=0.2):
    left = span(np.concatenate(taus, axis=1))
    right = span(np.concatenate(taus).T)
    return left @ ties([left.T @ t @ right for t in taus], density) @ right.T


def opcm(taus, alpha=0.5):
    merged = taus[0]
    for t in taus[1:]:
        u, s, vt = np.linalg.svd(merged, full_matrices=True)
        r = int(np.argmax(np.cumsum(s) > alpha * s.sum()))
        p = u.T @ t @ vt.T
        np.fill_diagonal(p, 0)
        p[:r, :r] = 0
        merged = merged + u @ p @ vt
    mean = np.mean([np.linalg.norm(t) for t in taus])
    return merged * mean / np.linalg.norm(merged)


def doge(taus, steps=400, learning_rate=1e-4, eta=0.07, keep=0.3):
    rank, n = min(taus[0].shape), len(taus)
    side = np.concatenate([np.linalg.svd(t, full_matrices=False)[0][:, :rank // n]
                           for t in taus], axis=1)
    q = np.linalg.svd(side, full_matrices=False)[0][:, :rank // 6]
    project = torch.tensor(q @ q.T)
    t = torch.tensor(np.array(taus))
    rates = eta / torch.linalg.norm(t, dim=(1, 2))[:, None, None]
    delta = torch.zeros_like(t[0], requires_grad=True)
    opt = torch.optim.Adam([delta], lr=learning_rate)
    for _ in range(steps):
        opt.zero_grad()
        whole = (rates * t).sum(0) + rates.sum() * delta
        ((-t * whole + t * t).sum(2) ** 2).sum().backward()
        delta.grad -= project @ delta.grad
        opt.step()
    masks = []
    for tau in taus:
        size = np.abs(tau).astype(np.float32)
        cut = np.sort(size.ravel())[::-1][int(keep * size.size) - 1]
        masks.append(size >= cut)
    moved = t.numpy() + delta.detach().numpy()
    return (rates.numpy() * np.array(masks) * moved).sum(0)


def low_rank(rng, m, n, rank=3):
    return rng.standard_normal((m, rank)) @ rng.standard_normal((rank, n)) / 3


CASES = (
    (tsv_m, {}), (iso_c, {}), (iso_cts, {}), (iso_cts, {"common_space_fraction": 0.5}),
    (swudi, {}), (swudi, {"ratio": 1, "start_sum": 1}), (swudi, {"ratio": 0.3, "steps": 1300}),
    (aswudi, {}), (aswudi, {"threshold": 1}), (aswudi, {"threshold": 2, "start_sum": 1}),
    (wudi_flow, {}), (wudi_flow, {"steps": 1300, "start_sum": 1}),
    (wudi, {"learning_rate": 1e-4}), (optmerge, {"steps": 100}),
    (optmerge, {"learning_rate": 1e-2, "adapter": 1}),
    (svc, {}), (svc, {"alpha": 1}), (knots, {}), (knots, {"density": 0.6}),
    (core_space, {}), (core_space, {"density": 0.5}),
    (opcm, {}), (opcm, {"alpha": 0.2}),
    (doge, {"learning_rate": 1e-3, "steps": 60}), (doge, {"keep": 0.7, "eta": 1, "steps": 40}))
RENAMED = {"common_space_fraction": "fraction"}


def check(method, params, shape, rank, rng, worst):
    m, n = shape
    base = rng.standard_normal(shape)
    make = (lambda: low_rank(rng, m, n)) if rank else (lambda: rng.standard_normal(shape))
    shared = make()
    weights = (1.0, 0.5, 1.25)
    taus = [0.1 * (make() + 0.5 * shared) for _ in range(3)]
    sources = np.array([base + t for t in taus])
    taus = [w * (s - base) for w, s in zip(weights, sources)]
    for i, w in enumerate(weights):
        params = {**params, f"{i}:weight": w}
    own = {k: v for k, v in params.items() if ":" not in k}
    got = (merge(method.__name__, base, sources, **params, **{"lambda": 0.5}) - base) / 0.5
    want = method(taus, **{RENAMED.get(k, k): v for k, v in own.items()})
    error = np.linalg.norm(got - want) / np.linalg.norm(want)
    worst[method.__name__] = max(worst.get(method.__name__, 0), error)
    mean = sum(taus) / len(taus)
    if np.linalg.norm(want - mean) < 1e-6 * np.linalg.norm(mean):
        raise SystemExit(f"{method.__name__} {own}: the case cannot tell it from a mean")
    if not error < TOLERANCE:
        raise SystemExit(f"{method.__name__} {own} {shape} rank {rank or 'full'}: off by {error:.2g}")


def check_threads(rng, names):
    """The same bytes for any number of threads; the products alone also say which."""
    base = rng.standard_normal((70, 90))
    sources = base + 0.1 * rng.standard_normal((3, 70, 90))
    for method in sorted(set(names)):
        results = [merge(method, base, sources, threads).tobytes() for threads in (1, 2, 3)]
        if len(set(results)) != 1:
            raise SystemExit(f"{method}: bytes depend on the number of threads")


def check_threshold():
    """The published threshold is that of the Marchenko-Pastur median, within its fit."""
    for beta in (0.1, 0.25, 0.5, 1.0):
        low, high = (1 - np.sqrt(beta)) ** 2, (1 + np.sqrt(beta)) ** 2
        x = low + (high - low) * np.linspace(0, 1, 400001)[1:] ** 2
        density = np.sqrt(np.maximum((x - low) * (high - x), 0)) / (2 * np.pi * beta * x)
        mass = np.concatenate([[0], np.cumsum((density[1:] + density[:-1]) / 2 * np.diff(x))])
        median = np.interp(0.5, mass / mass[-1], x)
        omega = np.sqrt(2 * (beta + 1) + 8 * beta / (beta + 1 + np.sqrt(beta**2 + 14 * beta + 1)))
        fit = 0.56 * beta**3 - 0.95 * beta**2 + 1.82 * beta + 1.43
        if abs(fit - omega / np.sqrt(median)) > 0.03:
            raise SystemExit(f"threshold {fit} for beta {beta}, expected {omega / np.sqrt(median)}")


def check_inputs_first(merge, rng):
    """Linear layers of GPT-2 are stored inputs x outputs: merged as the layers that they are."""
    at = "transformer.h.0."
    shapes = {"transformer.wte.weight": (20, 12), "transformer.wpe.weight": (8, 12)}
    for name, rows, cols in (("mlp.c_fc", 12, 48), ("mlp.c_proj", 48, 12), ("attn.c_attn", 12, 36),
                             ("attn.c_proj", 12, 12)):
        shapes |= {f"{at}{name}.weight": (rows, cols), f"{at}{name}.bias": (cols,)}
    for name in (f"{at}ln_1", f"{at}ln_2", "transformer.ln_f"):
        shapes |= {f"{name}.weight": (12,), f"{name}.bias": (12,)}
    config = {"model_type": "gpt2", "n_embd": 12, "n_layer": 1, "n_head": 2, "n_positions": 8, "vocab_size": 20}
    base = {n: rng.standard_normal(s) for n, s in shapes.items()}
    sources = [{n: base[n] + 0.05 * rng.standard_normal(s) for n, s in shapes.items()} for _ in range(3)]
    sources[2][f"{at}attn.c_proj.weight"] = base[f"{at}attn.c_proj.weight"]
    for name, tensors in (("g", base), *((f"g{i}", s) for i, s in enumerate(sources))):
        os.makedirs(f"{merge.folder}/{name}")
        save_file(tensors, f"{merge.folder}/{name}/model.safetensors")
        with open(f"{merge.folder}/{name}/config.json", "w") as f:
            json.dump(config, f)
    layers = [n for n in shapes if ".c_" in n and n.endswith("weight")]
    grams = [{n: (lambda x: x.T @ x)(rng.standard_normal((60, shapes[n][0]))) for n in layers} for _ in range(3)]
    for i, g in enumerate(grams):
        os.makedirs(f"{merge.folder}/gg{i}")
        save_file(g, f"{merge.folder}/gg{i}/model.safetensors")

    def run(method, statistics=False, **more):
        models = [{"model": f"g{i}", **({"statistics": f"gg{i}"} if statistics else {})} for i in range(3)]
        return merge.result({"merge_method": method, "models": models, "dtype": "float64", **more})[0]

    for method, rule in (("svc", svc), ("knots", knots)):
        got = run(method, base_model="g")
        for n in layers if method == "knots" else layers[:3]:
            # For knots one that changes nothing has no part and no vote.
            want = rule([(s[n] - base[n]).T for s in sources if (s[n] != base[n]).any()]).T
            assert np.abs(got[n] - base[n] - want).max() < 1e-9, (method, n)
    # Of one source the merge is that source's change by its weight: its norm is the mean norm.
    got = merge.result({"merge_method": "opcm", "base_model": "g", "dtype": "float64",
                        "models": [{"model": "g0", "parameters": {"weight": 0.5}}], "parameters": {"lambda": 1}})[0]
    for n in layers:
        assert np.abs(got[n] - (base[n] + sources[0][n]) / 2).max() < 1e-12, n
    got = run("widen", base_model="g", parameters={"lambda": 1})
    for n in layers[:1]:
        want = ref_widen(base[n].T.ravel(), [s[n].T.ravel() for s in sources],
                         {"lambda": 1, "above_average": 1, "calibration": 1}, shapes[n][::-1])
        assert np.abs(got[n] - want.reshape(shapes[n][::-1]).T).max() < 1e-9, n
    got = run("regmean", statistics=True, parameters={"off_diagonal": 1, "weight": 1})
    for n in layers:
        want = np.linalg.solve(sum(g[n] for g in grams), sum(g[n] @ s[n] for g, s in zip(grams, sources)))
        assert np.abs(got[n] - want).max() < 1e-9, n
    print("matrices of GPT-2 are merged as layers that take rows and give columns")


def main():
    global probe, folder
    probe = os.path.join(sys.argv[1], "matrix_probe")
    rng = np.random.default_rng(5)
    worst = {}
    names = sys.argv[2:] or [c[0].__name__ for c in CASES]
    with tempfile.TemporaryDirectory() as folder:
        for method, params in (c for c in CASES if c[0].__name__ in names):
            for shape in SHAPES:
                check(method, dict(params), shape, 0, rng, worst)
            if method in (knots, core_space, swudi, wudi_flow):
                check(method, dict(params), (40, 30), 3, rng, worst)
        check_threads(rng, names)
        if len(sys.argv) == 2:
            check_inputs_first(Merge(sys.argv[1], folder), rng)
    check_threshold()
    print("  ".join(f"{name} {error:.0e}" for name, error in sorted(worst.items())))
    print(f"{len(worst)} whole-matrix methods agree with their definitions")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
