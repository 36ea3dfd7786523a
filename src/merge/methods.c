/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of methods. Names and defaults of parameters are those of mergekit 0.1.5, so
 * that its recipes are read unchanged; parameters that a method of the task arithmetic
 * family takes and does not use are in its row all the same. docs/merge-methods.md has
 * the formulas.
 */
#include <string.h>

#include "merge/kernel.h"
#include "merge/spectral.h"
#include "util/fail.h"

#define ANY 1e30 /* a bound that keeps infinities and typing errors out */

#define WEIGHT                                                                           \
    {                                                                                    \
        "weight", WW_PARAM_SOURCE, WW_PARAM_FLOAT, true, 0, -ANY, ANY                    \
    }
#define FLAG(name, fallback)                                                             \
    {                                                                                    \
        name, WW_PARAM_TENSOR, WW_PARAM_BOOL, false, fallback, 0, 1                      \
    }
#define FLOAT(name, fallback, min, max)                                                  \
    {                                                                                    \
        name, WW_PARAM_TENSOR, WW_PARAM_FLOAT, false, fallback, min, max                 \
    }
#define PER_SOURCE(name, fallback, min, max)                                             \
    {                                                                                    \
        name, WW_PARAM_SOURCE, WW_PARAM_FLOAT, false, fallback, min, max                 \
    }
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

#define SPECTRAL_FAMILY PER_SOURCE("weight", 1, -ANY, ANY), FLOAT("lambda", 1, -ANY, ANY)
#define STEPS                                                                            \
    {                                                                                    \
        "steps", WW_PARAM_TENSOR, WW_PARAM_INT, false, 300, 0, 1000000                   \
    }
#define START FLAG("start_sum", 0)
static const struct ww_method_param aswudi[] = {
    SPECTRAL_FAMILY, START, {"threshold", WW_PARAM_TENSOR, WW_PARAM_INT, false, 0, 0, 2}};
static const struct ww_method_param core_space[] = {SPECTRAL_FAMILY,
                                                    PER_SOURCE("density", 0.2, 0, 1)};
static const struct ww_method_param iso_c[] = {SPECTRAL_FAMILY};
static const struct ww_method_param iso_cts[] = {
    SPECTRAL_FAMILY, FLOAT("common_space_fraction", 0.8, 0, 1)};
static const struct ww_method_param knots[] = {SPECTRAL_FAMILY,
                                               PER_SOURCE("density", 0.2, 0, 1)};
static const struct ww_method_param optmerge[] = {
    SPECTRAL_FAMILY, STEPS, FLOAT("learning_rate", 0, 0, 1), FLAG("adapter", 0)};
static const struct ww_method_param svc[] = {SPECTRAL_FAMILY,
                                             FLOAT("alpha", 0.1, 1e-6, ANY)};
static const struct ww_method_param swudi[] = {SPECTRAL_FAMILY, START, STEPS,
                                               FLOAT("ratio", 0.85, 0, 1)};
static const struct ww_method_param tsv_m[] = {SPECTRAL_FAMILY};
static const struct ww_method_param wudi[] = {SPECTRAL_FAMILY, STEPS,
                                              FLOAT("learning_rate", 1e-5, 0, 1)};
static const struct ww_method_param wudi_flow[] = {SPECTRAL_FAMILY, START, STEPS};
static const struct ww_method_param nearswap[] = {
    {"t", WW_PARAM_TENSOR, WW_PARAM_FLOAT, true, 0, 0, ANY}};
static const struct ww_method_param ram[] = {FLOAT("epsilon", 1e-5, 0, ANY)};
static const struct ww_method_param ramplus[] = {FLOAT("epsilon", 1e-5, 1e-300, ANY),
                                                 FLOAT("r", 0.1, -ANY, ANY),
                                                 FLOAT("alpha", 0.2, 0, ANY)};
static const struct ww_method_param sce[] = {FLOAT("select_topk", 1, 0, 1),
                                             FLAG("int8_mask", 0)};
