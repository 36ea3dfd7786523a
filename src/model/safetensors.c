/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The header grammar, straight down: object of objects, so no recursion and no depth. The
 * rules are those of safetensors 0.8.0 where it refuses, and stricter where two readers
 * could see two files in the same bytes (duplicate names, unknown members); the list is
 * in docs/formats/safetensors.md. Where the tensors lie is checked in st_layout.c.
 */
#include "model/safetensors.h"

#include <string.h>

#include "model/dtype.h"
#include "model/st_layout.h"
#include "model/st_text.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/str.h"

#define FIRST_CAPACITY 64

enum member { MEMBER_DTYPE, MEMBER_SHAPE, MEMBER_OFFSETS, MEMBER_COUNT };

struct st_parse {
    struct ww_st_text text;
    struct ww_st_header *header;
    size_t capacity; /* of header->tensors */
    struct ww_names metadata_keys;
};

/* One flag over all bytes first, which the compiler widens; only a suspect is looked at
 * closely. C2 80..9F are the C1 controls, which terminals obey like the C0 ones. */
static bool has_control(const char *name, size_t len)
{
    uint8_t suspect = 0;
    for (size_t i = 0; i < len; i++) {
        uint8_t c = (uint8_t)name[i];
        suspect |= (uint8_t)((c < ' ') | (c == 0x7f) | (c == 0xc2));
    }
    for (size_t i = 0; i < len && suspect; i++) {
        uint8_t c = (uint8_t)name[i];
        if (c < ' ' || c == 0x7f || (c == 0xc2 && (uint8_t)name[i + 1] < 0xa0)) {
            return true;
        }
    }
    return false;
}

static enum ww_err tensor_name(const struct st_parse *p, const char *name, size_t len,
                               struct ww_error *err)
{
    if (len > WW_ST_MAX_NAME_BYTES) {
        return WW_FAIL(err, WW_E_LIMIT,
                       "'%s': tensor name '%.60s...' has %zu bytes, at most %d are read",
                       p->text.file, name, len, WW_ST_MAX_NAME_BYTES);
    }
    if (has_control(name, len)) {
        return WW_FAIL(err, WW_E_SAFETENSORS,
                       "'%s': tensor name '%.160s' holds a control character",
                       p->text.file, name);
    }
    return WW_OK;
}

static enum ww_err read_dtype(struct st_parse *p, struct ww_st_tensor *tensor,
                              struct ww_error *err)
{
    const char *text;
    size_t len;
    enum ww_err rc = ww_st_string(&p->text, &text, &len, err);
    if (rc) {
        return rc;
    }
    if (!ww_dtype_parse(text, len, &tensor->dtype)) {
        return WW_FAIL(err, WW_E_SAFETENSORS,
                       "unknown dtype '%.40s' in tensor '%.160s' of '%s'", text,
                       tensor->name, p->text.file);
    }
    return WW_OK;
}

static enum ww_err read_shape(struct st_parse *p, struct ww_st_tensor *tensor,
                              struct ww_error *err)
{
    bool more = true;
    enum ww_err rc = ww_st_expect(&p->text, '[', err);
    if (rc) {
        return rc;
    }
    if (ww_st_peek(&p->text) == ']') {
        p->text.at++;
        return WW_OK;
    }
    while (more) {
        uint64_t dim;
        rc = ww_st_u64(&p->text, &dim, err);
        if (rc) {
            return rc;
        }
        if (tensor->rank == WW_MAX_RANK) {
            return WW_FAIL(err, WW_E_LIMIT,
                           "tensor '%.160s' of '%s': more than %d dimensions",
                           tensor->name, p->text.file, WW_MAX_RANK);
        }
        tensor->shape[tensor->rank++] = dim;
        rc = ww_st_more(&p->text, ']', &more, err);
        if (rc) {
            return rc;
        }
    }
    return WW_OK;
}

