/* SPDX-License-Identifier: Apache-2.0 */
/* A growing byte buffer that cannot be made without an upper limit. */
#ifndef WW_UTIL_BUF_H
#define WW_UTIL_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weightward/error.h"

struct ww_buf {
    uint8_t *data; /* always NUL-terminated behind len once anything was added */
    size_t len;
    size_t capacity;
    size_t max; /* adding beyond it fails with WW_E_LIMIT */
};

void ww_buf_init(struct ww_buf *buf, size_t max);
void ww_buf_release(struct ww_buf *buf);
void ww_buf_clear(struct ww_buf *buf);

enum ww_err ww_buf_reserve(struct ww_buf *buf, size_t extra,
                           struct ww_error *err) WW_MUST_USE;
enum ww_err ww_buf_add(struct ww_buf *buf, const void *bytes, size_t len,
                       struct ww_error *err) WW_MUST_USE;
enum ww_err ww_buf_add_str(struct ww_buf *buf, const char *s,
                           struct ww_error *err) WW_MUST_USE;
enum ww_err ww_buf_addf(struct ww_buf *buf, struct ww_error *err, const char *fmt,
                        ...) WW_MUST_USE WW_PRINTF(3, 4);
enum ww_err ww_buf_add_u32le(struct ww_buf *buf, uint32_t v,
                             struct ww_error *err) WW_MUST_USE;
enum ww_err ww_buf_add_u64le(struct ww_buf *buf, uint64_t v,
                             struct ww_error *err) WW_MUST_USE;

/** The contents as a C string ("" when empty); borrowed until the next change. */
const char *ww_buf_cstr(const struct ww_buf *buf);

/** Give the bytes away (free with ww_free); the buffer is empty afterwards. */
uint8_t *ww_buf_take(struct ww_buf *buf, size_t *len);

#endif
