/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The recipe beside others. Every claim about a source is tested by taking that source
 * away, or another model in its place, and looking at what is lost.
 */
#include "lineage/replay_work.h"
#include "util/alloc.h"
#include "util/fail.h"

/* Is the model a source somewhere, or the base of a method between two models? */
static bool is_source(const struct ww_merge_plan *plan, uint32_t model)
{
    for (uint32_t t = 0; t < plan->n_tensors; t++) {
        const struct ww_merge_tensor *of = &plan->tensors[t];
        const bool between = of->n_sources == 1 && of->method->max_sources == 1;
        for (uint32_t s = 0; s < of->n_sources; s++) {
            if (of->sources[s].model == model) {
                return true;
            }
        }
        if (between && of->base && of->base->model == model) {
            return true;
        }
    }
    return false;
}

/* The model's folder, where it is one and no adapter changes it. */
static char *folder_of(const struct ww_replaying *r, uint32_t model)
{
    const struct ww_recipe *recipe = ww_recipe_view_recipe(&r->view);

    return model < recipe->n_models && model < r->plan.n_models &&
                   !recipe->models[model].adapter && r->plan.models[model]
               ? ww_strdup(r->plan.models[model]->path)
               : NULL;
}

static enum ww_err add_control(struct ww_replaying *r, uint32_t model,
                               const char *control, struct ww_error *err)
{
    const struct ww_recipe *recipe = ww_recipe_view_recipe(&r->view);
    struct ww_replay_control *c = &r->report->controls[r->report->n_controls];

    r->models[r->report->n_controls++] = model;
    c->source = ww_strdup(recipe->models[model].text);
    c->path = folder_of(r, model);
    c->control = control ? ww_strdup(control) : NULL;
    return c->source && (!control || c->control) ? WW_OK
                                                 : WW_FAIL_MEMORY(err, "a replay");
}

/* Does one of these methods make a tensor? */
static bool uses(const struct ww_merge_plan *plan, const char *const *names, size_t n)
{
    for (uint32_t t = 0; t < plan->n_tensors; t++) {
        for (size_t i = 0; i < n; i++) {
            if (plan->tensors[t].method == ww_method_find(names[i])) {
                return true;
            }
        }
    }
    return false;
}

/* Does a selection by rank decide about elements? */
static bool has_cuts(const struct ww_merge_plan *plan)
{
    static const char *const names[] = {"ties", "breadcrumbs", "breadcrumbs_ties", "sce",
                                        "arcee_fusion"};

    return uses(plan, names, WW_LEN(names));
}

/* Does chance? */
static bool draws(const struct ww_merge_plan *plan)
{
    static const char *const names[] = {"dare_linear", "dare_ties", "della",
                                        "della_linear"};

    return uses(plan, names, WW_LEN(names));
}

/* Each source left out, and each control in its place. */
enum ww_err ww_replay_list_controls(struct ww_replaying *r, struct ww_error *err)
{
    const struct ww_recipe *recipe = ww_recipe_view_recipe(&r->view);
    const size_t most = recipe->n_models * (1 + r->options->n_controls) + 1;
    enum ww_err rc = WW_OK;

    r->report->controls = ww_calloc(most, sizeof(*r->report->controls));
    r->models = ww_calloc(most, sizeof(*r->models));
    r->others = ww_calloc(most, sizeof(*r->others));
    r->report->drawn = draws(&r->plan);
    r->report->base = folder_of(r, recipe->base);
    if (!r->report->controls || !r->models || !r->others) {
        return WW_FAIL_MEMORY(err, "a replay");
    }
    for (uint32_t m = 0; m < recipe->n_models && !rc; m++) {
        if (!is_source(&r->plan, m)) {
            continue;
        }
        rc = add_control(r, m, NULL, err);
        for (size_t c = 0; c < r->options->n_controls && !rc; c++) {
            rc = add_control(r, m, r->options->controls[c], err);
        }
    }
    return rc;
}

static enum ww_err predict_peer(struct ww_replaying *r, struct ww_error *err)
{
    bool known = false;
    enum ww_err rc = ww_recipe_view_peer(&r->view, &known, &r->peer_plan, err);

    return rc || !known
               ? rc
               : ww_predictor_new(&r->peer_plan, WW_NONE, r->dtypes, WW_TIES_BY_INDEX,
                                  &r->options->run, &r->peer, err);
}

