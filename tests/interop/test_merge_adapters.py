#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Adapters in merges, compared with peft and with mergekit 0.1.5.

    test_merge_adapters.py BUILD

"base+adapter" in a recipe: a copy of it is what peft's merge_and_unload gives in float64,
rounded once; merging it is, byte for byte, merging the folders that such copies are; the
same recipe through mergekit agrees to the rounding of its float32.
"""
import json
import os
import subprocess
import sys
import tempfile

os.environ.setdefault("HF_HUB_OFFLINE", "1")
import make_models as families
import numpy as np
import yaml
from mergekit.config import MergeConfiguration
from mergekit.merge import MergeOptions, run_merge
from safetensors.torch import load_file
from test_adapter import ATTENTION, CASES, LLAMA, make_adapter
from test_bake import merged

# What the sum can be made of; the other cases of test_adapter.py differ in the base alone.
COPIED = ("llama-rslora", "llama-embedding", "qwen2-lora-bias", "gpt2-dora")
failed = []


def check(ok, what):
    print(f"{'ok' if ok else 'FAIL':4} {what}", flush=True)
    if not ok:
        failed.append(what)


class Folder:
    """A folder of models, adapters and merges."""

    def __init__(self, build, path):
        self.tool, self.path = os.path.join(build, "weightward"), path

    def at(self, name):
        return os.path.join(self.path, name)

    def run(self, *args):
        return subprocess.run([self.tool, *args], cwd=self.path, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def merge(self, recipe, out, *args):
        with open(self.at(out + ".yml"), "w") as f:
            f.write(recipe)
        done = self.run("merge", out + ".yml", out, *args)
        if done.returncode:
            raise RuntimeError(f"{out}: {done.stderr}")
        return self.at(out)


def weights(folder):
    tensors = {}
    for name in sorted(os.listdir(folder)):
        if name.endswith(".safetensors"):
            tensors.update(load_file(os.path.join(folder, name)))
    return tensors


def same_bytes(a, b):
    x, y = weights(a), weights(b)
    return x.keys() == y.keys() and all(
        x[n].dtype == y[n].dtype and x[n].shape == y[n].shape and
        bytes(x[n].contiguous().untyped_storage()) == bytes(y[n].contiguous().untyped_storage())
        for n in x)


def check_copy(build, name, family, settings):
    with tempfile.TemporaryDirectory() as path:
        f = Folder(build, path)
        base = families.write(family, path)
        make_adapter(base, f.at("adapter"), settings)
        out = f.merge(f"merge_method: passthrough\nmodels: [{{model: {family}+adapter}}]\n", "out",
                      "-q")
        want = merged(base, f.at("adapter"), f.at("merged"))
        got, before = weights(out), weights(base)
        worst, changed = 0.0, 0
        for n, w in before.items():
            if n in want:
                changed += 1
                x = want[n].numpy()
                off = np.abs(got[n].numpy() - x) / np.maximum(np.abs(x), 1e-3 * np.abs(x).max())
                worst = max(worst, float(off.max()))
            elif not (got[n] == w).all():
                worst = np.inf
        check(changed == len(want) and worst <= 2.0 ** -23 and got.keys() == before.keys(),
              f"{name}: {changed} weights, off by {worst:.1e}")


def recipe(method, models, more=""):
    lines = [f"merge_method: {method}", "base_model: llama", "models:"]
    for model, weight in models:
        lines += [f"  - model: {model}", f"    parameters: {{weight: {weight}, density: 0.6}}"]
    return "\n".join(lines) + "\n" + more


def check_merge(build):
    with tempfile.TemporaryDirectory() as path:
        f = Folder(build, path)
        base = families.write("llama", path)
        make_adapter(base, f.at("a"), dict(target_modules=LLAMA))
        make_adapter(base, f.at("b"), dict(target_modules=ATTENTION, use_dora=True))
        for name in "ab":
            f.merge(f"merge_method: passthrough\nmodels: [{{model: llama+{name}}}]\n",
                    "baked-" + name, "-q")
        for method in ("task_arithmetic", "ties", "dare_ties", "sce"):
            both = (("llama+a", 0.7), ("llama+b", -0.4))
            direct = f.merge(recipe(method, both), f"{method}-direct", "-q", "--threads", "2")
            first = f.merge(recipe(method, (("baked-a", 0.7), ("baked-b", -0.4))),
                            f"{method}-first", "-q", "--threads", "1")
            check(same_bytes(direct, first), f"{method}: as merging baked folders")
            done = f.run("merge", "--rederive", f"{method}-direct", "-q")
            check(done.returncode == 0, f"{method}: computed again {done.stderr.strip()}")
        check_mergekit(f)
        check_record(f)


def check_mergekit(f):
    text = recipe("task_arithmetic", (("llama+a", 0.7), ("llama+b", -0.4)), "dtype: float32\n")
    ours = weights(f.merge(text, "ours", "-q"))
    old = os.getcwd()
    os.chdir(f.path)
    try:
        run_merge(MergeConfiguration.model_validate(yaml.safe_load(text)), "theirs",
                  MergeOptions(lora_merge_cache=f.at("cache"), copy_tokenizer=False, quiet=True,
                               write_model_card=False))
    finally:
        os.chdir(old)
    theirs = weights(f.at("theirs"))
    worst = max(float((ours[n].double() - theirs[n].double()).abs().max() /
                      theirs[n].double().abs().max()) for n in theirs)
    # mergekit drops tensors that its description of the architecture does not name
    check(len(theirs) >= 21 and theirs.keys() <= ours.keys() and worst <= 1e-6,
          f"mergekit: {len(theirs)} of {len(ours)} tensors, off by {worst:.1e} of the largest value")


def check_record(f):
    with open(os.path.join(f.at("ours"), "attestations", "provenance.intoto.json")) as r:
        sources = json.load(r)["predicate"]["buildDefinition"]["resolvedDependencies"]
    files = {s["name"]: [x["name"] for x in s["annotations"]["files"]] for s in sources}
    check(sorted(files) == ["a", "b", "llama"] and
          files["a"] == ["adapter_model.safetensors", "adapter_config.json"],
          f"the record names base and adapters: {sorted(files)}")
    weights_file = os.path.join(f.at("a"), "adapter_model.safetensors")
    with open(weights_file, "r+b") as w:
        w.seek(-2, os.SEEK_END)
        byte = w.read(1)
        w.seek(-2, os.SEEK_END)
        w.write(bytes([byte[0] ^ 1]))
    done = f.run("merge", "--rederive", "ours", "-q")
    check(done.returncode != 0 and "is not the one that was merged" in done.stderr,
          f"a changed adapter is told: {done.stderr.strip()[:100]}")


def main(build):
    for name, family, settings in CASES:
        if name in COPIED:
            check_copy(build, name, family, settings)
    check_merge(build)
    print(f"{len(failed)} failed" if failed else "all passed")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main(os.path.abspath(sys.argv[1])))
