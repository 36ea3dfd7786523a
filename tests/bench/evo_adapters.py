#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""evo_adapters.py BUILD AMBER [--pool nine|sixteen|four] [--seeds N] [--first N] [--examples N] [--evaluations N]
[--few | --many | --published] [--only lorahub,evo,ours] [--journal FOLDER]: scales of a pool of adapters by three rules at
one number of forward passes of examples.

AMBER is the whole trained family (base, lora-rev/caesar/sort/swap, sibling-dup, unrelated, tasks). The target is the
tasks of the pool's adapters mixed: valid rows to fit, test rows to report. Pools: four adapters and five distractors
(rank 8 of sibling-dup - base and of unrelated - base, three of noise with the norms of lora-rev); four and twelve (three
more with the factors of two adapters mixed up, seven of noise); three and one (sibling-dup).

LoraHub (2307.13269): keys are summed, (sum w B)(sum w A), w in [-1.5, 1.5] from 0, loss + 0.05 mean |w|, fixed
examples; its NGOpt is replaced by the CMA-ES of this repository.
Evo-Merging (2509.12951): keys are summed with B scaled by b and the a-share of the largest entries of A scaled by b; a
third of the evaluations for a, the rest for b, step 0.05, 20 candidates (6 where there are 40 evaluations), new examples
for each evaluation, best single value wins. --published: its own budget, 1,200 evaluations of 300 examples, alone.
Both are functions of the values told before, so with --journal a run that was cut off asks again from the beginning and
what it had paid for is read.
Ours: `evo search` itself over sums of s B A, with the keys that "adapters" in a space sets, scored by this process; its
last comparison with the start is within the budget. "not confirmed": its result would be the start, the base alone, since
so few examples do not show the gain; what is scored is what it compared, as the others are not compared at all.
"""
import argparse
import os
import subprocess
import sys

import numpy as np
import torch

from adapter_pool import KINDS, TASKS, Pool, Searched, by_keys, exact


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
    def __init__(self, pool, rows, evaluations, examples, rng, journal=None):
        self.pool, self.rows, self.examples, self.rng = pool, rows, examples, rng
        self.left = evaluations
        self.known, self.journal = [], None
        if journal:
            self.journal = open(journal, "a+")
            self.journal.seek(0)
            lines = self.journal.read().splitlines(True)
            self.known = [float.fromhex(v) for v in lines if v.endswith("\n")]
            self.journal.truncate(sum(len(v) for v in lines if v.endswith("\n")))

    def batch(self):
        return self.rng.choice(len(self.rows), self.examples, replace=False)

    def loss(self, change, batch):
        """Of what change() gives, on rows of these numbers."""
        assert self.left > 0
        self.left -= 1
        if self.known:
            return self.known.pop(0)
        loss = self.pool.measure(change(), *self.pool.encode([self.rows[i] for i in batch]))[0]
        if self.journal:
            print(loss.hex(), file=self.journal, flush=True)
        return loss


def lorahub(build, pool, budget, seed):
    batch = budget.batch()
    best, answer = np.inf, None
    search = Search(build, np.zeros(len(pool)), 0.3, seed, 8, -1.5, 1.5)
    while budget.left >= 8:
        xs = search.ask()
        if xs is None:
            break
        values = [budget.loss(lambda: by_keys(pool, x), batch) + 0.05 * np.abs(x).mean() for x in xs]
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
                values.append(budget.loss(lambda: by_keys(pool, b, d), budget.batch()) + 0.05 * np.abs(x).mean())
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


FEW = (50, 4, "screen: 8\nleaders: 1\nrepeats: 1\n")  # evaluations, examples of each, keys
MANY = "screen: 8\nleaders: 4\nrepeats: 3\n"
RULES = ["lorahub", "evo", "ours"]


def ours(build, pool, adapters, rows, seed, how):
    evaluations, examples, keys = how
    search = Searched(build, pool, adapters, rows, keys)
    found = search.run(evaluations, examples, seed)
    assert search.passes <= evaluations * examples
    kept = [i for i, v in enumerate(found["screen"].values()) if v["kept"]]
    return exact(adapters, found["scales"]), f"kept {kept}, {search.passes} passes" + \
        ("" if found["gain_over_start"] else ", not confirmed")


def mean_and_error(x):
    return f"{np.mean(x):.2f} (standard error {np.std(x, ddof=1) / np.sqrt(len(x)) if len(x) > 1 else float('nan'):.2f})"


def compare(a, pool, rows, report, evaluations, examples, how):
    """One budget: the published rules and ours with and without distractors."""
    everyone = pool.adapters + pool.distractors
    right = {}
    print(f"\n{evaluations} evaluations of {examples} examples: {evaluations * examples} forward passes")
    for seed in range(a.first, a.first + a.seeds):
        def budget(k):
            name = f"{a.pool}-{evaluations}-{examples}-{seed}-{k}"
            return Budget(pool, rows, evaluations, examples, np.random.default_rng(100 * seed + k),
                          a.journal and os.path.join(a.journal, name))

        def note(name, change, more=""):
            right.setdefault(name, []).append(report(f"seed {seed}: {name}{more}", change))
        if "lorahub" in a.only:
            note("LoraHub", lorahub(a.build, everyone, budget(1), seed))
        if "evo" in a.only:
            note("Evo-Merging", evo_merging(a.build, everyone, budget(2), seed))
        for name, adapters in (("ours", everyone), ("ours without distractors", pool.adapters)):
            if "ours" in a.only:
                change, kept = ours(a.build, pool, adapters, rows, seed, how)
                note(name, change, f", {kept}")
    for name, values in right.items():
        loss, share = np.array(values).T
        print(f"{name}: {mean_and_error(100 * share)} %, loss {mean_and_error(loss)}")
    if "ours" in a.only:
        cost = np.array(right["ours without distractors"]) - np.array(right["ours"])
        print(f"distractors cost {mean_and_error(100 * cost[:, 1])} points", flush=True)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("build")
    p.add_argument("amber")
    p.add_argument("--pool", choices=KINDS, default="nine")
    p.add_argument("--seeds", type=int, default=3)
    p.add_argument("--first", type=int, default=1, help="the first seed")
    p.add_argument("--examples", type=int, default=40)
    p.add_argument("--evaluations", type=int, default=240)
    p.add_argument("--only", type=lambda s: s.split(","), default=RULES, help="of these rules")
    p.add_argument("--journal", metavar="FOLDER", help="keep the values of the published rules there, and read them")
    budgets = p.add_mutually_exclusive_group()
    budgets.add_argument("--few", action="store_true", help="200 forward passes alone")
    budgets.add_argument("--many", action="store_true", help="--evaluations of --examples alone")
    budgets.add_argument("--published", action="store_true", help="Evo-Merging's own budget alone")
    a = p.parse_args()
    if not set(a.only) <= set(RULES):
        p.error("--only takes " + ", ".join(RULES))
    torch.set_num_threads(1)
    pool = Pool(a.amber, a.pool)
    rows, test = pool.items("valid", 256), pool.encode(pool.items("test", 128))
    everyone = pool.adapters + pool.distractors

    def report(name, change):
        loss, right = pool.measure(change, *test)
        print(f"{name:<78} loss {loss:6.3f}  right {100 * right:5.1f} %", flush=True)
        return loss, right

    report("base", exact(everyone, np.zeros(len(everyone))))
    for t, ad in zip(TASKS, pool.adapters):
        report(f"lora-{t} alone", exact([ad], [1]))
    report("all at one over their number, exact sum", exact(everyone, np.full(len(everyone), 1 / len(everyone))))
    if a.published:
        compare(a, pool, rows, report, 1200, 300, (1200, 300, MANY + "patience: 10\n"))
        return
    if not a.many:
        compare(a, pool, rows, report, 40, 5, FEW)
    if not a.few:
        compare(a, pool, rows, report, a.evaluations, a.examples,
                (a.evaluations, a.examples, MANY))


if __name__ == "__main__":
    sys.exit(main())
