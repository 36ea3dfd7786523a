#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Models with a tensor of more than 2^31 numbers, cheaply made.

    wide_models.py OUT              a base of one layer, 262208 words of 8192 numbers (4.6 GB)
    wide_models.py OUT BASE SEED    a sibling: each matrix changed by noise of sd 0.002

One random block of 64 MiB, rolled from piece to piece, is the whole model, so that making it
is bound by the disk.
"""
import json
import math
import os
import struct
import sys

import numpy as np

WORDS, WIDTH, FF, HEADS, KV_HEADS, HEAD = 262208, 8192, 1024, 64, 8, 128
BLOCK = 1 << 25
LAYER = "model.layers.0."
SHAPES = [
    {"model.embed_tokens.weight": (WORDS, WIDTH)},
    {LAYER + "input_layernorm.weight": (WIDTH,),
     LAYER + "post_attention_layernorm.weight": (WIDTH,),
     LAYER + "self_attn.q_proj.weight": (HEADS * HEAD, WIDTH),
     LAYER + "self_attn.k_proj.weight": (KV_HEADS * HEAD, WIDTH),
     LAYER + "self_attn.v_proj.weight": (KV_HEADS * HEAD, WIDTH),
     LAYER + "self_attn.o_proj.weight": (WIDTH, HEADS * HEAD),
     LAYER + "mlp.gate_proj.weight": (FF, WIDTH), LAYER + "mlp.up_proj.weight": (FF, WIDTH),
     LAYER + "mlp.down_proj.weight": (WIDTH, FF), "model.norm.weight": (WIDTH,)},
]
CONFIG = dict(architectures=["LlamaForCausalLM"], model_type="llama", hidden_size=WIDTH,
              intermediate_size=FF, num_attention_heads=HEADS, num_key_value_heads=KV_HEADS,
              head_dim=HEAD, num_hidden_layers=1, vocab_size=WORDS, tie_word_embeddings=True,
              rms_norm_eps=1e-5, hidden_act="silu", rope_theta=500000.0)


def to_bf16(x):
    bits = np.ascontiguousarray(x, dtype=np.float32).view(np.uint32)
    return ((bits + 0x7fff + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def to_float(bits):
    return (bits.astype(np.uint32) << 16).view(np.float32)


def write_tensor(f, base, name, shape, block):
    left, turn = math.prod(shape), sum(map(ord, name)) * 7919 % BLOCK
    while left:
        n = min(BLOCK, left)
        x = np.roll(block, turn)[:n]
        if base:
            old = to_float(np.frombuffer(base.read(2 * n), np.uint16))
            x = old + x if len(shape) > 1 else old
        elif len(shape) == 1:
            x = 1 + x
        f.write(to_bf16(x).tobytes())
        left, turn = left - n, (turn + 104729 * 8191) % BLOCK


def write_shard(path, base, shapes, block):
    head, at = {}, 0
    for name, shape in shapes.items():
        end = at + 2 * math.prod(shape)
        head[name] = dict(dtype="BF16", shape=list(shape), data_offsets=[at, end])
        at = end
    text = json.dumps(head).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        if base:
            base.seek(f.tell())
        for name, shape in shapes.items():
            write_tensor(f, base, name, shape, block)
    return at


def main(out, base=None, seed="0"):
    os.makedirs(out)
    with open(os.path.join(out, "config.json"), "w") as f:
        json.dump(CONFIG, f)
    block = np.random.default_rng(1000 + int(seed)).standard_normal(BLOCK, dtype=np.float32)
    block *= 0.002 if base else 0.02
    names, total = {}, 0
    for i, shapes in enumerate(SHAPES):
        file = f"model-{i + 1:05}-of-{len(SHAPES):05}.safetensors"
        old = open(os.path.join(base, file), "rb") if base else None
        total += write_shard(os.path.join(out, file), old, shapes, block)
        names.update({name: file for name in shapes})
    with open(os.path.join(out, "model.safetensors.index.json"), "w") as f:
        json.dump(dict(metadata=dict(total_size=total), weight_map=names), f)


if __name__ == "__main__":
    main(*sys.argv[1:])
