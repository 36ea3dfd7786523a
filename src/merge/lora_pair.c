/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A pair of factors is shrunk by way of its small core: B = Q_B R_B and A^T = Q_A R_A, so
 * B A = Q_B (R_B R_A^T) Q_A^T, and the decomposition in the middle is of the size of the
 * rank.
 */
#include "merge/lora_pair.h"

#include <math.h>
#include <string.h>

#include "la/la.h"
#include "util/alloc.h"
#include "util/fail.h"

#define TINY 1e-14 /* of the largest singular value: below is rounding */

void ww_lora_pair_release(struct ww_lora_pair *pair)
{
    ww_free(pair->a);
    ww_free(pair->b);
    *pair = (struct ww_lora_pair){0};
}

void ww_lora_basis_release(struct ww_lora_basis *basis)
{
    ww_free(basis->q);
    ww_free(basis->r);
    *basis = (struct ww_lora_basis){0};
}

static enum ww_err new_pair(size_t m, size_t n, size_t rank, struct ww_lora_pair *out,
                            struct ww_error *err)
{
    out->rank = rank;
    out->a = ww_calloc(rank * n + 1, sizeof(*out->a));
    out->b = ww_calloc(m * rank + 1, sizeof(*out->b));
    return out->a && out->b ? WW_OK : WW_FAIL_MEMORY(err, "an adapter");
}

static size_t total_rank(const struct ww_lora_set *set)
{
    size_t rank = 0;

    for (uint32_t i = 0; i < set->n; i++) {
        rank += set->parts[i].pair.rank;
    }
    return rank;
}

/* The weight goes to A, as PEFT's "cat" has it. */
enum ww_err ww_lora_sum(const struct ww_lora_set *set, struct ww_lora_pair *out,
                        struct ww_error *err)
{
    const size_t rank = total_rank(set);
    size_t at = 0;
    enum ww_err rc = new_pair(set->m, set->n_in, rank, out, err);

    for (uint32_t i = 0; i < set->n && !rc; i++) {
        const struct ww_lora_part *part = &set->parts[i];
        const size_t r = part->pair.rank;
        const double factor = set->lambda * part->weight * part->scaling;
        for (size_t k = 0; k < r * set->n_in; k++) {
            out->a[at * set->n_in + k] = factor * part->pair.a[k];
        }
        for (size_t row = 0; row < set->m; row++) {
            memcpy(out->b + row * rank + at, part->pair.b + row * r, r * sizeof(double));
        }
        at += r;
    }
    return rc;
}

enum ww_err ww_lora_gather(const struct ww_lora_set *set, double **b, double **at,
                           size_t *rank, struct ww_error *err)
{
    const size_t all = total_rank(set);
    size_t first = 0;

    *rank = all;
    *b = ww_calloc(set->m * all + 1, sizeof(**b));
    *at = ww_calloc(set->n_in * all + 1, sizeof(**at));
    if (!*b || !*at) {
        return WW_FAIL_MEMORY(err, "an adapter");
    }
    for (uint32_t i = 0; i < set->n; i++) {
        const struct ww_lora_pair *pair = &set->parts[i].pair;
        for (size_t row = 0; row < set->m; row++) {
            memcpy(*b + row * all + first, pair->b + row * pair->rank,
                   pair->rank * sizeof(double));
        }
        for (size_t k = 0; k < pair->rank; k++) {
            for (size_t col = 0; col < set->n_in; col++) {
                (*at)[col * all + first + k] = pair->a[k * set->n_in + col];
            }
        }
        first += pair->rank;
    }
    return WW_OK;
}

enum ww_err ww_lora_basis_of(size_t rows, size_t k, const double *cols,
                             struct ww_lora_basis *out, struct ww_error *err)
{
    const bool tall = k <= rows;

    *out = (struct ww_lora_basis){.rows = rows, .k = k, .kq = tall ? k : rows};
    out->q = ww_calloc(rows * out->kq + 1, sizeof(*out->q));
    out->r = ww_calloc(out->kq * k + 1, sizeof(*out->r));
    enum ww_err rc =
        out->q && out->r ? ww_la_ready(err) : WW_FAIL_MEMORY(err, "an adapter");
    if (rc) {
        return rc;
    }
    if (tall) {
        memcpy(out->q, cols, rows * k * sizeof(*cols));
        return ww_la_qr(rows, k, out->q, out->r, err);
    }
    memcpy(out->r, cols, rows * k * sizeof(*cols));
    for (size_t i = 0; i < rows; i++) {
        out->q[i * rows + i] = 1;
    }
    return WW_OK;
}

/* The decomposition of a core: u [kq of left, r], s [r], vt [r, kq of right]. */
struct core {
    size_t r;
    double *u;
    double *s;
    double *vt;
};

