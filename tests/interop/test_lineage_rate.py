#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Twelve suspects of which all is known: nobody is named wrongly, and intervals hold.

    test_lineage_rate.py BUILD

A guard of what tests/bench/lineage_random.py measures. Beside the two experts of the bundled
family stand relatives made from their task vectors: with rows in another order they are as
long, as heavy-tailed and of as few directions as what was trained, and have nothing in common.
"""
import json
import os
import subprocess
import sys
import tempfile

import torch
from safetensors.torch import load_file, save_file

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "bench"))
from lineage_suspects import noise, trained  # noqa: E402

FAMILY = os.path.join(HERE, "..", "vectors", "amber")


def weights(folder):
    return {k: v.float() for k, v in load_file(os.path.join(folder, "model.safetensors")).items()}


BASE = weights(os.path.join(FAMILY, "base"))


def delta(tensors):
    return {k: v - BASE[k] for k, v in tensors.items()}


def total(parts, dtype=torch.bfloat16):
    """base + sum of weight x task vector, rounded as a model is stored."""
    return {k: (v + sum(w * d[k] for w, d in parts)).to(dtype) for k, v in BASE.items()}


def rolled(d, by):
    return {k: v.roll(by, 0) for k, v in d.items()}


def shaken(d):
    """More of it in some tensors than in others, 0.3 in the mean."""
    g = torch.Generator().manual_seed(3)
    return {k: 0.6 * torch.rand((), generator=g) * v for k, v in d.items()}


def pruned(v, _base, part, _g):
    return torch.where(v.abs() < v.abs().flatten().kthvalue(int(part * v.numel())).values, 0, v) if v.ndim > 1 else v


def after(how, part, tensors):
    g = torch.Generator().manual_seed(7)
    return {k: how(v.float(), BASE[k], part, g).to(v.dtype) for k, v in tensors.items()}


def relatives(out):
    """Paths and task vectors, as they are stored."""
    rev, caesar = (delta(weights(os.path.join(FAMILY, f"expert-{n}"))) for n in ("rev", "caesar"))
    made = {"rev": rev, "caesar": caesar, "third": rolled(rev, 37), "fourth": rolled(caesar, 11)}
    made["twin"] = {k: 0.95 * v + 0.3 * rolled(rev, 5)[k] for k, v in rev.items()}
    made["cousin"] = {k: 0.5 * v + rolled(caesar, 71)[k] for k, v in rev.items()}
    paths = {n: folder(os.path.join(out, n), total([(1, d)])) for n, d in made.items()}
    return paths, {n: delta(weights(p)) for n, p in paths.items()}


def folder(path, tensors):
    os.makedirs(path)
    save_file(tensors, os.path.join(path, "model.safetensors"), {"format": "pt"})
    with open(os.path.join(FAMILY, "base", "config.json"), encoding="utf-8") as f, \
            open(os.path.join(path, "config.json"), "w", encoding="utf-8") as g:
        g.write(f.read())
    return path


def suspects(d):
    """name: (weights, shares of its sources if all are given, is the answer to be a whole one). A share of None: it is
    no source, and the interval is that of a mean over tensors which is not 0."""
    def blend(**weights_of):
        return total([(x, d[n]) for n, x in weights_of.items()])
    inner = delta({k: v.float() for k, v in blend(rev=0.6, caesar=0.4).items()})
    return {
        "a sum": (blend(rev=0.6, fourth=0.25), {"rev": 0.6, "fourth": 0.25}, True),
        "a merge of a merge": (total([(0.7, inner), (0.3, d["third"])]),
                               {"rev": 0.42, "caesar": 0.28, "third": 0.3}, True),
        "a mean of four": (blend(rev=0.25, caesar=0.25, third=0.25, fourth=0.25),
                           dict.fromkeys(("rev", "caesar", "third", "fourth"), 0.25), True),
        "taken away, then trained": (after(trained, 0.5, blend(rev=0.8, caesar=-0.3)),
                                     {"rev": 0.8, "caesar": -0.3}, False),
        "taken away, then pruned": (after(pruned, 0.5, blend(rev=0.6, third=-0.2)), {"rev": 0.6, "third": -0.2}, True),
        "noise": (after(noise, 0.2, blend(rev=0.5, caesar=0.3)), {"rev": 0.5, "caesar": 0.3}, True),
        "a small share is no adapter": (after(noise, 0.2, total([(0.09, d["rev"])], torch.float16)),
                                        {"rev": 0.09}, False),
        "a twin in the place of a source": (blend(twin=0.5, third=0.5), None, False),
        "a twin, then pruned": (after(pruned, 0.5, blend(twin=0.2, third=0.6)), None, False),
        "a twin taken away, then pruned": (after(pruned, 0.5, blend(twin=-0.1, third=0.6)), None, False),
        "what siblings have in common": (total([(1, shaken(d["rev"])), (1, rolled(d["caesar"], 90))]),
                                         dict.fromkeys(("rev", "caesar", "third", "fourth", "cousin")), False),
        "a sibling": (total([(1, rolled(d["caesar"], 90))]), {}, False),
    }


def ask(tool, suspect, candidates):
    given = [x for c in candidates for x in ("--candidate", c)]
    done = subprocess.run([tool, "lineage", "decompose", suspect, "--base", os.path.join(FAMILY, "base"), *given,
                           "--json", "-q"], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def judge(found, shares, whole):
    out = []
    if whole == found["incomplete"] and (whole or any(s["included"] for s in found["sources"])):
        out.append("in part" if whole else "whole")
    for s in found["sources"] if shares is not None else ():
        name, want = os.path.basename(s["name"]), shares.get(os.path.basename(s["name"]), 0)
        if s["included"] != bool(want):
            out.append(f"{name} {'named' if s['included'] else 'missed'}")
        if want is not None and not s["interval"][0] - 1e-4 <= want <= s["interval"][1] + 1e-4:
            out.append(f"{name}: {want} is not in {s['interval']}")
    return out


def main():
    torch.set_num_threads(1)
    problems = []
    with tempfile.TemporaryDirectory() as out:
        paths, d = relatives(out)
        given = [p for n, p in paths.items() if n != "twin"]
        for i, (name, (tensors, shares, whole)) in enumerate(suspects(d).items()):
            suspect = folder(os.path.join(out, f"suspect-{i}"), tensors)
            found = ask(os.path.join(sys.argv[1], "weightward"), suspect, given)
            problems += [f"{name}: {p}" for p in judge(found, shares, whole)]
            print(name, found["method"]["best"], f"{found['unexplained']:.4f}",
                  {os.path.basename(s["name"]): round(s["share"], 4) for s in found["sources"] if s["included"]})
    print("\n".join(problems) or "twelve suspects: nobody named wrongly or missed, all intervals hold")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
