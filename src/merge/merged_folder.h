/* SPDX-License-Identifier: Apache-2.0 */
/** A merged folder as the merge made it: of one that was locked then, or since, through
 *  the key. */
#ifndef WW_MERGE_MERGED_FOLDER_H
#define WW_MERGE_MERGED_FOLDER_H

#include "lock/unlock_view.h"
#include "merge/merge_work.h"

struct ww_merged {
    struct ww_model *model;      /* its weight files read as the open ones */
    struct ww_unlock_view *view; /* NULL: they are open */
    struct ww_record_view record;
};

/** keys: those of options->unlock. WW_E_NOTFOUND, WW_E_VERSION without a record of a
 * merge; WW_E_KEY when it is locked and no key is given, WW_E_WRONG_KEY when none fits.
 */
enum ww_err ww_merged_open(const char *path, const struct ww_merge_options *options,
                           struct ww_merged *out, struct ww_error *err) WW_MUST_USE;
void ww_merged_close(struct ww_merged *merged);
/** SHA-256 of the plan's files as they lie in the folder, open. WW_E_DAMAGED,
 *  WW_E_WRONG_MODEL when a locked file is not that of the lock's manifest. */
enum ww_err ww_merged_digests(const struct ww_merged *merged,
                              const struct ww_merge_plan *plan,
                              const struct ww_run_options *run,
                              uint8_t (*sha256)[WW_SHA256_BYTES],
                              struct ww_error *err) WW_MUST_USE;

#endif
