/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reader of the sealed record. Numbers are little-endian.
 *
 *  1 magic "weightward-sealed\n"   18 bytes
 *  2 version                       u32, 1, or 2: the payload carries a binding
 *  3 kind                          u32, "lock", "rcpt", "cont" or "shar"
 *  4 created                       u64, seconds since 1970
 *  5 record id                     16 bytes
 *  6 number of stanzas             u32, 1 to 1024
 *  7 stanzas, each                 u32 type, u32 length of the body, body:
 *      "pass"  salt 16, passes u32, memory in KiB u32, nonce 24, wrapped file key 48
 *      "x255"  recipient id 16, sealed box 112 of binding 32 and file key 32
 *      "none"  file key 32, in clear
 *  8 payload                       nonce 24, u32 length (80, or 212 in version 2),
 *                                  XChaCha20-Poly1305 box
 *  9 check sum                     32 bytes, SHA-256 over a label and fields 1 to 8
 *
 * The check sum tells damage from a wrong passphrase before any costly work. It protects
 * against accidents only; alteration is caught by the box, whose associated data are
 * fields 1 to 7. All stanzas are of one type, and only "x255" may occur more than once.
 */
#include <string.h>

#include "crypto/sealed_layout.h"
#include "util/fail.h"
#include "util/num.h"

#define CHECKSUM_LABEL "weightward/sealed/checksum/v1"

static const struct stanza_type {
    uint32_t type;
    size_t body_bytes;
    unsigned max_count;
    enum ww_key_sealing sealing;
} stanza_types[] = {
    {STANZA_PASSPHRASE, PASS_BYTES, 1, WW_SEALED_PASSPHRASE},
    {STANZA_RECIPIENT, RCPT_BYTES, WW_RECORD_MAX_STANZAS, WW_SEALED_RECIPIENTS},
    {STANZA_NONE, FILE_KEY_BYTES, 1, WW_SEALED_NONE},
};

void ww_record_checksum(const uint8_t *bytes, size_t len,
                        uint8_t out[WW_RECORD_CHECK_BYTES])
{
    crypto_hash_sha256_state state;

    crypto_hash_sha256_init(&state);
    crypto_hash_sha256_update(&state, (const uint8_t *)CHECKSUM_LABEL,
                              sizeof(CHECKSUM_LABEL));
    crypto_hash_sha256_update(&state, bytes, len);
    crypto_hash_sha256_final(&state, out);
    ww_wipe(&state, sizeof(state));
}

static enum ww_err check_frame(const uint8_t *bytes, size_t len, struct ww_error *err)
{
    uint8_t sum[WW_RECORD_CHECK_BYTES];

    if (!ww_record_is(bytes, len)) {
        return WW_FAIL(err, WW_E_KEYFILE,
                       "not a sealed key record: it does not begin as one does, or was "
                       "copied in part");
    }
    if (len < AT_STANZAS + STANZA_HEAD_BYTES + FILE_KEY_BYTES + TAIL_BYTES) {
        return WW_FAIL(err, WW_E_KEYFILE, "sealed record ends after %zu bytes", len);
    }
    const uint32_t version = ww_get_u32le(bytes + AT_VERSION);
    if (version != WW_RECORD_VERSION && version != WW_RECORD_VERSION_BOUND) {
        return WW_FAIL(err, WW_E_VERSION,
                       "sealed record has version %u, known are %d and %d", version,
                       WW_RECORD_VERSION, WW_RECORD_VERSION_BOUND);
    }
    ww_record_checksum(bytes, len - WW_RECORD_CHECK_BYTES, sum);
    if (memcmp(sum, bytes + len - WW_RECORD_CHECK_BYTES, sizeof(sum)) != 0) {
        return WW_FAIL(err, WW_E_KEYFILE,
                       "sealed record is damaged: its check sum differs");
    }
    return WW_OK;
}

static bool kind_is_known(uint32_t kind)
{
    return kind == WW_RECORD_LOCK || kind == WW_RECORD_RECIPIENT ||
           kind == WW_RECORD_CONTENT || kind == WW_RECORD_SHARE;
}

static enum ww_err parse_fixed(const uint8_t *bytes, struct ww_record *out,
                               struct ww_error *err)
{
    const uint32_t kind = ww_get_u32le(bytes + AT_KIND);
    if (!kind_is_known(kind)) {
        return WW_FAIL(err, WW_E_KEYFILE, "sealed record is of the unknown kind 0x%08x",
                       kind);
    }
    const uint32_t n_stanzas = ww_get_u32le(bytes + AT_N_STANZAS);
    if (n_stanzas < 1 || n_stanzas > WW_RECORD_MAX_STANZAS) {
        return WW_FAIL(err, WW_E_KEYFILE,
                       "sealed record has %u stanzas, expected 1 to %d", n_stanzas,
                       WW_RECORD_MAX_STANZAS);
    }
    out->kind = (enum ww_record_kind)kind;
    out->version = ww_get_u32le(bytes + AT_VERSION);
    out->plain_bytes =
        out->version == WW_RECORD_VERSION_BOUND ? PLAIN_BOUND_BYTES : PLAIN_BYTES;
    out->created_unix = ww_get_u64le(bytes + AT_CREATED);
    memcpy(out->id, bytes + AT_ID, WW_RECORD_ID_BYTES);
    out->n_stanzas = n_stanzas;
    out->bytes = bytes;
    return WW_OK;
}

