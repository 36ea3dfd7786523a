/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of a recipe's replay share, in the order in which they run. */
#ifndef WW_LINEAGE_REPLAY_WORK_H
#define WW_LINEAGE_REPLAY_WORK_H

#include "lineage/disguise.h"
#include "lineage/matching.h"
#include "util/str.h"
#include "weightward/lineage.h"

struct ww_replaying {
    const struct ww_replay_options *options;
    struct ww_replay_report *report;
    struct ww_disguise disguise; /* owns the suspect, and may borrow from the plan */
    struct ww_model *suspect;
    struct ww_recipe_view view;
    struct ww_merge_plan plan;
    uint32_t *models; /* per control: of the recipe, the one that is exchanged */
    struct ww_merge_plan plans[WW_MATCH_MOST];      /* of controls, as predictors, */
    struct ww_predictor *predictors[WW_MATCH_MOST]; /* behind that of the recipe */
    unsigned n_predictors;
    uint64_t *others;          /* per control: elements that it has right */
    struct ww_predictor *kept; /* NULL: no ties */
    struct ww_predictor *dropped;
    struct ww_merge_plan peer_plan;
    struct ww_predictor *peer; /* NULL: its arithmetic is not known */
    bool *half; /* per tensor of the suspect: it was fitted on; NULL: none was */
    uint32_t *tensor;
    enum ww_dtype *dtypes;
    struct ww_drawn *drawn; /* [plan.n_tensors]; NULL: no masks are drawn */
    struct ww_matches matches;
    struct ww_strlist warnings;
};

/** Weights in other places have no bits to compare: a lock is undone first. */
enum ww_err ww_replay_undo_lock(struct ww_replaying *r, struct ww_error *err) WW_MUST_USE;
/** The suspect's tensors beside those of the plan, less what has no bits and what a
 * recipe was inferred from. WW_E_UNRELATED when none is left. */
enum ww_err ww_replay_align(struct ww_replaying *r, struct ww_error *err) WW_MUST_USE;
/** Each source left out, and each control in its place. */
enum ww_err ww_replay_list_controls(struct ww_replaying *r,
                                    struct ww_error *err) WW_MUST_USE;
/** What the recipe itself gives, in our arithmetic and in mergekit's. */
enum ww_err ww_replay_predict(struct ww_replaying *r, struct ww_error *err) WW_MUST_USE;
/** As many controls from *at on as fit into one reading; moves *at. */
enum ww_err ww_replay_run_batch(struct ww_replaying *r, size_t *at,
                                struct ww_error *err) WW_MUST_USE;
void ww_replay_drop_controls(struct ww_replaying *r);
/** Room for the sums beside a draw, where masks are drawn. */
enum ww_err ww_replay_open_drawn(struct ww_replaying *r,
                                 struct ww_error *err) WW_MUST_USE;
void ww_replay_close_drawn(struct ww_replaying *r);
/** The match, its interval, and whether it supports the recipe. */
enum ww_err ww_replay_judge(struct ww_replaying *r, struct ww_error *err) WW_MUST_USE;

#endif
