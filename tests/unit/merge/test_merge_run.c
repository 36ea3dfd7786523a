/* SPDX-License-Identifier: Apache-2.0 */
/* The engine with its simplest methods: any shape, dtype, thread count, memory limit. */
#include "merge_fixture.h"

static const enum ww_dtype dtypes[] = {WW_DTYPE_BF16, WW_DTYPE_F16, WW_DTYPE_F32,
                                       WW_DTYPE_F64};

/* Sources 0.. with weights 1, 2, ...: their sum, in the recipe's order. */
static double *weighted(const struct mx *m, uint32_t t, bool delta)
{
    const struct mx_tensor *more = &m->more[t];
    double *sum = calloc(more->n + 1, sizeof(*sum));
    double *base = mx_values(m, &more->base, more->n);
    for (uint32_t s = 0; s < m->tensors[t].n_sources; s++) {
        double *x = mx_values(m, &more->sources[s], more->n);
        for (uint64_t i = 0; i < more->n; i++) {
            sum[i] += (s + 1) * (delta ? x[i] - base[i] : x[i]);
        }
        free(x);
    }
    free(base);
    return sum;
}

static void set_weights(struct mx *m, uint32_t t)
{
    for (uint32_t s = 0; s < m->tensors[t].n_sources; s++) {
        mx_set_source(m, t, s, "weight", s + 1);
    }
}

static void linear_is_the_weighted_average(void **state)
{
    (void)state;
    struct ww_error err = {0};
    for (size_t d = 0; d < WW_LEN(dtypes); d++) {
        struct mx *m = mx_new(d);
        uint32_t t = mx_tensor(m, "a", dtypes[d], 300, 257, 0, 3, "linear");
        m->tensors[t].compute = dtypes[d] == WW_DTYPE_F64 ? WW_DTYPE_F64 : WW_DTYPE_F32;
        set_weights(m, t);
        OK(mx_run(m, &err));
        double *want = weighted(m, t, false);
        for (uint64_t i = 0; i < m->more[t].n; i++) {
            want[i] /= 6;
        }
        mx_same(m, t, want);
        free(want);
        mx_free(m);
    }
}

static void task_arithmetic_adds_differences(void **state)
{
    (void)state;
    struct ww_error err = {0};
    struct mx *m = mx_new(3);
    uint32_t t = mx_tensor(m, "a", WW_DTYPE_BF16, 97, 1031, 0, 2, "task_arithmetic");
    set_weights(m, t);
    mx_set(m, t, "lambda", 0.5);
    OK(mx_run(m, &err));
    double *want = weighted(m, t, true);
    double *base = mx_values(m, &m->more[t].base, m->more[t].n);
    for (uint64_t i = 0; i < m->more[t].n; i++) {
        want[i] = base[i] + 0.5 * want[i];
    }
    mx_same(m, t, want);
    free(want);
    free(base);
    mx_free(m);
}

static void passthrough_copies_and_scales(void **state)
{
    (void)state;
    struct ww_error err = {0};
    struct mx *m = mx_new(4);
    uint32_t t = mx_tensor(m, "a", WW_DTYPE_BF16, 1000, 0, 0, 1, "passthrough");
    uint32_t u = mx_tensor(m, "b", WW_DTYPE_BF16, 1000, 0, 0, 1, "passthrough");
    mx_set_source(m, u, 0, "scale", -2);
    OK(mx_run(m, &err));
    double *want = mx_values(m, &m->more[t].sources[0], 1000);
    mx_same(m, t, want);
    free(want);
    want = mx_values(m, &m->more[u].sources[0], 1000);
    for (int i = 0; i < 1000; i++) {
        want[i] *= -2;
    }
    mx_same(m, u, want);
    free(want);
    mx_free(m);
}

/* A copy is read for what is not finite to the last number, keeps the sign of 0 and the
 * smallest numbers, and is none where the dtype that is computed in is narrower. */
