# SPDX-License-Identifier: Apache-2.0
"""Further families of make_models.py: kin of what it holds, and rarer architectures.

    CASES       name -> function giving class and config
    UNCOVERED   cases with layers that the reference forward pass does not know
    NO_FORWARD  model types for which it has no answer
    FIXED_IN    case -> parts of names of tensors that no lock moves
    INPUTS      model type -> function giving the inputs of a model of its own kind
    CLASS_INPUTS  class -> the same
    LOADED      model type -> function that mends what loading in doubles breaks
    AFTERWARDS  case -> function that changes the folder once it is written
"""
import json
import os

import torch
import transformers as tf
from safetensors.torch import load_file, save_file
from transformers.modeling_outputs import MoeCausalLMOutputWithPast
from model_parts import (BART, BERT, CLIP, CLIP_TEXT, CLIP_VISION, FOUR, IMAGE, MLA, PAD1, SEEN,
                         SIGLIP, SIGLIP_TOWER, STD, VIT, VOCAB, of, reads, rope, std)

INPUTS = {}
CLASS_INPUTS = {}
LOADED = {}
AFTERWARDS = {}
NO_FORWARD = ("esm", "layoutlm", "dpr", "vit_mae", "siglip2", "siglip2_vision_model", "altclip",
              "chinese_clip", "roformer", "switch_transformers", "nllb-moe",
              "qwen2_audio", "videomae")
GEMMA4_STAYS = (".q_norm.", ".k_norm.", "embed_tokens_per_layer", "layer_scalar",
                "per_layer_projection_norm", "router.per_expert_scale")
FIXED_IN = {
    "recurrent_gemma": ("rg_lru.", "conv_1d.", "linear_x.bias", "linear_y.bias"),
    "dpr-projected": ("encode_proj.bias",),
    "deberta-v3-classifier": ("mask_predictions.dense.bias", "mask_predictions.LayerNorm."),
    "glm4v": ("merger.proj", "merger.post_projection", "merger.gate_proj",
              "merger.up_proj", "downsample.bias"),
    "glm4v_moe": ("merger.proj", "merger.post_projection", "merger.gate_proj",
                  "merger.up_proj", "downsample.bias"),
    "qwen2_audio": ("audio_tower.conv1.",),
    "roformer": ("embed_positions.weight",),
    "openai_privacy_filter": ("score.bias",),
    "vit_mae": ("decoder_pred.bias",),
    "yolos": ("bbox_predictor.", "class_labels_classifier."),
    "llama4": ("vision_adapter.mlp.fc2.weight",),
    "gemma4_text": GEMMA4_STAYS,
    "gemma4_text-experts": GEMMA4_STAYS,
    "gemma4": GEMMA4_STAYS + ("vision_tower.", "audio_tower."),
    "altclip": ("transformation.bias", "text_projection.weight"),
}

# Decoders.
GEMMA4 = dict(**{**STD, "num_hidden_layers": 6}, head_dim=16, global_head_dim=24,
              layer_types=["sliding_attention", "sliding_attention", "full_attention"] * 2,
              sliding_window=8, num_kv_shared_layers=3, use_double_wide_mlp=True,
              hidden_size_per_layer_input=12, vocab_size_per_layer_input=VOCAB,
              final_logit_softcapping=5.0)
PAIR = dict(full_attention=rope("default"), sliding_attention=rope("default", 100.0))
PARTS = {k: {**v, "partial_rotary_factor": 0.5} for k, v in PAIR.items()}
WINDOWS = dict(sliding_window=8, layer_types=["full_attention", "sliding_attention",
                                              "sliding_attention"])
