/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Digests of sources that an earlier merge took, so that who merges the same models
 * again, with other weights, does not hash them again. What may be answered from it, and
 * who must have signed it, is the digest cache's rule (sign/cache.h); beside files it
 * holds the roots of tensor trees, under a digest of the states of all files of the
 * model.
 *
 * A model is taken from the cache whole or not at all: all its files, and its tree where
 * trees are recorded. Locked models that are read as open ones are always hashed.
 */
#ifndef WW_MERGE_SOURCE_DIGESTS_H
#define WW_MERGE_SOURCE_DIGESTS_H

#include "merge/plan.h"
#include "sign/cache.h"

/** All-zero is none: nothing is known, nothing is kept. */
struct ww_source_digests {
    const char *path; /* NULL: none */
    struct ww_signkey *key;
    bool with_trees;
    struct ww_cache old; /* as it was read */
    struct ww_cache now; /* of this run's sources */
    uint64_t hits;       /* files that were not hashed */
};

/** One model of a plan: what was known of it before the merge. */
struct ww_known_model {
    char (*states)[WW_FILE_STATE_BYTES]; /* [n_files], before the run; NULL: not asked */
    struct timespec at;                  /* when they were taken */
    bool known;
    uint8_t tree[WW_SHA256_BYTES]; /* of a known one */
};

/** path NULL: none. WW_E_USAGE without a key. What sign/cache.h says of a cache of
 * another key. Released by the caller on failure too. */
enum ww_err ww_source_digests_open(struct ww_source_digests *d, const char *path,
                                   struct ww_signkey *key, bool with_trees,
                                   struct ww_error *err) WW_MUST_USE;
void ww_source_digests_release(struct ww_source_digests *d);

/** Before the run: inputs of known models want no digest any more. */
enum ww_err ww_source_digests_ask(const struct ww_source_digests *d,
                                  struct ww_merge_plan *plan,
                                  struct ww_error *err) WW_MUST_USE;
/** After it: digests of known models into the result. WW_E_CHANGED when a file is not
 * what it was. */
enum ww_err ww_source_digests_fill(struct ww_source_digests *d,
                                   const struct ww_merge_plan *plan,
                                   struct ww_merge_result *result,
                                   struct ww_error *err) WW_MUST_USE;
/** Of a known model the tree, else NULL. */
const uint8_t *ww_source_digests_tree(const struct ww_merge_plan *plan, uint32_t model);
/** A model of the plan goes into what is kept, with the digests of its files ([n_files])
 *  and its tree (NULL: none), where its files stood still long enough. */
enum ww_err ww_source_digests_keep(struct ww_source_digests *d,
                                   const struct ww_merge_plan *plan, uint32_t model,
                                   const uint8_t (*sha256)[WW_SHA256_BYTES],
                                   const uint8_t *tree, struct ww_error *err) WW_MUST_USE;

/** Write it, in place of what was there: this run's sources, then those of earlier runs
 *  while there is room. name and root say which merge wrote it. */
enum ww_err ww_source_digests_save(struct ww_source_digests *d, const char *name,
                                   const uint8_t root[WW_SHA256_BYTES],
                                   struct ww_error *err) WW_MUST_USE;

#endif
