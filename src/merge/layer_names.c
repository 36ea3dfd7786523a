/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Layers by name: "model.layers.3.mlp.up_proj.weight" is in layer 3 of the stack
 * "model.layers.". The words that stand before the number are few over all families.
 */
#include <string.h>

#include "merge/build.h"
#include "model/config.h"
#include "util/alloc.h"
#include "util/fail.h"

static const char *const containers[] = {"layers", "layer",     "h",          "blocks",
                                         "block",  "resblocks", "layer_stack"};
static const char *const before[] = {"embed", "wte.", "wpe.", "tok_embeddings",
                                     "shared."};
static const char *const not_before[] = {"embed_out", "unembed"};

static bool is_container(const char *word, size_t len)
{
    for (size_t i = 0; i < WW_LEN(containers); i++) {
        if (strlen(containers[i]) == len && memcmp(containers[i], word, len) == 0) {
            return true;
        }
    }
    return false;
}

/* Offset of the layer number in a name, 0 when there is none. */
static size_t find_number(const char *name, uint64_t *layer, size_t *rest)
{
    const char *word = name;
    size_t word_len = 0;

    for (const char *p = name; *p;) {
        const char *dot = strchr(p, '.');
        const size_t len = dot ? (size_t)(dot - p) : strlen(p);
        if (dot && word_len > 0 && is_container(word, word_len) &&
            ww_parse_u64(p, len, layer) && *layer < UINT32_MAX) {
            *rest = (size_t)(dot - name);
            return (size_t)(p - name);
        }
        word = p;
        word_len = len;
        p = dot ? dot + 1 : p + len;
    }
    return 0;
}

static enum ww_err stack_of(struct ww_build_model *m, struct ww_pool *pool,
                            const char *name, size_t len, uint32_t *out,
                            struct ww_error *err)
{
    struct ww_layer_stack *stacks = NULL;

    for (uint32_t i = 0; i < m->n_stacks; i++) {
        if (strlen(m->stacks[i].prefix) == len &&
            memcmp(m->stacks[i].prefix, name, len) == 0) {
            *out = i;
            return WW_OK;
        }
    }
    stacks = ww_pool_calloc(pool, (size_t)m->n_stacks + 1, sizeof(*stacks));
    if (!stacks) {
        return ww_build_no_memory(err);
    }
    if (m->n_stacks > 0) {
        memcpy(stacks, m->stacks, m->n_stacks * sizeof(*stacks));
    }
    m->stacks = stacks;
    stacks[m->n_stacks].prefix = ww_pool_keep(pool, ww_strndup(name, len));
    if (!stacks[m->n_stacks].prefix) {
        return ww_build_no_memory(err);
    }
    *out = m->n_stacks++;
    return WW_OK;
}

/* The stack that config.json counts; the only one; none. */
static enum ww_err find_main(struct ww_build_model *m, struct ww_error *err)
{
    const struct ww_config *config = m->model->config;
    bool present = false;
    uint64_t layers = 0;
    uint32_t n_equal = 0;
    enum ww_err rc = WW_OK;

    m->main = m->n_stacks == 1 ? 0 : WW_NONE;
    if (m->n_stacks < 2 || !config) {
        return WW_OK;
    }
    rc = ww_config_fact(config->text, WW_FACT_LAYERS, &present, &layers, err);
    for (uint32_t i = 0; i < m->n_stacks && present && !rc; i++) {
        if (m->stacks[i].n_layers == layers) {
            m->main = i;
            n_equal++;
        }
    }
    m->main = n_equal == 1 ? m->main : WW_NONE;
    return rc;
}

enum ww_err ww_build_layers(struct ww_build_model *m, struct ww_pool *pool,
                            struct ww_error *err)
{
    const uint32_t n = m->model->n_tensors;
    enum ww_err rc = WW_OK;

    m->places = ww_pool_calloc(pool, n, sizeof(*m->places));
    if (!m->places) {
        return ww_build_no_memory(err);
    }
    for (uint32_t i = 0; i < n && !rc; i++) {
        struct ww_layer_place *place = &m->places[i];
        const char *name = m->model->tensors[i].name;
        const size_t len = find_number(name, &place->layer, &place->rest);
        place->stack = WW_NONE;
        if (len == 0) {
            continue;
        }
        rc = stack_of(m, pool, name, len, &place->stack, err);
        if (!rc && m->stacks[place->stack].n_layers <= place->layer) {
            m->stacks[place->stack].n_layers = place->layer + 1;
        }
    }
    return rc ? rc : find_main(m, err);
}

bool ww_build_is_before(const char *name)
{
    for (size_t i = 0; i < WW_LEN(not_before); i++) {
        if (strstr(name, not_before[i])) {
            return false;
        }
    }
    for (size_t i = 0; i < WW_LEN(before); i++) {
        if (strstr(name, before[i])) {
            return true;
        }
    }
    return false;
}
