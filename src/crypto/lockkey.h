/* SPDX-License-Identifier: Apache-2.0 */
/* Lock keys sealed at a stated cost, and records opened. */
#ifndef WW_CRYPTO_LOCKKEY_H
#define WW_CRYPTO_LOCKKEY_H

#include "crypto/sealed.h"

/** ww_lockkey_save at a stated cost. */
enum ww_err ww_lockkey_save_at(const char *path, struct ww_secret *key,
                               const struct ww_key_binding *binding,
                               const struct ww_sealer *sealer,
                               const struct ww_argon2_cost *cost,
                               struct ww_error *err) WW_MUST_USE;
/** "a lock key", for error texts. */
const char *ww_record_kind_name(enum ww_record_kind kind);
/** What opens this record, the recipient's file being read only when it is needed; free
 * key->recipient. */
enum ww_err ww_record_key_load(const struct ww_record *record,
                               const struct ww_unsealer *unsealer,
                               struct ww_record_key *key,
                               struct ww_error *err) WW_MUST_USE;
/** ww_record_open with it. */
enum ww_err ww_record_unseal(const struct ww_record *record,
                             const struct ww_unsealer *unsealer, struct ww_secret **out,
                             struct ww_key_binding *binding,
                             struct ww_error *err) WW_MUST_USE;

#endif
