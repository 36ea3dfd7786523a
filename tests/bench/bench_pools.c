/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_pools [SEEDS]: weights of log-linear pools by CMA-ES against their convex
 * optimum, on made-up pools: 300 positions to fit, 2,000 to test. With few members the
 * search reaches the optimum; with many, screening and the convex solver do better than a
 * search.
 */
#include <stdio.h>
#include <string.h>

#include "evo/cma.h"
#include "ww_pool_fixture.h"

#define FIT 300
#define TEST 2000
#define MOST 64
#define SCREENED 8

struct world {
    uint32_t k;
    struct ww_pool_union fit[FIT];
    struct ww_pool_union test[TEST];
};

/* Bits after the given numbers of evaluations, of the best so far. */
static void search(const struct world *w, double sigma, uint32_t lambda, uint64_t seed,
                   const uint32_t *at, size_t n_at, double *bits, double *best)
{
    double start[MOST];
    double values[4096];
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
    for (size_t a = 0; a < n_at; a++) {
        while (done + ww_cma_lambda(cma) <= at[a] && !ww_cma_stopped(cma)) {
            const double *x = ww_cma_ask(cma);
            for (uint32_t i = 0; i < ww_cma_lambda(cma); i++) {
                values[i] = fx_pool_bits(w->fit, FIT, x + (size_t)i * w->k);
            }
            ww_cma_tell(cma, values);
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
    double alone[MOST];
    double found[SCREENED] = {0};
    unsigned rounds = 0;
    memset(weights, 0, w->k * sizeof(*weights));
    for (uint32_t i = 0; i < w->k; i++) {
        weights[i] = 1;
        alone[i] = fx_pool_bits(w->fit, FIT, weights);
        weights[i] = 0;
    }
    for (uint32_t j = 0; j < SCREENED; j++) {
        kept[j] = 0;
        for (uint32_t i = 1; i < w->k; i++) {
            kept[j] = alone[i] < alone[kept[j]] ? i : kept[j];
        }
        alone[kept[j]] = INFINITY;
    }
    for (size_t t = 0; t < FIT; t++) {
        few[t] = w->fit[t];
        few[t].k = SCREENED;
        few[t].l = calloc((size_t)(w->fit[t].n + 1) * SCREENED, sizeof(double));
        for (size_t r = 0; few[t].l && r <= w->fit[t].n; r++) {
            for (uint32_t j = 0; j < SCREENED; j++) {
                few[t].l[r * SCREENED + j] = w->fit[t].l[r * w->k + kept[j]];
            }
        }
    }
    if (ww_pool_fit_loglinear(few, FIT, SCREENED, false, 1e-4, found, &rounds, NULL)) {
        exit(1);
    }
    for (uint32_t j = 0; j < SCREENED; j++) {
        weights[kept[j]] = found[j];
    }
    for (size_t t = 0; t < FIT; t++) {
        free(few[t].l);
    }
}

static void row(const char *name, const struct world *w, const double *weights)
{
    printf("%-44s %8.3f %8.3f\n", name, fx_pool_bits(w->fit, FIT, weights),
           fx_pool_bits(w->test, TEST, weights));
}

static void compare(struct world *w, uint64_t seed)
{
    const uint32_t at[] = {100, 400, 1200};
    double optimum[MOST] = {0};
    double best[MOST];
    double bits[3];
    unsigned rounds = 0;
    if (ww_pool_fit_loglinear(w->fit, FIT, w->k, false, 0, optimum, &rounds, NULL)) {
        exit(1);
    }
    double least = fx_pool_bits(w->fit, FIT, optimum);
    printf("\n%u members, seed %u %26s %8s\n", w->k, (unsigned)seed, "fit", "test");
    row("convex optimum", w, optimum);
    const struct {
        const char *name;
        double sigma;
        uint32_t lambda;
    } searches[] = {{"CMA-ES, step 0.05, 20 candidates", 0.05, 20},
                    {"CMA-ES, step 1/6", 1.0 / 6, 0}};
    for (int s = 0; s < 2; s++) {
        search(w, searches[s].sigma, searches[s].lambda, seed, at, 3, bits, best);
        row(searches[s].name, w, best);
        printf("    above the optimum after 100, 400, 1200: %.4f %.4f %.4f\n",
               bits[0] - least, bits[1] - least, bits[2] - least);
    }
    screen(w, best);
    row("screened to 8, then convex", w, best);
}

int main(int argc, char **argv)
{
    static struct world w;
    const uint64_t seeds = argc > 1 ? strtoull(argv[1], NULL, 10) : 1;
    for (uint64_t seed = 1; seed <= seeds; seed++) {
        for (uint32_t k = 10; k <= MOST; k += MOST - 10) {
            w.k = k;
            if (!fx_pool_make(w.fit, FIT, k, 8, seed) ||
                !fx_pool_make(w.test, TEST, k, 8, seed + 1000)) {
                return 1;
            }
            compare(&w, seed);
            for (size_t t = 0; t < TEST; t++) {
                ww_pool_union_release(&w.test[t]);
            }
            for (size_t t = 0; t < FIT; t++) {
                ww_pool_union_release(&w.fit[t]);
            }
        }
    }
    return 0;
}
