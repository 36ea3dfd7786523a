/* SPDX-License-Identifier: Apache-2.0 */
/* Does the statement about a fusion recipe say of it what stands in it? */
#ifndef WW_EVIDENCE_FUSION_STATED_H
#define WW_EVIDENCE_FUSION_STATED_H

#include "evidence/provenance.h"

/** path: the signed recipe whose digest the statement has. WW_E_WRONG_MODEL with the
 *  member that differs; WW_E_BUNDLE, WW_E_JSON for a file that is no signed recipe. */
enum ww_err ww_recipe_agrees(const char *path, const struct ww_provenance_view *view,
                             struct ww_error *err) WW_MUST_USE;

/** The same of both, read: recipe is what was signed, stated the external parameters.
 *  WW_E_WRONG_MODEL. */
enum ww_err ww_recipe_says(const struct ww_jnode *recipe, const struct ww_jnode *stated,
                           struct ww_error *err) WW_MUST_USE;

#endif
