/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Subspaces that hold as much as they can of all products B_i A_i, each taken as long as
 * the others: Tucker's two-sided decomposition (orthogonal iteration of de Lathauwer et
 * al., 2000) in coordinates of the stacked factors, as Core Space (arXiv 2509.17786) has
 * them, so that nothing larger than all ranks together is decomposed. A member's numbers
 * are its factors' coordinates there.
 */
#include <math.h>
#include <string.h>

#include "la/exact.h"
#include "model/convert.h"
#include "rmm/basis.h"
#include "rmm/inspect.h"
#include "util/alloc.h"
#include "util/fail.h"

#define MOST_RANKS 1024 /* of all members; the cube of it is the time */
#define SWEEPS 2
#define NOTHING 1e-12

/* One side of all members: B stacked beside each other, or A below each other and turned.
 */
struct stack {
    size_t length; /* rows of B, or columns of A */
    size_t k;      /* directions */
    double *all;   /* length x R */
    double *half;  /* R x R: E L^1/2, row block i of which has coordinates of member i */
    double *back;  /* R x R: E L^-1/2 */
    double *base;  /* R x k: the subspace in those coordinates */
};

struct work {
    size_t n;
    size_t r;
    size_t ranks;  /* R */
    double *norms; /* of the products, n */
    double *gram;  /* R x R */
    double *vectors;
    double *values;
    double *part; /* R x r each */
    double *other;
    double *small;      /* r x r */
    struct stack of[2]; /* A, B */
};

static void release(struct work *w)
{
    double *const all[] = {w->norms, w->gram,  w->vectors, w->values,
                           w->part,  w->other, w->small};

    for (size_t i = 0; i < WW_LEN(all); i++) {
        ww_free(all[i]);
    }
    for (unsigned s = 0; s < 2; s++) {
        ww_free(w->of[s].all);
        ww_free(w->of[s].half);
        ww_free(w->of[s].back);
        ww_free(w->of[s].base);
    }
}

static enum ww_err init(struct work *w, const struct ww_inspect_side *side,
                        struct ww_error *err)
{
    const size_t q = w->ranks;
    bool good = true;

    w->norms = ww_calloc(w->n, sizeof(double));
    w->gram = ww_calloc(q * q, sizeof(double));
    w->vectors = ww_calloc(q * q, sizeof(double));
    w->values = ww_calloc(q, sizeof(double));
    w->part = ww_calloc(q * w->r, sizeof(double));
    w->other = ww_calloc(q * w->r, sizeof(double));
    w->small = ww_calloc(w->r * w->r, sizeof(double));
    for (unsigned s = 0; s < 2; s++) {
        struct stack *t = &w->of[s];
        t->length = s ? side->m : side->d;
        t->all = ww_calloc(t->length * q, sizeof(double));
        t->half = ww_calloc(q * q, sizeof(double));
        t->back = ww_calloc(q * q, sizeof(double));
        t->base = ww_calloc(q * t->k, sizeof(double));
        good = good && t->all && t->half && t->back && t->base;
    }
    return good && w->norms && w->gram && w->vectors && w->values && w->part &&
                   w->other && w->small
               ? WW_OK
               : WW_FAIL_MEMORY(err, "what adapters share");
}

static void fill(struct work *w, const struct ww_inspect_side *sides)
{
    const size_t q = w->ranks;

    for (size_t i = 0; i < w->n; i++) {
        const struct ww_inspect_side *s = &sides[i];
        const double norm2 = ww_inspect_inner(s, s);
        w->norms[i] = norm2 > 0 ? sqrt(norm2) : 0;
        for (size_t k = 0; k < w->r; k++) {
            const size_t column = i * w->r + k;
            for (size_t at = 0; at < s->d; at++) {
                w->of[0].all[at * q + column] = s->a[k * s->d + at];
            }
            for (size_t at = 0; at < s->m; at++) {
                w->of[1].all[at * q + column] = s->b[at * w->r + k];
            }
        }
    }
}

/* gram = x^T x for rows of q numbers, in the order of the rows. */
static void make_gram(size_t rows, size_t q, const double *x, double *gram)
{
    memset(gram, 0, q * q * sizeof(*gram));
    for (size_t at = 0; at < rows; at++) {
        const double *row = x + at * q;
        for (size_t i = 0; i < q; i++) {
            for (size_t j = 0; j < q; j++) {
                gram[i * q + j] += row[i] * row[j];
            }
        }
    }
}

/* Coordinates of the stacked factors: their Gram matrix is E L E^T. */
static void factor(struct work *w, struct stack *t)
{
    const size_t q = w->ranks;

    make_gram(t->length, q, t->all, w->gram);
    ww_own_eigen(q, w->gram, w->values, w->vectors);
    for (size_t j = 0; j < q; j++) {
        const bool nothing = !(w->values[j] > NOTHING * w->values[0]);
        const double root = nothing ? 0 : sqrt(w->values[j]);
        for (size_t i = 0; i < q; i++) {
            t->half[i * q + j] = w->vectors[i * q + j] * root;
            t->back[i * q + j] = nothing ? 0 : w->vectors[i * q + j] / root;
        }
    }
}

