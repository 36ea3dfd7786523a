#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Scales of adapters searched behind a real server, which alone holds the weights.

  evo_scales.py BUILD FAMILY [--evaluations 100] [--sample 24] [--seed 1] [--start 0.25] [--only-search]

Four adapters of a family's base (rev, caesar, sort, swap) go through a package into GGUF
files and are loaded by llama.cpp's server (the xllamacpp wheel). `evo search` sets their
scales in each request, scored by `evo score` on 64 rows of each task's valid split; 128
rows of each test split are scored at the end, by whole answers.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../interop"))
import real_server  # noqa: E402

TASKS = ("rev", "caesar", "sort", "swap")
SPACE = """recipe: |
  members: [{{name: base, url: "http://127.0.0.1:{port}", model: base, end: "<eos>", adapters: [{names}]}}]
variables:
{variables}"""


def adapters(ww, family, work):
    base = os.path.join(family, "base")
    package = os.path.join(work, "adapters.pkg")
    members = [f"{t}={family}/lora-{t}" for t in TASKS]
    subprocess.run([ww, "rmm", "pack", package, *members, "--exact", "--base", base, "-q"], check=True, stdout=subprocess.DEVNULL)
    out = []
    for task in TASKS:
        out.append(os.path.join(work, task + ".gguf"))
        subprocess.run([ww, "rmm", "unpack", package, task, out[-1], "--form", "gguf", "--base", base, "-q"], check=True,
                       stdout=subprocess.DEVNULL)
    return out


def right(ww, port, scales, tasks, work):
    """Whole answers right of all rows, in percent."""
    pool = os.path.join(work, "scored.yml")
    real_server.write_pool(pool, {"base": port}, f", adapters: {list(scales)}")
    good = n = 0
    for part in ("search", "again", "final"):
        done = subprocess.run([ww, "evo", "score", "--tasks", tasks, "--cache", os.path.join(work, "scored"), "--connections", "8",
                               pool, part, "1"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=True)
        words = done.stderr.split(" answers right")[0].split()
        good, n = good + int(words[-3]), n + int(words[-1])
    return 100 * good / n


def search(ww, a, port, tasks, work):
    space, out = os.path.join(work, "space.yml"), os.path.join(work, "found.json")
    with open(space, "w", encoding="ascii") as f:
        f.write(SPACE.format(port=port, names=", ".join("${%s}" % t for t in TASKS),
                             variables="".join(f"  {t}: {{low: -1.5, high: 1.5, start: {a.start}, step: 0.3}}\n" for t in TASKS)))
    subprocess.run([ww, "evo", "search", space, "--evaluator", ww, "--output", out, "--journal", out + ".journal", "--evaluations",
                    str(a.evaluations), "--seed", str(a.seed), "-q", "--", "evo", "score", "--tasks", tasks, "--cache",
                    os.path.join(work, "searched"), "--sample", str(a.sample), "--connections", "8", "-q"], check=True,
                   stdout=subprocess.DEVNULL)
    with open(out, encoding="utf-8") as f:
        return json.load(f)


def references(ww, port, held, work):
    for what, scales in (("base", (0, 0, 0, 0)), ("each at 1/4", (0.25,) * 4), ("each at 1", (1, 1, 1, 1))):
        print(f"{what} {right(ww, port, scales, held, work):.1f} %", flush=True)
    for i, task in enumerate(TASKS):
        print(f"{task} alone {right(ww, port, [float(i == j) for j in range(4)], held, work):.1f} %", flush=True)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("build")
    p.add_argument("family")
    p.add_argument("--evaluations", type=int, default=100)
    p.add_argument("--sample", type=int, default=24)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--start", type=float, default=0.25)
    p.add_argument("--only-search", action="store_true")
    a = p.parse_args()
    ww = os.path.join(os.path.abspath(a.build), "weightward")
    with tempfile.TemporaryDirectory() as work:
        os.umask(0o077)
        loras = adapters(ww, os.path.abspath(a.family), work)
        with real_server.servers({"base": os.path.join(a.family, "base")}, work, {"base": loras}) as ports:
            port = ports["base"]
            tasks, held = os.path.join(work, "tasks.jsonl"), os.path.join(work, "held.jsonl")
            real_server.write_tasks(tasks, a.family, TASKS, "valid", 0, 64)
            real_server.write_tasks(held, a.family, TASKS, "test", 0, 128)
            if not a.only_search:
                references(ww, port, held, work)
            began = time.monotonic()
            found = search(ww, a, port, tasks, work)
            scales = [round(found["variables"][t], 3) for t in TASKS]
            gain = found["gain"]
            print(f"{found['trials']} trials of {a.sample} items in {time.monotonic() - began:.0f} s: scales {scales}, gain over the start "
                  f"{gain['mean']:.3f} {gain['interval']} bits, held out {right(ww, port, [found['variables'][t] for t in TASKS], held, work):.1f} %")


if __name__ == "__main__":
    main()
