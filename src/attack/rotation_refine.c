/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tables of a small vocabulary leave a rotation open, and their rows are noisy. Rows of
 * gates are rows on the stream too: rotated back by the first solution they find their
 * counterparts in the anchor, and all of them together give a better one.
 */
#include <math.h>
#include <string.h>

#include "attack/pair_rows.h"
#include "attack/rotation.h"
#include "attack/slab.h"
#include "la/la.h"
#include "util/alloc.h"
#include "util/fail.h"

#define ROUNDS 2

/* Locked rows in the anchor's frame, the anchor's with its gains folded. */
static enum ww_err align(const struct ww_rotation *rotation, const double *gains,
                         const struct ww_slabs *slabs, struct ww_matching *out,
                         struct ww_error *err)
{
    const size_t n = slabs->locked.n;
    const size_t d = rotation->n;
    double *rows = ww_calloc(2 * n, d * sizeof(*rows));
    float *turned = ww_calloc(n, d * sizeof(*turned));
    enum ww_err rc = WW_OK;

    if (!rows || !turned) {
        rc = WW_FAIL_MEMORY(err, "a rotation");
        goto out;
    }
    for (size_t i = 0; i < n * d; i++) {
        rows[i] = (double)slabs->locked.rows[i];
        slabs->anchor.rows[i] = (float)((double)slabs->anchor.rows[i] * gains[i % d]);
    }
    ww_la_gemm(WW_LA_PLAIN, WW_LA_PLAIN, n, d, d, 1, rows, d, rotation->r, d, 0,
               rows + n * d, d);
    for (size_t i = 0; i < n * d; i++) {
        turned[i] = (float)rows[n * d + i];
    }
    rc = ww_pair_rows(turned, slabs->anchor.rows, n, d, false, out, err);
out:
    ww_free(rows);
    ww_free(turned);
    return rc;
}

/* sum of locked rows times their counterparts, at unit size, onto m. */
static enum ww_err add_rows(const struct ww_rotation *rotation,
                            const struct ww_slabs *slabs,
                            const struct ww_matching *matching, double *m,
                            struct ww_error *err)
{
    const size_t n = slabs->locked.n;
    const size_t d = rotation->n;
    double *rows = ww_calloc(2 * n, d * sizeof(*rows));
    double sizes[2] = {0};

    if (!rows) {
        return WW_FAIL_MEMORY(err, "a rotation");
    }
    for (size_t i = 0; i < n * d; i++) {
        const float *from = slabs->anchor.rows + (size_t)matching->match[i / d] * d;
        rows[i] = (double)slabs->locked.rows[i];
        rows[n * d + i] = (double)from[i % d];
        sizes[0] += rows[i] * rows[i];
        sizes[1] += rows[n * d + i] * rows[n * d + i];
    }
    const double both = sqrt(sizes[0]) * sqrt(sizes[1]);
    if (both > 0) {
        ww_la_gemm(WW_LA_TRANSPOSED, WW_LA_PLAIN, d, d, n, 1 / both, rows, d,
                   rows + n * d, d, 1, m, d);
    }
    ww_free(rows);
    return WW_OK;
}

static enum ww_err add_mlp(const struct ww_pair *pair, uint32_t mlp,
                           const struct ww_rotation *rotation, double *m,
                           struct ww_error *err)
{
    const struct ww_mlp *at = &pair->locked->mlps[mlp];
    const struct ww_mlp *at0 = &pair->anchor->mlps[mlp];
    const struct ww_linear *rows = at->gated ? &at->gate : &at->up;
    const struct ww_linear *rows0 = at->gated ? &at0->gate : &at0->up;
    const struct ww_slab_of locked = {pair->locked, NULL, rows, false, at->neuron};
    const struct ww_slab_of anchor = {pair->anchor, NULL, rows0, false, at0->neuron};
    const double *gains =
        rows->weight == WW_NONE ? NULL : rotation->parts[rows->weight].gains;
    struct ww_slabs slabs = {0};
    struct ww_matching matching = {0};
    enum ww_err rc = WW_OK;

    if (!gains || at->neuron == WW_NONE) {
        return WW_OK;
    }
    rc = ww_slab_load(&locked, &slabs.locked, err);
    if (!rc) {
        rc = ww_slab_load(&anchor, &slabs.anchor, err);
    }
    if (rc || !slabs.locked.rows || !slabs.anchor.rows ||
        slabs.locked.width != rotation->n || slabs.anchor.width != rotation->n) {
        goto out;
    }
    rc = align(rotation, gains, &slabs, &matching, err);
    if (!rc) {
        rc = add_rows(rotation, &slabs, &matching, m, err);
    }
out:
    ww_matching_release(&matching);
    ww_slabs_release(&slabs);
    return rc;
}

enum ww_err ww_rotation_refine(const struct ww_pair *pair, const double *tables,
                               struct ww_rotation *rotation, struct ww_error *err)
{
    const struct ww_layout *layout = pair->locked;
    const size_t square = rotation->n * rotation->n;
    double *next = ww_calloc(square, sizeof(*next));
    enum ww_err rc = WW_OK;

    if (!next) {
        return WW_FAIL_MEMORY(err, "a rotation");
    }
    for (int round = 0; round < ROUNDS && !rc; round++) {
        memcpy(next, tables, square * sizeof(*next));
        for (uint32_t b = 0; b < layout->n_blocks && !rc; b++) {
            rc = ww_pair_progress(pair, "rotation", b, layout->n_blocks, err);
            if (!rc && layout->blocks[b].mlp != WW_NONE) {
                rc = add_mlp(pair, layout->blocks[b].mlp, rotation, next, err);
            }
        }
        if (!rc) {
            rc = ww_la_polar(rotation->n, rotation->n, next, NULL, err);
        }
        if (!rc) {
            memcpy(rotation->r, next, square * sizeof(*next));
        }
    }
    ww_free(next);
    return rc;
}
