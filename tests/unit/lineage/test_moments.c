/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sums of products against a loop that does nothing in blocks: element by element, by
 * the rule as it is written down. Counts and steps must be equal, sums must agree to the
 * rounding of as many additions.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "lineage/moments.h"
#include "model/convert.h"

#define MOST 9

static uint64_t state_of_draws = 7;

static double draw(void)
{
    state_of_draws =
        state_of_draws * UINT64_C(6364136223846793005) + 1442695040888963407u;
    return (double)(state_of_draws >> 11) / (double)(UINT64_C(1) << 53) - 0.5;
}

static double stored(enum ww_dtype dtype, double v)
{
    uint64_t bits = 0;
    if (dtype == WW_DTYPE_F64) {
        return v;
    }
    ww_from_double(dtype, &v, &bits, 1);
    ww_to_double(dtype, &bits, &v, 1);
    return v;
}

struct plain {
    uint64_t n[WW_MOMENTS_BINS];
    double steps[WW_MOMENTS_BINS];
    double z[WW_MOMENTS_BINS][(MOST + 1) * (MOST + 1)];
    double fourth[WW_MOMENTS_BINS][MOST];
    double base[WW_MOMENTS_BINS][MOST + 2]; /* times y, task vectors and itself */
    uint64_t coarse[WW_MOMENTS_BINS];
    uint64_t pruned;
};

/* By docs/lineage-method.md the step is that of the largest among base and sources that
 * decide, a task vector of eight of them carries a share, a longer step of a block
 * decides the bin. */
static void add_plainly(struct plain *p, const double *v, unsigned k, const bool *decides,
                        double block, bool has_steps, enum ww_dtype dtype)
{
    double largest = fabs(v[1]);
    double longest = 0;
    double z[MOST + 1] = {v[0] - v[1]};
    for (unsigned i = 0; i < k; i++) {
        z[i + 1] = v[i + 2] - v[1];
        if (!decides || decides[i]) {
            largest = fmax(largest, fabs(v[i + 2]));
            longest = fmax(longest, fabs(z[i + 1]));
        }
    }
    const double grid = ldexp(1, ww_moments_step(largest, dtype));
    const double step = has_steps ? fmax(block, grid) : grid;
    const bool pruned = !has_steps && v[0] == 0 && v[1] != 0;
    const int bin = (int)floor(log2(step)) + WW_MOMENTS_BIN_BIAS;
    p->pruned += pruned;
    if (pruned || longest == 0 || longest < WW_MOMENTS_STEPS * grid || bin <= 0 ||
        bin >= WW_MOMENTS_BINS) {
        return;
    }
    p->n[bin]++;
    p->steps[bin] += step * step;
    p->coarse[bin] += has_steps && block > grid;
    for (unsigned i = 0; i <= k + 1 && has_steps; i++) {
        p->base[bin][i] += v[1] * (i <= k ? z[i] : v[1]);
    }
    for (unsigned i = 0; i <= k; i++) {
        for (unsigned j = 0; j <= k; j++) {
            p->z[bin][i * (k + 1) + j] += z[i] * z[j];
        }
        if (i > 0) {
            p->fourth[bin][i - 1] += z[i] * z[i] * z[i] * z[i];
        }
    }
}

static void near(double a, double b)
{
    assert_true(fabs(a - b) <= 1e-11 * fmax(fabs(a), fabs(b)) + 1e-300);
}

static void compare(const struct ww_moments *m, const struct plain *p, unsigned k)
{
    uint64_t used = 0;
    assert_int_equal(m->pruned, p->pruned);
    for (unsigned b = 0; b < WW_MOMENTS_BINS; b++) {
        const struct ww_moments_bin *bin = m->bins[b];
        assert_int_equal(bin ? bin->n : 0, p->n[b]);
        used += p->n[b];
        for (unsigned i = 0; bin && i <= k; i++) {
            /* Off the diagonal signs cancel: the error is that of the lengths. */
            for (unsigned j = 0; j <= k; j++) {
                const double scale =
                    sqrt(p->z[b][i * (k + 2)]) * sqrt(p->z[b][j * (k + 2)]);
                assert_true(fabs(bin->z[i * (k + 1) + j] - p->z[b][i * (k + 1) + j]) <=
                            1e-11 * scale + 1e-300);
            }
            if (i > 0) {
                near(bin->q[i - 1], p->fourth[b][i - 1]);
            }
        }
        for (unsigned i = 0; bin && i <= k + 1; i++) {
            const double of = i <= k ? p->z[b][i * (k + 2)] : p->base[b][k + 1];
            assert_true(fabs(bin->base[i] - p->base[b][i]) <=
                        1e-11 * sqrt(of) * sqrt(p->base[b][k + 1]) + 1e-300);
        }
        if (bin) {
            near(bin->steps, p->steps[b]);
            assert_int_equal(bin->coarse, p->coarse[b]);
        }
    }
    assert_true(used > 100);
}

