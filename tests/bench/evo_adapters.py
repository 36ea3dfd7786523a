#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""evo_adapters.py BUILD AMBER [--seeds N] [--examples N] [--evaluations N] [--few] [--ours]: scales of a pool of adapters by
three rules at one number of forward passes of examples.

AMBER is the whole trained family (base, lora-rev/caesar/sort/swap, sibling-dup, unrelated,
tasks). The target is the four tasks mixed: valid rows to fit, test rows to report. The
pool is the four adapters and five distractors: rank 8 of sibling-dup - base and of
unrelated - base, and three of noise with the norms of lora-rev.

LoraHub (2307.13269): keys are summed, (sum w B)(sum w A), w in [-1.5, 1.5] from 0, loss +
0.05 mean |w|, fixed examples; its NGOpt is replaced by the CMA-ES of this repository.
Evo-Merging (2509.12951): keys are summed with B scaled by b and the a-share of the largest
entries of A scaled by b; a third of the evaluations for a, the rest for b, step 0.05, 20
candidates (6 where there are 40 evaluations), new examples for each evaluation, best single value wins.
Ours: sum of s B A. Items are drawn from the four tasks evenly. Each adapter is tried alone
at 0.3 beside none, on twice as many items as a candidate gets; those that lower the loss
stay, each with the share of its effect in two standard errors, at most 1; the best of four
scales of these shares is where CMA-ES begins, one set of items per generation. Where there
are passes for it, mean and leaders are tried again on other items. `evo search` with
"adapters" does the same by command.
"""
import argparse
import json
import os
import subprocess
import sys

import numpy as np
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

TASKS = ["rev", "caesar", "sort", "swap"]
SCALING = 2.0  # lora_alpha / r of the four adapters


class Pool:
    def __init__(self, family, seed=0):
        self.family = family
        path = os.path.join(family, "base")
        self.model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval()
        self.tok = AutoTokenizer.from_pretrained(path)
        self.state = dict(self.model.state_dict())
        self.adapters = [self.lora(t) for t in TASKS]
        self.modules = sorted(self.adapters[0])
        self.distractors = [self.of_model("sibling-dup"), self.of_model("unrelated")]
        rng = torch.Generator().manual_seed(seed)
        self.distractors += [self.noise(rng) for _ in range(3)]

    def lora(self, task):
        t = load_file(os.path.join(self.family, f"lora-{task}", "adapter_model.safetensors"))
        out = {}
        for k, v in t.items():
            name = k.removeprefix("base_model.model.").replace(".lora_A.weight", ".weight")
            if ".lora_A." in k:
                b = t[k.replace("lora_A", "lora_B")].float() * SCALING
                out[name] = (v.float(), b)
        return out

    def of_model(self, name):
        other = load_file(os.path.join(self.family, name, "model.safetensors"))
        out = {}
        for m in self.modules:
            u, s, v = torch.linalg.svd(other[m].float() - self.state[m], full_matrices=False)
            root = s[:8].sqrt()
            out[m] = (root[:, None] * v[:8], u[:, :8] * root)
        return out

    def noise(self, rng):
        out = {}
        for m in self.modules:
            pair = []
            for like in self.adapters[0][m]:
                x = torch.randn(like.shape, generator=rng)
                pair.append(x * like.norm() / x.norm())
            out[m] = tuple(pair)
        return out

    def items(self, split, n):
        return [json.loads(line) for t in TASKS
                for line in open(os.path.join(self.family, "tasks", f"{t}.{split}.jsonl")).readlines()[:n]]

    def encode(self, rows):
        seqs = []
        for r in rows:
            x = [self.tok.bos_token_id] + self.tok(r["prompt"], add_special_tokens=False)["input_ids"]
            seqs.append((x, self.tok(r["answer"], add_special_tokens=False)["input_ids"] + [self.tok.eos_token_id]))
        width = max(len(x) + len(y) for x, y in seqs) - 1
        inp = torch.zeros((len(seqs), width), dtype=torch.long)
        lab = torch.full((len(seqs), width), -100)
        for i, (x, y) in enumerate(seqs):
            s = x + y
            inp[i, :len(s) - 1] = torch.tensor(s[:-1])
            lab[i, len(x) - 1:len(s) - 1] = torch.tensor(y)
        return inp, lab

    def logits(self, change, inp):
        weights = {m: self.state[m] + d for m, d in change.items()}
        return torch.func.functional_call(self.model, weights, kwargs={"input_ids": inp, "use_cache": False}).logits

    @torch.no_grad()
    def losses(self, change, inp, lab):
        """Mean loss per token, by item."""
        loss = torch.nn.functional.cross_entropy(self.logits(change, inp).transpose(1, 2), lab, ignore_index=-100,
                                                 reduction="none")
        return (loss.sum(1) / (lab != -100).sum(1)).numpy()

    @torch.no_grad()
    def measure(self, change, inp, lab):
        """Mean loss per token and share of whole answers that are right."""
        logits = self.logits(change, inp)
        loss = torch.nn.functional.cross_entropy(logits.transpose(1, 2), lab, ignore_index=-100)
        right = ((logits.argmax(-1) == lab) | (lab == -100)).all(1).float().mean()
        return loss.item(), right.item()


def exact(pool, scales):
    """sum of s B A, as one product of all factors side by side."""
    out = {}
    for m in pool[0]:
        a = torch.cat([s * p[m][0] for s, p in zip(scales, pool)])
        out[m] = torch.cat([p[m][1] for p in pool], 1) @ a
    return out


def by_keys(pool, scales, density=None):
    out = {}
    for m in pool[0]:
        a = sum(s * p[m][0] * keep(p[m][0], 1 if density is None else density[i])
                for i, (s, p) in enumerate(zip(scales, pool)))
        out[m] = sum(s * p[m][1] for s, p in zip(scales, pool)) @ a
    return out


def keep(a, share):
    n = round(float(share) * a.numel())
    if n >= a.numel():
        return 1.0
    if n <= 0:
        return 0.0
    return (a.abs() >= a.abs().flatten().kthvalue(a.numel() - n + 1).values).float()


def fold(x, low, high):
    t = np.mod(x - low, 2 * (high - low))
    return low + np.where(t > high - low, 2 * (high - low) - t, t)


class Search:
    """CMA-ES of this repository, asked and told through a pipe."""

    def __init__(self, build, start, sigma, seed, lam, low, high):
        self.low, self.high = low, high
        self.p = subprocess.Popen([os.path.join(build, "cma_probe"), str(len(start)), repr(sigma), str(seed),
                                   f"covariance,{lam}"] + [repr(float(v)) for v in start],
                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self):
        line = self.p.stdout.readline().split()
        if len(line) != 1 or not line[0].isdigit():
            return None
        raw = [[float.fromhex(v) for v in self.p.stdout.readline().split()] for _ in range(int(line[0]))]
        return fold(np.array(raw), self.low, self.high)

    def tell(self, values):
        self.p.stdin.write(" ".join(repr(float(v)) for v in values) + "\n")
        self.p.stdin.flush()

    def close(self):
        self.p.stdin.close()
        self.p.stdout.close()
        self.p.wait()


class Budget:
    def __init__(self, pool, rows, evaluations, examples, rng):
        self.pool, self.rows, self.examples, self.rng = pool, rows, examples, rng
        self.left = evaluations
        self.cache = {}

    def batch(self):
        return self.pool.encode([self.rows[i] for i in self.rng.choice(len(self.rows), self.examples, replace=False)])

    def loss(self, change, batch):
        assert self.left > 0
        self.left -= 1
        return self.pool.measure(change, *batch)[0]


def lorahub(build, pool, budget, seed):
    batch = budget.batch()
    best, answer = np.inf, None
    search = Search(build, np.zeros(len(pool)), 0.3, seed, 8, -1.5, 1.5)
    while budget.left >= 8:
        xs = search.ask()
        if xs is None:
            break
        values = [budget.loss(by_keys(pool, x), batch) + 0.05 * np.abs(x).mean() for x in xs]
        i = int(np.argmin(values))
        if values[i] < best:
            best, answer = values[i], xs[i]
        search.tell(values)
    search.close()
    return by_keys(pool, answer)


def evo_merging(build, pool, budget, seed):
    n = len(pool)
    first = budget.left - budget.left // 3
    density, beta = np.ones(n), np.full(n, 1.0 / n)
    lam = 20 if budget.left >= 120 else 6
    best, best_density, best_beta = np.inf, density, beta
    for stage, (low, high, until) in enumerate([(0, 1, first), (-1.5, 1.5, 0)]):
        search = Search(build, density if stage == 0 else beta, 0.05, seed + stage, lam, low, high)
        while budget.left - until >= lam:
            xs = search.ask()
            if xs is None:
                break
            values = []
            for x in xs:
                d, b = (x, beta) if stage == 0 else (density, x)
                values.append(budget.loss(by_keys(pool, b, d), budget.batch()) + 0.05 * np.abs(x).mean())
            i = int(np.argmin(values))
            if values[i] < best:
                best = values[i]
                if stage == 0:
                    best_density = xs[i]
                else:
                    best_beta = xs[i]
            search.tell(values)
        search.close()
        if stage == 0:
            density = best_density
    return by_keys(pool, best_beta, density)


class Passes:
    """Items by task in turn, none twice before all were drawn; counted one by one."""

    def __init__(self, pool, rows, passes, rng):
        self.pool, self.rows, self.left, self.rng = pool, rows, passes, rng
        first = [r["prompt"][0] for r in rows]
        self.tasks = [[i for i, c in enumerate(first) if c == t] for t in sorted(set(first))]
        self.drawn = [[] for _ in self.tasks]
        self.turn = 0

    def batch(self, n):
        out = []
        for _ in range(n):
            t = self.turn % len(self.tasks)
            self.turn += 1
            if not self.drawn[t]:
                self.drawn[t] = list(self.rng.permutation(self.tasks[t]))
            out.append(self.rows[self.drawn[t].pop()])
        return self.pool.encode(out)

    def losses(self, change, batch):
        self.left -= len(batch[0])
        assert self.left >= 0
        return self.pool.losses(change, *batch)


def ours(build, pool, passes, seed, items, again):
    n = len(pool)
    batch = passes.batch(2 * items)
    none = passes.losses(exact(pool, np.zeros(n)), batch)
    gain = np.array([none - passes.losses(exact(pool, 0.3 * np.eye(n)[i]), batch) for i in range(n)])
    effect, error = gain.mean(1), gain.std(1, ddof=1) / np.sqrt(2 * items)
    kept = [i for i in range(n) if effect[i] > 0] or [int(np.argmax(effect))]
    few = [pool[i] for i in kept]
    share = np.clip(effect[kept] / (2 * error[kept]), 0.01, 1)
    batch = passes.batch(items)
    scale = min((0.3, 0.5, 0.7, 0.9), key=lambda g: passes.losses(exact(few, g * share), batch).mean())
    mean = scale * share
    search = Search(build, mean, 0.15, seed, 8, -1.5, 1.5)
    leaders, spare = [], 5 * 3 * items if again else 0
    while passes.left - spare >= 8 * items:
        xs = search.ask()
        if xs is None:
            break
        batch = passes.batch(items)
        values = [passes.losses(exact(few, x), batch).mean() for x in xs]
        order = np.argsort(values, kind="stable")
        leaders = sorted(leaders + [(values[i], tuple(xs[i])) for i in order[:2]])[:4]
        weight = np.log(4.5) - np.log(np.arange(1, 5))
        mean = weight @ xs[order[:4]] / weight.sum()
        search.tell(values)
    search.close()
    if again:
        tried = [mean] + [np.array(x) for _, x in leaders]
        batch = passes.batch(3 * items)
        mean = min(tried, key=lambda x: passes.losses(exact(few, x), batch).mean())
    return exact(few, mean), kept


def main():
    p = argparse.ArgumentParser()
    p.add_argument("build")
    p.add_argument("amber")
    p.add_argument("--seeds", type=int, default=3)
    p.add_argument("--examples", type=int, default=60)
    p.add_argument("--evaluations", type=int, default=1200)
    p.add_argument("--few", action="store_true", help="40 evaluations of 5 examples alone")
    p.add_argument("--ours", action="store_true", help="without the published rules")
    a = p.parse_args()
    torch.set_num_threads(1)
    pool = Pool(a.amber)
    rows, test = pool.items("valid", 256), pool.encode(pool.items("test", 128))
    everyone = pool.adapters + pool.distractors

    def report(name, change):
        loss, right = pool.measure(change, *test)
        print(f"{name:<58} loss {loss:6.3f}  right {100 * right:5.1f} %", flush=True)
        return right

    report("base", exact(everyone, np.zeros(9)))
    for t, ad in zip(TASKS, pool.adapters):
        report(f"lora-{t} alone", exact([ad], [1]))
    report("all nine at 1/9, exact sum", exact(everyone, np.full(9, 1 / 9)))
    for evaluations, examples in [(40, 5), (a.evaluations, a.examples)][:1 if a.few else 2]:
        passes, few = evaluations * examples, evaluations == 40
        print(f"\n{evaluations} evaluations of {examples} examples: {passes} forward passes")
        cost = []
        for seed in range(1, a.seeds + 1):
            def budget(k):
                return Budget(pool, rows, evaluations, examples, np.random.default_rng(100 * seed + k))

            def run(adapters):
                p = Passes(pool, rows, passes, np.random.default_rng(100 * seed + 3))
                return ours(a.build, adapters, p, seed, 4 if few else examples, not few)
            if not a.ours:
                report(f"seed {seed}: LoraHub", lorahub(a.build, everyone, budget(1), seed))
                report(f"seed {seed}: Evo-Merging", evo_merging(a.build, everyone, budget(2), seed))
            change, kept = run(everyone)
            right = report(f"seed {seed}: ours, kept {kept}", change)
            cost.append(100 * (report(f"seed {seed}: ours without distractors", run(pool.adapters)[0]) - right))
        print(f"distractors cost {np.mean(cost):.2f} points, standard error "
              f"{np.std(cost, ddof=1) / np.sqrt(len(cost)) if len(cost) > 1 else float('nan'):.2f}")


if __name__ == "__main__":
    sys.exit(main())
