# SPDX-License-Identifier: Apache-2.0
"""Known answers for the lock derivation, written from docs/formats/lock-derivation.md
alone with the standard library: python3 make_vectors.py > derivation.json"""
import hashlib
import hmac
import json
import struct


def hkdf_extract(salt, secret):
    return hmac.new(salt, secret, hashlib.sha256).digest()


def hkdf_expand(prk, info, length):
    out, block, counter = b"", b"", 1
    while len(out) < length:
        block = hmac.new(prk, block + info + bytes([counter]), hashlib.sha256).digest()
        out += block
        counter += 1
    return out[:length]


def rotl(x, n):
    return (x << n | x >> (32 - n)) & 0xFFFFFFFF


def chacha20_block(key, counter):
    """RFC 8439, nonce zero."""
    state = list(struct.unpack("<4I", b"expand 32-byte k")) + list(struct.unpack("<8I", key))
    state += [counter, 0, 0, 0]
    x = list(state)

    def quarter(a, b, c, d):
        x[a] = (x[a] + x[b]) & 0xFFFFFFFF
        x[d] = rotl(x[d] ^ x[a], 16)
        x[c] = (x[c] + x[d]) & 0xFFFFFFFF
        x[b] = rotl(x[b] ^ x[c], 12)
        x[a] = (x[a] + x[b]) & 0xFFFFFFFF
        x[d] = rotl(x[d] ^ x[a], 8)
        x[c] = (x[c] + x[d]) & 0xFFFFFFFF
        x[b] = rotl(x[b] ^ x[c], 7)

    for _ in range(10):
        for i in range(4):
            quarter(i, 4 + i, 8 + i, 12 + i)
        for i in range(4):
            quarter(i, 4 + (i + 1) % 4, 8 + (i + 2) % 4, 12 + (i + 3) % 4)
    return struct.pack("<16I", *((a + b) & 0xFFFFFFFF for a, b in zip(x, state)))


def text(s):
    return struct.pack("<I", len(s.encode())) + s.encode()


class Draw:
    def __init__(self, prk, kind, owner, a, b):
        info = text("weightward/lock/draw/v1") + text(kind) + text(owner)
        self.key = hkdf_expand(prk, info + struct.pack("<QQ", a, b), 32)
        self.words, self.block = [], 0

    def u32(self):
        if not self.words:
            self.words = list(struct.unpack("<16I", chacha20_block(self.key, self.block)))
            self.block += 1
        return self.words.pop(0)

    def below(self, n):
        limit = (1 << 32) // n * n
        while True:
            x = self.u32()
            if x < limit:
                return x % n

    def perm(self, n):
        p = list(range(n))
        for i in range(n - 1, 0, -1):
            j = self.below(i + 1)
            p[i], p[j] = p[j], p[i]
        return p

    def bits(self, width, n):
        out, word, left = [], 0, 0
        for _ in range(n):
            if left < width:
                word, left = self.u32(), 32
            out.append(word & ((1 << width) - 1))
            word >>= width
            left -= width
        return out

    def exponents(self, n):
        return [self.below(11) - 5 for _ in range(n)]


