/* SPDX-License-Identifier: Apache-2.0 */
/* From stored bytes to doubles, or to the keys that selections compare. */
#include <string.h>

#include "merge/peer.h"
#include "merge/walk_work.h"
#include "merge/weighted.h"
#include "model/convert.h"
#include "util/clones.h"
#include "util/float_bits.h"
#include "util/num.h"

/* Elements [first, first + n) of an input whose rows are picked by a map. Runs of rows
 * that follow each other in the file are one read. */
static enum ww_err read_mapped(const struct ww_merge_item *item,
                               const struct ww_merge_source *s, uint64_t first,
                               uint64_t n, uint8_t *to, struct ww_error *err)
{
    uint64_t row_elements = item->axis_elements;
    size_t size = ww_walk_size(s->dtype);

    for (uint64_t at = first; at < first + n;) {
        uint64_t row = at / row_elements;
        uint64_t in_row = at % row_elements;
        uint64_t run = row_elements - in_row;
        while (s->rows[row] != WW_NONE && run < first + n - at &&
               s->rows[(at + run) / row_elements] ==
                   s->rows[row] + (at + run) / row_elements - row) {
            run += row_elements;
        }
        run = ww_min_u64(run, first + n - at);
        if (s->rows[row] == WW_NONE) {
            memset(to, 0, run * size);
        } else {
            uint64_t element = s->rows[row] * row_elements + in_row;
            enum ww_err rc = ww_merge_input_read(item->job.plan, s->input, to, run * size,
                                                 s->offset + element * size, err);
            if (rc) {
                return rc;
            }
        }
        to += run * size;
        at += run;
    }
    return WW_OK;
}

enum ww_err ww_walk_read(const struct ww_merge_item *item, uint32_t i, uint64_t first,
                         uint64_t n, uint8_t *to, struct ww_error *err)
{
    const struct ww_merge_source *s = item->in[i];
    size_t size = ww_walk_size(s->dtype);

    if (s->rows) {
        return read_mapped(item, s, first, n, to, err);
    }
    return ww_merge_input_read(item->job.plan, s->input, to, n * size,
                               s->offset + first * size, err);
}

static void widen(enum ww_dtype dtype, enum ww_dtype compute, const uint8_t *bytes,
                  double *x, size_t n)
{
    ww_to_double(dtype, bytes, x, n);
    for (size_t i = 0; !ww_walk_holds(compute, dtype) && i < n; i++) {
        uint8_t narrow[sizeof(double)];
        ww_from_double(compute, &x[i], narrow, 1);
        ww_to_double(compute, narrow, &x[i], 1);
    }
}

WW_CLONES static void keys_of(const float *restrict x, const float *restrict base,
                              size_t n, uint32_t *restrict keys)
{
    for (size_t i = 0; i < n; i++) {
        const float d = x[i] - base[i];
        uint32_t bits;
        memcpy(&bits, &d, sizeof(bits));
        keys[i] = bits & 0x7fffffff;
    }
}

static inline float bf16_at(const uint8_t *p)
{
    uint16_t half;
    memcpy(&half, p, sizeof(half));
    return ww_float_of_bf16(half);
}

WW_CLONES static void keys_of_bf16(const uint8_t *restrict x,
                                   const uint8_t *restrict base, size_t n,
                                   uint32_t *restrict keys)
{
    for (size_t i = 0; i < n; i++) {
        const float d = bf16_at(x + 2 * i) - bf16_at(base + 2 * i);
        uint32_t bits;
        memcpy(&bits, &d, sizeof(bits));
        keys[i] = bits & 0x7fffffff;
    }
}

/* The same room, for half as wide numbers. */
void ww_walk_load_keys(struct ww_walk *w, const uint8_t *const *in, uint64_t at, size_t n,
                       const uint32_t **keys)
{
    const struct ww_merge_item *item = w->item;
    const uint32_t last = item->n_in - 1;
    const enum ww_dtype of_base = item->in[last]->dtype;
    const uint8_t *stored = in[last] + at * ww_walk_size(of_base);
    float *base = (float *)(void *)w->base;
    float *x = (float *)(void *)w->out;
    bool widened = false;

    for (uint32_t i = 0; i < item->job.n_sources; i++) {
        const enum ww_dtype dtype = item->in[i]->dtype;
        uint32_t *to = (uint32_t *)(void *)w->x[i];
        keys[i] = to;
        if (dtype == WW_DTYPE_BF16 && of_base == WW_DTYPE_BF16) {
            keys_of_bf16(in[i] + at * ww_walk_size(dtype), stored, n, to);
            continue;
        }
        if (!widened) {
            ww_to_float(of_base, stored, base, n);
            widened = true;
        }
        ww_to_float(dtype, in[i] + at * ww_walk_size(dtype), x, n);
        keys_of(x, base, n, to);
    }
}

WW_CLONES static void change_of_bf16(const uint8_t *restrict x,
                                     const double *restrict base, size_t n,
                                     double *restrict to)
{
    for (size_t i = 0; i < n; i++) {
        to[i] = (double)bf16_at(x + 2 * i) - base[i];
    }
}

/* An input less the base, which is there already. */
static void load_change(struct ww_walk *w, uint32_t i, const uint8_t *bytes, size_t n)
{
    const struct ww_merge_tensor *t = w->item->job.tensor;
    const enum ww_dtype dtype = w->item->in[i]->dtype;

    if (dtype == WW_DTYPE_BF16 && ww_walk_holds(t->compute, dtype)) {
        change_of_bf16(bytes, w->base, n, w->x[i]);
    } else {
        widen(dtype, t->compute, bytes, w->x[i], n);
        ww_weighted_delta(w->x[i], w->base, n);
    }
    if (w->item->job.plan->peer) {
        ww_peer_round(t->compute, w->x[i], n);
    }
}

/* The base, which is last, comes first: changes are from it. */
void ww_walk_load(struct ww_walk *w, const uint8_t *const *in, uint64_t at, size_t n)
{
    const struct ww_merge_item *item = w->item;
    const struct ww_merge_tensor *t = item->job.tensor;

    for (uint32_t i = item->n_in; i-- > 0;) {
        const bool is_base = t->base && i == item->n_in - 1;
        const enum ww_dtype dtype = item->in[i]->dtype;
        const uint8_t *bytes = in[i] + at * ww_walk_size(dtype);
        if (i < t->n_sources && t->base && item->job.ops->deltas) {
            load_change(w, i, bytes, n);
        } else {
            widen(dtype, ww_walk_compute(item, i), bytes, is_base ? w->base : w->x[i], n);
        }
    }
}
