/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Cells are wide: values that lie in them tell little where most values would. How much
 * they tell is tried out, with values a little elsewhere, as those of another training of
 * a source are, and without each of the sources. A twin that is as near leaves a third to
 * a fifth of them itself, a sum next to none.
 */
#include <math.h>

#include "lineage/draws.h"
#include "lineage/subsets_mixture.h"

#define OFF 0.05     /* of the blend's length: how far elsewhere, */
#define CLEAR 8      /* which has to leave so many times the elements without a value */
#define TIMES 3      /* as a needed source does that is not there, */
#define SPARED 3     /* of which chance may have spared so many, */
#define AT_LEAST 0.3 /* in this part of them, where a source may have been dropped */
#define SOME 0.001   /* of the elements, if so many need the source */

void ww_mixture_try(const struct ww_mixture *m, const struct ww_subsets_element *elements,
                    size_t n, struct ww_mixture_tries *to)
{
    const unsigned n_sets = 1u << m->k;
    size_t own = 0;
    size_t off = 0;

    for (size_t e = 0; e < n; e++) {
        const struct ww_subsets_element *at = &elements[e];
        const double other = at->y + OFF * at->length * ww_draw_side(e);
        struct ww_mixture_values v;
        if (!ww_mixture_moved(at)) {
            continue;
        }
        to->moved++;
        ww_mixture_list(m, at, &v);
        if (ww_mixture_miss(&v, n_sets, at->y, 0, 0) > 1) {
            own++;
            continue;
        }
        off += ww_mixture_miss(&v, n_sets, other, 0, 0) > 1;
        for (unsigned i = 0; i < m->k; i++) {
            to->without[i] += ww_mixture_miss(&v, n_sets, at->y, 1u << i, 0) > 1;
        }
    }
    to->own += own;
    to->off += off;
    to->elsewhere |= own > off + SPARED;
}

void ww_mixture_judge(const struct ww_mixture_tries *t, unsigned k,
                      struct ww_subsets *out)
{
    const double least = TIMES * (double)(t->own + SPARED);
    double part = 1;

    for (unsigned i = 0; i < k; i++) {
        const double kept = out->kept[i] >= 0 ? out->kept[i] : AT_LEAST;
        const bool some = (double)t->without[i] >= fmax(least, SOME * (double)t->moved);
        part = some ? fmin(part, kept) : part;
    }
    out->missed = t->own;
    out->shows = t->own > SPARED && CLEAR * t->own > t->off;
    out->sure =
        part * (double)t->off >= CLEAR * (double)(t->own + SPARED) && !t->elsewhere;
}

static void swap(struct ww_subsets_element *elements, size_t n, double *shares,
                 unsigned one, unsigned two)
{
    const double share = shares[one];

    shares[one] = shares[two];
    shares[two] = share;
    for (size_t e = 0; e < n; e++) {
        const double x = elements[e].x[one];
        elements[e].x[one] = elements[e].x[two];
        elements[e].x[two] = x;
    }
}

enum ww_err ww_subsets_need(struct ww_subsets_element *elements, size_t n, unsigned k,
                            double *shares, struct ww_subsets *out, struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    for (unsigned i = 0; i < k && k > 1 && !rc; i++) {
        struct ww_subsets without;
        swap(elements, n, shares, i, k - 1);
        rc = ww_subsets_fit(elements, n, k - 1, shares, &without, err);
        swap(elements, n, shares, i, k - 1);
        out->needless[i] = !rc && without.missed <= out->missed + SPARED;
        out->sure &= out->needless[i] ||
                     (double)without.missed >= TIMES * (double)(out->missed + SPARED);
    }
    return rc;
}
