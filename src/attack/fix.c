/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A dense lock leaves its heads without any row that is a row of the anchor, so the
 * signed permutation found before explains nothing. Then one matrix T per head is solved
 * for, from both sides of the head at once: T undoes the direct side and T^-T the inverse
 * side, so that the head's product, and with it the model's function, stays what it is.
 * Under rotary embedding T is one complex number per pair.
 */
#include "attack/fix.h"

#include <math.h>
#include <string.h>

#include "attack/solve.h"
#include "la/la.h"
#include "util/alloc.h"
#include "util/fail.h"

/* Shares of a head's squared norm that may stay unexplained before it is worth while to
 * look for a matrix, or for numbers of rotary pairs, which cost little and are close to
 * quarter turns by chance; and what the answer must save. A matrix takes at most a tenth
 * off the displacement of a fine-tune, so it does not replace an element that is right.
 */
#define UNEXPLAINED 0.05
#define UNEXPLAINED_PAIRS 1e-6
#define BETTER 0.5

enum ww_err ww_fix_init(struct ww_fix *fix, size_t n, size_t d, struct ww_error *err)
{
    *fix = (struct ww_fix){.n = n, .d = d};
    fix->undo = ww_calloc(n * d, d * sizeof(double));
    fix->undo_t = ww_calloc(n * d, d * sizeof(double));
    fix->mixed = ww_calloc(n, sizeof(bool));
    if (!fix->undo || !fix->undo_t || !fix->mixed) {
        ww_fix_release(fix);
        return WW_FAIL_MEMORY(err, "the matrices of an attention");
    }
    return WW_OK;
}

void ww_fix_release(struct ww_fix *fix)
{
    ww_free(fix->undo);
    ww_free(fix->undo_t);
    ww_free(fix->mixed);
    memset(fix, 0, sizeof(*fix));
}

static void transpose(double *m, size_t d)
{
    for (size_t i = 0; i < d; i++) {
        for (size_t j = 0; j < i; j++) {
            const double x = m[i * d + j];
            m[i * d + j] = m[j * d + i];
            m[j * d + i] = x;
        }
    }
}

static double own_norm(const struct ww_cross *x)
{
    double sum = 0;
    for (size_t i = 0; i < x->d; i++) {
        sum += x->own[0][i] + x->own[1][i];
    }
    return sum;
}

static double trace_of(const double *a, const double *b, size_t d)
{
    double sum = 0;
    for (size_t i = 0; i < d * d; i++) {
        sum += a[i] * b[i];
    }
    return sum;
}

/* Norm of what matrix m makes of one side, and its product with the anchor. */
static void side_sums(const struct ww_cross *x, int side, const double *m, double *norm,
                      double *dot)
{
    const size_t d = x->d;
    double *mg = ww_calloc(d, d * sizeof(*mg));

    *norm = *dot = 0;
    if (mg) {
        ww_la_gemm(WW_LA_PLAIN, WW_LA_PLAIN, d, d, d, 1, m, d, x->gram[side], d, 0, mg,
                   d);
        *norm = trace_of(mg, m, d);
        *dot = trace_of(m, x->c[side], d);
    }
    ww_free(mg);
}

struct ww_likeness ww_fix_likeness(const struct ww_inner *inner, const struct ww_fix *fix,
                                   size_t head)
{
    const struct ww_cross *x = &inner->crosses[head];
    const size_t at = head * fix->d * fix->d;
    const double *m[2] = {fix->undo + at, fix->undo_t + at};
    struct ww_likeness like = {.anchor = own_norm(x)};

    for (int side = 0; side < 2; side++) {
        double norm = 0;
        double dot = 0;
        side_sums(x, side, m[side], &norm, &dot);
        like.locked += norm;
        like.dot += dot;
    }
    return like;
}

static double unexplained(struct ww_likeness like)
{
    return like.anchor > 0 ? (like.locked + like.anchor - 2 * like.dot) / like.anchor : 0;
}

static enum ww_err solve_gl(const struct ww_cross *x, bool orthogonal, double *undo,
                            double *undo_t, struct ww_error *err)
{
    const struct ww_gl_problem problem = {x->d,       x->gram[0], x->c[0],
                                          x->gram[1], x->c[1],    own_norm(x)};
    struct ww_gl_report report;
    enum ww_err rc = WW_OK;

    if (orthogonal) {
        rc = ww_solve_orthogonal(&problem, undo, err);
        memcpy(undo_t, undo, x->d * x->d * sizeof(*undo));
        return rc;
    }
    rc = ww_solve_gl(&problem, undo, undo_t, &report, err);
    transpose(undo_t, x->d);
    return rc;
}

/* Rotary pairs: the number t = a + ib acts as [[a, -b], [b, a]], its transposed inverse
 * is that over |t|^2. Dimensions that do not rotate stay as they are. */
