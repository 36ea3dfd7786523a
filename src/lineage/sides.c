/* SPDX-License-Identifier: Apache-2.0 */
#include "lineage/sides.h"

#include <math.h>
#include <string.h>

#include "util/alloc.h"
#include "util/fail.h"

#define MOST 8       /* sources that were taken away */
#define NOTHING 0.02 /* of the rounding: what is left over then needs no explanation */
#define HELPS 0.002  /* of what is left over: a source that takes less is none */
#define INTERVALS 5  /* by so many a share is below the least one that counts */
#define STEADY 5     /* so many half intervals long, of one tensor, is a share of a sum */
#define AGREE 6      /* tensors at least */
#define MAYBE (-0.1) /* a share that is worth a look at the elements */

struct looking {
    const struct ww_sides_ask *ask;
    double tau2;  /* of the fit without shares below zero */
    double helps; /* part of what is left that a source has to take */
    int8_t *side;
};

static double left_by(const struct looking *l, const int8_t *side, struct ww_fit *fit)
{
    ww_fit(l->ask->whole, side, fit);
    return ww_fit_excess(l->ask->whole, fit->share, l->tau2);
}

struct left {
    double sum;
    double rounding;
    size_t tensors; /* that have fits of their own */
};

/* The same by fits of each tensor, so that shares that follow the depth leave nothing; of
 * all where tensors are too small. */
static struct left left_by_each(const struct looking *l, const int8_t *side)
{
    struct ww_fit fit;
    struct left left = {0};

    for (size_t t = 0; t < l->ask->n; t++) {
        if (!l->ask->fitted[t]) {
            continue;
        }
        ww_fit(l->ask->moments[t], side, &fit);
        if (fit.used >= WW_FIT_LEAST) {
            left.sum += ww_fit_excess(l->ask->moments[t], fit.share, l->tau2);
            left.rounding += ww_fit_rounding(l->ask->moments[t], l->tau2);
            left.tensors++;
        }
    }
    if (left.tensors == 0) {
        left.rounding = ww_fit_rounding(l->ask->whole, l->tau2);
        left.sum = left_by(l, side, &fit);
    }
    return left;
}

/* The candidate without a share that takes most of what is left when it may be below
 * zero; n_candidates when none does. */
static unsigned best_minus(const struct looking *l, double *left)
{
    const double least = *left * l->helps;
    double best = *left - least;
    unsigned which = l->ask->n_candidates;
    struct ww_fit fit;

    for (unsigned i = 0; i < l->ask->n_candidates; i++) {
        double now = 0;
        if (l->side[i] != WW_SIDE_PLUS) {
            continue;
        }
        l->side[i] = WW_SIDE_MINUS;
        now = left_by(l, l->side, &fit);
        if (fit.share[i] < -WW_LINEAGE_LEAST && now < best) {
            best = now;
            which = i;
        }
        l->side[i] = WW_SIDE_PLUS;
    }
    *left = which < l->ask->n_candidates ? best : *left;
    return which;
}

/* Does a source below zero take as much of what is left without it as it had to when it
 * was let in? left: with it. *without: what is left when it is not below zero. */
static bool is_needed(const struct looking *l, unsigned i, double left, double *without)
{
    struct ww_fit fit;

    (void)left_by(l, l->side, &fit);
    const double share = fit.share[i];
    l->side[i] = WW_SIDE_PLUS;
    *without = left_by(l, l->side, &fit);
    l->side[i] = WW_SIDE_MINUS;
    return -share > WW_LINEAGE_LEAST && left < *without * (1 - l->helps);
}

/* One after another, and those that others made needless out again. */
static bool turn(const struct looking *l, double left)
{
    unsigned n = 0;

    for (; n < MOST; n++) {
        const unsigned i = best_minus(l, &left);
        if (i == l->ask->n_candidates) {
            break;
        }
        l->side[i] = WW_SIDE_MINUS;
    }
    for (unsigned i = 0; i < l->ask->n_candidates && n > 1; i++) {
        double without = 0;
        if (l->side[i] == WW_SIDE_MINUS && !is_needed(l, i, left, &without)) {
            l->side[i] = WW_SIDE_PLUS;
            left = without;
            n--;
        }
    }
    return n > 0;
}

