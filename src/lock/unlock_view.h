/* SPDX-License-Identifier: Apache-2.0 */
/** A locked model read as the open one, without a folder of it anywhere: exact locks with
 *  or without powers of two, dense ones through their residual. */
#ifndef WW_LOCK_UNLOCK_VIEW_H
#define WW_LOCK_UNLOCK_VIEW_H

#include "crypto/hash.h"
#include "util/reader.h"
#include "weightward/lock.h"

struct ww_unlock_view;

/** Open with a key; model, secret and binding are borrowed until the view is freed. Files
 *  beside the weights are compared with the manifest here. WW_E_WRONG_KEY when it is
 *  another key, and what ww_unlock_folder refuses. */
enum ww_err ww_unlock_view_open(struct ww_model *model, struct ww_secret *secret,
                                const struct ww_key_binding *binding,
                                struct ww_unlock_view **out,
                                struct ww_error *err) WW_MUST_USE;
void ww_unlock_view_free(struct ww_unlock_view *view);
/** Reads a weight file as it was before the lock: same size, same header. Borrowed. */
const struct ww_reader *ww_unlock_view_reader(const struct ww_unlock_view *view,
                                              uint32_t file);
/** WW_SHA256_BYTES, borrowed. */
const uint8_t *ww_unlock_view_lock_id(const struct ww_unlock_view *view);
/** To be asked when all has been read: are the locked files, of these digests, those of
 * the manifest? WW_E_DAMAGED, WW_E_WRONG_MODEL. */
enum ww_err ww_unlock_view_check(const struct ww_unlock_view *view,
                                 const uint8_t (*locked_sha256)[WW_SHA256_BYTES],
                                 struct ww_error *err) WW_MUST_USE;

#endif
