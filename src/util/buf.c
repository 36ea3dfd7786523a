/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Growth by doubling, capped. The cap is checked before the memory is asked for, so a
 * hostile length costs an error and not an allocation.
 */
#include "util/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "util/alloc.h"
#include "util/fail.h"
#include "util/num.h"

#define FIRST_BYTES 64

void ww_buf_init(struct ww_buf *buf, size_t max)
{
    memset(buf, 0, sizeof(*buf));
    buf->max = max;
}

void ww_buf_release(struct ww_buf *buf)
{
    if (buf) {
        ww_free(buf->data);
        ww_buf_init(buf, buf->max);
    }
}

void ww_buf_clear(struct ww_buf *buf)
{
    buf->len = 0;
    if (buf->data) {
        buf->data[0] = 0;
    }
}

enum ww_err ww_buf_reserve(struct ww_buf *buf, size_t extra, struct ww_error *err)
{
    if (buf->len > buf->max || extra > buf->max - buf->len || buf->max == SIZE_MAX) {
        return WW_FAIL(err, WW_E_LIMIT,
                       "a text of %zu bytes would grow by %zu beyond its limit of %zu",
                       buf->len, extra, buf->max);
    }
    size_t need = buf->len + extra + 1;
    if (need <= buf->capacity) {
        return WW_OK;
    }
    size_t capacity = buf->capacity > buf->max / 2 ? buf->max + 1 : 2 * buf->capacity;
    if (capacity < FIRST_BYTES) {
        capacity = FIRST_BYTES;
    }
    if (capacity < need) {
        capacity = need;
    }
    uint8_t *data = ww_realloc_array(buf->data, capacity, 1);
    if (!data) {
        return WW_FAIL_MEMORY(err, "%zu bytes", capacity);
    }
    data[buf->len] = 0;
    buf->data = data;
    buf->capacity = capacity;
    return WW_OK;
}

enum ww_err ww_buf_add(struct ww_buf *buf, const void *bytes, size_t len,
                       struct ww_error *err)
{
    enum ww_err rc = ww_buf_reserve(buf, len, err);
    if (rc) {
        return rc;
    }
    if (len) {
        memcpy(buf->data + buf->len, bytes, len);
    }
    buf->len += len;
    buf->data[buf->len] = 0;
    return WW_OK;
}

enum ww_err ww_buf_add_str(struct ww_buf *buf, const char *s, struct ww_error *err)
{
    return ww_buf_add(buf, s, strlen(s), err);
}

enum ww_err ww_buf_addf(struct ww_buf *buf, struct ww_error *err, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    if (n < 0) {
        return WW_FAIL(err, WW_E_INTERNAL, "text cannot be formatted");
    }
    enum ww_err rc = ww_buf_reserve(buf, (size_t)n, err);
    if (rc) {
        return rc;
    }
    va_start(args, fmt);
    vsnprintf((char *)buf->data + buf->len, (size_t)n + 1, fmt, args);
    va_end(args);
    buf->len += (size_t)n;
    return WW_OK;
}

enum ww_err ww_buf_add_u32le(struct ww_buf *buf, uint32_t v, struct ww_error *err)
{
    uint8_t bytes[4];
    ww_put_u32le(bytes, v);
    return ww_buf_add(buf, bytes, sizeof(bytes), err);
}

enum ww_err ww_buf_add_u64le(struct ww_buf *buf, uint64_t v, struct ww_error *err)
{
    uint8_t bytes[8];
    ww_put_u64le(bytes, v);
    return ww_buf_add(buf, bytes, sizeof(bytes), err);
}

const char *ww_buf_cstr(const struct ww_buf *buf)
{
    return buf->data ? (const char *)buf->data : "";
}

uint8_t *ww_buf_take(struct ww_buf *buf, size_t *len)
{
    uint8_t *data = buf->data;
    if (len) {
        *len = buf->len;
    }
    ww_buf_init(buf, buf->max);
    return data;
}
