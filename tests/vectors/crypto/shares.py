# SPDX-License-Identifier: Apache-2.0
"""Shamir's sharing over GF(2^8) by tables of logarithms, written from the description in
docs/formats/key-share.md alone. Without arguments: print shares.h. As a module: combine()."""

import hashlib

EXP, LOG = [0] * 510, [0] * 256
x = 1
for i in range(255):
    EXP[i] = EXP[i + 255] = x
    LOG[x] = i
    x ^= (x << 1) ^ (0x11b if x & 0x80 else 0)     # times 3, which generates the group
    x &= 0xff


def mul(a, b):
    return EXP[LOG[a] + LOG[b]] if a and b else 0


def div(a, b):
    return EXP[LOG[a] + 255 - LOG[b]] if a else 0


def share(secret, coefficients, at):
    out = bytearray(len(secret))
    for pos in range(len(secret)):
        power, value = 1, 0
        for row in [secret, *coefficients]:
            value ^= mul(row[pos], power)
            power = mul(power, at)
        out[pos] = value
    return bytes(out)


def combine(points):
    """points: {x: bytes}; the value at zero."""
    out = bytearray(len(next(iter(points.values()))))
    for a, bytes_ in points.items():
        factor = 1
        for b in points:
            if b != a:
                factor = mul(factor, div(b, b ^ a))
        for pos, byte in enumerate(bytes_):
            out[pos] ^= mul(factor, byte)
    return bytes(out)


def stream(label, n):
    return hashlib.shake_128(b"weightward share vectors " + label.encode()).digest(n)


def c_bytes(data):
    return ", ".join(f"0x{b:02x}" for b in data)


def wrapped(data, indent):
    rows = [c_bytes(data[i:i + 12]) for i in range(0, len(data), 12)]
    return (",\n" + " " * indent).join(rows)


def main():
    print("/* SPDX-License-Identifier: Apache-2.0 */")
    print("/* Made by shares.py; do not edit. */")
    print("static const struct share_case {\n    unsigned threshold;\n    unsigned n_shares;\n"
          "    uint8_t secret[32];\n    uint8_t coefficients[4 * 32];\n"
          "    uint8_t shares[5 * 32];\n} share_cases[] = {")
    for k, n in ((2, 2), (2, 3), (3, 5), (5, 5)):
        secret = stream(f"secret {k} {n}", 32)
        rows = [stream(f"row {i} {k} {n}", 32) for i in range(k - 1)]
        shares = [share(secret, rows, at) for at in range(1, n + 1)]
        assert combine({at: shares[at - 1] for at in range(n - k + 1, n + 1)}) == secret
        print(f"    {{{k},\n     {n},\n     {{{wrapped(secret, 6)}}},")
        print(f"     {{{wrapped(b''.join(rows), 6)}}},\n     {{{wrapped(b''.join(shares), 6)}}}}},")
    print("};")
    print("/* Products: a, b, a * b. */\nstatic const uint8_t share_products[][3] = {")
    for i in range(40):
        a, b = stream(f"product {i}", 2)
        print(f"    {{{c_bytes([a, b, mul(a, b)])}}},")
    print("};")


if __name__ == "__main__":
    main()