/* Tiles of odd lengths, values over many exponents, zeros, and equal ones. */
static void check(enum ww_dtype dtype, unsigned k, const bool *decides, bool has_steps,
                  bool is_stored)
{
    static uint16_t narrow[MOST + 2][WW_MOMENTS_TILE];
    static const size_t lengths[] = {1, 7, 1024, 1025, 20011, WW_MOMENTS_TILE};
    static struct plain plain;
    struct ww_moments *m = ww_moments_new(k);
    struct ww_moments_tile tile = {0};
    memset(&plain, 0, sizeof(plain));
    assert_non_null(m);
    assert_int_equal(ww_moments_tile_init(&tile, k, NULL), WW_OK);
    tile.has_steps = has_steps;
    tile.is_stored = is_stored;
    tile.decides = decides;
    for (size_t t = 0; t < 6; t++) {
        for (size_t e = 0; e < lengths[t]; e++) {
            const double size = ldexp(1, (int)(e % 23) - 20);
            double v[MOST + 2];
            v[1] = e % 31 == 5 ? 0 : stored(dtype, draw() * size);
            for (unsigned i = 0; i < k; i++) {
                v[i + 2] = e % 17 == 3 ? v[1] : stored(dtype, v[1] + draw() * size / 8);
            }
            v[0] = e % 13 == 2 ? 0 : stored(dtype, v[1] + draw() * size / 8);
            for (unsigned i = 0; i < k + 2; i++) {
                tile.columns[(size_t)i * WW_MOMENTS_TILE + e] =
                    is_stored ? (double)NAN : v[i];
                ww_from_double(WW_DTYPE_BF16, &v[i], &narrow[i][e], 1);
                tile.stored[i] = (const uint8_t *)narrow[i];
            }
            tile.steps[e] = has_steps ? draw() * 0x1p-6 + 0x1p-7 : 0;
            add_plainly(&plain, v, k, decides, tile.steps[e], has_steps, dtype);
        }
        assert_int_equal(ww_moments_accumulate(m, &tile, lengths[t], dtype, NULL), WW_OK);
    }
    compare(m, &plain, k);
    ww_moments_tile_release(&tile);
    ww_moments_free(m);
}

static void sums_are_those_of_a_plain_loop(void **state)
{
    (void)state;
    for (unsigned k = 1; k <= MOST; k++) {
        check(WW_DTYPE_BF16, k, NULL, false, false);
        check(WW_DTYPE_BF16, k, NULL, false, true);
    }
    check(WW_DTYPE_F16, 3, NULL, false, false);
    check(WW_DTYPE_F32, 3, NULL, false, false);
    check(WW_DTYPE_F64, 3, NULL, false, false);
}

static void steps_of_blocks_decide_the_bin(void **state)
{
    (void)state;
    check(WW_DTYPE_BF16, 2, NULL, true, false);
    check(WW_DTYPE_F32, 5, NULL, true, false);
}

/* Models that went nowhere may lie farther away than sources. */
static void sources_alone_decide(void **state)
{
    const bool decides[] = {false, true, false};
    (void)state;
    check(WW_DTYPE_BF16, 3, decides, false, false);
    check(WW_DTYPE_BF16, 3, decides, false, true);
    check(WW_DTYPE_BF16, 3, decides, true, false);
}

/* The first one's sums are what they are among all. */
static void models_beside_decide_and_are_not_summed(void **state)
{
    enum { ALL = 3, N = 20011 };
    struct ww_moments *of[] = {ww_moments_new(ALL), ww_moments_new(1)};
    (void)state;
    for (unsigned one = 0; one < 2; one++) {
        struct ww_moments_tile tile = {0};
        assert_int_equal(ww_moments_tile_init(&tile, ALL, NULL), WW_OK);
        tile.has_steps = true;
        tile.beside = one ? ALL - 1 : 0;
        state_of_draws = 5;
        for (size_t e = 0; e < N; e++) {
            for (unsigned c = 0; c < ALL + 2; c++) {
                const double v = stored(WW_DTYPE_BF16, (c > 2 ? 0.2 : 0.02) * draw());
                tile.columns[(size_t)c * WW_MOMENTS_TILE + e] = v;
            }
            tile.steps[e] = 0x1p-9;
        }
        assert_int_equal(ww_moments_accumulate(of[one], &tile, N, WW_DTYPE_BF16, NULL),
                         WW_OK);
        ww_moments_tile_release(&tile);
    }
    for (unsigned b = 0; b < WW_MOMENTS_BINS; b++) {
        const struct ww_moments_bin *all = of[0]->bins[b];
        const struct ww_moments_bin *some = of[1]->bins[b];
        assert_int_equal(all != NULL, some != NULL);
        if (all && some) {
            assert_int_equal(all->n, some->n);
            near(all->z[0], some->z[0]);
            near(all->z[1], some->z[1]);
            near(all->z[ALL + 2], some->z[3]);
            near(all->q[0], some->q[0]);
            near(all->base[ALL + 1], some->base[2]);
        }
    }
    ww_moments_free(of[0]);
    ww_moments_free(of[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sums_are_those_of_a_plain_loop),
        cmocka_unit_test(steps_of_blocks_decide_the_bin),
        cmocka_unit_test(sources_alone_decide),
        cmocka_unit_test(models_beside_decide_and_are_not_summed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
