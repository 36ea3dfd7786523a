/* SPDX-License-Identifier: Apache-2.0 */
/* A GGUF file under the names, the shapes and the row order of a transformers model. */
#ifndef WW_MODEL_GGUF_SHOWN_H
#define WW_MODEL_GGUF_SHOWN_H

#include "model/gguf_names.h"
#include "weightward/model.h"

struct ww_gguf_shown {
    struct ww_gguf_file file;
    struct ww_model *model;       /* without files; owned, may be taken (then NULL) */
    struct ww_gguf_place *places; /* by tensor of the model */
    uint32_t *of;                 /* the file's tensor */
    uint32_t n;
    uint32_t n_unknown; /* tensors of the file that the model has not */
};

/** Tensors are F32 but for those that the file has as BF16 or F16. *out is to be released
 *  after a failure too. */
enum ww_err ww_gguf_show(const char *path, struct ww_gguf_shown *out,
                         struct ww_error *err) WW_MUST_USE;
void ww_gguf_shown_release(struct ww_gguf_shown *shown);

/** Where the file has an element of a tensor of the model: an element of the file's
 *  tensor, in the same column. */
uint64_t ww_gguf_shown_at(const struct ww_gguf_shown *shown, uint32_t tensor,
                          uint64_t element);

/** One element, by reading the block that holds it. From any thread. */
enum ww_err ww_gguf_shown_value(const struct ww_gguf_shown *shown, uint32_t tensor,
                                uint64_t element, float *out,
                                struct ww_error *err) WW_MUST_USE;

#endif
