/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Nothing is lost on the short way: a NaN or an infinity of an input makes its sum one
 * too, the sum is then refused, and on the long way it is found where it came from.
 */
#include "merge/walk_stored.h"

#include <string.h>

#include "merge/stored.h"

#define MOST (WW_MERGE_MOST_SOURCES + 2)
_Static_assert(MOST <= WW_STORED_MOST, "a sum of all inputs");

/* Wide enough to compute in, and BF16 from end to end. */
static bool is_stored_so(const struct ww_merge_item *item)
{
    const struct ww_merge_tensor *t = item->job.tensor;
    bool all = t->dtype == WW_DTYPE_BF16 &&
               (t->compute == WW_DTYPE_BF16 || t->compute == WW_DTYPE_F32 ||
                t->compute == WW_DTYPE_F64);

    for (uint32_t i = 0; i < item->n_in; i++) {
        all = all && item->in[i]->dtype == WW_DTYPE_BF16;
    }
    return all && item->job.n_x == t->n_sources;
}

void ww_walk_stored_begin(struct ww_walk_stored *s, const struct ww_merge_item *item,
                          bool scan, unsigned pass)
{
    const struct ww_merge_job *job = &item->job;
    const struct ww_method_ops *ops = job->ops;
    const bool plain = !job->plan->peer && is_stored_so(item) && ww_stored_fast();

    *s = (struct ww_walk_stored){.item = item, .scan = scan, .pass = pass};
    if (scan) {
        s->usable = plain && ops->scan_stored;
    } else {
        const bool ordered = plain && !job->plan->order_free;
        s->sums = ordered && ops->form && ops->form(job, &s->form);
        s->usable = s->sums || (ordered && ops->block_stored);
    }
}

bool ww_walk_stored_block(const struct ww_walk_stored *s, const struct ww_merge_block *b,
                          const uint8_t *const *in, void *to)
{
    const struct ww_merge_job *job = &s->item->job;
    const uint8_t *base = job->tensor->base ? in[s->item->n_in - 1] : NULL;
    const uint8_t *x[WW_STORED_MOST];
    const uint32_t first = s->form.base_is_first ? 1 : 0;

    if (s->scan) {
        return job->ops->scan_stored(job, s->pass, b, in, base, to);
    }
    if (!s->sums) {
        return job->ops->block_stored(job, b, in, base, to);
    }
    x[0] = base;
    memcpy(x + first, in, job->n_sources * sizeof(*x));
    const struct ww_stored_sum sum = {s->form.w, job->n_sources + first, s->form.divisor,
                                      s->form.lambda};
    return ww_stored_sum(&sum, x, job->ops->deltas ? base : NULL, b->n, to);
}
