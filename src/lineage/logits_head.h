/* SPDX-License-Identifier: Apache-2.0 */
/* The head of a model: the map from its last hidden state to logits. */
#ifndef WW_LINEAGE_LOGITS_HEAD_H
#define WW_LINEAGE_LOGITS_HEAD_H

#include "weightward/model.h"

struct ww_head_file {
    struct ww_model *model;
    uint32_t weight; /* tensor [rows, width] */
    uint32_t bias;   /* tensor [rows], or WW_NONE */
    uint64_t rows;   /* tokens, padding included */
    uint64_t width;  /* D */
    double softcap;  /* logits are softcap x tanh(raw / softcap); 0: raw */
    enum ww_dtype dtype;
};

/** Open a folder and find its head: by the layout of its architecture; where none is
 *  known, by usual names. WW_E_TENSOR without one. */
enum ww_err ww_head_open(const char *path, struct ww_head_file *out,
                         struct ww_error *err) WW_MUST_USE;
void ww_head_close(struct ww_head_file *head);

/** Rows of some tokens, with the bias as one more column when there is one: out is
 *  [n][ww_head_columns]. WW_E_SHAPE for a token that the head does not have;
 *  WW_E_NONFINITE. */
enum ww_err ww_head_rows(const struct ww_head_file *head, const uint32_t *ids, size_t n,
                         double *out, struct ww_error *err) WW_MUST_USE;
size_t ww_head_columns(const struct ww_head_file *head);

#endif
