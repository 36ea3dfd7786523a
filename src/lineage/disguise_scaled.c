/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Neurons that were scaled against each other, whatever else was undone before: a lock
 * gives back the powers of two that are nearest to such factors. What was stored is
 * multiplied while it is read, and so are the steps and cells that it was rounded in.
 */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "lineage/family.h"
#include "lineage/moments.h"
#include "lineage/scaled.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "weightward/layout.h"

#define SHOWS 0.01 /* unexplained; rounding before and after the scaling leaves 0.001 */

/* The factors of a tensor: element e belongs to neuron e / inner % of - first. */
struct factors {
    const double *factors; /* NULL: the tensor is read as it is */
    size_t n;
    uint64_t inner;
    uint64_t of;
    uint64_t first;
    bool divide;
};

struct scaled {
    struct ww_disguise inner;
    struct ww_scaled_mlp *mlps; /* by tensor of the suspect, where that is up */
    uint32_t n_mlps;
    uint32_t n_scaled;
    struct factors *tensors; /* of the suspect */
};

static void free_scaled(void *payload)
{
    struct scaled *s = payload;

    for (uint32_t m = 0; s->mlps && m < s->n_mlps; m++) {
        ww_free(s->mlps[m].factors);
    }
    ww_free(s->mlps);
    ww_free(s->tensors);
    ww_disguise_leave(&s->inner);
    ww_free(s);
}

static enum ww_err unchanged(void *payload, struct ww_error *err)
{
    const struct scaled *s = payload;

    return ww_disguise_unchanged(&s->inner, err);
}

static bool is_dense(const void *payload, uint32_t tensor)
{
    const struct scaled *s = payload;

    return s->inner.dense(s->inner.payload, tensor);
}

static double factor_of(const struct factors *f, uint64_t e)
{
    const uint64_t at = e / f->inner % f->of;

    if (!f->factors || at < f->first || at - f->first >= f->n) {
        return 1;
    }
    return f->divide ? 1 / f->factors[at - f->first] : f->factors[at - f->first];
}

static void undo(const struct scaled *s, uint32_t tensor, uint64_t first, size_t n,
                 const struct ww_disguise_pair *out)
{
    const struct factors *f = &s->tensors[tensor];
    const enum ww_dtype dtype = s->inner.model->tensors[tensor].dtype;

    for (size_t e = 0; e < n && f->factors; e++) {
        const double factor = factor_of(f, first + e);
        const double low = out->first[e] * factor;
        const double high = out->second[e] * factor;
        if (out->cells) {
            out->first[e] = fmin(low, high);
            out->second[e] = fmax(low, high);
            continue;
        }
        /* The grid is that of what was stored. */
        out->second[e] = out->second[e] > 0
                             ? fabs(high)
                             : ldexp(fabs(factor), ww_moments_step(out->first[e], dtype));
        out->first[e] = low;
    }
}

static enum ww_err read_scaled(void *payload, uint32_t tensor, uint64_t first, size_t n,
                               const struct ww_disguise_pair *out, struct ww_error *err)
{
    const struct scaled *s = payload;
    uint8_t *bytes = ww_calloc(n + 1, sizeof(double));
    enum ww_err rc = bytes ? WW_OK : WW_FAIL_MEMORY(err, "scaled neurons");

    if (!rc && s->inner.read) {
        rc = s->inner.read(s->inner.payload, tensor, first, n, out, err);
    } else if (!rc) {
        memset(out->second, 0, n * sizeof(*out->second));
        rc = ww_scaled_values(&s->inner, tensor, first, n, bytes, NULL, out->first, err);
    }
    if (!rc) {
        undo(s, tensor, first, n, out);
    }
    ww_free(bytes);
    return rc;
}

/* Two plain matrices, neurons the rows of one and the columns of the other. */
static bool fits(const struct ww_layout *layout, const struct ww_mlp *mlp)
{
    const struct ww_tensor *tensors = layout->model->tensors;

    return mlp->gated && mlp->scale_moves && mlp->neuron != WW_NONE &&
           mlp->up.weight != WW_NONE && mlp->down.weight != WW_NONE &&
           mlp->up.expert_axis == UINT8_MAX && mlp->down.expert_axis == UINT8_MAX &&
           tensors[mlp->up.weight].rank == 2 && tensors[mlp->down.weight].rank == 2 &&
           mlp->up.out_axis == 0 && mlp->down.in_axis == 1 &&
           tensors[mlp->down.weight].shape[1] == mlp->n_neurons &&
           (mlp->up.out_segment == WW_NONE
                ? tensors[mlp->up.weight].shape[0] == mlp->n_neurons
                : layout->segments[mlp->up.out_segment].stride ==
                          layout->segments[mlp->up.out_segment].width ||
                      layout->segments[mlp->up.out_segment].count == 1);
}

static uint32_t layer_of(const struct ww_model *model, uint32_t t)
{
    struct ww_depth_name split;

    return ww_depth_split(model->tensors[t].name, &split) ? split.layer : WW_NONE;
}

/* The suspect's tensor of the layer of up that lies where at has it in the base. */
static uint32_t beside(const struct ww_model *model, const uint32_t *at, uint32_t up,
                       uint32_t wanted)
{
    const uint32_t layer = layer_of(model, up);

    for (uint32_t t = 0; t < model->n_tensors && wanted != WW_NONE; t++) {
        if (at[t] == wanted && layer_of(model, t) == layer) {
            return t;
        }
    }
    return WW_NONE;
}

