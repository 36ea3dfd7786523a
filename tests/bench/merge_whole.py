#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The methods that merge_papers.py has not, over whole small models, against numpy in float64.

    merge_whole.py BUILD [--only WORD] [--seed N]

Models: one with all that is odd in one (fused projections, stacks of experts, matrices of one row and of one column,
vectors, a head of its own), one with a tied head and a table with its own name, and GPT-2, whose layers are stored
inputs x outputs. Sources as in merge_papers.py. Formulas are those of the papers; descent is Adam written out, with
gradients by hand. Each case runs in float64, off by at most 1e-9 of the tensor's largest change (pcb and
geometric_median 1e-6), and on bfloat16 models
into bfloat16: at least 99.9 % of all values are the reference rounded once, the rest one unit off.
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../interop"))
import merge_papers as papers  # noqa: E402
import numpy as np  # noqa: E402
import test_merge_numpy as single  # noqa: E402
import test_merge_spectral as spectral  # noqa: E402
import torch  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402

HIDDEN, FF, VOCAB, LAYERS = 24, 40, 30, 3
LIMIT, LEAST_EQUAL = 1e-9, 0.999
# Quantiles of magnitudes rounded to float; a median that lies at one of the models, whose distance is a root of rounding.
LOOSE = {"pcb": papers.QUANTILES, "geometric_median": 1e-6}


def odd(tied=False):
    shapes = {"model.embed_tokens.weight": (VOCAB, HIDDEN), "model.norm.weight": (HIDDEN,)}
    if not tied:
        shapes["lm_head.weight"] = (VOCAB, HIDDEN)
    for i in range(LAYERS):
        at = f"model.layers.{i}."
        shapes |= {f"{at}self_attn.qkv_proj.weight": (2 * HIDDEN, HIDDEN), f"{at}self_attn.qkv_proj.bias": (2 * HIDDEN,),
                   f"{at}self_attn.o_proj.weight": (HIDDEN, HIDDEN), f"{at}mlp.gate_up_proj.weight": (2 * FF, HIDDEN),
                   f"{at}mlp.down_proj.weight": (HIDDEN, FF), f"{at}input_layernorm.weight": (HIDDEN,),
                   f"{at}mlp.shared_expert_gate.weight": (1, HIDDEN), f"{at}mlp.column.weight": (HIDDEN, 1),
                   f"{at}mlp.experts.gate_up_proj": (3, 2 * FF, HIDDEN)}
    return shapes, {"model_type": "none", "num_hidden_layers": LAYERS, "tie_word_embeddings": tied}


FAMILIES = {"odd": odd, "tied": lambda: odd(True), "gpt2": papers.gpt2}
TABLES = ("embed_tokens", "wte.")    # token by row, to widen


def across(name, family):
    return family == "gpt2" and ".c_" in name and name.endswith("weight")


# ---- imported statistics ----

def statistics(kind, shapes, family, rng):
    if kind == "gram":
        out = {}
        for n, s in shapes.items():
            if papers.is_matrix(n, s):
                x = rng.standard_normal((90, s[0] if across(n, family) else s[1]))
                out[n] = x.T @ x
        return out
    draw = (lambda s: rng.random(s) ** 4) if kind == "fisher" else (lambda s: (rng.random(s) < 0.5) * 1.0)
    return {n: draw(s) for n, s in shapes.items()}


# ---- references: (base, sources, parameters, statistics, family) to the merged tensors ----

def each(rule):
    """rule(base, sources, statistics or None) of one tensor."""
    def run(base, xs, p, stats, family):
        return {n: rule(b, [x[n] for x in xs], p, [s.get(n) for s in stats], n, family) for n, b in base.items()}
    return run


@each
def fisher(b, xs, p, stats, name, family):
    f = [np.maximum(s, 1e-6) for s in stats]
    return sum(a * x for a, x in zip(f, xs)) / sum(f)


@each
def masks(b, xs, p, stats, name, family):
    return b + p["lambda"] * sum(m * (x - b) for m, x in zip(stats, xs))


@each
def mwa(b, xs, p, stats, name, family):
    w = [m ** p["exponent"] for m in p["metric"]]
    return sum(a * x for a, x in zip(w, xs)) / sum(w)


@each
def geometric_median(b, xs, p, stats, name, family):
    y = sum(xs) / len(xs)
    for _ in range(100):
        w = [1 / max(np.linalg.norm(x - y), 1e-12) for x in xs]
        y = sum(a * x for a, x in zip(w, xs)) / sum(w)
    return y


