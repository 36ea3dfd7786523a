#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What packages within an error keep of a fine-tune's gain, and at how many bits.

    rmm_quality.py BUILD FAMILY [--part models|versions|trained|adapters|shared]
                   [--ranks 8,16] [--keep FOLDER]

FAMILY is the trained family that tests/vectors/amber is part of, whole. Retained: (base loss -
loss of what came back) / (base loss - loss of the source), losses in nats on the first 128 test
rows of the fine-tune's own task.

Models: codec dense by `rmm pack`, at an error of 0.1 and at the smallest error that takes at
most one bit for each weight of the model, vectors included; BitDelta's form without
distillation, computed here: sign and mean of every matrix, one bit for each of its weights.

Versions: a later version of a fine-tune packed beside it exactly, and within errors, once
against the base and once against the version before; percent of the BF16 weights. And a later
checkpoint of an adapter within an error.

Trained: eight LoRAs, trained here by the family's own train.py for five tasks, three of them
twice, rank 8 and rank 16 (--ranks); the first four and all eight. What FOLDER of --keep has is
not trained again.

Adapters: codec own by `rmm pack`, and the published RMM by `rmm rows`, bytes of all factors
alone in both. Four LoRAs of rank 8 as trained, and eight models, one a merged LoRA, as adapters of
rank 8 and 16 by `extract`. A point of RMM is compared with the smallest of own that keeps as much.

Shared: the same adapters in one package each way: codecs rows and core with some directions, and
own; bytes of all coded chunks, the basis among them, and what is kept. Then 32 made adapters of
rank 8 whose factors of 1024 rows and columns lie in common subspaces of 16, but for noise.
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
ERRORS = (0.1, 0.4, 0.6, 0.8)
ROWS = 128
TRAINED = [("rev", 0), ("caesar", 0), ("sort", 0), ("swap", 0), ("dup", 0), ("rev", 1),
           ("caesar", 1), ("swap", 1)]
STEPS = 150


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
            found = self.scorer.evaluate(self.path, loaded, self.tokenizer, [task], ROWS)[task]
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


def dense(f, tune, error, n):
    """Bits for each weight; the package stays."""
    package = os.path.join(f.work, "m.pkg")
    if os.path.exists(package):
        os.remove(package)
    f.run("rmm", "pack", package, f"m={tune}", "--base", f.base, "--error", str(error))
    coded = f.listed(package)["members"][0]["codec"]
    return 8 * (sum(coded.values()) - coded["split"]) / n


def one_model(f, name, task):
    tune, out = os.path.join(f.path, name), os.path.join(f.work, "m")
    weights = load_file(os.path.join(tune, "model.safetensors"))
    n = sum(w.numel() for w in weights.values())
    bitdelta(f.base, tune, out)
    kept = [f.retained(task, (tune, None), (out, None))]
    shutil.rmtree(out)
    fine, coarse = 0.7, 0.98
    for _ in range(10):
        middle = (fine + coarse) / 2
        bits = dense(f, tune, middle, n)
        fine, coarse = (fine, middle) if bits <= 1 else (middle, coarse)
        if 0.995 < bits <= 1:
            break
    bits = []
    for error in (0.1, coarse):
        bits.append(dense(f, tune, error, n))
        f.run("rmm", "unpack", os.path.join(f.work, "m.pkg"), "m", out, "--base", f.base)
        kept.append(f.retained(task, (tune, None), (out, None)))
        shutil.rmtree(out)
    print(f"{name:16} error 0.1: {bits[0]:.2f} bits, {kept[1]:.1f} %; error {coarse:.3f}: "
          f"{bits[1]:.2f} bits, {kept[2]:.1f} %; sign and mean: 1 bit, {kept[0]:.1f} %", flush=True)


