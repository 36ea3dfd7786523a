/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Evidence of ancestors, carried from every source to what is made of it: files named by
 * their own SHA-256, each once, so that two sources with a common ancestor share it. Nothing
 * is verified on the way; whoever walks the chain does that.
 */
#ifndef WW_EVIDENCE_ANCESTORS_H
#define WW_EVIDENCE_ANCESTORS_H

#include "evidence/provenance.h"

#define WW_ANCESTORS_MAX 1024
#define WW_ANCESTOR_MAX_BYTES ((size_t)32 << 20)
#define WW_ANCESTORS_MAX_BYTES ((size_t)256 << 20)
#define WW_ANCESTOR_PATH_BYTES (sizeof(WW_ANCESTORS_DIR) + 64 + sizeof(".sigstore.json"))

struct ww_ancestor {
    uint8_t sha256[WW_SHA256_BYTES];
    struct ww_buf text;
};
/** All-zero is empty. */
struct ww_ancestors {
    struct ww_ancestor *items;
    size_t n;
    size_t bytes;
};

/** "attestations/ancestors/<sha256>.sigstore.json" */
void ww_ancestor_path(const uint8_t sha256[WW_SHA256_BYTES],
                      char out[WW_ANCESTOR_PATH_BYTES]);

/** Take the evidence of a source folder, and all that it carries of its own ancestors. A
 *  file that it lacks is left out: the walk will miss it. WW_E_LIMIT, WW_E_PATH. */
enum ww_err ww_ancestors_gather(struct ww_ancestors *all, int dirfd,
                                struct ww_source_evidence *out,
                                struct ww_error *err) WW_MUST_USE;

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
