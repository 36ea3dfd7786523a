/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Parameters of a recipe as numbers. A setting is a scalar, a gradient (a list over the
 * layers), or {value, filter}, or a list of those; the first scope that yields a value
 * counts.
 */
#ifndef WW_MERGE_RECIPE_VALUE_H
#define WW_MERGE_RECIPE_VALUE_H

#include "merge/recipe.h"

/**
 * A key that means nothing where it stands. *passed is true when it changes nothing
 * anyway, with a warning; refused with its place when it is known where it belongs; WW_OK
 * and false when nothing is known of it.
 */
enum ww_err ww_recipe_misplaced(struct ww_recipe *recipe, const struct ww_ynode *node,
                                bool *passed, struct ww_error *err) WW_MUST_USE;

/** ww_yonly with what is known of keys that are elsewhere in a recipe; parameters beside
 *  the parameters count as such once the method is known. */
enum ww_err ww_recipe_only(struct ww_recipe *recipe, const struct ww_ynode *map,
                           const char *const *keys, size_t n, const char *what,
                           struct ww_error *err) WW_MUST_USE;

/** Check every setting of a parameters map (NULL: fine) against the method: names, types,
 *  ranges. Names that other methods know are a warning. where is for messages. */
enum ww_err ww_recipe_check_parameters(struct ww_recipe *recipe,
                                       const struct ww_ynode *parameters,
                                       const char *where,
                                       struct ww_error *err) WW_MUST_USE;

/** Values in the longest gradient of a map, 0 without one; *name is its parameter's. */
size_t ww_recipe_longest_gradient(const struct ww_ynode *parameters, const char **name);

/** Where a parameter is asked for. */
struct ww_recipe_place {
    const struct ww_ynode *const *scopes; /* from the inside out, may be NULL */
    size_t n_scopes;
    const char *tensor;
    double t; /* the place of the layer in its slice */
};

/** The value of a parameter for one tensor. *found is false when no scope yields one. */
enum ww_err ww_recipe_value(const struct ww_method_param *param,
                            const struct ww_recipe_place *at, double *out, bool *found,
                            struct ww_error *err) WW_MUST_USE;

#endif
