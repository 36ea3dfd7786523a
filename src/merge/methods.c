/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of methods. Names and defaults of parameters are those of mergekit 0.1.5, so
 * that its recipes are read unchanged; parameters that a method of the task arithmetic
 * family takes and does not use are in its row all the same. docs/merge-methods.md has
 * the formulas.
 */
#include <string.h>

#include "merge/kernel.h"
#include "util/fail.h"

#define ANY 1e30 /* a bound that keeps infinities and typing errors out */

#define WEIGHT {"weight", WW_PARAM_SOURCE, WW_PARAM_FLOAT, true, 0, -ANY, ANY}
#define FLAG(name, fallback) {name, WW_PARAM_TENSOR, WW_PARAM_BOOL, false, fallback, 0, 1}
#define FLOAT(name, fallback, min, max)                                                  \
    {name, WW_PARAM_TENSOR, WW_PARAM_FLOAT, false, fallback, min, max}
#define PER_SOURCE(name, fallback, min, max)                                             \
    {name, WW_PARAM_SOURCE, WW_PARAM_FLOAT, false, fallback, min, max}
#define DENSITY PER_SOURCE("density", 1, 0, 1)
/* What every method of the task arithmetic family takes. */
#define FAMILY(normalize, rescale)                                                       \
    WEIGHT, DENSITY, FLAG("normalize", normalize), FLAG("rescale", rescale),             \
        FLOAT("lambda", 1, -ANY, ANY), FLAG("int8_mask", 0)

static const struct ww_method_param linear[] = {WEIGHT, FLAG("normalize", 1)};
static const struct ww_method_param passthrough[] = {PER_SOURCE("scale", 1, -ANY, ANY)};
static const struct ww_method_param task[] = {FAMILY(0, 0)};

#define PARAMS(list) .params = (list), .n_params = WW_LEN(list)

static const struct ww_method table[] = {
    {
        .name = "linear",
        .summary = "weighted average",
        .evidence = "the baseline; hard to beat for siblings of one base",
        .paper = "arXiv 2203.05482",
        .base = WW_BASE_IGNORED,
        .min_sources = 1,
        .max_sources = 62,
        .order_free = true,
        .order_reason = "",
        PARAMS(linear),
        .ops = &ww_merge_linear,
    },
    {
        .name = "passthrough",
        .summary = "one model's tensor, scaled",
        .evidence = "for stacking layers of models",
        .paper = "",
        .base = WW_BASE_IGNORED,
        .min_sources = 1,
        .max_sources = 1,
        .order_free = true,
        .order_reason = "",
        PARAMS(passthrough),
        .ops = &ww_merge_passthrough,
    },
    {
        .name = "task_arithmetic",
        .summary = "the base and a weighted sum of differences from it",
        .evidence = "the only method that reliably gains on language models "
                    "(arXiv 2511.21437)",
        .paper = "arXiv 2212.04089",
        .base = WW_BASE_REQUIRED,
        .min_sources = 1,
        .max_sources = 62,
        .order_free = true,
        .order_reason = "",
        PARAMS(task),
        .ops = &ww_merge_task_arithmetic,
    },
};

const struct ww_method *ww_methods(size_t *n)
{
    *n = WW_LEN(table);
    return table;
}

const struct ww_method *ww_method_find(const char *name)
{
    for (size_t i = 0; i < WW_LEN(table); i++) {
        if (strcmp(table[i].name, name) == 0) {
            return &table[i];
        }
    }
    return NULL;
}

uint32_t ww_method_param(const struct ww_method *method, const char *name)
{
    for (size_t i = 0; i < method->n_params; i++) {
        if (strcmp(method->params[i].name, name) == 0) {
            return (uint32_t)i;
        }
    }
    return WW_NONE;
}
