/* SPDX-License-Identifier: Apache-2.0 */
/* How coarsely the change of a whole tensor may be rounded. */
#ifndef WW_RMM_DENSE_H
#define WW_RMM_DENSE_H

#include "rmm/chunk.h"

#define WW_DENSE_SAMPLE ((size_t)1 << 16)
#define WW_DENSE_LEAST 1024 /* elements; smaller tensors are not worth it */

/** Squares of changes and of their errors, summed up over calls. */
struct ww_dense_sums {
    double norm2;
    double error2;
};

struct ww_dense {
    struct ww_chunk_levels levels;
    double error; /* |change - decoded change| / |change|, of what was measured */
    bool fits;    /* within the bound */
    struct ww_dense_sums sums; /* that the error is of, */
    double share; /* and the length of what was coded, of that of the change */
};

/** Weights and base as they are stored, n of each, and finite. */
struct ww_dense_input {
    enum ww_dtype dtype;
    const uint8_t *weights;
    const uint8_t *base;
    size_t n;
};

/** The largest cells for which the error of what a decoder gives is within the bound:
 *  + - * / sqrt in a fixed order, the same levels on every machine. */
enum ww_err ww_dense_fit(const struct ww_dense_input *in, double bound,
                         struct ww_dense *out, struct ww_error *err) WW_MUST_USE;

void ww_dense_measure(const struct ww_dense_input *in,
                      const struct ww_chunk_levels *levels, struct ww_dense_sums *sums);
double ww_dense_error(const struct ww_dense_sums *sums);
/** Sum of the squares of the changes. */
double ww_dense_norm2(const struct ww_dense_input *in);

#endif
