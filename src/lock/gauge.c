/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a key does to a layout. Elements belong to output positions: the in-head element
 * number g acts on whichever KV group ends up at place g, the neuron element of expert e
 * on whichever expert ends up there. So each axis composes from parts that are drawn
 * without knowing each other, and a file can be transformed tensor by tensor.
 *
 * The groups are those of the symmetry classes: residual signed permutations under RMS
 * norms, permutations with one sign under LayerNorm; neurons permute, and where a gate is
 * multiplied in, the sign and scale of up against down is free.
 */
#include "lock/gauge.h"

#include <string.h>

#include "lock/draw.h"
#include "lock/gauge_attention.h"
#include "util/alloc.h"
#include "util/fail.h"

const char *ww_wrong_name(enum ww_wrong wrong)
{
    static const char *const names[] = {
#define WW_WRONG_NAME(name, text) text,
        WW_WRONG_LIST(WW_WRONG_NAME)
#undef WW_WRONG_NAME
    };
    return names[wrong];
}

static bool stream_moves(const struct ww_residual *stream)
{
    return stream->space != WW_NONE && stream->group != WW_RESIDUAL_FIXED;
}

/* A stream under LayerNorm has one sign in all; the fault gives each index its own. */
static void spread_sign(struct ww_element *element)
{
    for (uint32_t i = 1; i < element->n; i++) {
        element->neg[i] = element->neg[0];
    }
}

static void spoil_stream(enum ww_residual_group group, struct ww_element *element)
{
    for (uint32_t i = 0; i < element->n; i++) {
        if (group == WW_RESIDUAL_SIGNED) {
            element->exp[i] = i % 2 == 0;
        } else {
            element->neg[i] = i % 2 == 0;
        }
    }
}

static enum ww_err draw_stream(const struct ww_gauge *gauge,
                               const struct ww_residual *stream,
                               struct ww_element *element, struct ww_error *err)
{
    const enum ww_residual_group group = stream->group;
    const uint64_t width = stream->width;
    const char *name = NULL;
    struct ww_draw draw = {0};
    enum ww_err rc = WW_OK;

    if (!stream_moves(stream)) {
        ww_element_none(element, (uint32_t)width);
        return WW_OK;
    }
    name = gauge->layout->spaces[stream->space].name;
    rc = ww_element_init(element, width, err);
    if (rc) {
        goto out;
    }
    rc = ww_draw_open(&draw, gauge->prk, "perm", name, width, 0, err);
    if (rc) {
        goto out;
    }
    ww_draw_perm(&draw, element->perm, element->n);
    ww_draw_close(&draw);
    if (group != WW_RESIDUAL_PERM) {
        const uint32_t n_signs = group == WW_RESIDUAL_SIGNED ? element->n : 1;
        rc = ww_draw_open(&draw, gauge->prk, "sign", name, n_signs, 0, err);
        if (rc) {
            goto out;
        }
        ww_draw_bits(&draw, 1, element->neg, n_signs);
        if (n_signs == 1) {
            spread_sign(element);
        }
    }
    if (gauge->wrong == WW_WRONG_RESIDUAL) {
        spoil_stream(group, element);
    }
out:
    ww_draw_close(&draw);
    return rc;
}

static enum ww_err draw_streams(struct ww_gauge *gauge, struct ww_error *err)
{
    const struct ww_layout *layout = gauge->layout;
    enum ww_err rc = draw_stream(gauge, &layout->residual, &gauge->residual, err);

    if (rc || layout->n_stacks == 0) {
        return rc;
    }
    gauge->towers = ww_calloc(layout->n_stacks, sizeof(*gauge->towers));
    if (!gauge->towers) {
        return WW_FAIL_MEMORY(err, "the residual streams");
    }
    for (uint32_t s = 0; s < layout->n_stacks && !rc; s++) {
        if (layout->stacks[s].own_stream) {
            rc = draw_stream(gauge, &layout->stacks[s].stream, &gauge->towers[s], err);
        }
    }
    return rc;
}

const struct ww_element *ww_gauge_stream(const struct ww_gauge *gauge, uint32_t stack)
{
    const struct ww_layout *layout = gauge->layout;
    const bool own = stack < layout->n_stacks && layout->stacks[stack].own_stream;

    return own ? &gauge->towers[stack] : &gauge->residual;
}

static bool binding_moves(const struct ww_layout *layout, uint32_t tensor)
{
    const struct ww_binding *binding = &layout->bindings[tensor];
    bool moves = false;

    for (unsigned a = 0; a < layout->model->tensors[tensor].rank; a++) {
        moves = moves || binding->axis[a].n_segments > 0;
    }
    return moves && !binding->ignored;
}

