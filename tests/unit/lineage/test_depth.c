/* SPDX-License-Identifier: Apache-2.0 */
/* Layers in other places, numbers that run over the layers, and ranks of differences. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "lineage/depths.h"
#include "lineage/directions.h"
#include "lineage/draws.h"
#include "lineage/gradient.h"
#include "lineage/sketch.h"
#include "merge/recipe.h"
#include "util/alloc.h"

static void names_are_cut_at_their_number(void **state)
{
    struct ww_depth_name name;
    (void)state;

    assert_true(ww_depth_split("model.layers.13.mlp.up_proj.weight", &name));
    assert_int_equal(name.layer, 13);
    assert_int_equal(name.before, strlen("model.layers."));
    assert_string_equal(name.rest, ".mlp.up_proj.weight");
    assert_true(ww_depth_split("h.0", &name));
    assert_string_equal(name.rest, "");
    assert_false(ww_depth_split("model.norm.weight", &name));
    assert_false(ww_depth_split("layers.1a.weight", &name));
}

/* Each of many tensors in a stack of its own, and three layers of one stack. */
static void the_stack_of_most_tensors_is_found_among_many(void **state)
{
    enum { MANY = 60000 };
    struct ww_tensor *tensors = ww_calloc(MANY + 3, sizeof(*tensors));
    char(*names)[24] = ww_calloc(MANY + 3, sizeof(*names));
    struct ww_model model = {.tensors = tensors, .n_tensors = MANY + 3};
    uint32_t first = 0;
    (void)state;

    assert_true(tensors && names);
    for (unsigned i = 0; i < MANY + 3; i++) {
        const bool layer = i >= MANY / 2 && i < MANY / 2 + 3;
        snprintf(names[i], sizeof(names[i]), layer ? "layers.%u.w" : "s%u.0.w",
                 layer ? i - MANY / 2 : i);
        tensors[i].name = names[i];
    }
    assert_int_equal(ww_depth_stack(&model, &first, NULL), WW_OK);
    assert_int_equal(first, MANY / 2);
    assert_int_equal(ww_depth_layers(&model, "layers."), 3);
    model.n_tensors = MANY / 2;
    assert_int_equal(ww_depth_stack(&model, &first, NULL), WW_OK);
    assert_int_equal(first, 0);
    ww_free(tensors);
    ww_free(names);
}

static void path_follows_runs_where_layers_are_alike(void **state)
{
    /* Rows are 1, 2 and something that is like all: it is the next one, 3. */
    const double scores[3][4] = {{0, 1, 0, 0}, {0, 0, 1, 0}, {0.9, 0.9, 0.9, 0.9}};
    /* A repeated layer costs a step and is found. */
    const double again[4][3] = {{1, 0, 0}, {0, 1, 0}, {0, 1, 0}, {0, 0, 1}};
    uint32_t of[4];
    (void)state;

    assert_int_equal(ww_depths_path(&scores[0][0], 3, 4, of, NULL), WW_OK);
    assert_int_equal(of[0], 1);
    assert_int_equal(of[1], 2);
    assert_int_equal(of[2], 3);
    assert_int_equal(ww_depths_path(&again[0][0], 4, 3, of, NULL), WW_OK);
    assert_int_equal(of[0], 0);
    assert_int_equal(of[1], 1);
    assert_int_equal(of[2], 1);
    assert_int_equal(of[3], 2);
}

/* Points of n layers, one for each of the two groups, and one outside. */
static size_t sample(double (*attention)(double), double (*mlp)(double), size_t n,
                     double noise, struct ww_gradient_point *out)
{
    uint64_t draws = 5;
    size_t k = 0;

    for (size_t l = 0; l < n; l++) {
        const double at = (double)l / (double)(n - 1);
        for (unsigned g = 0; g < 2; g++) {
            const double off = ww_draw(&draws) >> 63 ? noise : -noise;
            out[k++] =
                (struct ww_gradient_point){at, (g ? mlp(at) : attention(at)) + off, noise,
                                           g ? WW_GRADIENT_MLP : WW_GRADIENT_ATTENTION};
        }
    }
    out[k++] =
        (struct ww_gradient_point){0, attention(0) + noise, noise, WW_GRADIENT_REST};
    return k;
}
static double falling(double at)
{
    return 0.7 - 0.4 * at;
}
static double tent(double at)
{
    return at < 0.5 ? 0.2 + 0.6 * at : 0.8 - 0.6 * at;
}
static double level(double at)
{
    (void)at;
    return 0.35;
}

