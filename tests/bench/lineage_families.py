# SPDX-License-Identifier: Apache-2.0
"""Families and disguises of lineage_random.py.

A made-up family is a base and six relatives of an architecture of transformers: heavy tails,
rows and columns of different size (tests/interop/llama_quants.py), changes of 1, 2 or 5 % that
are part noise, part of low rank and part decay; two of them share half of their changes. A
disguise takes a folder and gives a folder or a file; each is for the shapes that it knows.
"""
import json
import os
import shutil
import subprocess
import sys

import torch
from safetensors.torch import load_file, save_file

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "interop"))
import llama_quants  # noqa: E402
from lineage_suspects import noise, trained  # noqa: E402
import test_lineage_disguise as plain  # noqa: E402

WORDS = 320
WIDE = dict(vocab_size=WORDS, hidden_size=256, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2,
            intermediate_size=512, max_position_embeddings=64, head_dim=64, pad_token_id=0, bos_token_id=1, eos_token_id=2)
NARROW = {**WIDE, "hidden_size": 128, "intermediate_size": 256, "head_dim": 32, "num_hidden_layers": 4}
MADE = {
    "llama": ("Llama", {**WIDE, "tie_word_embeddings": False}),
    "qwen2": ("Qwen2", {**{k: v for k, v in WIDE.items() if k != "head_dim"}, "tie_word_embeddings": True}),
    "gemma2": ("Gemma2", {**NARROW, "query_pre_attn_scalar": 32, "sliding_window": 8}),
    "mixtral": ("Mixtral", {**NARROW, "num_local_experts": 4, "num_experts_per_tok": 2, "intermediate_size": 128}),
    "gpt2": ("GPT2", dict(vocab_size=WORDS, n_embd=128, n_layer=4, n_head=4, n_positions=64, bos_token_id=1, eos_token_id=2)),
}
SIZES = (0.01, 0.02, 0.02, 0.05, 0.02, 0.05)
EMBEDDING, LAST = "model.embed_tokens.weight", "lm_head.weight"


def weights(folder):
    files = sorted(f for f in os.listdir(folder) if f.endswith(".safetensors"))
    return {k: v for f in files for k, v in load_file(os.path.join(folder, f)).items()}


def folder(path, tensors, like):
    os.makedirs(path)
    save_file({k: v.contiguous() for k, v in tensors.items()}, os.path.join(path, "model.safetensors"), {"format": "pt"})
    for f in os.listdir(like):
        if f.endswith(".json") and "index" not in f:
            shutil.copy(os.path.join(like, f), path)
    return path


def make_up(name, out):
    """base and t0 to t5 under out, unless they lie there."""
    if os.path.exists(os.path.join(out, "t5")):
        return out
    import transformers as tf
    prefix, sizes = MADE[name]
    g = torch.Generator().manual_seed(sum(name.encode()))
    torch.manual_seed(1)
    cls = getattr(tf, prefix + ("LMHeadModel" if name == "gpt2" else "ForCausalLM"))
    shutil.rmtree(out, ignore_errors=True)
    shapes = os.path.join(out, "shapes")
    cls(getattr(tf, prefix + "Config")(**sizes)).to(torch.bfloat16).save_pretrained(shapes)
    base = {}
    for k, v in weights(shapes).items():
        norm = v.ndim == 1 and k.endswith("weight")
        base[k] = (0.04 * llama_quants.uneven(v.shape, g) if v.ndim > 1
                   else (name != "gemma2") * norm + 0.1 * torch.randn(v.shape, generator=g)).bfloat16()
    folder(os.path.join(out, "base"), base, shapes)
    shared = llama_quants.make_delta(base, g, 0.02 * 0.5 ** 0.5, 0)
    for i, size in enumerate(SIZES):
        delta = llama_quants.make_delta(base, g, size * (0.5 ** 0.5 if i in (1, 2) else 1), 0.1 * size * (i % 2))
        folder(os.path.join(out, f"part-{i}"),
               {k: (v.double() + delta[k] + (shared[k] if i in (1, 2) else 0)).bfloat16() for k, v in base.items()}, shapes)
        os.rename(os.path.join(out, f"part-{i}"), os.path.join(out, f"t{i}"))
    return out


def prune(v, base, part, g):
    if v.ndim < 2:
        return v
    return torch.where(v.abs() < v.abs().flatten().kthvalue(max(1, int(part * v.numel()))).values, torch.zeros_like(v), v)


def apart(path):
    """Experts as models are published: mergekit writes those of a layer as one tensor."""
    t = weights(path)
    if not any("experts.gate_up_proj" in k for k in t):
        return path
    out = {}
    for k, v in t.items():
        at = k.replace(".mlp.", ".block_sparse_moe.").rsplit(".", 1)[0]
        if k.endswith("experts.gate_up_proj"):
            for i, (w1, w3) in enumerate(x.chunk(2) for x in v):
                out |= {f"{at}.{i}.w1.weight": w1, f"{at}.{i}.w3.weight": w3}
        elif k.endswith("experts.down_proj"):
            out |= {f"{at}.{i}.w2.weight": x for i, x in enumerate(v)}
        else:
            out[k.replace(".mlp.gate.", ".block_sparse_moe.gate.")] = v
    return folder(path + "-apart", out, path) if not os.path.exists(path + "-apart") else path + "-apart"


