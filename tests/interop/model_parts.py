# SPDX-License-Identifier: Apache-2.0
"""Sizes and makers of the tiny models of make_models.py and more_models.py: small, and
different wherever two sizes could be mixed up."""
import transformers as tf

VOCAB = 97
STD = dict(vocab_size=VOCAB, hidden_size=64, num_hidden_layers=3, num_attention_heads=8,
           num_key_value_heads=2, intermediate_size=80, max_position_embeddings=64,
           pad_token_id=0, bos_token_id=1, eos_token_id=2)
BERT = dict(vocab_size=VOCAB, hidden_size=64, num_hidden_layers=3, num_attention_heads=4,
            intermediate_size=80, max_position_embeddings=66, pad_token_id=0)
VIT = dict(hidden_size=64, num_hidden_layers=3, num_attention_heads=4, intermediate_size=80,
           image_size=32, patch_size=8, num_labels=5)
GPT = dict(vocab_size=VOCAB, n_embd=96, n_layer=3, n_head=4, n_positions=64, bos_token_id=1,
           eos_token_id=2)


def std(prefix, suffix="ForCausalLM", **more):
    """A decoder whose class and config begin with prefix."""
    config = "Gemma3TextConfig" if prefix == "Gemma3" else prefix + "Config"
    return lambda: (getattr(tf, prefix + suffix), getattr(tf, config)(**{**STD, **more}))


def of(cls, config, **sizes):
    return lambda: (getattr(tf, cls), getattr(tf, config)(**sizes))


def rope(kind, theta=1000.0, **more):
    return dict(rope_type=kind, rope_theta=theta, **more)


def falcon(alibi, **more):
    return of("FalconForCausalLM", "FalconConfig",
              **{**dict(vocab_size=VOCAB, hidden_size=96, num_hidden_layers=3,
                        num_attention_heads=12, alibi=alibi, bias=True, bos_token_id=1,
                        eos_token_id=2), **more})


def t5(prefix="T5", cls="ForConditionalGeneration", **more):
    return of(prefix + cls, prefix + "Config",
              **{**dict(vocab_size=VOCAB, d_model=64, d_kv=12, d_ff=80, num_layers=3,
                        num_decoder_layers=2, num_heads=4, relative_attention_num_buckets=16,
                        relative_attention_max_distance=20, decoder_start_token_id=0),
                 **more})


def phi3():
    return std("Phi3", rope_parameters=rope(
        "longrope", partial_rotary_factor=0.75,
        short_factor=[1 + 0.1 * i for i in range(3)],
        long_factor=[2 + 0.3 * i for i in range(3)]),
        original_max_position_embeddings=32)

MLA = dict(num_key_value_heads=8, kv_lora_rank=24, qk_nope_head_dim=10, qk_rope_head_dim=8,
           v_head_dim=12, moe_intermediate_size=20, n_shared_experts=2, n_routed_experts=8,
           num_experts_per_tok=3, first_k_dense_replace=1, routed_scaling_factor=1.7)
GATED = dict(num_hidden_layers=4, head_dim=16, linear_num_value_heads=4,
             linear_num_key_heads=2, linear_key_head_dim=8, linear_value_head_dim=12,
             layer_types=["linear_attention", "full_attention"] * 2)
YARN = rope("yarn", factor=4.0, original_max_position_embeddings=16, mscale=1.0,
            mscale_all_dim=0.8)

IMAGE = 96      # the token that stands for a piece of an image


def qwen_vl(prefix, suffix="ForConditionalGeneration", **vision):
    return lambda: (
        getattr(tf, prefix + suffix), getattr(tf, prefix + "Config")(
            text_config=dict(**STD, rope_parameters=rope("default", mrope_section=[1, 1, 2])),
            vision_config=dict(depth=3, num_heads=4, patch_size=4, **vision),
            image_token_id=IMAGE, vision_start_token_id=1, tie_word_embeddings=False))


