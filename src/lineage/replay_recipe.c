/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Replay of a recipe: does it give the suspect's bits? Every claim about a source is
 * tested by taking that source away, or another model in its place, and looking at what
 * is lost: S = round(f(B, M)) holds one way only, and the other recipes fail at it.
 */
#include <string.h>

#include "lineage/disguise.h"
#include "lineage/draws.h"
#include "lineage/grid.h"
#include "lineage/halves.h"
#include "lineage/matching.h"
#include "lineage/prereg.h"
#include "util/alloc.h"
#include "util/clock.h"
#include "util/fail.h"
#include "util/fs.h"
#include "weightward/lineage.h"

#define MAX_RECIPE ((size_t)1 << 20)

struct replaying {
    const struct ww_replay_options *options;
    struct ww_replay_report *report;
    struct ww_disguise disguise; /* owns the suspect, and may borrow from the plan */
    struct ww_model *suspect;
    struct ww_recipe_view view;
    struct ww_merge_plan plan;
    uint32_t *models; /* per control: of the recipe, the one that is exchanged */
    struct ww_merge_plan plans[WW_MATCH_MOST];      /* of controls, as predictors, */
    struct ww_predictor *predictors[WW_MATCH_MOST]; /* behind that of the recipe */
    unsigned n_predictors;
    uint64_t *others;          /* per control: elements that it has right */
    struct ww_predictor *kept; /* NULL: no ties */
    struct ww_predictor *dropped;
    struct ww_merge_plan peer_plan;
    struct ww_predictor *peer; /* NULL: its arithmetic is not known */
    bool *half; /* per tensor of the suspect: it was fitted on; NULL: none was */
    uint32_t *tensor;
    enum ww_dtype *dtypes;
    struct ww_matches matches;
    struct ww_strlist warnings;
};

static enum ww_err take_recipe(struct replaying *r, const char *text, const char *name,
                               const char *dir, struct ww_error *err)
{
    enum ww_err rc = ww_recipe_view_open(&r->view, text, strlen(text), name, dir,
                                         r->options->seed, &r->options->run, err);

    for (size_t i = 0; i < r->options->n_names && !rc; i++) {
        rc = ww_recipe_view_place(&r->view, r->options->names[i].name,
                                  r->options->names[i].path, err);
    }
    if (!rc) {
        r->report->recipe = ww_strdup(text);
        r->report->method = ww_strdup(r->view.report.method);
        rc = r->report->recipe && r->report->method ? WW_OK
                                                    : WW_FAIL_MEMORY(err, "a replay");
    }
    return rc;
}

/* Why there is no recipe. */
static const char *why_none(const struct ww_decompose_report *found)
{
    bool any = false;

    for (size_t i = 0; i < found->n_sources; i++) {
        any = any || found->sources[i].included;
    }
    return !any ? "no recipe can be inferred: no candidate is included"
           : found->disguise
               ? "no recipe can be inferred: the suspect is not stored as a "
                 "merge stores it, so that no bits can be compared"
               : "no recipe can be inferred: none that was tried gives any "
                 "of the bits";
}

/* From half of the tensors; the other half is what is replayed. */
static enum ww_err infer_recipe(struct replaying *r, const char *suspect,
                                struct ww_error *err)
{
    const struct ww_replay_options *o = r->options;
    const struct ww_decompose_options options = {.base = o->base,
                                                 .candidates = o->candidates,
                                                 .n_candidates = o->n_candidates,
                                                 .seed = o->seed,
                                                 .halves = true,
                                                 .run = o->run};
    struct ww_decompose_report found = {0};
    enum ww_err rc = ww_lineage_decompose(suspect, &options, &found, err);

    r->report->inferred = true;
    r->report->run.bytes_read += found.run.bytes_read;
    for (size_t i = 0; i < found.n_warnings && !rc; i++) {
        rc = ww_strlist_add(&r->warnings, found.warnings[i], err);
    }
    if (!rc && !found.recipe) {
        rc = ww_strlist_add(&r->warnings, why_none(&found), err);
    } else if (!rc) {
        r->report->nearest = found.nearest;
        rc = take_recipe(r, found.recipe, "inferred", ".", err);
    }
    ww_decompose_report_release(&found);
    return rc;
}

static enum ww_err load_recipe(struct replaying *r, struct ww_error *err)
{
    const char *path = r->options->recipe;
    char *dir = ww_path_folder(path);
    struct ww_buf text;
    enum ww_err rc = dir ? WW_OK : WW_FAIL_MEMORY(err, "a replay");

