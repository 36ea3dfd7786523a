/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The estimator on blends that were rounded to bf16, where plain least squares is known
 * to read 0.6 as 0.86. Weights and task vectors are sums of uniform draws.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "blends.h"
#include "lineage/fit.h"

#define N (16 * WW_MOMENTS_TILE)

struct blend {
    double share[3]; /* the last is a decoy when 0 */
    unsigned k;
    double scale; /* of task vectors, relative to the weights */
    double noise; /* after the merge, relative to the task vectors */
    double
        outer; /* the sources went in through a merge that was rounded, at this weight */
};

/* Plain least squares of the first source, for the contrast. */
static double plain(const struct ww_moments *m)
{
    double xy = 0;
    double xx = 0;
    for (unsigned b = 0; b < WW_MOMENTS_BINS; b++) {
        if (m->bins[b]) {
            xy += m->bins[b]->z[1];
            xx += m->bins[b]->z[m->k + 2];
        }
    }
    return xy / xx;
}

static struct ww_moments *make(const struct blend *b, double *all_elements)
{
    struct ww_moments *m = ww_moments_new(b->k);
    struct ww_moments_tile tile = {0};
    double xy = 0;
    double xx = 0;
    assert_non_null(m);
    assert_int_equal(ww_moments_tile_init(&tile, b->k, NULL), WW_OK);
    for (unsigned t = 0; t < N / WW_MOMENTS_TILE; t++) {
        for (size_t e = 0; e < WW_MOMENTS_TILE; e++) {
            const double base = bf16(bell(0.02));
            double blend = base;
            double first = 0;
            for (unsigned i = 0; i < b->k; i++) {
                const double source = bf16(base + bell(0.02 * b->scale));
                tile.columns[(size_t)(i + 2) * WW_MOMENTS_TILE + e] = source;
                blend += b->share[i] * (source - base);
                first = i == 0 ? source - base : first;
            }
            if (b->outer > 0) {
                blend = base + b->outer * (bf16(base + (blend - base) / b->outer) - base);
            }
            blend = bf16(bf16(blend) + bell(0.02 * b->scale * b->noise));
            tile.columns[e] = blend;
            tile.columns[WW_MOMENTS_TILE + e] = base;
            xy += first * (blend - base);
            xx += first * first;
        }
        assert_int_equal(
            ww_moments_accumulate(m, &tile, WW_MOMENTS_TILE, WW_DTYPE_BF16, NULL), WW_OK);
    }
    ww_moments_tile_release(&tile);
    *all_elements = xy / xx;
    return m;
}

static void share_is_right_where_plain_least_squares_is_not(void **state)
{
    (void)state;
    const int8_t use[3] = {1, 1, 1};
    const double scales[] = {0.002, 0.005, 0.01, 0.03};
    for (size_t i = 0; i < 4; i++) {
        const struct blend b = {{0.6}, 1, scales[i], 0, 0};
        struct ww_fit fit;
        double naive = 0;
        struct ww_moments *m = make(&b, &naive);
        ww_fit(m, use, &fit);
        assert_true(fabs(fit.share[0] - 0.6) < 2e-3);
        assert_true(fit.tau2 < 1e-10);
        assert_false(fit.more);
        if (i == 0) {
            assert_true(naive > 0.75);
            assert_true(plain(m) < 0.75);
        }
        ww_moments_free(m);
    }
}

static void noise_after_the_merge_is_found_and_the_decoy_is_not(void **state)
{
    (void)state;
    const int8_t use[3] = {1, 1, 1};
    const struct blend b = {{0.4, 0.3, 0}, 3, 0.02, 0.1, 0};
    struct ww_fit fit;
    double naive = 0;
    struct ww_moments *m = make(&b, &naive);
    ww_fit(m, use, &fit);
    assert_true(fabs(fit.share[0] - 0.4) < 2e-3);
    assert_true(fabs(fit.share[1] - 0.3) < 2e-3);
    assert_true(fit.share[2] < 2e-3);
    assert_true(fabs(sqrt(fit.tau2) / (0.02 * 0.02 * 0.1) - 1) < 0.1);
    assert_true(fit.error[0] > 1e-5 && fit.error[0] < 1e-3);
    ww_moments_free(m);
}

