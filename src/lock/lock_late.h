/* SPDX-License-Identifier: Apache-2.0 */
/** Evidence of an open model that is known only when its bytes have passed: of one that
 * is made while it is locked. */
#ifndef WW_LOCK_LOCK_LATE_H
#define WW_LOCK_LOCK_LATE_H

#include "lock/lock_model.h"
#include "lock/lock_plan.h"
#include "lock/manifest.h"

/** What came late, as the manifest lists it. All-zero may be released. */
struct ww_late_files {
    struct ww_strlist names;
    struct ww_lock_file *files; /* paths borrow from names */
    size_t n;
};

/** Put late->inputs behind the plan's own, and ask for the roots. */
enum ww_err ww_lock_late_plan(const struct ww_lock_late *late, struct ww_lock_plan *plan,
                              struct ww_error *err) WW_MUST_USE;
/** Have the evidence made, and set it aside in the output as a lock does with what lies
 *  there before. result: of the run over the plan. */
enum ww_err ww_lock_late_take(const struct ww_lock_late *late,
                              const struct ww_lock_plan *plan,
                              const struct ww_stream_result *result, struct ww_out *out,
                              struct ww_late_files *files,
                              struct ww_error *err) WW_MUST_USE;
void ww_late_files_release(struct ww_late_files *files);

#endif
