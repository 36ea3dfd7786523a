# SPDX-License-Identifier: Apache-2.0
"""Further families of make_models.py: kin of what it holds, and rarer architectures.

    CASES       name -> function giving class and config
    UNCOVERED   cases with layers that the reference forward pass does not know
    NO_FORWARD  model types for which it has no answer
    FIXED_IN    case -> parts of names of tensors that no lock moves
    INPUTS      model type -> function giving the inputs of a model of its own kind
"""
import transformers as tf
from model_parts import BART, BERT, FOUR, MLA, PAD1, STD, of, rope, std

INPUTS = {}
NO_FORWARD = ("esm",)
FIXED_IN = {
    "recurrent_gemma": ("rg_lru.", "conv_1d.", "linear_x.bias", "linear_y.bias"),
}

# Decoders.
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
