/* SPDX-License-Identifier: Apache-2.0 */
/**
 * A merge that is locked as it is made. The open result is a folder whose weight files
 * have a header and nothing else; what a lock reads of them is computed when it reads it.
 * So the locked folder is what `merge` and then `lock` give, byte for byte, and open
 * weights are on no disk.
 */
#ifndef WW_MERGE_MERGE_LOCK_H
#define WW_MERGE_MERGE_LOCK_H

#include "merge/merge_work.h"

struct ww_merge_locking;

/** Refuses what cannot be locked, then makes the open folder, named as the output, below
 *  work->steps. */
enum ww_err ww_merge_locking_new(struct ww_work *work, const char *out_path,
                                 struct ww_merge_locking **out,
                                 struct ww_error *err) WW_MUST_USE;
void ww_merge_locking_free(struct ww_merge_locking *locking);
/** A small file of the open result: its evidence. Only while that is asked for. */
enum ww_err ww_merge_locking_add(struct ww_merge_locking *locking, const char *path,
                                 const void *bytes, size_t len,
                                 struct ww_error *err) WW_MUST_USE;
/** What has to be done when all bytes have passed: the checks that follow a run, and the
 *  evidence, by ww_merge_locking_add. */
struct ww_merge_evidence {
    enum ww_err (*make)(void *payload, struct ww_error *err);
    void *payload;
};
/** Compute the merge and lock it into out_path. result, all zero, is filled before
 * evidence is asked for, but for its run report. Fills root_sha256 and run of the report.
 */
enum ww_err ww_merge_locking_run(struct ww_merge_locking *locking,
                                 const struct ww_merge_evidence *evidence,
                                 struct ww_merge_result *result,
                                 struct ww_error *err) WW_MUST_USE;

#endif
