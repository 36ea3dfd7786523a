/* SPDX-License-Identifier: Apache-2.0 */
/**
 * The lock manifest: a JSON object inside the tensor statement of a locked folder. Its
 * members are listed in docs/formats/lock-manifest.md. It holds digests and names, never
 * the key and never a transform.
 */
#ifndef WW_LOCK_MANIFEST_H
#define WW_LOCK_MANIFEST_H

#include "crypto/hash.h"
#include "json/json.h"
#include "lock/gauge.h"
#include "weightward/lock.h"

#define WW_LOCK_SCHEMA "weightward.lock/1"
#define WW_KEY_CHECK_BYTES 8

/** A file with its digest; strings are borrowed. */
struct ww_lock_file {
    const char *path;
    uint64_t size_bytes;
    uint8_t sha256[WW_SHA256_BYTES];
};

/** What the manifest says. All pointers are borrowed. */
struct ww_manifest {
    uint8_t lock_id[WW_SHA256_BYTES];
    bool scale;
    const char *recipient;                 /* whom the copy is for, or NULL */
    uint8_t nonce[WW_HANDOUT_NONCE_BYTES]; /* with a recipient */
    const char *descriptor;
    uint8_t descriptor_sha256[WW_SHA256_BYTES];
    const char *source_name;
    const char *oms_root;        /* of the source's own signature, or NULL */
    struct ww_lock_file *source; /* every file that unlocking restores, by path */
    size_t n_source;
    struct ww_lock_file *locked; /* the weight files as locked */
    size_t n_locked;
    const struct ww_block_moves *blocks; /* written, not read back */
    size_t n_blocks;
    struct ww_lock_attack attack; /* written, not read back */
    struct ww_check_report check; /* written, not read back */
    struct ww_dense_report dense; /* used, condition and residual_bytes are read back */
    uint8_t residual_sha256[WW_SHA256_BYTES]; /* with it */
};

/** lock_id over the key's id and the source files, which must be sorted by path. prk is
 *  that of the copy's secret (lock/handout.h), so that each copy has an identity. */
enum ww_err ww_manifest_id(struct ww_manifest *manifest, struct ww_secret *prk,
                           struct ww_error *err) WW_MUST_USE;

/** Serialise with key check, commitment and MAC. secret is the lock key. */
enum ww_err ww_manifest_write(const struct ww_manifest *manifest,
                              struct ww_secret *secret, struct ww_secret *prk,
                              struct ww_buf *out, struct ww_error *err) WW_MUST_USE;

/**
 * Read and check the manifest of a statement with the key: WW_E_VERSION for another
 * schema, WW_E_MANIFEST for a malformed or changed one, WW_E_WRONG_KEY. The arrays are
 * the caller's (ww_manifest_release), their strings borrow from node.
 */
enum ww_err ww_manifest_read(const struct ww_jnode *node, struct ww_secret *secret,
                             struct ww_secret *prk, struct ww_manifest *out,
                             struct ww_error *err) WW_MUST_USE;
void ww_manifest_release(struct ww_manifest *manifest);

/** The gauge of the lock that a manifest speaks of. A recipient's copy names what its
 *  secret is derived from, beside the lock key: *copy is that secret, to be freed after
 * the gauge, or NULL. */
enum ww_err ww_manifest_gauge(const struct ww_manifest *manifest,
                              const struct ww_layout *layout, struct ww_secret *secret,
                              struct ww_secret **copy, struct ww_gauge *gauge,
                              struct ww_error *err) WW_MUST_USE;

/** Parts shared by writer and reader. */
enum ww_err ww_manifest_key_check(const uint8_t lock_id[WW_SHA256_BYTES],
                                  struct ww_secret *prk, uint8_t out[WW_KEY_CHECK_BYTES],
                                  struct ww_error *err) WW_MUST_USE;
enum ww_err ww_manifest_commitment(const uint8_t lock_id[WW_SHA256_BYTES],
                                   struct ww_secret *secret, uint8_t out[WW_SHA256_BYTES],
                                   struct ww_error *err) WW_MUST_USE;
/** MAC over the object's text without its "mac" member. */
enum ww_err ww_manifest_mac(const void *text, size_t len, struct ww_secret *prk,
                            uint8_t out[WW_SHA256_BYTES],
                            struct ww_error *err) WW_MUST_USE;

/** The root that a source's own OMS signature states, unverified; empty when the file has
 *  none that can be read. */
void ww_manifest_oms_root(const struct ww_buf *bundle, char out[65]);

#endif
