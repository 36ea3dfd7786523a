/* SPDX-License-Identifier: Apache-2.0 */
/* Between counting places (stray_places.c) and what is told of them (stray.c). */
#ifndef WW_LINEAGE_STRAY_WORK_H
#define WW_LINEAGE_STRAY_WORK_H

#include "lineage/stray.h"

#define SIZES 16     /* exponents of weights that are told apart */
#define MOST_NAMED 6 /* sources */

/* Places of one kind, and those of them where the suspect is where it cannot be. */
struct places {
    uint64_t n;
    uint64_t out;
};

struct counts {
    uint64_t all;
    uint64_t zeroed;
    uint64_t told; /* not pruned, and more than its rounding is left of it */
    uint64_t out;
    double away; /* squares of how far the suspect is from the base, */
    double left; /* and from where sources may have moved it */
    struct places still[SIZES];
    struct places others[SIZES]; /* a source may have moved the suspect; out: it moved */
};

/* Elements that a source alone moved, by the weights that make each: a difference array
 * over weights in equal parts. */
#define WEIGHTS 640
struct weights {
    int32_t steps[WEIGHTS + 1];
    uint32_t n;
};

/* What is left of it when the tensor is through: elements, and those that the one weight
 * which makes most makes. */
struct met {
    uint32_t n;
    uint32_t met;
};

struct straying {
    const struct ww_family *family;
    unsigned n_sources;
    double most[WW_LINEAGE_MAX_SOURCES]; /* by which sources enter, with its sign */
    const double *shares;
    struct counts *counts; /* per tensor */
    struct places *alone;  /* [tensors][n_named][SIZES] */
    struct met *met;       /* [tensors][n_named][2]: of the source, of a made-up twin */
    struct weights **weights; /* [tensors]: the same while a tensor is read, else NULL */
    unsigned n_named;
    unsigned named[MOST_NAMED]; /* the sources that take part */
};

/** Counts a tile, and a tensor that is through; of struct straying, as ww_sweep calls
 *  them. */
void ww_stray_through(void *payload, uint32_t tensor);
enum ww_err ww_stray_visit(void *payload, uint32_t tensor, struct ww_moments_tile *tile,
                           size_t n, struct ww_error *err) WW_MUST_USE;

#endif
