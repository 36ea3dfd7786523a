/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keys of a header and their values, which are passed over when it is read and looked at
 * when somebody asks.
 */
#include <inttypes.h>
#include <string.h>

#include "model/gguf_read.h"
#include "util/fail.h"
#include "util/num.h"
#include "util/str.h"

#define DEFAULT_ALIGNMENT 32
#define MAX_ALIGNMENT (UINT64_C(1) << 30)

enum value_type {
    V_U8,
    V_I8,
    V_U16,
    V_I16,
    V_U32,
    V_I32,
    V_F32,
    V_BOOL,
    V_STRING,
    V_ARRAY,
    V_U64,
    V_I64,
    V_F64,
    V_COUNT
};
static const uint8_t value_bytes[V_COUNT] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};

static enum ww_err too_short(struct ww_gguf_cursor *c, struct ww_error *err)
{
    c->out->truncated = c->n < c->file_bytes;
    return WW_FAIL(err, WW_E_GGUF,
                   "'%s' is no GGUF file: it ends at byte %" PRIu64
                   " in the middle of its header",
                   c->file, c->n);
}

enum ww_err ww_gguf_need(struct ww_gguf_cursor *c, uint64_t n, struct ww_error *err)
{
    return n <= c->n - c->at ? WW_OK : too_short(c, err);
}

enum ww_err ww_gguf_take_u32(struct ww_gguf_cursor *c, uint32_t *out,
                             struct ww_error *err)
{
    const enum ww_err rc = ww_gguf_need(c, 4, err);

    if (!rc) {
        *out = ww_get_u32le(c->bytes + c->at);
        c->at += 4;
    }
    return rc;
}

enum ww_err ww_gguf_take_u64(struct ww_gguf_cursor *c, uint64_t *out,
                             struct ww_error *err)
{
    const enum ww_err rc = ww_gguf_need(c, 8, err);

    if (!rc) {
        *out = ww_get_u64le(c->bytes + c->at);
        c->at += 8;
    }
    return rc;
}

enum ww_err ww_gguf_take_name(struct ww_gguf_cursor *c, const char *what,
                              const char **out, struct ww_error *err)
{
    uint64_t len = 0;
    enum ww_err rc = ww_gguf_take_u64(c, &len, err);

    if (!rc && (len == 0 || len > WW_GGUF_MAX_NAME)) {
        return WW_FAIL(err, WW_E_GGUF,
                       "'%s': the name of a %s has %" PRIu64
                       " bytes, expected 1 to %d; the file is damaged",
                       c->file, what, len, WW_GGUF_MAX_NAME);
    }
    if (!rc) {
        rc = ww_gguf_need(c, len, err);
    }
    if (!rc && !ww_text_ok(c->bytes + c->at, (size_t)len)) {
        return WW_FAIL(err, WW_E_GGUF, "'%s': the name of a %s is no clean UTF-8 text",
                       c->file, what);
    }
    if (!rc) {
        char *to = c->names + c->names_used;
        memcpy(to, c->bytes + c->at, (size_t)len);
        to[len] = '\0';
        c->names_used += len + 1;
        c->at += len;
        *out = to;
    }
    return rc;
}

static enum ww_err skip_value(struct ww_gguf_cursor *c, uint32_t type, const char *key,
                              unsigned depth, struct ww_error *err);

static enum ww_err skip_array(struct ww_gguf_cursor *c, const char *key, unsigned depth,
                              struct ww_error *err)
{
    uint32_t type = 0;
    uint64_t n = 0;
    enum ww_err rc = ww_gguf_take_u32(c, &type, err);

    if (!rc) {
        rc = ww_gguf_take_u64(c, &n, err);
    }
    if (rc) {
        return rc;
    }
    if (depth >= WW_GGUF_MAX_NESTING) {
        return WW_FAIL(err, WW_E_GGUF, "'%s': key '%s' nests arrays deeper than %d",
                       c->file, key, WW_GGUF_MAX_NESTING);
    }
    if (type < V_COUNT && value_bytes[type]) {
        uint64_t bytes = 0;
        if (!ww_mul_u64(n, value_bytes[type], &bytes) || bytes > c->file_bytes) {
            return WW_FAIL(err, WW_E_GGUF,
                           "'%s': key '%s' claims an array of %" PRIu64
                           " elements, more than the file holds",
                           c->file, key, n);
        }
        rc = ww_gguf_need(c, bytes, err);
        c->at += rc ? 0 : bytes;
        return rc;
    }
    if (n > c->file_bytes / 8) {
        return WW_FAIL(err, WW_E_GGUF,
                       "'%s': key '%s' claims an array of %" PRIu64
                       " elements, more than the file holds",
                       c->file, key, n);
    }
    for (uint64_t i = 0; i < n && !rc; i++) {
        rc = skip_value(c, type, key, depth + 1, err);
    }
    return rc;
}