CASES = {
    "exaone": of("LlamaForCausalLM", "ExaoneConfig", **STD, head_dim=16),
    "mellum": std("Mellum", head_dim=16, num_experts=6, num_experts_per_tok=2,
                  moe_intermediate_size=24, rope_parameters=PAIR, **WINDOWS,
                  mlp_layer_types=["dense", "sparse", "sparse"]),
    "sarvam_mla": of("DeepseekV3ForCausalLM", "SarvamMLAConfig", **{**STD, **MLA}),
    "sarvam_moe": of("Glm4MoeForCausalLM", "SarvamMoEConfig", **STD, head_dim=16,
                     n_routed_experts=8, num_experts_per_tok=3, n_shared_experts=1,
                     moe_intermediate_size=20, first_k_dense_replace=1, n_group=2,
                     topk_group=1, attention_bias=True),
    "axk1": std("AXK1", **MLA, q_lora_rank=28, n_group=4, topk_group=2),
    "mimo_v2_flash": std("MiMoV2Flash", head_dim=16, v_head_dim=12, n_routed_experts=8,
                         num_experts_per_tok=3, moe_intermediate_size=20, n_group=2,
                         topk_group=1, rope_parameters=PARTS, **WINDOWS),
    "longcat_flash": of("LongcatFlashForCausalLM", "LongcatFlashConfig", **{
        k: v for k, v in STD.items() if k not in ("num_hidden_layers", "intermediate_size",
                                                  "num_key_value_heads")},
        num_key_value_heads=8, num_layers=2, ffn_hidden_size=80, expert_ffn_hidden_size=24, q_lora_rank=28,
        kv_lora_rank=24, qk_nope_head_dim=10, qk_rope_head_dim=8, v_head_dim=12,
        head_dim=8, n_routed_experts=6, zero_expert_num=0, moe_topk=3, routed_scaling_factor=1.7),
    "nemotron_h": std("NemotronH", head_dim=16, mamba_num_heads=8, mamba_head_dim=16,
                      ssm_state_size=8, n_groups=2, n_routed_experts=6, mlp_bias=True,
                      num_experts_per_tok=2, moe_intermediate_size=24, n_group=2,
                      topk_group=1, moe_shared_expert_intermediate_size=40,
                      layers_block_type=["linear_attention", "moe", "full_attention",
                                         "mlp"]),
    "nemotron_h-latent": std("NemotronH", head_dim=16, mamba_num_heads=8, mamba_head_dim=16,
                             ssm_state_size=8, n_groups=2, n_routed_experts=6,
                             num_experts_per_tok=2, moe_intermediate_size=24,
                             moe_latent_size=20, moe_shared_expert_intermediate_size=40,
                             layers_block_type=["linear_attention", "moe",
                                                "full_attention", "moe"]),
    "olmo_hybrid": of("OlmoHybridForCausalLM", "OlmoHybridConfig", **FOUR,
                      layer_types=["linear_attention", "full_attention"] * 2,
                      linear_num_key_heads=4, linear_num_value_heads=4,
                      linear_key_head_dim=8, linear_value_head_dim=12),
    "recurrent_gemma": std("RecurrentGemma", head_dim=16, lru_width=96,
                           attention_window_size=16, intermediate_size=160,
                           block_types=["recurrent", "attention", "recurrent"]),
}
UNCOVERED = ("axk1", "mimo_v2_flash", "longcat_flash", "nemotron_h", "nemotron_h-latent",
             "olmo_hybrid", "recurrent_gemma")

# Kin of BERT.
CASES.update({
    "nomic_bert": of("NomicBertForMaskedLM", "NomicBertConfig", **BERT),
    "gte": of("GteForMaskedLM", "GteConfig", **BERT),
    "jina_embeddings_v3": of("JinaEmbeddingsV3ForMaskedLM", "JinaEmbeddingsV3Config",
                             **PAD1),
    "esm": of("EsmForMaskedLM", "EsmConfig", **PAD1, mask_token_id=4, token_dropout=False,
              position_embedding_type="rotary"),
    "esm-absolute": of("EsmForMaskedLM", "EsmConfig", **PAD1, mask_token_id=4,
                       token_dropout=True, emb_layer_norm_before=True),
})

# Heads that read the pooled vector or the stream, by what the class is and not by what is stored.
CASES.update({
    "bert-tokens-pooler": of("BertForTokenClassification", "BertConfig", **BERT, num_labels=3),
    "roberta-choices": of("RobertaForMultipleChoice", "RobertaConfig", **PAD1),
    "qwen2-tokens": std("Qwen2", "ForTokenClassification", num_labels=3),
})


def choices(model):
    """Two choices to two questions."""
    return [dict(input_ids=torch.randint(3, VOCAB, (2, 2, 17),
                                         generator=torch.Generator().manual_seed(2)))]


def old_pooler(folder):
    """A pooler that nothing reads: older programs kept it beside a head of tokens."""
    path = os.path.join(folder, "model.safetensors")
    weights = load_file(path)
    weights["bert.pooler.dense.weight"] = noise(7, 64, 64).float()
    weights["bert.pooler.dense.bias"] = noise(8, 64).float()
    save_file(weights, path, metadata={"format": "pt"})