static void lists_are_the_shortest_that_the_shares_allow(void **state)
{
    struct ww_gradient_point points[80];
    struct ww_gradient g;
    (void)state;

    assert_true(ww_gradient_fit(points, sample(falling, falling, 12, 2e-4, points), &g));
    assert_true(g.one);
    assert_int_equal(g.groups[0].n, 2);
    assert_true(g.groups[0].at[0] == 0.7);
    assert_true(g.groups[0].at[1] == 0.3);
    assert_true(ww_gradient_fit(points, sample(tent, tent, 13, 2e-4, points), &g));
    assert_int_equal(g.groups[0].n, 3);
    assert_true(g.groups[0].at[1] == 0.5);
    assert_true(fabs(ww_gradient_at(&g.groups[0], 0.25) - 0.35) < 1e-12);
    assert_true(ww_gradient_fit(points, sample(level, level, 6, 2e-4, points), &g));
    assert_int_equal(g.groups[0].n, 1);
}

static void attention_and_mlp_may_have_lists_of_their_own(void **state)
{
    struct ww_gradient_point points[80];
    struct ww_gradient g;
    (void)state;

    assert_true(ww_gradient_fit(points, sample(falling, tent, 13, 2e-4, points), &g));
    assert_false(g.one);
    assert_int_equal(g.groups[WW_GRADIENT_ATTENTION].n, 2);
    assert_int_equal(g.groups[WW_GRADIENT_MLP].n, 3);
    assert_int_equal(g.groups[WW_GRADIENT_REST].n, 1);
    assert_true(g.groups[WW_GRADIENT_REST].at[0] == 0.7);
}

static double no_line(double at)
{
    uint64_t draws = (uint64_t)(at * 1e6);
    return (double)(ww_draw(&draws) >> 40) / 16777216;
}

static void what_follows_no_list_has_none(void **state)
{
    struct ww_gradient_point points[200];
    struct ww_gradient g;
    (void)state;

    assert_false(ww_gradient_fit(points, sample(no_line, no_line, 90, 1e-5, points), &g));
    assert_false(ww_gradient_fit(points, 0, &g));
}

static void text_of_slices_and_lists_is_a_recipe(void **state)
{
    const char *const models[] = {"a", "b"};
    const struct ww_sketch_slice slices[] = {{NULL, 0, 3}, {NULL, 1, 4}};
    const struct ww_sketch_slice own[] = {{"a", 0, 3}, {"b", 1, 4}};
    struct ww_gradient over[2] = {
        {true, {{2, {0.7, 0.3}}}},
        {false, {{2, {0.3, 0.7}}, {3, {0.1, 0.2, 0.3}}, {1, {0.5}}}},
    };
    struct ww_sketch sketch = {.method = "task_arithmetic",
                               .base = "base",
                               .models = models,
                               .n = 2,
                               .weighted = true,
                               .weights_over = over,
                               .slices = slices,
                               .n_slices = 2,
                               .dtype = WW_DTYPE_BF16};
    struct ww_recipe_file file;
    struct ww_error err;
    (void)state;

    for (unsigned i = 0; i < 3; i++) {
        char *text = ww_sketch_text(&sketch);
        assert_non_null(text);
        if (ww_recipe_parse((const uint8_t *)text, strlen(text), "guess", &file, &err)) {
            fail_msg("%s\n%s", err.text, text);
        }
        assert_int_equal(file.recipes[0].n_models, i == 2 ? 2 : 3);
        assert_int_equal(file.recipes[0].modules[0].is_sliced, i != 1);
        assert_int_equal(file.recipes[0].modules[0].n_slices, i == 1 ? 1 : 2);
        ww_recipe_release(&file);
        ww_free(text);
        sketch.slices = i ? own : NULL;
        if (i) {
            sketch.method = "passthrough";
            sketch.base = NULL;
        }
    }
}

