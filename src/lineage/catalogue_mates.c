/* SPDX-License-Identifier: Apache-2.0 */
#include "lineage/catalogue_mates.h"

#include <math.h>
#include <string.h>

#include "lineage/catalogue_threshold.h"
#include "util/alloc.h"
#include "util/fail.h"

#define MOST (WW_PURSUIT_MOST + WW_MATES_MOST + 1)
/* Keeps models apart that are equal in all but what a sketch does not see. */
#define RIDGE 1e-9
/* Below this share the mates have next to nothing in common with a pick. */
#define INFORMS 0.1

struct field {
    const struct ww_pursuit_problem *p;
    size_t members[MOST]; /* picks, then mates; the suspect behind them */
    size_t picks;
    size_t n;        /* without the suspect */
    double *vectors; /* [n + 1][m], differences from the root, of length 1 */
    double inverse[MOST * MOST];
};

/* The difference of a sketch from the root, of length 1, as the pursuit looks at it;
 * false when there is none. */
static bool difference(const struct ww_pursuit_problem *p, const float *sketch,
                       double *out)
{
    double square = 0;

    for (size_t i = 0; i < p->m; i++) {
        out[i] = (double)sketch[i] - (double)p->root[i];
    }
    if (p->noise > 0) {
        ww_sketch_beside(out, p->root, p->m);
    }
    for (size_t i = 0; i < p->m; i++) {
        square += out[i] * out[i];
    }
    for (size_t i = 0; i < p->m && square > 0; i++) {
        out[i] /= sqrt(square);
    }
    return square > 0;
}

static bool is_pick(const struct ww_pursuit *found, size_t member)
{
    for (unsigned i = 0; i < found->n; i++) {
        if (found->picks[i].member == member) {
            return true;
        }
    }
    return false;
}

/* The members most like the suspect that were not picked, most alike first. */
static void choose(struct field *f, const struct ww_pursuit *found, const double *all)
{
    double likeness[WW_MATES_MOST];
    size_t *mates = f->members + found->n;
    size_t n = 0;

    for (size_t i = 0; i < found->n; i++) {
        f->members[i] = found->picks[i].member;
    }
    for (size_t i = 0; i < f->p->n; i++) {
        size_t at = n;
        if (!f->p->use[i] || is_pick(found, i)) {
            continue;
        }
        while (at > 0 && likeness[at - 1] < all[i]) {
            at--;
        }
        if (at == WW_MATES_MOST) {
            continue;
        }
        n += n < WW_MATES_MOST;
        memmove(likeness + at + 1, likeness + at, (n - at - 1) * sizeof(*likeness));
        memmove(mates + at + 1, mates + at, (n - at - 1) * sizeof(*mates));
        likeness[at] = all[i];
        mates[at] = i;
    }
    f->picks = found->n;
    f->n = found->n + n;
}

static void fill(struct field *f)
{
    const size_t m = f->p->m;
    const size_t side = f->n + 1;

    for (size_t i = 0; i < f->n; i++) {
        (void)difference(f->p, f->p->sketches + f->members[i] * m, f->vectors + i * m);
    }
    (void)difference(f->p, f->p->suspect, f->vectors + f->n * m);
    for (size_t i = 0; i < side; i++) {
        for (size_t j = 0; j <= i; j++) {
            const double sum = ww_sketch_dot(f->vectors + i * m, f->vectors + j * m, m) +
                               (i == j ? RIDGE : 0);
            f->inverse[i * side + j] = sum;
            f->inverse[j * side + i] = sum;
        }
    }
}

/* Gauss and Jordan in place, without a search for pivots: the matrix is positive. */
static void invert(double *a, size_t n)
{
    for (size_t k = 0; k < n; k++) {
        const double pivot = 1 / a[k * n + k];
        a[k * n + k] = 1;
        for (size_t j = 0; j < n; j++) {
            a[k * n + j] *= pivot;
        }
        for (size_t i = 0; i < n; i++) {
            const double factor = a[i * n + k];
            if (i == k) {
                continue;
            }
            a[i * n + k] = 0;
            for (size_t j = 0; j < n; j++) {
                a[i * n + j] -= factor * a[k * n + j];
            }
        }
    }
}

static double partial(const struct field *f, size_t i, size_t j)
{
    const size_t side = f->n + 1;
    const double square = f->inverse[i * side + i] * f->inverse[j * side + j];
    return square > 0 ? -f->inverse[i * side + j] / sqrt(square) : 0;
}

static struct ww_mates tell(const struct field *f, size_t pick)
{
    const size_t side = f->n + 1;
    const size_t mates = f->n - f->picks;
    const double m = (double)f->p->m;
    /* The suspect explains the pick too: that part of 1 / inverse is given back. */
    const double own = partial(f, pick, f->n);
    const double left = 1 / (f->inverse[pick * side + pick] * fmax(1 - own * own, RIDGE));
    const double body = f->p->elements > 0 ? 1 / f->p->elements : 0;
    struct ww_mates out = {.own = own, .n = mates};

    for (size_t j = f->picks; j < f->n; j++) {
        out.mate = fmax(out.mate, partial(f, pick, j));
    }
    /* Both sides of the comparison have an error of one sketch. */
    out.margin =
        ww_family_wise_z(WW_FIND_FALSE_ALARM, f->p->n) * sqrt(2 * (1 / m + body));
    out.common = 1 - left - (double)(f->n - 1) / m;
    return out;
}

enum ww_err ww_mates_compare(const struct ww_pursuit_problem *problem,
                             const double *likeness, const struct ww_pursuit *found,
                             struct ww_mates *out, struct ww_error *err)
{
    struct field *f = ww_calloc(1, sizeof(*f));
    enum ww_err rc = WW_OK;

    if (f) {
        f->p = problem;
        choose(f, found, likeness);
        f->vectors = ww_calloc((f->n + 1) * problem->m, sizeof(*f->vectors));
    }
    if (!f || !f->vectors) {
        rc = WW_FAIL_MEMORY(err, "a search");
        goto out;
    }
    fill(f);
    invert(f->inverse, f->n + 1);
    for (size_t i = 0; i < f->picks; i++) {
        out[i] = tell(f, i);
    }
out:
    if (f) {
        ww_free(f->vectors);
    }
    ww_free(f);
    return rc;
}

bool ww_mates_inform(const struct ww_mates *mates)
{
    return mates->n + 1 >= WW_PURSUIT_CONTROLS && mates->common >= INFORMS;
}

bool ww_mates_apart(const struct ww_mates *mates)
{
    return mates->own > mates->mate + mates->margin;
}

bool ww_mates_source(const struct ww_mates *mates, double unexplained, double most)
{
    return ww_mates_apart(mates) && (ww_mates_inform(mates) || unexplained <= most);
}
