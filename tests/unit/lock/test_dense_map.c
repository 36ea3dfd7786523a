/* SPDX-License-Identifier: Apache-2.0 */
/* Cells through axes: against a reference over single elements, and back. */
#include "lock_fixture.h"

#include "lock/dense_kernel.h"
#include "util/fail.h"

static const enum ww_dtype dtypes[] = {WW_DTYPE_BF16, WW_DTYPE_F16, WW_DTYPE_F32,
                                       WW_DTYPE_F64};

/* A source for two spaces: rotations of made-up angles with a factor, over pairs or over
 * whole heads (then a product of them). */
struct made {
    const struct lk *lk;
    uint32_t width[LK_SPACES]; /* of a cell, 0: none */
    uint32_t head[LK_SPACES];
};

static bool made_has(const void *payload, uint32_t space)
{
    return ((const struct made *)payload)->width[space] > 0;
}

/* m = prod of plane rotations, times s; m^-T = the same times 1/s. */
static void rotate(double *m, uint32_t n, uint64_t seed, double s, double *mt)
{
    for (uint32_t i = 0; i < n * n; i++) {
        m[i] = i % (n + 1) == 0;
    }
    for (uint32_t i = 0; i + 1 < n; i++) {
        const double c = cos(0.3 + (double)(seed + i)), t = sin(0.3 + (double)(seed + i));
        for (uint32_t k = 0; k < n; k++) {
            const double a = m[i * n + k], b = m[(i + 1) * n + k];
            m[i * n + k] = c * a - t * b;
            m[(i + 1) * n + k] = t * a + c * b;
        }
    }
    for (uint32_t i = 0; i < n * n; i++) {
        mt[i] = m[i] / s;
        m[i] *= s;
    }
}

static enum ww_err made_get(void *payload, uint32_t space, bool shape_only,
                            struct ww_cells *out, struct ww_error *err)
{
    const struct made *made = payload;
    const uint32_t n = made->width[space];
    const uint32_t head = made->head[space];
    const uint32_t total = (uint32_t)made->lk->spaces[space].size;
    enum ww_err rc = ww_cells_init(out, total / n, total, (size_t)total * n, err);
    for (uint32_t c = 0; c < out->n_cells && !rc; c++) {
        out->cells[c] = (struct ww_cell){n, c * n, (size_t)c * n * n};
        for (uint32_t i = 0; i < n; i++) {
            /* pairs lie half a head apart */
            const uint32_t per = head / n, h = c / per, f = c % per;
            out->at[c * n + i] = n == head ? c * n + i : h * head + f + i * per;
        }
        if (!shape_only) {
            rotate(out->direct + (size_t)c * n * n, n, c + 7 * space, 1.25,
                   out->inverse + (size_t)c * n * n);
        }
    }
    return rc;
}

static struct made make(const struct lk *lk, bool pairs)
{
    struct made made = {.lk = lk};
    const struct ww_attention *att = &lk->att;
    const uint32_t d = (uint32_t)att->head_dim, v = (uint32_t)att->v_dim;
    made.width[att->query] = made.width[att->key] = pairs ? 2 : d;
    made.width[att->value] = made.width[att->context] = v;
    made.head[att->query] = made.head[att->key] = d;
    made.head[att->value] = made.head[att->context] = v;
    return made;
}

/* The exact image by the exact kernel, in double; then A on one axis by ww_cells_apply.
 */
static void naive(const struct lk *lk, const struct ww_gauge *gauge,
                  const struct ww_cell_source *source, uint32_t tensor, double *y)
{
    struct ww_error err = {0};
    const struct ww_tensor *t = &lk->tensors[tensor];
    double scratch[WW_MAX_CELL];
    double *line = calloc(4096, sizeof(*line));
    bool clash = false;
    const uint32_t axis = ww_dense_axis(gauge->layout, source, tensor, &clash);
    assert_false(clash);
    const uint64_t n = t->shape[axis];
    const uint64_t inner = axis + 1 < t->rank ? t->shape[1] : 1;
    const struct ww_axis *a = &lk->bindings[tensor].axis[axis];
    for (uint64_t other = 0; other < t->n_elements / n; other++) {
        const uint64_t base = axis + 1 < t->rank ? other : other * n;
        for (uint32_t s = 0; s < a->n_segments; s++) {
            const struct ww_segment *seg = &lk->segments[a->first_segment + s];
            struct ww_cells cells = {0};
            if (!source->has(source->payload, seg->space)) {
                continue;
            }
            OK(source->get(source->payload, seg->space, false, &cells, &err));
            for (uint64_t i = 0; i < lk->spaces[seg->space].size; i++) {
                line[i] = y[base + ww_segment_at(seg, i) * inner];
            }
            ww_cells_apply(&cells, seg->action, line, scratch);
            for (uint64_t i = 0; i < lk->spaces[seg->space].size; i++) {
                y[base + ww_segment_at(seg, i) * inner] = line[i];
            }
            ww_cells_release(&cells);
        }
    }
    free(line);
}

