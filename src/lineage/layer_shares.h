/* SPDX-License-Identifier: Apache-2.0 */
/* Shares of layers, and of classes of tensors in them, from the sums of their tensors. */
#ifndef WW_LINEAGE_LAYER_SHARES_H
#define WW_LINEAGE_LAYER_SHARES_H

#include "lineage/family.h"
#include "lineage/moments.h"

/** Fill the report's layers and classes; moments: per tensor of the family. */
enum ww_err ww_layers_fit(const struct ww_family *family,
                          struct ww_moments *const *moments, const int8_t *side,
                          struct ww_decompose_report *report,
                          struct ww_error *err) WW_MUST_USE;

#endif
