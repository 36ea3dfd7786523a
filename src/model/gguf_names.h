/* SPDX-License-Identifier: Apache-2.0 */
/* What a GGUF file calls the tensors of a transformers model. */
#ifndef WW_MODEL_GGUF_NAMES_H
#define WW_MODEL_GGUF_NAMES_H

#include "model/gguf.h"

/** Where a tensor of a GGUF file belongs. */
struct ww_gguf_place {
    char *name;     /* transformers' name, owned; NULL: it has none (rope_freqs), or what
                       the converter did to it is not known or not undone */
    uint32_t heads; /* rows of each head were put from (half, pair) to (pair, half) order
                       by the converter; 0: rows are as they were */
};

/** WW_E_GGUF when the converter's row order is needed and the file does not give the
 * number of heads, or one that does not divide the rows. */
enum ww_err ww_gguf_place_of(const struct ww_gguf_header *header,
                             const struct ww_gguf_tensor *tensor, const char *file,
                             struct ww_gguf_place *out, struct ww_error *err) WW_MUST_USE;

/** The converter's name of an architecture by config.json's model_type, "mistral" being a
 *  "llama" too; NULL for those whose tensors the tables here do not name. */
const char *ww_gguf_architecture(const char *model_type);
/** Name in the file and row order of a transformers tensor; n_heads, n_kv_heads: of the
 *  model. *out is the caller's. WW_E_UNSUPPORTED without a name, WW_E_SHAPE when rows are
 *  no heads. */
enum ww_err ww_gguf_name_of(const char *architecture, const char *name, uint64_t n_rows,
                            uint64_t n_heads, uint64_t n_kv_heads, char **out,
                            struct ww_gguf_place *place,
                            struct ww_error *err) WW_MUST_USE;

/** The row in the file of a row of the transformers model. */
uint64_t ww_gguf_row(const struct ww_gguf_place *place, uint64_t n_rows, uint64_t row);

#endif