static void exact(const struct lk *lk, const struct ww_gauge *gauge, uint32_t tensor,
                  double *y)
{
    struct ww_error err = {0};
    const struct ww_tensor *t = &lk->tensors[tensor];
    const uint64_t n_cols = t->rank > 1 ? t->shape[1] : 1;
    double *x = malloc(t->n_elements * sizeof(*x));
    struct ww_element maps[2] = {{0}};
    ww_to_double(t->dtype, lk->data[tensor], x, t->n_elements);
    for (unsigned a = 0; a < t->rank; a++) {
        OK(ww_axis_map(gauge, tensor, a, 0, &maps[a], &err));
    }
    if (t->rank == 1) {
        ww_element_none(&maps[1], 1);
    }
    for (uint64_t i = 0; i < t->n_elements; i++) {
        const uint64_t at[2] = {i / n_cols, i % n_cols};
        uint64_t from[2];
        double f = 1;
        for (int a = 0; a < 2; a++) {
            from[a] = maps[a].perm ? maps[a].perm[at[a]] : at[a];
            f = maps[a].perm ? ldexp(maps[a].neg[at[a]] ? -f : f, maps[a].exp[at[a]]) : f;
        }
        y[i] = f * x[from[0] * n_cols + from[1]];
    }
    ww_element_release(&maps[0]);
    ww_element_release(&maps[1]);
    free(x);
}

static double eps_of(enum ww_dtype dtype)
{
    return dtype == WW_DTYPE_BF16  ? 0x1p-8
           : dtype == WW_DTYPE_F16 ? 0x1p-11
           : dtype == WW_DTYPE_F32 ? 0x1p-24
                                   : 0x1p-50;
}

static void check_tensor(const struct lk *lk, const struct ww_gauge *gauge,
                         const struct ww_cell_source *source, uint32_t tensor)
{
    struct ww_error err = {0};
    const struct ww_tensor *t = &lk->tensors[tensor];
    const struct ww_dense_job job = {.gauge = gauge, .source = source};
    const struct ww_dense_job back = {.gauge = gauge, .source = source, .inverse = true};
    const double eps = eps_of(t->dtype);
    uint8_t *out = malloc((size_t)t->n_bytes);
    uint8_t *again = malloc((size_t)t->n_bytes);
    double *got = malloc(t->n_elements * sizeof(*got));
    double *want = malloc(t->n_elements * sizeof(*want));
    double largest = 0;
    OK(ww_dense_tensor(&job, tensor, lk->data[tensor], out, &err));
    OK(ww_dense_tensor(&back, tensor, out, again, &err));
    exact(lk, gauge, tensor, want);
    naive(lk, gauge, source, tensor, want);
    ww_to_double(t->dtype, out, got, t->n_elements);
    for (uint64_t i = 0; i < t->n_elements; i++) {
        largest = fmax(largest, fabs(want[i]));
        NEAR(got[i], want[i], eps * fabs(want[i]) + 1e-13 + (eps > 1e-4 ? 3e-8 : 0));
    }
    ww_to_double(t->dtype, lk->data[tensor], want, t->n_elements);
    ww_to_double(t->dtype, again, got, t->n_elements);
    for (uint64_t i = 0; i < t->n_elements; i++) {
        NEAR(got[i], want[i], 16 * eps * largest);
    }
    free(out);
    free(again);
    free(got);
    free(want);
}

