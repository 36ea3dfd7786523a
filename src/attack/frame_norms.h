/* SPDX-License-Identifier: Apache-2.0 */
/* The frame of a residual stream where its tables do not tell it, as where their words
 * are in another order. */
#ifndef WW_ATTACK_FRAME_NORMS_H
#define WW_ATTACK_FRAME_NORMS_H

#include "attack/pair.h"
#include "attack/pair_rows.h"

/** Pairs the indices of the stream by the norms of the gates' columns and by what gains
 *  and biases on the stream have at each, which neither an order of words, heads or
 *  neurons changes nor a sign. Then the rows of one gate are paired by their sizes, and
 *  cosines are those of its columns, with signs. out->n is 0, and WW_OK, for models
 *  without gates; strangers have cosines near 0. */
enum ww_err ww_frame_by_norms(const struct ww_pair *pair,
                              const struct ww_residual *stream, struct ww_matching *out,
                              struct ww_error *err) WW_MUST_USE;

#endif
