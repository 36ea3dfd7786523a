/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Spectra of heads: the leading singular values of O_h V_g in some attentions. What locks
 * and permutations do inside of a head, to the order of heads, and to the order and signs
 * of the residual stream leaves them as they are, so they place a suspect that shares no
 * weight with its relatives. To first order in the task vectors they follow a blend like
 * weights do: s(B + sum a_i x_i) = s(B) + sum a_i (s(M_i) - s(B)).
 */
#ifndef WW_LINEAGE_CATALOGUE_SPECTRA_H
#define WW_LINEAGE_CATALOGUE_SPECTRA_H

#include "weightward/model.h"

#define WW_SPECTRA_LAYERS 8 /* attentions at most, evenly spread */
#define WW_SPECTRA_VALUES 4 /* of each head */
#define WW_SPECTRA_MOST 65536

/** Values of a model, heads of an attention by their first value, largest first; *out
 *  stays NULL where no layout is known or no head may be mixed. *chance has as many: what
 *  heads of the same lengths would have if their weights were drawn. Leading values of
 *  random matrices are hardly random, so two models that are near these are near each
 *  other, and no relatives for that. */
enum ww_err ww_spectra_make(const struct ww_model *model, float **out, float **chance,
                            size_t *n, struct ww_error *err) WW_MUST_USE;

/** |a - b| / |b|; infinite for a b of zeros, which is like nothing. */
double ww_spectra_distance(const float *a, const float *b, size_t n);

/** Take what merely grew or shrank all values alike out of the difference of x from the
 *  root: siblings have that in common. */
void ww_spectra_level(float *x, const float *root, size_t n);

#endif
