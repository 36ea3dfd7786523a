/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every length is compared with what is left before anything is read or taken from the
 * heap, so a header can promise nothing that its bytes do not hold: readers of this
 * format have been broken by counts, string lengths, ranks, type numbers and products of
 * sizes that wrapped around.
 */
#include "model/gguf_read.h"

#include <inttypes.h>
#include <string.h>

#include "util/alloc.h"
#include "util/fail.h"
#include "util/num.h"
#include "util/str.h"

#define LEAST_KEY 13    /* bytes of the shortest one: a length, a type, one byte */
#define LEAST_TENSOR 24 /* a length, a rank, a type, an offset */

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

static enum ww_err find_type(const struct ww_gguf_cursor *c, uint32_t number,
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
static enum ww_err size_tensor(const struct ww_gguf_cursor *c, struct ww_gguf_tensor *t,
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

static enum ww_err read_tensor(struct ww_gguf_cursor *c, struct ww_gguf_tensor *t,
                               struct ww_error *err)
{
    uint32_t type = 0;
    uint32_t rank = 0;
    enum ww_err rc = ww_gguf_take_name(c, "tensor", &t->name, err);

    if (!rc) {
        rc = ww_gguf_take_u32(c, &rank, err);
    }
    if (!rc && rank > WW_GGUF_MAX_RANK) {
        rc = WW_FAIL(err, WW_E_GGUF,
                     "'%s': tensor '%.160s' has %" PRIu32
                     " dimensions, expected at most %d",
                     c->file, t->name, rank, WW_GGUF_MAX_RANK);
    }
    t->rank = rank;
    for (unsigned a = 0; a < t->rank && !rc; a++) {
        rc = ww_gguf_take_u64(c, &t->shape[t->rank - 1 - a], err);
    }
    if (!rc) {
        rc = ww_gguf_take_u32(c, &type, err);
    }
    if (!rc) {
        rc = ww_gguf_take_u64(c, &t->offset, err);
    }
    if (!rc) {
        rc = find_type(c, type, t, err);
    }
    return rc ? rc : size_tensor(c, t, err);
}

static enum ww_err read_tensors(struct ww_gguf_cursor *c, struct ww_error *err)
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
static enum ww_err place_tensors(struct ww_gguf_cursor *c, struct ww_error *err)
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

static enum ww_err read_counts(struct ww_gguf_cursor *c, struct ww_error *err)
{
    uint32_t version = 0;
    uint64_t n_tensors = 0;
    uint64_t n_keys = 0;
    enum ww_err rc = ww_gguf_need(c, 4, err);

    if (!rc && memcmp(c->bytes, "GGUF", 4) != 0) {
        return WW_FAIL(err, WW_E_GGUF,
                       "'%s' is no GGUF file: it does not begin with GGUF", c->file);
    }
    c->at += rc ? 0 : 4;
    if (!rc) {
        rc = ww_gguf_take_u32(c, &version, err);
    }
    if (!rc && version != 2 && version != 3) {
        return WW_FAIL(err, WW_E_GGUF,
                       "'%s' is GGUF of version %" PRIu32 "%s, expected 2 or 3", c->file,
                       version, version & 0xffff ? "" : " (big-endian)");
    }
    if (!rc) {
        rc = ww_gguf_take_u64(c, &n_tensors, err);
    }
    if (!rc) {
        rc = ww_gguf_take_u64(c, &n_keys, err);
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
    struct ww_gguf_cursor c = {
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
        rc = ww_gguf_read_keys(&c, err);
    }
    if (!rc) {
        rc = ww_gguf_read_alignment(&c, err);
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
