/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The elements of an attention's spaces: head order and in-head elements composed, as the
 * lock composes them. Attentions that reuse keys and values of an earlier layer share its
 * in-head elements, so their weights vote together.
 */
#include <string.h>

#include "attack/fix.h"
#include "attack/inner.h"
#include "attack/pair_rows.h"
#include "attack/products.h"
#include "util/fail.h"

/* Which side of which product a strand is. */
enum part { QUERY_KEY, VALUE_OUTPUT, NOPE, ROPE };

static void strands_of(const struct ww_layout *layout, uint32_t a, enum part part,
                       const struct ww_linear *linear[2], uint32_t space[2])
{
    const struct ww_attention *att = &layout->attentions[a];
    const bool latent = att->v.weight == WW_NONE && att->kv_b.weight != WW_NONE;

    switch (part) {
    case QUERY_KEY:
        linear[0] = &att->q;
        linear[1] = &att->k;
        space[0] = att->query;
        space[1] = att->key;
        break;
    case VALUE_OUTPUT:
        linear[0] = latent ? &att->kv_b : &att->v;
        linear[1] = &att->o;
        space[0] = att->value;
        space[1] = att->context;
        break;
    case NOPE:
        linear[0] = &att->q;
        linear[1] = &att->kv_b;
        space[0] = att->q_nope;
        space[1] = att->k_nope;
        break;
    case ROPE:
        linear[0] = &att->q;
        linear[1] = &att->kv_a;
        space[0] = att->q_rope;
        space[1] = att->k_rope;
        break;
    }
}

static enum ww_err gather(const struct ww_pair *pair, uint32_t owner, enum part part,
                          struct ww_inner *inner, struct ww_cross *crosses, bool *any,
                          struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    *any = false;
    for (uint32_t a = 0; a < pair->locked->n_attentions && !rc; a++) {
        const struct ww_linear *locked[2] = {NULL, NULL};
        const struct ww_linear *anchor[2] = {NULL, NULL};
        uint32_t space[2];
        uint32_t space0[2];
        if (pair->locked->attentions[a].element_owner != owner) {
            continue;
        }
        strands_of(pair->locked, a, part, locked, space);
        strands_of(pair->anchor, a, part, anchor, space0);
        for (int side = 0; side < 2 && !rc; side++) {
            const struct ww_strand strand = {
                locked[side], anchor[side], part == VALUE_OUTPUT && side == 1,
                side == 1,    space[side],  space0[side]};
            rc = ww_crosses_add(pair, a, &strand, crosses, inner->n, any, err);
        }
    }
    return rc;
}

static enum ww_err find_qk(const struct ww_pair *pair, uint32_t owner,
                           const struct ww_inner *inner, struct ww_error *err)
{
    const struct ww_attention *att = &pair->locked->attentions[owner];
    struct ww_qk_moves moves;
    enum ww_err rc = WW_OK;

    ww_qk_moves_of(att, &moves);
    const struct ww_inner_signed rest = {(size_t)moves.rotary, (size_t)moves.rest,
                                         moves.perm,           moves.shared_perm,
                                         moves.signs,          moves.scale};
    if (moves.turns) {
        ww_inner_find_turns(inner, &att->rope, moves.shared_odd, moves.scale);
    }
    if (moves.rest > 0 && (moves.perm || moves.signs)) {
        rc = ww_inner_find_signed(inner, &rest, err);
    }
    if (!rc && moves.head_sign) {
        ww_inner_find_head_sign(inner);
    }
    return rc;
}

static enum ww_err find_part(struct ww_pair *pair, uint32_t owner, enum part part,
                             const struct ww_inner *inner, struct ww_error *err)
{
    const struct ww_attention *att = &pair->locked->attentions[owner];
    const bool vo = part == VALUE_OUTPUT;
    const struct ww_inner_signed all = {0,     inner->d, true,
                                        false, true,     vo ? ww_vo_scales(att) : true};

    if (part == QUERY_KEY) {
        return find_qk(pair, owner, inner, err);
    }
    if (part == ROPE) {
        ww_inner_find_turns(inner, &att->rope, false, false);
        return WW_OK;
    }
    return vo && att->vo_class == WW_VO_NONE ? WW_OK
                                             : ww_inner_find_signed(inner, &all, err);
}

