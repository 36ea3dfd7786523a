#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Run tests side by side, in processes forked from one that has the libraries loaded: they
take seconds to load, more than many a test.

    run.py BUILD JOBS <LIST         LIST: a test and its arguments on each line

The output of a test is shown when it ends: of one that passed, the last lines. Ends with 1
if any failed, after the others.
"""
import atexit
import os
import runpy
import shlex
import shutil
import sys
import tempfile
import time
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))


def load():
    """What most tests import, before any thread is started."""
    import make_models      # noqa: F401  torch and transformers
    import peft             # noqa: F401
    import safetensors.torch  # noqa: F401


def run_here(words, build, out):
    """In a process of its own: the test as if it had been called from a shell."""
    os.dup2(out.fileno(), 1)
    os.dup2(out.fileno(), 2)
    path = os.path.join(HERE, words[0])
    sys.argv = [path, build, *words[1:]]
    status = 0
    try:
        runpy.run_path(path, run_name="__main__")
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        status = 1
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(int(status))


def show(words, out, status, began, cpu):
    out.seek(0)
    text = out.read().decode(errors="replace").rstrip("\n")
    name = " ".join(words)
    if status:
        print(f"-- FAILED: {name}\n{text}", flush=True)
    else:
        last = "\n".join(text.splitlines()[-3:])
        print(f"-- {name}, {time.monotonic() - began:.0f} s, {cpu:.0f} s of CPU\n{last}", flush=True)
    out.close()


def main(build, jobs):
    waiting = [shlex.split(line) for line in sys.stdin if line.strip()]
    running = {}
    failed = 0
    load()
    while waiting or running:
        while waiting and len(running) < jobs:
            words = waiting.pop(0)
            out = tempfile.TemporaryFile()
            sys.stdout.flush()
            pid = os.fork()
            if not pid:
                run_here(words, build, out)
            running[pid] = words, out, time.monotonic()
        pid, status, used = os.wait4(-1, 0)
        words, out, began = running.pop(pid)
        failed += status != 0
        show(words, out, status, began, used.ru_utime + used.ru_stime)
    print(f"{failed} failed" if failed else "all passed")
    return failed > 0


if __name__ == "__main__":
    # No TemporaryDirectory: each test that ends would remove it.
    kept = os.environ["WW_MADE_MODELS"] = tempfile.mkdtemp()
    try:
        sys.exit(main(sys.argv[1], int(sys.argv[2])))
    finally:
        shutil.rmtree(kept)
