/* SPDX-License-Identifier: Apache-2.0 */
/* A member being restored, to a folder or in memory alone. */
#ifndef WW_RMM_UNPACK_RUN_H
#define WW_RMM_UNPACK_RUN_H

#include "rmm/unmerge.h"
#include "rmm/pack_file.h"

struct ww_unpack_run {
    struct ww_pack_file file;
    struct ww_pack_view view;
    struct ww_model *base;
    struct ww_unmerge unmerge;
    char signer[256];
    enum ww_err (*before_commit)(void *payload, const char *folder, struct ww_error *err);
    void *before_commit_payload;
};

enum ww_err ww_unpack_open(struct ww_unpack_run *run, const char *path, const char *name,
                           const struct ww_unpack_options *options,
                           struct ww_error *err) WW_MUST_USE;
void ww_unpack_close(struct ww_unpack_run *run);
/** out_path NULL: nothing is written. Every file must have its digest. */
enum ww_err ww_unpack_restore(struct ww_unpack_run *run, const char *out_path,
                              const struct ww_run_options *options,
                              struct ww_run_report *report,
                              struct ww_error *err) WW_MUST_USE;

#endif
