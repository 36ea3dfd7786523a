/* SPDX-License-Identifier: Apache-2.0 */
/* What gguf.h says of a file, in the other direction; only what is written here. */
#include "model/gguf_write.h"

#include <string.h>

#include "util/fail.h"

#define VERSION 3
#define TYPE_U32 4
#define TYPE_F32 6
#define TYPE_STRING 8
#define TENSOR_F32 0

static enum ww_err put_text(struct ww_gguf_writer *w, const char *text,
                            struct ww_error *err)
{
    enum ww_err rc = ww_buf_add_u64le(w->out, strlen(text), err);

    return rc ? rc : ww_buf_add(w->out, text, strlen(text), err);
}

static enum ww_err put_key(struct ww_gguf_writer *w, const char *key, uint32_t type,
                           struct ww_error *err)
{
    enum ww_err rc = put_text(w, key, err);

    WW_INVARIANT(w->n_keys > 0);
    w->n_keys--;
    return rc ? rc : ww_buf_add_u32le(w->out, type, err);
}

enum ww_err ww_gguf_begin(struct ww_gguf_writer *w, struct ww_buf *out,
                          uint64_t n_tensors, uint64_t n_keys, struct ww_error *err)
{
    enum ww_err rc = ww_buf_add(out, "GGUF", 4, err);

    *w = (struct ww_gguf_writer){out, n_keys};
    if (!rc) {
        rc = ww_buf_add_u32le(out, VERSION, err);
    }
    if (!rc) {
        rc = ww_buf_add_u64le(out, n_tensors, err);
    }
    return rc ? rc : ww_buf_add_u64le(out, n_keys, err);
}

enum ww_err ww_gguf_put_string(struct ww_gguf_writer *w, const char *key,
                               const char *value, struct ww_error *err)
{
    enum ww_err rc = put_key(w, key, TYPE_STRING, err);

    return rc ? rc : put_text(w, value, err);
}

enum ww_err ww_gguf_put_u32(struct ww_gguf_writer *w, const char *key, uint32_t value,
                            struct ww_error *err)
{
    enum ww_err rc = put_key(w, key, TYPE_U32, err);

    return rc ? rc : ww_buf_add_u32le(w->out, value, err);
}

enum ww_err ww_gguf_put_f32(struct ww_gguf_writer *w, const char *key, float value,
                            struct ww_error *err)
{
    uint32_t bits = 0;
    enum ww_err rc = put_key(w, key, TYPE_F32, err);

    memcpy(&bits, &value, sizeof(bits));
    return rc ? rc : ww_buf_add_u32le(w->out, bits, err);
}

enum ww_err ww_gguf_put_f32_matrix(struct ww_gguf_writer *w, const char *name,
                                   uint64_t rows, uint64_t cols, uint64_t offset,
                                   struct ww_error *err)
{
    enum ww_err rc = put_text(w, name, err);

    if (!rc) {
        rc = ww_buf_add_u32le(w->out, 2, err);
    }
    if (!rc) {
        rc = ww_buf_add_u64le(w->out, cols, err);
    }
    if (!rc) {
        rc = ww_buf_add_u64le(w->out, rows, err);
    }
    if (!rc) {
        rc = ww_buf_add_u32le(w->out, TENSOR_F32, err);
    }
    return rc ? rc : ww_buf_add_u64le(w->out, offset, err);
}

enum ww_err ww_gguf_end(struct ww_gguf_writer *w, struct ww_error *err)
{
    static const uint8_t zeros[WW_GGUF_ALIGNMENT];
    const size_t over = w->out->len % WW_GGUF_ALIGNMENT;

    WW_INVARIANT(w->n_keys == 0);
    return over ? ww_buf_add(w->out, zeros, WW_GGUF_ALIGNMENT - over, err) : WW_OK;
}
