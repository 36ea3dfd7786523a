/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An attention with its projections. Keys and values of earlier positions are kept as
 * they left the projection and turned anew each time: frequencies may depend on the
 * length of the sequence, and the answer must not depend on how it was cut into calls.
 */
#include "arch/forward_impl.h"

#include <string.h>

#include "arch/core.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/num.h"

/* Owned arrays of what attention reads beside queries, keys and values. */
struct extras {
    double *q_gain, *q_bias, *k_gain, *k_bias, *sinks, *relative, *gate;
};

static void extras_release(struct extras *e)
{
    ww_free(e->q_gain);
    ww_free(e->q_bias);
    ww_free(e->k_gain);
    ww_free(e->k_bias);
    ww_free(e->sinks);
    ww_free(e->relative);
    ww_free(e->gate);
}

static uint64_t gain_size(const struct ww_attention *att, uint64_t n_heads)
{
    bool per_head = att->qk_class == WW_QK_RMS_FULL || att->qk_gain_per_head;
    return per_head ? n_heads * att->head_dim : att->head_dim;
}

/* The tensor of head h when each head has a file name of its own, as gain has for head 0.
 */
static uint32_t sibling(const struct ww_layout *layout, uint32_t gain, uint64_t h)
{
    const struct ww_binding *first = &layout->bindings[gain];
    for (uint32_t i = 0; i < layout->model->n_tensors; i++) {
        const struct ww_binding *at = &layout->bindings[i];
        if (at->name_space == first->name_space &&
            at->name_family == first->name_family && at->name_index == h) {
            return i;
        }
    }
    return WW_NONE;
}

/* Gains [n_heads * d] out of one tensor per head (StableLM). */
static enum ww_err gather_gains(struct ww_forward *f, uint32_t gain, uint64_t n_heads,
                                uint64_t d, double **out, struct ww_error *err)
{
    enum ww_err rc = ww_fw_alloc(out, n_heads, d, err);
    for (uint64_t h = 0; !rc && h < n_heads; h++) {
        double *head = NULL;
        uint32_t tensor = sibling(f->layout, gain, h);
        if (tensor == WW_NONE) {
            return WW_FAIL(err, WW_E_TENSOR,
                           "tensor '%s' has no counterpart for head %llu",
                           f->layout->model->tensors[gain].name, (unsigned long long)h);
        }
        rc = ww_fw_vector(f, tensor, d, &head, err);
        if (!rc) {
            memcpy(*out + h * d, head, (size_t)d * sizeof(double));
        }
        ww_free(head);
    }
    return rc;
}

static enum ww_err load_norm(struct ww_forward *f, const struct ww_attention *att,
                             const struct ww_norm *norm, uint64_t n_heads, double **gain,
                             double **bias, struct ww_error *err)
{
    const struct ww_binding *bindings = f->layout->bindings;
    uint64_t size = gain_size(att, n_heads);
    bool own_names = bindings && norm->gain < f->layout->model->n_tensors &&
                     bindings[norm->gain].name_space != WW_NONE;
    if (norm->kind == WW_NORM_NONE) {
        return WW_OK;
    }
    enum ww_err rc = own_names
                         ? gather_gains(f, norm->gain, n_heads, att->head_dim, gain, err)
                         : ww_fw_vector(f, norm->gain, size, gain, err);
    if (rc) {
        return rc;
    }
    return ww_fw_vector(f, norm->bias, size, bias, err);
}

static enum ww_err extras_load(struct ww_forward *f, const struct ww_attention *att,
                               const struct ww_fw_attended *in, struct extras *e,
                               struct ww_error *err)
{
    enum ww_err rc =
        load_norm(f, att, &att->q_norm, att->n_heads, &e->q_gain, &e->q_bias, err);
    if (rc) {
        return rc;
    }
    rc = load_norm(f, att, &att->k_norm, att->n_kv_heads, &e->k_gain, &e->k_bias, err);
    if (rc) {
        return rc;
    }
    rc = ww_fw_vector(f, att->sinks, att->n_heads, &e->sinks, err);
    if (rc) {
        return rc;
    }
    rc = ww_fw_vector(f, att->relative_bias, att->relative_buckets * att->n_heads,
                      &e->relative, err);
    if (rc || att->vo_class != WW_VO_GATE) {
        return rc;
    }
    uint64_t n_context = att->n_heads * att->v_dim;
    rc = ww_fw_alloc(&e->gate, in->n, n_context, err);
    if (rc) {
        return rc;
    }
    return ww_fw_linear(f, &att->gate, in->x, in->n, f->layout->residual.width, e->gate,
                        n_context, err);
}

