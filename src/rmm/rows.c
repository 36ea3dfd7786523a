/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Directions come from the smaller of the two Gram matrices, n x n of the models or r x r
 * of the numbers. A direction of no length is zero.
 */
#include "rmm/rows.h"

#include <math.h>
#include <string.h>

#include "model/convert.h"
#include "rmm/own.h"
#include "util/alloc.h"
#include "util/fail.h"

#define NOTHING 1e-14

uint64_t ww_rows_numbers(const struct ww_rows *rows)
{
    return (uint64_t)rows->p * (rows->r + rows->n) + rows->r;
}

size_t ww_rows_within(size_t n, size_t r, uint64_t positions, uint64_t bytes)
{
    struct ww_rows rows = {.n = n, .r = r};
    const size_t most = n - 1 < r ? n - 1 : r;

    while (rows.p < most) {
        rows.p++;
        if (ww_rows_numbers(&rows) > bytes / 2 / (positions ? positions : 1)) {
            rows.p--;
            break;
        }
    }
    return rows.p;
}

enum ww_err ww_rows_room_init(const struct ww_rows *rows, struct ww_rows_room *out,
                              struct ww_error *err)
{
    const size_t k = rows->n < rows->r ? rows->n : rows->r;

    out->centred = ww_calloc(rows->n, rows->r * sizeof(double));
    out->gram = ww_calloc(k, k * sizeof(double));
    out->vectors = ww_calloc(k, k * sizeof(double));
    out->values = ww_calloc(k, sizeof(double));
    if (!out->centred || !out->gram || !out->vectors || !out->values) {
        ww_rows_room_release(out);
        return WW_FAIL_MEMORY(err, "directions");
    }
    return WW_OK;
}

void ww_rows_room_release(struct ww_rows_room *room)
{
    ww_free(room->centred);
    ww_free(room->gram);
    ww_free(room->vectors);
    ww_free(room->values);
    memset(room, 0, sizeof(*room));
}

static void round_all(double *values, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint8_t bytes[2];
        ww_from_double(WW_DTYPE_BF16, &values[i], bytes, 1);
        ww_to_double(WW_DTYPE_BF16, bytes, &values[i], 1);
    }
}

static void centre(const struct ww_rows *rows, const double *vectors, double *mean,
                   double *centred)
{
    for (size_t k = 0; k < rows->r; k++) {
        double sum = 0;
        for (size_t i = 0; i < rows->n; i++) {
            sum += vectors[i * rows->r + k];
        }
        mean[k] = sum / (double)rows->n;
    }
    for (size_t i = 0; i < rows->n * rows->r; i++) {
        centred[i] = vectors[i] - mean[i % rows->r];
    }
}

/* Z Z^T when there are fewer models than numbers, else Z^T Z. */
static void make_gram(const struct ww_rows *rows, const double *z, size_t k, double *gram)
{
    const bool of_models = rows->n < rows->r;
    const size_t inner = of_models ? rows->r : rows->n;

    for (size_t a = 0; a < k; a++) {
        for (size_t b = 0; b < k; b++) {
            double sum = 0;
            for (size_t i = 0; i < inner; i++) {
                sum += of_models ? z[a * rows->r + i] * z[b * rows->r + i]
                                 : z[i * rows->r + a] * z[i * rows->r + b];
            }
            gram[a * k + b] = sum;
        }
    }
}

static void fix_sign(double *direction, size_t r)
{
    double largest = 0;

    for (size_t k = 0; k < r; k++) {
        largest = fabs(direction[k]) > fabs(largest) ? direction[k] : largest;
    }
    for (size_t k = 0; k < r && largest < 0; k++) {
        direction[k] = -direction[k];
    }
}

/* Eigenvector j as a direction of length one in R^r. */
static void make_direction(const struct ww_rows *rows, const struct ww_rows_room *room,
                           size_t size, size_t j, double *out)
{
    double norm2 = 0;

    memset(out, 0, rows->r * sizeof(*out));
    if (j >= size || !(room->values[j] > NOTHING * room->values[0])) {
        return;
    }
    for (size_t k = 0; k < rows->r; k++) {
        if (rows->n < rows->r) {
            for (size_t i = 0; i < rows->n; i++) {
                out[k] += room->centred[i * rows->r + k] * room->vectors[i * size + j];
            }
        } else {
            out[k] = room->vectors[k * size + j];
        }
        norm2 += out[k] * out[k];
    }
    for (size_t k = 0; k < rows->r && norm2 > 0; k++) {
        out[k] /= sqrt(norm2);
    }
    fix_sign(out, rows->r);
}

void ww_rows_fit(const struct ww_rows *rows, const double *vectors,
                 struct ww_rows_room *room, double *mean, double *directions,
                 double *coefficients)
{
    const size_t size = rows->n < rows->r ? rows->n : rows->r;

    centre(rows, vectors, mean, room->centred);
    make_gram(rows, room->centred, size, room->gram);
    ww_own_eigen(size, room->gram, room->values, room->vectors);
    for (size_t j = 0; j < rows->p; j++) {
        make_direction(rows, room, size, j, directions + j * rows->r);
    }
    for (size_t i = 0; i < rows->n; i++) {
        for (size_t j = 0; j < rows->p; j++) {
            double sum = 0;
            for (size_t k = 0; k < rows->r; k++) {
                sum += room->centred[i * rows->r + k] * directions[j * rows->r + k];
            }
            coefficients[i * rows->p + j] = sum;
        }
    }
    round_all(mean, rows->r);
    round_all(directions, rows->p * rows->r);
    round_all(coefficients, rows->n * rows->p);
}

void ww_rows_recover(const struct ww_rows *rows, const double *mean,
                     const double *directions, const double *coefficients, size_t i,
                     double *out)
{
    for (size_t k = 0; k < rows->r; k++) {
        double sum = mean[k];
        for (size_t j = 0; j < rows->p; j++) {
            sum += coefficients[i * rows->p + j] * directions[j * rows->r + k];
        }
        out[k] = sum;
    }
}