/* Matrices for the heads of the locked model; with products also for the anchor's. */
struct fixes {
    struct ww_fix locked;
    struct ww_fix anchor;
    bool products;
};

static void count_found(struct ww_pair *pair, const struct ww_inner *inner,
                        const struct ww_fix *fix)
{
    const struct ww_element *e = inner->out;

    for (uint32_t i = 0; i < e->n; i++) {
        pair->found.inner_moved += e->perm[i] != i % inner->d;
        pair->found.inner_negated += e->neg[i];
        pair->found.scaled += e->exp[i] != 0;
    }
    for (size_t g = 0; g < inner->n; g++) {
        const struct ww_likeness like =
            fix->mixed[g] ? ww_fix_likeness(inner, fix, g) : ww_inner_likeness(inner, g);
        pair->like.locked += like.locked;
        pair->like.anchor += like.anchor;
        pair->like.dot += like.dot;
    }
}

/* Heads in their order, each with the element of its group. */
static enum ww_err compose(struct ww_pair *pair, uint32_t a, uint32_t space,
                           const struct ww_inner *inner, struct ww_error *err)
{
    const struct ww_attention *att = &pair->locked->attentions[a];
    const size_t per = (size_t)(att->n_heads / att->n_kv_heads);
    struct ww_element *out = NULL;
    enum ww_err rc = WW_OK;

    if (space == WW_NONE) {
        return WW_OK;
    }
    out = &pair->given.spaces[space];
    const size_t n_blocks = (size_t)pair->locked->spaces[space].size / inner->d;
    ww_element_release(out);
    rc = ww_element_init(out, n_blocks * inner->d, err);
    for (uint32_t i = 0; i < out->n && !rc; i++) {
        const size_t b = i / inner->d;
        const size_t g = b / (n_blocks / inner->n);
        const size_t at = g * inner->d + i % inner->d;
        const size_t from = n_blocks == att->n_heads      ? pair->heads[a][b]
                            : n_blocks == att->n_kv_heads ? pair->heads[a][b * per] / per
                                                          : b;
        out->perm[i] = (uint32_t)(from * inner->d + inner->out->perm[at]);
        out->neg[i] = inner->out->neg[at];
        out->exp[i] = inner->out->exp[at];
    }
    return rc;
}

/* Gains that all heads share move as head 0 does. */
static enum ww_err share_gain(struct ww_pair *pair, uint32_t a,
                              const struct ww_inner *inner, struct ww_error *err)
{
    const uint32_t space = pair->locked->attentions[a].qk_gain;
    struct ww_qk_moves moves;
    enum ww_err rc = WW_OK;

    ww_qk_moves_of(&pair->locked->attentions[a], &moves);
    if (space == WW_NONE || !(moves.shared_odd || moves.shared_perm)) {
        return WW_OK;
    }
    rc = ww_element_init(&pair->given.spaces[space], inner->d, err);
    if (!rc) {
        memcpy(pair->given.spaces[space].perm, inner->out->perm,
               inner->d * sizeof(*inner->out->perm));
    }
    return rc;
}

static enum ww_err mix_partner(struct ww_pair *partner, uint32_t a, enum part part,
                               const struct ww_fix *fix, struct ww_error *err)
{
    const struct ww_linear *linear[2];
    uint32_t space[2];
    enum ww_err rc = WW_OK;

    strands_of(partner->locked, a, part, linear, space);
    for (int side = 0; side < 2 && !rc; side++) {
        rc = ww_pair_mix(partner, space[side], fix, err);
    }
    return rc;
}

static enum ww_err write_members(struct ww_pair *pair, uint32_t owner, enum part part,
                                 const struct ww_inner *inner, const struct fixes *fixes,
                                 struct ww_error *err)
{
    const struct ww_fix *fix = &fixes->locked;
    enum ww_err rc = WW_OK;