static const struct stanza_type *find_type(uint32_t type)
{
    for (size_t i = 0; i < WW_LEN(stanza_types); i++) {
        if (stanza_types[i].type == type) {
            return &stanza_types[i];
        }
    }
    return NULL;
}

/* All stanzas have the first one's type, so the length of the record is known from it. */
static enum ww_err parse_stanzas(const uint8_t *bytes, size_t len, struct ww_record *out,
                                 struct ww_error *err)
{
    const uint32_t type = ww_get_u32le(bytes + AT_STANZAS);
    const struct stanza_type *found = find_type(type);

    if (!found || out->n_stanzas > found->max_count) {
        return WW_FAIL(err, WW_E_KEYFILE,
                       "sealed record has %u stanzas of type 0x%08x, "
                       "which is not one we know",
                       out->n_stanzas, type);
    }
    out->sealing = found->sealing;
    out->stride_bytes = STANZA_HEAD_BYTES + found->body_bytes;
    out->stanzas = bytes + AT_STANZAS + STANZA_HEAD_BYTES;
    out->header_bytes = AT_STANZAS + out->n_stanzas * out->stride_bytes;
    const size_t full = out->header_bytes + out->plain_bytes + TAIL_OVER_BYTES;
    if (len != full) {
        return WW_FAIL(err, WW_E_KEYFILE, "sealed record has %zu bytes, expected %zu",
                       len, full);
    }
    for (size_t i = 0; i < out->n_stanzas; i++) {
        const uint8_t *head = bytes + AT_STANZAS + i * out->stride_bytes;
        if (ww_get_u32le(head) != type || ww_get_u32le(head + 4) != found->body_bytes) {
            return WW_FAIL(err, WW_E_KEYFILE,
                           "stanza %zu of the sealed record is malformed", i + 1);
        }
    }
    return WW_OK;
}

/* Bounds on what a file can make us spend; the lower ones are Argon2's own. */
static enum ww_err check_cost(const struct ww_record *record, struct ww_error *err)
{
    if (record->sealing != WW_SEALED_PASSPHRASE) {
        return WW_OK;
    }
    const uint32_t n_passes = ww_get_u32le(record->stanzas + PASS_AT_PASSES);
    const uint32_t memory_kib = ww_get_u32le(record->stanzas + PASS_AT_MEMORY);
    if (n_passes < 1 || n_passes > WW_ARGON2_MAX_PASSES || memory_kib < 8 ||
        memory_kib > WW_ARGON2_MAX_KIB) {
        return WW_FAIL(
            err, WW_E_KEYFILE,
            "sealed record asks for %u Argon2 passes over %u KiB, at most %d over "
            "%d are done",
            n_passes, memory_kib, WW_ARGON2_MAX_PASSES, WW_ARGON2_MAX_KIB);
    }
    return WW_OK;
}

enum ww_err ww_record_parse(const uint8_t *bytes, size_t len, struct ww_record *out,
                            struct ww_error *err)
{
    struct ww_record record;
    enum ww_err rc = WW_OK;

    memset(&record, 0, sizeof(record));
    memset(out, 0, sizeof(*out));
    rc = check_frame(bytes, len, err);
    if (rc) {
        return rc;
    }
    rc = parse_fixed(bytes, &record, err);
    if (rc) {
        return rc;
    }
    rc = parse_stanzas(bytes, len, &record, err);
    if (rc) {
        return rc;
    }
    rc = check_cost(&record, err);
    if (rc) {
        return rc;
    }
    record.nonce = bytes + record.header_bytes;
    record.box = record.nonce + NONCE_BYTES + 4;
    const uint32_t box_bytes = ww_get_u32le(record.nonce + NONCE_BYTES);
    if (box_bytes != record.plain_bytes + BOX_OVER_BYTES) {
        return WW_FAIL(err, WW_E_KEYFILE,
                       "sealed record has a payload of %u bytes, expected %zu", box_bytes,
                       record.plain_bytes + BOX_OVER_BYTES);
    }
    *out = record;
    return WW_OK;
}

const uint8_t *ww_record_recipient(const struct ww_record *record, size_t i)
{
    return record->stanzas + i * record->stride_bytes;
}
