/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Projections that are modules of their own in memory and rows of one tensor in files.
 * PEFT names factors after the modules, so up to three pairs change one weight: B of each
 * fills the rows that are its module's, and the A lie below each other. A module that the
 * adapter leaves alone keeps its rows. How many rows are whose is told by the base: those
 * of the first module are what the weight behind them takes in, the others have equal
 * shares of the rest.
 */
#include <string.h>

#include "merge/bake_work.h"
#include "model/config.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/num.h"
#include "util/str.h"

#define QKV                                                                              \
    {                                                                                    \
        ".self_attn.q_proj", ".self_attn.k_proj", ".self_attn.v_proj"                    \
    }
#define GATED                                                                            \
    {                                                                                    \
        ".mlp.gate_proj", ".mlp.up_proj"                                                 \
    }

/* Ends of names: of the modules in the order of their rows, of the tensor that holds them
 * all, and of the weight behind the first. Rows that follow each other alone: other
 * families have those of a head beside each other under names like these. */
struct ww_bake_fused {
    const char *type; /* model_type */
    const char *modules[WW_BAKE_FUSED];
    const char *stored;
    const char *behind;
};

static const struct ww_bake_fused forms[] = {
    {"nomic_bert", QKV, ".attn.Wqkv.weight", ".attn.out_proj.weight"},
    {"jina_embeddings_v3", QKV, ".mixer.Wqkv.weight", ".mixer.out_proj.weight"},
    {"gte", QKV, ".attention.qkv_proj.weight", ".attention.o_proj.weight"},
    {"gte",
     {".mlp.up_proj", ".mlp.gate_proj"},
     ".mlp.up_gate_proj.weight",
     ".mlp.down_proj.weight"},
    {"dinov2", GATED, ".mlp.weights_in.weight", ".mlp.weights_out.weight"},
    {"dinov2_with_registers", GATED, ".mlp.weights_in.weight", ".mlp.weights_out.weight"},
    {"sarvam_moe", QKV, ".attention.query_key_value.weight", ".attention.dense.weight"},
};

/* The form that has this module, and its place in it. */
static const struct ww_bake_fused *form_of(const struct ww_model *base,
                                           const char *module, uint32_t *place)
{
    const char *type = base->config ? base->config->root_model_type : NULL;

    for (size_t f = 0; type && f < WW_LEN(forms); f++) {
        for (uint32_t p = 0; p < WW_BAKE_FUSED && forms[f].modules[p]; p++) {
            if (strcmp(forms[f].type, type) == 0 &&
                ww_str_ends(module, forms[f].modules[p])) {
                *place = p;
                return &forms[f];
            }
        }
    }
    return NULL;
}

enum ww_err ww_bake_fuse(const struct ww_bake_from *from,
                         const struct ww_adapter_entry *entry,
                         struct ww_bake_group *group, bool *done, struct ww_error *err)
{
    uint32_t place = 0;
    const struct ww_bake_fused *form = form_of(from->base, entry->module, &place);
    struct ww_bake_change *change = NULL;
    uint32_t tensor = WW_NONE;
    enum ww_err rc = WW_OK;

    *done = false;
    if (!form) {
        return WW_OK;
    }
    const size_t keep = strlen(entry->module) - strlen(form->modules[place]);
    char *name = ww_asprintf("%.*s%s", (int)keep, entry->module, form->stored);
    rc = name ? ww_bake_stored(from->base, name, &tensor, err)
              : WW_FAIL_MEMORY(err, "an adapter");
    ww_free(name);
    if (rc || tensor == WW_NONE) {
        return rc;
    }
    if (entry->part != WW_PART_A && entry->part != WW_PART_B) {
        return WW_FAIL(err, WW_E_UNSUPPORTED,
                       "tensor '%.160s' of adapter '%s' belongs to rows of '%.160s' in "
                       "'%s', where factors alone are supported",
                       entry->tensor->name, from->adapter->path,
                       from->base->tensors[tensor].name, from->base->path);
    }
    rc = ww_bake_group_add(group, &change, err);
    if (!rc) {
        change->tensor = tensor;
        change->fused = form;
        change->pairs[place][entry->part] = entry;
        *done = true;
    }
    return rc;
}

static enum ww_err misfit(const struct ww_bake_weight *weight, const char *name,
                          struct ww_error *err)
{
    return WW_FAIL(err, WW_E_SHAPE,
                   "factors '%.160s' of adapter '%s' do not fit rows of '%.160s' of "
                   "'%s'; is it the adapter's base?",
                   name, weight->from->adapter->path, weight->w->name,
                   weight->from->base->path);
}

/* Rows of each module; false: the base does not tell. */
static bool count_rows(const struct ww_bake_weight *weight, uint64_t *rows)
{
    const struct ww_model *base = weight->from->base;
    const struct ww_bake_fused *form = weight->change->fused;
    const size_t keep = strlen(weight->w->name) - strlen(form->stored);
    char *name = ww_asprintf("%.*s%s", (int)keep, weight->w->name, form->behind);
    const uint32_t behind = name ? ww_model_find(base, name) : WW_NONE;
    uint64_t others = 0;

    ww_free(name);
    while (others + 1 < WW_BAKE_FUSED && form->modules[others + 1]) {
        others++;
    }
    if (behind == WW_NONE || base->tensors[behind].rank != 2 ||
        base->tensors[behind].shape[1] >= weight->n_rows) {
        return false;
    }
    rows[0] = base->tensors[behind].shape[1];
    for (uint64_t p = 1; p <= others; p++) {
        rows[p] = (weight->n_rows - rows[0]) / others;
    }
    return rows[0] + others * rows[1] == weight->n_rows;
}

