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
    PER_SOURCE("weight", 1, -ANY, ANY),
    PER_SOURCE("mask_lambda", 0.2, 0, ANY),
    {"k", WW_PARAM_TENSOR, WW_PARAM_INT, false, 2, 0, 62},
    FLOAT("lambda", 1, -ANY, ANY)};
static const struct ww_method_param masks[] = {PER_SOURCE("weight", 1, -ANY, ANY),
                                               FLOAT("lambda", 1, -ANY, ANY)};
static const struct ww_method_param fisher[] = {PER_SOURCE("weight", 1, -ANY, ANY),
                                                FLOAT("floor", 1e-6, 1e-300, ANY)};
static const struct ww_method_param compeft[] = {
    PER_SOURCE("weight", 1, -ANY, ANY), PER_SOURCE("density", 0.2, 0, 1),
    PER_SOURCE("alpha", 1, 0, ANY), FLOAT("lambda", 1, -ANY, ANY)};

static const struct ww_method_param doge[] = {
    SPECTRAL_FAMILY,
    {"steps", WW_PARAM_TENSOR, WW_PARAM_INT, false, 400, 0, 1000000},
    FLOAT("learning_rate", 1e-4, 0, 1),
    FLOAT("eta", 0.07, 0, ANY),
    FLOAT("keep", 0.3, 0, 1)};
static const struct ww_method_param opcm[] = {
    SPECTRAL_FAMILY,
    FLOAT("alpha", 0.5, 0, 1),
    {"earlier", WW_PARAM_SOURCE, WW_PARAM_BOOL, false, 0, 0, 1}};
static const struct ww_method_param regmean[] = {PER_SOURCE("weight", 1, -ANY, ANY),
                                                 FLOAT("off_diagonal", 0.5, 0, 1)};
static const struct ww_method_param emr[] = {
    {"task", WW_PARAM_TENSOR, WW_PARAM_INT, false, 0, 0, 62},
    FLOAT("lambda", 1, -ANY, ANY),
    FLAG("mask", 0)};
static const struct ww_method_param mwa[] = {
    {"metric", WW_PARAM_SOURCE, WW_PARAM_FLOAT, true, 1, 1e-300, ANY},
    FLOAT("exponent", -1, -1000, 1000)};
static const struct ww_method_param pcb[] = {
    PER_SOURCE("weight", 1, -ANY, ANY),
    FLOAT("lambda", 1.2, -ANY, ANY),
    FLOAT("pcb_ratio", 0.1, 0, 1),
    FLOAT("clamp", 1e-4, 0, 0.49),
    {"inter", WW_PARAM_TENSOR, WW_PARAM_INT, false, 0, 0, 2}};
static const struct ww_method_param widen[] = {FLOAT("lambda", 1, -ANY, ANY),
                                               FLOAT("above_average", 1, 0, ANY),
                                               FLOAT("calibration", 1, 0, ANY)};

#define PARAMS(list) .params = (list), .n_params = WW_LEN(list)
/* How many models beside the base, and what a base is to the method. */
#define BASED(least, most)                                                               \
    .base = WW_BASE_REQUIRED, .min_sources = (least), .max_sources = (most)
#define BASELESS(least, most)                                                            \
    .base = WW_BASE_IGNORED, .min_sources = (least), .max_sources = (most)
#define EITHER(least, most)                                                              \
    .base = WW_BASE_OPTIONAL, .min_sources = (least), .max_sources = (most)
/* May it merge models that are locked with one key, and if not, why. */
#define ORDER_FREE .order_free = true, .order_reason = ""
#define ROUNDED                                                                          \
    .order_reason = "sums over rows or the tensor are taken in the order of the "        \
                    "elements"
#define INNER                                                                            \
    .order_reason = "inner products are summed in the order of the elements: equal to "  \
                    "the rounding of sums"
#define STATS(kind) .stats = WW_STATS_##kind
#define SAFER                                                                            \
    "on language models plain task arithmetic is the safer choice (arXiv 2511.21437)"

#define ROW(method, about, when, from, ...)                                              \
    {                                                                                    \
        .name = #method, .summary = about, .evidence = when, .paper = from,              \
        .ops = &ww_merge_##method, __VA_ARGS__                                           \
    }

/* Of the task arithmetic family: with no model at all it is the base. */
#define IN_FAMILY BASED(1, 62), ORDER_FREE, .base_alone = true

/* A method on whole matrices (spectral.h). `lapack`: not the same bits everywhere. */
#define SPECTRAL(method, lapack, about, when, from)                                      \
    ROW(method, about, when, "arXiv " from, BASED(1, 62), PARAMS(method),                \
        .within_tolerance = lapack,                                                      \
        .order_reason = "sums over rows and columns are rounded in their order")

