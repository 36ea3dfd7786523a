/* SPDX-License-Identifier: Apache-2.0 */
/* A print against an open catalogue: what is in the data base is all that is looked at.
 */
#ifndef WW_LINEAGE_CATALOGUE_SEARCH_H
#define WW_LINEAGE_CATALOGUE_SEARCH_H

#include "lineage/catalogue_mates.h"
#include "lineage/catalogue_store.h"

struct ww_lookup {
    struct ww_db *db;
    const struct ww_print *print; /* of the suspect */
    const char *root_name;        /* that a user named; NULL: found */
    unsigned threads;
    bool by_bytes; /* its weights cannot be read: nothing but equal bytes is looked for */
    struct ww_find_report *report;
    /* What was found: */
    struct ww_store_family family;
    size_t root; /* member, or family.n */
    struct ww_pursuit pursuit;
    size_t first;                /* match of the pursuit's first pick */
    bool apart[WW_PURSUIT_MOST]; /* which picks are more than their mates are */
};

/** Fill the report, all-zero but for unexplained = -1. Nothing found is WW_OK.
 *  WW_E_NOTFOUND for a root that is not there, WW_E_MALFORMED for what is damaged. */
enum ww_err ww_lookup_run(struct ww_lookup *search, struct ww_error *err) WW_MUST_USE;
void ww_lookup_release(struct ww_lookup *search);

#endif
