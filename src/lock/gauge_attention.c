/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Elements of an attention. Three draws compose: the order of the KV groups, the order of
 * the query heads inside each group, and one in-head element per group, which its query
 * heads and its key (or value) share because they meet in one dot product.
 */
#include "lock/gauge_attention.h"

#include <string.h>

#include "lock/draw.h"
#include "util/alloc.h"
#include "util/fail.h"

/* Source head of every head [G * per_group]; per_group 1 gives the KV heads. */
static enum ww_err head_order(const struct ww_gauge *gauge,
                              const struct ww_attention *att, uint64_t per_group,
                              uint32_t *order, struct ww_error *err)
{
    const struct ww_attention *owner = &gauge->layout->attentions[att->heads_owner];
    const uint64_t n_groups = att->n_kv_heads;
    const uint64_t n_heads = n_groups * per_group;
    struct ww_draw draw = {0};
    uint32_t *kv = NULL;
    enum ww_err rc = WW_OK;

    for (uint64_t h = 0; h < n_heads; h++) {
        const bool astray =
            gauge->wrong == WW_WRONG_HEADS && (per_group > 1 || !att->heads_move);
        order[h] = (uint32_t)(astray ? (h + 1) % n_heads : h);
    }
    if (!att->heads_move || gauge->wrong == WW_WRONG_HEADS) {
        return WW_OK;
    }
    kv = ww_calloc((size_t)n_groups, sizeof(*kv));
    if (!kv) {
        return WW_FAIL_MEMORY(err, "the heads of '%s'", att->name);
    }
    rc = ww_draw_open(&draw, gauge->prk, "kv-order", owner->name, n_groups, 0, err);
    if (rc) {
        goto out;
    }
    ww_draw_perm(&draw, kv, (uint32_t)n_groups);
    ww_draw_close(&draw);
    rc = ww_draw_open(&draw, gauge->prk, "query-order", owner->name, n_groups, per_group,
                      err);
    if (rc) {
        goto out;
    }
    for (uint64_t g = 0; g < n_groups; g++) {
        ww_draw_perm(&draw, order + g * per_group, (uint32_t)per_group);
        for (uint64_t j = 0; j < per_group; j++) {
            order[g * per_group + j] += (uint32_t)(kv[g] * per_group);
        }
    }
out:
    ww_draw_close(&draw);
    ww_free(kv);
    return rc;
}

typedef enum ww_err (*inner_fn)(const struct ww_gauge *gauge,
                                const struct ww_attention *att, struct ww_element *out,
                                struct ww_error *err);

/* Heads in their order, each with the in-head element of its group; inner NULL: whole
 * heads of that width. n_inner is how many heads the in-head element has (1: shared). */
static enum ww_err compose(const struct ww_gauge *gauge, const struct ww_attention *att,
                           inner_fn draw_inner, uint64_t width, uint64_t per_group,
                           struct ww_element *out, struct ww_error *err)
{
    const struct ww_attention *owner = &gauge->layout->attentions[att->element_owner];
    const uint64_t n_groups = att->n_kv_heads;
    struct ww_element inner = {0};
    uint32_t *order = NULL;
    enum ww_err rc = WW_OK;

    order = ww_calloc((size_t)(n_groups * per_group), sizeof(*order));
    if (!order) {
        rc = WW_FAIL_MEMORY(err, "the heads of '%s'", att->name);
        goto out;
    }
    rc = head_order(gauge, att, per_group, order, err);
    if (rc) {
        goto out;
    }
    rc = ww_element_init(&inner, n_groups * width, err);
    if (rc) {
        goto out;
    }
    for (uint32_t i = 0; i < inner.n; i++) {
        inner.perm[i] = (uint32_t)(i % width);
    }
    if (draw_inner) {
        rc = draw_inner(gauge, owner, &inner, err);
        if (rc) {
            goto out;
        }
    }
    rc = ww_element_init(out, n_groups * per_group * width, err);
    if (rc) {
        goto out;
    }
    for (uint32_t i = 0; i < out->n; i++) {
        const uint64_t head = i / width;
        const uint64_t at = head / per_group * width + i % width;
        out->perm[i] = (uint32_t)(order[head] * width + inner.perm[at]);
        out->neg[i] = inner.neg[at];
        out->exp[i] = inner.exp[at];
    }
out:
    ww_free(order);
    ww_element_release(&inner);
    return rc;
}

