#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Exports of a package in llama.cpp itself (the xllamacpp wheel).

    test_llama_cpp.py BUILD

An adapter with rank-stabilised scaling, ranks and alphas by pattern is packed and comes back as
GGUF, applied by llama.cpp to the base in float32, and as a model, converted to GGUF. The
log-probabilities that llama.cpp gives must be those of transformers with peft.
"""
import json
import os
import subprocess
import sys
import tempfile
import urllib.request

import real_server

AMBER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "vectors", "amber")
TEXTS = ("R:abcd=", "K:hello=ke", "free text")
BOUND = 3e-5    # of a log-probability: sums of float32 in another order


def make_adapter(base, folder):
    import peft
    import torch
    import transformers
    torch.manual_seed(5)
    model = transformers.AutoModelForCausalLM.from_pretrained(base)
    config = peft.LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "k_proj", "v_proj", "down_proj"],
                             use_rslora=True, rank_pattern={"v_proj": 6}, alpha_pattern={"q_proj": 5},
                             init_lora_weights=False)
    peft.get_peft_model(model, config).save_pretrained(folder)


def wanted(base, adapter, ids):
    """Log-probabilities of the next token by transformers, in float32."""
    import peft
    import torch
    import transformers
    model = transformers.AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    if adapter:
        model = peft.PeftModel.from_pretrained(model, adapter)
    with torch.no_grad():
        return [torch.log_softmax(model.eval()(torch.tensor([i])).logits[0, -1].double(), 0).tolist()
                for i in ids]


def said(port, text, scale):
    body = {"prompt": text, "n_predict": 1, "n_probs": 20, "temperature": 0}
    if scale is not None:
        body["lora"] = [{"id": 0, "scale": scale}]
    request = urllib.request.Request(f"http://127.0.0.1:{port}/completion", json.dumps(body).encode(),
                                     {"Content-Type": "application/json"})
    with urllib.request.urlopen(request) as reply:
        return {t["id"]: t["logprob"] for t in json.load(reply)["completion_probabilities"][0]["top_logprobs"]}


def farthest(port, scale, want):
    return max(abs(p - want[i][token]) for i, text in enumerate(TEXTS)
               for token, p in said(port, text, scale).items())


def main():
    program = os.path.join(os.path.abspath(sys.argv[1]), "weightward")
    base = os.path.join(AMBER, "base")
    with open(os.path.join(base, "tokenizer.json"), encoding="utf-8") as f:
        vocab = json.load(f)["model"]["vocab"]
    ids = [[1, *(vocab[c] for c in text)] for text in TEXTS]
    with tempfile.TemporaryDirectory() as work:
        def run(*args):
            subprocess.run([program, *args, "-q"], cwd=work, check=True)

        odd, out = os.path.join(work, "odd"), os.path.join(work, "model")
        make_adapter(base, odd)
        run("rmm", "pack", "p.pkg", f"odd={odd}", "--exact")
        run("rmm", "unpack", "p.pkg", "odd", "odd.gguf", "--form", "gguf", "--base", base)
        run("rmm", "unpack", "p.pkg", "odd", out, "--form", "model", "--base", base)
        plain, adapted, added = (wanted(*x, ids) for x in ((base, None), (base, odd), (out, None)))
        effect = max(abs(a - b) for x, y in zip(plain, adapted) for a, b in zip(x, y))
        assert effect > 0.1, effect
        with real_server.servers({"base": base, "model": out}, work,
                                 {"base": [os.path.join(work, "odd.gguf")]}) as ports:
            far = {"base": farthest(ports["base"], 0.0, plain),
                   "base with the GGUF adapter": farthest(ports["base"], 1.0, adapted),
                   "form model": farthest(ports["model"], None, added)}
        for what, distance in far.items():
            print(f"{what}: log-probabilities within {distance:.1e} of transformers and peft")
        print(f"the adapter moves them by up to {effect:.2f}")
        assert max(far.values()) < BOUND, far


main()
