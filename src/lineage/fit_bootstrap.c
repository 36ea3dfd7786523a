/* SPDX-License-Identifier: Apache-2.0 */
/* Shares over blocks that are drawn anew. */
#include "lineage/fit.h"

#include <string.h>

#include "lineage/draws.h"
#include "util/alloc.h"
#include "util/fail.h"

#define REPLICATES 200

static enum ww_err replicate(const struct ww_fit_blocks *b, uint64_t *state,
                             uint32_t *times, struct ww_fit *out, struct ww_error *err)
{
    struct ww_moments *pool = ww_moments_new(b->k);
    enum ww_err rc = pool ? WW_OK : WW_FAIL_MEMORY(err, "a fit");

    memset(times, 0, b->n * sizeof(*times));
    for (size_t i = 0; i < b->n; i++) {
        times[ww_draw(state) % b->n]++;
    }
    for (size_t i = 0; i < b->n && !rc; i++) {
        if (times[i]) {
            rc = ww_moments_add(pool, b->moments[i], times[i], err);
        }
    }
    if (!rc) {
        ww_fit(pool, b->side, out);
    }
    ww_moments_free(pool);
    return rc;
}

enum ww_err ww_fit_bootstrap(const struct ww_fit_blocks *blocks, uint64_t seed,
                             double *low, double *high, struct ww_error *err)
{
    const unsigned k = blocks->k;
    double *values = ww_calloc((size_t)k * REPLICATES, sizeof(*values));
    uint32_t *times = ww_calloc(blocks->n, sizeof(*times));
    size_t told[WW_LINEAGE_MAX_SOURCES] = {0};
    struct ww_fit fit;
    uint64_t state = seed;
    enum ww_err rc = WW_OK;

    if (!values || !times) {
        rc = WW_FAIL_MEMORY(err, "a fit");
        goto out;
    }
    for (unsigned r = 0; r < REPLICATES && !rc; r++) {
        rc = replicate(blocks, &state, times, &fit, err);
        for (unsigned i = 0; i < k && !rc; i++) {
            if (fit.n_eff[i] > 0) { /* the source differs from the base in some block */
                values[(size_t)i * REPLICATES + told[i]++] = fit.share[i];
            }
        }
    }
    for (unsigned i = 0; i < k && !rc; i++) {
        ww_draw_middle(values + (size_t)i * REPLICATES, told[i], &low[i], &high[i]);
    }
out:
    ww_free(values);
    ww_free(times);
    return rc;
}