def versions(f, parent, tune):
    """The later version's section against what came before, and against the base."""
    weights = os.path.getsize(os.path.join(f.path, tune, "model.safetensors"))
    package = os.path.join(f.work, "v.pkg")
    members = [f"{name}={os.path.join(f.path, name)}" for name in (parent, tune)]
    for how in (["--exact"], ["--error", "0.1"], ["--error", "0.8"]):
        found = []
        for chain in ([], ["--versions"]):
            f.run("rmm", "pack", package, *members, "--base", f.base, *how, *chain)
            found.append(f.listed(package)["members"][1]["bytes"])
            os.remove(package)
        print(f"{tune} after {parent}, {' '.join(how)}: {100 * found[0] / weights:.2f} % alone, "
              f"{100 * found[1] / weights:.2f} % as a version", flush=True)


def checkpoints(f):
    """The family's LoRA for rev, trained on for 40 steps: bytes of the factors of both."""
    import train as trainer
    from peft import PeftModel
    family = trainer.load_family(f.path)
    paths = [os.path.join(f.path, "lora-rev")]
    model = PeftModel.from_pretrained(trainer.load(f.base), paths[0], is_trainable=True)
    for i in range(1):
        settings = dict(family.LORA, lr=3e-4, steps=40, min_steps=40)
        trainer.tune(family, f.path, model, "rev", settings, 90 + i,
                     lambda text: print(text, file=sys.stderr), f"checkpoint {i + 1}")
        paths.append(os.path.join(os.path.dirname(f.work), f"checkpoint-{i + 1}"))
        model.save_pretrained(paths[-1])
    numbers = sum(v.numel() for v in
                  load_file(os.path.join(paths[0], "adapter_model.safetensors")).values())
    package, out = os.path.join(f.work, "c.pkg"), os.path.join(f.work, "c")
    for error in (0.1, 0.4):
        for chain in ([], ["--versions"]):
            f.run("rmm", "pack", package, *(f"v{i}={p}" for i, p in enumerate(paths)),
                  "--error", str(error), *chain)
            sizes = [m["codec"]["own"] + m["codec"]["klt"] for m in f.listed(package)["members"]]
            f.run("rmm", "unpack", package, f"v{len(paths) - 1}", out)
            kept = f.retained("rev", (f.base, paths[-1]), (f.base, out))
            print(f"lora-rev and a checkpoint after it, error {error}, "
                  f"{' '.join(chain) or 'alone'}: " +
                  ", ".join(f"{100 * size / (2 * numbers):.1f}" for size in sizes) +
                  f" % of 16 bits; the last keeps {kept:.1f} %", flush=True)
            shutil.rmtree(out)
            os.remove(package)


def train(f, rank, keep):
    """The family's own recipe for an adapter, of another rank and fewer steps."""
    import train as trainer
    from peft import LoraConfig, get_peft_model
    family = trainer.load_family(f.path)
    members = []
    for task, seed in TRAINED:
        name = f"{task}-{seed}"
        path = os.path.join(keep, f"{name}-r{rank}")
        members.append((name, path, task))
        if os.path.isdir(path):
            continue
        torch.manual_seed(1000 * rank + 10 * seed + len(members) - 1)
        model = get_peft_model(trainer.load(f.base), LoraConfig(
            r=rank, lora_alpha=2 * rank, lora_dropout=0.0, bias="none", task_type="CAUSAL_LM",
            target_modules=family.LORA_TARGETS))
        settings = dict(family.LORA, steps=STEPS, min_steps=120)
        trainer.tune(family, f.path, model, task, settings, 7 * rank + seed,
                     lambda text: print(text, file=sys.stderr), f"{name} r={rank}")
        model.save_pretrained(path + ".making")
        os.rename(path + ".making", path)
    return members


def retained_of(f, members, folder):
    return [f.retained(task, (f.base, path), (f.base, os.path.join(folder, name)))
            for name, path, task in members]


