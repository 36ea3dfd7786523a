#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Merges of adapters into an adapter, compared with numpy in float64 and with peft.

    test_adapter_merges.py BUILD

sum is the sum of the differences and is peft's "cat"; shrunk to a rank it is the truncated
decomposition of that and peft's "svd"; factors are peft's "linear", "ties",
"magnitude_prune", and with the program's own masks "dare_linear" and "dare_ties"; knots and
core_space are their definitions on whole differences. Every output loads in peft.
"""
import json
import os
import sys
import tempfile

os.environ.setdefault("HF_HUB_OFFLINE", "1")
import make_models as families
import numpy as np
import peft
import torch
from safetensors.numpy import load_file, save_file
from test_adapter import ATTENTION, LLAMA, make_adapter
from test_merge_adapters import Folder, check, failed
from test_merge_numpy import uniform

WEIGHTS = {"a": 0.7, "b": -0.4, "c": 1.3}


def factors(folder):
    """{module: (scaling, B, A)} of a folder, in float64."""
    with open(os.path.join(folder, "adapter_config.json")) as f:
        config = json.load(f)
    tensors = load_file(os.path.join(folder, "adapter_model.safetensors"))
    out = {}
    for name, a in tensors.items():
        for left, right in ((".lora_A.weight", ".lora_B.weight"),
                            (".lora_embedding_A", ".lora_embedding_B")):
            if not name.endswith(left):
                continue
            module = name[len("base_model.model."):-len(left)]
            alpha = config["lora_alpha"]
            for key, value in config.get("alpha_pattern", {}).items():
                alpha = value if module == key or module.endswith("." + key) else alpha
            r = a.shape[0]
            scaling = alpha / (np.sqrt(r) if config.get("use_rslora") else r)
            out[module] = (scaling, tensors[name[:-len(left)] + right].astype("f8"), a.astype("f8"))
    return out


def delta(entry):
    scaling, b, a = entry
    return scaling * (b @ a)


def ties(parts, density):
    """As the frames use it: trim, elect, mean of those that agree."""
    kept = []
    for x in parts:
        k = max(1, int(density * x.size))
        edge = np.sort(np.abs(x).ravel())[-k]
        kept.append(np.where(np.abs(x) >= edge, x, 0))
    sign = np.where(sum(kept) >= 0, 1, -1)
    count = sum((np.sign(x) == sign) for x in kept)
    total = sum(np.where(np.sign(x) == sign, x, 0) for x in kept)
    return total / np.maximum(count, 1)


def span(matrix):
    u, s, _ = np.linalg.svd(matrix, full_matrices=False)
    return u[:, s > 1e-10 * s[0]]


def knots(entries, weights, density):
    deltas = [w * delta(e) for w, e in zip(weights, entries)]
    deltas = [d for d in deltas if d.any()]     # what changes nothing has no part and no vote
    u, s, vt = np.linalg.svd(np.hstack(deltas), full_matrices=False)
    keep = s > 1e-10 * s[0]
    blocks = np.hsplit(vt[keep], len(deltas))
    return (u[:, keep] * s[keep]) @ ties(blocks, density)


def core_space(entries, weights, density):
    left, right = span(np.hstack([b for _, b, _ in entries])), span(np.hstack([a.T for *_, a in entries]))
    cores = [w * (left.T @ delta(e) @ right) for w, e in zip(weights, entries)]
    return left @ ties(cores, density) @ right.T


def recipe(method, names, more="", density=None):
    lines = [f"merge_method: {method}", "base_model: llama", "models:"]
    for n in names:
        d = f", density: {density}" if density else ""
        lines.append(f"  - {{model: {n}, parameters: {{weight: {WEIGHTS[n]}{d}}}}}")
    return "\n".join(lines) + "\n" + more


def compare(what, got, want, limit):
    worst = 0.0
    for module in want:
        scale = np.abs(want[module]).max()
        worst = max(worst, float(np.abs(delta(got[module]) - want[module]).max() / scale))
    check(got.keys() == want.keys() and worst <= limit, f"{what}: off by {worst:.1e}")


def expected(sources, rule):
    out = {}
    for module in sorted(set().union(*sources.values())):
        names = [n for n in sources if module in sources[n]]
        out[module] = rule([sources[n][module] for n in names], [WEIGHTS[n] for n in names])
    return out


def total(entries, weights):
    return sum(w * delta(e) for w, e in zip(weights, entries))


def truncated(rank):
    def rule(entries, weights):
        u, s, vt = np.linalg.svd(total(entries, weights), full_matrices=False)
        return (u[:, :rank] * s[:rank]) @ vt[:rank]
    return rule


def against_numpy(f, names, methods=()):
    sources = {n: factors(f.at(n)) for n in names}
    cases = [
        ("task_arithmetic", "", None, total, 1e-6),
        ("task_arithmetic", "adapter: {rank: 3}\n", None, truncated(3), 1e-6),
        ("task_arithmetic", "adapter: {energy: 1.0}\n", None, total, 1e-6),
        ("knots", "", 0.4, lambda e, w: knots(e, w, 0.4), 1e-6),
        ("core_space", "", 0.4, lambda e, w: core_space(e, w, 0.4), 1e-6),
    ]
    for i, (method, more, density, rule, limit) in enumerate(c for c in cases if not methods or c[0] in methods):
        i = f"{'-'.join(methods)}{i}"
        out = f.merge(recipe(method, names, more, density), f"numpy{i}", "-q")
        compare(f"numpy: {method} {more.strip()}", factors(out), expected(sources, rule), limit)
        done = f.run("merge", "--rederive", f"numpy{i}", "-q")
        check(done.returncode == 0, f"computed again {done.stderr.strip()}")


PRUNED = "adapter: {combine: factors}\nparameters: {gamma: 0}\n"
SEED = 11


def masked(order):
    """What peft draws by torch.bernoulli, drawn as the program does: by the name of the
    tensor, the adapter's place (order, one per call) and the entry's."""
    calls = iter(order)

    def bernoulli(density):
        name, source = next(calls)
        kept = uniform(density.numel(), source, SEED, name).reshape(density.shape)
        return (torch.from_numpy(kept) < density).to(density.dtype)
    return bernoulli


def pruned_by_chance(loaded, modules, **options):
    """peft goes through the modules in their order, A before B, adapter by adapter."""
    whole = options["combination_type"].endswith("svd")
    sides = (".weight",) if whole else (".lora_A.weight", ".lora_B.weight")
    order = [(m + side, source) for m in modules for side in sides for source in (0, 1)]
    real, torch.bernoulli = torch.bernoulli, masked(order)
    try:
        loaded.add_weighted_adapter(**options)
    finally:
        torch.bernoulli = real


def against_peft(f, base):
    model, _ = families.load(base)
    loaded = peft.PeftModel.from_pretrained(model, f.at("a"), adapter_name="a",
                                            autocast_adapter_dtype=False)
    loaded.load_adapter(f.at("b"), adapter_name="b", autocast_adapter_dtype=False)
    loaded = loaded.double()
    cases = [("cat", "task_arithmetic", "", None), ("svd", "task_arithmetic", "adapter: {rank: 4}\n", None),
             ("linear", "task_arithmetic", "adapter: {combine: factors}\n", None),
             ("ties", "ties", "adapter: {combine: factors}\nparameters: {normalize: false}\n", 0.6),
             ("magnitude_prune", "breadcrumbs", PRUNED, 0.3),
             ("dare_linear", "dare_linear", "adapter: {combine: factors}\n", 0.4),
             ("dare_ties", "dare_ties", "adapter: {combine: factors}\n", 0.7),
             ("ties", "ties", "adapter: {combine: factors, sign: frequency}\n", 0.6),
             ("dare_ties", "dare_ties", "adapter: {combine: factors, sign: frequency}\n", 0.7),
             ("ties_svd", "ties", "adapter: {combine: whole, rank: 4}\n", 0.6),
             ("ties_svd", "ties", "adapter: {combine: whole, rank: 5, sign: frequency}\n", 0.3),
             ("magnitude_prune_svd", "breadcrumbs",
              "adapter: {combine: whole, rank: 4}\nparameters: {gamma: 0}\n", 0.3),
             ("dare_linear_svd", "dare_linear", "adapter: {combine: whole, rank: 4}\n", 0.4),
             ("dare_ties_svd", "dare_ties", "adapter: {combine: whole, rank: 4}\n", 0.7)]
    modules = [n for n, m in loaded.base_model.model.named_modules() if hasattr(m, "lora_A")]
    for i, (combination, method, more, density) in enumerate(cases):
        name = f"{combination}-{i}"
        more_args = {"density": density} if density else {}
        if combination.endswith("svd"):
            more_args["svd_rank"] = 5 if "rank: 5" in more else 4
        if "frequency" in more:
            more_args["majority_sign_method"] = "frequency"
        pruned_by_chance(loaded, modules, adapters=["a", "b"],
                         weights=[WEIGHTS["a"], WEIGHTS["b"]], adapter_name=name,
                         combination_type=combination, **more_args)
        want = {n: m.get_delta_weight(name).detach().numpy()
                for n, m in loaded.base_model.model.named_modules()
                if hasattr(m, "lora_A") and name in m.lora_A}
        out = f.merge(recipe(method, ["a", "b"], more, density), "peft-" + name, "-q",
                      "--seed", str(SEED))
        compare(f"peft {combination}", factors(out), want, 1e-6)
        done = f.run("merge", "--rederive", "peft-" + name, "-q")
        check(done.returncode == 0, f"computed again {done.stderr.strip()}")
        again, _ = families.load(base)
        again = peft.PeftModel.from_pretrained(again, out, autocast_adapter_dtype=False).double()
        worst = max(float(np.abs(m.get_delta_weight("default").detach().numpy() - want[n]).max())
                    for n, m in again.base_model.model.named_modules() if hasattr(m, "lora_A"))
        check(worst <= 1e-5, f"peft loads the {combination}: off by {worst:.1e}")


def main(build):
    with tempfile.TemporaryDirectory() as path:
        f = Folder(build, path)
        base = families.write("llama", path)
        make_adapter(base, f.at("a"), dict(target_modules=LLAMA))
        make_adapter(base, f.at("b"), dict(target_modules=LLAMA, use_rslora=True))
        make_adapter(base, f.at("c"), dict(target_modules=ATTENTION + ["embed_tokens"],
                                           rank_pattern={"q_proj": 3}))
        for n, seed in (("b", 1), ("c", 2)):    # other numbers than a has
            shuffle(f.at(n), seed)
        against_numpy(f, ["a", "b", "c"])
        against_peft(f, base)
        clear(f.at("b"))
        against_numpy(f, ["a", "b", "c"], ("knots", "core_space"))
    print(f"{len(failed)} failed" if failed else "all passed")
    return bool(failed)


def clear(folder):
    """B of half of its modules as training begins with it."""
    path = os.path.join(folder, "adapter_model.safetensors")
    tensors = load_file(path)
    for name in sorted(tensors):
        if "lora_B" in name and ("q_proj" in name or "up_proj" in name):
            tensors[name] = np.zeros_like(tensors[name])
    save_file(tensors, path)


def shuffle(folder, seed):
    from safetensors.torch import load_file as load, save_file as save
    path = os.path.join(folder, "adapter_model.safetensors")
    g = torch.Generator().manual_seed(seed)
    # beside factors of an embedding peft saves the base's own embedding
    tensors = {n: torch.randn(t.shape, generator=g) * 0.2 for n, t in sorted(load(path).items())
               if ".base_layer." not in n}
    save(tensors, path, metadata={"format": "pt"})


if __name__ == "__main__":
    sys.exit(main(os.path.abspath(sys.argv[1])))