static enum ww_err supported(const struct ww_attention *att, struct ww_error *err)
{
    if (att->vo_class == WW_VO_VNORM || att->vo_class == WW_VO_SUBNORM) {
        return WW_FAIL(err, WW_E_UNSUPPORTED,
                       "attention '%s' has a norm on values or context, which the "
                       "reference forward pass does not cover",
                       att->name);
    }
    if (att->n_kv_heads == 0 || att->n_heads % att->n_kv_heads != 0) {
        return WW_FAIL(err, WW_E_SHAPE,
                       "attention '%s' has %llu query heads, no multiple of its %llu "
                       "key heads",
                       att->name, (unsigned long long)att->n_heads,
                       (unsigned long long)att->n_kv_heads);
    }
    return WW_OK;
}

/* Keys and values of the source rows, behind those of the past. */
struct keys {
    double *k, *v;
    const uint64_t *positions;
    size_t m;
};

/* A map down to a latent, and the norm of the latent. */
struct latent {
    const struct ww_linear *map;
    const struct ww_norm *norm;
    uint64_t n_out; /* of the map */
    uint64_t size;  /* of the latent: the first outputs */
    double *out;    /* [n, n_out], owned */
    double *rows;   /* [n, size] normed, owned */
};

static void latent_release(struct latent *l)
{
    ww_free(l->out);
    ww_free(l->rows);
}

static enum ww_err latent_load(struct ww_forward *f, struct latent *l, const double *x,
                               size_t n, struct ww_error *err)
{
    enum ww_err rc = ww_fw_alloc(&l->out, n, l->n_out, err);
    rc = rc ? rc : ww_fw_alloc(&l->rows, n, l->size, err);
    rc = rc ? rc
            : ww_fw_linear(f, l->map, x, n, f->layout->residual.width, l->out, l->n_out,
                           err);
    for (size_t t = 0; !rc && t < n; t++) {
        memcpy(l->rows + t * l->size, l->out + t * l->n_out,
               (size_t)l->size * sizeof(double));
    }
    return rc ? rc : ww_fw_norm(f, l->norm, l->rows, l->rows, n, l->size, err);
}

/* Keys and values that come out of a latent; all heads get the one rotary key. */
static enum ww_err expand_latent(struct ww_forward *f, const struct ww_attention *att,
                                 const double *source, size_t m, struct keys *keys,
                                 struct ww_error *err)
{
    size_t heads = (size_t)att->n_kv_heads, d = (size_t)att->head_dim;
    size_t nope = (size_t)att->mla_nope, d_v = (size_t)att->v_dim;
    size_t c = (size_t)att->latent, r = d - nope;
    struct latent low = {
        .map = &att->kv_a, .norm = &att->kv_a_norm, .n_out = c + r, .size = c};
    double *high = NULL;
    enum ww_err rc = latent_load(f, &low, source, m, err);
    rc = rc ? rc : ww_fw_alloc(&high, m, heads * (nope + d_v), err);
    rc =
        rc ? rc
           : ww_fw_linear(f, &att->kv_b, low.rows, m, c, high, heads * (nope + d_v), err);
    for (size_t i = 0; !rc && i < m * heads; i++) {
        const double *head = high + i * (nope + d_v);
        memcpy(keys->k + i * d, head, nope * sizeof(*head));
        memcpy(keys->k + i * d + nope, low.out + i / heads * (c + r) + c,
               r * sizeof(*low.out));
        memcpy(keys->v + i * d_v, head + nope, d_v * sizeof(*head));
    }
    latent_release(&low);
    ww_free(high);
    return rc;
}

static enum ww_err project_keys(struct ww_forward *f, const struct ww_attention *att,
                                const double *source, size_t m, struct keys *keys,
                                struct ww_error *err)
{
    uint64_t width = f->layout->residual.width;
    uint64_t k_size = att->n_kv_heads * att->head_dim;
    uint64_t v_size = att->n_kv_heads * att->v_dim;
    enum ww_err rc = ww_fw_alloc(&keys->k, m, k_size, err);
    if (rc) {
        return rc;
    }
    rc = ww_fw_alloc(&keys->v, m, v_size, err);
    if (rc) {
        return rc;
    }
    keys->m = m;
    if (att->latent > 0) {
        return expand_latent(f, att, source, m, keys, err);
    }
    rc = ww_fw_linear(f, &att->k, source, m, width, keys->k, k_size, err);
    if (rc) {
        return rc;
    }
    return ww_fw_linear(f, &att->v, source, m, width, keys->v, v_size, err);
}

static enum ww_err project_queries(struct ww_forward *f, const struct ww_attention *att,
                                   const double *x, size_t n, double *q,
                                   struct ww_error *err)
{
    uint64_t width = f->layout->residual.width;
    struct latent low = {.map = &att->q_a,
                         .norm = &att->q_a_norm,
                         .n_out = att->q_latent,
                         .size = att->q_latent};
    enum ww_err rc = WW_OK;
    if (att->q_latent > 0) {
        rc = latent_load(f, &low, x, n, err);
        x = low.rows;
        width = att->q_latent;
    }
    rc = rc ? rc
            : ww_fw_linear(f, &att->q, x, n, width, q, att->n_heads * att->head_dim, err);
    latent_release(&low);
    return rc;
}