static enum ww_err read_offsets(struct st_parse *p, struct ww_st_tensor *tensor,
                                struct ww_error *err)
{
    enum ww_err rc;
    rc = ww_st_expect(&p->text, '[', err);
    if (rc) {
        goto out;
    }
    rc = ww_st_u64(&p->text, &tensor->begin, err);
    if (rc) {
        goto out;
    }
    rc = ww_st_expect(&p->text, ',', err);
    if (rc) {
        goto out;
    }
    rc = ww_st_u64(&p->text, &tensor->end, err);
    if (rc) {
        goto out;
    }
    rc = ww_st_expect(&p->text, ']', err);
out:
    return rc;
}

struct member_row {
    const char *name;
    const char *quoted;
    size_t quoted_len;
    enum ww_err (*read)(struct st_parse *, struct ww_st_tensor *, struct ww_error *);
};
#define MEMBER(text, fn)                                                                 \
    {                                                                                    \
        text, "\"" text "\"", sizeof(text) + 1, fn                                       \
    }

static const struct member_row members[MEMBER_COUNT] = {
    [MEMBER_DTYPE] = MEMBER("dtype", read_dtype),
    [MEMBER_SHAPE] = MEMBER("shape", read_shape),
    [MEMBER_OFFSETS] = MEMBER("data_offsets", read_offsets),
};

/* Names as every writer spells them are compared in place; only others are decoded. */
static enum ww_err member_of(struct st_parse *p, const struct ww_st_tensor *tensor,
                             enum member *out, struct ww_error *err)
{
    const char *name;
    size_t len;
    for (enum member m = 0; m < MEMBER_COUNT; m++) {
        if (ww_st_literal(&p->text, members[m].quoted, members[m].quoted_len)) {
            *out = m;
            return WW_OK;
        }
    }
    enum ww_err rc = ww_st_string(&p->text, &name, &len, err);
    if (rc) {
        return rc;
    }
    for (enum member m = 0; m < MEMBER_COUNT; m++) {
        if (strcmp(members[m].name, name) == 0) {
            *out = m;
            return WW_OK;
        }
    }
    return WW_FAIL(err, WW_E_SAFETENSORS,
                   "tensor '%.160s' of '%s': unknown member '%.60s', expected dtype, "
                   "shape and data_offsets only",
                   tensor->name, p->text.file, name);
}

/* Name, colon, value. seen has a bit per member that was there before. */
static enum ww_err read_member(struct st_parse *p, struct ww_st_tensor *tensor,
                               unsigned *seen, struct ww_error *err)
{
    enum member m = MEMBER_COUNT;
    enum ww_err rc = member_of(p, tensor, &m, err);
    if (rc) {
        return rc;
    }
    if (*seen & 1U << m) {
        return WW_FAIL(err, WW_E_SAFETENSORS,
                       "tensor '%.160s' of '%s': member '%s' is there twice",
                       tensor->name, p->text.file, members[m].name);
    }
    *seen |= 1U << m;
    rc = ww_st_expect(&p->text, ':', err);
    if (rc) {
        return rc;
    }
    return members[m].read(p, tensor, err);
}

static enum ww_err read_tensor(struct st_parse *p, struct ww_st_tensor *tensor,
                               struct ww_error *err)
{
    bool more = true;
    unsigned seen = 0;
    enum ww_err rc = ww_st_expect(&p->text, '{', err);
    if (rc) {
        return rc;
    }
    if (ww_st_peek(&p->text) == '}') {
        p->text.at++;
        more = false;
    }
    while (more) {
        rc = read_member(p, tensor, &seen, err);
        if (rc) {
            return rc;
        }
        rc = ww_st_more(&p->text, '}', &more, err);
        if (rc) {
            return rc;
        }
    }
    for (unsigned m = 0; m < MEMBER_COUNT; m++) {
        if (!(seen & 1U << m)) {
            return WW_FAIL(err, WW_E_SAFETENSORS,
                           "tensor '%.160s' of '%s': member '%s' is missing",
                           tensor->name, p->text.file, members[m].name);
        }
    }
    return ww_st_tensor_size(tensor, p->text.file, err);
}

