#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Suspects in disguise: quantised, locked, cast, pruned, trained on, extended, cut.

    test_lineage_disguise.py BUILD

The merge is 0.6 and 0.25 of two trained experts (tests/vectors/amber), rounded to bf16, and
then disguised. A third candidate, that went nowhere, has task vectors of the size of the
first one's. Shares must be right within a bound for each disguise, the third share at most
0.02, and each interval must hold the truth where the bound is one of sampling. GGUF files
are written by the gguf package; its quantisers end at Q5_1, so the K formats have plain
ones here. Those of llama.cpp itself, which search their scales, are tried on a wider family
(llama_quants.py). Eight-bit layouts are those of transformers, compressed-tensors and
bitsandbytes.
"""
import json
import os
import shutil
import subprocess
import sys
import tempfile

import gguf
import numpy as np
import torch
from safetensors.torch import load_file, save_file

import llama_quants

HERE = os.path.dirname(os.path.abspath(__file__))
FAMILY = os.path.join(HERE, "..", "vectors", "amber")
TRUTH = (0.6, 0.25, 0.0)
DECOY = 0.02
TOPS = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}
PARTS = {"input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm",
         "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k",
         "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
         "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down"}
HEADS, KV_HEADS = 4, 2


def run(*args):
    done = subprocess.run(args, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if done.returncode:
        raise RuntimeError(f"{' '.join(args)}: {done.stderr.strip()}")
    return done.stdout


def weights(folder):
    return load_file(os.path.join(folder, "model.safetensors"))


def folder(path, tensors, words=100, **config):
    os.makedirs(path)
    with open(os.path.join(FAMILY, "base", "config.json"), encoding="ascii") as f:
        config = {**json.load(f), "vocab_size": words, **config}
    with open(os.path.join(path, "config.json"), "w", encoding="ascii") as f:
        json.dump(config, f)
    save_file({k: v.contiguous() for k, v in tensors.items()},
              os.path.join(path, "model.safetensors"), {"format": "pt"})
    return path


# Plain quantisers of the K formats: per run of 32 (16) the range, per block the largest of
# the scales; no search.
def k_quants(kind, v):
    low_bits = {"Q4_K": 15, "Q5_K": 31}
    x = v.reshape(-1, 256).astype(np.float64)
    n = len(x)
    if kind == "Q6_K":
        runs = x.reshape(n, 16, 16)
        scale = np.abs(runs).max(2) / 31
        d = np.maximum(scale.max(1) / 127, 1e-12).astype(np.float16)
        sc = np.clip(np.rint(scale / d.astype(np.float64)[:, None]), 0, 127)
        step = np.maximum(d.astype(np.float64)[:, None] * sc, 1e-12)[:, :, None]
        q = np.clip(np.rint(runs / step), -32, 31).astype(int).reshape(n, 256) + 32
        half = q.reshape(n, 2, 4, 32)
        ql = np.concatenate([(half[:, :, :2] & 15) | (half[:, :, 2:] & 15) << 4], 2)
        qh = sum((half[:, :, i] >> 4) << 2 * i for i in range(4))
        return np.concatenate([ql.reshape(n, 128), qh.reshape(n, 64), sc.reshape(n, 16),
                               d.view(np.uint8).reshape(n, 2)], 1).astype(np.uint8)
    runs = x.reshape(n, 8, 32)
    least = np.maximum(-runs.min(2), 0)
    scale = (runs.max(2) + least) / low_bits[kind]
    d = np.maximum(scale.max(1) / 63, 1e-12).astype(np.float16)
    dmin = np.maximum(least.max(1) / 63, 1e-12).astype(np.float16)
    sc = np.clip(np.rint(scale / d.astype(np.float64)[:, None]), 0, 63).astype(int)
    mn = np.clip(np.rint(least / dmin.astype(np.float64)[:, None]), 0, 63).astype(int)
    step = np.maximum(d.astype(np.float64)[:, None] * sc, 1e-12)[:, :, None]
    off = (dmin.astype(np.float64)[:, None] * mn)[:, :, None]
    q = np.clip(np.rint((runs + off) / step), 0, low_bits[kind]).astype(int)
    packed = np.zeros((n, 12), int)
    packed[:, :4] = sc[:, :4] | (sc[:, 4:] >> 4) << 6
    packed[:, 4:8] = mn[:, :4] | (mn[:, 4:] >> 4) << 6
    packed[:, 8:] = (sc[:, 4:] & 15) | (mn[:, 4:] & 15) << 4
    pairs = q.reshape(n, 4, 2, 32)
    parts = [d.view(np.uint8).reshape(n, 2), dmin.view(np.uint8).reshape(n, 2), packed]
    if kind == "Q5_K":
        parts.append(sum((q[:, j] >> 4) << j for j in range(8)))
    parts.append(((pairs[:, :, 0] & 15) | (pairs[:, :, 1] & 15) << 4).reshape(n, 128))
    return np.concatenate(parts, 1).astype(np.uint8)


def quantise(kind, fallback, v):
    """Raw blocks of a matrix, in the fallback where its rows are no whole super-blocks."""
    if v.shape[1] % gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[kind]][0]:
        kind = fallback
    number = gguf.GGMLQuantizationType[kind]
    if kind.endswith("_K"):
        raw = k_quants(kind, v).reshape(v.shape[0], -1)
        # A wrong packing would be far off.
        assert np.abs(gguf.quants.dequantize(raw, number) - v).max() < 0.2 * np.abs(v).max()
        return raw, number
    return gguf.quants.quantize(v, number), number


def half_turns(v, heads):
    """Rows as the converter for rotary embeddings of neighbours puts them."""
    return v.reshape(heads, 2, v.shape[0] // heads // 2, *v.shape[1:]).swapaxes(1, 2).reshape(
        v.shape)


def write_gguf(path, tensors, kind, fallback=None):
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    for name, v in tensors.items():
        v = v.float().numpy()
        stem, end = name.rsplit(".", 1)
        if stem in TOPS:
            stem = TOPS[stem]
        else:
            layer, part = stem.removeprefix("model.layers.").split(".", 1)
            v = half_turns(v, HEADS) if part.endswith("q_proj") else v
            v = half_turns(v, KV_HEADS) if part.endswith("k_proj") else v
            stem = f"blk.{layer}.{PARTS[part]}"
        if v.ndim == 1 or kind == "F32":
            writer.add_tensor(f"{stem}.{end}", v)
        else:
            raw, number = quantise(kind, fallback, v)
            writer.add_tensor(f"{stem}.{end}", raw, raw_dtype=number)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def eight_bit(tensors, how):
    out = {}
    for name, v in tensors.items():
        if v.ndim != 2 or "layers" not in name:
            out[name] = v
            continue
        v = v.float()
        rows = v.abs().amax(1, keepdim=True)
        if how == "fp8-rows":
            out[name + "_scale"] = rows / 448
            out[name[:-len("weight")] + "input_scale"] = torch.tensor(0.5)
            out[name] = (v / out[name + "_scale"]).to(torch.float8_e4m3fn)
        elif how == "fp8-tensor":
            out[name + "_scale"] = v.abs().max().reshape(1) / 57344
            out[name] = (v / out[name + "_scale"]).to(torch.float8_e5m2)
        elif how == "fp8-blocks":
            blocks = v.reshape(-(-v.shape[0] // 128), -1, v.shape[1] // 128, 128)
            scale = blocks.abs().amax((1, 3)) / 448
            out[name + "_scale_inv"] = scale
            out[name] = (blocks / scale[:, None, :, None]).reshape(v.shape).to(
                torch.float8_e4m3fn)
        elif how == "int8":
            out[name[:-len("weight")] + "SCB"] = rows[:, 0]
            out[name] = (v / rows * 127).round().to(torch.int8)
        elif how == "int8-zeros":
            low, high = v.amin(1, keepdim=True), v.amax(1, keepdim=True)
            scale = (high - low) / 255
            zero = (-128 - low / scale).round()
            out[name + "_scale"] = scale.bfloat16()
            out[name + "_zero_point"] = zero.to(torch.int8)
            out[name] = ((v / scale.bfloat16()).round() + zero).clamp(-128, 127).to(torch.int8)
        else:
            out[name] = v.to(torch.float8_e4m3fn)
    return out


def prune(v):
    return v if v.ndim < 2 else torch.where(v.abs().float() < v.abs().float().median(),
                                             torch.zeros_like(v), v)


def signed_stream(tensors, generator):
    """A signed permutation of the residual stream: what RMSNorm allows."""
    order = torch.randperm(128, generator=generator)
    sign = (2 * torch.randint(0, 2, (128,), generator=generator) - 1).bfloat16()
    out = {}
    for name, v in tensors.items():
        if v.ndim == 1:
            out[name] = v[order]
        elif any(p in name for p in ("o_proj", "down_proj")):
            out[name] = v[order] * sign[:, None]
        else:
            out[name] = v[:, order] * sign
    return out


def rotated(tensors, generator):
    """A dense rotation of the residual stream, the gains of norms folded into what reads it."""
    turn = torch.linalg.qr(torch.randn(128, 128, generator=generator, dtype=torch.float64))[0]
    out = {}
    for name, v in tensors.items():
        at, part = name.rsplit(".", 3)[0], name.split(".")[-2]
        norm = {"lm_head": "model.norm.weight", "gate_proj": at + ".post_attention_layernorm.weight",
                "up_proj": at + ".post_attention_layernorm.weight", "q_proj": at + ".input_layernorm.weight",
                "k_proj": at + ".input_layernorm.weight", "v_proj": at + ".input_layernorm.weight"}.get(part)
        w = v.double() * tensors[norm].double() if norm else v.double()
        out[name] = torch.ones_like(v) if v.ndim == 1 else \
            (turn @ w if part in ("o_proj", "down_proj") else w @ turn.T).to(v.dtype)
    return out


def regained(tensors, generator, length):
    """Each gain times a number of its own, what reads it divided by it; the stream as many times as long."""
    by = {k: torch.exp(0.5 * torch.randn(128, generator=generator, dtype=torch.float64))
          for k, v in tensors.items() if v.ndim == 1}
    out = {}
    for name, v in tensors.items():
        at, part = name.rsplit(".", 3)[0], name.split(".")[-2]
        norm = {"lm_head": "model.norm", "gate_proj": at + ".post_attention_layernorm",
                "up_proj": at + ".post_attention_layernorm", "q_proj": at + ".input_layernorm",
                "k_proj": at + ".input_layernorm", "v_proj": at + ".input_layernorm"}.get(part)
        w = v.double() * by[name] if v.ndim == 1 else \
            v.double() / by[norm + ".weight"] if norm else v.double() * length
        out[name] = w.to(v.dtype)
    return out


def scaled(tensors, generator):
    """Neurons scaled up in front and down behind, by any factors."""
    out = dict(tensors)
    for layer in range(4):
        by = torch.exp(0.7 * torch.randn(256, generator=generator, dtype=torch.float64))
        for part, factor in (("up_proj", by[:, None]), ("down_proj", 1 / by)):
            name = f"model.layers.{layer}.mlp.{part}.weight"
            out[name] = (tensors[name].double() * factor).to(tensors[name].dtype)
    return out


def permuted(tensors, generator):
    """Neurons in another order, and KV groups with their query heads."""
    out = dict(tensors)
    for layer in range(4):
        order = torch.randperm(256, generator=generator)
        at = f"model.layers.{layer}."
        for part in ("mlp.gate_proj", "mlp.up_proj"):
            out[f"{at}{part}.weight"] = tensors[f"{at}{part}.weight"][order]
        out[f"{at}mlp.down_proj.weight"] = tensors[f"{at}mlp.down_proj.weight"][:, order]
        for part, heads in (("q", HEADS), ("k", KV_HEADS), ("v", KV_HEADS)):
            name = f"{at}self_attn.{part}_proj.weight"
            out[name] = tensors[name].reshape(2, -1, 128).flip(0).reshape(-1, 128)
        name = f"{at}self_attn.o_proj.weight"
        out[name] = tensors[name].reshape(128, 2, -1).flip(1).reshape(128, -1)
    return out


def stacked(tensors, kept):
    out = {k: v for k, v in tensors.items() if ".layers." not in k}
    for to, layer in enumerate(kept):
        at = f".layers.{layer}."
        out.update({k.replace(at, f".layers.{to}."): v.clone() for k, v in tensors.items() if at in k})
    return out, {}


def fused(tensors):
    """The same model as phi3 stores it."""
    out = {k: v for k, v in tensors.items() if k.split(".")[-2] not in ("q_proj", "k_proj", "v_proj", "gate_proj", "up_proj")}
    for layer in range(4):
        at = f"model.layers.{layer}."
        out[at + "self_attn.qkv_proj.weight"] = torch.cat([tensors[f"{at}self_attn.{p}_proj.weight"] for p in "qkv"])
        out[at + "mlp.gate_up_proj.weight"] = torch.cat([tensors[f"{at}mlp.{p}_proj.weight"] for p in ("gate", "up")])
    return out, {"model_type": "phi3", "architectures": ["Phi3ForCausalLM"]}


def disguises(tool, merged, exact, first, work):
    """(name, path, bound, whether intervals hold the truth, words of the disguise)"""
    g = torch.Generator().manual_seed(5)
    at = lambda name: os.path.join(work, name)
    plain = folder(at("plain"), merged)
    # Always the same: of intervals of 95 % some would not hold, run by run.
    key = at("key")
    shutil.copyfile(os.path.join(FAMILY, "../lock/disguise.key"), key)
    os.chmod(key, 0o600)
    yield "plain", plain, 1e-4, True, None
    for kind, fallback, bound in (("F32", None, 1e-4), ("F16", None, 1e-4), ("BF16", None, 1e-4),
                                  ("Q8_0", None, 0.02), ("Q6_K", "Q8_0", 0.02),
                                  ("Q5_K", "Q5_0", 0.05), ("Q5_1", None, 0.05),
                                  ("Q4_K", "Q4_0", 0.05), ("Q4_1", None, 0.05)):
        yield (kind, write_gguf(at(f"{kind}.gguf"), merged, kind, fallback), bound, True,
               f"a GGUF file of {fallback if kind.endswith('_K') else kind}")
    for how in ("fp8-rows", "fp8-tensor", "fp8-blocks", "fp8-bare", "int8", "int8-zeros"):
        yield how, folder(at(how), eight_bit(merged, how)), 0.02, True, "eight-bit weights, decoded"
    for lock, words in (("exact", "a lock"), ("dense", "mixed by dense matrices")):
        out = at("lock-" + lock)
        run(tool, "lock", plain, out, "--key", key, "--level", lock, "-q")
        yield "lock " + lock, out, 1e-4, True, words
    # Scales of a lock make some columns too short for the blocks that they are rounded in.
    locked = weights(at("lock-exact"))
    words = ", decoded, and a lock"
    for kind, bound in (("Q8_0", 0.02), ("Q4_0", 0.05)):
        yield (kind + " of a lock", write_gguf(at(f"locked-{kind}.gguf"), locked, kind), bound, True,
               words)
    for how in ("int8", "fp8-blocks"):
        yield (how + " of a lock", folder(at("locked-" + how), eight_bit(locked, how)), 0.02, True,
               "decoded with their scales, and a lock")
    yield ("signed stream", folder(at("stream"), signed_stream(merged, g)), 1e-4, True,
           "residual dimensions moved, ")
    # A rotation takes up a part of what rounding to bf16 did before it: of a third decimal.
    words = "a rotated residual stream, turned back"
    yield "rotated stream", folder(at("rotated"), rotated(merged, g)), 0.01, True, words
    yield "rotated stream, float32", folder(at("rotated32"), rotated(exact, g)), 1e-3, True, words
    yield ("permuted", folder(at("permuted"), permuted(merged, g)), 1e-4, True, "heads moved")
    yield "float32", folder(at("f32"), exact), 1e-4, True, None
    cast = {k: v.float() for k, v in merged.items()}
    yield "cast to float32", folder(at("cast"), cast), 1e-4, True, None
    yield "float16", folder(at("f16"), {k: v.half() for k, v in exact.items()}), 1e-4, True, None
    noisy = {k: (v + 0.1 * first[k].std() * torch.randn(v.shape, generator=g)).bfloat16()
             for k, v in exact.items()}
    yield "noise", folder(at("noise"), noisy), 0.005, True, None
    loud = {k: (v + first[k].std() * torch.randn(v.shape, generator=g)).bfloat16() for k, v in exact.items()}
    # One draw of much noise: of intervals of 95 % one in twenty does not hold.
    yield "noise as long as a source", folder(at("loud"), loud), 0.02, False, None
    inner = {k.replace("model.", "model.language_model."): v for k, v in merged.items()}
    inner["model.visual.weight"] = torch.zeros(4, 4).bfloat16()
    yield "inside of a larger model", folder(at("inner"), inner), 1e-4, True, None
    further = {k: v.bfloat16() if v.ndim == 1 else
               (v + 0.15 * first[k].std() * torch.randn(v.shape[0], 4, generator=g)
                @ torch.randn(4, v.shape[1], generator=g)).bfloat16() for k, v in exact.items()}
    yield "further training", folder(at("further"), further), 0.02, True, None
    yield ("pruned to half", folder(at("pruned"), {k: prune(v) for k, v in merged.items()}),
           0.005, True, None)
    tables = ("model.embed_tokens.weight", "lm_head.weight")
    more = {k: torch.cat([v, 0.05 * torch.randn(7, 128, generator=g).bfloat16()])
            if k in tables else v for k, v in merged.items()}
    yield "more words", folder(at("words"), more), 1e-4, True, None
    run(tool, "lock", folder(at("words-open"), more, 107), at("lock-words"), "--key", key, "-q")
    yield "lock of more words", at("lock-words"), 1e-4, True, "14 rows of tables that the base lacks"
    yield ("Q8_0 of a lock of more words", write_gguf(at("locked-words.gguf"), weights(at("lock-words")), "Q8_0"),
           0.02, True, "without 14 rows of tables that the base lacks")
    # A stack, and a llama stored as a phi3: the lock is found in the base's own shape.
    for name, change, layers, words in (("stack", lambda t: stacked(t, (0, 2, 2, 3, 1)), 5, "a lock, undone"),
                                        ("fused", fused, 4, "20 matrices that are fused or apart in the base")):
        tensors, config = change(merged)
        source = folder(at(name), tensors, num_hidden_layers=layers, **config)
        run(tool, "lock", source, at("lock-" + name), "--key", key, "-q")
        yield f"lock of a {name} model", at("lock-" + name), 1e-4, True, words
    # Norms do not notice factors between gains and matrices, nor a longer stream.
    source = folder(at("gains"), regained(merged, g, 1.7))
    words = "gains of norms folded, the stream at its length"
    yield "gains and a longer stream", source, 0.01, True, words
    run(tool, "lock", source, at("lock-gains"), "--key", key, "-q")
    yield "lock of gains and a longer stream", at("lock-gains"), 0.01, True, words + ", and a lock"
    yield "int8 of these", folder(at("gains-int8"), eight_bit(weights(source), "int8")), 0.01, True, words
    g2 = torch.Generator().manual_seed(6)
    yield "scaled neurons", folder(at("neurons"), scaled(merged, g2)), 1e-3, True, "neurons of 4 layers scaled back"
    # A lock under a rotation, words in another order, noise: none of it hides heads and neurons.
    yield ("rotated stream of a lock", folder(at("rotated-lock"), rotated(locked, g2)), 0.01, True,
           "turned back by the models that it is compared with, and a lock")
    yield ("int8 of that", folder(at("rotated-lock-int8"), eight_bit(weights(at("rotated-lock")), "int8")), 0.01, True,
           "models that it is compared with, and a lock")
    order = torch.randperm(merged[tables[0]].shape[0], generator=g2)
    yield ("words of a lock in another order", folder(at("order-lock"), {k: v[order] if k in tables else v
                                                                        for k, v in locked.items()}), 1e-4, True, "a lock")
    noisy = {k: v if v.ndim == 1 else (v.double() + 0.002 * v.double().std() * torch.randn(v.shape, generator=g2)).bfloat16()
             for k, v in locked.items()}
    yield "noise on a lock", folder(at("noisy-lock"), noisy), 0.005, True, "what was added after it weighed by its factors"
    yield ("Q8_0 of that noise", write_gguf(at("noisy-lock.gguf"), noisy, "Q8_0"), 0.005, True,
           "what was added after it weighed by its factors")
    pruned = {k: v if v.ndim == 1 else prune(v) for k, v in locked.items()}
    yield "a lock pruned to half", folder(at("pruned-lock"), pruned), 1e-3, True, "a lock, undone by the base"
    # A gain that was changed alone, which is no disguise, and a lock of that is a lock alone.
    louder = {k: (1.2 * v.double()).to(v.dtype) if k == "model.layers.2.input_layernorm.weight" else v
              for k, v in merged.items()}
    source = folder(at("louder"), louder)
    yield "a louder gain", source, 1e-4, True, None
    run(tool, "lock", source, at("lock-louder"), "--key", key, "-q")
    yield "lock of a louder gain", at("lock-louder"), 1e-4, True, "a lock, undone by the base"
    # Scaled as a whole, which is no disguise.
    half = {k: (0.9 * v.double()).to(v.dtype) for k, v in merged.items()}
    yield "scaled", folder(at("scaled"), half), 1, False, None
    yield ("rotated, more words", folder(at("rotated-words"), rotated(more, g), 107), 0.01, True, "turned back")
    order = torch.randperm(merged[tables[0]].shape[0], generator=g2)
    shuffled = {k: v[order] if k in tables else v for k, v in merged.items()}
    yield ("rotated, words in another order", folder(at("rotated-order"), rotated(shuffled, g2)), 0.01, True, "turned back")
    order = torch.randperm(merged[tables[0]].shape[0] + 7, generator=g)
    yield ("words in another order", folder(at("order"), {k: v[order] if k in tables else v
                                                          for k, v in more.items()}), 1e-4, True, None)
    cut = {k.replace("layers.2", "layers.1").replace("layers.3", "layers.2"): v
           for k, v in merged.items() if "layers.1" not in k}
    yield ("a layer less, Q8_0", write_gguf(at("cut.gguf"), cut, "Q8_0"), 0.02, True, "GGUF")
    part = {k: v for k, v in merged.items() if "layers.2" not in k and k != "lm_head.weight"}
    yield "tensors missing", folder(at("missing"), part), 1e-4, True, None
    shards = at("shards")
    os.makedirs(shards)
    shutil.copy(os.path.join(FAMILY, "base", "config.json"), shards)
    names = sorted(merged)
    where = {}
    for i, half in enumerate((names[::2], names[1::2])):
        file = f"model-0000{i + 1}-of-00002.safetensors"
        save_file({k: merged[k] for k in half}, os.path.join(shards, file), {"format": "pt"})
        where.update({k: file for k in half})
    with open(os.path.join(shards, "model.safetensors.index.json"), "w") as f:
        json.dump({"metadata": {}, "weight_map": where}, f)
    yield "shards", shards, 1e-4, True, None


def decompose(tool, path, candidates):
    args = [a for c in candidates for a in ("--candidate", c)]
    return json.loads(run(tool, "lineage", "decompose", path, "--base",
                          os.path.join(FAMILY, "base"), *args, "--json", "-q"))


# Of these the first expert is also left out, and a relative of it given.
TWINS = ("Q8_0", "Q4_1", "fp8-tensor", "int8", "Q4_0 of a lock", "fp8-blocks of a lock", "scaled neurons", "rotated stream of a lock",
         "int8 of these", "int8 of that", "noise on a lock",
         "Q8_0 of that noise")


def check_twin(tool, case, candidates):
    """What a relative leaves of a source is seen under rounding."""
    said = decompose(tool, case[1], candidates)
    print(f"{case[0]}, a relative of a source: {said['unexplained']:.4f} unexplained")
    if not said["incomplete"] or not said["sources"][0]["included"] or "unseen" in said:
        return [f"{case[0]}: a relative of a source is called one, {said['unexplained']:.4f} unexplained"]
    return []


def check_report(tool, case, candidates, control, work):
    """A report says what rounding hides, beside the rank among controls as well."""
    args = [a for c in candidates for a in ("--candidate", c)]
    out = os.path.join(work, f"report of {case[0]}")
    run(tool, "lineage", "report", case[1], "--base", os.path.join(FAMILY, "base"), *args, "--control", control,
        "--out", out, "-q")
    with open(os.path.join(out, "report.json"), encoding="utf-8") as f:
        grounds = [f["basis"] for f in json.load(f)["findings"] if f["about"] == "source"]
    return [f"{case[0]}: a ground without what rounding hides: {g}" for g in grounds[:2]
            if "by rank among" not in g or "weights were rounded after the merge" not in g]


def check(tool, case, candidates):
    name, path, bound, holds, words = case
    said = decompose(tool, path, candidates)
    problems = []
    rounded = words and ("decoded" in words or "GGUF file of Q" in words)
    if rounded and (said["incomplete"] or said["unexplained"] > 0.005 or said["unseen"] != 0.01):
        problems.append(f"{name}: {said['unexplained']} unexplained, incomplete is {said['incomplete']}")
    for truth, source in zip(TRUTH, said["sources"]):
        low, high = source["interval"]
        limit = bound if truth else DECOY
        if abs(source["share"] - truth) > limit:
            problems.append(f"{name}: share {source['share']:.4f}, want {truth} within {limit}")
        # Bits that all agree leave an interval of no width.
        if holds and not low - 1e-5 <= truth <= high + 1e-5:
            problems.append(f"{name}: {truth} is not in {low:.4f} to {high:.4f}")
        if source["included"] != (truth > 0):
            problems.append(f"{name}: included is {source['included']}")
        if name == "lock dense":
            low, high = source["heads_interval"]
            if abs(source["heads_share"] - truth) > 0.02 or not low <= truth <= high:
                problems.append(f"{name}: heads {source['heads_share']:.4f}, {low:.4f} to "
                                f"{high:.4f}, want {truth}")
    if words is None and "disguise" in said or words and words not in said.get("disguise", ""):
        problems.append(f"{name}: disguise '{said.get('disguise')}', want '{words}'")
    print(f"{name}:", *(f"{s['share']:.4f}" for s in said["sources"]), said["method"]["best"])
    return problems


# Bounds of shares: Q4_K confirmed on the files, the others by sketches alone.
FOUND = {"Q8_0": 0.05, "Q4_K": 0.05, "fp8-blocks": 0.05, "int8": 0.05}


def check_find(tool, catalogue, case):
    """A quantised suspect among catalogued models: its bytes are nobody's, its weights are."""
    name, path = case[:2]
    said = json.loads(run(tool, "lineage", "find", catalogue, path, "--json", "-q",
                          *([] if name == "Q4_K" else ["--no-confirm"])))
    got = {m["name"]: m["share"] for m in said["matches"] if m["kind"] == "source"}
    want = {"expert-rev": TRUTH[0], "expert-caesar": TRUTH[1]}
    print(f"find {name}:", got, f"unexplained {said['unexplained']:.4f}")
    problems = []
    if said["root"] != "base" or got.keys() != want.keys():
        problems.append(f"find {name}: root {said['root']}, sources {got}")
    elif any(abs(got[k] - want[k]) > FOUND[name] for k in want) or said["unexplained"] > 0.1:
        problems.append(f"find {name}: {got}, unexplained {said['unexplained']}")
    if said["unexplained_by_files"] != (name == "Q4_K"):
        problems.append(f"find {name}: unexplained by files: {said['unexplained_by_files']}")
    if not said["disguise"]:
        problems.append(f"find {name}: no word of the disguise")
    return problems


