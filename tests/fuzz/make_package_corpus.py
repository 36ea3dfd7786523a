# SPDX-License-Identifier: Apache-2.0
"""Seeds for fuzz_package, from docs/formats/package.md: python3 make_package_corpus.py"""
import hashlib
import json
import os
import struct

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "corpus", "package")
SHA = "ab" * 32


def save(name, kind, data):
    if not isinstance(data, bytes):
        data = json.dumps(data, separators=(",", ":")).encode()
    with open(os.path.join(HERE, name), "wb") as f:
        f.write(bytes([kind]) + data)


def head(version, offset, manifest, bundle, keys):
    fields = (b"weightward-pack\n" + struct.pack("<IIQQQQ", version, 0, offset, manifest, bundle, keys)
              + bytes(64))
    return fields + hashlib.sha256(fields).digest()[:8]


def member(**more):
    return {"name": "a", "kind": "model", "mode": "exact", "offset": 4096, "bytes": 500,
            "sha256": SHA, "files": 2, "files_bytes": 900, "commitment": SHA, "error": 0} | more


def manifest(members, base=None, version=1):
    return {"schema": "weightward.package/2", "tool": "weightward 0.1.0", "id": "cd" * 16,
            "version": version, "previous": SHA if version > 1 else None, "base": base,
            "members": members}


def coded_text(table):
    """JSON as a chunk of form adaptive: bytes of the lowest number of the last interval."""
    text = json.dumps(table, separators=(",", ":")).encode()
    low, span, n, bits = 0, 2**32 - 1, 4, {}
    for before, byte in zip(bytes(1) + text, text):
        node = 1
        for k in range(7, -1, -1):
            bit = byte >> k & 1
            chance, seen = bits.get((before, node), (32768, 0))
            bound = (span >> 16) * chance
            low, span = (low, bound) if bit else (low + bound, span - bound)
            way = 2 * (65536 - chance if bit else chance) // (2 * seen + 3)
            moved = chance + way if bit else chance - way
            bits[before, node] = min(max(moved, 32), 65504), min(seen + 1, 254)
            node = 2 * node + bit
            while span < 2**24:
                low, span, n = low << 8, span << 8, n + 1
    head = bytes(1) + struct.pack("<I", len(text)) + bytes([16, 1, 3])
    return head + low.to_bytes(n, "big")


def main():
    os.makedirs(HERE, exist_ok=True)
    coded = {"stored": 1, "same": 2, "order": 3, "split": 4, "own": 5}
    base = {"name": "base", "files": [{"path": "x", "size": 3, "sha256": SHA}],
            "tensors": [{"name": "w", "dtype": "BF16", "shape": [2, 3], "root": SHA}]}
    save("head", 0, head(2, 8192, 1000, 800, 8))
    save("head-short", 0, head(3, 128, 9872, 0, 0))
    save("plain", 1, manifest([member(coded=coded)], base))
    save("sealed", 1, manifest([member(cipher="aes-256-gcm", key_id="ef" * 16)], None, 2))
    near = manifest([member(offset=128, coded=coded)], base)
    place = struct.pack("<H", 640 // 16)
    save("stored", 3, place + json.dumps(near, separators=(",", ":")).encode())
    save("stored-coded", 3, place + coded_text(near))
    save("text", 4, b"{\"w\":[1,2],\"ww\":[1,2]}" * 2)
    unmerge = {"merged": 2, "sources": [{"name": "b", "weight": -1, "tensor_tree": SHA}]}
    save("unmerge", 1, manifest([member(coded=coded, unmerge=unmerge)], base))
    later = member(name="b", offset=8192, coded=coded, parent="a", leak="parent")
    save("versions", 1, manifest([member(coded=coded), later], base))
    basis = member(name="basis", kind="basis", coded=coded, codec="rows", directions=3)
    user = member(name="b", kind="adapter", mode="bounded", error=0.2, offset=8192, coded=coded,
                  parent="basis", leak="shared")
    save("shared", 1, manifest([basis, user], base))
    chunks = [[40, SHA], [60, SHA]]
    weights = {"path": "m.safetensors", "size": 2097160, "sha256": SHA, "parts": [
        {"bytes": 8, "dtype": "U8", "chunks": chunks[:1]},
        {"bytes": 2097152, "dtype": "BF16", "tensor": "w", "base": True, "chunks": chunks[1:]}]}
    side = {"path": "a.json", "size": 4, "sha256": SHA, "same": True}
    save("table", 2, {"schema": "weightward.package-member/2", "salt": SHA,
                      "files": [side, weights]})
    matrix = {"bytes": 48, "dtype": "BF16", "tensor": "w", "base": True, "chunks": chunks[:1],
              "rank": {"rank": 2, "rows": 4, "rounding": "sum", "chunks": [[20, SHA], [40, SHA]]}}
    ranked = {"schema": "weightward.package-member/2", "salt": SHA,
              "files": [dict(weights, size=48, parts=[matrix])]}
    save("table-rank", 2, ranked)
    save("table-coded", 2, coded_text(ranked))
    factor = {"bytes": 48, "dtype": "BF16", "tensor": "w", "parent": True,
              "chunks": chunks[:1],
              "shared": {"codec": "rows", "side": "b", "places": 4, "directions": 2,
                         "chunks": chunks[1:]}}
    save("table-shared", 2, {"schema": "weightward.package-member/2", "salt": SHA,
                             "files": [dict(weights, size=48, parts=[factor])]})
    other = {"bytes": 48, "dtype": "F32", "tensor": "w", "base": True, "base_dtype": "BF16",
             "chunks": [[100, SHA]]}
    save("table-dtype", 2, {"schema": "weightward.package-member/3", "salt": SHA,
                            "files": [dict(weights, size=48, parts=[other])]})
    chained = {"bytes": 48, "dtype": "BF16", "tensor": "w", "parent": True,
               "chunks": [[100, SHA]]}
    save("table-parent", 2, {"schema": "weightward.package-member/2", "salt": SHA,
                             "files": [dict(weights, size=48, parts=[chained])]})


main()
