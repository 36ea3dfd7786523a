/* SPDX-License-Identifier: Apache-2.0 */
/* Which tensors meet the stream, and through which norm they read it. */
#include "attack/rotation.h"

#include <math.h>
#include <string.h>

#include "model/convert.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/num.h"

void ww_rotation_release(struct ww_rotation *rotation)
{
    for (uint32_t t = 0; rotation->gains && t < rotation->n_tensors; t++) {
        ww_free(rotation->gains[t]);
    }
    ww_free(rotation->gains);
    ww_free(rotation->parts);
    ww_free(rotation->r);
    memset(rotation, 0, sizeof(*rotation));
}

/* Part of a tensor on the stream: one whole axis, else *fits is false. */
static void find_part(const struct ww_layout *layout, uint32_t t,
                      struct ww_stream_part *out, bool *fits)
{
    const struct ww_tensor *tensor = &layout->model->tensors[t];

    for (unsigned a = 0; a < tensor->rank; a++) {
        const struct ww_axis *axis = &layout->bindings[t].axis[a];
        for (uint32_t i = 0; i < axis->n_segments; i++) {
            const struct ww_segment *s = &layout->segments[axis->first_segment + i];
            if (s->space != layout->residual.space) {
                continue;
            }
            *fits = *fits && !out->on && axis->n_segments == 1 &&
                    s->count * s->width == tensor->shape[a] &&
                    ww_dtype_is_plain_float(tensor->dtype);
            out->on = true;
            out->axis = a;
        }
    }
}

/* Effective gains of the anchor's tensor of that name. */
static enum ww_err read_gains(const struct ww_pair *pair, const struct ww_norm *norm,
                              double **out, struct ww_error *err)
{
    const uint32_t at = ww_pair_tensor(pair, norm->gain);
    const struct ww_tensor *t = &pair->anchor->model->tensors[at];
    const size_t n = (size_t)t->n_elements;
    void *bytes = ww_alloc_aligned(64, (size_t)t->n_bytes + 64);
    double *gains = ww_calloc(n, sizeof(*gains));
    double most = 0;
    enum ww_err rc = WW_OK;

    if (!bytes || !gains) {
        rc = WW_FAIL_MEMORY(err, "'%s'", t->name);
    }
    if (!rc) {
        rc = ww_model_read(pair->anchor->model, at, bytes, err);
    }
    if (!rc) {
        ww_to_double(t->dtype, bytes, gains, n);
        for (size_t i = 0; i < n; i++) {
            gains[i] += norm->plus_one ? 1 : 0;
            most = fmax(most, fabs(gains[i]));
        }
        for (size_t i = 0; i < n; i++) {
            /* Nothing can be divided by such a gain: it stays folded. */
            gains[i] = isfinite(gains[i]) && fabs(gains[i]) > 1e-4 * most ? gains[i] : 1;
        }
        *out = gains;
        gains = NULL;
    }
    ww_free(bytes);
    ww_free(gains);
    return rc;
}

struct walk {
    const struct ww_pair *pair;
    struct ww_rotation *out;
    bool fits;
    bool folded;    /* all gains of the suspect are one so far */
    bool different; /* some of the anchor's are not */
    enum ww_err rc;
    struct ww_error *err;
};

static bool is_one(const struct walk *w, const struct ww_norm *norm)
{
    const struct ww_model *model = w->pair->locked->model;
    const struct ww_tensor *t = &model->tensors[norm->gain];
    const double want = norm->plus_one ? 0 : 1;
    void *bytes = ww_alloc_aligned(64, (size_t)t->n_bytes + 64);
    double *x = ww_calloc((size_t)t->n_elements, sizeof(*x));
    bool one = bytes && x && !ww_model_read(model, norm->gain, bytes, NULL);

    if (one) {
        ww_to_double(t->dtype, bytes, x, (size_t)t->n_elements);
    }
    for (size_t i = 0; one && i < t->n_elements; i++) {
        one = x[i] == want;
    }
    ww_free(bytes);
    ww_free(x);
    return one;
}

/* Take note of a norm on the stream; its gains, NULL when it does not fit. */
static const double *enter_norm(struct walk *w, const struct ww_norm *norm)
{
    if (w->rc || norm->kind != WW_NORM_RMS || norm->gain == WW_NONE ||
        norm->bias != WW_NONE || !w->out->parts[norm->gain].on) {
        w->fits = false;
        return NULL;
    }
    double **gains = &w->out->gains[norm->gain];
    if (!*gains) {
        w->folded = w->folded && is_one(w, norm);
        w->out->parts[norm->gain].is_gain = true;
        w->out->parts[norm->gain].plus_one = norm->plus_one;
        w->rc = read_gains(w->pair, norm, gains, w->err);
    }
    for (size_t i = 0; *gains && i < w->out->n; i++) {
        w->different = w->different || (*gains)[i] != 1;
    }
    return *gains;
}

/* Its gains stay where they are. */
static void leave_norm(struct walk *w, const struct ww_norm *norm)
{
    w->out->gains_alone = true;
    if (norm->gain != WW_NONE) {
        w->out->parts[norm->gain].on = false;
    }
}

static void enter_reader(struct walk *w, const struct ww_linear *linear,
                         const double *gains)
{
    if (linear->weight == WW_NONE || !w->out->parts[linear->weight].on) {
        return;
    }
    struct ww_stream_part *part = &w->out->parts[linear->weight];
    w->fits = w->fits && gains && (!part->gains || part->gains == gains) &&
              part->axis == linear->in_axis;
    part->gains = gains;
}