CLASS_INPUTS["RobertaForMultipleChoice"] = choices
AFTERWARDS["bert-tokens-pooler"] = old_pooler

# Kin of BERT, of T5 and of BART, and what reads pages.
SWITCH = dict(vocab_size=97, d_model=64, d_kv=12, d_ff=80, num_layers=4, num_decoder_layers=2,
              num_heads=4, num_experts=4,
              relative_attention_num_buckets=16,
              relative_attention_max_distance=20, decoder_start_token_id=0)
CASES.update({
    "bert-generation": of("BertGenerationDecoder", "BertGenerationConfig", **BERT,
                          bos_token_id=1, eos_token_id=2, is_decoder=True),
    "layoutlm": of("LayoutLMForMaskedLM", "LayoutLMConfig", **BERT,
                   max_2d_position_embeddings=32),
    "roformer": of("RoFormerForMaskedLM", "RoFormerConfig", **BERT),
    "dpr": of("DPRReader", "DPRConfig", **BERT),
    "dpr-projected": of("DPRQuestionEncoder", "DPRConfig", **BERT, projection_dim=24),
    "switch_transformers": of("SwitchTransformersForConditionalGeneration",
                              "SwitchTransformersConfig", **SWITCH),
    "nllb-moe": of("NllbMoeForConditionalGeneration", "NllbMoeConfig", **BART,
                   num_experts=4, encoder_sparse_step=2, decoder_sparse_step=2),
    "openai_privacy_filter": std("OpenAIPrivacyFilter", "ForTokenClassification",
                                 head_dim=16, num_local_experts=6, num_experts_per_tok=2,
                                 intermediate_size=24, sliding_window=8),
})
UNCOVERED += ("openai_privacy_filter",)

# Kin of ViT, CLIP and SigLIP.
CASES.update({
    "vit_mae": of("ViTMAEForPreTraining", "ViTMAEConfig", **VIT, decoder_hidden_size=48,
                  decoder_num_hidden_layers=2, decoder_num_attention_heads=8,
                  decoder_intermediate_size=72),
    "audio-spectrogram": of("ASTForAudioClassification", "ASTConfig", **{
        k: v for k, v in VIT.items() if k != "image_size"}, num_mel_bins=16, max_length=24,
        frequency_stride=4, time_stride=8),
    "videomae": of("VideoMAEForVideoClassification", "VideoMAEConfig", **VIT, num_frames=4),
    "vit_msn": of("ViTMSNForImageClassification", "ViTMSNConfig", **VIT),
    "ijepa": of("IJepaForImageClassification", "IJepaConfig", **VIT),
    "yolos": of("YolosForObjectDetection", "YolosConfig", **{**VIT, "image_size": [32, 32]},
                num_detection_tokens=5),
    "metaclip_2": of("MetaClip2Model", "MetaClip2Config", **CLIP),
    "metaclip_2-text": of("MetaClip2TextModelWithProjection", "MetaClip2TextConfig",
                          **CLIP_TEXT),
    "mlcd": of("MLCDVisionModel", "MLCDVisionConfig", **{
        **CLIP_VISION, "num_attention_heads": 4}),
    "chinese_clip": of("ChineseCLIPModel", "ChineseCLIPConfig", text_config=BERT,
                       vision_config=CLIP_VISION, projection_dim=24),
    "chinese_clip-vision": of("ChineseCLIPVisionModel", "ChineseCLIPVisionConfig",
                              **CLIP_VISION),
    "altclip": of("AltCLIPModel", "AltCLIPConfig", text_config={**PAD1, "project_dim": 24},
                  vision_config=CLIP_VISION, projection_dim=24),
    "siglip2": of("Siglip2Model", "Siglip2Config", text_config=SIGLIP["text_config"],
                  vision_config={**CLIP_VISION, "num_patches": 16}),
    "siglip2-vision": of("Siglip2VisionModel", "Siglip2VisionConfig", **{
        **CLIP_VISION, "num_patches": 16}),
})
UNCOVERED += ("yolos", "mlcd", "gemma4", "gemma4_text", "gemma4_text-experts")


def noise(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).double()


