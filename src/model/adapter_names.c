/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Transformers 5 gave modules of some families new names and renames tensors when it
 * reads and writes files, which keep the old ones. PEFT names an adapter's tensors after
 * the modules, so they say layers.0.attention.q_proj where the base's file says
 * encoder.layer.0.attention.attention.query. One to one only: a module that is a part of
 * a fused tensor has no name here.
 */
#include "model/adapter_names.h"

#include <string.h>

#include "util/alloc.h"
#include "util/fail.h"
#include "util/str.h"

#define MAX_TYPES 12
#define MAX_PAIRS 8

struct renaming {
    const char *types[MAX_TYPES];
    struct {
        const char *module;
        const char *file;
    } pairs[MAX_PAIRS]; /* each is put in once, in this order */
};

static const struct renaming renamings[] = {
    {{"vit", "deit", "vit_msn", "vit_mae", "ijepa", "yolos", "beit", "data2vec-vision",
      "dinov2", "dinov2_with_registers", "audio-spectrogram-transformer"},
     {{".layers.", ".encoder.layer."},
      {".attention.q_proj.", ".attention.attention.query."},
      {".attention.k_proj.", ".attention.attention.key."},
      {".attention.v_proj.", ".attention.attention.value."},
      {".attention.o_proj.", ".attention.output.dense."},
      {".mlp.fc1.", ".intermediate.dense."},
      {".mlp.fc2.", ".output.dense."},
      {".mlp.down_proj.", ".mlp.weights_out."}}},
    {{"llava", "llava_next", "llava_onevision", "vipllava", "gemma3", "paligemma",
      "mistral3", "internvl", "mllama", "aya_vision", "qwen2_audio"},
     {{"model.language_model.", "language_model.model."}}},
    {{"qwen2_vl", "qwen2_5_vl"}, {{"model.language_model.", "model."}}},
    {{"nemotron_h"}, {{"model.", "backbone."}}},
    {{"gpt_neox"}, {{"lm_head.", "embed_out."}}},
    {{"mixtral", "minimax", "minimax_m2"}, {{".mlp.", ".block_sparse_moe."}}},
    {{"hy_v3"},
     {{".mlp.shared_experts.", ".mlp.shared_mlp."}, {".mlp.gate.", ".mlp.router.gate."}}},
    {{"kimi_linear"},
     {{".self_attn.forget_gate.", ".self_attn."}, {".mlp.", ".block_sparse_moe."}}},
    {{"sarvam_moe"},
     {{"model.embed_tokens.", "model.word_embeddings."},
      {".self_attn.o_proj.", ".attention.dense."}}},
    {{"nomic_bert"},
     {{".layers.", ".encoder.layers."},
      {".self_attn.o_proj.", ".attn.out_proj."},
      {".up_proj.", ".fc11."},
      {".gate_proj.", ".fc12."},
      {".down_proj.", ".fc2."}}},
    {{"gte"},
     {{".layers.", ".encoder.layer."}, {".self_attn.o_proj.", ".attention.o_proj."}}},
    {{"jina_embeddings_v3"},
     {{".layers.", ".encoder.layers."}, {".self_attn.o_proj.", ".mixer.out_proj."}}},
    {{"altclip"}, {{".layers.", ".layer."}}},
    {{"dinov3_vit"}, {{"model.layer.", "layer."}}},
    {{"olmo_hybrid"},
     {{".input_layernorm.", ".attention_layer_norm."},
      {".post_attention_layernorm.", ".feedforward_layer_norm."}}},
    {{"phimoe"}, {{".mlp.", ".block_sparse_moe."}, {".router.", ".gate."}}},
    {{"exaone"},
     {{"model.layers.", "transformer.h."},
      {"model.embed_tokens.", "transformer.wte."},
      {".self_attn.o_proj.", ".attn.attention.out_proj."},
      {".self_attn.", ".attn.attention."},
      {".mlp.gate_proj.", ".mlp.c_fc_0."},
      {".mlp.up_proj.", ".mlp.c_fc_1."},
      {".mlp.down_proj.", ".mlp.c_proj."}}},
};

static const struct renaming *find(const char *model_type)
{
    for (size_t i = 0; model_type && i < WW_LEN(renamings); i++) {
        for (size_t t = 0; t < MAX_TYPES && renamings[i].types[t]; t++) {
            if (strcmp(renamings[i].types[t], model_type) == 0) {
                return &renamings[i];
            }
        }
    }
    return NULL;
}

bool ww_adapter_is_renamed(const char *model_type, const char *name)
{
    const struct renaming *r = find(model_type);

    for (size_t i = 0; r && i < MAX_PAIRS && r->pairs[i].module; i++) {
        if (strstr(name, r->pairs[i].file) && !strstr(name, r->pairs[i].module)) {
            return true;
        }
    }
    return false;
}

/* The name with the first place of one text taken by another; the old one is freed. */
static char *put_in(char *name, const char *from, const char *to)
{
    const char *at = strstr(name, from);
    char *out = NULL;

    if (!at) {
        return name;
    }
    out = ww_asprintf("%.*s%s%s", (int)(at - name), name, to, at + strlen(from));
    ww_free(name);
    return out;
}

enum ww_err ww_adapter_stored_name(const char *model_type, const char *name, char **out,
                                   struct ww_error *err)
{
    const struct renaming *r = find(model_type);
    char *stored = NULL;

    *out = NULL;
    if (!r) {
        return WW_OK;
    }
    stored = ww_strdup(name);
    for (size_t i = 0; i < MAX_PAIRS && r->pairs[i].module && stored; i++) {
        stored = put_in(stored, r->pairs[i].module, r->pairs[i].file);
    }
    if (!stored) {
        return WW_FAIL_MEMORY(err, "a name");
    }
    *out = stored;
    return WW_OK;
}
