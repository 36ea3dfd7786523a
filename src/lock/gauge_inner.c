/* SPDX-License-Identifier: Apache-2.0 */
/*
 * In-head elements, by class: what commutes with the rotary embedding and the norm
 * between a projection and the dot product. A rotary pair read as a complex number may be
 * multiplied by i^t only; a norm over the head whose gains all heads share fixes for all
 * heads which pairs turn by an odd t, because the gains must swap; LayerNorm leaves the
 * sign of the whole head.
 */
#include "lock/gauge_attention.h"

#include <string.h>

#include "lock/draw.h"
#include "util/alloc.h"
#include "util/fail.h"

void ww_qk_moves_of(const struct ww_attention *att, struct ww_qk_moves *moves)
{
    const bool norm_bias = att->qk_norm_bias;

    memset(moves, 0, sizeof(*moves));
    moves->rotary = att->rope.style == WW_ROPE_NONE ? 0 : att->rope.dims;
    moves->rest = att->head_dim - moves->rotary;
    switch (att->qk_class) {
    case WW_QK_GL:
    case WW_QK_ROPE:
        moves->scale = true;
        moves->turns = moves->perm = moves->signs = true;
        break;
    case WW_QK_L2_POST:
    case WW_QK_CLAMP:
        moves->turns = moves->perm = moves->signs = true;
        break;
    case WW_QK_RMS_HEAD:
        moves->turns = moves->signs = !norm_bias;
        moves->shared_odd = true;
        moves->perm = moves->shared_perm = true;
        break;
    case WW_QK_RMS_FULL:
        moves->turns = moves->signs = !norm_bias;
        moves->perm = true;
        break;
    case WW_QK_LN_HEAD:
        moves->head_sign = !norm_bias;
        moves->perm = moves->shared_perm = att->qk_gain != WW_NONE;
        break;
    case WW_QK_MLA:
    case WW_QK_NONE:
        break;
    }
    moves->turns = moves->turns && moves->rotary > 0;
    moves->perm = moves->perm && moves->rest > 0;
    moves->signs = moves->signs && moves->rest > 0;
}

bool ww_vo_scales(const struct ww_attention *att)
{
    return att->vo_class == WW_VO_GL || att->vo_class == WW_VO_GATE;
}

/* One draw of n values for each of n_heads heads. */
struct head_draw {
    const struct ww_gauge *gauge;
    const char *owner;
    uint64_t n_heads;
};

static enum ww_err draw_bits(const struct head_draw *d, const char *kind, unsigned width,
                             uint64_t n, uint8_t **out, struct ww_error *err)
{
    struct ww_draw draw = {0};
    enum ww_err rc = WW_OK;

    *out = ww_calloc((size_t)d->n_heads, (size_t)n);
    if (!*out) {
        return WW_FAIL_MEMORY(err, "the draws of '%s'", d->owner);
    }
    rc = ww_draw_open(&draw, d->gauge->prk, kind, d->owner, d->n_heads, n, err);
    for (uint64_t g = 0; g < d->n_heads && !rc; g++) {
        ww_draw_bits(&draw, width, *out + g * n, (uint32_t)n);
    }
    ww_draw_close(&draw);
    return rc;
}

/* Permutations, signs or exponents of dimensions first .. first + n of every head. */
static enum ww_err draw_perms(const struct head_draw *d, const char *kind, bool shared,
                              uint64_t first, uint64_t n, struct ww_element *out,
                              struct ww_error *err)
{
    const uint64_t width = out->n / d->n_heads;
    struct ww_draw draw = {0};
    enum ww_err rc = ww_draw_open(&draw, d->gauge->prk, kind, d->owner,
                                  shared ? 1 : d->n_heads, n, err);

    for (uint64_t g = 0; g < d->n_heads && !rc; g++) {
        uint32_t *perm = out->perm + g * width + first;
        if (g > 0 && shared) {
            memcpy(perm, out->perm + first, n * sizeof(*perm));
            continue;
        }
        ww_draw_perm(&draw, perm, (uint32_t)n);
        for (uint64_t i = 0; i < n; i++) {
            perm[i] += (uint32_t)first;
        }
    }
    ww_draw_close(&draw);
    return rc;
}

static enum ww_err draw_signs(const struct head_draw *d, const char *kind, uint64_t first,
                              uint64_t n, struct ww_element *out, struct ww_error *err)
{
    const uint64_t width = out->n / d->n_heads;
    struct ww_draw draw = {0};
    enum ww_err rc =
        ww_draw_open(&draw, d->gauge->prk, kind, d->owner, d->n_heads, n, err);

    for (uint64_t g = 0; g < d->n_heads && !rc; g++) {
        ww_draw_bits(&draw, 1, out->neg + g * width + first, (uint32_t)n);
    }
    ww_draw_close(&draw);
    return rc;
}

