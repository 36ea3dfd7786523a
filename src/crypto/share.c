/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reader of a share, numbers little-endian:
 *
 *  1 magic "weightward-keyshare\n"  20 bytes
 *  2 version                        u32, 1
 *  3 created                        u64, seconds since 1970
 *  4 set id                         16 bytes, the same in all shares of one split
 *  5 number, threshold, shares, 0   4 bytes
 *  6 commitment                     32 bytes, to the set id and the key
 *  7 binding                        132 bytes, of the key, as in its sealed record
 *  8 record                         u32 length, sealed record of kind "shar"
 *  9 signature                      u32 length (0: none), ECDSA in DER
 *
 * The record's id is a hash of fields 1 to 7 and is authenticated by whatever opens the
 * record, so a share cannot be given another number, threshold or key.
 */
#include "crypto/share.h"

#include <string.h>

#include "util/fail.h"
#include "util/num.h"

#define AT_VERSION 20
#define AT_CREATED 24
#define AT_SET 32
#define AT_INDEX 48
#define AT_COMMITMENT 52
#define AT_BINDING 84
#define AT_RECORD_LEN WW_SHARE_HEAD_BYTES
#define AT_RECORD (AT_RECORD_LEN + 4)
#define MAX_SIGNATURE 160
#define ID_LABEL "weightward/share/id/v1"
#define COMMITMENT_LABEL "weightward/share/commitment/v1"

_Static_assert(AT_BINDING + WW_BINDING_BYTES == WW_SHARE_HEAD_BYTES, "fields fill it");

bool ww_share_is(const uint8_t *bytes, size_t len)
{
    return len >= WW_SHARE_MAGIC_BYTES &&
           memcmp(bytes, WW_SHARE_MAGIC, WW_SHARE_MAGIC_BYTES) == 0;
}

void ww_share_record_id(const uint8_t *head, uint8_t id[WW_RECORD_ID_BYTES])
{
    uint8_t text[sizeof(ID_LABEL) + WW_SHARE_HEAD_BYTES];
    uint8_t digest[WW_SHA256_BYTES];

    memcpy(text, ID_LABEL, sizeof(ID_LABEL));
    memcpy(text + sizeof(ID_LABEL), head, WW_SHARE_HEAD_BYTES);
    ww_sha256_of(text, sizeof(text), digest);
    memcpy(id, digest, WW_RECORD_ID_BYTES);
}

void ww_share_commitment(const uint8_t *set_id, struct ww_secret *key,
                         uint8_t out[WW_SHA256_BYTES])
{
    uint8_t text[sizeof(COMMITMENT_LABEL) + WW_SHARE_SET_BYTES + WW_RECORD_SECRET_BYTES];

    memcpy(text, COMMITMENT_LABEL, sizeof(COMMITMENT_LABEL));
    memcpy(text + sizeof(COMMITMENT_LABEL), set_id, WW_SHARE_SET_BYTES);
    memcpy(text + sizeof(COMMITMENT_LABEL) + WW_SHARE_SET_BYTES, ww_secret_open(key),
           WW_RECORD_SECRET_BYTES);
    ww_secret_close(key);
    ww_sha256_of(text, sizeof(text), out);
    ww_wipe(text, sizeof(text));
}

enum ww_err ww_share_message(const uint8_t *bytes, size_t len, struct ww_buf *out,
                             struct ww_error *err)
{
    enum ww_err rc =
        ww_buf_add(out, WW_SHARE_SIGN_LABEL, sizeof(WW_SHARE_SIGN_LABEL), err);
    return rc ? rc : ww_buf_add(out, bytes, len, err);
}

void ww_share_head(const struct ww_share *share, uint8_t out[WW_SHARE_HEAD_BYTES])
{
    memcpy(out, WW_SHARE_MAGIC, WW_SHARE_MAGIC_BYTES);
    ww_put_u32le(out + AT_VERSION, WW_SHARE_VERSION);
    ww_put_u64le(out + AT_CREATED, share->created_unix);
    memcpy(out + AT_SET, share->set_id, WW_SHARE_SET_BYTES);
    out[AT_INDEX] = share->index;
    out[AT_INDEX + 1] = share->threshold;
    out[AT_INDEX + 2] = share->n_shares;
    out[AT_INDEX + 3] = 0;
    memcpy(out + AT_COMMITMENT, share->commitment, WW_SHA256_BYTES);
    ww_binding_write(&share->binding, out + AT_BINDING);
}

