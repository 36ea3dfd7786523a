/* SPDX-License-Identifier: Apache-2.0 */
/* What an inferred recipe is made of: draws, decimals, shapes of keep rates, text. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "lineage/arc.h"
#include "lineage/draws.h"
#include "lineage/halves.h"
#include "lineage/keep.h"
#include "lineage/sketch.h"
#include "merge/recipe.h"
#include "util/alloc.h"

/* A model of names alone: attention and feed-forward block of n layers. */
static struct ww_model *named(struct ww_tensor *tensors, char (*names)[40], unsigned n,
                              struct ww_model *model)
{
    static const char *const parts[] = {"attn.q", "attn.k", "attn.o",
                                        "attn.v", "mlp.up", "mlp.down"};

    for (unsigned i = 0; i < 6 * n; i++) {
        snprintf(names[i], sizeof(names[i]), "layers.%u.%s.weight", i / 6, parts[i % 6]);
        tensors[i] = (struct ww_tensor){.name = names[i], .rank = 2};
    }
    *model = (struct ww_model){.tensors = tensors, .n_tensors = 6 * n};
    return model;
}

static void halves_follow_the_seed_and_halve_each_part(void **state)
{
    enum { LAYERS = 100 };
    static struct ww_tensor tensors[6 * LAYERS];
    static char names[6 * LAYERS][40];
    struct ww_model model;
    bool *half[3];
    unsigned moved = 0;
    (void)state;

    named(tensors, names, LAYERS, &model);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(ww_halves_draw(&model, i / 2, &half[i], NULL), WW_OK);
    }
    assert_memory_equal(half[0], half[1], model.n_tensors * sizeof(bool));
    for (unsigned l = 0; l < LAYERS; l++) {
        const bool *of = half[0] + (size_t)6 * l;
        assert_int_equal(of[0] + of[1] + of[2] + of[3], 2);
        assert_int_equal(of[4] + of[5], 1);
    }
    for (unsigned i = 0; i < model.n_tensors; i++) {
        moved += half[0][i] != half[2][i];
    }
    assert_true(moved > 220 && moved < 380);
    for (unsigned i = 0; i < 3; i++) {
        ww_free(half[i]);
    }
}

static void intervals_are_over_tensors(void **state)
{
    /* Nine tensors right, a large one wrong: elements alone would say 0.5 exactly. */
    uint64_t same[10];
    uint64_t moved[10];
    double low = 0;
    double high = 0;
    (void)state;

    for (size_t i = 0; i < 10; i++) {
        moved[i] = i ? 1000 : 9000;
        same[i] = i ? 1000 : 0;
    }
    assert_int_equal(ww_draw_interval(same, moved, 10, 3, &low, &high, NULL), WW_OK);
    assert_true(low < 0.3 && high > 0.99);
}

static void number_of_an_arc_follows_from_both_shares(void **state)
{
    (void)state;
    for (double angle = 0.01; angle < 1.6; angle += 0.2) {
        for (double t = 0.05; t < 1; t += 0.15) {
            const double from = sin((1 - t) * angle) / sin(angle);
            const double to = sin(t * angle) / sin(angle);
            assert_true(fabs(ww_arc_number(from, to) - t) < 1e-6);
        }
    }
    assert_true(ww_arc_number(0.7, 0.3) == 0.3);
    assert_true(ww_arc_number(1, 0) == 0 && ww_arc_number(0, 1) == 1);
}

static void shortest_decimal_is_within_reach(void **state)
{
    (void)state;
    assert_true(ww_sketch_shortest(0.59996, 1e-4) == 0.6);
    assert_true(ww_sketch_shortest(0.5712, 1e-3) == 0.571);
    assert_true(ww_sketch_shortest(0.571234567, 1e-9) == 0.571234567);
}

