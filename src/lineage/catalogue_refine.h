/* SPDX-License-Identifier: Apache-2.0 */
/* Shares again, by the fine sketches of root and picks: the noise of a sketch falls with
 * the root of its size, here by 5.7. */
#ifndef WW_LINEAGE_CATALOGUE_REFINE_H
#define WW_LINEAGE_CATALOGUE_REFINE_H

#include "lineage/catalogue_pursuit.h"
#include "lineage/catalogue_store.h"

/** Where a source is missing, what siblings have in common would be laid on the others;
 *  the coarse search takes it out, which needs the sketches of all. */
#define WW_REFINE_UNEXPLAINED 0.1

/** suspect: fine. Shares, cosines and z of found are replaced, and *done set, when root
 * and all picks have fine sketches that tell them apart; a pick without a share is
 * dropped. */
enum ww_err ww_find_refine(struct ww_db *db, const float *suspect, size_t root,
                           const struct ww_store_family *family, struct ww_pursuit *found,
                           bool *done, struct ww_error *err) WW_MUST_USE;

#endif
