#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A served pool under load: time per token over the members' own, errors, memory.

  serve_pool.py BUILD [--clients 64] [--seconds 20] [--delay-ms 50]

Members are stand-ins that answer after a fixed delay. One client first, then many, each
with a connection of its own and streams of 32 tokens; time is taken from event to event. The
members' own time is that of the slowest of all, asked at once by as many clients.
"""

import argparse
import http.client
import json
import os
import statistics
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../interop"))
from served_pool import served_pool  # noqa: E402

BODY = {"model": "fusion", "prompt": "some text", "max_tokens": 32, "temperature": 0.7, "stream": True}


def ask_members(ports, until, took):
    """Every member at once, until the slowest has answered: what a token of the pool waits for."""
    connections = [http.client.HTTPConnection("127.0.0.1", port) for port in ports]
    body = json.dumps({"model": "mock", "prompt": "some text", "max_tokens": 1, "logprobs": 20})
    while time.monotonic() < until:
        t = time.perf_counter()
        for c in connections:
            c.request("POST", "/v1/completions", body)
        for c in connections:
            c.getresponse().read()
        took.append((time.perf_counter() - t) * 1e3)


def member_ms(ports, clients, seconds):
    """All members asked directly by so many clients at once, as the pool asks them."""
    took = []
    until = time.monotonic() + seconds
    threads = [threading.Thread(target=ask_members, args=(ports, until, took)) for _ in range(clients)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    return took


def stream(connection, gaps, seed):
    """Milliseconds between events; the number of events, or an exception."""
    connection.request("POST", "/v1/completions", json.dumps(dict(BODY, seed=seed)))
    reply = connection.getresponse()
    if reply.status != 200:
        raise RuntimeError(f"status {reply.status}: {reply.read()[:200]!r}")
    last = None
    done = False
    for line in reply:
        if line.startswith(b'data: {"error"'):
            raise RuntimeError(line)
        if line.startswith(b"data: {"):
            now = time.perf_counter()
            if last is not None:
                gaps.append((now - last) * 1e3)
            last = now
        done = done or line == b"data: [DONE]\n"
    if not done:
        raise RuntimeError("the stream broke off")


def client(port, until, gaps, answers, errors, number):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    seed = number * 100000
    while time.monotonic() < until:
        seed += 1
        try:
            stream(connection, gaps, seed)
            answers.append(1)
        except Exception as e:  # any of them is what is counted
            errors.append(repr(e))
            connection.close()


def load(port, clients, seconds):
    gaps, answers, errors = [], [], []
    until = time.monotonic() + seconds
    threads = [threading.Thread(target=client, args=(port, until, gaps, answers, errors, i)) for i in range(clients)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    return gaps, answers, errors


def peak_kib(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        return int(next(line for line in f if line.startswith("VmHWM")).split()[1])


def show(what, ms):
    ms = sorted(ms)
    print(f"{what}: median {statistics.median(ms):.2f} ms, 95 % below {ms[int(len(ms) * 0.95)]:.2f} ms, n {len(ms)}")


def main():
    p = argparse.ArgumentParser()
    p.add_argument("build")
    p.add_argument("--clients", type=int, default=64)
    p.add_argument("--seconds", type=float, default=20)
    p.add_argument("--delay-ms", type=int, default=50)
    a = p.parse_args()
    with served_pool(a.build, delay_ms=a.delay_ms) as (server, port, ports):
        for clients, seconds in ((1, 5), (a.clients, a.seconds)):
            show(f"members, {clients} clients", member_ms(ports, clients, 5))
            gaps, answers, errors = load(port, clients, seconds)
            show(f"pool, {clients} clients, from token to token", gaps)
            print(f"  {len(answers)} answers, {len(errors)} errors {errors[:2]}, peak memory {peak_kib(server.pid) / 1024:.1f} MiB")
        server.terminate()
        print(f"exit status {server.wait()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
