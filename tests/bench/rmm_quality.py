#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What packages within an error keep of a fine-tune's gain, and at how many bits.

    rmm_quality.py BUILD FAMILY [--errors E ...] [--adapters-only | --models-only]

FAMILY is the trained family that tests/vectors/amber is part of, whole. Retained: (base loss -
loss of what came back) / (base loss - loss of the source), losses in nats on 256 test rows of
the fine-tune's own task. Models: codec dense by `rmm pack --error`, and BitDelta's form
without distillation, computed here: sign and mean of every matrix, one bit a weight. Adapters:
codec own, and the paper's RMM by `rmm rows`, at ranks 8 (as trained) and at the ranks and
numbers of adapters that are named.
"""
import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile

import torch
from safetensors.torch import load_file, save_file

MODELS = [("expert-rev", "rev"), ("expert-caesar", "caesar"), ("expert-sort", "sort"),
          ("expert-swap", "swap"), ("expert-rev-v2", "rev"), ("sibling-dup", "dup"),
          ("sibling-rev-s2", "rev")]
ADAPTERS = [("lora-rev", "rev"), ("lora-caesar", "caesar"), ("lora-sort", "sort"),
            ("lora-swap", "swap")]


class Family:
    def __init__(self, binary, path, work):
        sys.path.insert(0, path)
        import eval as scorer
        self.binary, self.path, self.work, self.scorer = binary, path, work, scorer
        self.base = os.path.join(path, "base")
        self.tokenizer = scorer.load_tokenizer(self.base)
        self.known = {}

    def run(self, *args):
        subprocess.run([self.binary, *args, "-q"], check=True, stdout=subprocess.DEVNULL)

    def listed(self, package):
        done = subprocess.run([self.binary, "rmm", "list", package, "--json"], check=True,
                              stdout=subprocess.PIPE)
        return json.loads(done.stdout)

    def loss(self, task, model, adapter=None):
        key = (task, model, adapter)
        if key not in self.known or self.work in model + (adapter or ""):
            loaded = self.scorer.load_model(model, adapter)
            found = self.scorer.evaluate(self.path, loaded, self.tokenizer, [task])[task]
            self.known[key] = found["nll"]
        return self.known[key]

    def retained(self, task, source, back):
        """source, back: (model, adapter)"""
        base = self.loss(task, self.base)
        return 100 * (base - self.loss(task, *back)) / (base - self.loss(task, *source))


def bitdelta(base, tune, out):
    shutil.copytree(tune, out)
    a, b = (load_file(os.path.join(x, "model.safetensors")) for x in (base, tune))
    for name, w in b.items():
        if name in a and w.ndim == 2:
            change = w.double() - a[name].double()
            b[name] = (a[name].double() + change.abs().mean() * change.sign()).to(w.dtype)
    save_file(b, os.path.join(out, "model.safetensors"), {"format": "pt"})


def one_model(f, name, task, errors):
    tune = os.path.join(f.path, name)
    package, out = os.path.join(f.work, "m.pkg"), os.path.join(f.work, "m")
    weights = load_file(os.path.join(tune, "model.safetensors"))
    n = sum(w.numel() for w in weights.values())
    bitdelta(f.base, tune, out)
    print(f"{name:16} sign and mean {'':12} 1.00 bits, retained "
          f"{f.retained(task, (tune, None), (out, None)):6.1f} %", flush=True)
    shutil.rmtree(out)
    for error in errors:
        f.run("rmm", "pack", package, f"m={tune}", "--base", f.base, "--error", str(error))
        f.run("rmm", "unpack", package, "m", out, "--base", f.base)
        coded = f.listed(package)["members"][0]["codec"]
        bits = 8 * (sum(coded.values()) - coded["split"]) / n
        print(f"{name:16} dense, error {error:4.2f} {bits:12.2f} bits, retained "
              f"{f.retained(task, (tune, None), (out, None)):6.1f} %", flush=True)
        os.remove(package)
        shutil.rmtree(out)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("build")
    parser.add_argument("family")
    parser.add_argument("--errors", nargs="*", type=float, default=[0.1, 0.8])
    parser.add_argument("--only", nargs="*", default=None)
    args = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as work:
        f = Family(os.path.join(os.path.abspath(args.build), "weightward"),
                   os.path.abspath(args.family), work)
        for name, task in MODELS:
            if args.only is None or name in args.only:
                one_model(f, name, task, args.errors)


if __name__ == "__main__":
    main()