/* small = H K K^T H^T for the rows of member i of the other side, K its subspace, or all
 * of it at first. */
static void weigh(struct work *w, const struct stack *other, size_t i, bool first)
{
    const size_t q = w->ranks;
    const double *rows = other->half + i * w->r * q;
    const size_t n = first ? q : other->k;
    const double *x = rows;

    if (!first) {
        ww_exact_gemm(w->r, n, q, rows, q, other->base, n, 0, w->other, n);
        x = w->other;
    }
    for (size_t a = 0; a < w->r; a++) {
        for (size_t b = 0; b < w->r; b++) {
            double sum = 0;
            for (size_t j = 0; j < n; j++) {
                sum += x[a * n + j] * x[b * n + j];
            }
            w->small[a * w->r + b] = sum;
        }
    }
}

/* The directions that hold most of all products, as far as the other side keeps them. */
static void turn(struct work *w, struct stack *t, const struct stack *other, bool first)
{
    const size_t q = w->ranks;

    memset(w->gram, 0, q * q * sizeof(*w->gram));
    for (size_t i = 0; i < w->n; i++) {
        const double *rows = t->half + i * w->r * q; /* r x R */
        const double weight = w->norms[i] > 0 ? 1 / (w->norms[i] * w->norms[i]) : 0;
        weigh(w, other, i, first);
        for (size_t k = 0; k < w->r * w->r; k++) {
            w->small[k] *= weight;
        }
        for (size_t j = 0; j < q; j++) {
            for (size_t k = 0; k < w->r; k++) {
                w->part[j * w->r + k] = rows[k * q + j];
            }
        }
        ww_exact_gemm(q, w->r, w->r, w->part, w->r, w->small, w->r, 0, w->other, w->r);
        ww_exact_gemm(q, q, w->r, w->other, w->r, rows, q, 1, w->gram, q);
    }
    ww_own_eigen(q, w->gram, w->values, w->vectors);
    for (size_t i = 0; i < q; i++) {
        for (size_t j = 0; j < t->k; j++) {
            t->base[i * t->k + j] = w->vectors[i * q + j];
        }
    }
}

static float stored(double x)
{
    uint8_t bytes[2];
    float out = 0;

    ww_from_double(WW_DTYPE_BF16, &x, bytes, 1);
    ww_to_float(WW_DTYPE_BF16, bytes, &out, 1);
    return out;
}

/* U, or V turned, and the coordinates of the factors in what is stored of it. */
static enum ww_err give(const struct work *w, const struct stack *t,
                        struct ww_basis_side *out, struct ww_error *err)
{
    const size_t q = w->ranks;
    const bool is_b = out->shape.is_b;
    double *to = ww_calloc(q * t->k, sizeof(*to));
    double *u = ww_calloc(t->length * t->k, sizeof(*u));
    enum ww_err rc = to && u ? WW_OK : WW_FAIL_MEMORY(err, "what adapters share");

    if (rc) {
        goto out;
    }
    ww_exact_gemm(q, t->k, q, t->back, q, t->base, t->k, 0, to, t->k);
    ww_exact_gemm(t->length, t->k, q, t->all, q, to, t->k, 0, u, t->k);
    for (size_t at = 0; at < t->length; at++) {
        for (size_t j = 0; j < t->k; j++) {
            const float x = stored(u[at * t->k + j]);
            out->basis[is_b ? at * t->k + j : j * t->length + at] = x;
            u[at * t->k + j] = (double)x;
        }
    }
    for (size_t c = 0; c < q; c++) { /* column of all factors */
        float *own = out->own + c / w->r * t->k * w->r;
        for (size_t j = 0; j < t->k; j++) {
            double sum = 0;
            for (size_t at = 0; at < t->length; at++) {
                sum += u[at * t->k + j] * t->all[at * q + c];
            }
            own[is_b ? j * w->r + c % w->r : c % w->r * t->k + j] = stored(sum);
        }
    }
out:
    ww_free(to);
    ww_free(u);
    return rc;
}

enum ww_err ww_basis_core(const struct ww_inspect_side *sides, size_t n,
                          struct ww_basis_side of[2], struct ww_error *err)
{
    struct work w = {.n = n, .r = sides[0].r, .ranks = n * sides[0].r};
    enum ww_err rc = WW_OK;

    if (w.ranks > MOST_RANKS) {
        return WW_FAIL(err, WW_E_LIMIT,
                       "%zu members of rank %zu: at most %d ranks in all are taken "
                       "together; share among fewer",
                       n, w.r, MOST_RANKS);
    }
    w.of[0].k = of[0].shape.directions;
    w.of[1].k = of[1].shape.directions;
    rc = init(&w, &sides[0], err);
    if (!rc) {
        fill(&w, sides);
        factor(&w, &w.of[0]);
        factor(&w, &w.of[1]);
        for (unsigned i = 0; i < SWEEPS; i++) {
            turn(&w, &w.of[1], &w.of[0], i == 0);
            turn(&w, &w.of[0], &w.of[1], false);
        }
        rc = give(&w, &w.of[0], &of[0], err);
    }
    if (!rc) {
        rc = give(&w, &w.of[1], &of[1], err);
    }
    release(&w);
    return rc;
}
