/* SPDX-License-Identifier: Apache-2.0 */
/**
 * A locked model beside its anchor, and what has been found out about the lock so far.
 *
 * Every step of an attack compares rows of the two and writes the elements of some
 * spaces; later steps see the locked weights through what earlier ones have found.
 */
#ifndef WW_ATTACK_PAIR_H
#define WW_ATTACK_PAIR_H

#include "lock/cells.h"
#include "lock/gauge.h"
#include "weightward/attack.h"

/** Sums over rows that were compared after alignment. */
struct ww_likeness {
    double locked; /* squared norm */
    double anchor;
    double dot;
};

/** Merging by products (mode invariant). Shares are of squared norms. */
struct ww_blend {
    struct ww_pair *partner; /* the anchor beside itself: what its rows go through */
    double weight;           /* of the locked model */
    double merged;           /* of all merged products, and of what did not fit */
    double dropped;
};

struct ww_pair {
    const struct ww_layout *locked;
    const struct ww_layout *anchor;
    struct ww_gauge gauge; /* of the locked layout, through given */
    struct ww_gauge_given given;
    uint32_t **heads;       /* per attention: the anchor's head of each locked head */
    struct ww_cells *cells; /* per space: what a dense lock mixed; n_cells 0: nothing */
    struct ww_cell_source source; /* hands them out; valid while pair stays in place */
    const struct ww_run_options *run; /* may be NULL: no progress, no way to cancel */
    struct ww_blend *blend;           /* NULL: undo only */
    struct ww_likeness like;
    bool noisy; /* the locked weights were rounded in blocks: no dense lock is looked for
                 */
    double frame_cosine; /* mean over the indices of a residual stream, 1 before any was
                            compared */
    struct ww_attack_found found;
};

/** WW_E_UNRELATED unless both have the same architecture, tensors and shapes; tables of
 *  words may differ in their rows. */
enum ww_err ww_pair_init(struct ww_pair *pair, const struct ww_layout *locked,
                         const struct ww_layout *anchor,
                         struct ww_error *err) WW_MUST_USE;
void ww_pair_release(struct ww_pair *pair);

/** ww_run_progress of a pair: how many of its parts a step is through. */
enum ww_err ww_pair_progress(const struct ww_pair *pair, const char *phase, uint64_t done,
                             uint64_t total, struct ww_error *err) WW_MUST_USE;

/** The anchor's tensor of the same name, or WW_NONE. */
uint32_t ww_pair_tensor(const struct ww_pair *pair, uint32_t locked);

/** How many elements of a tensor both have: all, or the first rows of a table. */
uint64_t ww_pair_elements(const struct ww_pair *pair, uint32_t locked);

/** Cosine of everything compared so far; 0 before anything was. */
double ww_likeness_cosine(const struct ww_likeness *like);

/** Matrices that make the source's rows out of the locked ones, for n groups of heads of
 * d rows each, row-major; those without mixed stay. */
struct ww_fix {
    size_t n;
    size_t d;
    double *undo;   /* of rows of action DIRECT */
    double *undo_t; /* of rows of action INVERSE */
    bool *mixed;
};
enum ww_err ww_fix_init(struct ww_fix *fix, size_t n, size_t d,
                        struct ww_error *err) WW_MUST_USE;
void ww_fix_release(struct ww_fix *fix);
/** Give the space's blocks their matrices: block b is of group b / (blocks / n). */
enum ww_err ww_pair_mix(struct ww_pair *pair, uint32_t space, const struct ww_fix *fix,
                        struct ww_error *err) WW_MUST_USE;

/* The steps, in this order. Each writes elements of pair->given. */
enum ww_err ww_find_frames(struct ww_pair *pair, struct ww_error *err) WW_MUST_USE;
enum ww_err ww_find_latents(struct ww_pair *pair, struct ww_error *err) WW_MUST_USE;
enum ww_err ww_find_heads(struct ww_pair *pair, struct ww_error *err) WW_MUST_USE;
enum ww_err ww_find_inner(struct ww_pair *pair, struct ww_error *err) WW_MUST_USE;
enum ww_err ww_find_experts(struct ww_pair *pair, struct ww_error *err) WW_MUST_USE;
/** signs: also the sign and factor of up against down. */
enum ww_err ww_find_neurons(struct ww_pair *pair, bool signs,
                            struct ww_error *err) WW_MUST_USE;
/** The published one-sided solver, in place of all of the above but the neurons. */
enum ww_err ww_find_aga(struct ww_pair *pair, struct ww_error *err) WW_MUST_USE;

#endif
