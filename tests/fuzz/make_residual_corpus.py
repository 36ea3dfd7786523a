# SPDX-License-Identifier: Apache-2.0
"""Seeds for fuzz_residual, from docs/formats/residual.md: python3 make_residual_corpus.py"""
import os
import random
import struct

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "corpus", "residual")
LINES, LINE = 3, 40


def save(name, kind, data):
    with open(os.path.join(HERE, name), "wb") as f:
        f.write(bytes([kind]) + data)


def frame(*boxes):
    return (b"weightward-residual\n" + struct.pack("<II", 1, len(boxes)) +
            b"".join(struct.pack("<Q", len(b)) + bytes(32) + b for b in boxes))


def section(width, table, message):
    lengths = bytes([len(message)]) * LINES
    return struct.pack("<IQQ", width, LINES, LINE) + table * 64 + lengths + message * LINES


def main():
    os.makedirs(HERE, exist_ok=True)
    ends = struct.pack("<I", 1 << 16)
    always_zero = bytes([1, 0x80, 32])
    even = bytes([2, 0x80, 16, 0x80, 16])
    large = bytes([20]) + bytes(19) + bytes([0x80, 32])     # raw bits behind each token
    random.seed(1)
    words = struct.pack("<I", 0x12345678) + random.randbytes(90)
    save("frame", 0, frame(bytes(16), bytes(40)))
    save("frame-empty", 0, frame())
    save("frame-long", 0, frame(bytes(16)) + b"x")
    for kind, width in ((1, 2), (2, 4), (3, 8), (4, 2)):
        save(f"same-{kind}", kind, section(width, always_zero, ends))
    save("two-symbols", 4, section(2, even, words))
    save("raw-bits", 4, section(2, large, words))
    save("raw-bits-wide", 3, section(8, bytes([60]) + bytes(59) + bytes([0x80, 32]), words))


main()
