/* SPDX-License-Identifier: Apache-2.0 */
/* Tensors that say nothing of shares, in a suspect that is the base's relative. */
#ifndef WW_LINEAGE_STRANGERS_H
#define WW_LINEAGE_STRANGERS_H

#include "lineage/family.h"

/** Leaves out tensors that point elsewhere than the base's, as tables of words in
 * another order do, and says so in the family's warnings; all stay when those are half of
 * the weights or more: then it is no matter of single tensors. Leaves out and tells as
 * well what was rounded to the steps that the base's own values lie on. WW_E_QUANTISED
 * when nothing else is there. */
enum ww_err ww_family_leave_strangers(struct ww_family *family,
                                      const struct ww_run_options *run,
                                      struct ww_error *err) WW_MUST_USE;

#endif
