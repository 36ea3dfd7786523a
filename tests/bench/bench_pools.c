/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_pools [SEEDS]: weights of log-linear pools by CMA-ES against their convex
 * optimum, on made-up pools of 5, 10 and 64 members: 300 positions to fit, 2,000 to test.
 * With few members the search reaches the optimum; with many, screening and the convex
 * solver do better than a search. Medians over seeds, and the least and the most.
 */
#include <stdio.h>
#include <string.h>

#include "evo/cma.h"
#include "ww_pool_fixture.h"

#define FIT 300
#define TEST 2000
#define MOST 64
#define SCREENED 8
#define MOST_SEEDS 100u

struct world {
    uint32_t k;
    struct ww_pool_union fit[FIT];
    struct ww_pool_union test[TEST];
};

/* Bits after the given numbers of evaluations, of the best so far. */
static void search(const struct world *w, double sigma, uint32_t lambda, uint64_t seed,
                   const uint32_t *until, size_t n, double *bits, double *best)
{
    double start[MOST];
    double scores[4096];
    struct ww_cma *cma = NULL;
    uint32_t done = 0;
    for (uint32_t i = 0; i < w->k; i++) {
        start[i] = 1.0 / w->k;
    }
    const struct ww_cma_options o = {
        .n = w->k, .start = start, .sigma = sigma, .lambda = lambda, .seed = seed};
    if (ww_cma_new(&o, &cma, NULL) != WW_OK) {
        exit(1);
    }
    for (size_t a = 0; a < n; a++) {
        while (done + ww_cma_lambda(cma) <= until[a] && !ww_cma_stopped(cma)) {
            const double *x = ww_cma_ask(cma);
            for (uint32_t i = 0; i < ww_cma_lambda(cma); i++) {
                scores[i] = fx_pool_bits(w->fit, FIT, x + (size_t)i * w->k);
            }
            ww_cma_tell(cma, scores);
            done += ww_cma_lambda(cma);
        }
        memcpy(best, ww_cma_best(cma, &bits[a]), w->k * sizeof(*best));
    }
    ww_cma_free(cma);
}

/* The members that are best alone, then the convex optimum over them; 0 for the rest. The
 * screen costs one evaluation per member. */
static void screen(struct world *w, double *weights)
{
    static struct ww_pool_union few[FIT];
    uint32_t kept[SCREENED];
    const uint32_t keeps = w->k < SCREENED ? w->k : SCREENED;
    double alone[MOST];
    double found[SCREENED] = {0};
    unsigned rounds = 0;
    memset(weights, 0, w->k * sizeof(*weights));
    for (uint32_t i = 0; i < w->k; i++) {
        weights[i] = 1;
        alone[i] = fx_pool_bits(w->fit, FIT, weights);
        weights[i] = 0;
    }
    for (uint32_t j = 0; j < keeps; j++) {
        kept[j] = 0;
        for (uint32_t i = 1; i < w->k; i++) {
            kept[j] = alone[i] < alone[kept[j]] ? i : kept[j];
        }
        alone[kept[j]] = INFINITY;
    }
    for (size_t t = 0; t < FIT; t++) {
        few[t] = w->fit[t];
        few[t].k = keeps;
        few[t].l = calloc((size_t)(w->fit[t].n + 1) * keeps, sizeof(double));
        for (size_t r = 0; few[t].l && r <= w->fit[t].n; r++) {
            for (uint32_t j = 0; j < keeps; j++) {
                few[t].l[r * keeps + j] = w->fit[t].l[r * w->k + kept[j]];
            }
        }
    }
    if (ww_pool_fit_loglinear(few, FIT, keeps, false, 1e-4, found, &rounds, NULL)) {
        exit(1);
    }
    for (uint32_t j = 0; j < keeps; j++) {
        weights[kept[j]] = found[j];
    }
    for (size_t t = 0; t < FIT; t++) {
        free(few[t].l);
    }
}

