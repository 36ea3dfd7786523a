/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Sources that were taken away: weights below zero. A fit that allows any candidate such
 * a share finds small ones in siblings that are no source, so they are looked for one by
 * one and believed only where they are far below zero and leave little unexplained.
 */
#ifndef WW_LINEAGE_SIDES_H
#define WW_LINEAGE_SIDES_H

#include "lineage/fit.h"

/* Of what is left without them: what may be left with them. */
#define WW_SIDES_CLEAR 0.1

struct ww_sides_ask {
    const struct ww_moments *whole;
    struct ww_moments *const *moments; /* [n], per tensor */
    const bool *fitted;                /* [n] */
    size_t n;
    unsigned n_candidates; /* the first of the moments's sources */
    uint64_t seed;
    bool cells; /* who asks decides by cells: noise of blocks hides what shares explain */
};

struct ww_sides {
    int8_t side[WW_LINEAGE_MAX_SOURCES];
    bool any;   /* some share lies far below zero */
    bool clear; /* and with it next to nothing is left that was left without, or each
                   tensor has the same share of those that are; else elements were
                   dropped, or blocks leave noise of their own, or it is none */
};

/** side: WW_SIDE_PLUS of the candidates that can be told apart, else WW_SIDE_OUT. */
enum ww_err ww_sides_find(const struct ww_sides_ask *ask, const int8_t *side,
                          struct ww_sides *out, struct ww_error *err) WW_MUST_USE;

#endif
