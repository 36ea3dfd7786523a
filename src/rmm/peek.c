/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shapes are not in a member's table but in the headers of its weight files, which are
 * parts like any other: they are decoded first, and must list the parts that follow.
 */
#include "rmm/peek.h"

#include <string.h>

#include "model/convert.h"
#include "model/safetensors.h"
#include "rmm/base_read.h"
#include "rmm/unpack_plan.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"
#include "util/num.h"
#include "util/str.h"

#define MAX_READ_BYTES (UINT64_C(1) << 30)

/* Headers and side files are never the base's. */
static enum ww_err read_part(struct ww_peek *p, const struct ww_pack_table_part *part,
                             struct ww_buf *out, struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    for (uint64_t c = 0; c < part->n_chunks && !rc; c++) {
        rc =
            ww_unpack_part_chunk(&p->run, part, c, p->prediction, p->room, p->bytes, err);
        if (!rc) {
            rc = ww_buf_add(out, p->bytes, ww_part_chunk_bytes(part, c), err);
        }
    }
    return rc;
}

/* What a change is told against, though a parent predicts it: the base's tensor where the
 * row of parents ends at that, since then the manifest says which it is. */
static uint32_t beside(const struct ww_unpack_run *run,
                       const struct ww_pack_table_part *part)
{
    const struct ww_model *base =
        ww_parent_needs_base(run->parents.first, part->parent_part) ? run->base : NULL;
    const uint32_t t = base ? ww_model_find(base, part->tensor) : WW_NONE;

    return t != WW_NONE && ww_base_becomes(base->tensors[t].dtype, part->dtype) &&
                   base->tensors[t].n_bytes ==
                       ww_base_bytes(base->tensors[t].dtype, part->dtype, part->bytes)
               ? t
               : WW_NONE;
}

static enum ww_err fill(struct ww_peek *p, const struct ww_pack_table_part *part,
                        const struct ww_st_tensor *from, const char *file,
                        struct ww_error *err)
{
    struct ww_peek_tensor *to = &p->tensors[p->n_tensors];

    if (!part->tensor || strcmp(part->tensor, from->name) != 0 ||
        part->dtype != from->dtype || part->bytes != from->end - from->begin) {
        return WW_FAIL(err, WW_E_MALFORMED,
                       "member '%s': the header of '%s' does not list the tensors that "
                       "are coded behind it",
                       p->run.view.member->name, file);
    }
    *to = (struct ww_peek_tensor){.name = part->tensor,
                                  .dtype = part->dtype,
                                  .rank = from->rank,
                                  .n_elements = from->n_elements,
                                  .part = part};
    memcpy(to->shape, from->shape, sizeof(to->shape));
    p->n_tensors++;
    if (part->chained) {
        to->base = beside(&p->run, part);
        return WW_OK;
    }
    return ww_unpack_base_tensor(&p->run.view, part, p->run.base, &to->base, err);
}

static enum ww_err read_weights(struct ww_peek *p, const struct ww_pack_table_file *file,
                                const struct ww_buf *header, struct ww_error *err)
{
    struct ww_st_header parsed = {0};
    enum ww_err rc = WW_OK;

    if (header->len < 8 || header->len > file->size_bytes) {
        return WW_FAIL(err, WW_E_MALFORMED, "member '%s': '%s' has no header",
                       p->run.view.member->name, file->path);
    }
    rc = ww_st_parse(header->data + 8, header->len - 8, file->size_bytes - header->len,
                     file->path, &parsed, err);
    if (!rc && parsed.n_tensors + 1 != file->n_parts) {
        rc = WW_FAIL(err, WW_E_MALFORMED,
                     "member '%s': '%s' has %u tensors in its header and %u behind it",
                     p->run.view.member->name, file->path, parsed.n_tensors,
                     file->n_parts - 1);
    }
    for (uint32_t t = 0; t < parsed.n_tensors && !rc; t++) {
        rc = fill(p, &p->run.view.table.parts[file->first_part + 1 + t],
                  &parsed.tensors[t], file->path, err);
    }
    ww_st_release(&parsed);
    return rc;
}

/* A weight file that is malformed was coded as bytes: one part and no tensor. */
static bool has_tensors(const struct ww_peek *p, const struct ww_pack_table_file *file)
{
    return !file->same && file->n_parts > 1 &&
           p->run.view.table.parts[file->first_part + 1].tensor != NULL;
}

static enum ww_err read_file(struct ww_peek *p, const struct ww_pack_table_file *file,
                             struct ww_buf *config, struct ww_buf *header,
                             struct ww_error *err)
{
    const struct ww_pack_table_part *part = &p->run.view.table.parts[file->first_part];
    struct ww_buf text;
    enum ww_err rc = WW_OK;

    if (!file->same && strcmp(file->path, WW_ADAPTER_CONFIG) == 0) {
        return read_part(p, part, config, err);
    }
    if (!has_tensors(p, file)) {
        return WW_OK;
    }
    if (strcmp(file->path, WW_ADAPTER_WEIGHTS) == 0) {
        rc = read_part(p, part, header, err);
        return rc ? rc : read_weights(p, file, header, err);
    }
    ww_buf_init(&text, WW_ST_MAX_HEADER_BYTES + 8);
    rc = read_part(p, part, &text, err);
    if (!rc) {
        rc = read_weights(p, file, &text, err);
    }
    ww_buf_release(&text);
    return rc;
}

static enum ww_err read_files(struct ww_peek *p, struct ww_error *err)
{
    const struct ww_pack_table *t = &p->run.view.table;
    struct ww_buf config;
    struct ww_buf header;
    uint64_t data_bytes = 0;
    enum ww_err rc = WW_OK;

