/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Asking, telling, stopping and beginning again. Normal numbers come from Philox by Box
 * and Muller with functions of our own.
 */
#include "evo/cma.h"

#include <math.h>
#include <string.h>

#include "evo/cma_int.h"
#include "la/fixmath.h"
#include "la/philox.h"
#include "util/alloc.h"
#include "util/fail.h"

#define TWO_PI 0x1.921fb54442d18p+2
/* Words of a counter that are not a candidate's. */
#define START_INDEX 0xffffffffU
#define MAX_LAMBDA 65536u

/* Two uniform numbers in (0, 1] for a pair of variables. */
static void uniform_pair(const struct ww_cma *cma, uint32_t index, uint32_t pair,
                         double out[2])
{
    const uint32_t key[2] = {(uint32_t)cma->seed, (uint32_t)(cma->seed >> 32)};
    const uint32_t counter[4] = {pair, index, (uint32_t)cma->generation, cma->restart};
    uint32_t w[4];
    ww_philox(key, counter, w);
    for (int i = 0; i < 2; i++) {
        uint64_t bits = ((uint64_t)w[2 * i] << 32 | w[2 * i + 1]) >> 11;
        out[i] = (double)(bits + 1) * 0x1p-53;
    }
}

static void normal(const struct ww_cma *cma, uint32_t index, double *z)
{
    for (uint32_t i = 0; i < cma->n; i += 2) {
        double u[2];
        uniform_pair(cma, index, i / 2, u);
        double radius = sqrt(-2 * ww_fix_log(u[0]));
        z[i] = radius * ww_fix_cos(TWO_PI * u[1]);
        if (i + 1 < cma->n) {
            z[i + 1] = radius * ww_fix_sin(TWO_PI * u[1]);
        }
    }
}

/* x folded into [low, high], as by mirrors at both ends. */
static double reflect(double x, double low, double high)
{
    double width = high - low;
    if (!(width > 0)) {
        return low;
    }
    double t = (x - low) / (2 * width);
    t = (t - floor(t)) * 2 * width;
    double v = low + (t > width ? 2 * width - t : t);
    return v < low ? low : v > high ? high : v;
}

static void into_box(const struct ww_cma *cma, const double *from, double *x)
{
    for (uint32_t i = 0; i < cma->n; i++) {
        bool inside = !cma->low || (from[i] >= cma->low[i] && from[i] <= cma->high[i]);
        x[i] = inside ? from[i] : reflect(from[i], cma->low[i], cma->high[i]);
    }
}

/* y = B D z */
static void step_of(const struct ww_cma *cma, const double *z, double *y)
{
    const uint32_t n = cma->n;
    for (uint32_t i = 0; i < n; i++) {
        if (cma->diagonal) {
            y[i] = cma->d[i] * z[i];
            continue;
        }
        y[i] = 0;
        for (uint32_t j = 0; j < n; j++) {
            y[i] += cma->b[i * n + j] * (cma->d[j] * z[j]);
        }
    }
}

const double *ww_cma_ask(struct ww_cma *cma)
{
    const uint32_t n = cma->n;
    double *z = cma->work;
    double *raw = cma->work + n;

    if (cma->asked || cma->stopped) {
        return cma->x;
    }
    for (uint32_t k = 0; k < cma->rates.lambda; k++) {
        double *y = cma->y + (size_t)k * n;
        normal(cma, k, z);
        step_of(cma, z, y);
        for (uint32_t i = 0; i < n; i++) {
            raw[i] = cma->mean[i] + cma->sigma * y[i];
        }
        into_box(cma, raw, cma->x + (size_t)k * n);
    }
    cma->asked = true;
    return cma->x;
}

/* Is value a better than b, for candidates i before j? */
static bool better(double a, uint32_t i, double b, uint32_t j)
{
    if (isnan(a) != isnan(b)) {
        return isnan(b);
    }
    return a < b || (!(a > b) && i < j);
}

static void rank(struct ww_cma *cma, const double *values)
{
    for (uint32_t k = 0; k < cma->rates.lambda; k++) { /* insertion: lambda is small */
        uint32_t at = k;
        while (at > 0 &&
               better(values[k], k, values[cma->order[at - 1]], cma->order[at - 1])) {
            cma->order[at] = cma->order[at - 1];
            at--;
        }
        cma->order[at] = k;
    }
    const uint32_t first = cma->order[0];
    if (!isnan(values[first]) && (!cma->has_best || values[first] < cma->best_value)) {
        cma->has_best = true;
        cma->best_value = values[first];
        memcpy(cma->best, cma->x + (size_t)first * cma->n, cma->n * sizeof(*cma->best));
    }
    cma->history[cma->generation % cma->n_history] = values[first];
}

