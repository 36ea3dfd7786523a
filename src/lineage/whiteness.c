/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Of each matrix a corner: what shares leave over, weighed by rounding and noise so that
 * no element has most of it, and orthogonal to base and sources, whose own shares in this
 * matrix may be a little other ones. Sums over matrices then, one score for each
 * question, since what is little in each of them shows in all. Vectors of one length, as
 * gains of norms over the stream are, make one matrix more, a row each: what was learned
 * in them runs along in many.
 */
#include "lineage/whiteness.h"

#include <math.h>
#include <string.h>

#include "lineage/corner.h"
#include "lineage/moments.h"
#include "lineage/per_tensor.h"
#include "lineage/signflip.h"
#include "model/convert.h"
#include "model/f8.h"
#include "util/alloc.h"
#include "util/fail.h"

#define SIDE WW_SIGNFLIP_SIDE
#define ROOM ((size_t)SIDE * SIDE)
#define TAKEN (WW_WHITENESS_SOURCES + 1) /* and the base */
#define EVEN 0.25   /* of the mean square, that the smallest elements are weighed by */
#define LONG 2.0    /* in root mean squares: from here on elements are long ones */
#define BEYOND 2.0  /* standard deviations that what has to show lies above the limit */
#define ALONE 1.5   /* times that one matrix by itself has to show, of so many */
#define NOWHERE 1.0 /* share that hides where candidates lie in no directions */

/* What one matrix says of one source. */
struct of_source {
    double spectrum; /* ww_signflip_beside */
    double squares;  /* weighed, of its task vector */
    struct ww_signflip_sum rows;
    struct ww_signflip_sum columns;
    struct ww_signflip_sum leading;
    struct ww_signflip_sum longer;
    double
        twin; /* what leading would be if the source's own noise were all that is left */
};

/* What one matrix says. */
struct of_matrix {
    double difference; /* weighed squares, from the base */
    double noise;      /* the same of what is left beyond rounding */
    struct ww_signflip_sum spectrum;
    struct ww_signflip_sum rows; /* beside the base */
    struct ww_signflip_sum columns;
    struct of_source *sources; /* [n_candidates] */
};

/* Room of a thread; matrices are [rows][columns] of the corner. */
struct room {
    struct ww_signflip flip;
    double *base;
    double *weight;
    double *x;
    double *g;
    double *taken; /* [TAKEN] of them, orthonormal */
    double steps[SIDE];
    uint8_t bytes[SIDE * sizeof(double)];
};

struct measuring {
    const struct ww_whiteness_ask *ask;
    uint32_t stack[SIDE]; /* the vectors; as a matrix, the tensor behind the last */
    size_t n_stack;
    unsigned n_sources; /* of the family */
    struct room *rooms;
    struct of_matrix *found; /* per tensor */
};

/* The corner of one matrix, in a thread's room. */
struct corner {
    const struct measuring *w;
    struct room *r;
    uint32_t tensor;
    size_t m;
    size_t n;
};

static bool is_stack(const struct measuring *w, uint32_t tensor)
{
    return tensor == w->ask->family->n_tensors;
}

/* Whose weights a row has. */
static uint32_t tensor_of(const struct measuring *w, uint32_t tensor, size_t row)
{
    return is_stack(w, tensor) ? w->stack[row] : tensor;
}

static enum ww_err read_row(const struct corner *c, unsigned model, size_t row,
                            double *out, double *steps, struct ww_error *err)
{
    return ww_corner_row(c->w->ask->family, tensor_of(c->w, c->tensor, row), model,
                         is_stack(c->w, c->tensor) ? 0 : row, c->n, c->r->bytes, out,
                         steps, err);
}

static const double *shares_of(const struct measuring *w, uint32_t tensor)
{
    return w->ask->per_tensor ? w->ask->per_tensor + (size_t)tensor * w->n_sources
                              : w->ask->shares;
}

