/* SPDX-License-Identifier: Apache-2.0 */
/* Which layer of which model a layer of the suspect is, when it was not blended. */
#ifndef WW_LINEAGE_PLACES_H
#define WW_LINEAGE_PLACES_H

#include "lineage/family.h"

/** Fills places of the report (its sources are named, as options has them): the suspect's
 * layers with the base's that they are, and with the model that has the same beginning of
 * each tensor there. Stays empty when every layer lies where the base has it and no two
 * models share them out. Only tensors with use are looked at; NULL: all. */
enum ww_err ww_places_find(const struct ww_family *family,
                           const struct ww_decompose_options *options, const bool *use,
                           struct ww_decompose_report *report,
                           struct ww_error *err) WW_MUST_USE;

/** Are all layers some model's as they are? */
bool ww_places_whole(const struct ww_decompose_report *report);
/** Does layer i follow on the one before, in the base and, with `of_model`, in one model?
 */
bool ww_places_follows(const struct ww_decompose_report *report, size_t i, bool of_model);

#endif
