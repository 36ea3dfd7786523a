/* SPDX-License-Identifier: Apache-2.0 */
#include "lineage/corner.h"

#include <math.h>

#include "model/elements.h"

#define LEAST_SIDE 32 /* a smaller matrix has few directions anyway */

static const struct ww_tensor *own(const struct ww_family *family, uint32_t t)
{
    return &family->models[WW_FAMILY_SUSPECT]->tensors[family->tensors[t].index[0]];
}

bool ww_corner_has(const struct ww_family *family, uint32_t tensor)
{
    const struct ww_tensor *t = own(family, tensor);

    return t->rank == 2 && t->shape[0] >= LEAST_SIDE && t->shape[1] >= LEAST_SIDE;
}

bool ww_corner_is_vector(const struct ww_family *family, uint32_t tensor)
{
    const struct ww_tensor *t = own(family, tensor);

    return t->rank == 1 && t->shape[0] >= LEAST_SIDE;
}

void ww_corner_sides(const struct ww_family *family, uint32_t tensor, size_t most,
                     size_t *rows, size_t *columns)
{
    const struct ww_tensor *t = own(family, tensor);
    const uint64_t n = t->shape[t->rank - 1];
    const uint64_t m = family->tensors[tensor].n_elements / n;

    *rows = m < most ? (size_t)m : most;
    *columns = n < most ? (size_t)n : most;
}

enum ww_err ww_corner_row(const struct ww_family *family, uint32_t tensor, unsigned model,
                          uint64_t row, size_t n, void *bytes, double *out, double *steps,
                          struct ww_error *err)
{
    const struct ww_disguise *suspect = &family->disguise;
    const uint32_t index = family->tensors[tensor].index[model];
    const struct ww_tensor *t = &family->models[model]->tensors[index];

    if (model == WW_FAMILY_SUSPECT && suspect->read) {
        return ww_disguise_values(suspect, index, row * t->shape[1], n, out, steps, err);
    }
    return ww_elements_double(family->models[model], index, row * t->shape[1], n, bytes,
                              out, err);
}

void ww_corner_orthonormalise(double *q, size_t k, size_t m)
{
    for (size_t i = 0; i < k; i++) {
        double *row = q + i * m;
        double norm = 0;
        for (size_t other = 0; other < 2 * i; other++) {
            const double *by = q + (other % i) * m;
            double product = 0;
            for (size_t e = 0; e < m; e++) {
                product += row[e] * by[e];
            }
            for (size_t e = 0; e < m; e++) {
                row[e] -= product * by[e];
            }
        }
        for (size_t e = 0; e < m; e++) {
            norm += row[e] * row[e];
        }
        for (size_t e = 0; e < m && norm > 0; e++) {
            row[e] /= sqrt(norm);
        }
    }
}
