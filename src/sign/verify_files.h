/* SPDX-License-Identifier: Apache-2.0 */
/* A model folder against the list of files that was signed. */
#ifndef WW_SIGN_VERIFY_FILES_H
#define WW_SIGN_VERIFY_FILES_H

#include "sign/notes.h"
#include "sign/oms.h"
#include "sign/target.h"

/** Everything listed is there and unchanged, nothing else is there. Fills the counts of
 *  the report. */
enum ww_err ww_verify_files(const struct ww_target *target, const struct ww_oms *oms,
                            const struct ww_verify_options *options,
                            struct ww_verify_report *report, struct ww_notes *notes,
                            struct ww_error *err) WW_MUST_USE;

#endif
