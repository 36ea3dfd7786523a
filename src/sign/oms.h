/* SPDX-License-Identifier: Apache-2.0 */
/**
 * The OMS statement: an in-toto Statement v1 whose predicate lists the files.
 *
 *   _type          https://in-toto.io/Statement/v1
 *   subject        exactly one {name, digest: {sha256: root}}; root is SHA-256 over the
 *                  raw resource digests in listed order
 *   predicateType  WW_OMS_PREDICATE
 *   predicate
 *     resources      [{name, digest (lower-case hex), algorithm, ...}], at least one
 *     serialization  {method: files | shards, hash_type, allow_symlinks, shard_size?,
 *                    ignore_paths?}
 *
 * Written: method files, sha256, resources by code point of the whole name. Read: also
 * shards, blake2b, any order, and the layout of release 0.2.
 */
#ifndef WW_SIGN_OMS_H
#define WW_SIGN_OMS_H

#include "crypto/hash.h"
#include "json/json.h"
#include "sign/statement.h"

#define WW_STATEMENT_TYPE "https://in-toto.io/Statement/v1"
#define WW_OMS_PREDICATE "https://model_signing/signature/v1.0"
#define WW_OMS_PREDICATE_V02 "https://model_signing/Digests/v0.1"

/** A file, or with shards a range of it. */
struct ww_oms_resource {
    char *path; /* owned; relative and clean, or "." for a lone file */
    uint64_t start;
    uint64_t end; /* 0 for whole files */
    uint8_t digest[WW_DIGEST_MAX_BYTES];
};

struct ww_oms {
    struct ww_json *json;
    struct ww_oms_resource *resources; /* by path, then start; no duplicates */
    size_t n_resources;
    const char *algorithm; /* known to ww_digest_new */
    size_t digest_bytes;
    uint64_t shard_size;                 /* 0: whole files */
    const struct ww_jnode *ignore_paths; /* array of strings, or NULL */
    uint8_t root[WW_SHA256_BYTES];
};

/** Parse a payload whose signature holds. is_v02: it was signed in the old encoding, and
 *  only then the old layout is read, and nothing else. */
enum ww_err ww_oms_parse(const uint8_t *payload, size_t len, bool is_v02,
                         struct ww_oms *out, struct ww_error *err) WW_MUST_USE;
void ww_oms_release(struct ww_oms *oms);

/** What a statement lists as ignored beside attestations. */
struct ww_oms_ignored {
    const char *signature; /* its path in the folder; NULL: it lies outside */
    const char *const *paths;
    size_t n;
};

/** As ww_oms_statement, with other ignore_paths. */
enum ww_err ww_oms_write(const char *model_name, struct ww_resource *resources, size_t n,
                         const struct ww_oms_ignored *ignored, struct ww_buf *payload,
                         uint8_t root[WW_SHA256_BYTES], struct ww_error *err) WW_MUST_USE;

/** The parts that every statement of this project has in common. Checks _type, the one
 *  subject and the predicate type; the borrows end with the document. */
struct ww_statement_view {
    const char *subject_name;
    uint8_t subject_sha256[WW_SHA256_BYTES];
    const struct ww_jnode *predicate;
};
enum ww_err ww_statement_read(const struct ww_jnode *root, const char *predicate_type,
                              struct ww_statement_view *out,
                              struct ww_error *err) WW_MUST_USE;

/** {"subject":[...],"_type":...,"predicateType":...,"predicate": and no further. */
void ww_statement_begin(struct ww_jw *w, const char *name,
                        const uint8_t root[WW_SHA256_BYTES], const char *predicate_type);

#endif