static enum ww_err draw_exponents(const struct head_draw *d, const char *kind, uint64_t n,
                                  struct ww_element *out, struct ww_error *err)
{
    const uint64_t width = out->n / d->n_heads;
    struct ww_draw draw = {0};
    enum ww_err rc =
        ww_draw_open(&draw, d->gauge->prk, kind, d->owner, d->n_heads, n, err);

    for (uint64_t g = 0; g < d->n_heads && !rc; g++) {
        ww_draw_exponents(&draw, out->exp + g * width, (uint32_t)n);
    }
    ww_draw_close(&draw);
    return rc;
}

/* Multiply pair (i, j) of a head at base by i^t: t = 1 sends (x, y) to (-y, x). */
static void turn_pair(struct ww_element *out, uint64_t base, uint64_t i, uint64_t j,
                      uint8_t t)
{
    out->perm[base + i] = (uint32_t)(t & 1 ? j : i);
    out->perm[base + j] = (uint32_t)(t & 1 ? i : j);
    out->neg[base + i] = t == 1 || t == 2;
    out->neg[base + j] = t == 2 || t == 3;
}

/* turns [n_heads, rotary / 2], or one row for all heads when shared. */
static void apply_turns(const struct ww_gauge *gauge, const struct ww_attention *att,
                        const uint8_t *turns, uint64_t n_heads, bool shared,
                        struct ww_element *out)
{
    enum ww_rope_style style = att->rope.style;
    const uint64_t rotary = att->rope.dims;
    const uint64_t width = out->n / n_heads;

    if (gauge->wrong == WW_WRONG_PAIRING) {
        style = style == WW_ROPE_HALF ? WW_ROPE_ADJACENT : WW_ROPE_HALF;
    }
    for (uint64_t g = 0; g < n_heads; g++) {
        for (uint64_t f = 0; f < rotary / 2; f++) {
            uint64_t i = 0;
            uint64_t j = 0;
            uint8_t t = turns[(shared ? 0 : g * (rotary / 2)) + f];
            ww_rope_pair(style, rotary, f, &i, &j);
            if (gauge->wrong == WW_WRONG_PAIRING) {
                t |= 1;
            }
            turn_pair(out, g * width, i, j, t);
            if (gauge->wrong == WW_WRONG_FLIP) {
                out->neg[g * width + i] ^= 1;
            }
        }
    }
}

/* Quarter turns of the rotary pairs: 2 bits per pair and head, or one shared odd bit per
 * pair and a sign per pair and head. */
static enum ww_err draw_turns(const struct head_draw *d, const struct ww_attention *att,
                              bool shared_odd, struct ww_element *out,
                              struct ww_error *err)
{
    const uint64_t n_pairs = att->rope.dims / 2;
    struct head_draw shared = {d->gauge, d->owner, 1};
    uint8_t *turns = NULL;
    uint8_t *odd = NULL;
    enum ww_err rc = WW_OK;

    rc = draw_bits(d, shared_odd ? "qk-pair-sign" : "qk-turn", shared_odd ? 1 : 2,
                   n_pairs, &turns, err);
    if (rc) {
        goto out;
    }
    if (shared_odd) {
        rc = draw_bits(&shared, "qk-odd", 1, n_pairs, &odd, err);
        if (rc) {
            goto out;
        }
        for (uint64_t i = 0; i < d->n_heads * n_pairs; i++) {
            turns[i] = (uint8_t)(2 * turns[i] + odd[i % n_pairs]);
        }
    }
    apply_turns(d->gauge, att, turns, d->n_heads, false, out);
out:
    ww_free(turns);
    ww_free(odd);
    return rc;
}

/* All dimensions that one matrix mixes take the factor of the first. */
static void even_out(int8_t *exp, uint64_t n)
{
    for (uint64_t i = 1; i < n; i++) {
        exp[i] = exp[0];
    }
}

/* Both elements of a rotary pair take the factor of the pair; the rest has its own. */
static enum ww_err draw_qk_scale(const struct head_draw *d,
                                 const struct ww_attention *att, uint64_t rotary,
                                 uint64_t rest, struct ww_element *out,
                                 struct ww_error *err)
{
    const uint64_t n = rotary / 2 + rest;
    struct ww_element drawn = {0};
    enum ww_err rc = ww_element_init(&drawn, d->n_heads * n, err);

