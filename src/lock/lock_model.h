/* SPDX-License-Identifier: Apache-2.0 */
/* Locking a model that is open already; its weights may lie in no file. */
#ifndef WW_LOCK_LOCK_MODEL_H
#define WW_LOCK_LOCK_MODEL_H

#include "weightward/lock.h"

/** As ww_lock_folder; the model is borrowed. That out_path is not inside of it is for the
 *  caller to see to. */
enum ww_err ww_lock_model(struct ww_model *model, const char *out_path,
                          const struct ww_lock_options *options,
                          struct ww_lock_report *report,
                          struct ww_error *err) WW_MUST_USE;

#endif
