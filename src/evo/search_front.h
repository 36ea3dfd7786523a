/* SPDX-License-Identifier: Apache-2.0 */
/* An archive of points with several scores each, bred towards its front; the scores are
 * trials', or what a surrogate says. Internal to the search's files. */
#ifndef WW_EVO_SEARCH_FRONT_H
#define WW_EVO_SEARCH_FRONT_H

#include "evo/pareto.h"
#include "evo/search_int.h"

#define WW_FRONT_POPULATION 12u

struct ww_front;
/** Scores of n points to out [n][k], larger is better. */
typedef enum ww_err (*ww_front_scorer)(struct ww_front *f, const double *x, uint32_t n,
                                       double *out, struct ww_error *err);

struct ww_front {
    struct ww_search *s;
    uint32_t d, k;
    uint32_t shown; /* at most so many are tried again */
    ww_front_scorer scorer;
    void *payload;
    uint32_t n;       /* points */
    uint32_t ranked;  /* of them, when the front was last found */
    double *x;        /* [room][d] */
    double *score;    /* [room][k] */
    bool *in_front;   /* [room] */
    bool *stays;      /* [room], to work in */
    double *points;   /* [room][k], scores of the members */
    double *crowding; /* [room], of the members */
    uint32_t *member; /* [room], points of the front, lonely ones first */
    uint32_t n_members;
};

enum ww_err ww_front_init(struct ww_front *f, struct ww_search *s, size_t room,
                          ww_front_scorer scorer, void *payload,
                          struct ww_error *err) WW_MUST_USE;
/** The same with trials for scores, and the start tried; least: points that are wanted
 *  behind it. WW_E_USAGE where the budget does not reach. */
enum ww_err ww_front_begin(struct ww_front *f, struct ww_search *s, uint32_t least,
                           struct ww_error *err) WW_MUST_USE;
void ww_front_release(struct ww_front *f);

/** Which points are members, lonely ones first. */
void ww_front_rank(struct ww_front *f);
/** The same, but first those, as many as can be shown, that dominate most volume above
 * the first point, which is the start. */
enum ww_err ww_front_best_first(struct ww_front *f, struct ww_error *err) WW_MUST_USE;
/** A point of the box, in steps; a function of the seed and the child's number. */
void ww_front_random(const struct ww_front *f, uint32_t child, const double *low,
                     const double *high, double *u);
/** Is x one of the first n points? */
bool ww_front_has(const struct ww_front *f, uint32_t n, const double *x);
/** Score the n points that lie behind the others. */
enum ww_err ww_front_try(struct ww_front *f, uint32_t n,
                         struct ww_error *err) WW_MUST_USE;
/** n new points, scored; a child that is there already gives way to one drawn at random.
 */
enum ww_err ww_front_generation(struct ww_front *f, uint32_t n,
                                struct ww_error *err) WW_MUST_USE;
/** Try the front and the start, which is the first point, on other items, each once, and
 *  report what is seen there. */
enum ww_err ww_front_end(struct ww_front *f, struct ww_jw *w,
                         struct ww_search_report *report,
                         struct ww_error *err) WW_MUST_USE;

#endif
