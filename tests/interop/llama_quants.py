# SPDX-License-Identifier: Apache-2.0
"""Suspects that llama.cpp's own quantisers made, and a family wide enough for their blocks.

The quantisers are those of the library in the xllamacpp wheel: they search the scale of each
block, by the weights' own size or by an importance matrix, which no plain quantiser does. The
family is made up: weights with heavy tails whose rows and columns differ in size, relatives
whose changes are part noise of that shape, part of rank 8 and part decay, a pull of all weights
towards zero as training with weight decay leaves it.
"""
import ctypes
import json
import os
import subprocess

import gguf
import numpy as np
import torch
from safetensors.torch import save_file

TOPS = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}
PARTS = {"input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm",
         "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k",
         "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
         "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down"}
WIDTH, INNER, HEADS, KV_HEADS, WORDS = 256, 512, 4, 2, 512
TRUTH = (0.6, 0.25, 0.0)
DECOY = 0.02
# Types with the bound of a share: steps of four bits and less are as long as the weights that
# they are for, and hide more.
BOUNDS = {"Q8_0": 0.02, "Q6_K": 0.02, "Q5_K": 0.02, "Q5_1": 0.05, "Q5_0": 0.05, "Q4_K": 0.05,
          "Q4_1": 0.05, "Q4_0": 0.05, "IQ4_XS": 0.05, "IQ4_NL": 0.05, "MXFP4": 0.05,
          "Q3_K": 0.05, "Q2_K": 0.1}


def library():
    import xllamacpp
    lib = ctypes.CDLL(os.path.join(os.path.dirname(xllamacpp.__file__), "xllamacpp.abi3.so"))
    lib.ggml_quantize_chunk.restype = ctypes.c_size_t
    lib.ggml_quantize_chunk.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64,
                                        ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p]
    return lib


