/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "lineage/folded.h"
#include "model/elements.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/num.h"

#define LOOK 4096 /* elements of a tensor */
#define NEAR 0.75 /* squared distance of relatives, in squared lengths */

struct look {
    uint8_t bytes[LOOK * sizeof(double)];
    double x[LOOK];
    double y[LOOK];
};

/* Squared, in squared lengths of the second one, of what both begin with. */
static enum ww_err distance(const struct ww_model *a, uint32_t t,
                            const struct ww_model *b, uint32_t u, struct look *look,
                            double *sum, struct ww_error *err)
{
    const size_t n = (size_t)ww_min_u64(
        LOOK, ww_min_u64(a->tensors[t].n_elements, b->tensors[u].n_elements));
    double apart = 0;
    double size = 0;
    enum ww_err rc = ww_elements_double(a, t, 0, n, look->bytes, look->x, err);

    rc = rc ? rc : ww_elements_double(b, u, 0, n, look->bytes, look->y, err);
    for (size_t e = 0; e < n && !rc; e++) {
        apart += (look->x[e] - look->y[e]) * (look->x[e] - look->y[e]);
        size += look->y[e] * look->y[e];
    }
    *sum += size > 0 ? apart / size : 0;
    return rc;
}

static bool is_odd(const struct ww_folded *f, uint32_t t, const double *const *odd,
                   uint32_t n)
{
    const struct ww_stream_part *part = &f->parts.parts[t];
    bool found = part->on && !part->is_gain && !part->gains && f->length != 1;

    for (uint32_t i = 0; i < n && part->gains && !found; i++) {
        found = part->gains == odd[i];
    }
    return found;
}

/* Rows of one length, however many. */
static bool comparable(const struct ww_tensor *a, const struct ww_tensor *b)
{
    return a->rank == b->rank && a->rank > 0 &&
           memcmp(a->shape + 1, b->shape + 1, (a->rank - 1) * sizeof(*a->shape)) == 0;
}

enum ww_err ww_folded_apart(const struct ww_folded *suspect,
                            const struct ww_folded *anchor, const double *const *odd,
                            uint32_t n, bool *as_it_is, struct ww_error *err)
{
    struct look *look = ww_calloc(1, sizeof(*look));
    double before = 0;
    double after = 0;
    uint32_t n_looks = 0;
    enum ww_err rc = look ? WW_OK : WW_FAIL_MEMORY(err, "folded weights");

    for (uint32_t t = 0; t < suspect->from->n_tensors && !rc; t++) {
        const struct ww_tensor *tensor = &suspect->from->tensors[t];
        const uint32_t b = ww_model_find(anchor->from, tensor->name);
        if (b == WW_NONE || !is_odd(suspect, t, odd, n) ||
            !comparable(tensor, &anchor->from->tensors[b])) {
            continue;
        }
        rc = distance(suspect->from, t, anchor->from, b, look, &before, err);
        rc = rc ? rc : distance(suspect->model, t, anchor->model, b, look, &after, err);
        n_looks++;
    }
    *as_it_is = !rc && before <= after && before < NEAR * n_looks;
    ww_free(look);
    return rc;
}