def adapter(work, base):
    """A LoRA folder, and the model that it makes."""
    g = torch.Generator().manual_seed(9)
    out = os.path.join(work, "adapter")
    os.makedirs(out)
    factors, model = {}, dict(base)
    for layer in range(4):
        for part in ("self_attn.q_proj", "mlp.up_proj"):
            module = f"model.layers.{layer}.{part}"
            rows, columns = base[module + ".weight"].shape
            a = torch.randn(4, columns, generator=g) * 0.1
            b = torch.randn(rows, 4, generator=g) * 0.02
            factors[f"base_model.model.{module}.lora_A.weight"] = a
            factors[f"base_model.model.{module}.lora_B.weight"] = b
            model[module + ".weight"] = (base[module + ".weight"].double() +
                                         2 * b.double() @ a.double()).bfloat16()
    save_file(factors, os.path.join(out, "adapter_model.safetensors"), {"format": "pt"})
    with open(os.path.join(out, "adapter_config.json"), "w") as f:
        json.dump({"peft_type": "LORA", "r": 4, "lora_alpha": 8}, f)
    return out, folder(os.path.join(work, "adapted"), model)


def trimmed(delta, part):
    """The longest part of a task vector, as TIES keeps it."""
    cut = delta.abs().flatten().float().kthvalue(int((1 - part) * delta.numel()) + 1).values
    return torch.where(delta.abs() >= cut, delta, 0)


