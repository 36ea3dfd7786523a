/* SPDX-License-Identifier: Apache-2.0 */
/* Methods take part one after another, and what gives as many bits is listed. */
#include "lineage/contest_work.h"

#include <string.h>

#include "lineage/grid.h"
#include "util/alloc.h"

#define SAMPLE ((uint64_t)4 << 20)                     /* elements */
#define MOST_EQUALS ((size_t)WW_LINEAGE_MAX_WORDS - 2) /* that are listed */

/* That of the first matrix, as a norm's few values may lie on any grid. */
static enum ww_dtype output_dtype(const struct ww_model *suspect,
                                  const enum ww_dtype *grids)
{
    enum ww_dtype found = WW_DTYPE_F32;

    for (uint32_t t = suspect->n_tensors; t > 0; t--) {
        const struct ww_tensor *of = &suspect->tensors[t - 1];
        if (ww_dtype_is_plain_float(of->dtype) && of->rank >= 2) {
            found = grids[t - 1];
        }
    }
    return found;
}

static bool is_listed(const struct ww_contest *out, size_t n, const char *method)
{
    bool listed = strcmp(method, out->method) == 0;

    for (size_t i = 0; i < n && !listed; i++) {
        listed = strcmp(method, out->equals[i]) == 0;
    }
    return listed;
}

/* Where no recipe gives all bits, one that gives a few less may be the right one with
 * numbers that were not found; of numbers over the layers a thousandth may be theirs. */
static void list_equals(struct ww_contesting *c)
{
    const double all = c->out->gradient ? WW_CONTEST_ALL_BITS : WW_CONTEST_AGREED;
    const double beside = c->out->match < all ? WW_CONTEST_NEAR : WW_CONTEST_AS_GOOD;
    size_t n = 0;

    for (size_t i = 0; i < c->n_tried && c->out->method && n < MOST_EQUALS; i++) {
        if (c->matches[i] >= c->out->match - beside &&
            !is_listed(c->out, n, c->tried[i])) {
            c->out->equals[n++] = c->tried[i];
        }
    }
}

enum ww_err ww_contest_run(const struct ww_contest_ask *ask, struct ww_contest *out,
                           uint64_t *bytes_read, struct ww_error *err)
{
    struct ww_contesting c = {
        .ask = ask, .out = out, .room = SAMPLE, .bytes_read = bytes_read};
    enum ww_err rc = ww_grids_of(ask->suspect, &c.grids, err);

    memset(out, 0, sizeof(*out));
    if (rc) {
        return rc;
    }
    c.sketch = (struct ww_sketch){.base = ask->base,
                                  .models = ask->sources,
                                  .n = ask->n,
                                  .dtype = output_dtype(ask->suspect, c.grids)};
    if (ask->as_they_are) {
        rc = ww_contest_stack(&c, err);
    } else {
        c.sketch.slices = ask->slices;
        c.sketch.n_slices = ask->n_slices;
        rc = ww_contest_blends(&c, err);
    }
    if (!rc && ask->core) {
        rc = ww_contest_selections(&c, err);
    }
    if (!rc && ask->core && !ask->slices && out->match < WW_CONTEST_AGREED) {
        rc = ww_contest_local(&c, err);
    }
    ww_free(c.grids);
    ww_contest_drop_sample(&c);
    if (rc) {
        ww_free(out->recipe);
        memset(out, 0, sizeof(*out));
        return rc;
    }
    list_equals(&c);
    return WW_OK;
}
