/* SPDX-License-Identifier: Apache-2.0 */
/* config.json as typed facts: which keys are tried for a fact is a table, not code. */
#ifndef WW_MODEL_CONFIG_H
#define WW_MODEL_CONFIG_H

#include "json/json.h"
#include "weightward/model.h"

enum ww_fact {
    WW_FACT_LAYERS, /* num_hidden_layers | n_layer | n_layers | num_layers */
    WW_FACT_ENCODER_LAYERS,
    WW_FACT_DECODER_LAYERS,
    WW_FACT_HIDDEN,
    WW_FACT_HEADS,
    WW_FACT_KV_HEADS,
    WW_FACT_HEAD_DIM, /* head_dim | d_kv | kv_channels; may be null = absent */
    WW_FACT_FF,       /* intermediate_size | n_inner | d_ff | ffn_dim ... */
    WW_FACT_VOCAB,
    WW_FACT_EXPERTS, /* num_local_experts | num_experts | n_routed_experts */
    WW_FACT_EXPERTS_PER_TOKEN,
    WW_FACT_COUNT
};

/** Everything about config.json that does not depend on the architecture. */
struct ww_config {
    struct ww_json *json;
    const struct ww_jnode *root;
    const struct ww_jnode *text; /* text_config etc. when present, else root */
    const char *model_type;      /* of text if it has one, else of root; or NULL */
    const char *root_model_type;
    bool tie_present;
    bool tie; /* tie_word_embeddings */
    bool has_auto_map;
    bool has_pruned_heads;
    const char *quant_method; /* NULL when not quantised by any config file */
};

enum ww_err ww_config_parse(const uint8_t *text, size_t len, struct ww_config **out,
                            struct ww_error *err) WW_MUST_USE;
void ww_config_free(struct ww_config *config);

/** The JSON key names tried for a fact, in order. */
const char *const *ww_fact_keys(enum ww_fact fact, size_t *n);

/** Find a fact in a section (config->text or another object). present is false when no
 *  key is there or its value is null; a value of the wrong type is WW_E_CONFIG. */
enum ww_err ww_config_fact(const struct ww_jnode *section, enum ww_fact fact,
                           bool *present, uint64_t *value,
                           struct ww_error *err) WW_MUST_USE;

/** A member by dotted path ("rope_parameters.rope_theta"), NULL when absent or null. */
const struct ww_jnode *ww_config_at(const struct ww_jnode *section, const char *path);

/** The i-th entry of "architectures", NULL behind the last. */
const char *ww_config_architecture(const struct ww_config *config, size_t i);

#endif
