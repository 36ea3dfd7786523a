#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""OPCM onto an earlier merge: against a reference in float64 that goes step by step, with
its scale after each, and against one recipe with all models. What the record must hold, and
what is refused.

    test_merge_continual.py BUILD
"""
import json
import os
import shutil
import subprocess
import sys
import tempfile

import numpy as np
from safetensors.numpy import load_file, save_file

SHAPES = {"model.embed_tokens.weight": (50, 16), "model.norm.weight": (16,)} | {
    f"model.layers.{i}.{n}.weight": s for i in range(2) for n, s in
    {"self_attn.q_proj": (16, 16), "mlp.up_proj": (24, 16), "mlp.down_proj": (16, 24),
     "input_layernorm": (16,)}.items()}
# Of no architecture, which would have more in a layer.
CONFIG = {"model_type": "none", "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2,
          "num_attention_heads": 2, "num_key_value_heads": 2, "vocab_size": 50, "tie_word_embeddings": True}
failed = []


def check(good, what):
    print(("ok     " if good else "FAILED ") + what, flush=True)
    if not good:
        failed.append(what)


def write(folder, tensors):
    os.makedirs(folder)
    save_file({n: t.astype("f8") for n, t in tensors.items()}, f"{folder}/model.safetensors")
    with open(f"{folder}/config.json", "w") as f:
        json.dump(CONFIG, f)


def read(folder):
    return {n: t.astype("f8") for n, t in load_file(f"{folder}/model.safetensors").items()}


def norm(delta):
    return np.sqrt(sum(np.sum(t * t) for t in delta.values()))


def stepwise(taus, alpha):
    """The published order of steps: undo the scale, project, add, scale again."""
    merged, scale, norms = taus[0], 1.0, [norm(taus[0])]
    for tau in taus[1:]:
        norms.append(norm(tau))
        step = {}
        for name, t in tau.items():
            old = merged[name] * scale
            if t.ndim == 2 and "embed" not in name:
                u, s, vt = np.linalg.svd(old, full_matrices=True)
                r = int(np.argmax(np.cumsum(s) > alpha * s.sum()))
                p = u.T @ t @ vt.T
                np.fill_diagonal(p, 0)
                p[:r, :r] = 0
                t = u @ p @ vt
            step[name] = old + t
        scale = norm(step) / np.mean(norms)
        merged = {n: t / scale for n, t in step.items()}
    return merged


def recipe(names, earlier=None, alpha=0.5, lam=1.0, base="base"):
    lines = ["merge_method: opcm", f"base_model: {base}", "dtype: float64",
             f"parameters: {{alpha: {alpha}, lambda: {lam}}}", "models:"]
    for n in names:
        more = ", parameters: {earlier: true}" if n == earlier else ""
        lines.append(f"  - {{model: {n}{more}}}")
    return "\n".join(lines) + "\n"


def main(build):
    rng = np.random.default_rng(3)
    tool = f"{build}/weightward"
    with tempfile.TemporaryDirectory() as path:
        os.chdir(path)

        def run(*args):
            return subprocess.run([tool, *args], capture_output=True, text=True)

        def merge(text, out):
            with open(f"{out}.yml", "w") as f:
                f.write(text)
            return run("merge", f"{out}.yml", out, "-q")

        base = {n: rng.standard_normal(s) for n, s in SHAPES.items()}
        write("base", base)
        base = read("base")
        taus = []
        for i in range(4):
            write(f"m{i}", {n: t + 0.05 * rng.standard_normal(t.shape) for n, t in base.items()})
            taus.append({n: t - base[n] for n, t in read(f"m{i}").items()})

        def off(out, want, lam):
            got = read(out)
            return max(np.abs((got[n] - base[n]) - lam * want[n]).max() for n in want)

        for alpha, lam in ((0.5, 1.0), (0.2, 0.7)):
            tag = str(alpha)
            want = stepwise(taus, alpha)
            first = merge(recipe(["m0", "m1"], alpha=alpha, lam=lam), "a" + tag)
            check(first.returncode == 0, f"two models {first.stderr.strip()}")
            merge(recipe(["a" + tag, "m2"], "a" + tag, alpha, lam), "b" + tag)
            done = merge(recipe(["b" + tag, "m3"], "b" + tag, alpha, lam), "c" + tag)
            check(done.returncode == 0, f"two times one more {done.stderr.strip()}")
            merge(recipe(["m0", "m1", "m2", "m3"], alpha=alpha, lam=lam), "all" + tag)
            worst = off("c" + tag, want, lam)
            check(worst < 1e-10, f"alpha {alpha}: one by one, off by {worst:.1e}")
            worst = off("all" + tag, want, lam)
            check(worst < 1e-10, f"alpha {alpha}: at once, off by {worst:.1e}")
            # A merge that is a model like others counts once, so it is something else.
            merge(recipe(["a" + tag, "m2"], None, alpha, lam), "plain" + tag)
            check(off("plain" + tag, stepwise(taus[:3], alpha), lam) > 1e-3,
                  "without 'earlier' it is another merge")
            again = run("merge", "--rederive", "c" + tag, "-q")
            check(again.returncode == 0, f"computed again {again.stderr.strip()}")

        with open("a0.5/attestations/provenance.intoto.json") as f:
            state = json.load(f)["predicate"]["buildDefinition"]["internalParameters"]["continual"]
        mean = np.mean([norm(t) for t in taus[:2]])
        check(state["tasks"] == "2" and abs(state["mean_norm"] / mean - 1) < 1e-9,
              f"the record: {state}")

        shutil.copytree("a0.5", "lies")
        place = "lies/attestations/provenance.intoto.json"
        with open(place) as f:
            text = f.read()
        with open(place, "w") as f:
            f.write(text.replace(repr(state["mean_norm"]), repr(state["mean_norm"] * 1.001)))
        done = run("merge", "--rederive", "lies", "-q")
        check(done.returncode != 0 and "a later merge goes on" in done.stderr,
              f"numbers that were changed are told ({done.stderr.strip()})")

        def stated(folder, **more):
            """A copy of a merge whose record says something else."""
            shutil.copytree("a0.5", folder)
            place = f"{folder}/attestations/provenance.intoto.json"
            with open(place) as f:
                record = json.load(f)
            internal = record["predicate"]["buildDefinition"]["internalParameters"]
            internal["continual"] |= more
            if not more:
                del internal["continual"]
            with open(place, "w") as f:
                json.dump(record, f)

        def refused(text, out, words):
            done = merge(text, out)
            check(done.returncode != 0 and words in done.stderr and not os.path.exists(out),
                  f"refused: {words} ({done.stderr.strip()})")

        refused(recipe(["m2", "a0.5"], "a0.5"), "r1", "must be the first model")
        refused(recipe(["m0", "m1"], "m0"), "r2", "no record")
        refused(recipe(["a0.5", "m2"], "a0.5").replace(
            "earlier: true", "earlier: [{filter: mlp, value: true}, {value: false}]"),
            "r7", "one earlier merge must go into every tensor")
        for folder, more in (("norm", {"mean_norm": -1.0}), ("scale", {"scale": 0.0}),
                             ("many", {"tasks": "18446744073709551615"})):
            stated(folder, **more)
            refused(recipe([folder, "m2"], folder), "r8" + folder, "its numbers make no sense")
        stated("silent")
        refused(recipe(["silent", "m2"], "silent"), "r9", "does not say how its models")
        merge(recipe(["m0", "m1"]).replace("opcm", "task_arithmetic")
              .replace("alpha: 0.5, ", "").replace("{model: m0}", "{model: m0, parameters: {weight: 1}}")
              .replace("{model: m1}", "{model: m1, parameters: {weight: 1}}"), "ta")
        refused(recipe(["ta", "m2"], "ta"), "r3", "was merged by 'task_arithmetic'")
        write("base2", {n: t + 1 for n, t in base.items()})
        refused(recipe(["a0.5", "m2"], "a0.5", base="base2"), "r4", "the base is not what")
        shutil.copytree("a0.5", "changed")
        tensors = read("changed")
        tensors["model.norm.weight"] += 1
        save_file({n: t.astype("f8") for n, t in tensors.items()}, "changed/model.safetensors")
        refused(recipe(["changed", "m2"], "changed"), "r5", "the earlier merge is not what")
        refused(recipe(["a0.5", "m2"], "a0.5").replace("earlier: true", "earlier: true, weight: 2"),
                "r6", "the weight 1")
    print(f"{len(failed)} failed" if failed else "all passed")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main(os.path.abspath(sys.argv[1])))