static void enter_mlp(struct walk *w, uint32_t mlp, const double *gains)
{
    if (mlp != WW_NONE) {
        enter_reader(w, &w->pair->locked->mlps[mlp].gate, gains);
        enter_reader(w, &w->pair->locked->mlps[mlp].up, gains);
    }
}

static void enter_block(struct walk *w, const struct ww_block *block)
{
    const struct ww_layout *layout = w->pair->locked;
    const struct ww_attention *att =
        block->self == WW_NONE ? NULL : &layout->attentions[block->self];

    if ((block->form != WW_BLOCK_PRE && block->form != WW_BLOCK_SANDWICH) ||
        block->cross != WW_NONE || block->uncovered) {
        w->fits = false;
        return;
    }
    if (block->form == WW_BLOCK_SANDWICH) {
        leave_norm(w, &block->post_self);
        leave_norm(w, &block->post_mlp);
    }
    if (att) {
        const double *gains = enter_norm(w, &block->norm_self);
        const struct ww_linear *const readers[] = {&att->q,   &att->k,    &att->v,
                                                   &att->q_a, &att->kv_a, &att->gate};
        for (size_t i = 0; i < WW_LEN(readers); i++) {
            enter_reader(w, readers[i], gains);
        }
    }
    if (block->mlp != WW_NONE || block->moe != WW_NONE) {
        const double *gains = enter_norm(w, &block->norm_mlp);
        enter_mlp(w, block->mlp, gains);
        if (block->moe != WW_NONE) {
            const struct ww_moe *moe = &layout->moes[block->moe];
            enter_reader(w, &moe->router, gains);
            enter_reader(w, &moe->shared_gate, gains);
            enter_mlp(w, moe->shared_mlp, gains);
            for (uint32_t e = 0; e < moe->n_experts; e++) {
                enter_mlp(w, moe->first_mlp + e, gains);
            }
        }
    }
}

static bool writes(const struct ww_linear *linear, uint32_t t)
{
    return linear->weight == t || linear->bias == t;
}

/* Is the tensor known to write the stream, or a table of it? */
static bool is_writer(const struct ww_layout *layout, uint32_t t)
{
    bool found = t == layout->embed;

    for (uint32_t a = 0; a < layout->n_attentions && !found; a++) {
        found = writes(&layout->attentions[a].o, t);
    }
    for (uint32_t m = 0; m < layout->n_mlps && !found; m++) {
        found = writes(&layout->mlps[m].down, t);
    }
    return found;
}

/* Every tensor on the stream: a gain, a reader whose norm is known, or a writer. */
static void walk_model(struct walk *w)
{
    const struct ww_layout *layout = w->pair->locked;

    w->fits = layout->residual.space != WW_NONE &&
              layout->residual.group == WW_RESIDUAL_SIGNED && layout->n_stacks == 1 &&
              !layout->stacks[0].own_stream && layout->head.weight != WW_NONE;
    for (uint32_t t = 0; t < w->out->n_tensors && w->fits; t++) {
        find_part(layout, t, &w->out->parts[t], &w->fits);
    }
    for (uint32_t b = 0; b < layout->n_blocks && w->fits; b++) {
        enter_block(w, &layout->blocks[b]);
    }
    if (w->fits && layout->head.weight == layout->embed) {
        leave_norm(w, &layout->stacks[0].final_norm);
    } else if (w->fits) {
        const double *gains = enter_norm(w, &layout->stacks[0].final_norm);
        enter_reader(w, &layout->head, gains);
    }
    for (uint32_t t = 0; t < w->out->n_tensors && w->fits; t++) {
        const struct ww_stream_part *part = &w->out->parts[t];
        w->fits = !part->on || part->is_gain || part->gains || is_writer(layout, t);
    }
}

enum ww_err ww_rotation_read(const struct ww_pair *pair, struct ww_rotation *out,
                             bool *fits, bool *folded, struct ww_error *err)
{
    struct walk w = {.pair = pair, .out = out, .folded = true, .err = err};

    memset(out, 0, sizeof(*out));
    out->n = (size_t)pair->locked->residual.width;
    out->n_tensors = pair->locked->model->n_tensors;
    out->parts = ww_calloc(out->n_tensors, sizeof(*out->parts));
    out->gains = ww_calloc(out->n_tensors, sizeof(*out->gains));
    if (!out->parts || !out->gains) {
        return WW_FAIL_MEMORY(err, "a rotation");
    }
    walk_model(&w);
    *fits = w.fits;
    *folded = w.folded && w.different;
    return w.rc;
}

enum ww_err ww_rotation_parts(const struct ww_layout *layout, struct ww_rotation *out,
                              bool *fits, struct ww_error *err)
{
    struct ww_pair pair;
    bool folded = false;
    enum ww_err rc = ww_pair_init(&pair, layout, layout, err);

    *out = (struct ww_rotation){0};
    *fits = false;
    if (rc) {
        return rc;
    }
    rc = ww_rotation_read(&pair, out, fits, &folded, err);
    *fits = !rc && *fits;
    ww_pair_release(&pair);
    if (rc) {
        ww_rotation_release(out);
    }
    return rc;
}
