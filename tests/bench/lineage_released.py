#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Families that were released quantised: shares, decoys, twins and missing sources.

    OMP_NUM_THREADS=1 .venv/bin/python tests/bench/lineage_released.py BUILD FAMILY [--n 10] [--seed 1] [--how int8,fp8-rows]

Base, candidates and decoys of the trained family are FP8 with scales of blocks or rows, or int8
with scales of rows. Suspects are sums of the weights that they stand for, of two or three sources
with shares at random, as BF16, locked, and rounded again in the same way. Each is asked for three
times: with all sources, without the largest, and with another version of it in its place. Right is
a whole answer for the first and one in part, or a refusal, for the others; no decoy is included.
"""
import argparse
import json
import os
import random
import subprocess
import sys
import tempfile

import torch

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "interop"))
import test_lineage_disguise as disguise  # noqa: E402

HOW = ("fp8-blocks", "fp8-rows", "int8")
SOURCES = ("expert-rev", "expert-caesar", "expert-sort", "expert-swap")
TWIN = "expert-rev-v2"  # of the first
DECOY = "sibling-rev-s2"


def decoded(tensors):
    """The floats of eight-bit weights, in BF16."""
    out = {}
    for name, v in tensors.items():
        scale = next((tensors[name + s] for s in ("_scale_inv", "_scale") if name + s in tensors),
                     tensors.get(name[:-len("weight")] + "SCB"))
        if name.endswith(("_scale_inv", "_scale", "SCB", "input_scale")):
            continue
        if name.endswith("weight") and scale is not None and v.dtype in (torch.int8, torch.float8_e4m3fn):
            if v.dtype == torch.int8:
                scale = (scale / 127)[:, None]
            elif scale.shape[0] != v.shape[0]:
                scale = scale.repeat_interleave(128, 0)[:v.shape[0]].repeat_interleave(128, 1)
            v = (v.float() * scale).bfloat16()
        out[name] = v
    return out


def ask(tool, suspect, base, candidates):
    args = [a for c in candidates for a in ("--candidate", c)]
    done = subprocess.run([tool, "lineage", "decompose", suspect, "--base", base, *args, "--json", "-q"],
                          capture_output=True, text=True, check=False)
    return json.loads(done.stdout) if done.returncode == 0 else None


class Tally:
    def __init__(self):
        self.whole = self.n = self.refused = self.decoys = 0
        self.hold = self.intervals = self.safe = self.unsafe = 0
        self.off = 0.0


def all_given(tally, said, shares):
    tally.n += 1
    if said is None:
        tally.refused += 1
        return
    tally.whole += not said["incomplete"]
    for source in said["sources"]:
        truth = shares.get(os.path.basename(source["name"]), 0)
        tally.decoys += source["included"] and truth == 0
        if truth:
            low, high = source["interval"]
            tally.intervals += 1
            tally.hold += low - 1e-5 <= truth <= high + 1e-5
            tally.off = max(tally.off, abs(source["share"] - truth))


def lacking(tally, said):
    whole = said is not None and not said["incomplete"] and any(s["included"] for s in said["sources"])
    tally.safe += not whole
    tally.unsafe += whole


def one(tool, work, family, how, number, draws, tallies):
    k = draws.choice((2, 3))
    named = [SOURCES[0], *draws.sample(SOURCES[1:], k - 1)]
    cut = sorted(draws.uniform(0.15, 0.6) for _ in named)
    shares = dict(zip(named, (round(c, 2) for c in reversed(cut))))  # the first is the largest
    base = family["base"]
    floats = {m: family[m] for m in shares}
    merged = {key: (v.double() + sum(s * (floats[m][key].double() - v.double()) for m, s in shares.items())).float()
              for key, v in base.items()}
    at = os.path.join(work, how)
    plain = disguise.folder(os.path.join(work, f"{how}-{number}"), {key: v.bfloat16() for key, v in merged.items()})
    again = disguise.folder(os.path.join(work, f"{how}-{number}-again"), disguise.eight_bit(merged, how))
    locked = os.path.join(work, f"{how}-{number}-locked")
    disguise.run(tool, "lock", plain, locked, "--key", os.path.join(work, "key"), "-q")
    for form, suspect in (("bf16", plain), ("locked", locked), ("again", again)):
        tally = tallies.setdefault((how, form), Tally())
        others = [m for m in SOURCES if m not in shares] + [DECOY]
        path = lambda names: [os.path.join(at, m) for m in names]  # noqa: E731
        all_given(tally, ask(tool, suspect, os.path.join(at, "base"), path([*shares, *others])), shares)
        rest = [m for m in shares if m != named[0]]
        lacking(tally, ask(tool, suspect, os.path.join(at, "base"), path(rest)))
        lacking(tally, ask(tool, suspect, os.path.join(at, "base"), path([TWIN, *rest])))


def tell(how, tallies):
    for (of, form), t in tallies.items():
        if of == how:
            print(f"{how} {form}: whole {t.whole} of {t.n}, refused {t.refused}, decoys {t.decoys}, intervals {t.hold} "
                  f"of {t.intervals}, off by {t.off:.4f} at most; without the largest or with a twin: in part or "
                  f"refused {t.safe}, whole {t.unsafe}", flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("build")
    parser.add_argument("family")
    parser.add_argument("--n", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--how", default=",".join(HOW))
    args = parser.parse_args()
    tool = os.path.join(os.path.abspath(args.build), "weightward")
    draws = random.Random(args.seed)
    tallies = {}
    with tempfile.TemporaryDirectory() as work:
        disguise.run(tool, "key", "new", "lock", "--out", os.path.join(work, "key"), "--no-passphrase", "-q")
        for how in args.how.split(","):
            os.makedirs(os.path.join(work, how))
            family = {}
            for m in ("base", *SOURCES, TWIN, DECOY):
                stored = disguise.eight_bit(disguise.weights(os.path.join(args.family, m)), how)
                disguise.folder(os.path.join(work, how, m), stored)
                family[m] = decoded(stored)
            for number in range(args.n):
                one(tool, work, family, how, number, draws, tallies)
            tell(how, tallies)


if __name__ == "__main__":
    main()
