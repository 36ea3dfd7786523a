/* SPDX-License-Identifier: Apache-2.0 */
/*
 * config.json as typed facts. Model families name the same fact differently, files hold
 * nulls and leave defaults out; so a fact is a list of keys tried in order, null counts
 * as absent, and a value of the wrong type is an error rather than a guess. Defaults
 * belong to the architecture descriptors.
 */
#include "model/config.h"

#include <string.h>

#include "util/alloc.h"
#include "util/fail.h"
#include "util/str.h"

#define MAX_KEYS 8
#define MAX_KEY_BYTES 64
#define PUT_BACK " cannot be read; put back the one that these weights were saved with"

static const char *const fact_keys[WW_FACT_COUNT][MAX_KEYS] = {
    [WW_FACT_LAYERS] = {"num_hidden_layers", "n_layer", "n_layers", "num_layers",
                        "encoder_layers", "depth"},
    [WW_FACT_ENCODER_LAYERS] = {"encoder_layers", "num_layers"},
    [WW_FACT_DECODER_LAYERS] = {"decoder_layers", "num_decoder_layers"},
    [WW_FACT_HIDDEN] = {"hidden_size", "n_embd", "d_model", "dim", "embed_dim"},
    [WW_FACT_HEADS] = {"num_attention_heads", "n_head", "n_heads", "num_heads",
                       "encoder_attention_heads", "decoder_attention_heads"},
    [WW_FACT_KV_HEADS] = {"num_key_value_heads", "num_kv_heads", "n_head_kv",
                          "multi_query_group_num", "attn_config.kv_n_heads"},
    [WW_FACT_HEAD_DIM] = {"head_dim", "d_kv", "kv_channels"},
    [WW_FACT_FF] = {"intermediate_size", "ffn_hidden_size", "n_inner", "d_ff", "ffn_dim",
                    "encoder_ffn_dim", "hidden_dim"},
    [WW_FACT_VOCAB] = {"vocab_size", "padded_vocab_size"},
    [WW_FACT_EXPERTS] = {"num_local_experts", "num_experts", "n_routed_experts",
                         "ffn_config.moe_num_experts"},
    [WW_FACT_EXPERTS_PER_TOKEN] = {"num_experts_per_tok", "num_experts_per_token",
                                   "moe_topk", "ffn_config.moe_top_k"},
};

/* Where the language model's own section may be, first match wins. */
static const char *const text_sections[] = {"text_config", "language_config",
                                            "llm_config", "thinker_config.text_config"};

const char *const *ww_fact_keys(enum ww_fact fact, size_t *n)
{
    WW_INVARIANT((unsigned)fact < WW_FACT_COUNT);
    *n = 0;
    while (*n < MAX_KEYS && fact_keys[fact][*n]) {
        (*n)++;
    }
    return fact_keys[fact];
}

const struct ww_jnode *ww_config_at(const struct ww_jnode *section, const char *path)
{
    char key[MAX_KEY_BYTES];
    const struct ww_jnode *node = section;
    for (;;) {
        size_t len = strcspn(path, ".");
        if (len >= sizeof(key)) {
            return NULL;
        }
        memcpy(key, path, len);
        key[len] = '\0';
        node = ww_jget(node, key);
        if (!node || ww_jtype(node) == WW_J_NULL) {
            return NULL;
        }
        if (path[len] == '\0') {
            return node;
        }
        path += len + 1;
    }
}

static bool is_full_object(const struct ww_jnode *node)
{
    return ww_jtype(node) == WW_J_OBJECT && ww_jsize(node) > 0;
}

/* A member of the text section, else of the root. */
static const struct ww_jnode *either(const struct ww_config *config, const char *path)
{
    const struct ww_jnode *node = ww_config_at(config->text, path);
    return node ? node : ww_config_at(config->root, path);
}

static bool either_full_object(const struct ww_config *config, const char *path)
{
    return is_full_object(ww_config_at(config->text, path)) ||
           is_full_object(ww_config_at(config->root, path));
}

