/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Keys of short spots all over a tensor, or of all of a small one, in any order: between
 * which keys a cut by rank lies, as far as a sample can say. Keys are below 2^31.
 */
#ifndef WW_MERGE_KEY_SAMPLE_H
#define WW_MERGE_KEY_SAMPLE_H

#include <stdatomic.h>

#include "merge/select.h"

#define WW_KEY_MOST 0x7fffffffU
#define WW_KEY_NONE UINT32_MAX

struct ww_key_sample {
    uint32_t *keys; /* [n_vectors][capacity] */
    uint64_t capacity;
    atomic_uint_fast64_t *filled; /* [n_vectors] */
    uint32_t n_vectors;
    uint64_t n;     /* elements of each vector */
    bool of_all;    /* the sample is the whole tensor */
    uint64_t *bins; /* room for a histogram, made when it is needed */
};

/** For the vectors with a cut; job is asked for the spots. False: no memory. Release in
 *  any case. */
bool ww_key_sample_init(struct ww_key_sample *sample, const struct ww_select *select,
                        struct ww_merge_job *job);
void ww_key_sample_release(struct ww_key_sample *sample);
/** From many threads. */
void ww_key_sample_add(const struct ww_key_sample *sample, uint32_t vector,
                       const uint32_t *keys, uint64_t n);

/** Put a small tensor into order, which takes less time than clearing histograms. False:
 *  it is not small. */
bool ww_key_sample_order(const struct ww_key_sample *sample);
/** The cut itself, of an ordered tensor. */
void ww_key_sample_cut(const struct ww_key_sample *sample, struct ww_cut *cut);
/** Keys between which the cut lies, with a margin for a sample, and one that many of them
 *  have, WW_KEY_NONE without one. False: no memory. */
bool ww_key_sample_bracket(struct ww_key_sample *sample, const struct ww_cut *cut,
                           uint32_t *low, uint32_t *high, uint32_t *common);

#endif
