# SPDX-License-Identifier: Apache-2.0
"""Digest of the places that a trace samples in the bundled model, written from docs/trace.md
alone with the standard library: python3 trace_places.py ../amber/expert-rev"""
import hashlib
import json
import struct
import sys

COORDS, SAMPLES = 2048, 32


def randoms(tensor, index):
    block = 0
    while True:
        text = b"weightward/trace/place/v1\0" + tensor.encode() + b"\0"
        digest = hashlib.sha256(text + struct.pack("<QQ", index, block)).digest()
        yield from struct.unpack("<4Q", digest)
        block += 1


def main():
    with open(sys.argv[1] + "/model.safetensors", "rb") as f:
        header = json.loads(f.read(struct.unpack("<Q", f.read(8))[0]))
    header.pop("__metadata__", None)
    with open(sys.argv[1] + "/config.json", encoding="utf-8") as f:
        config = json.load(f)
    width, layers = config["hidden_size"], config["num_hidden_layers"]
    # The first tensor by name that shows a space: head or embedding for the stream.
    spaces = {"residual": (min("lm_head.weight", "model.embed_tokens.weight"), 1, width)}
    for layer in range(layers):
        value = f"model.layers.{layer}.self_attn.v_proj.weight"
        down = f"model.layers.{layer}.mlp.down_proj.weight"
        spaces[f"decoder.{layer}.self.value"] = (value, 0, header[value]["shape"][0])
        spaces[f"decoder.{layer}.mlp.neuron"] = (down, 1, config["intermediate_size"])
    spaces = [spaces[name] for name in sorted(spaces)]
    coords = [(tensor, axis, i) for tensor, axis, n in spaces for i in range(n)]
    n = min(COORDS, len(coords))
    digest = hashlib.sha256()
    for c in range(n):
        tensor, axis, index = coords[c * len(coords) // n]
        rows, cols = header[tensor]["shape"]
        digest.update(tensor.encode() + b"\0")
        draw = randoms(tensor, index)
        for _ in range(SAMPLES):
            rest = next(draw) % (cols if axis == 0 else rows)
            element = index * cols + rest if axis == 0 else rest * cols + index
            digest.update(struct.pack("<Q", element))
    print(n, digest.hexdigest())


main()
