/* SPDX-License-Identifier: Apache-2.0 */
/* Shares that are not one number: schedules over depth, coefficients from the data. */
#ifndef WW_LINEAGE_VARIED_H
#define WW_LINEAGE_VARIED_H

#include "lineage/fit.h"

struct ww_varied {
    bool
        varies; /* tensors of their own leave much less unexplained than one fit of all */
    double share[WW_LINEAGE_MAX_SOURCES]; /* mean over tensors that it moved, by their
                                             elements used */
    double low[WW_LINEAGE_MAX_SOURCES];   /* 95 %: tensors drawn anew */
    double high[WW_LINEAGE_MAX_SOURCES];
    double even[WW_LINEAGE_MAX_SOURCES]; /* mean over tensors, in deviations of theirs
                                            beyond their errors; HUGE_VAL: no less is
                                            known */
    double
        *tensors; /* [n][k]; of a tensor that was not fitted: its layer's, or the mean */
};

struct ww_varied_ask {
    struct ww_moments *const *moments; /* [n] */
    const bool *fitted;                /* [n] */
    const uint32_t *layers;            /* [n] */
    size_t n;
    unsigned k;
    const int8_t *side;
    const double *pooled; /* shares of the fit of all */
    uint64_t seed;
};
/** Free out->tensors. */
enum ww_err ww_varied_fit(const struct ww_varied_ask *ask, struct ww_varied *out,
                          struct ww_error *err) WW_MUST_USE;

#endif
