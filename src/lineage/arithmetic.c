/* SPDX-License-Identifier: Apache-2.0 */
/*
 * float here is IEEE single, one operation at a time (-ffp-contract=off). A narrow type
 * is computed in as the tensor libraries do it: each operation in float, then rounded; a
 * sum over models by one call is kept in float and rounded once. Scripts that add models
 * up one after another round each sum, and their weights are numbers of the language,
 * which are not rounded.
 */
#include "lineage/arithmetic.h"

#include <math.h>

#include "model/convert.h"

#define EVEN 0.001f /* thirds in three decimals are equal weights */

enum form { SUM, DELTA };

static const struct arithmetic {
    const char *name;
    const char *summary;
    enum form form;
    bool narrow_products; /* rounded to the output's dtype, operation by operation */
    bool narrow_weights;  /* the weights alone */
    bool fused;           /* product and sum rounded together */
    bool stepwise;        /* each sum is rounded; of differences, onto the base */
    bool after;           /* equal weights, of what was added up */
} arithmetics[WW_ARITHMETICS] = {
    {"double", "in double precision, rounded once", SUM, .narrow_products = false},
    {"float32_sum", "weighted sum of the models in float32, then rounded", SUM,
     .narrow_products = false},
    {"float32_fused", "the same with fused multiplication and addition", SUM,
     .fused = true},
    {"float32_delta", "base and weighted differences in float32, then rounded", DELTA,
     .narrow_products = false},
    {"float32_narrow_weights",
     "weighted sum in float32 by weights in the dtype of the output", SUM,
     .narrow_weights = true},
    {"narrow_sum", "weighted sum in the dtype of the output, product by product", SUM,
     .narrow_products = true, .narrow_weights = true},
    {"narrow_delta", "base and weighted differences in the dtype of the output", DELTA,
     .narrow_products = true, .narrow_weights = true},
    {"mergekit", "step by step as mergekit's tensor library rounds", SUM,
     .narrow_products = false},
    {"narrow_steps", "models one after another in the dtype of the output", SUM,
     .narrow_products = true, .stepwise = true},
    {"narrow_steps_delta", "differences one after another onto the base, in its dtype",
     DELTA, .narrow_products = true, .stepwise = true},
    {"narrow_steps_after", "sum of the models in the dtype of the output, then weighted",
     SUM, .narrow_products = true, .stepwise = true, .after = true},
    {"narrow_steps_delta_after",
     "sum of the differences in the dtype of the output, then weighted", DELTA,
     .narrow_products = true, .stepwise = true, .after = true},
};

const char *ww_arithmetic_name(unsigned i)
{
    return i < WW_ARITHMETICS ? arithmetics[i].name : NULL;
}

const char *ww_arithmetic_summary(unsigned i)
{
    return i < WW_ARITHMETICS ? arithmetics[i].summary : NULL;
}

bool ww_arithmetic_is_wide(unsigned i)
{
    return i > 0 && i != WW_ARITHMETIC_PEER && i < WW_ARITHMETICS &&
           !arithmetics[i].narrow_products && !arithmetics[i].narrow_weights;
}

bool ww_arithmetic_narrows_weights(unsigned i)
{
    return i < WW_ARITHMETICS && arithmetics[i].narrow_weights;
}

static double param(const struct ww_merge_tensor *t, const char *name, double fallback)
{
    const uint32_t p = ww_method_param(t->method, name);

    return p == WW_NONE ? fallback : t->params[p];
}

bool ww_weighing_of(const struct ww_merge_tensor *t, struct ww_weighing *out)
{
    const bool linear = ww_method_find("linear") == t->method;
    const bool delta = ww_method_find("task_arithmetic") == t->method;
    const uint32_t weight = ww_method_param(t->method, "weight");
    float sum = 0;

    *out = (struct ww_weighing){.n = t->n_sources, .divisor = 1, .dtype = t->dtype};
    if ((!linear && !delta) || (delta && !t->base) ||
        t->n_sources > sizeof(out->w) / sizeof(out->w[0])) {
        return false;
    }
    for (uint32_t s = 0; s < t->n_sources; s++) {
        out->w[s] = (float)t->sources[s].params[weight];
        sum += out->w[s];
    }
    out->has_base = delta;
    out->lambda = (float)param(t, "lambda", 1);
    if (param(t, "normalize", 0) != 0 && fabsf(sum) >= 1e-8f) {
        out->divisor = sum;
    }
    return true;
}

static bool is_even(const struct ww_weighing *w)
{
    for (uint32_t s = 1; s < w->n; s++) {
        if (fabsf(w->w[s] - w->w[0]) > EVEN) {
            return false;
        }
    }
    return true;
}

bool ww_arithmetic_fits(unsigned i, const struct ww_weighing *w)
{
    const struct arithmetic *a = &arithmetics[i];
    const bool narrow = a->narrow_products || a->narrow_weights;

    return i > 0 && i != WW_ARITHMETIC_PEER && (a->form == DELTA) <= w->has_base &&
           (!narrow || w->dtype == WW_DTYPE_BF16 || w->dtype == WW_DTYPE_F16) &&
           (!a->after || (is_even(w) && (a->form == DELTA || !w->has_base)));
}

