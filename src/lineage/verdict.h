/* SPDX-License-Identifier: Apache-2.0 */
/* What the bits and the residual leave open of the method. */
#ifndef WW_LINEAGE_VERDICT_H
#define WW_LINEAGE_VERDICT_H

#include "lineage/family.h"

/** Sets method, not_excluded and the recipe of a report whose shares and replay are in.
 *  fitted: which tensors may be looked at. */
enum ww_err ww_verdict(const struct ww_family *family,
                       const struct ww_decompose_options *options, const bool *fitted,
                       struct ww_decompose_report *report,
                       struct ww_error *err) WW_MUST_USE;

#endif
