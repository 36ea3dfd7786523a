#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Changes of a catalogue for fuzz_catalogue_file: make_catalogue_corpus.py FOLDER

Each file is a list of changes: where (three bytes, little-endian), how many bytes less one,
and those. Pages have 1 KiB; the first has the header of an SQLite file and the schema.
"""
import os
import sys

PAGE = 1024
CHANGES = {
    "none": [],
    "page-size": [(16, b"\x02\x00")],
    "reserved": [(20, b"\xff")],
    "write-ahead": [(18, b"\x02\x02")],
    "page-count": [(28, b"\x00\x00\x00\x01")],
    "free-list": [(32, b"\x00\x00\x00\x03\x00\x00\x00\x50")],
    "schema-format": [(44, b"\x00\x00\x00\x09")],
    "encoding": [(56, b"\x00\x00\x00\x02")],
    "user-version": [(60, b"\x00\x00\x00\x04")],
    "application": [(68, b"\x00\x00\x00\x00")],
    "schema-tree": [(100, b"\x0d")],
    "cells": [(103, b"\xff\xff")],
    "content-start": [(105, b"\x00\x01")],
    "freeblocks": [(101, b"\x03\xf0")],
}
for page in (1, 2, 3, 4, 5, 6, 8, 12, 20, 40):
    CHANGES[f"tree-{page}"] = [(page * PAGE, b"\x05\x00\x00\xff")]
    CHANGES[f"cell-{page}"] = [(page * PAGE + PAGE - 8, b"\xff" * 6)]
    CHANGES[f"chain-{page}"] = [(page * PAGE, (page + 1).to_bytes(4, "big"))]


def main(folder):
    for name, changes in CHANGES.items():
        with open(os.path.join(folder, name), "wb") as f:
            for at, new in changes:
                f.write(at.to_bytes(3, "little") + bytes([len(new) - 1]) + new)


if __name__ == "__main__":
    main(sys.argv[1])