/* Those whose intervals are not far below zero go; any: some is left. steady, [n]: the
 * tensors, so many that have fits of their own, agree on it. */
static enum ww_err keep_far(const struct looking *l, size_t tensors, bool *any,
                            bool *steady, struct ww_error *err)
{
    const struct ww_moments **blocks = ww_calloc(l->ask->n, sizeof(*blocks));
    double low[WW_LINEAGE_MAX_SOURCES];
    double high[WW_LINEAGE_MAX_SOURCES];
    struct ww_fit fit;
    size_t n = 0;
    enum ww_err rc = blocks ? WW_OK : WW_FAIL_MEMORY(err, "a fit");

    for (size_t t = 0; t < l->ask->n && !rc; t++) {
        if (l->ask->fitted[t]) {
            blocks[n++] = l->ask->moments[t];
        }
    }
    if (!rc && n) {
        rc = ww_fit_bootstrap(
            &(struct ww_fit_blocks){blocks, n, l->ask->whole->k, l->side}, l->ask->seed,
            low, high, err);
    }
    ww_fit(l->ask->whole, l->side, &fit);
    *any = false;
    for (unsigned i = 0; i < l->ask->n_candidates && !rc && n; i++) {
        const double half = fmax(high[i] - fit.share[i], ww_fit_margin(&fit, i, 0));
        if (l->side[i] != WW_SIDE_MINUS) {
            continue;
        }
        if (fit.share[i] + INTERVALS * half < -WW_LINEAGE_LEAST) {
            *any = true;
            steady[i] = tensors >= AGREE &&
                        -fit.share[i] >= STEADY * sqrt((double)tensors) * half;
        } else {
            l->side[i] = WW_SIDE_PLUS;
        }
    }
    ww_free(blocks);
    return rc;
}

/* However much noise or training came after it, a sum has its share in every tensor;
 * another training of a source that was not given takes up another part of it in each. */
static bool keep_steady(const struct looking *l, const bool *steady)
{
    bool any = false;

    for (unsigned i = 0; i < l->ask->n_candidates; i++) {
        any |= steady[i];
    }
    for (unsigned i = 0; i < l->ask->n_candidates && any; i++) {
        if (l->side[i] == WW_SIDE_MINUS && !steady[i]) {
            l->side[i] = WW_SIDE_PLUS;
        }
    }
    return any;
}

/* Is so little left with these sides that they are believed, or by which tensors agree?
 */
static bool is_clear(const struct looking *l, double without, const bool *steady)
{
    return left_by_each(l, l->side).sum <= WW_SIDES_CLEAR * without ||
           (!l->ask->cells && keep_steady(l, steady));
}

/* Is some share so far below zero that elements may tell? */
static bool is_long(const struct looking *l)
{
    struct ww_fit fit;
    bool found = false;

    ww_fit(l->ask->whole, l->side, &fit);
    for (unsigned i = 0; i < l->ask->n_candidates; i++) {
        found |= fit.share[i] <= MAYBE;
    }
    return found;
}

enum ww_err ww_sides_find(const struct ww_sides_ask *ask, const int8_t *side,
                          struct ww_sides *out, struct ww_error *err)
{
    struct looking l = {.ask = ask, .side = out->side, .helps = ask->cells ? 0 : HELPS};
    struct ww_fit plain;
    struct left each = {0};
    double left = 0;
    bool shows = false;
    bool steady[WW_LINEAGE_MAX_SOURCES] = {false};
    enum ww_err rc = WW_OK;

    memset(out, 0, sizeof(*out));
    memcpy(out->side, side, ask->n_candidates * sizeof(*side));
    ww_fit(ask->whole, side, &plain);
    if (plain.used < WW_FIT_LEAST || (plain.tau2 <= 0 && !ask->cells)) {
        return WW_OK;
    }
    l.tau2 = plain.tau2;
    left = ww_fit_excess(ask->whole, plain.share, l.tau2);
    each = left_by_each(&l, side);
    shows = left > 0 && each.sum > NOTHING * each.rounding;
    if ((!shows && !ask->cells) || !turn(&l, left)) {
        return WW_OK;
    }
    rc = keep_far(&l, each.tensors, &out->any, steady, err);
    if (!rc && out->any) {
        out->clear = shows && is_clear(&l, each.sum, steady);
        out->any = out->clear || is_long(&l);
    }
    return rc;
}
