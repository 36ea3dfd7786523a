/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Sums of products of task vectors, one set for each size of a rounding step.
 *
 * B and its descendants lie on the grid of their dtype, so that a small task vector is a
 * few steps long and a blend of it is rounded to one side: plain least squares reads a
 * share of 0.6 as 0.86. Elements whose task vectors are at least eight steps long do not
 * have that bias, and a set per step lets the fit weigh them after the reading.
 */
#ifndef WW_LINEAGE_MOMENTS_H
#define WW_LINEAGE_MOMENTS_H

#include "weightward/lineage.h"
#include "weightward/model.h"

#define WW_MOMENTS_BINS 256
#define WW_MOMENTS_BIN_BIAS 170 /* bin = exponent of the step + bias */
#define WW_MOMENTS_STEPS 8      /* least length of a task vector, in steps */

/** Z = sum z z^T with z = (y, x_1 .. x_k), row-major [k + 1][k + 1], full. */
struct ww_moments_bin {
    uint64_t n;
    uint64_t coarse; /* elements that blocks of the suspect rounded, not the grid */
    double steps;    /* sum of the squared steps */
    double *z;
    double *q;    /* sum of x_i^4 */
    double *base; /* [k + 2], with has_steps: sums of base times y, x_1 .. x_k and base */
};

struct ww_moments {
    unsigned k;
    uint64_t pruned; /* elements that were left out as such */
    struct ww_moments_bin *bins[WW_MOMENTS_BINS]; /* NULL where nothing fell */
};

struct ww_moments *ww_moments_new(unsigned k) WW_MUST_USE;
void ww_moments_free(struct ww_moments *moments);

/** into += times x from. WW_E_NOMEM. */
enum ww_err ww_moments_add(struct ww_moments *into, const struct ww_moments *from,
                           double times, struct ww_error *err) WW_MUST_USE;

/** Room for the elements of one tile, of one thread. */
#define WW_MOMENTS_TILE 32576
struct ww_moments_tile {
    double *columns; /* [k + 2][TILE]: suspect, base, sources; becomes y, base, x_i */
    double *sorted;  /* [k + 2][TILE] */
    double *steps;   /* [TILE], with has_steps: of blocks that the suspect was rounded in,
                        0 where the grid is all; becomes what was rounded by, negative
                        where that is the grid */
    bool has_steps;
    double
        *low; /* [TILE] each, with has_cells: between which numbers the suspect's were */
    double *high; /* before they were rounded in blocks */
    bool has_cells;
    const uint8_t **stored; /* [k + 2], with is_stored: elements in BF16, and columns hold
                               nothing */
    bool is_stored;
    const bool *decides; /* [k]: whose task vectors and values decide which elements are
                            used and in which bin; NULL: all, and so after init */
    unsigned beside;  /* sources behind the k of the sums, which are not summed but decide
                         like these; 0 after init */
    uint8_t *bin;     /* [TILE + 8], 0: not used; becomes the bins of the used ones */
    uint32_t *picked; /* [TILE]: elements that are used */
    uint32_t *place;  /* [TILE]: where each of them goes, by bin */
    uint32_t *order;  /* [TILE]: the same by bin, unless is_stored */
    int64_t *moved;   /* [TILE], for who visits */
};
enum ww_err ww_moments_tile_init(struct ww_moments_tile *tile, unsigned k,
                                 struct ww_error *err) WW_MUST_USE;
void ww_moments_tile_release(struct ww_moments_tile *tile);

/** Add n elements that lie in the tile, in the order they have; dtype is the
 * grid that weights were on. A weight that is zero in the suspect and not in the base was
 * pruned and says nothing; with has_steps zeros are values like others. */
enum ww_err ww_moments_accumulate(struct ww_moments *moments,
                                  struct ww_moments_tile *tile, size_t n,
                                  enum ww_dtype dtype, struct ww_error *err) WW_MUST_USE;

static inline bool ww_moments_pruned(double suspect, double base, bool has_steps)
{
    return suspect == 0 && base != 0 && !has_steps;
}

/** Exponent of the rounding step at v. */
int ww_moments_step(double v, enum ww_dtype dtype);

#endif
