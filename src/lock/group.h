/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Key groups: models locked with one key share their transform and can be merged while
 * they are locked. The group's name tells them by; whoever lacks the key cannot make it,
 * and everybody can see that two models have the same.
 */
#ifndef WW_LOCK_GROUP_H
#define WW_LOCK_GROUP_H

#include "crypto/secret.h"
#include "lock/manifest.h"

#define WW_LOCK_GROUP_BYTES 16
/* The lock object of a model that was merged while its sources were locked. */
#define WW_LOCK_MERGE_SCHEMA "weightward.lock-merge/1"

/** HKDF-Expand(PRK, str("weightward/lock/group/v1"), 16). */
enum ww_err ww_lock_group(struct ww_secret *prk, uint8_t out[WW_LOCK_GROUP_BYTES],
                          struct ww_error *err) WW_MUST_USE;

/** Is the folder a merge of locked models? */
enum ww_err ww_lock_is_merge(const char *path, bool *is_merge,
                             struct ww_error *err) WW_MUST_USE;

/** Undo the lock of such a folder. There is no source to compare with: the weights must
 * be those of the folder's tensor tree, and files beside them are copied but for
 * evidence. */
enum ww_err ww_unlock_merge(const char *path, const char *out_path,
                            const struct ww_lock_options *options,
                            struct ww_lock_report *report,
                            struct ww_error *err) WW_MUST_USE;

#endif
