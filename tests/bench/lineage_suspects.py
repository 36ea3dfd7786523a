#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Suspects that no test holds, as an auditor meets them.

    .venv/bin/python tests/bench/lineage_suspects.py BUILD FAMILY [--only NAME] [--keep FOLDER]
                                                     [--merges FOLDER [--make]]

FAMILY, and FOLDER of --merges, are as for lineage_grid.py; --keep has the answers. Merges
by mergekit with numbers and options that the grid
does not have, merges of merges, what happens to a merge afterwards, sources that are not
among the candidates, candidates that are near twins. For each: are exactly the sources
included (of those that are given), how far are the shares off where a sum says them, is the
method right or listed, and where something is missing, is the answer one in part?
"""
import argparse
import glob
import json
import os
import shutil
import subprocess
import sys
import tempfile

from lineage_merges import Merges

ALL = ("rev", "caesar", "sort", "swap", "rev-v2", "rev-s2", "dup")
FOLDERS = {"rev-s2": "sibling-rev-s2", "dup": "sibling-dup"}
# The same fine-tunes twelve times as far from the base, so that angles are wide.
FAR = ("far-rev", "far-caesar", "far-sort", "far-swap")
FAR_TIMES = 12


class Bench:
    def __init__(self, build, family, merges):
        self.build, self.family, self.merges = build, os.path.abspath(family), merges

    def path(self, name):
        if name.startswith("/"):
            return name
        if name in FAR:
            return self.far(name)
        return os.path.join(self.family, "base" if name == "base" else FOLDERS.get(name, f"expert-{name}"))

    def merge(self, method, sources, whole=None, base="base", dtype="float32", out="bfloat16", seed=7):
        """sources: {name: parameters}"""
        config = {"merge_method": method, "dtype": dtype, "out_dtype": out,
                  "models": [{"model": self.path(n), "parameters": p} if p else {"model": self.path(n)}
                             for n, p in sources.items()]}
        if base:
            config["base_model"] = self.path(base)
        if whole:
            config["parameters"] = whole
        return self.merges.merge(config, seed)[0]

    def change(self, folder, kind, part):
        """A copy with each matrix changed, by CHANGES[kind]."""
        out = os.path.join(self.merges.folder, f"{kind}-{part}-{os.path.basename(folder)}")
        if not os.path.exists(out):
            import torch
            g = torch.Generator().manual_seed(17)
            write(out, self.path("base"), weights(folder), weights(self.path("base")),
                  lambda v, base: CHANGES[kind](v, base, part, g))
        return out

    def far(self, name):
        near = self.path(name.removeprefix("far-"))
        out = os.path.join(self.merges.folder, "far", os.path.basename(near))
        if not os.path.exists(out):
            write(out, near, weights(near), weights(self.path("base")), lambda v, base: base + FAR_TIMES * (v - base))
        return out

    def decompose(self, suspect, candidates):
        arguments = [a for c in candidates for a in ("--candidate", self.path(c))]
        done = subprocess.run([os.path.join(self.build, "weightward"), "lineage", "decompose", suspect, "--base",
                               self.path("base"), *arguments, "--json", "-q"], capture_output=True, text=True)
        if done.returncode:
            return {"error": done.stderr.strip()}
        return json.loads(done.stdout)


def w(value, **more):
    return {"weight": value, **more}


def weights(folder):
    from safetensors.torch import load_file
    return {k: v for file in sorted(glob.glob(os.path.join(folder, "*.safetensors"))) for k, v in load_file(file).items()}


def write(out, like, tensors, base, how):
    """A folder of changed tensors, with what else lies in "like"; how(float tensor, base's)."""
    from safetensors.torch import save_file
    part = out + ".part"
    shutil.rmtree(part, ignore_errors=True)
    os.makedirs(part)
    save_file({k: how(v.float(), base[k].float()).to(v.dtype).contiguous() for k, v in tensors.items()},
              os.path.join(part, "model.safetensors"), {"format": "pt"})
    for file in glob.glob(os.path.join(like, "*.json")):
        shutil.copy(file, part)
    os.rename(part, out)


def noise(v, base, part, g):
    import torch
    return v + torch.randn(v.shape, generator=g) * part * (v - base).pow(2).mean().sqrt()


def trained(v, base, part, g):
    """As further training does: a few directions in each matrix, and some of all."""
    import torch
    if v.ndim < 2:
        return v
    low = torch.randn(v.shape[0], 4, generator=g) @ torch.randn(4, v.shape[1], generator=g)
    step = low / low.pow(2).mean().sqrt() + 0.5 * torch.randn(v.shape, generator=g)
    return v + part * step * (v - base).pow(2).mean().sqrt()


CHANGES = {"noise": noise, "trained": trained}


# name: (suspect, {source: share or None}, methods that are right, candidates, is something missing, bound)
CASES = {}


def case(name, shares, methods, candidates=ALL, unknown=False, off=0.01):
    def put(make):
        CASES[name] = (make, shares, methods, candidates, unknown, off)
        return make
    return put


FIVE = {"rev": 0.31, "caesar": 0.07, "sort": 0.22, "swap": 0.12, "dup": 0.28}
case("linear of five", FIVE, ("linear",))(lambda b: b.merge("linear", {k: w(v) for k, v in FIVE.items()}, base=None))
case("linear, weights normalised by the merger", {"rev": 0.25, "sort": 0.75}, ("linear",))(
    lambda b: b.merge("linear", {"rev": w(1), "sort": w(3)}, {"normalize": True}, base=None))
case("linear with the base among the models", {"rev": 0.45, "dup": 0.25}, ("linear", "task_arithmetic", "linear with the base"))(
    lambda b: b.merge("linear", {"base": w(0.3), "rev": w(0.45), "dup": w(0.25)}, base=None))
case("task arithmetic with lambda", {"caesar": 0.4, "swap": 0.32}, ("task_arithmetic",))(
    lambda b: b.merge("task_arithmetic", {"caesar": w(0.5), "swap": w(0.4)}, {"lambda": 0.8}))
case("task arithmetic, normalised, weights above one", {"caesar": 0.6, "swap": 0.4}, ("task_arithmetic", "linear"))(
    lambda b: b.merge("task_arithmetic", {"caesar": w(1.5), "swap": w(1.0)}, {"normalize": True}))
case("a negative weight", {"caesar": 0.7, "swap": -0.4}, ("task_arithmetic",))(
    lambda b: b.merge("task_arithmetic", {"caesar": w(0.7), "swap": w(-0.4)}))
case("one source taken away", {"dup": -0.5}, ("task_arithmetic",))(
    lambda b: b.merge("task_arithmetic", {"dup": w(-0.5)}))
case("two negative weights", {"rev": 0.8, "sort": -0.3, "dup": -0.15}, ("task_arithmetic",))(
    lambda b: b.merge("task_arithmetic", {"rev": w(0.8), "sort": w(-0.3), "dup": w(-0.15)}))
case("a twin taken away", {"rev": 1.2, "rev-s2": -0.3}, ("task_arithmetic",))(
    lambda b: b.merge("task_arithmetic", {"rev": w(1.2), "rev-s2": w(-0.3)}))
case("linear beyond a model", {"rev": 1.3, "swap": -0.3}, ("linear", "task_arithmetic"))(
    lambda b: b.merge("linear", {"rev": w(1.3), "swap": w(-0.3)}, base=None))
case("a negative weight and noise", {"caesar": 0.7, "swap": -0.4}, ("blend", "unclear"))(
    lambda b: b.change(b.merge("task_arithmetic", {"caesar": w(0.7), "swap": w(-0.4)}), "noise", 0.05))
case("a negative weight, elements dropped", {"caesar": 0.7, "swap": -0.4}, ("dare_linear",), off=0.02)(
    lambda b: b.merge("dare_linear", {"caesar": w(0.7, density=0.6), "swap": w(-0.4, density=0.6)}))
case("a negative weight in ties", {"caesar": None, "swap": None}, ("ties",))(
    lambda b: b.merge("ties", {"caesar": w(0.8, density=0.6), "swap": w(-0.5, density=0.6)}, {"normalize": False}))
case("a negative weight and a source that is not given", {"rev": None, "swap": None}, ("blend", "unclear"),
     ("rev", "caesar", "swap"), True)(
    lambda b: b.merge("task_arithmetic", {"rev": w(0.5), "swap": w(-0.3), "dup": w(0.5)}))
case("a share of 0.03", {"rev": 0.9, "dup": 0.03}, ("task_arithmetic",))(
    lambda b: b.merge("task_arithmetic", {"rev": w(0.9), "dup": w(0.03)}))
case("one source, scaled", {"sort": 0.37}, ("task_arithmetic", "slerp"))(
    lambda b: b.merge("task_arithmetic", {"sort": w(0.37)}))
case("one source as it is", {"sort": 1}, ("linear", "task_arithmetic", "passthrough"))(
    lambda b: b.merge("linear", {"sort": w(1)}, base=None))
case("slerp from the base", {"sort": 0.6}, ("slerp", "task_arithmetic"))(
    lambda b: b.merge("slerp", {"base": {}, "sort": {}}, {"t": 0.6}))
case("slerp over the layers", {"rev": None, "swap": None}, ("slerp",))(
    lambda b: b.merge("slerp", {"rev": {}, "swap": {}}, {"t": [0.1, 0.7, 0.4]}, base="rev"))
case("linear, weights by the part of a layer", {"rev": None, "swap": None}, ("linear",))(
    lambda b: b.merge("linear", {"rev": w([{"filter": "self_attn", "value": 0.8}, {"filter": "mlp", "value": 0.3}, {"value": 0.5}]),
                                 "swap": w([{"filter": "self_attn", "value": 0.2}, {"filter": "mlp", "value": 0.7}, {"value": 0.5}])},
                      base=None))
case("nuslerp", {"rev": None, "swap": None}, ("slerp", "linear", "nuslerp", "blend"))(
    lambda b: b.merge("nuslerp", {"rev": w(0.6), "swap": w(0.4)}, base=None))
case("ties, a density of each source", {"rev": None, "swap": None}, ("ties",))(
    lambda b: b.merge("ties", {"rev": w(0.6, density=0.3), "swap": w(0.5, density=0.8)}, {"normalize": False}))
case("ties, int8 masks, normalised, lambda", {"rev": None, "sort": None, "dup": None}, ("ties",))(
    lambda b: b.merge("ties", {"rev": w(0.5, density=0.5), "sort": w(0.3, density=0.5), "dup": w(0.4, density=0.5)},
                      {"normalize": True, "int8_mask": True, "lambda": 0.9}))
case("ties, density 0.2", {"caesar": None, "dup": None}, ("ties",))(
    lambda b: b.merge("ties", {"caesar": w(0.5, density=0.2), "dup": w(0.5, density=0.2)}, {"normalize": False}))
case("dare linear, densities 0.3 and 0.8", {"caesar": None, "dup": None}, ("dare_linear",))(
    lambda b: b.merge("dare_linear", {"caesar": w(0.5, density=0.3), "dup": w(0.5, density=0.8)}, seed=99))
case("dare linear of three, densities of 0.9 and more", {"caesar": 0.5, "dup": 0.3, "sort": 0.3}, ("dare_linear",), off=0.02)(
    lambda b: b.merge("dare_linear", {"caesar": w(0.5, density=0.9), "dup": w(0.3, density=0.95), "sort": w(0.3, density=0.9)}))
case("dare linear in bfloat16", {"caesar": 0.5, "dup": 0.5}, ("dare_linear",), off=0.02)(
    lambda b: b.merge("dare_linear", {"caesar": w(0.5, density=0.7), "dup": w(0.5, density=0.7)}, dtype="bfloat16"))
case("dare linear of a source that is not given", {"rev": None}, ("dare_linear", "unclear"), ("rev", "caesar", "swap"), True)(
    lambda b: b.merge("dare_linear", {"rev": w(0.5, density=0.5), "dup": w(0.5, density=0.5)}))
case("dare linear of one in three that is not given", {"rev": None, "caesar": None}, ("dare_linear", "della_linear", "unclear"),
     ("rev", "caesar", "swap"), True)(
    lambda b: b.merge("dare_linear", {"rev": w(0.4, density=0.8), "caesar": w(0.4, density=0.8), "dup": w(0.2, density=0.8)}))
case("della of a source that is not given", {"rev": None}, ("della", "della_linear", "unclear"), ("rev", "caesar", "swap"), True)(
    lambda b: b.merge("della_linear", {"rev": w(0.5, density=0.6), "dup": w(0.5, density=0.6)}))
case("dare linear of one source", {"caesar": None}, ("dare_linear",))(
    lambda b: b.merge("dare_linear", {"caesar": w(1.0, density=0.3)}, seed=5))
case("dare ties", {"caesar": None, "dup": None}, ("dare_ties", "dare_linear"))(
    lambda b: b.merge("dare_ties", {"caesar": w(0.6, density=0.5), "dup": w(0.5, density=0.5)}, seed=98))
case("della", {"caesar": None, "dup": None}, ("della", "della_linear"))(
    lambda b: b.merge("della", {"caesar": w(0.6, density=0.6, epsilon=0.2), "dup": w(0.5, density=0.6, epsilon=0.2)}, seed=97))
case("breadcrumbs with ties", {"caesar": None, "dup": None}, ("breadcrumbs", "breadcrumbs_ties", "ties"))(
    lambda b: b.merge("breadcrumbs_ties", {"caesar": w(0.6, density=0.8), "dup": w(0.5, density=0.8)}))
case("sce of three, a fifth selected", {"rev": None, "caesar": None, "dup": None}, ("sce",))(
    lambda b: b.merge("sce", {"rev": {}, "caesar": {}, "dup": {}}, {"select_topk": 0.2}))
case("sce of five", {"rev": None, "caesar": None, "sort": None, "swap": None, "dup": None}, ("sce",))(
    lambda b: b.merge("sce", {"rev": {}, "caesar": {}, "sort": {}, "swap": {}, "dup": {}}, {"select_topk": 0.7}))
UNEVEN = dict(zip(FIVE, (0.37, 0.61, 0.52, 0.83, 0.44)))
case("ties of five, uneven weights", {k: None for k in FIVE}, ("ties",))(
    lambda b: b.merge("ties", {k: w(v, density=0.47) for k, v in UNEVEN.items()}, {"normalize": True}))
case("breadcrumbs with ties of five, densities of their own", {k: None for k in FIVE}, ("breadcrumbs_ties",))(
    lambda b: b.merge("breadcrumbs_ties", {k: w(v, density=d) for (k, v), d in zip(UNEVEN.items(), (0.47, 0.6, 0.8, 0.5, 0.3))},
                      {"normalize": True}))
case("model stock of five", {k: None for k in FIVE}, ("model_stock",))(
    lambda b: b.merge("model_stock", {k: {} for k in FIVE}))
case("arcee fusion", {"dup": None}, ("arcee_fusion",))(lambda b: b.merge("arcee_fusion", {"dup": {}}))
case("nearswap", {"dup": None}, ("nearswap", "unclear", "blend"))(
    lambda b: b.merge("nearswap", {"dup": {}}, {"t": 0.001}))
case("nuslerp of differences", {"rev": None, "swap": None}, ("nuslerp",))(
    lambda b: b.merge("nuslerp", {"rev": w(0.6), "swap": w(0.4)}))
case("multislerp of differences", {"rev": None, "swap": None, "dup": None}, ("multislerp",))(
    lambda b: b.merge("multislerp", {"rev": w(0.5), "swap": w(0.2), "dup": w(0.3)}))
case("multislerp, weights of three", {"rev": None, "swap": None, "dup": None}, ("multislerp", "linear"))(
    lambda b: b.merge("multislerp", {"rev": w(0.5), "swap": w(0.2), "dup": w(0.3)}, base=None))
case("karcher of three", {"rev": None, "swap": None, "dup": None}, ("karcher", "multislerp"))(
    lambda b: b.merge("karcher", {"rev": {}, "swap": {}, "dup": {}}, base=None))
case("nearswap between fine-tunes", {"rev": None, "dup": None}, ("nearswap",))(
    lambda b: b.merge("nearswap", {"dup": {}}, {"t": 0.0005}, base="rev"))
case("arcee fusion of two fine-tunes", {"rev": None, "dup": None}, ("arcee_fusion",))(
    lambda b: b.merge("arcee_fusion", {"dup": {}}, base="rev"))
case("ram", {"rev": None, "dup": None, "sort": None}, ("ram",))(
    lambda b: b.merge("ram", {"rev": {}, "dup": {}, "sort": {}}))
case("ram plus", {"rev": None, "dup": None}, ("ramplus_tl",))(
    lambda b: b.merge("ramplus_tl", {"rev": {}, "dup": {}}))
case("passthrough, scaled", {"sort": None}, ("passthrough",))(
    lambda b: b.merge("passthrough", {"sort": {"scale": 0.95}}, base=None))
case("slerp of models far apart", {"far-rev": None, "far-swap": None}, ("slerp",), FAR)(
    lambda b: b.merge("slerp", {"far-rev": {}, "far-swap": {}}, {"t": 0.3}, base="far-rev"))
case("slerp from the base to a far model", {"far-rev": None}, ("slerp",), FAR)(
    lambda b: b.merge("slerp", {"base": {}, "far-rev": {}}, {"t": 0.6}))
case("float16 out of bfloat16 models", {"rev": 0.4, "dup": 0.35}, ("task_arithmetic",))(
    lambda b: b.merge("task_arithmetic", {"rev": w(0.4), "dup": w(0.35)}, out="float16"))
case("float32 out", {"rev": 0.4, "dup": 0.35}, ("task_arithmetic",))(
    lambda b: b.merge("task_arithmetic", {"rev": w(0.4), "dup": w(0.35)}, out="float32"))
case("float16 arithmetic", {"rev": 0.4, "dup": 0.35}, ("task_arithmetic",))(
    lambda b: b.merge("task_arithmetic", {"rev": w(0.4), "dup": w(0.35)}, dtype="float16", out="bfloat16"))
case("a merge of a merge", {"rev": 0.3, "sort": 0.2, "swap": 0.5}, ("linear", "task_arithmetic", "blend"))(
    lambda b: b.merge("linear", {b.merge("linear", {"rev": w(0.6), "sort": w(0.4)}, base=None): w(0.5), "swap": w(0.5)}, base=None))
case("a merge of a TIES merge", {"rev": None, "sort": None, "swap": 0.5}, ("blend", "unclear", "ties", "sce"))(
    lambda b: b.merge("linear", {b.merge("ties", {"rev": w(0.6, density=0.6), "sort": w(0.5, density=0.6)}, {"normalize": False}): w(0.5),
                                 "swap": w(0.5)}, base=None))
case("noise of a twentieth", {"rev": 0.5, "sort": 0.3}, ("blend",))(
    lambda b: b.change(b.merge("task_arithmetic", {"rev": w(0.5), "sort": w(0.3)}), "noise", 0.05))
case("one source and noise", {"dup": 1}, ("blend", "linear", "unclear"))(lambda b: b.change(b.path("dup"), "noise", 0.1))
case("a merge that was trained on", {"rev": 0.5, "sort": 0.3}, ("blend", "lora", "unclear"), unknown=True, off=0.02)(
    lambda b: b.change(b.merge("task_arithmetic", {"rev": w(0.5), "sort": w(0.3)}), "trained", 0.4))
case("a source that is not among the candidates", {"rev": None}, ("blend", "unclear", "none"), ("rev", "caesar", "swap"), True)(
    lambda b: b.merge("task_arithmetic", {"rev": w(0.4), "dup": w(0.5)}))
case("no source is among the candidates", {}, ("none", "blend", "unclear"), ("rev", "caesar", "swap"), True)(
    lambda b: b.merge("task_arithmetic", {"sort": w(0.4), "dup": w(0.5)}))
case("the source's twin is given in its place", {}, ("none", "blend", "unclear"), ("rev-s2", "caesar", "swap"), True)(
    lambda b: b.merge("task_arithmetic", {"rev": w(0.6)}))
case("ties of a source that is not given", {"rev": None}, ("none", "blend", "unclear"), ("rev", "caesar", "swap"), True)(
    lambda b: b.merge("ties", {"rev": w(0.6, density=0.6), "dup": w(0.6, density=0.6)}, {"normalize": False}))
case("near twins, both are sources", {"rev": 0.5, "rev-s2": 0.3, "rev-v2": 0.2}, ("linear",))(
    lambda b: b.merge("linear", {"rev": w(0.5), "rev-s2": w(0.3), "rev-v2": w(0.2)}, base=None))
case("near twins, one is a source", {"rev-v2": 0.55, "dup": 0.2}, ("task_arithmetic",))(
    lambda b: b.merge("task_arithmetic", {"rev-v2": w(0.55), "dup": w(0.2)}))


def judge(found, shares, methods, candidates, unknown, off):
    if "error" in found:
        return [found["error"][:90]], {}
    folder = lambda c: "far/expert-" + c.removeprefix("far-") if c in FAR else FOLDERS.get(c, f"expert-{c}")
    name = lambda s: next(c for c in (*FAR, *ALL) if s["name"].endswith(os.sep + folder(c)))
    included = {name(s): s["share"] for s in found["sources"] if s["included"]}
    given = {k for k in shares if k in candidates}
    out = []
    if given - set(included):
        out.append("missed " + " ".join(sorted(given - set(included))))
    if set(included) - given and not found["incomplete"]:
        out.append("accused " + " ".join(sorted(set(included) - given)))
    far = [f"{k} {included[k]:.4f}" for k, v in shares.items() if v is not None and k in included and abs(included[k] - v) > off]
    if far:
        out.append("share " + " ".join(far))
    listed = [found["method"]["best"], *found["method"]["not_excluded"]]
    if not set(methods) & set(listed):
        out.append("method")
    # Relatives of what is missing look like sources: then the answer must be one in part.
    if unknown and included and not found["incomplete"]:
        out.append("sure")
    return out, included


def look(args, bench):
    """Each suspect told; how many are amiss."""
    failed = n = 0
    print("suspect | method | unexplained | match | included | amiss")
    for name, (make, shares, methods, candidates, unknown, off) in CASES.items():
        if args.only and args.only not in name:
            continue
        suspect = make(bench)
        found = bench.decompose(suspect, candidates)
        amiss, included = judge(found, shares, methods, candidates, unknown, off)
        n += 1
        failed += bool(amiss)
        method = found.get("method", {})
        print(name, method.get("best"), f"{found.get('unexplained', -1):.4f}", f"{method.get('match', 0):.4f}",
              " ".join(f"{k} {v:.3f}" for k, v in included.items()) or "none", ", ".join(amiss) or "nothing",
              sep=" | ", flush=True)
        if args.keep:
            os.makedirs(args.keep, exist_ok=True)
            with open(os.path.join(args.keep, name.replace(" ", "-") + ".json"), "w") as f:
                json.dump({"suspect": suspect, "candidates": candidates, "found": found}, f)
    print(f"{failed} of {n} are amiss")
    return failed


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("build")
    parser.add_argument("family")
    parser.add_argument("--only")
    parser.add_argument("--keep")
    parser.add_argument("--merges")
    parser.add_argument("--make", action="store_true")
    args = parser.parse_args()
    if args.make and not args.merges:
        parser.error("--make needs --merges FOLDER")
    failed = 0
    with tempfile.TemporaryDirectory() as work:
        merges = Merges(args.merges or work, args.family)
        bench = Bench(args.build, args.family, merges)
        if args.make:
            for make, *_ in CASES.values():
                make(bench)
        else:
            failed = look(args, bench)
        print(merges.told())
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
