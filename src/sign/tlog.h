/* SPDX-License-Identifier: Apache-2.0 */
/**
 * An entry of a transparency log (Rekor) as a bundle carries it, checked offline:
 *
 *   body        what the log stored: it must name this very signature
 *   proof       the body is a leaf of a tree with this root (RFC 9162)
 *   checkpoint  the log signed that root (a signed note)
 *   promise     the log signed the time and place of the entry (Rekor v1 only)
 *
 * Only the promise makes the entry's time a fact.
 */
#ifndef WW_SIGN_TLOG_H
#define WW_SIGN_TLOG_H

#include "crypto/logkey.h"
#include "json/json.h"
#include "util/buf.h"

#define WW_TLOG_MAX_ENTRIES 32
#define WW_TLOG_MAX_HASHES 64 /* a tree of 2^64 leaves */

struct ww_tlog_entry {
    uint64_t log_index;
    uint8_t log_id[WW_SHA256_BYTES];
    const char *kind; /* borrowed from the document, as all text here */
    const char *version;
    int64_t integrated_time; /* 0: the log states none */
    struct ww_buf promise;   /* signed entry timestamp, may be empty */
    uint64_t leaf_index;
    uint64_t tree_size;
    uint8_t root[WW_SHA256_BYTES];
    uint8_t hashes[WW_TLOG_MAX_HASHES][WW_SHA256_BYTES];
    size_t n_hashes;
    const char *checkpoint;
    const char *body_text; /* base64 */
    struct ww_buf body;
};

/** WW_E_BUNDLE, WW_E_LIMIT. Release also after a failure. */
enum ww_err ww_tlog_parse(const struct ww_jnode *node, struct ww_tlog_entry *out,
                          struct ww_error *err) WW_MUST_USE;
void ww_tlog_release(struct ww_tlog_entry *entry);

/** What an entry must be about. */
struct ww_tlog_subject {
    const struct ww_buf *payload;
    const struct ww_buf *sig;
    const struct ww_buf *leaf; /* DER of the certificate */
};

/** WW_E_SIGNATURE when the body is about something else, WW_E_UNSUPPORTED for a kind that
 *  is not read here. */
enum ww_err ww_tlog_bind(const struct ww_tlog_entry *entry,
                         const struct ww_tlog_subject *subject,
                         struct ww_error *err) WW_MUST_USE;

/** Proof, checkpoint and promise against the logs that are trusted. *at_unix gets the
 *  promised time, 0 when there is no promise; then a time from elsewhere (stamped, 0:
 * none) says whether the log is trusted. WW_E_UNTRUSTED, WW_E_SIGNATURE. */
enum ww_err ww_tlog_check(const struct ww_tlog_entry *entry, const struct ww_log *logs,
                          size_t n_logs, int64_t stamped, int64_t *at_unix,
                          struct ww_error *err) WW_MUST_USE;

/** The root of a tree in which leaf stands at index, by RFC 9162 section 2.1.3.2. False
 *  when the path has the wrong length for the place. */
bool ww_tlog_fold(const uint8_t leaf[WW_SHA256_BYTES], uint64_t index, uint64_t size,
                  const uint8_t (*hashes)[WW_SHA256_BYTES], size_t n,
                  uint8_t root[WW_SHA256_BYTES]);

#endif
