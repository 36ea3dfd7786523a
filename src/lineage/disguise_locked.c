/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A lock of the base as a suspect. Raw weights of relatives point the same way; where
 * they do not, a lock is looked for by comparing the suspect with the base, and undone
 * tile by tile while it is read. Exact locks come back bit for bit.
 */
#include <inttypes.h>
#include <string.h>

#include "attack/attack_view.h"
#include "model/elements.h"
#include "lineage/disguise.h"
#include "model/shape.h"
#include "util/alloc.h"
#include "util/buf.h"
#include "util/fail.h"

#define LOOK 16384       /* elements of a tensor that the first look takes */
#define LEAST_COSINE 0.8 /* of relatives; pruning to half leaves 0.9 */

struct look {
    uint8_t bytes[LOOK * sizeof(double)];
    double suspect[LOOK];
    double base[LOOK];
};

static bool comparable(const struct ww_tensor *a, const struct ww_tensor *b)
{
    return ww_dtype_is_plain_float(a->dtype) && ww_dtype_is_plain_float(b->dtype) &&
           a->rank >= 2 && ww_same_shape(a, b);
}

/* Does the beginning of the tensor point elsewhere than the base's? */
static enum ww_err look_at(const struct ww_model *model, uint32_t t,
                           const struct ww_model *base, uint32_t b, struct look *look,
                           bool *odd, struct ww_error *err)
{
    const uint64_t all = model->tensors[t].n_elements;
    const size_t n = all < LOOK ? (size_t)all : LOOK;
    double ss = 0;
    double bb = 0;
    double sb = 0;
    enum ww_err rc = ww_elements_double(model, t, 0, n, look->bytes, look->suspect, err);

    if (!rc) {
        rc = ww_elements_double(base, b, 0, n, look->bytes, look->base, err);
    }
    for (size_t e = 0; e < n && !rc; e++) {
        ss += look->suspect[e] * look->suspect[e];
        bb += look->base[e] * look->base[e];
        sb += look->suspect[e] * look->base[e];
    }
    *odd = !rc && ss > 0 && bb > 0 &&
           (sb <= 0 || sb * sb < LEAST_COSINE * LEAST_COSINE * ss * bb);
    return rc;
}

/* Layers that are like none of the base point elsewhere anyway. */
static bool is_strange(const struct ww_depths *depths, const char *name)
{
    struct ww_depth_name split;

    return depths && depths->n > 0 &&
           ww_depth_in_stack(name, depths->stack, strlen(depths->stack), &split) &&
           split.layer < depths->n && depths->of[split.layer] == WW_NONE;
}

enum ww_err ww_disguise_looks_locked(const struct ww_model *model,
                                     const struct ww_model *base,
                                     const struct ww_depths *depths, bool *odd,
                                     struct ww_error *err)
{
    struct look *look = ww_calloc(1, sizeof(*look));
    enum ww_err rc = look ? WW_OK : WW_FAIL_MEMORY(err, "a look");

    *odd = false;
    for (uint32_t t = 0; t < model->n_tensors && !rc && !*odd; t++) {
        const uint32_t b = ww_model_find(base, model->tensors[t].name);
        if (b != WW_NONE && !is_strange(depths, model->tensors[t].name) &&
            comparable(&model->tensors[t], &base->tensors[b])) {
            rc = look_at(model, t, base, b, look, odd, err);
        }
    }
    ww_free(look);
    return rc;
}

/* "a lock: 12 neurons moved, ..." */
static enum ww_err describe(const struct ww_attack_found *f, char **out,
                            struct ww_error *err)
{
    const struct {
        uint64_t n;
        const char *what;
    } parts[] = {
        {f->residual_moved, "residual dimensions moved"},
        {f->residual_negated, "residual dimensions negated"},
        {f->heads_moved, "heads moved"},
        {f->inner_moved, "dimensions inside of heads moved"},
        {f->inner_negated, "dimensions inside of heads negated"},
        {f->neurons_moved, "neurons moved"},
        {f->neurons_negated, "neurons negated"},
        {f->experts_moved, "experts moved"},
        {f->scaled, "dimensions scaled"},
        {f->dense_heads, "heads mixed by dense matrices"},
        {f->rows_alone, "rows of tables that the base lacks undone with the others"},
    };
    struct ww_buf buf;
    const char *between = ": ";
    enum ww_err rc = WW_OK;

    ww_buf_init(&buf, 4096);
    rc = ww_buf_add_str(&buf, "a lock, undone by the base", err);
    for (size_t i = 0; i < WW_LEN(parts) && !rc; i++) {
        if (parts[i].n > 0) {
            rc = ww_buf_addf(&buf, err, "%s%" PRIu64 " %s", between, parts[i].n,
                             parts[i].what);
            between = ", ";
        }
    }
    if (!rc) {
        *out = ww_strdup(ww_buf_cstr(&buf));
        rc = *out ? WW_OK : WW_FAIL_MEMORY(err, "a note");
    }
    ww_buf_release(&buf);
    return rc;
}

static bool is_dense(const void *payload, uint32_t tensor)
{
    return ww_attack_view_is_dense(payload, tensor);
}

static void free_view(void *payload)
{
    ww_attack_view_free(payload);
}

enum ww_err ww_disguise_locked(struct ww_model *model, const struct ww_model *base,
                               bool noisy, const struct ww_run_options *run,
                               struct ww_disguise *out, bool *took, struct ww_error *err)
{
    struct ww_attack_view *view = NULL;
    bool odd = false;
    enum ww_err rc = ww_disguise_looks_locked(model, base, NULL, &odd, err);

    *took = false;
    if (rc || !odd) {
        return rc;
    }
    rc = ww_attack_view_open(model, base, noisy, run, &view, err);
    if (rc || !view) {
        return rc;
    }
    rc = describe(ww_attack_view_found(view), &out->undone, err);
    if (rc) {
        ww_attack_view_free(view);
        return rc;
    }
    for (uint32_t f = 0; f < model->n_files; f++) {
        model->files[f].reader = ww_attack_view_reader(view, f);
    }
    out->model = model;
    out->payload = view;
    out->free = free_view;
    out->lock = view;
    out->locked = model;
    out->dense = ww_attack_view_found(view)->dense_heads > 0 ? is_dense : NULL;
    *took = true;
    return WW_OK;
}
