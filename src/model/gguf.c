/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every length is compared with what is left before anything is read or taken from the
 * heap, so a header can promise nothing that its bytes do not hold: readers of this
 * format have been broken by counts, string lengths, ranks, type numbers and products of
 * sizes that wrapped around.
 */
#include "model/gguf.h"

#include <inttypes.h>
#include <string.h>

#include "util/alloc.h"
#include "util/fail.h"
#include "util/num.h"
#include "util/str.h"

#define DEFAULT_ALIGNMENT 32
#define MAX_ALIGNMENT (UINT64_C(1) << 30)
#define LEAST_KEY 13    /* bytes of the shortest one: a length, a type, one byte */
#define LEAST_TENSOR 24 /* a length, a rank, a type, an offset */

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

static const struct {
    uint32_t number;
    enum ww_gguf_type type;
} type_numbers[] = {
#define TYPE_NUMBER(name, number, elements, bytes) {number, WW_GGUF_##name},
    WW_GGUF_TYPE_LIST(TYPE_NUMBER)
#undef TYPE_NUMBER
};

#define READ_TYPE(name, number, elements, bytes) " " #name
#define READ_TYPES WW_GGUF_TYPE_LIST(READ_TYPE)

struct cursor {
    const uint8_t *bytes;
    uint64_t n;
    uint64_t at;
    uint64_t file_bytes;
    const char *file;
    char *names; /* names are copied here, NUL-terminated */
    uint64_t names_used;
    struct ww_gguf_header *out;
};

static enum ww_err too_short(struct cursor *c, struct ww_error *err)
{
    c->out->truncated = c->n < c->file_bytes;
    return WW_FAIL(err, WW_E_GGUF,
                   "'%s' is no GGUF file: it ends at byte %" PRIu64
                   " in the middle of its header",
                   c->file, c->n);
}

static enum ww_err need(struct cursor *c, uint64_t n, struct ww_error *err)
{
    return n <= c->n - c->at ? WW_OK : too_short(c, err);
}

static enum ww_err get_u32(struct cursor *c, uint32_t *out, struct ww_error *err)
{
    const enum ww_err rc = need(c, 4, err);

    if (!rc) {
        *out = ww_get_u32le(c->bytes + c->at);
        c->at += 4;
    }
    return rc;
}

static enum ww_err get_u64(struct cursor *c, uint64_t *out, struct ww_error *err)
{
    const enum ww_err rc = need(c, 8, err);

    if (!rc) {
        *out = ww_get_u64le(c->bytes + c->at);
        c->at += 8;
    }
    return rc;
}

/* The name of a key or a tensor: at least one byte, text without control characters. */
static enum ww_err get_name(struct cursor *c, const char *what, const char **out,
                            struct ww_error *err)
{
    uint64_t len = 0;
    enum ww_err rc = get_u64(c, &len, err);