static void find_quantisation(struct ww_config *config)
{
    const struct ww_jnode *section = either(config, "quantization_config");
    bool yes;
    if (section) {
        config->quant_method = "unknown";
        (void)ww_jstr(ww_jget(section, "quant_method"), &config->quant_method);
        /* Files older than quant_method say it by a flag. */
        if ((ww_jbool(ww_jget(section, "load_in_8bit"), &yes) && yes) ||
            (ww_jbool(ww_jget(section, "load_in_4bit"), &yes) && yes)) {
            config->quant_method = "bitsandbytes";
        }
    } else if (either(config, "compression_config")) {
        config->quant_method = "compressed-tensors";
    }
}

/* It is shown to people, in one line with what is known of the model. */
static bool is_line(const char *text)
{
    return !text || ww_text_ok((const uint8_t *)text, strlen(text));
}

static enum ww_err read_facts(struct ww_config *config, struct ww_error *err)
{
    config->root = ww_json_root(config->json);
    if (ww_jtype(config->root) != WW_J_OBJECT) {
        return WW_FAIL(err, WW_E_CONFIG, "'config.json'" PUT_BACK ": expected an object");
    }
    config->text = config->root;
    for (size_t i = 0; i < WW_LEN(text_sections); i++) {
        const struct ww_jnode *node = ww_config_at(config->root, text_sections[i]);
        if (is_full_object(node)) {
            config->text = node;
            break;
        }
    }
    (void)ww_jstr(ww_jget(config->root, "model_type"), &config->root_model_type);
    config->model_type = config->root_model_type;
    (void)ww_jstr(ww_jget(config->text, "model_type"), &config->model_type);
    if (!is_line(config->root_model_type) || !is_line(config->model_type)) {
        return WW_FAIL(err, WW_E_CONFIG,
                       "'config.json': model_type '%.60s' holds a control character",
                       is_line(config->model_type) ? config->root_model_type
                                                   : config->model_type);
    }

    /* Wrappers tie by their own switch; the text section's counts only without one. */
    const struct ww_jnode *tie = ww_config_at(config->root, "tie_word_embeddings");
    tie = tie ? tie : ww_config_at(config->text, "tie_word_embeddings");
    config->tie_present = tie != NULL;
    if (tie && !ww_jbool(tie, &config->tie)) {
        return WW_FAIL(err, WW_E_CONFIG,
                       "'config.json': tie_word_embeddings is neither true nor false");
    }
    config->has_auto_map = either_full_object(config, "auto_map");
    config->has_pruned_heads = either_full_object(config, "pruned_heads");
    find_quantisation(config);
    return WW_OK;
}

enum ww_err ww_config_parse(const uint8_t *text, size_t len, struct ww_config **out,
                            struct ww_error *err)
{
    enum ww_err rc;
    *out = NULL;
    struct ww_config *config = ww_calloc(1, sizeof(*config));
    if (!config) {
        rc = WW_FAIL_MEMORY(err, "'config.json'");
        goto out;
    }
    rc = ww_json_parse(text, len, &ww_json_limits_config, &config->json, err);
    if (rc) {
        ww_error_context(err, "'config.json'%s", rc == WW_E_JSON ? PUT_BACK : "");
        goto out;
    }
    rc = read_facts(config, err);
    if (rc) {
        goto out;
    }
    *out = config;
    config = NULL;
out:
    ww_config_free(config);
    return rc;
}

void ww_config_free(struct ww_config *config)
{
    if (config) {
        ww_json_free(config->json);
        ww_free(config);
    }
}

enum ww_err ww_config_fact(const struct ww_jnode *section, enum ww_fact fact,
                           bool *present, uint64_t *value, struct ww_error *err)
{
    size_t n;
    const char *const *keys = ww_fact_keys(fact, &n);
    *present = false;
    *value = 0;
    for (size_t i = 0; i < n; i++) {
        const struct ww_jnode *node = ww_config_at(section, keys[i]);
        if (!node) {
            continue;
        }
        if (!ww_ju64(node, value)) {
            return WW_FAIL(err, WW_E_CONFIG,
                           "'config.json': %s is no non-negative integer", keys[i]);
        }
        *present = true;
        return WW_OK;
    }
    return WW_OK;
}

const char *ww_config_architecture(const struct ww_config *config, size_t i)
{
    const char *name = NULL;
    const struct ww_jnode *list = ww_jget(config->root, "architectures");
    if (ww_jtype(list) != WW_J_ARRAY || i >= ww_jsize(list)) {
        return NULL;
    }
    (void)ww_jstr(ww_jat(list, i), &name);
    return name;
}
