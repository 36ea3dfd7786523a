/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From the sums over an attention's rows to the matrices of its heads. Without rotary
 * embedding a side is one block of d rows; with it every pair is a problem of its own and
 * the dimensions that do not turn are one block. The kernel takes a mean of both models,
 * so the weights that the solve has put into its matrices are taken out here.
 */
#include "attack/products.h"

#include <math.h>

#include "attack/product.h"
#include "util/alloc.h"
#include "util/fail.h"

static bool rotary(const struct ww_attention *att, bool values)
{
    return !values && att->rope.style != WW_ROPE_NONE && att->rope.dims > 0;
}

bool ww_has_products(const struct ww_attention *att, bool values)
{
    return values ? att->vo_class == WW_VO_GL
                  : att->qk_class == WW_QK_GL || att->qk_class == WW_QK_ROPE;
}

/* Where the matrices of one head go: side 0 direct rows, 1 inverse rows. */
struct place {
    double *locked[2];
    double *anchor[2];
    double weight;
};

static double complex complex_of(const double *m, size_t d, size_t i, size_t j)
{
    return ww_complex(m[i * d + i] + m[j * d + j], m[i * d + j] - m[j * d + i]);
}

static void put_complex(double *m, size_t d, size_t i, size_t j, double complex t)
{
    m[i * d + i] = m[j * d + j] = creal(t);
    m[i * d + j] = -cimag(t);
    m[j * d + i] = cimag(t);
}

static void merge_pair(const struct ww_cross *x, size_t i, size_t j,
                       const struct place *place, struct ww_product_report *report)
{
    const size_t d = x->d;
    const double weights[2] = {place->weight, 1 - place->weight};
    struct ww_product_pair pair = {.weight = place->weight};
    double complex made[2][2];

    for (int side = 0; side < 2; side++) {
        double complex(*g)[2] = side ? pair.k : pair.q;
        const double complex cross = complex_of(x->c[side], d, i, j);
        g[0][0] = creal(complex_of(x->gram[side], d, i, j));
        g[1][1] = creal(complex_of(x->anchor[side], d, i, j));
        g[0][1] = cross;
        g[1][0] = conj(cross);
    }
    ww_merge_pair(&pair, made[0], made[1], report);
    for (int side = 0; side < 2; side++) {
        put_complex(place->locked[side], d, i, j, made[side][0] / weights[0]);
        put_complex(place->anchor[side], d, i, j, made[side][1] / weights[1]);
    }
}

/* d x d blocks cut out of D x D ones from dimension `first` on, or put back. */
static void copy_block(const double *from, size_t from_d, double *to, size_t to_d,
                       size_t n, double by)
{
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < n; j++) {
            to[i * to_d + j] = from[i * from_d + j] * by;
        }
    }
}

/* Dimensions first .. first + n as one block. */
static enum ww_err merge_block(const struct ww_cross *x, size_t first, size_t n,
                               const struct place *place,
                               struct ww_product_report *report, struct ww_error *err)
{
    const size_t d = x->d;
    const size_t at = first * d + first;
    double *room = ww_calloc(10 * n, n * sizeof(*room));
    double *part[10];
    enum ww_err rc = WW_OK;

    if (!room) {
        return WW_FAIL_MEMORY(err, "the products of a head");
    }
    for (size_t i = 0; i < WW_LEN(part); i++) {
        part[i] = room + i * n * n;
    }
    for (int side = 0; side < 2; side++) {
        copy_block(x->gram[side] + at, d, part[side], n, n, 1);
        copy_block(x->anchor[side] + at, d, part[2 + side], n, n, 1);
        copy_block(x->c[side] + at, d, part[4 + side], n, n, 1);
    }
    const struct ww_product product = {
        n, {part[0], part[1]}, {part[2], part[3]}, {part[4], part[5]}, place->weight};
    rc = ww_merge_products(&product, part + 6, part + 8, report, err);
    for (int side = 0; side < 2 && !rc; side++) {
        copy_block(part[6 + side], n, place->locked[side] + at, d, n, 1 / place->weight);
        copy_block(part[8 + side], n, place->anchor[side] + at, d, n,
                   1 / (1 - place->weight));
    }
    ww_free(room);
    return rc;
}

static void add(struct ww_product_report *to, const struct ww_product_report *report)
{
    to->merged += report->merged;
    to->dropped += report->dropped;
    to->locked += report->locked;
    to->anchor += report->anchor;
    to->dot += report->dot;
}

static enum ww_err merge_head(const struct ww_attention *att, bool values,
                              const struct ww_cross *x, const struct place *place,
                              struct ww_product_report *sum, struct ww_error *err)
{
    const size_t turning = rotary(att, values) ? (size_t)att->rope.dims : 0;
    struct ww_product_report report = {0};
    enum ww_err rc = WW_OK;

    for (size_t f = 0; f < turning / 2; f++) {
        size_t i = 0;
        size_t j = 0;
        ww_inner_pair(&att->rope, f, &i, &j);
        merge_pair(x, i, j, place, &report);
        add(sum, &report);
    }
    if (turning < x->d) {
        rc = merge_block(x, turning, x->d - turning, place, &report, err);
        add(sum, &report);
    }
    return rc;
}

/* Products are compared in the units of rows, so that a head counts as much as it does
 * where rows are compared. */
static void count(struct ww_pair *pair, const struct ww_cross *x,
                  const struct ww_product_report *sum)
{
    const double norms = sqrt(sum->locked * sum->anchor);
    double own = 0;

    for (size_t i = 0; i < x->d; i++) {
        own += x->own[0][i] + x->own[1][i];
    }
    pair->like.locked += own;
    pair->like.anchor += own;
    pair->like.dot += norms > 0 ? own * sum->dot / norms : 0;
    pair->blend->merged += sum->merged;
    pair->blend->dropped += sum->dropped;
    pair->found.product_heads++;
}

enum ww_err ww_products_find(struct ww_pair *pair, uint32_t attention, bool values,
                             const struct ww_inner *inner, struct ww_fix *locked,
                             struct ww_fix *anchor, struct ww_error *err)
{
    const struct ww_attention *att = &pair->locked->attentions[attention];
    const size_t per = (size_t)(att->n_heads / att->n_kv_heads);
    const size_t square = inner->d * inner->d;
    enum ww_err rc = WW_OK;

    for (size_t g = 0; g < inner->n && !rc; g++) {
        const size_t g0 = pair->heads[attention][g * per] / per;
        const struct place place = {
            {locked->undo + g * square, locked->undo_t + g * square},
            {anchor->undo + g0 * square, anchor->undo_t + g0 * square},
            pair->blend->weight};
        struct ww_product_report sum = {0};
        struct ww_error why = {0};
        rc = merge_head(att, values, &inner->crosses[g], &place, &sum, &why);
        if (rc) {
            rc = WW_FAIL(err, rc, "attention '%s': %s", att->name, why.text);
            break;
        }
        locked->mixed[g] = anchor->mixed[g0] = true;
        count(pair, &inner->crosses[g], &sum);
    }
    return rc;
}
