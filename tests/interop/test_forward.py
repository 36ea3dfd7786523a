#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The C forward pass against transformers, in float64, on tiny random models.

    test_forward.py BUILD [CASE...]

BUILD holds the program forward_probe. Two comparisons per case: with the casts to float32
that transformers has inside norms, rotary tables and softmax (tolerance 1e-5), and with
those casts turned into float64 (tolerance 1e-9). Relative to the largest value.
"""
import contextlib
import os
import subprocess
import sys
import tempfile

import forward_cases as cases
import torch

LIMIT = {"float32": 1e-5, "float64": 1e-9}


@contextlib.contextmanager
def casts(kind):
    """Make torch.float32 mean float64 while a model is built and run."""
    saved = torch.float32, torch.float, torch.Tensor.float
    if kind == "float32":
        yield
        return
    torch.float32 = torch.float = torch.float64
    torch.Tensor.float = torch.Tensor.double
    try:
        yield
    finally:
        torch.float32, torch.float, torch.Tensor.float = saved


def probe(build, *args):
    run = subprocess.run([os.path.join(build, "forward_probe"), *args], text=True,
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if run.returncode:
        raise RuntimeError(run.stderr.strip() or f"status {run.returncode}")
    return torch.tensor([[float(x) for x in line.split()] for line in run.stdout.splitlines()],
                        dtype=torch.float64)


def write_rows(path, rows):
    with open(path, "w") as f:
        for row in rows.tolist():
            f.write(" ".join("%.17g" % x for x in row) + "\n")


def ids(tokens):
    return ",".join(str(t) for t in tokens[0].tolist())


def token_pair(build, name, folder, n):
    """(ours, theirs, control) as functions: ours runs once, theirs under each cast."""
    x = cases.tokens(n, 5)
    encoder = cases.tokens(max(n - 11, 3), 6)
    if name.startswith("t5"):
        ours = probe(build, folder, ids(x), ids(encoder))
        return ours, lambda m: m(input_ids=encoder, decoder_input_ids=x).logits[0]
    if name == "bert-headless":
        return (probe(build, "--hidden", folder, ids(x)),
                lambda m: m(input_ids=x).last_hidden_state[0])
    ours = probe(build, folder, ids(x))
    # No cache: transformers then computes exactly one causal pass.
    extra = {} if name.startswith("bert") else dict(use_cache=False)
    return ours, lambda m: m(input_ids=x, **extra).logits[0]


def block_errors(build, folder, model):
    """A vision encoder: every block alone, on what transformers fed it."""
    seen = []
    layers = model.layers if hasattr(model, "layers") else model.encoder.layer
    for layer in layers:
        layer.register_forward_hook(
            lambda m, i, o: seen.append((i[0][0], (o[0] if isinstance(o, tuple) else o))))
    g = torch.Generator().manual_seed(3)
    model(torch.randn(1, 3, 32, 32, generator=g, dtype=torch.float64))
    errors = []
    for b, (x, y) in enumerate(seen):
        y = y.reshape(x.shape)
        path = os.path.join(folder, "rows.txt")
        write_rows(path, x)
        errors.append(difference(probe(build, "--block", str(b), folder, path), y))
        os.remove(path)
    assert len(errors) == len(layers)
    return max(errors)


def difference(ours, theirs):
    assert ours.shape == theirs.shape, (ours.shape, theirs.shape)
    return ((ours - theirs).abs().max() / theirs.abs().max()).item()


@torch.no_grad()
def measure(build, name, folder):
    cases.build(name, folder)
    n = cases.CASES[name][1]
    errors = {}
    pair = token_pair(build, name, folder, n) if n else None
    model = cases.load(name, folder)
    for kind in LIMIT:
        with casts(kind):
            model = model if kind == "float32" else cases.again(model)
            errors[kind] = (difference(pair[0], pair[1](model)) if pair
                            else block_errors(build, folder, model))
    return errors


def main():
    build = os.path.abspath(sys.argv[1])
    bad = 0
    print(f"{'case':24} {'float32 casts':>14} {'float64 casts':>14}")
    for name in sys.argv[2:] or cases.CASES:
        with tempfile.TemporaryDirectory() as folder:
            try:
                errors = measure(build, name, folder)
            except Exception as e:
                bad += 1
                print(f"{name:24} FAILED {type(e).__name__}: {e}")
                continue
        over = [k for k in LIMIT if not errors[k] <= LIMIT[k]]
        bad += bool(over)
        print(f"{name:24} {errors['float32']:14.2e} {errors['float64']:14.2e}"
              f"{'  TOO LARGE' if over else ''}", flush=True)
    print(f"{bad} of {len(sys.argv[2:] or cases.CASES)} cases failed")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
