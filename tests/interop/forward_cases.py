#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Tiny random models for the forward pass, made with transformers: rotary types and other
variants of a family. One case per family is in make_models.py.

Every parameter is random (norms and biases too: at their usual 1 and 0 they hide faults),
sizes differ wherever two could be mixed up, and sequences are longer than windows, bucket
borders and trained lengths.

    forward_cases.py OUT [CASE...]      write OUT/CASE/ with save_pretrained
"""
import math
import os
import sys

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
import torch
import transformers as tf

tf.utils.logging.disable_progress_bar()

VOCAB = 97
STORED = torch.float32    # dtype of the saved files
BASE = dict(vocab_size=VOCAB, hidden_size=56, num_hidden_layers=2, num_attention_heads=8,
            num_key_value_heads=2, intermediate_size=80, max_position_embeddings=64,
            pad_token_id=0, bos_token_id=1, eos_token_id=2)


def rope(kind, theta=1000.0, **more):
    return dict(rope_type=kind, rope_theta=theta, **more)


def llama(**more):
    return "LlamaForCausalLM", tf.LlamaConfig(**{**BASE, "head_dim": 12, **more})


def t5(**more):
    return "T5ForConditionalGeneration", tf.T5Config(
        vocab_size=VOCAB, d_model=56, d_kv=12, d_ff=80, num_layers=2,
        num_decoder_layers=3, num_heads=4, relative_attention_num_buckets=16,
        relative_attention_max_distance=20, decoder_start_token_id=0, **more)


def phi3(length):
    r = 6
    return "Phi3ForCausalLM", tf.Phi3Config(
        **{**BASE, "hidden_size": 128, "max_position_embeddings": 128},
        original_max_position_embeddings=length, sliding_window=None,
        rope_parameters=rope("longrope", partial_rotary_factor=0.75,
                             short_factor=[1 + 0.1 * i for i in range(r)],
                             long_factor=[2 + 0.3 * i for i in range(r)]))


# name -> (function giving class name and config, length of the input)
CASES = {
    "llama-linear": (lambda: llama(rope_parameters=rope("linear", factor=4.0)), 24),
    "llama-dynamic": (lambda: llama(max_position_embeddings=16,
                                    rope_parameters=rope("dynamic", factor=2.0)), 40),
    "llama-llama3": (lambda: llama(rope_parameters=rope(
        "llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
        original_max_position_embeddings=32)), 24),
    "llama-yarn": (lambda: llama(rope_parameters=rope(
        "yarn", factor=4.0, original_max_position_embeddings=16)), 24),
    "llama-yarn-mscale": (lambda: llama(rope_parameters=rope(
        "yarn", factor=4.0, original_max_position_embeddings=512, mscale=0.7,
        mscale_all_dim=1.3, beta_fast=16, beta_slow=2)), 24),
    "mixtral": (lambda: ("MixtralForCausalLM", tf.MixtralConfig(
        **{**BASE, "intermediate_size": 48}, head_dim=12, num_local_experts=5,
        num_experts_per_tok=2)), 24),
    "gemma2": (lambda: ("Gemma2ForCausalLM", tf.Gemma2Config(
        **{**BASE, "num_hidden_layers": 3}, head_dim=12, query_pre_attn_scalar=20,
        attn_logit_softcapping=5.0, final_logit_softcapping=4.0, sliding_window=8)), 24),
    "gemma3_text": (lambda: ("Gemma3ForCausalLM", tf.Gemma3TextConfig(
        **{**BASE, "num_hidden_layers": 4}, head_dim=12, query_pre_attn_scalar=20,
        sliding_window=8, layer_types=["sliding_attention", "full_attention"] * 2,
        rope_parameters=dict(sliding_attention=rope("default", 100.0),
                             full_attention=rope("linear", 5000.0, factor=3.0)))), 24),
    "phi3-short": (lambda: phi3(32), 24),
    "phi3-long": (lambda: phi3(16), 24),
    "t5": (lambda: t5(feed_forward_proj="relu"), 40),
}


def randomise(model, seed):
    """Random everything, of a size that keeps softmax and activations lively."""
    g = torch.Generator().manual_seed(seed)
    for name, p in sorted(model.named_parameters()):
        noise = torch.randn(p.shape, generator=g, dtype=torch.float64)
        if p.dim() == 1 and name.endswith("weight"):
            noise = 1 + 0.3 * noise
        elif p.dim() == 1:
            noise = 0.3 * noise
        elif "embed" in name or "wte" in name or "wpe" in name or "shared" in name:
            noise = 0.8 * noise
        else:
            noise = 1.3 * noise / math.sqrt(p.shape[-1])
        with torch.no_grad():
            p.copy_(noise.to(p.dtype))


def build(name, folder, dtype=STORED):
    cls, config = CASES[name][0]()
    torch.manual_seed(1)
    model = getattr(tf, cls)(config)
    randomise(model, seed=sum(name.encode()))
    model.to(dtype).save_pretrained(folder)


def tokens(n, seed):
    g = torch.Generator().manual_seed(seed)
    return torch.randint(3, VOCAB, (1, n), generator=g)


def load(name, folder):
    """The saved model in float64, eager attention."""
    cls, _ = CASES[name][0]()
    kw = dict(dtype=torch.float64, attn_implementation="eager")
    if "mixtral" in name:
        kw["experts_implementation"] = "eager"
    return finish(getattr(tf, cls).from_pretrained(folder, **kw))


def again(model):
    """The same model made anew: tables are computed as torch's dtypes are named now."""
    torch.set_default_dtype(torch.float64)
    fresh = type(model)(model.config)
    torch.set_default_dtype(torch.float32)
    fresh.double().load_state_dict(model.state_dict())
    return finish(fresh)


def finish(model):
    for m in model.modules():
        # Stored in short precision, the multiplier is rounded to it; keep that here.
        if hasattr(m, "scalar_embed_scale"):
            scale = torch.tensor(m.scalar_embed_scale).to(STORED)
            m.embed_scale = scale.to(torch.float64)
    return model.double().eval()


if __name__ == "__main__":
    for case in sys.argv[2:] or CASES:
        build(case, os.path.join(sys.argv[1], case))
        print(case)
