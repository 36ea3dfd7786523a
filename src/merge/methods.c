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
static const struct ww_method_param ties[] = {FAMILY(1, 0)};
static const struct ww_method_param dare[] = {FAMILY(0, 1)};
static const struct ww_method_param breadcrumbs[] = {FAMILY(0, 0),
                                                     PER_SOURCE("gamma", 0.01, 0, 1)};
static const struct ww_method_param della[] = {FAMILY(1, 1),
                                               PER_SOURCE("epsilon", 0.15, 0, 1)};
static const struct ww_method_param della_linear[] = {FAMILY(0, 1),
                                                      PER_SOURCE("epsilon", 0.15, 0, 1)};
static const struct ww_method_param slerp[] = {
    {"t", WW_PARAM_TENSOR, WW_PARAM_FLOAT, true, 0, -100, 100}};
static const struct ww_method_param nuslerp[] = {WEIGHT, FLAG("nuslerp_flatten", 1),
                                                 FLAG("nuslerp_row_wise", 0)};
static const struct ww_method_param multislerp[] = {WEIGHT, FLAG("normalize_weights", 1),
                                                    FLOAT("eps", 1e-8, 0, 1)};
static const struct ww_method_param karcher[] = {
    {"max_iter", WW_PARAM_TENSOR, WW_PARAM_INT, false, 10, 0, 10000},
    FLOAT("tol", 1e-5, 0, 1)};
static const struct ww_method_param model_stock[] = {FLAG("filter_wise", 0)};
static const struct ww_method_param median[] = {
    {"max_iter", WW_PARAM_TENSOR, WW_PARAM_INT, false, 100, 0, 10000},
    FLOAT("eps", 1e-12, 1e-300, 1)};

#define PARAMS(list) .params = (list), .n_params = WW_LEN(list)

