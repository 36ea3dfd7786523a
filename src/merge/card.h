/* SPDX-License-Identifier: Apache-2.0 */
/* Model cards: the licences that parents state, and the card of a merge. */
#ifndef WW_MERGE_CARD_H
#define WW_MERGE_CARD_H

#include "merge/build.h"

/** README.md of the output: front matter for the hub, then what was merged and how.
 * Parents whose licences differ or exclude each other are warnings with both texts. */
enum ww_err ww_build_card(struct ww_build *build, struct ww_error *err) WW_MUST_USE;

/** Why two licences (as model cards spell them) do not go together, NULL when nothing is
 *  known against it. */
const char *ww_licence_conflict(const char *a, const char *b);

#endif