/* b = q_b u sqrt(s), a = sqrt(s) vt q_a^T for the leading `rank` of r. */
static enum ww_err expand(const struct ww_lora_basis *left,
                          const struct ww_lora_basis *right, const struct core *core,
                          size_t rank, struct ww_lora_pair *out, struct ww_error *err)
{
    enum ww_err rc = new_pair(left->rows, right->rows, rank, out, err);

    for (size_t k = 0; k < rank && !rc; k++) {
        const double root = sqrt(core->s[k]);
        for (size_t i = 0; i < left->kq; i++) {
            core->u[i * core->r + k] *= root;
        }
        for (size_t j = 0; j < right->kq; j++) {
            core->vt[k * right->kq + j] *= root;
        }
    }
    if (!rc && rank > 0) {
        ww_la_gemm(WW_LA_PLAIN, WW_LA_PLAIN, left->rows, rank, left->kq, 1, left->q,
                   left->kq, core->u, core->r, 0, out->b, rank);
        ww_la_gemm(WW_LA_PLAIN, WW_LA_TRANSPOSED, rank, right->rows, right->kq, 1,
                   core->vt, right->kq, right->q, right->kq, 0, out->a, right->rows);
    }
    return rc;
}

static size_t choose_rank(size_t r, const double *s, size_t max_rank, double energy,
                          double *kept)
{
    double total = 0;
    double sum = 0;
    size_t rank = 0;

    for (size_t k = 0; k < r; k++) {
        total += s[k] * s[k];
    }
    while (rank < r && (max_rank == 0 || rank < max_rank) && s[rank] > TINY * s[0] &&
           (energy == 0 || sum < energy * total)) {
        sum += s[rank] * s[rank];
        rank++;
    }
    *kept = total > 0 ? sum / total : 1;
    return rank;
}

static enum ww_err shrink_core(const struct ww_lora_basis *left,
                               const struct ww_lora_basis *right, size_t max_rank,
                               double energy, double *kept, struct ww_lora_pair *out,
                               struct ww_error *err)
{
    const size_t r = left->kq < right->kq ? left->kq : right->kq;
    double *product = ww_calloc(left->kq * right->kq + 1, sizeof(*product));
    struct core core = {.r = r,
                        .u = ww_calloc(left->kq * r + 1, sizeof(double)),
                        .s = ww_calloc(r + 1, sizeof(double)),
                        .vt = ww_calloc(r * right->kq + 1, sizeof(double))};
    enum ww_err rc = product && core.u && core.s && core.vt
                         ? WW_OK
                         : WW_FAIL_MEMORY(err, "an adapter");

    if (!rc) {
        ww_la_gemm(WW_LA_PLAIN, WW_LA_TRANSPOSED, left->kq, right->kq, left->k, 1,
                   left->r, left->k, right->r, right->k, 0, product, right->kq);
        rc = ww_la_svd(left->kq, right->kq, product, core.u, core.s, core.vt, err);
    }
    if (!rc) {
        const size_t rank = choose_rank(r, core.s, max_rank, energy, kept);
        rc = expand(left, right, &core, rank, out, err);
    }
    ww_free(product);
    ww_free(core.u);
    ww_free(core.s);
    ww_free(core.vt);
    return rc;
}

enum ww_err ww_lora_shrink(size_t m, size_t n, struct ww_lora_pair *pair, size_t max_rank,
                           double energy, double *kept, struct ww_error *err)
{
    struct ww_lora_basis left = {0};
    struct ww_lora_basis right = {0};
    struct ww_lora_pair small = {0};
    double *at = ww_calloc(n * pair->rank + 1, sizeof(*at));
    enum ww_err rc = at ? WW_OK : WW_FAIL_MEMORY(err, "an adapter");

    *kept = 1;
    if (pair->rank == 0) {
        ww_free(at);
        return rc;
    }
    for (size_t k = 0; k < pair->rank && !rc; k++) {
        for (size_t j = 0; j < n; j++) {
            at[j * pair->rank + k] = pair->a[k * n + j];
        }
    }
    if (!rc) {
        rc = ww_lora_basis_of(m, pair->rank, pair->b, &left, err);
    }
    if (!rc) {
        rc = ww_lora_basis_of(n, pair->rank, at, &right, err);
    }
    if (!rc) {
        rc = shrink_core(&left, &right, max_rank, energy, kept, &small, err);
    }
    ww_lora_basis_release(&left);
    ww_lora_basis_release(&right);
    ww_free(at);
    if (rc) {
        ww_lora_pair_release(&small);
    } else {
        ww_lora_pair_release(pair);
        *pair = small;
    }
    return rc;
}
