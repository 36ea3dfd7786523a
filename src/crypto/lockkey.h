/* SPDX-License-Identifier: Apache-2.0 */
/* Lock keys at a stated cost, and a lock key sealed again for others. */
#ifndef WW_CRYPTO_LOCKKEY_H
#define WW_CRYPTO_LOCKKEY_H

#include "crypto/sealed.h"

/** ww_lockkey_create at a stated cost. */
enum ww_err ww_lockkey_create_at(const char *path, struct ww_secret *passphrase,
                                 const char *const *recipients, size_t n_recipients,
                                 const struct ww_argon2_cost *cost,
                                 struct ww_error *err) WW_MUST_USE;
/** The 32 bytes as a sealed record for recipients (paths of NAME.pub, at least one), to
 *  be stored as the caller likes. */
enum ww_err ww_lockkey_seal_for(struct ww_secret *key, const char *const *recipients,
                                size_t n_recipients, struct ww_secret **record,
                                struct ww_error *err) WW_MUST_USE;

#endif