def more_words(tensors, g):
    return {k: torch.cat([v, 0.05 * torch.randn(9, v.shape[1], generator=g).to(v.dtype)]) if k in (EMBEDDING, LAST) else v
            for k, v in tensors.items()}


def with_words(path):
    """config.json tells the rows that its tables have: other words refuse a model that does not."""
    config = os.path.join(path, "config.json")
    with open(config, encoding="utf-8") as f:
        held = json.load(f)
    held["vocab_size"] = weights(path)[EMBEDDING].shape[0]
    with open(config, "w", encoding="utf-8") as f:
        json.dump(held, f, indent=1)
    return path


def reorder(out, g, reading, writing, n):
    order = torch.randperm(n, generator=g)
    for name in reading:
        out[name] = out[name][order]
    for name in writing:
        out[name] = out[name][:, order]


def permuted(tensors, g):
    """Neurons in another order, and KV groups with their query heads, biases included."""
    out = dict(tensors)
    for name in [k for k in tensors if k.endswith(("gate_proj.weight", ".w1.weight"))]:
        stem, new = name.rsplit(".", 2)[0], ".w1." in name
        up, down = (f"{stem}.w3.weight", f"{stem}.w2.weight") if new else (f"{stem}.up_proj.weight", f"{stem}.down_proj.weight")
        reorder(out, g, (name, up), (down,), tensors[name].shape[0])
    for name in [k for k in tensors if k.endswith("q_proj.weight")]:
        at = name.removesuffix("q_proj.weight")
        for part in "qkv":
            for end in ("weight", "bias"):
                v = tensors.get(f"{at}{part}_proj.{end}")
                if v is not None:
                    out[f"{at}{part}_proj.{end}"] = v.unflatten(0, (2, -1)).flip(0).flatten(0, 1)
        o = tensors[f"{at}o_proj.weight"]
        out[f"{at}o_proj.weight"] = o.reshape(o.shape[0], 2, -1).flip(1).reshape(o.shape)
    return out


def signed_stream(tensors, g):
    """A signed permutation of the residual stream: what RMSNorm allows."""
    width = tensors[EMBEDDING].shape[1]
    order = torch.randperm(width, generator=g)
    sign = (2 * torch.randint(0, 2, (width,), generator=g) - 1).to(tensors[EMBEDDING].dtype)
    out = {}
    for name, v in tensors.items():
        if name.endswith(".bias"):
            out[name] = v
        elif v.ndim == 1:
            out[name] = v[order]
        elif name.endswith(("o_proj.weight", "down_proj.weight", "w2.weight")):
            out[name] = v[order] * sign[:, None]
        else:
            out[name] = v[:, order] * sign
    return out


def sharded(tensors, path, like):
    os.makedirs(path)
    names, where = sorted(tensors), {}
    for i in range(3):
        file = f"model-0000{i + 1}-of-00003.safetensors"
        save_file({k: tensors[k].contiguous() for k in names[i::3]}, os.path.join(path, file), {"format": "pt"})
        where.update({k: file for k in names[i::3]})
    with open(os.path.join(path, "model.safetensors.index.json"), "w", encoding="utf-8") as f:
        json.dump({"metadata": {}, "weight_map": where}, f)
    shutil.copy(os.path.join(like, "config.json"), path)
    return path


class Disguises:
    """Each call of apply writes OUT from FOLDER; refused where it does not fit the family."""

    def __init__(self, build, base):
        self.build, self.base, self.lib = build, base, llama_quants.library()
        self.base_weights = {k: v.float() for k, v in weights(base).items()}

    def changed(self, how, source, out, part, g):
        t = weights(source)
        new = {k: how(v.float(), self.base_weights[k], part, g).to(v.dtype) if k in self.base_weights
               and v.shape == self.base_weights[k].shape else v for k, v in t.items()}
        return folder(out, new, source)

    def lock(self, source, out, level):
        key = out + ".key"
        shutil.copyfile(os.path.join(plain.FAMILY, "../lock/disguise.key"), key)
        os.chmod(key, 0o600)
        subprocess.run([os.path.join(self.build, "weightward"), "lock", source, out, "--key", key, "--level", level, "-q"],
                       check=True, capture_output=True)
        return out

    def apply(self, kind, source, out, g):
        name, _, of = kind.partition(" ")
        t = weights(source)
        if name == "noise":
            return self.changed(noise, source, out, float(of), g)
        if name == "trained":
            return self.changed(trained, source, out, float(of), g)
        if name == "pruned":
            return self.changed(prune, source, out, float(of), g)
        if name == "cast":
            return folder(out, {k: v.to(getattr(torch, of)) for k, v in t.items()}, source)
        if name == "words":
            return with_words(folder(out, more_words(t, g), source))
        if name == "permuted":
            return folder(out, permuted(t, g), source)
        if name == "stream":
            return folder(out, signed_stream(t, g), source)
        if name == "lock":
            return self.lock(source, out, of)
        if name == "shards":
            return sharded(t, out, source)
        if name == "eight":
            return folder(out, plain.eight_bit(t, of), source)
        assert name == "gguf", kind
        architecture = "qwen2" if any(k.endswith("q_proj.bias") for k in t) else "llama"
        return llama_quants.write_gguf(self.lib, out + ".gguf", t, of, architecture=architecture)