def quantise(lib, kind, v, importance=None):
    """Rows of blocks of a float32 matrix, and what llama.cpp itself reads from them."""
    number = gguf.GGMLQuantizationType[kind]
    per, size = gguf.GGML_QUANT_SIZES[number]
    v = np.ascontiguousarray(v, np.float32)
    raw = np.zeros((v.shape[0], v.shape[1] // per * size), np.uint8)
    wide = None if importance is None else np.ascontiguousarray(importance, np.float32)
    done = lib.ggml_quantize_chunk(int(number), v.ctypes.data, raw.ctypes.data, 0, v.shape[0], v.shape[1],
                                   None if wide is None else wide.ctypes.data)
    assert done == raw.nbytes, (kind, done, raw.nbytes)
    back = np.empty_like(v)
    read = getattr(lib, "dequantize_row_" + kind.lower().replace("_k", "_K"))
    read(ctypes.c_void_p(raw.ctypes.data), ctypes.c_void_p(back.ctypes.data), ctypes.c_int64(v.size))
    return raw, back


def mix(kind, name, layers):
    """The type of a tensor in a file of a mix of llama.cpp, or the one type of all."""
    mixes = {"Q4_K_M": ("Q4_K", "Q6_K"), "Q5_K_M": ("Q5_K", "Q6_K"), "Q3_K_M": ("Q3_K", "Q5_K")}
    if kind not in mixes:
        return kind
    plain, more = mixes[kind]
    if name == "lm_head.weight":
        return "Q6_K"
    if not any(part in name for part in ("v_proj", "down_proj")):
        return plain
    # The first and the last eighth of the layers, and each third between them.
    at = int(name.split(".")[2])
    eighth = layers // 8
    return more if at < eighth or at >= 7 * layers // 8 or (at - eighth) % 3 == 2 else plain


# Numbers of llama.cpp's mixes, for quantise_file.
FILE_TYPES = {"F16": 1, "Q4_0": 2, "Q4_1": 3, "Q8_0": 7, "Q5_0": 8, "Q5_1": 9, "Q2_K": 10, "Q3_K_S": 11,
              "Q3_K_M": 12, "Q3_K_L": 13, "Q4_K_S": 14, "Q4_K_M": 15, "Q5_K_S": 16, "Q5_K_M": 17, "Q6_K": 18,
              "IQ3_XXS": 23, "IQ4_NL": 25, "IQ3_S": 26, "IQ3_M": 27, "IQ4_XS": 30, "BF16": 32, "TQ1_0": 36,
              "TQ2_0": 37, "MXFP4_MOE": 38}


def quantise_file(source, out, kind):
    """By llama.cpp's own program for whole files, from the cyllama wheel, which chooses a type for
    each tensor. False where it refuses to."""
    from cyllama.llama import llama_cpp
    params = llama_cpp.LlamaModelQuantizeParams()
    params.nthread, params.ftype = 1, FILE_TYPES[kind]
    try:
        return not llama_cpp.model_quantize(source, out, params)
    except RuntimeError:
        return False


def half_turns(v, heads):
    """Rows as the converter for rotary embeddings of neighbours puts them."""
    return v.reshape(heads, 2, v.shape[0] // heads // 2, *v.shape[1:]).swapaxes(1, 2).reshape(v.shape)


def write_gguf(lib, path, tensors, kind, importance=False, architecture="llama"):
    """As the converter writes it, norms in F32, and quantised then. The gguf package has to read
    from the blocks what llama.cpp does, bit for bit: it made the vectors of the unit tests."""
    g = np.random.default_rng(4)
    layers = sum(name.endswith("q_proj.weight") for name in tensors)
    turned = architecture == "llama"
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_context_length(256)
    words, width = tensors["model.embed_tokens.weight"].shape
    writer.add_embedding_length(width)
    writer.add_block_count(layers)
    writer.add_feed_forward_length(tensors["model.layers.0.mlp.up_proj.weight"].shape[0])
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_rope_dimension_count(width // HEADS)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_vocab_size(words)
    for name, v in tensors.items():
        v = v.float().numpy()
        stem, end = name.rsplit(".", 1)
        of = mix(kind, name, layers)
        if stem in TOPS:
            stem = TOPS[stem]
        else:
            layer, part = stem.removeprefix("model.layers.").split(".", 1)
            v = half_turns(v, HEADS) if turned and part.endswith("q_proj") else v
            v = half_turns(v, KV_HEADS) if turned and part.endswith("k_proj") else v
            stem = f"blk.{layer}.{PARTS[part]}"
        if v.ndim == 1 or of == "F32":
            writer.add_tensor(f"{stem}.{end}", v)
        elif of == "F16":
            writer.add_tensor(f"{stem}.{end}", v.astype(np.float16))
        else:
            raw, back = quantise(lib, of, v, g.lognormal(0, 1, v.shape[1]) if importance else None)
            number = gguf.GGMLQuantizationType[of]
            assert np.array_equal(gguf.quants.dequantize(raw, number), back), of
            writer.add_tensor(f"{stem}.{end}", raw, raw_dtype=number)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def uneven(shape, g):
    """Heavy tails, rows and columns of different size; a standard deviation near 1."""
    tails = torch.randn(shape, generator=g) / torch.randn(*shape, 6, generator=g).square().mean(-1).sqrt()
    rows = torch.exp(0.2 * torch.randn(shape[0], 1, generator=g))
    out = tails * rows * torch.exp(0.3 * torch.randn(1, shape[1], generator=g))
    return out / out.std()


def make_base(g, layers, tied=False):
    shapes = {"self_attn.q_proj": (WIDTH, WIDTH), "self_attn.k_proj": (WIDTH * KV_HEADS // HEADS, WIDTH),
              "self_attn.v_proj": (WIDTH * KV_HEADS // HEADS, WIDTH), "self_attn.o_proj": (WIDTH, WIDTH),
              "mlp.gate_proj": (INNER, WIDTH), "mlp.up_proj": (INNER, WIDTH), "mlp.down_proj": (WIDTH, INNER)}
    out = {"model.embed_tokens.weight": 0.05 * uneven((WORDS, WIDTH), g)}
    for layer in range(layers):
        at = f"model.layers.{layer}."
        for norm in ("input_layernorm", "post_attention_layernorm"):
            out[f"{at}{norm}.weight"] = 1 + 0.1 * torch.randn(WIDTH, generator=g)
        for part, shape in shapes.items():
            out[f"{at}{part}.weight"] = 0.04 * uneven(shape, g)
    out["model.norm.weight"] = 1 + 0.1 * torch.randn(WIDTH, generator=g)
    if not tied:
        out["lm_head.weight"] = 0.05 * uneven((WORDS, WIDTH), g)
    return {k: v.bfloat16() for k, v in out.items()}


def make_delta(base, g, size, decay):
    """size: of the change without its decay, in standard deviations of each weight's matrix."""
    out = {}
    for name, v in base.items():
        v = v.double()
        if v.ndim == 1:
            out[name] = 0.1 * size * torch.randn(v.shape, generator=g, dtype=torch.float64)
            continue
        low = torch.randn(v.shape[0], 8, generator=g) @ torch.randn(8, v.shape[1], generator=g) / 8 ** 0.5
        change = ((uneven(v.shape, g) + low) / 2 ** 0.5).double()
        out[name] = size * v.std() * change - decay * v
    return out


def folder(path, tensors):
    os.makedirs(path)
    with open(os.path.join(path, "config.json"), "w") as f:
        json.dump({"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": WIDTH,
                   "intermediate_size": INNER, "num_attention_heads": HEADS, "num_key_value_heads": KV_HEADS,
                   "num_hidden_layers": sum(n.endswith("q_proj.weight") for n in tensors), "vocab_size": WORDS,
                   "head_dim": WIDTH // HEADS, "rms_norm_eps": 1e-6, "hidden_act": "silu",
                   "max_position_embeddings": 256, "rope_theta": 10000.0,
                   "tie_word_embeddings": "lm_head.weight" not in tensors}, f)
    save_file({k: v.contiguous() for k, v in tensors.items()}, os.path.join(path, "model.safetensors"),
              {"format": "pt"})
    return path


class Family:
    """A base, two sources and a decoy as folders; sizes and decays of the three changes."""

    def __init__(self, work, layers=2, size=0.02, decay=0.004, seed=1, tied=False):
        g = torch.Generator().manual_seed(seed)
        self.work = work
        self.tensors = make_base(g, layers, tied)
        self.base = folder(os.path.join(work, "base"), self.tensors)
        self.deltas = [make_delta(self.tensors, g, size, decay) for _ in TRUTH]
        self.candidates = []
        for i, delta in enumerate(self.deltas):
            stored = {k: (v.double() + delta[k]).bfloat16() for k, v in self.tensors.items()}
            self.deltas[i] = {k: v.double() - self.tensors[k].double() for k, v in stored.items()}
            self.candidates.append(folder(os.path.join(work, f"candidate-{i}"), stored))

    def merged(self, shares=TRUTH):
        return {k: (v.double() + sum(s * d[k] for s, d in zip(shares, self.deltas))).bfloat16()
                for k, v in self.tensors.items()}


def decompose(tool, family, suspect):
    args = [a for c in family.candidates for a in ("--candidate", c)]
    done = subprocess.run([tool, "lineage", "decompose", suspect, "--base", family.base, *args, "--json", "-q"],
                          capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{suspect}: {done.stderr.strip()}")
    return json.loads(done.stdout)


def check(said, name, bound, shares=TRUTH):
    """What is wrong with an answer, in words."""
    problems = []
    for truth, source in zip(shares, said["sources"]):
        low, high = source["interval"]
        if abs(source["share"] - truth) > (bound if truth else DECOY):
            problems.append(f"{name}: share {source['share']:.4f}, want {truth}")
        if not low <= truth <= high:
            problems.append(f"{name}: {truth} is not in {low:.4f} to {high:.4f}")
        if source["included"] != (truth != 0):
            problems.append(f"{name}: included is {source['included']}")
    return problems
