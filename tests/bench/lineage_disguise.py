#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""How often an interval holds the truth when heads were mixed by dense matrices.

    lineage_disguise.py BUILD FAMILY [TRIALS [SIZE]]
    lineage_disguise.py BUILD FAMILY twins
    lineage_disguise.py BUILD FAMILY rotated [TRIALS]

Each trial blends two experts of FAMILY (base, expert-rev, expert-caesar, expert-sort) with
random shares, rounds to bf16, and locks every attention anew in the way of published dense
locks: values and outputs by a random matrix of a KV head (condition up to 100), rotary
pairs of queries and keys by a random complex number; then rounds to bf16 again. The third
candidate is a decoy. Told: the largest error of a share in the heads, and how many
intervals hold the truth. SIZE, as 0.02: task vectors are made shorter or longer first, so
that those of attention are this part of its weights' standard deviation, on average over
the matrices.

twins: what the other version of a training leaves of a source that is not given, under
rounding. Two merges of FAMILY (TWINS), rounded to bf16 and then by the quantisers of
tests/interop/test_lineage_disguise.py; all sources given beside that version and a decoy,
and the same without the source. Told for each answer: what it calls unexplained, whether it
is one in part, which candidates are named.

rotated: one to three of four experts at random shares of 0.1 to 1, rounded to bf16 or not, the
stream turned by a random orthogonal matrix with the gains of norms folded in, and rounded to
bf16, float16 or float32. All four are given. Told by dtype: how far shares are off, how
many intervals hold the truth, and whether one is named that did not go in, or is not that did.
"""
import json
import os
import shutil
import subprocess
import sys
import tempfile

import torch
from safetensors.torch import load_file, save_file

INTEROP = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "interop")
HEADS, GROUPS, DIM = 4, 2, 32


def matrix(g):
    """Singular values from 0.1 to 10, log-uniform."""
    u, _ = torch.linalg.qr(torch.randn(DIM, DIM, generator=g, dtype=torch.float64))
    v, _ = torch.linalg.qr(torch.randn(DIM, DIM, generator=g, dtype=torch.float64))
    s = 10 ** (2 * torch.rand(DIM, generator=g, dtype=torch.float64) - 1)
    return u * s @ v


def turn(w, z):
    """Rows of one head as complex pairs (halves), times z."""
    q = torch.complex(w[:DIM // 2], w[DIM // 2:]) * z[:, None]
    return torch.cat([q.real, q.imag])


def lock(tensors, g):
    out = dict(tensors)
    layers = sum(k.endswith("q_proj.weight") for k in tensors)
    for layer in range(layers):
        name = {p: f"model.layers.{layer}.self_attn.{p}_proj.weight" for p in "qkvo"}
        w = {p: tensors[n].double().clone() for p, n in name.items()}
        for group in range(GROUPS):
            rows = slice(group * DIM, (group + 1) * DIM)
            b = matrix(g)
            w["v"][rows] = b @ w["v"][rows]
            size = torch.exp(0.5 * torch.randn(DIM // 2, generator=g, dtype=torch.float64))
            angle = 2 * torch.pi * torch.rand(DIM // 2, generator=g, dtype=torch.float64)
            z = torch.polar(size, angle)
            w["k"][rows] = turn(w["k"][rows], 1 / z.conj())
            for head in range(group * HEADS // GROUPS, (group + 1) * HEADS // GROUPS):
                at = slice(head * DIM, (head + 1) * DIM)
                w["o"][:, at] = w["o"][:, at] @ torch.linalg.inv(b)
                w["q"][at] = turn(w["q"][at], z)
        out.update({name[p]: w[p].bfloat16() for p in "qkvo"})
    return out


TWINS = ({"expert-rev": 0.4, "sibling-dup": 0.6}, {"expert-rev": 0.7, "expert-caesar": 0.2})
ROUNDED = ("Q8_0", "Q5_0", "Q4_0", "int8", "fp8-rows", "fp8-tensor")


def asked(build, family, path, candidates):
    args = [a for c in candidates for a in ("--candidate", os.path.join(family, c))]
    return json.loads(subprocess.run(
        [os.path.join(build, "weightward"), "lineage", "decompose", path, "--base",
         os.path.join(family, "base"), *args, "--json", "-q"],
        check=True, capture_output=True, text=True).stdout)


def rounded(merged, kind, family, path):
    sys.path.insert(0, INTEROP)
    from test_lineage_disguise import eight_bit, write_gguf
    if kind.startswith("Q"):
        return write_gguf(path + ".gguf", merged, kind)
    os.makedirs(path)
    shutil.copy(os.path.join(family, "base", "config.json"), path)
    save_file(eight_bit(merged, kind), os.path.join(path, "model.safetensors"), {"format": "pt"})
    return path


def twins(build, family):
    load = lambda n: load_file(os.path.join(family, n, "model.safetensors"))
    base, answers = load("base"), {}
    for shares in TWINS:
        deltas = {n: load(n) for n in shares}
        merged = {k: (v.double() + sum(s * (deltas[n][k].double() - v.double()) for n, s in shares.items()))
                  .bfloat16() for k, v in base.items()}
        for kind in ROUNDED:
            with tempfile.TemporaryDirectory() as work:
                path = rounded(merged, kind, family, os.path.join(work, "suspect"))
                for given in ("all given", "without expert-rev"):
                    candidates = [n for n in (*shares, "expert-rev-v2", "expert-sort")
                                  if given == "all given" or n != "expert-rev"]
                    said = asked(build, family, path, candidates)
                    answers.setdefault((str(shares), given), []).append(said)
                    named = [n for n, s in zip(candidates, said["sources"]) if s["included"]]
                    print(f"{shares} as {kind}, {given}: {said['unexplained']:.4f} unexplained, "
                          f"{'in part' if said['incomplete'] else 'whole'}, named {' '.join(named)}", flush=True)
    for (shares, given), said in answers.items():
        left = [s["unexplained"] for s in said]
        print(f"{shares}, {given}: {min(left):.4f} to {max(left):.4f} unexplained, "
              f"{sum(s['incomplete'] for s in said)} of {len(said)} in part")


def turned_trial(build, family, base, deltas, g, work):
    """What was drawn, and for each expert its share, what is told of it and whether that is named."""
    sys.path.insert(0, INTEROP)
    from test_lineage_disguise import rotated
    names = list(deltas)
    draw = lambda n: int(torch.randint(0, n, (1,), generator=g))
    inside = [names[i] for i in torch.randperm(len(names), generator=g)[:1 + draw(3)]]
    truth = {n: round(0.1 + 0.9 * float(torch.rand(1, generator=g)), 2) if n in inside else 0.0
             for n in names}
    merged = (torch.bfloat16, torch.float32)[draw(2)]
    stored = (torch.bfloat16, torch.float16, torch.float32)[draw(3)]
    blend = {k: (v.double() + sum(truth[n] * deltas[n][k] for n in inside)).to(merged).double()
             for k, v in base.items()}
    with tempfile.TemporaryDirectory(dir=work) as path:
        shutil.copy(os.path.join(family, "base", "config.json"), path)
        save_file({k: v.to(stored).contiguous() for k, v in rotated(blend, g).items()},
                  os.path.join(path, "model.safetensors"), {"format": "pt"})
        said = asked(build, family, path, names)
    if "rotated" not in said.get("disguise", ""):
        raise RuntimeError(f"not seen as rotated: {said.get('disguise')}")
    kind = f"merged in {merged}, stored in {stored}".replace("torch.", "")
    return kind, [(truth[n], s["share"], s["interval"], s["included"])
                  for n, s in zip(names, said["sources"])]


def turned(build, family, trials="40"):
    names = ["expert-rev", "expert-caesar", "expert-sort", "expert-swap"]
    load = lambda n: load_file(os.path.join(family, n, "model.safetensors"))
    base = load("base")
    deltas = {n: {k: v.double() - base[k].double() for k, v in load(n).items()} for n in names}
    g = torch.Generator().manual_seed(29)
    answers = {}
    with tempfile.TemporaryDirectory() as work:
        for _ in range(int(trials)):
            kind, said = turned_trial(build, family, base, deltas, g, work)
            answers.setdefault(kind, []).extend(said)
    for kind, said in sorted(answers.items()):
        off = [abs(share - truth) for truth, share, _, _ in said]
        held = sum(low <= truth <= high for truth, _, (low, high), _ in said)
        wrong = sum(named != (truth > 0) for truth, _, _, named in said)
        print(f"{kind}: {len(said) // len(names)} suspects, off by at most {max(off):.4f}, "
              f"{held} of {len(said)} intervals hold the truth, {wrong} named wrongly or not named")


def sized(family, names, size, work):
    """Folders of the candidates, with task vectors of attention of this size; 0: as they are."""
    load = lambda n: load_file(os.path.join(family, n, "model.safetensors"))
    base = load("base")
    out = []
    for name in names:
        model = load(name)
        of = [((model[k].double() - v.double()).std() / v.double().std()).item()
              for k, v in base.items() if "self_attn" in k and k.endswith("proj.weight")]
        now = sum(of) / len(of)
        print(f"{name}: task vectors of attention are {100 * now:.2f} % of its weights", flush=True)
        path = os.path.join(family, name)
        if size:
            path = os.path.join(work, name)
            os.makedirs(path)
            shutil.copy(os.path.join(family, "base", "config.json"), path)
            save_file({k: (v.double() + size / now * (model[k].double() - v.double())).bfloat16()
                       for k, v in base.items()}, os.path.join(path, "model.safetensors"), {"format": "pt"})
        out.append(path)
    return out


def main(build, family, trials="200", size="0"):
    names = ["expert-rev", "expert-caesar", "expert-sort"]
    load = lambda path: load_file(os.path.join(path, "model.safetensors"))
    base = load(os.path.join(family, "base"))
    g = torch.Generator().manual_seed(17)
    worst, held, total, plain, decoys = 0.0, 0, 0, 0.0, 0.0
    with tempfile.TemporaryDirectory() as work:
        candidates = [os.path.abspath(c) for c in sized(family, names, float(size), work)]
        deltas = [{k: v.double() - base[k].double() for k, v in load(c).items()} for c in candidates]
        path = os.path.join(work, "suspect")
        os.makedirs(path)
        shutil.copy(os.path.join(family, "base", "config.json"), path)
        for _ in range(int(trials)):
            truth = (0.2 + 0.6 * torch.rand(2, generator=g)).tolist() + [0.0]
            merged = {k: (v.double() + sum(t * d[k] for t, d in zip(truth, deltas))).bfloat16()
                      for k, v in base.items()}
            save_file(lock(merged, g), os.path.join(path, "model.safetensors"), {"format": "pt"})
            said = asked(build, family, path, candidates)
            for t, s in zip(truth, said["sources"]):
                low, high = s["heads_interval"]
                miss = abs(s["heads_share"] - t)
                if t:
                    worst = max(worst, miss)
                    total += 1
                    held += low <= t <= high
                    plain = max(plain, abs(s["share"] - t))
                else:
                    decoys = max(decoys, s["heads_share"])
    print(f"{trials} trials: heads off by at most {worst:.4f}, decoy at most {decoys:.4f}, "
          f"{held} of {total} intervals hold the truth ({100 * held / total:.1f} %); the other "
          f"weights off by at most {plain:.5f}")


if __name__ == "__main__":
    if sys.argv[3:] == ["twins"]:
        twins(sys.argv[1], os.path.abspath(sys.argv[2]))
    elif sys.argv[3:4] == ["rotated"]:
        turned(sys.argv[1], os.path.abspath(sys.argv[2]), *sys.argv[4:])
    else:
        main(*sys.argv[1:])
