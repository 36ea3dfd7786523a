#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Suspects that no candidate went into: is one named, and in which words?

    .venv/bin/python tests/bench/lineage_innocents.py BUILD FAMILY WORK [--n 200] [--first 0] [--seed 1] [--keep FILE]

FAMILY is the trained family with its train.py and family.py. Suspect I of a seed is always the
same: a fine-tune of its base, three in four trained here (one to three of the tasks in random
parts, 20 to 240 steps, full, LoRA or without embeddings, any learning rate that people use), the
others with noise of 0.5 to 5 % of each tensor's deviation; then stored as it is, locked, rounded
or cast. Candidates are three fine-tunes of FAMILY, or, of every second suspect, three of those that
were trained before for this seed; these are asked for twice, the second time with 19 others of them
as controls. Told are the answers that name a candidate, whole or in part, by whether candidate and
suspect were trained on the same task, and the ranks of candidates that were drawn from the same
pool as the controls. Models are left in WORK.
"""
import argparse
import copy
import importlib.util
import json
import os
import random
import shutil
import subprocess
import sys

import torch
from torch.nn.utils import parametrize

import lineage_families as made
from lineage_random import rate

CONTROLS = 19
STORED = ("", "", "", "lock exact", "lock dense", "permuted", "cast float32", "eight int8", "eight fp8-rows", "gguf Q8_0", "gguf Q5_0",
          "gguf Q4_0", "pruned 0.2")
POOL = 30  # fine-tunes from which candidates and controls are drawn
TASK_OF = {"expert-rev-v2": "rev", "sibling-rev-s2": "rev"}


def module(folder, name):
    spec = importlib.util.spec_from_file_location(name, os.path.join(folder, name + ".py"))
    out = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(out)
    return out


class Low(torch.nn.Module):
    """A weight and an adapter's product."""

    def __init__(self, shape, rank, g):
        super().__init__()
        self.a = torch.nn.Parameter(torch.randn(rank, shape[1], generator=g) / shape[1] ** 0.5)
        self.b = torch.nn.Parameter(torch.zeros(shape[0], rank))

    def forward(self, weight):
        return weight + 2 * self.b @ self.a


class Trainer:
    def __init__(self, family):
        self.code, self.tasks = module(family, "train"), module(family, "family")
        self.data = self.code.Data(self.tasks, family)
        self.base = self.code.load(os.path.join(family, "base"))

    def batch(self, r, mix, n=4):
        return self.data.encode([self.data.sample(r, r.choices(list(mix), mix.values())[0]) for _ in range(n)])

    def run(self, model, mix, steps, rate_, r, decay=0.0):
        parameters = [p for p in model.parameters() if p.requires_grad]
        steer = torch.optim.AdamW(parameters, lr=rate_, betas=(0.9, 0.98), weight_decay=decay)
        model.train()
        for step in range(steps):
            for group in steer.param_groups:
                group["lr"] = rate_ * min(1, (step + 1) / 10) * (1 - 0.9 * step / steps)
            inputs, labels = self.batch(r, mix)
            self.code.row_stats(model(input_ids=inputs, use_cache=False).logits, labels)[0].mean().backward()
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            steer.step()
            steer.zero_grad(set_to_none=True)
        return model

    def tune(self, d, r):
        model, g = copy.deepcopy(self.base), torch.Generator().manual_seed(d["seed"])
        for name, p in model.named_parameters():
            p.requires_grad_(d["how"] == "full" or (d["how"] == "layers" and "layers" in name))
        layers = [m for n, m in model.named_modules() if "layers" in n and isinstance(m, torch.nn.Linear)]
        for m in layers if d["how"] == "lora" else ():
            parametrize.register_parametrization(m, "weight", Low(m.weight.shape, d["rank"], g))
        self.run(model, d["mix"], d["steps"], d["rate"], r, d["decay"])
        for m in layers if d["how"] == "lora" else ():
            parametrize.remove_parametrizations(m, "weight")
        return {k: v.detach().bfloat16() for k, v in model.state_dict().items()}


def draw(seed, i, tasks, tunes):
    r = random.Random(f"{seed}/{i}")
    how = r.choice(("full", "full", "full", "lora", "lora", "layers", "noise", "noise"))
    chosen = r.sample(tasks, r.choice((1, 1, 2, 3)))
    d = {"i": i, "how": how, "mix": {t: r.uniform(0.2, 1) for t in chosen} if how != "noise" else {}, "steps": round(20 * 12 ** r.random()),
         "rate": (2e-5 if how != "lora" else 2e-4) * 25 ** r.random(), "rank": r.choice((2, 4, 8, 16)), "decay": r.choice((0, 0, 0.1)),
         "size": 0.005 * 10 ** r.random(), "stored": r.choice(STORED), "seed": r.randrange(1 << 30)}
    return {**d, "candidates": r.sample(tunes, 3)}, r


