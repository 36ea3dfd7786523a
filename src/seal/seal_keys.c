/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HKDF-SHA256 (RFC 5869) with a label per use. Expand's first block is HMAC over the
 * info, so commitments and the MAC are HMACs under keys that no two uses share. That HMAC
 * also makes the whole committing, which AES-GCM alone is not: one folder cannot open to
 * two different plaintexts under two content keys.
 */
#include "seal/seal_keys.h"

#include <string.h>

#include "crypto/derive.h"
#include "util/fail.h"

#define ROOT_LABEL "weightward/seal/v1"
#define FILE_LABEL "weightward/seal/file/v1"
#define PLAIN_LABEL "weightward/seal/plain/v1"
#define MANIFEST_LABEL "weightward/seal/manifest/v1"
#define KEY_BYTES 32
#define LABEL_MAX 32

enum ww_err ww_seal_root(struct ww_secret *content_key, struct ww_secret **prk,
                         struct ww_error *err)
{
    return ww_hkdf_extract(content_key, ROOT_LABEL, sizeof(ROOT_LABEL), prk, err);
}

/* Expand with the label, its zero byte, and a digest. */
static enum ww_err expand(struct ww_secret *prk, const char *label,
                          const uint8_t digest[WW_SHA256_BYTES], uint8_t *out, size_t len,
                          struct ww_error *err)
{
    uint8_t info[LABEL_MAX + WW_SHA256_BYTES];
    const size_t label_bytes = strlen(label) + 1;

    WW_INVARIANT(label_bytes <= LABEL_MAX);
    memcpy(info, label, label_bytes);
    memcpy(info + label_bytes, digest, WW_SHA256_BYTES);
    return ww_hkdf_expand(prk, info, label_bytes + WW_SHA256_BYTES, out, len, err);
}

enum ww_err ww_seal_file_key(struct ww_secret *prk,
                             const uint8_t head_sha256[WW_SHA256_BYTES],
                             struct ww_secret **key, uint8_t tag[WW_SEAL_HEAD_TAG_BYTES],
                             struct ww_error *err)
{
    struct ww_secret *both = NULL;
    struct ww_secret *made = NULL;
    enum ww_err rc = WW_OK;

    *key = NULL;
    rc = ww_secret_new(KEY_BYTES + WW_SEAL_HEAD_TAG_BYTES, &both, err);
    if (rc) {
        goto out;
    }
    rc = ww_secret_new(KEY_BYTES, &made, err);
    if (rc) {
        goto out;
    }
    uint8_t *bytes = ww_secret_open(both);
    rc = expand(prk, FILE_LABEL, head_sha256, bytes, KEY_BYTES + WW_SEAL_HEAD_TAG_BYTES,
                err);
    if (rc) {
        goto out;
    }
    memcpy(ww_secret_open(made), bytes, KEY_BYTES);
    ww_secret_close(made);
    memcpy(tag, bytes + KEY_BYTES, WW_SEAL_HEAD_TAG_BYTES);
    *key = made;
    made = NULL;
out:
    ww_secret_free(both);
    ww_secret_free(made);
    return rc;
}

enum ww_err ww_seal_commitment(struct ww_secret *prk, const char *name,
                               const uint8_t sha256[WW_SHA256_BYTES],
                               uint8_t out[WW_SHA256_BYTES], struct ww_error *err)
{
    uint8_t both[2 * WW_SHA256_BYTES];
    uint8_t digest[WW_SHA256_BYTES];

    ww_sha256_of(name, strlen(name), both);
    memcpy(both + WW_SHA256_BYTES, sha256, WW_SHA256_BYTES);
    ww_sha256_of(both, sizeof(both), digest);
    return expand(prk, PLAIN_LABEL, digest, out, WW_SHA256_BYTES, err);
}

enum ww_err ww_seal_manifest_mac(struct ww_secret *prk, const void *text, size_t len,
                                 uint8_t out[WW_SHA256_BYTES], struct ww_error *err)
{
    uint8_t digest[WW_SHA256_BYTES];

    ww_sha256_of(text, len, digest);
    return expand(prk, MANIFEST_LABEL, digest, out, WW_SHA256_BYTES, err);
}