def dropped(delta, part):
    """Kept at random and made up for, as DARE does."""
    g = torch.Generator().manual_seed(delta.numel())
    return torch.where(torch.rand(delta.shape, generator=g) < part, delta / part, 0)


def selections(tool, base, experts, twin, work):
    """Rounded selections: no recipe can be compared. With all given elements are sums over the sources."""
    problems = []
    deltas = [{k: v.double() - base[k].double() for k, v in weights(e).items()} for e in experts]
    for kind, select in (("int8", trimmed), ("fp8-rows", dropped)):
        merged = {k: (v.double() + sum(w * select(d[k], 0.4) if v.ndim > 1 else w * d[k] for w, d in zip((0.7, 0.5), deltas))).bfloat16()
                  for k, v in base.items()}
        path = folder(os.path.join(work, "selected-" + kind), eight_bit(merged, kind))
        for name, given, part in (("all given", experts, False), ("one away", experts[:1], True),
                                  ("a twin of one", [twin, experts[1]], True)):
            said = json.loads(run(tool, "lineage", "decompose", path, "--base", os.path.join(FAMILY, "base"), "--json", "-q",
                                  *[x for c in given for x in ("--candidate", c)]))
            print(f"selected, {kind}, {name}:", f"{said['unexplained']:.3f}", "in part" if said["incomplete"] else "whole",
                  said["method"].get("parts"))
            if said["incomplete"] != part or said["unexplained"] < 0.05 or (said["method"].get("parts", 0) > 0.95) == part:
                problems.append(f"selected, {kind}, {name}: in part {said['incomplete']}, parts {said['method'].get('parts')}")
    return problems


