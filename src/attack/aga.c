/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The published attack, arXiv 2606.30360, as it is: for every head and every projection
 * on its own the matrix that brings the locked rows closest to the anchor's, with ridge
 * 1e-8; neurons of an MLP by the cosines of the rows of its first layer, order only. No
 * step for the residual stream, the order of heads, rotary pairs or shared keys and
 * values. It is here as the yardstick that papers use.
 */
#include "attack/cross.h"
#include "attack/solve.h"
#include "util/fail.h"

#define RIDGE 1e-8

/* Rows of action INVERSE are undone by undo_t, the others by undo: one matrix for both.
 */
static enum ww_err solve_side(struct ww_pair *pair, uint32_t a,
                              const struct ww_strand *strand, size_t d,
                              struct ww_error *err)
{
    const uint32_t space = strand->locked_space;
    const size_t n = space == WW_NONE ? 0 : (size_t)pair->locked->spaces[space].size / d;
    struct ww_cross *crosses = NULL;
    struct ww_fix fix = {0};
    bool any = false;
    enum ww_err rc = WW_OK;

    if (n == 0) {
        return WW_OK;
    }
    rc = ww_crosses_new(n, d, &crosses, err);
    if (rc) {
        goto out;
    }
    rc = ww_fix_init(&fix, n, d, err);
    if (rc) {
        goto out;
    }
    rc = ww_crosses_add(pair, a, strand, crosses, n, &any, err);
    for (size_t h = 0; h < n && any && !rc; h++) {
        rc = ww_solve_one_sided(d, crosses[h].gram[0], crosses[h].c[0], RIDGE,
                                fix.undo + h * d * d, err);
        for (size_t i = 0; i < d * d && !rc; i++) {
            fix.undo_t[h * d * d + i] = fix.undo[h * d * d + i];
        }
        fix.mixed[h] = true;
        pair->found.dense_heads++;
    }
    if (!rc && any) {
        rc = ww_pair_mix(pair, space, &fix, err);
    }
out:
    ww_fix_release(&fix);
    ww_crosses_free(crosses, n);
    return rc;
}

static enum ww_err solve_attention(struct ww_pair *pair, uint32_t a, struct ww_error *err)
{
    const struct ww_attention *att = &pair->locked->attentions[a];
    const struct ww_attention *att0 = &pair->anchor->attentions[a];
    const struct {
        struct ww_strand strand;
        uint64_t d;
    } sides[] = {
        {{&att->q, &att0->q, false, false, att->query, att0->query}, att->head_dim},
        {{&att->k, &att0->k, false, false, att->key, att0->key}, att->head_dim},
        {{&att->v, &att0->v, false, false, att->value, att0->value}, att->v_dim},
        {{&att->o, &att0->o, true, false, att->context, att0->context}, att->v_dim},
    };
    enum ww_err rc = WW_OK;

    for (size_t i = 0; i < WW_LEN(sides) && !rc; i++) {
        rc = solve_side(pair, a, &sides[i].strand, (size_t)sides[i].d, err);
    }
    return rc;
}

enum ww_err ww_find_aga(struct ww_pair *pair, struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    for (uint32_t a = 0; a < pair->locked->n_attentions && !rc; a++) {
        const struct ww_attention *att = &pair->locked->attentions[a];
        rc = ww_pair_progress(pair, "heads", a, pair->locked->n_attentions, err);
        if (!rc && att->qk_class != WW_QK_MLA && att->element_owner == a) {
            rc = solve_attention(pair, a, err);
        }
    }
    return rc;
}