static const struct ww_method table[] = {
    ROW(arcee_fusion, "changes that matter for their row's softmax, kept whole",
        "for one fine-tune into its base; no published study", "", BASED(1, 1), ROUNDED),
    SPECTRAL(aswudi, true, "WUDI solved in the directions that stand out",
             "as swudi, with the number of directions found from the data", "2606.07289"),
    ROW(breadcrumbs, "differences without the largest and the smallest, summed", SAFER,
        "arXiv 2312.06795", IN_FAMILY, PARAMS(breadcrumbs)),
    ROW(breadcrumbs_ties,
        "differences without the largest and the smallest, with elected signs", SAFER,
        "arXiv 2312.06795", IN_FAMILY, PARAMS(breadcrumbs), .share = WW_SHARE_ELECTED),
    ROW(compeft, "signs of the largest changes, all of one size",
        "loses little at a tenth of the size (arXiv 2311.13171)", "arXiv 2311.13171",
        BASED(1, 62), ROUNDED, PARAMS(compeft)),
    ROW(consensus, "the merged change, where enough models want it",
        "better than plain task arithmetic on eight vision tasks (arXiv 2405.07813)",
        "arXiv 2405.07813", BASED(1, 62), ORDER_FREE, PARAMS(consensus)),
    SPECTRAL(core_space, true, "TIES in the span of all adapters",
             "for adapters; lossless but for the TIES in it", "2509.17786"),
    ROW(dare_linear, "randomly dropped and rescaled differences, summed",
        "harmless at high drop rates where differences are small (arXiv 2311.03099)",
        "arXiv 2311.03099", IN_FAMILY, PARAMS(dare)),
    ROW(dare_ties, "randomly dropped and rescaled differences, with elected signs",
        "won the NeurIPS 2024 contest on merging language models", "arXiv 2311.03099",
        IN_FAMILY, PARAMS(dare), .share = WW_SHARE_ELECTED),
    ROW(della, "differences dropped by chance and rank, with elected signs", SAFER,
        "arXiv 2406.11617", IN_FAMILY, PARAMS(della), .share = WW_SHARE_ELECTED),
    ROW(della_linear, "differences dropped by chance and rank, summed", SAFER,
        "arXiv 2406.11617", IN_FAMILY, PARAMS(della_linear)),
    SPECTRAL(doge, true, "a shared correction learnt outside what all tasks share",
             "8 vision tasks; not measured on language models", "2501.01230"),
    ROW(emr, "one change for all tasks, fitted to one by a mask and a factor",
        "nearly as good as the single models on eight vision tasks, at a bit per weight "
        "and task (arXiv 2405.17461)",
        "arXiv 2405.17461", BASED(1, 62), ORDER_FREE, PARAMS(emr)),
    ROW(fisher, "average weighted by imported Fisher diagonals",
        "helps where the diagonals come from the tasks' own data (arXiv 2111.09832)",
        "arXiv 2111.09832", BASELESS(1, 31), ORDER_FREE, STATS(SHAPE), PARAMS(fisher),
        .share = WW_SHARE_UNTOLD),
    ROW(geometric_median, "the point with the least sum of distances to all models",
        "robust against one bad model; a NeurIPS 2024 creative prize", "",
        BASELESS(1, 62), INNER, PARAMS(median)),
    SPECTRAL(iso_c, true, "the sum with all singular values made equal",
             "8 vision tasks; on language models sums are hard to beat", "2502.04959"),
    SPECTRAL(iso_cts, true, "iso_c with directions of each task beside the common ones",
             "as iso_c, better with many tasks", "2502.04959"),
    ROW(karcher, "mean of directions on the sphere, with the mean length",
        "for models far from each other", "arXiv 2603.04972", BASELESS(1, 62), INNER,
        PARAMS(karcher)),
    SPECTRAL(knots, true, "TIES in the common frame of side-by-side differences",
             "for adapters", "2410.19735"),
    ROW(linear, "weighted average", "the baseline; hard to beat for siblings of one base",
        "arXiv 2203.05482", BASELESS(1, 62), ORDER_FREE, PARAMS(linear)),
    ROW(magmax, "of each element the largest change",
        "for models trained one after the other (arXiv 2407.06322)", "arXiv 2407.06322",
        BASED(1, 62), ORDER_FREE, PARAMS(magmax)),
    ROW(masks, "task arithmetic through imported masks", "as good as the masks", "",
        BASED(1, 31), ORDER_FREE, STATS(SHAPE), PARAMS(masks)),
    ROW(model_stock, "average pulled towards the base as far as the models disagree",
        "for fine-tunes of one task that differ by seed (arXiv 2403.19522)",
        "arXiv 2403.19522", BASED(2, 62), INNER, PARAMS(model_stock)),
    ROW(multislerp, "spherical average of several models", "as slerp, for more than two",
        "", EITHER(1, 62), INNER, PARAMS(multislerp)),
    ROW(mwa, "average weighted by a power of a metric, such as 1 / loss",
        "up to 5 % over equal weights for checkpoints of one run (arXiv 2504.18580)",
        "arXiv 2504.18580", BASELESS(1, 62), ORDER_FREE, PARAMS(mwa)),
    ROW(nearswap, "towards the second model where the two are close",
        "from one model card; no published study", "", BASED(1, 1), ORDER_FREE,
        PARAMS(nearswap)),
    ROW(nuslerp, "spherical interpolation by weights, of whole tensors, rows or columns",
        "as slerp; of differences when there is a base", "", EITHER(2, 2), INNER,
        PARAMS(nuslerp), .share = WW_SHARE_OF_SUM),
    SPECTRAL(opcm, true, "models merged one after the other, each outside the earlier",
             "vision models that arrive over time, 5 to 8 % over plain continual merging",
             "2501.09522"),
    SPECTRAL(optmerge, true, "WUDI on leading singular directions, from the mean",
             "multimodal merges, +2.48 %", "2505.19892"),
    ROW(passthrough, "one model's tensor, scaled", "for stacking layers of models", "",
        BASELESS(1, 1), ORDER_FREE, PARAMS(passthrough)),
    ROW(pcb, "changes that compete within and between models",
        "eight vision tasks, 76.3 % against 69.1 % of task arithmetic (arXiv 2410.02396)",
        "arXiv 2410.02396", BASED(1, 62), ORDER_FREE, PARAMS(pcb)),
    ROW(ram, "changes shared by several models averaged, lone ones kept whole",
        "for models trained by reinforcement (arXiv 2601.13572)", "arXiv 2601.13572",
        BASED(1, 62), ORDER_FREE, PARAMS(ram)),
    ROW(ramplus_tl, "as ram, with lone changes amplified by how much is shared",
        "for models trained by reinforcement (arXiv 2601.13572)", "arXiv 2601.13572",
        BASED(1, 62), ORDER_FREE, PARAMS(ramplus)),
    ROW(regmean, "linear layers closest to every model on its own inputs",
        "helps where the Gram matrices come from the tasks' own data (arXiv 2212.09849)",
        "arXiv 2212.09849", BASELESS(1, 62), ROUNDED, STATS(GRAM), PARAMS(regmean),
        .share = WW_SHARE_UNTOLD, .within_tolerance = true),
    ROW(sce, "the changes that vary most, weighted by energy, without minority signs",
        "made for fusing chat models (arXiv 2408.07990)", "arXiv 2408.07990",
        BASED(1, 62), ROUNDED, PARAMS(sce)),
    ROW(slerp, "spherical interpolation from the base to one model",
        "popular for two models; close to linear for siblings", "", BASED(1, 1), INNER,
        PARAMS(slerp)),
    SPECTRAL(svc, true, "a sum whose shared directions are counted once",
             "after task arithmetic, vision tasks", "2602.05536"),
    SPECTRAL(swudi, true, "the end of WUDI in closed form",
             "8 vision tasks, near 85 %; 28 to 72 times faster than wudi", "2606.07289"),
    ROW(task_arithmetic, "the base and a weighted sum of differences from it",
        "the only method that reliably gains on language models (arXiv 2511.21437)",
        "arXiv 2212.04089", IN_FAMILY, PARAMS(task)),
    ROW(ties, "the largest differences, with elected signs", SAFER, "arXiv 2306.01708",
        IN_FAMILY, PARAMS(ties), .share = WW_SHARE_ELECTED),
    SPECTRAL(tsv_m, true, "the leading singular triples of each task, made orthogonal",
             "8 to 20 vision tasks, up to 15 points over task arithmetic", "2412.00081"),
    ROW(widen, "columns weighted by how much their length and direction changed",
        "for a model trained much further with a tuned one (arXiv 2408.03092)",
        "arXiv 2408.03092", BASED(1, 62), ROUNDED, PARAMS(widen)),
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

bool ww_method_any_param(const char *name)
{
    for (size_t i = 0; i < WW_LEN(table); i++) {
        if (ww_method_param(&table[i], name) != WW_NONE) {
            return true;
        }
    }
    return false;
}
