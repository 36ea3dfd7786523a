/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Neurons of an MLP or expert. The gate's rows, or the first layer's where there is no
 * gate, tell which neuron is which: a lock changes their order only. With the order
 * known, the sign and factor of up against down is one unknown per neuron.
 */
#include <math.h>
#include <string.h>

#include "attack/pair_rows.h"
#include "attack/pair.h"
#include "attack/slab.h"
#include "attack/solve.h"
#include "util/alloc.h"
#include "util/fail.h"

#define MOST_EXPONENT 60

/* Which MLP of the anchor stands for one of the locked model: experts trade places. */
static uint32_t counterpart(const struct ww_pair *pair, uint32_t mlp)
{
    const struct ww_layout *layout = pair->locked;

    for (uint32_t m = 0; m < layout->n_moes; m++) {
        const struct ww_moe *moe = &layout->moes[m];
        const struct ww_element *experts = &pair->given.spaces[moe->expert];
        if (mlp >= moe->first_mlp && mlp - moe->first_mlp < moe->n_experts &&
            experts->perm) {
            return moe->first_mlp + experts->perm[mlp - moe->first_mlp];
        }
    }
    return mlp;
}

static enum ww_err load(const struct ww_pair *pair, uint32_t mlp,
                        const struct ww_linear *locked, const struct ww_linear *anchor,
                        bool inputs, struct ww_slabs *out, struct ww_error *err)
{
    const struct ww_slabs_of of = {locked, anchor, inputs, pair->locked->mlps[mlp].neuron,
                                   pair->anchor->mlps[counterpart(pair, mlp)].neuron};
    return ww_slabs_load(pair, &of, out, err);
}

/* Norms and dot products of up rows and down columns, per neuron. */
struct sums {
    double *alpha, *beta, *cu, *cw;
    double *own_u, *own_w; /* norms of the anchor's */
};

static enum ww_err sum_rows(const struct ww_slabs *slabs, const uint32_t *perm,
                            double *norm, double *dot, double *own, double *anchor)
{
    const size_t w = slabs->locked.width;

    for (size_t i = 0; i < slabs->locked.n; i++) {
        const float *x = slabs->locked.rows + i * w;
        const float *x0 = slabs->anchor.rows + (size_t)perm[i] * w;
        norm[i] = ww_row_dot(x, x, w);
        dot[i] = ww_row_dot(x0, x, w);
        own[i] = ww_row_dot(x0, x0, w);
        *anchor += own[i];
    }
    return WW_OK;
}

static void solve_signs(struct ww_pair *pair, const struct ww_mlp *mlp,
                        const struct sums *s, struct ww_element *out)
{
    for (uint32_t i = 0; i < out->n; i++) {
        const struct ww_neuron_problem problem = {
            .alpha = s->alpha[i],
            .beta = s->beta[i],
            .cu = s->cu[i],
            .cw = s->cw[i],
            .power = mlp->act == WW_FN_RELU2 ? 2 : 1,
            .positive = !mlp->sign_moves,
            .own_u = s->own_u[i],
            .own_w = s->own_w[i],
        };
        const double t = ww_solve_neuron(&problem);
        const double e = t != 0 && isfinite(t) ? -round(log2(fabs(t))) : 0;
        out->neg[i] = mlp->sign_moves && t < 0;
        out->exp[i] = (int8_t)(mlp->scale_moves && fabs(e) <= MOST_EXPONENT ? (int)e : 0);
        const double factor = ldexp(out->neg[i] ? -1 : 1, -out->exp[i]);
        pair->like.locked +=
            factor * factor * s->alpha[i] + s->beta[i] / (factor * factor);
        pair->like.dot += factor * s->cu[i] + s->cw[i] / factor;
        pair->found.neurons_negated += out->neg[i];
        pair->found.scaled += out->exp[i] != 0;
    }
}

static enum ww_err find_signs(struct ww_pair *pair, uint32_t index,
                              struct ww_element *out, struct ww_error *err)
{
    const struct ww_mlp *mlp = &pair->locked->mlps[index];
    const struct ww_mlp *mlp0 = &pair->anchor->mlps[counterpart(pair, index)];
    const size_t n = out->n;
    double *all = ww_calloc(6 * n, sizeof(*all));
    const struct sums sums = {all,         all + n,     all + 2 * n,
                              all + 3 * n, all + 4 * n, all + 5 * n};
    struct ww_slabs slabs = {0};
    enum ww_err rc = WW_OK;

