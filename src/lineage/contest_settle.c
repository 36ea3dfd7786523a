/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Numbers of a selection that are no tenths. Most of the bits come out where all numbers
 * are near, and more of them with each number that is nearer: one after another is moved
 * by ever smaller steps as long as that helps.
 */
#include <math.h>

#include "lineage/contest_work.h"
#include "util/fail.h"

/* Numbers: weights, densities, two of the whole. */
#define MOST (2 * WW_SKETCH_MOST + 2)
#define ROUNDS 3
#define ALL_BITS 0.9995
#define NEAR 0.85 /* below, a size of steps that gains less than */
#define GAIN 0.01 /* this is the last one: it is another method */

struct settling {
    struct ww_contesting *c;
    struct ww_sketch *sketch;
    double *numbers[MOST];
    size_t n;
    struct ww_trial *best;
};

static void list_numbers(struct settling *k, double *number)
{
    struct ww_sketch *s = k->sketch;

    for (size_t i = 0; i < s->n && s->dense && s->densities_differ; i++) {
        k->numbers[k->n++] = &s->densities[i];
    }
    if (number && (!s->dense || !s->densities_differ)) {
        k->numbers[k->n++] = number;
    }
    for (size_t i = 0; i < s->n && s->weighted; i++) {
        k->numbers[k->n++] = &s->weights[i];
    }
    if (s->key && number != &s->value) {
        k->numbers[k->n++] = &s->value;
    }
}

static double thousandths(double v)
{
    return round(v * 1000) / 1000;
}

/* Up and down from where the number is; it stays where most bits come out. */
static enum ww_err step(struct settling *k, double *number, double by, bool *better,
                        struct ww_error *err)
{
    const double from = *number;
    double at = from;
    enum ww_err rc = WW_OK;

    for (int side = -1; side <= 1 && !rc; side += 2) {
        const double before = k->best->match;
        *number = thousandths(from + side * by);
        rc = ww_contest_try(k->c, k->sketch, false, k->best, err);
        if (k->best->match > before) {
            at = *number;
            *better = true;
        }
    }
    *number = at;
    return rc;
}

enum ww_err ww_contest_settle(struct ww_contesting *c, struct ww_sketch *sketch,
                              double *number, struct ww_trial *best, struct ww_error *err)
{
    static const double steps[] = {0.02, 0.01, 0.005, 0.002, 0.001};
    struct settling k = {.c = c, .sketch = sketch, .best = best};
    /* Hundredths are right there already, and still too coarse. */
    const bool fine = sketch->dtype != WW_DTYPE_BF16;
    double before = 0;
    enum ww_err rc = WW_OK;

    list_numbers(&k, number);
    for (size_t s = 0; s < WW_LEN(steps) && (fine || best->match > before + GAIN); s++) {
        bool better = true;
        before = best->match < NEAR ? best->match : 0;
        for (unsigned r = 0; r < ROUNDS && better; r++) {
            better = false;
            for (size_t i = 0; i < k.n && !rc && best->match < ALL_BITS; i++) {
                rc = step(&k, k.numbers[i], steps[s], &better, err);
            }
        }
    }
    return rc;
}
