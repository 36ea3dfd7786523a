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

/** Whom a walk trusts: a verifier for each key, one for certificates, one for an
 * identity. */
struct ww_chain_keys {
    struct ww_verifier *items;
    size_t n;
    const char *what; /* of a signer that is not among them, for error texts */
};
enum ww_err ww_chain_keys_open(const struct ww_chain_options *options,
                               struct ww_chain_keys *out,
                               struct ww_error *err) WW_MUST_USE;
/** Trust what the options name as well; nothing is no error here. */
enum ww_err ww_chain_keys_more(const struct ww_chain_options *options,
                               struct ww_chain_keys *keys,
                               struct ww_error *err) WW_MUST_USE;
/** Trust a key as well, which is borrowed. */
enum ww_err ww_chain_keys_add(struct ww_chain_keys *keys, const struct ww_pubkey *key,
                              struct ww_error *err) WW_MUST_USE;
void ww_chain_keys_release(struct ww_chain_keys *keys);
/** The verifier for what a bundle says of its signer. WW_E_UNTRUSTED. */
enum ww_err ww_chain_keys_find(const struct ww_chain_keys *keys,
                               const struct ww_bundle *bundle,
                               const struct ww_verifier **out,
                               struct ww_error *err) WW_MUST_USE;
/** A signed file of a folder, parsed, and the verifier for it; nothing is verified yet.
 *  WW_E_NOTFOUND, WW_E_BUNDLE, WW_E_UNTRUSTED. The bundle is the caller's either way. */
enum ww_err ww_chain_open_signed(int dirfd, const char *path,
                                 const struct ww_chain_keys *keys,
                                 struct ww_bundle *bundle,
                                 const struct ww_verifier **verifier,
                                 struct ww_error *err) WW_MUST_USE;

/** Open the folder that holds the evidence of a path: the folder itself, or of a file and
 *  of a package that is a folder the one beside it. WW_E_NOTFOUND when it has none. */
enum ww_err ww_evidence_dir(const char *path, bool *is_file, int *dirfd,
                            struct ww_error *err) WW_MUST_USE;

/** Evidence that was read and whose signature holds: one of the two is filled. */
struct ww_chain_evidence {
    enum ww_evidence_kind kind;
    uint8_t sha256[WW_SHA256_BYTES];
    char signer[WW_SIGNER_BYTES];
    char hint[WW_HINT_BYTES]; /* of the signing key, "" of a certificate or identity */
    struct ww_provenance_view provenance;
    struct ww_oms signature;
};
/** Check the signature of a file's text, then read its statement. keys NULL: read alone.
 */
enum ww_err ww_chain_evidence_open(const struct ww_chain_keys *keys,
                                   const struct ww_buf *text, enum ww_evidence_kind kind,
                                   struct ww_chain_evidence *out,
                                   struct ww_error *err) WW_MUST_USE;
/** Read the statement of a bundle, by the kind that is set in out. */
enum ww_err ww_chain_evidence_parse(const struct ww_bundle *bundle,
                                    struct ww_chain_evidence *out,
                                    struct ww_error *err) WW_MUST_USE;
void ww_chain_evidence_release(struct ww_chain_evidence *evidence);
/** The SHA-256 that it states of a file, or NULL. */
const uint8_t *ww_chain_stated(const struct ww_chain_evidence *evidence,
                               const char *name);

/** Asked about each link that holds, before its sources are; may refuse it. */
struct ww_chain_judge {
    enum ww_err (*accept)(const void *payload, const struct ww_chain_link *link,
                          const char *hint, struct ww_error *err);
    const void *payload;
};
/** ww_verify_chain by these keys; judge may be NULL. keys NULL: the same chain as the
 *  evidence tells it, with no signature and no file looked at. */
enum ww_err ww_chain_walk(const char *path, const struct ww_chain_options *options,
                          const struct ww_chain_keys *keys,
                          const struct ww_chain_judge *judge,
                          struct ww_chain_report *report,
                          struct ww_error *err) WW_MUST_USE;

/** WW_E_WRONG_MODEL unless every weight file that was used of a source, and every section
 *  of a package, is one that the source's own evidence speaks of, and no other file and
 *  no tensor root differs. A side file that the evidence leaves out is noted. */
enum ww_err ww_chain_match(const struct ww_provenance_link *used,
                           const struct ww_chain_evidence *evidence,
                           struct ww_notes *notes, struct ww_error *err) WW_MUST_USE;

#endif
