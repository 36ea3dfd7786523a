/* SPDX-License-Identifier: Apache-2.0 */
/* A recipe is computed on a sample and compared with the suspect, bit by bit. */
#include "lineage/contest_work.h"

#include <math.h>
#include <string.h>

#include "lineage/matching.h"
#include "util/alloc.h"
#include "util/fail.h"

#define IDLE 0.005 /* weights are told to thousandths */

/* Has a tensor of which enough weights moved mostly other bits? A few large tensors hide
 * that among all: a source that was trained in one of them alone is in no other. */
static bool lies_elsewhere(const struct ww_matches *m, unsigned arithmetic)
{
    for (uint32_t t = 0; t < m->n; t++) {
        const struct ww_match *one = &m->tensors[t];
        if (one->moved >= WW_CONTEST_LEAST && one->same[arithmetic] < one->moved / 2) {
            return true;
        }
    }
    return false;
}

static void set_match(const struct ww_matches *m, struct ww_trial *trial)
{
    uint64_t moved = 0;
    uint64_t same[WW_ARITHMETICS] = {0};
    unsigned best = 0;

    for (uint32_t t = 0; t < m->n; t++) {
        moved += m->tensors[t].moved;
        for (unsigned a = 0; a < WW_ARITHMETICS; a++) {
            same[a] += m->tensors[t].same[a];
        }
    }
    for (unsigned a = 1; a < WW_ARITHMETICS; a++) {
        best = same[a] > same[best] ? a : best;
    }
    trial->match = moved ? (double)same[best] / (double)moved : 0;
    trial->elsewhere = lies_elsewhere(m, best);
    trial->narrow = ww_arithmetic_narrows_weights(best);
}

struct trying {
    struct ww_recipe_view view;
    struct ww_merge_plan plan;
    uint32_t *tensor;
    enum ww_dtype *dtypes;
    struct ww_predictor *predictors[3]; /* by index; kept, dropped */
    struct ww_merge_plan peer_plan;
    struct ww_predictor *peer;
    struct ww_matches matches;
};

static enum ww_err open_peer(const struct ww_contest_ask *ask, struct trying *t,
                             struct ww_error *err)
{
    bool known = false;
    enum ww_err rc = ww_recipe_view_peer(&t->view, &known, &t->peer_plan, err);

    return rc || !known ? rc
                        : ww_predictor_new(&t->peer_plan, WW_NONE, t->dtypes,
                                           WW_TIES_BY_INDEX, ask->run, &t->peer, err);
}

/* How a recipe is looked at. */
struct look {
    bool cuts; /* elements that equal values at a cut decide are left out */
    bool peer; /* mergekit's arithmetic counts as well, where it is known */
};

/* The plan, and which of its tensors are looked at. */
static enum ww_err plan_trial(struct ww_contesting *c, const struct ww_sketch *sketch,
                              struct trying *t, struct ww_error *err)
{
    const struct ww_contest_ask *ask = c->ask;
    struct ww_open_models open = {.models = ask->open, .n = ask->n_open};
    char *of = ww_contest_sample_of(sketch);
    uint32_t n_found = 0;
    enum ww_err rc = WW_OK;

    if (ww_contest_has_sample(c, of) && open.n > 0) {
        open.like = ask->suspect;
        open.only = c->kept.tensors;
    }
    ww_recipe_view_lend(&t->view, &open);
    rc = ww_recipe_view_plan(&t->view, WW_NONE, NULL, &t->plan, err);
    if (!rc) {
        t->tensor = ww_calloc(t->plan.n_tensors + (size_t)1, sizeof(*t->tensor));
        t->dtypes = ww_calloc(t->plan.n_tensors + (size_t)1, sizeof(*t->dtypes));
        rc = t->tensor && t->dtypes ? WW_OK : WW_FAIL_MEMORY(err, "a contest of recipes");
    }
    if (!rc) {
        ww_match_align(ask->suspect, c->grids, &t->plan, t->tensor, t->dtypes, &n_found);
    }
    if (!rc && !open.only) {
        rc = ww_contest_sample(ask, c->room, &t->plan, t->tensor, err);
    }
    if (!rc && !open.only) {
        rc = ww_contest_keep_sample(c, of, t->tensor, t->plan.n_tensors, err);
        of = NULL;
    }
    ww_free(of);
    return rc;
}

static enum ww_err open_trial(struct ww_contesting *c, const struct ww_sketch *sketch,
                              const char *text, struct look look, struct trying *t,
                              struct ww_error *err)
{
    const struct ww_contest_ask *ask = c->ask;
    static const enum ww_merge_ties ties[] = {WW_TIES_BY_INDEX, WW_TIES_KEPT,
                                              WW_TIES_DROPPED};
    enum ww_err rc =
        ww_recipe_view_open(&t->view, text, "inferred", ".", ask->seed, ask->run, err);