    if (rc) {
        goto out;
    }
    rc = draw_exponents(d, "qk-scale", n, &drawn, err);
    for (uint64_t g = 0; g < d->n_heads && !rc; g++) {
        const int8_t *from = drawn.exp + g * n;
        int8_t *to = out->exp + g * (rotary + rest);
        for (uint64_t f = 0; f < rotary / 2; f++) {
            uint64_t i = 0;
            uint64_t j = 0;
            ww_rope_pair(att->rope.style, rotary, f, &i, &j);
            to[i] = to[j] = from[f];
        }
        memcpy(to + rotary, from + rotary / 2, rest);
        if (d->gauge->even_heads) {
            even_out(to + rotary, rest);
        }
    }
out:
    ww_element_release(&drawn);
    return rc;
}

static enum ww_err draw_head_sign(const struct head_draw *d, struct ww_element *out,
                                  struct ww_error *err)
{
    const uint64_t width = out->n / d->n_heads;
    uint8_t *neg = NULL;
    enum ww_err rc = draw_bits(d, "qk-head-sign", 1, 1, &neg, err);

    for (uint64_t i = 0; i < out->n && !rc; i++) {
        out->neg[i] = neg[i / width];
    }
    ww_free(neg);
    return rc;
}

/* The in-head element of queries and keys, [G, d], indices counted inside the head. */
enum ww_err ww_inner_qk(const struct ww_gauge *gauge, const struct ww_attention *att,
                        struct ww_element *out, struct ww_error *err)
{
    const struct head_draw d = {gauge, att->name, att->n_kv_heads};
    struct ww_qk_moves moves;
    enum ww_err rc = WW_OK;

    ww_qk_moves_of(att, &moves);
    if (moves.turns) {
        rc = draw_turns(&d, att, moves.shared_odd, out, err);
    }
    if (!rc && moves.perm) {
        rc = draw_perms(&d, "qk-perm", moves.shared_perm, moves.rotary, moves.rest, out,
                        err);
    }
    if (!rc && moves.signs) {
        rc = draw_signs(&d, "qk-sign", moves.rotary, moves.rest, out, err);
    }
    if (!rc && moves.head_sign) {
        rc = draw_head_sign(&d, out, err);
    }
    if (!rc && moves.scale && gauge->scale) {
        rc = draw_qk_scale(&d, att, moves.rotary, moves.rest, out, err);
    }
    return rc;
}

/* A signed permutation, with factors when scale is set, of all width dimensions. */
static enum ww_err inner_signed(const struct head_draw *d, const char *const kinds[3],
                                bool scale, struct ww_element *out, struct ww_error *err)
{
    const uint64_t width = out->n / d->n_heads;
    enum ww_err rc = draw_perms(d, kinds[0], false, 0, width, out, err);

    if (!rc) {
        rc = draw_signs(d, kinds[1], 0, width, out, err);
    }
    if (!rc && scale && d->gauge->scale) {
        rc = draw_exponents(d, kinds[2], width, out, err);
        for (uint64_t g = 0; d->gauge->even_heads && g < d->n_heads; g++) {
            even_out(out->exp + g * width, width);
        }
    }
    return rc;
}

enum ww_err ww_inner_vo(const struct ww_gauge *gauge, const struct ww_attention *att,
                        struct ww_element *out, struct ww_error *err)
{
    static const char *const kinds[] = {"vo-perm", "vo-sign", "vo-scale"};
    const struct head_draw d = {gauge, att->name, att->n_kv_heads};

    if (att->vo_class == WW_VO_NONE) {
        return WW_OK;
    }
    return inner_signed(&d, kinds, ww_vo_scales(att), out, err);
}

enum ww_err ww_inner_nope(const struct ww_gauge *gauge, const struct ww_attention *att,
                          struct ww_element *out, struct ww_error *err)
{
    static const char *const kinds[] = {"nope-perm", "nope-sign", "nope-scale"};
    const struct head_draw d = {gauge, att->name, att->n_kv_heads};

    return inner_signed(&d, kinds, true, out, err);
}

/* MLA: all heads share the rope key, so all have the same turns. */
enum ww_err ww_inner_mla_rope(const struct ww_gauge *gauge,
                              const struct ww_attention *att, struct ww_element *out,
                              struct ww_error *err)
{
    const struct head_draw shared = {gauge, att->name, 1};
    const uint64_t n_heads = out->n / att->rope.dims;
    uint8_t *turns = NULL;
    enum ww_err rc = draw_bits(&shared, "rope-turn", 2, att->rope.dims / 2, &turns, err);

    if (!rc) {
        apply_turns(gauge, att, turns, n_heads, true, out);
    }
    ww_free(turns);
    return rc;
}

enum ww_err ww_inner_latent(const struct ww_gauge *gauge, const struct ww_attention *att,
                            bool query, struct ww_element *out, struct ww_error *err)
{
    static const char *const kinds[][3] = {{"latent-perm", "latent-sign", NULL},
                                           {"q-latent-perm", "q-latent-sign", NULL}};
    const struct head_draw d = {gauge, att->name, 1};

    return inner_signed(&d, kinds[query], false, out, err);
}
