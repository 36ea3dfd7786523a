#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Tiny random models of every described family, made with the real transformers.

    make_models.py OUT [CASE...]     write OUT/CASE/ with save_pretrained, print a JSON
                                     line per case: name, folder, class, inputs

As a module:

    cases()                 names of all cases
    write(name, out)        OUT/NAME/, returned
    load(folder)            (model in eval, float64, eager attention, list of inputs); an
                            input is a dict for the model's forward
    logits(model, inputs)   the answer as one float64 tensor [.., answer width]: logits, or
                            the hidden states of a headless model
    generates(model)        True when a cached generation step can be compared

Every parameter and buffer is random, norms and biases too: at their usual 1 and 0 they
would hide the faults that a check is to find. Sizes differ wherever two could be mixed up.
Inputs: one long sequence with positions up to 63, and a padded batch.
"""
import contextlib
import inspect
import json
import math
import os
import shutil
import sys
import tempfile

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
import more_models
import torch
import transformers as tf
from model_parts import (BART, BERT, CLIP, CLIP_TEXT, CLIP_VISION, DEBERTA, DEBERTA_V3, DEEP,
                         DINO, EXPERTS, FOUR, GATED, GPT, IMAGE, MAMBA, MLA, MODERN, PAD1,
                         PINPOINTS, QWEN3, QWEN35, QWEN3_VISION, SEEN, SHARED, SIGLIP,
                         SIGLIP_TOWER, SPARSE, STD, TOWER, VIT, VOCAB, WAV, YARN, falcon, of,
                         phi3, qwen_vl, reads, rope, std, t5)
from safetensors.torch import load_file, save_file

CASES = {
    "llama": std("Llama", head_dim=16, attention_bias=True, mlp_bias=True,
                 rope_parameters=rope("llama3", factor=8.0, low_freq_factor=1.0,
                                      high_freq_factor=4.0,
                                      original_max_position_embeddings=32)),
    "llama-tied": std("Llama", head_dim=16, tie_word_embeddings=True),
    "llama-classifier": std("Llama", "ForSequenceClassification", head_dim=16, num_labels=3),
    "llama-headless": std("Llama", "Model", head_dim=16),
    "mistral": std("Mistral", head_dim=16, sliding_window=8),
    "ministral": std("Ministral", head_dim=16, sliding_window=8,
                     layer_types=["sliding_attention", "full_attention",
                                  "sliding_attention"]),
    "mixtral": std("Mixtral", head_dim=16, num_local_experts=5, num_experts_per_tok=2,
                   intermediate_size=48),
    "qwen2": std("Qwen2"),
    "qwen2-tied-window": std("Qwen2", tie_word_embeddings=True, use_sliding_window=True,
                             sliding_window=8, max_window_layers=1),
    "qwen2_moe": std("Qwen2Moe", num_experts=6, num_experts_per_tok=2,
                     moe_intermediate_size=24, shared_expert_intermediate_size=40,
                     mlp_only_layers=[1]),
    "qwen3": std("Qwen3", head_dim=16, attention_bias=True),
    "qwen3_moe": std("Qwen3Moe", head_dim=16, num_experts=6, num_experts_per_tok=2,
                     moe_intermediate_size=24, norm_topk_prob=True, mlp_only_layers=[0]),
    "gemma": std("Gemma", head_dim=16),
    "gemma2": std("Gemma2", head_dim=16, query_pre_attn_scalar=20,
                  attn_logit_softcapping=5.0, final_logit_softcapping=5.0,
                  sliding_window=8),
    "gemma3_text": std("Gemma3", head_dim=16, num_hidden_layers=4, sliding_window=8),
    "phi3": phi3(),
    "phi3-plain": std("Phi3", num_hidden_layers=2),
    "phi": std("Phi", num_key_value_heads=4,
               rope_parameters=rope("default", partial_rotary_factor=0.5)),
    "phi-qk_layernorm": std("Phi", num_key_value_heads=8, qk_layernorm=True,
                            rope_parameters=rope("default", partial_rotary_factor=0.5)),
    "gpt_neox": of("GPTNeoXForCausalLM", "GPTNeoXConfig", vocab_size=VOCAB, hidden_size=64,
                   num_hidden_layers=3, num_attention_heads=4, intermediate_size=80,
                   rotary_pct=0.25, max_position_embeddings=64),
    "gpt_neox-sequential": of("GPTNeoXForCausalLM", "GPTNeoXConfig", vocab_size=VOCAB,
                              hidden_size=64, num_hidden_layers=3, num_attention_heads=4,
                              intermediate_size=80, rotary_pct=0.5, attention_bias=False,
                              use_parallel_residual=False, max_position_embeddings=64),
    "gptj": of("GPTJForCausalLM", "GPTJConfig", **GPT, rotary_dim=8),
    "codegen": of("CodeGenForCausalLM", "CodeGenConfig", **{**GPT, "n_head": 8},
                  rotary_dim=8),
    "gpt2": of("GPT2LMHeadModel", "GPT2Config", **GPT),
    "gpt2-inner": of("GPT2LMHeadModel", "GPT2Config", **GPT, n_inner=80,
                     scale_attn_by_inverse_layer_idx=True, tie_word_embeddings=False),
    "falcon-groups": falcon(False, new_decoder_architecture=True, num_kv_heads=4),
    "falcon-groups-alibi": falcon(True, new_decoder_architecture=True, num_kv_heads=4),
    "falcon-groups-one-norm": falcon(False, new_decoder_architecture=True, num_kv_heads=4,
                                     num_ln_in_parallel_attn=1),
    "falcon-multi-query": falcon(False, multi_query=True),
    "falcon-multi-query-alibi": falcon(True, multi_query=True),
    "falcon-per-head": falcon(False, multi_query=False),
    "falcon-per-head-alibi": falcon(True, multi_query=False, bias=False),
    "falcon-sequential": falcon(True, multi_query=False, parallel_attn=False),
    "bert-masked": of("BertForMaskedLM", "BertConfig", **BERT),
    "bert-pretraining": of("BertForPreTraining", "BertConfig", **BERT),
    "bert-headless": of("BertModel", "BertConfig", **BERT),
    "bert-classifier": of("BertForSequenceClassification", "BertConfig", **BERT,
                          num_labels=3),
    "bert-tokens": of("BertForTokenClassification", "BertConfig", **BERT, num_labels=3),
    "bert-answers": of("BertForQuestionAnswering", "BertConfig", **BERT),
    "roberta-masked": of("RobertaForMaskedLM", "RobertaConfig",
                         **{**BERT, "pad_token_id": 1}),
    "roberta-classifier": of("RobertaForSequenceClassification", "RobertaConfig",
                             **{**BERT, "pad_token_id": 1}, num_labels=3),
    "distilbert-masked": of("DistilBertForMaskedLM", "DistilBertConfig", vocab_size=VOCAB,
                            dim=64, n_layers=3, n_heads=4, hidden_dim=80,
                            max_position_embeddings=64),
    "distilbert-classifier": of("DistilBertForSequenceClassification", "DistilBertConfig",
                                vocab_size=VOCAB, dim=64, n_layers=3, n_heads=4,
                                hidden_dim=80, max_position_embeddings=64, num_labels=3),
    "t5": t5(feed_forward_proj="relu"),
    "t5-gated": t5(feed_forward_proj="gated-gelu", tie_word_embeddings=False),
    "t5-encoder": t5(cls="EncoderModel"),
    "mt5": t5("MT5"),
    "umt5": t5("UMT5"),
    "vit": of("ViTForImageClassification", "ViTConfig", **VIT),
    "vit-headless": of("ViTModel", "ViTConfig", **VIT),
    "vit-no-bias": of("ViTForImageClassification", "ViTConfig", **VIT, qkv_bias=False),
    "deit": of("DeiTForImageClassificationWithTeacher", "DeiTConfig", **VIT),
    "olmo2": std("Olmo2"),
    "granite": std("Granite", embedding_multiplier=3.0, logits_scaling=2.0,
                   residual_multiplier=0.7, attention_multiplier=0.3),
    "starcoder2": std("Starcoder2", sliding_window=8),
    "opt": of("OPTForCausalLM", "OPTConfig", vocab_size=VOCAB, hidden_size=64,
              num_hidden_layers=3, num_attention_heads=4, ffn_dim=80, word_embed_proj_dim=64,
              max_position_embeddings=66, pad_token_id=0, bos_token_id=1, eos_token_id=2),
    "bloom": of("BloomForCausalLM", "BloomConfig", vocab_size=VOCAB, hidden_size=96,
                n_layer=3, n_head=12, bos_token_id=1, eos_token_id=2),
    "cohere": std("Cohere"),
    "cohere-qk_norm": std("Cohere", use_qk_norm=True),
    "stablelm": std("StableLm", num_key_value_heads=2, use_qkv_bias=True,
                    rope_parameters=rope("default", partial_rotary_factor=0.5)),
}

# Decoders and mixtures.
CASES.update({
    "deepseek_v3": std("DeepseekV3", **MLA, q_lora_rank=28, n_group=4, topk_group=2,
                       attention_bias=True),
    "deepseek_v3-yarn": std("DeepseekV3", **MLA, q_lora_rank=28, n_group=1, topk_group=1,
                            rope_interleave=False, rope_parameters=YARN),
    "deepseek_v3-mtp": std("DeepseekV3", **MLA, q_lora_rank=28, n_group=2, topk_group=1),
    "deepseek_v2": std("DeepseekV2", **MLA, q_lora_rank=28, n_group=4, topk_group=2,
                       topk_method="group_limited_greedy"),
    "deepseek_v2-plain": std("DeepseekV2", **MLA, q_lora_rank=None),
    "glm4_moe_lite": std("Glm4MoeLite", **MLA, q_lora_rank=28),
    "olmo": std("Olmo"),
    "olmo-clip": std("Olmo", clip_qkv=0.7),
    "olmoe": std("Olmoe", num_experts=6, num_experts_per_tok=2, intermediate_size=24),
    "olmoe-clip": std("Olmoe", num_experts=6, num_experts_per_tok=2, intermediate_size=24,
                      clip_qkv=0.7, norm_topk_prob=True),
    "olmo3": std("Olmo3", sliding_window=8, num_hidden_layers=4, rope_parameters=dict(
        full_attention=rope("yarn", factor=4.0, original_max_position_embeddings=16),
        sliding_attention=rope("default"))),
    "flex_olmo": std("FlexOlmo", num_experts=6, num_experts_per_tok=2,
                     intermediate_size=24),
    "cohere2": std("Cohere2", sliding_window=8, num_hidden_layers=4),
    "smollm3": std("SmolLM3", num_hidden_layers=4, no_rope_layers=[1, 1, 0, 1]),
    "glm": std("Glm", head_dim=16, attention_bias=True),
    "glm4": std("Glm4", head_dim=16, attention_bias=True),
    "glm4_moe": std("Glm4Moe", head_dim=16, attention_bias=True, use_qk_norm=True,
                    moe_intermediate_size=20, n_shared_experts=1, n_routed_experts=8,
                    num_experts_per_tok=3, first_k_dense_replace=1, n_group=2,
                    topk_group=1, routed_scaling_factor=1.7),
    "ernie4_5": std("Ernie4_5", head_dim=16, use_bias=True),
    "ernie4_5_moe": of("Ernie4_5_MoeForCausalLM", "Ernie4_5_MoeConfig", **STD,
                       moe_num_experts=6, moe_k=2, moe_intermediate_size=24,
                       moe_num_shared_experts=2, moe_layer_start_index=1,
                       moe_layer_end_index=2, use_bias=True),
    "nemotron": std("Nemotron", head_dim=16, attention_bias=True, mlp_bias=True,
                    rope_parameters=rope("default", partial_rotary_factor=0.5)),
    "helium": std("Helium", head_dim=8),
    "persimmon": std("Persimmon", num_key_value_heads=8,
                     rope_parameters=rope("default", partial_rotary_factor=0.5)),
    "mpt": of("MptForCausalLM", "MptConfig", vocab_size=VOCAB, d_model=96, n_heads=8,
              n_layers=3, max_seq_len=64, bos_token_id=1, eos_token_id=2),
    "gpt_neo": of("GPTNeoForCausalLM", "GPTNeoConfig", vocab_size=VOCAB, hidden_size=64,
                  num_layers=3, num_heads=4, intermediate_size=80, window_size=8,
                  max_position_embeddings=64, bos_token_id=1, eos_token_id=2,
                  attention_types=[[["global", "local", "global"], 1]]),
    "gpt_bigcode": of("GPTBigCodeForCausalLM", "GPTBigCodeConfig", **GPT, n_inner=80),
    "gpt_bigcode-heads": of("GPTBigCodeForCausalLM", "GPTBigCodeConfig", **GPT,
                            multi_query=False),
    "minimax_m2": std("MiniMaxM2", head_dim=16, rotary_dim=8, num_local_experts=5,
                      num_experts_per_tok=2),
    "granitemoe": std("GraniteMoe", num_local_experts=5, num_experts_per_tok=2,
                      intermediate_size=24, embedding_multiplier=3.0, logits_scaling=2.0,
                      residual_multiplier=0.7, attention_multiplier=0.3),
    "gpt_oss": std("GptOss", head_dim=16, num_local_experts=6, num_experts_per_tok=2,
                   intermediate_size=24, sliding_window=8, swiglu_limit=1.5,
                   layer_types=["sliding_attention", "full_attention",
                                "sliding_attention"]),
    "qwen3_next": std("Qwen3Next", **GATED, num_experts=6, num_experts_per_tok=2,
                      moe_intermediate_size=24, shared_expert_intermediate_size=40),
    "qwen3_5_text": lambda: (tf.Qwen3_5ForCausalLM,
                             tf.Qwen3_5TextConfig(**{**STD, **GATED})),
    "minimax": std("MiniMax", num_hidden_layers=4, head_dim=16, num_local_experts=5,
                   num_experts_per_tok=2, intermediate_size=24, block_size=16),
    "llama4_text": lambda: (tf.Llama4ForCausalLM, tf.Llama4TextConfig(
        **{**STD, "num_hidden_layers": 4}, head_dim=16, intermediate_size_mlp=56,
        num_local_experts=5, num_experts_per_tok=2, interleave_moe_layer_step=2,
        no_rope_layers=[1, 1, 0, 1], attention_chunk_size=24, floor_scale=4)),
    "phimoe": std("Phimoe", num_local_experts=5, num_experts_per_tok=2,
                  intermediate_size=24, attention_bias=True, lm_head_bias=True,
                  router_jitter_noise=0.3),
    "dbrx": lambda: (tf.DbrxForCausalLM, tf.DbrxConfig(
        vocab_size=VOCAB, d_model=64, n_heads=8, n_layers=3, max_seq_len=64,
        attn_config=dict(clip_qkv=0.7, kv_n_heads=2, rope_theta=1000.0),
        ffn_config=dict(ffn_hidden_size=24, moe_num_experts=5, moe_top_k=2,
                        hidden_size=64))),
    "stablelm-qk_layernorm": std("StableLm", qk_layernorm=True, rope_parameters=rope(
        "default", partial_rotary_factor=0.5)),
})


def add_mtp(folder):
    """A layer that predicts a further token, which save_pretrained leaves out."""
    path = os.path.join(folder, "model.safetensors")
    tensors = load_file(path)
    g = torch.Generator().manual_seed(7)
    last = {n: t for n, t in tensors.items() if n.startswith("model.layers.2.")}
    sizes = {n.replace("layers.2", "layers.3"): t.shape for n, t in last.items()}
    for name, shape in {"enorm": (64,), "hnorm": (64,), "eh_proj": (64, 128),
                        "shared_head.norm": (64,), "shared_head.head": (VOCAB, 64),
                        "embed_tokens": (VOCAB, 64)}.items():
        sizes[f"model.layers.3.{name}.weight"] = shape
    for name, shape in sizes.items():
        tensors[name] = torch.randn(shape, generator=g)
    save_file(tensors, path, metadata={"format": "pt"})


# Models with layers that the reference forward pass does not know.
UNCOVERED = ("qwen3_next", "qwen3_5_text", "minimax", "apertus", "bitnet",
             "diffllama", "doge")
AFTERWARDS = {"deepseek_v3-mtp": add_mtp}


# Encoders, encoder-decoders, vision, audio.
CASES.update({
    "deberta": of("DebertaForMaskedLM", "DebertaConfig", **DEBERTA,
                  position_biased_input=False),
    "deberta-talking": of("DebertaForSequenceClassification", "DebertaConfig", **DEBERTA,
                          talking_head=True),
    "deberta-v2": of("DebertaV2ForMaskedLM", "DebertaV2Config", **DEBERTA,
                     share_att_key=False),
    "deberta-v3": of("DebertaV2ForMaskedLM", "DebertaV2Config", **DEBERTA_V3,
                     conv_kernel_size=3, conv_act="gelu"),
    "deberta-v3-classifier": of("DebertaV2ForSequenceClassification", "DebertaV2Config",
                                **DEBERTA_V3, num_labels=3),
    "modernbert": of("ModernBertForMaskedLM", "ModernBertConfig", **MODERN),
    "modernbert-classifier": of("ModernBertForSequenceClassification", "ModernBertConfig",
                                **MODERN, num_labels=3, classifier_pooling="mean",
                                attention_bias=True, mlp_bias=True, norm_bias=True),
    "wav2vec2": of("Wav2Vec2ForCTC", "Wav2Vec2Config", **WAV),
    "wav2vec2-stable": of("Wav2Vec2ForCTC", "Wav2Vec2Config", **WAV,
                          do_stable_layer_norm=True, feat_extract_norm="layer",
                          conv_bias=True),
    "wav2vec2-pretraining": of("Wav2Vec2ForPreTraining", "Wav2Vec2Config", **WAV,
                               codevector_dim=16, proj_codevector_dim=16),
    "hubert": of("HubertForCTC", "HubertConfig", **WAV),
    "llava": lambda: (tf.LlavaForConditionalGeneration, tf.LlavaConfig(
        text_config=tf.LlamaConfig(**STD, head_dim=16),
        vision_config=tf.CLIPVisionConfig(**CLIP_VISION), image_token_index=IMAGE)),
    "gemma3": lambda: (tf.Gemma3ForConditionalGeneration, tf.Gemma3Config(
        text_config=dict(**STD, head_dim=16, sliding_window=8),
        vision_config=dict(**CLIP_VISION, vision_use_head=False), mm_tokens_per_image=4,
        image_token_index=IMAGE)),
    "qwen2_vl": qwen_vl("Qwen2VL", embed_dim=32, hidden_size=64, mlp_ratio=2),
    "qwen2_vl-headless": qwen_vl("Qwen2VL", "Model", embed_dim=32, hidden_size=64, mlp_ratio=2),
    "qwen2_5_vl": qwen_vl("Qwen2_5_VL", hidden_size=32, out_hidden_size=64,
                          intermediate_size=48, window_size=16, fullatt_block_indexes=[1]),
    "clip": of("CLIPModel", "CLIPConfig", **CLIP),
    "clip-classifier": of("CLIPForImageClassification", "CLIPConfig", **CLIP),
    "clip-text": of("CLIPTextModelWithProjection", "CLIPTextConfig", **CLIP_TEXT),
    "clip-text-headless": of("CLIPTextModel", "CLIPTextConfig", **CLIP_TEXT),
    "clip-vision": of("CLIPVisionModelWithProjection", "CLIPVisionConfig", **CLIP_VISION),
    "clip-vision-headless": of("CLIPVisionModel", "CLIPVisionConfig", **CLIP_VISION),
    "siglip": of("SiglipModel", "SiglipConfig", **SIGLIP),
    "siglip-classifier": of("SiglipForImageClassification", "SiglipConfig", **SIGLIP),
    "siglip-text": of("SiglipTextModel", "SiglipTextConfig", **SIGLIP["text_config"]),
    "siglip-vision": of("SiglipVisionModel", "SiglipVisionConfig", **CLIP_VISION),
    "dinov2": of("Dinov2ForImageClassification", "Dinov2Config", **DINO),
    "dinov2-swiglu": of("Dinov2ForImageClassification", "Dinov2Config", **DINO,
                        use_swiglu_ffn=True, qkv_bias=False),
    "dinov2-headless": of("Dinov2Model", "Dinov2Config", **DINO),
    "dinov2_with_registers": of("Dinov2WithRegistersForImageClassification",
                                "Dinov2WithRegistersConfig", **DINO),
    "bart": of("BartForConditionalGeneration", "BartConfig", **BART),
    "bart-scaled": of("BartForConditionalGeneration", "BartConfig", **BART,
                      scale_embedding=True),
    "bart-classifier": of("BartForSequenceClassification", "BartConfig", **BART),
    "bart-headless": of("BartModel", "BartConfig", **BART),
    "mbart": of("MBartForConditionalGeneration", "MBartConfig", **BART),
    "pegasus": of("PegasusForConditionalGeneration", "PegasusConfig", **BART,
                  scale_embedding=True),
    "marian": of("MarianMTModel", "MarianConfig", **BART, activation_function="swish"),
    "whisper": of("WhisperForConditionalGeneration", "WhisperConfig",
                  **{**BART, "num_mel_bins": 8, "max_source_positions": 32,
                     "max_target_positions": 64}),
    "xlm-roberta": of("XLMRobertaForMaskedLM", "XLMRobertaConfig",
                      **{**BERT, "pad_token_id": 1}),
    "camembert": of("CamembertForMaskedLM", "CamembertConfig",
                    **{**BERT, "pad_token_id": 1}),
})


# More decoders: Llama's layout under other names, and mixtures.
CASES.update({
    "cwm": std("Cwm", head_dim=16, sliding_window=8, rope_parameters=rope(
        "llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
        original_max_position_embeddings=32)),
    "internlm3": of("LlamaForCausalLM", "InternLM3Config", **STD, head_dim=16,
                    attention_bias=True, mlp_bias=True),
    "iquestcoder": of("LlamaForCausalLM", "IQuestCoderConfig", **STD, head_dim=16),
    "seed_oss": std("SeedOss", head_dim=16, attention_bias=True),
    "ministral3": std("Ministral3", head_dim=16, rope_parameters=rope(
        "yarn", factor=4.0, original_max_position_embeddings=16,
        llama_4_scaling_beta=0.1)),
    "arcee": std("Arcee", head_dim=16),
    "jais2": std("Jais2", head_dim=16),
    "eurobert": std("EuroBert", "ForMaskedLM", head_dim=16),
    "hyperclovax": std("HyperCLOVAX", embedding_multiplier=3.0, logits_scaling=2.0,
                       residual_multiplier=0.7, attention_multiplier=0.3),
    "exaone4": std("Exaone4", num_hidden_layers=4, sliding_window=8),
    "exaone_moe": std("ExaoneMoe", sliding_window=8, num_experts=8, num_experts_per_tok=3,
                      moe_intermediate_size=20, n_group=2, topk_group=1,
                      mlp_layer_types=["dense", "sparse", "sparse"],
                      layer_types=["sliding_attention", "full_attention",
                                   "sliding_attention"]),
    "dots1": std("Dots1", n_routed_experts=8, num_experts_per_tok=3, n_shared_experts=2,
                 moe_intermediate_size=20, n_group=2, topk_group=1, norm_topk_prob=True,
                 first_k_dense_replace=1, routed_scaling_factor=1.7),
    "solar_open": std("SolarOpen", head_dim=16, n_routed_experts=8, num_experts_per_tok=3,
                      n_shared_experts=1, moe_intermediate_size=20, n_group=2,
                      topk_group=1, routed_scaling_factor=1.7),
    "hunyuan_v1_dense": std("HunYuanDenseV1", head_dim=16),
    "hunyuan_v1_moe": std("HunYuanMoEV1", head_dim=16, num_experts=5, moe_topk=2,
                          intermediate_size=24),
    "hy_v3": std("HYV3", head_dim=16, num_experts=6, num_experts_per_tok=2,
                 moe_intermediate_size=20,
                 mlp_layer_types=["dense", "sparse", "sparse"]),
    "afmoe": std("Afmoe", num_hidden_layers=4, head_dim=16, num_experts=6,
                 num_experts_per_tok=2, moe_intermediate_size=20, num_shared_experts=1,
                 num_dense_layers=1, sliding_window=8, route_scale=1.7, mup_enabled=True),
    "apertus": std("Apertus"),
    "nanochat": std("NanoChat"),
    "vaultgemma": std("VaultGemma", head_dim=16, query_pre_attn_scalar=20,
                      attn_logit_softcapping=5.0, final_logit_softcapping=5.0,
                      sliding_window=8),
})
CASES.update({
    "granitemoeshared": std("GraniteMoeShared", num_local_experts=5, num_experts_per_tok=2,
                            intermediate_size=24, shared_intermediate_size=40,
                            embedding_multiplier=3.0, logits_scaling=2.0,
                            residual_multiplier=0.7, attention_multiplier=0.3),
    "granite_swa": std("GraniteSWA", sliding_window=8, attention_multiplier=0.3,
                       layer_rope_theta=[1000.0, 500.0, 0.0]),
    "granitemoe_swa": std("GraniteMoeSWA", sliding_window=8, num_local_experts=5,
                          num_experts_per_tok=2, intermediate_size=24,
                          shared_intermediate_size=40, attention_multiplier=0.3),
    "minicpm3": std("MiniCPM3", num_key_value_heads=8, kv_lora_rank=24, q_lora_rank=28,
                    qk_nope_head_dim=10, qk_rope_head_dim=8, v_head_dim=12,
                    dim_model_base=32),
    "youtu": std("Youtu", num_key_value_heads=8, kv_lora_rank=24, q_lora_rank=28,
                 qk_nope_head_dim=10, qk_rope_head_dim=8, v_head_dim=12,
                 pad_token_id=None),    # else loading clears that row, head included
    "biogpt": of("BioGptForCausalLM", "BioGptConfig", **BERT, bos_token_id=1,
                 eos_token_id=2),
    "xglm": of("XGLMForCausalLM", "XGLMConfig", vocab_size=VOCAB, d_model=64, num_layers=3,
               attention_heads=4, ffn_dim=80, max_position_embeddings=64, pad_token_id=0,
               bos_token_id=1, eos_token_id=2),
    "ctrl": of("CTRLLMHeadModel", "CTRLConfig", **GPT, dff=80),
    "openai-gpt": of("OpenAIGPTLMHeadModel", "OpenAIGPTConfig", **GPT),
    "gpt_neox_japanese": of("GPTNeoXJapaneseForCausalLM", "GPTNeoXJapaneseConfig",
                            vocab_size=VOCAB, hidden_size=64, num_hidden_layers=3,
                            num_attention_heads=4, intermediate_multiple_size=2,
                            max_position_embeddings=64, bos_token_id=1, eos_token_id=2),
    "modernbert-decoder": of("ModernBertDecoderForCausalLM", "ModernBertDecoderConfig",
                             vocab_size=VOCAB, hidden_size=64, num_hidden_layers=4,
                             num_attention_heads=4, intermediate_size=80, pad_token_id=0,
                             max_position_embeddings=64, local_attention=16,
                             bos_token_id=1, cls_token_id=1, eos_token_id=2,
                             sep_token_id=2),
    "cohere2_moe": std("Cohere2Moe", num_hidden_layers=4, head_dim=16, num_experts=6,
                       num_experts_per_tok=2, num_shared_experts=1, intermediate_size=24,
                       sliding_window=8, first_k_dense_replace=1,
                       prefix_dense_intermediate_size=40),
    "aria_text": std("AriaText", head_dim=16, moe_num_experts=6, moe_topk=2,
                     moe_num_shared_experts=2, intermediate_size=24),
    "bitnet": std("BitNet"),
    "diffllama": std("DiffLlama", head_dim=16),
    "doge": std("Doge"),
})

CASES.update({
    "qwen3_vl": reads("Qwen3VL", QWEN3, DEEP, **SEEN),
    "qwen3_vl_moe": reads("Qwen3VLMoe", {**QWEN3, **EXPERTS, "mlp_only_layers": [1]}, DEEP,
                          **SEEN),
    "qwen3_5": reads("Qwen3_5", QWEN35, QWEN3_VISION, **SEEN),
    "qwen3_5_moe": reads("Qwen3_5Moe", {**QWEN35, **SHARED}, QWEN3_VISION, **SEEN),
    "qwen3_5_moe_text": lambda: (tf.Qwen3_5MoeForCausalLM,
                                 tf.Qwen3_5MoeTextConfig(**{**STD, **GATED, **SHARED})),
    "qwen3_next-mtp": std("Qwen3Next", **GATED, **SHARED),
    "llava_next": reads("LlavaNext", dict(model_type="llama"), dict(
        model_type="clip_vision_model", **TOWER), **PINPOINTS,
        vision_feature_layer=[-2, -1]),
    "llava_onevision": reads("LlavaOnevision", dict(model_type="qwen2"), SIGLIP_TOWER,
                             **PINPOINTS),
    "vipllava": reads("VipLlava", dict(model_type="llama"), dict(
        model_type="clip_vision_model", **TOWER), image_token_index=IMAGE,
        vision_feature_layers=[-2, -1]),
    "paligemma": reads("PaliGemma", dict(model_type="gemma", head_dim=16),
                       {**SIGLIP_TOWER, "projection_dim": 64}, projection_dim=64,
                       image_token_index=IMAGE),
    "idefics3": reads("Idefics3", dict(model_type="llama"), TOWER, scale_factor=2,
                      image_token_id=IMAGE),
    "smolvlm": reads("SmolVLM", dict(model_type="llama"), TOWER, scale_factor=2,
                     image_token_id=IMAGE),
    "idefics2": reads("Idefics2", dict(model_type="mistral"), TOWER, perceiver_config=dict(
        hidden_size=64, resampler_n_latents=4, resampler_depth=2, resampler_n_heads=4,
        resampler_head_dim=12, num_key_value_heads=2), image_token_id=IMAGE),
    "mistral3": reads("Mistral3", dict(model_type="mistral", head_dim=16), dict(
        model_type="pixtral", head_dim=12, **{**TOWER, "num_attention_heads": 4}),
        image_token_index=IMAGE),
    "internvl": reads("InternVL", dict(model_type="qwen2"), {
        **TOWER, "image_size": [32, 32], "patch_size": [8, 8]}, image_token_id=IMAGE),
})


def add_next(folder):
    """Qwen's layer for a further token, beside the model's own names."""
    path = os.path.join(folder, "model.safetensors")
    tensors = load_file(path)
    g = torch.Generator().manual_seed(7)
    sizes = {n.replace("model.layers.3", "mtp.layers.0"): t.shape
             for n, t in tensors.items() if n.startswith("model.layers.3.")}
    for name, shape in {"fc": (64, 128), "norm": (64,), "pre_fc_norm_embedding": (64,),
                        "pre_fc_norm_hidden": (64,)}.items():
        sizes[f"mtp.{name}.weight"] = shape
    for name, shape in sizes.items():
        tensors[name] = torch.randn(shape, generator=g)
    save_file(tensors, path, metadata={"format": "pt"})


AFTERWARDS["qwen3_next-mtp"] = add_next
UNCOVERED += ("qwen3_next-mtp", "qwen3_5", "qwen3_5_moe", "qwen3_5_moe_text")

# Kin of BERT, BART, ViT and wav2vec 2.0.
CASES.update({
    "ernie": of("ErnieForMaskedLM", "ErnieConfig", **BERT, use_task_id=True),
    "data2vec-text": of("Data2VecTextForMaskedLM", "Data2VecTextConfig", **PAD1),
    "megatron-bert": of("MegatronBertForMaskedLM", "MegatronBertConfig", **BERT),
    "xlm-roberta-xl": of("XLMRobertaXLForMaskedLM", "XLMRobertaXLConfig", **PAD1),
    "roberta-prelayernorm": of("RobertaPreLayerNormForMaskedLM",
                               "RobertaPreLayerNormConfig", **PAD1),
    "mpnet": of("MPNetForMaskedLM", "MPNetConfig", **PAD1),
    "albert": of("AlbertForMaskedLM", "AlbertConfig", **BERT, embedding_size=32,
                 num_hidden_groups=2),
    "electra": of("ElectraForMaskedLM", "ElectraConfig", **BERT, embedding_size=64),
    "electra-narrow": of("ElectraForTokenClassification", "ElectraConfig", **BERT,
                         embedding_size=32),
    "m2m_100": of("M2M100ForConditionalGeneration", "M2M100Config", **BART),
    "blenderbot": of("BlenderbotForConditionalGeneration", "BlenderbotConfig", **BART,
                     scale_embedding=True),
    "blenderbot-small": of("BlenderbotSmallForConditionalGeneration",
                           "BlenderbotSmallConfig", **BART),
    "plbart": of("PLBartForConditionalGeneration", "PLBartConfig", **BART),
    "mvp": of("MvpForConditionalGeneration", "MvpConfig", **BART),
    "dinov3_vit": of("DINOv3ViTModel", "DINOv3ViTConfig", **VIT, num_register_tokens=2),
    "beit": of("BeitForImageClassification", "BeitConfig", **VIT,
               use_relative_position_bias=True),
    "beit-shared": of("BeitForImageClassification", "BeitConfig", **VIT,
                      use_shared_relative_position_bias=True),
    "beit-absolute": of("BeitForImageClassification", "BeitConfig", **VIT,
                        use_absolute_position_embeddings=True, layer_scale_init_value=0.0),
    "data2vec-vision": of("Data2VecVisionForImageClassification", "Data2VecVisionConfig",
                          **VIT, use_relative_position_bias=True),
    "unispeech": of("UniSpeechForCTC", "UniSpeechConfig", **WAV),
    "unispeech-sat": of("UniSpeechSatForCTC", "UniSpeechSatConfig", **WAV),
    "data2vec-audio": of("Data2VecAudioForCTC", "Data2VecAudioConfig",
                         **{**WAV, "num_conv_pos_embeddings": 3}),
    "sew": of("SEWForCTC", "SEWConfig", **WAV, squeeze_factor=2),
    "wavlm": of("WavLMForCTC", "WavLMConfig", **WAV),
})
UNCOVERED += ("mpnet", "wavlm", "dinov3_vit", "beit", "beit-shared", "data2vec-vision")

# Attention beside other mixers, and behind an indexer.
CASES.update({
    "lfm2": of("Lfm2ForCausalLM", "Lfm2Config", **FOUR, block_multiple_of=16,
               layer_types=["conv", "full_attention"] * 2),
    "lfm2_moe": of("Lfm2MoeForCausalLM", "Lfm2MoeConfig", **FOUR, **EXPERTS,
                   num_dense_layers=1, layer_types=["conv", "full_attention"] * 2),
    "jamba": of("JambaForCausalLM", "JambaConfig", **FOUR, num_experts=4,
                num_experts_per_tok=2, attn_layer_period=2, attn_layer_offset=1,
                expert_layer_period=4, expert_layer_offset=3, mamba_d_state=4,
                mamba_dt_rank=4, use_mamba_kernels=False),
    "bamba": of("BambaForCausalLM", "BambaConfig", **FOUR, **MAMBA,
                attn_layer_indices=[1, 3]),
    "granitemoehybrid": of("GraniteMoeHybridForCausalLM", "GraniteMoeHybridConfig", **FOUR,
                           **MAMBA, layer_types=["mamba", "attention"] * 2,
                           num_local_experts=5, num_experts_per_tok=2,
                           shared_intermediate_size=40),
    "falcon_h1": std("FalconH1", **MAMBA, mamba_d_ssm=128),
    "kimi_linear": of("KimiLinearForCausalLM", "KimiLinearConfig", **{
        **FOUR, "num_key_value_heads": 8}, kv_lora_rank=24, qk_nope_head_dim=10,
        qk_rope_head_dim=8, v_head_dim=12, layer_types=["linear_attention",
                                                        "full_attention"] * 2,
        linear_num_heads=4, linear_head_dim=8, num_experts=6, num_experts_per_token=2,
        moe_intermediate_size=24, first_k_dense_replace=1),
    "deepseek_v32": std("DeepseekV32", **SPARSE),
    "glm_moe_dsa": std("GlmMoeDsa", **SPARSE),
    "mllama": lambda: (tf.MllamaForConditionalGeneration, tf.MllamaConfig(
        text_config={**STD, "cross_attention_layers": [1]}, vision_config=dict(
            hidden_size=32, num_hidden_layers=2, num_global_layers=1, attention_heads=4,
            intermediate_size=48, vision_output_dim=64, image_size=32, patch_size=8,
            max_num_tiles=2, intermediate_layers_indices=[0],
            supported_aspect_ratios=[[1, 1], [1, 2], [2, 1]]))),
})
UNCOVERED += ("lfm2", "lfm2_moe", "jamba", "bamba", "granitemoehybrid", "falcon_h1",
              "kimi_linear", "deepseek_v32", "glm_moe_dsa", "mllama")
CASES.update(more_models.CASES)
UNCOVERED += more_models.UNCOVERED
AFTERWARDS.update(more_models.AFTERWARDS)


def cases():
    return list(CASES)


def randomise(model, seed):
    """Random everything, of a size that keeps softmax and activations lively."""
    g = torch.Generator().manual_seed(seed)
    tensors = sorted(model.named_parameters()) + sorted(model.named_buffers())
    for name, p in tensors:
        if not p.is_floating_point() or p.dim() == 0 or "inv_freq" in name or "embed_scale" in name:
            continue
        if any(word in name for word in ("masked_bias", "attn.bias", "embed_positions")) \
                and p.dim() != 2:
            continue
        noise = torch.randn(p.shape, generator=g, dtype=torch.float64)
        if p.dim() == 1 and name.endswith("weight"):
            noise = 1 + 0.3 * noise
        elif p.dim() == 1:
            noise = 0.3 * noise
        elif any(word in name for word in ("embed", "wte", "wpe", "shared.weight")):
            noise = 0.8 * noise
        else:
            noise = 1.3 * noise / math.sqrt(p.shape[-1])
        with torch.no_grad():
            p.copy_(noise.to(p.dtype))


def make(name, folder, dtype):
    cls, config = CASES[name]()
    torch.manual_seed(1)
    model = cls(config)
    randomise(model, seed=sum(name.encode()))
    model.to(dtype).save_pretrained(folder)
    AFTERWARDS.get(name, lambda folder: None)(folder)


def write(name, out, dtype=torch.float32):
    """The folder OUT/NAME. Where tests run side by side (run.py) a model is made for the first that
    asks and copied for the others, which then need not load its classes; what they draw at random
    afterwards is the same."""
    folder, kept = os.path.join(out, name), os.environ.get("WW_MADE_MODELS")
    if not kept:
        make(name, folder, dtype)
        return folder
    made = os.path.join(kept, f"{name}.{dtype}")
    if not os.path.isdir(made):
        with tempfile.TemporaryDirectory(dir=kept) as own:
            own = os.path.join(own, name)
            make(name, os.path.join(own, "model"), dtype)
            torch.save(torch.get_rng_state(), os.path.join(own, "random"))
            with contextlib.suppress(OSError):      # another test was first
                os.rename(own, made)
    shutil.copytree(os.path.join(made, "model"), folder)
    torch.set_rng_state(torch.load(os.path.join(made, "random")))
    return folder


def tokens(seed, batch, n):
    g = torch.Generator().manual_seed(seed)
    return torch.randint(3, VOCAB, (batch, n), generator=g)


# How many tokens an image makes.
PIECES = {"llava": 16, "gemma3": 4, "qwen2_vl": 4, "qwen2_5_vl": 4, "qwen3_vl": 4,
          "qwen3_vl_moe": 4, "qwen3_5": 4, "qwen3_5_moe": 4, "vipllava": 16,
          "paligemma": 16, "idefics3": 4, "smolvlm": 4, "idefics2": 4, "mistral3": 4,
          "internvl": 4, "llava_next": 52, "llava_onevision": 52}


def see(model, inputs, g):
    """Places for the pieces of an image, in models that read it as tokens."""
    kind = model.config.model_type
    count = PIECES.get(kind, 0)
    ids = inputs["input_ids"]
    ids[ids == IMAGE] = 3
    if count > 16:      # tiles of a wide image, and the whole of it
        ids = inputs["input_ids"] = torch.cat([ids] * 3, 1)
        inputs["pixel_values"] = torch.randn(2, 3, 3, 32, 32, generator=g).double()
        inputs["image_sizes"] = torch.tensor([[32, 64]] * 2)
    if kind.startswith(("idefics", "smolvlm")):
        inputs["pixel_values"] = inputs["pixel_values"][:, None]
    if kind == "mllama":    # one picture of two tiles for each of two texts
        inputs["pixel_values"] = torch.randn(2, 1, 2, 3, 32, 32, generator=g).double()
        inputs["aspect_ratio_ids"] = torch.tensor([[2]] * 2)
        inputs["aspect_ratio_mask"] = torch.ones(2, 1, 2, dtype=torch.long)
        inputs["cross_attention_mask"] = torch.ones(2, ids.shape[1], 1, 2, dtype=torch.long)
        ids = inputs["input_ids"] = ids[:2]
    if kind == "mistral3":
        inputs["image_sizes"] = torch.tensor([[32, 32]] * 2)
    if count:
        ids[:, 2:2 + count] = IMAGE
        if kind != "llava":
            ids[:, 1] = 1
    if kind.startswith("qwen"):     # 4 x 4 patches, four of which make a token
        inputs["pixel_values"] = torch.randn(48, 96, generator=g).double()[:32]
        inputs["image_grid_thw"] = torch.tensor([[1, 4, 4]] * 2)
        inputs["mm_token_type_ids"] = (ids[:2] == IMAGE).int()
        inputs["input_ids"] = ids[:2]
    elif count:
        inputs["input_ids"] = ids[:2]
        if kind in ("gemma3", "paligemma"):
            inputs["token_type_ids"] = (ids[:2] == IMAGE).long()


def inputs_of(model):
    """One long sequence, and a batch of two of which one is padded."""
    if type(model).__name__ in more_models.CLASS_INPUTS:
        return more_models.CLASS_INPUTS[type(model).__name__](model)
    if model.config.model_type in more_models.INPUTS:
        return more_models.INPUTS[model.config.model_type](model)
    if model.config.model_type == "whisper":
        g = torch.Generator().manual_seed(3)
        return [dict(input_features=torch.randn(2, 8, 64, generator=g).double(),
                     decoder_input_ids=tokens(4, 2, 9))]
    if model.main_input_name == "input_values":
        g = torch.Generator().manual_seed(3)
        return [dict(input_values=torch.randn(2, 400, generator=g).double())]
    if "pixel_values" in inspect.signature(model.forward).parameters:
        g = torch.Generator().manual_seed(3)
        inputs = dict(pixel_values=torch.randn(2, 3, 32, 32, generator=g).double())
        if "input_ids" in inspect.signature(model.forward).parameters:
            inputs["input_ids"] = tokens(5, 3, 20)
            inputs["input_ids"][:, 13] = 2      # CLIP reads at the end of the text
            see(model, inputs, g)
        return [inputs]
    long, pair = tokens(1, 1, 64), tokens(2, 2, 17)
    mask = torch.ones_like(pair)
    pad = getattr(model.config, "pad_token_id", None) or 0
    # On the right: a float64 mask cast to float32 makes rows of padding in front all -inf.
    pair[1, 12:] = pad
    mask[1, 12:] = 0
    inputs = [dict(input_ids=long), dict(input_ids=pair, attention_mask=mask)]
    if type(model).__name__ == "BartForSequenceClassification":     # reads at the last eos
        for i in inputs:
            i["input_ids"][:, 11] = 2
    elif model.config.is_encoder_decoder and (
            hasattr(model, "decoder") or hasattr(getattr(model, "model", None), "decoder")):
        inputs[0]["decoder_input_ids"] = tokens(3, 1, 40)
        inputs[1]["decoder_input_ids"] = tokens(4, 2, 9)
    return inputs


def load(folder):
    with open(os.path.join(folder, "config.json")) as f:
        config = json.load(f)
    cls = getattr(tf, config["architectures"][0])
    extra = {}
    text = {**config, **config.get("text_config", {})}
    if any(text.get(key) for key in ("num_local_experts", "num_experts",
                                       "n_routed_experts", "moe_num_experts")):
        extra["experts_implementation"] = "eager"   # the grouped kernel takes no doubles
    if config["model_type"] != cls.config_class.model_type:   # Llama under another name
        extra["config"] = tf.AutoConfig.from_pretrained(folder)
    model = cls.from_pretrained(folder, dtype=torch.float64, attn_implementation="eager",
                                **extra).double().eval()
    for module in model.modules():      # the type that a router casts to
        if type(module).__name__.endswith("Router") and hasattr(module, "dtype"):
            module.dtype = torch.float64
    more_models.LOADED.get(config["model_type"], lambda model: None)(model)
    return model, inputs_of(model)


@torch.no_grad()
def logits(model, inputs):
    extra = {} if "pixel_values" in inputs else dict(use_cache=False)
    if model.config.model_type in ("bert", "roberta", "distilbert", "vit", "deit",
                                   "xlm-roberta", "camembert") or \
            "use_cache" not in inspect.signature(model.forward).parameters:
        extra = {}
    out = model(**inputs, **extra)
    # Towers answer with the stream beside a pooled vector; other poolers read what stays.
    siglip = ["pooler_output"] * model.config.model_type.startswith(
        ("siglip_", "siglip2_"))
    for key in siglip + ["logits", "prediction_logits", "start_logits", "logits_per_image",
                         "text_embeds", "image_embeds", "projected_states",
                         "last_hidden_state", "pooler_output"]:
        if getattr(out, key, None) is not None:
            answer = getattr(out, key)
            break
    if key == "start_logits":
        answer = torch.stack([out.start_logits, out.end_logits], -1)
    elif key == "prediction_logits":
        answer = torch.cat([answer.flatten(), out.seq_relationship_logits.flatten()])
    if key in siglip + ["text_embeds", "image_embeds"] and \
            getattr(out, "last_hidden_state", None) is not None:
        answer = torch.cat([answer.flatten(), out.last_hidden_state.flatten()])
    if "attention_mask" in inputs and answer.dim() == 3 and \
            answer.shape[:2] == inputs["attention_mask"].shape:
        answer = answer[inputs["attention_mask"].bool()]    # padded places mean nothing
    return answer.double()


def generates(model):
    return model.main_input_name == "input_ids" and type(model).__name__.endswith(
        ("ForCausalLM", "LMHeadModel", "ForConditionalGeneration", "MTModel"))


if __name__ == "__main__":
    for case in sys.argv[2:] or CASES:
        folder = write(case, sys.argv[1])
        model, inputs = load(folder)
        shapes = [{k: list(v.shape) for k, v in i.items()} for i in inputs]
        finite = all(torch.isfinite(logits(model, i)).all().item() for i in inputs)
        print(json.dumps(dict(name=case, folder=folder, cls=type(model).__name__,
                              inputs=shapes, finite=finite,
                              generates=generates(model))), flush=True)
