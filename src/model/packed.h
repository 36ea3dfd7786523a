/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Quantised weights, by what is stored. Numbers that are packed, or that a scale beside
 * them makes weights of, are no weights by themselves: averages, differences and moves of
 * them mean nothing.
 */
#ifndef WW_MODEL_PACKED_H
#define WW_MODEL_PACKED_H

#include "weightward/model.h"

struct ww_packed {
    uint32_t tensor;  /* of the model, WW_NONE: no weight is packed */
    const char *what; /* the layout, by the program that writes it */
};

/** The first tensor that holds packed weights, of four bits or fewer for the most part;
 *  eight-bit weights, one to an element, are none. WW_E_NOMEM. */
enum ww_err ww_model_packed(const struct ww_model *model, struct ww_packed *out,
                            struct ww_error *err) WW_MUST_USE;

/** Are all weights what their elements say? name is for the error text.
 *  WW_E_QUANTISED where config.json or a tensor tells otherwise, WW_E_NOMEM. */
enum ww_err ww_model_plain(const struct ww_model *model, const char *name,
                           struct ww_error *err) WW_MUST_USE;

/** The same by the tensors alone: a config that speaks of quantising, where no tensor is,
 *  was left behind by what made floats of them. */
enum ww_err ww_model_floats(const struct ww_model *model, const char *name,
                            struct ww_error *err) WW_MUST_USE;

#endif