static enum ww_err skip_string(struct ww_gguf_cursor *c, const char *key,
                               struct ww_error *err)
{
    uint64_t len = 0;
    enum ww_err rc = ww_gguf_take_u64(c, &len, err);

    if (!rc && len > c->file_bytes) {
        return WW_FAIL(err, WW_E_GGUF,
                       "'%s': key '%s' claims a text of %" PRIu64
                       " bytes, more than the file holds",
                       c->file, key, len);
    }
    if (!rc) {
        rc = ww_gguf_need(c, len, err);
    }
    c->at += rc ? 0 : len;
    return rc;
}

static enum ww_err skip_value(struct ww_gguf_cursor *c, uint32_t type, const char *key,
                              unsigned depth, struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    if (type >= V_COUNT) {
        return WW_FAIL(err, WW_E_GGUF,
                       "'%s': key '%s' has a value of type %" PRIu32 ", expected 0 to %d",
                       c->file, key, type, V_COUNT - 1);
    }
    if (type == V_STRING) {
        return skip_string(c, key, err);
    }
    if (type == V_ARRAY) {
        return skip_array(c, key, depth, err);
    }
    rc = ww_gguf_need(c, value_bytes[type], err);
    if (!rc && type == V_BOOL && c->bytes[c->at] > 1) {
        return WW_FAIL(err, WW_E_GGUF, "'%s': key '%s' is neither true nor false",
                       c->file, key);
    }
    c->at += rc ? 0 : value_bytes[type];
    return rc;
}

enum ww_err ww_gguf_read_keys(struct ww_gguf_cursor *c, struct ww_error *err)
{
    struct ww_gguf_header *h = c->out;
    uint32_t twice = WW_NONE;
    enum ww_err rc = WW_OK;

    for (uint32_t i = 0; i < h->n_keys && !rc; i++) {
        struct ww_gguf_key *key = &h->keys[i];
        rc = ww_gguf_take_name(c, "key", &key->name, err);
        if (!rc) {
            rc = ww_gguf_take_u32(c, &key->type, err);
        }
        if (!rc) {
            key->at = c->at;
            rc = skip_value(c, key->type, key->name, 0, err);
        }
    }
    if (!rc) {
        rc =
            ww_names_build(&h->by_key, h->keys, sizeof(*h->keys), h->n_keys, &twice, err);
    }
    if (!rc && twice != WW_NONE) {
        rc = WW_FAIL(err, WW_E_GGUF,
                     "'%s': key '%s' is there twice; readers would disagree about its "
                     "value",
                     c->file, h->keys[twice].name);
    }
    return rc;
}

enum ww_err ww_gguf_read_alignment(struct ww_gguf_cursor *c, struct ww_error *err)
{
    struct ww_gguf_header *h = c->out;
    const uint32_t at = ww_names_find(&h->by_key, "general.alignment");

    h->alignment = DEFAULT_ALIGNMENT;
    if (at == WW_NONE) {
        return WW_OK;
    }
    if (h->keys[at].type == V_U32) {
        h->alignment = ww_get_u32le(c->bytes + h->keys[at].at);
    }
    if (h->keys[at].type != V_U32 || h->alignment == 0 || h->alignment > MAX_ALIGNMENT ||
        h->alignment & (h->alignment - 1)) {
        return WW_FAIL(err, WW_E_GGUF,
                       "'%s': general.alignment is no power of two of type u32", c->file);
    }
    return WW_OK;
}

bool ww_gguf_get_u64(const struct ww_gguf_header *header, const char *key, uint64_t *out)
{
    const uint32_t k = ww_names_find(&header->by_key, key);
    uint8_t value[8] = {0};

    if (k == WW_NONE) {
        return false;
    }
    const uint32_t type = header->keys[k].type;
    if (type > V_I32 && type != V_U64 && type != V_I64) {
        return false;
    }
    memcpy(value, header->bytes + header->keys[k].at, value_bytes[type]);
    *out = ww_get_u64le(value);
    return !(type % 2 == 1 && type < V_F32 && value[value_bytes[type] - 1] & 0x80) &&
           !(type == V_I64 && value[7] & 0x80);
}

bool ww_gguf_is(const struct ww_gguf_header *header, const char *key, const char *text)
{
    const uint32_t k = ww_names_find(&header->by_key, key);
    const size_t len = strlen(text);

    return k != WW_NONE && header->keys[k].type == V_STRING &&
           ww_get_u64le(header->bytes + header->keys[k].at) == len &&
           memcmp(header->bytes + header->keys[k].at + 8, text, len) == 0;
}