static enum ww_err parse_head(const uint8_t *bytes, struct ww_share *out,
                              struct ww_error *err)
{
    struct ww_error own = {0};

    out->created_unix = ww_get_u64le(bytes + AT_CREATED);
    memcpy(out->set_id, bytes + AT_SET, WW_SHARE_SET_BYTES);
    out->index = bytes[AT_INDEX];
    out->threshold = bytes[AT_INDEX + 1];
    out->n_shares = bytes[AT_INDEX + 2];
    memcpy(out->commitment, bytes + AT_COMMITMENT, WW_SHA256_BYTES);
    if (out->threshold < 2 || out->threshold > out->n_shares || out->index < 1 ||
        out->index > out->n_shares || bytes[AT_INDEX + 3] != 0) {
        return WW_FAIL(err, WW_E_SHARES,
                       "share %u of %u, of which %u are needed: that "
                       "cannot be",
                       out->index, out->n_shares, out->threshold);
    }
    if (ww_binding_read(bytes + AT_BINDING, &out->binding, &own)) {
        return WW_FAIL(err, WW_E_SHARES, "%s", own.text);
    }
    return WW_OK;
}

/* Whatever is wrong with the record inside is wrong with the share. */
static enum ww_err parse_record(const uint8_t *bytes, size_t len, struct ww_share *out,
                                struct ww_error *err)
{
    uint8_t id[WW_RECORD_ID_BYTES];
    struct ww_error own = {0};
    enum ww_err rc = ww_record_parse(bytes + AT_RECORD, len, &out->record, &own);

    if (rc) {
        return WW_FAIL(err, rc == WW_E_VERSION ? rc : WW_E_SHARES, "%s", own.text);
    }
    ww_share_record_id(bytes, id);
    if (out->record.kind != WW_RECORD_SHARE ||
        memcmp(id, out->record.id, sizeof(id)) != 0) {
        return WW_FAIL(
            err, WW_E_SHARES,
            "share was altered: its head and its record do not belong together");
    }
    return WW_OK;
}

enum ww_err ww_share_parse(const uint8_t *bytes, size_t len, struct ww_share *out,
                           struct ww_error *err)
{
    struct ww_share share = {.bytes = bytes};
    enum ww_err rc = WW_OK;

    memset(out, 0, sizeof(*out));
    if (!ww_share_is(bytes, len)) {
        return WW_FAIL(
            err, WW_E_SHARES,
            "not a share of a key, expected a file that 'weightward key split' wrote");
    }
    if (len < AT_RECORD + 4) {
        return WW_FAIL(err, WW_E_SHARES, "share ends after %zu bytes", len);
    }
    if (ww_get_u32le(bytes + AT_VERSION) != WW_SHARE_VERSION) {
        return WW_FAIL(err, WW_E_VERSION, "share has version %u, known is %d",
                       ww_get_u32le(bytes + AT_VERSION), WW_SHARE_VERSION);
    }
    const uint32_t record_bytes = ww_get_u32le(bytes + AT_RECORD_LEN);
    if (record_bytes > len - AT_RECORD - 4) {
        return WW_FAIL(err, WW_E_SHARES,
                       "share is cut: its record has %u bytes, %zu are "
                       "there",
                       record_bytes, len - AT_RECORD - 4);
    }
    share.signed_bytes = AT_RECORD + record_bytes;
    share.signature_bytes = ww_get_u32le(bytes + share.signed_bytes);
    share.signature = bytes + share.signed_bytes + 4;
    if (share.signature_bytes > MAX_SIGNATURE ||
        share.signature_bytes != len - share.signed_bytes - 4) {
        return WW_FAIL(err, WW_E_SHARES, "share was cut, or something was added to it");
    }
    rc = parse_head(bytes, &share, err);
    if (!rc) {
        rc = parse_record(bytes, record_bytes, &share, err);
    }
    if (!rc) {
        *out = share;
    }
    return rc;
}
