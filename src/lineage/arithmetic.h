/* SPDX-License-Identifier: Apache-2.0 */
/**
 * The same weighted sum as programs compute it: wider or narrower, as a sum of models or
 * as the base and a sum of differences. A replay that agrees to the bit tells which.
 */
#ifndef WW_LINEAGE_ARITHMETIC_H
#define WW_LINEAGE_ARITHMETIC_H

#include "merge/plan.h"

#define WW_ARITHMETICS 12
#define WW_ARITHMETIC_PEER 7 /* computed by the merge engine, as number 0 is */
#define WW_ARITHMETIC_BLOCK 4096

/** A tensor that is a weighted sum. */
struct ww_weighing {
    uint32_t n;  /* sources */
    float w[64]; /* as the recipe has them */
    float divisor;
    float lambda;
    bool has_base;       /* differences from it are summed */
    enum ww_dtype dtype; /* of the output */
};

/** False: no weighted sum by numbers that the plan has. */
bool ww_weighing_of(const struct ww_merge_tensor *t, struct ww_weighing *out);

/** Name and one line for people; NULL beyond the last. Number 0 is the merge engine's own
 *  (double, rounded once), which is not computed here. */
const char *ww_arithmetic_name(unsigned i);
const char *ww_arithmetic_summary(unsigned i);
/** Float32 throughout: right numbers give nearly the bits of kind 0. */
bool ww_arithmetic_is_wide(unsigned i);
/** Are weights rounded to the output's dtype, so that bits say no more of them? */
bool ww_arithmetic_narrows_weights(unsigned i);
/** Can the tensor be computed so? Narrow kinds are of narrow outputs, differences need a
 *  base, and what is weighed after it was added up has equal weights. */
bool ww_arithmetic_fits(unsigned i, const struct ww_weighing *w);
/** out[e] in the output's dtype, n <= BLOCK elements of x[0 .. n_sources), base NULL
 *  without. */
void ww_arithmetic_compute(unsigned i, const struct ww_weighing *w, float *const *x,
                           const float *base, size_t n, void *out);

#endif
