#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Models in configurations that no test holds, locked, and judged by transformers.

    .venv/bin/python tests/bench/lock_random.py BUILD [--each 7] [--seed 1] [CASE...]

Of every case of make_models.py so many variants: one option of config.json, sometimes two, with
another value (another kind of rotary scaling, another number of heads, a flag turned, another
activation, layers of other kinds, ...). What transformers cannot build or answer is passed
over. The folder is locked with three keys, one without factors of two, and answers in float64 as
the original does (1e-9 of the largest answer), and unlocking gives every file back; or it is
refused, and the reason is printed for a reader to judge. Exit status 1 when an answer was wrong.
"""
import argparse
import collections
import copy
import json
import os
import random
import sys
import tempfile
import zlib

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "interop"))
import make_models as families
import torch
from test_lock_exact import LEGAL, answers, error, run, same_folder

# What decides no structure, or what a small model cannot do without.
KEPT = ("dtype", "eps", "token", "dropout", "pdrop", "initializer", "label", "output", "return",
        "cache", "architectures", "model_type", "version", "max_position", "n_positions",
        "image_size", "patch_size", "problem", "chunk_size", "router_aux", "jitter", "kernels")
ACTIVATIONS = ("relu", "gelu", "silu", "relu2", "gelu_pytorch_tanh", "quick_gelu", "tanh",
               "gelu_new")
START = dict(original_max_position_embeddings=32)
ROTATIONS = (dict(rope_type="linear", factor=4.0), dict(rope_type="dynamic", factor=4.0, **START),
             dict(rope_type="yarn", factor=4.0, **START),
             dict(rope_type="yarn", factor=4.0, attention_factor=0.7, truncate=False, **START),
             dict(rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
                  **START),
             dict(rope_type="default", partial_rotary_factor=0.5),
             dict(rope_type="default", partial_rotary_factor=0.25))


def options(config, path=()):
    for key, value in config.items():
        if isinstance(value, dict) and key.endswith("_config"):
            yield from options(value, path + (key,))
        elif not any(word in key for word in KEPT):
            yield path + (key,), value


def others(key, value, draw):
    """Values that an option may have instead."""
    if key == "rope_parameters" and value and "rope_theta" in value:
        same = {k: value[k] for k in ("rope_theta", "mrope_section") if k in value}
        return [{**same, **kind} for kind in ROTATIONS]
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, str):
        return [draw.choice(ACTIVATIONS)] if "act" in key else []
    if value is None:
        return [draw.choice((True, 0.5, 4, 8))]
    if isinstance(value, int):
        return draw.sample([value + 1, 2 * value, max(1, value // 2), 1], 2)
    if isinstance(value, float):
        return [value / 2 + 0.1]
    if isinstance(value, list) and value and isinstance(value[0], str):
        return [value[::-1], value[:1] * len(value), value[-1:] * len(value)]
    return []


def changed(config, changes):
    said = copy.deepcopy(config.to_dict())
    said.pop("transformers_version", None)
    for path, value in changes:
        at = said
        for key in path[:-1]:
            at = at[key]
        at[path[-1]] = value
    return type(config).from_dict(said)


def judge(tool, keys, name, cls, config, out):
    """ok, passed over, refused: why, or wrong: why"""
    folder = os.path.join(out, "model")
    try:
        torch.manual_seed(1)
        model = cls(config)
        families.randomise(model, zlib.crc32(name.encode()))
        model.save_pretrained(folder)
        want = answers(folder, cached=False)[0]
    except Exception as e:      # whatever transformers has against it
        return f"passed over: {type(e).__name__}"
    if not all(torch.isfinite(w).all() for w in want):
        return "passed over: not finite"
    for i, mode in enumerate(([], ["--no-scale"], [])):
        locked, back = os.path.join(out, f"lock{i}"), os.path.join(out, f"back{i}")
        try:
            run(tool, "lock", folder, locked, "--key", keys[i], *mode)
        except RuntimeError as e:
            return "refused: " + str(e).rsplit("weightward lock: ", maxsplit=1)[-1]
        off = error(answers(locked, cached=False)[0], want)
        if not off <= LEGAL:
            return f"wrong: off by {off:.1e}"
        run(tool, "unlock", locked, back, "--key", keys[i])
        if not same_folder(folder, back):
            return "wrong: unlock is not the original"
    return "ok"


def variants(name, seed, count):
    cls, config = families.CASES[name]()
    draw = random.Random(f"{seed} {name}")
    pool = [(path, other) for path, value in options(config.to_dict())
            for other in others(path[-1], value, draw) if other != value]
    draw.shuffle(pool)
    for first in pool[:count]:
        changes = [first] + ([draw.choice(pool)] if draw.random() < 0.3 else [])
        try:
            yield cls, changed(config, changes), changes
        except Exception as e:      # its own check of the config
            print(f"passed over: {name}: {type(e).__name__}", flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("build")
    parser.add_argument("--each", type=int, default=7)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("cases", nargs="*")
    args = parser.parse_intermixed_args()
    tool = os.path.join(args.build, "weightward")
    seen = collections.Counter()
    with tempfile.TemporaryDirectory() as home:
        keys = [os.path.join(home, f"{i}.key") for i in range(3)]
        for key in keys:
            run(tool, "key", "new", "lock", "--out", key, "--no-passphrase")
        for name in args.cases or families.cases():
            for cls, config, changes in variants(name, args.seed, args.each):
                with tempfile.TemporaryDirectory() as out:
                    what = judge(tool, keys, name, cls, config, out)
                said = ", ".join(f"{'.'.join(p)}={json.dumps(v)}" for p, v in changes)
                seen[what.split(":")[0]] += 1
                print(f"{what}  {name}: {said}", flush=True)
    print(", ".join(f"{n} {what}" for what, n in sorted(seen.items())))
    return seen["wrong"] > 0


if __name__ == "__main__":
    sys.exit(main())
