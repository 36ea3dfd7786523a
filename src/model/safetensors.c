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
#include "model/names.h"
#include "model/st_layout.h"
#include "model/st_text.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/num.h"
#include "util/str.h"

#define FIRST_CAPACITY 64
#define TYPICAL_ENTRY_BYTES 100 /* of one tensor in a header; sizes the name table */

enum member { MEMBER_DTYPE, MEMBER_SHAPE, MEMBER_OFFSETS, MEMBER_COUNT };

static const char *const member_names[MEMBER_COUNT] = {"dtype", "shape", "data_offsets"};

struct st_parse {
    struct ww_st_text text;
    struct ww_st_header *header;
    size_t capacity; /* of header->tensors */
    struct ww_names names;
    struct ww_names metadata_keys;
};

static enum ww_err tensor_name(const struct st_parse *p, const char *name, size_t len,
                               struct ww_error *err)
{
    if (len > WW_ST_MAX_NAME_BYTES) {
        return WW_FAIL(err, WW_E_LIMIT,
                       "'%s': tensor name '%.60s...' has %zu bytes, at most %d are read",
                       p->text.file, name, len, WW_ST_MAX_NAME_BYTES);
    }
    for (size_t i = 0; i < len; i++) {
        uint8_t c = (uint8_t)name[i];
        /* C2 80..9F are the C1 controls, which terminals obey like the C0 ones. */
        bool c1 = c == 0xc2 && (uint8_t)name[i + 1] < 0xa0;
        if (c < ' ' || c == 0x7f || c1) {
            return WW_FAIL(err, WW_E_SAFETENSORS,
                           "'%s': tensor name '%.160s' holds a control character",
                           p->text.file, name);
        }
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
    int more = 1;
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

typedef enum ww_err (*member_fn)(struct st_parse *, struct ww_st_tensor *,
                                 struct ww_error *);
static const member_fn member_readers[MEMBER_COUNT] = {read_dtype, read_shape,
                                                       read_offsets};

/* Name, colon, value. seen has a bit per member that was there before. */
static enum ww_err read_member(struct st_parse *p, struct ww_st_tensor *tensor,
                               unsigned *seen, struct ww_error *err)
{
    const char *name;
    size_t len;
    unsigned m = 0;
    enum ww_err rc = ww_st_string(&p->text, &name, &len, err);
    if (rc) {
        return rc;
    }
    while (m < MEMBER_COUNT && strcmp(member_names[m], name) != 0) {
        m++;
    }
    if (m == MEMBER_COUNT) {
        return WW_FAIL(err, WW_E_SAFETENSORS,
                       "tensor '%.160s' of '%s': unknown member '%.60s', expected "
                       "dtype, shape and data_offsets only",
                       tensor->name, p->text.file, name);
    }
    if (*seen & 1U << m) {
        return WW_FAIL(err, WW_E_SAFETENSORS,
                       "tensor '%.160s' of '%s': member '%s' is there twice",
                       tensor->name, p->text.file, name);
    }
    *seen |= 1U << m;
    rc = ww_st_expect(&p->text, ':', err);
    if (rc) {
        return rc;
    }
    return member_readers[m](p, tensor, err);
}

static enum ww_err read_tensor(struct st_parse *p, struct ww_st_tensor *tensor,
                               struct ww_error *err)
{
    int more = 1;
    unsigned seen = 0;
    enum ww_err rc = ww_st_expect(&p->text, '{', err);
    if (rc) {
        return rc;
    }
    if (ww_st_peek(&p->text) == '}') {
        p->text.at++;
        more = 0;
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
                           tensor->name, p->text.file, member_names[m]);
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
            return WW_FAIL(err, WW_E_NOMEM, "'%s': out of memory for %zu tensors",
                           p->text.file, wide);
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
    struct ww_st_tensor *tensor;
    uint32_t existing;
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
    rc = ww_names_add(&p->names, name, tensor->header_position, &existing, err);
    if (rc) {
        goto out;
    }
    if (existing != WW_NONE) {
        rc = WW_FAIL(err, WW_E_SAFETENSORS,
                     "tensor '%.160s' of '%s': the name is there twice; readers would "
                     "disagree on which one counts",
                     name, p->text.file);
        goto out;
    }
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
    rc = ww_names_add(&p->metadata_keys, text, 0, &existing, err);
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
    int more = 1;
    enum ww_err rc;
    if (ww_st_peek(&p->text) == 'n') {
        return ww_st_null(&p->text, err);
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
    int more = 1;
    enum ww_err rc = ww_st_expect(&p->text, '{', err);
    if (rc) {
        return rc;
    }
    if (ww_st_peek(&p->text) == '}') {
        p->text.at++;
        more = 0;
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
    if (!ww_utf8_ok(json, (size_t)n)) {
        rc = WW_FAIL(err, WW_E_SAFETENSORS, "'%s': header is not UTF-8", name);
        goto out;
    }
    out->names = ww_calloc((size_t)n + 1, 1);
    if (!out->names) {
        rc = WW_FAIL(err, WW_E_NOMEM, "'%s': out of memory for the header", name);
        goto out;
    }
    rc = ww_names_init(&p.names, (size_t)n / TYPICAL_ENTRY_BYTES, err);
    if (rc) {
        goto out;
    }
    p.text = (struct ww_st_text){
        .start = json, .at = json, .end = json + n, .file = name, .strings = out->names};
    rc = read_header(&p, err);
    if (rc) {
        goto out;
    }
    rc = ww_st_layout(out, data_bytes, name, err);
out:
    ww_names_release(&p.names);
    ww_names_release(&p.metadata_keys);
    if (rc) {
        ww_st_release(out);
    }
    return rc;
}

void ww_st_release(struct ww_st_header *header)
{
    ww_free(header->tensors);
    ww_free(header->names);
    memset(header, 0, sizeof(*header));
}