    for (uint32_t a = 0; a < pair->locked->n_attentions && !rc; a++) {
        const struct ww_linear *linear[2];
        uint32_t space[2];
        if (pair->locked->attentions[a].element_owner != owner) {
            continue;
        }
        strands_of(pair->locked, a, part, linear, space);
        if (fixes->products) {
            rc = mix_partner(pair->blend->partner, a, part, &fixes->anchor, err);
        }
        for (int side = 0; side < 2 && !rc; side++) {
            rc = compose(pair, a, space[side], inner, err);
            if (!rc) {
                rc = ww_pair_mix(pair, space[side], fix, err);
            }
        }
        if (!rc && part == QUERY_KEY) {
            rc = share_gain(pair, a, inner, err);
        }
    }
    return rc;
}

static enum ww_err find_fixes(struct ww_pair *pair, uint32_t owner, enum part part,
                              const struct ww_inner *inner, struct fixes *fixes,
                              struct ww_error *err)
{
    const bool values = part == VALUE_OUTPUT;
    enum ww_err rc = WW_OK;

    if (fixes->products) {
        return ww_products_find(pair, owner, values, inner, &fixes->locked,
                                &fixes->anchor, err);
    }
    rc = find_part(pair, owner, part, inner, err);
    if (!rc && !pair->noisy && (part == QUERY_KEY || values)) {
        rc = ww_fix_find(pair, owner, values, inner, &fixes->locked, err);
    }
    if (!rc) {
        count_found(pair, inner, &fixes->locked);
    }
    return rc;
}

/* What is summed up, and room for what is found. */
static enum ww_err prepare(const struct ww_inner *inner, struct ww_cross *crosses,
                           struct fixes *fixes, struct ww_error *err)
{
    enum ww_err rc = ww_fix_init(&fixes->locked, inner->n, inner->d, err);

    if (!rc && fixes->products) {
        rc = ww_fix_init(&fixes->anchor, inner->n, inner->d, err);
    }
    if (!rc && fixes->products) {
        rc = ww_crosses_want_anchor(crosses, inner->n, err);
    }
    if (!rc) {
        rc = ww_element_init(inner->out, inner->n * inner->d, err);
    }
    for (uint32_t i = 0; i < inner->out->n && !rc; i++) {
        inner->out->perm[i] = (uint32_t)(i % inner->d);
    }
    return rc;
}

static enum ww_err solve_part(struct ww_pair *pair, uint32_t owner, enum part part,
                              size_t n, size_t d, struct ww_error *err)
{
    const bool heads = part == QUERY_KEY || part == VALUE_OUTPUT;
    struct ww_cross *crosses = NULL;
    struct ww_element element = {0};
    struct ww_inner inner = {NULL, n, d, &element};
    struct fixes fixes = {0};
    bool any = false;
    enum ww_err rc = ww_crosses_new(n, d, &crosses, err);

    if (rc) {
        goto out;
    }
    inner.crosses = crosses;
    fixes.products =
        pair->blend && heads &&
        ww_has_products(&pair->locked->attentions[owner], part == VALUE_OUTPUT);
    rc = prepare(&inner, crosses, &fixes, err);
    if (!rc) {
        rc = gather(pair, owner, part, &inner, crosses, &any, err);
    }
    fixes.products = fixes.products && any;
    if (!rc && any) {
        rc = find_fixes(pair, owner, part, &inner, &fixes, err);
    }
    if (!rc) {
        rc = write_members(pair, owner, part, &inner, &fixes, err);
    }
out:
    ww_fix_release(&fixes.locked);
    ww_fix_release(&fixes.anchor);
    ww_crosses_free(crosses, n);
    ww_element_release(&element);
    return rc;
}

