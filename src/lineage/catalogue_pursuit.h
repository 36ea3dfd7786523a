/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Sources and shares from sketches: orthogonal matching pursuit with non-negative least
 * squares on what was picked. A sibling that is no source correlates with the rest by
 * chance alone, with a standard deviation of 1 / sqrt(m) by the sketch and 1 / sqrt(n) by
 * the weights themselves; the threshold keeps the chance that any of the family's members
 * reaches it at WW_FIND_FALSE_ALARM. Real siblings are more alike than chance. In a
 * family of WW_PURSUIT_CONTROLS and more the direction of their mean is taken out of all,
 * and its members say what likeness is left: the threshold starts at their median and
 * counts in their own spread (Efron 2004, empirical null), where that is the stricter
 * one.
 */
#ifndef WW_LINEAGE_CATALOGUE_PURSUIT_H
#define WW_LINEAGE_CATALOGUE_PURSUIT_H

#include "lineage/catalogue_scan.h"
#include "weightward/catalogue.h"

#define WW_PURSUIT_MOST 32
#define WW_PURSUIT_CONTROLS 24

struct ww_pursuit_problem {
    const float *suspect;  /* [m] */
    const float *root;     /* [m] */
    const float *sketches; /* [n][m] */
    const bool *use;       /* [n]; the root itself is false */
    size_t n;
    size_t m;
    double elements; /* of the body */
    unsigned threads;
    const double *sum; /* [m], of the sketches in use; NULL: not known yet */
    double noise;      /* squared length of what quantising added to the suspect */
};

struct ww_pursuit_pick {
    size_t member;
    double share;
    double cosine; /* with what the other picks leave */
    double z;      /* share over its error by the sketch */
};

struct ww_pursuit {
    struct ww_pursuit_pick picks[WW_PURSUIT_MOST]; /* largest share first */
    unsigned n;
    double threshold;   /* at the first pick */
    bool calibrated;    /* by the family's members */
    double noise;       /* the problem's */
    double rounding;    /* which part of the suspect's squared difference the noise is */
    double unexplained; /* beyond the noise; -1: the suspect's body is the root's, as far
                           as noise lets see */
};

/** Which part of a squared length is left, both without the noise in them. */
double ww_pursuit_unexplained(double left, double all, double noise);

/** likeness, [n], gets each member's cosine with the suspect's difference, before any
 * pick; -2 for those not in use. */
enum ww_err ww_pursue(const struct ww_pursuit_problem *problem, double *likeness,
                      struct ww_pursuit *out, struct ww_error *err) WW_MUST_USE;

#endif