#define M 96
#define N 128

static double uniform(uint64_t *state)
{
    return (double)(ww_draw(state) >> 11) * 0x1p-53 - 0.5;
}

/* Rank r of size `size` per element, rounded to steps as weights of any size have them.
 */
static void make_difference(unsigned r, double size, double *d, double *variances)
{
    double left[M * 16];
    double right[16 * N];
    uint64_t state = 7;

    for (size_t i = 0; i < M * 16; i++) {
        left[i] = uniform(&state) * 3.4641016151377544;
    }
    for (size_t i = 0; i < 16 * N; i++) {
        right[i] = uniform(&state) * 3.4641016151377544;
    }
    for (size_t i = 0; i < M; i++) {
        for (size_t j = 0; j < N; j++) {
            double sum = 0;
            for (unsigned k = 0; k < r; k++) {
                sum += left[i * 16 + k] * right[k * N + j];
            }
            sum = r ? size * sum / sqrt(r) : size * 3.46 * uniform(&state);
            const double step = ldexp(1, -(int)(ww_draw(&state) % 4));
            d[i * N + j] = round(sum / step) * step;
            variances[i * N + j] = step * step / 12;
        }
    }
}

static void ranks_are_counted_above_rounding(void **state)
{
    double *d = ww_calloc(M * N, sizeof(*d));
    double *variances = ww_calloc(M * N, sizeof(*variances));
    struct ww_directions found;
    (void)state;

    for (unsigned r = 1; r <= 16; r *= 2) {
        make_difference(r, 4, d, variances);
        assert_int_equal(ww_directions_count(d, variances, M, N, &found, NULL), WW_OK);
        assert_int_equal(found.rank, r);
        assert_true(found.few);
        assert_true(found.part > 0.99);
    }
    /* Full rank, and nothing at all. */
    make_difference(0, 4, d, variances);
    assert_int_equal(ww_directions_count(d, variances, M, N, &found, NULL), WW_OK);
    assert_false(found.few);
    make_difference(4, 0.01, d, variances);
    assert_int_equal(ww_directions_count(d, variances, M, N, &found, NULL), WW_OK);
    assert_int_equal(found.rank, 0);
    assert_false(found.few);
    ww_free(d);
    ww_free(variances);
}

static void rounding_alone_has_no_rank(void **state)
{
    double *d = ww_calloc(M * N, sizeof(*d));
    double *variances = ww_calloc(M * N, sizeof(*variances));
    struct ww_directions found;
    uint64_t draws = 3;
    (void)state;

    for (unsigned trial = 0; trial < 20; trial++) {
        for (size_t e = 0; e < M * N; e++) {
            const double step = ldexp(1, -(int)(ww_draw(&draws) % 6));
            d[e] = uniform(&draws) * step;
            variances[e] = step * step / 12;
        }
        assert_int_equal(ww_directions_count(d, variances, M, N, &found, NULL), WW_OK);
        assert_int_equal(found.rank, 0);
    }
    ww_free(d);
    ww_free(variances);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_cut_at_their_number),
        cmocka_unit_test(the_stack_of_most_tensors_is_found_among_many),
        cmocka_unit_test(path_follows_runs_where_layers_are_alike),
        cmocka_unit_test(lists_are_the_shortest_that_the_shares_allow),
        cmocka_unit_test(attention_and_mlp_may_have_lists_of_their_own),
        cmocka_unit_test(what_follows_no_list_has_none),
        cmocka_unit_test(text_of_slices_and_lists_is_a_recipe),
        cmocka_unit_test(ranks_are_counted_above_rounding),
        cmocka_unit_test(rounding_alone_has_no_rank),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