static const struct ww_method_param magmax[] = {FLOAT("lambda", 0.5, -ANY, ANY)};
static const struct ww_method_param consensus[] = {
    PER_SOURCE("weight", 1, -ANY, ANY), PER_SOURCE("mask_lambda", 0.2, 0, ANY),
    {"k", WW_PARAM_TENSOR, WW_PARAM_INT, false, 2, 0, 62}, FLOAT("lambda", 1, -ANY, ANY)};
static const struct ww_method_param masks[] = {PER_SOURCE("weight", 1, -ANY, ANY),
                                               FLOAT("lambda", 1, -ANY, ANY)};
static const struct ww_method_param fisher[] = {PER_SOURCE("weight", 1, -ANY, ANY),
                                                FLOAT("floor", 1e-6, 1e-300, ANY)};
static const struct ww_method_param compeft[] = {
    PER_SOURCE("weight", 1, -ANY, ANY), PER_SOURCE("density", 0.2, 0, 1),
    PER_SOURCE("alpha", 1, 0, ANY), FLOAT("lambda", 1, -ANY, ANY)};

#define PARAMS(list) .params = (list), .n_params = WW_LEN(list)

/* A method on whole matrices (spectral.h). `lapack`: not the same bits everywhere. */
#define SPECTRAL(method, lapack, text, when, from)                                       \
    {                                                                                    \
        .name = #method, .summary = text, .evidence = when, .paper = "arXiv " from,      \
        .base = WW_BASE_REQUIRED, .min_sources = 1, .max_sources = 62,                   \
        .order_free = false,                                                             \
        .order_reason = "sums over rows and columns are rounded in their order",         \
        .within_tolerance = lapack, PARAMS(method), .ops = &ww_merge_##method            \
    }

