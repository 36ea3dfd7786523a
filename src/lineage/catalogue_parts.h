/* SPDX-License-Identifier: Apache-2.0 */
/* Tensors and rows of a suspect that are another model's, bit for bit. */
#ifndef WW_LINEAGE_CATALOGUE_PARTS_H
#define WW_LINEAGE_CATALOGUE_PARTS_H

#include "lineage/catalogue_store.h"
#include "weightward/catalogue.h"

/** root: number of the root, or -1. Fills frozen, rows, rows_shared, layers and row_parts
 * of report; a layer counts when at least half of its tensors, and two, are the other's.
 */
enum ww_err ww_find_parts(struct ww_db *db, const struct ww_print *print, int64_t root,
                          struct ww_find_report *report,
                          struct ww_error *err) WW_MUST_USE;

#endif
