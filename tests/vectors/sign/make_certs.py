#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the keys and certificates of this folder anew (needs the package cryptography)."""

import datetime
import os

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

HERE = os.path.dirname(os.path.abspath(__file__))


def name(text):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def certificate(subject, key, issuer, issuer_key, years, ca):
    first, last = years
    utc = datetime.timezone.utc
    builder = (x509.CertificateBuilder().subject_name(name(subject)).issuer_name(name(issuer))
               .public_key(key.public_key()).serial_number(x509.random_serial_number())
               .not_valid_before(datetime.datetime(first, 1, 1, tzinfo=utc))
               .not_valid_after(datetime.datetime(last, 1, 1, tzinfo=utc))
               .add_extension(x509.BasicConstraints(ca, None), True)
               .add_extension(x509.KeyUsage(not ca, False, False, False, False, ca, ca, False,
                                            False), True))
    if not ca:
        builder = builder.add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), False)
    return builder.sign(issuer_key, hashes.SHA256())


def write(file, data):
    with open(os.path.join(HERE, file), "wb") as f:
        f.write(data)


def main():
    pem = serialization.Encoding.PEM
    root_key, middle_key, leaf_key, other_key = (ec.generate_private_key(ec.SECP256R1())
                                                 for _ in range(4))
    now, past = (2020, 2120), (2015, 2020)
    root = certificate("test root", root_key, "test root", root_key, now, True)
    middle = certificate("test intermediate", middle_key, "test root", root_key, now, True)
    write("chain.pem", middle.public_bytes(pem) + root.public_bytes(pem))
    write("root.pem", root.public_bytes(pem))
    for file, key, years in (("leaf.pem", leaf_key, now), ("expired.pem", leaf_key, past),
                             ("other.pem", other_key, now)):
        leaf = certificate("test signer", key, "test intermediate", middle_key, years, False)
        write(file, leaf.public_bytes(pem))
    write("leaf.key", leaf_key.private_bytes(pem, serialization.PrivateFormat.PKCS8,
                                             serialization.NoEncryption()))


if __name__ == "__main__":
    main()
