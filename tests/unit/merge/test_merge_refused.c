/* SPDX-License-Identifier: Apache-2.0 */
/* What each method refuses, always with the tensor's name, and nothing is left behind. */
#include "merge_fixture.h"

struct refused {
    const char *method;
    uint64_t d0, d1, d2;
    uint32_t n_sources;
    const char *name; /* parameter, NULL: none */
    double value;     /* of the tensor, or of every source */
    const char *name2;
    double value2;
    enum ww_err code;
    const char *text;
};

static const struct refused cases[] = {
    {"linear", 8, 0, 0, 2, "weight", 0, NULL, 0, WW_E_RECIPE, "sum to 0"},
    {"linear", 8, 0, 0, 2, "weight", -INFINITY, NULL, 0, WW_E_RECIPE, "'weight'"},
    {"multislerp", 8, 8, 0, 3, "weight", 0, NULL, 0, WW_E_RECIPE, "sum to 0"},
    {"ties", 8, 8, 0, 2, "density", -0.1, NULL, 0, WW_E_RECIPE, "'density'"},
    {"ties", 8, 8, 0, 2, "density", 1.1, NULL, 0, WW_E_RECIPE, "'density'"},
    {"ties", 8, 8, 0, 2, "lambda", NAN, NULL, 0, WW_E_RECIPE, "'lambda'"},
    {"dare_linear", 8, 8, 0, 2, "density", 2, NULL, 0, WW_E_RECIPE, "'density'"},
    /* gamma n < 1, and density n < 1 */
    {"breadcrumbs", 8, 8, 0, 2, "density", 0.5, NULL, 0, WW_E_RECIPE, "select none"},
    {"breadcrumbs_ties", 8, 0, 0, 2, "density", 0.1, "gamma", 0.2, WW_E_RECIPE,
     "select none"},
    {"della", 8, 8, 0, 2, "density", 0.9, NULL, 0, WW_E_RECIPE, "smaller epsilon"},
    {"della_linear", 8, 8, 0, 2, "density", 0.1, NULL, 0, WW_E_RECIPE, "smaller epsilon"},
    {"della", 2, 3, 4, 2, "density", 0.5, NULL, 0, WW_E_RECIPE, "3 axes"},
    {"della", 9, 1, 0, 2, "density", 0.5, NULL, 0, WW_E_RECIPE, "rows of 1"},
    {"slerp", 8, 8, 0, 2, NULL, 0, NULL, 0, WW_E_RECIPE, "1 to 1 models"},
    {"nuslerp", 8, 8, 0, 3, NULL, 0, NULL, 0, WW_E_RECIPE, "2 to 2 models"},
    {"model_stock", 8, 8, 0, 1, NULL, 0, NULL, 0, WW_E_RECIPE, "2 to 62 models"},
    {"karcher", 8, 8, 0, 2, "max_iter", 1.5, NULL, 0, WW_E_RECIPE, "whole number"},
    {"consensus", 8, 8, 0, 2, "k", 3, NULL, 0, WW_E_RECIPE, "more than the 2"},
    {"fisher", 8, 8, 0, 2, "weight", 0, NULL, 0, WW_E_RECIPE, "more than 0"},
    {"sce", 8, 8, 0, 2, "select_topk", 1.5, NULL, 0, WW_E_RECIPE, "'select_topk'"},
    {"emr", 8, 8, 0, 2, "task", 3, NULL, 0, WW_E_RECIPE, "task 3 of 2"},
    {"emr", 8, 8, 0, 2, "mask", 1, NULL, 0, WW_E_RECIPE, "no mask"},
    {"mwa", 8, 8, 0, 2, "metric", 0, NULL, 0, WW_E_RECIPE, "'metric'"},
    {"mwa", 8, 8, 0, 2, "metric", 1e-9, "exponent", -100, WW_E_RECIPE,
     "range of numbers"},
    {"pcb", 8, 8, 0, 2, "clamp", 0.5, NULL, 0, WW_E_RECIPE, "'clamp'"},
    {"widen", 8, 8, 0, 2, "above_average", -1, NULL, 0, WW_E_RECIPE, "'above_average'"},
};

static void set(struct mx *m, const char *name, double value)
{
    if (name) {
        mx_set(m, 0, name, value); /* those of the other scope are not looked at */
        for (uint32_t s = 0; s < m->tensors[0].n_sources; s++) {
            mx_set_source(m, 0, s, name, value);
        }
    }
}

static void parameters_are_refused_by_name(void **state)
{
    (void)state;
    struct ww_error err = {0};
    for (size_t i = 0; i < WW_LEN(cases); i++) {
        const struct refused *r = &cases[i];
        struct mx *m = mx_new(i);
        mx_tensor(m, "layers.3.weight", WW_DTYPE_BF16, r->d0, r->d1, r->d2, r->n_sources,
                  r->method);
        set(m, r->name, r->value);
        set(m, r->name2, r->value2);
        FAILS(mx_run(m, &err), r->code);
        if (!strstr(err.text, "'layers.3.weight'") || !strstr(err.text, r->text)) {
            fail_msg("%s: '%s' lacks '%s'", r->method, err.text, r->text);
        }
        assert_int_not_equal(access(m->out, F_OK), 0);
        mx_free(m);
    }
}

