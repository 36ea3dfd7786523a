# SPDX-License-Identifier: Apache-2.0
"""Seeds for fuzz_chunk, from docs/formats/package.md: python3 make_chunk_corpus.py"""
import os
import random
import struct

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "corpus", "chunk")


def save(name, kind, n, data):
    with open(os.path.join(HERE, name), "wb") as f:
        f.write(bytes([kind, n]) + data)


def largest(kind, n):
    """The largest exponent field of the target's base, which a chunk must begin with."""
    width, shift, mask = ((2, 7, 0xff), (2, 10, 0x1f), (4, 23, 0xff))[kind % 64]
    base = bytes(0x3c if i % 3 else i * 5 % 256 for i in range(width * n))
    return max(int.from_bytes(base[i:i + width], "little") >> shift & mask
               for i in range(0, width * n, width))


def largest_narrowed(half, n):
    """The same of a base in F32 that is rounded to BF16 or F16."""
    base = bytes(0x3c if i % 3 else i * 5 % 256 for i in range(4 * n))
    most = 0
    for i in range(0, 4 * n, 4):
        bits = int.from_bytes(base[i:i + 4], "little")
        try:
            small = struct.pack("<e", struct.unpack("<f", base[i:i + 4])[0])
        except OverflowError:
            small = b"\0\x7c"
        most = max(most, int.from_bytes(small, "little") >> 10 & 31 if half else
                   (bits + 0x7fff + (bits >> 16 & 1)) >> 23 & 255)
    return most


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
    for kind in (0, 1):
        save(f"narrow-{kind}", 2, 3, bytes([17, kind, 0]) + bytes(range(56, 62)))
        save(f"narrow-same-{kind}", 130, 9, bytes([17, kind, 1]))
    levels = struct.pack("<4f", 1e-3, 2e-3, 3e-3, 1e-3)
    for kind in (128, 129, 130):
        top = largest(kind, 8)
        save(f"order-{kind}", kind, 8, bytes([2, top]) + zero * 16 + ends)
        save(f"raw-{kind}", kind, 8, bytes([2, top]) + wide * 16 + words)
        for one in (0, 1):
            save(f"dense-{kind}-{one}", kind, 8,
                 bytes([6, top, one, 3]) + levels + zero * 16 + ends)
            save(f"dense-raw-{kind}-{one}", kind, 8,
                 bytes([6, top, one, 3]) + levels + wide * 16 + words)
    scales = struct.pack("<BIQQ2f", 1, 2, 1, 0, 0.5, 2) + bytes([0, 3])
    for kind, form in ((0, 4), (128, 7), (129, 7), (130, 7)):
        save(f"factors-{kind}", kind, 8, bytes([form]) + scales + zero * 16 + ends)
        save(f"factors-raw-{kind}", kind, 8, bytes([form]) + scales + wide * 16 + words)
    # Without tables: messages of any bytes, and one that ends (see Bits in package_reader.py)
    some = random.Random(2).randbytes(60)
    save("adaptive-text", 4, 40, bytes([16, 1, 3]) + some)
    save("adaptive-again", 4, 40, bytes([16, 33, 3]) + some)
    save("adaptive-none", 4, 0, bytes([16, 1, 3]) + bytes(4))
    save("adaptive-factors", 2, 8, bytes([16, 17, 4]) +
         struct.pack("<BH2f", 1, 2, 0.5, 2) + bytes([9, 14]) + some)
    for kind in (128, 129, 130):
        top = largest(kind, 8)
        for mode in (1, 3, 5, 7):
            save(f"adaptive-{kind}-{mode}", kind, 8, bytes([16, mode, 2, top]) + some)
        save(f"adaptive-near-{kind}", kind, 8, bytes([16, 9, 2, top]) +
             struct.pack("<H", 225) + some)
        save(f"adaptive-dense-{kind}", kind, 8, bytes([16, 3, 6, top, 0, 3]) + levels + some)
        save(f"adaptive-klt-{kind}", kind, 8, bytes([16, 17, 7]) +
             struct.pack("<BH2f", 0, 2, 0.5, 2) + bytes([9, 14]) + some)
    # The same in F32 that are all numbers of 16 bits
    for half in (0, 1):
        head, top = bytes([17, half]), largest_narrowed(half, 8)
        save(f"narrow-order-{half}", 130, 8, head + bytes([2, top]) + zero * 16 + ends)
        save(f"narrow-raw-{half}", 130, 8, head + bytes([2, top]) + wide * 16 + words)
        save(f"narrow-split-{half}", 2, 8, head + bytes([3]) + zero + bytes(8) + ends)
        save(f"narrow-few-{half}", 2, 8, head + bytes([5, 1, 0x80, 0x3f]))
        save(f"narrow-adaptive-{half}", 130, 8, head + bytes([16, 3, 2, top]) + some)
        save(f"narrow-dense-{half}", 130, 8,
             head + bytes([6, top, 0, 3]) + levels + zero * 16 + ends)
        save(f"narrow-klt-{half}", 130, 8, head + bytes([7]) + scales + zero * 16 + ends)
    save("narrow-f16", 1, 3, bytes([17, 0, 0]) + bytes(range(56, 62)))
    save("narrow-f16-same", 129, 9, bytes([17, 0, 1]))
    # 8160 numbers in 32 lanes
    ends, words = ends * 8, words[:16] * 8 + random.randbytes(3000)
    for kind, low in ((64, 1), (68, 0)):
        save(f"many-split-{kind}", kind, 255, bytes([3]) + zero + bytes(8160 * low) + ends)
    for kind in (192, 193):
        top = largest(kind, 8160)
        save(f"many-order-{kind}", kind, 255, bytes([2, top]) + zero * 16 + ends)
        save(f"many-raw-{kind}", kind, 255, bytes([2, top]) + wide * 16 + words)
    for half in (0, 1):
        head, top = bytes([17, half]), largest_narrowed(half, 8160)
        save(f"many-narrow-order-{half}", 194, 255, head + bytes([2, top]) + zero * 16 + ends)
        save(f"many-narrow-raw-{half}", 194, 255, head + bytes([2, top]) + wide * 16 + words)


main()
