/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Does what sources leave over look like noise? Noise, dropping at random and rounding
 * are independent from weight to weight; a source that was not given, and training, move
 * weights in directions (signflip.h), a relative of a source leaves directions of that
 * source, and shares of large and of small weights differ where a candidate is not the
 * source itself.
 */
#ifndef WW_LINEAGE_WHITENESS_H
#define WW_LINEAGE_WHITENESS_H

#include "lineage/family.h"

/** Matrices that are looked at, over the whole depth; fewer than the second tell nothing.
 */
#define WW_WHITENESS_MOST 48
#define WW_WHITENESS_FEWEST 6
/** Sources with a share that are taken off each matrix by a fit of its own. */
#define WW_WHITENESS_SOURCES 8

struct ww_whiteness_ask {
    const struct ww_family *family;
    const double *shares;     /* of the sources; 0: takes no part */
    const double *per_tensor; /* [n_tensors][sources], instead; or NULL */
    const bool *use;          /* which tensors; NULL: all */
    bool rounded;             /* the blend is rounded to the grid first: noise that is
                                 shorter than steps and came after the merge leaves its
                                 rounding, which follows short task vectors, as it is */
    bool outside;             /* only what lies half a step or more away: of weights that
                               were rounded once more, all that rounding leaves is
                               taken off, and only score means something */
    unsigned n_candidates;    /* the first of the sources, whose directions are known */
    const struct ww_run_options *run;
};

struct ww_whiteness {
    bool told;         /* matrices enough, and no more sources than can be taken off */
    double score;      /* the largest statistic, in standard deviations, at least 0 */
    double structured; /* part of the difference from the base that lies in directions,
                          as wide ones as the widest of a candidate; where that is not
                          told from none, the most that it may be (95 %) */
    double twins; /* what a statistic would be, in standard deviations, if what is left
                     were noise that a candidate with a share has beyond the source that
                     it stands for: the least over those candidates */
    double hides; /* a further source as wide as the widest candidate and as long as the
                     shortest that would have shown (97 %) has at least this share */
};

/** The same numbers for any thread count. Reads corners of matrices. */
enum ww_err ww_whiteness_measure(const struct ww_whiteness_ask *ask,
                                 struct ww_whiteness *out,
                                 struct ww_error *err) WW_MUST_USE;

#endif