static void rounding_of_a_merge_of_a_merge_is_seen(void **state)
{
    (void)state;
    const int8_t use[3] = {1, 1, 1};
    const struct blend b = {{0.3, 0.2, 0}, 3, 0.03, 0, 0.7};
    struct ww_fit fit;
    double naive = 0;
    struct ww_moments *m = make(&b, &naive);
    ww_fit(m, use, &fit);
    assert_true(fit.more);
    ww_moments_free(m);
}

/* 32 weights rounded to eight values of which the scale errs least: shorter by that. */
static double round_block(double *v)
{
    double best = HUGE_VAL;
    double step = 0;
    double most = 0;

    for (unsigned i = 0; i < 32; i++) {
        most = fmax(most, fabs(v[i]));
    }
    for (unsigned s = 10; s <= 40; s++) {
        const double d = most / s * 10 / 4;
        double xq = 0;
        double qq = 0;
        double xx = 0;
        for (unsigned i = 0; i < 32; i++) {
            const double q = fmin(3, fmax(-4, round(v[i] / d)));
            xq += v[i] * q;
            qq += q * q;
            xx += v[i] * v[i];
        }
        if (qq > 0 && xx - xq * xq / qq < best) {
            best = xx - xq * xq / qq;
            step = xq / qq;
        }
    }
    for (unsigned i = 0; i < 32; i++) {
        v[i] = step * fmin(3, fmax(-4, round(v[i] / step)));
    }
    return step;
}

/* A blend in blocks; the source and a decoy lost 2 % of their size in training. */
static struct ww_moments *make_rounded(double share)
{
    struct ww_moments *m = ww_moments_new(2);
    struct ww_moments_tile tile = {.has_steps = true};

    assert_non_null(m);
    assert_int_equal(ww_moments_tile_init(&tile, 2, NULL), WW_OK);
    for (unsigned t = 0; t < N / WW_MOMENTS_TILE; t++) {
        double *v[4];
        for (unsigned i = 0; i < 4; i++) {
            v[i] = tile.columns + (size_t)i * WW_MOMENTS_TILE;
        }
        for (size_t e = 0; e < WW_MOMENTS_TILE; e++) {
            v[1][e] = bf16(bell(0.02));
            v[2][e] = bf16(0.98 * v[1][e] + bell(0.0008));
            v[3][e] = bf16(0.98 * v[1][e] + bell(0.0008));
            v[0][e] = bf16(v[1][e] + share * (v[2][e] - v[1][e]));
        }
        for (size_t e = 0; e < WW_MOMENTS_TILE; e += 32) {
            const double step = round_block(v[0] + e);
            for (unsigned i = 0; i < 32; i++) {
                tile.steps[e + i] = step;
            }
        }
        assert_int_equal(
            ww_moments_accumulate(m, &tile, WW_MOMENTS_TILE, WW_DTYPE_BF16, NULL), WW_OK);
    }
    ww_moments_tile_release(&tile);
    return m;
}