BART = dict(vocab_size=VOCAB, d_model=64, encoder_layers=3, decoder_layers=2,
            encoder_attention_heads=4, decoder_attention_heads=8, encoder_ffn_dim=80,
            decoder_ffn_dim=72, max_position_embeddings=66, pad_token_id=1, bos_token_id=0,
            eos_token_id=2, decoder_start_token_id=2, forced_eos_token_id=None)
CLIP_TEXT = dict(vocab_size=VOCAB, hidden_size=64, num_hidden_layers=2,
                 num_attention_heads=4, intermediate_size=80, max_position_embeddings=64,
                 bos_token_id=1, eos_token_id=2, pad_token_id=0, projection_dim=24)
CLIP_VISION = dict(hidden_size=48, num_hidden_layers=3, num_attention_heads=8,
                   intermediate_size=72, image_size=32, patch_size=8, projection_dim=24)
CLIP = dict(text_config=CLIP_TEXT, vision_config=CLIP_VISION, projection_dim=24)
SIGLIP = dict(text_config={**CLIP_TEXT, "projection_size": 48}, vision_config=CLIP_VISION)
DINO = {**VIT, "mlp_ratio": 2}
DEBERTA = dict(vocab_size=VOCAB, hidden_size=64, num_hidden_layers=3, num_attention_heads=4,
               intermediate_size=80, max_position_embeddings=64, pad_token_id=0,
               relative_attention=True, pos_att_type="c2p|p2c")
DEBERTA_V3 = dict(**DEBERTA, share_att_key=True, position_buckets=8,
                  norm_rel_ebd="layer_norm", position_biased_input=False)
MODERN = dict(vocab_size=VOCAB, hidden_size=64, num_hidden_layers=4, num_attention_heads=4,
              intermediate_size=80, max_position_embeddings=64, local_attention=8,
              pad_token_id=0, bos_token_id=1, cls_token_id=1, eos_token_id=2, sep_token_id=2)
WAV = dict(vocab_size=33, hidden_size=64, num_hidden_layers=3, num_attention_heads=4,
           intermediate_size=80, conv_dim=(16, 16), conv_stride=(5, 2), conv_kernel=(10, 3),
           num_feat_extract_layers=2, num_conv_pos_embeddings=16,
           num_conv_pos_embedding_groups=4)


def reads(prefix, text, vision, **more):
    return lambda: (
        getattr(tf, prefix + "ForConditionalGeneration"), getattr(tf, prefix + "Config")(
            text_config={**STD, **text}, vision_config=vision, **more))


QWEN3_VISION = dict(depth=3, hidden_size=32, num_heads=4, intermediate_size=48, patch_size=4,
                    out_hidden_size=64, num_position_embeddings=16)
QWEN3 = dict(rope_parameters=rope("default", mrope_section=[1, 1, 2]), head_dim=16)
QWEN35 = {**GATED, "rope_parameters": rope("default", mrope_section=[1, 0, 1],
                                           partial_rotary_factor=0.25)}
EXPERTS = dict(num_experts=6, num_experts_per_tok=2, moe_intermediate_size=24)
SHARED = dict(**EXPERTS, shared_expert_intermediate_size=40)
DEEP = dict(**QWEN3_VISION, deepstack_visual_indexes=[0, 2])
TOWER = {k: v for k, v in CLIP_VISION.items() if k != "projection_dim"}
SIGLIP_TOWER = dict(model_type="siglip_vision_model", vision_use_head=False, **TOWER)
SEEN = dict(image_token_id=IMAGE, vision_start_token_id=1, tie_word_embeddings=False)
PINPOINTS = dict(image_token_index=IMAGE, image_grid_pinpoints=[[32, 64], [64, 32]])

FOUR = {**STD, "num_hidden_layers": 4}
MAMBA = dict(mamba_n_heads=8, mamba_d_head=16, mamba_d_state=8, mamba_n_groups=1)
SPARSE = {**MLA, "q_lora_rank": 28, "n_group": 4, "topk_group": 2, "index_n_heads": 4,
          "index_head_dim": 16, "index_topk": 6}

PAD1 = {**BERT, "pad_token_id": 1}