static bool takes_part(const struct measuring *w, unsigned source)
{
    const uint32_t n = w->ask->per_tensor ? w->ask->family->n_tensors : 1;
    bool found = false;

    for (uint32_t t = 0; t < n; t++) {
        found |= shares_of(w, t)[source] != 0;
    }
    return found;
}

/* Suspect less base into e, variances of rounding into weight; a pruned element's is
 * infinite. */
static enum ww_err read_difference(const struct corner *c, struct ww_error *err)
{
    const struct ww_family *family = c->w->ask->family;
    struct room *r = c->r;
    const size_t n = c->n;
    enum ww_err rc = WW_OK;

    for (size_t i = 0; i < c->m && !rc; i++) {
        const enum ww_dtype grid = family->tensors[tensor_of(c->w, c->tensor, i)].grid;
        double *e = r->flip.e + i * n;
        double *base = r->base + i * n;
        memset(r->steps, 0, sizeof(r->steps));
        rc = read_row(c, WW_FAMILY_SUSPECT, i, e, r->steps, err);
        rc = rc ? rc : read_row(c, WW_FAMILY_BASE, i, base, r->x, err);
        for (size_t j = 0; j < n && !rc; j++) {
            const double step =
                r->steps[j] > 0 ? r->steps[j] : ldexp(1, ww_moments_step(e[j], grid));
            const bool pruned =
                ww_moments_pruned(e[j], base[j], family->disguise.read != NULL);
            r->weight[i * n + j] = pruned ? HUGE_VAL : step * step / 12;
            e[j] -= base[j];
        }
    }
    return rc;
}

/* Task vector of a source into out. */
static enum ww_err read_source(const struct corner *c, unsigned source, double *out,
                               struct ww_error *err)
{
    const size_t n = c->n;
    enum ww_err rc = WW_OK;

    for (size_t i = 0; i < c->m && !rc; i++) {
        rc = read_row(c, WW_FAMILY_SOURCES + source, i, out + i * n, c->r->steps, err);
        for (size_t j = 0; j < n && !rc; j++) {
            out[i * n + j] -= c->r->base[i * n + j];
        }
    }
    return rc;
}

/* From variances to weights: noise beyond rounding is as long everywhere. Returns which
 * part of the squares is beyond. */
static double weigh(struct room *r, size_t n)
{
    double squares = 0;
    double rounding = 0;
    size_t finite = 0;

    for (size_t i = 0; i < n; i++) {
        if (r->weight[i] < WW_STEP_LOST) {
            squares += r->flip.e[i] * r->flip.e[i];
            rounding += r->weight[i];
            finite++;
        }
    }
    squares /= finite ? (double)finite : 1;
    rounding /= finite ? (double)finite : 1;
    const double noise = fmax(EVEN * squares, squares - rounding);
    for (size_t i = 0; i < n; i++) {
        const double variance = r->weight[i] + noise;
        r->weight[i] =
            r->weight[i] < WW_STEP_LOST && variance > 0 ? 1 / sqrt(variance) : 0;
    }
    return squares > rounding ? 1 - rounding / squares : 0;
}

static double times(double *x, const double *weight, size_t n)
{
    double squares = 0;

    for (size_t i = 0; i < n; i++) {
        x[i] *= weight[i];
        squares += x[i] * x[i];
    }
    return squares;
}

static double weighed(const double *x, const double *weight, size_t n)
{
    double squares = 0;

    for (size_t i = 0; i < n; i++) {
        squares += (x[i] * weight[i]) * (x[i] * weight[i]);
    }
    return squares;
}

static double product_of(const double *x, const double *y, size_t n)
{
    double sum = 0;

    for (size_t i = 0; i < n; i++) {
        sum += x[i] * y[i];
    }
    return sum;
}

/* x less its part along orthonormal rows. */
static void take_off(const double *taken, unsigned k, size_t n, double *x)
{
    for (unsigned t = 0; t < k; t++) {
        const double *by = taken + t * n;
        const double product = product_of(by, x, n);
        for (size_t i = 0; i < n; i++) {
            x[i] -= product * by[i];
        }
    }
}

