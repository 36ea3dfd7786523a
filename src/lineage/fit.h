/* SPDX-License-Identifier: Apache-2.0 */
/* Shares from sums of products: weights per rounding step, one noise term for the rest,
 * a factor for each step where blocks were rounded.
 */
#ifndef WW_LINEAGE_FIT_H
#define WW_LINEAGE_FIT_H

#include "lineage/moments.h"

/** On which side of zero a source's share may lie; WW_SIDE_OUT: it takes no part. */
enum { WW_SIDE_MINUS = -1, WW_SIDE_OUT = 0, WW_SIDE_PLUS = 1 };

struct ww_fit {
    double share[WW_LINEAGE_MAX_SOURCES];
    double error[WW_LINEAGE_MAX_SOURCES];
    double n_eff[WW_LINEAGE_MAX_SOURCES];
    double tau2; /* variance per element beyond rounding */
    bool more;   /* some bin leaves more than rounding does: what came after the merge was
                    about as long as the steps, as the rounding of a merge of merges is,
                    and tau2, which bins of short steps decide, may be 0 */
    double size; /* |g - 1|, by which blocks changed the size of weights: a mean over what
                    shares were read from */
    uint64_t used;
};

/** side ([k], WW_SIDE_*) of each of the moments's sources. Fewer than WW_FIT_LEAST
 * elements give shares of 0 and used as it is. */
#define WW_FIT_LEAST 1000
void ww_fit(const struct ww_moments *moments, const int8_t *side, struct ww_fit *out);

/** Shares alone, of bins that are weighed by this tau2. */
void ww_fit_with(const struct ww_moments *moments, const int8_t *side, double tau2,
                 struct ww_fit *out);

/** Half of the interval of source i by errors alone, of which 1.96 are at least least.
 * Blocks change large weights more than small ones, and task vectors are mostly looked at
 * where those are: the size that they changed by is not known better than by all of it.
 */
double ww_fit_margin(const struct ww_fit *fit, unsigned i, double least);

/** Where something came after the merge, intervals are at least so wide to either side.
 */
#define WW_FIT_ROUGHLY 0.002
/** An interval ends at zero, on the side that its share may lie on. */
void ww_fit_stay_on(int8_t side, double *low, double *high);

/** What shares leave over, in units of the variance that rounding leaves. */
double ww_fit_residual(const struct ww_moments *moments, const double *shares);

/** What they leave beyond that, and what rounding leaves, both in units of its variance
 * and tau2. */
double ww_fit_excess(const struct ww_moments *moments, const double *shares, double tau2);
double ww_fit_rounding(const struct ww_moments *moments, double tau2);

/** Lengths of the sources' task vectors over the elements that were used. */
void ww_fit_lengths(const struct ww_moments *moments, double *lengths);

/** Whether sums ought to be read again over what some sources alone moved, and which:
 * those with a share. A model that went nowhere brings in elements that sources moved by
 * a step or two, and those were rounded to one side, so that it matters where such a
 * model lies much farther from the base than sources of few steps do. decides is [k]. */
bool ww_fit_decides(const struct ww_moments *moments, const int8_t *side, bool *decides);

/** Sources that cannot be told apart in the fit: same[i] is the first one that source i
 * is a multiple of, or i; WW_NONE: it does not differ from the base, or by its size alone
 * where the suspect was rounded in blocks, which change sizes. */
void ww_fit_collinear(const struct ww_moments *moments, uint32_t *same);

/** Sums of products that are drawn anew together, one tensor's mostly. */
struct ww_fit_blocks {
    const struct ww_moments *const *moments;
    size_t n;
    unsigned k;
    const int8_t *side; /* [k] */
};
/** 2.5 % and 97.5 % of shares over blocks drawn anew with replacement; low and high are
 *  [k]. Draws without any block in which a source moved say nothing of it. */
enum ww_err ww_fit_bootstrap(const struct ww_fit_blocks *blocks, uint64_t seed,
                             double *low, double *high, struct ww_error *err) WW_MUST_USE;

#endif
