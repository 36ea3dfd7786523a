/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Which head between two others are answers of? Answers of base + a (source - base) lie
 * in that head's column space and in no other's between the two, unless the difference
 * itself stays inside of the base's. So a is where least of the answers lies outside.
 *
 * A head that was stored with few bits is rounded, and that shifts a like it shifts
 * shares of weights. The head for an a is rounded as well and answers are made with it,
 * from the hidden states that the real ones let see; what those read as tells the shift,
 * which is taken off.
 */
#ifndef WW_LINEAGE_LOGITS_BLEND_H
#define WW_LINEAGE_LOGITS_BLEND_H

#include <stdbool.h>
#include <stdint.h>

#include "weightward/model.h"

struct ww_blend_problem {
    const double *base;    /* [v][d] */
    const double *source;  /* [v][d] */
    const double *answers; /* [n][v], without their mean */
    size_t v;
    size_t d;
    size_t n;
    enum ww_dtype grid; /* of the blended head */
    uint64_t seed;
};

struct ww_blend_found {
    double share;
    double low, high; /* 95 % over answers drawn anew */
    double rounding;  /* was taken off */
    double left;      /* residuals, as ratios of lengths: at the share, */
    double at_base;   /* at 0 */
    double at_source; /* and at 1 */
    bool flat;        /* no least was found between the two: the rest is void */
};
enum ww_err ww_blend_find(const struct ww_blend_problem *problem,
                          struct ww_blend_found *out, struct ww_error *err) WW_MUST_USE;

#endif
