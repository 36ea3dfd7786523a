#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What merges import: Fisher diagonals, masks and Gram matrices beside the models, and
coefficients for each layer; recipes through weightward merge against numpy in float64.

    test_merge_statistics.py BUILD
"""
import json
import os
import subprocess
import sys
import tempfile

import numpy as np
import yaml
from safetensors.numpy import load_file, save_file

AMBER = os.path.join(os.path.dirname(__file__), "..", "vectors", "amber")
MODELS = ("expert-rev", "expert-caesar")


def bf16(path):
    """A model's bfloat16 tensors as float64."""
    with open(path, "rb") as f:
        raw = f.read()
    head = int.from_bytes(raw[:8], "little")
    out = {}
    for name, t in json.loads(raw[8:8 + head]).items():
        if name != "__metadata__":
            a, b = t["data_offsets"]
            bits = np.frombuffer(raw[8 + head + a:8 + head + b], "<u2").astype(np.uint32) << 16
            out[name] = bits.view(np.float32).astype(np.float64).reshape(t["shape"])
    return out


class Merge:
    def __init__(self, build, folder):
        self.program = os.path.abspath(os.path.join(build, "weightward"))
        self.folder, self.n = folder, 0

    def run(self, recipe):
        self.n += 1
        path, out = f"{self.folder}/{self.n}.yml", f"{self.folder}/out{self.n}"
        with open(path, "w") as f:
            yaml.safe_dump(recipe, f)
        run = subprocess.run([self.program, "merge", path, out, "--quiet"], capture_output=True,
                             text=True, cwd=self.folder)
        return out, run.returncode, run.stderr

    def result(self, recipe):
        out, rc, err = self.run(recipe)
        assert rc == 0, err
        return load_file(f"{out}/model.safetensors"), out

    def refused(self, recipe, text):
        _, rc, err = self.run(recipe)
        assert rc != 0 and text in err, (rc, err, text)


def recipe(method, inputs, statistics=None, **more):
    models = [{"model": m, **({"statistics": statistics[i]} if statistics else {}),
               "parameters": {"weight": (0.4, 1.3)[i]}} for i, m in enumerate(inputs)]
    return {"merge_method": method, "models": models, "dtype": "float32", **more}


def same(got, want, what):
    assert set(got) == set(want), what
    for name in want:
        far = np.abs(got[name] - want[name]).max()
        assert far <= 3e-7 * np.abs(want[name]).max() + 1e-12, (what, name, far)