/* The best values of a window of generations lie in one point. */
static bool flat(const struct ww_cma *cma, const double *values)
{
    if (cma->generation < cma->n_history) {
        return false;
    }
    double low = cma->history[0];
    double high = low;
    for (uint32_t i = 1; i < cma->n_history; i++) {
        low = cma->history[i] < low ? cma->history[i] : low;
        high = cma->history[i] > high ? cma->history[i] : high;
    }
    for (uint32_t k = 0; k < cma->rates.lambda; k++) {
        high = values[k] > high ? values[k] : high;
    }
    return high - low <= 1e-12 * (1 + (low < 0 ? -low : low) * 1e-3);
}

static bool tiny(const struct ww_cma *cma)
{
    double largest = 0;
    for (uint32_t i = 0; i < cma->n; i++) {
        double v = cma->c[cma->diagonal ? i : (size_t)i * cma->n + i];
        largest = v > largest ? v : largest;
    }
    return cma->sigma * sqrt(largest) < 1e-12 * cma->sigma_start;
}

static enum ww_err room(struct ww_cma *cma, uint32_t lambda, struct ww_error *err)
{
    const size_t cells = (size_t)lambda * cma->n;
    ww_free(cma->y);
    ww_free(cma->x);
    ww_free(cma->order);
    ww_free(cma->history);
    cma->n_history = 10 + (30 * cma->n + lambda - 1) / lambda;
    cma->y = ww_calloc(cells, sizeof(*cma->y));
    cma->x = ww_calloc(cells, sizeof(*cma->x));
    cma->order = ww_calloc(lambda, sizeof(*cma->order));
    cma->history = ww_calloc(cma->n_history, sizeof(*cma->history));
    if (!cma->y || !cma->x || !cma->order || !cma->history) {
        return WW_FAIL_MEMORY(err, "a search");
    }
    return ww_cma_rates_make(&cma->rates, cma->n, lambda, cma->diagonal, err);
}

/* Begin run number cma->restart. */
static enum ww_err begin(struct ww_cma *cma, uint32_t lambda, struct ww_error *err)
{
    const uint32_t n = cma->n;
    enum ww_err rc = room(cma, lambda, err);
    if (rc) {
        return rc;
    }
    cma->generation = 0;
    cma->eigen_generation = 0;
    cma->sigma = cma->sigma_start;
    memcpy(cma->mean, cma->start, n * sizeof(*cma->mean));
    for (uint32_t i = 0; cma->low && cma->restart && i < n; i++) {
        double u[2];
        uniform_pair(cma, START_INDEX, i, u);
        cma->mean[i] = cma->low[i] + u[0] * (cma->high[i] - cma->low[i]);
    }
    memset(cma->p_sigma, 0, n * sizeof(*cma->p_sigma));
    memset(cma->p_c, 0, n * sizeof(*cma->p_c));
    const size_t cells = cma->diagonal ? n : (size_t)n * n;
    for (size_t i = 0; i < cells; i++) {
        cma->c[i] = cma->diagonal || i % (n + 1) == 0 ? 1 : 0;
    }
    memcpy(cma->b, cma->c, (cma->diagonal ? 0 : cells) * sizeof(*cma->b));
    for (uint32_t i = 0; i < n; i++) {
        cma->d[i] = 1;
    }
    return WW_OK;
}

static const char *reason(struct ww_cma *cma, const double *values)
{
    if (isnan(values[cma->order[0]])) {
        return "no candidate of a generation could be evaluated";
    }
    if (flat(cma, values)) {
        return "values no longer differ";
    }
    if (tiny(cma)) {
        return "steps no longer move the variables";
    }
    if (!isfinite(cma->sigma) || cma->sigma > 1e20 * cma->sigma_start) {
        return "steps grow without bound";
    }
    /* Decomposing costs more than a generation when there are many variables. */
    double every = 1 / (10 * (double)cma->n * (cma->rates.c_1 + cma->rates.c_mu));
    if ((double)(cma->generation - cma->eigen_generation) >= every) {
        cma->eigen_generation = cma->generation;
        return ww_cma_decompose(cma) ? NULL : "the covariance has no inverse";
    }
    return NULL;
}

void ww_cma_tell(struct ww_cma *cma, const double *values)
{
    struct ww_error ignored = {0};

    if (!cma->asked || cma->stopped) {
        return;
    }
    cma->asked = false;
    rank(cma, values);
    ww_cma_update(cma);
    cma->generation++;
    cma->stopped = reason(cma, values);
    uint32_t lambda = cma->rates.lambda;
    if (cma->stopped && cma->restart < cma->restarts && lambda <= MAX_LAMBDA / 2) {
        cma->restart++;
        cma->stopped = begin(cma, 2 * lambda, &ignored) ? "out of memory" : NULL;
    }
}