/* Append to the past, then work on a copy of all of it. */
static enum ww_err join_past(const struct ww_attention *att, struct ww_fw_past *past,
                             const uint64_t *positions, struct keys *keys,
                             struct ww_error *err)
{
    size_t k_size = (size_t)(att->n_kv_heads * att->head_dim);
    size_t v_size = (size_t)(att->n_kv_heads * att->v_dim);
    size_t n = keys->m;
    WW_INVARIANT(n <= past->capacity - past->n);
    memcpy(past->k + past->n * k_size, keys->k, n * k_size * sizeof(double));
    memcpy(past->v + past->n * v_size, keys->v, n * v_size * sizeof(double));
    memcpy(past->positions + past->n, positions, n * sizeof(*positions));
    past->n += n;
    ww_free(keys->k);
    ww_free(keys->v);
    keys->v = NULL;
    keys->m = past->n;
    keys->positions = past->positions;
    enum ww_err rc = ww_fw_alloc(&keys->k, past->n, k_size, err);
    if (rc) {
        return rc;
    }
    memcpy(keys->k, past->k, past->n * k_size * sizeof(double));
    rc = ww_fw_alloc(&keys->v, past->n, v_size, err);
    if (rc) {
        return rc;
    }
    memcpy(keys->v, past->v, past->n * v_size * sizeof(double));
    return WW_OK;
}

static enum ww_err rope_tables(const struct ww_forward *f, const struct ww_attention *att,
                               const uint64_t *positions, size_t n,
                               const struct keys *keys, struct ww_rope_table *tables[2],
                               struct ww_error *err)
{
    uint64_t length = 0;
    if (att->rope.style == WW_ROPE_NONE || att->cross || att->rope.dims == 0) {
        return WW_OK;
    }
    for (size_t j = 0; j < keys->m; j++) {
        length = ww_max_u64(length, keys->positions[j] + 1);
    }
    enum ww_err rc =
        ww_rope_table_new(f->layout, att, positions, n, (size_t)length, &tables[0], err);
    if (rc) {
        return rc;
    }
    return ww_rope_table_new(f->layout, att, keys->positions, keys->m, (size_t)length,
                             &tables[1], err);
}

/* All that the core reads. */
struct inputs {
    double *q;
    struct keys keys;
    struct extras extras;
    struct ww_rope_table *tables[2];
};

static void inputs_release(struct inputs *in)
{
    ww_rope_table_free(in->tables[0]);
    ww_rope_table_free(in->tables[1]);
    extras_release(&in->extras);
    ww_free(in->keys.k);
    ww_free(in->keys.v);
    ww_free(in->q);
}

static enum ww_err inputs_load(struct ww_forward *f, const struct ww_attention *att,
                               const struct ww_fw_attended *in, struct inputs *out,
                               struct ww_error *err)
{
    out->keys.positions = in->positions;
    enum ww_err rc = ww_fw_alloc(&out->q, in->n, att->n_heads * att->head_dim, err);
    if (rc) {
        return rc;
    }
    rc = project_queries(f, att, in->x, in->n, out->q, err);
    if (rc) {
        return rc;
    }
    rc = project_keys(f, att, in->source, in->m, &out->keys, err);
    if (rc) {
        return rc;
    }
    if (in->past && !att->cross) {
        rc = join_past(att, in->past, in->positions, &out->keys, err);
        if (rc) {
            return rc;
        }
    }
    rc = extras_load(f, att, in, &out->extras, err);
    if (rc) {
        return rc;
    }
    return rope_tables(f, att, in->positions, in->n, &out->keys, out->tables, err);
}

enum ww_err ww_fw_attention(struct ww_forward *f, const struct ww_attention *att,
                            const struct ww_fw_attended *in, double *y,
                            struct ww_error *err)
{
    uint64_t n_context = att->n_heads * att->v_dim;
    struct inputs own = {0};
    const struct extras *e = &own.extras;
    double *context = NULL;
    enum ww_err rc = supported(att, err);
    if (rc) {
        goto out;
    }
    rc = inputs_load(f, att, in, &own, err);
    if (rc) {
        goto out;
    }
    rc = ww_fw_alloc(&context, in->n, n_context, err);
    if (rc) {
        goto out;
    }
    const struct ww_attention_inputs read = {
        .q = {.rows = own.q,
              .positions = in->positions,
              .n = in->n,
              .rope = own.tables[0],
              .norm = {e->q_gain, e->q_bias}},
        .k = {.rows = own.keys.k,
              .positions = own.keys.positions,
              .n = own.keys.m,
              .rope = own.tables[1],
              .norm = {e->k_gain, e->k_bias}},
        .v = own.keys.v,
        .sinks = e->sinks,
        .relative_bias = e->relative,
        .gate = e->gate,
    };
    rc = ww_core_attention(att, &read, context, err);
    if (rc) {
        goto out;
    }
    rc = ww_fw_linear(f, &att->o, context, in->n, n_context, y, f->layout->residual.width,
                      err);
out:
    inputs_release(&own);
    ww_free(context);
    return rc;
}
