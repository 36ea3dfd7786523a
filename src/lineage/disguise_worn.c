/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A suspect in another model's clothes: layers in other places, matrices under other
 * names or fused, and a lock above any of these. The suspect is looked at as if it were
 * stored like the base, and the base as if it were stacked like the suspect, so that a
 * lock is looked for as in a model of the base's own shape. Where the lock hides which
 * layer is which, the residual stream, which all layers share, and a few neurons of each
 * tell.
 */
#include <inttypes.h>
#include <string.h>

#include "attack/attack_view.h"
#include "lineage/disguise.h"
#include "lineage/recut.h"
#include "util/alloc.h"
#include "util/fail.h"

#define LIKE 0.5 /* least cosine of a layer and what became of it */

struct worn {
    struct ww_model *inner;   /* the suspect as it is */
    struct ww_recut *suspect; /* stored like the base */
    struct ww_recut *anchor;  /* the base, stacked like the suspect; NULL: as it is */
    struct ww_disguise lock;  /* its model is the suspect's or inner */
    bool locked;
};

static void free_worn(void *payload)
{
    struct worn *w = payload;

    ww_disguise_leave(&w->lock);
    ww_recut_free(w->suspect);
    ww_recut_free(w->anchor);
    ww_model_close(w->inner);
    ww_free(w);
}

static bool is_dense(const void *payload, uint32_t tensor)
{
    const struct worn *w = payload;

    return w->lock.dense(w->lock.payload, tensor);
}

static enum ww_err unchanged(void *payload, struct ww_error *err)
{
    const struct worn *w = payload;

    return ww_model_unchanged(w->inner, err);
}

static const struct ww_model *anchor_of(const struct worn *w, const struct ww_model *base)
{
    return w->anchor ? w->anchor->model : base;
}

/* The lock of the suspect as it is stored now, if it looks like one. */
static enum ww_err undo(struct worn *w, const struct ww_model *base,
                        const struct ww_depths *depths, const struct ww_run_options *run,
                        struct ww_error *err)
{
    const struct ww_model *anchor = anchor_of(w, base);
    bool odd = false;
    enum ww_err rc =
        ww_disguise_looks_locked(w->suspect->model, anchor, depths, &odd, err);

    return rc || !odd ? rc
                      : ww_disguise_locked(w->suspect->model, anchor, false, run,
                                           &w->lock, &w->locked, err);
}

/* The map of layers that scores give; n stays 0 where most are like none. */
static enum ww_err settle(const double *scores, uint32_t m, struct ww_depths *out,
                          struct ww_error *err)
{
    uint32_t n_like = 0;
    enum ww_err rc = ww_depths_path(scores, out->n, m, out->of, err);

    for (uint32_t j = 0; j < out->n && !rc; j++) {
        out->cosine[j] = scores[(size_t)j * m + out->of[j]];
        out->of[j] = out->cosine[j] < LIKE ? WW_NONE : out->of[j];
        n_like += out->of[j] != WW_NONE;
    }
    if (rc || 2 * (uint64_t)n_like < out->n) {
        ww_depths_release(out);
    }
    return rc;
}

/* Which layers they are below a lock. */
static enum ww_err find_hidden(const struct worn *w, const struct ww_model *base,
                               struct ww_depths *out, struct ww_error *err)
{
    struct ww_recut *alike = NULL;
    double *scores = NULL;
    uint32_t m = 0;
    bool told = false;
    enum ww_err rc = ww_depths_start(w->suspect->model, base, out, err);

    if (rc || out->n == 0) {
        return rc;
    }
    m = ww_depth_layers(base, out->stack);
    scores = ww_calloc((size_t)out->n * m + 1, sizeof(*scores));
    rc = scores ? ww_recut_stack(base, out->stack, out->of, out->n, &alike, err)
                : WW_FAIL_MEMORY(err, "a map of layers");
    rc = rc ? rc
            : ww_attack_layers(w->suspect->model, alike->model, base, out->n, m, scores,
                               &told, err);
    if (!rc && told) {
        rc = settle(scores, m, out, err);
    }
    if (rc || !told) {
        ww_depths_release(out);
    }
    ww_recut_free(alike);
    ww_free(scores);
    return rc;
}

static enum ww_err restack(struct worn *w, const struct ww_model *base,
                           const struct ww_depths *depths, struct ww_error *err)
{
    return depths->n == 0 ? WW_OK
                          : ww_recut_stack(base, depths->stack, depths->of, depths->n,
                                           &w->anchor, err);
}

/* First what can be seen without undoing anything, then below a lock. */
static enum ww_err look(struct worn *w, const struct ww_model *base,
                        const struct ww_run_options *run, struct ww_depths *depths,
                        struct ww_error *err)
{
    struct ww_depths hidden = {0};
    bool odd = false;
    enum ww_err rc = ww_disguise_looks_locked(w->suspect->model, base, NULL, &odd, err);