def own_points(f, members):
    """For each error the bytes and what is kept of each adapter, which are coded apart."""
    points = []
    for error in ERRORS:
        package, out = os.path.join(f.work, "a.pkg"), os.path.join(f.work, "a")
        f.run("rmm", "pack", package, *(f"{n}={p}" for n, p, _ in members), "--error", str(error))
        os.mkdir(out)
        for name, _, _ in members:
            f.run("rmm", "unpack", package, name, os.path.join(out, name))
        sizes = [m["codec"]["own"] for m in f.listed(package)["members"]]
        points.append((sizes, retained_of(f, members, out), error))
        shutil.rmtree(out)
        os.remove(package)
    return points


def rows_point(f, members, directions):
    package, out = os.path.join(f.work, "r.pkg"), os.path.join(f.work, "r")
    f.run("rmm", "pack", package, *(f"{n}={p}" for n, p, _ in members), "--exact")
    done = subprocess.run([f.binary, "rmm", "rows", package, out, "--directions",
                           str(directions), "--json", "-q"], check=True, stdout=subprocess.PIPE)
    kept = retained_of(f, members, out)
    shutil.rmtree(out)
    os.remove(package)
    return json.loads(done.stdout), sum(kept) / len(kept)


def adapters(f, label, members, counts, directions):
    points = own_points(f, members)
    for n in counts:
        own = [(sum(sizes[:n]), sum(kept[:n]) / n, error) for sizes, kept, error in points]
        for p in directions:
            report, kept = rows_point(f, members[:n], p)
            good = [point for point in own if point[1] >= kept]
            ours = min(good) if good else None
            text = (f"own at error {ours[2]} keeps {ours[1]:.1f} % in "
                    f"{report['bytes'] / ours[0]:.1f} times fewer bytes" if ours
                    else "own keeps less at every error")
            print(f"{label}, n={n}, p={p}: {100 * report['bytes'] / report['raw_bytes']:5.1f} % of "
                  f"the bytes, {kept:5.1f} %; {text}", flush=True)
        for size, kept, error in own:
            print(f"{label}, n={n}, own, error {error:4.2f}: "
                  f"{100 * size / report['raw_bytes']:5.1f} % of the bytes, {kept:5.1f} %",
                  flush=True)


def shared_point(f, members, label, options):
    package, out = os.path.join(f.work, "s.pkg"), os.path.join(f.work, "s")
    f.run("rmm", "pack", package, *(f"{n}={p}" for n, p, _ in members), *options)
    listed = f.listed(package)["members"]
    os.mkdir(out)
    for name, _, _ in members:
        f.run("rmm", "unpack", package, name, os.path.join(out, name))
    kept = retained_of(f, members, out)
    size = sum(sum(m["codec"].values()) for m in listed)
    print(f"{label}, {' '.join(options)}: {size} bytes, largest error "
          f"{max(m['error'] for m in listed):.3f}, {sum(kept) / len(kept):.1f} %", flush=True)
    shutil.rmtree(out)
    os.remove(package)


def shared(f, label, members, rows, core):
    for error in ("0.1", "0.4"):
        shared_point(f, members, label, ("--error", error))
        for k in core:
            shared_point(f, members, label,
                         ("--codec", "core", "--directions", str(k), "--error", error))
    for p in rows:
        shared_point(f, members, label, ("--codec", "rows", "--directions", str(p)))
    shared_point(f, members, label, ("--exact",))
    shared_point(f, members, label, ("--codec", "rows", "--directions", "1", "--exact"))


