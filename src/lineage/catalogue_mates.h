/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Is a pick more than another sibling? Models tuned on like tasks are alike in clusters,
 * and a suspect that is one more of a cluster is as alike to each member as they are to
 * each other. So a pick is compared with its mates: the partial correlation of suspect
 * and pick, given the other picks and the members nearest to the suspect, against the
 * largest partial correlation of the pick with one of those members. Siblings that are
 * exchangeable have the same on both sides, whatever their likeness is; a source has its
 * own part in the suspect, which no mate shares.
 */
#ifndef WW_LINEAGE_CATALOGUE_MATES_H
#define WW_LINEAGE_CATALOGUE_MATES_H

#include "lineage/catalogue_pursuit.h"

#define WW_MATES_MOST 64

/** What the mates say of a pick. */
struct ww_mates {
    double own;    /* partial correlation of suspect and pick */
    double mate;   /* largest of the pick and a mate; 0 without */
    double margin; /* by which own must be larger */
    double common; /* of the pick's difference from the root, what others explain beyond
                      chance: near 0, they say nothing about it */
    size_t n;      /* mates */
};

/** Fill out[i] for each pick of found; likeness is that of the pursuit. */
enum ww_err ww_mates_compare(const struct ww_pursuit_problem *problem,
                             const double *likeness, const struct ww_pursuit *found,
                             struct ww_mates *out, struct ww_error *err) WW_MUST_USE;

/** Do the mates say how alike siblings are? */
bool ww_mates_inform(const struct ww_mates *mates);
/** Is the pick's own part larger than any mate's? */
bool ww_mates_apart(const struct ww_mates *mates);
/** Is the pick a source? Own part larger than any mate's; and either mates that say how
 *  alike siblings are, or no more than `most` of the difference unexplained. */
bool ww_mates_source(const struct ww_mates *mates, double unexplained, double most);
/** Without mates that inform, this much may be left: a sibling with a cosine of 0.7 to
 * the pick would leave as much. */
#define WW_MATES_EXPLAINED 0.5

#endif
