/* SPDX-License-Identifier: Apache-2.0 */
/** A locked model with the key to it: what an unlock into a folder, reading in place and
 *  an adapter that follows its base share. */
#ifndef WW_LOCK_UNLOCK_OPEN_H
#define WW_LOCK_UNLOCK_OPEN_H

#include "lock/dense_run.h"
#include "lock/lock_plan.h"
#include "lock/manifest.h"
#include "sign/statement.h"

struct ww_unlock {
    const struct ww_lock_options *options; /* the caller sets these three; borrowed */
    struct ww_lock_report *report;
    struct ww_model *model;
    struct ww_tensor_statement statement;
    struct ww_secret *prk;
    struct ww_secret *copy; /* the secret of a recipient's copy, or NULL */
    struct ww_manifest manifest;
    struct ww_layout *layout;
    struct ww_gauge gauge;
    struct ww_dense_run dense; /* level dense */
    struct ww_lock_job job;
    struct ww_lock_plan plan; /* the caller's to make, with job */
};

/** Read the manifest with the key; statement.lock is NULL where the model has none.
 *  WW_E_MANIFEST, WW_E_WRONG_KEY, WW_E_KEY. */
enum ww_err ww_unlock_read(struct ww_unlock *unlock, struct ww_error *err) WW_MUST_USE;
/** The layout, and the gauge that the manifest states of it. */
enum ww_err ww_unlock_gauge(struct ww_unlock *unlock, struct ww_error *err) WW_MUST_USE;
/** The same, and a model without a lock is refused. WW_E_MANIFEST, WW_E_WRONG_KEY,
 * WW_E_KEY. */
enum ww_err ww_unlock_open(struct ww_unlock *unlock, struct ww_error *err) WW_MUST_USE;
/** Match model and manifest, then make the gauge and the job. WW_E_WRONG_MODEL. */
enum ww_err ww_unlock_prepare(struct ww_unlock *unlock, struct ww_error *err) WW_MUST_USE;
/** Are weight files of these digests, in the model's order, as they were locked?
 *  WW_E_DAMAGED and WW_E_WRONG_MODEL name what is not. */
enum ww_err ww_unlock_check_locked(const struct ww_unlock *unlock,
                                   const uint8_t (*sha256)[WW_SHA256_BYTES],
                                   struct ww_error *err) WW_MUST_USE;
/** All but what the caller set. */
void ww_unlock_release(struct ww_unlock *unlock);

/** By path; NULL. */
const struct ww_lock_file *ww_lock_file_find(const struct ww_lock_file *files, size_t n,
                                             const char *path);

#endif