static void blocks_that_shorten_weights_are_no_share_of_who_decayed(void **state)
{
    (void)state;
    const int8_t use[2] = {1, 1};
    uint32_t same[2];
    struct ww_fit fit;
    struct ww_moments *m = make_rounded(0.6);

    ww_fit(m, use, &fit);
    assert_true(fabs(fit.share[0] - 0.6) < 0.02);
    assert_true(fit.share[1] < 0.02);
    assert_true(fit.error[0] < 0.02);
    assert_true(fit.size > 0.01 && fit.size < 0.1);
    ww_fit_collinear(m, same);
    assert_int_equal(same[0], 0);
    assert_int_equal(same[1], 1);
    /* Sources that differ from the base by their size alone cannot be told from it. */
    for (unsigned bin = 0; bin < WW_MOMENTS_BINS; bin++) {
        struct ww_moments_bin *b = m->bins[bin];
        if (b) {
            b->base[2] = -0.02 * b->base[3];
            b->z[8] = 0.02 * 0.02 * b->base[3];
        }
    }
    ww_fit_collinear(m, same);
    assert_int_equal(same[0], 0);
    assert_int_equal(same[1], (uint32_t)WW_NONE);
    ww_moments_free(m);

    /* The contrast: as if the grid had rounded them. */
    m = make_rounded(0.6);
    for (unsigned bin = 0; bin < WW_MOMENTS_BINS; bin++) {
        if (m->bins[bin]) {
            m->bins[bin]->coarse = 0;
        }
    }
    ww_fit(m, use, &fit);
    assert_true(fit.share[0] + fit.share[1] > 0.7);
    ww_moments_free(m);
}

static void intervals_are_as_wide_on_either_side_of_zero(void **state)
{
    (void)state;
    const int8_t sides[][2] = {{1, 0}, {-1, 0}};
    for (size_t s = 0; s < 2; s++) {
        struct ww_moments *m = make_rounded(0.6 * sides[s][0]);
        struct ww_fit fit;
        ww_fit(m, sides[s], &fit);
        assert_true(fabs(fit.share[0] - 0.6 * sides[s][0]) <= ww_fit_margin(&fit, 0, 0));
        assert_true(ww_fit_margin(&fit, 0, 0) > 0.5 * fit.size);
        assert_true(ww_fit_margin(&fit, 0, 0.01) > 0.01 + 0.5 * fit.size);
        ww_moments_free(m);
    }
}

static void equal_sources_are_told_apart_from_none(void **state)
{
    (void)state;
    const struct blend b = {{0.5, 0.2}, 2, 0.02, 0, 0};
    double naive = 0;
    uint32_t same[2];
    struct ww_moments *m = make(&b, &naive);
    ww_fit_collinear(m, same);
    assert_int_equal(same[0], 0);
    assert_int_equal(same[1], 1);
    for (unsigned bin = 0; bin < WW_MOMENTS_BINS; bin++) {
        struct ww_moments_bin *z = m->bins[bin];
        if (z) {
            z->z[5] = z->z[7] = z->z[8] = z->z[4];
        }
    }
    ww_fit_collinear(m, same);
    assert_int_equal(same[1], 0);
    for (unsigned bin = 0; bin < WW_MOMENTS_BINS; bin++) {
        if (m->bins[bin]) {
            m->bins[bin]->z[8] = 0;
        }
    }
    ww_fit_collinear(m, same);
    assert_true(same[1] == WW_NONE);
    ww_moments_free(m);
}

static void step_is_that_of_the_dtype(void **state)
{
    (void)state;
    assert_int_equal(ww_moments_step(1.0, WW_DTYPE_BF16), -7);
    assert_int_equal(ww_moments_step(1.99, WW_DTYPE_BF16), -7);
    assert_int_equal(ww_moments_step(-2.0, WW_DTYPE_BF16), -6);
    assert_int_equal(ww_moments_step(0.0, WW_DTYPE_BF16), -133);
    assert_int_equal(ww_moments_step(1e-7, WW_DTYPE_F16), -24);
    assert_int_equal(ww_moments_step(1.0, WW_DTYPE_F32), -23);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(share_is_right_where_plain_least_squares_is_not),
        cmocka_unit_test(noise_after_the_merge_is_found_and_the_decoy_is_not),
        cmocka_unit_test(rounding_of_a_merge_of_a_merge_is_seen),
        cmocka_unit_test(blocks_that_shorten_weights_are_no_share_of_who_decayed),
        cmocka_unit_test(intervals_are_as_wide_on_either_side_of_zero),
        cmocka_unit_test(equal_sources_are_told_apart_from_none),
        cmocka_unit_test(step_is_that_of_the_dtype),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
