/* SPDX-License-Identifier: Apache-2.0 */
/*
 * RMSNorm (Zhang and Sennrich, arXiv 1910.07467) and LayerNorm (Ba, Kiros and Hinton,
 * arXiv 1607.06450). The variance is taken around the mean in a second pass: the one-pass
 * form loses digits when the mean is large.
 */
#include "arch/core.h"

#include <math.h>
#include <string.h>

static double mean_of(const double *x, size_t width)
{
    double sum = 0;
    for (size_t i = 0; i < width; i++) {
        sum += x[i];
    }
    return sum / (double)width;
}

static double mean_square(const double *x, double mean, size_t width)
{
    double sum = 0;
    for (size_t i = 0; i < width; i++) {
        sum += (x[i] - mean) * (x[i] - mean);
    }
    return sum / (double)width;
}

void ww_core_norm(const struct ww_norm *norm, struct ww_norm_values values,
                  const double *x, double *y, size_t width)
{
    if (norm->kind == WW_NORM_NONE) {
        memmove(y, x, width * sizeof(*x));
        return;
    }
    double mean = norm->kind == WW_NORM_LAYER ? mean_of(x, width) : 0;
    double factor = 1 / sqrt(mean_square(x, mean, width) + norm->eps);
    double one = norm->plus_one ? 1 : 0;
    for (size_t i = 0; i < width; i++) {
        double gain = values.gain ? one + values.gain[i] : 1;
        double shift = values.bias ? values.bias[i] : 0;
        y[i] = (x[i] - mean) * factor * gain + shift;
    }
}
