/* SPDX-License-Identifier: Apache-2.0 */
/* The short way of a walk: BF16 summed as they are stored, never blocks of doubles. */
#ifndef WW_MERGE_WALK_STORED_H
#define WW_MERGE_WALK_STORED_H

#include "merge/walk.h"

struct ww_walk_stored {
    const struct ww_merge_item *item;
    bool usable;
    bool scan; /* a pass; else the output is made */
    unsigned pass;
    bool sums; /* the output is the form */
    struct ww_merge_form form;
};

/** For the walk over a tile: may blocks go the short way at all? */
void ww_walk_stored_begin(struct ww_walk_stored *s, const struct ww_merge_item *item,
                          bool scan, unsigned pass);
/** One block: in[i] are the stored bytes of each input; `to` the bytes of the output, or
 *  the sums of a pass. False: it must go the long way, and its inputs be looked at. */
bool ww_walk_stored_block(const struct ww_walk_stored *s, const struct ww_merge_block *b,
                          const uint8_t *const *in, void *to);

#endif
