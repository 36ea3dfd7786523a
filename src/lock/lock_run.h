/* SPDX-License-Identifier: Apache-2.0 */
/* One lock while it is made. Internal to lock_folder.c, which gets the weights written,
 * and lock_seal.c, which writes what is said of them. */
#ifndef WW_LOCK_LOCK_RUN_H
#define WW_LOCK_LOCK_RUN_H

#include "lock/dense_run.h"
#include "lock/lock_late.h"
#include "lock/probe.h"
#include "weightward/lock.h"

struct ww_lock_run {
    const struct ww_lock_options *options;
    struct ww_lock_report *report;
    struct ww_model *model;
    const struct ww_lock_late *late; /* NULL: the model's evidence lies there */
    struct ww_late_files late_files;
    struct ww_layout *layout;
    struct ww_secret *prk;  /* of the lock key */
    struct ww_secret *copy; /* the secret of a recipient's copy, or NULL */
    struct ww_gauge gauge;
    bool scale;                /* powers of two */
    struct ww_dense_run dense; /* level dense */
    struct ww_probes *probes;
    struct ww_lock_job job;
    struct ww_lock_plan plan;
    struct ww_out *out;
    struct ww_stream_result result;
    char *out_name;
    uint8_t lock_id[WW_SHA256_BYTES];
    uint8_t root[WW_SHA256_BYTES]; /* of the locked tensors */
    uint8_t residual_sha256[WW_SHA256_BYTES];
};

/** Manifest, statements and signature from digests of what was written; then the folder
 *  appears as out_path. */
enum ww_err ww_lock_seal(struct ww_lock_run *run, const char *out_path,
                         struct ww_error *err) WW_MUST_USE;

#endif