def alike(f, noise, n=32, side=1024, rank=8, common=16):
    gauss = torch.Generator().manual_seed(5)

    def normal(*shape):
        return torch.randn(*shape, generator=gauss, dtype=torch.float64)
    left, right = (torch.linalg.qr(normal(side, common))[0] for _ in range(2))
    members = []
    for i in range(n):
        path = os.path.join(f.work, f"alike{i}")
        os.makedirs(path, exist_ok=True)
        b, a = left @ normal(common, rank), normal(rank, common) @ right.T
        b, a = (x + noise * normal(*x.shape) * x.norm() / x.numel() ** 0.5 for x in (b, a))
        save_file({f"base_model.model.q.lora_{k}.weight": x.float().contiguous()
                   for k, x in (("A", a), ("B", b))},
                  os.path.join(path, "adapter_model.safetensors"))
        with open(os.path.join(path, "adapter_config.json"), "w", encoding="utf-8") as out:
            json.dump({"peft_type": "LORA", "r": rank, "lora_alpha": rank,
                       "target_modules": ["q"]}, out)
        members.append(f"alike{i}={path}")
    package = os.path.join(f.work, "l.pkg")
    for options in (("--error", "0.1"),
                    ("--codec", "core", "--directions", str(common), "--error", "0.1"),
                    ("--codec", "rows", "--directions", "4")):
        f.run("rmm", "pack", package, *members, *options)
        listed = f.listed(package)["members"]
        print(f"{n} alike, noise {noise}, {' '.join(options)}: "
              f"{sum(sum(m['codec'].values()) for m in listed)} bytes, largest error "
              f"{max(m['error'] for m in listed):.3f}", flush=True)
        os.remove(package)


def with_all_modules(paths):
    """A matrix that one of the models left as it was is a product of zeros: rows are of
    adapters that have the same modules."""
    adapters = [load_file(os.path.join(path, "adapter_model.safetensors")) for path in paths]
    shapes = {name: t for adapter in adapters for name, t in adapter.items()}
    for path, adapter in zip(paths, adapters):
        missing = set(shapes) - set(adapter)
        if not missing:
            continue
        adapter.update((name, torch.zeros_like(shapes[name])) for name in missing)
        save_file(adapter, os.path.join(path, "adapter_model.safetensors"), {"format": "pt"})
        settings = os.path.join(path, "adapter_config.json")
        with open(settings, encoding="utf-8") as file:
            config = json.load(file)
        modules = {name.removeprefix("base_model.model.").rsplit(".lora_", 1)[0]
                   for name in missing}
        config["target_modules"] = sorted(modules.union(config["target_modules"]))
        with open(settings, "w", encoding="utf-8") as file:
            json.dump(config, file)


def extracted(f, rank):
    members = []
    for name, task in MODELS + [("lora-rev-merged", "rev")]:
        path = os.path.join(f.work, f"{name}-{rank}")
        f.run("extract", f.base, os.path.join(f.path, name), path, "--rank", str(rank), "--portable")
        members.append((name, path, task))
    with_all_modules([path for _, path, _ in members])
    return members


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("build")
    parser.add_argument("family")
    parser.add_argument("--part",
                        choices=("models", "versions", "trained", "adapters", "shared"))
    parser.add_argument("--ranks", default="8,16")
    parser.add_argument("--keep")
    args = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as work:
        now = os.path.join(work, "now")
        os.mkdir(now)
        f = Family(os.path.join(os.path.abspath(args.build), "weightward"),
                   os.path.abspath(args.family), now)
        if args.part in (None, "models"):
            for name, task in MODELS:
                one_model(f, name, task)
        if args.part in (None, "versions"):
            versions(f, "expert-rev", "expert-rev-v2")
            checkpoints(f)
        for rank in map(int, args.ranks.split(",")) if args.part in (None, "trained") else ():
            adapters(f, f"trained, rank {rank}", train(f, rank, args.keep or work), (4, 8), (1, 2))
        if args.part in (None, "adapters"):
            adapters(f, "4 LoRAs, rank 8", [(n, os.path.join(f.path, n), t) for n, t in ADAPTERS],
                     (4,), (1, 2, 3))
            for rank in (16, 8):
                adapters(f, f"8 extracted, rank {rank}", extracted(f, rank), (8,), (1, 3, 5))
        if args.part in (None, "shared"):
            shared(f, "4 LoRAs, rank 8", [(n, os.path.join(f.path, n), t) for n, t in ADAPTERS],
                   (1, 2), (8, 16))
            shared(f, "7 extracted, rank 8", extracted(f, 8)[:len(MODELS)], (1, 3), (16, 32))
            for noise in (0.02, 0.1):
                alike(f, noise)


if __name__ == "__main__":
    main()