    if (!rc && (len == 0 || len > WW_GGUF_MAX_NAME)) {
        return WW_FAIL(err, WW_E_GGUF,
                       "'%s': the name of a %s has %" PRIu64
                       " bytes, expected 1 to %d; the file is damaged",
                       c->file, what, len, WW_GGUF_MAX_NAME);
    }
    if (!rc) {
        rc = need(c, len, err);
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

static enum ww_err skip_value(struct cursor *c, uint32_t type, const char *key,
                              unsigned depth, struct ww_error *err);

static enum ww_err skip_array(struct cursor *c, const char *key, unsigned depth,
                              struct ww_error *err)
{
    uint32_t type = 0;
    uint64_t n = 0;
    enum ww_err rc = get_u32(c, &type, err);

    if (!rc) {
        rc = get_u64(c, &n, err);
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
        rc = need(c, bytes, err);
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

static enum ww_err skip_string(struct cursor *c, const char *key, struct ww_error *err)
{
    uint64_t len = 0;
    enum ww_err rc = get_u64(c, &len, err);

    if (!rc && len > c->file_bytes) {
        return WW_FAIL(err, WW_E_GGUF,
                       "'%s': key '%s' claims a text of %" PRIu64
                       " bytes, more than the file holds",
                       c->file, key, len);
    }
    if (!rc) {
        rc = need(c, len, err);
    }
    c->at += rc ? 0 : len;
    return rc;
}

static enum ww_err skip_value(struct cursor *c, uint32_t type, const char *key,
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
    rc = need(c, value_bytes[type], err);
    if (!rc && type == V_BOOL && c->bytes[c->at] > 1) {
        return WW_FAIL(err, WW_E_GGUF, "'%s': key '%s' is neither true nor false",
                       c->file, key);
    }
    c->at += rc ? 0 : value_bytes[type];
    return rc;
}

static enum ww_err read_keys(struct cursor *c, struct ww_error *err)
{
    struct ww_gguf_header *h = c->out;
    uint32_t twice = WW_NONE;
    enum ww_err rc = WW_OK;

    for (uint32_t i = 0; i < h->n_keys && !rc; i++) {
        struct ww_gguf_key *key = &h->keys[i];
        rc = get_name(c, "key", &key->name, err);
        if (!rc) {
            rc = get_u32(c, &key->type, err);
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

static enum ww_err read_alignment(struct cursor *c, struct ww_error *err)
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

/* Types that other programs write, so that a refusal has their name. */
static const char *unread_name(uint32_t number)
{
    static const struct {
        uint32_t number;
        const char *name;
    } unread[] = {{9, " (Q8_1)"},    {15, " (Q8_K)"},    {16, " (IQ2_XXS)"},
                  {17, " (IQ2_XS)"}, {18, " (IQ3_XXS)"}, {19, " (IQ1_S)"},
                  {21, " (IQ3_S)"},  {22, " (IQ2_S)"},   {24, " (I8)"},
                  {25, " (I16)"},    {26, " (I32)"},     {27, " (I64)"},
                  {28, " (F64)"},    {29, " (IQ1_M)"},   {40, " (NVFP4)"},
                  {41, " (Q1_0)"},   {42, " (Q2_0)"}};

    for (size_t i = 0; i < WW_LEN(unread); i++) {
        if (unread[i].number == number) {
            return unread[i].name;
        }
    }
    return "";
}

static enum ww_err find_type(const struct cursor *c, uint32_t number,
                             struct ww_gguf_tensor *t, struct ww_error *err)
{
    for (size_t i = 0; i < WW_LEN(type_numbers); i++) {
        if (type_numbers[i].number == number) {
            t->type = type_numbers[i].type;
            return WW_OK;
        }
    }
    return WW_FAIL(err, WW_E_GGUF,
                   "'%s': tensor '%.160s' is of type %" PRIu32
                   "%s, which is not read; those that are:" READ_TYPES,
                   c->file, t->name, number, unread_name(number));
}

/* Sizes: no zero, no product beyond 2^62, whole blocks along the fastest one. */
static enum ww_err size_tensor(const struct cursor *c, struct ww_gguf_tensor *t,
                               struct ww_error *err)
{
    const uint64_t row = t->rank ? t->shape[t->rank - 1] : 1;
    uint64_t n = 1;
    bool ok = true;

    for (unsigned a = 0; a < t->rank; a++) {
        ok = ok && t->shape[a] > 0 && ww_mul_u64(n, t->shape[a], &n);
    }
    ok = ok && n <= UINT64_C(1) << 62 && row % ww_gguf_block_elements(t->type) == 0 &&
         ww_mul_u64(n / ww_gguf_block_elements(t->type), ww_gguf_block_bytes(t->type),
                    &t->n_bytes);
    if (!ok || t->n_bytes > c->file_bytes) {
        return WW_FAIL(err, WW_E_GGUF,
                       "'%s': the sizes of tensor '%.160s' are zero, too large or no "
                       "whole blocks of %s",
                       c->file, t->name, ww_gguf_type_name(t->type));
    }
    t->n_elements = n;
    return WW_OK;
}

static enum ww_err read_tensor(struct cursor *c, struct ww_gguf_tensor *t,
                               struct ww_error *err)
{
    uint32_t type = 0;
    uint32_t rank = 0;
    enum ww_err rc = get_name(c, "tensor", &t->name, err);

    if (!rc) {
        rc = get_u32(c, &rank, err);
    }
    if (!rc && rank > WW_GGUF_MAX_RANK) {
        rc = WW_FAIL(err, WW_E_GGUF,
                     "'%s': tensor '%.160s' has %" PRIu32
                     " dimensions, expected at most %d",
                     c->file, t->name, rank, WW_GGUF_MAX_RANK);
    }
    t->rank = rank;
    for (unsigned a = 0; a < t->rank && !rc; a++) {
        rc = get_u64(c, &t->shape[t->rank - 1 - a], err);
    }
    if (!rc) {
        rc = get_u32(c, &type, err);
    }
    if (!rc) {
        rc = get_u64(c, &t->offset, err);
    }
    if (!rc) {
        rc = find_type(c, type, t, err);
    }
    return rc ? rc : size_tensor(c, t, err);
}

static enum ww_err read_tensors(struct cursor *c, struct ww_error *err)
{
    struct ww_gguf_header *h = c->out;
    uint32_t twice = WW_NONE;
    enum ww_err rc = WW_OK;

    for (uint32_t i = 0; i < h->n_tensors && !rc; i++) {
        rc = read_tensor(c, &h->tensors[i], err);
    }
    if (!rc) {
        rc = ww_names_build(&h->by_name, h->tensors, sizeof(*h->tensors), h->n_tensors,
                            &twice, err);
    }
    if (!rc && twice != WW_NONE) {
        rc = WW_FAIL(err, WW_E_GGUF,
                     "'%s': tensor '%.160s' is there twice; readers would disagree about "
                     "it",
                     c->file, h->tensors[twice].name);
    }
    return rc;
}

/* Offsets become absolute. They must be what a writer that packs gives, so that no tensor
 * lies in another or beyond the end, and nothing is hidden in between. */
static enum ww_err place_tensors(struct cursor *c, struct ww_error *err)
{
    struct ww_gguf_header *h = c->out;
    const uint64_t start = ww_round_up(c->at, h->alignment);
    uint64_t at = 0;

    for (uint32_t i = 0; i < h->n_tensors; i++) {
        struct ww_gguf_tensor *t = &h->tensors[i];
        if (t->offset != at) {
            return WW_FAIL(err, WW_E_GGUF,
                           "'%s': tensor '%.160s' lies at %" PRIu64 ", expected %" PRIu64
                           " behind the one before it",
                           c->file, t->name, t->offset, at);
        }
        if (start > c->file_bytes || t->n_bytes > c->file_bytes - start ||
            at > c->file_bytes - start - t->n_bytes) {
            return WW_FAIL(err, WW_E_GGUF,
                           "'%s': tensor '%.160s' ends beyond the file; it was cut off",
                           c->file, t->name);
        }
        t->offset = start + at;
        at = ww_round_up(at + t->n_bytes, h->alignment);
    }
    if (c->file_bytes > start && c->file_bytes - start > at) {
        return WW_FAIL(err, WW_E_GGUF, "'%s': %" PRIu64 " bytes behind the last tensor",
                       c->file, c->file_bytes - start - at);
    }
    return WW_OK;
}

static enum ww_err read_counts(struct cursor *c, struct ww_error *err)
{
    uint32_t version = 0;
    uint64_t n_tensors = 0;
    uint64_t n_keys = 0;
    enum ww_err rc = need(c, 4, err);

    if (!rc && memcmp(c->bytes, "GGUF", 4) != 0) {
        return WW_FAIL(err, WW_E_GGUF,
                       "'%s' is no GGUF file: it does not begin with GGUF", c->file);
    }
    c->at += rc ? 0 : 4;
    if (!rc) {
        rc = get_u32(c, &version, err);
    }
    if (!rc && version != 2 && version != 3) {
        return WW_FAIL(err, WW_E_GGUF,
                       "'%s' is GGUF of version %" PRIu32 "%s, expected 2 or 3", c->file,
                       version, version & 0xffff ? "" : " (big-endian)");
    }
    if (!rc) {
        rc = get_u64(c, &n_tensors, err);
    }
    if (!rc) {
        rc = get_u64(c, &n_keys, err);
    }
    if (!rc && (n_keys > WW_GGUF_MAX_KEYS || n_tensors > WW_GGUF_MAX_TENSORS ||
                n_keys * LEAST_KEY + n_tensors * LEAST_TENSOR > c->file_bytes - c->at)) {
        return WW_FAIL(err, WW_E_GGUF,
                       "'%s' claims %" PRIu64 " tensors and %" PRIu64
                       " keys, more than the file holds or than %d and %d",
                       c->file, n_tensors, n_keys, WW_GGUF_MAX_TENSORS, WW_GGUF_MAX_KEYS);
    }
    c->out->n_tensors = (uint32_t)n_tensors;
    c->out->n_keys = (uint32_t)n_keys;
    return rc;
}

enum ww_err ww_gguf_parse(const uint8_t *bytes, uint64_t n, uint64_t file_bytes,
                          const char *name, struct ww_gguf_header *out,
                          struct ww_error *err)
{
    struct cursor c = {
        .bytes = bytes, .n = n, .file_bytes = file_bytes, .file = name, .out = out};
    enum ww_err rc = WW_OK;

    memset(out, 0, sizeof(*out));
    out->bytes = bytes;
    rc = read_counts(&c, err);
    if (!rc) {
        out->keys = ww_calloc(out->n_keys, sizeof(*out->keys));
        out->tensors = ww_calloc(out->n_tensors, sizeof(*out->tensors));
        /* A name takes its bytes and eight more in the file, here one more. */
        out->names = ww_calloc(n, 1);
        c.names = out->names;
        if (!out->keys || !out->tensors || !out->names) {
            rc = WW_FAIL_MEMORY(err, "the header of '%s'", name);
        }
    }
    if (!rc) {
        rc = read_keys(&c, err);
    }
    if (!rc) {
        rc = read_alignment(&c, err);
    }
    if (!rc) {
        rc = read_tensors(&c, err);
    }
    if (!rc) {
        rc = place_tensors(&c, err);
    }
    if (rc) {
        const bool truncated = out->truncated;
        ww_gguf_header_release(out);
        out->truncated = truncated;
    }
    return rc;
}

void ww_gguf_header_release(struct ww_gguf_header *header)
{
    ww_names_release(&header->by_key);
    ww_names_release(&header->by_name);
    ww_free(header->keys);
    ww_free(header->tensors);
    ww_free(header->names);
    memset(header, 0, sizeof(*header));
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

char *ww_gguf_get_string(const struct ww_gguf_header *header, const char *key)
{
    const uint32_t k = ww_names_find(&header->by_key, key);

    if (k == WW_NONE || header->keys[k].type != V_STRING) {
        return ww_strdup("");
    }
    const uint8_t *at = header->bytes + header->keys[k].at;
    return ww_strndup((const char *)at + 8, (size_t)ww_get_u64le(at));
}
