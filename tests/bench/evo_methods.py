#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""evo_methods.py BUILD AMBER [--seeds N] [--first N] [--trials N] [--items N] [--only one|several]: the methods of
`evo search` against random points.

One score: scales of four adapters (rev, caesar, sort, swap) in 0 to 1 from 0, their tasks mixed, by `crossover` (after
M2N2), by CMA-ES, and by as many uniformly random points, of which the five best by their scores are tried again and the
best of them taken, as the search does. Loss per token and whole answers right on 512 test rows.

Several: the same scales, the losses of rev, caesar, sort and swap as objectives (--trials with --items for each task), by
`surrogate` (after MAP), by the archive, and by random points of whose front the same choice is tried again. The volume
that the front dominates above the start on items that nothing was chosen by, from 200,000 points of the box between.
"""
import argparse
import sys

import numpy as np
import torch

from adapter_pool import TASKS, Pool, Searched, exact

BOX = "low: 0, high: 1, start: 0, step: 0.15"
LEADERS, REPEATS, SHOWN = 4, 3, 16


def random_best(search, n, items, seed):
    """As many trials as a search makes: the start, random points, re-tests, the end."""
    rng = np.random.default_rng(seed)
    points = rng.uniform(0, 1, (n - REPEATS * (LEADERS + 1 + 2), len(search.adapters)))
    first = [search.score(x, "search", seed, items).mean() for x in points]
    best = points[np.argsort(first)[:LEADERS + 1]]
    again = [np.mean([search.score(x, "again", seed + r, items).mean() for r in range(REPEATS)]) for x in best]
    return best[int(np.argmin(again))]


def undominated(losses):
    return [i for i, a in enumerate(losses) if not any((b <= a).all() and (b < a).any() for b in losses)]


def volume(front, start, rng):
    """Share of the box between 0 and the start's losses that the front dominates."""
    points = rng.uniform(0, start, (200_000, len(start)))
    hit = np.zeros(len(points), bool)
    for loss in front:
        hit |= (points >= loss).all(1)
    return hit.mean()


def picked(losses, start, n, rng):
    """Of a front, as `evo search` takes them: those that together dominate most above the start, one after the other."""
    points = rng.uniform(0, start, (20_000, len(start)))
    hits = np.array([(points >= loss).all(1) for loss in losses])
    out = []
    while len(out) < n and hits.any():
        out.append(int(hits.sum(1).argmax()))
        hits &= ~hits[out[-1]]
    return out + [i for i in range(len(losses)) if i not in out][:n - len(out)]


def by_task(search, x, part, seed, items):
    return search.score(x, part, seed, items).reshape(len(TASKS), -1).mean(1)


def random_front(search, n, items, seed):
    rng = np.random.default_rng(seed)
    points = rng.uniform(0, 1, (n - SHOWN - 2, len(search.adapters)))
    losses = np.array([by_task(search, x, "search", seed, items) for x in points])
    front = undominated(losses)
    start = by_task(search, np.zeros(len(search.adapters)), "search", seed, items)
    front = [front[i] for i in picked(losses[front], start, SHOWN, rng)]
    return np.array([by_task(search, points[i], "final", seed, items) for i in front])


def tell(name, values):
    values = np.array(values)
    print(f"{name:<28} median {np.median(values):7.3f}  [{values.min():.3f}, {values.max():.3f}]", flush=True)


def one_score(a, pool, rows, test):
    losses, right = {}, {}
    for seed in range(a.first, a.first + a.seeds):
        for name, keys in (("crossover", "method: crossover\nitems: same\n"), ("cma", "items: fresh\n"), ("random", None)):
            search = Searched(a.build, pool, pool.adapters, rows, keys, BOX)
            x = random_best(search, a.trials, a.items, seed) if keys is None else \
                search.run(a.trials, a.items, seed)["scales"]
            assert search.passes <= a.trials * a.items
            loss, share = pool.measure(exact(pool.adapters, x), *test)
            losses.setdefault(name, []).append(loss)
            right.setdefault(name, []).append(100 * share)
    for name in losses:
        tell(f"{name}, loss", losses[name])
        tell(f"{name}, right %", right[name])


def several(a, pool, rows):
    start_keys = "leaders: 4\nobjectives: {" + ", ".join(f"{t}: minimise" for t in TASKS) + "}\n"
    volumes, told, items = {}, [], a.items * len(TASKS)
    for seed in range(a.first, a.first + a.seeds):
        for name, keys in (("surrogate", "method: surrogate\n"), ("archive", ""), ("random", None)):
            search = Searched(a.build, pool, pool.adapters, rows, (keys or "") + start_keys, BOX, True)
            start = by_task(search, np.zeros(4), "final", seed, items)
            if keys is None:
                front = random_front(search, a.trials, items, seed)
            else:
                found = search.run(a.trials, items, seed)
                front = np.array([[p["scores"][t] for t in TASKS] for p in found["front"]])
                start = np.array([found["start"]["scores"][t] for t in TASKS])
                told += list(found.get("surrogate", {}).values())
            volumes.setdefault(name, []).append(volume(front, start, np.random.default_rng(0)))
    for name in volumes:
        tell(f"{name}, share of volume", volumes[name])
    tell("told by the surrogates", told)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("build")
    p.add_argument("amber")
    p.add_argument("--seeds", type=int, default=9)
    p.add_argument("--first", type=int, default=1, help="the first seed")
    p.add_argument("--trials", type=int, default=100)
    p.add_argument("--items", type=int, default=8)
    p.add_argument("--only", choices=("one", "several"))
    a = p.parse_args()
    torch.set_num_threads(1)
    pool = Pool(a.amber)
    rows, test = pool.items("valid", 256), pool.encode(pool.items("test", 128))
    if a.only != "several":
        print(f"one score, {a.trials} trials of {a.items} items, {a.seeds} seeds", flush=True)
        one_score(a, pool, rows, test)
    if a.only != "one":
        print(f"an objective for each task, {a.trials} trials of {a.items} items of each, {a.seeds} seeds", flush=True)
        several(a, pool, rows)


if __name__ == "__main__":
    sys.exit(main())
