/* SPDX-License-Identifier: Apache-2.0 */
/* A merge into a folder, under way. */
#ifndef WW_MERGE_MERGE_FOLDER_H
#define WW_MERGE_MERGE_FOLDER_H

#include "merge/doubts.h"
#include "merge/merge_lock.h"
#include "merge/merge_work.h"

struct ww_merge_folder_run {
    struct ww_work *work;
    char *out_name;
    struct ww_out *out;
    struct ww_changes *changes;
    struct ww_moved moved;
    struct ww_merge_locking *locking; /* instead of out, when what is written is locked */
    struct ww_merge_result result;
    struct ww_resource *files;
    uint8_t root[WW_SHA256_BYTES];
    uint8_t tree[WW_SHA256_BYTES];
};

/** A tensor of a checked plan as a model would have it; borrows its name. */
void ww_merge_tensor_describe(const struct ww_merge_tensor *t, struct ww_tensor *out);

/** All small files that the merge writes about itself, by digests of what was written.
 * The files of run and its root and tree are set. */
enum ww_err ww_merge_write_evidence(struct ww_merge_folder_run *run,
                                    struct ww_error *err) WW_MUST_USE;

#endif
