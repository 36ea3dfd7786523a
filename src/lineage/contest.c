/* SPDX-License-Identifier: Apache-2.0 */
/* Recipes are computed on a sample and compared with the suspect, bit by bit. */
#include "lineage/contest_work.h"

#include <math.h>
#include <string.h>

#include "lineage/arc.h"
#include "lineage/draws.h"
#include "lineage/grid.h"
#include "lineage/matching.h"
#include "lineage/moments.h"
#include "util/alloc.h"
#include "util/fail.h"

#define SAMPLE ((uint64_t)4 << 20) /* elements */
#define IDLE 0.005                 /* weights are told to thousandths */
#define ALL_BITS 0.999             /* but for accidents of rounding */
#define NEAR_ONE 0.001             /* by which a share near it may be off */
#define EXACTLY 0.0004             /* of a number of SLERP */
#define MOST_EQUALS ((size_t)WW_LINEAGE_MAX_WORDS - 2) /* that are listed */

static uint64_t gcd(uint64_t a, uint64_t b)
{
    while (b > 0) {
        const uint64_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

/* An order of all n that begins where the seed says and soon has been everywhere: steps
 * of the golden section. */
struct order {
    uint64_t from;
    uint64_t step;
    uint64_t n;
};

static struct order draw_order(uint64_t seed, uint64_t n)
{
    uint64_t state = seed;
    struct order o = {.step = (uint64_t)(0.618 * (double)n) + 1, .n = n};

    o.from = n ? ww_draw(&state) % n : 0;
    while (n > 1 && gcd(o.step, n) != 1) {
        o.step++;
    }
    return o;
}

static uint32_t place(const struct order *o, uint32_t i)
{
    return (uint32_t)((o->from + i * o->step) % o->n);
}

/* Takes tensors of the order as long as there is room; vectors are the small change that
 * comes after all matrices. */
static bool fill(const struct ww_contest_ask *ask, const struct order *o, bool matrices,
                 uint64_t *room, const uint32_t *tensor, bool *taken)
{
    bool any = false;

    for (uint32_t i = 0; i < o->n; i++) {
        const uint32_t t = place(o, i);
        const struct ww_tensor *of =
            tensor[t] == WW_NONE ? NULL : &ask->suspect->tensors[tensor[t]];
        if (of && (of->rank >= 2) == matrices && of->n_elements <= *room) {
            taken[t] = any = true;
            *room -= of->n_elements;
        }
    }
    return any;
}

static uint32_t smallest(const struct ww_contest_ask *ask, uint32_t n,
                         const uint32_t *tensor)
{
    uint32_t best = WW_NONE;
    uint64_t least = UINT64_MAX;

    for (uint32_t t = 0; t < n; t++) {
        const struct ww_tensor *of =
            tensor[t] == WW_NONE ? NULL : &ask->suspect->tensors[tensor[t]];
        if (of && of->rank >= 2 && of->n_elements < least) {
            least = of->n_elements;
            best = t;
        }
    }
    return best;
}

/* Leaves a sample of the tensors: matrices of all depths while there is room, or the
 * smallest one if none fits, and vectors in what is left. */
static enum ww_err take_sample(const struct ww_contest_ask *ask, uint64_t room,
                               const struct ww_merge_plan *plan, uint32_t *tensor,
                               struct ww_error *err)
{
    const struct order o = draw_order(ask->seed, plan->n_tensors);
    bool *taken = ww_calloc(plan->n_tensors + (size_t)1, sizeof(*taken));

    if (!taken) {
        return WW_FAIL_MEMORY(err, "a contest of recipes");
    }
    for (uint32_t t = 0; t < plan->n_tensors && ask->half; t++) {
        tensor[t] = tensor[t] != WW_NONE && ask->half[tensor[t]] ? tensor[t] : WW_NONE;
    }
    if (!fill(ask, &o, true, &room, tensor, taken)) {
        const uint32_t t = smallest(ask, plan->n_tensors, tensor);
        if (t != WW_NONE) {
            taken[t] = true;
        }
    }
    (void)fill(ask, &o, false, &room, tensor, taken);
    for (uint32_t t = 0; t < plan->n_tensors; t++) {
        tensor[t] = taken[t] ? tensor[t] : WW_NONE;
    }
    ww_free(taken);
    return WW_OK;
}

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

static enum ww_err open_trial(const struct ww_contesting *c, const char *text,
                              struct look look, struct trying *t, struct ww_error *err)
{
    const struct ww_contest_ask *ask = c->ask;
    static const enum ww_merge_ties ties[] = {WW_TIES_BY_INDEX, WW_TIES_KEPT,
                                              WW_TIES_DROPPED};
    uint32_t n_found = 0;
    enum ww_err rc =
        ww_recipe_view_open(&t->view, text, "inferred", ".", ask->seed, ask->run, err);

    if (!rc) {
        rc = ww_recipe_view_plan(&t->view, WW_NONE, NULL, &t->plan, err);
    }
    if (rc) {
        return rc;
    }
    t->tensor = ww_calloc(t->plan.n_tensors + (size_t)1, sizeof(*t->tensor));
    t->dtypes = ww_calloc(t->plan.n_tensors + (size_t)1, sizeof(*t->dtypes));
    if (!t->tensor || !t->dtypes) {
        return WW_FAIL_MEMORY(err, "a contest of recipes");
    }
    ww_match_align(ask->suspect, c->grids, &t->plan, t->tensor, t->dtypes, &n_found);
    rc = take_sample(ask, c->room, &t->plan, t->tensor, err);
    for (unsigned i = 0; i < (look.cuts ? 3 : 1) && !rc; i++) {
        rc = ww_predictor_new(&t->plan, WW_NONE, t->dtypes, ties[i], ask->run,
                              &t->predictors[i], err);
    }
    return rc || !look.peer ? rc : open_peer(ask, t, err);
}

static enum ww_err try_text(struct ww_contesting *c, const char *text, struct look look,
                            struct ww_trial *out, struct ww_error *err)
{
    struct trying t = {0};
    struct ww_match_job job = {.suspect = c->ask->suspect,
                               .plan = &t.plan,
                               .n_predictors = 1,
                               .arithmetics = true,
                               .phase = "method",
                               .run = c->ask->run};
    enum ww_err rc = open_trial(c, text, look, &t, err);

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
    enum ww_err rc = text ? try_text(c, text, look_at(c, sketch, cuts), &trial, &why)
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

/* Weights that give the bits are told beside the shares. Where they were rounded to the
 * dtype no more of them is known than that. */
static enum ww_err enter_sum(struct ww_contesting *c, const struct ww_sketch *s,
                             struct ww_error *err)
{
    const double before = c->out->match;
    const enum ww_err rc = ww_contest_enter(c, s, err);

    if (!rc && c->out->match > before) {
        c->out->summed = true;
        memcpy(c->out->weights, s->weights, c->ask->n * sizeof(*s->weights));
        for (size_t i = 0; i < c->ask->n; i++) {
            c->out->within[i] =
                c->narrow ? ldexp(0.5, ww_moments_step(s->weights[i], s->dtype)) : 0;
        }
    }
    return rc;
}

static enum ww_err try_weights(struct ww_contesting *c, struct ww_sketch *s,
                               struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    if (fabs(sum_of(c->ask) - 1) < WW_CONTEST_EVEN) {
        s->method = "linear";
        s->base = NULL;
        rc = enter_sum(c, s, err);
        s->base = c->sketch.base;
    }
    s->method = "task_arithmetic";
    return rc ? rc : enter_sum(c, s, err);
}

/* Sums with the weights that were found, then with shorter ones: a weight near 1 leaves
 * short task vectors as they are, so that its share is a little off, and by more than the
 * interval says. */
static enum ww_err try_sums(struct ww_contesting *c, struct ww_error *err)
{
    struct ww_sketch s = c->sketch;
    bool shorter = false;
    enum ww_err rc = WW_OK;

    s.weighted = true;
    memcpy(s.weights, c->ask->shares, c->ask->n * sizeof(*s.weights));
    rc = try_weights(c, &s, err);
    for (size_t i = 0; i < c->ask->n && !rc; i++) {
        s.weights[i] = ww_sketch_shortest(c->ask->shares[i], NEAR_ONE);
        shorter |= s.weights[i] != c->ask->shares[i];
    }
    return rc || !shorter || c->out->match >= ALL_BITS ? rc : try_weights(c, &s, err);
}

/* Without a base it is SLERP, whose bits it has to have to be listed. */
static enum ww_err try_nuslerp(struct ww_contesting *c, const struct ww_sketch *slerp,
                               struct ww_error *err)
{
    struct ww_sketch s = c->sketch;

    s.method = "nuslerp";
    s.base = NULL;
    s.weighted = true;
    s.weights[0] = 1 - slerp->value;
    s.weights[1] = slerp->value;
    return ww_contest_enter(c, &s, err);
}

/* Its number in as few decimals as may be, then as exactly as shares tell it. */
static enum ww_err try_slerp(struct ww_contesting *c, struct ww_sketch *s, double number,
                             struct ww_error *err)
{
    static const double reaches[] = {WW_CONTEST_REACH, EXACTLY};
    double last = NAN;
    enum ww_err rc = WW_OK;

    for (size_t i = 0; i < WW_LEN(reaches) && !rc; i++) {
        s->value = ww_sketch_shortest(number, reaches[i]);
        rc = s->value == last ? WW_OK : ww_contest_enter(c, s, err);
        last = s->value;
    }
    return rc;
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
        rc = try_slerp(c, &s, ww_arc_number(shares[0], shares[1]), err);
        if (!rc && c->matches[c->n_tried - 1] >= WW_CONTEST_AGREED) {
            rc = try_nuslerp(c, &s, err);
        }
    } else if (c->ask->n == 1 && shares[0] < 1) {
        rc = try_slerp(c, &s, shares[0], err);
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

static enum ww_err try_blends(struct ww_contesting *c, struct ww_error *err)
{
    enum ww_err rc = try_sums(c, err);

    if (!rc) {
        rc = try_paths(c, err);
    }
    if (!rc) {
        rc = try_means(c, err);
    }
    if (!rc && c->ask->lengths && !c->ask->slices && c->out->match < WW_CONTEST_AGREED) {
        rc = ww_contest_arcs(c, err);
    }
    if (!rc && c->ask->over && !c->ask->slices && c->out->match < WW_CONTEST_AGREED) {
        rc = ww_contest_gradients(c, err);
    }
    return rc;
}

/* That of the first matrix, as a norm's few values may lie on any grid. */
static enum ww_dtype output_dtype(const struct ww_model *suspect,
                                  const enum ww_dtype *grids)
{
    enum ww_dtype found = WW_DTYPE_F32;

    for (uint32_t t = suspect->n_tensors; t > 0; t--) {
        const struct ww_tensor *of = &suspect->tensors[t - 1];
        if (ww_dtype_is_plain_float(of->dtype) && of->rank >= 2) {
            found = grids[t - 1];
        }
    }
    return found;
}

static bool is_listed(const struct ww_contest *out, size_t n, const char *method)
{
    bool listed = strcmp(method, out->method) == 0;

    for (size_t i = 0; i < n && !listed; i++) {
        listed = strcmp(method, out->equals[i]) == 0;
    }
    return listed;
}

/* Where no recipe gives all bits, one that gives a few less may be the right one with
 * numbers that were not found; of numbers over the layers a thousandth may be theirs. */
static void list_equals(struct ww_contesting *c)
{
    const double all = c->out->gradient ? ALL_BITS : WW_CONTEST_AGREED;
    const double beside = c->out->match < all ? WW_CONTEST_NEAR : WW_CONTEST_AS_GOOD;
    size_t n = 0;

    for (size_t i = 0; i < c->n_tried && c->out->method && n < MOST_EQUALS; i++) {
        if (c->matches[i] >= c->out->match - beside &&
            !is_listed(c->out, n, c->tried[i])) {
            c->out->equals[n++] = c->tried[i];
        }
    }
}

enum ww_err ww_contest_run(const struct ww_contest_ask *ask, struct ww_contest *out,
                           uint64_t *bytes_read, struct ww_error *err)
{
    struct ww_contesting c = {
        .ask = ask, .out = out, .room = SAMPLE, .bytes_read = bytes_read};
    enum ww_err rc = ww_grids_of(ask->suspect, &c.grids, err);

    memset(out, 0, sizeof(*out));
    if (rc) {
        return rc;
    }
    c.sketch = (struct ww_sketch){.base = ask->base,
                                  .models = ask->sources,
                                  .n = ask->n,
                                  .dtype = output_dtype(ask->suspect, c.grids)};
    if (ask->as_they_are) {
        rc = ww_contest_stack(&c, err);
    } else {
        c.sketch.slices = ask->slices;
        c.sketch.n_slices = ask->n_slices;
        rc = try_blends(&c, err);
    }
    if (!rc && ask->core) {
        rc = ww_contest_selections(&c, err);
    }
    if (!rc && ask->core && !ask->slices && out->match < WW_CONTEST_AGREED) {
        rc = ww_contest_local(&c, err);
    }
    ww_free(c.grids);
    if (rc) {
        ww_free(out->recipe);
        memset(out, 0, sizeof(*out));
        return rc;
    }
    list_equals(&c);
    return WW_OK;
}