static enum ww_err next_tensor(struct st_parse *p, struct ww_st_tensor **out,
                               struct ww_error *err)
{
    struct ww_st_header *h = p->header;
    if (h->n_tensors == WW_ST_MAX_TENSORS) {
        return WW_FAIL(err, WW_E_LIMIT, "'%s': more than %d tensors", p->text.file,
                       WW_ST_MAX_TENSORS);
    }
    if (h->n_tensors == p->capacity) {
        size_t wide = p->capacity ? 2 * p->capacity : FIRST_CAPACITY;
        struct ww_st_tensor *moved = ww_realloc_array(h->tensors, wide, sizeof(*moved));
        if (!moved) {
            return WW_FAIL_MEMORY(err, "%zu tensors of '%s'", wide, p->text.file);
        }
        h->tensors = moved;
        p->capacity = wide;
    }
    *out = &h->tensors[h->n_tensors];
    memset(*out, 0, sizeof(**out));
    (*out)->header_position = h->n_tensors;
    return WW_OK;
}

/* Behind the colon of a name that is no metadata. */
static enum ww_err add_tensor(struct st_parse *p, const char *name, size_t len,
                              struct ww_error *err)
{
    struct ww_st_tensor *tensor = NULL;
    enum ww_err rc;
    rc = tensor_name(p, name, len, err);
    if (rc) {
        goto out;
    }
    ww_st_keep(&p->text, len);
    rc = next_tensor(p, &tensor, err);
    if (rc) {
        goto out;
    }
    tensor->name = name;
    tensor->name_len = (uint32_t)len;
    p->text.tensor = name;
    rc = read_tensor(p, tensor, err);
    p->text.tensor = NULL;
    if (rc) {
        goto out;
    }
    p->header->n_tensors++;
out:
    return rc;
}

/* One "key": "value" of the metadata; the key is kept to tell duplicates. */
static enum ww_err metadata_entry(struct st_parse *p, struct ww_error *err)
{
    const char *text;
    size_t len;
    uint32_t existing;
    enum ww_err rc;
    rc = ww_st_string(&p->text, &text, &len, err);
    if (rc) {
        goto out;
    }
    ww_st_keep(&p->text, len);
    rc = ww_names_add(&p->metadata_keys, text, &existing, err);
    if (rc) {
        goto out;
    }
    if (existing != WW_NONE) {
        rc = WW_FAIL(err, WW_E_SAFETENSORS, "'%s': __metadata__ has '%.60s' twice",
                     p->text.file, text);
        goto out;
    }
    rc = ww_st_expect(&p->text, ':', err);
    if (rc) {
        goto out;
    }
    if (ww_st_peek(&p->text) != '"') {
        rc = ww_st_unexpected(&p->text, "a string as value in __metadata__", err);
        goto out;
    }
    rc = ww_st_string(&p->text, &text, &len, err);
out:
    return rc;
}

static enum ww_err read_metadata(struct st_parse *p, struct ww_error *err)
{
    bool more = true;
    enum ww_err rc;
    if (ww_st_literal(&p->text, "null", strlen("null"))) {
        return WW_OK;
    }
    rc = ww_st_expect(&p->text, '{', err);
    if (rc) {
        return rc;
    }
    p->header->has_metadata = true;
    if (ww_st_peek(&p->text) == '}') {
        p->text.at++;
        return WW_OK;
    }
    while (more) {
        rc = metadata_entry(p, err);
        if (rc) {
            return rc;
        }
        rc = ww_st_more(&p->text, '}', &more, err);
        if (rc) {
            return rc;
        }
    }
    return WW_OK;
}