    ww_buf_init(&text, MAX_RECIPE);
    if (!rc) {
        rc = ww_file_read(path, &text, err);
    }
    if (!rc) {
        rc = take_recipe(r, ww_buf_cstr(&text), path, dir, err);
    }
    ww_buf_release(&text);
    ww_free(dir);
    return rc;
}

/* A model that the suspect descends from by the recipe: the base, if there is one. */
static const struct ww_model *relative_of(const struct ww_merge_plan *plan)
{
    for (uint32_t t = 0; t < plan->n_tensors; t++) {
        const struct ww_merge_tensor *of = &plan->tensors[t];
        if (of->base && of->base->model != WW_NONE) {
            return plan->models[of->base->model];
        }
    }
    return plan->n_models ? plan->models[0] : NULL;
}

/* Weights in other places have no bits to compare: a lock is undone first. */
static enum ww_err undo_lock(struct replaying *r, struct ww_error *err)
{
    const struct ww_model *relative = relative_of(&r->plan);
    struct ww_error why = {0};
    char *text = NULL;
    enum ww_err rc = relative ? ww_disguise_moved(relative, &r->disguise, &why) : WW_OK;

    /* NaN hides a lock, and has bits like any other number. */
    if (rc && rc != WW_E_NONFINITE) {
        return WW_FAIL(err, rc, "%s", why.text);
    }
    r->suspect = r->disguise.model;
    if (!r->disguise.undone) {
        return WW_OK;
    }
    text = ww_asprintf("the suspect is %s", r->disguise.undone);
    rc = text ? ww_strlist_add(&r->warnings, text, err) : WW_FAIL_MEMORY(err, "a replay");
    ww_free(text);
    return rc;
}

/* No bit survives a dense matrix. */
static enum ww_err leave_out_dense(struct replaying *r, uint32_t *n_found,
                                   struct ww_error *err)
{
    uint32_t n = 0;
    char *text = NULL;
    enum ww_err rc = WW_OK;

    for (uint32_t t = 0; t < r->plan.n_tensors && r->disguise.dense; t++) {
        if (r->tensor[t] != WW_NONE &&
            r->disguise.dense(r->disguise.payload, r->tensor[t])) {
            r->tensor[t] = WW_NONE;
            n++;
        }
    }
    *n_found -= n;
    if (n > 0) {
        text = ww_asprintf("%u tensors were mixed by dense matrices, which leave no bit "
                           "as it was, and are not replayed",
                           n);
        rc = text ? ww_strlist_add(&r->warnings, text, err)
                  : WW_FAIL_MEMORY(err, "a replay");
    }
    ww_free(text);
    return rc;
}

static enum ww_err align(struct replaying *r, struct ww_error *err)
{
    const uint32_t n = r->plan.n_tensors;
    enum ww_dtype *grids = NULL;
    uint32_t n_found = 0;
    enum ww_err rc = WW_OK;

    r->tensor = ww_calloc(n + (size_t)1, sizeof(*r->tensor));
    r->dtypes = ww_calloc(n + (size_t)1, sizeof(*r->dtypes));
    if (!r->tensor || !r->dtypes) {
        return WW_FAIL_MEMORY(err, "a replay");
    }
    rc = ww_grids_of(r->suspect, &grids, err);
    if (rc) {
        return rc;
    }
    ww_match_align(r->suspect, grids, &r->plan, r->tensor, r->dtypes, &n_found);
    ww_free(grids);
    if (n_found < r->suspect->n_tensors) {
        char *text = ww_asprintf("%u of %u tensors of the suspect are not replayed: the "
                                 "recipe makes none of that name and shape",
                                 r->suspect->n_tensors - n_found, r->suspect->n_tensors);
        rc = text ? ww_strlist_add(&r->warnings, text, err)
                  : WW_FAIL_MEMORY(err, "a replay");
        ww_free(text);
        if (rc) {
            return rc;
        }
    }
    if (r->disguise.dense) {
        rc = leave_out_dense(r, &n_found, err);
        if (rc) {
            return rc;
        }
    }
    if (r->report->inferred) {
        rc = ww_halves_draw(r->suspect, r->options->seed, &r->half, err);
        if (rc) {
            return rc;
        }
    }
    for (uint32_t t = 0; t < n && r->half; t++) {
        if (r->tensor[t] != WW_NONE && r->half[r->tensor[t]]) {
            r->tensor[t] = WW_NONE;
            n_found--;
            r->report->tensors_fit++;
        }
    }
    r->report->tensors = n_found;
    return n_found ? WW_OK
                   : WW_FAIL(err, WW_E_UNRELATED,
                             "the recipe makes no tensor that '%s' has in one name and "
                             "shape; a model of another architecture was not made by it",
                             r->suspect->path);
}

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
static char *folder_of(const struct replaying *r, uint32_t model)
{
    const struct ww_recipe *recipe = ww_recipe_view_recipe(&r->view);

    return model < recipe->n_models && model < r->plan.n_models &&
                   !recipe->models[model].adapter && r->plan.models[model]
               ? ww_strdup(r->plan.models[model]->path)
               : NULL;
}