static struct ww_scaled_mlp describe(const struct ww_layout *layout,
                                     const struct ww_mlp *mlp,
                                     const struct ww_model *model, const uint32_t *at,
                                     uint32_t up)
{
    const struct ww_tensor *rows = &layout->model->tensors[mlp->up.weight];
    const struct ww_tensor *columns = &layout->model->tensors[mlp->down.weight];

    return (struct ww_scaled_mlp){
        .up = up,
        .down = beside(model, at, up, mlp->down.weight),
        .bias = beside(model, at, up, mlp->up.bias),
        .sign_moves = mlp->sign_moves,
        .first = mlp->up.out_segment == WW_NONE
                     ? 0
                     : layout->segments[mlp->up.out_segment].offset,
        .n = (size_t)mlp->n_neurons,
        .width = (size_t)rows->shape[1],
        .height = columns->shape[0],
    };
}

/* Gated layers of the suspect, by the base's layout. */
static enum ww_err list(struct scaled *s, const struct ww_layout *layout,
                        struct ww_error *err)
{
    const struct ww_model *model = s->inner.model;
    uint32_t *at = ww_calloc(model->n_tensors + (size_t)1, sizeof(*at));
    enum ww_err rc = at ? WW_OK : WW_FAIL_MEMORY(err, "scaled neurons");

    for (uint32_t t = 0; t < model->n_tensors && !rc; t++) {
        rc = ww_depths_index(&s->inner.depths, layout->model, model->tensors[t].name,
                             &at[t], err);
    }
    for (uint32_t t = 0; t < model->n_tensors && !rc; t++) {
        for (uint32_t m = 0; m < layout->n_mlps && at[t] != WW_NONE; m++) {
            const struct ww_mlp *mlp = &layout->mlps[m];
            if (mlp->up.weight == at[t] && fits(layout, mlp)) {
                s->mlps[s->n_mlps] = describe(layout, mlp, model, at, t);
                s->n_mlps += s->mlps[s->n_mlps].down != WW_NONE;
                break;
            }
        }
    }
    ww_free(at);
    return rc;
}

static void enter(struct scaled *s, const struct ww_scaled_mlp *mlp)
{
    const struct ww_tensor *tensors = s->inner.model->tensors;

    s->tensors[mlp->up] = (struct factors){
        mlp->factors, mlp->n, mlp->width, tensors[mlp->up].shape[0], mlp->first, false};
    s->tensors[mlp->down] = (struct factors){mlp->factors, mlp->n, 1, mlp->n, 0, true};
    if (mlp->bias != WW_NONE) {
        s->tensors[mlp->bias] = (struct factors){
            mlp->factors, mlp->n, 1, tensors[mlp->bias].n_elements, mlp->first, false};
    }
    s->n_scaled++;
}

static enum ww_err solve(struct scaled *s, struct ww_model *const *models, unsigned n,
                         struct ww_error *err)
{
    const struct ww_scaled_family family = {&s->inner, models, n};
    const uint32_t n_tensors = s->inner.model->n_tensors;
    struct ww_layout *layout = NULL;
    struct ww_error why = {0};
    enum ww_err rc = ww_layout_resolve(models[WW_FAMILY_BASE], NULL, &layout, &why);

    if (rc) {
        return rc == WW_E_NOMEM ? WW_FAIL(err, rc, "%s", why.text) : WW_OK;
    }
    s->tensors = ww_calloc(n_tensors + (size_t)1, sizeof(*s->tensors));
    s->mlps = ww_calloc(n_tensors + (size_t)1, sizeof(*s->mlps));
    rc = s->tensors && s->mlps ? list(s, layout, err)
                               : WW_FAIL_MEMORY(err, "scaled neurons");
    ww_layout_free(layout);
    for (uint32_t m = 0; m < s->n_mlps && !rc; m++) {
        rc = ww_scaled_fit(&family, &s->mlps[m], err);
        if (!rc && s->mlps[m].factors) {
            enter(s, &s->mlps[m]);
        }
    }
    return rc;
}

static enum ww_err take(struct scaled *s, struct ww_disguise *out, struct ww_error *err)
{
    char *text = ww_asprintf("%s%sneurons of %" PRIu32 " layer%s scaled back by "
                             "the models that it is compared with",
                             s->inner.undone ? s->inner.undone : "",
                             s->inner.undone ? ", and " : "", s->n_scaled,
                             s->n_scaled == 1 ? "" : "s");

    if (!text) {
        return WW_FAIL_MEMORY(err, "scaled neurons");
    }
    *out = (struct ww_disguise){.model = s->inner.model,
                                .undone = text,
                                .depths = s->inner.depths,
                                .read = read_scaled,
                                .heads = !s->inner.read,
                                .folded = s->inner.folded,
                                .cells = s->inner.cells,
                                .searched = s->inner.searched,
                                .shows = s->inner.read ? s->inner.shows : SHOWS,
                                .off = s->inner.off,
                                .dense = s->inner.dense ? is_dense : NULL,
                                .unchanged = unchanged,
                                .free = free_scaled,
                                .payload = s};
    s->inner.depths = (struct ww_depths){0};
    return WW_OK;
}

enum ww_err ww_disguise_scaled(struct ww_model *const *models, unsigned n_models,
                               struct ww_disguise *out, struct ww_error *err)
{
    struct scaled *s = NULL;
    enum ww_err rc = WW_OK;

    if (n_models <= WW_FAMILY_SOURCES || out->exact) {
        return WW_OK;
    }
    s = ww_calloc(1, sizeof(*s));
    if (!s) {
        return WW_FAIL_MEMORY(err, "scaled neurons");
    }
    s->inner = *out;
    rc = solve(s, models, n_models, err);
    if (!rc && s->n_scaled > 0) {
        rc = take(s, out, err);
    }
    if (rc || s->n_scaled == 0) {
        s->inner = (struct ww_disguise){0}; /* stays the caller's */
        free_scaled(s);
    }
    return rc;
}
