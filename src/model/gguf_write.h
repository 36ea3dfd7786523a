/* SPDX-License-Identifier: Apache-2.0 */
/* The head of a GGUF file that is about to be written, version 3. */
#ifndef WW_MODEL_GGUF_WRITE_H
#define WW_MODEL_GGUF_WRITE_H

#include "model/gguf.h"
#include "util/buf.h"

struct ww_gguf_writer {
    struct ww_buf *out; /* empty, the caller's */
    uint64_t n_keys;
};
#define WW_GGUF_ALIGNMENT 32

/** n_tensors follow; n_keys must be put. */
enum ww_err ww_gguf_begin(struct ww_gguf_writer *w, struct ww_buf *out,
                          uint64_t n_tensors, uint64_t n_keys,
                          struct ww_error *err) WW_MUST_USE;
enum ww_err ww_gguf_put_string(struct ww_gguf_writer *w, const char *key,
                               const char *value, struct ww_error *err) WW_MUST_USE;
enum ww_err ww_gguf_put_f32(struct ww_gguf_writer *w, const char *key, float value,
                            struct ww_error *err) WW_MUST_USE;
enum ww_err ww_gguf_put_u32(struct ww_gguf_writer *w, const char *key, uint32_t value,
                            struct ww_error *err) WW_MUST_USE;
/** A matrix; offset: from the first byte of the data, a multiple of the alignment. */
enum ww_err ww_gguf_put_f32_matrix(struct ww_gguf_writer *w, const char *name,
                                   uint64_t rows, uint64_t cols, uint64_t offset,
                                   struct ww_error *err) WW_MUST_USE;
/** Zeros up to where the data begins. */
enum ww_err ww_gguf_end(struct ww_gguf_writer *w, struct ww_error *err) WW_MUST_USE;

#endif