def patches(model):
    """Flattened patches; the second picture is narrower and padded."""
    mask = torch.ones(2, 16, dtype=torch.long)
    mask[1, 12:] = 0
    out = dict(pixel_values=noise(3, 2, 16, 192), pixel_attention_mask=mask,
               spatial_shapes=torch.tensor([[4, 4], [4, 3]]))
    if "text" in type(model.config).__name__.lower() or hasattr(model.config, "text_config"):
        out["input_ids"] = torch.randint(3, 97, (3, 20),
                                         generator=torch.Generator().manual_seed(5))
    return [out]


INPUTS.update({
    "vit_mae": lambda model: [dict(pixel_values=noise(3, 2, 3, 32, 32),
                                   noise=noise(4, 2, 16))],
    "siglip2": patches, "siglip2_vision_model": patches,
    "audio-spectrogram-transformer": lambda model: [dict(input_values=noise(3, 2, 24, 16))],
    "videomae": lambda model: [dict(pixel_values=noise(3, 2, 4, 3, 32, 32))],
})

# Language models that read images or sound, of further families.
GLM_VISION = dict(depth=3, hidden_size=32, num_heads=4, intermediate_size=48, patch_size=4,
                  out_hidden_size=64, image_size=16)
GLM_TEXT = dict(rope_parameters=rope("default", mrope_section=[1, 1, 2],
                                     partial_rotary_factor=1.0))
CASES.update({
    "glm4v": reads("Glm4v", GLM_TEXT, GLM_VISION, **SEEN),
    "glm4v_moe": reads("Glm4vMoe", {
        **GLM_TEXT, "head_dim": 8, "n_routed_experts": 8, "num_experts_per_tok": 3, "n_shared_experts": 1,
        "moe_intermediate_size": 20, "first_k_dense_replace": 1, "n_group": 2,
        "topk_group": 1}, GLM_VISION, **SEEN),
    "aya_vision": reads("AyaVision", dict(model_type="cohere2", sliding_window=8),
                        SIGLIP_TOWER, image_token_index=IMAGE, downsample_factor=2,
                        alignment_intermediate_size=48),
    "cohere2_vision": reads("Cohere2Vision", dict(model_type="cohere2", sliding_window=8),
                            SIGLIP_TOWER, image_token_id=IMAGE, downsample_factor=2,
                            alignment_intermediate_size=48),
    "gemma4_text": of("Gemma4ForCausalLM", "Gemma4TextConfig", **GEMMA4),
    "gemma4_text-experts": of("Gemma4ForCausalLM", "Gemma4TextConfig", **{
        **GEMMA4, "enable_moe_block": True, "num_experts": 6, "top_k_experts": 2,
        "moe_intermediate_size": 24, "use_double_wide_mlp": False,
        "hidden_size_per_layer_input": 0, "num_kv_shared_layers": 0,
        "attention_k_eq_v": True, "num_global_key_value_heads": 2}),
    "gemma4": lambda: (tf.Gemma4ForConditionalGeneration, tf.Gemma4Config(
        text_config=GEMMA4, vision_config=dict(
            hidden_size=48, intermediate_size=72, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=4, head_dim=12, patch_size=4, pooling_kernel_size=2,
            position_embedding_size=16), audio_config=dict(
            hidden_size=32, num_hidden_layers=1, num_attention_heads=4, output_proj_dims=40,
            subsampling_conv_channels=[8, 4]),
        image_token_id=IMAGE, audio_token_id=IMAGE + 1, video_token_id=IMAGE + 2,
        boi_token_id=1, eoi_token_id=2)),
    "llama4": lambda: (tf.Llama4ForConditionalGeneration, tf.Llama4Config(
        text_config=dict(**FOUR, head_dim=16, intermediate_size_mlp=56, num_local_experts=5,
                         num_experts_per_tok=2, interleave_moe_layer_step=2,
                         no_rope_layers=[1, 1, 0, 1], attention_chunk_size=24, floor_scale=4),
        vision_config=dict(hidden_size=48, num_hidden_layers=2, num_attention_heads=4,
                           intermediate_size=192, image_size=32, patch_size=8,
                           projector_input_dim=40, projector_output_dim=40,
                           vision_output_dim=40, rope_parameters=rope("default", 100.0)),
        image_token_index=IMAGE, boi_token_index=1, eoi_token_index=2)),
    "qwen2_audio": lambda: (tf.Qwen2AudioForConditionalGeneration, tf.Qwen2AudioConfig(
        text_config=dict(model_type="qwen2", **STD), audio_config=dict(
            d_model=48, encoder_layers=2, encoder_attention_heads=4, encoder_ffn_dim=72,
            num_mel_bins=8, max_source_positions=32), audio_token_index=IMAGE)),
})


