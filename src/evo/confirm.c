/* SPDX-License-Identifier: Apache-2.0 */
/* Draws are a function of (seed, draw, place): the same on every machine. */
#include "evo/confirm.h"

#include <stdlib.h>

#include "la/philox.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/order.h"

#define ROUNDING 1e-9 /* bits: twins in a pool gain as much */
#define OUTSIDE 40    /* one in so many draws lies below the interval, as many above */

enum { BITS, NEXT, WHOLE, GAINS };

static void draw_items(uint64_t seed, uint32_t draw, size_t n, size_t *items)
{
    const uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    for (size_t i = 0; i < n; i++) {
        const uint32_t counter[4] = {draw, (uint32_t)i, (uint32_t)((uint64_t)i >> 32),
                                     0x636f6e66}; /* "conf" */
        uint32_t word[4];
        ww_philox(key, counter, word);
        items[i] = (size_t)(((uint64_t)word[0] * n) >> 32);
    }
}

static void gains(const struct ww_item_score *rule, const struct ww_item_score *single,
                  const size_t *only, size_t n, double out[GAINS])
{
    const struct ww_score a = ww_score_mean(rule, only, n);
    const struct ww_score b = ww_score_mean(single, only, n);
    out[BITS] = b.bits - a.bits;
    out[NEXT] = a.next - b.next;
    out[WHOLE] = a.whole - b.whole;
}

static struct ww_interval middle(double *values)
{
    qsort(values, WW_CONFIRM_DRAWS, sizeof(*values), ww_order_doubles);
    return (struct ww_interval){
        values[WW_CONFIRM_DRAWS / OUTSIDE],
        values[WW_CONFIRM_DRAWS - 1 - WW_CONFIRM_DRAWS / OUTSIDE]};
}

enum ww_err ww_confirm(const struct ww_item_score *rule,
                       const struct ww_item_score *single, size_t n, uint64_t seed,
                       struct ww_confirm *out, struct ww_error *err)
{
    double all[GAINS];
    if (n < WW_CONFIRM_LEAST || n > UINT32_MAX) {
        return WW_FAIL(
            err, WW_E_USAGE,
            "found %zu held-out items, expected at least %d: fewer cannot tell "
            "a rule from chance",
            n, WW_CONFIRM_LEAST);
    }
    size_t *items = ww_calloc(n, sizeof(*items));
    double *values = ww_calloc(WW_CONFIRM_DRAWS * (size_t)GAINS, sizeof(*values));
    enum ww_err rc = WW_OK;
    if (!items || !values) {
        rc = WW_FAIL_MEMORY(err, "%zu held-out items", n);
        goto out;
    }
    for (uint32_t d = 0; d < WW_CONFIRM_DRAWS; d++) {
        double drawn[GAINS];
        draw_items(seed, d, n, items);
        gains(rule, single, items, n, drawn);
        for (unsigned g = 0; g < GAINS; g++) {
            values[(size_t)g * WW_CONFIRM_DRAWS + d] = drawn[g];
        }
    }
    gains(rule, single, NULL, n, all);
    out->score = ww_score_mean(rule, NULL, n);
    out->bits_gain = all[BITS];
    out->bits = middle(values + (size_t)BITS * WW_CONFIRM_DRAWS);
    out->next = middle(values + (size_t)NEXT * WW_CONFIRM_DRAWS);
    out->whole = middle(values + (size_t)WHOLE * WW_CONFIRM_DRAWS);
    out->better = out->bits.low > ROUNDING;
out:
    ww_free(items);
    ww_free(values);
    return rc;
}
