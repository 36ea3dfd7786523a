/* SPDX-License-Identifier: Apache-2.0 */
/**
 * CMA-ES: search for the least value of a function of real variables that is known by its
 * values alone (Hansen, The CMA Evolution Strategy: A Tutorial, arXiv 1604.00772, with
 * active covariance; separable form after Ros and Hansen, 2008; restarts with twice the
 * population after Auger and Hansen, 2005).
 *
 * Ask for a generation, evaluate its candidates in any order, tell all values. Random
 * numbers are a function of (seed, restart, generation, candidate), arithmetic has one
 * order and no libm: the same values told give the same candidates everywhere, so a run
 * resumes by being told again what it was told before.
 */
#ifndef WW_EVO_CMA_H
#define WW_EVO_CMA_H

#include <stdbool.h>
#include <stdint.h>

#include "weightward/error.h"

#define WW_CMA_MAX_VARIABLES 4096
/** Above this many variables the covariance is diagonal unless told otherwise. */
#define WW_CMA_FULL 40
#define WW_CMA_MAX_FULL 512

enum ww_cma_form { WW_CMA_AUTO, WW_CMA_COVARIANCE, WW_CMA_DIAGONAL };

struct ww_cma_options {
    uint32_t n;          /* variables */
    const double *start; /* [n] */
    double sigma;        /* first step, in units of the variables; above 0 */
    const double *low;   /* [n], NULL: unbounded; candidates are reflected into the box */
    const double *high;  /* [n], with low */
    uint32_t lambda;     /* candidates of a generation; 0: max(8, 4 + 3 ln n) */
    enum ww_cma_form form;
    uint32_t restarts; /* with twice the population each, from a random point of the box,
                          or from start where there is none */
    uint64_t seed;
};

struct ww_cma;

/** WW_E_USAGE for options that make no sense, WW_E_LIMIT. */
enum ww_err ww_cma_new(const struct ww_cma_options *options, struct ww_cma **out,
                       struct ww_error *err) WW_MUST_USE;
void ww_cma_free(struct ww_cma *cma);

/** Candidates in the generation that is asked for next. */
uint32_t ww_cma_lambda(const struct ww_cma *cma);

/** The generation's candidates, [lambda][n], borrowed until tell; asking again gives the
 *  same. */
const double *ww_cma_ask(struct ww_cma *cma);

/** Values of all of them; NaN ranks last, ties by index. */
void ww_cma_tell(struct ww_cma *cma, const double *values);

/** NULL while a run goes on; else why the last one ended. With restarts left, a reason is
 *  never seen: the next run has begun. */
const char *ww_cma_stopped(const struct ww_cma *cma);

/** Best candidate so far, [n], borrowed; NULL before the first tell with a number. */
const double *ww_cma_best(const struct ww_cma *cma, double *value);
/** Mean of the distribution, reflected into the box, to x [n]. Under noise it is the
 * better answer. */
void ww_cma_mean(const struct ww_cma *cma, double *x);

uint32_t ww_cma_restart(const struct ww_cma *cma); /* 0: the first run */

#endif