static void write_ones(struct mx *m, uint32_t t, const float values[3], float base)
{
    for (uint32_t s = 0; s < 3; s++) {
        assert_int_equal(
            pwrite(m->inputs[s].fd, &values[s], 4, (off_t)m->more[t].sources[s].offset),
            4);
        mx_set_source(m, t, s, "weight", s == 0 ? 2 : 1);
    }
    assert_int_equal(
        pwrite(m->inputs[MX_BASE].fd, &base, 4, (off_t)m->more[t].base.offset), 4);
}

/* Found in the middle of a run: the half-made folder is gone. */
static void directions_that_cancel_are_refused(void **state)
{
    (void)state;
    struct ww_error err = {0};
    char *partial = NULL;
    struct mx *m = mx_new(1);
    uint32_t t = mx_tensor(m, "a", WW_DTYPE_F32, 1, 0, 0, 3, "multislerp");
    write_ones(m, t, (const float[3]){3, -1, -1}, 0);
    FAILS(mx_run(m, &err), WW_E_RECIPE);
    assert_non_null(strstr(err.text, "cancel"));
    assert_true(asprintf(&partial, "%s.partial", m->out) > 0);
    assert_int_not_equal(access(partial, F_OK), 0);
    free(partial);
    mx_free(m);
}

static void what_nobody_changed_has_no_directions_and_stays(void **state)
{
    (void)state;
    struct ww_error err = {0};
    struct mx *m = mx_new(1);
    uint32_t t = mx_tensor(m, "a", WW_DTYPE_F32, 1, 0, 0, 3, "multislerp");
    write_ones(m, t, (const float[3]){5, 5, 5}, 5);
    OK(mx_run(m, &err));
    mx_same(m, t, (const double[1]){5});
    mx_free(m);
}

static void statistics_must_fit(void **state)
{
    (void)state;
    struct ww_error err = {0};
    struct mx *m = mx_new(2);
    uint32_t t = mx_tensor(m, "a", WW_DTYPE_F32, 50, 0, 0, 2, "fisher");
    const float minus = -1;
    assert_int_equal(
        pwrite(m->inputs[1].fd, &minus, 4, (off_t)m->more[t].stats[1].offset), 4);
    FAILS(mx_run(m, &err), WW_E_RECIPE);
    assert_non_null(strstr(err.text, "below 0"));
    m->tensors[t].stats = NULL;
    FAILS(mx_run(m, &err), WW_E_RECIPE);
    assert_non_null(strstr(err.text, "needs imported statistics"));
    mx_method(m, t, "linear");
    m->tensors[t].stats = m->more[t].stats;
    FAILS(mx_run(m, &err), WW_E_RECIPE);
    assert_non_null(strstr(err.text, "takes no imported statistics"));
    mx_free(m);
}

/* Neither lost nor too large in a dtype that rounds the models. */
static void statistics_count_as_they_are_stored(void **state)
{
    (void)state;
    static const float stored[][2] = {{1e-9F, 3e-9F}, {1e9F, 3e9F}};
    struct ww_error err = {0};
    for (size_t i = 0; i < WW_LEN(stored); i++) {
        struct mx *m = mx_new(2);
        uint32_t t = mx_tensor(m, "a", WW_DTYPE_F32, 1, 0, 0, 2, "fisher");
        m->tensors[t].compute = WW_DTYPE_F16;
        mx_set(m, t, "floor", 1e-12);
        for (uint32_t s = 0; s < 2; s++) {
            const float value = s ? 2 : 1;
            mx_set_source(m, t, s, "weight", 1);
            assert_int_equal(
                pwrite(m->inputs[s].fd, &value, 4, (off_t)m->more[t].sources[s].offset),
                4);
            assert_int_equal(pwrite(m->inputs[s].fd, &stored[i][s], 4,
                                    (off_t)m->more[t].stats[s].offset),
                             4);
        }
        OK(mx_run(m, &err));
        mx_same(m, t, (const double[1]){1.75});
        mx_free(m);
    }
}

/* A NaN is met by a pass before anything is written for its tensor, also where the
 * tensor is large enough to be lent and is looked at once. */
