/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Weights come from the fit. A density has no estimator here: it is searched, coarsely,
 * then finely, as more of the mask comes out right the nearer it is.
 */
#include "lineage/contest_work.h"

#include <math.h>
#include <string.h>

#include "lineage/draws.h"
#include "lineage/matching.h"
#include "util/alloc.h"
#include "util/fail.h"

#define SAMPLE ((uint64_t)4 << 20) /* elements */
#define AS_GOOD 0.002
#define WORTH 0.15  /* so are the weights */
#define ROUNDS 3    /* of looks at the weights */
#define SCALES 15   /* fiftieths by which shares may be too small */
#define NEARLY 0.3  /* a coarse density is worth a finer look from here */
#define SETTLED 0.9 /* no other selection needs a look */
#define AGREED 0.99 /* numbers need no look over the layers */

static double hundredths(double v)
{
    return round(v * 100) / 100;
}

struct trial {
    double match;
    char *text;
};

static enum ww_err no_memory(struct ww_error *err)
{
    return WW_FAIL(err, WW_E_NOMEM, "out of memory for a contest of recipes");
}

/* Tensors from a place that the seed draws, as long as the sample has room; the first one
 * in any case. */
static void take_sample(const struct ww_contest_ask *ask,
                        const struct ww_merge_plan *plan, uint32_t *tensor)
{
    uint64_t state = ask->seed;
    const uint32_t n = plan->n_tensors;
    const uint32_t from = n ? (uint32_t)(ww_draw(&state) % n) : 0;
    uint64_t room = SAMPLE;
    bool any = false;

    for (uint32_t i = 0; i < n; i++) {
        const uint32_t t = (from + i) % n;
        uint64_t size = 0;
        if (tensor[t] == WW_NONE) {
            continue;
        }
        size = ask->suspect->tensors[tensor[t]].n_elements;
        if ((ask->halves && !ww_draw_fitted(ask->seed, plan->tensors[t].name)) ||
            (any && size > room)) {
            tensor[t] = WW_NONE;
            continue;
        }
        any = true;
        room -= size < room ? size : room;
    }
}