/* F16 has 15 binades above 1 and subnormals below 6e-5, where trained weights lie. */
static enum ww_err check_scalable(const struct ww_layout *layout, struct ww_error *err)
{
    for (uint32_t t = 0; t < layout->model->n_tensors; t++) {
        if (layout->model->tensors[t].dtype == WW_DTYPE_F16 && binding_moves(layout, t)) {
            return WW_FAIL(
                err, WW_E_UNSUPPORTED,
                "tensor '%s' is F16, where factors of two would leave the range: "
                "lock without them (--no-scale)",
                layout->model->tensors[t].name);
        }
    }
    return WW_OK;
}

enum ww_err ww_gauge_init(struct ww_gauge *gauge, const struct ww_layout *layout,
                          struct ww_secret *secret, bool scale, enum ww_wrong wrong,
                          struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    memset(gauge, 0, sizeof(*gauge));
    gauge->layout = layout;
    gauge->scale = scale;
    gauge->wrong = wrong;
    if (scale) {
        rc = check_scalable(layout, err);
        if (rc) {
            goto out;
        }
    }
    rc = ww_draw_root(secret, &gauge->prk, err);
    if (rc) {
        goto out;
    }
    rc = draw_streams(gauge, err);
out:
    if (rc) {
        ww_gauge_release(gauge);
    }
    return rc;
}

void ww_gauge_release(struct ww_gauge *gauge)
{
    for (uint32_t s = 0; gauge->towers && s < gauge->layout->n_stacks; s++) {
        ww_element_release(&gauge->towers[s]);
    }
    ww_free(gauge->towers);
    ww_element_release(&gauge->residual);
    ww_secret_free(gauge->prk);
    memset(gauge, 0, sizeof(*gauge));
}

static enum ww_err copy_element(const struct ww_element *from, struct ww_element *out,
                                struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    if (!from->perm) {
        ww_element_none(out, from->n);
        return WW_OK;
    }
    rc = ww_element_init(out, from->n, err);
    if (!rc) {
        memcpy(out->perm, from->perm, from->n * sizeof(*out->perm));
        memcpy(out->neg, from->neg, from->n * sizeof(*out->neg));
        memcpy(out->exp, from->exp, from->n * sizeof(*out->exp));
    }
    return rc;
}

/* An element that was found; all-zero stands for one that stays. */
static enum ww_err copy_given(const struct ww_element *given, uint64_t n,
                              struct ww_element *out, struct ww_error *err)
{
    if (!given->perm) {
        ww_element_none(out, (uint32_t)n);
        return WW_OK;
    }
    return copy_element(given, out, err);
}

static enum ww_err draw_signs(const struct ww_gauge *gauge, const struct ww_mlp *mlp,
                              struct ww_element *out, struct ww_error *err)
{
    struct ww_draw draw = {0};
    enum ww_err rc = ww_draw_open(&draw, gauge->prk, "sign", mlp->name, out->n, 0, err);

    if (!rc) {
        ww_draw_bits(&draw, 1, out->neg, out->n);
    }
    ww_draw_close(&draw);
    return rc;
}

enum ww_err ww_gauge_neurons(const struct ww_gauge *gauge, uint32_t mlp_index,
                             struct ww_element *out, struct ww_error *err)
{
    const struct ww_mlp *mlp = &gauge->layout->mlps[mlp_index];
    struct ww_draw draw = {0};
    enum ww_err rc = WW_OK;

    if (gauge->given) {
        return copy_given(&gauge->given->neurons[mlp_index], mlp->n_neurons, out, err);
    }
    rc = ww_element_init(out, mlp->n_neurons, err);
    if (rc) {
        goto out;
    }
    rc = ww_draw_open(&draw, gauge->prk, "perm", mlp->name, mlp->n_neurons, 0, err);
    if (rc) {
        goto out;
    }
    ww_draw_perm(&draw, out->perm, out->n);
    ww_draw_close(&draw);
    if (mlp->sign_moves || gauge->wrong == WW_WRONG_GATE) {
        rc = draw_signs(gauge, mlp, out, err);
        if (rc) {
            goto out;
        }
    }
    if (mlp->scale_moves && gauge->scale) {
        rc = ww_draw_open(&draw, gauge->prk, "scale", mlp->name, mlp->n_neurons, 0, err);
        if (rc) {
            goto out;
        }
        ww_draw_exponents(&draw, out->exp, out->n);
    }
out:
    ww_draw_close(&draw);
    if (rc) {
        ww_element_release(out);
    }
    return rc;
}

