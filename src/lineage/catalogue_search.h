/* SPDX-License-Identifier: Apache-2.0 */
/* A print against an open catalogue: what is in the data base is all that is looked at.
 */
#ifndef WW_LINEAGE_CATALOGUE_SEARCH_H
#define WW_LINEAGE_CATALOGUE_SEARCH_H

#include "lineage/catalogue_mates.h"
#include "lineage/catalogue_store.h"

/* Rounding that is this part of a suspect's squared difference from the root hides
 * sources from sketches: the error of its length by 4,096 buckets is as much as a share
 * leaves. */
#define WW_LOOKUP_HIDES 0.4
/* How many members more than the picks are compared on their files then. */
#define WW_LOOKUP_MORE 8

struct ww_lookup {
    struct ww_db *db;
    const struct ww_print *print; /* of the suspect */
    const char *root_name;        /* that a user named; NULL: found */
    unsigned threads;
    bool by_spectra; /* weights are in other places, heads told the picks */
    bool by_bytes; /* its weights cannot be read: nothing but equal bytes is looked for */
    bool confirmed; /* the files were compared */
    struct ww_find_report *report;
    /* What was found: */
    struct ww_store_family family;
    size_t root; /* member, or family.n */
    struct ww_pursuit pursuit;
    size_t first;                /* match of the pursuit's first pick */
    bool apart[WW_PURSUIT_MOST]; /* which picks are more than their mates are, */
    bool alone[WW_PURSUIT_MOST]; /* and which have none that say how alike siblings are */
    size_t more[WW_LOOKUP_MORE]; /* members most like the suspect that were not picked,
                                    where rounding or a twin hides a source */
    unsigned n_more;
};

/** Fill the report, all-zero but for unexplained = -1. Nothing found is WW_OK.
 *  WW_E_NOTFOUND for a root that is not there, WW_E_MALFORMED for what is damaged. */
enum ww_err ww_lookup_run(struct ww_lookup *search, struct ww_error *err) WW_MUST_USE;
/** Add a match to the report; its name is copied, evidence is taken over, NULL for memory
 *  that was not there. */
enum ww_err ww_lookup_add(struct ww_find_report *report, const char *name,
                          struct ww_find_match match, char *evidence,
                          struct ww_error *err) WW_MUST_USE;
/** What rounding took of a quantised root is in all that was made of its weights before,
 *  members and suspect, so that each looks like a source of the other. May the picks be
 *  that? Not where they leave little of a suspect that was not rounded itself. */
bool ww_lookup_drawn(const struct ww_lookup *search);
void ww_lookup_release(struct ww_lookup *search);

#endif
