/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Evidence of ancestors, carried from every source to what is made of it: files named by
 * their own SHA-256, each once, so that two sources with a common ancestor share it.
 * Beside the statements go the two side files that policies ask about, the card and the
 * policy reference, where a statement has their digests, and what policies said when a
 * source was made. Nothing is verified on the way;
 * whoever walks the chain does that.
 */
#ifndef WW_EVIDENCE_ANCESTORS_H
#define WW_EVIDENCE_ANCESTORS_H

#include "evidence/provenance.h"

#define WW_ANCESTORS_MAX 1024
#define WW_ANCESTOR_MAX_BYTES ((size_t)32 << 20)
#define WW_ANCESTORS_MAX_BYTES ((size_t)256 << 20)
#define WW_ANCESTOR_SIDE_MAX_BYTES ((size_t)1 << 20)
#define WW_ANCESTOR_PATH_BYTES                                                           \
    (sizeof(WW_ANCESTORS_DIR) + 64 + sizeof(".decision.sigstore.json"))

/** What a carried file is, by the end of its name. */
enum ww_ancestor_file {
    WW_ANCESTOR_STATEMENT, /* .sigstore.json */
    WW_ANCESTOR_CARD,      /* .card.md: a README.md */
    WW_ANCESTOR_POLICY,    /* .policy.json: a weightward-policy.json */
    WW_ANCESTOR_DECISION,  /* .decision.sigstore.json */
    WW_ANCESTOR_FILES
};
/** Its name in the ancestor's own folder, of those that its statement has the digest of;
 *  else NULL. */
const char *ww_ancestor_side(enum ww_ancestor_file file);

struct ww_ancestor {
    uint8_t sha256[WW_SHA256_BYTES];
    enum ww_ancestor_file file;
    enum ww_evidence_kind kind; /* of a statement */
    struct ww_buf text;
};
/** All-zero is empty. */
struct ww_ancestors {
    struct ww_ancestor *items;
    size_t n;
    size_t bytes;
};

/** "attestations/ancestors/<sha256>.sigstore.json" */
void ww_ancestor_path(const uint8_t sha256[WW_SHA256_BYTES], enum ww_ancestor_file file,
                      char out[WW_ANCESTOR_PATH_BYTES]);
/** Read it. WW_E_NOTFOUND when it is not there, WW_E_TAMPERED when it is not what its
 * name says. */
enum ww_err ww_ancestor_read(int dirfd, const uint8_t sha256[WW_SHA256_BYTES],
                             enum ww_ancestor_file file, struct ww_buf *text,
                             struct ww_error *err) WW_MUST_USE;

/** Take the evidence of a source folder, and all that it carries of its own ancestors. A
 *  file that it lacks is left out: the walk will miss it. WW_E_LIMIT, WW_E_PATH. */
enum ww_err ww_ancestors_gather(struct ww_ancestors *all, int dirfd,
                                struct ww_source_evidence *out,
                                struct ww_error *err) WW_MUST_USE;

/** The licence that a card below dirfd states, "" when there is no card or none in it. */
enum ww_err ww_license_at(int dirfd, const char *path, char out[WW_LICENSE_BYTES],
                          struct ww_error *err) WW_MUST_USE;

/** The tensor root that a gathered provenance states, where it states these very weight
 * files too; for a step that has their digests but did not hash tensor by tensor. The
 * root is then as good as that statement, which the step's own names by digest. */
bool ww_ancestors_tree(const struct ww_ancestors *all,
                       const struct ww_source_evidence *evidence,
                       const struct ww_resource *used, size_t n,
                       uint8_t tree[WW_SHA256_BYTES]);

/** Is there a policy reference among the files that a folder carries? */
enum ww_err ww_ancestors_ask(int dirfd, bool *out, struct ww_error *err) WW_MUST_USE;

/** Hand every file to put, by its path in the folder. */
typedef enum ww_err (*ww_ancestor_put_fn)(void *payload, const char *path,
                                          const void *bytes, size_t len,
                                          struct ww_error *err);
enum ww_err ww_ancestors_put(const struct ww_ancestors *all, ww_ancestor_put_fn put,
                             void *payload, struct ww_error *err) WW_MUST_USE;
/** ww_ancestor_put_fn of a struct ww_out. */
enum ww_err ww_ancestor_into_out(void *out, const char *path, const void *bytes,
                                 size_t len, struct ww_error *err) WW_MUST_USE;
void ww_ancestors_release(struct ww_ancestors *all);

#endif
