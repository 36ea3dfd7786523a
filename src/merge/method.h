/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Merge methods: one table row and one kernel each.
 *
 * The recipe reader knows methods by this table alone: their names, which parameters they
 * take, of the whole tensor or of each source, and what a base is to them. It resolves
 * every parameter to a number per output tensor. The engine runs the kernel.
 */
#ifndef WW_MERGE_METHOD_H
#define WW_MERGE_METHOD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weightward/model.h"

enum ww_param_scope {
    WW_PARAM_TENSOR, /* one value per output tensor */
    WW_PARAM_SOURCE  /* one value per source of it */
};
enum ww_param_kind { WW_PARAM_FLOAT, WW_PARAM_INT, WW_PARAM_BOOL };

struct ww_method_param {
    const char *name; /* as in recipes: "weight", "density", "lambda" */
    enum ww_param_scope scope;
    enum ww_param_kind kind;
    bool required;
    double fallback; /* when absent and not required */
    double min;      /* both ends allowed */
    double max;
};

enum ww_method_base {
    WW_BASE_IGNORED, /* a base in the list is one more source */
    WW_BASE_OPTIONAL,
    WW_BASE_REQUIRED
};

enum ww_method_stats {
    WW_STATS_NONE,
    WW_STATS_SHAPE, /* of the shape of the weight: walked with it */
    WW_STATS_GRAM /* columns x columns of a matrix, read by the method; may be missing */
};

enum ww_method_share {
    WW_SHARE_WEIGHT,  /* the weight, or its part of the sum where that is divided by it */
    WW_SHARE_OF_SUM,  /* its part of the sum, always */
    WW_SHARE_ELECTED, /* the weight; divided by those that an element's sign was elected
                         by, it may be the whole there */
    WW_SHARE_UNTOLD   /* follows from the tensors: counts as the whole */
};

struct ww_method_ops; /* src/merge/kernel.h: how it is computed */

#define WW_METHOD_MAX_PARAMS 12

struct ww_method {
    const char *name;     /* as in recipes */
    const char *summary;  /* one line for people */
    const char *evidence; /* one line: when it is known to help */
    const char *paper;    /* "arXiv 2306.01708", "" for none */
    enum ww_method_base base;
    uint32_t min_sources; /* without the base */
    uint32_t max_sources;
    bool base_alone; /* without a model beside it the base is the result, as in mergekit:
                        what bakes an adapter into a model is often written so */
    bool order_free; /* the result of permuted sources is the permuted result, bit
                        for bit: may merge models locked with one key */
    const char *order_reason;   /* why not, or under which parameters, for people; "" */
    enum ww_method_stats stats; /* an imported tensor beside each source, what of */
    enum ww_method_share share; /* what a policy is told that a weight is worth */
    bool within_tolerance; /* through LAPACK: equal within a tolerance, not to the bit */
    const struct ww_method_param *params;
    size_t n_params;
    const struct ww_method_ops *ops;
};

/** All methods, in alphabetical order of name. */
const struct ww_method *ww_methods(size_t *n);
/** NULL when there is none of that name. */
const struct ww_method *ww_method_find(const char *name);
/** Index into params, or WW_NONE. */
uint32_t ww_method_param(const struct ww_method *method, const char *name);
/** Is it a parameter of any method? */
bool ww_method_any_param(const char *name);

#endif
