# SPDX-License-Identifier: Apache-2.0
"""Read a sealed model from its description alone (docs/formats/sealed-model.md), with
PyNaCl for the keys file and the package cryptography for the rest."""

import hashlib
import hmac
import json
import os
import struct
import sys

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "vectors", "crypto"))
from read_sealed import read_record  # noqa: E402

CIPHERS = {b"gcm1": AESGCM, b"cha1": ChaCha20Poly1305}


class SealedModel:
    def __init__(self, folder, passphrase=None, recipient=None):
        self.folder = folder
        with open(os.path.join(folder, "attestations", "keys.sealed"), "rb") as f:
            kind, self.seal_id, content_key = read_record(f.read(), passphrase, recipient)
        assert kind == b"cont", kind
        self.root = hmac.new(b"weightward/seal/v1\0", content_key, hashlib.sha256).digest()
        with open(os.path.join(folder, "sealed.json"), "rb") as f:
            text = f.read()
        head, _, tail = text.rpartition(b',"mac":')
        mac = self.expand("manifest", hashlib.sha256(head + b"}").digest(), 32)
        assert tail == b'"%s"}' % mac.hex().encode(), "manifest MAC differs"
        self.manifest = json.loads(text)

    def expand(self, what, digest, n):
        info = b"weightward/seal/%s/v1\0" % what.encode() + digest
        return HKDFExpand(hashes.SHA256(), n, info).derive(self.root)

    def read(self, entry):
        path = entry["path"]
        evidence = path == "model.sig" or path.startswith("attestations/")
        stored = ("attestations/source/" if evidence else "") + path + ".sealed"
        with open(os.path.join(self.folder, stored), "rb") as f:
            data = f.read()
        magic, version, cipher, chunk, name_len, size, clear_len, seal_id = struct.unpack(
            "<16sI4sIIQQ16s", data[:64])
        assert (magic, version) == (b"weightward-seal\n", 1)
        assert seal_id == self.seal_id and data[64:64 + name_len] == path.encode()
        clear = data[64 + name_len:64 + name_len + clear_len]
        end = (64 + name_len + clear_len + 7) // 8 * 8
        keys = self.expand("file", hashlib.sha256(data[:end]).digest(), 64)
        assert keys[32:] == data[end:end + 32], "head tag differs"
        box = CIPHERS[cipher](keys[:32])
        plain, at, n_chunks = [clear], end + 32, -(-(size - clear_len) // chunk)
        for i in range(n_chunks):
            sealed = data[at:at + chunk + 16]
            nonce = struct.pack("<Q3xB", i, i + 1 == n_chunks)
            plain.append(box.decrypt(nonce, sealed, None))
            at += len(sealed)
        plain = b"".join(plain)
        assert at == len(data) and len(plain) == size == entry["size"]
        both = hashlib.sha256(path.encode()).digest() + hashlib.sha256(plain).digest()
        commitment = self.expand("plain", hashlib.sha256(both).digest(), 32)
        assert commitment.hex() == entry["commitment"], "commitment differs"
        return plain
