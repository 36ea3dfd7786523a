/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Neurons of gated layers whose rows in front and columns behind were scaled against each
 * other, u' = u / f and w' = f w, which changes nothing of what the layer computes.
 *
 * The factor that fits the base best takes up that part of a task vector which such a
 * factor would make too. So factors and shares are solved in turns: f is the factor that
 * brings u' and w' nearest to those of base + sum s_i (source_i - base), and s are least
 * squares of the rows f u'. Everything follows from sums of one reading.
 */
#ifndef WW_LINEAGE_SCALED_H
#define WW_LINEAGE_SCALED_H

#include "lineage/disguise.h"

struct ww_scaled_mlp {
    uint32_t up;     /* tensor of the suspect: neurons are its rows [first, first + n) */
    uint32_t down;   /* neurons are its columns */
    uint32_t bias;   /* of up; WW_NONE: none */
    bool sign_moves; /* factors may be negative */
    uint64_t first;
    size_t n;
    size_t width;    /* of a row of up */
    uint64_t height; /* rows of down */
    double *factors; /* [n] to undo with: rows of up times, columns of down divided by;
                        NULL: none were found */
};

/** The suspect without its disguise so far, base, sources. */
struct ww_scaled_family {
    const struct ww_disguise *suspect;
    struct ww_model *const *models;
    unsigned n;
};

/** n elements of the suspect's tensor. bytes is room for n doubles, as steps. */
enum ww_err ww_scaled_values(const struct ww_disguise *suspect, uint32_t tensor,
                             uint64_t first, size_t n, uint8_t *bytes, double *steps,
                             double *out, struct ww_error *err) WW_MUST_USE;

/** Gives mlp its factors where some of its first neurons are scaled and factors bring the
 *  layer nearer to the base by half; it is left as it is else, and where a source has no
 *  such layer. Deterministic. WW_E_NONFINITE. */
enum ww_err ww_scaled_fit(const struct ww_scaled_family *family,
                          struct ww_scaled_mlp *mlp, struct ww_error *err) WW_MUST_USE;

#endif