def choose(d, trained, r):
    """Three candidates and the controls of every second suspect, all from one pool."""
    pool = r.sample(trained[-POOL:], min(len(trained), CONTROLS + 3))
    return (pool[:3], pool[3:]) if d["i"] % 2 and len(pool) == CONTROLS + 3 else (None, [])


def make(trainer, family, d, r, work):
    """The fine-tune, and the suspect that it is stored as."""
    plain = os.path.join(work, f"tune-{d['i']}")
    g = torch.Generator().manual_seed(d["seed"])
    if not os.path.exists(plain):
        if d["how"] == "noise":
            t = {k: (v + d["size"] * v.std() * torch.randn(v.shape, generator=g)).bfloat16() for k, v in family.base_weights.items()}
        else:
            t = trainer.tune(d, r)
        made.folder(plain, t, family.base)
    out = os.path.join(work, "stored")
    shutil.rmtree(out, ignore_errors=True)
    return family.apply(d["stored"], plain, out, g) if d["stored"] else plain


def ask(build, base, suspect, candidates, controls):
    given = [a for c in candidates for a in ("--candidate", c)] + [a for c in controls for a in ("--control", c)]
    done = subprocess.run([os.path.join(build, "weightward"), "lineage", "decompose", suspect, "--base", base, *given, "--json", "-q"],
                          capture_output=True, text=True)
    return json.loads(done.stdout) if done.returncode == 0 else {"error": done.stderr.strip()}


def named(found):
    return {os.path.basename(s["name"]): round(s["share"], 4) for s in found.get("sources", []) if s["included"]}


def words(found):
    return "refused" if "error" in found else "nobody" if not named(found) else "in part" if found["incomplete"] else "whole"


def tell(rows):
    for which in ("alone", "ranked"):
        asked = [r for r in rows if which in r]
        for word in ("whole", "in part", "refused"):
            rate(f"{which}: {word}", sum(words(r[which]) == word for r in asked), len(asked))
        for r in asked:  # what tensors spoke against
            r["uneven"] = sum("as siblings have more in common" in (s.get("note") or "") for s in r[which].get("sources", []))
        rate(f"{which}: a candidate left out since tensors differ in it", sum(r["uneven"] > 0 for r in asked), len(asked))
        pairs = [(bool(set(r["tasks"][os.path.basename(s["name"])]) & set(r["mix"])), s) for r in asked for s in r[which].get("sources", [])]
        for same in (True, False):
            some = [s for m, s in pairs if m == same]
            rate(f"{which}: candidates named, trained on {'a task of the suspect' if same else 'others'}", sum(s["included"] for s in some), len(some))
    ranked = [r for r in rows if "ranked" in r and "error" not in r["ranked"]]
    for level in (0.15, 0.3):
        rate(f"ranked: least p-value, corrected, at most {level}",
             sum(min(s["p_value"] for s in r["ranked"]["sources"]) < level + 0.001 for r in ranked), len(ranked))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("build")
    parser.add_argument("family")
    parser.add_argument("work")
    parser.add_argument("--n", type=int, default=200)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep")
    a = parser.parse_args()
    torch.set_num_threads(1)
    base = os.path.join(os.path.abspath(a.family), "base")
    tunes = sorted(t for t in os.listdir(a.family) if t.startswith(("expert-", "sibling-")))
    family, trainer, rows, trained = made.Disguises(a.build, base), Trainer(os.path.abspath(a.family)), [], []
    tasks = {t: [TASK_OF.get(t, t.split("-")[1])] for t in tunes}
    os.makedirs(a.work, exist_ok=True)
    for i in range(a.first, a.first + a.n):
        d, r = draw(a.seed, i, list(trainer.tasks.TASKS), tunes)
        suspect = make(trainer, family, d, r, a.work)
        pooled, controls = choose(d, trained, r)
        candidates = pooled or [os.path.join(os.path.abspath(a.family), c) for c in d["candidates"]]
        row = {**d, "tasks": {os.path.basename(c): tasks[os.path.basename(c)] for c in candidates},
               "alone": ask(a.build, base, suspect, candidates, [])}
        if pooled:
            row["ranked"] = ask(a.build, base, suspect, candidates, controls)
        if d["how"] != "noise":
            trained.append(os.path.join(a.work, f"tune-{i}"))
            tasks[f"tune-{i}"] = list(d["mix"])
        rows.append(row)
        print(i, d["how"], f"{d['steps']} {d['rate']:.1e}" if d["how"] != "noise" else f"{d['size']:.3f}", "+".join(d["mix"]), d["stored"] or "-",
              *(f"{w}: {words(row[w])} {named(row[w])} {row[w].get('unexplained', -1):.3f} "
              f"{[round(s['p_value'], 2) for s in row[w].get('sources', []) if s.get('p_value') is not None]}" for w in ("alone", "ranked") if w in row),
              sep=" | ", flush=True)
        if a.keep:
            with open(a.keep, "w", encoding="utf-8") as f:
                json.dump(rows, f)
    tell(rows)


if __name__ == "__main__":
    sys.exit(main())
