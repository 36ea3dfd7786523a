/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Parts of a member: one tensor, one chunk. What asks for policies is given as a whole
 * member alone, and what must be signed is checked by the digest of its section, which
 * the signature is over.
 */
#include "rmm/asking.h"
#include "rmm/base_read.h"
#include "rmm/base_use.h"
#include "rmm/unpack_plan.h"
#include "rmm/unpack_run.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/str.h"

static const struct ww_pack_table_part *find_tensor(const struct ww_pack_table *t,
                                                    const char *name)
{
    for (uint32_t p = 0; p < t->n_parts; p++) {
        if (ww_str_eq(t->parts[p].tensor, name)) {
            return &t->parts[p];
        }
    }
    return NULL;
}

/* The base's bytes, or what they say with the others'. */
static enum ww_err read_base(const struct ww_unpack_run *run,
                             const struct ww_pack_table_part *part, uint64_t chunk,
                             uint8_t *out, struct ww_error *err)
{
    const uint64_t at = chunk * WW_CHUNK_BYTES;
    const size_t n = ww_part_chunk_bytes(part, chunk);
    uint32_t t = WW_NONE;
    enum ww_err rc = ww_unpack_base_tensor(&run->view, part, run->base, &t, err);

    if (rc) {
        return rc;
    }
    const struct ww_tensor *from = &run->base->tensors[t];
    const struct ww_base_from base = ww_base_from(run->base, from);
    rc = ww_base_read(&base, part->dtype, at, out, n, err);
    if (!rc && !ww_base_changes(part)) {
        rc = ww_unmerge_read(&run->unmerge, from, at, out, n, err);
    }
    return rc;
}

enum ww_err ww_unpack_part_chunk(const struct ww_unpack_run *run,
                                 const struct ww_pack_table_part *part, uint64_t chunk,
                                 uint8_t *prediction, struct ww_unpack_room *room,
                                 uint8_t *bytes, struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    if (part->chained) {
        rc = ww_parent_predict(&run->view, part, chunk, room, prediction, err);
    } else if (part->predicted) {
        rc = read_base(run, part, chunk, prediction, err);
    } else {
        prediction = NULL;
    }
    return rc ? rc
              : ww_unpack_chunk(&run->view, part, chunk, prediction, room, bytes, err);
}

static enum ww_err no_tensor(const struct ww_unpack_run *run, const char *tensor,
                             struct ww_error *err)
{
    const struct ww_pack_table *t = &run->view.table;
    const char **names = ww_calloc(t->n_parts, sizeof(*names));
    const char *near = NULL;
    uint32_t n = 0;

    for (uint32_t p = 0; names && p < t->n_parts; p++) {
        if (t->parts[p].tensor) {
            names[n++] = t->parts[p].tensor;
        }
    }
    near = names ? ww_str_nearest(tensor, names, n) : NULL;
    ww_free(names);
    return WW_FAIL(err, WW_E_TENSOR, "member '%s' has no tensor '%.200s'%s%.200s%s",
                   run->view.member->name, tensor, near ? "; is '" : "", near ? near : "",
                   near ? "' meant?" : "");
}

/* bytes: room of two chunks. */
static enum ww_err give_tensor(const struct ww_unpack_run *run, const char *tensor,
                               struct ww_unpack_room *room, uint8_t *bytes,
                               ww_unpack_fn give, void *payload, struct ww_error *err)
{
    const struct ww_pack_table_part *part = find_tensor(&run->view.table, tensor);
    uint32_t base_tensor = WW_NONE;
    enum ww_err rc = WW_OK;

    if (!part) {
        return no_tensor(run, tensor, err);
    }
    rc = ww_unpack_base_tensor(&run->view, part, run->base, &base_tensor, err);
    if (!rc && run->base &&
        (part->chained ? ww_parent_needs_base(run->parents.first, part->parent_part)
                       : base_tensor != WW_NONE)) {
        rc = ww_base_use_check_tensor(run->base, &run->file.manifest, tensor, err);
    }
    for (uint64_t c = 0; c < part->n_chunks && !rc; c++) {
        rc = ww_unpack_part_chunk(run, part, c, bytes + WW_CHUNK_BYTES, room, bytes, err);
        if (!rc) {
            rc = give(payload, bytes, ww_part_chunk_bytes(part, c), err);
        }
    }
    return rc;
}

/* The file that asks for policies; NULL: none does. */
static const char *asking_file(const struct ww_pack_table *t)
{
    for (uint32_t f = 0; f < t->n_files; f++) {
        if (ww_path_asks(t->files[f].path)) {
            return t->files[f].path;
        }
    }
    return NULL;
}

/* A tensor has no evidence of its own that anybody could be asked about. */
enum ww_err ww_unpack_refuse_asking(const struct ww_unpack_run *run, struct ww_error *err)
{
    const char *path = asking_file(&run->view.table);

    return path
               ? WW_FAIL(err, WW_E_DENIED,
                         "member '%s' asks for policies ('%s'), and they are asked about "
                         "whole members; unpack it",
                         run->view.member->name, path)
               : WW_OK;
}

enum ww_err ww_pack_asks(const char *path, const char *name,
                         const struct ww_unsealer *unsealer, bool *asks,
                         struct ww_error *err)
{
    struct ww_pack_file file;
    struct ww_pack_view view = {0};
    size_t member = 0;
    enum ww_err rc = ww_pack_open(path, &file, err);

    *asks = false;
    if (rc) {
        return rc;
    }
    rc = ww_pack_member_find(&file, name, &member, err);
    if (!rc) {
        rc = ww_pack_view_open(&file, member, unsealer, &view, err);
    }
    if (!rc) {
        *asks = asking_file(&view.table) != NULL;
        ww_pack_view_close(&view);
    }
    ww_pack_close(&file);
    return rc;
}

enum ww_err ww_unpack_check_signed(const struct ww_unpack_run *run, struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    if (!run->is_signed) {
        return WW_OK;
    }
    rc = ww_pack_check_section(&run->file, run->view.member, err);
    for (size_t i = 0; i < run->parents.n && !rc; i++) {
        rc = ww_pack_check_section(&run->file, run->parents.items[i].view.member, err);
    }
    return rc;
}

enum ww_err ww_unpack_tensor(const char *path, const char *name, const char *tensor,
                             const struct ww_unpack_options *options, ww_unpack_fn give,
                             void *payload, struct ww_error *err)
{
    struct ww_unpack_run run;
    struct ww_unpack_rooms rooms;
    struct ww_unpack_room *room = NULL;
    uint8_t *bytes = ww_calloc(2, WW_CHUNK_BYTES);
    enum ww_err rc = bytes ? WW_OK : WW_FAIL_MEMORY(err, "a tensor");

    ww_unpack_rooms_init(&rooms);
    if (!rc) {
        rc = ww_unpack_rooms_take(&rooms, &room, err);
    }
    if (rc) {
        goto out;
    }
    rc = ww_unpack_open(&run, path, name, options, err);
    if (!rc) {
        rc = ww_unpack_refuse_asking(&run, err);
        if (!rc) {
            rc = ww_unpack_check_signed(&run, err);
        }
        if (!rc) {
            rc = give_tensor(&run, tensor, room, bytes, give, payload, err);
        }
        ww_unpack_close(&run);
    }
    ww_unpack_rooms_give(&rooms, room);
out:
    ww_unpack_rooms_release(&rooms);
    ww_free(bytes);
    return rc;
}
