/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Answers against the column space of a head (Carlini et al. 2024, 2403.06634; Finlayson
 * et al. 2024, 2403.09539). A constant for each answer is free, since log-probabilities
 * have lost it: so answers lose their mean over tokens, and so do the columns of a head.
 *
 * Matrices are row-major; v tokens, d columns of a head, n answers.
 */
#ifndef WW_LINEAGE_LOGITS_IMAGE_H
#define WW_LINEAGE_LOGITS_IMAGE_H

#include <stddef.h>
#include <stdint.h>

#include "weightward/error.h"

/** Take each row's mean out of it. */
void ww_image_centre_rows(double *m, size_t n, size_t v);
/** Take each column's mean out of it, then an orthonormal basis in its place. r, [d][d],
 * may be NULL: the factor of m = q r. */
enum ww_err ww_image_basis(double *m, size_t v, size_t d, double *r,
                           struct ww_error *err) WW_MUST_USE;

/** square[i]: squared length of what answer i has outside of the basis. coefficients, [n]
 *  [d], may be NULL. */
enum ww_err ww_image_outside(const double *basis, size_t v, size_t d,
                             const double *answers, size_t n, double *square,
                             double *coefficients, struct ww_error *err) WW_MUST_USE;

/** Share of draws in which answers whose tokens change places, all in the same way, are
 *  as near to the basis as they are: (1 + those) / (1 + draws). */
#define WW_IMAGE_DRAWS 99
enum ww_err ww_image_p_labels(const double *basis, size_t v, size_t d,
                              const double *answers, size_t n, uint64_t seed, double *p,
                              struct ww_error *err) WW_MUST_USE;

/** What the rank of the answers says. */
struct ww_image_width {
    size_t width;    /* 0: no step between answers and their noise */
    size_t at_least; /* singular values above 1e-6 of the largest */
    double gap;      /* of neighbours at the width */
};
/** The least step that counts. */
#define WW_IMAGE_GAP 3.0
enum ww_err ww_image_rank(const double *answers, size_t n, size_t v,
                          struct ww_image_width *out, struct ww_error *err) WW_MUST_USE;

#endif