static void not_finite_is_refused_by_passes_too(void **state)
{
    (void)state;
    struct ww_error err = {0};
    static const char *const methods[] = {"ties", "dare_ties", "sce", "karcher", "della"};
    for (size_t i = 0; i < 2 * WW_LEN(methods); i++) {
        struct mx *m = mx_new(3);
        uint32_t t = mx_tensor(m, "the.tensor", WW_DTYPE_BF16, i % 2 ? 64 : 4800, 64, 0,
                               2, methods[i / 2]);
        const uint16_t nan = 0x7fc0;
        for (uint32_t s = 0;
             s < 2 && ww_method_param(m->tensors[t].method, "density") != WW_NONE; s++) {
            mx_set_source(m, t, s, "density", 0.5);
        }
        assert_int_equal(
            pwrite(m->inputs[0].fd, &nan, 2, (off_t)m->more[t].sources[0].offset + 100),
            2);
        FAILS(mx_run(m, &err), WW_E_NONFINITE);
        assert_non_null(strstr(err.text, "'the.tensor'"));
        mx_free(m);
    }
}

/* What is too large for the dtype that is computed in is no number that a selection may
 * leave out: an infinite difference, one of two infinities, and one that no draw keeps.
 */
static void what_overflows_is_refused_whatever_is_selected(void **state)
{
    (void)state;
    struct ww_error err = {0};
    const float large = 1e6F;
    for (uint32_t round = 0; round < 3; round++) {
        const bool in_base = round == 1;
        const double density = round == 2 ? 0.001 : 0.5;
        struct mx *m = mx_new(4);
        uint32_t t = mx_tensor(m, "the.tensor", WW_DTYPE_F32, 64, 64, 0, 2,
                               round == 2 ? "dare_linear" : "ties");
        const off_t at = 4 * (64 * 64 - 3);
        m->tensors[t].compute = WW_DTYPE_F16;
        mx_set_source(m, t, 0, "density", density);
        mx_set_source(m, t, 1, "density", density);
        OK(mx_run(m, &err));
        assert_int_equal(
            pwrite(m->inputs[0].fd, &large, 4, (off_t)m->more[t].sources[0].offset + at),
            4);
        if (in_base) {
            assert_int_equal(pwrite(m->inputs[MX_BASE].fd, &large, 4,
                                    (off_t)m->more[t].base.offset + at),
                             4);
        }
        FAILS(mx_run(m, &err), WW_E_NONFINITE);
        assert_non_null(strstr(err.text, "'the.tensor': 1 values of"));
        assert_non_null(strstr(err.text, "too large for F16"));
        mx_free(m);
    }
}

/* An infinite number that stands alone is copied; nothing else that is not finite is. */
static void only_a_limit_may_be_infinite(void **state)
{
    (void)state;
    static const struct {
        uint64_t columns;
        float number;
        double scale;
        enum ww_err want;
    } limits[] = {{1, INFINITY, 1, WW_OK},
                  {1, -INFINITY, 1, WW_OK},
                  {1, NAN, 1, WW_E_NONFINITE},
                  {1, INFINITY, 2, WW_E_NONFINITE},
                  {2, INFINITY, 1, WW_E_NONFINITE}};
    for (size_t i = 0; i < WW_LEN(limits); i++) {
        struct ww_error err = {0};
        struct mx *m = mx_new(6);
        uint32_t t = mx_tensor(m, "clip.input_max", WW_DTYPE_F32, 1, limits[i].columns, 0,
                               1, "passthrough");
        mx_set_source(m, t, 0, "scale", limits[i].scale);
        assert_int_equal(pwrite(m->inputs[0].fd, &limits[i].number, 4,
                                (off_t)m->more[t].sources[0].offset),
                         4);
        assert_int_equal(mx_run(m, &err), limits[i].want);
        if (!limits[i].want) {
            mx_same(m, t, (const double[1]){limits[i].number});
        }
        mx_free(m);
    }
}

/* A number that is copied into a dtype too narrow for it is no limit. */
static void a_copy_that_overflows_is_refused(void **state)
{
    (void)state;
    struct ww_error err = {0};
    const float number = 1e6F;
    struct mx *m = mx_new(6);
    uint32_t t = mx_tensor(m, "logit_scale", WW_DTYPE_F32, 1, 1, 0, 1, "passthrough");
    m->tensors[t].dtype = WW_DTYPE_F16;
    assert_int_equal(
        pwrite(m->inputs[0].fd, &number, 4, (off_t)m->more[t].sources[0].offset), 4);
    FAILS(mx_run(m, &err), WW_E_NONFINITE);
    assert_non_null(strstr(err.text, "the result is NaN or infinite in F16"));
    mx_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parameters_are_refused_by_name),
        cmocka_unit_test(directions_that_cancel_are_refused),
        cmocka_unit_test(what_nobody_changed_has_no_directions_and_stays),
        cmocka_unit_test(statistics_must_fit),
        cmocka_unit_test(statistics_count_as_they_are_stored),
        cmocka_unit_test(not_finite_is_refused_by_passes_too),
        cmocka_unit_test(what_overflows_is_refused_whatever_is_selected),
        cmocka_unit_test(only_a_limit_may_be_infinite),
        cmocka_unit_test(a_copy_that_overflows_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
