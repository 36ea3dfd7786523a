/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How often the tests of a lineage accuse who is innocent.
 *
 *   bench_lineage_null roots|siblings|cousins TRIALS SEED
 *
 * T2: each trial makes a family of its own: a base in bf16, a suspect, a candidate and 99
 * controls that are all independent fine-tunes of it (3 % of the weights), and asks for
 * the candidate's p-value as decompose does. Siblings have task vectors of nothing in
 * common, cousins have a fifth of their energy the same in all, as models from similar
 * data have it. The interval's verdict (above 0.02, as without controls) is counted
 * beside. T1: two models of four layers of independent initialisation, of Gaussian rows,
 * and of rows with a direction in common; how often its bound goes below 10^-6. Limits
 * are Clopper and Pearson's, 95 %, two-sided.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lineage/common_root.h"
#include "lineage/rank.h"
#include "model/convert.h"

#define CONTROLS 99
#define K (1 + CONTROLS)
#define ELEMENTS 4096
#define TENSORS 8
#define EACH (ELEMENTS / TENSORS)
#define WEIGHTS 0.02 /* standard deviations */
#define CHANGES 0.0006
#define LAYERS 4
#define ROWS 128
#define COLUMNS 32

static uint64_t state;

static uint64_t draw(void)
{
    uint64_t z = state += UINT64_C(0x9e3779b97f4a7c15); /* SplitMix64 */
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

/* The four quarters of a draw added up: variance 1, nearly a bell. */
static double bell(void)
{
    const uint64_t z = draw();
    const double sum = (double)(z & 65535) + (double)(z >> 16 & 65535) +
                       (double)(z >> 32 & 65535) + (double)(z >> 48);
    return (sum / 65536 - 2) * sqrt(3);
}

static void to_bf16(double *v, size_t n)
{
    static uint16_t stored[WW_MOMENTS_TILE];
    ww_from_double(WW_DTYPE_BF16, v, stored, n);
    ww_to_double(WW_DTYPE_BF16, stored, v, n);
}

static void check(bool ok, const char *what)
{
    if (!ok) {
        fprintf(stderr, "bench_lineage_null: %s\n", what);
        exit(1);
    }
}

/* P(X <= k) of n draws with chance p, in logarithms: n is in the thousands. */
static double below(unsigned k, unsigned n, double p)
{
    double sum = 0;
    for (unsigned i = 0; i <= k; i++) {
        sum += exp(lgamma(n + 1.0) - lgamma(i + 1.0) - lgamma(n - i + 1.0) + i * log(p) +
                   (n - i) * log1p(-p));
    }
    return sum;
}

static double limit(unsigned k, unsigned n, bool upper)
{
    double low = 1e-12;
    double high = 1 - 1e-12;
    for (unsigned turn = 0; turn < 200; turn++) {
        const double p = (low + high) / 2;
        const bool higher =
            upper ? below(k, n, p) > 0.025 : k > 0 && 1 - below(k - 1, n, p) < 0.025;
        low = higher ? p : low;
        high = higher ? high : p;
    }
    return (low + high) / 2;
}

static void tell(const char *what, unsigned k, unsigned n)
{
    printf("%s: %u of %u (95 %%: %.5f to %.5f)\n", what, k, n, k ? limit(k, n, false) : 0,
           k < n ? limit(k, n, true) : 1);
}

struct room {
    struct ww_moments_tile all; /* with the controls */
    struct ww_moments_tile one; /* the candidate alone, by tensors */
};

/* Column 0 the suspect, 1 the base, then the candidate and the controls. */
static void make_family(struct ww_moments_tile *tile, double common)
{
    static double same[ELEMENTS];
    double *base = tile->columns + WW_MOMENTS_TILE;
    for (size_t e = 0; e < ELEMENTS; e++) {
        base[e] = WEIGHTS * bell();
        same[e] = sqrt(common) * bell();
    }
    to_bf16(base, ELEMENTS);
    for (unsigned m = 0; m < K + 2; m++) {
        double *x = tile->columns + (size_t)m * WW_MOMENTS_TILE;
        for (size_t e = 0; e < ELEMENTS && m != 1; e++) {
            x[e] = base[e] + CHANGES * (same[e] + sqrt(1 - common) * bell());
        }
        to_bf16(x, ELEMENTS);
    }
}

/* The interval of a run without controls. */
static bool is_included(struct room *room)
{
    struct ww_moments *blocks[TENSORS];
    const int8_t use[1] = {WW_SIDE_PLUS};
    struct ww_moments *whole = ww_moments_new(1);
    struct ww_fit fit;
    double low = 0;
    double high = 0;
    for (unsigned t = 0; t < TENSORS; t++) {
        blocks[t] = ww_moments_new(1);
        check(whole && blocks[t], "out of memory");
        for (unsigned m = 0; m < 3; m++) {
            for (size_t e = 0; e < EACH; e++) {
                room->one.columns[(size_t)m * WW_MOMENTS_TILE + e] =
                    room->all.columns[(size_t)m * WW_MOMENTS_TILE + t * EACH + e];
            }
        }
        check(!ww_moments_accumulate(blocks[t], &room->one, EACH, WW_DTYPE_BF16, NULL),
              "no sums");
        check(!ww_moments_add(whole, blocks[t], 1, NULL), "no sums");
    }
    ww_fit(whole, use, &fit);
    const struct ww_fit_blocks drawn = {(const struct ww_moments *const *)blocks, TENSORS,
                                        1, use};
    check(!ww_fit_bootstrap(&drawn, 1, &low, &high, NULL), "no interval");
    low = fmin(low, fit.share[0] - 1.96 * fit.error[0]);
    for (unsigned t = 0; t < TENSORS; t++) {
        ww_moments_free(blocks[t]);
    }
    ww_moments_free(whole);
    return low > WW_LINEAGE_LEAST;
}

static double p_value(struct room *room)
{
    struct ww_moments *m = ww_moments_new(K);
    const int8_t use[K] = {WW_SIDE_PLUS};
    double statistic = 0;
    double reached[CONTROLS];
    double p = 0;
    check(m != NULL, "out of memory");
    check(!ww_moments_accumulate(m, &room->all, ELEMENTS, WW_DTYPE_BF16, NULL),
          "no sums");
    p = ww_rank(m, use, NULL, 0, 1, &statistic, reached);
    ww_moments_free(m);
    return p;
}

static void test_siblings(struct room *room, unsigned trials, double common)
{
    unsigned hundredth = 0;
    unsigned twentieth = 0;
    unsigned included = 0;
    for (unsigned t = 0; t < trials; t++) {
        double p = 0;
        make_family(&room->all, common);
        included += is_included(room);
        p = p_value(room); /* leaves differences in the columns */
        hundredth += p < 0.0101;
        twentieth += p < 0.0501;
    }
    printf("T2, independent siblings with %.0f %% of their task vectors in common\n",
           100 * common);
    tell("  p at most 0.01", hundredth, trials);
    tell("  p at most 0.05", twentieth, trials);
    tell("  interval above 0.02, without controls", included, trials);
}

static void test_roots(unsigned trials, double common)
{
    static float rows[2][ROWS * COLUMNS];
    unsigned rejected = 0;
    double least = 0;
    for (unsigned t = 0; t < trials; t++) {
        uint64_t all = 0;
        double p = 0;
        for (unsigned l = 0; l < LAYERS; l++) {
            uint64_t fixed = 0;
            double direction[COLUMNS];
            for (unsigned c = 0; c < COLUMNS; c++) {
                direction[c] = common * bell();
            }
            for (unsigned i = 0; i < 2 * ROWS * COLUMNS; i++) {
                rows[i / (ROWS * COLUMNS)][i % (ROWS * COLUMNS)] =
                    (float)(bell() + direction[i % COLUMNS]);
            }
            check(!ww_root_fixed_points(rows[0], rows[1], ROWS, COLUMNS, &fixed, NULL),
                  "no rows");
            all += fixed;
        }
        p = ww_root_log10_p(all, LAYERS);
        rejected += p <= -6;
        least = p < least ? p : least;
    }
    printf("T1, independent initialisations, common direction %.0f: least log10 p %.2f\n",
           common, least);
    tell("  log10 p at most -6", rejected, trials);
}

int main(int argc, char **argv)
{
    const unsigned trials = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 10) : 0;
    struct room room = {.one = {.columns = NULL}};
    if (argc != 4 || trials == 0) {
        fprintf(stderr, "usage: bench_lineage_null roots|siblings|cousins TRIALS SEED\n");
        return 2;
    }
    state = strtoull(argv[3], NULL, 10);
    if (strcmp(argv[1], "roots") == 0) {
        test_roots(trials, 0);
        test_roots(trials, 1);
        return 0;
    }
    check(!ww_moments_tile_init(&room.all, K, NULL), "out of memory");
    check(!ww_moments_tile_init(&room.one, 1, NULL), "out of memory");
    test_siblings(&room, trials, strcmp(argv[1], "cousins") == 0 ? 0.2 : 0);
    ww_moments_tile_release(&room.all);
    ww_moments_tile_release(&room.one);
    return 0;
}
