/* SPDX-License-Identifier: Apache-2.0 */
/* What surrounds the whole-matrix methods: what is no matrix gets the mean, refusals,
 * bits. Their formulas are compared with independent ones in tests/interop. */
#include "merge_fixture.h"

static const char *const all[] = {"aswudi",  "core_space", "doge",     "iso_c",
                                  "iso_cts", "knots",      "optmerge", "svc",
                                  "swudi",   "tsv_m",      "wudi",     "wudi_flow"};

static void hex_of(const uint8_t digest[32], char text[65])
{
    for (int i = 0; i < 32; i++) {
        snprintf(text + 2 * i, 3, "%02x", digest[i]);
    }
}

/* base + lambda times the weighted mean of the differences. */
static void is_the_mean(const struct mx *m, uint32_t t, double lambda)
{
    const struct mx_tensor *more = &m->more[t];
    const uint32_t n_sources = m->tensors[t].n_sources;
    double *base = mx_values(m, &more->base, more->n);
    double *sum = calloc(more->n, sizeof(*sum));
    for (uint32_t s = 0; s < n_sources; s++) {
        double *x = mx_values(m, &more->sources[s], more->n);
        for (uint64_t i = 0; i < more->n; i++) {
            sum[i] += (s ? 1.0 : 2.0) * (x[i] - base[i]);
        }
        free(x);
    }
    for (uint64_t i = 0; i < more->n; i++) {
        sum[i] = base[i] + lambda * (sum[i] / n_sources);
    }
    mx_same(m, t, sum);
    free(base);
    free(sum);
}

static void what_is_no_matrix_gets_the_mean(void **state)
{
    (void)state;
    for (size_t i = 0; i < WW_LEN(all); i++) {
        struct ww_error err = {0};
        struct mx *m = mx_new(40 + i);
        const uint64_t shapes[][3] = {{30, 0, 0}, {1, 20, 0}, {20, 1, 0},
                                      {3, 4, 5},  {12, 8, 0}, {12, 8, 0}};
        static const char *const names[] = {
            "norm.weight",   "row", "column", "conv.weight", "model.embed_tokens.weight",
            "lm_head.weight"};
        for (size_t k = 0; k < WW_LEN(names); k++) {
            mx_tensor(m, names[k], WW_DTYPE_F64, shapes[k][0], shapes[k][1], shapes[k][2],
                      3, all[i]);
            m->tensors[k].compute = WW_DTYPE_F64;
            mx_set(m, (uint32_t)k, "lambda", 0.5);
            mx_set_source(m, (uint32_t)k, 0, "weight", 2);
        }
        uint32_t t = mx_tensor(m, "layer.weight", WW_DTYPE_F64, 12, 8, 0, 3, all[i]);
        m->tensors[t].compute = WW_DTYPE_F64;
        OK(mx_run(m, &err));
        for (uint32_t k = 0; k < WW_LEN(names); k++) {
            is_the_mean(m, k, 0.5);
        }
        mx_free(m);
    }
}

static void bytes_do_not_depend_on_threads_or_memory(void **state)
{
    (void)state;
    for (size_t i = 0; i < WW_LEN(all); i++) {
        struct ww_error err = {0};
        uint8_t first[32];
        struct mx *m = mx_new(60 + i);
        mx_tensor(m, "b", WW_DTYPE_BF16, 40, 150, 0, 3, all[i]);
        mx_tensor(m, "a", WW_DTYPE_BF16, 150, 32, 0, 3, all[i]);
        for (unsigned threads = 1; threads <= 8;
             threads = threads == 3 ? 8 : threads + 1) {
            m->options.threads = threads;
            m->options.memory_bytes = threads == 2 ? (uint64_t)64 << 20 : 0;
            OK(mx_run(m, &err));
            if (threads == 1) {
                memcpy(first, m->digest, sizeof(first));
            }
            assert_memory_equal(m->digest, first, sizeof(first));
        }
        mx_free(m);
    }
}

/* By products alone: this digest is the same on every machine, in both forms (by columns
 * and by rows of the stack). It moves only when the method is changed. */
static void the_flow_has_the_same_bits_everywhere(void **state)
{
    (void)state;
    struct ww_error err = {0};
    char text[65];
    struct mx *m = mx_new(70);
    mx_tensor(m, "by columns", WW_DTYPE_F64, 50, 33, 0, 3, "wudi_flow");
    mx_tensor(m, "by rows", WW_DTYPE_F64, 20, 90, 0, 3, "wudi_flow");
    m->tensors[0].compute = WW_DTYPE_F64;
    m->tensors[1].compute = WW_DTYPE_F64;
    OK(mx_run(m, &err));
    hex_of(m->digest, text);
    assert_string_equal(
        text, "ca0d6be644b02113aaac21716c90808c99d431132ea9e52345c04f53f5dbc3ae");
    assert_false(ww_method_find("wudi_flow")->within_tolerance);
    assert_true(ww_method_find("swudi")->within_tolerance);
    mx_free(m);
}