@each
def regmean(b, xs, p, stats, name, family):
    if stats[0] is None:
        return sum(xs) / len(xs)
    grams = [g * p["off_diagonal"] + np.diag(np.diag(g)) * (1 - p["off_diagonal"]) for g in stats]
    turn = (lambda x: x) if across(name, family) else (lambda x: x.T)
    return turn(np.linalg.solve(sum(grams), sum(g @ turn(x) for g, x in zip(grams, xs))))


@each
def widen(b, xs, p, stats, name, family):
    """Columns of [out, in]; a table of tokens and what lies across is turned; a vector by its elements."""
    turn = b.ndim == 2 and (any(t in name for t in TABLES) or across(name, family))
    own = lambda x: x if b.ndim == 1 else (x.T if turn else x.reshape(-1, b.shape[-1]))  # noqa: E731
    m0, ms = own(b), [own(x) for x in xs]
    if b.ndim == 1:
        kinds = [[np.abs(m - m0) for m in ms]]
    else:
        length = [np.linalg.norm(m, axis=0) for m in ms]
        zero = np.linalg.norm(m0, axis=0)
        kinds = [[np.abs(n - zero) for n in length],
                 [1 - (m * m0).sum(0) / (n * zero) for m, n in zip(ms, length)]]
    scores = []
    for values in kinds:
        rank = np.empty((len(ms), values[0].size))
        for i, v in enumerate(values):
            rank[i, np.argsort(v, kind="stable")] = np.arange(v.size)
        rank = rank / values[0].size
        soft = np.exp(rank) / np.exp(rank).sum(0)
        scores.append(np.where(rank > rank.mean(1, keepdims=True), 1.0, soft))
    weight = sum(scores) / len(scores)
    out = m0 + sum(w * (m - m0) for w, m in zip(weight, ms))
    return out if b.ndim == 1 else (out.T if turn else out.reshape(b.shape))


@each
def swapped(b, xs, p, stats, name, family):
    """The outer layers of one model, the middle of the other; what is in no layer is the first's."""
    t = 1.0
    for part in (".layers.", ".h."):
        if part in name:
            layer = int(name.split(part)[1].split(".")[0])
            t = {0: 1.0, LAYERS - 1: 1.0}.get(layer, 0.0) if family != "gpt2" else 1.0
    return t * xs[0] + (1 - t) * xs[1]


def adam(start, gradient, steps, rate):
    x, m, v = start.copy(), np.zeros_like(start), np.zeros_like(start)
    for k in range(1, steps + 1):
        g = gradient(x)
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        x = x - rate / (1 - 0.9 ** k) * m / (np.sqrt(v) / np.sqrt(1 - 0.999 ** k) + 1e-8)
    return x


def wudi(taus):
    """Sum of |(tau - tau_i) tau_i^T|^2 / |tau_i|^2, whose gradient is 2 (tau - tau_i) tau_i^T tau_i / |tau_i|^2."""
    sizes = [(t * t).sum() for t in taus]
    live = [(t, s) for t, s in zip(taus, sizes) if s > 0]
    return adam(sum(taus), lambda x: sum(2 * (x - t) @ (t.T @ t) / s for t, s in live), 300, 1e-5)


def optmerge(taus):
    return spectral.optmerge(taus)


def left(x, k):
    return np.linalg.svd(x, full_matrices=False)[0][:, :k]