def places(count, length=24):
    """Two texts with places for count pieces of a picture or a sound."""
    g = torch.Generator().manual_seed(5)
    ids = torch.randint(3, IMAGE, (2, length), generator=g)
    ids[:, 1] = 1
    ids[:, 2:2 + count] = IMAGE
    return ids


def merged(model):
    """4 x 4 patches, four of which make a token."""
    ids = places(4)
    return [dict(input_ids=ids, pixel_values=noise(3, 32, 96),
                 image_grid_thw=torch.tensor([[1, 4, 4]] * 2),
                 mm_token_type_ids=(ids == IMAGE).int())]


def placed(model):
    """4 x 4 patches with their places, four of which make a token."""
    at = torch.tensor([[[x, y] for y in range(4) for x in range(4)]] * 2)
    ids = places(4)
    return [dict(input_ids=ids, pixel_values=noise(3, 2, 16, 48), image_position_ids=at,
                 mm_token_type_ids=(ids == IMAGE).int())]


def joined(model):
    return [dict(input_ids=places(4), pixel_values=noise(3, 2, 3, 32, 32))]


def llama4(model):
    """Casting to doubles makes complex positions real."""
    turns = model.vision_model.rotary_embedding
    turns.freqs_ci = turns._compute_freqs_ci(turns.config).to(torch.complex128)


# Llama 4's wrapper asks its language model for an output that this does not give.
MoeCausalLMOutputWithPast.image_outputs = None
LOADED["llama4"] = llama4
INPUTS.update({
    "glm4v": merged, "glm4v_moe": merged, "aya_vision": joined, "cohere2_vision": joined,
    "llama4": joined, "gemma4": placed,
    "qwen2_audio": lambda model: [dict(
        input_ids=places(16), input_features=noise(3, 2, 8, 64),
        feature_attention_mask=torch.ones(2, 64, dtype=torch.long))],
})


def said(change):
    """A function that changes config.json in a folder, as an older or a sparser one may be."""
    def edit(folder):
        path = os.path.join(folder, "config.json")
        with open(path) as f:
            config = json.load(f)
        change(config)
        with open(path, "w") as f:
            json.dump(config, f)
    return edit


def usual_layers(config):
    """Leaves out the four layers that transformers takes where nothing is said."""
    for key in ("num_hidden_layers", "layers_block_type", "layer_types"):
        config.pop(key, None)


def older_neox(config):
    config.update(rotary_pct=0.5, rotary_emb_base=100)
    del config["rope_parameters"]


def older_bloom(config):
    config["n_embed"] = config.pop("hidden_size")


def general_heads(config):
    """By the name that transformers has for the heads of every family, and that it takes first."""
    for section in (config, config.get("vision_config", {}), config.get("audio_config", {})):
        for own in ("encoder_attention_heads", "attention_heads", "num_heads"):
            if own in section:
                section["num_attention_heads"] = section.pop(own)
    if "d_model" in config:
        config["hidden_size"] = config.pop("d_model")


def discriminator(folder):
    """The head that DeBERTa v3 was trained by, which no class of transformers has."""
    path = os.path.join(folder, "model.safetensors")
    weights = load_file(path)
    for name, shape in {"dense.weight": (64, 64), "dense.bias": (64,), "LayerNorm.weight": (64,),
                        "LayerNorm.bias": (64,), "classifier.weight": (1, 64), "classifier.bias": (1,)}.items():
        weights["mask_predictions." + name] = noise(5, *shape).float()
    save_file(weights, path, metadata={"format": "pt"})


AFTERWARDS.update({
    "bloom": said(older_bloom),
    "falcon-multi-query": said(older_bloom),
    "deberta-v3-classifier": discriminator,
    **{name: said(general_heads) for name in (
        "bart-scaled", "blenderbot", "blenderbot-small", "marian", "mbart", "mvp", "nllb-moe", "pegasus",
        "plbart", "whisper", "xglm", "qwen2_audio", "qwen2_5_vl", "qwen3_vl", "qwen3_5", "glm4v", "mllama")},
    "bamba": said(lambda config: config.pop("rope_parameters")),
    "olmo_hybrid": said(lambda config: config.pop("rope_parameters")),
    "hyperclovax": said(lambda config: config.pop("head_dim")),
    "gpt_neox_japanese": said(older_neox),
    "nemotron_h": said(usual_layers),
})