static enum ww_err add_control(struct replaying *r, uint32_t model, const char *control,
                               struct ww_error *err)
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
    static const char *const names[] = {"ties", "breadcrumbs", "breadcrumbs_ties", "sce"};

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
static enum ww_err list_controls(struct replaying *r, struct ww_error *err)
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

static enum ww_err predict_peer(struct replaying *r, struct ww_error *err)
{
    bool known = false;
    enum ww_err rc = ww_recipe_view_peer(&r->view, &known, &r->peer_plan, err);

    return rc || !known
               ? rc
               : ww_predictor_new(&r->peer_plan, WW_NONE, r->dtypes, WW_TIES_BY_INDEX,
                                  &r->options->run, &r->peer, err);
}

static enum ww_err predict_recipe(struct replaying *r, struct ww_error *err)
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

static enum ww_err predict_control(struct replaying *r, size_t at, struct ww_error *err)
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

static void drop_controls(struct replaying *r)
{
    for (unsigned p = 1; p < WW_MATCH_MOST; p++) {
        ww_predictor_free(r->predictors[p]);
        r->predictors[p] = NULL;
        ww_merge_plan_release(&r->plans[p]);
    }
}

/* As many controls as fit, in one reading; the first one keeps what it finds of the
 * recipe itself. */
static enum ww_err run_batch(struct replaying *r, size_t *at, struct ww_error *err)
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
    drop_controls(r);
    ww_matches_release(&later);
    return rc;
}

static double share(uint64_t part, uint64_t whole)
{
    return whole ? (double)part / (double)whole : 0;
}

static void add_up(const struct ww_matches *m, struct ww_match *sum)
{
    for (uint32_t t = 0; t < m->n; t++) {
        const struct ww_match *one = &m->tensors[t];
        sum->moved += one->moved;
        sum->undecided += one->undecided;
        for (unsigned a = 0; a < WW_ARITHMETICS; a++) {
            sum->same[a] += one->same[a];
            sum->fits[a] += one->fits[a];
            sum->agree[a] += one->agree[a];
        }
    }
}

/* Kinds that could compute all that moved; the best of them. */
static enum ww_err judge_kinds(struct replaying *r, const struct ww_match *sum,
                               unsigned *best, struct ww_error *err)
{
    struct ww_replay_report *report = r->report;

    report->kinds = ww_calloc(WW_ARITHMETICS, sizeof(*report->kinds));
    if (!report->kinds) {
        return WW_FAIL_MEMORY(err, "a replay");
    }
    *best = 0;
    report->ceiling = 1;
    for (unsigned a = 0; a < WW_ARITHMETICS; a++) {
        if (sum->fits[a] < sum->moved) {
            continue;
        }
        report->kinds[report->n_kinds++] =
            (struct ww_replay_kind){ww_arithmetic_name(a), ww_arithmetic_summary(a),
                                    share(sum->same[a], sum->moved)};
        if (sum->same[a] > sum->same[*best]) {
            *best = a;
        }
        if (ww_arithmetic_is_wide(a) && sum->moved) {
            const double agree = share(sum->agree[a], sum->moved);
            report->ceiling = agree < report->ceiling ? agree : report->ceiling;
        }
    }
    report->arithmetic = ww_arithmetic_name(*best);
    report->match = share(sum->same[*best], sum->moved);
    report->moved = sum->moved;
    report->undecided = sum->undecided;
    return WW_OK;
}

static enum ww_err draw_interval(struct replaying *r, unsigned best, struct ww_error *err)
{
    const struct ww_matches *m = &r->matches;
    uint64_t *same = ww_calloc(2 * (size_t)m->n + 1, sizeof(*same));
    uint64_t *moved = same + m->n;
    size_t n = 0;
    enum ww_err rc = same ? WW_OK : WW_FAIL_MEMORY(err, "a replay");

    for (uint32_t t = 0; t < m->n && !rc; t++) {
        if (m->tensors[t].moved) {
            same[n] = m->tensors[t].same[best];
            moved[n++] = m->tensors[t].moved;
        }
    }
    if (!rc) {
        rc = ww_draw_interval(same, moved, n, r->options->seed, &r->report->low,
                              &r->report->high, err);
    }
    ww_free(same);
    return rc;
}

static enum ww_err judge(struct replaying *r, struct ww_error *err)
{
    struct ww_replay_report *report = r->report;
    struct ww_match sum = {0};
    unsigned best = 0;
    enum ww_err rc = WW_OK;

