#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Releases as they are published, made small, and put through the program.

    .venv/bin/python tests/bench/lock_published.py BUILD [RELEASE...]

Each config.json has the keys of a real release, old forms and odd ones among them, with sizes
made small; each weight file has the names of that release: prefixes, fused weights, heads stored
or not, buffers that nobody reads. Parameters are random. Judged by transformers in float64:

    locked with three keys (one without factors of two), it answers as before (1e-9 of the
    largest answer), and unlocking gives every file back; what a dense lock changes is printed;
    an attack by the original gives the weights of an exact lock back (printed);
    the mean of it and a fine-tune is that of their numbers, and its share is 0.5 (printed);
    a package gives the fine-tune back byte for byte;
    what is extracted from it and merged into the base is the fine-tune.

FOREIGN are types of repositories with code of their own: all are refused. Exit status 1 when
an answer was wrong, or a release that is served was refused.
"""
import argparse
import copy
import json
import os
import re
import shutil
import sys
import tempfile
import zlib

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "interop"))
import make_models as families
import torch
import transformers as tf
from safetensors.torch import load_file, save_file
from test_lock_exact import LEGAL, answers, error, run, same_folder

V = 129         # one more than a power of two
LLAMA = dict(architectures=["LlamaForCausalLM"], bos_token_id=1, eos_token_id=2, hidden_act="silu",
             hidden_size=64, initializer_range=0.02, intermediate_size=80, model_type="llama",
             num_attention_heads=8, num_hidden_layers=3, rms_norm_eps=1e-5, torch_dtype="float16",
             transformers_version="4.31.0.dev0", use_cache=True, vocab_size=V)
LLAMA31 = dict(factor=8.0, high_freq_factor=4.0, low_freq_factor=1.0,
               original_max_position_embeddings=8192, rope_type="llama3")
QWEN2 = dict(LLAMA, architectures=["Qwen2ForCausalLM"], model_type="qwen2", attention_dropout=0.0,
             max_position_embeddings=32768, max_window_layers=21, num_key_value_heads=2,
             rms_norm_eps=1e-6, rope_theta=1000000.0, sliding_window=32768,
             tie_word_embeddings=False, torch_dtype="bfloat16", use_sliding_window=False,
             transformers_version="4.37.0")
QWEN3 = dict(QWEN2, architectures=["Qwen3ForCausalLM"], model_type="qwen3", attention_bias=False,
             head_dim=16, max_window_layers=28, rope_scaling=None, sliding_window=None)
QWEN3_MOE = dict(QWEN3, architectures=["Qwen3MoeForCausalLM"], model_type="qwen3_moe",
                 decoder_sparse_step=1, mlp_only_layers=[], moe_intermediate_size=24,
                 norm_topk_prob=True, num_experts=6, num_experts_per_tok=2,
                 output_router_logits=False, router_aux_loss_coef=0.001)
GEMMA = dict(architectures=["GemmaForCausalLM"], attention_bias=False, attention_dropout=0.0,
             bos_token_id=2, eos_token_id=1, head_dim=16, hidden_act="gelu", hidden_size=64,
             initializer_range=0.02, intermediate_size=80, max_position_embeddings=8192,
             model_type="gemma", num_attention_heads=8, num_hidden_layers=3,
             num_key_value_heads=1, pad_token_id=0, rms_norm_eps=1e-6, rope_scaling=None,
             rope_theta=10000.0, torch_dtype="bfloat16", transformers_version="4.38.0.dev0",
             use_cache=True, vocab_size=V)
PHI3 = dict(LLAMA, architectures=["Phi3ForCausalLM"], model_type="phi3", attention_bias=False,
            attention_dropout=0.0, embd_pdrop=0.0, max_position_embeddings=64,
            num_key_value_heads=8, original_max_position_embeddings=32, pad_token_id=0,
            resid_pdrop=0.0, rope_scaling=None, rope_theta=10000.0, sliding_window=47,
            tie_word_embeddings=False, torch_dtype="bfloat16")
DEEPSEEK = dict(LLAMA, attention_bias=False, attention_dropout=0.0, aux_loss_alpha=0.001,
                ep_size=1, first_k_dense_replace=1, kv_lora_rank=24, max_position_embeddings=64,
                moe_intermediate_size=20, moe_layer_freq=1, n_routed_experts=8,
                n_shared_experts=2, norm_topk_prob=False, num_experts_per_tok=3,
                num_key_value_heads=8, pretraining_tp=1, qk_nope_head_dim=10, qk_rope_head_dim=8,
                rope_theta=10000, routed_scaling_factor=1.0, scoring_func="softmax",
                seq_aux=True, tie_word_embeddings=False, torch_dtype="bfloat16", v_head_dim=12,
                rope_scaling=dict(beta_fast=32, beta_slow=1, factor=40, mscale=0.707,
                                  mscale_all_dim=0.707, type="yarn",
                                  original_max_position_embeddings=32))
FALCON = dict(alibi=False, apply_residual_connection_post_layernorm=False,
              architectures=["FalconForCausalLM"], attention_dropout=0.0, bias=False,
              bos_token_id=11, eos_token_id=11, hidden_dropout=0.0, hidden_size=96,
              initializer_range=0.02, layer_norm_epsilon=1e-5, model_type="falcon",
              multi_query=True, new_decoder_architecture=False, num_attention_heads=12,
              num_hidden_layers=3, parallel_attn=True, torch_dtype="bfloat16", vocab_size=V)
GPT2 = dict(activation_function="gelu_new", attn_pdrop=0.1, bos_token_id=5, embd_pdrop=0.1,
            eos_token_id=5, initializer_range=0.02, layer_norm_epsilon=1e-5, n_ctx=64, n_embd=96,
            n_head=4, n_layer=3, n_positions=64, resid_pdrop=0.1, summary_activation=None,
            summary_first_dropout=0.1, summary_proj_to_labels=True, summary_type="cls_index",
            summary_use_proj=True, vocab_size=V)
NEOX = dict(architectures=["GPTNeoXForCausalLM"], bos_token_id=0, eos_token_id=0,
            hidden_act="gelu", hidden_size=64, initializer_range=0.02, intermediate_size=80,
            layer_norm_eps=1e-5, max_position_embeddings=64, model_type="gpt_neox",
            num_attention_heads=4, num_hidden_layers=3, rotary_emb_base=10000, rotary_pct=0.25,
            tie_word_embeddings=False, torch_dtype="float16", transformers_version="4.24.0",
            use_cache=True, use_parallel_residual=True, vocab_size=V)
BERT = dict(attention_probs_dropout_prob=0.1, gradient_checkpointing=False, hidden_act="gelu",
            hidden_dropout_prob=0.1, hidden_size=64, initializer_range=0.02, intermediate_size=80,
            layer_norm_eps=1e-12, max_position_embeddings=66, num_attention_heads=4,
            num_hidden_layers=3, pad_token_id=0, position_embedding_type="absolute",
            transformers_version="4.6.0.dev0", type_vocab_size=2, use_cache=True, vocab_size=V)
ROBERTA = dict(BERT, architectures=["RobertaForMaskedLM"], bos_token_id=0, eos_token_id=2,
               layer_norm_eps=1e-5, model_type="roberta", pad_token_id=1, type_vocab_size=1)
T5 = dict(architectures=["T5ForConditionalGeneration"], d_ff=80, d_kv=12, d_model=64,
          decoder_start_token_id=0, dropout_rate=0.1, eos_token_id=1, initializer_factor=1.0,
          is_encoder_decoder=True, layer_norm_epsilon=1e-6, model_type="t5", n_positions=64,
          num_heads=4, num_layers=3, output_past=True, pad_token_id=0,
          relative_attention_num_buckets=32, vocab_size=V)
BART = dict(activation_dropout=0.0, activation_function="gelu", attention_dropout=0.0,
            bos_token_id=0, classif_dropout=0.0, classifier_dropout=0.0, d_model=64,
            decoder_attention_heads=8, decoder_ffn_dim=72, decoder_layerdrop=0.0,
            decoder_layers=2, decoder_start_token_id=2, dropout=0.1, encoder_attention_heads=4,
            encoder_ffn_dim=80, encoder_layerdrop=0.0, encoder_layers=3, eos_token_id=2,
            gradient_checkpointing=False, init_std=0.02, is_encoder_decoder=True,
            max_position_embeddings=66, num_hidden_layers=3, pad_token_id=1, vocab_size=V)
CLIP_VISION = dict(hidden_size=48, image_size=32, intermediate_size=72, model_type="clip_vision_model",
                   num_attention_heads=4, num_hidden_layers=2, patch_size=8, projection_dim=24)
SIGLIP_VISION = dict(CLIP_VISION, model_type="siglip_vision_model", vision_use_head=False)
del SIGLIP_VISION["projection_dim"]


def without(config, *keys):
    return {k: v for k, v in config.items() if k not in keys}


def every_layer(count, name, value):
    """A buffer in each layer."""
    return lambda weights: weights.update({name.format(l): value.clone() for l in range(count)})


def renamed(pattern, to):
    def change(weights):
        for name in list(weights):
            weights[re.sub(pattern, to, name)] = weights.pop(name)
    return change


def added(**tensors):
    return lambda weights: weights.update({n.replace("__", "."): t for n, t in tensors.items()})


def random(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(9))


def stored(name, of):
    return lambda weights: weights.update({name: weights[of].clone()})


def next_token_layer(weights):
    """DeepSeek V3 and GLM 4.5 store a layer behind the last that predicts a further token."""
    for name in [n for n in weights if n.startswith("model.layers.2.")]:
        weights[name.replace("layers.2.", "layers.3.")] = random(*weights[name].shape)
    for name, shape in dict(enorm=(64,), hnorm=(64,), eh_proj=(64, 128), embed_tokens=(V, 64)).items():
        weights[f"model.layers.3.{name}.weight"] = random(*shape)
    weights["model.layers.3.shared_head.norm.weight"] = random(64)
    weights["model.layers.3.shared_head.head.weight"] = random(V, 64)


INV_FREQ = every_layer(3, "model.layers.{}.self_attn.rotary_emb.inv_freq", 1 / 1e4 ** torch.arange(0, 1, 0.25))
GAMMAS = [renamed(r"LayerNorm\.weight$", "LayerNorm.gamma"), renamed(r"LayerNorm\.bias$", "LayerNorm.beta")]
POSITION_IDS = torch.arange(66)[None]
MASK = torch.tril(torch.ones(64, 64, dtype=torch.bool))[None, None]

# release -> config, changes to the weights that transformers saves
RELEASES = {
    "llama-1": (dict(without(LLAMA, "rms_norm_eps"), rms_norm_eps=1e-6, pad_token_id=0,
                     max_sequence_length=2048, tie_word_embeddings=False), [INV_FREQ]),
    "llama-2": (dict(LLAMA, _name_or_path="meta-llama/Llama-2-7b-hf", num_key_value_heads=8,
                     max_position_embeddings=4096, pretraining_tp=1, rope_scaling=None,
                     tie_word_embeddings=False), [INV_FREQ]),
    "llama-2-70b": (dict(LLAMA, num_key_value_heads=1, max_position_embeddings=4096, pretraining_tp=1,
                         rope_scaling=None, tie_word_embeddings=False), []),
    "llama-3.1": (dict(LLAMA, attention_bias=False, attention_dropout=0.0, bos_token_id=128000,
                       eos_token_id=[128001, 128008, 128009], max_position_embeddings=131072,
                       mlp_bias=False, num_key_value_heads=2, pretraining_tp=1,
                       rope_scaling=LLAMA31, rope_theta=500000.0, tie_word_embeddings=False), []),
    "llama-3.2": (dict(LLAMA, head_dim=16, mlp_bias=False, num_key_value_heads=2, pretraining_tp=1,
                       rope_scaling=dict(LLAMA31, factor=32.0), rope_theta=500000.0,
                       tie_word_embeddings=True), []),
    "deepseek-coder": (dict(LLAMA, max_position_embeddings=64, num_key_value_heads=8,
                            rope_scaling=dict(factor=4.0, type="linear"), rope_theta=100000), []),
    "vicuna-16k": (dict(LLAMA, max_position_embeddings=32, max_sequence_length=64,
                        rope_scaling=dict(factor=2.0, type="dynamic")), []),
    "smollm2": (dict(LLAMA, is_llama_config=True, num_key_value_heads=1, pad_token_id=2,
                     rope_interleaved=False, rope_scaling=None, rope_theta=100000,
                     tie_word_embeddings=True, **{"transformers.js_config": {"kv_cache_dtype": {
                         "q4f16": "float16"}}}), []),
    "granite-code": (dict(LLAMA, attention_bias=True, mlp_bias=True, num_key_value_heads=8,
                          tie_word_embeddings=True), []),
    "mistral-v0.1": (dict(LLAMA, architectures=["MistralForCausalLM"], model_type="mistral",
                          num_key_value_heads=2, rope_theta=10000.0, sliding_window=24,
                          tie_word_embeddings=False), []),
    "mistral-nemo": (dict(LLAMA, architectures=["MistralForCausalLM"], model_type="mistral",
                          head_dim=12, num_key_value_heads=2, rope_theta=1000000.0,
                          sliding_window=None, tie_word_embeddings=False), []),
    "mixtral": (dict(LLAMA, architectures=["MixtralForCausalLM"], model_type="mixtral",
                     intermediate_size=24, num_experts_per_tok=2, num_key_value_heads=2,
                     num_local_experts=5, output_router_logits=False, router_aux_loss_coef=0.02,
                     rope_theta=1000000.0, sliding_window=None, tie_word_embeddings=False), []),
    "qwen1.5": (QWEN2, []),
    "qwen2.5-tied": (dict(QWEN2, tie_word_embeddings=True, use_mrope=False, num_key_value_heads=1), []),
    "qwen2.5-1m": (dict(QWEN2, dual_chunk_attention_config=dict(
        chunk_size=262144, local_size=8192, original_max_position_embeddings=262144)), []),
    "qwen2-yarn": (dict(QWEN2, rope_scaling=dict(
        factor=4.0, original_max_position_embeddings=16, type="yarn")), []),
    "qwen3": (dict(QWEN3, tie_word_embeddings=True), []),
    "qwen3-moe": (QWEN3_MOE, []),
    "qwen1.5-moe": (dict(QWEN2, architectures=["Qwen2MoeForCausalLM"], model_type="qwen2_moe",
                         decoder_sparse_step=1, moe_intermediate_size=24, norm_topk_prob=False,
                         num_experts=6, num_experts_per_tok=2, output_router_logits=False,
                         shared_expert_intermediate_size=40), []),
    "qwen3-next": (dict(without(QWEN3_MOE, "max_window_layers", "sliding_window"), num_hidden_layers=4,
                        architectures=["Qwen3NextForCausalLM"], model_type="qwen3_next",
                        full_attention_interval=4, linear_conv_kernel_dim=4,
                        linear_key_head_dim=8, linear_num_key_heads=2, linear_num_value_heads=4,
                        linear_value_head_dim=12, partial_rotary_factor=0.25,
                        shared_expert_intermediate_size=40), []),
    "gemma": (GEMMA, []),
    "gemma-1.1": (dict(GEMMA, hidden_activation=None, num_key_value_heads=8), []),
    "gemma-2": (dict(GEMMA, architectures=["Gemma2ForCausalLM"], model_type="gemma2",
                     attn_logit_softcapping=50.0, cache_implementation="hybrid",
                     final_logit_softcapping=30.0, hidden_act="gelu_pytorch_tanh",
                     hidden_activation="gelu_pytorch_tanh", num_key_value_heads=4,
                     query_pre_attn_scalar=20, sliding_window=16, sliding_window_size=16), []),
    "gemma-3-1b": (dict(without(GEMMA, "hidden_act"), architectures=["Gemma3ForCausalLM"],
                        model_type="gemma3_text", attn_logit_softcapping=None,
                        cache_implementation="hybrid", final_logit_softcapping=None,
                        hidden_activation="gelu_pytorch_tanh", num_hidden_layers=7,
                        query_pre_attn_scalar=20, rope_local_base_freq=10000,
                        rope_theta=1000000, sliding_window=16, sliding_window_pattern=6), []),
    "gemma-3-4b": (dict(architectures=["Gemma3ForConditionalGeneration"], boi_token_index=1,
                        eoi_token_index=2, eos_token_id=[1, 106], image_token_index=96,
                        initializer_range=0.02, mm_tokens_per_image=4, model_type="gemma3",
                        text_config=dict(hidden_size=64, intermediate_size=80, num_hidden_layers=2,
                                         model_type="gemma3_text", rope_scaling=dict(
                                             factor=8.0, rope_type="linear"), sliding_window=16, vocab_size=V),
                        torch_dtype="bfloat16", transformers_version="4.50.0.dev0",
                        vision_config=SIGLIP_VISION), []),
    "phi-1.5": (dict(architectures=["PhiForCausalLM"], attention_dropout=0.0, bos_token_id=None,
                     embd_pdrop=0.0, eos_token_id=None, hidden_act="gelu_new", hidden_size=64,
                     initializer_range=0.02, intermediate_size=80, layer_norm_eps=1e-5,
                     max_position_embeddings=64, model_type="phi", num_attention_heads=4,
                     num_hidden_layers=3, num_key_value_heads=None, partial_rotary_factor=0.5,
                     qk_layernorm=False, resid_pdrop=0.0, rope_scaling=None, rope_theta=10000.0,
                     tie_word_embeddings=False, torch_dtype="float16", vocab_size=V), []),
    "phi-3-4k": (PHI3, []),
    "phi-3-128k": (dict(PHI3, rope_scaling=dict(type="longrope", long_factor=[1.1, 1.2, 3.0, 4.0],
                                                short_factor=[1.0, 1.05, 1.1, 1.2])), []),
    "phi-4-mini": (dict(PHI3, full_attn_mod=1, interpolate_factor=1, lm_head_bias=False,
                        mlp_bias=False, num_key_value_heads=2, partial_rotary_factor=0.75,
                        tie_word_embeddings=True, rope_scaling=dict(
                            type="longrope", long_factor=[1.1, 1.2, 3.0],
                            short_factor=[1.0, 1.0, 1.0])), []),
    "phi-3.5-moe": (dict(without(PHI3, "embd_pdrop", "resid_pdrop"), architectures=["PhiMoEForCausalLM"],
                         model_type="phimoe", attention_bias=True, hidden_dropout=0.0,
                         input_jitter_noise=0.01, intermediate_size=24, lm_head_bias=True,
                         num_experts_per_tok=2, num_key_value_heads=2, num_local_experts=5,
                         output_router_logits=False, router_aux_loss_coef=0.0,
                         router_jitter_noise=0.01, rope_scaling=dict(
                             long_factor=[1.1, 1.2, 3.0, 4.0], long_mscale=1.243163121016122,
                             original_max_position_embeddings=32, short_mscale=1.243163121016122,
                             short_factor=[1.0, 1.05, 1.1, 1.2], type="longrope")), []),
    "deepseek-v2-lite": (dict(DEEPSEEK, architectures=["DeepseekV2ForCausalLM"], n_group=1,
                              model_type="deepseek_v2", q_lora_rank=None, topk_group=1,
                              topk_method="greedy"), []),
    "deepseek-v3": (dict(DEEPSEEK, architectures=["DeepseekV3ForCausalLM"], n_group=4,
                         model_type="deepseek_v3", num_nextn_predict_layers=1, q_lora_rank=28,
                         n_shared_experts=1, norm_topk_prob=True, routed_scaling_factor=2.5,
                         scoring_func="sigmoid", topk_group=2, topk_method="noaux_tc"),
                    [next_token_layer]),
    "glm-4-9b": (dict(LLAMA, architectures=["GlmForCausalLM"], model_type="glm", attention_bias=True,
                      attention_dropout=0.0, head_dim=16, num_key_value_heads=2, pad_token_id=0,
                      partial_rotary_factor=0.5, rope_theta=10000.0, tie_word_embeddings=False), []),
    "glm-4.5-air": (dict(LLAMA, architectures=["Glm4MoeForCausalLM"], model_type="glm4_moe",
                         attention_bias=True, head_dim=16, moe_intermediate_size=20,
                         n_group=1, topk_group=1, n_routed_experts=8, n_shared_experts=1,
                         norm_topk_prob=True, num_experts_per_tok=3, first_k_dense_replace=1,
                         num_key_value_heads=2, num_nextn_predict_layers=1,
                         partial_rotary_factor=0.5, rope_scaling=None, rope_theta=1000000,
                         routed_scaling_factor=1.0, tie_word_embeddings=False, use_qk_norm=False),
                    [next_token_layer]),
    "falcon-7b": (FALCON, [stored("lm_head.weight", "transformer.word_embeddings.weight")]),
    "falcon-40b": (dict(without(FALCON, "multi_query"), new_decoder_architecture=True,
                        num_kv_heads=4), []),
    "falcon-rw": (dict(FALCON, alibi=True, bias=True, multi_query=False, parallel_attn=False), []),
    "mpt": (dict(architectures=["MptForCausalLM"], d_model=96, emb_pdrop=0, embedding_fraction=1.0,
                 expansion_ratio=4, init_config=dict(name="kaiming_normal_"), init_device="cpu",
                 learned_pos_emb=True, logit_scale=None, max_seq_len=64, model_type="mpt",
                 n_heads=8, n_layers=3, no_bias=True, norm_type="low_precision_layernorm",
                 resid_pdrop=0, torch_dtype="bfloat16", verbose=0, vocab_size=V,
                 attn_config=dict(alibi=True, alibi_bias_max=16, attn_impl="torch", attn_pdrop=0,
                                  attn_type="multihead_attention", attn_uses_sequence_id=False,
                                  clip_qkv=6.0, prefix_lm=False, qk_ln=False, softmax_scale=None)), []),
    "starcoder": (dict(without(GPT2, "n_ctx"), architectures=["GPTBigCodeForCausalLM"],
                       activation_function="gelu", attention_softmax_in_fp32=True,
                       inference_runner=0, max_batch_size=None, model_type="gpt_bigcode",
                       multi_query=True, n_inner=80, pad_key_length=True, scale_attn_weights=True,
                       scale_attention_softmax_in_fp32=True), []),
    "starcoder2": (dict(architectures=["Starcoder2ForCausalLM"], attention_dropout=0.1,
                        attention_softmax_in_fp32=True, bos_token_id=0, embedding_dropout=0.1,
                        eos_token_id=0, hidden_act="gelu_pytorch_tanh", hidden_size=64,
                        initializer_range=0.02, intermediate_size=80, layer_norm_epsilon=1e-5,
                        max_position_embeddings=64, mlp_type="default", model_type="starcoder2",
                        norm_epsilon=1e-5, norm_type="layer_norm", num_attention_heads=8,
                        num_hidden_layers=3, num_key_value_heads=2, residual_dropout=0.1,
                        rope_theta=999999.4420358813, scale_attention_softmax_in_fp32=True,
                        scale_attn_weights=True, sliding_window=24, use_bias=True, vocab_size=V), []),
    "pythia": (NEOX, [every_layer(3, "gpt_neox.layers.{}.attention.bias", MASK),
                      every_layer(3, "gpt_neox.layers.{}.attention.masked_bias", torch.tensor(-1e9)),
                      every_layer(3, "gpt_neox.layers.{}.attention.rotary_emb.inv_freq",
                                  torch.tensor([1.0, 0.01]))]),
    "opt": (dict(activation_dropout=0.0, activation_function="relu", architectures=["OPTForCausalLM"],
                 attention_dropout=0.0, bos_token_id=2, do_layer_norm_before=True, dropout=0.1,
                 eos_token_id=2, ffn_dim=80, hidden_size=64, init_std=0.02, layerdrop=0.0,
                 max_position_embeddings=66, model_type="opt", num_attention_heads=4,
                 num_hidden_layers=3, pad_token_id=1, prefix="</s>", torch_dtype="float16",
                 vocab_size=V, word_embed_proj_dim=64), [renamed(r"^model\.", "")]),
    "bloom": (dict(apply_residual_connection_post_layernorm=False, architectures=["BloomForCausalLM"],
                   attention_dropout=0.0, attention_softmax_in_fp32=True, bias_dropout_fusion=True,
                   bos_token_id=1, eos_token_id=2, hidden_dropout=0.0, initializer_range=0.02,
                   layer_norm_epsilon=1e-5, masked_softmax_fusion=True, model_type="bloom",
                   n_embed=96, n_inner=None, n_layer=3, num_attention_heads=12, offset_alibi=100,
                   pad_token_id=3, pretraining_tp=1, seq_length=2048, skip_bias_add=True,
                   skip_bias_add_qkv=False, unk_token_id=0, use_cache=True, vocab_size=V),
              [renamed(r"^transformer\.", "")]),
    "gpt2": (dict(GPT2, architectures=["GPT2LMHeadModel"], model_type="gpt2",
                  task_specific_params={"text-generation": {"do_sample": True, "max_length": 50}}),
             [renamed(r"^transformer\.", ""), every_layer(3, "h.{}.attn.bias", MASK.float())]),
    "gpt-j": (dict(GPT2, architectures=["GPTJForCausalLM"], model_type="gptj", gradient_checkpointing=False,
                   rotary=True, rotary_dim=8, scale_attn_weights=True, tie_word_embeddings=False),
              [every_layer(3, "transformer.h.{}.attn.bias", MASK),
               every_layer(3, "transformer.h.{}.attn.masked_bias", torch.tensor(-1e9))]),
    "gpt-neo": (dict(activation_function="gelu_new", architectures=["GPTNeoForCausalLM"],
                     attention_dropout=0, attention_layers=["global", "local"] * 2,
                     attention_types=[[["global", "local"], 2]], bos_token_id=5, embed_dropout=0,
                     eos_token_id=5, hidden_size=64, initializer_range=0.02, intermediate_size=None,
                     layer_norm_epsilon=1e-5, max_position_embeddings=64, model_type="gpt_neo",
                     num_heads=4, num_layers=4, resid_dropout=0, vocab_size=V, window_size=16),
                [every_layer(4, "transformer.h.{}.attn.attention.bias", MASK),
                 every_layer(4, "transformer.h.{}.attn.attention.masked_bias", torch.tensor(-1e9))]),
    "olmo": (dict(LLAMA, architectures=["OlmoForCausalLM"], model_type="olmo", attention_bias=False,
                  clip_qkv=None, num_key_value_heads=8, pad_token_id=1, tie_word_embeddings=True), []),
    "olmo-2": (dict(LLAMA, architectures=["Olmo2ForCausalLM"], model_type="olmo2", rope_theta=500000,
                    num_key_value_heads=8, tie_word_embeddings=False), []),
    "olmo-3": (dict(LLAMA, architectures=["Olmo3ForCausalLM"], model_type="olmo3", rope_theta=500000,
                    num_key_value_heads=8, num_hidden_layers=4, sliding_window=16,
                    layer_types=["sliding_attention"] * 3 + ["full_attention"], rope_scaling=dict(
                        attention_factor=1.2079441541679836, beta_fast=32, beta_slow=1, factor=8.0,
                        original_max_position_embeddings=16, rope_type="yarn")), []),
    "granite-3.1": (dict(LLAMA, architectures=["GraniteForCausalLM"], model_type="granite",
                         attention_multiplier=0.015625, embedding_multiplier=12.0, mlp_bias=False,
                         logits_scaling=8.0, num_key_value_heads=2, residual_multiplier=0.22,
                         rope_scaling=None, rope_theta=5000000.0, tie_word_embeddings=True), []),
    "smollm3": (dict(LLAMA, architectures=["SmolLM3ForCausalLM"], model_type="smollm3", mlp_bias=False,
                     layer_types=["full_attention"] * 4, max_window_layers=28, num_hidden_layers=4,
                     no_rope_layer_interval=4, no_rope_layers=[1, 1, 1, 0], num_key_value_heads=2,
                     pad_token_id=0, rope_theta=5000000.0, sliding_window=None, use_sliding_window=False), []),
    "stablelm-2": (dict(without(LLAMA, "rms_norm_eps"), architectures=["StableLmForCausalLM"],
                        layer_norm_eps=1e-5, model_type="stablelm", norm_eps=1e-5,
                        num_key_value_heads=8, partial_rotary_factor=0.25, rope_theta=10000,
                        rotary_scaling_factor=1.0, use_qkv_bias=True, tie_word_embeddings=False), []),
    "command-r": (dict(without(LLAMA, "rms_norm_eps"), architectures=["CohereForCausalLM"],
                       layer_norm_eps=1e-5, logit_scale=0.0625, model_type="cohere",
                       model_max_length=131072, num_key_value_heads=8, pad_token_id=0,
                       rope_theta=8000000.0, use_qk_norm=False), []),
    "command-r7b": (dict(without(LLAMA, "rms_norm_eps"), architectures=["Cohere2ForCausalLM"],
                         _sliding_window_pattern=4, layer_norm_eps=1e-5, layer_switch=4,
                         logit_scale=0.25, model_type="cohere2", num_hidden_layers=4, head_dim=16,
                         num_key_value_heads=2, order_of_interleaved_layers="local_attn_first",
                         pad_token_id=0, position_embedding_type="rope_gptj", rope_theta=50000,
                         rotary_pct=1.0, sliding_window=16, sliding_window_pattern=4,
                         use_embedding_sharing=True, use_gated_activation=True,
                         use_parallel_block=True, use_parallel_embedding=False), []),
    "minitron": (dict(without(LLAMA, "rms_norm_eps"), architectures=["NemotronForCausalLM"],
                      head_dim=16, hidden_act="relu2", kv_channels=16, mlp_bias=False, norm_eps=1e-5,
                      model_type="nemotron", num_key_value_heads=2, partial_rotary_factor=0.5,
                      rope_percent=0.5, rope_theta=10000, tie_word_embeddings=False), []),
    "hunyuan": (dict(LLAMA, architectures=["HunYuanDenseV1ForCausalLM"], attention_head_dim=16,
                     cla_share_factor=2, head_dim=16, max_position_embeddings=64, mlp_bias=False, model_type="hunyuan_v1_dense",
                     norm_type="rms", num_key_value_heads=2, pad_token_id=0, rope_scaling=dict(
                         alpha=1000.0, beta_fast=32, beta_slow=1, factor=1.0, mscale=1.0,
                         mscale_all_dim=1.0, type="dynamic"), rope_theta=10000.0,
                     tie_word_embeddings=True, use_cla=False, use_qk_norm=True), []),
    "ernie-4.5": (dict(LLAMA, architectures=["Ernie4_5ForCausalLM"], head_dim=16, model_type="ernie4_5",
                       num_key_value_heads=2, pad_token_id=0, rope_theta=500000.0,
                       tie_word_embeddings=True, use_bias=False), []),
    "bert": (dict(BERT, architectures=["BertForMaskedLM"], model_type="bert"),
             GAMMAS + [added(bert__embeddings__position_ids=POSITION_IDS,
                             cls__seq_relationship__weight=random(2, 64),
                             bert__pooler__dense__weight=random(64, 64), bert__pooler__dense__bias=random(64),
                             cls__seq_relationship__bias=random(2))]),
    "bge": (dict(BERT, architectures=["BertModel"], model_type="bert", id2label={"0": "LABEL_0"},
                 label2id={"LABEL_0": 0}, classifier_dropout=None),
            [added(embeddings__position_ids=POSITION_IDS)]),
    "roberta": (ROBERTA, [added(roberta__embeddings__position_ids=POSITION_IDS,
                                roberta__pooler__dense__weight=random(64, 64), roberta__pooler__dense__bias=random(64)),
                          stored("lm_head.decoder.weight", "roberta.embeddings.word_embeddings.weight")]),
    "xlm-roberta": (dict(ROBERTA, architectures=["XLMRobertaForMaskedLM"], model_type="xlm-roberta",
                         output_past=True), []),
    "deberta-v3": (dict(without(BERT, "gradient_checkpointing", "position_embedding_type"), layer_norm_eps=1e-7,
                        architectures=["DebertaV2ForSequenceClassification"], model_type="deberta-v2",
                        max_relative_positions=-1, norm_rel_ebd="layer_norm", pooler_dropout=0,
                        pooler_hidden_act="gelu", pooler_hidden_size=64, pos_att_type="p2c|c2p",
                        position_biased_input=False, position_buckets=16, relative_attention=True,
                        share_att_key=True, type_vocab_size=0),
                   [added(mask_predictions__dense__weight=random(64, 64), mask_predictions__dense__bias=random(64),
                          mask_predictions__LayerNorm__weight=random(64), mask_predictions__LayerNorm__bias=random(64),
                          mask_predictions__classifier__weight=random(1, 64),
                          mask_predictions__classifier__bias=random(1))]),
    "t5-small": (T5, [stored("encoder.embed_tokens.weight", "shared.weight"),
                      stored("decoder.embed_tokens.weight", "shared.weight"), added(
                          decoder__block__0__layer__1__EncDecAttention__relative_attention_bias__weight=random(32, 4))]),
    "flan-t5": (dict(T5, feed_forward_proj="gated-gelu", is_gated_act=True, dense_act_fn="gelu_new",
                     num_decoder_layers=2, relative_attention_max_distance=128,
                     tie_word_embeddings=False), [added(lm_head__weight=random(V, 64))]),
    "bart-cnn": (dict(BART, _num_labels=3, add_bias_logits=False, add_final_layer_norm=False,
                      architectures=["BartForConditionalGeneration"], early_stopping=True,
                      extra_pos_embeddings=2, force_bos_token_to_be_generated=True,
                      model_type="bart", normalize_before=False, normalize_embedding=True,
                      output_past=True, prefix=" ", scale_embedding=False,
                      static_position_embeddings=False),
                 [stored("model.encoder.embed_tokens.weight", "model.shared.weight"),
                  added(model__encoder__version=torch.tensor([3.0]), model__decoder__version=torch.tensor([3.0]))]),
    "nllb": (dict(BART, architectures=["M2M100ForConditionalGeneration"], model_type="m2m_100",
                  activation_function="relu", scale_embedding=True, max_length=200),
             [stored("model.encoder.embed_tokens.weight", "model.shared.weight"),
              stored("lm_head.weight", "model.shared.weight")]),
    "opus-mt": (dict(BART, architectures=["MarianMTModel"], activation_function="swish",
                     add_bias_logits=False, bad_words_ids=[[58100]], model_type="marian",
                     normalize_before=False, normalize_embedding=False, scale_embedding=True,
                     static_position_embeddings=True), []),
    "clip": (dict(architectures=["CLIPModel"], initializer_factor=1.0, logit_scale_init_value=2.6592,
                  model_type="clip", projection_dim=24, text_config=dict(
                      attention_dropout=0.0, bos_token_id=0, eos_token_id=2, hidden_size=64,
                      intermediate_size=80, max_position_embeddings=64, num_attention_heads=4,
                      num_hidden_layers=2, model_type="clip_text_model", vocab_size=V),
                  text_config_dict=None, vision_config=CLIP_VISION, vision_config_dict=None),
             [added(text_model__embeddings__position_ids=torch.arange(64)[None],
                    vision_model__embeddings__position_ids=torch.arange(17)[None])]),
    "vit": (dict(architectures=["ViTForImageClassification"], attention_probs_dropout_prob=0.0,
                 encoder_stride=16, hidden_act="gelu", hidden_dropout_prob=0.0, hidden_size=64,
                 image_size=32, initializer_range=0.02, intermediate_size=80, layer_norm_eps=1e-12,
                 model_type="vit", num_attention_heads=4, num_channels=3, num_hidden_layers=3,
                 patch_size=8, qkv_bias=True), []),
    "llava-1.5": (dict(architectures=["LlavaForConditionalGeneration"], ignore_index=-100,
                       image_token_index=96, model_type="llava", pad_token_id=0,
                       projector_hidden_act="gelu", text_config=dict(
                           LLAMA, _name_or_path="lmsys/vicuna-7b-v1.5", max_position_embeddings=4096),
                       tie_word_embeddings=False, torch_dtype="float16", vision_config=CLIP_VISION,
                       vision_feature_layer=-2, vision_feature_select_strategy="default"), []),
    "qwen2-vl": (dict(QWEN2, architectures=["Qwen2VLForConditionalGeneration"], model_type="qwen2_vl",
                      image_token_id=96, rope_scaling=dict(mrope_section=[1, 1, 2], type="mrope"),
                      video_token_id=95, vision_end_token_id=3, vision_start_token_id=1,
                      vision_token_id=94, vision_config=dict(
                          depth=3, embed_dim=32, hidden_size=64, in_chans=3, mlp_ratio=2, num_heads=4,
                          patch_size=4, spatial_merge_size=2, spatial_patch_size=4, temporal_patch_size=2)), []),
    "paligemma": (dict(architectures=["PaliGemmaForConditionalGeneration"], bos_token_id=2, eos_token_id=1,
                       hidden_size=64, ignore_index=-100, image_token_index=96, model_type="paligemma",
                       pad_token_id=0, projection_dim=64, text_config=dict(
                           hidden_size=64, intermediate_size=80, model_type="gemma", num_attention_heads=2,
                           num_hidden_layers=2, num_image_tokens=16, num_key_value_heads=1,
                           torch_dtype="float32", vocab_size=V), torch_dtype="float32",
                       vision_config=dict(SIGLIP_VISION, num_image_tokens=16, num_positions=16,
                                          projection_dim=64, projector_hidden_act="gelu_fast")), []),
}

# model_type and the name of a tensor, of repositories with code of their own
FOREIGN = ("baichuan", "internlm", "internlm2", "chatglm", "qwen", "phi3small", "deepseek", "minicpm", "Yi",
           "aquila", "xverse", "orion", "stablelm_epoch", "RefinedWeb", "RefinedWebModel", "phi-msft", "hf_olmo",
           "mixformer-sequential", "btlm", "skywork", "nemotron-nas", "llava_llama", "cogvlm", "mamba", "rwkv",
           "zamba2", "bailing_moe", "telechat", "new", "jais", "moondream1")


def write(name, out):
    """The release as a folder; what is in the model of it that transformers saved, in doubles."""
    config, changes = copy.deepcopy(RELEASES[name])
    saved, folder = os.path.join(out, "saved"), os.path.join(out, name)
    os.makedirs(folder)
    with open(os.path.join(folder, "config.json"), "w", encoding="utf-8") as f:
        json.dump(config, f, indent=2)
    model = getattr(tf, ALIASES.get(config["architectures"][0], config["architectures"][0]))(
        tf.AutoConfig.from_pretrained(folder))
    families.randomise(model, zlib.crc32(name.encode()))
    model.float().save_pretrained(saved)
    weights = load_file(os.path.join(saved, "model.safetensors"))
    state = {n: t.double() for n, t in model.state_dict().items() if "embed_positions" not in n and
             n != "lm_head.weight"}      # computed when loaded; stored apart from what it was tied to
    for change in changes:
        change(weights)
    save_file({n: t.contiguous() for n, t in weights.items()},
              os.path.join(folder, "model.safetensors"), metadata={"format": "pt"})
    shutil.rmtree(saved)
    return folder, state


ALIASES = {"PhiMoEForCausalLM": "PhimoeForCausalLM"}
for old, new in ALIASES.items():
    setattr(tf, old, getattr(tf, new))


def fine_tune(folder, out):
    shutil.copytree(folder, out)
    path = os.path.join(out, "model.safetensors")
    weights = load_file(path)
    g = torch.Generator().manual_seed(3)
    for n, t in sorted(weights.items()):
        if t.is_floating_point() and t.dim() == 2:
            weights[n] = t + 0.02 * torch.randn(t.shape, generator=g)
    save_file(weights, path, metadata={"format": "pt"})


def distance(a, b):
    x, y = (load_file(os.path.join(f, "model.safetensors")) for f in (a, b))
    return max(((x[n].double() - y[n].double()).abs().max() / (y[n].double().abs().max() + 1e-30)).item()
               for n in y if y[n].is_floating_point()) if x.keys() == y.keys() else float("inf")


def ask(tool, *args):
    """What the program says to --json, or its refusal in a word."""
    try:
        return json.loads(run(tool, *args, "--json")), ""
    except RuntimeError as e:
        return {}, "refused: " + str(e).rsplit("weightward ", maxsplit=1)[-1]


def others(tool, at, folder, locked):
    """Attack, merge, lineage, package and adapter: what is wrong, what is worth a word."""
    bad, said = [], []
    tune, mean = at("tune"), at("mean")
    fine_tune(folder, tune)
    _, no = ask(tool, "attack", "--anchor", folder, locked, at("attacked"))
    said.append(f"attack {no or format(distance(at('attacked'), folder), '.0e')}")
    with open(at("mean.yml"), "w", encoding="utf-8") as f:
        f.write(f"merge_method: linear\ndtype: float32\nmodels:\n  - {{model: {folder}, parameters: {{weight: 0.5}}}}\n"
                f"  - {{model: {tune}, parameters: {{weight: 0.5}}}}\n")
    _, no = ask(tool, "merge", at("mean.yml"), mean)
    if no:
        bad.append(f"merge {no}")
    else:
        a, b, got = (load_file(os.path.join(x, "model.safetensors")) for x in (folder, tune, mean))
        off = max(((got[n] - (a[n] + b[n]) / 2).abs().max().item() for n in got if a[n].is_floating_point()))
        bad += [] if got.keys() == a.keys() and off < 1e-5 else [f"merge is off by {off:.0e}"]
        found, no = ask(tool, "lineage", "decompose", "--base", folder, "--candidate", tune, mean)
        said.append(f"share {no or found['sources'][0]['share'] if 'sources' in found else no or list(found)}")
    run(tool, "rmm", "pack", at("pkg"), f"one={tune}", "--base", folder, "--exact")
    run(tool, "rmm", "unpack", at("pkg"), "one", at("unpacked"), "--base", folder)
    bad += [] if same_folder(tune, at("unpacked")) else ["unpacked it is another"]
    found, no = ask(tool, "extract", folder, tune, at("adapter"), "--rank", "4096")
    with open(at("back.yml"), "w", encoding="utf-8") as f:
        f.write(f"merge_method: passthrough\nmodels: [{{model: {folder}+{at('adapter')}}}]\n")
    _, again = ({}, no) if no else ask(tool, "merge", at("back.yml"), at("again"))
    if again:
        said.append(f"extract {again}")
    elif not distance(at("again"), tune) < 1e-5:
        bad.append(f"extracted and merged it is off by {distance(at('again'), tune):.0e}")
    return bad, said


def check(tool, keys, name, out):
    at = lambda word: os.path.join(out, word)   # noqa: E731
    folder, state = write(name, out)
    loaded = families.load(folder)[0].state_dict()
    for n, x in state.items():
        if n in loaded and not torch.equal(x, loaded[n]):
            return [f"the file does not say '{n}'"], []
    want = answers(folder, cached=False)[0]
    for i, mode in enumerate(([], ["--no-scale"], [])):
        run(tool, "lock", folder, at(f"lock{i}"), "--key", keys[i], *mode)
        off = error(answers(at(f"lock{i}"), cached=False)[0], want)
        if not off <= LEGAL:
            return [f"wrong: off by {off:.1e}"], []
        run(tool, "unlock", at(f"lock{i}"), at(f"back{i}"), "--key", keys[i])
        if not same_folder(folder, at(f"back{i}")):
            return ["wrong: unlock is not the original"], []
    _, no = ask(tool, "lock", folder, at("dense"), "--key", keys[0], "--level", "dense")
    said = [f"dense {no or format(error(answers(at('dense'), cached=False)[0], want), '.0e')}"]
    if not no:
        run(tool, "unlock", at("dense"), at("dense-back"), "--key", keys[0])
        if not same_folder(folder, at("dense-back")):
            return ["wrong: dense unlock is not the original"], said
    bad, more = others(tool, at, folder, at("lock0"))
    return bad, said + more


def check_foreign(tool, key, kind, out):
    """Weights of a Llama under the foreign type, and with code of its own: both refused."""
    folder, _ = write("llama-2", out)
    path, bad = os.path.join(folder, "config.json"), []
    for change in (dict(model_type=kind), dict(auto_map={"AutoModelForCausalLM": "modeling.X"})):
        with open(path, "w", encoding="utf-8") as f:
            json.dump({**RELEASES["llama-2"][0], **change}, f)
        _, no = ask(tool, "lock", folder, os.path.join(out, "lock"), "--key", key)
        if not no:
            bad.append(f"locked with {change}")
    return bad, [no]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("build")
    parser.add_argument("names", nargs="*")
    args = parser.parse_intermixed_args()
    tool, failed = os.path.join(args.build, "weightward"), 0
    with tempfile.TemporaryDirectory() as home:
        keys = [os.path.join(home, f"{i}.key") for i in range(3)]
        for key in keys:
            run(tool, "key", "new", "lock", "--out", key, "--no-passphrase")
        for name in args.names or [*RELEASES, *FOREIGN]:
            with tempfile.TemporaryDirectory() as out:
                try:
                    bad, said = check(tool, keys, name, out) if name in RELEASES else \
                        check_foreign(tool, keys[0], name, out)
                except Exception as e:
                    bad, said = [f"{type(e).__name__} {str(e)[-300:]}"], []
            failed += bool(bad)
            print(f"{'FAIL' if bad else 'ok':4} {name:18} {'; '.join(bad + said)}", flush=True)
    print(f"{failed} failed" if failed else "all passed")
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
