/* SPDX-License-Identifier: Apache-2.0 */
/* Gram and cross matrices of heads, in double precision. */
#include "attack/cross.h"

#include <string.h>

#include "la/la.h"
#include "util/alloc.h"
#include "util/fail.h"

static enum ww_err cross_init(struct ww_cross *cross, size_t d, struct ww_error *err)
{
    cross->d = d;
    for (int side = 0; side < 2; side++) {
        cross->c[side] = ww_calloc(d, d * sizeof(double));
        cross->gram[side] = ww_calloc(d, d * sizeof(double));
        cross->own[side] = ww_calloc(d, sizeof(double));
        if (!cross->c[side] || !cross->gram[side] || !cross->own[side]) {
            return WW_FAIL_MEMORY(err, "the products of a head");
        }
    }
    return WW_OK;
}

enum ww_err ww_crosses_new(size_t n, size_t d, struct ww_cross **out,
                           struct ww_error *err)
{
    struct ww_cross *all = ww_calloc(n, sizeof(*all));
    enum ww_err rc = WW_OK;

    *out = NULL;
    if (!all) {
        return WW_FAIL_MEMORY(err, "the products of a head");
    }
    for (size_t i = 0; i < n && !rc; i++) {
        rc = cross_init(&all[i], d, err);
    }
    if (rc) {
        ww_crosses_free(all, n);
        return rc;
    }
    *out = all;
    return WW_OK;
}

void ww_crosses_free(struct ww_cross *crosses, size_t n)
{
    for (size_t i = 0; crosses && i < n; i++) {
        for (int side = 0; side < 2; side++) {
            ww_free(crosses[i].c[side]);
            ww_free(crosses[i].gram[side]);
            ww_free(crosses[i].own[side]);
            ww_free(crosses[i].anchor[side]);
        }
    }
    ww_free(crosses);
}

enum ww_err ww_crosses_want_anchor(struct ww_cross *crosses, size_t n,
                                   struct ww_error *err)
{
    for (size_t i = 0; i < 2 * n; i++) {
        struct ww_cross *cross = &crosses[i / 2];
        cross->anchor[i % 2] = ww_calloc(cross->d, cross->d * sizeof(double));
        if (!cross->anchor[i % 2]) {
            return WW_FAIL_MEMORY(err, "the products of a head");
        }
    }
    return WW_OK;
}

static void widen(const float *x, double *out, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        out[i] = (double)x[i];
    }
}

/* d rows of either model, already as doubles. */
static void add_block(struct ww_cross *cross, int side, const double *x, const double *x0,
                      size_t width)
{
    const size_t d = cross->d;

    ww_la_gemm(WW_LA_PLAIN, WW_LA_TRANSPOSED, d, d, width, 1, x0, width, x, width, 1,
               cross->c[side], d);
    ww_la_gemm(WW_LA_PLAIN, WW_LA_TRANSPOSED, d, d, width, 1, x, width, x, width, 1,
               cross->gram[side], d);
    if (cross->anchor[side]) {
        ww_la_gemm(WW_LA_PLAIN, WW_LA_TRANSPOSED, d, d, width, 1, x0, width, x0, width, 1,
                   cross->anchor[side], d);
    }
    for (size_t i = 0; i < d; i++) {
        for (size_t k = 0; k < width; k++) {
            cross->own[side][i] += x0[i * width + k] * x0[i * width + k];
        }
    }
}

/* The anchor's block for a locked one: query heads and KV heads follow the head order. */
static size_t block_of(const struct ww_pair *pair, uint32_t a, size_t n_blocks, size_t b)
{
    const struct ww_attention *att = &pair->locked->attentions[a];
    const size_t per = (size_t)(att->n_heads / att->n_kv_heads);

    if (n_blocks == att->n_heads) {
        return pair->heads[a][b];
    }
    return n_blocks == att->n_kv_heads ? pair->heads[a][b * per] / per : b;
}

enum ww_err ww_crosses_add(const struct ww_pair *pair, uint32_t a,
                           const struct ww_strand *strand, struct ww_cross *crosses,
                           size_t n, bool *any, struct ww_error *err)
{
    const struct ww_slabs_of of = {strand->locked, strand->anchor, strand->inputs,
                                   strand->locked_space, strand->anchor_space};
    struct ww_slabs slabs = {0};
    double *block = NULL;
    enum ww_err rc = ww_slabs_load(pair, &of, &slabs, err);

    if (rc || !slabs.locked.rows) {
        return rc;
    }
    const size_t d = crosses[0].d;
    const size_t width = slabs.locked.width;
    const size_t n_blocks = slabs.locked.n / d;
    if (n_blocks == 0 || slabs.locked.n % d != 0 || n_blocks % n != 0) {
        rc = WW_FAIL(err, WW_E_INTERNAL, "attention '%s': %zu rows in heads of %zu",
                     pair->locked->attentions[a].name, slabs.locked.n, d);
        goto out;
    }
    block = ww_calloc(2 * d, width * sizeof(*block));
    if (!block) {
        rc = WW_FAIL_MEMORY(err, "the rows of a head");
        goto out;
    }
    for (size_t b = 0; b < n_blocks; b++) {
        const size_t from = block_of(pair, a, n_blocks, b);
        widen(slabs.locked.rows + b * d * width, block, d * width);
        widen(slabs.anchor.rows + from * d * width, block + d * width, d * width);
        add_block(&crosses[b / (n_blocks / n)], strand->inverse, block, block + d * width,
                  width);
    }
    *any = true;
out:
    ww_free(block);
    ww_slabs_release(&slabs);
    return rc;
}