/* e, what the blend leaves of the difference g, to what the rounded blend leaves. */
static void round_blend(const struct corner *c)
{
    const struct ww_family *family = c->w->ask->family;
    struct room *r = c->r;
    const size_t n = c->n;

    for (size_t i = 0; i < c->m; i++) {
        const enum ww_dtype grid = family->tensors[tensor_of(c->w, c->tensor, i)].grid;
        double *e = r->flip.e + i * n;
        const double *base = r->base + i * n;
        const double *g = r->g + i * n;
        for (size_t j = 0; j < n; j++) {
            r->x[j] = base[j] + (g[j] - e[j]);
        }
        ww_from_double(grid, r->x, r->bytes, n);
        ww_to_double(grid, r->bytes, r->x, n);
        for (size_t j = 0; j < n; j++) {
            e[j] = g[j] - (r->x[j] - base[j]);
        }
    }
}

/* e, to what lies outside of the cells of rounded values. What a quantiser leaves follows
 * rows and long elements, since its steps do, and hides what is shorter than they are. */
static void step_outside(struct room *r, size_t n)
{
    double *e = r->flip.e;

    for (size_t i = 0; i < n; i++) {
        const double half = sqrt(3 * r->weight[i]); /* weight: step^2 / 12 */
        e[i] = half < fabs(e[i]) ? copysign(fabs(e[i]) - half, e[i]) : 0;
    }
}

/* What shares leave over, weighed, into e; *k rows of taken are what it is orthogonal to.
 */
static enum ww_err leave_over(const struct corner *c, unsigned *k, struct ww_error *err)
{
    const struct measuring *w = c->w;
    struct room *r = c->r;
    const uint32_t tensor = c->tensor;
    const size_t all = c->m * c->n;
    double *e = r->flip.e;
    enum ww_err rc = read_difference(c, err);

    *k = 0;
    memcpy(r->g, e, all * sizeof(*e));
    for (unsigned i = 0; i < w->n_sources && !rc; i++) {
        double *x = r->taken + *k * all;
        if (is_stack(w, tensor) ? !takes_part(w, i) : shares_of(w, tensor)[i] == 0) {
            continue;
        }
        rc = read_source(c, i, x, err);
        for (size_t at = 0; at < all && !rc; at++) {
            e[at] -= shares_of(w, tensor_of(w, tensor, at / c->n))[i] * x[at];
        }
        ++*k;
    }
    if (rc) {
        return rc;
    }
    const bool rounded =
        w->ask->rounded || is_stack(w, tensor); /* gains move by few steps */
    if (w->ask->outside) {
        if (rounded) {
            round_blend(c);
        }
        step_outside(r, all);
    }
    const double beyond = weigh(r, all);
    w->found[tensor].noise = beyond * weighed(e, r->weight, all);
    if (rounded && !w->ask->outside) {
        round_blend(c);
    }
    w->found[tensor].difference = times(r->g, r->weight, all);
    (void)times(e, r->weight, all);
    for (unsigned i = 0; i < *k; i++) {
        (void)times(r->taken + i * all, r->weight, all);
    }
    memcpy(r->taken + *k * all, r->base, all * sizeof(*e));
    (void)times(r->taken + *k * all, r->weight, all);
    ww_corner_orthonormalise(r->taken, ++*k, all);
    take_off(r->taken, *k, all, e);
    return WW_OK;
}

/* g: the elements of x that are longer than most. */
static void keep_long(const double *x, double squares, size_t n, double *g)
{
    const double least = LONG * LONG * squares / (double)n;

    for (size_t i = 0; i < n; i++) {
        g[i] = x[i] * x[i] > least ? x[i] : 0;
    }
}

/* Let x be a source and noise of its own, and the noise all that is left: then shares are
 * those of x, short of the source's by the part of the noise in its squares, and what is
 * left has that part of the source's directions, g. product: <g, x>. */