/* Equal sources: whatever is shared is the source itself, up to the factor of the method.
 */
static void one_source_comes_back(void **state)
{
    static const char *const exact[] = {"tsv_m", "svc", "swudi", "aswudi"};
    (void)state;
    for (size_t i = 0; i < WW_LEN(exact); i++) {
        struct ww_error err = {0};
        struct mx *m = mx_new(80 + i);
        uint32_t t = mx_tensor(m, "w", WW_DTYPE_F64, 24, 18, 0, 1, exact[i]);
        m->tensors[t].compute = WW_DTYPE_F64;
        OK(mx_run(m, &err));
        double *got = mx_result(m, t);
        double *want = mx_values(m, &m->more[t].sources[0], m->more[t].n);
        for (uint64_t k = 0; k < m->more[t].n; k++) {
            NEAR(got[k], want[k], 1e-13);
        }
        free(got);
        free(want);
        mx_free(m);
    }
}

static void equal_models_stay_the_base(void **state)
{
    (void)state;
    for (size_t i = 0; i < WW_LEN(all); i++) {
        struct ww_error err = {0};
        struct mx *m = mx_new(90 + i);
        uint32_t t = mx_tensor(m, "w", WW_DTYPE_F32, 24, 18, 0, 2, all[i]);
        for (uint32_t s = 0; s < 2; s++) {
            const double *keep = m->more[t].sources[s].params;
            m->more[t].sources[s] = m->more[t].base;
            m->more[t].sources[s].params = keep;
        }
        OK(mx_run(m, &err));
        double *base = mx_values(m, &m->more[t].base, m->more[t].n);
        mx_same(m, t, base);
        free(base);
        mx_free(m);
    }
}

static void more_tasks_than_directions_are_handled(void **state)
{
    (void)state;
    struct ww_error err = {0};
    struct mx *m = mx_new(100);
    uint32_t t = mx_tensor(m, "w", WW_DTYPE_F64, 3, 40, 0, 5, "tsv_m");
    m->tensors[t].compute = WW_DTYPE_F64;
    mx_set_source(m, t, 0, "weight", 2);
    OK(mx_run(m, &err));
    double *got = mx_result(m, t);
    double *base = mx_values(m, &m->more[t].base, 120);
    for (uint32_t s = 0; s < 5; s++) {
        double *x = mx_values(m, &m->more[t].sources[s], 120);
        for (int i = 0; i < 120; i++) {
            got[i] -= (s ? 0.2 : 0.4) * (x[i] - base[i]);
        }
        free(x);
    }
    for (int i = 0; i < 120; i++) {
        NEAR(got[i], base[i], 1e-15);
    }
    free(got);
    free(base);
    mx_method(m, t, "iso_cts"); /* 3 - 0 directions, rounded up to one for each of 5 */
    mx_set(m, t, "common_space_fraction", 0);
    FAILS(mx_run(m, &err), WW_E_RECIPE);
    assert_non_null(strstr(err.text, "'w'"));
    assert_non_null(strstr(err.text, "common_space_fraction"));
    mx_set(m, t, "common_space_fraction", 0.8);
    OK(mx_run(m, &err));
    mx_free(m);
}

/* Others are under way on the second thread then, or done and never asked for. */
static void a_tensor_that_fails_ends_those_ahead_of_it(void **state)
{
    (void)state;
    for (uint32_t bad = 0; bad < 6; bad++) {
        struct ww_error err = {0};
        struct mx *m = mx_new(80 + bad);
        static const char *const names[] = {"a", "b", "c", "d", "e", "f"};
        for (uint32_t t = 0; t < 6; t++) {
            mx_tensor(m, names[t], WW_DTYPE_BF16, t == bad ? 3 : 48, 40, 0, 5, "iso_cts");
            mx_set(m, t, "common_space_fraction", t == bad ? 0 : 0.8);
        }
        FAILS(mx_run(m, &err), WW_E_RECIPE);
        assert_non_null(strstr(err.text, "common_space_fraction"));
        mx_free(m);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_no_matrix_gets_the_mean),
        cmocka_unit_test(bytes_do_not_depend_on_threads_or_memory),
        cmocka_unit_test(the_flow_has_the_same_bits_everywhere),
        cmocka_unit_test(one_source_comes_back),
        cmocka_unit_test(equal_models_stay_the_base),
        cmocka_unit_test(more_tasks_than_directions_are_handled),
        cmocka_unit_test(a_tensor_that_fails_ends_those_ahead_of_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
