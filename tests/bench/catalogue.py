#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""How fast a catalogue is: reading a model, and a search among many siblings.

    catalogue.py BUILD FOLDER [SIBLINGS]

1. `lineage index` of a synthetic 0.5B (1 GB in bf16) from the page cache, whole and as a
   sample, on one thread and on all, beside `cat` and `sha256sum` of the same file.
2. Rows for SIBLINGS (20,000) more members of a small family are written into its catalogue:
   sketches a random difference away, hashes of its tensors, four row keys each. Then the
   time that `lineage find` reports for its search, and the sources that it names.

FOLDER needs 3 GB and is left clean.
"""
import json
import os
import resource
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time

import numpy as np

AMBER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../vectors/amber")


RUNS = 3


def cpu_of_children():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def timed(*args):
    """Seconds by the clock and of processors, and what was said."""
    start, cpu = time.monotonic(), cpu_of_children()
    out = subprocess.run(args, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    return time.monotonic() - start, cpu_of_children() - cpu, out.stdout


def spread(values):
    return f"{min(values):.2f} to {max(values):.2f}"


def bench_index(build, work):
    model = os.path.join(work, "base")
    subprocess.run([f"{build}/make_model", "0.5B", model], check=True)
    file = os.path.join(model, "model.safetensors")
    size = os.path.getsize(file) / 1e9
    timed("cat", file)
    for what in ("cat", "sha256sum"):
        print(f"{what}: {spread([timed(what, file)[0] for i in range(RUNS)])} s")
    for options in (["--threads", "1"], [], ["--fine"], ["--sample"]):
        db = os.path.join(work, "x.db")
        runs = [timed(f"{build}/weightward", "lineage", "index", db + str(i), model, *options)
                for i in range(RUNS)]
        print(f"index {' '.join(options)}: {spread([r[0] for r in runs])} s by the clock, "
              f"{spread([r[1] for r in runs])} s of processors, {size:.2f} GB, "
              f"{size / min(r[0] for r in runs):.2f} GB/s at best, "
              f"{os.path.getsize(db + '0') / 1e6:.1f} MB")
        for i in range(RUNS):
            os.unlink(db + str(i))


def add_siblings(path, n):
    rng = np.random.default_rng(7)
    db = sqlite3.connect(path)
    for pragma in ("journal_mode = OFF", "synchronous = OFF", "cache_size = -1500000"):
        db.execute(f"PRAGMA {pragma}")
    family, = db.execute("SELECT family FROM ww_models WHERE name = 'base'").fetchone()
    sketch, = db.execute("SELECT coarse FROM ww_sketches s JOIN ww_models m ON m.id = s.model "
                         "WHERE m.name = 'base'").fetchone()
    root = np.frombuffer(sketch, "<f4").astype(np.float64)
    names = db.execute("SELECT ordinal, name, layer FROM ww_tensors WHERE model = 1").fetchall()
    spread = 0.02 * root.std()
    for i in range(n):
        ident = 100 + i
        delta = spread * rng.standard_normal(root.size)
        db.execute("INSERT INTO ww_models VALUES (?, ?, ?, ?, 0, '/nowhere', ?, 39, 600000, 0)",
                   (ident, f"sibling{i}", rng.bytes(32), family, rng.bytes(32)))
        db.execute("INSERT INTO ww_sketches VALUES (?, ?)",
                   (ident, (root + delta).astype("<f4").tobytes()))
        db.executemany("INSERT INTO ww_tensors VALUES (?, ?, ?, ?, ?, ?)",
                       [(ident, o, t, layer, rng.bytes(32), rng.bytes(64))
                        for o, t, layer in names])
        keys = rng.integers(-2**63, 2**63, size=4 * len(names))
        db.executemany("INSERT INTO ww_rows VALUES (?, ?, ?)",
                       [(int(h), ident, j % len(names)) for j, h in enumerate(keys)])
    db.commit()
    db.close()


def bench_find(build, work, n):
    db = os.path.join(work, "c.db")
    recipe = os.path.join(work, "recipe.yml")
    suspect = os.path.join(work, "suspect")
    with open(recipe, "w", encoding="utf-8") as f:
        f.write(f"merge_method: task_arithmetic\nbase_model: {AMBER}/base\nmodels:\n"
                f"  - {{model: {AMBER}/expert-rev, parameters: {{weight: 0.5}}}}\n"
                f"  - {{model: {AMBER}/expert-caesar, parameters: {{weight: 0.2}}}}\n"
                "dtype: float32\nout_dtype: bfloat16\n")
    tool = f"{build}/weightward"
    timed(tool, "merge", recipe, suspect, "-q")
    timed(tool, "lineage", "index", db, f"{AMBER}/base", "--root", "-q")
    timed(tool, "lineage", "index", db, f"{AMBER}/expert-rev", f"{AMBER}/expert-caesar", "-q")
    add_siblings(db, n)
    for extra in ([], ["--no-confirm"]):
        runs = [timed(tool, "lineage", "find", db, suspect, "--json", "-q", *extra)
                for i in range(RUNS)]
        answers = [json.loads(r[2]) for r in runs]
        a = answers[0]
        found = [(m["name"], m["kind"], round(m["share"], 4), m["confirmed"])
                 for m in a["matches"]]
        print(f"find {' '.join(extra)}: search {spread([x['search_seconds'] for x in answers])}"
              f" s, in all {spread([r[0] for r in runs])} s by the clock, "
              f"{spread([r[1] for r in runs])} s of processors; {a['models']} models, "
              f"{os.path.getsize(db) / 1e6:.0f} MB, threshold {a['threshold']:.4f}, "
              f"root {a['root']}, {found} {a['warnings']}")


def main():
    build, folder = sys.argv[1:3]
    n = int(sys.argv[3]) if len(sys.argv) > 3 else 20000
    work = tempfile.mkdtemp(prefix="ww-bench-", dir=folder)
    try:
        bench_index(build, work)
        bench_find(build, work, n)
    finally:
        shutil.rmtree(work)


if __name__ == "__main__":
    main()