static double twin_of(const struct measuring *w, uint32_t tensor, unsigned source,
                      double product)
{
    const double share = shares_of(w, tensor)[source];
    const struct of_matrix *all = &w->found[tensor];

    return share != 0 && all->sources[source].squares > 0
               ? product / all->sources[source].squares * all->noise / share
               : 0;
}

static enum ww_err ask_source(const struct corner *c, unsigned source, unsigned k,
                              struct ww_error *err)
{
    struct room *r = c->r;
    const size_t n = c->m * c->n;
    struct of_source *out = &c->w->found[c->tensor].sources[source];
    const enum ww_err rc = read_source(c, source, r->x, err);

    if (rc) {
        return rc;
    }
    out->squares = times(r->x, r->weight, n);
    ww_signflip_beside(&r->flip, r->x, &out->rows, &out->columns, &out->spectrum);
    ww_signflip_leading(&r->flip, r->x, r->g);
    out->twin = twin_of(c->w, c->tensor, source, product_of(r->g, r->x, n));
    take_off(r->taken, k, n, r->g);
    ww_signflip_along(&r->flip, r->g, &out->leading);
    keep_long(r->x, out->squares, n, r->g);
    take_off(r->taken, k, n, r->g);
    ww_signflip_along(&r->flip, r->g, &out->longer);
    return WW_OK;
}

static enum ww_err visit(void *payload, struct ww_per_tensor *crew, unsigned thread,
                         uint32_t tensor, struct ww_error *err)
{
    const struct measuring *w = payload;
    struct room *r = &w->rooms[thread];
    struct of_matrix *out = &w->found[tensor];
    struct corner c = {.w = w, .r = r, .tensor = tensor};
    double spectrum = 0;
    unsigned k = 0;
    enum ww_err rc = WW_OK;

    ww_corner_sides(w->ask->family, tensor_of(w, tensor, 0), SIDE, &c.m, &c.n);
    c.m = is_stack(w, tensor) ? w->n_stack : c.m;
    rc = leave_over(&c, &k, err);
    if (!rc) {
        ww_signflip_set(&r->flip, c.m, c.n);
        ww_signflip_spectrum(&r->flip, &out->spectrum);
        (void)times(r->base, r->weight, c.m * c.n);
        ww_signflip_beside(&r->flip, r->base, &out->rows, &out->columns, &spectrum);
    }
    /* Task vectors are read against the base, which was weighed. */
    for (size_t i = 0; i < c.m && !rc; i++) {
        rc = read_row(&c, WW_FAMILY_BASE, i, r->base + i * c.n, r->steps, err);
    }
    for (unsigned i = 0; i < w->ask->n_candidates && !is_stack(w, tensor) && !rc; i++) {
        rc = ask_source(&c, i, k, err);
    }
    return rc ? rc : ww_per_tensor_progress(crew, 0, err);
}

/* Vectors as long as the first one. */
static void choose_vectors(struct measuring *w)
{
    const struct ww_family *family = w->ask->family;

    for (uint32_t t = 0; t < family->n_tensors && w->n_stack < SIDE; t++) {
        const struct ww_family_tensor *of = &family->tensors[t];
        if (ww_corner_is_vector(family, t) && (!w->ask->use || w->ask->use[t]) &&
            (w->n_stack == 0 ||
             of->n_elements == family->tensors[w->stack[0]].n_elements)) {
            w->stack[w->n_stack++] = t;
        }
    }
}

/* Some matrices over the whole depth, and those outside of layers: how many. */
static uint32_t choose(const struct measuring *w, uint64_t *sizes)
{
    const struct ww_family *family = w->ask->family;
    uint32_t all = 0;
    uint32_t at = 0;
    uint32_t taken = 0;

    for (uint32_t turn = 0; turn < 2; turn++) {
        for (uint32_t t = 0; t < family->n_tensors; t++) {
            if (!ww_corner_has(family, t) || (w->ask->use && !w->ask->use[t])) {
                continue;
            }
            const bool outside = family->tensors[t].layer == WW_NONE;
            if (turn == 0) {
                all += !outside;
            } else if (outside ||
                       at++ % ((all + WW_WHITENESS_MOST - 1) / WW_WHITENESS_MOST) == 0) {
                sizes[t] = 1;
                taken++;
            }
        }
    }
    return taken;
}

