# SPDX-License-Identifier: Apache-2.0
"""Print the keystream vectors, computed apart from the C code (hmac, cryptography)."""
import hashlib
import hmac
import struct

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms

SECRET = bytes(range(32))
SALT = b"weightward test salt"
INFO = b"weightward/test/keystream/v1"


def chacha20(key, n_bytes):
    cipher = Cipher(algorithms.ChaCha20(key, bytes(16)), mode=None)
    return cipher.encryptor().update(bytes(n_bytes))


def expand(prk, info, n_bytes):
    out, block, counter = b"", b"", 1
    while len(out) < n_bytes:
        block = hmac.new(prk, block + info + bytes([counter]), hashlib.sha256).digest()
        out += block
        counter += 1
    return out[:n_bytes]


class Keystream:
    def __init__(self, info=INFO):
        prk = hmac.new(SALT, SECRET, hashlib.sha256).digest()
        self.words = struct.iter_unpack("<I", chacha20(expand(prk, info, 32), 1 << 22))

    def u32(self):
        return next(self.words)[0]

    def below(self, n):
        limit = (1 << 32) // n * n
        while True:
            draw = self.u32()
            if draw < limit:
                return draw % n

    def perm(self, n):
        perm = list(range(n))
        for i in range(n - 1, 0, -1):
            j = self.below(i + 1)
            perm[i], perm[j] = perm[j], perm[i]
        return perm


def array(name, values):
    lines, line = [], "   "
    for value in values:
        item = " %du," % value
        if len(line) + len(item) > 88:
            lines.append(line)
            line = "   "
        line += item
    lines.append(line)
    print("static const uint32_t %s[] = {\n%s\n};" % (name, "\n".join(lines)))


def digest(perm):
    return hashlib.sha256(struct.pack("<%dI" % len(perm), *perm)).hexdigest()


def main():
    # RFC 8439 appendix A.1, vector 1: the reference itself is right.
    assert chacha20(bytes(32), 8).hex() == "76b8e0ada0f13d90"
    bounds = [1, 2, 3, 7, 10, 1000, 65536, 0x80000001, 0xC0000000, 0xFFFFFFFF]
    words = Keystream()
    first = [words.u32() for _ in range(5000)]
    below = Keystream()
    print("/* SPDX-License-Identifier: Apache-2.0 */")
    print("/* Written by keystream.py; frozen. */")
    print('#define KS_SALT "%s"' % SALT.decode())
    print('#define KS_INFO "%s"' % INFO.decode())
    array("ks_first", first[:16])
    print("/* Words around the end of the first 4 KiB, and word 4999. */")
    array("ks_edge", first[1022:1028])
    print("static const uint32_t ks_word_4999 = %du;" % first[4999])
    print("/* Drawn in this order from one stream, over and over. */")
    array("ks_bounds", bounds)
    array("ks_below", [below.below(n) for _ in range(8) for n in bounds])
    array("ks_perm_20", Keystream().perm(20))
    print("/* SHA-256 over the little-endian words. */")
    print('static const char ks_perm_5000[] =\n    "%s";' % digest(Keystream().perm(5000)))
    print('static const char ks_perm_150000[] =\n    "%s";' % digest(Keystream().perm(150000)))


if __name__ == "__main__":
    main()