static void copies_are_looked_at_and_rounded_as_sums_are(void **state)
{
    (void)state;
    struct ww_error err = {0};
    struct mx *m = mx_new(4);
    uint32_t t = mx_tensor(m, "a", WW_DTYPE_F32, 70001, 0, 0, 1, "passthrough");
    uint32_t u = mx_tensor(m, "b", WW_DTYPE_F32, 1000, 0, 0, 1, "passthrough");
    const off_t last = (off_t)m->more[t].sources[0].offset + 4 * 69998;
    const float ends[3] = {-0.0F, 0x1p-149F, -0x1p-130F};
    const float nan = NAN;

    m->tensors[u].compute = WW_DTYPE_BF16;
    assert_int_equal(pwrite(m->inputs[0].fd, ends, sizeof(ends), last), sizeof(ends));
    OK(mx_run(m, &err));
    double *want = mx_values(m, &m->more[t].sources[0], 70001);
    assert_true(signbit(want[69998]) && want[69999] == 0x1p-149);
    mx_same(m, t, want);
    free(want);
    want = mx_values(m, &m->more[u].sources[0], 1000);
    for (int i = 0; i < 1000; i++) {
        uint8_t narrow[2];
        ww_from_double(WW_DTYPE_BF16, &want[i], narrow, 1);
        ww_to_double(WW_DTYPE_BF16, narrow, &want[i], 1);
    }
    mx_same(m, u, want);
    free(want);
    assert_int_equal(pwrite(m->inputs[0].fd, &nan, 4, last + 8), 4);
    FAILS(mx_run(m, &err), WW_E_NONFINITE);
    mx_free(m);
}

static void rows_and_dtypes_are_mapped(void **state)
{
    (void)state;
    struct ww_error err = {0};
    uint32_t rows[50];
    struct mx *m = mx_new(5);
    uint32_t t = mx_tensor(m, "a", WW_DTYPE_BF16, 50, 70, 0, 2, "linear");
    uint32_t u = mx_tensor(m, "b", WW_DTYPE_F32, 50, 70, 0, 1, "linear");
    for (uint32_t i = 0; i < 50; i++) {
        rows[i] = i == 20 || i == 49 ? WW_NONE : i < 10 ? i + 5 : 49 - i;
    }
    m->more[t].sources[0].rows = rows;
    const double *keep = m->more[t].sources[1].params;
    m->more[t].sources[1] = m->more[u].sources[0]; /* an F32 source of a BF16 tensor */
    m->more[t].sources[1].params = keep;
    OK(mx_run(m, &err));
    double *a = mx_values(m, &m->more[t].sources[0], 3500);
    double *b = mx_values(m, &m->more[t].sources[1], 3500);
    for (uint32_t i = 0; i < 3500; i++) {
        uint32_t row = rows[i / 70];
        b[i] = ((row == WW_NONE ? 0 : a[row * 70 + i % 70]) + b[i]) / 2;
    }
    mx_same(m, t, b);
    free(a);
    free(b);
    rows[3] = 4000; /* far beyond the file */
    FAILS(mx_run(m, &err), WW_E_USAGE);
    mx_free(m);
}

static void odd_shapes_are_merged(void **state)
{
    (void)state;
    struct ww_error err = {0};
    struct mx *m = mx_new(6);
    const uint64_t shapes[][3] = {{1, 0, 0},  {0, 0, 0},    {7919, 0, 0},
                                  {3, 5, 7},  {4099, 1, 4}, {1, 4099, 0},
                                  {0, 16, 0}, {65537, 3, 0}};
    static const char *const names[] = {"a", "b", "c", "d", "e", "f", "g", "h"};
    for (size_t i = 0; i < WW_LEN(shapes); i++) {
        uint32_t t = mx_tensor(m, names[i], dtypes[i % 4], shapes[i][0], shapes[i][1],
                               shapes[i][2], 2, "task_arithmetic");
        if (i == 6) {
            m->tensors[t].shape[1] = 16;
            m->tensors[t].rank = 2;
        }
        m->tensors[t].compute = WW_DTYPE_F64;
    }
    OK(mx_run(m, &err));
    for (uint32_t t = 0; t < m->plan.n_tensors; t++) {
        const struct mx_tensor *more = &m->more[t];
        double *base = mx_values(m, &more->base, more->n);
        double *a = mx_values(m, &more->sources[0], more->n);
        double *b = mx_values(m, &more->sources[1], more->n);
        for (uint64_t i = 0; i < more->n; i++) {
            a[i] = base[i] + ((a[i] - base[i]) + (b[i] - base[i]));
        }
        mx_same(m, t, a);
        free(base);
        free(a);
        free(b);
    }
    mx_free(m);
}