static void add_source(struct of_source *into, const struct of_source *more)
{
    into->twin += more->twin;
    into->spectrum += more->spectrum;
    into->squares += more->squares;
    ww_signflip_add(&into->rows, &more->rows);
    ww_signflip_add(&into->columns, &more->columns);
    ww_signflip_add(&into->leading, &more->leading);
    ww_signflip_add(&into->longer, &more->longer);
}

static double score_of(const struct of_source *s)
{
    const double beside =
        fmax(ww_signflip_score(&s->rows), ww_signflip_score(&s->columns));
    const double along =
        fmax(fabs(ww_signflip_score(&s->leading)), fabs(ww_signflip_score(&s->longer)));

    return fmax(beside, along);
}

static double score_of_stack(const struct measuring *w)
{
    const struct of_matrix *s = &w->found[w->ask->family->n_tensors];
    const double beside =
        fmax(ww_signflip_score(&s->rows), ww_signflip_score(&s->columns));

    return fmax(beside, ww_signflip_score(&s->spectrum));
}

/* Sums over matrices in their order. */
static void conclude(const struct measuring *w, const uint64_t *sizes,
                     struct ww_whiteness *out)
{
    struct of_matrix all = {0};
    double width = 0; /* of the widest candidate: squares over the root of its spectrum */
    double least = HUGE_VAL; /* the smallest spectrum */
    double alone = 0;
    double twins = HUGE_VAL;

    for (uint32_t t = 0; t < w->ask->family->n_tensors; t++) {
        if (sizes[t]) {
            all.difference += w->found[t].difference;
            ww_signflip_add(&all.spectrum, &w->found[t].spectrum);
            ww_signflip_add(&all.rows, &w->found[t].rows);
            ww_signflip_add(&all.columns, &w->found[t].columns);
            alone = fmax(alone, ww_signflip_score(&w->found[t].spectrum));
        }
    }
    out->score = fmax(ww_signflip_score(&all.rows), ww_signflip_score(&all.columns));
    out->score = fmax(out->score, ww_signflip_score(&all.spectrum));
    out->score = fmax(out->score, alone / ALONE);
    out->score = fmax(out->score, score_of_stack(w));
    for (unsigned i = 0; i < w->ask->n_candidates; i++) {
        struct of_source sum = {0};
        for (uint32_t t = 0; t < w->ask->family->n_tensors; t++) {
            if (sizes[t]) {
                add_source(&sum, &w->found[t].sources[i]);
            }
        }
        if (sum.squares > 0) { /* it differs from the base */
            out->score = fmax(out->score, score_of(&sum));
            twins = takes_part(w, i)
                        ? fmin(twins, fabs(sum.twin) / sqrt(sum.leading.variance))
                        : twins;
            least = fmin(least, fmax(sum.spectrum, 0));
            width = fmax(width, sum.spectrum > 0 ? sum.squares / sqrt(sum.spectrum)
                                                 : sum.squares);
        }
    }
    out->twins = twins < HUGE_VAL ? twins : 0;
    const double deviation = sqrt(all.spectrum.variance);
    const double excess = fmax(all.spectrum.excess, 0);
    const double most =
        excess + (excess < WW_LINEAGE_NO_NOISE * deviation ? BEYOND * deviation : 0);
    out->structured =
        all.difference > 0 ? fmin(1, width * sqrt(most) / all.difference) : 0;
    out->hides = least > 0 && least < HUGE_VAL
                     ? sqrt(sqrt((WW_LINEAGE_NO_NOISE + BEYOND) * deviation / least))
                     : NOWHERE;
}

static enum ww_err make_room(struct room *r, struct ww_error *err)
{
    const enum ww_err rc = ww_signflip_init(&r->flip, err);

