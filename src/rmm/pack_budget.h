/* SPDX-License-Identifier: Apache-2.0 */
/* Packages that may have so many bytes and no more. */
#ifndef WW_RMM_PACK_BUDGET_H
#define WW_RMM_PACK_BUDGET_H

#include "rmm/packing.h"

/** ww_packing_run with the smallest error found for which the package fits the options'
 *  budget: exact when that fits. WW_E_LIMIT when nothing does. */
enum ww_err ww_packing_within(struct ww_packing *p, struct ww_pack_report *report,
                              struct ww_error *err) WW_MUST_USE;

#endif
