/* SPDX-License-Identifier: Apache-2.0 */
/* The pictures of a lineage report. */
#ifndef WW_REPORT_LINEAGE_PICTURES_H
#define WW_REPORT_LINEAGE_PICTURES_H

#include "report/page.h"
#include "weightward/lineage.h"

/** Shares per layer, a line for each candidate. */
void ww_picture_shares(struct ww_page *p, const struct ww_decompose_report *d);
/** Shares of the classes of tensors in each layer, a map for each candidate. */
void ww_picture_classes(struct ww_page *p, const struct ww_decompose_report *d);
/** What is left unexplained, a cell for each layer and kind of tensor. */
void ww_picture_residual(struct ww_page *p, const struct ww_decompose_report *d);
/** Each candidate's statistic among those of the controls. */
void ww_picture_controls(struct ww_page *p, const struct ww_decompose_report *d);

#endif