/* Groups as a whole take the places of others. perm counts inside the groups. */
static enum ww_err order_groups(struct ww_draw *draw, uint32_t n_groups,
                                uint32_t per_group, uint32_t *perm, struct ww_error *err)
{
    uint32_t *order = ww_calloc(n_groups, sizeof(*order));

    if (!order) {
        return WW_FAIL_MEMORY(err, "groups of experts");
    }
    if (n_groups > 1) {
        ww_draw_perm(draw, order, n_groups);
    }
    for (uint32_t e = 0; e < n_groups * per_group; e++) {
        perm[e] += order[e / per_group] * per_group;
    }
    ww_free(order);
    return WW_OK;
}

enum ww_err ww_gauge_experts(const struct ww_gauge *gauge, uint32_t moe_index,
                             struct ww_element *out, struct ww_error *err)
{
    const struct ww_moe *moe = &gauge->layout->moes[moe_index];
    const uint64_t n_groups = moe->n_groups > 1 ? moe->n_groups : 1;
    const uint32_t per_group = (uint32_t)(moe->n_experts / n_groups);
    struct ww_draw draw = {0};
    enum ww_err rc = WW_OK;

    if (gauge->given) {
        return copy_given(&gauge->given->spaces[moe->expert], moe->n_experts, out, err);
    }
    if (!moe->experts_move) {
        ww_element_none(out, (uint32_t)moe->n_experts);
        return WW_OK;
    }
    rc = ww_element_init(out, moe->n_experts, err);
    if (rc) {
        goto out;
    }
    if (gauge->wrong == WW_WRONG_EXPERTS) {
        /* The fault must reach the few experts that a check's tokens choose: all move. */
        for (uint32_t e = 0; e < out->n; e++) {
            out->perm[e] = (e + 1) % out->n;
        }
        goto out;
    }
    rc =
        ww_draw_open(&draw, gauge->prk, "perm", moe->name, moe->n_experts, n_groups, err);
    if (rc) {
        goto out;
    }
    for (uint32_t g = 0; g < n_groups; g++) {
        ww_draw_perm(&draw, out->perm + g * per_group, per_group);
    }
    ww_draw_close(&draw);
    if (n_groups > 1) {
        rc = ww_draw_open(&draw, gauge->prk, "group-order", moe->name, n_groups, 0, err);
        if (rc) {
            goto out;
        }
    }
    rc = order_groups(&draw, (uint32_t)n_groups, per_group, out->perm, err);
out:
    ww_draw_close(&draw);
    if (rc) {
        ww_element_release(out);
    }
    return rc;
}

enum ww_err ww_gauge_space(const struct ww_gauge *gauge, uint32_t space_index,
                           struct ww_element *out, struct ww_error *err)
{
    const struct ww_space *space = &gauge->layout->spaces[space_index];
    enum ww_err rc = WW_OK;

    memset(out, 0, sizeof(*out));
    if (gauge->given && space->kind != WW_SPACE_NEURON &&
        space->kind != WW_SPACE_EXPERT) {
        return copy_given(&gauge->given->spaces[space_index], space->size, out, err);
    }
    switch (space->kind) {
    case WW_SPACE_RESIDUAL:
        rc = copy_element(ww_gauge_stream(gauge, space->owner), out, err);
        break;
    case WW_SPACE_NEURON:
        rc = ww_gauge_neurons(gauge, space->owner, out, err);
        break;
    case WW_SPACE_EXPERT:
        rc = ww_gauge_experts(gauge, space->owner, out, err);
        break;
    case WW_SPACE_QUERY:
    case WW_SPACE_KEY:
    case WW_SPACE_VALUE:
    case WW_SPACE_CONTEXT:
    case WW_SPACE_QUERY_HEAD:
    case WW_SPACE_KV_HEAD:
    case WW_SPACE_QK_GAIN:
    case WW_SPACE_MLA_Q_NOPE:
    case WW_SPACE_MLA_K_NOPE:
    case WW_SPACE_MLA_Q_ROPE:
    case WW_SPACE_MLA_K_ROPE:
    case WW_SPACE_LATENT:
    case WW_SPACE_Q_LATENT:
        rc = ww_gauge_attention(gauge, space, out, err);
        break;
    }
    if (!rc && out->n != space->size) {
        rc = WW_FAIL(err, WW_E_INTERNAL,
                     "space '%s': %llu indices, but its element has %u", space->name,
                     (unsigned long long)space->size, out->n);
        ww_element_release(out);
    }
    return rc;
}