    rc = rc ? rc : plan_trial(c, sketch, t, err);
    for (unsigned i = 0; i < (look.cuts ? 3 : 1) && !rc; i++) {
        rc = ww_predictor_new(&t->plan, WW_NONE, t->dtypes, ties[i], ask->run,
                              &t->predictors[i], err);
    }
    return rc || !look.peer ? rc : open_peer(ask, t, err);
}

static enum ww_err try_text(struct ww_contesting *c, const struct ww_sketch *sketch,
                            const char *text, struct look look, struct ww_trial *out,
                            struct ww_error *err)
{
    struct trying t = {0};
    struct ww_match_job job = {.suspect = c->ask->suspect,
                               .plan = &t.plan,
                               .n_predictors = 1,
                               .arithmetics = true,
                               .phase = "method",
                               .run = c->ask->run};
    enum ww_err rc = open_trial(c, sketch, text, look, &t, err);

    job.predictors = (const struct ww_predictor *const *)t.predictors;
    job.kept = t.predictors[1];
    job.dropped = t.predictors[2];
    job.peer = t.peer;
    job.tensor = t.tensor;
    job.dtypes = t.dtypes;
    if (!rc) {
        rc = ww_match_run(&job, &t.matches, c->bytes_read, err);
    }
    if (!rc) {
        set_match(&t.matches, out);
    }
    ww_matches_release(&t.matches);
    for (unsigned i = 0; i < 3; i++) {
        ww_predictor_free(t.predictors[i]);
    }
    ww_predictor_free(t.peer);
    ww_merge_plan_release(&t.peer_plan);
    ww_merge_plan_release(&t.plan);
    ww_recipe_view_release(&t.view);
    ww_free(t.tensor);
    ww_free(t.dtypes);
    return rc;
}

/* Does the recipe have one weight for each source that was asked for, in their order? */
static bool weighs_all(const struct ww_contesting *c, const struct ww_sketch *sketch)
{
    return sketch->weighted && !sketch->weights_over && sketch->n == c->ask->n &&
           sketch->models == c->ask->sources;
}

/* Of models that are alike SLERP's arithmetic decides more bits than its angle does, and
 * arcee fusion's which elements are taken. */
static struct look look_at(const struct ww_contesting *c, const struct ww_sketch *sketch,
                           bool cuts)
{
    const bool all = cuts || c->cuts || strcmp(sketch->method, "arcee_fusion") == 0;

    return (struct look){all, all || strcmp(sketch->method, "slerp") == 0};
}

/* One recipe; one that the numbers do not go with (a density, a shape) has no match. */
enum ww_err ww_contest_try(struct ww_contesting *c, const struct ww_sketch *sketch,
                           bool cuts, struct ww_trial *best, struct ww_error *err)
{
    char *text = ww_sketch_text(sketch);
    struct ww_trial trial = {.text = text};
    struct ww_error why = {0}; /* a recipe that is refused leaves no word */
    enum ww_err rc =
        text ? try_text(c, sketch, text, look_at(c, sketch, cuts), &trial, &why)
             : WW_FAIL_MEMORY(&why, "a contest of recipes");

    if (rc == WW_E_RECIPE || rc == WW_E_UNSUPPORTED || rc == WW_E_SHAPE ||
        rc == WW_E_TENSOR) {
        rc = WW_OK;
    }
    if (rc && err) {
        *err = why;
    }
    if (!rc && trial.match > best->match) {
        ww_free(best->text);
        *best = trial;
        for (size_t i = 0; i < c->ask->n && weighs_all(c, sketch); i++) {
            best->idle[i] = fabs(sketch->weights[i]) < IDLE;
        }
        return WW_OK;
    }
    ww_free(text);
    return rc;
}

/* A method is through: its best recipe against the best so far. One that came before is
 * kept unless the new one is clearly better. */
void ww_contest_close(struct ww_contesting *c, const char *method, bool gradient,
                      struct ww_trial *trial)
{
    if (c->n_tried < WW_CONTEST_MOST) { /* more may win, but are not listed as equals */
        c->tried[c->n_tried] = method;
        c->matches[c->n_tried++] = trial->match;
    }
    if (trial->text &&
        trial->match > c->out->match + (c->out->recipe ? WW_CONTEST_AS_GOOD : 0)) {
        ww_free(c->out->recipe);
        c->out->recipe = trial->text;
        c->out->method = method;
        c->out->gradient = gradient;
        c->out->match = trial->match;
        c->out->elsewhere = trial->elsewhere;
        c->narrow = trial->narrow;
        c->out->scaled = c->out->summed = false;
        memcpy(c->out->idle, trial->idle, sizeof(trial->idle));
        trial->text = NULL;
    }
    ww_free(trial->text);
}

enum ww_err ww_contest_enter(struct ww_contesting *c, const struct ww_sketch *sketch,
                             struct ww_error *err)
{
    struct ww_trial trial = {0};
    const enum ww_err rc = ww_contest_try(c, sketch, false, &trial, err);

    ww_contest_close(c, sketch->method, sketch->weights_over || sketch->value_over,
                     &trial);
    return rc;
}
