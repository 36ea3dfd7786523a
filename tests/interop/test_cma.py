#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""test_cma.py BUILD [SEEDS]: evaluations to a target on standard test functions, beside pycma
with the same population, start and step. The median over seeds is at most 1.1 times pycma's;
a run that ends elsewhere counts as a million, for both."""
import os
import subprocess
import sys
import warnings

import numpy as np

warnings.filterwarnings("ignore")
import cma  # noqa: E402

TARGET = 1e-9


def weights(n, power):
    return 10 ** (power * np.arange(n) / (n - 1))


CASES = {  # name: function, variables, separable form
    "sphere": (lambda x: float(x @ x), 6, False),
    "ellipsoid": (lambda x: float(weights(len(x), 6) @ x ** 2), 10, False),
    "rotated ellipsoid": (lambda x: float(weights(len(x), 6) @ (turn(len(x)) @ x) ** 2), 8, False),
    "cigar": (lambda x: float(x[0] ** 2 + 1e6 * (x[1:] @ x[1:])), 8, False),
    "rosenbrock": (lambda x: float(sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)),
                   6, False),
    "separable ellipsoid": (lambda x: float(weights(len(x), 4) @ x ** 2), 20, True),
}


def turn(n, cache={}):
    if n not in cache:
        cache[n] = np.linalg.qr(np.random.default_rng(n).standard_normal((n, n)))[0]
    return cache[n]


def ours(probe, f, start, sigma, seed, diagonal):
    run = subprocess.Popen([probe, str(len(start)), repr(sigma), str(seed),
                            "diagonal" if diagonal else "full", *map(repr, map(float, start))],
                           stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    n = 0
    while True:
        line = run.stdout.readline().strip()
        if not line.isdigit():
            return 10 ** 6  # a local minimum, as pycma meets too
        values = []
        for _ in range(int(line)):
            x = np.array([float.fromhex(v) for v in run.stdout.readline().split()])
            values.append(f(x))
            n += 1
            if values[-1] <= TARGET:
                run.kill()
                run.wait()
                return n
        run.stdin.write(" ".join(map(repr, values)) + "\n")
        run.stdin.flush()


def theirs(f, start, sigma, seed, diagonal):
    es = cma.CMAEvolutionStrategy(list(start), sigma, {
        "seed": seed + 1, "verbose": -9, "CMA_diagonal": diagonal, "maxfevals": 10 ** 6,
        "popsize": 4 + int(3 * np.log(len(start)))})
    n = 0
    while not es.stop():
        points = es.ask()
        values = []
        for x in points:
            values.append(f(np.asarray(x)))
            n += 1
            if values[-1] <= TARGET:
                return n
        es.tell(points, values)
    return 10 ** 6


def main(build, seeds):
    probe = os.path.join(build, "cma_probe")
    failed = 0
    for name, (f, n, diagonal) in CASES.items():
        counts = [[], []]
        for seed in range(seeds):
            start = np.random.default_rng(seed).uniform(-2, 2, n)
            counts[0].append(ours(probe, f, start, 0.5, seed, diagonal))
            counts[1].append(theirs(f, start, 0.5, seed, diagonal))
        a, b = (float(np.median(c)) for c in counts)
        bad = a > 1.1 * b
        failed += bad
        print(f"{'FAIL' if bad else 'ok':4} {name:20} ours {a:.0f}, pycma {b:.0f}: {a / b:.2f}",
              flush=True)
    print("all passed" if not failed else f"{failed} failed")
    return failed != 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 25))