    r->base = ww_calloc(ROOM, sizeof(double));
    r->weight = ww_calloc(ROOM, sizeof(double));
    r->x = ww_calloc(ROOM, sizeof(double));
    r->g = ww_calloc(ROOM, sizeof(double));
    r->taken = ww_calloc(TAKEN * ROOM, sizeof(double));
    return rc ? rc
           : r->base && r->weight && r->x && r->g && r->taken
               ? WW_OK
               : WW_FAIL_MEMORY(err, "a test for noise");
}

static void release_room(struct room *r)
{
    ww_signflip_release(&r->flip);
    ww_free(r->base);
    ww_free(r->weight);
    ww_free(r->x);
    ww_free(r->g);
    ww_free(r->taken);
}

static bool can_tell(const struct measuring *w)
{
    unsigned most = 0;

    for (uint32_t t = 0; t < (w->ask->per_tensor ? w->ask->family->n_tensors : 1); t++) {
        unsigned taken = 0;
        for (unsigned i = 0; i < w->n_sources; i++) {
            taken += shares_of(w, t)[i] != 0;
        }
        most = taken > most ? taken : most;
    }
    return most <= WW_WHITENESS_SOURCES;
}

static enum ww_err prepare(struct measuring *w, unsigned n_threads, const uint64_t *sizes,
                           struct ww_error *err)
{
    const uint32_t n = w->ask->family->n_tensors;
    enum ww_err rc = WW_OK;

    w->rooms = ww_calloc(n_threads, sizeof(*w->rooms));
    w->found = ww_calloc(n + (size_t)1, sizeof(*w->found));
    if (!w->rooms || !w->found) {
        return WW_FAIL_MEMORY(err, "a test for noise");
    }
    for (unsigned i = 0; i < n_threads && !rc; i++) {
        rc = make_room(&w->rooms[i], err);
    }
    for (uint32_t t = 0; t < n && !rc; t++) {
        if (sizes[t]) {
            w->found[t].sources =
                ww_calloc(w->ask->n_candidates, sizeof(struct of_source));
            rc = w->found[t].sources ? WW_OK : WW_FAIL_MEMORY(err, "a test for noise");
        }
    }
    return rc;
}

enum ww_err ww_whiteness_measure(const struct ww_whiteness_ask *ask,
                                 struct ww_whiteness *out, struct ww_error *err)
{
    const unsigned n_threads = ww_per_tensor_threads(ask->run);
    struct measuring w = {.ask = ask,
                          .n_sources = ask->family->n_models - WW_FAMILY_SOURCES};
    uint64_t *sizes = ww_calloc(ask->family->n_tensors + (size_t)1, sizeof(*sizes));
    uint64_t read = 0;
    const struct ww_per_tensor_job job = {.phase = "noise",
                                          .run = ask->run,
                                          .sizes = sizes,
                                          .n = ask->family->n_tensors + 1,
                                          .total_bytes = 1,
                                          .visit = visit,
                                          .payload = &w};
    enum ww_err rc = sizes ? WW_OK : WW_FAIL_MEMORY(err, "a test for noise");

    memset(out, 0, sizeof(*out));
    if (!rc && choose(&w, sizes) >= WW_WHITENESS_FEWEST && can_tell(&w)) {
        out->told = true;
        choose_vectors(&w);
        sizes[ask->family->n_tensors] = w.n_stack >= WW_WHITENESS_FEWEST;
        rc = prepare(&w, n_threads, sizes, err);
        rc = rc ? rc : ww_per_tensor_run(&job, &read, err);
        if (!rc) {
            conclude(&w, sizes, out);
        }
    }
    for (unsigned i = 0; w.rooms && i < n_threads; i++) {
        release_room(&w.rooms[i]);
    }
    for (uint32_t t = 0; w.found && t < ask->family->n_tensors; t++) {
        ww_free(w.found[t].sources);
    }
    ww_free(w.rooms);
    ww_free(w.found);
    ww_free(sizes);
    return rc;
}