def narrow(tool, base, expert, work):
    """A weight that was rounded to the dtype is told no closer than that."""
    w = torch.tensor(0.34).bfloat16()
    made = {k: base[k].bfloat16() + w * (v.bfloat16() - base[k].bfloat16()) for k, v in weights(expert).items()}
    said = decompose(tool, folder(os.path.join(work, "narrow"), made), [expert])
    low, high = said["sources"][0]["interval"]
    print(f"weight in BF16: {low:.4f} to {high:.4f}, match {said['method']['match']:.4f}")
    exact = low <= 0.34 <= high and high - low < 0.003 and said["method"]["match"] > 0.99
    return [] if exact else [f"weight in BF16: {low} to {high}"]


def hidden(tool, base, experts, work):
    """So little of a second source that eight bits all but hide it: cells show it, and nothing where it is given."""
    problems = []
    deltas = [{k: v.double() - base[k].double() for k, v in weights(e).items()} for e in experts]
    sums = {k: (v.double() + 0.6 * deltas[0][k] + 0.05 * deltas[1][k]).bfloat16() for k, v in base.items()}
    for kind in ("int8", "fp8-rows"):
        path = folder(os.path.join(work, "hidden-" + kind), eight_bit(sums, kind))
        for given in (experts, experts[:1]):
            said = decompose(tool, path, given)
            print(f"a little, {kind}, {len(given)} given: {said['unexplained']:.4f}", "in part" if said["incomplete"] else "whole")
            if said["unexplained"] > 0.01 or said["incomplete"] != (len(given) == 1):
                problems.append(f"a little, {kind}, {len(given)} given: in part {said['incomplete']}, {said['unexplained']}")
    return problems


