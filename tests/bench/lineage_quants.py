#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Shares in files that llama.cpp's own quantisers wrote: how far off, and how often held.

    lineage_quants.py BUILD [--trials 4] [--layers 4] [--sizes 0.01,0.02,0.05] [--decays 0,0.2]
                      [--kinds Q8_0,Q4_K_M,...] [--importance] [--find] [--files] [--away] [--seed 1]

Families are made up (tests/interop/llama_quants.py): a base of width 256, two sources and a
decoy whose changes are SIZE of the weights' standard deviation, and shorter by DECAY of that.
Each trial blends the sources by random shares of 0.15 to 0.8, rounds to bf16 and quantises.
Told for each kind and family: mean and worst error of a share, the largest share of the decoy,
how many intervals hold the truth, how often sources and decoy are told apart, the most that is
called unexplained. --find asks a catalogue for the same files instead: root, sources, error of
their shares. --away: the second source is taken away by its share. --files: llama.cpp quantises
a whole F16 file with a tied head and chooses the types (needs the cyllama wheel); a type that
is not read must be refused by name.
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile

import torch

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "interop"))
import llama_quants  # noqa: E402

KINDS = "F16,Q8_0,Q6_K,Q5_K,Q5_K_M,Q5_1,Q5_0,Q4_K,Q4_K_M,Q4_1,Q4_0,IQ4_XS,IQ4_NL,MXFP4,Q3_K,Q3_K_M,Q2_K"
WITH_IMPORTANCE = ("Q4_K", "Q4_K_M", "Q5_K", "Q5_K_M", "Q6_K", "Q3_K", "Q3_K_M", "Q2_K", "IQ4_XS", "IQ4_NL")


def shares_of(g, away):
    first, second = (0.15 + 0.65 * torch.rand(2, generator=g)).tolist()
    return first, -second if away else second, 0.0


class Tally:
    def __init__(self):
        self.off, self.decoys, self.held, self.n, self.right, self.runs = [], [], 0, 0, 0, 0
        self.unexplained = 0.0

    def add(self, said, shares):
        self.runs += 1
        self.unexplained = max(self.unexplained, said["unexplained"])
        self.right += all(s["included"] == (t != 0) for t, s in zip(shares, said["sources"]))
        for truth, source in zip(shares, said["sources"]):
            if truth:
                self.off.append(source["share"] - truth)
                self.n += 1
                self.held += source["interval"][0] <= truth <= source["interval"][1]
            else:
                self.decoys.append(source["share"])

    def told(self):
        mean = sum(self.off) / len(self.off)
        worst = max(self.off, key=abs)
        return (f"mean {mean:+.4f}, worst {worst:+.4f}, decoy at most {max(self.decoys):.4f}, "
                f"{self.held} of {self.n} held, {self.right} of {self.runs} right, "
                f"unexplained at most {self.unexplained:.3f}")


def find(tool, family, catalogue, path, shares):
    said = json.loads(subprocess.run([tool, "lineage", "find", catalogue, path, "--json", "-q"], check=True,
                                     capture_output=True, text=True).stdout)
    got = {m["name"]: m["share"] for m in said["matches"] if m["kind"] == "source"}
    want = {os.path.basename(c): s for c, s in zip(family.candidates, shares) if s}
    off = max((abs(got[n] - want[n]) for n in want if n in got), default=float("nan"))
    return said["root"] == "base", got.keys() == want.keys(), off


def whole_files(tool, family, work, kinds, trials, g, away):
    for kind in kinds:
        tally = Tally()
        for _ in range(trials):
            shares = shares_of(g, away)
            source, path = os.path.join(work, "f16.gguf"), os.path.join(work, "suspect.gguf")
            llama_quants.write_gguf(llama_quants.library(), source, family.merged(shares), "F16")
            if not llama_quants.quantise_file(source, path, kind):
                print(f"{kind}: refused by the quantiser", flush=True)
                break
            try:
                tally.add(llama_quants.decompose(tool, family, path), shares)
            except RuntimeError as e:
                print(f"{kind}: {str(e).split(': ', 2)[-1]}", flush=True)
                break
        else:
            print(f"{kind}: {tally.told()}", flush=True)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("build")
    p.add_argument("--trials", type=int, default=4)
    p.add_argument("--layers", type=int, default=4)
    p.add_argument("--sizes", default="0.01,0.02,0.05")
    p.add_argument("--decays", default="0,0.2")
    p.add_argument("--kinds", default=KINDS)
    p.add_argument("--importance", action="store_true")
    p.add_argument("--find", action="store_true")
    p.add_argument("--files", action="store_true")
    p.add_argument("--away", action="store_true")
    p.add_argument("--seed", type=int, default=1)
    a = p.parse_args()
    tool = os.path.join(a.build, "weightward")
    lib = llama_quants.library()
    numbers = lambda text: [float(x) for x in text.split(",")]
    for size in numbers(a.sizes):
        for decay in numbers(a.decays):
            g = torch.Generator().manual_seed(a.seed)
            with tempfile.TemporaryDirectory() as work:
                family = llama_quants.Family(work, a.layers, size, decay * size, a.seed, a.files)
                if a.files:
                    print(f"{size:g} decay {decay:g}, whole files:")
                    whole_files(tool, family, work, a.kinds.split(","), a.trials, g, a.away)
                    continue
                catalogue = os.path.join(work, "c.db")
                if a.find:
                    subprocess.run([tool, "lineage", "index", catalogue, family.base, "--root", "-q"], check=True)
                    subprocess.run([tool, "lineage", "index", catalogue, *family.candidates, "-q"], check=True)
                for kind in a.kinds.split(","):
                    for importance in (False, True) if a.importance and kind in WITH_IMPORTANCE else (False,):
                        tally, found = Tally(), []
                        for _ in range(a.trials):
                            shares = shares_of(g, a.away)
                            path = os.path.join(work, "suspect.gguf")
                            llama_quants.write_gguf(lib, path, family.merged(shares), kind, importance)
                            if a.find:
                                found.append(find(tool, family, catalogue, path, shares))
                            else:
                                tally.add(llama_quants.decompose(tool, family, path), shares)
                        words = tally.told() if not a.find else \
                            (f"root {sum(f[0] for f in found)}, sources {sum(f[1] for f in found)} of {a.trials}, "
                             f"off by at most {max(f[2] for f in found):.4f}")
                        print(f"{size:g} decay {decay:g} {kind}{' imatrix' if importance else ''}: {words}",
                              flush=True)


if __name__ == "__main__":
    main()
