/* SPDX-License-Identifier: Apache-2.0 */
/* What a decomposition tells, as memory. */
#ifndef WW_LINEAGE_DECOMPOSE_REPORT_H
#define WW_LINEAGE_DECOMPOSE_REPORT_H

#include "weightward/lineage.h"

/** Frees what is told of each tensor, which another replay tells anew. */
void ww_decompose_forget_each(struct ww_decompose_report *report);

/** How many candidates are included. */
size_t ww_decompose_count_included(const struct ww_decompose_report *report);

#endif