/* Tables by head: sinks, biases by position. */
static enum ww_err write_head_spaces(struct ww_pair *pair, struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    for (uint32_t a = 0; a < pair->locked->n_attentions && !rc; a++) {
        const struct ww_attention *att = &pair->locked->attentions[a];
        const uint32_t spaces[2] = {att->query_head, att->kv_head};
        const size_t n[2] = {(size_t)att->n_heads, (size_t)att->n_kv_heads};
        for (int i = 0; i < 2 && !rc; i++) {
            struct ww_element whole = {0};
            struct ww_inner inner = {NULL, n[1], 1, &whole};
            if (spaces[i] != WW_NONE) {
                rc = ww_element_init(&whole, n[1], err);
                for (uint32_t g = 0; g < whole.n; g++) {
                    whole.perm[g] = 0;
                }
                if (!rc) {
                    rc = compose(pair, a, spaces[i], &inner, err);
                }
            }
            ww_element_release(&whole);
        }
    }
    return rc;
}

enum ww_err ww_find_inner(struct ww_pair *pair, struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    for (uint32_t a = 0; a < pair->locked->n_attentions && !rc; a++) {
        const struct ww_attention *att = &pair->locked->attentions[a];
        const size_t n = (size_t)att->n_kv_heads;
        const bool mla = att->qk_class == WW_QK_MLA;
        if (att->element_owner != a) {
            continue;
        }
        rc = ww_pair_progress(pair, "attention", a, pair->locked->n_attentions, err);
        if (rc) {
            break;
        }
        if (att->value != WW_NONE || att->context != WW_NONE) {
            rc = solve_part(pair, a, VALUE_OUTPUT, n, (size_t)att->v_dim, err);
        }
        if (!rc && !mla && att->query != WW_NONE) {
            rc = solve_part(pair, a, QUERY_KEY, n, (size_t)att->head_dim, err);
        }
        if (!rc && mla && att->q_nope != WW_NONE) {
            rc = solve_part(pair, a, NOPE, n, (size_t)att->mla_nope, err);
        }
        if (!rc && mla && att->q_rope != WW_NONE && att->rope.dims > 0) {
            rc = solve_part(pair, a, ROPE, 1, (size_t)att->rope.dims, err);
        }
    }
    return rc ? rc : write_head_spaces(pair, err);
}

static enum ww_err find_latent(struct ww_pair *pair, const struct ww_linear *locked,
                               const struct ww_linear *anchor, uint32_t space,
                               uint32_t space0, struct ww_error *err)
{
    const struct ww_slabs_of of = {locked, anchor, false, space, space0};
    struct ww_slabs slabs = {0};
    struct ww_matching matching = {0};
    enum ww_err rc = WW_OK;

    if (space == WW_NONE || pair->given.spaces[space].perm) {
        return WW_OK;
    }
    rc = ww_slabs_load(pair, &of, &slabs, err);
    if (!rc && slabs.locked.rows) {
        rc = ww_pair_rows(slabs.locked.rows, slabs.anchor.rows, slabs.locked.n,
                          slabs.locked.width, true, &matching, err);
    }
    if (!rc && matching.match) {
        struct ww_element *out = &pair->given.spaces[space];
        rc = ww_element_init(out, matching.n, err);
        for (uint32_t i = 0; i < out->n && !rc; i++) {
            out->perm[i] = matching.match[i];
            out->neg[i] = matching.cosine[i] < 0;
            pair->found.inner_moved += out->perm[i] != i;
            pair->found.inner_negated += out->neg[i];
        }
    }
    ww_matching_release(&matching);
    ww_slabs_release(&slabs);
    return rc;
}

/* Latent attention: what the low-rank projections write. */
enum ww_err ww_find_latents(struct ww_pair *pair, struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    for (uint32_t a = 0; a < pair->locked->n_attentions && !rc; a++) {
        const struct ww_attention *att = &pair->locked->attentions[a];
        const struct ww_attention *att0 = &pair->anchor->attentions[a];
        rc = find_latent(pair, &att->kv_a, &att0->kv_a, att->kv_latent, att0->kv_latent,
                         err);
        if (!rc) {
            rc = find_latent(pair, &att->q_a, &att0->q_a, att->query_latent,
                             att0->query_latent, err);
        }
    }
    return rc;
}
