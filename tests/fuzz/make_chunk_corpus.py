# SPDX-License-Identifier: Apache-2.0
"""Seeds for fuzz_chunk, from docs/formats/package.md: python3 make_chunk_corpus.py"""
import os
import random
import struct

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "corpus", "chunk")


def save(name, kind, n, data):
    with open(os.path.join(HERE, name), "wb") as f:
        f.write(bytes([kind, n]) + data)


def main():
    os.makedirs(HERE, exist_ok=True)
    random.seed(1)
    ends = struct.pack("<I", 1 << 16) * 4
    zero = bytes([1, 0x80, 32])                              # one symbol: frequency 4096
    wide = bytes([20]) + bytes(19) + bytes([0x80, 32])       # always a symbol with raw bits
    words = struct.pack("<I", 0x12345678) * 4 + random.randbytes(40)
    save("stored", 4, 5, bytes([0]) + b"bytes")
    save("same", 128, 9, bytes([1]))
    for kind, low in ((0, 1), (1, 1), (2, 3), (3, 7), (4, 0), (5, 1)):
        save(f"split-{kind}", kind, 8, bytes([3]) + zero + bytes(8 * low) + ends)
    save("few-mask", 3, 9, bytes([5, 2]) + struct.pack("<2d", 0, 0.75) + bytes([0x5a, 1]))
    save("few-three", 4, 3, bytes([5, 3, 1, 2, 7, 0x24]))
    save("few-one", 0, 255, bytes([5, 1, 0x80, 0x3f]))
    for exponent in (0x78, 0x0f):
        for kind in (128, 129, 130):
            save(f"order-{exponent}-{kind}", kind, 8,
                 bytes([2, exponent]) + zero * 16 + ends)
            save(f"raw-{exponent}-{kind}", kind, 8,
                 bytes([2, exponent]) + wide * 16 + words)
    levels = struct.pack("<4f", 1e-3, 2e-3, 3e-3, 1e-3)
    for kind in (128, 129, 130):
        for one in (0, 1):
            save(f"dense-{kind}-{one}", kind, 8,
                 bytes([6, 0x78, one, 3]) + levels + zero * 16 + ends)
            save(f"dense-raw-{kind}-{one}", kind, 8,
                 bytes([6, 0x78, one, 3]) + levels + wide * 16 + words)


main()
