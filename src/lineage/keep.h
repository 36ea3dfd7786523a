/* SPDX-License-Identifier: Apache-2.0 */
/* Which differences were dropped: at random, the small ones, or the largest as well. */
#ifndef WW_LINEAGE_KEEP_H
#define WW_LINEAGE_KEEP_H

#include "lineage/sweep.h"

#define WW_KEEP_RANKS 20

/** Share of elements that are not the base's, by the rank in their tensor of the longest
 *  weighted task vector, small ones first. */
struct ww_keep {
    double rate[WW_KEEP_RANKS];
    /* Weights by which the sources enter where all of them are long, but not among the
     * longest, and point one way: there every method keeps them all. */
    double core[WW_LINEAGE_MAX_SOURCES];
    /* Share of elements that stayed at the base beyond those that a continuous difference
     * rounds to it: half as many as it rounds to the two values beside the base's. */
    double dropped;
};

enum ww_keep_shape {
    WW_KEEP_ALL,   /* nothing was dropped, or too little to say */
    WW_KEEP_FLAT,  /* by chance */
    WW_KEEP_RAMP,  /* by chance, the smaller the likelier */
    WW_KEEP_STEP,  /* the small ones */
    WW_KEEP_FLOOR, /* the small ones, of which one part was kept whatever their length */
    WW_KEEP_BAND   /* the largest and the smallest */
};

/** shares: of the family's sources, 0: not looked at. use: which tensors; NULL: all. */
enum ww_err ww_keep_measure(const struct ww_family *family, const double *shares,
                            const bool *use, const struct ww_run_options *run,
                            struct ww_keep *out, uint64_t *bytes_read,
                            struct ww_error *err) WW_MUST_USE;

enum ww_keep_shape ww_keep_shape(const struct ww_keep *keep);

#endif