enum ww_err ww_replay_predict(struct ww_replaying *r, struct ww_error *err)
{
    enum ww_err rc = ww_predictor_new(&r->plan, WW_NONE, r->dtypes, WW_TIES_BY_INDEX,
                                      &r->options->run, &r->predictors[0], err);

    if (!rc && has_cuts(&r->plan)) {
        rc = ww_predictor_new(&r->plan, WW_NONE, r->dtypes, WW_TIES_KEPT,
                              &r->options->run, &r->kept, err);
    }
    if (!rc && r->kept) {
        rc = ww_predictor_new(&r->plan, WW_NONE, r->dtypes, WW_TIES_DROPPED,
                              &r->options->run, &r->dropped, err);
    }
    return rc ? rc : predict_peer(r, err);
}

static enum ww_err predict_control(struct ww_replaying *r, size_t at,
                                   struct ww_error *err)
{
    const char *control = r->report->controls[at].control;
    struct ww_merge_plan *plan = &r->plans[r->n_predictors];
    enum ww_err rc = WW_OK;

    if (control) {
        rc = ww_recipe_view_plan(&r->view, r->models[at], control, plan, err);
    }
    if (!rc) {
        rc = ww_predictor_new(
            control ? plan : &r->plan, control ? WW_NONE : r->models[at], r->dtypes,
            WW_TIES_BY_INDEX, &r->options->run, &r->predictors[r->n_predictors], err);
    }
    r->n_predictors += !rc;
    return rc;
}

void ww_replay_drop_controls(struct ww_replaying *r)
{
    for (unsigned p = 1; p < WW_MATCH_MOST; p++) {
        ww_predictor_free(r->predictors[p]);
        r->predictors[p] = NULL;
        ww_merge_plan_release(&r->plans[p]);
    }
}

/* As many controls as fit, in one reading; the first one keeps what it finds of the
 * recipe itself. */
enum ww_err ww_replay_run_batch(struct ww_replaying *r, size_t *at, struct ww_error *err)
{
    const bool first = *at == 0;
    struct ww_matches later = {0};
    struct ww_matches *matches = first ? &r->matches : &later;
    struct ww_match_job job = {.suspect = r->suspect,
                               .plan = &r->plan,
                               .kept = r->kept,
                               .dropped = r->dropped,
                               .tensor = r->tensor,
                               .dtypes = r->dtypes,
                               .peer = first ? r->peer : NULL,
                               .drawn = first ? r->drawn : NULL,
                               .arithmetics = first,
                               .phase = "replay",
                               .run = &r->options->run};
    const size_t from = *at;
    enum ww_err rc = WW_OK;

    r->n_predictors = 1;
    for (; *at < r->report->n_controls && r->n_predictors < WW_MATCH_MOST && !rc; ++*at) {
        rc = predict_control(r, *at, err);
    }
    job.predictors = (const struct ww_predictor *const *)r->predictors;
    job.n_predictors = r->n_predictors;
    if (!rc) {
        rc = ww_match_run(&job, matches, &r->report->run.bytes_read, err);
    }
    for (uint32_t t = 0; t < matches->n && !rc; t++) {
        for (unsigned c = 0; c < matches->n_others; c++) {
            r->others[from + c] += matches->tensors[t].others[c];
        }
    }
    ww_replay_drop_controls(r);
    ww_matches_release(&later);
    return rc;
}

enum ww_err ww_replay_open_drawn(struct ww_replaying *r, struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    if (!r->report->drawn) {
        return WW_OK;
    }
    r->drawn = ww_calloc(r->plan.n_tensors + (size_t)1, sizeof(*r->drawn));
    if (!r->drawn) {
        return WW_FAIL_MEMORY(err, "a comparison with masks drawn anew");
    }
    for (uint32_t t = 0; t < r->plan.n_tensors && !rc; t++) {
        rc = ww_drawn_init(&r->drawn[t], r->plan.tensors[t].n_sources, err);
    }
    return rc;
}

void ww_replay_close_drawn(struct ww_replaying *r)
{
    for (uint32_t t = 0; r->drawn && t < r->plan.n_tensors; t++) {
        ww_drawn_release(&r->drawn[t]);
    }
    ww_free(r->drawn);
    r->drawn = NULL;
}
