/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Parts are halves of halves of one shuffled row of items, each within the next, so that
 * the curve shows what more items do and not which ones they are.
 */
#include <string.h>

#include "evo/fusion_details.h"
#include "la/philox.h"
#include "util/alloc.h"
#include "util/fail.h"

#define LEAST_ITEMS 4

/* Fisher and Yates; draws are a function of (seed, place). */
static void shuffle(uint64_t seed, size_t *items, size_t n)
{
    const uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    for (size_t i = 0; i < n; i++) {
        items[i] = i;
    }
    for (size_t i = n; i > 1; i--) {
        const uint32_t counter[4] = {(uint32_t)i, (uint32_t)((uint64_t)i >> 32), 0,
                                     0x63757276}; /* "curv" */
        uint32_t word[4];
        ww_philox(key, counter, word);
        const size_t j = (size_t)(((uint64_t)word[0] * i) >> 32);
        const size_t last = items[i - 1];
        items[i - 1] = items[j];
        items[j] = last;
    }
}

/* A set of these items of another; what positions point to stays the other's. */
static enum ww_err pick(const struct ww_pool_set *from, const size_t *items, size_t n,
                        struct ww_pool_set *out, struct ww_error *err)
{
    size_t t = 0;
    *out = (struct ww_pool_set){.k = from->k, .items = n, .has_prefix = from->has_prefix};
    for (size_t i = 0; i < n; i++) {
        out->n += from->first[items[i] + 1] - from->first[items[i]];
    }
    out->first = ww_calloc(n + 1, sizeof(*out->first));
    out->at = ww_calloc(out->n, sizeof(*out->at));
    out->known = ww_calloc(out->n, sizeof(*out->known));
    if (!out->first || !out->at || !out->known) {
        return WW_FAIL_MEMORY(err, "a learning curve");
    }
    for (size_t i = 0; i < n; i++) {
        const size_t first = from->first[items[i]];
        const size_t count = from->first[items[i] + 1] - first;
        out->first[i] = t;
        memcpy(out->at + t, from->at + first, count * sizeof(*out->at));
        memcpy(out->known + t, from->known + first, count * sizeof(*out->known));
        t += count;
    }
    out->first[n] = t;
    return WW_OK;
}

static void put_back(struct ww_pool_set *set)
{
    ww_free(set->first);
    ww_free(set->at);
    ww_free(set->known);
}

static enum ww_err point(const struct ww_fusion_fitted *fit, const size_t *items,
                         size_t n, struct ww_item_score *score,
                         struct ww_fusion_point *out, struct ww_error *err)
{
    const struct ww_rule_fit options = {.seed = fit->seed};
    struct ww_pool_set part;
    struct ww_rule rule;
    struct ww_confirm c = {0};
    enum ww_err rc = pick(fit->fitted, items, n, &part, err);
    if (!rc) {
        rc = ww_rule_fit(fit->asked, &part, &options, &rule, err);
    }
    if (!rc) {
        rc = ww_score_items(&rule, fit->scored, score, err);
    }
    if (!rc) {
        rc = ww_confirm(score, fit->single, fit->scored->items, fit->seed, &c, err);
    }
    *out = (struct ww_fusion_point){n, c.bits_gain, c.bits.low, c.bits.high};
    put_back(&part);
    return rc;
}

enum ww_err ww_fusion_curve(const struct ww_fusion_fitted *fit,
                            struct ww_fusion_details *out, struct ww_error *err)
{
    const size_t n = fit->fitted->items;
    size_t *items = ww_calloc(n, sizeof(*items));
    struct ww_item_score *score = ww_calloc(fit->scored->items, sizeof(*score));
    size_t halves = 0;
    enum ww_err rc = items && score ? WW_OK : WW_FAIL_MEMORY(err, "a curve");
    if (rc) {
        goto out;
    }
    shuffle(fit->seed, items, n);
    while (halves + 1 < WW_FUSION_MAX_POINTS && n >> (halves + 1) >= LEAST_ITEMS) {
        halves++;
    }
    for (size_t h = halves + 1; h-- > 0 && !rc;) {
        rc = point(fit, items, n >> h, score, &out->curve[out->n_curve], err);
        out->n_curve += rc == WW_OK;
    }
out:
    ww_free(items);
    ww_free(score);
    return rc;
}
