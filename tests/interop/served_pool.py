# SPDX-License-Identifier: Apache-2.0
"""A pool of two stand-ins for models and its signed recipe, served."""

import contextlib
import os
import subprocess
import tempfile
import time

TASKS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../vectors/amber/tasks")
CHAT = 'chat: {user: ["R:", ""], answer: "="}\n'


def _port(path):
    while not os.path.exists(path):
        time.sleep(0.02)
    with open(path, encoding="ascii") as f:
        return int(f.read())


def _files(ports):
    with open("pool.yml", "w", encoding="ascii") as f:
        f.write("members:\n")
        for i, port in enumerate(ports):
            f.write(f'  - {{name: m{i}, url: "http://127.0.0.1:{port}", model: mock, end: "</s>"}}\n')
        f.write(CHAT)
    with open("tasks.jsonl", "w", encoding="utf-8") as f:
        for skill in ("rev", "caesar"):
            with open(f"{TASKS}/{skill}.test.jsonl", encoding="utf-8") as rows:
                f.writelines(rows.readlines()[:10])


@contextlib.contextmanager
def served_pool(build, *options, delay_ms=0):
    """(process of the server, its port, ports of the members)"""
    build = os.path.abspath(build)
    ww = build + "/weightward"
    running = []
    before = os.getcwd()
    with tempfile.TemporaryDirectory() as work:
        os.chdir(work)
        os.umask(0o077)
        try:
            ports = []
            for i, skill in enumerate(("rev", "caesar")):
                running.append(subprocess.Popen([build + "/mock_server", "--port-file", skill, "--skill", skill,
                                                 "--seed", str(i), "--delay-ms", str(delay_ms)]))
                ports.append(_port(skill))
            _files(ports)
            subprocess.run([ww, "key", "new", "signing", "--out", "boss", "--no-passphrase", "-q"], check=True)
            subprocess.run([ww, "evo", "run", "pool.yml", "tasks.jsonl", "--cache", "answers", "--output", "recipe.json",
                            "--sign", "boss.key", "--connections", "16", "-q"], check=True, stdout=subprocess.DEVNULL)
            with open("keys", "w", encoding="ascii") as f:
                f.write("sk-of-the-only-client\n")
            server = subprocess.Popen([ww, "evo", "serve", "recipe.json", "--key", "boss.pub", "--pool", "pool.yml",
                                       "--listen", "127.0.0.1:0", *options], stderr=subprocess.PIPE, text=True)
            running.append(server)
            line = server.stderr.readline()
            if "listening at" not in line:
                raise RuntimeError(line)
            yield server, int(line.rsplit(":", 1)[1].split("/")[0]), ports
        finally:
            os.chdir(before)
            for process in running:
                process.kill()
                process.wait()
