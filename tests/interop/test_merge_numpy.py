#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Every merge method against formulas in float64, and against mergekit 0.1.5.

    test_merge_numpy.py BUILD [METHOD...]

BUILD holds the program merge_probe. A bfloat16 result must be the reference rounded once in
at least 99.9 % of its elements and one unit off in the rest; a method that only adds,
multiplies and divides must be equal in all. The reference follows the papers' and mergekit's
formulas and shares no code with the program; masks come from a Philox of its own.
mergekit runs in float32, so its results are compared within a few float32 roundings, as far
as it is deterministic and the selection is free of ties.
"""
import hashlib
import os
import struct
import subprocess
import sys
import tempfile

import numpy as np

SHAPES = [(300, 257), (1031,), (3, 40, 50)]
# More elements than a sample takes: a selection looks at brackets then, PCB at near scores.
LARGE = (1100, 960)
SAMPLED = {"ties", "pcb", "pcb scaled", "pcb pairs"}
N = 3
ELEMENTWISE = {"linear", "passthrough", "task_arithmetic", "ties", "breadcrumbs", "nearswap",
               "breadcrumbs_ties", "magmax", "ram", "ramplus_tl", "consensus", "masks",
               "fisher"}


# ---- bfloat16 ----

def bf16(x):
    """Round float64 once to bfloat16, to nearest even: the bits."""
    x = np.asarray(x, np.float64)
    m, e = np.frexp(x)
    scale = np.ldexp(1.0, np.maximum(e, -125) - 8)
    return (np.rint(x / scale) * scale).astype(np.float32).view(np.uint32) >> 16


def wide(bits):
    return (bits.astype(np.uint32) << 16).view(np.float32).astype(np.float64)


def steps(a, b):
    """Distance in units of the last place."""
    def line(v):
        v = v.astype(np.int64)
        return np.where(v & 0x8000, -(v & 0x7fff), v)
    return np.abs(line(a) - line(b))


# ---- masks ----

def philox(key, counters):
    k0, k1 = np.uint64(key & 0xffffffff), np.uint64(key >> 32)
    low = np.uint64(0xffffffff)
    c = [np.asarray(v, np.uint64) & low for v in counters]
    for _ in range(10):
        a, b = c[0] * np.uint64(0xD2511F53), c[2] * np.uint64(0xCD9E8D57)
        c = [(b >> np.uint64(32)) ^ c[1] ^ k0, b & low,
             (a >> np.uint64(32)) ^ c[3] ^ k1, a & low]
        k0, k1 = k0 + np.uint64(0x9E3779B9) & low, k1 + np.uint64(0xBB67AE85) & low
    return c


def uniform(n, source, seed=7, name="probe"):
    text = b"weightward merge mask v1\0" + struct.pack("<Q", seed) + \
        hashlib.sha256(name.encode()).digest()
    key = int.from_bytes(hashlib.sha256(text).digest()[:8], "little")
    block = np.arange((n + 3) // 4, dtype=np.uint64)
    words = philox(key, [block, block >> np.uint64(32), np.full_like(block, source),
                         np.zeros_like(block)])
    return np.stack(words, 1).reshape(-1)[:n].astype(np.float64) / 2.0**32


# ---- the task arithmetic family ----

def top(values, k):
    """The k largest, equal ones by index; compared as float32."""
    order = np.argsort(-np.abs(values).astype(np.float32), kind="stable")
    keep = np.zeros(values.size, bool)
    keep[order[:k]] = True
    return keep


def keep_ties(d, density, extra, shape, source):
    return top(d, max(1, int(density * d.size)))


def keep_dare(d, density, extra, shape, source):
    return uniform(d.size, source) < density


def keep_breadcrumbs(d, density, extra, shape, source):
    target, drop = int(density * d.size), int(extra * d.size)
    bottom = max(0, d.size - target - drop)
    first = d.size - bottom - target
    return top(d, first + target) & ~top(d, first)


def keep_della(d, density, extra, shape, source):
    rows = np.abs(d).astype(np.float32).reshape(-1, shape[-1])
    rank = np.argsort(np.argsort(rows, axis=1, kind="stable"), axis=1, kind="stable")
    p = density - extra + 2 * extra * rank / (rows.shape[1] - 1)
    return uniform(d.size, source) < p.reshape(-1)


def family(keep, elect, rescale, normalize):
    def run(base, xs, p, shape):
        parts = []
        for s, x in enumerate(xs):
            d = x - base
            density = p["density"][s]
            mask = np.ones(d.size, bool) if density >= 1 else \
                keep(d, density, p["extra"], shape, s)
            factor = np.abs(d).sum() / np.abs(d[mask]).sum() if rescale and density < 1 else 1.0
            parts.append(np.where(mask, d * factor * p["weight"][s], 0))
        total = sum(parts)
        if elect:
            sign = np.where(total >= 0, 1, -1)
            agree = [np.sign(q) == sign for q in parts]
            divisor = sum(a * w for a, w in zip(agree, p["weight"]))
            total = sum(np.where(a, q, 0) for a, q in zip(agree, parts))
            if normalize:
                total = total / np.where(divisor == 0, 1, divisor)
        elif normalize:
            total = total / sum(p["weight"])
        return base + p["lambda"] * total
    return run


# ---- combinations ----

def unit_angle(a, b):
    return np.clip(np.dot(a, b) / (np.linalg.norm(a) * np.linalg.norm(b)), -1, 1)


def slerp(a, b, t, flat):
    d = unit_angle(a, b)
    if flat(d):
        return (1 - t) * a + t * b
    w = np.arccos(d)
    return (np.sin((1 - t) * w) * a + np.sin(t * w) * b) / np.sin(w)


def ref_slerp(base, xs, p, shape):
    return slerp(base, xs[0], p["t"], lambda d: abs(d) > 0.9995)


def ref_nuslerp(base, xs, p, shape):
    w = p["weight"]
    t = w[1] / (w[0] + w[1])

    def arc(a, b):
        return slerp(a, b, t, lambda d: 1 - d * d <= 1e-16)
    a, b = xs[0] - base, xs[1] - base
    if p.get("nuslerp_flatten", 1):
        return base + arc(a, b)
    a, b = a.reshape(shape), b.reshape(shape)
    axis = 0 if p["nuslerp_row_wise"] else -1
    a, b = np.moveaxis(a, axis, -1), np.moveaxis(b, axis, -1)
    out = np.empty_like(a)
    for i in np.ndindex(a.shape[:-1]):
        out[i] = arc(a[i], b[i])
    return base + np.moveaxis(out, -1, axis).reshape(-1)


def ref_multislerp(base, xs, p, shape):
    w = np.array(p["weight"]) / sum(p["weight"])
    d = [x - base for x in xs]
    norm = [np.linalg.norm(x) for x in d]
    mean = sum(wi * x / (n + 1e-8) for wi, x, n in zip(w, d, norm))
    return base + np.dot(w, norm) * mean / np.linalg.norm(mean)


def ref_karcher(base, xs, p, shape):
    norm = np.array([np.linalg.norm(x) for x in xs])
    u = [x / n for x, n in zip(xs, norm)]
    m = sum(u) / len(u)
    m = m / np.linalg.norm(m)
    for _ in range(10):
        tangent = np.zeros_like(m)
        for x in u:
            d = np.clip(np.dot(x, m), -1, 1)
            theta = np.arccos(d)
            if theta >= 1e-5:
                tangent += theta / np.sin(theta) * (x - d * m) / len(u)
        length = np.linalg.norm(tangent)
        if length < 1e-5:
            break
        m = np.cos(length) * m + np.sin(length) * tangent / length
        m = m / np.linalg.norm(m)
    return norm.mean() * m


def ref_model_stock(base, xs, p, shape):
    rows = (1, -1) if not p.get("filter_wise") else (-1, shape[-1])
    d = [(x - base).reshape(rows) for x in xs]
    n = len(d)
    cos = []
    for i in range(n):
        for j in range(i + 1, n):
            norms = np.linalg.norm(d[i], axis=1) * np.linalg.norm(d[j], axis=1)
            cos.append(np.clip((d[i] * d[j]).sum(1) / np.maximum(norms, 1e-6), -1, 1))
    c = np.mean(cos, axis=0)[:, None]
    t = n * c / (1 + (n - 1) * c)
    return base + (t * sum(d) / n).reshape(-1)


def ref_geometric_median(base, xs, p, shape):
    y = np.mean(xs, axis=0)
    for _ in range(100):
        w = np.array([1 / max(np.linalg.norm(x - y), 1e-12) for x in xs])
        y = sum(wi * x for wi, x in zip(w, xs)) / w.sum()
    return y


# ---- the rest ----

def ref_sce(base, xs, p, shape):
    d = np.array([x - base for x in xs])
    if p["select_topk"] < 1:
        var = d.var(axis=0)
        d = d * top(var, int(p["select_topk"] * np.count_nonzero(var)))
    e = (d * d).mean(axis=1)
    w = e / e.sum() if e.sum() >= 1e-6 else np.full(len(xs), 1 / len(xs))
    agree = np.sign(d) == np.where(d.sum(0) >= 0, 1, -1)
    weights = w[:, None] * agree
    return base + (weights * d).sum(0) / np.maximum(weights.sum(0), 1e-6)


def ref_nearswap(base, xs, p, shape):
    v = np.clip(p["t"] / np.maximum(np.abs(base - xs[0]), 1e-6), 0, 1)
    return v * xs[0] + (1 - v) * base


def ref_arcee_fusion(base, xs, p, shape):
    def soft(v):
        e = np.exp(v - v.max(-1, keepdims=True))
        return e / e.sum(-1, keepdims=True) + 1e-8
    x, b = xs[0].reshape(-1, shape[-1]), base.reshape(-1, shape[-1])
    q, r = soft(x), soft(b)
    score = (np.abs(x - b) * (q * np.log(q / r)).sum(-1, keepdims=True)).reshape(-1)
    score = score.astype(np.float32)
    s = np.sort(score).astype(np.float64)
    q1, q2, q3 = (s[k * (s.size - 1) // 4] for k in (1, 2, 3))
    return np.where(score >= q2 + 1.5 * (q3 - q1), xs[0], base)


def ref_ram(base, xs, p, shape):
    d = np.array([x - base for x in xs])
    on = np.abs(d) > p.get("epsilon", 1e-5)
    count = on.sum(0)
    unique = np.ones(len(xs))
    if "r" in p:
        rho = (on & (count > 1)).sum(1) / np.maximum((on & (count == 1)).sum(1), p["epsilon"])
        unique = 1 + p["r"] * np.clip(rho, 0, p["alpha"])
    factor = np.where(count == 1, unique[:, None], 1)
    return base + (d * on * factor).sum(0) / np.maximum(count, 1)


def ref_magmax(base, xs, p, shape):
    d = np.array([x - base for x in xs])
    best = np.take_along_axis(d, np.abs(d).argmax(0)[None], 0)[0]
    return base + p["lambda"] * best


def ref_consensus(base, xs, p, shape):
    d = np.array([x - base for x in xs])
    merged = sum(w * x for w, x in zip(p["weight"], d))
    votes = (np.abs(d) > p["mask_lambda"] * np.abs(merged - d)).sum(0)
    return base + p["lambda"] * np.where(votes >= p["k"], merged, 0)


def ref_masks(base, xs, p, shape):
    return base + p["lambda"] * sum(w * m * (x - base)
                                    for w, m, x in zip(p["weight"], p["stats"], xs))


def ref_fisher(base, xs, p, shape):
    f = [w * np.maximum(s, p["floor"]) for w, s in zip(p["weight"], p["stats"])]
    return sum(a * x for a, x in zip(f, xs)) / sum(f)


def ref_compeft(base, xs, p, shape):
    total = 0
    for s, x in enumerate(xs):
        d = x - base
        keep = top(d, max(1, int(p["density"][s] * d.size)))
        total = total + p["weight"][s] * np.where(keep, np.sign(d) * p["alpha"] * d.std(), 0)
    return base + p["lambda"] * total


def ref_mwa(base, xs, p, shape):
    w = np.array(p["metric"]) ** p["exponent"]
    return sum(a * x for a, x in zip(w, xs)) / w.sum()


def ref_emr(base, xs, p, shape):
    d = np.array([x - base for x in xs])
    sign = np.where(d.sum(0) > 0, 1.0, -1.0)
    u = sign * np.where(d * sign > 0, np.abs(d), 0).max(0)
    if p["task"] == 0:
        return base + p["lambda"] * u
    own = d[p["task"] - 1]
    part = np.where(own * u > 0, u, 0)
    return base + p["lambda"] * np.abs(own).sum() / np.abs(part).sum() * part


def ref_pcb(base, xs, p, shape):
    d = np.array([x - base for x in xs])
    n, count = d.shape
    ordered = np.sort(np.abs(d), axis=1)
    r, ratio = p["clamp"], p["pcb_ratio"]
    low = ordered[:, int(count * r)][:, None]
    high = ordered[:, int(count * (1 - r) - 1)][:, None]
    a = np.clip(np.abs(d), low, high)
    m = (a - low) / (high - low)
    part = np.sign(d) * m
    if p["inter"] == 0:
        inter = np.tanh(d * d.sum(0))
    elif p["inter"] == 1:
        inter = np.tanh(d * part.sum(0))
    else:
        inter = np.tanh(part[:, None] * part[None]).sum(1)
    s = np.exp(n * m * m) * inter
    s = np.maximum(s, np.sort(s, axis=1)[:, int(count * (1 - ratio))][:, None])
    least, most = s.min(1, keepdims=True), s.max(1, keepdims=True)
    s = (s - least) / (most - least)
    w = np.array(p["weight"])[:, None]
    return base + p["lambda"] * (w * np.sign(d) * a * s).sum(0) / np.maximum(s.sum(0), 1e-12)


def ref_widen(base, xs, p, shape):
    if len(shape) == 1:
        values = [[np.abs(x - base) for x in xs]]
    else:
        b = base.reshape(-1, shape[-1])
        m = [x.reshape(-1, shape[-1]) for x in xs]
        length = np.linalg.norm(b, axis=0)
        own = [np.linalg.norm(x, axis=0) for x in m]
        values = [[np.abs(o - length) for o in own],
                  [1 - (x * b).sum(0) / (o * length) for x, o in zip(m, own)]]
    scores = []
    for kind in values:
        n = kind[0].size
        rank = np.array([np.argsort(np.argsort(v, kind="stable"), kind="stable") for v in kind])
        soft = np.exp(rank / n) / np.exp(rank / n).sum(0)
        scores.append(np.where(rank > p["above_average"] * (n - 1) / 2, p["calibration"], soft))
    weight = np.mean(scores, axis=0)
    total = 0
    for w, x in zip(weight, xs):
        w = w if len(shape) == 1 else np.broadcast_to(w, (base.size // shape[-1], shape[-1]))
        total = total + w.reshape(-1) * (x - base)
    return base + p["lambda"] * total


def ref_linear(base, xs, p, shape):
    return sum(w * x for w, x in zip(p["weight"], xs)) / sum(p["weight"])


W = {"weight": [0.5, 1.25, 0.75]}
FAMILY = {**W, "density": [0.4, 0.55, 1.0], "lambda": 0.7, "extra": 0}
NO_TIES = "no ties"
# name: reference, parameters, models, base, program's own names, mergekit
CASES = {
    "linear": (ref_linear, W, N, False, {}, True),
    "passthrough": (lambda b, x, p, s: x[0] * p["scale"], {"scale": -1.5}, 1, False, {}, False),
    "task_arithmetic": (family(None, False, False, False), {**W, "density": [1] * 3,
                                                            "lambda": 0.7, "extra": 0},
                        N, True, {}, True),
    "ties": (family(keep_ties, True, False, True), FAMILY, N, True, {}, NO_TIES),
    "dare_linear": (family(keep_dare, False, True, False), FAMILY, N, True, {}, False),
    "dare_ties": (family(keep_dare, True, True, False), FAMILY, N, True, {}, False),
    "breadcrumbs": (family(keep_breadcrumbs, False, False, False), {**FAMILY, "extra": 0.01},
                    N, True, {"extra": "gamma"}, NO_TIES),
    "breadcrumbs_ties": (family(keep_breadcrumbs, True, False, False),
                         {**FAMILY, "extra": 0.01}, N, True, {"extra": "gamma"}, NO_TIES),
    "della": (family(keep_della, True, True, True), {**FAMILY, "extra": 0.15}, N, True,
              {"extra": "epsilon"}, False),
    "della_linear": (family(keep_della, False, True, False), {**FAMILY, "extra": 0.15}, N,
                     True, {"extra": "epsilon"}, False),
    "slerp": (ref_slerp, {"t": 0.3}, 1, True, {}, True),
    "nuslerp": (ref_nuslerp, {"weight": [1, 2.5]}, 2, True, {}, True),
    "nuslerp rows": (ref_nuslerp, {"weight": [1, 2.5], "nuslerp_flatten": 0,
                                   "nuslerp_row_wise": 0}, 2, True, {}, True),
    "nuslerp columns": (ref_nuslerp, {"weight": [1, 2.5], "nuslerp_flatten": 0,
                                      "nuslerp_row_wise": 1}, 2, True, {}, True),
    "multislerp": (ref_multislerp, W, N, True, {}, True),
    "karcher": (ref_karcher, {}, N, False, {}, True),
    "model_stock": (ref_model_stock, {}, N, True, {}, True),
    "model_stock rows": (ref_model_stock, {"filter_wise": 1}, N, True, {}, True),
    "geometric_median": (ref_geometric_median, {}, N, False, {}, False),
    "sce": (ref_sce, {"select_topk": 0.35}, N, True, {}, NO_TIES),
    "nearswap": (ref_nearswap, {"t": 0.0004}, 1, True, {}, True),
    "arcee_fusion": (ref_arcee_fusion, {}, 1, True, {}, False),
    "ram": (ref_ram, {"epsilon": 1e-3}, N, True, {}, True),
    "ramplus_tl": (ref_ram, {"epsilon": 1e-3, "r": 0.1, "alpha": 0.2}, N, True, {}, True),
    "magmax": (ref_magmax, {"lambda": 0.5}, N, True, {}, False),
    "consensus": (ref_consensus, {**W, "lambda": 0.9, "k": 2, "mask_lambda": 0.4}, N, True, {},
                  False),
    "masks": (ref_masks, {**W, "lambda": 0.8}, N, True, {}, False),
    "fisher": (ref_fisher, {**W, "floor": 1e-3}, N, False, {}, False),
    "compeft": (ref_compeft, {**W, "lambda": 0.8, "density": [0.2, 0.1, 0.3], "alpha": 1.5}, N,
                True, {}, False),
    "mwa": (ref_mwa, {"metric": [1.5, 0.7, 2.25], "exponent": -2.5}, N, False, {}, False),
    "emr": (ref_emr, {"task": 0, "lambda": 0.9}, N, True, {}, False),
    "emr task": (ref_emr, {"task": 2, "lambda": 1}, N, True, {}, False),
    "pcb": (ref_pcb, {**W, "lambda": 1.17, "pcb_ratio": 0.1, "clamp": 0.01, "inter": 0}, N, True,
            {}, False),
    "pcb scaled": (ref_pcb, {**W, "lambda": 1.17, "pcb_ratio": 0.3, "clamp": 0.001, "inter": 1}, N,
                   True, {}, False),
    "pcb pairs": (ref_pcb, {**W, "lambda": 0.83, "pcb_ratio": 0.2, "clamp": 0.01, "inter": 2}, N,
                  True, {}, False),
    "widen": (ref_widen, {"lambda": 0.9, "above_average": 1, "calibration": 1}, N, True, {},
              False),
    "widen low": (ref_widen, {"lambda": 1, "above_average": 1.4, "calibration": 0.8}, N, True,
                  {}, False),
}


class Probe:
    def __init__(self, build):
        self.program = os.path.join(build, "merge_probe")

    def run(self, method, arrays, base, stats, shape, params, dtype):
        with tempfile.TemporaryDirectory() as folder:
            def store(name, array):
                path = os.path.join(folder, name)
                array.tofile(path)
                return path
            command = [self.program, method, os.path.join(folder, "out"), dtype, "F32",
                       ",".join(map(str, shape)), "-",
                       store("base", base) if base is not None else "-"]
            command += [store(f"x{i}", a) for i, a in enumerate(arrays)]
            if stats:
                command += ["stats"] + [store(f"s{i}", a) for i, a in enumerate(stats)]
            for name, value in params.items():
                text = ",".join(repr(float(v)) for v in value) if isinstance(value, list) \
                    else repr(float(value))
                command.append(f"{name}={text}")
            subprocess.run(command + ["seed=7"], check=True)
            return np.fromfile(os.path.join(folder, "out", "out.bin"), arrays[0].dtype)


def own_params(case):
    _, params, _, _, names, _ = case
    renamed = {names.get(k, k): v for k, v in params.items()}
    renamed.pop("extra", None)
    return renamed


def models(shape, n, rng):
    count = int(np.prod(shape))
    base = rng.normal(0, 0.02, count)
    return base, [base + rng.normal(0, 1e-3, count) for _ in range(n)]


def check_numpy(probe, name, rng):
    """Worst share of equal elements over the shapes, None when something is further off."""
    case = CASES[name]
    reference, params, n, has_base, _, _ = case
    worst = 1.0
    for shape in SHAPES + [LARGE] * (name in SAMPLED):
        if name.startswith("della") and len(shape) > 2:
            continue
        base, xs = models(shape, n, rng)
        base, xs = bf16(base).astype(np.uint16), [bf16(x).astype(np.uint16) for x in xs]
        stats = [bf16(rng.random(base.size)).astype(np.uint16) for _ in xs] \
            if name in ("masks", "fisher") else []
        got = probe.run(name.split()[0], xs, base if has_base else None, stats, shape,
                        own_params(case), "BF16")
        exact = reference(wide(base), [wide(x) for x in xs],
                          {**params, "stats": [wide(s) for s in stats]}, shape)
        off = steps(got, bf16(exact))
        # Where base and change cancel, what is left is the rounding of doubles.
        far = (off > 1) & (np.abs(wide(got) - exact) > 1e-17)
        if far.any():
            print(f"{name} {shape}: {far.sum()} elements are more than a unit off")
            return None
        worst = min(worst, (off == 0).mean())
    return worst


def check_mergekit(probe, name, rng):
    """Largest difference from mergekit in float32, relative to the tensor's scale."""
    import torch
    from mergekit.merge_methods.api import merge_tensors
    case = CASES[name]
    _, _, n, has_base, _, _ = case
    worst = 0.0
    for shape in SHAPES:
        base, xs = models(shape, n, rng)
        base, xs = base.astype(np.float32), [x.astype(np.float32) for x in xs]
        params = own_params(case)
        got = probe.run(name.split()[0], xs, base if has_base else None, [], shape, params,
                        "F32")
        tensors = [torch.from_numpy(x).reshape(shape) for x in xs]
        flags = ("nuslerp_flatten", "nuslerp_row_wise", "filter_wise", "normalize")
        theirs = {k: bool(v) if k in flags else v for k, v in params.items()}
        if has_base:
            tensors = [torch.from_numpy(base).reshape(shape)] + tensors
        # Columns of three elements are close to parallel, where float32 loses the angle.
        dtype = torch.float64 if name == "nuslerp columns" else torch.float32
        want = merge_tensors(tensors, name.split()[0], parameters=theirs,
                             base_index=0 if has_base else None, dtype=dtype)
        want = want.reshape(-1).double().numpy()
        worst = max(worst, np.abs(got - want).max() / np.abs(want).max())
    return worst


def main():
    probe, names = Probe(sys.argv[1]), sys.argv[2:] or list(CASES)
    failed = 0
    for name in names:
        rng = np.random.default_rng(5)
        share = check_numpy(probe, name, rng)
        least = 1.0 if name in ELEMENTWISE else 0.999
        good = share is not None and share >= least
        line = f"{share:.5f} equal" if share is not None else ""
        if CASES[name][5]:
            far = check_mergekit(probe, name, rng)
            good = good and far < 3e-7
            line += f", mergekit within {far:.1e}"
        failed += not good
        print(f"{'ok' if good else 'FAILED':7}{name}: {line}", flush=True)
    print(f"{len(names)} methods and variants, {failed} failed")
    return failed != 0


if __name__ == "__main__":
    sys.exit(main())
