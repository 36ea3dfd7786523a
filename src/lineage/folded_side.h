/* SPDX-License-Identifier: Apache-2.0 */
/* Steps and cells of weights whose gains were folded, and a lock beside undone. */
#ifndef WW_LINEAGE_FOLDED_SIDE_H
#define WW_LINEAGE_FOLDED_SIDE_H

#include "attack/attack_view.h"
#include "lineage/disguise.h"
#include "lineage/folded.h"

/** It stays in its place while somebody reads it. */
struct ww_folded_side {
    struct ww_folded_beside folded;
    struct ww_attack_view *lock; /* to be freed; NULL: none beside */
};

/** folded: what ww_disguise_folded made of a model in one file, whose place reader has
 *  here. */
enum ww_err ww_folded_side_new(const struct ww_disguise *folded,
                               const struct ww_reader *reader, struct ww_folded_side *out,
                               struct ww_error *err) WW_MUST_USE;
const struct ww_reader *ww_folded_side_reader(const struct ww_folded_side *side);

#endif
