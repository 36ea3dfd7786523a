/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Parts are cut at the same places in every member, so that a chunk needs one chunk of
 * each parent and no more. Parents come before their children in the manifest, which
 * leaves no room for a circle.
 */
#include "rmm/parent.h"

#include <stdlib.h>
#include <string.h>

#include "rmm/base_read.h"
#include "rmm/shared_load.h"
#include "rmm/unpack_plan.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"

/* A tensor by its name, or what is no tensor by its file. */
struct ww_parent_name {
    const char *name;
    bool tensor;
    uint32_t part;
};

static int compare(const void *a, const void *b)
{
    const struct ww_parent_name *x = a;
    const struct ww_parent_name *y = b;
    const int order = strcmp(x->name, y->name);

    if (x->tensor != y->tensor) {
        return x->tensor ? 1 : -1;
    }
    return order ? order : (x->part > y->part) - (x->part < y->part);
}

static enum ww_err sort_names(struct ww_parent *p, struct ww_error *err)
{
    const struct ww_pack_table *t = &p->view.table;

    p->names = ww_calloc(t->n_parts, sizeof(*p->names));
    if (!p->names) {
        return WW_FAIL_MEMORY(err, "a member's parent");
    }
    for (uint32_t f = 0; f < t->n_files; f++) {
        for (uint32_t i = 0; i < t->files[f].n_parts; i++) {
            const uint32_t part = t->files[f].first_part + i;
            const char *tensor = t->parts[part].tensor;
            if (tensor || i == 0) {
                p->names[p->n_names++] = (struct ww_parent_name){
                    tensor ? tensor : t->files[f].path, tensor != NULL, part};
            }
        }
    }
    qsort(p->names, p->n_names, sizeof(*p->names), compare);
    return WW_OK;
}