def buried(tool, base, expert, work):
    """A source in one layer is a twentieth of what changed, and blocks of odd gains leave more: no whole answer."""
    g = torch.Generator().manual_seed(5)
    delta = {k: v.double() - base[k].double() for k, v in weights(expert).items()}
    sums = {k: v.double() + 0.78 * delta[k] for k, v in base.items()}
    for k in (k for k in sums if ".3." in k and "proj" in k):
        d = (torch.randn(sums[k].shape[0], 6, generator=g) @ torch.randn(6, sums[k].shape[1], generator=g)).double()
        sums[k] += 0.016 * base[k].double().norm() * d / d.norm()
    path = write_gguf(os.path.join(work, "buried.gguf"), regained({k: v.bfloat16() for k, v in sums.items()}, g, 1), "Q4_0")
    said = decompose(tool, path, [expert])
    print(f"buried in blocks: {said['unexplained']:.4f} unexplained, {said['r2_ceiling']:.3f} at most,",
          "in part" if said["incomplete"] else "whole", said.get("disguise"))
    return [] if said["incomplete"] else ["what blocks bury is called whole"]


def relatives(tool, base, expert, work):
    """A blend of two that are a step apart was rounded to one side; below eight bits no bits tell, and intervals allow for it."""
    g = torch.Generator().manual_seed(11)
    one = weights(expert)
    other = {k: (v.float() + 0.4 * (v.float() - base[k].float()).std() * torch.randn(v.shape, generator=g)).bfloat16() for k, v in one.items()}
    merged = {k: (0.9 * one[k].float() + 0.1 * v.float()).bfloat16() for k, v in other.items()}
    path = write_gguf(os.path.join(work, "relatives.gguf"), merged, "Q8_0")
    said = decompose(tool, path, [expert, folder(os.path.join(work, "relative"), other)])
    print("relatives:", *(f"{s['share']:.4f} ({s['interval'][0]:.4f} to {s['interval'][1]:.4f})" for s in said["sources"]))
    held = all(s["interval"][0] <= t <= s["interval"][1] for s, t in zip(said["sources"], (0.9, 0.1)))
    return [] if held else ["relatives: an interval misses the share"]


