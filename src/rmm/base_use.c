/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The base is named by roots of the tensor tree, tensor by tensor: they do not depend on
 * shards, and a signed base states the same ones. They are found while the base is read
 * for coding, so they cost no second read.
 */
#include "rmm/base_use.h"

#include <string.h>
#include <unistd.h>

#include "stream/tree.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"
#include "util/num.h"

#define STEP ((size_t)1 << 20)

enum ww_err ww_base_use_init(struct ww_base_use *use, const struct ww_model *base,
                             struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    memset(use, 0, sizeof(*use));
    use->base = base;
    if (!base) {
        return WW_OK;
    }
    rc = ww_tree_order(base, &use->order, &use->rank, err);
    use->used = ww_calloc(base->n_tensors, sizeof(*use->used));
    use->roots = ww_calloc(base->n_tensors, sizeof(*use->roots));
    use->leaves = ww_calloc(base->n_tensors, sizeof(*use->leaves));
    use->reader = ww_calloc(base->n_tensors, sizeof(*use->reader));
    use->files = ww_calloc(base->n_side, sizeof(*use->files));
    if (!rc &&
        (!use->used || !use->roots || !use->leaves || !use->reader || !use->files)) {
        rc = WW_FAIL_MEMORY(err, "the base of a package");
    }
    if (rc) {
        ww_base_use_release(use);
    }
    return rc;
}

void ww_base_use_release(struct ww_base_use *use)
{
    for (uint32_t t = 0; use->leaves && t < use->base->n_tensors; t++) {
        ww_free(use->leaves[t]);
    }
    ww_free(use->order);
    ww_free(use->rank);
    ww_free(use->used);
    ww_free(use->roots);
    ww_free(use->leaves);
    ww_free(use->reader);
    ww_free(use->files);
    memset(use, 0, sizeof(*use));
}

enum ww_err ww_base_use_begin(struct ww_base_use *use, uint32_t tensor, uint64_t reader,
                              struct ww_error *err)
{
    const uint64_t bytes = use->base->tensors[tensor].n_bytes;

    if (use->used[tensor] || use->leaves[tensor]) {
        return WW_OK;
    }
    use->reader[tensor] = reader;
    use->leaves[tensor] =
        ww_calloc((size_t)ww_div_up(bytes, WW_TREE_CHUNK), sizeof(*use->leaves[tensor]));
    return use->leaves[tensor] ? WW_OK : WW_FAIL_MEMORY(err, "the base of a package");
}

void ww_base_use_cancel(struct ww_base_use *use, uint32_t tensor, uint64_t reader)
{
    if (ww_base_use_leaves(use, tensor, reader)) {
        ww_free(use->leaves[tensor]);
        use->leaves[tensor] = NULL;
    }
}

uint8_t (*ww_base_use_leaves(const struct ww_base_use *use, uint32_t tensor,
                             uint64_t reader))[WW_SHA256_BYTES]
{
    return use->reader[tensor] == reader ? use->leaves[tensor] : NULL;
}

enum ww_err ww_base_use_end(struct ww_base_use *use, uint32_t tensor, uint64_t reader,
                            struct ww_error *err)
{
    const struct ww_tensor *t = &use->base->tensors[tensor];
    uint8_t tree[WW_SHA256_BYTES];
    struct ww_sha256 *sha = NULL;
    enum ww_err rc = WW_OK;

    if (!ww_base_use_leaves(use, tensor, reader)) {
        return WW_OK;
    }
    rc = ww_sha256_new(&sha, err);
    if (rc) {
        return rc;
    }
    ww_tree_fold(sha, use->leaves[tensor], (size_t)ww_div_up(t->n_bytes, WW_TREE_CHUNK),
                 tree);
    rc = ww_tree_tensor_root(sha, t, tree, use->roots[tensor], err);
    use->used[tensor] = !rc;
    ww_free(use->leaves[tensor]);
    use->leaves[tensor] = NULL;
    ww_sha256_free(sha);
    return rc;
}

void ww_base_use_state(struct ww_base_use *use, uint32_t tensor,
                       const uint8_t root[WW_SHA256_BYTES])
{
    memcpy(use->roots[tensor], root, WW_SHA256_BYTES);
    use->used[tensor] = true;
}

static uint32_t find_side(const struct ww_model *base, const char *path)
{
    for (uint32_t i = 0; base && i < base->n_side; i++) {
        if (strcmp(base->side[i].path, path) == 0) {
            return i;
        }
    }
    return WW_NONE;
}

/* Digest of n bytes of a file; *same stays true while those of `other` are the same. */
static enum ww_err digest_beside(int fd, int other, uint64_t n, const char *name,
                                 uint8_t *room, uint8_t sha256[WW_SHA256_BYTES],
                                 bool *same, struct ww_error *err)
{
    struct ww_sha256 *sha = NULL;
    enum ww_err rc = ww_sha256_new(&sha, err);

    for (uint64_t at = 0; at < n && !rc; at += STEP) {
        const size_t len = (size_t)ww_min_u64(STEP, n - at);
        rc = ww_pread_full(fd, room, len, at, name, err);
        if (!rc && *same) {
            rc = ww_pread_full(other, room + STEP, len, at, name, err);
            *same = !rc && memcmp(room, room + STEP, len) == 0;
        }
        if (!rc) {
            ww_sha256_update(sha, room, len);
        }
    }
    if (!rc) {
        ww_sha256_final(sha, sha256);
    }
    ww_sha256_free(sha);
    return rc;
}

