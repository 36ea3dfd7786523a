/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A weighted sum solved for one of its terms. With W the sum of the weights w and D what
 * the recipe divides by,
 *
 *   linear:          m = (sum w_i x_i) / D
 *   task_arithmetic: m = b + lambda (sum w_i (x_i - b)) / D
 *
 * give x_a = (D m - sum of the other w_i x_i) / w_a, and with D / lambda instead of D and
 * (W - D / lambda) b more for the second. Only numbers are found here; what a merge
 * rounded away is for whoever uses them.
 */
#include "merge/sum.h"

#include <math.h>
#include <string.h>

#include "merge/build.h"
#include "util/alloc.h"
#include "util/fail.h"

#define NO_DIVISOR 1e-8 /* as task_arithmetic has it */

/* The sum of one tensor as weights of the plan's models; false: it is none. */
static bool solve(const struct ww_merge_tensor *t, double *weights, double *of_merged)
{
    const struct ww_method *method = t->method;
    const bool task = strcmp(method->name, "task_arithmetic") == 0;
    const uint32_t weight = ww_method_param(method, "weight");
    double sum = 0;

    if (!task && strcmp(method->name, "linear") != 0) {
        return false;
    }
    for (uint32_t s = 0; s < t->n_sources; s++) {
        if (t->sources[s].model == WW_NONE) {
            return false;
        }
        weights[t->sources[s].model] += t->sources[s].params[weight];
        sum += t->sources[s].params[weight];
    }
    *of_merged = t->params[ww_method_param(method, "normalize")] != 0 ? sum : 1;
    if (!task) {
        return *of_merged != 0;
    }
    if (fabs(*of_merged) < NO_DIVISOR) {
        *of_merged = 1;
    }
    *of_merged /= t->params[ww_method_param(method, "lambda")];
    if (t->base && t->base->model != WW_NONE) {
        weights[t->base->model] += *of_merged - sum;
    }
    return isfinite(*of_merged) && t->base && t->base->model != WW_NONE;
}

static enum ww_err unsupported(const char *merged, const struct ww_merge_tensor *t,
                               const char *why, struct ww_error *err)
{
    return WW_FAIL(
        err, WW_E_UNSUPPORTED,
        "tensor '%s' of '%s' %s: only linear and task_arithmetic with the same "
        "weights for all tensors can be solved for a source",
        t->name, merged, why);
}

/* Rows of a new vocabulary are made beforehand and may belong to no model. */
static bool is_made(const struct ww_merge_tensor *t)
{
    bool made = t->base && (t->base->model == WW_NONE || t->base->rows);

    for (uint32_t s = 0; s < t->n_sources; s++) {
        made = made || t->sources[s].model == WW_NONE || t->sources[s].rows;
    }
    return made;
}

enum ww_err ww_merge_sum_find(const struct ww_merge_plan *plan, const char *merged,
                              struct ww_merge_sum *out, struct ww_error *err)
{
    const struct ww_plan_impl *impl = plan->impl;
    const uint32_t n = plan->n_models;
    double *these = ww_calloc(n, sizeof(*these));
    bool first = true;
    enum ww_err rc = WW_OK;

    out->weights = ww_calloc(n, sizeof(*out->weights));
    if (!these || !out->weights) {
        rc = WW_FAIL_MEMORY(err, "the sources of a merge");
    }
    for (uint32_t m = 0; m < impl->n_adapters && !rc; m++) {
        if (impl->adapters[m].adapter) {
            rc = WW_FAIL(
                err, WW_E_UNSUPPORTED,
                "'%s' is of a model with an adapter, which does not come back out "
                "of a sum; merge the adapter into its base first",
                merged);
        }
    }
    for (uint32_t t = 0; t < plan->n_tensors && !rc; t++) {
        const struct ww_merge_tensor *tensor = &plan->tensors[t];
        double of_merged = 0;
        if (is_made(tensor) || tensor->is_limit) {
            continue;
        }
        memset(these, 0, n * sizeof(*these));
        if (!solve(tensor, these, &of_merged)) {
            rc = unsupported(merged, tensor, "is no sum of that kind", err);
        } else if (first) {
            memcpy(out->weights, these, n * sizeof(*these));
            out->of_merged = of_merged;
            first = false;
        } else if (out->of_merged != of_merged ||
                   memcmp(out->weights, these, n * sizeof(*these)) != 0) {
            rc = unsupported(merged, tensor, "has weights of its own", err);
        }
    }
    if (!rc && first) {
        rc = WW_FAIL(err, WW_E_UNSUPPORTED, "'%s' has no merged tensor", merged);
    }
    ww_free(these);
    return rc;
}

void ww_merge_sum_release(struct ww_merge_sum *sum)
{
    ww_free(sum->weights);
    sum->weights = NULL;
}

void ww_merge_inverse_release(struct ww_merge_inverse *inverse)
{
    ww_free((void *)(uintptr_t)inverse->others);
    ww_free(inverse->weights);
    ww_free(inverse->trees);
    memset(inverse, 0, sizeof(*inverse));
}

enum ww_err ww_merge_sum_solve(const struct ww_merge_sum *sum,
                               const struct ww_merge_sum_sources *from, size_t wanted,
                               struct ww_merge_inverse *out, struct ww_error *err)
{
    const double w = sum->weights[from->place[wanted]];

    if (!(fabs(w) > 0) || !isfinite(sum->of_merged / w)) {
        return WW_FAIL(err, WW_E_UNSUPPORTED,
                       "source '%s' has weight %g in '%s': nothing of it is in there",
                       from->folders[wanted], w, from->merged);
    }
    out->of_merged = sum->of_merged / w;
    out->others = ww_calloc(from->n, sizeof(*out->others));
    out->weights = ww_calloc(from->n, sizeof(*out->weights));
    out->trees = ww_calloc(from->n, sizeof(*out->trees));
    if (!out->others || !out->weights || !out->trees) {
        return WW_FAIL_MEMORY(err, "the sources of a merge");
    }
    for (size_t i = 0; i < from->n; i++) {
        const double other = sum->weights[from->place[i]];
        if (i == wanted || other == 0) {
            continue;
        }
        out->others[out->n] = from->folders[i];
        out->weights[out->n] = -other / w;
        memcpy(out->trees[out->n], from->trees[i], WW_SHA256_BYTES);
        out->n++;
    }
    return WW_OK;
}