static uint32_t find(const struct ww_parent *p, const char *name, bool tensor)
{
    const struct ww_parent_name wanted = {name, tensor, 0};
    size_t low = 0;
    size_t high = p->n_names;

    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (compare(&p->names[middle], &wanted) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    if (low == p->n_names || p->names[low].tensor != wanted.tensor ||
        strcmp(p->names[low].name, wanted.name) != 0) {
        return WW_NONE;
    }
    return p->names[low].part;
}

uint32_t ww_parent_part(const struct ww_parent *p, const struct ww_pack_table_part *part,
                        const char *path)
{
    const uint32_t at =
        p->view.member->basis
            ? WW_NONE
            : find(p, part->tensor ? part->tensor : path, part->tensor != NULL);
    const struct ww_pack_table_part *found =
        at == WW_NONE ? NULL : &p->view.table.parts[at];

    return found && found->bytes == part->bytes && found->dtype == part->dtype ? at
                                                                               : WW_NONE;
}

/* The basis' tensor for a part that shares it. */
static uint32_t basis_part(const struct ww_parent *p,
                           const struct ww_pack_table_part *part)
{
    const struct ww_pack_manifest_member *basis = p->view.member;
    const uint32_t at = basis->basis && basis->codec == part->shared.codec
                            ? find(p, part->tensor, true)
                            : WW_NONE;
    const struct ww_pack_table_part *found =
        at == WW_NONE ? NULL : &p->view.table.parts[at];
    const uint64_t n = part->bytes / (ww_dtype_bits(part->dtype) / 8);

    return found && found->dtype == WW_DTYPE_BF16 &&
                   found->bytes == ww_shared_basis_bytes(&part->shared, n)
               ? at
               : WW_NONE;
}

static uint32_t bind(const struct ww_parent *parent,
                     const struct ww_pack_table_part *part, const char *path, bool first)
{
    if (!parent) {
        return WW_NONE;
    }
    if (part->shared.codec != WW_SHARED_NONE) {
        return basis_part(parent, part);
    }
    return part->tensor || first ? ww_parent_part(parent, part, path) : WW_NONE;
}

enum ww_err ww_parent_bind(const struct ww_parent *parent, const char *member,
                           struct ww_pack_table *t, struct ww_error *err)
{
    t->parent = parent;
    for (uint32_t f = 0; f < t->n_files; f++) {
        for (uint32_t i = 0; i < t->files[f].n_parts; i++) {
            struct ww_pack_table_part *part = &t->parts[t->files[f].first_part + i];
            if (!part->chained) {
                continue;
            }
            part->parent_part = bind(parent, part, t->files[f].path, i == 0);
            if (part->parent_part == WW_NONE) {
                return WW_FAIL(err, WW_E_MALFORMED,
                               "member '%s': '%s' is coded against a parent that does "
                               "not have it",
                               member, part->tensor ? part->tensor : t->files[f].path);
            }
        }
    }
    return WW_OK;
}

enum ww_err ww_parent_open(int fd, uint64_t offset,
                           const struct ww_pack_manifest_member *member,
                           struct ww_secret *key, const struct ww_model *base,
                           const struct ww_parent *parent, struct ww_parent *out,
                           struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    memset(out, 0, sizeof(*out));
    out->base = base;
    out->parent = parent;
    rc = ww_pack_view_open_with(fd, offset, member, key, &out->view, err);
    if (!rc) {
        rc = sort_names(out, err);
    }
    if (!rc) {
        rc = ww_parent_bind(parent, member->name, &out->view.table, err);
    }
    if (rc) {
        ww_parent_close(out);
    }
    return rc;
}

void ww_parent_close(struct ww_parent *p)
{
    if (p->view.member) {
        ww_pack_view_close(&p->view);
    }
    ww_free(p->names);
    memset(p, 0, sizeof(*p));
}

static enum ww_err open_one(struct ww_parents *p, const struct ww_pack_file *f,
                            size_t member, const struct ww_unsealer *unsealer,
                            const struct ww_model *base, struct ww_parent *at,
                            struct ww_error *err)
{
    const struct ww_pack_manifest_member *m = &f->manifest.members[member];
    const bool last = at + 1 == p->items + p->n;
    struct ww_secret *key = NULL;
    uint64_t offset = 0;
    int fd = -1;
    enum ww_err rc = ww_pack_section_at(f, member, &fd, &offset, err);

    if (!rc && m->sealed) {
        rc = ww_pack_view_key(m, &f->records[member], unsealer, &key, err);
    }
    if (!rc) {
        rc = ww_parent_open(fd, offset, m, key, base, last ? NULL : at + 1, at, err);
    }
    ww_pack_section_give(f, fd);
    return rc;
}

/* The farthest first, as each needs those before it. */
enum ww_err ww_parents_open(struct ww_parents *p, const struct ww_pack_file *f,
                            size_t member, const struct ww_unsealer *unsealer,
                            const struct ww_model *base, struct ww_error *err)
{
    const struct ww_pack_manifest *m = &f->manifest;
    size_t at[WW_PACK_MAX_CHAIN + 1];
    const char *name = m->members[member].parent;
    enum ww_err rc = WW_OK;

    memset(p, 0, sizeof(*p));
    while (name && p->n <= WW_PACK_MAX_CHAIN) {
        at[p->n] = ww_pack_manifest_find(m, name);
        name = m->members[at[p->n]].parent;
        p->n++;
    }
    if (p->n == 0) {
        return WW_OK;
    }
    p->items = ww_calloc(p->n, sizeof(*p->items));
    if (!p->items) {
        p->n = 0;
        return WW_FAIL_MEMORY(err, "parents of a member");
    }
    for (size_t i = p->n; i-- > 0 && !rc;) {
        rc = open_one(p, f, at[i], unsealer, base, &p->items[i], err);
    }
    p->first = p->items;
    if (rc) {
        ww_error_context(err, "member '%s' is %s another", m->members[member].name,
                         m->members[at[0]].basis ? "coded by" : "a version of");
        ww_parents_close(p);
    }
    return rc;
}

void ww_parents_close(struct ww_parents *p)
{
    for (size_t i = 0; i < p->n; i++) {
        ww_parent_close(&p->items[i]);
    }
    ww_free(p->items);
    memset(p, 0, sizeof(*p));
}

bool ww_parent_needs_base(const struct ww_parent *p, uint32_t part)
{
    const struct ww_pack_table_part *at = &p->view.table.parts[part];

    while (at->chained) {
        p = p->parent;
        at = &p->view.table.parts[at->parent_part];
    }
    return at->predicted;
}

void ww_parent_digest(const struct ww_parent *p, uint32_t part, struct ww_sha256 *sha)
{
    const struct ww_pack_table_part *at = &p->view.table.parts[part];

    for (;;) {
        for (uint64_t c = 0; c < at->n_chunks; c++) {
            ww_sha256_update(sha, p->view.table.chunks[at->first_chunk + c].sha256,
                             WW_SHA256_BYTES);
        }
        for (uint64_t c = 0; c < at->n_factors; c++) {
            ww_sha256_update(sha, at->factors[c].sha256, WW_SHA256_BYTES);
        }
        if (!at->chained) {
            return;
        }
        p = p->parent;
        at = &p->view.table.parts[at->parent_part];
    }
}

static enum ww_err make_room(struct ww_unpack_room *room, struct ww_error *err)
{
    for (unsigned i = 0; i < 2; i++) {
        room->chain[i] = room->chain[i] ? room->chain[i] : ww_calloc(1, WW_CHUNK_BYTES);
        if (!room->chain[i]) {
            return WW_FAIL_MEMORY(err, "a member's parent");
        }
    }
    return WW_OK;
}

static enum ww_err read_base(const struct ww_parent *p,
                             const struct ww_pack_table_part *part, uint64_t chunk,
                             uint8_t *out, struct ww_error *err)
{
    uint32_t t = WW_NONE;
    enum ww_err rc = ww_unpack_base_tensor(&p->view, part, p->base, &t, err);

    if (!rc) {
        const struct ww_base_from from = ww_base_from(p->base, &p->base->tensors[t]);
        rc = ww_base_read(&from, part->dtype, chunk * WW_CHUNK_BYTES, out,
                          ww_part_chunk_bytes(part, chunk), err);
    }
    return rc;
}

enum ww_err ww_parent_predict(const struct ww_pack_view *view,
                              const struct ww_pack_table_part *part, uint64_t chunk,
                              struct ww_unpack_room *room, uint8_t *out,
                              struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    if (part->shared.codec == WW_SHARED_NONE) {
        return ww_parent_read(view->table.parent, part->parent_part, chunk, room, out,
                              err);
    }
    if (room->shared_of != part) {
        ww_shared_release(&room->shared);
        rc = ww_shared_load(view, part, room, &room->shared, err);
        room->shared_of = rc ? NULL : part;
    }
    if (!rc) {
        ww_shared_predict(&room->shared, chunk * WW_CHUNK_BYTES, out,
                          ww_part_chunk_bytes(part, chunk));
    }
    return rc;
}

enum ww_err ww_parent_read(const struct ww_parent *p, uint32_t part, uint64_t chunk,
                           struct ww_unpack_room *room, uint8_t *out,
                           struct ww_error *err)
{
    const struct ww_parent *levels[WW_PACK_MAX_CHAIN + 1];
    const struct ww_pack_table_part *parts[WW_PACK_MAX_CHAIN + 1];
    const uint8_t *prediction = NULL;
    unsigned depth = 0;
    enum ww_err rc = make_room(room, err);

    levels[0] = p;
    parts[0] = &p->view.table.parts[part];
    while (parts[depth]->chained && parts[depth]->shared.codec == WW_SHARED_NONE) {
        levels[depth + 1] = levels[depth]->parent;
        parts[depth + 1] =
            &levels[depth + 1]->view.table.parts[parts[depth]->parent_part];
        depth++;
    }
    if (!rc && (parts[depth]->predicted || parts[depth]->chained)) {
        uint8_t *to = room->chain[(depth + 1) % 2];
        prediction = to;
        rc = parts[depth]->chained
                 ? ww_parent_predict(&levels[depth]->view, parts[depth], chunk, room, to,
                                     err)
                 : read_base(levels[depth], parts[depth], chunk, to, err);
    }
    for (unsigned i = depth + 1; i-- > 0 && !rc;) {
        uint8_t *to = i == 0 ? out : room->chain[i % 2];
        rc =
            ww_unpack_chunk(&levels[i]->view, parts[i], chunk, prediction, room, to, err);
        prediction = to;
    }
    return rc;
}
