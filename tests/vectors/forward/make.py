#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Make the vectors beside this file: tiny random models in bfloat16 and what transformers
answers in float64 (its inner casts to float32 turned into float64 too).

    make.py [OUT]

expected.txt: tokens, encoder tokens or "-", then one line of logits per token.
Made with transformers 5.24.0 and torch 2.15.0.
"""
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "..", "interop"))
import forward_cases as cases
import test_forward
import torch

# folder -> case, number of tokens, number of encoder tokens
VECTORS = {"llama": ("llama-llama3", 12, 0), "mixtral": ("mixtral", 12, 0),
           "gemma2": ("gemma2", 12, 0), "t5": ("t5", 9, 14)}


@torch.no_grad()
def make(out, case, n, n_encoder):
    cases.STORED = torch.bfloat16
    os.makedirs(out, exist_ok=True)
    cases.build(case, out, torch.bfloat16)
    for extra in ("generation_config.json",):
        if os.path.exists(os.path.join(out, extra)):
            os.remove(os.path.join(out, extra))
    x = cases.tokens(n, 11)
    encoder = cases.tokens(n_encoder, 12) if n_encoder else None
    model = cases.load(case, out)
    with test_forward.casts("float64"):
        model = cases.again(model)
        if n_encoder:
            logits = model(input_ids=encoder, decoder_input_ids=x).logits[0]
        else:
            logits = model(input_ids=x, use_cache=False).logits[0]
    with open(os.path.join(out, "expected.txt"), "w") as f:
        for tokens in (x, encoder):
            text = "-" if tokens is None else test_forward.ids(tokens)
            f.write(text.replace(",", " ") + "\n")
        for row in logits.tolist():
            f.write(" ".join("%.17g" % v for v in row) + "\n")


if __name__ == "__main__":
    for folder, args in VECTORS.items():
        make(os.path.join(sys.argv[1] if len(sys.argv) > 1 else HERE, folder), *args)