static enum ww_err check(const struct ww_cma_options *o, struct ww_error *err)
{
    if (o->n == 0 || o->n > WW_CMA_MAX_VARIABLES ||
        (o->form == WW_CMA_COVARIANCE && o->n > WW_CMA_MAX_FULL)) {
        return WW_FAIL(
            err, WW_E_LIMIT,
            "a search takes 1 to %d variables, %d with a full covariance; found %u",
            WW_CMA_MAX_VARIABLES, WW_CMA_MAX_FULL, o->n);
    }
    if (!(o->sigma > 0) || !isfinite(o->sigma) || (o->lambda && o->lambda < 4) ||
        o->lambda > MAX_LAMBDA || !o->low != !o->high) {
        return WW_FAIL(err, WW_E_USAGE,
                       "a search needs a first step above 0 and a population of 4 to %u",
                       MAX_LAMBDA);
    }
    for (uint32_t i = 0; i < o->n; i++) {
        if (!isfinite(o->start[i]) ||
            (o->low && !(isfinite(o->low[i]) && isfinite(o->high[i]) &&
                         o->low[i] <= o->start[i] && o->start[i] <= o->high[i]))) {
            return WW_FAIL(err, WW_E_USAGE,
                           "variable %u of a search starts outside of its bounds", i);
        }
    }
    return WW_OK;
}

static uint32_t default_lambda(uint32_t n)
{
    uint32_t lambda = 4 + (uint32_t)(3 * ww_fix_log((double)n));
    return lambda < 8 ? 8 : lambda;
}

static double *copied(const double *from, uint32_t n)
{
    double *to = ww_calloc(n, sizeof(*to));
    if (to && from) {
        memcpy(to, from, n * sizeof(*to));
    }
    return to;
}

enum ww_err ww_cma_new(const struct ww_cma_options *o, struct ww_cma **out,
                       struct ww_error *err)
{
    enum ww_err rc = check(o, err);
    if (rc) {
        return rc;
    }
    struct ww_cma *cma = ww_calloc(1, sizeof(*cma));
    if (!cma) {
        return WW_FAIL_MEMORY(err, "a search");
    }
    const uint32_t n = o->n;
    cma->n = n;
    cma->diagonal =
        o->form == WW_CMA_DIAGONAL || (o->form == WW_CMA_AUTO && n > WW_CMA_FULL);
    cma->sigma_start = o->sigma;
    cma->seed = o->seed;
    cma->restarts = o->restarts;
    const size_t cells = cma->diagonal ? n : (size_t)n * n;
    cma->start = copied(o->start, n);
    cma->low = o->low ? copied(o->low, n) : NULL;
    cma->high = o->high ? copied(o->high, n) : NULL;
    cma->mean = copied(NULL, n);
    cma->p_sigma = copied(NULL, n);
    cma->p_c = copied(NULL, n);
    cma->d = copied(NULL, n);
    cma->best = copied(NULL, n);
    cma->c = ww_calloc(cells, sizeof(*cma->c));
    cma->b = ww_calloc(cma->diagonal ? 0 : cells, sizeof(*cma->b));
    cma->work =
        ww_calloc(2 * (size_t)n + (cma->diagonal ? 0 : cells), sizeof(*cma->work));
    if (!cma->start || (o->low && (!cma->low || !cma->high)) || !cma->mean ||
        !cma->p_sigma || !cma->p_c || !cma->d || !cma->best || !cma->c || !cma->b ||
        !cma->work) {
        rc = WW_FAIL_MEMORY(err, "a search");
        goto out;
    }
    rc = begin(cma, o->lambda ? o->lambda : default_lambda(n), err);

out:
    if (rc) {
        ww_cma_free(cma);
        return rc;
    }
    *out = cma;
    return WW_OK;
}

void ww_cma_free(struct ww_cma *cma)
{
    if (!cma) {
        return;
    }
    double *owned[] = {
        cma->start, cma->low,  cma->high, cma->mean,    cma->p_sigma,
        cma->p_c,   cma->c,    cma->b,    cma->d,       cma->y,
        cma->x,     cma->work, cma->best, cma->history, cma->rates.weights};
    for (size_t i = 0; i < sizeof(owned) / sizeof(owned[0]); i++) {
        ww_free(owned[i]);
    }
    ww_free(cma->order);
    ww_free(cma);
}

uint32_t ww_cma_lambda(const struct ww_cma *cma)
{
    return cma->rates.lambda;
}

const char *ww_cma_stopped(const struct ww_cma *cma)
{
    return cma->stopped;
}

const double *ww_cma_best(const struct ww_cma *cma, double *value)
{
    if (!cma->has_best) {
        return NULL;
    }
    *value = cma->best_value;
    return cma->best;
}

void ww_cma_mean(const struct ww_cma *cma, double *x)
{
    into_box(cma, cma->mean, x);
}

uint32_t ww_cma_restart(const struct ww_cma *cma)
{
    return cma->restart;
}
