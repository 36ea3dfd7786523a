/* SPDX-License-Identifier: Apache-2.0 */
/* The blend of given shares, computed and rounded, against the suspect's bits. */
#ifndef WW_LINEAGE_REPLAY_H
#define WW_LINEAGE_REPLAY_H

#include "lineage/sweep.h"

struct ww_replay {
    uint64_t moved; /* elements where some source with a share differs from the base */
    uint64_t same;  /* of those: the suspect has the blend's bits */
    uint64_t left;  /* of those: the suspect is not the base */
    uint64_t would; /* of those: the rounded blend is not the base */
    uint64_t off;   /* of those: farther from the blend than any arithmetic rounds */
    uint64_t apart; /* the same of elements that no source with a share moves */
    uint64_t read;  /* elements compared */
    double base;    /* of matrices of several rows: sums of B^2, S^2 and B x S */
    double suspect;
    double both;
    double total;    /* sum of (S - B)^2 over all elements */
    double residual; /* sum of (S - p)^2, p the blend before rounding */
    double floor;    /* sum of (round(p) - p)^2 */
};

/** Weights that lie farther from the blend than any arithmetic rounds, of tensors in
 * which that is no accident. A recipe is held against a sample, and where a source moves
 * the weights: neither sees them. */
struct ww_elsewhere {
    uint64_t apart; /* of tensors of which more lie so than any source moves */
    uint64_t off;   /* of those in which one in WW_ELSEWHERE_PART does: of a sum alone */
};
#define WW_ELSEWHERE_PART 8

/** shares: of all tensors, or of each with per_tensor ([n_tensors][n_sources], NULL:
 * none). use: which tensors; NULL: all. each ([n_tensors], zeroed, may be NULL) gets
 * what out adds up. */
enum ww_err ww_replay_blend(const struct ww_family *family, const double *shares,
                            const double *per_tensor, const bool *use,
                            const struct ww_run_options *run, struct ww_replay *out,
                            struct ww_replay *each, uint64_t *bytes_read,
                            struct ww_error *err) WW_MUST_USE;

#endif
