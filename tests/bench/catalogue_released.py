#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Catalogues of models that were released in eight bits: are a suspect's sources named?

    OMP_NUM_THREADS=1 .venv/bin/python tests/bench/catalogue_released.py BUILD FAMILY [--n 7] [--seed 1]

Models of the trained family, two versions of a training and a stranger among them, but none that
was merged, are indexed as FP8 with scales of blocks or rows, or as int8 with
scales of rows. Suspects are sums of the weights that these stand for, of two or three sources with
shares at random, as BF16, locked, and rounded again in the same way. `find` is asked with the files
of the catalogue and without. Right is the base as root and all sources, and no other, as "source"; those that
are named as "similar" with a share above 0.02 are counted beside.
"""
import argparse
import json
import os
import random
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import lineage_released as released  # noqa: E402

disguise = released.disguise


def blend(family, shares):
    base = family["base"]
    return {key: (v.double() + sum(s * (family[m][key].double() - v.double()) for m, s in shares.items())).float()
            for key, v in base.items()}


def tell(tool, catalogue, suspect, shares, tally, *more):
    done = subprocess.run([tool, "lineage", "find", catalogue, suspect, "--json", "-q", *more],
                          capture_output=True, text=True, check=False)
    said = json.loads(done.stdout) if done.returncode == 0 else {"root": None, "matches": []}
    named = {m["name"]: m["share"] for m in said["matches"] if m["kind"] == "source"}
    also = {m["name"] for m in said["matches"] if m["share"] and m["share"] > 0.02}
    tally["n"] += 1
    tally["with similar"] += also == set(shares)
    tally["root"] += said["root"] == "base"
    tally["right"] += set(named) == set(shares)
    tally["wrong"] += len(set(named) - set(shares))
    tally["missing"] += len(set(shares) - set(named))
    tally["off"] = max([tally["off"], *(abs(named[m] - s) for m, s in shares.items() if m in named)])


def index(tool, work, family, how):
    stored, catalogue = {}, os.path.join(work, how + ".db")
    models = sorted(m for m in os.listdir(family) if m.startswith(("base", "expert", "sibling", "unrelated")))
    for m in models:
        stored[m] = disguise.eight_bit(disguise.weights(os.path.join(family, m)), how)
        disguise.folder(os.path.join(work, how, m), stored[m])
    path = lambda m: os.path.join(work, how, m)  # noqa: E731
    disguise.run(tool, "lineage", "index", catalogue, path("base"), "--root", "-q")
    disguise.run(tool, "lineage", "index", catalogue, *(path(m) for m in models if m != "base"), "-q")
    return catalogue, {m: released.decoded(t) for m, t in stored.items()}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("build")
    parser.add_argument("family")
    parser.add_argument("--n", type=int, default=7)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    tool = os.path.join(os.path.abspath(args.build), "weightward")
    draws = random.Random(args.seed)
    with tempfile.TemporaryDirectory() as work:
        disguise.run(tool, "key", "new", "lock", "--out", os.path.join(work, "key"), "--no-passphrase", "-q")
        for how in released.HOW:
            catalogue, family = index(tool, work, args.family, how)
            tallies = {}
            for number in range(args.n):
                named = draws.sample(released.SOURCES, draws.choice((2, 3)))
                shares = {m: round(draws.uniform(0.15, 0.6), 2) for m in named}
                merged = blend(family, shares)
                at = os.path.join(work, f"{how}-{number}")
                disguise.folder(at, {key: v.bfloat16() for key, v in merged.items()})
                disguise.run(tool, "lock", at, at + "-locked", "--key", os.path.join(work, "key"), "-q")
                disguise.folder(at + "-again", disguise.eight_bit(merged, how))
                for form in ("", "-locked", "-again"):
                    for files in ((), ("--no-confirm",)):
                        tally = tallies.setdefault((form, files), dict.fromkeys(
                            ("n", "root", "right", "with similar", "wrong", "missing", "off"), 0))
                        tell(tool, catalogue, at + form, shares, tally, *files)
            for (form, files), t in tallies.items():
                print(f"{how} {form[1:] or 'bf16'}, {'prints alone' if files else 'with files'}: root {t['root']}, all "
                      f"and no other {t['right']} of {t['n']}, those that are "
                      f"similar too {t['with similar']}; named wrongly {t['wrong']}, missing {t['missing']}; "
                      f"shares off by {t['off']:.4f} at most", flush=True)


if __name__ == "__main__":
    main()