/* Gains that all heads share swap where the pairs turn, and follow the permutation of the
 * rest. Head 0 of the in-head element shows both. */
static enum ww_err shared_gain(const struct ww_gauge *gauge,
                               const struct ww_attention *att, struct ww_element *out,
                               struct ww_error *err)
{
    const struct ww_attention *owner = &gauge->layout->attentions[att->element_owner];
    struct ww_element inner = {0};
    struct ww_qk_moves moves;
    enum ww_err rc = WW_OK;

    ww_qk_moves_of(owner, &moves);
    rc = ww_element_init(out, att->head_dim, err);
    if (rc || !(moves.shared_odd || moves.shared_perm)) {
        return rc;
    }
    rc = ww_element_init(&inner, owner->n_kv_heads * owner->head_dim, err);
    if (rc) {
        goto out;
    }
    for (uint32_t i = 0; i < inner.n; i++) {
        inner.perm[i] = (uint32_t)(i % owner->head_dim);
    }
    rc = ww_inner_qk(gauge, owner, &inner, err);
    if (rc) {
        goto out;
    }
    memcpy(out->perm, inner.perm, out->n * sizeof(*out->perm));
out:
    ww_element_release(&inner);
    return rc;
}

enum ww_err ww_gauge_attention(const struct ww_gauge *gauge, const struct ww_space *space,
                               struct ww_element *out, struct ww_error *err)
{
    const struct ww_attention *att = &gauge->layout->attentions[space->owner];
    const uint64_t per_group = att->n_heads / att->n_kv_heads;
    enum ww_err rc = WW_OK;

    switch (space->kind) {
    case WW_SPACE_QUERY:
        return compose(gauge, att, ww_inner_qk, att->head_dim, per_group, out, err);
    case WW_SPACE_KEY:
        return compose(gauge, att, ww_inner_qk, att->head_dim, 1, out, err);
    case WW_SPACE_VALUE:
        return compose(gauge, att, ww_inner_vo, att->v_dim, 1, out, err);
    case WW_SPACE_CONTEXT:
        return compose(gauge, att, ww_inner_vo, att->v_dim, per_group, out, err);
    case WW_SPACE_QUERY_HEAD:
        return compose(gauge, att, NULL, 1, per_group, out, err);
    case WW_SPACE_KV_HEAD:
        return compose(gauge, att, NULL, 1, 1, out, err);
    case WW_SPACE_QK_GAIN:
        rc = shared_gain(gauge, att, out, err);
        break;
    case WW_SPACE_MLA_Q_NOPE:
        return compose(gauge, att, ww_inner_nope, att->mla_nope, per_group, out, err);
    case WW_SPACE_MLA_K_NOPE:
        return compose(gauge, att, ww_inner_nope, att->mla_nope, 1, out, err);
    case WW_SPACE_MLA_Q_ROPE:
        return compose(gauge, att, ww_inner_mla_rope, att->rope.dims, per_group, out,
                       err);
    case WW_SPACE_MLA_K_ROPE:
        rc = ww_element_init(out, att->rope.dims, err);
        if (!rc) {
            rc = ww_inner_mla_rope(gauge, att, out, err);
        }
        break;
    case WW_SPACE_LATENT:
    case WW_SPACE_Q_LATENT:
        rc = ww_element_init(out, space->size, err);
        if (!rc) {
            rc = ww_inner_latent(gauge, att, space->kind == WW_SPACE_Q_LATENT, out, err);
        }
        break;
    case WW_SPACE_RESIDUAL:
    case WW_SPACE_NEURON:
    case WW_SPACE_EXPERT:
        rc = WW_FAIL(err, WW_E_INTERNAL, "space '%s' is not an attention's", space->name);
        break;
    }
    if (rc) {
        ww_element_release(out);
    }
    return rc;
}
