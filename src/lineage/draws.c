/* SPDX-License-Identifier: Apache-2.0 */
#include "lineage/draws.h"

#include <stdlib.h>

#include "util/alloc.h"
#include "util/fail.h"
#include "util/order.h"

#define REPLICATES 200

uint64_t ww_draw(uint64_t *state)
{
    const uint64_t z = ww_mix64(*state);

    *state += UINT64_C(0x9e3779b97f4a7c15);
    return z;
}

double ww_draw_side(size_t place)
{
    return ww_mix64(place) & 1 ? 1 : -1;
}

uint64_t ww_draw_name(uint64_t seed, const char *name)
{
    uint64_t state = seed;

    for (const char *c = name; *c; c++) {
        state ^= (uint8_t)*c;
        state = ww_draw(&state);
    }
    return ww_draw(&state);
}

void ww_draw_middle(double *values, size_t n, double *low, double *high)
{
    const size_t out = n / 40 > 1 ? n / 40 - 1 : 0;

    qsort(values, n, sizeof(*values), ww_order_doubles);
    *low = n ? values[out] : 0;
    *high = n ? values[n - 1 - out] : 0;
}

enum ww_err ww_draw_interval(const uint64_t *same, const uint64_t *moved, size_t n,
                             uint64_t seed, double *low, double *high,
                             struct ww_error *err)
{
    double *values = ww_calloc(REPLICATES, sizeof(*values));
    uint64_t state = seed;

    *low = *high = 0;
    if (!values) {
        return WW_FAIL_MEMORY(err, "an interval");
    }
    for (unsigned r = 0; r < REPLICATES && n; r++) {
        double some = 0;
        double all = 0;
        for (size_t i = 0; i < n; i++) {
            const size_t at = (size_t)(ww_draw(&state) % n);
            some += (double)same[at];
            all += (double)moved[at];
        }
        values[r] = all > 0 ? some / all : 0;
    }
    ww_draw_middle(values, REPLICATES, low, high);
    ww_free(values);
    return WW_OK;
}
