/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The order of attention heads, by what no lock of a head can change: the product of its
 * output and value matrices X = O V. Products are compared through traces of small blocks
 * (X itself is never formed):
 *
 *     <X'_h, X0_k> = tr( (O'_h^T O0_k) (V0_k V'_h^T) )
 *
 * Query heads of one KV group stay together, so groups are assigned first, each pair of
 * groups at the worth of the best order inside.
 */
#include <math.h>
#include <string.h>

#include "attack/pair.h"
#include "attack/slab.h"
#include "attack/solve.h"
#include "la/la.h"
#include "util/alloc.h"
#include "util/fail.h"

/* Values and outputs of one attention, both models; heads of d rows. */
struct vo {
    struct ww_slabs v;
    struct ww_slabs o;
    size_t d;
    size_t n_heads;
    size_t per_group;
};

static enum ww_err load_vo(const struct ww_pair *pair, uint32_t a, struct vo *vo,
                           struct ww_error *err)
{
    const struct ww_attention *att = &pair->locked->attentions[a];
    const struct ww_attention *att0 = &pair->anchor->attentions[a];
    const bool latent = att->kv_b.weight != WW_NONE && att->v.weight == WW_NONE;
    const struct ww_slabs_of v = {latent ? &att->kv_b : &att->v,
                                  latent ? &att0->kv_b : &att0->v, false, att->value,
                                  att0->value};
    const struct ww_slabs_of o = {&att->o, &att0->o, true, att->context, att0->context};
    enum ww_err rc = ww_slabs_load(pair, &v, &vo->v, err);

    if (!rc) {
        rc = ww_slabs_load(pair, &o, &vo->o, err);
    }
    vo->d = (size_t)att->v_dim;
    vo->n_heads = (size_t)att->n_heads;
    vo->per_group = (size_t)(att->n_heads / att->n_kv_heads);
    return rc;
}

static void release_vo(struct vo *vo)
{
    ww_slabs_release(&vo->v);
    ww_slabs_release(&vo->o);
}

/* tr(P Q) of d x d blocks inside larger matrices. */
static double trace(const float *p, size_t ldp, const float *q, size_t ldq, size_t d)
{
    double sum = 0;
    for (size_t i = 0; i < d; i++) {
        for (size_t j = 0; j < d; j++) {
            sum += (double)p[i * ldp + j] * (double)q[j * ldq + i];
        }
    }
    return sum;
}

/* ||X_h|| of every head of one model. */
static enum ww_err norms_of(const struct ww_slab *v, const struct ww_slab *o,
                            const struct vo *vo, double *out, struct ww_error *err)
{
    const size_t d = vo->d;
    float *gram = ww_calloc(2 * d, d * sizeof(*gram));

    if (!gram) {
        return WW_FAIL_MEMORY(err, "the heads of an attention");
    }
    for (size_t h = 0; h < vo->n_heads; h++) {
        const float *oh = o->rows + h * d * o->width;
        const float *vh = v->rows + h / vo->per_group * d * v->width;
        ww_la_gemm_f32(WW_LA_PLAIN, WW_LA_TRANSPOSED, d, d, o->width, 1, oh, o->width, oh,
                       o->width, 0, gram, d);
        ww_la_gemm_f32(WW_LA_PLAIN, WW_LA_TRANSPOSED, d, d, v->width, 1, vh, v->width, vh,
                       v->width, 0, gram + d * d, d);
        out[h] = sqrt(fmax(trace(gram, d, gram + d * d, d, d), 0));
    }
    ww_free(gram);
    return WW_OK;
}

/* score[h][k] += <X'_h, X0_k> / (|X'_h| |X0_k|) */
static enum ww_err add_scores(const struct vo *vo, double *score, struct ww_error *err)
{
    const size_t n = vo->n_heads;
    const size_t d = vo->d;
    const size_t hd = n * d;
    const size_t gd = n / vo->per_group * d;
    float *p = ww_calloc(d, hd * sizeof(*p));
    float *q = ww_calloc(gd, d * sizeof(*q));
    double *norms = ww_calloc(2 * n, sizeof(*norms));
    enum ww_err rc = WW_OK;

    if (!p || !q || !norms) {
        rc = WW_FAIL_MEMORY(err, "the heads of an attention");
        goto out;
    }
    rc = norms_of(&vo->v.locked, &vo->o.locked, vo, norms, err);
    if (!rc) {
        rc = norms_of(&vo->v.anchor, &vo->o.anchor, vo, norms + n, err);
    }
    for (size_t h = 0; h < n && !rc; h++) {
        const size_t ow = vo->o.locked.width;
        const size_t vw = vo->v.locked.width;
        const float *vh = vo->v.locked.rows + h / vo->per_group * d * vw;
        ww_la_gemm_f32(WW_LA_PLAIN, WW_LA_TRANSPOSED, d, hd, ow, 1,
                       vo->o.locked.rows + h * d * ow, ow, vo->o.anchor.rows, ow, 0, p,
                       hd);
        ww_la_gemm_f32(WW_LA_PLAIN, WW_LA_TRANSPOSED, gd, d, vw, 1, vo->v.anchor.rows, vw,
                       vh, vw, 0, q, d);
        for (size_t k = 0; k < n; k++) {
            const double both = norms[h] * norms[n + k];
            const double dot = trace(p + k * d, hd, q + k / vo->per_group * d * d, d, d);
            score[h * n + k] += both > 0 ? dot / both : 0;
        }
    }
out:
    ww_free(p);
    ww_free(q);
    ww_free(norms);
    return rc;
}

/* Best order of the heads of a locked group among those of an anchor's: per x per scores
 * in rows of n. */
static enum ww_err order_inside(const double *score, size_t n, size_t per, double *block,
                                uint32_t *match, double *worth, struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    for (size_t i = 0; i < per; i++) {
        for (size_t j = 0; j < per; j++) {
            block[i * per + j] = score[i * n + j];
        }
    }
    rc = ww_assign(per, block, match, err);
    *worth = 0;
    for (size_t i = 0; i < per && !rc; i++) {
        *worth += block[i * per + match[i]];
    }
    return rc;
}

static enum ww_err assign_heads(const double *score, size_t n, size_t per,
                                uint32_t *order, struct ww_error *err)
{
    const size_t n_groups = n / per;
    double *groups = ww_calloc(n_groups, n_groups * sizeof(*groups));
    double *block = ww_calloc(per, per * sizeof(*block));
    uint32_t *inside = ww_calloc(per, sizeof(*inside));
    uint32_t *match = ww_calloc(n_groups, sizeof(*match));
    double worth = 0;
    enum ww_err rc = WW_OK;

    if (!groups || !block || !inside || !match) {
        rc = WW_FAIL_MEMORY(err, "the heads of an attention");
    }
    for (size_t g = 0; g < n_groups && !rc; g++) {
        for (size_t k = 0; k < n_groups && !rc; k++) {
            rc = order_inside(score + g * per * n + k * per, n, per, block, inside,
                              &groups[g * n_groups + k], err);
        }
    }
    if (!rc) {
        rc = ww_assign(n_groups, groups, match, err);
    }
    for (size_t g = 0; g < n_groups && !rc; g++) {
        rc = order_inside(score + g * per * n + match[g] * per, n, per, block, inside,
                          &worth, err);
        for (size_t i = 0; i < per && !rc; i++) {
            order[g * per + i] = (uint32_t)(match[g] * per + inside[i]);
        }
    }
    ww_free(groups);
    ww_free(block);
    ww_free(inside);
    ww_free(match);
    return rc;
}

/* Scores of all attentions that share one order. */
static enum ww_err sum_scores(const struct ww_pair *pair, uint32_t owner, double *score,
                              bool *any, struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    for (uint32_t a = 0; a < pair->locked->n_attentions && !rc; a++) {
        struct vo vo = {0};
        if (pair->locked->attentions[a].heads_owner != owner) {
            continue;
        }
        rc = load_vo(pair, a, &vo, err);
        if (!rc && vo.v.locked.rows && vo.o.locked.rows) {
            rc = add_scores(&vo, score, err);
            *any = true;
        }
        release_vo(&vo);
    }
    return rc;
}

static enum ww_err find_order(struct ww_pair *pair, uint32_t owner, struct ww_error *err)
{
    const struct ww_attention *att = &pair->locked->attentions[owner];
    const size_t n = (size_t)att->n_heads;
    double *score = ww_calloc(n, n * sizeof(*score));
    bool any = false;
    enum ww_err rc = WW_OK;

    if (!score) {
        return WW_FAIL_MEMORY(err, "the heads of '%s'", att->name);
    }
    rc = sum_scores(pair, owner, score, &any, err);
    if (!rc && any) {
        rc = assign_heads(score, n, n / (size_t)att->n_kv_heads, pair->heads[owner], err);
    }
    for (uint32_t a = 0; a < pair->locked->n_attentions && !rc; a++) {
        const struct ww_attention *member = &pair->locked->attentions[a];
        if (member->heads_owner != owner || member->n_heads != att->n_heads) {
            continue;
        }
        for (size_t h = 0; h < n; h++) {
            pair->heads[a][h] = pair->heads[owner][h];
            pair->found.heads_moved += pair->heads[a][h] != h;
        }
    }
    ww_free(score);
    return rc;
}

enum ww_err ww_find_heads(struct ww_pair *pair, struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    for (uint32_t a = 0; a < pair->locked->n_attentions && !rc; a++) {
        const struct ww_attention *att = &pair->locked->attentions[a];
        rc = ww_pair_progress(pair, "heads", a, pair->locked->n_attentions, err);
        if (!rc && att->heads_owner == a && att->heads_move) {
            rc = find_order(pair, a, err);
        }
    }
    return rc;
}