    add_up(&r->matches, &sum);
    rc = judge_kinds(r, &sum, &best, err);
    if (!rc) {
        rc = draw_interval(r, best, err);
    }
    report->supports = report->match >= WW_REPLAY_SUPPORTED;
    for (size_t c = 0; c < report->n_controls; c++) {
        report->controls[c].match = share(r->others[c], sum.moved);
        report->supports &=
            1 - report->controls[c].match > WW_REPLAY_TIMES_WORSE * (1 - report->match);
    }
    if (!rc && sum.moved == 0) {
        rc =
            ww_strlist_add(&r->warnings,
                           "the recipe moves nothing: all its models are equal where the "
                           "suspect has tensors",
                           err);
    }
    return rc;
}

static enum ww_err compare(struct replaying *r, struct ww_error *err)
{
    size_t at = 0;
    enum ww_err rc = ww_recipe_view_plan(&r->view, WW_NONE, NULL, &r->plan, err);

    if (!rc) {
        rc = undo_lock(r, err);
    }
    if (!rc) {
        rc = align(r, err);
    }
    if (!rc) {
        rc = list_controls(r, err);
    }
    if (!rc) {
        rc = predict_recipe(r, err);
    }
    do {
        rc = rc ? rc : run_batch(r, &at, err);
    } while (!rc && at < r->report->n_controls);
    if (!rc) {
        rc = ww_disguise_unchanged(&r->disguise, err);
    }
    for (uint32_t m = 0; m < r->plan.n_models && !rc; m++) {
        rc = ww_model_unchanged(r->plan.models[m], err);
    }
    return rc ? rc : judge(r, err);
}

static void release(struct replaying *r)
{
    ww_matches_release(&r->matches);
    ww_disguise_release(&r->disguise);
    ww_predictor_free(r->predictors[0]);
    drop_controls(r);
    ww_predictor_free(r->kept);
    ww_predictor_free(r->dropped);
    ww_predictor_free(r->peer);
    ww_merge_plan_release(&r->peer_plan);
    ww_merge_plan_release(&r->plan);
    ww_recipe_view_release(&r->view);
    ww_free(r->half);
    ww_free(r->tensor);
    ww_free(r->dtypes);
    ww_free(r->models);
    ww_free(r->others);
    r->report->warnings = r->warnings.items;
    r->report->n_warnings = r->warnings.n;
    ww_free(r);
}

static enum ww_err check_plan(struct replaying *r, struct ww_error *err)
{
    const struct ww_replay_options *o = r->options;
    const struct ww_prereg_run run = {o->base,     o->candidates, o->n_candidates,
                                      o->controls, o->n_controls, o->seed,
                                      &o->run};

    if (!o->plan) {
        return WW_OK;
    }
    if (o->recipe) {
        return WW_FAIL(
            err, WW_E_USAGE,
            "plan '%s' is of candidates, a recipe has its own models; give one "
            "of the two",
            o->plan);
    }
    r->report->confirmatory = true;
    return ww_prereg_check(o->plan, o->plan_key, &run, err);
}

enum ww_err ww_lineage_replay(const char *suspect,
                              const struct ww_replay_options *options,
                              struct ww_replay_report *report, struct ww_error *err)
{
    struct replaying *r = ww_calloc(1, sizeof(*r));
    const double start = ww_now();
    enum ww_err rc = WW_OK;

    memset(report, 0, sizeof(*report));
    if (!r) {
        return WW_FAIL_MEMORY(err, "a replay");
    }
    r->options = options;
    r->report = report;
    rc = check_plan(r, err);
    if (!rc) {
        rc = ww_model_open(suspect, &r->suspect, err);
        r->disguise.model = r->suspect;
    }
    if (!rc) {
        rc = options->recipe ? load_recipe(r, err) : infer_recipe(r, suspect, err);
    }
    if (!rc && report->recipe) {
        rc = compare(r, err);
    }
    report->run.seconds = ww_now() - start;
    release(r);
    return rc;
}

void ww_replay_report_release(struct ww_replay_report *report)
{
    struct ww_strlist warnings = {report->warnings, report->n_warnings,
                                  report->n_warnings};

    for (size_t i = 0; i < report->n_controls; i++) {
        ww_free(report->controls[i].source);
        ww_free(report->controls[i].path);
        ww_free(report->controls[i].control);
    }
    ww_free(report->controls);
    ww_free(report->kinds);
    ww_free(report->recipe);
    ww_free(report->method);
    ww_free(report->base);
    ww_strlist_release(&warnings);
    memset(report, 0, sizeof(*report));
}