static const struct ww_method table[] = {
    {
        .name = "arcee_fusion",
        .summary = "changes that matter for their row's softmax, kept whole",
        .evidence = "for one fine-tune into its base; no published study",
        .paper = "",
        .base = WW_BASE_REQUIRED,
        .min_sources = 1,
        .max_sources = 1,
        .order_free = false,
        .order_reason = "sums over rows or the tensor are taken in the order of the "
                    "elements",
        .ops = &ww_merge_arcee_fusion,
    },
    SPECTRAL(aswudi, true, "WUDI solved in the directions that stand out",
             "as swudi, with the number of directions found from the data", "2606.07289"),
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
        .name = "compeft",
        .summary = "signs of the largest changes, all of one size",
        .evidence = "loses little at a tenth of the size (arXiv 2311.13171)",
        .paper = "arXiv 2311.13171",
        .base = WW_BASE_REQUIRED,
        .min_sources = 1,
        .max_sources = 62,
        .order_free = false,
        .order_reason = "sums over rows or the tensor are taken in the order of the "
                    "elements",
        PARAMS(compeft),
        .ops = &ww_merge_compeft,
    },
    {
        .name = "consensus",
        .summary = "the merged change, where enough models want it",
        .evidence = "better than plain task arithmetic on eight vision tasks "
                    "(arXiv 2405.07813)",
        .paper = "arXiv 2405.07813",
        .base = WW_BASE_REQUIRED,
        .min_sources = 1,
        .max_sources = 62,
        .order_free = true,
        .order_reason = "",
        PARAMS(consensus),
        .ops = &ww_merge_consensus,
    },
    SPECTRAL(core_space, true, "TIES in the span of all adapters",
             "for adapters; lossless but for the TIES in it", "2509.17786"),
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
        .name = "fisher",
        .summary = "average weighted by imported Fisher diagonals",
        .evidence = "helps where the diagonals come from the tasks' own data "
                    "(arXiv 2111.09832)",
        .paper = "arXiv 2111.09832",
        .base = WW_BASE_IGNORED,
        .min_sources = 1,
        .max_sources = 31,
        .order_free = true,
        .order_reason = "",
        .wants_stats = true,
        PARAMS(fisher),
        .ops = &ww_merge_fisher,
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
    SPECTRAL(iso_c, true, "the sum with all singular values made equal",
             "8 vision tasks; on language models sums are hard to beat", "2502.04959"),
    SPECTRAL(iso_cts, true, "iso_c with directions of each task beside the common ones",
             "as iso_c, better with many tasks", "2502.04959"),
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
    SPECTRAL(knots, true, "TIES in the common frame of side-by-side differences",
             "for adapters", "2410.19735"),
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
        .name = "magmax",
        .summary = "of each element the largest change",
        .evidence = "for models trained one after the other (arXiv 2407.06322)",
        .paper = "arXiv 2407.06322",
        .base = WW_BASE_REQUIRED,
        .min_sources = 1,
        .max_sources = 62,
        .order_free = true,
        .order_reason = "",
        PARAMS(magmax),
        .ops = &ww_merge_magmax,
    },
    {
        .name = "masks",
        .summary = "task arithmetic through imported masks",
        .evidence = "as good as the masks",
        .paper = "",
        .base = WW_BASE_REQUIRED,
        .min_sources = 1,
        .max_sources = 31,
        .order_free = true,
        .order_reason = "",
        .wants_stats = true,
        PARAMS(masks),
        .ops = &ww_merge_masks,
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
        .name = "nearswap",
        .summary = "towards the second model where the two are close",
        .evidence = "from one model card; no published study",
        .paper = "",
        .base = WW_BASE_REQUIRED,
        .min_sources = 1,
        .max_sources = 1,
        .order_free = true,
        .order_reason = "",
        PARAMS(nearswap),
        .ops = &ww_merge_nearswap,
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
    SPECTRAL(optmerge, true, "WUDI on leading singular directions, from the mean",
             "multimodal merges, +2.48 %", "2505.19892"),
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
        .name = "ram",
        .summary = "changes shared by several models averaged, lone ones kept whole",
        .evidence = "for models trained by reinforcement (arXiv 2601.13572)",
        .paper = "arXiv 2601.13572",
        .base = WW_BASE_REQUIRED,
        .min_sources = 1,
        .max_sources = 62,
        .order_free = true,
        .order_reason = "",
        PARAMS(ram),
        .ops = &ww_merge_ram,
    },
    {
        .name = "ramplus_tl",
        .summary = "as ram, with lone changes amplified by how much is shared",
        .evidence = "for models trained by reinforcement (arXiv 2601.13572)",
        .paper = "arXiv 2601.13572",
        .base = WW_BASE_REQUIRED,
        .min_sources = 1,
        .max_sources = 62,
        .order_free = true,
        .order_reason = "",
        PARAMS(ramplus),
        .ops = &ww_merge_ramplus_tl,
    },
    {
        .name = "sce",
        .summary = "the changes that vary most, weighted by energy, without "
                    "minority signs",
        .evidence = "made for fusing chat models (arXiv 2408.07990)",
        .paper = "arXiv 2408.07990",
        .base = WW_BASE_REQUIRED,
        .min_sources = 1,
        .max_sources = 62,
        .order_free = false,
        .order_reason = "sums over rows or the tensor are taken in the order of the "
                    "elements",
        PARAMS(sce),
        .ops = &ww_merge_sce,
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
    SPECTRAL(svc, true, "a sum whose shared directions are counted once",
             "after task arithmetic, vision tasks", "2602.05536"),
    SPECTRAL(swudi, true, "the end of WUDI in closed form",
             "8 vision tasks, near 85 %; 28 to 72 times faster than wudi", "2606.07289"),
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
    SPECTRAL(tsv_m, true, "the leading singular triples of each task, made orthogonal",
             "8 to 20 vision tasks, up to 15 points over task arithmetic", "2412.00081"),
    SPECTRAL(wudi, true, "least interference between tasks, by descent",
             "8 vision tasks, 85.2 %", "2503.08099"),
    SPECTRAL(wudi_flow, false, "swudi by products alone: the same bits on every machine",
             "as swudi without truncation; not measured on tasks", "2503.08099"),
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