static void inputs_are_rounded_to_what_is_computed_in(void **state)
{
    (void)state;
    struct ww_error err = {0};
    struct mx *m = mx_new(8);
    uint32_t t = mx_tensor(m, "a", WW_DTYPE_F32, 999, 0, 0, 1, "linear");
    uint32_t u = mx_tensor(m, "b", WW_DTYPE_BF16, 999, 0, 0, 1, "linear");
    m->tensors[t].compute = WW_DTYPE_BF16;
    m->tensors[u].compute = WW_DTYPE_F16;
    OK(mx_run(m, &err));
    double *x = mx_values(m, &m->more[t].sources[0], 999);
    uint16_t narrow[999];
    ww_from_double(WW_DTYPE_BF16, x, narrow, 999);
    ww_to_double(WW_DTYPE_BF16, narrow, x, 999);
    mx_same(m, t, x);
    free(x);
    x = mx_values(m, &m->more[u].sources[0], 999);
    ww_from_double(WW_DTYPE_F16, x, narrow, 999);
    ww_to_double(WW_DTYPE_F16, narrow, x, 999);
    mx_same(m, u, x);
    free(x);
    mx_free(m);
}

static void not_finite_is_refused_by_name(void **state)
{
    (void)state;
    struct ww_error err = {0};
    struct mx *m = mx_new(9);
    uint32_t t = mx_tensor(m, "layer.weight", WW_DTYPE_F16, 64, 64, 0, 2, "linear");
    const uint16_t infinity = 0x7c00;
    off_t at = (off_t)m->more[t].sources[1].offset + 2 * 4000;
    uint16_t before = 0;
    assert_int_equal(pread(m->inputs[1].fd, &before, 2, at), 2);
    assert_int_equal(pwrite(m->inputs[1].fd, &infinity, 2, at), 2);
    FAILS(mx_run(m, &err), WW_E_NONFINITE);
    assert_non_null(strstr(err.text, "'layer.weight'"));
    assert_non_null(strstr(err.text, "'m1'"));
    assert_int_equal(pwrite(m->inputs[1].fd, &before, 2, at), 2);
    OK(mx_run(m, &err));
    mx_set(m, t, "normalize", 0);
    mx_set_source(m, t, 0, "weight", 1e8);
    FAILS(mx_run(m, &err), WW_E_NONFINITE);
    assert_non_null(strstr(err.text, "the result"));
    mx_free(m);
}

static void whole_numbers_must_be_equal(void **state)
{
    (void)state;
    struct ww_error err = {0};
    struct mx *m = mx_new(10);
    uint32_t t = mx_tensor(m, "ids", WW_DTYPE_F32, 100, 0, 0, 2, "task_arithmetic");
    mx_tensor(m, "w", WW_DTYPE_F32, 100, 0, 0, 2, "task_arithmetic");
    m->tensors[t].dtype = WW_DTYPE_I32;
    m->more[t].base.dtype = WW_DTYPE_I32;
    m->more[t].sources[0].dtype = m->more[t].sources[1].dtype = WW_DTYPE_I32;
    FAILS(mx_run(m, &err), WW_E_UNRELATED);
    m->more[t].sources[0] = m->more[t].sources[1] = m->more[t].base;
    for (uint32_t s = 0; s < 2; s++) {
        m->more[t].sources[s].params = m->more[t].source_params[s];
    }
    OK(mx_run(m, &err));
    uint8_t *got = mx_bytes(m, t);
    uint8_t want[400];
    assert_int_equal(
        pread(m->inputs[MX_BASE].fd, want, 400, (off_t)m->more[t].base.offset), 400);
    assert_memory_equal(got, want, 400);
    free(got);
    m->more[t].sources[0].dtype = WW_DTYPE_F32;
    FAILS(mx_run(m, &err), WW_E_UNSUPPORTED);
    mx_free(m);
}

