/* SPDX-License-Identifier: Apache-2.0 */
/* Recipes that are guessed: numbers, and the mergekit YAML that says the same. */
#ifndef WW_LINEAGE_SKETCH_H
#define WW_LINEAGE_SKETCH_H

#include <stdbool.h>
#include <stddef.h>

#include "lineage/gradient.h"
#include "weightward/model.h"

#define WW_SKETCH_MOST 62

/** Layers [first, end) of one model, or with model NULL of all of the sketch. */
struct ww_sketch_slice {
    const char *model;
    uint32_t first;
    uint32_t end;
};

struct ww_sketch {
    const char *method; /* static */
    const char *base;   /* NULL: none */
    const char *const *models;
    size_t n;
    bool weighted;
    const char *weight_name; /* in recipes; NULL: "weight" */
    double weights[WW_SKETCH_MOST];
    const struct ww_gradient *weights_over; /* [n], instead of the weights; or NULL */
    bool dense;
    double density; /* of every source, unless */
    bool densities_differ;
    double densities[WW_SKETCH_MOST];
    const char *extra; /* one more number of every source: "gamma"; NULL: none */
    double extra_value;
    const char *key; /* of the whole: "t", "select_topk", "lambda"; NULL: none */
    double value;
    const struct ww_gradient *value_over; /* instead of the value; or NULL */
    const struct ww_sketch_slice *slices; /* NULL: whole models */
    size_t n_slices;
    bool plain;          /* normalize: false */
    bool divided;        /* normalize: true */
    enum ww_dtype dtype; /* of the output */
};

/** Can a recipe name this path as it is? */
bool ww_sketch_can_name(const char *path);
/** Fresh text; NULL when memory is out. */
char *ww_sketch_text(const struct ww_sketch *sketch) WW_MUST_USE;
/** Is the model of this path in such a text, as a source or as the base? */
bool ww_sketch_has(const char *text, const char *path);

/** The decimal with the fewest places (at most four) within reach, else the value: people
 *  write short numbers into recipes, and a tie in rounding falls right only for the very
 *  number. */
double ww_sketch_shortest(double value, double reach);

#endif
