/* SPDX-License-Identifier: Apache-2.0 */
/* A whole part is sorted: these are a few thousand rows at most, and ties at the
 * threshold must go by index. */
#include "merge/frame_ties.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "util/alloc.h"
#include "util/fail.h"

static int larger_first(const void *a, const void *b)
{
    const double x = *(const double *)a;
    const double y = *(const double *)b;
    return x < y ? 1 : x > y ? -1 : 0;
}

/* All but the k entries of largest magnitude become 0; equal ones stay by lowest index.
 */
static void trim(double *x, size_t n, size_t k, double *sorted)
{
    for (size_t i = 0; i < n; i++) {
        sorted[i] = fabs(x[i]);
    }
    qsort(sorted, n, sizeof(*sorted), larger_first);
    const double edge = sorted[k - 1];
    size_t at_edge = 0;
    for (size_t i = k; i-- > 0 && sorted[i] == edge;) {
        at_edge++;
    }
    for (size_t i = 0; i < n; i++) {
        const double size = fabs(x[i]);
        const bool kept = size > edge || (size == edge && at_edge > 0);
        at_edge -= kept && size == edge;
        x[i] = kept ? x[i] : 0.0;
    }
}

void ww_frame_elect(const struct ww_frame_part *parts, uint32_t n_parts, size_t n,
                    bool by_count)
{
    for (size_t k = 0; k < n; k++) {
        double votes = 0.0;
        double sum = 0.0;
        double count = 0.0;
        for (uint32_t i = 0; i < n_parts; i++) {
            const double x = parts[i].x[k];
            votes += by_count ? (double)((x > 0) - (x < 0)) : x;
        }
        for (uint32_t i = 0; i < n_parts; i++) {
            const double x = parts[i].x[k];
            const bool agrees = votes >= 0.0 ? x > 0.0 : x < 0.0;
            sum += agrees ? parts[i].weight * x : 0.0;
            count += agrees;
        }
        parts[0].x[k] = count > 0.0 ? sum / count : 0.0;
    }
}

enum ww_err ww_frame_trim(const struct ww_frame_part *parts, uint32_t n_parts, size_t n,
                          size_t least, struct ww_error *err)
{
    double *sorted = ww_calloc(n + 1, sizeof(*sorted));

    if (!sorted) {
        return WW_FAIL_MEMORY(err, "a selection");
    }
    for (uint32_t i = 0; i < n_parts; i++) {
        size_t wanted = (size_t)(parts[i].density * (double)n);
        wanted = wanted > least ? wanted : least;
        if (wanted == 0) {
            memset(parts[i].x, 0, n * sizeof(*parts[i].x));
        } else if (wanted < n) {
            trim(parts[i].x, n, wanted, sorted);
        }
    }
    ww_free(sorted);
    return WW_OK;
}

enum ww_err ww_frame_ties(const struct ww_frame_part *parts, uint32_t n_parts, size_t n,
                          struct ww_error *err)
{
    enum ww_err rc = ww_frame_trim(parts, n_parts, n, 1, err);

    if (!rc) {
        ww_frame_elect(parts, n_parts, n, false);
    }
    return rc;
}