static void narrow(enum ww_dtype dtype, float *v, size_t n)
{
    uint16_t stored[WW_ARITHMETIC_BLOCK];
    double wide[WW_ARITHMETIC_BLOCK];

    for (size_t e = 0; e < n; e++) {
        wide[e] = (double)v[e];
    }
    ww_from_double(dtype, wide, stored, n);
    ww_to_float(dtype, stored, v, n);
}

struct sum {
    float total[WW_ARITHMETIC_BLOCK];
    float term[WW_ARITHMETIC_BLOCK];
};

static float rounded(const struct arithmetic *a, enum ww_dtype dtype, float w)
{
    float v = w;

    if (a->narrow_weights) {
        narrow(dtype, &v, 1);
    }
    return v;
}

static void add(const struct arithmetic *a, const struct ww_weighing *w, struct sum *s,
                float weight, size_t n)
{
    const float by = rounded(a, w->dtype, weight);

    for (size_t e = 0; a->fused && e < n; e++) {
        s->total[e] = fmaf(s->term[e], by, s->total[e]);
    }
    if (a->fused) {
        return;
    }
    for (size_t e = 0; e < n; e++) {
        s->term[e] = s->term[e] * by;
    }
    if (a->narrow_products) {
        narrow(w->dtype, s->term, n);
    }
    for (size_t e = 0; e < n; e++) {
        s->total[e] += s->term[e];
    }
    if (a->stepwise) {
        narrow(w->dtype, s->total, n);
    }
}

/* What the base's own weight is when differences are written as a sum. */
static float weight_of_base(const struct ww_weighing *w)
{
    double sum = 0;

    for (uint32_t s = 0; s < w->n; s++) {
        sum += (double)w->w[s];
    }
    return (float)(1 - (double)w->lambda * sum / (double)w->divisor);
}

static void round_total(const struct arithmetic *a, const struct ww_weighing *w,
                        struct sum *s, size_t n)
{
    if (a->narrow_products) {
        narrow(w->dtype, s->total, n);
    }
}

/* A weight of 1 leaves a term as it is. What is divided at the end has its weights as
 * they are. */
static float weight_of(const struct arithmetic *a, const struct ww_weighing *w,
                       uint32_t i)
{
    const bool whole = a->stepwise || (w->has_base && a->form == SUM);

    return a->after ? 1 : whole ? w->w[i] * w->lambda / w->divisor : w->w[i];
}

static void sum_models(const struct arithmetic *a, const struct ww_weighing *w,
                       float *const *x, const float *base, size_t n, struct sum *s)
{
    const float rest = w->has_base ? weight_of_base(w) : 0;
    const float divisor = a->after ? w->divisor / w->w[0] : a->stepwise ? 1 : w->divisor;

    for (uint32_t i = 0; i < w->n; i++) {
        for (size_t e = 0; e < n; e++) {
            s->term[e] = x[i][e];
        }
        add(a, w, s, weight_of(a, w, i), n);
    }
    if (fabsf(rest) > 1e-6f) {
        for (size_t e = 0; e < n; e++) {
            s->term[e] = base[e];
        }
        add(a, w, s, rest, n);
    }
    round_total(a, w, s, n);
    for (size_t e = 0; !w->has_base && divisor != 1 && e < n; e++) {
        s->total[e] /= divisor;
    }
}

/* The differences' sum, divided, scaled, and put onto the base. */
static void put_on_base(const struct arithmetic *a, const struct ww_weighing *w,
                        const float *base, size_t n, struct sum *s)
{
    const float lambda = a->after ? w->w[0] * w->lambda / w->divisor : w->lambda;
    const float divisor = a->after ? 1 : w->divisor;

    for (unsigned step = 0; step < 3; step++) {
        round_total(a, w, s, n);
        for (size_t e = 0; e < n; e++) {
            s->total[e] = step == 0   ? s->total[e] / divisor
                          : step == 1 ? s->total[e] * lambda
                                      : base[e] + s->total[e];
        }
    }
}

static void sum_deltas(const struct arithmetic *a, const struct ww_weighing *w,
                       float *const *x, const float *base, size_t n, struct sum *s)
{
    const bool onto_base = a->stepwise && !a->after;

    for (size_t e = 0; onto_base && e < n; e++) {
        s->total[e] = base[e];
    }
    for (uint32_t i = 0; i < w->n; i++) {
        for (size_t e = 0; e < n; e++) {
            s->term[e] = x[i][e] - base[e];
        }
        if (a->narrow_products) {
            narrow(w->dtype, s->term, n);
        }
        add(a, w, s, weight_of(a, w, i), n);
    }
    if (!onto_base) {
        put_on_base(a, w, base, n, s);
    }
}

void ww_arithmetic_compute(unsigned i, const struct ww_weighing *w, float *const *x,
                           const float *base, size_t n, void *out)
{
    const struct arithmetic *a = &arithmetics[i];
    struct sum s;
    double wide[WW_ARITHMETIC_BLOCK];

    for (size_t e = 0; e < n; e++) {
        s.total[e] = 0;
    }
    if (a->form == DELTA) {
        sum_deltas(a, w, x, base, n, &s);
    } else {
        sum_models(a, w, x, base, n, &s);
    }
    for (size_t e = 0; e < n; e++) {
        wide[e] = (double)s.total[e];
    }
    ww_from_double(w->dtype, wide, out, n);
}
