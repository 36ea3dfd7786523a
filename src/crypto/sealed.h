/* SPDX-License-Identifier: Apache-2.0 */
/* The sealed record: one 32-byte secret in a file. Layout: docs/formats/sealed-key.md. */
#ifndef WW_CRYPTO_SEALED_H
#define WW_CRYPTO_SEALED_H

#include "crypto/secret.h"

#define WW_RECORD_MAGIC "weightward-sealed\n"
#define WW_RECORD_MAGIC_BYTES 18
#define WW_RECORD_VERSION 1
#define WW_RECORD_FIXED_BYTES 50 /* magic to record id */
#define WW_RECORD_SECRET_BYTES 32
#define WW_RECORD_ID_BYTES 16
#define WW_RECORD_CHECK_BYTES 32
#define WW_RECORD_MAX_STANZAS 64

#define WW_ARGON2_MAX_PASSES 10
#define WW_ARGON2_MAX_KIB (1024 * 1024)

/* Numbers that read as four letters in the file. */
enum ww_record_kind { WW_RECORD_LOCK = 0x6b636f6c, WW_RECORD_RECIPIENT = 0x74706372 };

struct ww_argon2_cost {
    uint32_t n_passes;
    uint32_t memory_kib;
};
/** 3 passes over 256 MiB: what every public function uses. */
extern const struct ww_argon2_cost ww_argon2_strong;

/** A parsed record: views into the bytes given to ww_record_parse. */
struct ww_record {
    enum ww_record_kind kind;
    uint64_t created_unix;
    uint8_t id[WW_RECORD_ID_BYTES];
    enum ww_key_sealing sealing;
    unsigned n_stanzas;
    const uint8_t *bytes;   /* the whole record */
    const uint8_t *stanzas; /* body of the first stanza */
    size_t stride_bytes;    /* from one body to the next */
    size_t header_bytes;    /* magic to the last stanza */
    const uint8_t *nonce;
    const uint8_t *box; /* the encrypted payload */
};

/** True when the bytes begin like a sealed record. */
bool ww_record_is(const uint8_t *bytes, size_t len);
/** WW_E_KEYFILE when damaged, WW_E_VERSION for a newer one. Opens nothing. */
enum ww_err ww_record_parse(const uint8_t *bytes, size_t len, struct ww_record *out,
                            struct ww_error *err) WW_MUST_USE;
/** The check sum over all bytes before it, which ends a record. */
void ww_record_checksum(const uint8_t *bytes, size_t len,
                        uint8_t out[WW_RECORD_CHECK_BYTES]);

/** What may open a record; both may be NULL. */
struct ww_record_key {
    struct ww_secret *passphrase;
    struct ww_secret *recipient; /* 32 bytes, X25519 */
};
/** The secret. WW_E_PASSPHRASE when it is missing or wrong, WW_E_KEY when the record is
 * for other recipients, WW_E_KEYFILE when altered, WW_E_NOMEM. */
enum ww_err ww_record_open(const struct ww_record *record,
                           const struct ww_record_key *key, struct ww_secret **out,
                           struct ww_error *err) WW_MUST_USE;

/** How to make a record. A passphrase, recipients, or neither, which stores in clear. */
struct ww_record_plan {
    enum ww_record_kind kind;
    uint64_t created_unix;
    uint8_t id[WW_RECORD_ID_BYTES];
    struct ww_secret *passphrase;
    struct ww_argon2_cost cost;
    const uint8_t (*recipients)[WW_RECORD_SECRET_BYTES]; /* X25519 public keys */
    size_t n_recipients;
};
enum ww_err ww_record_make(const struct ww_record_plan *plan, struct ww_secret *secret,
                           struct ww_secret **record, struct ww_error *err) WW_MUST_USE;

#endif
