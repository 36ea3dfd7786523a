/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Elements that moved where no source explains it. Whatever selects, drops, divides or
 * elects leaves the base where no source differs from it, or hardly does. A source that
 * was not given, a twin of which may stand for it, and training afterwards move elements
 * there too. That needs no method and no numbers, and where the suspect was rounded once
 * more the cells of its values tell as well.
 */
#ifndef WW_LINEAGE_STRAY_H
#define WW_LINEAGE_STRAY_H

#include "lineage/sweep.h"

struct ww_stray {
    bool told;      /* places enough that would show it */
    double shown;   /* places where no source can have moved the suspect, as many as would
                       show something else that went in, as often as elsewhere, */
    double strayed; /* and so many did */
    double worst;   /* strayed over shown in the tensor where that is most */
    double anywhere; /* of all places, the part where the suspect is where no sum over
                        sources can be */
    double left; /* of all places, squares of how far the suspect is from where sources
                    may have moved it, over those of how far it is from the base */
    /* [the family's sources], of those that take part, the same at places where this one
     * alone can have moved the suspect: how many would show that something went in, and
     * the part of them that lies where the others cannot have moved it */
    double alone[WW_LINEAGE_MAX_SOURCES];
    double needed[WW_LINEAGE_MAX_SOURCES];
    /* Of those, the part that no weight of the source makes, one for each tensor: a
     * relative that stands for a source which was not given is off by how they differ.
     * And the same of a made-up relative, which says how well that shows. */
    double missed[WW_LINEAGE_MAX_SOURCES];
    double twin[WW_LINEAGE_MAX_SOURCES];
};

/** shares: of the family's sources, 0: takes no part. use: which tensors; NULL: all. The
 *  same numbers for any thread count. A suspect rounded to blocks whose cells are not
 *  known is not told. */
enum ww_err ww_stray_measure(const struct ww_family *family, const double *shares,
                             const bool *use, const struct ww_run_options *run,
                             struct ww_stray *out, uint64_t *bytes_read,
                             struct ww_error *err) WW_MUST_USE;

/** Is there nothing that the sources do not explain, where the least of them would have
 *  shown if it had not been given? shares as they were measured. */
bool ww_stray_none(const struct ww_stray *stray, const double *shares, unsigned n);
/** Does nothing show that this source went in, where it would? */
bool ww_stray_without(const struct ww_stray *stray, unsigned source);

#endif