def doge(base, xs, p, stats, family):
    taus = [{n: x[n] - base[n] for n in base} for x in xs]
    cuts = []
    for t in taus:
        size = np.sort(np.concatenate([np.abs(v).astype(np.float32).ravel() for v in t.values()]))[::-1]
        cuts.append(size[max(1, int(0.3 * size.size)) - 1])

    def rule(n, parts):
        rank, count = min(parts[0].shape), len(parts)
        common = left(np.concatenate([left(t, rank // count) for t in parts], axis=1), rank // 6)
        rates = [0.07 / np.linalg.norm(t) for t in parts]
        first, total = sum(r * t for r, t in zip(rates, parts)), sum(rates)

        def gradient(d):
            rows = [(t * t - t * (first + total * d)).sum(1, keepdims=True) for t in parts]
            g = sum(-2 * total * r * t for r, t in zip(rows, parts))
            return g - common @ (common.T @ g)
        d = adam(np.zeros_like(parts[0]), gradient, 400, 1e-4)
        kept = [np.abs(t).astype(np.float32) >= cut for t, cut in zip(parts, cuts)]
        return sum(r * k * (t + d) for r, k, t in zip(rates, kept, parts))
    out = {}
    for n, b in base.items():
        parts = [t[n] for t in taus]
        if not papers.is_matrix(n, b.shape):
            out[n] = b + sum(parts) / len(parts)
        elif across(n, family):
            out[n] = b + rule(n, [t.T for t in parts]).T
        else:
            out[n] = b + rule(n, parts)
    return out


def of_changes(rule):
    """A rule of merge_papers.py, which sees changes."""
    def run(base, xs, p, stats, family):
        merged = rule([{n: x[n] - base[n] for n in base} for x in xs], family)
        return {n: base[n] + merged[n] for n in base}
    return run


def paper_dare(base, xs, p, stats, family):
    return {n: b + sum(np.where(single.uniform(b.size, i, 0, n).reshape(b.shape) < p["density"], (x[n] - b) / p["density"], 0)
                       for i, x in enumerate(xs)) for n, b in base.items()}


def paper_ties(base, xs, p, stats, family):
    """The largest of the whole model, equal ones by the order of tensors in the files."""
    names = sorted(base)
    flat = lambda m: np.concatenate([m[n].ravel() for n in names])  # noqa: E731
    b = flat(base)
    taus = [flat(x) - b for x in xs]
    kept = [np.where(single.top(t, max(1, int(p["density"] * t.size))), t, 0) for t in taus]
    sign = np.where(sum(kept) >= 0, 1, -1)
    agree = [np.sign(k) == sign for k in kept]
    merged = b + sum(np.where(a, k, 0) for a, k in zip(agree, kept)) / np.maximum(sum(agree), 1)
    out, at = {}, 0
    for n in names:
        out[n] = merged[at:at + base[n].size].reshape(base[n].shape)
        at += base[n].size
    return out


# What is left to rounding: directions of equal length, and gradients of 0, which Adam divides by their own size.
SOLVED = ("low rank", "two are equal")
TWO = ("one alone",)
# name: (method, reference, parameters, statistics, kinds left out, options)
CASES = {
    "fisher": ("fisher", fisher, {}, "fisher", (), ()),
    "masks": ("masks", masks, {"lambda": 0.8}, "masks", (), ()),
    "mwa": ("mwa", mwa, {"exponent": -2.5}, None, (), ()),
    "geometric_median": ("geometric_median", geometric_median, {}, None, (), ()),
    "regmean": ("regmean", regmean, {"off_diagonal": 0.7}, "gram", (), ()),
    "widen": ("widen", widen, {}, None, ("low rank", "one is the base", "two are equal"), ()),
    "layers swapped": ("linear", swapped, {}, None, TWO, ()),
    "wudi": ("wudi", of_changes(papers.by_matrix(wudi)), {}, None, SOLVED + ("one alone",), ()),
    "optmerge": ("optmerge", of_changes(papers.by_matrix(optmerge)), {"steps": 60}, None,
                 SOLVED + ("one is the base", "one alone"), ()),
    "doge": ("doge", doge, {}, None, SOLVED + ("one is the base", "all are the base", "one alone"), ()),
    "emr unified": ("emr", of_changes(papers.over_all(single.ref_emr, task=0)), {"task": 0}, None, (), ()),
    "pcb scaled": ("pcb", of_changes(papers.over_all(single.ref_pcb, pcb_ratio=0.3, clamp=0.01, inter=1)),
                   {"pcb_ratio": 0.3, "clamp": 0.01, "inter": 1, "lambda": 1}, None, ("one is the base",), ()),
    "pcb pairs": ("pcb", of_changes(papers.over_all(single.ref_pcb, pcb_ratio=0.2, clamp=0.01, inter=2)),
                  {"pcb_ratio": 0.2, "clamp": 0.01, "inter": 2, "lambda": 1}, None, ("one is the base",), ()),
    "dare of its paper": ("dare_linear", paper_dare, {"density": 0.4}, None, (), ("--paper", "--seed", "0")),
    "ties of its paper": ("ties", paper_ties, {"density": 0.3}, None, (), ("--paper",)),
}
spectral.optmerge = (lambda inner: lambda taus: inner(taus, steps=60))(spectral.optmerge)
BASELESS = ("fisher", "mwa", "geometric_median", "regmean", "linear")


class Models:
    def __init__(self, build, folder, dtype):
        self.program, self.folder = os.path.abspath(os.path.join(build, "weightward")), folder
        self.dtype = getattr(torch, dtype)

    def store(self, name, tensors, config=None, dtype=None):
        os.makedirs(f"{self.folder}/{name}", exist_ok=True)
        save_file({n: torch.tensor(t).to(dtype or self.dtype).contiguous() for n, t in tensors.items()},
                  f"{self.folder}/{name}/model.safetensors")
        if config:
            with open(f"{self.folder}/{name}/config.json", "w") as f:
                json.dump(config, f)

    def load(self, name):
        return {n: t.double().numpy() for n, t in load_file(f"{self.folder}/{name}/model.safetensors").items()}

    def merge(self, case, n):
        method, _, parameters, stats, _, options = CASES[case]
        models = [{"model": f"m{i}", **({"statistics": f"{stats}{i}"} if stats else {}), "parameters": {"weight": 1}}
                  for i in range(n)]
        recipe = {"merge_method": method, "models": models, "parameters": {**parameters}}
        if self.dtype == torch.float64:
            recipe["dtype"] = "float64"
        if method not in BASELESS:
            recipe["base_model"] = "base"
        if method == "mwa":
            for m, metric in zip(models, METRICS):
                m["parameters"] = {"metric": metric}
        if case == "layers swapped":
            recipe["models"] = models = models[:2]
            models[0]["parameters"] = {"weight": SHARE}
            models[1]["parameters"] = {"weight": [1 - s for s in SHARE]}
        known = ("mwa", "linear", "fisher", "masks", "regmean", "wudi", "optmerge", "doge", "dare_linear", "ties", "pcb")
        for m in models:
            if method not in known:
                m.pop("parameters", None)
        with open(f"{self.folder}/recipe.yml", "w") as f:
            json.dump(recipe, f)
        subprocess.run(["rm", "-rf", f"{self.folder}/out"], check=True)
        run = subprocess.run([self.program, "merge", "recipe.yml", "out", "-q", *options], cwd=self.folder,
                             capture_output=True, text=True)
        return (self.load("out"), None) if run.returncode == 0 else (None, run.stderr.strip())


METRICS, SHARE = (1.5, 0.7, 2.25), [1, 0, 1]


def judge(got, base, want, dtype, limit):
    """"" when they are equal as far as is asked."""
    if set(got) != set(want):
        return f"other tensors: {sorted(set(got) ^ set(want))[:3]}"
    if dtype == "float64":
        off, name = max((np.abs(got[n] - w).max() / max(np.abs(w - base[n]).max(), 1e-3), n) for n, w in want.items())
        return "" if off < limit else f"{name} off by {off:.2g}"
    off = {n: single.steps(single.bf16(got[n]), single.bf16(w)) for n, w in want.items()}
    total = sum(o.size for o in off.values())
    unequal, far = sum((o > 0).sum() for o in off.values()), max((o.max(), n) for n, o in off.items())
    return "" if unequal <= (1 - LEAST_EQUAL) * total and far[0] <= 1 else \
        f"{unequal} of {total} differ, {far[1]} by {far[0]} units"


def run_kind(args, family, kind, dtype, counts):
    shapes, config = FAMILIES[family]()
    rng = np.random.default_rng(args.seed + len(kind))
    base = {n: rng.standard_normal(s) for n, s in shapes.items()}
    changes = papers.changes(kind, shapes, rng)
    with tempfile.TemporaryDirectory() as folder:
        models = Models(args.build, folder, dtype)
        models.store("base", base, {**config, "dtype": dtype})
        for i, t in enumerate(changes):
            models.store(f"m{i}", {n: base[n] + t[n] for n in base}, {**config, "dtype": dtype})
        base, xs = models.load("base"), [models.load(f"m{i}") for i in range(len(changes))]
        for case, (method, rule, p, stats, left_out, _) in CASES.items():
            if args.only not in f"{case} {family} {kind} {dtype}" or kind in left_out:
                continue
            if dtype == "bfloat16" and method == "pcb":
                continue    # quantiles of magnitudes, of which many are equal
            kept = []
            for i in range(len(xs) if stats else 0):
                models.store(f"{stats}{i}", statistics(stats, shapes, family, rng), dtype=torch.float64)
                kept.append(models.load(f"{stats}{i}"))
            counts[0] += 1
            with np.errstate(all="ignore"):
                same = method == "pcb" and kind == "all are the base"    # 0 of 0
                want = base if same else rule(base, xs, {**p, "metric": METRICS[:len(xs)]}, kept or [{}] * len(xs), family)
            got, said = models.merge(case, len(xs))
            limit = LOOSE.get(method, LIMIT)
            finite = all(np.isfinite(t).all() for t in want.values())
            wrong = said if said else judge(got, base, want, dtype, limit) if finite else "numpy is not finite"
            if wrong and not (said and not finite):
                counts[1] += 1
                print(f"look {case}, {family}, {kind}, {dtype}: {wrong}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("build")
    parser.add_argument("--only", default="")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(1)
    counts = [0, 0]
    for family in FAMILIES:
        for kind in papers.KINDS:
            for dtype in ("float64", "bfloat16"):
                run_kind(args, family, kind, dtype, counts)
    print(f"{counts[0]} cases, {counts[1]} to look at")
    return counts[1] != 0


if __name__ == "__main__":
    sys.exit(main())
