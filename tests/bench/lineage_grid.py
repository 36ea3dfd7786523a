#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Merges made by mergekit, taken apart again.

    .venv/bin/python tests/bench/lineage_grid.py BUILD FAMILY [--short] [--only NAME]

FAMILY holds "base" and fine-tunes of it ("expert-*", "sibling-*"); the bundled family has two.
Every deterministic method of the table is run with 2, 3 and 4 of them (--short: 2 alone); all
others are candidates as well, and the last fine-tune that is no source is a control of the
replay. For each merge: are exactly the sources included, how far are the coefficients off, is
the method right or listed, what does the inferred recipe replay on tensors it was not fitted on,
what the true recipe on all, and the most that a recipe with one source left out reaches.

Asked for: sources without an error; coefficients of linear, task_arithmetic and slerp within
0.01; the method right or listed; the true recipe at 0.999 or more, 0.9 or less with one left out.
"""
import argparse
import glob
import json
import os
import subprocess
import sys
import tempfile

import yaml

os.environ.setdefault("HF_HUB_OFFLINE", "1")
from mergekit.config import MergeConfiguration  # noqa: E402
from mergekit.merge import MergeOptions, run_merge  # noqa: E402

WEIGHTS = [0.45, 0.3, 0.35, 0.2]
# name: (method, weights scale, parameters of each source, of the whole, exact coefficients?)
METHODS = {
    "linear": ("linear", True, {}, {}, True),
    "task_arithmetic": ("task_arithmetic", False, {}, {}, True),
    "task_arithmetic bf16": ("task_arithmetic", False, {}, {}, True),
    "slerp": ("slerp", None, {}, {"t": 0.35}, True),
    "multislerp": ("multislerp", True, {}, {}, False),
    "karcher": ("karcher", None, {}, {}, False),
    "model_stock": ("model_stock", None, {}, {}, False),
    "ties": ("ties", False, {"density": 0.6}, {"normalize": False}, False),
    "ties normalized": ("ties", True, {"density": 0.4}, {"normalize": True}, False),
    "breadcrumbs": ("breadcrumbs", False, {"density": 0.7}, {}, False),
    "sce": ("sce", None, {}, {"select_topk": 0.5}, False),
    "dare_linear": ("dare_linear", False, {"density": 0.5}, {}, False),
    "della_linear": ("della_linear", False, {"density": 0.5}, {}, False),
}
SHORT = ("linear", "task_arithmetic", "task_arithmetic bf16", "slerp", "ties", "dare_linear")
NO_BASE = ("linear", "multislerp", "karcher")
CHANCE = ("dare_linear", "della_linear")
PAIRS = ("slerp",)


def recipe(name, family, sources):
    method, scaled, own, whole, _ = METHODS[name]
    weights = WEIGHTS[: len(sources)]
    if scaled:
        weights = [round(w / sum(weights), 2) for w in weights]
        weights[0] = round(1 - sum(weights[1:]), 2)
    models = []
    for path, weight in zip(sources, weights):
        parameters = dict(own)
        if scaled is not None:
            parameters["weight"] = weight
        models.append({"model": path, **({"parameters": parameters} if parameters else {})})
    bf16 = name.endswith("bf16")
    out = {"merge_method": method, "models": models, "dtype": "bfloat16" if bf16 else "float32"}
    if not bf16:
        out["out_dtype"] = "bfloat16"
    if method == "slerp":
        out["base_model"] = sources[0]
        weights = [1 - whole["t"], whole["t"]]
    elif method not in NO_BASE:
        out["base_model"] = os.path.join(family, "base")
    if whole:
        out["parameters"] = whole
    return out, weights


def lineage(build, *arguments):
    done = subprocess.run([os.path.join(build, "weightward"), "lineage", *arguments, "--json", "-q"],
                          capture_output=True, text=True)
    if done.returncode not in (0, 1):
        sys.exit(f"{' '.join(arguments)}: {done.stderr}")
    return json.loads(done.stdout)


def run(build, family, work, name, k, tunes):
    sources = tunes[:k]
    config, weights = recipe(name, family, sources)
    suspect = os.path.join(work, f"{name}-{k}".replace(" ", "-"))
    run_merge(MergeConfiguration.model_validate(config), suspect,
              options=MergeOptions(quiet=True, random_seed=17, write_model_card=False))
    file = suspect + ".yml"
    with open(file, "w") as f:
        yaml.safe_dump(config, f)
    base = ["--base", os.path.join(family, "base")]
    candidates = [a for t in tunes for a in ("--candidate", t)]
    found = lineage(build, "decompose", suspect, *base, *candidates)
    included = {s["name"] for s in found["sources"] if s["included"]}
    shares = {s["name"]: s["share"] for s in found["sources"]}
    method, exact = METHODS[name][0], METHODS[name][4]
    row = {
        "name": name, "k": k, "exact": exact,
        "sources": included == set(sources),
        "off": max(abs(shares[s] - w) for s, w in zip(sources, weights)) if exact else None,
        "verdict": found["method"]["best"],
        "method": method == found["method"]["best"] or method in found["method"]["not_excluded"],
        "inferred": lineage(build, "replay", suspect, *base, *candidates).get("match", 0),
    }
    if method not in CHANCE:
        true = lineage(build, "replay", suspect, "--recipe", file)
        row["true"] = true["match"]
        row["without"] = max(c["match"] for c in true["match_controls"])
        row["arithmetic"] = true["arithmetic"]
    return row


def misses(row):
    out = []
    if not row["sources"]:
        out.append("sources")
    if row["exact"] and row["off"] > 0.01:
        out.append("coefficients")
    if not row["method"]:
        out.append("method")
    if "true" in row and row["true"] < 0.999:
        out.append("replay")
    if "true" in row and row["without"] > 0.9:
        out.append("left out")
    return out


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("build")
    parser.add_argument("family")
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--only")
    args = parser.parse_args()
    family = os.path.abspath(args.family)
    tunes = sorted(glob.glob(os.path.join(family, "expert-*")) + glob.glob(os.path.join(family, "sibling-*")))
    failed = 0
    print("merge | k | sources | off | verdict | inferred recipe | true recipe | one left out | misses")
    with tempfile.TemporaryDirectory() as work:
        for name in SHORT if args.short else METHODS:
            most = 2 if args.short or name in PAIRS else min(4, len(tunes))
            for k in range(2, most + 1):
                if args.only and args.only != name:
                    continue
                row = run(args.build, family, work, name, k, tunes)
                bad = misses(row)
                failed += bool(bad)
                number = lambda key, form="{:.4f}": form.format(row[key]) if row.get(key) is not None else "-"
                print(name, k, "right" if row["sources"] else "WRONG", number("off", "{:.5f}"),
                      row["verdict"], number("inferred"), number("true"), number("without"),
                      ", ".join(bad) or "none", sep=" | ", flush=True)
    print(f"{failed} merges miss something")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
