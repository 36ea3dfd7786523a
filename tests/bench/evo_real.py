#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Rules of pools behind a real server: four experts, then three distractors as well.

  evo_real.py BUILD FAMILY [--fit 64] [--held 128] [--top 20] [--connections 4] [--echo PYTHON] [--serve 0]
              [--only experts|distractors]

Each model is served by llama.cpp's server (the xllamacpp wheel) on loopback. The tasks of
four experts are mixed: FIT rows of each task's valid split are fitted, HELD rows of each
test split are held out. Calls are counted by `evo run`; then other rules and another seed
are fitted to the same cache, which must make none. With --echo the servers are those of
llama-cpp-python, run by that interpreter: they score prompts, one call for an item. With
--serve the pool of experts is served, and so many held-out items of each task are answered
by it, token by token.
"""

import argparse
import base64
import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../interop"))
import real_server  # noqa: E402

TASKS = ("rev", "caesar", "sort", "swap")
DISTRACTORS = ("sibling-dup", "unrelated", "base")


def show(report):
    for r in report["rules"]:
        low, high = r["interval"]
        print(f"| {r['rule']} | {r['bits']:.4f} | {100 * r['accuracy']:.1f} % | {100 * r['answers']:.1f} % | "
              f"{r['gain']:.3f} [{low:.3f}, {high:.3f}] |")


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_for(port):
    for _ in range(3000): # imports take long where many wait for two cores
        with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/v1/models") as reply:
            return reply.read()
        time.sleep(0.1)
    raise RuntimeError("a server did not start")


@contextlib.contextmanager
def echo_servers(python, folders, work):
    running, ports = [], {}
    try:
        for name, folder in folders.items():
            model = real_server.write_gguf(folder, os.path.join(work, name + ".gguf"))
            ports[name] = free_port()
            with open(os.path.join(work, name + ".log"), "w", encoding="utf-8") as log:
                running.append(subprocess.Popen(
                    [python, "-m", "llama_cpp.server", "--model", model, "--model_alias", name, "--host", "127.0.0.1",
                     "--port", str(ports[name]), "--logits_all", "true", "--n_ctx", "256", "--n_threads", "1",
                     "--n_threads_batch", "1", "--type_k", "0", "--type_v", "0"], stdout=log, stderr=log))
        for port in ports.values():
            wait_for(port)
        yield ports
    finally:
        for process in running:
            process.kill()
            process.wait()


def generate(ww, recipe, work, a):
    """Whole answers that the served pool gets right."""
    asked = os.path.join(work, "asked.jsonl")
    real_server.write_tasks(asked, a.family, TASKS, "test", 0, a.serve)
    items, right, tokens = real_server.rows(asked), 0, 0
    began = time.monotonic()
    with real_server.served(ww, recipe, os.path.join(work, "boss.pub")) as port:
        for item in items:
            said = real_server.post(port, "/v1/completions", {
                "model": "fusion", "prompt": item["prompt"], "max_tokens": 32, "temperature": 0})
            right += said["choices"][0]["text"] == item["answer"]
            tokens += said["usage"]["completion_tokens"]
    print(f"served: {right} of {len(items)} answers right ({100 * right / len(items):.1f} %), {tokens} tokens in "
          f"{time.monotonic() - began:.0f} s")


def one_pool(ww, a, names):
    with tempfile.TemporaryDirectory() as work:
        folders = {name: os.path.join(a.family, name if name in DISTRACTORS else f"expert-{name}") for name in names}
        started = echo_servers(a.echo, folders, work) if a.echo else real_server.servers(folders, work)
        subprocess.run([ww, "key", "new", "signing", "--out", os.path.join(work, "boss"), "--no-passphrase", "-q"], check=True)
        with started as ports:
            pool, cache = os.path.join(work, "pool.yml"), os.path.join(work, "answers")
            tasks, held = os.path.join(work, "tasks.jsonl"), os.path.join(work, "held.jsonl")
            real_server.write_pool(pool, ports)
            real_server.write_tasks(tasks, a.family, TASKS, "valid", 0, a.fit)
            real_server.write_tasks(held, a.family, TASKS, "test", 0, a.held)
            began = time.monotonic()
            given = (pool, tasks, "--confirm", held, "--cache", cache, "--top", str(a.top),
                     "--connections", str(a.connections))
            recipe = os.path.join(work, "recipe.json")
            report = real_server.run(ww, "evo", "run", *given, "--output", recipe, "--sign", os.path.join(work, "boss.key"))
            seconds = time.monotonic() - began
            positions = sum(len(row["answer"]) + 1 for path in (tasks, held) for row in real_server.rows(path))
            items = report["fitted"] + report["held_out"]
            print(f"{len(names)} members, {report['fitted']} + {report['held_out']} items, {report['calls']} calls in "
                  f"{seconds:.0f} s; members x items = {len(names) * items}, members x positions = {len(names) * positions}")
            # each member asked once for an item, or for each of its tokens; the rest is probing and canaries
            with open(recipe, encoding="utf-8") as f:
                answers = json.loads(base64.b64decode(json.load(f)["payload"]))["calls"]
            assert answers == len(names) * (items if a.echo else positions), answers
            show(report)
            if a.serve and names == TASKS:
                generate(ww, recipe, work, a)
        # the servers are gone
        for rule in ("uniform", "linear", "loglinear", "signed"):
            again = real_server.run(ww, "evo", "fit", *given, "--rule", rule, "--seed", "7")
            assert again["calls"] == 0, again
        print("other rules, another seed: 0 calls")
        if names != TASKS:
            real_server.write_pool(pool, {name: ports[name] for name in TASKS})
            print("the experts alone, from the same answers:")
            show(real_server.run(ww, "evo", "fit", *given))


def main():
    p = argparse.ArgumentParser()
    p.add_argument("build")
    p.add_argument("family")
    p.add_argument("--fit", type=int, default=64)
    p.add_argument("--held", type=int, default=128)
    p.add_argument("--top", type=int, default=20)
    p.add_argument("--connections", type=int, default=4)
    p.add_argument("--echo")
    p.add_argument("--serve", type=int, default=0)
    p.add_argument("--only", choices=("experts", "distractors"))
    a = p.parse_args()
    ww = os.path.join(os.path.abspath(a.build), "weightward")
    if a.only != "distractors":
        one_pool(ww, a, TASKS)
    if a.only != "experts":
        one_pool(ww, a, TASKS + DISTRACTORS)


if __name__ == "__main__":
    main()
