/* SPDX-License-Identifier: Apache-2.0 */
/* The sealed record: one 32-byte secret in a file. Layout: docs/formats/sealed-key.md. */
#ifndef WW_CRYPTO_SEALED_H
#define WW_CRYPTO_SEALED_H

#include <string.h>

#include "crypto/secret.h"

#define WW_RECORD_MAGIC "weightward-sealed\n"
#define WW_RECORD_MAGIC_BYTES 18
#define WW_RECORD_VERSION 1 /* 2: with a binding */
#define WW_RECORD_VERSION_BOUND 2
#define WW_RECORD_FIXED_BYTES 50 /* magic to record id */
#define WW_RECORD_SECRET_BYTES 32
#define WW_RECORD_ID_BYTES 16
#define WW_RECORD_CHECK_BYTES 32
#define WW_RECORD_MAX_STANZAS 65536

#define WW_ARGON2_MAX_PASSES 10
#define WW_ARGON2_MAX_KIB (1024 * 1024)

/* Numbers that read as four letters in the file. */
enum ww_record_kind {
    WW_RECORD_LOCK = 0x6b636f6c,
    WW_RECORD_RECIPIENT = 0x74706372,
    WW_RECORD_CONTENT = 0x746e6f63, /* "cont": of a sealed model */
    WW_RECORD_SHARE = 0x72616873    /* "shar": part of a lock key */
};

struct ww_argon2_cost {
    uint32_t n_passes;
    uint32_t memory_kib;
};
/** 3 passes over 256 MiB: what every public function uses. */
extern const struct ww_argon2_cost ww_argon2_strong;

/** A parsed record: views into the bytes given to ww_record_parse. */
struct ww_record {
    enum ww_record_kind kind;
    uint32_t version;
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
    size_t plain_bytes; /* of the payload, before encryption */
};

/** True when the bytes begin like a sealed record. */
static inline bool ww_record_is(const uint8_t *bytes, size_t len)
{
    return len >= WW_RECORD_MAGIC_BYTES &&
           memcmp(bytes, WW_RECORD_MAGIC, WW_RECORD_MAGIC_BYTES) == 0;
}
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
/** The secret, and what it is bound to (binding may be NULL; all-zero when to nothing).
 * WW_E_PASSPHRASE when it is missing or wrong, WW_E_NOT_FOR_YOU when the record is for
 * other recipients, WW_E_KEYFILE when altered, WW_E_NOMEM. */
enum ww_err ww_record_open(const struct ww_record *record,
                           const struct ww_record_key *key, struct ww_secret **out,
                           struct ww_key_binding *binding,
                           struct ww_error *err) WW_MUST_USE;
/** Id of the i-th recipient of a record that is sealed for recipients. */
const uint8_t *ww_record_recipient(const struct ww_record *record, size_t i);

/** How to make a record. A passphrase, recipients, or neither, which stores in clear. */
struct ww_record_plan {
    enum ww_record_kind kind;
    uint64_t created_unix;
    uint8_t id[WW_RECORD_ID_BYTES];
    struct ww_secret *passphrase;
    struct ww_argon2_cost cost;
    const uint8_t (*recipients)[WW_RECORD_SECRET_BYTES]; /* X25519 public keys */
    size_t n_recipients;
    const struct ww_key_binding *binding; /* NULL, or all-zero: to nothing */
};
enum ww_err ww_record_make(const struct ww_record_plan *plan, struct ww_secret *secret,
                           struct ww_secret **record, struct ww_error *err) WW_MUST_USE;

/** Other recipients for the same secret under the same id: those in `remove` leave, those
 * in `add` (public keys) come; who stays keeps the stanza as it is. The file key stays
 * too. WW_E_USAGE when one to add is there already, one to remove is not, or none would
 * be left; else as ww_record_open. */
struct ww_record_change {
    const uint8_t (*add)[WW_RECORD_SECRET_BYTES];
    size_t n_add;
    const uint8_t (*remove)[WW_RECORD_ID_BYTES];
    size_t n_remove;
};
enum ww_err ww_record_change_recipients(const struct ww_record *record,
                                        const struct ww_record_key *key,
                                        const struct ww_record_change *change,
                                        struct ww_secret **out,
                                        struct ww_error *err) WW_MUST_USE;

#endif
