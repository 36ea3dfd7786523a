/* SPDX-License-Identifier: Apache-2.0 */
/* A suspect whose weights are in other places, locked or permuted, among the family by
 * the spectra of its heads. */
#ifndef WW_LINEAGE_CATALOGUE_HIDDEN_H
#define WW_LINEAGE_CATALOGUE_HIDDEN_H

#include "lineage/catalogue_mates.h"
#include "lineage/catalogue_store.h"

struct ww_hidden {
    size_t root;      /* member; family.n: none has spectra like the suspect's */
    double distance;  /* of the suspect's spectra from the root's, relative */
    double *likeness; /* [family.n], as of a pursuit; the caller's to free */
    struct ww_pursuit pursuit;
    struct ww_mates mates[WW_PURSUIT_MOST];
};

/** A relative's spectra are this near at most: far-trained siblings of the tests are 0.04
 *  away, the same weights shuffled 0.18. */
#define WW_HIDDEN_RELATED 0.1
/** And nearer, by this, than those of drawn weights are: where chance alone comes as
 * near, spectra say nothing. */
#define WW_HIDDEN_CHANCE 0.5

/** root: a member that is the root in any case, or family->n: the one marked as a root
 *  that is nearest, else the member nearest to the mean. */
enum ww_err ww_find_hidden(struct ww_db *db, const struct ww_print *print,
                           const struct ww_store_family *family, size_t root,
                           unsigned threads, struct ww_hidden *out,
                           struct ww_error *err) WW_MUST_USE;

#endif
