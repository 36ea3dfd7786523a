/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Values of the whole model at given ranks, in about two readings; three where brackets
 * hold more keys than are kept.
 *
 * A sample says between which keys each of them lies. A pass then counts what is above
 * and sorts what is between into bins; the bin that holds the rank is the next bracket,
 * until all its keys are one. A sample that misled costs a pass and decides nothing. Keys
 * are whole numbers of 64 bits that sort like the values (select.h).
 */
#ifndef WW_MERGE_QUANTILE_H
#define WW_MERGE_QUANTILE_H

#include <stdatomic.h>

#include "merge/kernel.h"

#define WW_QUANTILE_STEP ((size_t)1024)
/* The sample: so many spots over the whole of a vector, of so many elements. */
#define WW_QUANTILE_SPOTS ((uint64_t)4096)
#define WW_QUANTILE_SPOT ((uint64_t)128)

struct ww_quantile {
    uint32_t vector; /* which of the values */
    uint64_t rank;   /* 1: the largest */
    uint64_t key;    /* the result */
    bool done;
    uint64_t low; /* the bracket: looked at are keys from low to high */
    uint64_t high;
    unsigned shift;    /* of a bin in the bracket */
    uint64_t expected; /* keys in the bracket; UINT64_MAX: not known */
    uint64_t larger;
    struct ww_quantile_bin *bins;
    struct ww_quantile_kept *kept; /* keys of the bracket, NULL: they are not kept */
};

struct ww_quantiles {
    struct ww_quantile *cuts; /* [n_cuts] */
    uint32_t n_cuts;
    uint32_t n_vectors;
    uint64_t n;      /* of each vector */
    uint64_t lowest; /* no key is outside these */
    uint64_t highest;
    uint64_t seen; /* elements of the tensors that the pass at hand has begun */
    bool sampling;
    uint64_t stride;  /* a spot in so many elements; 0: the sample is everything */
    uint64_t *sample; /* [n_vectors][capacity] */
    uint64_t capacity;
    atomic_uint_fast64_t *filled; /* [n_vectors] */
    uint64_t most_kept;           /* keys of all brackets together that are kept */
    bool no_memory;
    bool unordered; /* there are keys outside of lowest .. highest: of NaN */
};

/** The caller fills vector and rank of the cuts, 1 <= rank <= n. */
enum ww_err ww_quantiles_init(struct ww_quantiles *q, struct ww_merge_job *job,
                              uint32_t n_vectors, uint32_t n_cuts, uint64_t n,
                              struct ww_error *err) WW_MUST_USE;
void ww_quantiles_release(struct ww_quantiles *q);

/** A pass begins a tensor: what it takes and looks at, in job. Tensors come in order. */
void ww_quantiles_open(struct ww_quantiles *q, struct ww_merge_job *job);
/** While q->sampling: keys of a vector. */
void ww_quantiles_sample(struct ww_quantiles *q, uint32_t vector, const uint64_t *keys,
                         size_t n);
void ww_quantiles_sample32(struct ww_quantiles *q, uint32_t vector, const uint32_t *keys,
                           size_t n);
/** Else: at most WW_QUANTILE_STEP keys of the vector of a cut that is not done; those
 * that are surely larger may be counted and those that are surely smaller left out. acc:
 * of the tile. */
void ww_quantiles_scan(const struct ww_quantiles *q, uint32_t cut, const uint64_t *keys,
                       size_t n, void *acc);
void ww_quantiles_larger(uint32_t cut, uint64_t count, void *acc);
/** The same for all keys, where they are below 2^31. */
void ww_quantiles_scan32(const struct ww_quantiles *q, uint32_t cut, const uint32_t *keys,
                         size_t n, void *acc);
void ww_quantiles_fold(struct ww_quantiles *q, const void *acc);
/** The pass is done; *again: one more is wanted. WW_E_NONFINITE when keys are not between
 *  lowest and highest. */
enum ww_err ww_quantiles_passed(struct ww_quantiles *q, struct ww_merge_job *job,
                                bool *again, struct ww_error *err) WW_MUST_USE;

#endif
