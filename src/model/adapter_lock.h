/* SPDX-License-Identifier: Apache-2.0 */
/* Which lock an adapter follows, as the record in its folder says
 * (docs/formats/adapter-lock.md). */
#ifndef WW_MODEL_ADAPTER_LOCK_H
#define WW_MODEL_ADAPTER_LOCK_H

#include "crypto/hash.h"
#include "weightward/error.h"

#define WW_ADAPTER_LOCK_SCHEMA "weightward.adapter-lock/1"

struct ww_adapter_lock {
    char *lock_id; /* of the base's lock manifest, in hex; NULL: it follows none */
    char *base;    /* tensor root of the locked base, in hex; the same */
    uint8_t source_sha256[WW_SHA256_BYTES]; /* of the weights that were carried over */
};

/** name: of the folder, for texts. WW_E_VERSION for another schema, WW_E_MANIFEST for a
 *  record that lacks something, WW_E_JSON, WW_E_IO; then out is empty. */
enum ww_err ww_adapter_lock_read(int dirfd, const char *name, struct ww_adapter_lock *out,
                                 struct ww_error *err) WW_MUST_USE;
/** The same of the record's text. */
enum ww_err ww_adapter_lock_parse(const uint8_t *text, size_t len, const char *name,
                                  struct ww_adapter_lock *out,
                                  struct ww_error *err) WW_MUST_USE;
void ww_adapter_lock_release(struct ww_adapter_lock *lock);

#endif
