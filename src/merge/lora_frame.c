/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Merging pairs of factors in a common frame. Nothing of the size of the weight is made:
 * the largest block is as large as one of the stacked factors. src/merge/spectral_knots.c
 * does the same to whole differences.
 */
#include <math.h>
#include <string.h>

#include "la/la.h"
#include "merge/frame_ties.h"
#include "merge/lora_pair.h"
#include "util/alloc.h"
#include "util/fail.h"

#define RANK_LIMIT 1e-10 /* of the largest singular value: below is rounding */

/* What both frames work with. */
struct frame {
    const struct ww_lora_set *set;
    size_t rank; /* of all together */
    double *b;   /* m x rank */
    double *at;  /* n x rank */
    struct ww_lora_basis left;
    struct ww_lora_basis right; /* core: of all; knots: of one part after the other */
    double **x;                 /* per part */
};

/* A thin decomposition of a copy. */
struct svd {
    size_t m;
    size_t n;
    size_t r;
    size_t rank; /* that counts */
    double *u;
    double *s;
    double *vt;
};

static void svd_release(struct svd *svd)
{
    ww_free(svd->u);
    ww_free(svd->s);
    ww_free(svd->vt);
    *svd = (struct svd){0};
}

static enum ww_err svd_of(size_t m, size_t n, const double *a, struct svd *svd,
                          struct ww_error *err)
{
    double *copy = ww_calloc(m * n + 1, sizeof(*copy));
    enum ww_err rc = WW_OK;

    *svd = (struct svd){.m = m, .n = n, .r = m < n ? m : n};
    svd->u = ww_calloc(m * svd->r + 1, sizeof(*svd->u));
    svd->s = ww_calloc(svd->r + 1, sizeof(*svd->s));
    svd->vt = ww_calloc(svd->r * n + 1, sizeof(*svd->vt));
    if (!copy || !svd->u || !svd->s || !svd->vt) {
        rc = WW_FAIL_MEMORY(err, "an adapter");
    } else {
        memcpy(copy, a, m * n * sizeof(*a));
        rc = ww_la_svd(m, n, copy, svd->u, svd->s, svd->vt, err);
    }
    while (!rc && svd->rank < svd->r && svd->s[svd->rank] > RANK_LIMIT * svd->s[0]) {
        svd->rank++;
    }
    ww_free(copy);
    return rc;
}

static enum ww_err frame_open(struct frame *f, struct ww_error *err)
{
    f->x = ww_calloc(f->set->n, sizeof(*f->x));
    if (!f->x) {
        return WW_FAIL_MEMORY(err, "an adapter");
    }
    enum ww_err rc = ww_lora_gather(f->set, &f->b, &f->at, &f->rank, err);
    return rc ? rc : ww_lora_basis_of(f->set->m, f->rank, f->b, &f->left, err);
}

static void frame_close(struct frame *f)
{
    for (uint32_t i = 0; f->x && i < f->set->n; i++) {
        ww_free(f->x[i]);
    }
    ww_free(f->x);
    ww_free(f->b);
    ww_free(f->at);
    ww_lora_basis_release(&f->left);
    ww_lora_basis_release(&f->right);
}

static enum ww_err ties(const struct frame *f, size_t n, struct ww_error *err)
{
    struct ww_frame_part *parts = ww_calloc(f->set->n, sizeof(*parts));
    enum ww_err rc = parts ? WW_OK : WW_FAIL_MEMORY(err, "an adapter");

    for (uint32_t i = 0; i < f->set->n && !rc; i++) {
        parts[i] = (struct ww_frame_part){f->x[i], f->set->parts[i].density, 1};
    }
    if (!rc && n > 0) {
        rc = ww_frame_ties(parts, f->set->n, n, err);
    }
    ww_free(parts);
    return rc;
}

static enum ww_err new_pair(const struct frame *f, size_t rank, struct ww_lora_pair *out,
                            struct ww_error *err)
{
    out->rank = rank;
    out->a = ww_calloc(rank * f->set->n_in + 1, sizeof(*out->a));
    out->b = ww_calloc(f->set->m * rank + 1, sizeof(*out->b));
    return out->a && out->b ? WW_OK : WW_FAIL_MEMORY(err, "an adapter");
}

/* Basis of one part's columns of A^T, its weight in r. */
static enum ww_err part_basis(const struct frame *f, uint32_t i,
                              struct ww_lora_basis *out, struct ww_error *err)
{
    const struct ww_lora_part *part = &f->set->parts[i];
    const size_t r = part->pair.rank;
    const size_t n = f->set->n_in;
    double *at = ww_calloc(n * r + 1, sizeof(*at));
    enum ww_err rc = at ? WW_OK : WW_FAIL_MEMORY(err, "an adapter");

