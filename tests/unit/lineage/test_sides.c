/* SPDX-License-Identifier: Apache-2.0 */
/* Weights below zero: found where they are, and not where a sibling has something in
 * common with what is missing. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "blends.h"
#include "lineage/rank.h"
#include "lineage/sides.h"

#define K 4 /* candidates */
#define TENSORS 6
#define EACH 32000

static struct ww_moments *blocks[TENSORS];
static struct ww_moments *whole;

/* A source that is no candidate and has something in common with the first two. */
struct hidden {
    double weight;
    double own;    /* deviation of what it has for itself */
    double uneven; /* by so much tensors have more and less in common, in turns */
};
static const struct hidden nobody = {0, 0, 0};
static const struct hidden relative = {0.5, 0.0006, 0};

/* The first source has a third of its task vector in common with the second one. */
static void make(const double *shares, const struct hidden *hidden, double noise)
{
    struct ww_moments_tile tile = {0};
    assert_int_equal(ww_moments_tile_init(&tile, K, NULL), WW_OK);
    whole = ww_moments_new(K);
    for (unsigned t = 0; t < TENSORS; t++) {
        const double part = 1 + (t % 2 ? hidden->uneven : -hidden->uneven);
        blocks[t] = ww_moments_new(K);
        for (size_t e = 0; e < EACH; e++) {
            const double base = bf16(bell(0.02));
            const double common = bell(0.0004);
            double blend = base + hidden->weight * (part * common + bell(hidden->own));
            for (unsigned i = 0; i < K; i++) {
                const double source = bf16(base + (i < 2 ? common : 0) + bell(0.0006));
                tile.columns[(size_t)(i + 2) * WW_MOMENTS_TILE + e] = source;
                blend += shares[i] * (source - base);
            }
            tile.columns[e] = bf16(bf16(blend) + bell(noise));
            tile.columns[WW_MOMENTS_TILE + e] = base;
        }
        assert_int_equal(
            ww_moments_accumulate(blocks[t], &tile, EACH, WW_DTYPE_BF16, NULL), WW_OK);
        assert_int_equal(ww_moments_add(whole, blocks[t], 1, NULL), WW_OK);
    }
    ww_moments_tile_release(&tile);
}

static void unmake(void)
{
    for (unsigned t = 0; t < TENSORS; t++) {
        ww_moments_free(blocks[t]);
    }
    ww_moments_free(whole);
}

static void look(const double *shares, const struct hidden *hidden, double noise,
                 struct ww_sides *out, struct ww_fit *fit)
{
    static const bool fitted[TENSORS] = {true, true, true, true, true, true};
    const int8_t side[K] = {1, 1, 1, 1};
    const struct ww_sides_ask ask = {NULL, blocks, fitted, TENSORS, K, 5, false};
    struct ww_sides_ask with = ask;
    make(shares, hidden, noise);
    with.whole = whole;
    assert_int_equal(ww_sides_find(&with, side, out, NULL), WW_OK);
    ww_fit(whole, out->side, fit);
    unmake();
}

static void weights_below_zero_are_found(void **state)
{
    (void)state;
    const double shares[][K] = {
        {0.7, -0.4, 0, 0},
        {-0.3, 0.8, 0.2, -0.1},
        {0.5, 0.3, 0.4, -0.3},
        {0, 0.9, -0.05, -0.6}}; /* a short one beside a long one */
    for (size_t s = 0; s < 4; s++) {
        struct ww_sides found;
        struct ww_fit fit;
        look(shares[s], &nobody, s == 2 ? 0.00004 : 0, &found, &fit);
        assert_true(found.any && found.clear);
        for (unsigned i = 0; i < K; i++) {
            assert_int_equal(found.side[i],
                             shares[s][i] < 0 ? WW_SIDE_MINUS : WW_SIDE_PLUS);
            assert_true(fabs(fit.share[i] - shares[s][i]) < 0.003);
        }
    }
}

static void
nobody_is_taken_away_where_a_source_is_missing_or_training_went_on(void **state)
{
    (void)state;
    const double shares[][K] = {{0.6, 0, 0, 0}, {0.4, 0.3, 0, 0}, {0, 0, 0.5, 0.2}};
    for (size_t s = 0; s < 6; s++) {
        struct ww_sides found;
        struct ww_fit fit;
        look(shares[s / 2], s % 2 ? &relative : &nobody, s % 2 ? 0 : 0.0002, &found,
             &fit);
        assert_false(found.clear);
    }
}

/* Noise has no part in shares, also where it is as long as all that was merged. */
static void weights_below_zero_are_found_behind_noise(void **state)
{
    (void)state;
    const double shares[][K] = {
        {0.6, 0, 0.5, -0.4}, {0.6, 0, 0.5, -0.4}, {0, 0.9, 0, -0.2}, {0, 0.9, 0, -0.1}};
    const double noise[] = {0.0002, 0.0004, 0.0006, 0.0008};
    for (size_t s = 0; s < 4; s++) {
        struct ww_sides found;
        struct ww_fit fit;
        look(shares[s], &nobody, noise[s], &found, &fit);
        assert_true(found.any && found.clear);
        assert_int_equal(found.side[3], WW_SIDE_MINUS);
        assert_true(fabs(fit.share[3] - shares[s][3]) < (s < 2 ? 0.01 : 0.02));
    }
}

/* As much is explained by a relative of what was taken away, but more in some tensors. */
static void a_relative_is_not_taken_for_who_was_taken_away(void **state)
{
    (void)state;
    const double shares[K] = {0, 0, 0.7, 0};
    const struct hidden taken = {-0.8, 0.0001, 0.15};
    struct ww_sides found;
    struct ww_fit fit;
    look(shares, &taken, 0, &found, &fit);
    assert_false(found.clear);
}

/* Two candidates, of which the second one was taken for such, and two controls. */
static void controls_take_the_better_side_of_who_was_taken_away(void **state)
{
    (void)state;
    const double shares[][K] = {{0.7, -0.4, 0, 0}, {0.7, 0, 0, -0.4}};
    const int8_t side[K] = {1, -1, 0, 0};
    for (size_t s = 0; s < 2; s++) {
        double statistic = 0;
        double reached[2];
        make(shares[s], &nobody, 0);
        const double p = ww_rank(whole, side, NULL, 1, 2, &statistic, reached);
        assert_true(s ? p > 0.66 : p < 0.34);
        assert_true(s ? reached[1] > 10 * statistic : statistic > 10 * reached[1]);
        unmake();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(weights_below_zero_are_found),
        cmocka_unit_test(
            nobody_is_taken_away_where_a_source_is_missing_or_training_went_on),
        cmocka_unit_test(weights_below_zero_are_found_behind_noise),
        cmocka_unit_test(a_relative_is_not_taken_for_who_was_taken_away),
        cmocka_unit_test(controls_take_the_better_side_of_who_was_taken_away),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