    ww_buf_init(&config, ww_json_limits_config.max_bytes);
    ww_buf_init(&header, WW_ST_MAX_HEADER_BYTES + 8);
    for (uint32_t f = 0; f < t->n_files && !rc; f++) {
        rc = read_file(p, &t->files[f], &config, &header, err);
        if (!rc && header.len > 0 && data_bytes == 0) {
            data_bytes = t->files[f].size_bytes - header.len;
        }
    }
    if (!rc && p->run.view.member->adapter) {
        rc = ww_adapter_of(p->run.view.member->name, &config, &header, data_bytes,
                           &p->adapter, err);
    }
    if (!rc && p->adapter && p->adapter->n_tensors != p->n_tensors) {
        rc = WW_FAIL(err, WW_E_UNSUPPORTED,
                     "member '%s' has weights beside '" WW_ADAPTER_WEIGHTS "'; unpack it",
                     p->run.view.member->name);
    }
    ww_buf_release(&config);
    ww_buf_release(&header);
    return rc;
}

enum ww_err ww_peek_open(const char *path, const char *name,
                         const struct ww_unpack_options *options, struct ww_peek *out,
                         struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    memset(out, 0, sizeof(*out));
    rc = ww_unpack_open(&out->run, path, name, options, err);
    if (rc) {
        return rc;
    }
    out->open = true;
    ww_unpack_rooms_init(&out->rooms);
    out->bytes = ww_calloc(1, WW_CHUNK_BYTES);
    out->prediction = ww_calloc(1, WW_CHUNK_BYTES);
    out->tensors = ww_calloc(out->run.view.table.n_parts, sizeof(*out->tensors));
    if (!out->bytes || !out->prediction || !out->tensors) {
        rc = WW_FAIL_MEMORY(err, "looking into a member");
    }
    if (!rc) {
        rc = ww_unpack_rooms_take(&out->rooms, &out->room, err);
    }
    if (!rc) {
        rc = ww_unpack_refuse_asking(&out->run, err);
    }
    if (!rc) {
        rc = ww_unpack_check_signed(&out->run, err);
    }
    if (!rc) {
        rc = read_files(out, err);
    }
    if (rc) {
        ww_peek_close(out);
    }
    return rc;
}

void ww_peek_close(struct ww_peek *p)
{
    if (!p->open) {
        return;
    }
    if (p->room) {
        ww_unpack_rooms_give(&p->rooms, p->room);
    }
    ww_unpack_rooms_release(&p->rooms);
    ww_adapter_close(p->adapter);
    ww_free(p->bytes);
    ww_free(p->prediction);
    ww_free(p->tensors);
    ww_unpack_close(&p->run);
    memset(p, 0, sizeof(*p));
}

enum ww_err ww_peek_chunk(struct ww_peek *p, uint32_t tensor, uint64_t c, size_t *n,
                          struct ww_error *err)
{
    const struct ww_peek_tensor *t = &p->tensors[tensor];
    enum ww_err rc =
        ww_unpack_part_chunk(&p->run, t->part, c, p->prediction, p->room, p->bytes, err);

    *n = ww_part_chunk_bytes(t->part, c);
    if (!rc && t->part->chained && t->base != WW_NONE) {
        const struct ww_base_from from =
            ww_base_from(p->run.base, &p->run.base->tensors[t->base]);
        rc = ww_base_read(&from, t->dtype, c * WW_CHUNK_BYTES, p->prediction, *n, err);
    }
    return rc;
}

enum ww_err ww_peek_read(struct ww_peek *p, uint32_t tensor, double **out,
                         struct ww_error *err)
{
    const struct ww_peek_tensor *t = &p->tensors[tensor];
    uint64_t at = 0;
    enum ww_err rc = WW_OK;

    *out = NULL;
    if (!ww_dtype_is_plain_float(t->dtype)) {
        return WW_FAIL(err, WW_E_QUANTISED,
                       "tensor '%.160s' of member '%s' is stored as %s, expected BF16, "
                       "F16, F32 or F64",
                       t->name, p->run.view.member->name, ww_dtype_name(t->dtype));
    }
    if (t->n_elements > MAX_READ_BYTES / sizeof(double)) {
        return WW_FAIL(err, WW_E_LIMIT,
                       "tensor '%.160s' of member '%s' has %llu elements", t->name,
                       p->run.view.member->name, (unsigned long long)t->n_elements);
    }
    *out = ww_calloc((size_t)t->n_elements + 1, sizeof(**out));
    if (!*out) {
        return WW_FAIL_MEMORY(err, "looking into a member");
    }
    for (uint64_t c = 0; c < t->part->n_chunks && !rc; c++) {
        size_t n = 0;
        rc = ww_peek_chunk(p, tensor, c, &n, err);
        n /= ww_dtype_bits(t->dtype) / 8;
        if (!rc && ww_count_nonfinite(t->dtype, p->bytes, n) > 0) {
            rc = WW_FAIL(err, WW_E_NONFINITE,
                         "tensor '%.160s' of member '%s' holds NaN or infinity; repair "
                         "the weights first",
                         t->name, p->run.view.member->name);
        }
        if (!rc) {
            ww_to_double(t->dtype, p->bytes, *out + at, n);
            at += n;
        }
    }
    if (rc) {
        ww_free(*out);
        *out = NULL;
    }
    return rc;
}

uint32_t ww_peek_find(const struct ww_peek *p, const char *name)
{
    for (uint32_t t = 0; t < p->n_tensors; t++) {
        if (strcmp(p->tensors[t].name, name) == 0) {
            return t;
        }
    }
    return WW_NONE;
}
