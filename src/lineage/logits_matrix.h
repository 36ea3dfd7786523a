/* SPDX-License-Identifier: Apache-2.0 */
/* Answers in a safetensors file, and what both readers of answers share. */
#ifndef WW_LINEAGE_LOGITS_MATRIX_H
#define WW_LINEAGE_LOGITS_MATRIX_H

#include "lineage/logits_read.h"

/** The matrix "logits" or "logprobs", [answers, tokens] of a plain float. */
enum ww_err ww_said_matrix(struct ww_said *a, const char *path,
                           struct ww_error *err) WW_MUST_USE;

/** Full answers have so many tokens: draw those that are kept. */
enum ww_err ww_said_vocab(struct ww_said *a, uint64_t vocab,
                          struct ww_error *err) WW_MUST_USE;
/** Room for one more answer. */
enum ww_err ww_said_room(struct ww_said *a, struct ww_error *err) WW_MUST_USE;
/** A logit, no mark of a masked token? */
enum ww_err ww_said_check(double value, uint64_t number,
                          struct ww_error *err) WW_MUST_USE;

#endif