static double best_match(const struct ww_matches *m)
{
    struct ww_match sum = {0};
    double best = 0;

    for (uint32_t t = 0; t < m->n; t++) {
        sum.moved += m->tensors[t].moved;
        for (unsigned a = 0; a < WW_ARITHMETICS; a++) {
            sum.same[a] += m->tensors[t].same[a];
        }
    }
    for (unsigned a = 0; a < WW_ARITHMETICS && sum.moved; a++) {
        best = fmax(best, (double)sum.same[a] / (double)sum.moved);
    }
    return best;
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

static enum ww_err open_trial(const struct ww_contest_ask *ask, const char *text,
                              bool cuts, struct trying *t, struct ww_error *err)
{
    static const enum ww_merge_ties ties[] = {WW_TIES_BY_INDEX, WW_TIES_KEPT,
                                              WW_TIES_DROPPED};
    uint32_t n_found = 0;
    enum ww_err rc = ww_recipe_view_open(&t->view, text, strlen(text), "inferred", ".",
                                         ask->seed, ask->run, err);

    if (!rc) {
        rc = ww_recipe_view_plan(&t->view, WW_NONE, NULL, &t->plan, err);
    }
    if (rc) {
        return rc;
    }
    t->tensor = ww_calloc(t->plan.n_tensors + (size_t)1, sizeof(*t->tensor));
    t->dtypes = ww_calloc(t->plan.n_tensors + (size_t)1, sizeof(*t->dtypes));
    if (!t->tensor || !t->dtypes) {
        return no_memory(err);
    }
    ww_match_align(ask->suspect, &t->plan, t->tensor, t->dtypes, &n_found);
    take_sample(ask, &t->plan, t->tensor);
    for (unsigned i = 0; i < (cuts ? 3 : 1) && !rc; i++) {
        rc = ww_predictor_new(&t->plan, WW_NONE, t->dtypes, ties[i], ask->run,
                              &t->predictors[i], err);
    }
    return rc || !cuts ? rc : open_peer(ask, t, err);
}

static enum ww_err try_text(struct ww_contesting *c, const char *text, bool cuts,
                            double *match, struct ww_error *err)
{
    struct trying t = {0};
    struct ww_match_job job = {.suspect = c->ask->suspect,
                               .plan = &t.plan,
                               .n_predictors = 1,
                               .arithmetics = true,
                               .phase = "method",
                               .run = c->ask->run};
    enum ww_err rc = open_trial(c->ask, text, cuts, &t, err);

    job.predictors = (const struct ww_predictor *const *)t.predictors;
    job.kept = t.predictors[1];
    job.dropped = t.predictors[2];
    job.peer = t.peer;
    job.tensor = t.tensor;
    if (!rc) {
        rc = ww_match_run(&job, &t.matches, c->bytes_read, err);
    }
    *match = rc ? 0 : best_match(&t.matches);
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

/* One recipe; one that the numbers do not go with (a density, a shape) has no match. */
static enum ww_err try_sketch(struct ww_contesting *c, const struct ww_sketch *sketch,
                              bool cuts, struct trial *best, struct ww_error *err)
{
    char *text = ww_sketch_text(sketch);
    double match = 0;
    enum ww_err rc = text ? try_text(c, text, cuts, &match, err) : no_memory(err);

    if (rc == WW_E_RECIPE || rc == WW_E_UNSUPPORTED || rc == WW_E_SHAPE ||
        rc == WW_E_TENSOR) {
        rc = WW_OK;
    }
    if (!rc && match > best->match) {
        ww_free(best->text);
        *best = (struct trial){match, text};
        return WW_OK;
    }
    ww_free(text);
    return rc;
}

/* A method is through: its best recipe against the best so far. One that came before is
 * kept unless the new one is clearly better. */
static void enter(struct ww_contesting *c, const char *method, bool gradient,
                  struct trial *trial)
{
    c->tried[c->n_tried] = method;
    c->matches[c->n_tried++] = trial->match;
    if (trial->text && trial->match > c->out->match + (c->out->recipe ? AS_GOOD : 0)) {
        ww_free(c->out->recipe);
        c->out->recipe = trial->text;
        c->out->method = method;
        c->out->gradient = gradient;
        c->out->match = trial->match;
        trial->text = NULL;
    }
    ww_free(trial->text);
}

enum ww_err ww_contest_enter(struct ww_contesting *c, const struct ww_sketch *sketch,
                             struct ww_error *err)
{
    struct trial trial = {0};
    const enum ww_err rc = try_sketch(c, sketch, false, &trial, err);

    enter(c, sketch->method, sketch->weights_over || sketch->value_over, &trial);
    return rc;
}

static double sum_of(const struct ww_contest_ask *ask)
{
    double sum = 0;

    for (size_t i = 0; i < ask->n; i++) {
        sum += ask->shares[i];
    }
    return sum;
}

static bool even(const struct ww_contest_ask *ask)
{
    for (size_t i = 1; i < ask->n; i++) {
        if (fabs(ask->shares[i] - ask->shares[0]) > WW_CONTEST_EVEN) {
            return false;
        }
    }
    return true;
}

/* Sums with the weights that were found. */
static enum ww_err try_sums(struct ww_contesting *c, struct ww_error *err)
{
    struct ww_sketch s = c->sketch;
    enum ww_err rc = WW_OK;

    s.weighted = true;
    memcpy(s.weights, c->ask->shares, c->ask->n * sizeof(*s.weights));
    if (fabs(sum_of(c->ask) - 1) < WW_CONTEST_EVEN) {
        s.method = "linear";
        s.base = NULL;
        rc = ww_contest_enter(c, &s, err);
        s.base = c->sketch.base;
    }
    s.method = "task_arithmetic";
    return rc ? rc : ww_contest_enter(c, &s, err);
}

/* From one model to another; the weights of a spherical path sum to one or more. */
static enum ww_err try_paths(struct ww_contesting *c, struct ww_error *err)
{
    const double *shares = c->ask->shares;
    struct ww_sketch s = c->sketch;
    enum ww_err rc = WW_OK;

    s.method = "slerp";
    s.key = "t";
    if (c->ask->n == 2 && sum_of(c->ask) > 1 - WW_CONTEST_EVEN) {
        s.base = c->ask->sources[0];
        s.value =
            ww_sketch_shortest(shares[1] / (shares[0] + shares[1]), WW_CONTEST_REACH);
        rc = ww_contest_enter(c, &s, err);
    } else if (c->ask->n == 1 && shares[0] < 1) {
        s.value = ww_sketch_shortest(shares[0], WW_CONTEST_REACH);
        rc = ww_contest_enter(c, &s, err);
    }
    s = c->sketch;
    s.base = NULL;
    s.weighted = true;
    for (size_t i = 0; i < c->ask->n; i++) {
        s.weights[i] = ww_sketch_shortest(shares[i] / sum_of(c->ask), WW_CONTEST_REACH);
    }
    if (!rc && c->ask->n >= 2 && sum_of(c->ask) > 1 - WW_CONTEST_EVEN) {
        s.method = "multislerp";
        rc = ww_contest_enter(c, &s, err);
    }
    return rc;
}

/* Methods without numbers of their own. */
static enum ww_err try_means(struct ww_contesting *c, struct ww_error *err)
{
    struct ww_sketch s = c->sketch;
    enum ww_err rc = WW_OK;

    if (c->ask->n >= 2) {
        s.method = "model_stock";
        rc = ww_contest_enter(c, &s, err);
    }
    if (!rc && c->ask->n >= 2 && even(c->ask)) {
        s.method = "karcher";
        s.base = NULL;
        rc = ww_contest_enter(c, &s, err);
    }
    if (!rc && c->ask->core && c->ask->n == 1) {
        s.method = "arcee_fusion";
        s.base = c->sketch.base;
        rc = ww_contest_enter(c, &s, err);
    }
    return rc;
}

/* Rounds over the hundredths around each weight, one after another, as long as they help.
 */
static enum ww_err refine(struct ww_contesting *c, struct ww_sketch *s,
                          struct trial *coarse, struct ww_error *err)
{
    static const int steps[] = {-1, 1, -2, 2};
    double before = 0;
    enum ww_err rc = WW_OK;

    for (unsigned round = 0; round < ROUNDS && !rc && coarse->match > before; round++) {
        before = coarse->match;
        for (size_t i = 0; i < s->n; i++) {
            const double near = hundredths(s->weights[i]);
            double best = s->weights[i];
            for (size_t k = 0; k < sizeof(steps) / sizeof(steps[0]) && !rc; k++) {
                const double least = coarse->match;
                s->weights[i] = hundredths(near + steps[k] / 100.0);
                rc = try_sketch(c, s, false, coarse, err);
                best = coarse->match > least ? s->weights[i] : best;
            }
            s->weights[i] = best;
        }
    }
    return rc;
}

/* Shares of a selection are the weights less what was dropped, and about in one part for
 * all: the part is looked for, in hundredths that recipes have. */
static enum ww_err rescale(struct ww_contesting *c, struct ww_sketch *s,
                           struct trial *coarse, struct ww_error *err)
{
    const struct ww_sketch start = *s;
    enum ww_err rc = WW_OK;

    for (unsigned step = 0; step <= SCALES && !rc; step++) {
        struct ww_sketch scaled = start;
        const double least = coarse->match;
        for (size_t i = 0; i < s->n; i++) {
            scaled.weights[i] = hundredths(start.weights[i] * (1 + 0.02 * step));
        }
        rc = try_sketch(c, &scaled, false, coarse, err);
        *s = coarse->match > least ? scaled : *s;
    }
    return rc;
}

/* Density, or the share that is selected: tenths, then halves of them. Only the last look
 * leaves undecided elements out, as it costs three predictions. */
static enum ww_err search(struct ww_contesting *c, struct ww_sketch *s, double *number,
                          struct trial *best, struct ww_error *err)
{
    struct trial coarse = {0};
    double at = 0;
    enum ww_err rc = WW_OK;

    for (unsigned i = 1; i <= 9 && !rc; i++) {
        const double before = coarse.match;
        *number = i / 10.0;
        rc = try_sketch(c, s, false, &coarse, err);
        at = coarse.match > before ? *number : at;
    }
    for (int side = -1; side <= 1 && !rc && coarse.match > NEARLY; side += 2) {
        const double before = coarse.match;
        const double tenth = at;
        *number = round((tenth + side * 0.05) * 100) / 100;
        rc = try_sketch(c, s, false, &coarse, err);
        at = coarse.match > before ? *number : tenth;
    }
    *number = at;
    if (!rc && s->weighted && coarse.match > WORTH) {
        rc = rescale(c, s, &coarse, err);
    }
    if (!rc && s->weighted && coarse.match > WORTH) {
        rc = refine(c, s, &coarse, err);
    }
    if (!rc && coarse.match > NEARLY) {
        rc = try_sketch(c, s, true, best, err);
    }
    ww_free(coarse.text);
    return rc;
}

/* Of few sources the core has the weights; of many too few elements are in it, and shares
 * are the better beginning. */
static enum ww_err try_cut(struct ww_contesting *c, const char *method,
                           struct ww_error *err)
{
    const double *starts[] = {c->ask->core, c->ask->shares};
    struct ww_sketch s = c->sketch;
    struct trial best = {0};
    enum ww_err rc = WW_OK;

    s.method = method;
    s.weighted = s.dense = true;
    for (unsigned k = 0; k < 2 && !rc && best.match < SETTLED; k++) {
        double sum = 0;
        for (size_t i = 0; i < c->ask->n; i++) {
            s.weights[i] = ww_sketch_shortest(starts[k][i], WW_CONTEST_REACH);
            sum += starts[k][i];
        }
        const struct ww_sketch start = s;
        s.plain = true;
        rc = search(c, &s, &s.density, &best, err);
        if (!rc && best.match < SETTLED && fabs(sum - 1) < WW_CONTEST_EVEN) {
            s = start;
            s.plain = false;
            rc = search(c, &s, &s.density, &best, err);
        }
    }
    enter(c, method, false, &best);
    return rc;
}

static enum ww_err try_selections(struct ww_contesting *c, struct ww_error *err)
{
    struct ww_sketch s = c->sketch;
    struct trial best = {0};
    enum ww_err rc = try_cut(c, "ties", err);

    if (!rc && c->out->match < SETTLED) {
        rc = try_cut(c, "breadcrumbs", err);
    }
    if (!rc && c->out->match < SETTLED && c->ask->n >= 2) {
        s.method = "sce";
        rc = try_sketch(c, &s, false, &best, err);
        s.key = "select_topk";
        rc = rc ? rc : search(c, &s, &s.value, &best, err);
        enter(c, s.method, false, &best);
    }
    return rc;
}

static enum ww_err try_blends(struct ww_contesting *c, struct ww_error *err)
{
    enum ww_err rc = try_sums(c, err);

    if (!rc) {
        rc = try_paths(c, err);
    }
    if (!rc) {
        rc = try_means(c, err);
    }
    if (!rc && c->ask->over && !c->ask->slices && c->out->match < AGREED) {
        rc = ww_contest_gradients(c, err);
    }
    return rc;
}

static enum ww_dtype output_dtype(const struct ww_model *suspect)
{
    for (uint32_t t = 0; t < suspect->n_tensors; t++) {
        if (ww_dtype_is_plain_float(suspect->tensors[t].dtype)) {
            return suspect->tensors[t].dtype;
        }
    }
    return WW_DTYPE_F32;
}

static bool is_listed(const struct ww_contest *out, size_t n, const char *method)
{
    bool listed = strcmp(method, out->method) == 0;

    for (size_t i = 0; i < n && !listed; i++) {
        listed = strcmp(method, out->equals[i]) == 0;
    }
    return listed;
}

static void list_equals(struct ww_contesting *c)
{
    size_t n = 0;

    for (size_t i = 0; i < c->n_tried && c->out->method; i++) {
        if (c->matches[i] >= c->out->match - AS_GOOD &&
            !is_listed(c->out, n, c->tried[i])) {
            c->out->equals[n++] = c->tried[i];
        }
    }
}

enum ww_err ww_contest_run(const struct ww_contest_ask *ask, struct ww_contest *out,
                           uint64_t *bytes_read, struct ww_error *err)
{
    struct ww_contesting c = {.ask = ask, .out = out, .bytes_read = bytes_read};
    enum ww_err rc = WW_OK;

    memset(out, 0, sizeof(*out));
    c.sketch = (struct ww_sketch){.base = ask->base,
                                  .models = ask->sources,
                                  .n = ask->n,
                                  .dtype = output_dtype(ask->suspect)};
    if (ask->as_they_are) {
        rc = ww_contest_stack(&c, err);
    } else {
        c.sketch.slices = ask->slices;
        c.sketch.n_slices = ask->n_slices;
        rc = try_blends(&c, err);
    }
    if (!rc && ask->core) {
        rc = try_selections(&c, err);
    }
    if (rc) {
        ww_free(out->recipe);
        memset(out, 0, sizeof(*out));
        return rc;
    }
    list_equals(&c);
    return WW_OK;
}
