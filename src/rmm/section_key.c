/* SPDX-License-Identifier: Apache-2.0 */
/* HKDF-SHA256 (RFC 5869): every section has a key of its own, so a counter is a nonce. */
#include <string.h>

#include "crypto/aead.h"
#include "crypto/derive.h"
#include "rmm/section.h"
#include "util/fail.h"

#define ROOT_LABEL "weightward/package/v1"
#define SECTION_LABEL "weightward/package/section/v1"

enum ww_err ww_section_key(struct ww_secret *content_key,
                           const uint8_t key_id[WW_RECORD_ID_BYTES],
                           struct ww_secret **out, struct ww_error *err)
{
    uint8_t info[sizeof(SECTION_LABEL) + WW_RECORD_ID_BYTES];
    struct ww_secret *prk = NULL;
    struct ww_secret *key = NULL;
    enum ww_err rc =
        ww_hkdf_extract(content_key, ROOT_LABEL, sizeof(ROOT_LABEL), &prk, err);

    *out = NULL;
    if (rc) {
        goto out;
    }
    rc = ww_secret_new(WW_AEAD_KEY_BYTES, &key, err);
    if (rc) {
        goto out;
    }
    memcpy(info, SECTION_LABEL, sizeof(SECTION_LABEL));
    memcpy(info + sizeof(SECTION_LABEL), key_id, WW_RECORD_ID_BYTES);
    rc = ww_hkdf_expand(prk, info, sizeof(info), ww_secret_open(key), WW_AEAD_KEY_BYTES,
                        err);
    ww_secret_close(key);
    if (!rc) {
        *out = key;
        key = NULL;
    }
out:
    ww_secret_free(prk);
    ww_secret_free(key);
    return rc;
}
