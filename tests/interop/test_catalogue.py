#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Sources of merges found in an open catalogue, after the protocol of UNMERGE.

    test_catalogue.py BUILD [--full] [--missing N]

UNMERGE (OpenReview EUSuMA1H98): 72 merges of 15 task vectors by 4 methods, and every source
in the dictionary. Here the catalogue also holds decoys, 40 in the short form and 1,000 with
--full, and no candidates are named: `lineage find` has to name exactly the sources of each
merge. Task vectors are of rank 8 in every matrix of the bundled base, 6 % of the weights'
scale, and share a part with each other and with the decoys (cosine about 0.3), as
fine-tunes do. Stops with 1 unless precision and recall are 1.

With --missing N, N more task vectors take part in merges but are not in the catalogue: they
cannot be found and must not be blamed on others. Those numbers are printed only.
"""
import argparse
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile

import numpy as np
import torch
from safetensors.torch import load_file, save_file

BASE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../vectors/amber/base")
METHODS = {  # method: parameters of each source beside its weight
    "linear": "", "task_arithmetic": "",
    "ties": ", density: 0.6", "dare_linear": ", density: 0.7",
}
RANK, SCALE, SHARED = 8, 0.06, 0.55  # SHARED ** 2: cosine of two task vectors


def low_rank(rng, shape):
    a = rng.standard_normal((shape[0], RANK))
    b = rng.standard_normal((RANK, int(np.prod(shape[1:]))))
    return (a @ b / np.sqrt(RANK)).reshape(shape)


def task_model(base, shared, seed, path):
    rng = np.random.default_rng(seed)
    tensors = {}
    for name, t in base.items():
        x = t.to(torch.float64).numpy()
        if x.ndim >= 2:
            delta = SHARED * shared[name] + np.sqrt(1 - SHARED ** 2) * low_rank(rng, x.shape)
            x = x + SCALE * x.std() * delta
        tensors[name] = torch.from_numpy(x).to(torch.bfloat16)
    os.mkdir(path)
    save_file(tensors, os.path.join(path, "model.safetensors"), metadata={"format": "pt"})
    shutil.copy(os.path.join(BASE, "config.json"), path)


def run(build, *args):
    out = subprocess.run([os.path.join(build, "weightward"), *args], capture_output=True,
                         text=True, check=False)
    if out.returncode != 0:
        raise SystemExit(f"{' '.join(args)}: {out.stderr}")
    return out.stdout


def recipe(method, sources):
    lines = []
    head = f"merge_method: {method}\n"
    flags = "normalize: false"
    if method == "linear":  # the base takes part, so that the shares of sources sum to less
        rest = 1 - sum(share for _, share in sources)
        lines.append(f"  - {{model: {BASE}, parameters: {{weight: {rest:.4f}}}}}")
    else:
        head += f"base_model: {BASE}\n"
    if method == "dare_linear":
        flags += ", rescale: true"
    for path, share in sources:
        lines.append(f"  - {{model: {path}, parameters: {{weight: {share:.4f}"
                     f"{METHODS[method]}}}}}")
    return (f"{head}parameters: {{{flags}}}\nmodels:\n" + "\n".join(lines) +
            "\ndtype: float32\nout_dtype: bfloat16\n")


def draw_merges(rng, tasks, n_merges):
    methods = list(METHODS)
    for i in range(n_merges):
        k = int(rng.integers(2, 6))
        chosen = rng.choice(len(tasks), size=k, replace=False)
        shares = rng.uniform(0.15, 0.5, size=k)
        shares *= min(1.0, 0.95 / shares.sum())
        yield methods[i % len(methods)], [(tasks[c], float(s)) for c, s in zip(chosen, shares)]


def index_decoys(build, work, catalogue, base, shared, n):
    for start in range(0, n, 50):
        paths = []
        for i in range(start, min(start + 50, n)):
            paths.append(os.path.join(work, f"decoy{i}"))
            task_model(base, shared, 10_000 + i, paths[-1])
        run(build, "lineage", "index", catalogue, *paths, "-q")
        for path in paths:
            shutil.rmtree(path)


def plain_model(path, seed, rotated=False):
    """300 tokens of width 32 and one matrix; rotated in the residual stream, or not."""
    rng = np.random.default_rng(seed)
    embed, w = rng.standard_normal((300, 32)), rng.standard_normal((64, 32))
    # Tokens of a language are alike: without that, anchors would have nothing to say.
    embed[:, :4] += 2 * rng.standard_normal((300, 1))
    turn = np.linalg.qr(rng.standard_normal((32, 32)))[0] if rotated else np.eye(32)
    os.mkdir(path)
    save_file({"model.embed_tokens.weight": torch.from_numpy(embed @ turn).float(),
               "model.layers.0.mlp.up_proj.weight": torch.from_numpy(w @ turn).float()},
              os.path.join(path, "model.safetensors"))
    shutil.copy(os.path.join(BASE, "config.json"), path)


def check_anchors(build, work):
    """A rotated copy shares no weight with its root: the anchors find it all the same."""
    catalogue, paths = os.path.join(work, "a.db"), [os.path.join(work, f"plain{i}") for i in (1, 2)]
    for seed, path in enumerate(paths):
        plain_model(path, seed)
    run(build, "lineage", "index", catalogue, *paths, "-q")
    for seed, want in ((1, "plain2"), (7, None)):
        suspect = os.path.join(work, f"turned{seed}")
        plain_model(suspect, seed, rotated=True)
        answer = json.loads(run(build, "lineage", "find", catalogue, suspect, "--json", "-q"))
        assert answer["root"] == want and answer["matches"] == [], answer
        assert want is None or answer["root_anchors"] > 0.999, answer
    db = sqlite3.connect(catalogue)
    db.execute("UPDATE ww_details SET gram = substr(gram, 5)")
    db.commit()
    db.close()
    out = subprocess.run([os.path.join(build, "weightward"), "lineage", "find", catalogue, suspect],
                         capture_output=True, text=True, check=False)
    assert out.returncode == 3 and "a Gram matrix of anchors has 131580 bytes" in out.stderr, out


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("build")
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--missing", type=int, default=0)
    parser.add_argument("--decoys", type=int)
    parser.add_argument("--verbose", action="store_true")
    args = parser.parse_args()
    n_tasks, n_decoys, n_merges = (15, 1000, 72) if args.full else (6, 40, 8)
    n_decoys = args.decoys if args.decoys is not None else n_decoys

    base = load_file(os.path.join(BASE, "model.safetensors"))
    rng = np.random.default_rng(1_000_000)  # none of the task vectors' seeds
    shared = {n: low_rank(rng, tuple(t.shape)) for n, t in base.items() if t.ndim >= 2}
    score = {m: [0, 0, 0] for m in METHODS}  # found, wrong, missed
    errors = [0.0]
    with tempfile.TemporaryDirectory(prefix="ww-catalogue-") as work:
        check_anchors(args.build, work)
        catalogue = os.path.join(work, "c.db")
        tasks = [os.path.join(work, f"task{i}") for i in range(n_tasks + args.missing)]
        for i, path in enumerate(tasks):
            task_model(base, shared, i, path)
        run(args.build, "lineage", "index", catalogue, BASE, "--root", "-q")
        run(args.build, "lineage", "index", catalogue, *tasks[:n_tasks], "-q")
        index_decoys(args.build, work, catalogue, base, shared, n_decoys)
        for method, sources in draw_merges(rng, tasks, n_merges):
            with open(os.path.join(work, "recipe.yml"), "w", encoding="utf-8") as f:
                f.write(recipe(method, sources))
            suspect = os.path.join(work, "suspect")
            run(args.build, "merge", os.path.join(work, "recipe.yml"), suspect, "-q")
            answer = json.loads(run(args.build, "lineage", "find", catalogue, suspect,
                                    "--no-confirm", "--json", "-q"))
            shutil.rmtree(suspect)
            assert answer["root"] == "base", answer
            found = {m["name"]: m["share"] for m in answer["matches"] if m["kind"] == "source"}
            want = {os.path.basename(p): s for p, s in sources if p in tasks[:n_tasks]}
            if args.verbose and found.keys() != want.keys():
                print(method, want, json.dumps(answer["matches"], indent=1), answer["unexplained"])
            score[method][0] += len(found.keys() & want.keys())
            score[method][1] += len(found.keys() - want.keys())
            score[method][2] += len(want.keys() - found.keys())
            if method in ("linear", "task_arithmetic"):
                errors += [abs(found[n] - want[n]) for n in found.keys() & want.keys()]
    for method, (right, wrong, missed) in score.items():
        print(f"{method}: found {right}, wrong {wrong}, missed {missed}")
    right, wrong, missed = (sum(s[i] for s in score.values()) for i in range(3))
    print(f"{n_merges} merges, {n_tasks} task vectors and {n_decoys} decoys in the catalogue, "
          f"{args.missing} not in it: precision {right / max(right + wrong, 1):.4f}, "
          f"recall {right / max(right + missed, 1):.4f}, largest error of a linear share "
          f"{max(errors):.4f}")
    return 0 if args.missing or (right > 0 and wrong == 0 and missed == 0) else 1


if __name__ == "__main__":
    sys.exit(main())