    for (size_t k = 0; k < r && !rc; k++) {
        for (size_t j = 0; j < n; j++) {
            at[j * r + k] = part->weight * part->scaling * part->pair.a[k * n + j];
        }
    }
    if (!rc) {
        rc = ww_lora_basis_of(n, r, at, out, err);
    }
    ww_free(at);
    return rc;
}

/* Everything side by side is Q_B core blockdiag(Q_i^T): core is kq x the sum of their kq.
 */
static enum ww_err knots_core(const struct frame *f, const struct ww_lora_basis *bases,
                              size_t width, double *core)
{
    size_t from = 0;
    size_t to = 0;

    for (uint32_t i = 0; i < f->set->n; i++) {
        const struct ww_lora_basis *right = &bases[i];
        ww_la_gemm(WW_LA_PLAIN, WW_LA_TRANSPOSED, f->left.kq, right->kq, right->k, 1,
                   f->left.r + from, f->rank, right->r, right->k, 0, core + to, width);
        from += right->k;
        to += right->kq;
    }
    return WW_OK;
}

static bool is_zero(const double *x, size_t n)
{
    size_t i = 0;
    while (i < n && x[i] == 0) {
        i++;
    }
    return i == n;
}

static bool changes_nothing(const struct frame *f, uint32_t i)
{
    const struct ww_lora_part *part = &f->set->parts[i];

    return part->weight * part->scaling == 0 ||
           is_zero(part->pair.a, part->pair.rank * f->set->n_in) ||
           is_zero(part->pair.b, f->set->m * part->pair.rank);
}

/* x[i] = the rows of V_i: svd's columns of that part, expanded to n. One that changes
 * nothing (B as training begins with it) has none, and no vote: what the decomposition
 * leaves there is rounding, with signs. */
static enum ww_err knots_parts(const struct frame *f, const struct ww_lora_basis *bases,
                               const struct svd *svd, struct ww_error *err)
{
    size_t to = 0;

    for (uint32_t i = 0; i < f->set->n; i++) {
        const struct ww_lora_basis *right = &bases[i];
        f->x[i] = ww_calloc(svd->rank * f->set->n_in + 1, sizeof(double));
        if (!f->x[i]) {
            return WW_FAIL_MEMORY(err, "an adapter");
        }
        if (!changes_nothing(f, i)) {
            ww_la_gemm(WW_LA_PLAIN, WW_LA_TRANSPOSED, svd->rank, f->set->n_in, right->kq,
                       1, svd->vt + to, svd->n, right->q, right->kq, 0, f->x[i],
                       f->set->n_in);
        }
        to += right->kq;
    }
    return WW_OK;
}

/* b = Q_B U sqrt(S), a = lambda sqrt(S) V. */
static enum ww_err knots_out(const struct frame *f, struct svd *svd,
                             struct ww_lora_pair *out, struct ww_error *err)
{
    enum ww_err rc = new_pair(f, svd->rank, out, err);

    for (size_t k = 0; k < svd->rank && !rc; k++) {
        const double root = sqrt(svd->s[k]);
        for (size_t i = 0; i < svd->m; i++) {
            svd->u[i * svd->r + k] *= root;
        }
        for (size_t j = 0; j < f->set->n_in; j++) {
            out->a[k * f->set->n_in + j] =
                f->set->lambda * root * f->x[0][k * f->set->n_in + j];
        }
    }
    if (!rc && svd->rank > 0) {
        ww_la_gemm(WW_LA_PLAIN, WW_LA_PLAIN, f->set->m, svd->rank, f->left.kq, 1,
                   f->left.q, f->left.kq, svd->u, svd->r, 0, out->b, svd->rank);
    }
    return rc;
}

enum ww_err ww_lora_knots(const struct ww_lora_set *set, struct ww_lora_pair *out,
                          struct ww_error *err)
{
    struct frame f = {.set = set};
    struct svd svd = {0};
    struct ww_lora_basis *bases = ww_calloc(set->n, sizeof(*bases));
    double *core = NULL;
    size_t width = 0;
    enum ww_err rc = bases ? frame_open(&f, err) : WW_FAIL_MEMORY(err, "an adapter");

    for (uint32_t i = 0; i < set->n && !rc; i++) {
        rc = part_basis(&f, i, &bases[i], err);
        width += bases[i].kq;
    }
    if (!rc) {
        core = ww_calloc(f.left.kq * width + 1, sizeof(*core));
        rc =
            core ? knots_core(&f, bases, width, core) : WW_FAIL_MEMORY(err, "an adapter");
    }
    if (!rc) {
        rc = svd_of(f.left.kq, width, core, &svd, err);
    }
    if (!rc) {
        rc = knots_parts(&f, bases, &svd, err);
    }
    if (!rc) {
        rc = ties(&f, svd.rank * set->n_in, err);
    }
    if (!rc) {
        rc = knots_out(&f, &svd, out, err);
    }
    for (uint32_t i = 0; bases && i < set->n; i++) {
        ww_lora_basis_release(&bases[i]);
    }
    ww_free(bases);
    ww_free(core);
    svd_release(&svd);
    frame_close(&f);
    return rc;
}

