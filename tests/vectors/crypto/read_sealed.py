# SPDX-License-Identifier: Apache-2.0
"""Open a sealed record from its description alone (docs/formats/sealed-key.md).

    python3 read_sealed.py FILE [--passphrase TEXT | --recipient HEX]

Needs the Python package PyNaCl. Prints kind, record id and the secret in hex.
"""
import argparse
import hashlib
import struct

from nacl import bindings as na


def take(data, n):
    assert len(data) >= n, "record ends early"
    return data[:n], data[n:]


def file_key_of(kind, body, fixed, passphrase, recipient):
    if kind == b"none":
        return body
    if kind == b"pass":
        salt, rest = take(body, 16)
        passes, kib = struct.unpack("<II", rest[:8])
        key = na.crypto_pwhash_alg(32, passphrase, salt, passes, kib * 1024,
                                   na.crypto_pwhash_ALG_ARGON2ID13)
        ad = b"weightward/sealed/passphrase/v1\0" + fixed
        return na.crypto_aead_xchacha20poly1305_ietf_decrypt(rest[32:], ad, rest[8:32], key)
    assert kind == b"x255", kind
    public = na.crypto_scalarmult_base(recipient)
    recipient_id = hashlib.sha256(b"weightward/recipient-id/v1\0" + public).digest()[:16]
    if body[:16] != recipient_id:
        return None
    plain = na.crypto_box_seal_open(body[16:], public, recipient)
    binding = hashlib.sha256(b"weightward/sealed/recipient/v1\0" + fixed + recipient_id)
    assert plain[:32] == binding.digest(), "stanza of another record"
    return plain[32:]


def read_all(data, passphrase, recipient):
    check = hashlib.sha256(b"weightward/sealed/checksum/v1\0" + data[:-32]).digest()
    assert check == data[-32:], "check sum differs"
    fixed, rest = take(data[:-32], 50)
    assert fixed[:18] == b"weightward-sealed\n"
    version, kind, created, record_id = struct.unpack("<I4sQ16s", fixed[18:])
    assert version in (1, 2)
    (count,), rest = struct.unpack("<I", rest[:4]), rest[4:]
    file_key = None
    for _ in range(count):
        stanza, length = struct.unpack("<4sI", rest[:8])
        body, rest = take(rest[8:], length)
        file_key = file_key or file_key_of(stanza, body, fixed, passphrase, recipient)
    header = data[:-32 - len(rest)]
    nonce, rest = take(rest, 24)
    box = {1: 80, 2: 212}[version]
    assert struct.unpack("<I", rest[:4]) == (box,) and len(rest) == box + 4
    plain = na.crypto_aead_xchacha20poly1305_ietf_decrypt(rest[4:], header, nonce, file_key)
    assert plain[:32] == struct.pack("<I4sQ16s", version, kind, created, record_id)
    return kind, record_id, plain[32:64], plain[64:]


def read_record(data, passphrase, recipient):
    """Kind, record id and secret of a record; passphrase and recipient are bytes or None."""
    return read_all(data, passphrase, recipient)[:3]


def binding_text(bytes_):
    purpose, model, lock, name = struct.unpack("<I32s32s64s", bytes_)
    return f"purpose {purpose} model {model.hex()} lock {lock.hex()} {name.rstrip(bytes(1)).decode()}"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("file")
    parser.add_argument("--passphrase")
    parser.add_argument("--recipient")
    args = parser.parse_args()
    with open(args.file, "rb") as f:
        kind, record_id, secret, binding = read_all(
            f.read(), (args.passphrase or "").encode(), bytes.fromhex(args.recipient or ""))
    print(kind.decode(), record_id.hex(), secret.hex())
    if binding:
        print(binding_text(binding))


if __name__ == "__main__":
    main()
