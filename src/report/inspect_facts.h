/* SPDX-License-Identifier: Apache-2.0 */
/* What both forms of the inspect answer say about a folder. */
#ifndef WW_REPORT_FACTS_H
#define WW_REPORT_FACTS_H

#include "weightward/report.h"

/** Elements over all tensors that carry weights. */
uint64_t ww_fact_parameters(const struct ww_inspection *in);

/** The dtype that most elements have. */
const char *ww_fact_dtype(const struct ww_model *model);

bool ww_fact_signed(const struct ww_model *model);

/** The block moves entry for block i of the layout, or NULL. */
const struct ww_block_moves *ww_fact_moves(const struct ww_inspection *in, uint32_t i);

#endif