static void solve_pairs(const struct ww_cross *x, const struct ww_rope *rope, bool unit,
                        double *undo, double *undo_t)
{
    const size_t d = x->d;

    for (size_t i = 0; i < d; i++) {
        undo[i * d + i] = undo_t[i * d + i] = 1;
    }
    for (size_t f = 0; f < rope->dims / 2; f++) {
        struct ww_pair_problem p = {.unit = unit};
        size_t i = 0;
        size_t j = 0;
        double re = 1;
        double im = 0;
        ww_inner_pair(rope, f, &i, &j);
        p.alpha = x->gram[0][i * d + i] + x->gram[0][j * d + j];
        p.beta = x->gram[1][i * d + i] + x->gram[1][j * d + j];
        p.cq_re = x->c[0][i * d + i] + x->c[0][j * d + j];
        p.cq_im = x->c[0][i * d + j] - x->c[0][j * d + i];
        p.ck_re = x->c[1][i * d + i] + x->c[1][j * d + j];
        p.ck_im = x->c[1][i * d + j] - x->c[1][j * d + i];
        ww_solve_pair(&p, &re, &im);
        const double size = re * re + im * im;
        undo[i * d + i] = undo[j * d + j] = re;
        undo[i * d + j] = -im;
        undo[j * d + i] = im;
        undo_t[i * d + i] = undo_t[j * d + j] = re / size;
        undo_t[i * d + j] = -im / size;
        undo_t[j * d + i] = im / size;
    }
}

/* Is there a dense group to solve over? */
static bool solvable(const struct ww_attention *att, bool values)
{
    return values ? att->vo_class == WW_VO_GL || att->vo_class == WW_VO_VNORM
                  : att->qk_class == WW_QK_GL || att->qk_class == WW_QK_ROPE ||
                        att->qk_class == WW_QK_L2_POST;
}

static bool rotary(const struct ww_attention *att, bool values)
{
    return !values && att->rope.style != WW_ROPE_NONE && att->rope.dims > 0;
}

static enum ww_err solve_head(const struct ww_attention *att, bool values,
                              const struct ww_cross *x, double *undo, double *undo_t,
                              struct ww_error *err)
{
    if (values) {
        return solve_gl(x, att->vo_class == WW_VO_VNORM, undo, undo_t, err);
    }
    if (!rotary(att, values)) {
        return solve_gl(x, false, undo, undo_t, err);
    }
    solve_pairs(x, &att->rope, att->qk_class == WW_QK_L2_POST, undo, undo_t);
    return WW_OK;
}

static void reset_head(const struct ww_inner *inner, size_t head)
{
    for (size_t i = head * inner->d; i < (head + 1) * inner->d; i++) {
        inner->out->perm[i] = (uint32_t)(i % inner->d);
        inner->out->neg[i] = 0;
        inner->out->exp[i] = 0;
    }
}

enum ww_err ww_fix_find(struct ww_pair *pair, uint32_t attention, bool values,
                        const struct ww_inner *inner, struct ww_fix *fix,
                        struct ww_error *err)
{
    const struct ww_attention *att = &pair->locked->attentions[attention];
    const size_t size = inner->d * inner->d;
    enum ww_err rc = WW_OK;

    for (size_t g = 0; g < inner->n && !rc && solvable(att, values); g++) {
        const double left = unexplained(ww_inner_likeness(inner, g));
        struct ww_error why = {0};
        if (left < (rotary(att, values) ? UNEXPLAINED_PAIRS : UNEXPLAINED)) {
            continue;
        }
        rc = solve_head(att, values, &inner->crosses[g], fix->undo + g * size,
                        fix->undo_t + g * size, &why);
        if (rc == WW_E_UNSUPPORTED) {
            rc = WW_OK; /* a singular head: leave it as it was found */
            continue;
        }
        if (rc) {
            ww_error_clear(err);
            rc = WW_FAIL(err, rc, "attention '%s': %s", att->name, why.text);
        } else if (unexplained(ww_fix_likeness(inner, fix, g)) < BETTER * left) {
            fix->mixed[g] = true;
            pair->found.dense_heads++;
            reset_head(inner, g);
        }
    }
    return rc;
}

static void fill_cell(const struct ww_fix *fix, size_t g, struct ww_cells *cells)
{
    const size_t d = fix->d;
    const double *undo = fix->undo + g * d * d;
    const double *undo_t = fix->undo_t + g * d * d;

    /* A lock that was M on direct rows is undone there by M^-1, on inverse rows by M^T.
     */
    for (size_t i = 0; i < d; i++) {
        for (size_t j = 0; j < d; j++) {
            cells->direct[g * d * d + i * d + j] = undo_t[j * d + i];
            cells->inverse[g * d * d + i * d + j] = undo[j * d + i];
        }
    }
}

enum ww_err ww_pair_mix(struct ww_pair *pair, uint32_t space, const struct ww_fix *fix,
                        struct ww_error *err)
{
    const size_t d = fix->d;
    struct ww_cells *cells = space == WW_NONE ? NULL : &pair->cells[space];
    uint32_t n_cells = 0;
    enum ww_err rc = WW_OK;

    if (!cells) {
        return WW_OK;
    }
    const size_t n_blocks = (size_t)pair->locked->spaces[space].size / d;
    const size_t per = n_blocks / fix->n;
    for (size_t b = 0; b < n_blocks; b++) {
        n_cells += fix->mixed[b / per];
    }
    if (n_cells == 0) {
        return WW_OK;
    }
    rc = ww_cells_init(cells, n_cells, n_cells * (uint32_t)d, fix->n * d * d, err);
    if (rc) {
        return rc;
    }
    for (size_t g = 0; g < fix->n; g++) {
        fill_cell(fix, g, cells);
    }
    n_cells = 0;
    for (size_t b = 0; b < n_blocks; b++) {
        if (fix->mixed[b / per]) {
            cells->cells[n_cells] =
                (struct ww_cell){(uint32_t)d, n_cells * (uint32_t)d, b / per * d * d};
            for (size_t i = 0; i < d; i++) {
                cells->at[n_cells * d + i] = (uint32_t)(b * d + i);
            }
            n_cells++;
        }
    }
    return WW_OK;
}
