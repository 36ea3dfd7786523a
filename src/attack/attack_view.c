/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The joint attack, whose outputs are read instead of written: the same steps, elements
 * and kernels, so the bytes are those that the attack would write.
 */
#include "attack/attack_view.h"

#include "attack/search.h"
#include "lock/dense_map.h"
#include "stream/made.h"
#include "util/alloc.h"
#include "util/fail.h"

#define LEAST_FRAME 0.9 /* cosine of streams of relatives, rounded in blocks or not */

struct ww_attack_view {
    struct ww_layout *layouts[2];
    struct ww_pair pair;
    bool paired;
    struct ww_attack_job job;
    struct ww_attack_plan plan;
    struct ww_made *made;
};

void ww_attack_view_free(struct ww_attack_view *view)
{
    if (view) {
        ww_made_free(view->made);
        ww_attack_plan_release(&view->plan);
        if (view->paired) {
            ww_pair_release(&view->pair);
        }
        ww_layout_free(view->layouts[0]);
        ww_layout_free(view->layouts[1]);
        ww_free(view);
    }
}

static bool any(const struct ww_attack_found *f)
{
    return f->residual_moved || f->residual_negated || f->heads_moved || f->inner_moved ||
           f->inner_negated || f->neurons_moved || f->neurons_negated ||
           f->experts_moved || f->scaled || f->dense_heads;
}

static bool undoes(const struct ww_pair *pair)
{
    /* Columns that rounding spoilt are most of the weights' norm when they are undone. */
    const bool related =
        pair->noisy ? pair->frame_cosine >= LEAST_FRAME : ww_attack_related(pair);

    return related && any(&pair->found);
}

static enum ww_err make(struct ww_attack_view *view, const struct ww_pair *pair,
                        struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    view->job = ww_attack_job_of(pair); /* nobody asks how near what is read comes */
    rc = ww_attack_plan_init(&view->plan, &view->job, false, err);
    return rc ? rc : ww_made_new(&view->plan.plan, &view->made, err);
}

static enum ww_err open_view(struct ww_attack_view *view, const struct ww_model *locked,
                             const struct ww_model *anchor, bool noisy,
                             const struct ww_run_options *run, struct ww_error *err)
{
    enum ww_err rc = ww_layout_resolve(locked, NULL, &view->layouts[0], err);

    if (!rc) {
        rc = ww_layout_resolve(anchor, NULL, &view->layouts[1], err);
    }
    if (!rc) {
        rc = ww_pair_init(&view->pair, view->layouts[0], view->layouts[1], err);
        view->paired = !rc;
        view->pair.noisy = noisy;
        view->pair.run = run;
    }
    if (!rc) {
        rc = ww_attack_search(&view->pair, WW_ATTACK_JOINT, err);
    }
    view->pair.run = NULL; /* the caller's, for as long as something is looked for */
    return rc;
}

enum ww_err ww_attack_view_open(const struct ww_model *locked,
                                const struct ww_model *anchor, bool noisy,
                                const struct ww_run_options *run,
                                struct ww_attack_view **out, struct ww_error *err)
{
    struct ww_attack_view *view = ww_calloc(1, sizeof(*view));
    struct ww_error why = {0};
    enum ww_err rc = WW_OK;

    *out = NULL;
    if (!view) {
        return WW_FAIL_MEMORY(err, "a locked model");
    }
    rc = open_view(view, locked, anchor, noisy, run, &why);
    if (ww_attack_is_grave(rc)) {
        rc = WW_FAIL(err, rc, "%s", why.text);
    } else if (!rc && undoes(&view->pair)) {
        rc = make(view, &view->pair, err);
        *out = rc ? NULL : view;
    } else {
        rc = WW_OK;
    }
    if (!*out) {
        ww_attack_view_free(view);
    }
    return rc;
}

enum ww_err ww_attack_view_beside(const struct ww_attack_view *view,
                                  const struct ww_reader *const *readers,
                                  struct ww_attack_view **out, struct ww_error *err)
{
    struct ww_attack_view *beside = ww_calloc(1, sizeof(*beside));
    enum ww_err rc =
        beside ? make(beside, &view->pair, err) : WW_FAIL_MEMORY(err, "a locked model");

    *out = NULL;
    for (uint32_t f = 0; !rc && f < view->pair.locked->model->n_files; f++) {
        beside->plan.readers[f] = readers[f];
    }
    if (rc) {
        ww_attack_view_free(beside);
        return rc;
    }
    *out = beside;
    return WW_OK;
}

const struct ww_reader *ww_attack_view_reader(const struct ww_attack_view *view,
                                              uint32_t file)
{
    return ww_made_reader(view->made, file);
}

const struct ww_attack_found *ww_attack_view_found(const struct ww_attack_view *view)
{
    return &view->pair.found;
}

bool ww_attack_view_is_dense(const struct ww_attack_view *view, uint32_t tensor)
{
    bool clash = false;
    return ww_dense_axis(view->pair.locked, &view->pair.source, tensor, &clash) !=
           WW_NO_AXIS;
}