def shown_among(tool, path, base, sources):
    args = [a for s in sources for a in ("--candidate", s)]
    return json.loads(run(tool, "lineage", "decompose", path, "--base", base, *args, "--json", "-q"))


def wrong(name, said, within):
    off = max(abs(s["share"] - t) for s, t in zip(said["sources"], TRUTH))
    print(f"{name}: off by {off:.4f}, {said['unexplained']:.4f} unexplained", "in part" if said["incomplete"] else "whole")
    whole = off <= within and said["unexplained"] < 0.05 and not said["incomplete"]
    return [] if whole else [f"{name}: off by {off}, {said['unexplained']} unexplained, in part {said['incomplete']}"]


def few_rows(tool, models, work):
    """Matrices of few and short rows: what was added on top of a lock is told by few of each factor."""
    rows = {"q_proj": 64, "k_proj": 32, "v_proj": 32, "o_proj": 32, "gate_proj": 96, "up_proj": 96, "down_proj": 32}
    columns = {"o_proj": 64, "down_proj": 96}

    def cut(k, v):
        part = k.rsplit(".", 2)[1]
        return v[:rows.get(part, len(v))][:, :columns.get(part, 32)] if v.ndim > 1 else v[:32]
    at = lambda n: os.path.join(work, "few-" + n)
    shape = {"hidden_size": 32, "num_attention_heads": 2, "num_key_value_heads": 1, "intermediate_size": 96}
    base, *sources, merged = (folder(at(str(i)), {k: cut(k, v) for k, v in m.items()}, **shape) for i, m in enumerate(models))
    run(tool, "lock", merged, at("lock"), "--key", os.path.join(work, "key"), "-q")  # always the same, as above
    g = torch.Generator().manual_seed(4)
    noisy = {k: (v.double() + 0.002 * v.double().std() * torch.randn(v.shape, generator=g)).bfloat16() if v.ndim > 1 else v
             for k, v in weights(at("lock")).items()}
    return wrong("noise on a lock of few rows", shown_among(tool, folder(at("noise"), noisy, **shape), base, sources), 0.005)


def as_gemma(tool, models, work):
    """A tied head and norms behind each branch: gains in front of one may still be moved."""
    at = lambda n: os.path.join(work, "gemma-" + n)
    shape = {"model_type": "gemma3_text", "architectures": ["Gemma3ForCausalLM"], "tie_word_embeddings": True,
             "query_pre_attn_scalar": 32}
    names = (("post_attention_layernorm", "pre_feedforward_layernorm"), ("input_layernorm", "input_layernorm"))

    def dressed(m):
        out = {k.replace(*names[0]): (v.double() - 1).bfloat16() if v.ndim == 1 else v for k, v in m.items() if k != "lm_head.weight"}
        for k, v in m.items():
            for old, new in (("input_layernorm", "post_attention_layernorm"), ("post_attention_layernorm", "post_feedforward_layernorm")):
                if old in k:
                    out[k.replace(old, new)] = (v.double() - 1).bfloat16()
            for part in "qk":
                if f"{part}_proj" in k:
                    out[k.replace("_proj", "_norm")] = v[0, :32] - 1
        return out
    base, *sources = (folder(at(str(i)), dressed(m), **shape) for i, m in enumerate(models))
    merged = weights(sources.pop())
    g = torch.Generator().manual_seed(6)
    moved = dict(merged)
    for k in merged:
        part = k.rsplit(".", 2)[1] if "layernorm" in k else ""
        read = {"input_layernorm": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
                "pre_feedforward_layernorm": ("mlp.gate_proj", "mlp.up_proj")}.get(part, ())
        if read:
            gain = merged[k].double() + 1
            moved[k] = (gain * torch.exp(0.5 * torch.randn(gain.shape, generator=g)) - 1).bfloat16()
        for r in read:
            w = k.replace(part, r)
            moved[w] = (merged[w].double() * gain / (moved[k].double() + 1)).bfloat16()
    said = shown_among(tool, folder(at("moved"), moved, **shape), base, sources)
    if "gains taken out again" not in said.get("disguise", ""):
        return [f"moved gains of Gemma: disguise '{said.get('disguise')}'"]
    return wrong("moved gains of Gemma", said, 0.001)


