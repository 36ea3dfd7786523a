#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Merges made by mergekit, taken apart again.

    .venv/bin/python tests/bench/lineage_grid.py BUILD FAMILY [--short] [--only NAME]
                                                 [--merges FOLDER [--make]]

FAMILY holds "base" and fine-tunes of it ("expert-*", "sibling-*"); the bundled family has two.
Every deterministic method of the table is run with 2, 3 and 4 of them (--short: 2 alone); all
others are candidates as well, and the last fine-tune that is no source is a control of the
replay. For each merge: are exactly the sources included, how far are the coefficients off, is
the method right or listed, what does the inferred recipe replay on tensors it was not fitted on,
what the true recipe on all, and the most that a recipe with one source left out reaches.
Merges that lie in FOLDER are used again, others are put there; --make does no more than that.

Of masks that are drawn: is the merge a draw of its recipe, and none of one with another weight?

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

from lineage_merges import Merges

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
    "breadcrumbs_ties": ("breadcrumbs_ties", False, {"density": 0.7}, {}, False),
    "sce": ("sce", None, {}, {"select_topk": 0.5}, False),
    "dare_linear": ("dare_linear", False, {"density": 0.5}, {}, False),
    "nuslerp": ("nuslerp", True, {}, {}, False),
    "nuslerp from the base": ("nuslerp", True, {}, {}, False),
    "multislerp from the base": ("multislerp", True, {}, {}, False),
    "nearswap": ("nearswap", None, {}, {"t": 0.0005}, False),
    "arcee_fusion": ("arcee_fusion", None, {}, {}, False),
    "ram": ("ram", None, {}, {}, False),
    "ramplus_tl": ("ramplus_tl", None, {}, {}, False),
    "dare_linear": ("dare_linear", False, {"density": 0.5}, {}, False),
    "dare_ties": ("dare_ties", False, {"density": 0.5}, {}, False),
    "della_linear": ("della_linear", False, {"density": 0.5}, {}, False),
    "della": ("della", False, {"density": 0.5}, {}, False),
}
SHORT = ("linear", "task_arithmetic", "task_arithmetic bf16", "slerp", "ties", "dare_linear")
NO_BASE = ("linear", "multislerp", "karcher", "nuslerp")
CHANCE = ("dare_linear", "dare_ties", "della_linear", "della")
PAIRS = ("slerp", "nuslerp", "nuslerp from the base", "nearswap", "arcee_fusion")
# The base of these is the first source, which "models" need not name again.
INTO_FIRST = ("nearswap", "arcee_fusion")
# Recipes that depend on the layer, of k sources.
DEPTH = {
    "stack": (2, 3), "stack repeated": (1, 2), "stack in place": (2, 4),
    "linear gradient": (2, 3), "task_arithmetic gradient": (2, 3), "slerp gradient": (2,), "slerp filters": (2,),
}
DEPTH_SHORT = ("stack", "slerp filters")


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
    elif method in INTO_FIRST:
        out["base_model"] = sources[0]
        out["models"] = models[1:]
    elif name not in NO_BASE:
        out["base_model"] = os.path.join(family, "base")
    if whole:
        out["parameters"] = whole
    return out, weights


def layers_of(family):
    with open(os.path.join(family, "base", "config.json")) as f:
        return json.load(f)["num_hidden_layers"]


def stack(name, sources, n):
    """Slices of one model each: overlapping thirds, a model on itself, or shares of the depth."""
    half = n // 2
    if name == "stack repeated":
        ranges = [(sources[0], 0, half + 1), (sources[-1], half - 1, half + 1), (sources[0], half - 1, n)]
    elif name == "stack in place":
        cuts = [round(i * n / len(sources)) for i in range(len(sources) + 1)]
        ranges = [(s, a, b) for s, a, b in zip(sources, cuts, cuts[1:])]
    else:
        ranges = [(s, i, n - len(sources) + 1 + i) for i, s in enumerate(sources)]
    slices = [{"sources": [{"model": s, "layer_range": [a, b]}]} for s, a, b in ranges]
    return {"merge_method": "passthrough", "slices": slices, "dtype": "bfloat16"}, ranges


def over(anchors, n, layer):
    place = layer / (n - 1) * (len(anchors) - 1)
    i = min(int(place), len(anchors) - 2)
    return anchors[i] + (place - i) * (anchors[i + 1] - anchors[i])


GRADIENTS = {"linear": ([0.7, 0.3], [0.1, 0.3, 0.2]), "task_arithmetic": ([0.6, 0.2, 0.4], [0.1, 0.4], [0.3, 0.2])}


def gradient(name, family, sources, n):
    """The recipe, and the shares of each layer where one number is right for the whole layer."""
    method = name.split()[0]
    out = {"merge_method": method, "dtype": "float32", "out_dtype": "bfloat16"}
    if method == "slerp":
        lists = {"self_attn": [0, 0.5, 0.3, 0.7, 1], "mlp": [1, 0.5, 0.7, 0.3, 0]}
        t = [{"filter": k, "value": v} for k, v in lists.items()] + [{"value": 0.5}]
        out |= {"base_model": sources[0], "models": [{"model": s} for s in sources]}
        out["parameters"] = {"t": t if name.endswith("filters") else [0.2, 0.6, 0.3]}
        shares = None if name.endswith("filters") else [[1 - over([0.2, 0.6, 0.3], n, l), over([0.2, 0.6, 0.3], n, l)]
                                                        for l in range(n)]
        return out, shares
    lists = list(GRADIENTS[method][: len(sources)])
    if method == "linear":
        given = lists[: len(sources) - 1]
        longest = max(len(l) for l in given)
        even = [[over(l, longest, i) if longest > 1 else l[0] for i in range(longest)] for l in given]
        lists = even + [[round(1 - sum(l[i] for l in even), 4) for i in range(longest)]]
    else:
        out["base_model"] = os.path.join(family, "base")
    out["models"] = [{"model": s, "parameters": {"weight": l}} for s, l in zip(sources, lists)]
    return out, [[over(a, n, l) for a in lists] for l in range(n)]