static enum ww_err check_pair(const struct ww_bake_weight *weight, uint64_t n_rows,
                              const struct ww_adapter_entry *const *pair,
                              struct ww_error *err)
{
    const struct ww_adapter_entry *any =
        pair[WW_PART_A] ? pair[WW_PART_A] : pair[WW_PART_B];

    if (!pair[WW_PART_A] || !pair[WW_PART_B]) {
        return WW_FAIL(err, WW_E_ADAPTER_FILE,
                       "adapter '%s' has only one of the two factors of '%.160s'",
                       weight->from->adapter->path, any->module);
    }
    const struct ww_tensor *a = pair[WW_PART_A]->tensor;
    const struct ww_tensor *b = pair[WW_PART_B]->tensor;
    if (a->rank != 2 || b->rank != 2 || a->shape[0] == 0 || b->shape[1] != a->shape[0] ||
        a->shape[1] != weight->n_cols || b->shape[0] != n_rows) {
        return misfit(weight, any->module, err);
    }
    const enum ww_err rc = ww_bake_plain(weight->from, a, err);
    return rc ? rc : ww_bake_plain(weight->from, b, err);
}

enum ww_err ww_bake_fused_check(struct ww_bake_weight *weight, struct ww_error *err)
{
    const struct ww_bake_change *change = weight->change;
    enum ww_err rc = WW_OK;

    for (int p = 0; p < WW_BAKE_PARTS; p++) {
        if (change->part[p]) {
            return WW_FAIL(err, WW_E_ADAPTER_FILE,
                           "adapter '%s' changes '%.160s' of '%s' whole and by rows",
                           weight->from->adapter->path, weight->w->name,
                           weight->from->base->path);
        }
    }
    if (weight->w->rank != 2 || weight->from->adapter->fan_in_fan_out ||
        !count_rows(weight, weight->fused_rows)) {
        return misfit(weight, weight->w->name, err);
    }
    for (uint32_t p = 0; p < WW_BAKE_FUSED && !rc; p++) {
        const struct ww_adapter_entry *const *pair = change->pairs[p];
        if (pair[WW_PART_A] || pair[WW_PART_B]) {
            rc = check_pair(weight, weight->fused_rows[p], pair, err);
            weight->rank += rc ? 0 : pair[WW_PART_A]->tensor->shape[0];
        }
    }
    weight->scaling = 1; /* of each pair: in its B */
    return rc;
}

/* One pair into its rows of the left factor, from row on, and columns, from `at` on. */
static enum ww_err place_pair(struct ww_bake_weight *weight,
                              const struct ww_adapter_entry *const *pair, uint64_t row,
                              uint64_t at, struct ww_error *err)
{
    const struct ww_adapter *adapter = weight->from->adapter;
    const struct ww_tensor *b = pair[WW_PART_B]->tensor;
    const uint64_t rank = b->shape[1];
    double *x = NULL;
    double *y = NULL;
    double scaling = 0;
    enum ww_err rc =
        ww_adapter_scaling(adapter, pair[WW_PART_A]->module, rank, &scaling, err);

    if (!rc) {
        rc = ww_adapter_read(adapter, pair[WW_PART_A]->tensor, &x, err);
    }
    if (!rc) {
        rc = ww_adapter_read(adapter, b, &y, err);
    }
    if (!rc) {
        memcpy(weight->right + at * weight->n_cols, x,
               rank * weight->n_cols * sizeof(double));
    }
    for (uint64_t i = 0; i < b->n_elements && !rc; i++) {
        weight->left_held[(row + i / rank) * weight->rank + at + i % rank] =
            scaling * y[i];
    }
    ww_free(x);
    ww_free(y);
    return rc;
}

enum ww_err ww_bake_fused_open(struct ww_bake_weight *weight, struct ww_error *err)
{
    uint64_t row = 0;
    uint64_t at = 0;
    enum ww_err rc = WW_OK;

    weight->left_held =
        ww_calloc(weight->n_rows * weight->rank + 1, sizeof(*weight->left_held));
    weight->right = ww_calloc(weight->rank * weight->n_cols + 1, sizeof(*weight->right));
    if (!weight->left_held || !weight->right) {
        return WW_FAIL_MEMORY(err, "an adapter");
    }
    for (uint32_t p = 0; p < WW_BAKE_FUSED && !rc; p++) {
        const struct ww_adapter_entry *const *pair = weight->change->pairs[p];
        if (pair[WW_PART_A]) {
            rc = place_pair(weight, pair, row, at, err);
            at += pair[WW_PART_A]->tensor->shape[0];
        }
        row += weight->fused_rows[p];
    }
    return rc;
}

/* Adding zeros to it would change the sign of a zero. */
bool ww_bake_fused_keeps(const struct ww_bake_weight *weight, uint64_t row)
{
    uint32_t p = 0;

    while (p + 1 < WW_BAKE_FUSED && row >= weight->fused_rows[p]) {
        row -= weight->fused_rows[p++];
    }
    return !weight->change->pairs[p][WW_PART_A];
}
