/* SPDX-License-Identifier: Apache-2.0 */
#include "lineage/drawn.h"

#include <math.h>
#include <string.h>

#include "model/convert.h"
#include "util/alloc.h"
#include "util/fail.h"

#define CHUNK 256

enum ww_err ww_drawn_init(struct ww_drawn *d, uint32_t n_sources, struct ww_error *err)
{
    const size_t n = n_sources > WW_DRAWN_SOURCES ? 0 : n_sources;

    *d = (struct ww_drawn){.n = (uint32_t)n};
    d->gram = ww_calloc(2 * n * n + 8 * n + 1, sizeof(*d->gram));
    if (!d->gram) {
        return WW_FAIL_MEMORY(err, "a comparison with masks drawn anew");
    }
    d->noise = d->gram + n * n;
    d->apart = d->noise + n * n;
    d->anew = d->apart + n;
    d->length = d->anew + n;
    d->left[WW_DRAWN_SUSPECT] = d->length + n;
    d->left[WW_DRAWN_ANEW] = d->left[WW_DRAWN_SUSPECT] + n;
    d->energy[WW_DRAWN_SUSPECT] = d->left[WW_DRAWN_ANEW] + n;
    d->energy[WW_DRAWN_ANEW] = d->energy[WW_DRAWN_SUSPECT] + n;
    d->spread = d->energy[WW_DRAWN_ANEW] + n;
    return WW_OK;
}

void ww_drawn_release(struct ww_drawn *d)
{
    ww_free(d->gram);
    memset(d, 0, sizeof(*d));
}

/* One element's part in the sums over sources. */
static void add_sources(struct ww_drawn *d, const double *x, const double *y)
{
    const double apart = y[WW_DRAWN_SUSPECT] - y[WW_DRAWN_ANEW];
    const double squares = apart * (y[WW_DRAWN_SUSPECT] + y[WW_DRAWN_ANEW]);

    for (uint32_t i = 0; i < d->n; i++) {
        d->apart[i] += x[i] * apart;
        d->anew[i] += x[i] * y[WW_DRAWN_ANEW];
        const double square = x[i] * x[i];
        d->length[i] += fabs(x[i]);
        d->spread[i] += square * square * squares * squares;
        for (unsigned side = 0; side < WW_DRAWN_SIDES; side++) {
            d->left[side][i] += y[side] != 0 ? fabs(x[i]) : 0;
            d->energy[side][i] += square * y[side] * y[side];
        }
        for (uint32_t j = 0; j < d->n; j++) {
            d->gram[i * d->n + j] += x[i] * x[j];
            d->noise[i * d->n + j] += x[i] * x[j] * apart * apart;
        }
    }
}

static void add_element(struct ww_drawn *d, const double *x, const double *y)
{
    d->moved++;
    for (unsigned side = 0; side < WW_DRAWN_SIDES; side++) {
        d->kept[side] += y[side] != 0;
    }
    add_sources(d, x, y);
}

void ww_drawn_add(struct ww_drawn *d, enum ww_dtype dtype, const void *suspect,
                  const void *anew, const float *base, const float *x, size_t x_row,
                  const uint8_t *moved, size_t n)
{
    const size_t size = ww_dtype_bits(dtype) / 8;
    double stored[WW_DRAWN_SIDES][CHUNK];
    double own[WW_DRAWN_SOURCES];

    for (size_t at = 0; at < n; at += CHUNK) {
        const size_t here = n - at < CHUNK ? n - at : CHUNK;
        ww_to_double(dtype, (const uint8_t *)suspect + at * size,
                     stored[WW_DRAWN_SUSPECT], here);
        ww_to_double(dtype, (const uint8_t *)anew + at * size, stored[WW_DRAWN_ANEW],
                     here);
        for (size_t k = 0; k < here; k++) {
            const size_t e = at + k;
            const double b = (double)base[e];
            const double y[] = {stored[WW_DRAWN_SUSPECT][k] - b,
                                stored[WW_DRAWN_ANEW][k] - b};
            if (!moved[e]) {
                d->still++;
                d->strayed += y[WW_DRAWN_SUSPECT] != 0;
                continue;
            }
            for (uint32_t i = 0; i < d->n; i++) {
                own[i] = (double)x[i * x_row + e] - b;
            }
            add_element(d, own, y);
        }
    }
}