def mostly_noise(tool, merged, experts, work):
    """One matrix is noise, which is most of what changed: nothing tells that it is no disguise. Or
    it is another model's."""
    g = torch.Generator().manual_seed(7)
    name = "model.layers.1.mlp.up_proj.weight"
    noisy = {**merged, name: (merged[name].double() + 0.5 * merged[name].double().std()
                              * torch.randn(merged[name].shape, generator=g)).bfloat16()}
    said = decompose(tool, folder(os.path.join(work, "mostly"), noisy), experts)
    print(f"one noisy matrix: {said['unexplained']:.4f} unexplained", "in part" if said["incomplete"] else "whole")
    problems = [] if said["incomplete"] else ["one noisy matrix: called whole"]
    # All but one matrix are the merge's, so a selection gives most of the bits.
    base, rev = (weights(path)[name].double() for path in (os.path.join(FAMILY, "base"), experts[0]))
    other = {**merged, name: (base + (rev - base).flip(0)).bfloat16()}
    said = decompose(tool, folder(os.path.join(work, "other"), other), experts)
    print(f"one matrix of another: {said['method']['match']:.3f} of the bits", "in part" if said["incomplete"] else "whole")
    return problems + ([] if said["incomplete"] else ["one matrix of another model: called whole"])


def decoded(tensors):
    """What transformers loads of FP8 with scales of blocks, when it dequantises."""
    out = {}
    for name, v in tensors.items():
        scale = tensors.get(name + "_scale_inv")
        if scale is not None:
            v = (v.float() * scale.repeat_interleave(128, 0)[:v.shape[0]].repeat_interleave(128, 1)).bfloat16()
        if not name.endswith("_scale_inv"):
            out[name] = v
    return out


def released_in_eight_bits(tool, models, work):
    """Base and candidates are FP8 with scales; what is merged are the weights they stand for."""
    at = lambda name: os.path.join(work, "eight-" + name)
    eight = [eight_bit(m, "fp8-blocks") for m in models]
    base, *sources = (folder(at(str(i)), m, quantization_config={"quant_method": "fp8"}) for i, m in enumerate(eight))
    floats = [{k: v.double() for k, v in decoded(m).items()} for m in eight]
    merged = {k: (v + sum(t * (s[k] - v) for t, s in zip(TRUTH, floats[1:]))).bfloat16() for k, v in floats[0].items()}
    said = shown_among(tool, folder(at("merged"), merged), base, sources)
    problems = wrong("merged of FP8 models", said, 1e-3)
    if said["method"]["match"] < 0.99:
        problems.append(f"merged of FP8 models: {said['method']['match']} of the bits")
    # A copy of a source in BF16 has all bits of what transformers loads.
    said = shown_among(tool, folder(at("copy"), decoded(eight[1])), base, sources)
    if said["replay"] != 1:
        problems.append(f"FP8 decoded as transformers does: {said['replay']['match']} of the bits")
    # The base as it was released has nothing of the others, and that is all that its steps tell.
    said = shown_among(tool, folder(at("base"), eight[0]), base, sources)
    if not said["incomplete"] or any(s["included"] for s in said["sources"]) or \
            not any("is the base, rounded anew" in w for w in said["warnings"]):
        problems.append(f"a copy of an FP8 base: {said['warnings']}")
    # Of the weights before they were rounded: no task vector is without the base's rounding.
    master = {k: (v.double() + sum(t * 0.1 * (m[k].double() - v.double()) for t, m in zip(TRUTH, models[1:]))).bfloat16()
              for k, v in models[0].items()}
    small = [folder(at("small" + str(i)), {k: (v.double() + 0.1 * (m[k].double() - v.double())).bfloat16()
                                           for k, v in models[0].items()}) for i, m in enumerate(models[1:])]
    said = shown_among(tool, folder(at("master"), master), base, small)
    if not said["incomplete"] or not any("base is quantised" in w for w in said["warnings"]):
        problems.append("made of weights before they were rounded: called whole")
    # Rounded again to the base's own steps, changes below half a step are gone, which denies nobody.
    same = eight_bit({k: v + sum(t * 0.01 * (s[k] - v) for t, s in zip(TRUTH, floats[1:])) if "proj" in k else v
                      for k, v in floats[0].items()}, "fp8-blocks")
    try:
        shown_among(tool, folder(at("same"), {k: v.bfloat16() if v.dtype == torch.float64 else v.float() if "scale" in k
                                              else v for k, v in same.items()}), base, sources)
        problems.append("rounded to the base's own steps: answered")
    except RuntimeError as said:
        if "steps that the base's own values lie on" not in str(said):
            problems.append(f"rounded to the base's own steps: {said}")
    return problems


