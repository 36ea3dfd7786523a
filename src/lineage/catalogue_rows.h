/* SPDX-License-Identifier: Apache-2.0 */
/* Whose rows does a tensor have? Two tensors that share most of their rows share most of
 * their least row hashes (Broder 1997), which the catalogue has an index of. */
#ifndef WW_LINEAGE_CATALOGUE_ROWS_H
#define WW_LINEAGE_CATALOGUE_ROWS_H

#include "lineage/catalogue_store.h"
#include "weightward/catalogue.h"

/** Rows of tensor that are in a list of hashes, as the catalogue stores it. */
enum ww_err ww_rows_shared(const struct ww_print_tensor *tensor,
                           const struct ww_db_value *hashes, uint64_t *shared,
                           struct ww_error *err) WW_MUST_USE;

/** Add to report the catalogued tensor that most rows of tensor are in, when a quarter of
 *  one of the two is. */
enum ww_err ww_rows_find(struct ww_db *db, const struct ww_print_tensor *tensor,
                         struct ww_find_report *report, struct ww_error *err) WW_MUST_USE;

#endif