static const struct ww_method table[] = {
    {
        .name = "breadcrumbs",
        .summary = "differences without the largest and the smallest, summed",
        .evidence = "on language models plain task arithmetic is the safer "
                    "choice (arXiv 2511.21437)",
        .paper = "arXiv 2312.06795",
        .base = WW_BASE_REQUIRED,
        .min_sources = 1,
        .max_sources = 62,
        .order_free = true,
        .order_reason = "",
        PARAMS(breadcrumbs),
        .ops = &ww_merge_breadcrumbs,
    },
    {
        .name = "breadcrumbs_ties",
        .summary = "differences without the largest and the smallest, with elected signs",
        .evidence = "on language models plain task arithmetic is the safer "
                    "choice (arXiv 2511.21437)",
        .paper = "arXiv 2312.06795",
        .base = WW_BASE_REQUIRED,
        .min_sources = 1,
        .max_sources = 62,
        .order_free = true,
        .order_reason = "",
        PARAMS(breadcrumbs),
        .ops = &ww_merge_breadcrumbs_ties,
    },
    {
        .name = "dare_linear",
        .summary = "randomly dropped and rescaled differences, summed",
        .evidence = "harmless at high drop rates where differences are small "
                    "(arXiv 2311.03099)",
        .paper = "arXiv 2311.03099",
        .base = WW_BASE_REQUIRED,
        .min_sources = 1,
        .max_sources = 62,
        .order_free = true,
        .order_reason = "",
        PARAMS(dare),
        .ops = &ww_merge_dare_linear,
    },
    {
        .name = "dare_ties",
        .summary = "randomly dropped and rescaled differences, with elected signs",
        .evidence = "won the NeurIPS 2024 contest on merging language models",
        .paper = "arXiv 2311.03099",
        .base = WW_BASE_REQUIRED,
        .min_sources = 1,
        .max_sources = 62,
        .order_free = true,
        .order_reason = "",
        PARAMS(dare),
        .ops = &ww_merge_dare_ties,
    },
    {
        .name = "della",
        .summary = "differences dropped by chance and rank, with elected signs",
        .evidence = "on language models plain task arithmetic is the safer "
                    "choice (arXiv 2511.21437)",
        .paper = "arXiv 2406.11617",
        .base = WW_BASE_REQUIRED,
        .min_sources = 1,
        .max_sources = 62,
        .order_free = true,
        .order_reason = "",
        PARAMS(della),
        .ops = &ww_merge_della,
    },
    {
        .name = "della_linear",
        .summary = "differences dropped by chance and rank, summed",
        .evidence = "on language models plain task arithmetic is the safer "
                    "choice (arXiv 2511.21437)",
        .paper = "arXiv 2406.11617",
        .base = WW_BASE_REQUIRED,
        .min_sources = 1,
        .max_sources = 62,
        .order_free = true,
        .order_reason = "",
        PARAMS(della_linear),
        .ops = &ww_merge_della_linear,
    },
    {
        .name = "geometric_median",
        .summary = "the point with the least sum of distances to all models",
        .evidence = "robust against one bad model; a NeurIPS 2024 creative prize",
        .paper = "",
        .base = WW_BASE_IGNORED,
        .min_sources = 1,
        .max_sources = 62,
        .order_free = false,
        .order_reason = "inner products are summed in the order of the elements: "
                    "equal to the rounding of sums",
        PARAMS(median),
        .ops = &ww_merge_geometric_median,
    },
    {
        .name = "karcher",
        .summary = "mean of directions on the sphere, with the mean length",
        .evidence = "for models far from each other",
        .paper = "arXiv 2603.04972",
        .base = WW_BASE_IGNORED,
        .min_sources = 1,
        .max_sources = 62,
        .order_free = false,
        .order_reason = "inner products are summed in the order of the elements: "
                    "equal to the rounding of sums",
        PARAMS(karcher),
        .ops = &ww_merge_karcher,
    },
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
        .name = "model_stock",
        .summary = "average pulled towards the base as far as the models disagree",
        .evidence = "for fine-tunes of one task that differ by seed (arXiv 2403.19522)",
        .paper = "arXiv 2403.19522",
        .base = WW_BASE_REQUIRED,
        .min_sources = 2,
        .max_sources = 62,
        .order_free = false,
        .order_reason = "inner products are summed in the order of the elements: "
                    "equal to the rounding of sums",
        PARAMS(model_stock),
        .ops = &ww_merge_model_stock,
    },
    {
        .name = "multislerp",
        .summary = "spherical average of several models",
        .evidence = "as slerp, for more than two",
        .paper = "",
        .base = WW_BASE_OPTIONAL,
        .min_sources = 1,
        .max_sources = 62,
        .order_free = false,
        .order_reason = "inner products are summed in the order of the elements: "
                    "equal to the rounding of sums",
        PARAMS(multislerp),
        .ops = &ww_merge_multislerp,
    },
    {
        .name = "nuslerp",
        .summary = "spherical interpolation by weights, of whole tensors, rows "
                    "or columns",
        .evidence = "as slerp; of differences when there is a base",
        .paper = "",
        .base = WW_BASE_OPTIONAL,
        .min_sources = 2,
        .max_sources = 2,
        .order_free = false,
        .order_reason = "inner products are summed in the order of the elements: "
                    "equal to the rounding of sums",
        PARAMS(nuslerp),
        .ops = &ww_merge_nuslerp,
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
        .name = "slerp",
        .summary = "spherical interpolation from the base to one model",
        .evidence = "popular for two models; close to linear for siblings",
        .paper = "",
        .base = WW_BASE_REQUIRED,
        .min_sources = 1,
        .max_sources = 1,
        .order_free = false,
        .order_reason = "inner products are summed in the order of the elements: "
                    "equal to the rounding of sums",
        PARAMS(slerp),
        .ops = &ww_merge_slerp,
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
    {
        .name = "ties",
        .summary = "the largest differences, with elected signs",
        .evidence = "on language models plain task arithmetic is the safer "
                    "choice (arXiv 2511.21437)",
        .paper = "arXiv 2306.01708",
        .base = WW_BASE_REQUIRED,
        .min_sources = 1,
        .max_sources = 62,
        .order_free = true,
        .order_reason = "",
        PARAMS(ties),
        .ops = &ww_merge_ties,
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
