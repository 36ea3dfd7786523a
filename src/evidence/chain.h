/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of a walk along a chain of provenance. */
#ifndef WW_EVIDENCE_CHAIN_H
#define WW_EVIDENCE_CHAIN_H

#include "evidence/ancestors.h"
#include "sign/bundle.h"
#include "sign/notes.h"
#include "sign/oms.h"

#define WW_CHAIN_MAX_DEPTH 64
#define WW_CHAIN_MAX_LINKS 1024

/** The keys that a walk trusts. */
struct ww_chain_keys {
    struct ww_pubkey **keys;
    char (*hints)[WW_HINT_BYTES];
    const char *const *paths;
    size_t n;
};
enum ww_err ww_chain_keys_open(const char *const *paths, size_t n,
                               struct ww_chain_keys *out,
                               struct ww_error *err) WW_MUST_USE;
void ww_chain_keys_release(struct ww_chain_keys *keys);
/** The place of the key that a bundle says it was signed by. WW_E_UNTRUSTED. */
enum ww_err ww_chain_keys_find(const struct ww_chain_keys *keys,
                               const struct ww_bundle *bundle, size_t *out,
                               struct ww_error *err) WW_MUST_USE;

/** Evidence that was read and whose signature holds: one of the two is filled. */
struct ww_chain_evidence {
    enum ww_evidence_kind kind;
    uint8_t sha256[WW_SHA256_BYTES];
    char signer[WW_SIGNER_BYTES];
    struct ww_provenance_view provenance;
    struct ww_oms signature;
};
/** Check the signature of a file's text, then read its statement. */
enum ww_err ww_chain_evidence_open(const struct ww_chain_keys *keys,
                                   const struct ww_buf *text, enum ww_evidence_kind kind,
                                   struct ww_chain_evidence *out,
                                   struct ww_error *err) WW_MUST_USE;
void ww_chain_evidence_release(struct ww_chain_evidence *evidence);

/** WW_E_WRONG_MODEL unless every weight file that was used of a source is one that the
 *  source's own evidence speaks of, and no other file and no tensor root differs. A side
 *  file that the evidence leaves out is noted. */
enum ww_err ww_chain_match(const struct ww_provenance_link *used,
                           const struct ww_chain_evidence *evidence,
                           struct ww_notes *notes, struct ww_error *err) WW_MUST_USE;

#endif
