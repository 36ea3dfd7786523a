/* SPDX-License-Identifier: Apache-2.0 */
/**
 * What a search varies: a recipe in which ${NAME} stands for a variable, and the
 * variables' boxes and first steps. The recipe is text, so anything in it can be varied,
 * and a candidate is the text with numbers in it. Format: docs/formats/search.md.
 */
#ifndef WW_EVO_SEARCH_SPACE_H
#define WW_EVO_SEARCH_SPACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/buf.h"
#include "weightward/error.h"

#define WW_SPACE_MAX_NUMBERS 512

struct ww_space_variable {
    char *name;
    uint32_t values; /* 1: a number; more: a list of them, one per group of layers */
    uint32_t first;  /* index of the first of its numbers */
    double low;
    double high;
    double start;
    double step;  /* in the variable's scale */
    double level; /* where the screen tries it */
    bool is_log;  /* searched by its logarithm */
};

/** X(field, key, least, default): whole numbers of the file. */
#define WW_SPACE_NUMBERS(X)                                                              \
    X(population, "population", 0)                                                       \
    X(restarts, "restarts", 0)                                                           \
    X(leaders, "leaders", 4)                                                             \
    X(repeats, "repeats", 3)                                                             \
    X(retries, "retries", 2)                                                             \
    X(patience, "patience", 0)                                                           \
    X(screen, "screen", 0)                                                               \
    X(seconds, "seconds", 3600)

/** How a space is searched; the usual way is CMA-ES, with objectives an archive. */
enum ww_space_method { WW_METHOD_USUAL, WW_METHOD_CROSSOVER, WW_METHOD_SURROGATE };

struct ww_space {
    char *recipe; /* with ${NAME} in it */
    struct ww_space_variable *variable;
    uint32_t n_variables;
    uint32_t d; /* numbers */
    enum ww_space_method method;
    bool minimise;
    double l1;          /* taken from a score for each unit of the mean size */
    bool same_items;    /* one seed for all trials of a part */
    bool deliver_model; /* merge, and give the folder to the evaluator */
    char **objectives;  /* [n_objectives] */
    bool *objective_minimise;
    uint32_t n_objectives;
#define WW_SPACE_FIELD(field, key, standard) uint32_t field;
    WW_SPACE_NUMBERS(WW_SPACE_FIELD)
#undef WW_SPACE_FIELD
    uint8_t digest[32]; /* of the file and the recipe */
};

struct ww_ynode;
/** Variables and recipe of a space's "adapters". */
enum ww_err ww_space_adapters(const struct ww_ynode *map, struct ww_space *space,
                              struct ww_error *err) WW_MUST_USE;

/** WW_E_YAML; WW_E_RECIPE with the line: unknown keys, boxes without inside, a name that
 *  the recipe does not use or that is not declared. A recipe_file lies beside the file.
 */
enum ww_err ww_space_read(const char *path, struct ww_space *out,
                          struct ww_error *err) WW_MUST_USE;
void ww_space_release(struct ww_space *space);

/** Coordinates of the search: steps are 1, logarithms are taken. u, x: [d]. */
void ww_space_to_steps(const struct ww_space *space, const double *x, double *u);
/** Back, into the box. */
void ww_space_from_steps(const struct ww_space *space, const double *u, double *x);
/** l1 times the mean size of the numbers. */
double ww_space_penalty(const struct ww_space *space, const double *x);
void ww_space_start(const struct ww_space *space, double *x);
void ww_space_box(const struct ww_space *space, double *low, double *high);

/** The recipe of a candidate. */
enum ww_err ww_space_render(const struct ww_space *space, const double *x,
                            struct ww_buf *out, struct ww_error *err) WW_MUST_USE;

#endif
