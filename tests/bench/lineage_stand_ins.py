#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Selections behind rounding: is an answer whole with all given, and in part with a source replaced?

    .venv/bin/python tests/bench/lineage_stand_ins.py BUILD FAMILY WORK [--seed 11] [--n 15] [--first 0] [--keep FILE]

Suspects are those that lineage_random.py draws with --stages eight,gguf from selections (TIES,
DARE, DELLA, breadcrumbs, SCE). Each is asked for five times:

    all       sources and decoys as drawn
    away      without one source that leaves more than a tenth of the difference
    twin      another version of that source in its place: it was trained some steps further, and
              the difference scaled to 0.008 to 0.2 of its task vector
    after     the merge was trained some steps before it was rounded, scaled to 0.008 to 0.2 of the
              blend
    trace     a further fine-tune, that is not given, was added by 0.02 before that

Right is a whole answer for all and one in part else. Told are those that are not, and how many
answers are whole by how far off the twin or the training is. WORK is left behind.
"""
import argparse
import collections
import json
import math
import os
import random

import torch

import lineage_families as made
import lineage_random as drawn
import lineage_twins as twins

METHODS = ("ties", "dare_linear", "dare_ties", "della", "breadcrumbs", "breadcrumbs_ties", "sce")
WHAT = ("all", "away", "twin", "after", "trace")


def length(delta):
    return math.sqrt(sum(float(v.double().pow(2).sum()) for v in delta.values()))


def further(family, path, out, part, draws):
    """The model after some steps of training that move it by a part of how far it is from the base."""
    import transformers as tf
    if os.path.exists(out):
        return out
    was, base = made.weights(path), family.disguises.base_weights
    if any("expert" in k for k in was):  # experts go by other names there
        g = torch.Generator().manual_seed(draws.randrange(1 << 30))
        step = {k: torch.randn(v.shape[0], 4, generator=g) @ torch.randn(4, v.shape[1], generator=g) * v.float().std()
                for k, v in was.items() if v.ndim == 2}
    else:
        model = tf.AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32)
        start = {k: v.clone() for k, v in model.state_dict().items()}
        twins.train(model, draws.choice(list(twins.TASKS)), draws.randint(20, 100), 1e-4, draws.randrange(1 << 30))
        step = {k: v - start[k] for k, v in model.state_dict().items() if k in was}
    by = part * length({k: was[k].float() - base[k].float() for k in step if k in base}) / length(step)
    return made.folder(out, {k: (v.float() + by * step[k]).to(v.dtype) if k in step else v for k, v in was.items()}, path)


def add(family, path, out, tune, by):
    delta = family.delta(tune)
    return made.folder(out, {k: (v.float() + by * delta[k]).to(v.dtype) if k in delta else v
                             for k, v in made.weights(path).items()}, path)


class Trial:
    def __init__(self, seed, i, families, work):
        self.draw = d = drawn.Draw(seed, i, families, METHODS, ("eight", "gguf"))
        self.r, self.work = random.Random(f"{seed}/{i}/stand-ins"), os.path.join(work, f"{seed}-{i}")
        os.makedirs(self.work, exist_ok=True)
        self.config = d.recipe()
        self.plain = made.apart(d.family.merges.merge(self.config, d.seed)[0])
        self.decoys = [x for x in d.family.tunes if x not in d.sources]
        self.given = d.sources + self.r.sample(self.decoys, self.r.randint(1, len(self.decoys) - 1))
        left = drawn.regress(d.family, self.plain, d.sources)[1]
        lost = {s: drawn.regress(d.family, self.plain, [x for x in d.sources if x != s])[1] - left if d.k > 1 else 1
                for s in d.sources}
        self.gone = self.r.choice([s for s in d.sources if lost[s] > drawn.MISSING] or [None])
        self.parts = {"twin": 0.2 * 0.04 ** self.r.random(), "after": 0.2 * 0.04 ** self.r.random(), "trace": 0.02}

    def rounded(self, name, make):
        out = os.path.join(self.work, name)
        g = torch.Generator().manual_seed(self.draw.seed)
        if not os.path.exists(out + ".path"):
            path = self.draw.family.disguises.apply(self.draw.disguises[0], make(), out, g)
            with open(out + ".path", "w", encoding="utf-8") as f:
                f.write(path)
        with open(out + ".path", encoding="utf-8") as f:
            return f.read()

    def case(self, what):
        """Suspect and candidates, or None."""
        family, given = self.draw.family, list(self.given)
        plain = lambda: self.plain
        if what in ("away", "twin") and not self.gone:
            return None
        if what == "away":
            given.remove(self.gone)
        elif what == "twin":
            given[given.index(self.gone)] = further(family, self.gone, os.path.join(self.work, "stand-in"), self.parts[what], self.r)
        elif what == "after":
            plain = lambda: further(family, self.plain, os.path.join(self.work, "trained"), self.parts[what], self.r)
        elif what == "trace":
            more = [x for x in self.decoys if x not in given][0]
            plain = lambda: add(family, self.plain, os.path.join(self.work, "traced"), more, self.parts[what])
        suspect = self.rounded(what if what in ("after", "trace") else "all", plain)
        return suspect, random.Random(self.draw.seed).sample(given, len(given))


def tell(rows):
    for what in WHAT:
        asked = [r for r in rows if r["what"] == what]
        if asked:
            drawn.rate(f"{what}: whole", sum(r["whole"] for r in asked), len(asked))
    drawn.rate("a decoy in a whole answer", sum(r["whole"] and bool(r["decoys"]) for r in rows), len(rows))
    for what in ("twin", "after"):
        bins = collections.defaultdict(list)
        for r in rows:
            if r["what"] == what:
                bins[math.floor(math.log2(r["part"]))].append(r["whole"])
        print(f"{what}, whole by part:", ", ".join(f"to {2.0 ** (b + 1):.3f}: {sum(v)} of {len(v)}" for b, v in sorted(bins.items())))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("build")
    parser.add_argument("family")
    parser.add_argument("work")
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--n", type=int, default=15)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--keep")
    a = parser.parse_args()
    torch.set_num_threads(1)
    work = os.path.abspath(a.work)
    paths = {drawn.TRAINED: a.family, **{n: made.make_up(n, os.path.join(work, "family", n)) for n in made.MADE}}
    families = {n: drawn.Family(a.build, p, os.path.join(work, "merges", n)) for n, p in paths.items()}
    rows = []
    for i in range(a.first, a.first + a.n):
        trial = Trial(a.seed, i, families, work)
        d = trial.draw
        for what in WHAT:
            case = trial.case(what)
            if not case:
                continue
            found = drawn.decompose(a.build, d.family, *case)
            named = {s["name"]: s["share"] for s in found.get("sources", []) if s["included"]}
            short = {os.path.basename(n): round(s, 3) for n, s in named.items()}
            stand_in = os.path.join(trial.work, "stand-in")
            row = {"i": i, "family": d.name, "method": d.method, "k": d.k, "rounding": d.disguises[0], "what": what,
                   "part": trial.parts.get(what), "whole": bool(named) and not found.get("incomplete", True),
                   "decoys": [n for n in named if n not in [*d.sources, stand_in]], "suspect": case[0], "given": case[1],
                   "config": trial.config, "found": found}
            rows.append(row)
            m = found.get("method", {})
            right = row["whole"] == (what == "all")
            print(i, d.name, d.method, d.k, d.disguises[0], what, f"{row['part'] or 0:.3f}", "-" if right else "!",
                  m.get("best", found.get("error", "")[:80]), f"{found.get('unexplained', -1):.4f}", f"parts {m.get('parts')}",
                  f"still {found.get('still')}", (found.get("noise_test") or {}).get("score"), short, sep=" | ", flush=True)
            if a.keep:
                with open(a.keep, "w", encoding="utf-8") as f:
                    json.dump(rows, f)
    tell(rows)


if __name__ == "__main__":
    main()