static void parameters_that_make_no_sense_are_refused(void **state)
{
    (void)state;
    struct ww_error err = {0};
    struct mx *m = mx_new(11);
    uint32_t t = mx_tensor(m, "a", WW_DTYPE_BF16, 10, 0, 0, 2, "linear");
    mx_set_source(m, t, 0, "weight", -1);
    FAILS(mx_run(m, &err), WW_E_RECIPE); /* sum 0 */
    assert_non_null(strstr(err.text, "'a'"));
    mx_set_source(m, t, 0, "weight", NAN);
    FAILS(mx_run(m, &err), WW_E_RECIPE);
    mx_set_source(m, t, 0, "weight", 1);
    mx_set(m, t, "normalize", 0.5);
    FAILS(mx_run(m, &err), WW_E_RECIPE);
    mx_method(m, t, "task_arithmetic");
    mx_set_source(m, t, 1, "density", 1.5);
    FAILS(mx_run(m, &err), WW_E_RECIPE);
    mx_set_source(m, t, 1, "density", 1);
    m->tensors[t].base = NULL;
    FAILS(mx_run(m, &err), WW_E_RECIPE);
    mx_method(m, t, "passthrough");
    FAILS(mx_run(m, &err), WW_E_RECIPE); /* two sources */
    mx_method(m, t, "linear");
    m->more[t].sources[1].offset += 8;
    m->inputs[1].size_bytes -= 20 + 20; /* the statistics lie behind */
    FAILS(mx_run(m, &err), WW_E_USAGE);
    mx_free(m);
}

static void a_dry_run_gives_the_digests(void **state)
{
    (void)state;
    struct ww_error err = {0};
    struct ww_merge_result dry = {0};
    struct mx *m = mx_new(12);
    mx_tensor(m, "b", WW_DTYPE_BF16, 640, 1024, 0, 3, "linear");
    mx_tensor(m, "a", WW_DTYPE_BF16, 640, 0, 0, 3, "linear");
    OK(mx_run(m, &err));
    OK(ww_merge_run(&m->plan, NULL, NULL, NULL, &dry, &err));
    assert_memory_equal(dry.output_sha256[0], m->digest, 32);
    ww_merge_result_release(&dry);
    mx_free(m);
}

/* The same values, stored as floats. */
static void widen_inputs(struct mx *m, uint32_t t)
{
    struct mx_tensor *more = &m->more[t];

    for (uint32_t s = 0; s <= m->tensors[t].n_sources; s++) {
        const bool base = s == m->tensors[t].n_sources;
        struct ww_merge_source *of = base ? &more->base : &more->sources[s];
        const double *params = of->params;
        double *values = mx_values(m, of, more->n);
        mx_store(m, base ? MX_BASE : s, of, WW_DTYPE_F32, values, more->n);
        of->params = params;
        free(values);
    }
}

static void bf16_is_selected_from_as_floats_are(void **state)
{
    (void)state;
    static const char *const methods[] = {"ties",      "breadcrumbs", "breadcrumbs_ties",
                                          "dare_ties", "dare_linear", "della"};
    struct ww_error err = {0};

    for (unsigned round = 0; round < 4 * WW_LEN(methods); round++) {
        const uint32_t n_sources = 2 + round % 3;
        struct mx *m = mx_new(60 + round);
        const uint32_t t =
            mx_tensor(m, "a", WW_DTYPE_BF16, 61, 333, 0, n_sources, methods[round / 4]);
        mx_set(m, t, "normalize", round % 2);
        mx_set(m, t, "rescale", round / 2 % 2);
        for (uint32_t s = 0; s < n_sources; s++) {
            mx_set_source(m, t, s, "weight", s == 1 ? -0.4 : 0.6);
            mx_set_source(m, t, s, "density", s == 2 ? 1 : 0.37);
        }
        OK(mx_run(m, &err));
        uint8_t *stored = mx_bytes(m, t);
        widen_inputs(m, t);
        OK(mx_run(m, &err));
        uint8_t *floats = mx_bytes(m, t);
        assert_memory_equal(stored, floats, 2 * m->more[t].n);
        free(stored);
        free(floats);
        mx_free(m);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bf16_is_selected_from_as_floats_are),
        cmocka_unit_test(linear_is_the_weighted_average),
        cmocka_unit_test(task_arithmetic_adds_differences),
        cmocka_unit_test(passthrough_copies_and_scales),
        cmocka_unit_test(copies_are_looked_at_and_rounded_as_sums_are),
        cmocka_unit_test(rows_and_dtypes_are_mapped),
        cmocka_unit_test(odd_shapes_are_merged),
        cmocka_unit_test(inputs_are_rounded_to_what_is_computed_in),
        cmocka_unit_test(not_finite_is_refused_by_name),
        cmocka_unit_test(whole_numbers_must_be_equal),
        cmocka_unit_test(parameters_that_make_no_sense_are_refused),
        cmocka_unit_test(a_dry_run_gives_the_digests),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