static const uint32_t at[] = {100, 400, 1200};
static const struct {
    const char *name;
    double sigma;
    uint32_t lambda;
} searches[] = {{"step 0.05, 20 candidates", 0.05, 20},
                {"step 1/6, own population", 1.0 / 6, 0}};

/* What is measured of a pool, one value for each seed. */
enum { OPTIMUM, SCREEN, SEARCHES, PER_SEARCH = 4, KINDS = SEARCHES + 2 * PER_SEARCH };
static double values[KINDS][MOST_SEEDS];

static double test_bits(const struct world *w, const double *weights)
{
    return fx_pool_bits(w->test, TEST, weights);
}

static void compare(struct world *w, uint64_t seed, unsigned place)
{
    double optimum[MOST] = {0};
    double best[MOST];
    double bits[3];
    unsigned rounds = 0;
    if (ww_pool_fit_loglinear(w->fit, FIT, w->k, false, 0, optimum, &rounds, NULL)) {
        exit(1);
    }
    const double least = fx_pool_bits(w->fit, FIT, optimum);
    values[OPTIMUM][place] = test_bits(w, optimum);
    for (int s = 0; s < 2; s++) {
        double(*to)[MOST_SEEDS] = &values[SEARCHES + PER_SEARCH * s];
        search(w, searches[s].sigma, searches[s].lambda, seed, at, 3, bits, best);
        for (int a = 0; a < 3; a++) {
            to[a][place] = bits[a] - least;
        }
        to[3][place] = test_bits(w, best);
    }
    screen(w, best);
    values[SCREEN][place] = test_bits(w, best);
}

static int larger(const void *a, const void *b)
{
    const double *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

static void tell(const char *name, int kind, unsigned n)
{
    double *v = values[kind];
    qsort(v, n, sizeof(*v), larger);
    printf("  %-42s %.4f [%.4f, %.4f]\n", name, (v[(n - 1) / 2] + v[n / 2]) / 2, v[0],
           v[n - 1]);
}

static void tell_all(uint32_t k, unsigned n)
{
    char name[64];
    unsigned better = 0;
    for (unsigned i = 0; i < n; i++) {
        better += values[SCREEN][i] < values[SEARCHES + 3][i];
    }
    printf("%u members, %u seeds\n", k, n);
    tell("convex optimum, test", OPTIMUM, n);
    tell("screened to 8, then convex, test", SCREEN, n);
    printf("  (better than the first search below in %u)\n", better);
    for (int s = 0; s < 2; s++) {
        printf(" CMA-ES, %s\n", searches[s].name);
        for (int a = 0; a < 3; a++) {
            snprintf(name, sizeof(name), "above the optimum after %u", at[a]);
            tell(name, SEARCHES + PER_SEARCH * s + a, n);
        }
        tell("test", SEARCHES + PER_SEARCH * s + 3, n);
    }
    fflush(stdout);
}

static bool measure(struct world *w, uint32_t k, unsigned seeds)
{
    w->k = k;
    for (unsigned i = 0; i < seeds; i++) {
        const uint64_t seed = i + 1;
        if (!fx_pool_make(w->fit, FIT, k, k < 8 ? k : 8, seed) ||
            !fx_pool_make(w->test, TEST, k, k < 8 ? k : 8, seed + 1000)) {
            return false;
        }
        compare(w, seed, i);
        for (size_t t = 0; t < TEST; t++) {
            ww_pool_union_release(&w->test[t]);
        }
        for (size_t t = 0; t < FIT; t++) {
            ww_pool_union_release(&w->fit[t]);
        }
    }
    tell_all(k, seeds);
    return true;
}

int main(int argc, char **argv)
{
    static struct world w;
    static const uint32_t sizes[] = {5, 10, MOST};
    unsigned seeds = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 1;
    seeds = seeds < 1 ? 1 : seeds > MOST_SEEDS ? MOST_SEEDS : seeds;
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        if (!measure(&w, sizes[i], seeds)) {
            return 1;
        }
    }
    return 0;
}
