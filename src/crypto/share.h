/* SPDX-License-Identifier: Apache-2.0 */
/* A share of a lock key in a file. Layout: docs/formats/key-share.md. */
#ifndef WW_CRYPTO_SHARE_H
#define WW_CRYPTO_SHARE_H

#include "crypto/binding.h"
#include "crypto/hash.h"
#include "crypto/sealed.h"
#include "util/buf.h"

#define WW_SHARE_MAGIC "weightward-keyshare\n"
#define WW_SHARE_MAGIC_BYTES 20
#define WW_SHARE_VERSION 1
#define WW_SHARE_SET_BYTES 16
#define WW_SHARE_HEAD_BYTES 216 /* magic to binding */

/** A parsed share: views into the bytes given to ww_share_parse. */
struct ww_share {
    uint64_t created_unix;
    uint8_t set_id[WW_SHARE_SET_BYTES];
    uint8_t index; /* 1 .. n_shares */
    uint8_t threshold;
    uint8_t n_shares;
    uint8_t commitment[WW_SHA256_BYTES];
    struct ww_key_binding binding;
    struct ww_record record;
    const uint8_t *bytes;
    size_t signed_bytes; /* what the signature covers */
    const uint8_t *signature;
    size_t signature_bytes; /* 0: not signed */
};

bool ww_share_is(const uint8_t *bytes, size_t len);
/** WW_E_SHARES when malformed or when its parts do not belong together, WW_E_VERSION for
 * a newer one. Opens nothing. */
enum ww_err ww_share_parse(const uint8_t *bytes, size_t len, struct ww_share *out,
                           struct ww_error *err) WW_MUST_USE;

/** Id of the record in a share with this head. */
void ww_share_record_id(const uint8_t *head, uint8_t id[WW_RECORD_ID_BYTES]);
/** Ties the shares of a set to the key that they give. */
void ww_share_commitment(const uint8_t *set_id, struct ww_secret *key,
                         uint8_t out[WW_SHA256_BYTES]);
#define WW_SHARE_SIGN_LABEL "weightward/share/signature/v1"
/** The signed message: label, its zero byte, the share up to its signature. */
enum ww_err ww_share_message(const uint8_t *bytes, size_t len, struct ww_buf *out,
                             struct ww_error *err) WW_MUST_USE;
void ww_share_head(const struct ww_share *share, uint8_t out[WW_SHARE_HEAD_BYTES]);

/** ww_lockkey_split at a stated cost. */
enum ww_err ww_lockkey_split_at(const char *base, struct ww_secret *key,
                                const struct ww_key_binding *binding,
                                const struct ww_split *split,
                                const struct ww_argon2_cost *cost,
                                struct ww_error *err) WW_MUST_USE;

#endif
