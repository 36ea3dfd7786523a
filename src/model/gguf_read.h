/* SPDX-License-Identifier: Apache-2.0 */
/* A header while it is read, from its first byte on. Internal to src/model. */
#ifndef WW_MODEL_GGUF_READ_H
#define WW_MODEL_GGUF_READ_H

#include "model/gguf.h"

struct ww_gguf_cursor {
    const uint8_t *bytes;
    uint64_t n;
    uint64_t at;
    uint64_t file_bytes;
    const char *file;
    char *names; /* names are copied here, NUL-terminated */
    uint64_t names_used;
    struct ww_gguf_header *out;
};

/** Are n more bytes there? WW_E_GGUF and, where the file has more, out->truncated. */
enum ww_err ww_gguf_need(struct ww_gguf_cursor *c, uint64_t n,
                         struct ww_error *err) WW_MUST_USE;
/** The next number. */
enum ww_err ww_gguf_take_u32(struct ww_gguf_cursor *c, uint32_t *out,
                             struct ww_error *err) WW_MUST_USE;
enum ww_err ww_gguf_take_u64(struct ww_gguf_cursor *c, uint64_t *out,
                             struct ww_error *err) WW_MUST_USE;
/** The name of a key or a tensor: at least one byte, text without control characters. */
enum ww_err ww_gguf_take_name(struct ww_gguf_cursor *c, const char *what,
                              const char **out, struct ww_error *err) WW_MUST_USE;

/** All keys into out->keys, which has room, their values passed over; then the alignment
 *  that one of them may state. */
enum ww_err ww_gguf_read_keys(struct ww_gguf_cursor *c, struct ww_error *err) WW_MUST_USE;
enum ww_err ww_gguf_read_alignment(struct ww_gguf_cursor *c,
                                   struct ww_error *err) WW_MUST_USE;

#endif
