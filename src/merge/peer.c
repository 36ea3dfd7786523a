/* SPDX-License-Identifier: Apache-2.0 */
/* Rounding after each step, as torch's CPU kernels do for 16-bit floats and float32. */
#include "merge/peer.h"

#include <string.h>

#include "merge/weighted.h"
#include "model/convert.h"
#include "util/fail.h"

#define CHUNK 256u

bool ww_peer_knows(const struct ww_method *method)
{
    static const struct ww_method_ops *const known[] = {
        &ww_merge_linear,       &ww_merge_passthrough, &ww_merge_task_arithmetic,
        &ww_merge_slerp,        &ww_merge_ties,        &ww_merge_dare_linear,
        &ww_merge_dare_ties,    &ww_merge_breadcrumbs, &ww_merge_breadcrumbs_ties,
        &ww_merge_della_linear, &ww_merge_della};
    for (size_t i = 0; i < WW_LEN(known); i++) {
        if (method->ops == known[i]) {
            return true;
        }
    }
    return false;
}

void ww_peer_float(enum ww_dtype dtype, double *x, size_t n)
{
    for (size_t i = 0; i < n && dtype != WW_DTYPE_F64; i++) {
        x[i] = (double)(float)x[i];
    }
}

void ww_peer_round(enum ww_dtype dtype, double *x, size_t n)
{
    uint8_t narrow[CHUNK * sizeof(double)];

    ww_peer_float(dtype, x, n);
    for (size_t at = 0; at < n && dtype != WW_DTYPE_F64 && dtype != WW_DTYPE_F32;
         at += CHUNK) {
        const size_t count = n - at < CHUNK ? n - at : CHUNK;
        ww_from_double(dtype, x + at, narrow, count);
        ww_to_double(dtype, narrow, x + at, count);
    }
}

double ww_peer_value(enum ww_dtype dtype, double x)
{
    ww_peer_round(dtype, &x, 1);
    return x;
}

/* The sum of two doubles with its last bit set when it is not exact (rounding to odd): to
 * round that to a shorter type is to round the exact sum. */
static double odd_sum(double a, double b)
{
    const double sum = a + b;
    const double back = sum - a;
    const double lost = (a - (sum - back)) + (b - back);
    uint64_t bits = 0;
    double out = 0;

    memcpy(&bits, &sum, sizeof(bits));
    if (lost != 0 && (bits & 1) == 0) {
        bits += (lost > 0) == (sum > 0) ? 1 : UINT64_MAX;
    }
    memcpy(&out, &bits, sizeof(out));
    return out;
}

void ww_peer_fused(enum ww_dtype dtype, const double *x, double w, size_t n, double *sum)
{
    for (size_t i = 0; i < n; i++) {
        /* The product of two float32 is exact in a double. */
        sum[i] = dtype == WW_DTYPE_F64 ? sum[i] + w * x[i]
                                       : (double)(float)odd_sum(w * x[i], sum[i]);
    }
}

void ww_peer_sum(enum ww_dtype dtype, double *const *x, uint32_t n_x, size_t n,
                 double *out)
{
    for (size_t i = 0; i < n; i++) {
        out[i] = x[0][i];
    }
    for (uint32_t s = 1; s < n_x; s++) {
        for (size_t i = 0; i < n; i++) {
            out[i] += x[s][i];
        }
        ww_peer_float(dtype, out, n);
    }
    ww_peer_round(dtype, out, n);
}

void ww_peer_onto(enum ww_dtype dtype, const double *base, double divisor, double lambda,
                  size_t n, double *out)
{
    if (divisor != 1) {
        ww_weighted_divide(out, divisor, n);
        ww_peer_round(dtype, out, n);
    }
    if (lambda != 1) {
        /* A number of Python's is a float32 to torch. */
        const double by = dtype == WW_DTYPE_F64 ? lambda : (double)(float)lambda;
        for (size_t i = 0; i < n; i++) {
            out[i] *= by;
        }
        ww_peer_round(dtype, out, n);
    }
    ww_weighted_onto(base, 1, n, out);
    ww_peer_round(dtype, out, n);
}
