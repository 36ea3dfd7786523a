/* SPDX-License-Identifier: Apache-2.0 */
/**
 * The ledger of handed-out copies: one signed entry a line, each with the hash of the
 * line before it. docs/formats/ledger.md is its definition.
 *
 *   line       Sigstore bundle (compact JSON) | '\n'; key method, one key for all lines
 *   payload    in-toto Statement v1, predicate WW_LEDGER_PREDICATE
 *   predicate  {schema, seq, previous, date, kind, ...}
 *     ledger     first line:  {public_key}                    subject: hash of that text
 *     model      a source:    {files, tensors, probes}        subject: tensor root
 *     copy       a hand-out:  {recipient, model, lock_id, nonce, element, scale}
 *                                                             subject: root of the copy
 */
#ifndef WW_TRACE_LEDGER_H
#define WW_TRACE_LEDGER_H

#include "crypto/verify.h"
#include "json/json.h"
#include "weightward/trace.h"

#define WW_LEDGER_SCHEMA "weightward.ledger/1"
#define WW_LEDGER_PREDICATE "urn:weightward:predicate:ledger:1"
#define WW_LEDGER_DATE_BYTES 21 /* 2026-01-31T12:00:00Z */

/* X(name, text) */
#define WW_LEDGER_KIND_LIST(X) X(HEAD, "ledger") X(MODEL, "model") X(COPY, "copy")
enum ww_ledger_kind {
#define WW_LEDGER_KIND_ENUM(name, text) WW_LEDGER_##name,
    WW_LEDGER_KIND_LIST(WW_LEDGER_KIND_ENUM)
#undef WW_LEDGER_KIND_ENUM
        WW_LEDGER_KINDS
};

struct ww_ledger_file {
    const char *path;
    uint64_t size_bytes;
    uint8_t sha256[WW_SHA256_BYTES];
};

/** A tensor that holds probes, with the shape that it had. */
struct ww_ledger_tensor {
    const char *name;
    uint64_t shape[WW_MAX_RANK];
    unsigned rank;
};

/** What a trace needs of a source: its sampled coefficients, int8 [n_coords, samples]. */
struct ww_ledger_model {
    struct ww_ledger_file *files;
    size_t n_files;
    struct ww_ledger_tensor *tensors;
    size_t n_tensors;
    uint64_t n_coords;
    uint64_t samples;
    uint8_t places[WW_SHA256_BYTES]; /* digest of where the samples lie */
    int8_t *values;
};

struct ww_ledger_copy {
    const char *recipient;
    uint64_t model; /* seq of its model entry */
    uint8_t lock_id[WW_SHA256_BYTES];
    uint8_t nonce[WW_HANDOUT_NONCE_BYTES];
    uint8_t element[WW_SHA256_BYTES];
    bool scale;
};

/** One entry. Strings of an entry that was read borrow from json. */
struct ww_ledger_entry {
    enum ww_ledger_kind kind;
    uint64_t seq; /* 0: the first line */
    uint8_t previous[WW_SHA256_BYTES];
    char date[WW_LEDGER_DATE_BYTES];
    const char *name; /* of the model; "ledger" in the first line */
    uint8_t root[WW_SHA256_BYTES];
    const char *public_key; /* HEAD */
    struct ww_ledger_model model;
    struct ww_ledger_copy copy;
    struct ww_json *json;
};

/** The statement of an entry. */
enum ww_err ww_ledger_entry_write(const struct ww_ledger_entry *entry, struct ww_buf *out,
                                  struct ww_error *err) WW_MUST_USE;
/** Read one back; WW_E_LEDGER, WW_E_VERSION for another schema. */
enum ww_err ww_ledger_entry_read(const uint8_t *payload, size_t len,
                                 struct ww_ledger_entry *out,
                                 struct ww_error *err) WW_MUST_USE;
void ww_ledger_entry_release(struct ww_ledger_entry *entry);

struct ww_ledger {
    char *path;
    int fd; /* held with a lock while writing, else -1 */
    uint64_t size_bytes;
    uint64_t torn_bytes;             /* of a last line that was not finished */
    uint8_t last[WW_SHA256_BYTES];   /* hash of the last whole line */
    struct ww_ledger_entry *entries; /* as read */
    size_t n;
    size_t capacity;
    uint64_t next;         /* seq of the line that comes next */
    struct ww_pubkey *key; /* whose signatures it bears */
};

/**
 * Read a ledger and check every line. public_key (a PEM path) pins the signer, NULL takes
 * the key that the first line states. A torn last line is left out and counted.
 * WW_E_LEDGER, WW_E_TAMPERED, WW_E_UNTRUSTED, WW_E_NOTFOUND.
 */
enum ww_err ww_ledger_read(const char *path, const char *public_key,
                           struct ww_ledger *out, struct ww_error *err) WW_MUST_USE;

/**
 * Open for appending: made (0600) when missing, locked against other writers, checked as
 * above with the signer's key. A torn last line is WW_E_LEDGER unless mend is set, which
 * cuts it off.
 */
enum ww_err ww_ledger_open(const char *path, const struct ww_signer *signer, bool mend,
                           int64_t now_unix, struct ww_ledger *out,
                           struct ww_error *err) WW_MUST_USE;

/** Sign an entry and append it, flushed before this returns. seq, previous and date are
 *  filled in here; the ledger keeps no copy of the entry but its seq. */
enum ww_err ww_ledger_append(struct ww_ledger *ledger, const struct ww_signer *signer,
                             int64_t now_unix, struct ww_ledger_entry *entry,
                             struct ww_error *err) WW_MUST_USE;
void ww_ledger_close(struct ww_ledger *ledger);

/** The copy of a recipient, or NULL. */
const struct ww_ledger_entry *ww_ledger_find(const struct ww_ledger *ledger,
                                             const char *recipient);

#endif