enum ww_err ww_base_use_file(struct ww_base_use *use, const char *path, int fd,
                             uint64_t size_bytes, uint8_t sha256[WW_SHA256_BYTES],
                             bool *same, struct ww_error *err)
{
    const uint32_t side = find_side(use->base, path);
    uint8_t *room = NULL;
    int other = -1;
    struct stat st;
    enum ww_err rc = WW_OK;

    *same = false;
    if (side == WW_NONE || use->base->side[side].size_bytes != size_bytes) {
        return WW_OK;
    }
    room = ww_calloc(2, STEP);
    if (!room) {
        return WW_FAIL_MEMORY(err, "the base of a package");
    }
    rc = ww_file_open_at(use->base->dirfd, path, WW_LINKS_HUB, &other, &st, err);
    *same = !rc && (uint64_t)st.st_size == size_bytes;
    if (!rc) {
        rc = digest_beside(fd, other, size_bytes, path, room, sha256, same, err);
    }
    if (!rc && *same) {
        use->files[side] = (struct ww_base_file){.path = use->base->side[side].path,
                                                 .size_bytes = size_bytes};
        memcpy(use->files[side].sha256, sha256, WW_SHA256_BYTES);
    }
    if (other >= 0) {
        close(other);
    }
    ww_free(room);
    return rc;
}

static void fill_tensor(const struct ww_base_use *use, uint32_t t,
                        struct ww_base_tensor *out)
{
    const struct ww_tensor *from = &use->base->tensors[t];

    *out = (struct ww_base_tensor){
        .name = from->name, .dtype = from->dtype, .rank = from->rank};
    memcpy(out->shape, from->shape, sizeof(out->shape));
    memcpy(out->root, use->roots[t], WW_SHA256_BYTES);
}

/* Both lists are in name order. */
static enum ww_err merge_tensors(const struct ww_base_use *use,
                                 struct ww_pack_manifest *m, struct ww_error *err)
{
    const uint32_t n = use->base->n_tensors;
    struct ww_base_tensor *all = ww_calloc(m->n_tensors + n, sizeof(*all));
    size_t at = 0;
    size_t n_all = 0;
    enum ww_err rc = all ? WW_OK : WW_FAIL_MEMORY(err, "the base of a package");

    for (uint32_t k = 0; k < n && !rc; k++) {
        const uint32_t t = use->order[k];
        const char *name = use->base->tensors[t].name;
        while (at < m->n_tensors && strcmp(m->tensors[at].name, name) < 0) {
            all[n_all++] = m->tensors[at++];
        }
        const bool there = at < m->n_tensors && strcmp(m->tensors[at].name, name) == 0;
        if (there && use->used[t] &&
            memcmp(m->tensors[at].root, use->roots[t], WW_SHA256_BYTES) != 0) {
            rc = ww_base_use_other("tensor", name, err);
        }
        if (there) {
            all[n_all++] = m->tensors[at++];
        } else if (use->used[t]) {
            fill_tensor(use, t, &all[n_all++]);
        }
    }
    while (at < m->n_tensors && !rc) {
        all[n_all++] = m->tensors[at++];
    }
    if (rc) {
        ww_free(all);
        return rc;
    }
    ww_free(m->tensors);
    m->tensors = all;
    m->n_tensors = n_all;
    return WW_OK;
}

static enum ww_err merge_files(const struct ww_base_use *use, struct ww_pack_manifest *m,
                               struct ww_error *err)
{
    const uint32_t n = use->base->n_side;
    struct ww_base_file *all = ww_calloc(m->n_files + n, sizeof(*all));
    size_t at = 0;
    size_t n_all = 0;
    enum ww_err rc = all ? WW_OK : WW_FAIL_MEMORY(err, "the base of a package");

    for (uint32_t i = 0; i < n && !rc; i++) {
        const struct ww_base_file *f = &use->files[i];
        const char *path = use->base->side[i].path;
        while (at < m->n_files && strcmp(m->files[at].path, path) < 0) {
            all[n_all++] = m->files[at++];
        }
        const bool there = at < m->n_files && strcmp(m->files[at].path, path) == 0;
        if (there && f->path &&
            memcmp(m->files[at].sha256, f->sha256, WW_SHA256_BYTES) != 0) {
            rc = ww_base_use_other("file", path, err);
        }
        if (there) {
            all[n_all++] = m->files[at++];
        } else if (f->path) {
            all[n_all++] = *f;
        }
    }
    while (at < m->n_files && !rc) {
        all[n_all++] = m->files[at++];
    }
    if (rc) {
        ww_free(all);
        return rc;
    }
    ww_free(m->files);
    m->files = all;
    m->n_files = n_all;
    return WW_OK;
}

enum ww_err ww_base_use_note(const struct ww_base_use *use, struct ww_pack_manifest *m,
                             struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    if (!use->base) {
        return WW_OK;
    }
    if (!m->base_name) {
        m->base_name = use->base->name;
    }
    rc = merge_tensors(use, m, err);
    return rc ? rc : merge_files(use, m, err);
}
