/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Readers beside PEFT take one scale from lora_alpha over r: llama.cpp knows neither
 * rank-stabilised scaling nor patterns, vLLM of early 2025 no patterns. With the scale
 * inside of B and lora_alpha equal to r there is nothing left to misread.
 */
#include "rmm/as_factors.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "merge/adapter_copy.h"
#include "merge/bake.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/num.h"

/* What else can be asked for: of a base that is named it is known. */
static const char *other_forms(const struct ww_as *as)
{
    struct ww_bake *bake = NULL;
    const enum ww_err rc =
        as->base ? ww_bake_open(as->base, NULL, as->adapter, &bake, NULL) : WW_OK;

    ww_bake_close(bake);
    return rc ? "form 'peft' leaves it as it is"
              : "form 'model' adds it to the base, form 'peft' leaves it as it is";
}

static const char *const part_texts[] = {
    [WW_PART_B_BIAS] = "a bias beside its factors",
    [WW_PART_EMBEDDING_A] = "a factor of an embedding",
    [WW_PART_EMBEDDING_B] = "a factor of an embedding",
    [WW_PART_MAGNITUDE] = "a magnitude of DoRA",
    [WW_PART_FULL] = "a whole weight",
};

static enum ww_err check_entry(const struct ww_as *as, const struct ww_adapter_entry *e,
                               const char *form, struct ww_error *err)
{
    const bool plain = e->part == WW_PART_A || e->part == WW_PART_B;

    if (plain && e->tensor->rank == 2 && e->tensor->n_elements > 0) {
        return WW_OK;
    }
    return WW_FAIL(
        err, WW_E_UNSUPPORTED,
        "form '%s' holds pairs of matrices alone, and tensor '%.160s' is "
        "%s; %s%s",
        form, e->tensor->name, plain ? "no matrix" : part_texts[e->part],
        e->part == WW_PART_B_BIAS && !as->base ? "where the base has that bias " : "",
        other_forms(as));
}

static enum ww_err check(const struct ww_as *as, const char *form, struct ww_error *err)
{
    const struct ww_adapter *adapter = as->adapter;
    enum ww_err rc = WW_OK;

    if (adapter->parameters || adapter->dora) {
        return WW_FAIL(err, WW_E_UNSUPPORTED,
                       "form '%s' holds pairs of matrices alone, and the adapter uses "
                       "%s; %s",
                       form, adapter->dora ? "DoRA" : "target_parameters",
                       other_forms(as));
    }
    /* Copies last: with the base they may be right, and what else there is may not. */
    for (uint32_t i = 0; i < 2 * adapter->n_tensors && !rc; i++) {
        const struct ww_adapter_entry *e = &adapter->entries[i % adapter->n_tensors];
        const bool copies = i >= adapter->n_tensors;
        if (ww_adapter_is_copy(adapter, e) == copies) {
            rc = copies ? ww_as_check_copy(e, as, form, err)
                        : check_entry(as, e, form, err);
        }
    }
    return rc;
}

/* By module, A before B. */
static int by_module(const void *x, const void *y)
{
    const struct ww_adapter_entry *a = *(const struct ww_adapter_entry *const *)x;
    const struct ww_adapter_entry *b = *(const struct ww_adapter_entry *const *)y;
    const int order = strcmp(a->module, b->module);

    return order ? order : (int)a->part - (int)b->part;
}

static enum ww_err add(const struct ww_adapter *adapter, struct ww_as_pairs *pairs,
                       const struct ww_adapter_entry *a, const struct ww_adapter_entry *b,
                       struct ww_error *err)
{
    struct ww_as_pair *pair = &pairs->items[pairs->n];

    if (!b || a->part != WW_PART_A || b->part != WW_PART_B ||
        strcmp(a->module, b->module) != 0 || a->tensor->shape[0] != b->tensor->shape[1]) {
        return WW_FAIL(err, WW_E_ADAPTER_FILE,
                       "module '%.160s' of the adapter: expected one pair of factors of "
                       "one rank",
                       a->module);
    }
    *pair = (struct ww_as_pair){.module = a->module, .a = a->tensor, .b = b->tensor};
    pairs->n++;
    pairs->rank = ww_max_u64(pairs->rank, a->tensor->shape[0]);
    return ww_adapter_scaling(adapter, a->module, a->tensor->shape[0], &pair->scaling,
                              err);
}

enum ww_err ww_as_pairs_find(const struct ww_as *as, const char *form,
                             struct ww_as_pairs *out, struct ww_error *err)
{
    const struct ww_adapter *adapter = as->adapter;
    const struct ww_adapter_entry **sorted = NULL;
    uint32_t n = 0;
    enum ww_err rc = WW_OK;

    memset(out, 0, sizeof(*out));
    rc = check(as, form, err);
    if (rc) {
        return rc;
    }
    sorted = ww_calloc(adapter->n_tensors, sizeof(*sorted));
    out->items = ww_calloc(adapter->n_tensors, sizeof(*out->items));
    if (!sorted || !out->items) {
        rc = WW_FAIL_MEMORY(err, "an adapter");
        goto out;
    }
    for (uint32_t i = 0; i < adapter->n_tensors; i++) {
        sorted[n] = &adapter->entries[i];
        n += sorted[n]->part != WW_PART_FULL;
    }
    qsort(sorted, n, sizeof(*sorted), by_module);
    for (uint32_t i = 0; i < n && !rc; i += 2) {
        rc = add(adapter, out, sorted[i], i + 1 < n ? sorted[i + 1] : NULL, err);
    }
out:
    ww_free(sorted);
    if (rc) {
        ww_as_pairs_release(out);
    }
    return rc;
}

void ww_as_pairs_release(struct ww_as_pairs *pairs)
{
    ww_free(pairs->items);
    memset(pairs, 0, sizeof(*pairs));
}

/* Rounded once. */
static enum ww_err read_scaled(const struct ww_adapter *adapter,
                               const struct ww_tensor *t, double scaling, float **out,
                               struct ww_error *err)
{
    double *values = NULL;
    float *rounded = NULL;
    enum ww_err rc = ww_adapter_read(adapter, t, &values, err);

    if (!rc) {
        rounded = ww_calloc((size_t)t->n_elements, sizeof(*rounded));
        rc = rounded ? WW_OK : WW_FAIL_MEMORY(err, "a factor");
    }
    for (uint64_t i = 0; i < t->n_elements && !rc; i++) {
        rounded[i] = (float)(values[i] * scaling);
        if (!isfinite(rounded[i])) {
            rc = WW_FAIL(err, WW_E_NONFINITE,
                         "tensor '%.160s': a number times its scale %g is no float32",
                         t->name, scaling);
        }
    }
    ww_free(values);
    if (rc) {
        ww_free(rounded);
        rounded = NULL;
    }
    *out = rounded;
    return rc;
}

enum ww_err ww_as_pair_read(const struct ww_adapter *adapter,
                            const struct ww_as_pair *pair, float **a, float **b,
                            struct ww_error *err)
{
    enum ww_err rc = read_scaled(adapter, pair->a, 1, a, err);

    *b = NULL;
    if (!rc) {
        rc = read_scaled(adapter, pair->b, pair->scaling, b, err);
    }
    if (rc) {
        ww_free(*a);
        *a = NULL;
    }
    return rc;
}
