#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""blocks.gguf and blocks.f32: random blocks of every type that is read, and what the gguf
package (0.19.0) makes of them.

    make.py FOLDER
"""
import os
import sys

import gguf
import numpy as np

TYPES = ["F32", "F16", "BF16", "Q8_0", "Q6_K", "Q5_K", "Q5_1", "Q5_0", "Q4_K", "Q4_1", "Q4_0",
         "Q3_K", "Q2_K", "IQ4_NL", "IQ4_XS", "TQ1_0", "TQ2_0", "MXFP4"]
# Bytes of a block that hold half-precision numbers: random ones would be NaN at times.
HALVES = {"Q8_0": [0], "Q6_K": [208], "Q5_K": [0, 2], "Q5_1": [0, 2], "Q5_0": [0],
          "Q4_K": [0, 2], "Q4_1": [0, 2], "Q4_0": [0], "Q3_K": [108], "Q2_K": [80, 82],
          "IQ4_NL": [0], "IQ4_XS": [0], "TQ1_0": [52], "TQ2_0": [64], "MXFP4": []}


def blocks(name, n, rng):
    """n random elements in rows of 256: raw bytes as the writer takes them."""
    kind = gguf.GGMLQuantizationType[name]
    per, size = gguf.GGML_QUANT_SIZES[kind]
    if name in ("F32", "F16"):
        return rng.normal(0, 1, (n // 256, 256)).astype(name.replace("F", "float"))
    if name == "BF16":
        return gguf.quants.quantize(rng.normal(0, 1, (n // 256, 256)).astype(np.float32), kind)
    raw = rng.integers(0, 256, (n // per, size), dtype=np.uint8)
    for at in HALVES[name]:
        scale = rng.normal(0, 0.05, n // per).astype(np.float16)
        raw[:, at:at + 2] = scale.view(np.uint8).reshape(-1, 2)
    if name == "MXFP4":  # exponents: the largest would be infinite
        raw[:, 0] = rng.integers(100, 140, n // per)
        raw[0, 0] = 0
        raw[1, 0] = 1
    return raw.reshape(n // 256, -1)


def write(path, n, seed):
    """The file, and all its tensors as float32 in one array."""
    rng = np.random.default_rng(seed)
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_head_count(2)
    writer.add_array("test.numbers", [1, 2, 3])
    writer.add_array("test.texts", ["a", "", "c"])
    floats = []
    for name in TYPES:
        kind = gguf.GGMLQuantizationType[name]
        raw = blocks(name, n, rng)
        floats.append(gguf.quants.dequantize(raw, kind).astype(np.float32).ravel())
        plain = name in ("F32", "F16")
        writer.add_tensor(name, raw, raw_dtype=None if plain else kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return np.concatenate(floats)


if __name__ == "__main__":
    write(os.path.join(sys.argv[1], "blocks.gguf"), 512, 1).tofile(
        os.path.join(sys.argv[1], "blocks.f32"))
