/* SPDX-License-Identifier: Apache-2.0 */
/**
 * A suspect beside a draw. Masks by chance (DARE, DELLA) give no other program's bits,
 * but masks drawn anew have the same distribution: shares in a sum, how many elements
 * left the base and how long they are, and how far elements moved must be the same but
 * for chance. Both were rounded to one dtype, so what rounding does to a share cancels.
 */
#ifndef WW_LINEAGE_DRAWN_H
#define WW_LINEAGE_DRAWN_H

#include "merge/plan.h"
#include "merge/predict.h"

#define WW_DRAWN_SOURCES 16 /* shares of more are not compared */

enum ww_drawn_side { WW_DRAWN_SUSPECT, WW_DRAWN_ANEW, WW_DRAWN_SIDES };

/** Sums over the elements of one tensor, or of several; x_i are the sources' differences
 *  from the base, y those of suspect and draw. */
struct ww_drawn {
    uint32_t n;                     /* sources; 0: their sums are not kept */
    double *gram;                   /* [n][n] x_i x_j, own; the others lie behind it */
    double *noise;                  /* [n][n] x_i x_j (y_suspect - y_anew)^2 */
    double *apart;                  /* [n] x_i (y_suspect - y_anew) */
    double *anew;                   /* [n] x_i y_anew */
    double *length;                 /* [n] |x_i| */
    double *left[WW_DRAWN_SIDES];   /* [n] |x_i| where y is not 0 */
    double *energy[WW_DRAWN_SIDES]; /* [n] x_i^2 y^2 */
    double *spread;                 /* [n] x_i^4 (y_suspect^2 - y_anew^2)^2 */
    double moved;                   /* elements where an input is not the base's, */
    double kept[WW_DRAWN_SIDES];    /* of those: y is not 0 */
    double still;                   /* elements where all are the base's, */
    double strayed;                 /* of those: the suspect's is not */
};

/** All sums 0. Release it in every case. WW_E_NOMEM. */
enum ww_err ww_drawn_init(struct ww_drawn *d, uint32_t n_sources,
                          struct ww_error *err) WW_MUST_USE;
void ww_drawn_release(struct ww_drawn *d);

/** n elements of one tensor more: suspect and anew in dtype, base and x[0 .. d->n) as
 *  numbers, x one behind another x_row apart. moved: whether not all inputs are equal. */
void ww_drawn_add(struct ww_drawn *d, enum ww_dtype dtype, const void *suspect,
                  const void *anew, const float *base, const float *x, size_t x_row,
                  const uint8_t *moved, size_t n);

/** How the suspect differs from the draw by more than chance and what programs differ by,
 *  in one sentence, own; NULL: it does not, or there is too little to tell. drawn is
 * [plan->n_tensors]; recipe has the names. WW_E_NOMEM. */
enum ww_err ww_drawn_judge(const struct ww_drawn *drawn, const struct ww_merge_plan *plan,
                           const struct ww_recipe *recipe, char **out,
                           struct ww_error *err) WW_MUST_USE;

#endif