    if (!all) {
        return WW_FAIL_MEMORY(err, "neurons");
    }
    rc = load(pair, index, &mlp->up, &mlp0->up, false, &slabs, err);
    if (rc || !slabs.locked.rows) {
        goto out;
    }
    rc = sum_rows(&slabs, out->perm, sums.alpha, sums.cu, sums.own_u, &pair->like.anchor);
    ww_slabs_release(&slabs);
    if (!rc) {
        rc = load(pair, index, &mlp->down, &mlp0->down, true, &slabs, err);
    }
    if (rc || !slabs.locked.rows) {
        goto out;
    }
    rc = sum_rows(&slabs, out->perm, sums.beta, sums.cw, sums.own_w, &pair->like.anchor);
    if (!rc) {
        solve_signs(pair, mlp, &sums, out);
    }
out:
    ww_free(all);
    ww_slabs_release(&slabs);
    return rc;
}

static enum ww_err find_order(struct ww_pair *pair, uint32_t index,
                              struct ww_element *out, struct ww_error *err)
{
    const struct ww_mlp *mlp = &pair->locked->mlps[index];
    const struct ww_mlp *mlp0 = &pair->anchor->mlps[counterpart(pair, index)];
    struct ww_slabs slabs = {0};
    struct ww_matching matching = {0};
    enum ww_err rc = load(pair, index, mlp->gated ? &mlp->gate : &mlp->up,
                          mlp->gated ? &mlp0->gate : &mlp0->up, false, &slabs, err);

    if (rc || !slabs.locked.rows) {
        goto out;
    }
    rc = ww_pair_rows(slabs.locked.rows, slabs.anchor.rows, slabs.locked.n,
                      slabs.locked.width, false, &matching, err);
    if (rc) {
        goto out;
    }
    rc = ww_element_init(out, slabs.locked.n, err);
    for (uint32_t i = 0; i < out->n && !rc; i++) {
        const size_t w = slabs.locked.width;
        const float *x = slabs.locked.rows + (size_t)i * w;
        const float *x0 = slabs.anchor.rows + (size_t)matching.match[i] * w;
        out->perm[i] = matching.match[i];
        pair->found.neurons_moved += out->perm[i] != i;
        pair->like.locked += ww_row_dot(x, x, w);
        pair->like.anchor += ww_row_dot(x0, x0, w);
        pair->like.dot += ww_row_dot(x, x0, w);
    }
out:
    ww_matching_release(&matching);
    ww_slabs_release(&slabs);
    return rc;
}

enum ww_err ww_find_neurons(struct ww_pair *pair, bool signs, struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    for (uint32_t m = 0; m < pair->locked->n_mlps && !rc; m++) {
        const struct ww_mlp *mlp = &pair->locked->mlps[m];
        struct ww_element *out = &pair->given.neurons[m];
        if (mlp->neuron == WW_NONE) {
            continue;
        }
        rc = ww_pair_progress(pair, "neurons", m, pair->locked->n_mlps, err);
        if (!rc) {
            rc = find_order(pair, m, out, err);
        }
        if (!rc && out->perm && signs && (mlp->sign_moves || mlp->scale_moves)) {
            rc = find_signs(pair, m, out, err);
        }
    }
    return rc;
}

/* Experts are told apart by their rows of the router. */
enum ww_err ww_find_experts(struct ww_pair *pair, struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    for (uint32_t m = 0; m < pair->locked->n_moes && !rc; m++) {
        const struct ww_moe *moe = &pair->locked->moes[m];
        const struct ww_moe *moe0 = &pair->anchor->moes[m];
        const struct ww_slabs_of of = {&moe->router, &moe0->router, false, moe->expert,
                                       moe0->expert};
        struct ww_slabs slabs = {0};
        struct ww_matching matching = {0};
        if (!moe->experts_move || moe->expert == WW_NONE) {
            continue;
        }
        rc = ww_slabs_load(pair, &of, &slabs, err);
        if (!rc && slabs.locked.rows) {
            rc = ww_pair_rows(slabs.locked.rows, slabs.anchor.rows, slabs.locked.n,
                              slabs.locked.width, false, &matching, err);
        }
        if (!rc && matching.match) {
            struct ww_element *out = &pair->given.spaces[moe->expert];
            rc = ww_element_init(out, matching.n, err);
            for (uint32_t e = 0; e < out->n && !rc; e++) {
                out->perm[e] = matching.match[e];
                pair->found.experts_moved += out->perm[e] != e;
            }
        }
        ww_matching_release(&matching);
        ww_slabs_release(&slabs);
    }
    return rc;
}
