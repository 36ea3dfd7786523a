/* SPDX-License-Identifier: Apache-2.0 */
/* One weight in two models, and how it differs; read in ranges, in float32. */
#ifndef WW_MERGE_EXTRACT_PAIR_H
#define WW_MERGE_EXTRACT_PAIR_H

#include "weightward/model.h"

#define WW_PAIR_BLOCK (UINT64_C(1) << 20) /* elements that are read at once */

struct ww_pair {
    const struct ww_model *base;
    const struct ww_model *model;
    uint32_t t;     /* of base */
    uint32_t other; /* of model */
};

/** The same name and shape, and both plain floats or stored alike. WW_E_TENSOR,
 *  WW_E_SHAPE, WW_E_QUANTISED, WW_E_LIMIT. */
enum ww_err ww_pair_open(const struct ww_model *base, const struct ww_model *model,
                         uint32_t t, struct ww_pair *out,
                         struct ww_error *err) WW_MUST_USE;
/** The model's less the base's. */
enum ww_err ww_pair_difference(const struct ww_pair *pair, uint64_t first, uint64_t n,
                               float *out, struct ww_error *err) WW_MUST_USE;
/** Of a difference, or more of it: *changed becomes true where some element differs, and
 *  *norm grows by the squared norm. */
void ww_pair_measure(const float *difference, uint64_t n, bool *changed, double *norm);
/** *changed: some element differs; *norm: the difference's squared norm, 0 of other than
 *  floats. */
enum ww_err ww_pair_compare(const struct ww_pair *pair, bool *changed, double *norm,
                            struct ww_error *err) WW_MUST_USE;

#endif
