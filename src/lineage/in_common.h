/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Candidates whose share is what siblings have in common. Fine-tunes of one base learn
 * some of the same, whatever they were trained on, and a fit calls that a share. It is
 * the more in some tensors than in others, where a merge has one share in all.
 */
#ifndef WW_LINEAGE_IN_COMMON_H
#define WW_LINEAGE_IN_COMMON_H

#include "weightward/lineage.h"

/** Where no recipe gives the bits, a source is none, with a note,
 *
 *  - when controls reach as much in its place: more than one in twenty of them, itself
 *    counted;
 *  - in an answer in part that leaves most of the difference unexplained, when its shares
 *    in tensors differ by more than a third of their mean, unless no more than one in
 *    twenty of the controls reach as much.
 *
 * even: [n_sources] of struct ww_varied; NULL: what is unexplained is no other model's,
 * and tensors are not asked. WW_E_NOMEM. */
enum ww_err ww_in_common_drop(struct ww_decompose_report *report, const double *even,
                              struct ww_error *err) WW_MUST_USE;

#endif
