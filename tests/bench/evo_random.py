#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""evo_random.py BUILD [--rounds 200] [--first 1]: pools of random members, each round from its own seed.

Each round: 1 to 8 members (servers that echo, that ignore echo, or speak llama-server's dialect) with random lists, ties,
zeros, twins and parts of characters; a run that nothing disturbs; then another one, with other connections, with faults
and killed (kill -9) up to three times, whose recipe must have the same bytes; a fit with other rules, which must make no
call. The numbers of all rules are computed again by numpy from what the members are: best single, uniform and adaptive
from their weights, linear and log-linear as optima of convex problems.
Prints what went wrong, by round, and the largest differences.
"""
import argparse
import json
import math
import os
import signal
import subprocess
import sys
import tempfile
import time

import numpy as np
from scipy.optimize import minimize

from random_members import END, FLOOR, Model, Servers, is_text

LETTERS = "abcdefghij"
ODD = ["é", "ß", "€"]
LN2 = math.log(2)
UNTOLD = 32768


def floor(x):
    return max(float(x), FLOOR) if np.isfinite(x) else FLOOR


# What a reader sees.

def one_of_each(entries):
    """[(bytes, logprob)]: what several tokens are called is left out; likeliest first."""
    count = {}
    for b, _ in entries:
        count[b] = count.get(b, 0) + 1
    kept = [(b, min(0.0, floor(x))) for b, x in entries if count[b] == 1]
    return sorted(kept, key=lambda e: (-e[1], e[0]))


def seen(model, text, k, gold=None):
    """The list at a place; gold: of a scored one."""
    x, end = model.logprobs(text), len(model.words)
    numbers = list(model.top(text, k))
    if model.shape == "llama":
        entries = [(b"" if i == end else model.words[i], x[i]) for i in numbers]
        return one_of_each(entries)[:k]
    shown = {}
    for i in numbers:
        shown[b"" if i == end else model.words[i].decode(errors="replace").encode()] = x[i]
    if gold is not None and gold not in shown:
        i = model.number(gold.decode() if gold else END)
        shown[gold] = x[i] if i >= 0 else -np.inf
    entries = one_of_each([(b, v) for b, v in shown.items() if "\ufffd".encode() not in b])
    if gold is not None and entries and entries[-1][0] == gold and len(entries) != k:
        entries.pop()
    return entries[:k]


def least(entries, vocabulary):
    """Of what a list does not show."""
    if len(entries) == vocabulary:
        return FLOOR
    mass = max(1 - sum(math.exp(v) for _, v in entries), 1e-12)
    return max(min([math.log(mass / (vocabulary - len(entries)))] + [v for _, v in entries]), FLOOR)


def positions(models, item, k):
    """[(gold bytes, [gold logprob by member; None: in no list], [list by member])]"""
    prompt, answer = item["prompt"], item["answer"]
    scoring = [m for m in models if m.shape == "echo"]
    golds = [w.encode() for w in scoring[0].cut(answer)] + [b""] if scoring else None
    out, done = [], 0
    raw = answer.encode()
    while golds is None or len(out) < len(golds):
        text = prompt + raw[:done].decode()
        lists = [seen(m, text, k) if m.shape != "echo" else None for m in models]
        rest = raw[done:]
        if golds is not None:
            gold = golds[len(out)]
        elif not rest:
            gold = b""
        else:
            gold = answer[len(raw[:done].decode())].encode()
            for b, _ in (e for entries in lists for e in entries):
                if len(b) > len(gold) and rest.startswith(b) and (len(b) == len(rest) or rest[len(b)] & 0xC0 != 0x80):
                    gold = b
        logprob = []
        for j, m in enumerate(models):
            if m.shape == "echo":
                i = m.number(gold.decode() if gold else END)
                logprob.append(floor(m.logprobs(text)[i] if i >= 0 else -np.inf))
                lists[j] = seen(m, text, k, gold)
            else:
                found = [v for b, v in lists[j] if b == gold]
                logprob.append(found[0] if found else None)
        out.append((gold, logprob, lists))
        done += len(gold)
        if not gold:
            break
    return out


class World:
    """All positions of a task file, and the rules on them."""

    def __init__(self, models, items, k, vocabulary):
        self.k = len(models)
        self.at = [(i, p) for i, item in enumerate(items) for p in positions(models, item, k)]
        tokens = {p[0] for _, p in self.at} | {b for _, p in self.at for entries in p[2] for b, _ in entries}
        self.vocabulary = max(vocabulary or UNTOLD, len(tokens))
        self.weight = np.array([items[i].get("weight", 1.0) for i, _ in self.at])
        for _, p in self.at:
            p[1][:] = [least(entries, self.vocabulary) if g is None else g for g, entries in zip(p[1], p[2])]
        self.gold = np.array([p[1] for _, p in self.at])
        self.entropy = np.array([[self._entropy(entries) for entries in p[2]] for _, p in self.at])
        self.surprise = np.zeros_like(self.gold)
        for t in range(1, len(self.at)):
            if self.at[t][0] == self.at[t - 1][0]:
                self.surprise[t] = self.surprise[t - 1] - self.gold[t - 1]
        self.unions = [self._union(p) for _, p in self.at]

    def _entropy(self, entries):
        mass = 1 - sum(math.exp(v) for _, v in entries)
        h = -sum(math.exp(v) * v for _, v in entries)
        others = self.vocabulary - len(entries)
        return max(h - (mass * math.log(mass / others) if others > 0 and mass > 1e-12 else 0), 0)

    def _union(self, p):
        """Rows of log-probabilities, the right one first, and the number of tokens beyond."""
        gold, known, lists = p
        rows = {gold: known}
        rest = [least(entries, self.vocabulary) for entries in lists]
        by_member = [dict(entries) for entries in lists]
        for entries in lists:
            for b, _ in entries:
                rows.setdefault(b, [d.get(b, r) for d, r in zip(by_member, rest)])
        others = self.vocabulary - len(rows)
        return np.array(list(rows.values()) + ([rest] if others > 0 else [])), others

    def bits(self, logp):
        return float(-(self.weight * np.maximum(logp, FLOOR)).sum() / self.weight.sum() / LN2)

    def mix(self, log_w):
        """log_w [n][k] or [k], not normalised."""
        log_w = np.broadcast_to(log_w, self.gold.shape)
        log_w = log_w - np.logaddexp.reduce(log_w, 1, keepdims=True)
        return self.bits(np.logaddexp.reduce(log_w + self.gold, 1))

    def single(self):
        return min(self.bits(self.gold[:, m]) for m in range(self.k))

    def linear(self):
        """The optimum, within 1e-7 bits by its certificate."""
        p = np.exp(self.gold - self.gold.max(1, keepdims=True))
        w = np.full(self.k, 1 / self.k)
        share = self.weight / self.weight.sum()
        for _ in range(200000):
            ratio = share @ (p / (p @ w)[:, None])
            if ratio.max() - 1 < 1e-7:
                break
            w = np.maximum(w * ratio, 1e-15)
        return self.mix(np.log(w))

    def adaptive(self, rule):
        a = rule["factors"]
        return self.mix(np.array(rule["prior"]) - a[0] * self.surprise - a[1] * self.entropy)

    def log_linear(self, w, ridge):
        """Nats with a ridge, and the gradient."""
        loss, g = 0.0, np.zeros(self.k)
        for weight, (rows, others) in zip(self.weight, self.unions):
            s = rows @ w
            if others > 0:
                s[-1] += math.log(others)
            norm = np.logaddexp.reduce(s)
            loss += weight * (norm - s[0])
            g += weight * (np.exp(s - norm) @ rows - rows[0])
        total, off = self.weight.sum(), w - 1 / self.k
        return loss / total + ridge * off @ off, g / total + 2 * ridge * off

    def log_linear_best(self, negative, ridge):
        best = minimize(self.log_linear, np.full(self.k, 1 / self.k), args=(ridge,), jac=True, method="L-BFGS-B",
                        bounds=[(None if negative else 0, None)] * self.k,
                        options={"maxiter": 3000, "ftol": 1e-15, "gtol": 1e-10})
        return best.x

    def log_linear_bits(self, w):
        return self.log_linear(np.array(w), 0)[0] / LN2


# A round.

def make_words(rng):
    words = [c.encode() for c in LETTERS[:int(rng.integers(4, 11))]] + [b"=", b"R", b"K", b":"]
    words += [c.encode() for c in ODD[:int(rng.integers(0, 4))]]
    letters = [w for w in words if w.isalpha() and w.islower()]
    for _ in range(int(rng.integers(0, 8))):
        pair = b"".join(rng.choice(letters, 2))
        if pair not in words:
            words.append(pair)
    words += [bytes([0xE2]), bytes([0xC3]), b"\x82\xac"][:int(rng.integers(0, 4))]
    return words + [words[int(i)] for i in rng.integers(len(words), size=int(rng.choice([0, 0, 2])))]


def make_items(rng, words, n):
    chars = [w.decode() for w in words if is_text(w) and len(w.decode()) == 1 and w.decode() not in "=RK:"]
    items, taken = [], set()
    while len(items) < n:
        item = {"prompt": rng.choice(["R:", "K:"]) + "".join(rng.choice(chars, 3)) + "=",
                "answer": "".join(rng.choice(chars, int(rng.integers(1, 6))))}
        if rng.integers(4) == 0:
            item["weight"] = float(rng.choice([0.25, 2, 3.5]))
        if (key := (item["prompt"], item["answer"])) not in taken:
            taken.add(key)
            items.append(item)
    return items


def make_round(seed):
    rng = np.random.default_rng(seed)
    words = make_words(rng)
    n = int(rng.integers(6, 25))
    items = make_items(rng, words, n + 30 * (rng.integers(4) == 0))
    count = int(rng.integers(1, 9))
    kinds = [["echo"], ["llama"], ["next"], ["echo", "llama", "next"]][int(rng.integers(4))]
    right = {}
    models = []
    for m in range(count):
        know = {c: float(rng.choice([0, 1, 3, 6])) for c in "RK"}
        models.append(Model(rng, f"model-{m}", words, str(rng.choice(kinds)), right, know))
    for item in items:
        at = item["prompt"]
        for w in models[0].cut(item["answer"]) + [END]:
            right[at] = b"" if w == END else w.encode()
            at += w
    return rng, models, items[:n], items[n:]


class Run:
    def __init__(self, build, models, servers, items, held, rng):
        self.weightward = os.path.join(os.path.abspath(build), "weightward")
        self.top = int(rng.choice([1, 2, 5, 20, 40]))
        self.vocabulary = int(rng.choice([0, 0, 64, 5000]))
        self.held = bool(held)
        with open("pool.yml", "w", encoding="utf-8") as f:
            f.write("members:\n")
            for m, port in zip(models, servers.ports):
                f.write(f'  - {{name: {m.name}, url: "http://127.0.0.1:{port}", model: {m.name}, end: "{END}"}}\n')
        for name, rows in (("tasks.jsonl", items), ("held.jsonl", held)):
            with open(name, "w", encoding="utf-8") as f:
                f.writelines(json.dumps(r) + "\n" for r in rows)

    def start(self, word, cache, output, *more):
        args = [self.weightward, "evo", word, "pool.yml", "tasks.jsonl", "--cache", cache, "--top", str(self.top), "--json",
                "--output", output, *more]
        args += ["--confirm", "held.jsonl"] if self.held else []
        args += ["--vocabulary", str(self.vocabulary)] if self.vocabulary else []
        return subprocess.Popen(args, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def end(self, process):
        out, err = process.communicate(timeout=300)
        return process.returncode, json.loads(out) if out.startswith("{") else {}, err


def disturb(run, models, rng):
    """Faults and kills, then a run to the end; its status and words."""
    for m in models:
        names = rng.permutation(["429", "503", "nan", "drop", "half", "null"])[:int(rng.integers(0, 4))]
        m.faults = [(n, 0.04) for n in names]
        m.delay = float(rng.choice([0, 0, 0.02]))
    for kill in range(int(rng.integers(0, 4))):
        process = run.start("run", "killed", "killed.json", "--connections", str(rng.choice([1, 3, 16])), "-q")
        time.sleep(float(rng.random()) * 0.4)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        if os.path.exists("killed.json"):
            return 0, ""
    for _ in range(5): # six tries of a call may all fail
        status, _, err = run.end(run.start("run", "killed", "killed.json", "--connections", str(rng.choice([1, 16])), "-q"))
        if not status:
            break
    return status, err


def read(path):
    with open(path, "rb") as f:
        return f.read()


def compare_numbers(world, said, recipes):
    """Differences by name: |theirs - ours| where there is one value, theirs - optimum where that is searched."""
    got = {r["rule"]: r["bits"] for r in said}
    out = {"best-single": abs(got["best-single"] - world.single()), "uniform": abs(got["uniform"] - world.mix(np.zeros(world.k)))}
    out["linear above optimum"] = got["linear"] - world.linear()
    for name, negative, ridge in (("loglinear", False, 1e-4), ("signed", True, 1e-3)):
        w = recipes[name]["weights"]
        out[name] = abs(got[name] - world.log_linear_bits(w))
        best = world.log_linear_best(negative, ridge)
        out[name + " above optimum"] = (world.log_linear(np.array(w), ridge)[0] - world.log_linear(best, ridge)[0]) / LN2
    out["adaptive"] = abs(got["adaptive"] - world.adaptive(recipes["adaptive"]))
    return out


BOUNDS = {"best-single": 1e-6, "uniform": 1e-6, "linear above optimum": 0.01, "loglinear": 1e-6, "loglinear above optimum": 0.01,
          "signed": 1e-6, "signed above optimum": 0.01, "adaptive": 1e-6}


def rules_of(run, models):
    """Fits of all rules with the servers' calls counted, and the recipes' numbers."""
    before = sum(m.calls for m in models)
    recipes, said = {}, {}
    for rule in ("adaptive", "loglinear", "signed"):
        held, run.held = run.held, False
        status, report, err = run.end(run.start("fit", "plain", f"{rule}.json", "--rule", rule, "-q"))
        run.held = held
        if status:
            return None, None, err
        recipes[rule] = json.loads(read(f"{rule}.json"))
        said.update({r["rule"]: r for r in report["rules"]})
    if sum(m.calls for m in models) != before:
        return None, None, "a fit asked"
    return said, recipes, ""


def one(build, seed, worst):
    """What went wrong."""
    rng, models, items, held = make_round(seed)
    servers = Servers(models)
    try:
        run = Run(build, models, servers, items, held, rng)
        status, report, err = run.end(run.start("run", "plain", "plain.json", "--connections", str(rng.choice([1, 16])), "-q"))
        if status:
            return [f"status {status}: {err.strip()}"]
        wrong = []
        said, recipes, err = rules_of(run, models)
        if said is None:
            return [f"fit: {err.strip()}"]
        numbers = {k: v["rule"] for k, v in recipes.items()}
        world = World(models, items, run.top, run.vocabulary)
        for name, v in compare_numbers(world, said.values(), numbers).items():
            worst[name] = max(worst.get(name, -1), v)
            if not -1e-6 <= v <= BOUNDS[name]:
                wrong.append(f"{name}: {v:.3g}")
        status, err = disturb(run, models, rng)
        if status:
            wrong.append(f"disturbed, status {status}: {err.strip()}")
        elif read("plain.json") != read("killed.json"):
            wrong.append("another recipe")
        return wrong
    finally:
        servers.close()


def main():
    p = argparse.ArgumentParser()
    p.add_argument("build")
    p.add_argument("--rounds", type=int, default=200)
    p.add_argument("--first", type=int, default=1)
    a = p.parse_args()
    a.build = os.path.abspath(a.build)
    os.umask(0o077)
    worst, bad, began = {}, 0, time.monotonic()
    for seed in range(a.first, a.first + a.rounds):
        with tempfile.TemporaryDirectory() as work:
            os.chdir(work)
            wrong = one(a.build, seed, worst)
            os.chdir("/")
        if wrong:
            bad += 1
            print(f"round {seed}: " + "; ".join(wrong), flush=True)
    print(f"{a.rounds} rounds in {time.monotonic() - began:.0f} s, {bad} with something wrong")
    for name, v in worst.items():
        print(f"  {name}: at most {v:.2g}")
    return bad > 0


if __name__ == "__main__":
    sys.exit(main())
