/* SPDX-License-Identifier: Apache-2.0 */
/* A member's key: its file is read once, for all connections and requests, since what
 * stands behind a descriptor is gone once it was read. */
#ifndef WW_EVO_MEMBER_KEY_H
#define WW_EVO_MEMBER_KEY_H

#include "crypto/secret.h"

struct ww_member_key;

/** file is borrowed; nothing is read yet. */
enum ww_err ww_member_key_new(const char *file, struct ww_member_key **out,
                              struct ww_error *err) WW_MUST_USE;
void ww_member_key_free(struct ww_member_key *key);

/** A copy of the key, the caller's; from any thread. WW_E_PASSPHRASE: the first line is
 *  empty. */
enum ww_err ww_member_key_copy(struct ww_member_key *key, struct ww_secret **out,
                               struct ww_error *err) WW_MUST_USE;

#endif
