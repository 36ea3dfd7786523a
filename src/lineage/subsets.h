/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Sums over some of the sources. Whatever drops elements, by chance or by length, leaves
 * at each place the base and a sum over those sources that were kept there: of k sources
 * one of 2^k values. Values that are none of these come from something else, be it a
 * source that was not given or training afterwards; least squares cannot see that behind
 * what was dropped.
 */
#ifndef WW_LINEAGE_SUBSETS_H
#define WW_LINEAGE_SUBSETS_H

#include "lineage/sweep.h"

#define WW_SUBSETS_MOST 6     /* sources */
#define WW_SUBSETS_LACKS 0.85 /* something else went in when less is explained, */
/* Or when more strayed, or WW_LINEAGE_ELSEWHERE is left. */
#define WW_SUBSETS_STRAYED 0.02

/** By how much more is kept of one kind than of another, and the standard error of that;
 *  infinite: not told. */
struct ww_subsets_odds {
    double by;
    double error;
};

struct ww_subsets {
    bool told;        /* enough elements were long enough for values to be told apart */
    bool divided;     /* sums are divided by the weights of what was kept */
    double explained; /* of the elements that moved, less what any values would have */
    bool sure;        /* in cells as well: a little elsewhere eight times as many would
                         have none, and as many in each tensor */
    bool shows;       /* in cells: more than an eighth of those would in fact have none */
    size_t missed;    /* elements that moved and have none */
    double left;      /* what they leave of the squares of how far it moved, tensors by
                         their size: a few elements, or one tensor, may hold much of it;
                         of small tensors what the blend leaves */
    double strayed;   /* where no source differs from the base, the part that the suspect
                         does; -1: there are too few such elements */
    struct ww_subsets_odds longer; /* more of the longer half, where all point one way, of
                                      the sources of which some were dropped */
    struct ww_subsets_odds opposed; /* less where another source points the other way */
    /* [the family's sources], of those with a share: */
    double weight[WW_LINEAGE_MAX_SOURCES]; /* by which a kept element enters */
    double kept[WW_LINEAGE_MAX_SOURCES];   /* part of its elements; -1: not told */
    double slope[WW_LINEAGE_MAX_SOURCES];  /* by which the longer half is kept more, where
                                              they tell that all point one way */
    bool needless[WW_LINEAGE_MAX_SOURCES]; /* of cells: as many have one without it */
};

/** shares: of the family's sources, 0: takes no part. use: which tensors; NULL: all. The
 *  same numbers for any thread count. Of a suspect that was rounded once more values are
 *  looked for in its cells. More than WW_SUBSETS_MOST sources, or a suspect that was
 *  decoded and has no cells, are not told. */
enum ww_err ww_subsets_measure(const struct ww_family *family, const double *shares,
                               const bool *use, const struct ww_run_options *run,
                               struct ww_subsets *out, uint64_t *bytes_read,
                               struct ww_error *err) WW_MUST_USE;

/** One element: how far the suspect is from the base, half of its rounding step, and the
 *  task vectors of the sources that take part. */
struct ww_subsets_element {
    double y; /* or the middle of its cell */
    double half;
    double cell; /* half of the width of that; 0: none */
    double x[WW_SUBSETS_MOST];
    double many;     /* elements of its tensor that it stands for */
    double length;   /* of the blend in its tensor, in root mean square */
    uint32_t tensor; /* elements of one follow each other */
};
/** The same of n elements of k sources whose shares are near these. */
enum ww_err ww_subsets_fit(const struct ww_subsets_element *elements, size_t n,
                           unsigned k, const double *shares, struct ww_subsets *out,
                           struct ww_error *err) WW_MUST_USE;
/** Sets needless, by fits without each source; sure no longer where one is neither
 *  needless nor clearly needed. Elements and shares are left as they were. */
enum ww_err ww_subsets_need(struct ww_subsets_element *elements, size_t n, unsigned k,
                            double *shares, struct ww_subsets *out,
                            struct ww_error *err) WW_MUST_USE;

#endif
