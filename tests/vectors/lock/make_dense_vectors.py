# SPDX-License-Identifier: Apache-2.0
"""Known answers for the matrices of a dense lock, written from
docs/formats/lock-derivation.md: python3 make_dense_vectors.py > dense.json

Python's floats are IEEE doubles and its + - * / and square root round as the page wants;
numbers are written as the 16 hex digits of their bits, big-endian."""
import json
import math
import struct

from make_vectors import Lock

LN2 = float.fromhex("0x1.62e42fefa39efp-1")
SQRT_HALF = float.fromhex("0x1.6a09e667f3bcdp-1")


def log(x):
    m, e = math.frexp(x)
    if m < SQRT_HALF:
        m, e = m * 2, e - 1
    t = (m - 1) / (m + 1)
    w, total = t * t, 0.0
    for k in range(14, -1, -1):
        total = total * w + 1.0 / (2 * k + 1)
    return e * LN2 + 2 * t * total


def exp(x):
    total = 1.0
    for k in range(22, 0, -1):
        total = 1 + x / k * total
    return total


def uniform(d):
    high, low = d.u32() >> 5, d.u32() >> 6
    return (high << 26 | low) * 2.0 ** -53


def disk(d):
    while True:
        x, y = 2 * uniform(d) - 1, 2 * uniform(d) - 1
        s = x * x + y * y
        if 0 < s < 1:
            return x, y, s


def phases(d, n):
    out = []
    for _ in range(n):
        x, y, s = disk(d)
        out += [x / math.sqrt(s), y / math.sqrt(s)]
    return out


def normal(d, n):
    out = []
    while len(out) < n:
        x, y, s = disk(d)
        f = math.sqrt(-2 * log(s) / s)
        out += [x * f, y * f]
    return out[:n]


def dot(x, y):
    total = 0.0
    for a, b in zip(x, y):
        total += a * b
    return total


def reflect(row, first, v, square):
    f = 2 * dot(row[first:], v) / square
    for i, b in enumerate(v):
        row[first + i] -= f * b


def haar(d, n):
    flat = normal(d, n * n)
    g = [flat[i * n:(i + 1) * n] for i in range(n)]
    vectors, sign = [], []
    for k in range(n - 1):
        v = g[k][k:]
        length = math.sqrt(dot(v, v))
        sign.append(1.0 if v[0] < 0 else -1.0)
        v[0] += -length if v[0] < 0 else length
        vectors.append((v, dot(v, v)))
        for row in g[k + 1:]:
            reflect(row, k, *vectors[k])
    sign.append(-1.0 if g[n - 1][n - 1] < 0 else 1.0)
    q = [[float(i == j) for j in range(n)] for i in range(n)]
    for k in range(n - 2, -1, -1):
        for row in q[k:]:
            reflect(row, k, *vectors[k])
    return [[x * s for x in row] for row, s in zip(q, sign)]


def sandwich(u, s, v):
    n = len(u)
    out = [[0.0] * n for _ in range(n)]
    for i in range(n):
        for k in range(n):
            at = u[i][k] * s[k]
            for j in range(n):
                out[i][j] += at * v[k][j]
    return out


def conditioned(d, c, n):
    log_c = log(c)
    u, v = haar(d, n), haar(d, n)
    s = [exp((uniform(d) - 0.5) * log_c) for _ in range(n)]
    return sandwich(u, s, v), sandwich(u, [1 / x for x in s], v)


def bits(values):
    flat = []
    for v in values:
        flat += bits(v) if isinstance(v, list) else [struct.pack(">d", v).hex()]
    return flat


def main():
    secret = bytes(range(1, 33))
    lock = Lock(secret)
    att = "decoder.0.self"
    rows = []

    def add(what, kind, b, values, **more):
        rows.append({"what": what, "kind": kind, "owner": att, "a": 2, "b": b,
                     "values": bits(values), **more})

    add("phases", "dense-phase", 5, phases(lock.draw("dense-phase", att, 2, 5), 10))
    for n in (2, 5, 16):
        d = lock.draw("dense-vo", att, 2, n)
        add("haar", "dense-vo", n, [haar(d, n), haar(d, n)])
        d = lock.draw("dense-qk", att, 2, n)
        add("conditioned", "dense-qk", n, list(conditioned(d, 4.0, n)), c=bits([4.0])[0])
    points = [1e-300, 2.0 ** -52, 0.1, 0.5, 0.7071, 0.99, 1.0, 1.5, 3.99, 4.0]
    print(json.dumps({"secret": secret.hex(), "rows": rows,
                      "log": [bits([x, log(x)]) for x in points],
                      "exp": [bits([x, exp(x)]) for x in (-1.0, -0.3, 0.0, 0.5, 1.0)]},
                     separators=(",", ":")))


if __name__ == "__main__":
    main()
