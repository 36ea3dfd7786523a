/* SPDX-License-Identifier: Apache-2.0 */
/* Sizes, offsets and shared steps of the sealed record, for its reader and its writer. */
#ifndef WW_CRYPTO_SEALED_LAYOUT_H
#define WW_CRYPTO_SEALED_LAYOUT_H

#include <sodium.h>

#include "crypto/binding.h"
#include "crypto/sealed.h"

/* Offsets of the fixed part, numbered as in docs/formats/sealed-key.md. */
#define AT_VERSION 18
#define AT_KIND 22
#define AT_CREATED 26
#define AT_ID 34
#define AT_N_STANZAS 50
#define AT_STANZAS 54

#define STANZA_HEAD_BYTES 8           /* type, length of the body */
#define STANZA_PASSPHRASE 0x73736170u /* "pass" */
#define STANZA_RECIPIENT 0x35353278u  /* "x255" */
#define STANZA_NONE 0x656e6f6eu       /* "none" */

#define FILE_KEY_BYTES 32
#define SALT_BYTES crypto_pwhash_argon2id_SALTBYTES
#define NONCE_BYTES crypto_aead_xchacha20poly1305_ietf_NPUBBYTES
#define TAG_BYTES crypto_aead_xchacha20poly1305_ietf_ABYTES
#define BINDING_BYTES 32

/* Body of a passphrase stanza. */
#define PASS_AT_PASSES 16
#define PASS_AT_MEMORY 20
#define PASS_AT_NONCE 24
#define PASS_AT_WRAPPED 48
#define PASS_BYTES (PASS_AT_WRAPPED + FILE_KEY_BYTES + 16)

/* Body of a recipient stanza; the box holds the binding and the file key. */
#define RCPT_AT_BOX 16
#define RCPT_BOX_BYTES (48 + BINDING_BYTES + FILE_KEY_BYTES)
#define RCPT_BYTES (RCPT_AT_BOX + RCPT_BOX_BYTES)

/* The payload, before encryption. */
#define PLAIN_AT_KIND 4
#define PLAIN_AT_CREATED 8
#define PLAIN_AT_ID 16
#define PLAIN_AT_SECRET 32
#define PLAIN_BYTES 64
#define PLAIN_AT_BINDING PLAIN_BYTES /* version 2 */
#define PLAIN_BOUND_BYTES (PLAIN_AT_BINDING + WW_BINDING_BYTES)
#define BOX_OVER_BYTES 16
#define TAIL_OVER_BYTES (NONCE_BYTES + 4 + BOX_OVER_BYTES + WW_RECORD_CHECK_BYTES)
#define TAIL_BYTES (PLAIN_BYTES + TAIL_OVER_BYTES) /* version 1 */

_Static_assert(SALT_BYTES == 16 && NONCE_BYTES == 24 && TAG_BYTES == 16,
               "libsodium sizes");
_Static_assert(crypto_box_SEALBYTES == 48, "libsodium sizes");

/** Associated data of a wrapped file key: label and fixed part of the record. */
#define WRAP_LABEL "weightward/sealed/passphrase/v1"
#define WRAP_AD_BYTES (sizeof(WRAP_LABEL) + WW_RECORD_FIXED_BYTES)
void ww_record_wrap_ad(const uint8_t *fixed, uint8_t out[WRAP_AD_BYTES]);
/** Ties a recipient's box to the record and to the recipient. */
void ww_record_binding(const uint8_t *fixed, const uint8_t id[WW_RECORD_ID_BYTES],
                       uint8_t out[BINDING_BYTES]);
/** Key from a passphrase. WW_E_NOMEM when the memory is not there. */
enum ww_err ww_record_stretch(struct ww_secret *passphrase, const uint8_t *salt,
                              const struct ww_argon2_cost *cost, struct ww_secret **out,
                              struct ww_error *err) WW_MUST_USE;
/** The file key, whichever way the record is sealed; 32 bytes. */
enum ww_err ww_record_file_key(const struct ww_record *record,
                               const struct ww_record_key *key,
                               struct ww_secret *file_key,
                               struct ww_error *err) WW_MUST_USE;
/** The payload decrypted and checked against the header, record->plain_bytes long. */
enum ww_err ww_record_payload(const struct ww_record *record, struct ww_secret *file_key,
                              struct ww_secret **plain, struct ww_error *err) WW_MUST_USE;
/** Stanza of one recipient, head and body; record: the fixed part. */
enum ww_err ww_record_put_recipient(const uint8_t *public_key, const uint8_t *record,
                                    const uint8_t *file_key, uint8_t *stanza,
                                    struct ww_error *err) WW_MUST_USE;
/** Nonce, box and check sum behind header_bytes of record. */
void ww_record_put_tail(uint8_t *record, size_t header_bytes, const uint8_t *plain,
                        size_t plain_bytes, const uint8_t *file_key);

#endif
