/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sums of products add up, so that a layer's fit, and that of a class in it, cost no
 * reading. A class is told by words of the tensor's name, norms first: the norm behind an
 * attention has that word too.
 */
#include "lineage/layer_shares.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "lineage/fit.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/str.h"

enum part { ATTENTION, FEED_FORWARD, NORMS, OTHER, ALL };

static const char *const classes[] = {[ATTENTION] = "attention",
                                      [FEED_FORWARD] = "feed-forward",
                                      [NORMS] = "norms",
                                      [OTHER] = "other"};

static const struct {
    const char *word;
    enum part part;
} words[] = {
    {"norm", NORMS},
    {"ln_", NORMS},
    {"attn", ATTENTION},
    {"attention", ATTENTION},
    {"mlp", FEED_FORWARD},
    {"ffn", FEED_FORWARD},
    {"expert", FEED_FORWARD},
    {"fc", FEED_FORWARD},
    {"feed_forward", FEED_FORWARD},
    {"", OTHER},
};

static enum part part_of(const char *name)
{
    size_t i = 0;

    while (!strstr(name, words[i].word)) {
        i++;
    }
    return words[i].part;
}

struct layers {
    const struct ww_family *family;
    struct ww_moments *const *moments;
    const int8_t *side;
    struct ww_decompose_report *report;
};

/* The sums of a layer's class; *n is how many tensors those are of. */
static enum ww_err pool_of(const struct layers *l, uint32_t layer, enum part part,
                           struct ww_moments *pool, uint32_t *n, struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    *n = 0;
    for (uint32_t t = 0; t < l->family->n_tensors && !rc; t++) {
        const struct ww_family_tensor *tensor = &l->family->tensors[t];
        if (tensor->layer == layer && (part == ALL || part_of(tensor->name) == part)) {
            rc = ww_moments_add(pool, l->moments[t], 1, err);
            ++*n;
        }
    }
    return rc;
}

static enum ww_err fit_pool(const struct layers *l, uint32_t layer, enum part part,
                            struct ww_fit *fit, uint32_t *n, struct ww_error *err)
{
    struct ww_moments *pool = ww_moments_new(l->family->n_models - WW_FAMILY_SOURCES);
    enum ww_err rc = pool ? pool_of(l, layer, part, pool, n, err)
                          : WW_FAIL_MEMORY(err, "shares of layers");

    if (!rc) {
        ww_fit(pool, l->side, fit);
    }
    ww_moments_free(pool);
    return rc;
}

static enum ww_err copy_shares(const struct layers *l, const struct ww_fit *fit,
                               double **out, struct ww_error *err)
{
    const size_t n = l->report->n_sources;

    *out = ww_calloc(n, sizeof(**out));
    if (!*out) {
        return WW_FAIL_MEMORY(err, "shares of layers");
    }
    memcpy(*out, fit->share, n * sizeof(**out));
    return WW_OK;
}

static enum ww_err fit_layer(const struct layers *l, uint32_t layer,
                             struct ww_lineage_layer *out, struct ww_error *err)
{
    struct ww_fit fit;
    uint32_t n = 0;
    enum ww_err rc = fit_pool(l, layer, ALL, &fit, &n, err);

    if (rc) {
        return rc;
    }
    out->elements = fit.used;
    out->name = layer == WW_NONE ? ww_strdup("outside of layers")
                                 : ww_asprintf("layer %" PRIu32, layer);
    return out->name ? copy_shares(l, &fit, &out->shares, err)
                     : WW_FAIL_MEMORY(err, "shares of layers");
}

static enum ww_err fit_classes(const struct layers *l, uint32_t layer,
                               struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    for (size_t c = 0; c < WW_LEN(classes) && !rc; c++) {
        struct ww_lineage_class *out = &l->report->classes[l->report->n_classes];
        struct ww_fit fit;
        uint32_t n = 0;
        rc = fit_pool(l, layer, (enum part)c, &fit, &n, err);
        if (rc || n == 0) {
            continue;
        }
        *out = (struct ww_lineage_class){layer, classes[c], NULL, fit.used};
        l->report->n_classes++;
        if (fit.used >= WW_FIT_LEAST) {
            rc = copy_shares(l, &fit, &out->shares, err);
        }
    }
    return rc;
}

static int by_number(const void *a, const void *b)
{
    const uint32_t x = *(const uint32_t *)a;
    const uint32_t y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

/* Distinct layers in order, what lies outside of them last. */
static size_t list_layers(const struct ww_family *family, uint32_t *numbers)
{
    size_t n = 0;

    for (uint32_t t = 0; t < family->n_tensors; t++) {
        numbers[t] = family->tensors[t].layer;
    }
    qsort(numbers, family->n_tensors, sizeof(*numbers), by_number);
    for (uint32_t t = 0; t < family->n_tensors; t++) {
        if (t == 0 || numbers[t] != numbers[t - 1]) {
            numbers[n++] = numbers[t];
        }
    }
    return n;
}

enum ww_err ww_layers_fit(const struct ww_family *family,
                          struct ww_moments *const *moments, const int8_t *side,
                          struct ww_decompose_report *report, struct ww_error *err)
{
    const struct layers l = {family, moments, side, report};
    uint32_t *numbers = ww_calloc(family->n_tensors, sizeof(*numbers));
    size_t n = 0;
    enum ww_err rc = WW_OK;

    if (!numbers) {
        return WW_FAIL_MEMORY(err, "shares of layers");
    }
    n = list_layers(family, numbers);
    report->layers = ww_calloc(n, sizeof(*report->layers));
    report->classes = ww_calloc(n * WW_LEN(classes), sizeof(*report->classes));
    if (!report->layers || !report->classes) {
        rc = WW_FAIL_MEMORY(err, "shares of layers");
    }
    for (size_t i = 0; i < n && !rc; i++) {
        rc = fit_layer(&l, numbers[i], &report->layers[i], err);
        report->n_layers = i + 1;
        rc = rc ? rc : fit_classes(&l, numbers[i], err);
    }
    ww_free(numbers);
    return rc;
}