static enum ww_err read_entry(struct st_parse *p, bool *metadata_seen,
                              struct ww_error *err)
{
    const char *name;
    size_t len;
    enum ww_err rc;
    rc = ww_st_string(&p->text, &name, &len, err);
    if (rc) {
        return rc;
    }
    rc = ww_st_expect(&p->text, ':', err);
    if (rc) {
        return rc;
    }
    if (strcmp(name, "__metadata__") != 0) {
        return add_tensor(p, name, len, err);
    }
    if (*metadata_seen) {
        return WW_FAIL(err, WW_E_SAFETENSORS, "'%s': __metadata__ is there twice",
                       p->text.file);
    }
    *metadata_seen = true;
    return read_metadata(p, err);
}

static enum ww_err read_header(struct st_parse *p, struct ww_error *err)
{
    bool metadata_seen = false;
    bool more = true;
    enum ww_err rc = ww_st_expect(&p->text, '{', err);
    if (rc) {
        return rc;
    }
    if (ww_st_peek(&p->text) == '}') {
        p->text.at++;
        more = false;
    }
    while (more) {
        rc = read_entry(p, &metadata_seen, err);
        if (rc) {
            return rc;
        }
        rc = ww_st_more(&p->text, '}', &more, err);
        if (rc) {
            return rc;
        }
    }
    if (ww_st_peek(&p->text) != -1) {
        return ww_st_unexpected(&p->text, "nothing but padding behind the object", err);
    }
    return WW_OK;
}

/* The records are still in header order here. */
static enum ww_err refuse_duplicates(struct ww_st_header *header, const char *file,
                                     struct ww_error *err)
{
    uint32_t twice;
    enum ww_err rc =
        ww_names_build(&header->by_name, header->tensors, sizeof(*header->tensors),
                       header->n_tensors, &twice, err);
    if (!rc && twice != WW_NONE) {
        rc = WW_FAIL(err, WW_E_SAFETENSORS,
                     "tensor '%.160s' of '%s': the name is there twice; readers would "
                     "disagree on which one counts",
                     header->tensors[twice].name, file);
    }
    return rc;
}

/* Nearly every header is; the compiler makes this a wide OR. */
static bool is_ascii(const uint8_t *bytes, size_t len)
{
    uint8_t any = 0;
    for (size_t i = 0; i < len; i++) {
        any |= bytes[i];
    }
    return any < 0x80;
}

enum ww_err ww_st_parse(const uint8_t *json, uint64_t n, uint64_t data_bytes,
                        const char *name, struct ww_st_header *out, struct ww_error *err)
{
    struct st_parse p = {.header = out};
    enum ww_err rc;
    memset(out, 0, sizeof(*out));
    if (n > WW_ST_MAX_HEADER_BYTES) {
        rc = WW_FAIL(err, WW_E_LIMIT, "'%s': header of %llu bytes, at most %d are read",
                     name, (unsigned long long)n, WW_ST_MAX_HEADER_BYTES);
        goto out;
    }
    if (!is_ascii(json, (size_t)n) && !ww_utf8_ok(json, (size_t)n)) {
        rc = WW_FAIL(err, WW_E_SAFETENSORS, "'%s': header is not UTF-8", name);
        goto out;
    }
    out->names = ww_alloc_aligned(sizeof(void *), (size_t)n + WW_ST_SLACK);
    if (!out->names) {
        rc = WW_FAIL_MEMORY(err, "the header of '%s'", name);
        goto out;
    }
    p.text = (struct ww_st_text){
        .start = json, .at = json, .end = json + n, .file = name, .strings = out->names};
    rc = read_header(&p, err);
    if (rc) {
        goto out;
    }
    rc = refuse_duplicates(out, name, err);
    if (rc) {
        goto out;
    }
    rc = ww_st_layout(out, data_bytes, name, err);
out:
    ww_names_release(&p.metadata_keys);
    if (rc) {
        ww_st_release(out);
    }
    return rc;
}

void ww_st_release(struct ww_st_header *header)
{
    ww_names_release(&header->by_name);
    ww_free(header->tensors);
    ww_free(header->names);
    memset(header, 0, sizeof(*header));
}
