/* SPDX-License-Identifier: Apache-2.0 */
/**
 * What a recipe would write, read tile by tile and written nowhere: for whoever compares
 * a merge with a recipe instead of making it.
 */
#ifndef WW_MERGE_PREDICT_H
#define WW_MERGE_PREDICT_H

#include "merge/merge_work.h"

/** A recipe that is open for plans. */
struct ww_recipe_view {
    struct ww_merge_options options;
    struct ww_merge_report report;
    struct ww_work work;
};
/** text as a recipe file has it; name is for messages, dir where relative models are
 *  looked for second. One recipe: several that take each other's results are
 *  WW_E_UNSUPPORTED. Release in every case. */
enum ww_err ww_recipe_view_open(struct ww_recipe_view *view, const char *text,
                                const char *name, const char *dir, uint64_t seed,
                                const struct ww_run_options *run,
                                struct ww_error *err) WW_MUST_USE;
void ww_recipe_view_release(struct ww_recipe_view *view);
/** Models that are open, and decoded, need not be opened for the plans: they are borrowed
 *  until these are released, and so is the rest. Plans are of weights alone then, without
 *  the files beside, and of whole models with open->only of those tensors alone. */
void ww_recipe_view_lend(struct ww_recipe_view *view, const struct ww_open_models *open);
/** From now on the model of this name lies there. */
enum ww_err ww_recipe_view_place(struct ww_recipe_view *view, const char *name,
                                 const char *path, struct ww_error *err) WW_MUST_USE;
const struct ww_recipe *ww_recipe_view_recipe(const struct ww_recipe_view *view);
/** The plan; with the folder `path` in the place of model `instead` unless that is
 *  WW_NONE. Release it with ww_merge_plan_release, before the view. */
enum ww_err ww_recipe_view_plan(struct ww_recipe_view *view, uint32_t instead,
                                const char *path, struct ww_merge_plan *out,
                                struct ww_error *err) WW_MUST_USE;

/** The same in the arithmetic of mergekit. *known is false, and there is no plan, when
 *  that is not known of the recipe's method. */
enum ww_err ww_recipe_view_peer(struct ww_recipe_view *view, bool *known,
                                struct ww_merge_plan *out,
                                struct ww_error *err) WW_MUST_USE;

struct ww_predictor;

/**
 * Predictions of a plan, which is borrowed. without: a model (of plan->models) that is
 * left out where it is a source; a tensor that cannot be made without it by the method is
 * the first source that is left as it is. dtypes: per tensor, of the output instead of
 * the plan's; NULL: the plan's. ties: instead of the plan's.
 */
enum ww_err ww_predictor_new(const struct ww_merge_plan *plan, uint32_t without,
                             const enum ww_dtype *dtypes, enum ww_merge_ties ties,
                             const struct ww_run_options *run, struct ww_predictor **out,
                             struct ww_error *err) WW_MUST_USE;
void ww_predictor_free(struct ww_predictor *p);
/** False: nothing is left of the tensor. */
bool ww_predictor_has(const struct ww_predictor *p, uint32_t tensor);
/** n elements from `first` of a tensor, as stored; from any thread. */
enum ww_err ww_predictor_read(const struct ww_predictor *p, uint32_t tensor,
                              uint64_t first, size_t n, void *out,
                              struct ww_error *err) WW_MUST_USE;

#endif
