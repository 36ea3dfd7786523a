/* SPDX-License-Identifier: Apache-2.0 */
/* Where a lock or unlock may write, and where side files go. */
#ifndef WW_LOCK_LOCK_PATHS_H
#define WW_LOCK_LOCK_PATHS_H

#include "lock/lock_plan.h"
#include "sign/statement.h"
#include "weightward/lock.h"

/** OUT must not exist and must not lie in MODEL. WW_E_EXISTS, WW_E_USAGE. */
enum ww_err ww_lock_check_paths(const char *model_path, const char *out_path,
                                struct ww_error *err) WW_MUST_USE;

/** All side files of the model with the places they take in a locked folder. */
enum ww_err ww_lock_sides(const struct ww_model *model, struct ww_side_copy **sides,
                          uint32_t *n_sides, struct ww_error *err) WW_MUST_USE;

/** The tensor statement of a folder; *found is false (and out empty) when it has none. */
enum ww_err ww_lock_statement(const struct ww_model *model,
                              struct ww_tensor_statement *out, bool *found,
                              struct ww_error *err) WW_MUST_USE;

/** Fill in what a run over a plan did; after a failure the report is emptied. */
void ww_lock_report_end(struct ww_lock_report *report, const struct ww_lock_plan *plan,
                        const struct ww_stream_result *result, enum ww_err rc);

#endif