def replays(build, suspect, base, candidates, file):
    true = lineage(build, "replay", suspect, "--recipe", file)
    return {
        "inferred": lineage(build, "replay", suspect, *base, *candidates).get("match", 0),
        "true": true["match"], "without": max([c["match"] for c in true["match_controls"]] or [0]),
    }


def depth_recipe(name, family, sources):
    n = layers_of(family)
    return stack(name, sources, n) if name.startswith("stack") else gradient(name, family, sources, n)


def run_depth(build, family, merges, name, k, tunes):
    sources, n = tunes[:k], layers_of(family)
    is_stack = name.startswith("stack")
    config, wanted = depth_recipe(name, family, sources)
    suspect, file = merges.merge(config)
    base = ["--base", os.path.join(family, "base")]
    candidates = [a for t in tunes for a in ("--candidate", t)]
    found = lineage(build, "decompose", suspect, *base, *candidates)
    included = {s["name"] for s in found["sources"] if s["included"]}
    row = {"name": name, "k": k, "exact": False, "sources": included == set(sources), "verdict": found["method"]["best"],
           "method": config["merge_method"] in [found["method"]["best"], *found["method"]["not_excluded"]]}
    if is_stack:
        layers = [(s, l) for s, a, b in wanted for l in range(a, b)]
        row["method"] &= [(p["model"], p["of_layer"]) for p in found.get("places", [])] == layers
    else:
        row["verdict"] += ", over the layers" if found["method"]["gradient"] else ""
        row["method"] &= found["method"]["gradient"]
        if wanted:
            order = [s["name"] for s in found["sources"]]
            per = {l["name"]: l["shares"] for l in found["per_layer"]}
            row["exact"], row["off"] = True, max(
                abs(per[f"layer {l}"][order.index(s)] - w) for l in range(n) for s, w in zip(sources, wanted[l]))
    row |= replays(build, suspect, base, candidates, file)
    if is_stack and k == 1:
        row["without"] = None
    return row


def lineage(build, *arguments):
    done = subprocess.run([os.path.join(build, "weightward"), "lineage", *arguments, "--json", "-q"],
                          capture_output=True, text=True)
    if done.returncode not in (0, 1):
        sys.exit(f"{' '.join(arguments)}: {done.stderr}")
    return json.loads(done.stdout)


def run(build, family, merges, name, k, tunes):
    sources = tunes[:k]
    config, weights = recipe(name, family, sources)
    suspect, file = merges.merge(config)
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
    }
    if method in CHANCE:
        return row | {"inferred": lineage(build, "replay", suspect, *base, *candidates).get("match", 0),
                      "draw": is_draw(build, suspect, file, config)}
    return row | replays(build, suspect, base, candidates, file)


def is_draw(build, suspect, file, config):
    """Of its own recipe, and not of one that weighs the first source by a fifth more."""
    other = file + ".other.yml"
    first, *rest = config["models"]
    heavier = {**first, "parameters": {**first["parameters"], "weight": 1.2 * first["parameters"]["weight"]}}
    with open(other, "w", encoding="utf-8") as f:
        json.dump({**config, "models": [heavier, *rest]}, f)
    own, wrong = (lineage(build, "replay", suspect, "--recipe", r)["apart"] for r in (file, other))
    return own is None and "the share of" in (wrong or "")


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
    if row.get("without") is not None and row["without"] > 0.9:
        out.append("left out")
    if row.get("draw") is False:
        out.append("draw")
    return out


def rows(args, tunes):
    for name in (*SHORT, *DEPTH_SHORT) if args.short else (*METHODS, *DEPTH):
        most = 2 if args.short or name in PAIRS else min(4, len(tunes))
        for k in [k for k in DEPTH[name] if k <= most] if name in DEPTH else range(2, most + 1):
            if not args.only or args.only == name:
                yield name, k


def look(args, family, merges, tunes):
    """Each row told; how many miss something."""
    failed = 0
    print("merge | k | sources | off | verdict | inferred recipe | true recipe | one left out | misses")
    for name, k in rows(args, tunes):
        row = (run_depth if name in DEPTH else run)(args.build, family, merges, name, k, tunes)
        bad = misses(row)
        failed += bool(bad)
        number = lambda key, form="{:.4f}": form.format(row[key]) if row.get(key) is not None else "-"
        print(name, k, "right" if row["sources"] else "WRONG", number("off", "{:.5f}"),
              row["verdict"], number("inferred"), number("true"), number("without"),
              ", ".join(bad) or "none", sep=" | ", flush=True)
    print(f"{failed} merges miss something")
    return failed


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("build")
    parser.add_argument("family")
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--only")
    parser.add_argument("--merges")
    parser.add_argument("--make", action="store_true")
    args = parser.parse_args()
    if args.make and not args.merges:
        parser.error("--make needs --merges FOLDER")
    family = os.path.abspath(args.family)
    tunes = sorted(glob.glob(os.path.join(family, "expert-*")) + glob.glob(os.path.join(family, "sibling-*")))
    failed = 0
    with tempfile.TemporaryDirectory() as work:
        merges = Merges(args.merges or work, family)
        if args.make:
            for name, k in rows(args, tunes):
                merges.merge((depth_recipe if name in DEPTH else recipe)(name, family, tunes[:k])[0])
        else:
            failed = look(args, family, merges, tunes)
        print(merges.told())
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