def refusals(tool, work, merged, candidate):
    """Each must end with this status and say this."""
    base = os.path.join(FAMILY, "base")
    g = torch.Generator().manual_seed(8)
    strange = folder(os.path.join(work, "strange"),
                     {k: (v.float().std() * torch.randn(v.shape, generator=g)).bfloat16()
                      for k, v in merged.items()})
    turned = folder(os.path.join(work, "turned"), rotated(weights(strange), g))
    cut = os.path.join(work, "cut.gguf")
    shutil.copy(os.path.join(work, "Q8_0.gguf"), cut)
    os.truncate(cut, os.path.getsize(cut) - 1000)
    two = os.path.join(work, "two")
    os.makedirs(two)
    for name in ("a.gguf", "b.gguf"):
        shutil.copy(os.path.join(work, "Q8_0.gguf"), os.path.join(two, name))
    odd = eight_bit(merged, "fp8-rows")
    odd = folder(os.path.join(work, "odd"), {k: v[:3] if k.endswith("weight_scale") else v
                                             for k, v in odd.items()})
    # Of a lock under integers one tensor cannot be read, so the lock is not looked for.
    bare = eight_bit(weights(os.path.join(work, "lock-exact")), "int8")
    bare.pop("model.layers.1.mlp.up_proj.SCB")
    bare = folder(os.path.join(work, "bare"), bare)
    # Of four bits a weight: as GPTQ and bitsandbytes name them. And no safetensors at all.
    gptq = {k.replace("weight", "qweight"): torch.zeros(v.shape[1] // 8, v.shape[0], dtype=torch.int32)
            if "proj" in k else v for k, v in merged.items()}
    nf4 = {k: torch.zeros(v.numel() // 2, 1, dtype=torch.uint8) if "proj" in k else v
           for k, v in merged.items()}
    # Nobody's names but for the last norm's.
    foreign = folder(os.path.join(work, "foreign"), {k.replace("layers", "stack"): v for k, v in merged.items() if "embed" not in k
                                                     and "lm_head" not in k})
    gptq, nf4 = folder(os.path.join(work, "gptq"), gptq), folder(os.path.join(work, "nf4"), nf4)
    pickled = folder(os.path.join(work, "pickled"), merged)
    os.rename(os.path.join(pickled, "model.safetensors"), os.path.join(pickled, "pytorch_model.bin"))
    unread = gguf.GGUFWriter(os.path.join(work, "iq2.gguf"), "llama")
    unread.add_tensor("output.weight", np.zeros((1, 66), np.uint8), raw_dtype=gguf.GGMLQuantizationType.IQ2_XXS)
    unread.write_header_to_file()
    unread.write_kv_data_to_file()
    unread.write_tensors_to_file()
    unread.close()
    problems = []
    for path, status, words in ((strange, 1, "no relative"), (turned, 1, "no relative"), (cut, 6, "cut off"),
                                (bare, 1, "an order that comparing"), (foreign, 1, "under their names"),
                                (two, 6, "holds 2 GGUF files"), (odd, 6, "do not fit"),
                                (gptq, 6, "packed weights"), (nf4, 6, "packed weights"),
                                (pickled, 6, "pytorch_model.bin"),
                                (os.path.join(work, "iq2.gguf"), 6, "IQ2_XXS")):
        done = subprocess.run([tool, "lineage", "decompose", path, "--base", base,
                               "--candidate", candidate, "-q"], text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        if done.returncode != status or words not in done.stderr:
            problems.append(f"{path}: status {done.returncode}, '{done.stderr.strip()}'")
    return problems


def find_rounded(tool, family, path, work):
    """Rounding of three bits hides sources from sketches: the files tell, and without them nothing does."""
    catalogue = os.path.join(work, "rounded.db")
    run(tool, "lineage", "index", catalogue, family.base, "--root", "-q")
    run(tool, "lineage", "index", catalogue, *family.candidates, "-q")
    said = [json.loads(run(tool, "lineage", "find", catalogue, path, "--json", "-q", *more))
            for more in ([], ["--no-confirm"])]
    got = {m["name"]: round(m["share"], 4) for m in said[0]["matches"] if m["kind"] == "source"}
    print("find Q3_K by llama.cpp:", got)
    problems = []
    if got.keys() != {"candidate-0", "candidate-1"} or not said[0]["unexplained_by_files"]:
        problems.append(f"find Q3_K by llama.cpp: {got}")
    if not any("could not tell" in w for w in said[1]["warnings"]):
        problems.append(f"find Q3_K by llama.cpp, without files: {said[1]['warnings']}")
    return problems


def by_llama(tool, work):
    """Files of llama.cpp's own quantisers: of every type that is read, decoded as it does."""
    lib = llama_quants.library()
    family = llama_quants.Family(os.path.join(work, "llama"), tied=True)
    merged = family.merged()
    problems = []
    for kind, importance in (("Q8_0", False), ("Q4_K_M", True), ("IQ4_XS", True), ("MXFP4", False),
                             ("Q3_K", False), ("Q2_K", True)):
        path = llama_quants.write_gguf(lib, os.path.join(work, kind + "-llama.gguf"), merged, kind, importance)
        said = llama_quants.decompose(tool, family, path)
        print(f"{kind} by llama.cpp:", *(f"{s['share']:.4f}" for s in said["sources"]))
        problems += llama_quants.check(said, kind, llama_quants.BOUNDS.get(kind, 0.05))
        problems += find_rounded(tool, family, path, work) if kind == "Q3_K" else []
    away = (0.7, -0.4, 0.0)
    path = llama_quants.write_gguf(lib, os.path.join(work, "away.gguf"), family.merged(away), "Q4_K")
    problems += llama_quants.check(llama_quants.decompose(tool, family, path), "Q4_K, taken away", 0.02, away)
    return problems


def main(build):
    tool = os.path.join(build, "weightward")
    base = weights(os.path.join(FAMILY, "base"))
    experts = [os.path.join(FAMILY, e) for e in ("expert-rev", "expert-caesar")]
    deltas = [{k: v.double() - base[k].double() for k, v in weights(e).items()} for e in experts]
    exact = {k: (v.double() + sum(t * d[k] for t, d in zip(TRUTH, deltas))).float()
             for k, v in base.items()}
    merged = {k: v.bfloat16() for k, v in exact.items()}
    g = torch.Generator().manual_seed(3)
    problems = []
    with tempfile.TemporaryDirectory() as work:
        # Task vectors of the first expert in another order: its sizes, no relative of it.
        decoy = folder(os.path.join(work, "decoy"), {
            k: (v.double() + deltas[0][k].flatten()[torch.randperm(v.numel(), generator=g)]
                .reshape(v.shape)).bfloat16() for k, v in base.items()})
        first = {k: d.float() for k, d in deltas[0].items()}
        twin = folder(os.path.join(work, "twin"), {
            k: (base[k] + d + 0.15 * d.std() * torch.randn(d.shape, generator=g)).bfloat16()
            for k, d in first.items()})
        n = 0
        unmet = set(FOUND)
        catalogue = os.path.join(work, "c.db")
        run(tool, "lineage", "index", catalogue, os.path.join(FAMILY, "base"), "--root", "-q")
        run(tool, "lineage", "index", catalogue, *experts, decoy, "-q")
        for case in disguises(tool, merged, exact, first, work):
            problems += check(tool, case, experts + [decoy])
            problems += check_find(tool, catalogue, case) if case[0] in FOUND else []
            problems += check_twin(tool, case, [twin, experts[1], decoy]) if case[0] in TWINS else []
            problems += check_report(tool, case, experts, decoy, work) if case[0] == "int8" else []
            unmet.discard(case[0])
            n += 1
        problems += [f"find {name}: no such disguise" for name in sorted(unmet)]
        problems += selections(tool, base, experts, twin, work)
        problems += hidden(tool, base, experts, work)
        problems += buried(tool, base, experts[0], work)
        problems += narrow(tool, base, experts[0], work) + relatives(tool, base, experts[0], work)
        models = [base, *(weights(e) for e in experts), merged]
        problems += few_rows(tool, models, work) + as_gemma(tool, models, work)
        problems += mostly_noise(tool, merged, experts, work)
        problems += released_in_eight_bits(tool, models[:-1], work)
        lora, adapted = adapter(work, base)
        said = json.loads(run(tool, "lineage", "decompose", lora, "--base",
                              os.path.join(FAMILY, "base"), "--candidate", adapted,
                              "--candidate", experts[0], "--json", "-q"))
        shares = [s["share"] for s in said["sources"]]
        print("adapter:", *(f"{s:.4f}" for s in shares))
        if abs(shares[0] - 1) > 0.005 or shares[1] > DECOY or "adapter" not in said["disguise"]:
            problems.append(f"adapter: {shares}")
        problems += by_llama(tool, work)
        problems += refusals(tool, work, merged, experts[0])
    for p in problems:
        print(p)
    print(f"{n + 1} disguises, {len(problems)} problems")
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