static enum ww_keep_shape shape_of(double (*rate)(double rank))
{
    struct ww_keep keep;
    for (unsigned r = 0; r < WW_KEEP_RANKS; r++) {
        keep.rate[r] = rate((r + 0.5) / WW_KEEP_RANKS);
    }
    return ww_keep_shape(&keep);
}
static double all(double rank)
{
    return rank < 0.05 ? 0.9 : 1;
}
static double chance(double rank)
{
    return rank < 0.1 ? 0.3 : 0.4;
}
static double ramp(double rank)
{
    return 0.3 + 0.4 * rank;
}
static double step(double rank)
{
    return rank < 0.6 ? 0.01 : 1;
}
static double step_on_a_floor(double rank)
{
    return rank < 0.35 ? 0.56 + 0.05 * rank : rank < 0.4 ? 0.8 : 1;
}
static double steep_ramp(double rank)
{
    return 0.8 + 0.2 * rank;
}
static double band(double rank)
{
    return rank < 0.4 ? 0.01 : rank < 0.95 ? 1 : 0.8;
}
static double short_step_on_a_floor(double rank)
{
    return rank < 0.2 ? 0.26 : 1;
}
static double band_on_a_floor(double rank)
{
    return rank < 0.25 ? 0.67 : rank < 0.95 ? 0.96 : 0.89;
}

static void shapes_of_keep_rates_are_told_apart(void **state)
{
    (void)state;
    assert_int_equal(shape_of(all), WW_KEEP_ALL);
    assert_int_equal(shape_of(chance), WW_KEEP_FLAT);
    assert_int_equal(shape_of(ramp), WW_KEEP_RAMP);
    assert_int_equal(shape_of(step), WW_KEEP_STEP);
    assert_int_equal(shape_of(step_on_a_floor), WW_KEEP_FLOOR);
    assert_int_equal(shape_of(steep_ramp), WW_KEEP_RAMP);
    assert_int_equal(shape_of(band), WW_KEEP_BAND);
    assert_int_equal(shape_of(short_step_on_a_floor), WW_KEEP_FLOOR);
    assert_int_equal(shape_of(band_on_a_floor), WW_KEEP_FLOOR);
}

static void text_is_a_recipe_that_says_the_same(void **state)
{
    const char *const models[] = {"a \"quoted\" \\ name", "b"};
    const char *const in[] = {models[0], "b", "base"};
    const char *const not_in[] = {"ties", "name", "a", "bas", "ase", "0.6", ""};
    const struct ww_sketch sketch = {.method = "ties",
                                     .base = "base",
                                     .models = models,
                                     .n = 2,
                                     .weighted = true,
                                     .weights = {0.7, 0.25},
                                     .dense = true,
                                     .density = 0.6,
                                     .plain = true,
                                     .dtype = WW_DTYPE_BF16};
    char *text = ww_sketch_text(&sketch);
    struct ww_recipe_file file;
    struct ww_error err;
    (void)state;

    assert_non_null(text);
    assert_int_equal(
        ww_recipe_parse((const uint8_t *)text, strlen(text), "guess", &file, &err),
        WW_OK);
    assert_string_equal(file.recipes[0].method->name, "ties");
    assert_string_equal(file.recipes[0].models[0].path, models[0]);
    assert_int_equal(file.recipes[0].n_models, 3);
    ww_recipe_release(&file);
    for (size_t i = 0; i < sizeof(in) / sizeof(in[0]); i++) {
        assert_true(ww_sketch_has(text, in[i]));
    }
    for (size_t i = 0; i < sizeof(not_in) / sizeof(not_in[0]); i++) {
        assert_false(ww_sketch_has(text, not_in[i]));
    }
    ww_free(text);
    assert_false(ww_sketch_can_name("a+b"));
    assert_false(ww_sketch_can_name("a@b"));
    assert_false(ww_sketch_can_name("a\nb"));
    assert_true(ww_sketch_can_name("/models/a b"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(halves_follow_the_seed_and_halve_each_part),
        cmocka_unit_test(intervals_are_over_tensors),
        cmocka_unit_test(number_of_an_arc_follows_from_both_shares),
        cmocka_unit_test(shortest_decimal_is_within_reach),
        cmocka_unit_test(shapes_of_keep_rates_are_told_apart),
        cmocka_unit_test(text_is_a_recipe_that_says_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