class Lock:
    def __init__(self, secret):
        self.prk = hkdf_extract(hashlib.sha256(b"weightward/lock/v1").digest(), secret)

    def draw(self, kind, owner, a, b=0):
        return Draw(self.prk, kind, owner, a, b)

    def residual(self, width):
        perm = self.draw("perm", "residual", width).perm(width)
        return perm, self.draw("sign", "residual", width).bits(1, width), [0] * width

    def neurons(self, name, n):
        return (self.draw("perm", name, n).perm(n), self.draw("sign", name, n).bits(1, n),
                self.draw("scale", name, n).exponents(n))

    def head_order(self, att, groups, per_group):
        kv = self.draw("kv-order", att, groups).perm(groups)
        draw = self.draw("query-order", att, groups, per_group)
        order = []
        for g in range(groups):
            order += [kv[g] * per_group + j for j in draw.perm(per_group)]
        return order

    def inner_qk(self, att, groups, d, r, shared_odd):
        """Half-split pairs. RMS_HEAD when shared_odd, else ROPE with factors."""
        pairs, rest = r // 2, d - r
        perm = [list(range(d)) for _ in range(groups)]
        neg = [[0] * d for _ in range(groups)]
        exp = [[0] * d for _ in range(groups)]
        if shared_odd:
            draw = self.draw("qk-pair-sign", att, groups, pairs)
            signs = [draw.bits(1, pairs) for _ in range(groups)]
            odd = self.draw("qk-odd", att, 1, pairs).bits(1, pairs)
            turns = [[2 * s + o for s, o in zip(row, odd)] for row in signs]
        else:
            draw = self.draw("qk-turn", att, groups, pairs)
            turns = [draw.bits(2, pairs) for _ in range(groups)]
        for g in range(groups):
            for f, t in enumerate(turns[g]):
                i, j = f, f + pairs
                if t % 2:
                    perm[g][i], perm[g][j] = j, i
                neg[g][i] = int(t in (1, 2))
                neg[g][j] = int(t in (2, 3))
        if rest:
            draw = self.draw("qk-perm", att, 1 if shared_odd else groups, rest)
            tails = [draw.perm(rest) for _ in range(1 if shared_odd else groups)]
            draw = self.draw("qk-sign", att, groups, rest)
            for g in range(groups):
                tail = tails[0 if shared_odd else g]
                perm[g][r:] = [r + i for i in tail]
                neg[g][r:] = draw.bits(1, rest)
        if not shared_odd:
            draw = self.draw("qk-scale", att, groups, pairs + rest)
            for g in range(groups):
                e = draw.exponents(pairs + rest)
                exp[g] = e[:pairs] + e[:pairs] + e[pairs:]
        return perm, neg, exp

    def inner_vo(self, att, groups, d):
        p, s, e = (self.draw(k, att, groups, d) for k in ("vo-perm", "vo-sign", "vo-scale"))
        perm = [p.perm(d) for _ in range(groups)]
        neg = [s.bits(1, d) for _ in range(groups)]
        return perm, neg, [e.exponents(d) for _ in range(groups)]

    def compose(self, att, inner, groups, per_group):
        order = self.head_order(att, groups, per_group)
        d = len(inner[0][0])
        perm, neg, exp = [], [], []
        for h, source in enumerate(order):
            g = h // per_group
            perm += [source * d + i for i in inner[0][g]]
            neg += inner[1][g]
            exp += inner[2][g]
        return perm, neg, exp


def handout(lock, name, nonce, lock_id):
    """A recipient's copy: its secret and the commitment to its element."""
    secret = hkdf_expand(lock.prk, text("weightward/lock/handout/v1") + text(name) + nonce, 32)
    element = hkdf_expand(Lock(secret).prk, text("weightward/lock/handout-element/v1") + lock_id,
                          32)
    return {"name": name, "nonce": nonce.hex(), "lock_id": lock_id.hex(),
            "secret": secret.hex(), "element": element.hex(),
            "residual": Lock(secret).residual(24)[0]}


def main():
    secret = bytes(range(1, 33))
    lock = Lock(secret)
    draws = []
    for kind, owner, a, b, what, n in [
            ("perm", "residual", 24, 0, "perm", 24), ("perm", "x", 1, 0, "perm", 1),
            ("perm", "decoder.11.mlp", 1000, 0, "perm", 1000),
            ("sign", "residual", 70, 0, "bits1", 70), ("qk-turn", "decoder.0.self", 2, 37,
                                                       "bits2", 37),
            ("scale", "decoder.0.mlp", 50, 0, "exponents", 50)]:
        d = lock.draw(kind, owner, a, b)
        values = {"perm": d.perm, "bits1": lambda n: d.bits(1, n),
                  "bits2": lambda n: d.bits(2, n), "exponents": d.exponents}[what](n)
        draws.append({"kind": kind, "owner": owner, "a": a, "b": b, "what": what,
                      "values": values})
    att, groups, per_group = "decoder.0.self", 2, 2
    qk = lock.inner_qk(att, groups, 8, 4, False)
    shared = lock.inner_qk(att, groups, 8, 4, True)
    vo = lock.inner_vo(att, groups, 8)
    elements = {
        "residual": lock.residual(24),
        "neurons": lock.neurons("decoder.0.mlp.0", 20),
        "rope.query": lock.compose(att, qk, groups, per_group),
        "rope.key": lock.compose(att, qk, groups, 1),
        "rms_head.query": lock.compose(att, shared, groups, per_group),
        "rms_head.qk_gain": (shared[0][0], [0] * 8, [0] * 8),
        "value": lock.compose(att, vo, groups, 1),
        "context": lock.compose(att, vo, groups, per_group),
    }
    copy = handout(lock, "Institut f\u00fcr Proben", bytes(range(64, 96)), bytes(range(128, 160)))
    print(json.dumps({"secret": secret.hex(), "prk": lock.prk.hex(), "draws": draws,
                      "handout": copy,
                      "elements": {k: {"perm": v[0], "neg": v[1], "exp": v[2]}
                                   for k, v in elements.items()}}, indent=None,
                     separators=(",", ":")))


if __name__ == "__main__":
    main()