static unsigned check_all(struct lk_options o, bool scale, bool pairs)
{
    struct ww_error err = {0};
    struct lk lk;
    struct ww_gauge gauge;
    struct ww_secret *secret = lk_secret(5);
    unsigned n = 0;
    lk_init(&lk, o);
    struct made made = make(&lk, pairs);
    const struct ww_cell_source source = {made_has, made_get, &made};
    OK(ww_gauge_init(&gauge, &lk.layout, secret, scale, WW_WRONG_NONE, &err));
    for (uint32_t i = 0; i < lk.model.n_tensors; i++) {
        bool clash = false;
        if (ww_dense_axis(&lk.layout, &source, i, &clash) != WW_NO_AXIS) {
            check_tensor(&lk, &gauge, &source, i);
            n++;
        }
    }
    ww_gauge_release(&gauge);
    ww_secret_free(secret);
    lk_free(&lk);
    return n;
}

static void kernel_is_as_naive_says_and_comes_back(void **state)
{
    (void)state;
    for (size_t i = 0; i < WW_LEN(dtypes); i++) {
        struct lk_options o = lk_llama();
        const bool scale = dtypes[i] != WW_DTYPE_F16;
        o.dtype = dtypes[i];
        o.width = 72; /* more than a panel, and not a multiple of the lanes */
        assert_int_equal(check_all(o, scale, true), 7);
        o.fused = o.conv1d = true;
        assert_int_equal(check_all(o, scale, false), 3);
        o.fused = false;
        o.d_v = 12;
        assert_int_equal(check_all(o, scale, true), 7);
    }
}

/* Units are the shortest runs of rows that hold whole heads. */
static void units_are_heads(void **state)
{
    (void)state;
    struct ww_error err = {0};
    struct ww_secret *secret = lk_secret(5);
    struct lk_options o = lk_llama();
    for (int fused = 0; fused < 2; fused++) {
        struct lk lk;
        struct ww_gauge gauge;
        uint64_t n_units = 0;
        uint64_t bytes = 0;
        o.fused = fused;
        o.dtype = WW_DTYPE_BF16;
        lk_init(&lk, o);
        struct made made = make(&lk, true);
        const struct ww_cell_source source = {made_has, made_get, &made};
        OK(ww_gauge_init(&gauge, &lk.layout, secret, false, WW_WRONG_NONE, &err));
        OK(ww_dense_view(&gauge, &source, lk.att.q.weight, &n_units, &bytes, &err));
        assert_int_equal(n_units, fused ? 8 : 4); /* 4 queries, and 2 keys, 2 values */
        assert_int_equal(bytes, 8 * 24 * 2);
        OK(ww_dense_view(&gauge, &source, lk.att.o.weight, &n_units, &bytes, &err));
        assert_int_equal(n_units, 24);
        assert_int_equal(bytes, 32 * 2);
        ww_gauge_release(&gauge);
        lk_free(&lk);
    }
    ww_secret_free(secret);
}

static void values_that_leave_the_range_are_refused(void **state)
{
    (void)state;
    struct ww_error err = {0};
    struct ww_secret *secret = lk_secret(5);
    struct lk_options o = lk_llama();
    struct lk lk;
    struct ww_gauge gauge;
    o.dtype = WW_DTYPE_F16;
    lk_init(&lk, o);
    struct made made = make(&lk, true);
    const struct ww_cell_source source = {made_has, made_get, &made};
    const struct ww_dense_job job = {.gauge = &gauge, .source = &source};
    const uint32_t t = lk.att.v.weight;
    uint8_t *out = malloc((size_t)lk.tensors[t].n_bytes);
    const uint16_t large = 0x7bff, infinite = 0x7c00;
    OK(ww_gauge_init(&gauge, &lk.layout, secret, false, WW_WRONG_NONE, &err));
    for (uint64_t i = 0; i < lk.tensors[t].n_elements; i++) {
        memcpy(lk.data[t] + 2 * i, &large, 2);
    }
    FAILS(ww_dense_tensor(&job, t, lk.data[t], out, &err), WW_E_UNSUPPORTED);
    memcpy(lk.data[t], &infinite, 2);
    FAILS(ww_dense_tensor(&job, t, lk.data[t], out, &err), WW_E_NONFINITE);
    free(out);
    ww_gauge_release(&gauge);
    ww_secret_free(secret);
    lk_free(&lk);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kernel_is_as_naive_says_and_comes_back),
        cmocka_unit_test(units_are_heads),
        cmocka_unit_test(values_that_leave_the_range_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