def main():
    rng = np.random.default_rng(11)
    base = bf16(f"{AMBER}/base/model.safetensors")
    xs = [bf16(f"{AMBER}/{m}/model.safetensors") for m in MODELS]
    w = (0.4, 1.3)
    with tempfile.TemporaryDirectory() as folder:
        for name in ("base",) + MODELS:
            os.symlink(os.path.abspath(f"{AMBER}/{name}"), f"{folder}/{name}")

        def store(name, tensors):
            os.makedirs(f"{folder}/{name}", exist_ok=True)
            save_file({k: np.ascontiguousarray(v, np.float32) for k, v in tensors.items()},
                      f"{folder}/{name}/model.safetensors")
            return {k: np.asarray(v, np.float32).astype(np.float64) for k, v in tensors.items()}

        merge = Merge(sys.argv[1], folder)
        fisher = [store(f"fisher{i}", {k: rng.random(v.shape) ** 4 for k, v in x.items()})
                  for i, x in enumerate(xs)]
        masks = [store(f"mask{i}", {k: rng.random(v.shape) < 0.5 for k, v in x.items()})
                 for i, x in enumerate(xs)]
        grams = []
        for i, x in enumerate(xs):
            g = {}
            for k, v in x.items():
                if v.ndim == 2 and "embed" not in k:
                    inputs = rng.standard_normal((60, v.shape[1])) * rng.random(v.shape[1])
                    g[k] = inputs.T @ inputs
            grams.append(store(f"gram{i}", g))

        got, out = merge.result(recipe("fisher", MODELS, ["fisher0", "fisher1"]))
        f = [{k: wi * np.maximum(v, 1e-6) for k, v in s.items()} for wi, s in zip(w, fisher)]
        same(got, {k: (f[0][k] * xs[0][k] + f[1][k] * xs[1][k]) / (f[0][k] + f[1][k])
                   for k in base}, "fisher")
        with open(f"{out}/attestations/provenance.intoto.json") as record:
            assert "fisher1" in record.read(), "the record does not name the statistics"
        card = open(f"{out}/README.md").read().split("---")[1]
        assert "fisher" not in card and MODELS[0] in card, card
        check = subprocess.run([merge.program, "merge", "--rederive", out], cwd=folder,
                               capture_output=True, text=True)
        assert check.returncode == 0, check.stderr

        got, _ = merge.result(recipe("masks", MODELS, ["mask0", "mask1"], base_model="base"))
        same(got, {k: base[k] + sum(wi * m[k] * (x[k] - base[k])
                                    for wi, m, x in zip(w, masks, xs)) for k in base}, "masks")

        off = 0.7
        got, _ = merge.result(recipe("regmean", MODELS, ["gram0", "gram1"],
                                     parameters={"off_diagonal": off}))
        want = {}
        for k in base:
            if k not in grams[0]:
                want[k] = (w[0] * xs[0][k] + w[1] * xs[1][k]) / sum(w)
                continue
            g = [wi * s[k] * (off + (1 - off) * np.eye(len(s[k]))) for wi, s in zip(w, grams)]
            want[k] = np.linalg.solve(sum(g), sum(gi @ x[k].T for gi, x in zip(g, xs))).T
        same(got, want, "regmean")
        print("fisher, masks and regmean agree with numpy, and the record names what they import")

        # A task's model is the unified one through the task's mask.
        def emr(**more):
            return {"merge_method": "emr", "base_model": "base", "dtype": "float32",
                    "models": [{"model": m} for m in MODELS], "parameters": more}
        task, _ = merge.result(emr(task=2))
        _, unified = merge.result(emr(task=0))
        mask, masked = merge.result(emr(task=2, mask=True))
        assert len({v for x in mask.values() for v in np.unique(x)}) == 2, "0 and one factor"
        got, _ = merge.result({
            "merge_method": "masks", "base_model": "base", "dtype": "float32",
            "models": [{"model": unified, "statistics": masked}]})
        same(got, {k: v.astype(np.float64) for k, v in task.items()}, "emr by its mask")
        print("the unified model of EMR and a mask give the model of the task")

        # What merging methods learn for each layer is a list of filters.
        layers = sorted({int(k.split(".")[2]) for k in base if ".layers." in k})
        learnt = {layer: (0.3 + 0.1 * layer, 0.9 - 0.2 * layer) for layer in layers}
        models = [{"model": m, "parameters": {"weight": [
            *({"filter": f".layers.{n}.", "value": c[i]} for n, c in learnt.items()),
            {"value": 0.25}]}} for i, m in enumerate(MODELS)]
        got, _ = merge.result({"merge_method": "task_arithmetic", "base_model": "base",
                               "models": models, "dtype": "float32"})

        def coefficient(name, i):
            return learnt[int(name.split(".")[2])][i] if ".layers." in name else 0.25
        same(got, {k: base[k] + sum(coefficient(k, i) * (x[k] - base[k])
                                    for i, x in enumerate(xs)) for k in base}, "coefficients")

        # Layers of one model outside, of the other inside: a gradient.
        last = len(layers) - 1
        share = [1.0] + [0.0] * (last - 1) + [1.0] if last > 1 else [1.0, 0.0]
        got, _ = merge.result({"merge_method": "linear", "dtype": "float32", "models": [
            {"model": MODELS[0], "parameters": {"weight": share}},
            {"model": MODELS[1], "parameters": {"weight": [1 - s for s in share]}}]})
        for k in base:
            n = int(k.split(".")[2]) if ".layers." in k else 0
            same({k: got[k]}, {k: xs[0][k] if share[n] == 1 else xs[1][k]}, "layers swapped")
        print("coefficients of layers and swapped layers agree with numpy")

        short = {k: v for k, v in fisher[0].items() if "norm" not in k}
        store("short", short)
        name = next(k for k, v in base.items() if v.ndim == 2)
        store("wrong", {**fisher[0], name: np.ones((3, 5))})
        store("singular", {k: np.zeros_like(v) for k, v in grams[0].items()})
        store("nan", {k: np.full_like(v, np.nan) for k, v in grams[0].items()})
        two = ["fisher0", "fisher1"]
        for what, text in (
                (recipe("fisher", MODELS), "needs some beside each model"),
                (recipe("linear", MODELS, two), "takes none"),
                (recipe("fisher", MODELS, two, base_model="base"), "leave base_model away"),
                (recipe("fisher", MODELS, ["short", "fisher1"]), "not in its statistics"),
                (recipe("fisher", MODELS, ["wrong", "fisher1"]), "shape of the weight"),
                (recipe("regmean", MODELS, two), "columns x columns"),
                (recipe("regmean", MODELS, ["singular", "singular"]), "no inverse together"),
                (recipe("regmean", MODELS, ["nan", "gram1"]), "NaN or infinite"),
                (recipe("fisher", MODELS, two, tokenizer_source="union"), "another tokenizer"),
                (recipe("fisher", MODELS, ["nowhere", "fisher1"]), "no folder")):
            merge.refused(what, text)
        print("what does not fit is refused")


if __name__ == "__main__":
    main()
