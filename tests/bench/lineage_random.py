#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Suspects drawn at random, and how often an answer is wrong or too sure.

    .venv/bin/python tests/bench/lineage_random.py BUILD FAMILY [--n 200] [--seed 1] [--first 0] [--only I]
                                                   [--work FOLDER] [--keep FILE]
                                                   [--methods A,B] [--stages A,B]

Suspect I of a seed is always the same: a family (FAMILY, a trained one, or one made up of
another architecture), one to four sources, a method with numbers at random, in one of four a
source that is not given, decoys beside it, and up to two disguises. mergekit merges. Asked:

    accused     a decoy is named, and the answer is not one in part
    missed      none is missing and a source whose share is 0.05 or more (of sums, on either
                side of zero) is not named
    share       a share of a sum is off by more than the bound of its disguise
    method      not the right one, nor listed, where the bits are the merge's own
    sure        a source is missing that is a tenth of the difference, and the answer is not in part
    refused     no answer

and how many intervals of shares hold the truth. --methods draws from these alone, --stages
disguises from one of these each (eight, gguf): other suspects than without. Rates are told with limits of 95 % (Clopper
and Pearson). --keep has every answer.
"""
import argparse
import collections
import glob
import json
import os
import random
import shutil
import subprocess
import tempfile

import torch

import lineage_families as made
from lineage_merges import Merges

TRAINED = "trained"
CAN = {  # disguises of a family, by stage
    TRAINED: ("change", "cast", "place", "lock", "eight", "gguf"),
    "llama": ("change", "cast", "place", "lock", "eight", "gguf"),
    "qwen2": ("change", "cast", "place", "lock", "eight", "gguf"),
    "gemma2": ("change", "cast", "place", "lock", "eight"),
    "mixtral": ("change", "cast", "place", "lock", "eight"),
    "gpt2": ("change", "cast", "lock"),
}
STAGES = {
    "change": ("noise 0.05", "noise 0.2", "trained 0.2", "trained 0.5", "pruned 0.2", "pruned 0.5"),
    "cast": ("cast bfloat16", "cast float16", "cast float32", "shards", "words"),
    "place": ("permuted", "stream"),
    "lock": ("lock exact", "lock exact", "lock dense"),
    "eight": ("eight int8", "eight int8-zeros", "eight fp8-rows", "eight fp8-tensor", "eight fp8-blocks"),
    "gguf": ("gguf Q8_0", "gguf Q6_K", "gguf Q5_K", "gguf Q4_K", "gguf Q4_0", "gguf Q5_0"),
}
ORDER = ("change", "cast", "place", "lock", "eight", "gguf")
# Bounds of a share after a disguise; 0.01 after none.
BOUNDS = {"trained": 0.02, "eight": 0.02, "gguf Q8_0": 0.02, "gguf Q6_K": 0.02, "gguf Q5_K": 0.02, "gguf Q5_0": 0.05,
          "gguf Q4_K": 0.05, "gguf Q4_0": 0.05, "pruned": 0.02, "lock dense": 0.02}
KEEPS_BITS = ("cast", "shards", "words", "permuted", "stream", "lock exact")
# The right word, and those that are as good: names of the same sum, or of a mask drawn at random.
SUMS = ("linear", "task_arithmetic", "linear with the base")
DROPS = ("dare_linear", "dare_ties", "della_linear", "della")
RIGHT = {
    "linear": SUMS + ("slerp",), "task_arithmetic": SUMS + ("slerp",), "slerp": ("slerp", "nuslerp"), "ties": ("ties",),
    "dare_linear": DROPS, "dare_ties": DROPS, "della_linear": DROPS, "della": DROPS,
    "breadcrumbs": ("breadcrumbs", "breadcrumbs_ties"), "breadcrumbs_ties": ("breadcrumbs", "breadcrumbs_ties"),
    "sce": ("sce",), "model_stock": ("model_stock",), "nuslerp": ("nuslerp", "slerp"),
    "multislerp": ("multislerp", "linear"), "karcher": ("karcher", "multislerp"), "passthrough": ("passthrough",),
}
METHODS = ("linear", "linear", "task_arithmetic", "task_arithmetic", "task_arithmetic", "slerp", "slerp", "ties", "ties",
           "ties", "dare_linear", "dare_ties", "della_linear", "della", "breadcrumbs", "breadcrumbs_ties", "sce",
           "model_stock", "nuslerp", "multislerp", "karcher", "passthrough", "stack", "lora", "chain")
LEAST, MISSING = 0.05, 0.1


class Draw:
    """Everything that is random about one suspect."""

    def __init__(self, seed, i, families, methods=METHODS, stages=()):
        self.r = random.Random(f"{seed}/{i}")
        self.stages = stages
        names = [TRAINED, TRAINED, TRAINED, *made.MADE]
        self.name = self.r.choice([n for n in names if not stages or set(stages) & set(CAN[n])])
        self.family = families[self.name]
        self.method = self.r.choice(methods)
        self.k = self.r.choice((1, 2, 2, 2, 3, 3, 4))
        if self.method in ("slerp", "nuslerp"):
            self.k = 2
        elif self.method in ("model_stock", "multislerp", "karcher", "sce", "stack", "chain"):
            self.k = max(2, self.k)
        elif self.method in ("passthrough", "lora"):
            self.k = 1
        tunes = self.r.sample(self.family.tunes, len(self.family.tunes))
        self.sources = tunes[: self.k]
        decoys = tunes[self.k:]
        decoys = decoys[: self.r.randint(1, len(decoys))]
        self.lost = self.r.choice(self.sources) if self.method not in ("passthrough", "lora") and self.r.random() < 0.25 else None
        given = [s for s in self.sources if s != self.lost] + decoys
        self.given = self.r.sample(given, len(given))
        self.seed = self.r.randrange(1 << 30)
        self.sum = None  # shares, where the method is a sum
        self.disguises = self.draw_disguises()

    def draw_disguises(self):
        stages = [s for s in ORDER if s in CAN[self.name]]
        if self.stages:
            chosen = [self.r.choice([s for s in stages if s in self.stages])]
        else:
            chosen = self.r.sample(stages, min(self.r.choice((0, 1, 1, 2)), len(stages)))
        if {"eight", "gguf"} <= set(chosen):
            chosen.remove("eight")
        out = []
        for stage in sorted(chosen, key=ORDER.index):
            kinds = [k for k in STAGES[stage] if "_K" not in k or self.name != TRAINED]
            if self.name == "gpt2":
                kinds = [k for k in kinds if k != "words" and "dense" not in k]
            out.append(self.r.choice(kinds))
        # A dense lock is not undone under blocks, and says so.
        if any("dense" in d for d in out):
            out = [d for d in out if not d.startswith(("eight", "gguf"))]
        return out

    def number(self, low, high):
        return round(self.r.uniform(low, high), self.r.choice((1, 2, 2, 3)))

    def parts(self):
        """Weights of a sum of one."""
        raw = [self.r.uniform(0.2, 1) for _ in range(self.k)]
        out = [round(x / sum(raw), 2) for x in raw]
        return [round(1 - sum(out[1:]), 2), *out[1:]]

    def signed(self):
        out = [0] * self.k
        for i in range(self.k):
            while abs(out[i]) < LEAST:
                out[i] = self.number(-0.4, 1.2)
        return out

    def recipe(self):
        return getattr(self, f"_{self.method}", self._selection)()

    def models(self, weights=None, **own):
        of = lambda i: {**({"weight": weights[i]} if weights else {}), **{k: v() for k, v in own.items()}}
        return [{"model": s, **({"parameters": of(i)} if weights or own else {})} for i, s in enumerate(self.sources)]

    def config(self, method, models, base=True, **whole):
        dtype, out = self.r.choice((("float32", "bfloat16"),) * 6 + (("bfloat16", "bfloat16"), ("float32", "float16"), ("float32", "float32")))
        return {"merge_method": method, "models": models, "dtype": dtype, "out_dtype": out,
                **({"base_model": self.family.base} if base else {}), **({"parameters": whole} if whole else {})}

    def _linear(self):
        self.sum = self.parts()
        return self.config("linear", self.models(self.sum), False)

    def _task_arithmetic(self):
        weights = self.signed()
        scale = self.number(0.5, 1.2) if self.r.random() < 0.2 else 1
        self.sum = [w * scale for w in weights]
        return self.config("task_arithmetic", self.models(weights), **({"lambda": scale} if scale != 1 else {}))

    def _slerp(self):
        t = self.number(0.1, 0.9)
        if self.r.random() < 0.3:
            t = [self.number(0, 1) for _ in range(self.r.choice((2, 3, 5)))]
        else:
            self.sum = [1 - t, t]
        out = self.config("slerp", self.models(), False, t=t)
        return {**out, "base_model": self.sources[0]}

    def _selection(self):
        """TIES, DARE, DELLA and breadcrumbs, with or without elected signs."""
        weights = [max(0.1, w) if self.r.random() < 0.8 else w for w in self.signed()]
        most = 0.89 if self.method in ("della", "della_linear") else 1  # and epsilon, below 1
        own = {"density": lambda: min(most, self.number(0.3, 0.9))}
        one = self.r.random() < 0.5 and own["density"]()
        own = {"density": lambda: one} if one else own
        if self.method in ("della", "della_linear"):
            own["epsilon"] = lambda: 0.1
        if "breadcrumbs" in self.method:
            own["gamma"] = lambda: 0.01
        whole = {"normalize": self.r.random() < 0.5 and all(w > 0 for w in weights)}
        if self.r.random() < 0.2:
            whole["lambda"] = self.number(0.6, 1.2)
        return self.config(self.method, self.models(weights, **own), **whole)

    def _sce(self):
        return self.config("sce", self.models(), select_topk=self.number(0.2, 1))

    def _model_stock(self):
        return self.config("model_stock", self.models())

    def _nuslerp(self):
        return self.config("nuslerp", self.models(self.parts()), self.r.random() < 0.5)

    def _multislerp(self):
        return self.config("multislerp", self.models(self.parts()), self.r.random() < 0.5)

    def _karcher(self):
        return self.config("karcher", self.models(), False)

    def _passthrough(self):
        self.sum = [1]
        return {"merge_method": "passthrough", "models": self.models(), "dtype": "bfloat16"}

    def _stack(self):
        """Layers of the sources, in their places or with some repeated."""
        n = self.family.layers
        cuts = sorted(self.r.sample(range(1, n), min(self.k, n) - 1))
        self.sources = self.sources[: len(cuts) + 1]
        self.lost = self.lost if self.lost in self.sources else None
        again = self.r.random() < 0.4 and self.name in (TRAINED, "llama", "qwen2")
        slices = [{"sources": [{"model": s, "layer_range": [max(0, a - (again and i > 0)), b]}]}
                  for i, (s, a, b) in enumerate(zip(self.sources, [0, *cuts], [*cuts, n]))]
        return {"merge_method": "passthrough", "slices": slices, "dtype": "bfloat16"}

    def _lora(self):
        self.sum = [1]
        return None

    def _chain(self):
        """A merge of a merge: of the first ones by a method, then with the last by a sum."""
        inner, outer = self.sources[:-1], self.number(0.2, 0.8)
        how = self.r.choice(("linear", "ties", "dare_linear"))
        weights = [round(self.r.uniform(0.3, 0.8), 2) for _ in inner]
        if how == "linear":
            weights = [w / sum(weights) for w in weights]
            self.sum = [w * (1 - outer) for w in weights] + [outer]
        own = {} if how == "linear" else {"density": 0.6}
        first = {"merge_method": how, "dtype": "float32", "out_dtype": "bfloat16",
                 "models": [{"model": s, "parameters": {"weight": w, **own}} for s, w in zip(inner, weights)],
                 **({} if how == "linear" else {"base_model": self.family.base, "parameters": {"normalize": False}})}
        last = {"merge_method": "linear", "dtype": "float32", "out_dtype": "bfloat16",
                "models": [{"model": self.family.merges.merge(first, self.seed)[0], "parameters": {"weight": 1 - outer}},
                           {"model": self.sources[-1], "parameters": {"weight": outer}}]}
        return last


class Family:
    def __init__(self, build, path, work):
        self.path = os.path.abspath(path)
        self.base = os.path.join(self.path, "base")
        self.tunes = sorted(p for k in ("expert-*", "sibling-*", "t[0-9]") for p in glob.glob(os.path.join(self.path, k)))
        self.merges = Merges(work, self.path)
        self.disguises = made.Disguises(build, self.base)
        with open(os.path.join(self.base, "config.json"), encoding="utf-8") as f:
            config = json.load(f)
        self.layers = config.get("num_hidden_layers", config.get("n_layer"))
        self.deltas = {}

    def delta(self, model):
        if model not in self.deltas:
            base = self.disguises.base_weights
            self.deltas[model] = {k: v.float() - base[k] for k, v in made.weights(model).items() if k in base}
        return self.deltas[model]

    def adapted(self, source, out, g):
        """As an adapter of a few directions in each projection leaves it."""
        t = made.weights(source)
        new = {}
        for k, v in t.items():
            new[k] = v
            if v.ndim == 2 and ("layers" in k or ".h." in k):
                low = torch.randn(v.shape[0], 8, generator=g) @ torch.randn(8, v.shape[1], generator=g)
                new[k] = (v.float() + 0.02 * v.float().std() * low / low.std()).to(v.dtype)
        return made.folder(out, new, source)


def regress(family, plain, models):
    """Shares of models in a merge, of elements where one of them has eight steps; and what is left."""
    base = family.disguises.base_weights
    suspect = made.weights(plain)
    gram, total = torch.zeros(len(models), len(models), dtype=torch.float64), 0.0
    right = torch.zeros(len(models), dtype=torch.float64)
    for name, b in base.items():
        if name not in suspect or suspect[name].shape != b.shape:
            continue
        x = torch.stack([family.delta(m)[name].flatten() for m in models]).double()
        big = x.abs().amax(0) >= b.flatten().abs().log2().floor().exp2() / 16
        y = (suspect[name].float() - b).flatten().double()[big]
        x = x[:, big]
        gram, right, total = gram + x @ x.T, right + x @ y, total + float(y @ y)
    shares = torch.linalg.lstsq(gram, right[:, None]).solution[:, 0]
    return shares.tolist(), max(0.0, 1 - float(shares @ right) / total) if total else 0.0


def make(draw, work):
    """The suspect, and what of it is known: shares of its sources, what the lost one leaves."""
    g = torch.Generator().manual_seed(draw.seed)
    config = draw.recipe()
    if draw.method == "lora":
        path = draw.family.adapted(draw.sources[0], os.path.join(work, "adapted"), g)
    else:
        path = made.apart(draw.family.merges.merge(config, draw.seed)[0])
    truth = {"config": config}
    stack = draw.method == "stack"
    if not stack:
        shares, left = regress(draw.family, path, draw.sources)
        truth["shares"] = dict(zip(draw.sources, draw.sum or shares))
        if draw.lost:
            truth["lost"] = regress(draw.family, path, draw.given)[1] - left
    for i, kind in enumerate(draw.disguises):
        path = draw.family.disguises.apply(kind, path, os.path.join(work, f"disguise-{i}"), g)
    return path, truth


def bound_of(draw):
    return max([0.01, *(v for d in draw.disguises for k, v in BOUNDS.items() if d.startswith(k))])


def judge(draw, truth, found):
    """What is amiss, and (holding, all) intervals."""
    if "error" in found:
        return ["refused " + found["error"][:100]], (0, 0)
    sources = {s["name"]: s for s in found["sources"]}
    included = {n for n, s in sources.items() if s["included"]}
    part, short = found["incomplete"], os.path.basename
    out = []
    decoys = included - set(draw.sources)
    if decoys and not part:
        out.append("accused " + " ".join(f"{short(d)} {sources[d]['share']:.3f}" for d in sorted(decoys)))
    lost = draw.lost and (truth.get("lost", 1) > MISSING)
    if lost and included and not part:
        out.append("sure")
    if not draw.lost:
        of = lambda s: truth["shares"][s] if "shares" in truth else 1
        there = lambda s: (abs(of(s)) if draw.sum else of(s)) >= LEAST
        missed = [s for s in draw.sources if there(s) and s not in included]
        if missed:
            out.append("missed " + " ".join(f"{short(m)} {of(m):.3f}" for m in missed))
    held = [0, 0]
    if draw.sum and not draw.lost and draw.method != "lora":
        for name, s in sources.items():
            want = truth["shares"].get(name, 0)
            low, high = s["interval"]
            held[0] += low - 1e-4 <= want <= high + 1e-4
            held[1] += 1
            if name in draw.sources and abs(s["share"] - want) > bound_of(draw):
                out.append(f"share {short(name)} {s['share']:.4f} for {want:.4f}")
    right = RIGHT.get({"stack": "passthrough", "chain": "any"}.get(draw.method, draw.method))
    if draw.method == "lora":
        right = ("lora",)
    listed = {found["method"]["best"], *found["method"]["not_excluded"]}
    bits = all(d.startswith(KEEPS_BITS) for d in draw.disguises)
    nothing = "shares" in truth and max(abs(v) for v in truth["shares"].values()) < LEAST
    if right and bits and not draw.lost and not nothing and not listed & {*right, *(SUMS if draw.k == 1 else ())}:
        out.append("method " + found["method"]["best"])
    if part and not draw.lost and draw.method != "lora" and not any(d.startswith("trained") for d in draw.disguises):
        out.append("in part")
    return out, held


def decompose(build, family, suspect, candidates):
    arguments = [a for c in candidates for a in ("--candidate", c)]
    done = subprocess.run([os.path.join(build, "weightward"), "lineage", "decompose", suspect, "--base", family.base,
                           *arguments, "--json", "-q"], capture_output=True, text=True)
    return json.loads(done.stdout) if done.returncode == 0 else {"error": done.stderr.strip()}


def limits(k, n):
    """Clopper and Pearson, 95 %."""
    from scipy.stats import beta
    return (beta.ppf(0.025, k, n - k + 1) if k else 0.0, beta.ppf(0.975, k + 1, n - k) if k < n else 1.0)


def rate(name, k, n):
    low, high = limits(k, n) if n else (0, 1)
    print(f"{name}: {k} of {n} ({low:.4f} to {high:.4f})")


def tell(rows):
    whole = [r for r in rows if not r["lost"]]
    lost = [r for r in rows if r["lost"] and r["truth"].get("lost", 1) > MISSING]
    has = lambda rows, word: sum(any(a.startswith(word) for a in r["amiss"]) for r in rows)
    rate("accused", has(rows, "accused"), len(rows))
    rate("missed, none missing", has(whole, "missed"), len(whole))
    rate("share off", has(whole, "share"), sum(r["held"][1] > 0 for r in whole))
    rate("intervals that hold", sum(r["held"][0] for r in rows), sum(r["held"][1] for r in rows))
    rate("method not listed, bits the merge's own", has(whole, "method"),
         sum(all(d.startswith(KEEPS_BITS) for d in r["disguises"]) for r in whole))
    rate("too sure, one missing", has(lost, "sure"), len(lost))
    rate("in part, none missing", has(whole, "in part"), len(whole))
    rate("refused", has(rows, "refused"), len(rows))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("build")
    parser.add_argument("family")
    parser.add_argument("--n", type=int, default=200)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", type=int)
    parser.add_argument("--work")
    parser.add_argument("--keep")
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--stages", default="")
    args = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        work = os.path.abspath(args.work or temporary)
        paths = {TRAINED: args.family, **{n: made.make_up(n, os.path.join(work, "family", n)) for n in made.MADE}}
        families = {n: Family(args.build, p, os.path.join(work, "merges", n)) for n, p in paths.items()}
        rows = []
        for i in [args.only] if args.only is not None else range(args.first, args.first + args.n):
            draw = Draw(args.seed, i, families, args.methods.split(","), tuple(filter(None, args.stages.split(","))))
            one = os.path.join(work, "one")
            shutil.rmtree(one, ignore_errors=True)
            os.makedirs(one)
            suspect, truth = make(draw, one)
            found = decompose(args.build, draw.family, suspect, draw.given)
            amiss, held = judge(draw, truth, found)
            names = lambda it: [os.path.basename(x) for x in it]
            rows.append({"i": i, "family": draw.name, "method": draw.method, "sources": names(draw.sources),
                         "given": draw.given, "lost": draw.lost and os.path.basename(draw.lost), "disguises": draw.disguises,
                         "truth": truth, "held": held, "amiss": amiss, "suspect": suspect, "found": found})
            print(i, draw.name, draw.method, " ".join(names(draw.sources)), "lost " + os.path.basename(draw.lost) if draw.lost else "-",
                  ", ".join(draw.disguises) or "-", found.get("method", {}).get("best"), f"{found.get('unexplained', -1):.3f}",
                  "; ".join(amiss) or "nothing", sep=" | ", flush=True)
            if args.keep:
                with open(args.keep, "w", encoding="utf-8") as f:
                    json.dump(rows, f)
        tell(rows)
        print(collections.Counter(a.split()[0] for r in rows for a in r["amiss"]))


if __name__ == "__main__":
    main()
