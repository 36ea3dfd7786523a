/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Digests of files that were hashed for an earlier signature, so that an edit of one file
 * does not cost reading a whole model again. A signed statement of this project:
 *
 *   predicateType  WW_CACHE_PREDICATE
 *   predicate      {files: [{state, sha256}], tensors: SHA-256 of the bundle of the
 * tensor statement that goes with them, or absent}
 *
 * state is device, inode, size, modification and change time of the file, times in
 * nanoseconds, decimal and joined by ':'. Only who can sign can make a cache that is
 * used.
 */
#ifndef WW_SIGN_CACHE_H
#define WW_SIGN_CACHE_H

#include <sys/stat.h>
#include <time.h>

#include "sign/statement.h"

#define WW_CACHE_PREDICATE "urn:weightward:predicate:digest-cache:1"
#define WW_FILE_STATE_BYTES 128

struct ww_cache_entry {
    char state[WW_FILE_STATE_BYTES];
    uint8_t sha256[WW_SHA256_BYTES];
};
/** All-zero is empty. */
struct ww_cache {
    struct ww_cache_entry *entries; /* by state */
    size_t n;
    size_t capacity;
    bool has_tensors;
    uint8_t tensors[WW_SHA256_BYTES];
};

/** A missing file is an empty cache. WW_E_UNTRUSTED or WW_E_SIGNATURE when this key did
 *  not sign it. */
enum ww_err ww_cache_load(const char *path, struct ww_signkey *key, struct ww_cache *out,
                          struct ww_error *err) WW_MUST_USE;
/** Written whole, in place of what is there; model_name and root say what it was made
 *  for. */
enum ww_err ww_cache_save(struct ww_cache *cache, const char *path,
                          struct ww_signkey *key, const char *model_name,
                          const uint8_t root[WW_SHA256_BYTES],
                          struct ww_error *err) WW_MUST_USE;
void ww_cache_release(struct ww_cache *cache);

enum ww_err ww_cache_add(struct ww_cache *cache, const char *state,
                         const uint8_t sha256[WW_SHA256_BYTES],
                         struct ww_error *err) WW_MUST_USE;
/** NULL when there is none; sorted caches only (loaded ones are). */
const uint8_t *ww_cache_find(const struct ww_cache *cache, const char *state);

void ww_file_state(const struct stat *st, char out[WW_FILE_STATE_BYTES]);
/** True when the file was last changed long enough before this moment that a later change
 *  must show in its times. */
bool ww_file_settled(const struct stat *st, const struct timespec *at);

/** A signing run with a cache. The caller sets path to n. */
struct ww_cache_run {
    const char *path; /* of the cache */
    struct ww_signkey *key;
    int dirfd;                 /* of the model */
    struct ww_resource *files; /* [n] below it */
    size_t n;
    struct ww_cache old;
    struct stat *before; /* [n] */
    struct timespec begun;
    uint64_t hits;
    uint64_t bytes; /* of the files that were not read */
};
/** Load the cache and fill in what it knows: done[i] is set, and the digest. */
enum ww_err ww_cache_begin(struct ww_cache_run *run, bool *done,
                           struct ww_error *err) WW_MUST_USE;
/** Keep what has not changed meanwhile. tensors may be NULL. */
enum ww_err ww_cache_end(struct ww_cache_run *run, const struct ww_buf *tensors,
                         const char *model_name, const uint8_t root[WW_SHA256_BYTES],
                         struct ww_error *err) WW_MUST_USE;
void ww_cache_run_release(struct ww_cache_run *run);

#endif
