/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of a test for noise share: a corner of each matrix in a thread's room.
 */
#ifndef WW_LINEAGE_WHITENESS_WORK_H
#define WW_LINEAGE_WHITENESS_WORK_H

#include "lineage/per_tensor.h"
#include "lineage/signflip.h"
#include "lineage/whiteness.h"

#define WW_WHITENESS_ROOM ((size_t)WW_SIGNFLIP_SIDE * WW_SIGNFLIP_SIDE)
#define WW_WHITENESS_TAKEN (WW_WHITENESS_SOURCES + 1) /* and the base */

/* What one matrix says of one source. */
struct ww_whiteness_of_source {
    double spectrum; /* ww_signflip_beside */
    double squares;  /* weighed, of its task vector */
    struct ww_signflip_sum rows;
    struct ww_signflip_sum columns;
    struct ww_signflip_sum leading;
    struct ww_signflip_sum longer;
    double
        twin; /* what leading would be if the source's own noise were all that is left */
};

/* What one matrix says. */
struct ww_whiteness_of_matrix {
    double difference; /* weighed squares, from the base */
    double noise;      /* the same of what is left beyond rounding */
    struct ww_signflip_sum spectrum;
    struct ww_signflip_sum rows; /* beside the base */
    struct ww_signflip_sum columns;
    struct ww_whiteness_of_source *sources; /* [n_candidates] */
};

/* Room of a thread; matrices are [rows][columns] of the corner. */
struct ww_whiteness_room {
    struct ww_signflip flip;
    double *base;
    double *weight;
    double *x;
    double *g;
    double *taken; /* [WW_WHITENESS_TAKEN] of them, orthonormal */
    double steps[WW_SIGNFLIP_SIDE];
    uint8_t bytes[WW_SIGNFLIP_SIDE * sizeof(double)];
};

struct ww_whitening {
    const struct ww_whiteness_ask *ask;
    uint32_t stack[WW_SIGNFLIP_SIDE]; /* the vectors; as a matrix, the tensor behind the
                                         last */
    size_t n_stack;
    unsigned n_sources; /* of the family */
    struct ww_whiteness_room *rooms;
    struct ww_whiteness_of_matrix *found; /* per tensor */
};

/* The corner of one matrix, in a thread's room. */
struct ww_whiteness_corner {
    const struct ww_whitening *w;
    struct ww_whiteness_room *r;
    uint32_t tensor;
    size_t m;
    size_t n;
};

/** Is it the matrix of vectors, behind the last tensor? */
static inline bool ww_whiteness_is_stack(const struct ww_whitening *w, uint32_t tensor)
{
    return tensor == w->ask->family->n_tensors;
}

/** Whose weights a row has. */
static inline uint32_t ww_whiteness_tensor(const struct ww_whitening *w, uint32_t tensor,
                                           size_t row)
{
    return ww_whiteness_is_stack(w, tensor) ? w->stack[row] : tensor;
}

static inline const double *ww_whiteness_shares(const struct ww_whitening *w,
                                                uint32_t tensor)
{
    return w->ask->per_tensor ? w->ask->per_tensor + (size_t)tensor * w->n_sources
                              : w->ask->shares;
}

/** Has it a share, in some tensor? */
bool ww_whiteness_takes_part(const struct ww_whitening *w, unsigned source);

/** One row of a corner, and the suspect's steps. */
enum ww_err ww_whiteness_row(const struct ww_whiteness_corner *c, unsigned model,
                             size_t row, double *out, double *steps,
                             struct ww_error *err) WW_MUST_USE;
/** Task vector of a source into out. */
enum ww_err ww_whiteness_source(const struct ww_whiteness_corner *c, unsigned source,
                                double *out, struct ww_error *err) WW_MUST_USE;
/** What shares leave over, weighed, into e; *k rows of taken are what it is orthogonal
 * to.
 */
enum ww_err ww_whiteness_leave_over(const struct ww_whiteness_corner *c, unsigned *k,
                                    struct ww_error *err) WW_MUST_USE;
/** What one matrix says, into found: a job of per_tensor.h, payload is the ww_whitening.
 */
enum ww_err ww_whiteness_visit(void *payload, struct ww_per_tensor *crew, unsigned thread,
                               uint32_t tensor, struct ww_error *err) WW_MUST_USE;
/** Sums over the matrices that have a size, in their order. */
void ww_whiteness_conclude(const struct ww_whitening *w, const uint64_t *sizes,
                           struct ww_whiteness *out);

/** x times weights; returns its squares. */
double ww_whiteness_times(double *x, const double *weight, size_t n);
double ww_whiteness_product(const double *x, const double *y, size_t n);
/** x less its part along k orthonormal rows. */
void ww_whiteness_take_off(const double *taken, unsigned k, size_t n, double *x);

#endif