    if (rc || !odd) {
        return rc;
    }
    rc = restack(w, base, depths, err);
    rc = rc ? rc : undo(w, base, depths, run, err);
    if (rc || w->locked || depths->n > 0) {
        return rc;
    }
    rc = find_hidden(w, base, &hidden, err);
    if (!rc && hidden.n > 0) {
        rc = restack(w, base, &hidden, err);
        rc = rc ? rc : undo(w, base, &hidden, run, err);
    }
    if (!rc && w->locked) {
        *depths = hidden;
    } else {
        ww_depths_release(&hidden);
    }
    return rc;
}

static enum ww_err take(struct worn *w, uint32_t taken, struct ww_disguise *out,
                        struct ww_error *err)
{
    const char *lock = w->locked ? w->lock.undone : "";
    char *text = taken
                     ? ww_asprintf("%" PRIu32 " matrices that are fused or apart in the "
                                   "base, stored like the base's%s%s",
                                   taken, w->locked ? ", and " : "", lock)
                     : ww_strdup(lock);

    if (!text) {
        return WW_FAIL_MEMORY(err, "a note");
    }
    w->suspect->lent = true;
    out->model = w->suspect->model;
    out->raw = w->locked ? w->inner : NULL;
    out->undone = text;
    out->dense = w->locked && w->lock.dense ? is_dense : NULL;
    out->unchanged = unchanged;
    out->free = free_worn;
    out->payload = w;
    return WW_OK;
}

static enum ww_err wear(const struct ww_model *base, const struct ww_run_options *run,
                        struct ww_disguise *out, struct ww_error *err)
{
    struct worn *w = ww_calloc(1, sizeof(*w));
    struct ww_error why = {0};
    uint32_t taken = 0;
    bool use = false;
    enum ww_err rc = w ? WW_OK : WW_FAIL_MEMORY(err, "a suspect");

    if (rc) {
        return rc;
    }
    w->inner = out->model;
    rc = ww_recut_like(w->inner, base, &w->suspect, &taken, &why);
    if (!rc && w->suspect && taken > 0 && out->depths.n == 0) {
        rc = ww_depths_find(w->suspect->model, base, &out->depths, &why);
    }
    rc = rc || !w->suspect ? rc : look(w, base, run, &out->depths, &why);
    use = !rc && w->suspect && (w->locked || taken > 0);
    if (rc == WW_E_CONFIG || rc == WW_E_TENSOR) {
        rc = WW_OK; /* no clothes that fit */
    }
    rc = rc ? WW_FAIL(err, rc, "%s", why.text) : use ? take(w, taken, out, err) : WW_OK;
    if (rc || !use) {
        w->inner = NULL; /* stays the caller's */
        free_worn(w);
    }
    return rc;
}

static enum ww_err lock_alone(const struct ww_model *base, bool noisy,
                              const struct ww_run_options *run, struct ww_disguise *out,
                              bool *took, struct ww_error *err)
{
    struct ww_model *model = out->model;
    enum ww_err rc = WW_OK;

    out->model = NULL;
    rc = ww_disguise_locked(model, base, noisy, run, out, took, err);
    out->model = model;
    return rc;
}

/* reader: of a model in one file that nobody wrote. */
static void drop_lock(struct ww_disguise *out, const struct ww_reader *reader)
{
    ww_disguise_leave(out);
    for (uint32_t f = 0; f < out->model->n_files; f++) {
        out->model->files[f].reader = reader;
    }
}

/* A lock leaves gains as they are, so one that was found is the whole disguise unless
 * they were moved as well; that hides a part of a lock, and is undone first then. */
enum ww_err ww_disguise_lock_or_gains(const struct ww_model *base, bool noisy,
                                      const struct ww_run_options *run,
                                      struct ww_disguise *out, bool *took,
                                      struct ww_error *err)
{
    const struct ww_reader *reader =
        out->model->n_files ? out->model->files[0].reader : NULL;
    bool moved = false;
    enum ww_err rc = lock_alone(base, noisy, run, out, took, err);

    if (!rc && *took) {
        rc = ww_disguise_gains_moved(out->model, base, &moved, err);
    }
    if (rc || (*took && !moved)) {
        return rc;
    }
    if (*took) {
        drop_lock(out, reader);
    }
    rc = ww_disguise_folded(base, noisy, run, out, took, err);
    return rc || *took || !moved ? rc : lock_alone(base, noisy, run, out, took, err);
}

enum ww_err ww_disguise_moved(const struct ww_model *base,
                              const struct ww_run_options *run, struct ww_disguise *out,
                              struct ww_error *err)
{
    bool took = false;
    enum ww_err rc = ww_depths_find(out->model, base, &out->depths, err);

    /* Layers in other places point elsewhere as well. */
    if (!rc && out->depths.n == 0) {
        rc = ww_disguise_lock_or_gains(base, false, run, out, &took, err);
    }
    return rc || took || !base->config ? rc : wear(base, run, out, err);
}