/* x[i] = weight (U_B^T B_i) (A_i V_A), in the singular directions of the stacks. */
static enum ww_err core_parts(const struct frame *f, const struct svd *left,
                              const struct svd *right, struct ww_error *err)
{
    size_t from = 0;
    enum ww_err rc = WW_OK;

    for (uint32_t i = 0; i < f->set->n && !rc; i++) {
        const struct ww_lora_part *part = &f->set->parts[i];
        const size_t r = part->pair.rank;
        double *b = ww_calloc(left->rank * r + 1, sizeof(*b));
        double *a = ww_calloc(right->rank * r + 1, sizeof(*a));
        f->x[i] = ww_calloc(left->rank * right->rank + 1, sizeof(double));
        if (b && a && f->x[i]) {
            ww_la_gemm(WW_LA_TRANSPOSED, WW_LA_PLAIN, left->rank, r, left->m, 1, left->u,
                       left->r, f->left.r + from, f->rank, 0, b, r);
            ww_la_gemm(WW_LA_TRANSPOSED, WW_LA_PLAIN, right->rank, r, right->m, 1,
                       right->u, right->r, f->right.r + from, f->rank, 0, a, r);
            ww_la_gemm(WW_LA_PLAIN, WW_LA_TRANSPOSED, left->rank, right->rank, r,
                       part->weight * part->scaling, b, r, a, r, 0, f->x[i], right->rank);
        } else {
            rc = WW_FAIL_MEMORY(err, "an adapter");
        }
        ww_free(b);
        ww_free(a);
        from += r;
    }
    return rc;
}

/* The merged core m (rows x cols) back into the weight's coordinates: b = U_B m, a =
 * V_A^T, of the shorter side's rank. */
static enum ww_err core_out(const struct frame *f, const struct svd *left,
                            const struct svd *right, struct ww_lora_pair *out,
                            struct ww_error *err)
{
    struct svd m = {0};
    double *half = NULL;
    enum ww_err rc = svd_of(left->rank, right->rank, f->x[0], &m, err);

    if (!rc) {
        rc = new_pair(f, m.rank, out, err);
    }
    if (!rc) {
        const size_t most = f->left.kq > f->right.kq ? f->left.kq : f->right.kq;
        half = ww_calloc(most * m.rank + 1, sizeof(*half));
        rc = half ? WW_OK : WW_FAIL_MEMORY(err, "an adapter");
    }
    for (size_t k = 0; k < m.rank && !rc; k++) {
        const double root = sqrt(m.s[k]);
        for (size_t i = 0; i < m.m; i++) {
            m.u[i * m.r + k] *= root;
        }
        for (size_t j = 0; j < m.n; j++) {
            m.vt[k * m.n + j] *= f->set->lambda * root;
        }
    }
    if (!rc && m.rank > 0) {
        ww_la_gemm(WW_LA_PLAIN, WW_LA_PLAIN, f->left.kq, m.rank, left->rank, 1, left->u,
                   left->r, m.u, m.r, 0, half, m.rank);
        ww_la_gemm(WW_LA_PLAIN, WW_LA_PLAIN, f->set->m, m.rank, f->left.kq, 1, f->left.q,
                   f->left.kq, half, m.rank, 0, out->b, m.rank);
        ww_la_gemm(WW_LA_PLAIN, WW_LA_TRANSPOSED, m.rank, f->right.kq, right->rank, 1,
                   m.vt, m.n, right->u, right->r, 0, half, f->right.kq);
        ww_la_gemm(WW_LA_PLAIN, WW_LA_TRANSPOSED, m.rank, f->set->n_in, f->right.kq, 1,
                   half, f->right.kq, f->right.q, f->right.kq, 0, out->a, f->set->n_in);
    }
    ww_free(half);
    svd_release(&m);
    return rc;
}

enum ww_err ww_lora_core(const struct ww_lora_set *set, struct ww_lora_pair *out,
                         struct ww_error *err)
{
    struct frame f = {.set = set};
    struct svd left = {0};
    struct svd right = {0};
    enum ww_err rc = frame_open(&f, err);

    if (!rc) {
        rc = ww_lora_basis_of(set->n_in, f.rank, f.at, &f.right, err);
    }
    if (!rc) {
        rc = svd_of(f.left.kq, f.rank, f.left.r, &left, err);
    }
    if (!rc) {
        rc = svd_of(f.right.kq, f.rank, f.right.r, &right, err);
    }
    if (!rc) {
        rc = core_parts(&f, &left, &right, err);
    }
    if (!rc) {
        rc = ties(&f, left.rank * right.rank, err);
    }
    if (!rc) {
        rc = core_out(&f, &left, &right, out, err);
    }
    svd_release(&left);
    svd_release(&right);
    frame_close(&f);
    return rc;
}
