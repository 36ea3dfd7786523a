/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Exactness is about files, so a folder is taken as files: safetensors files are cut at
 * their tensors, others are coded as bytes. A model need not be understood to come back.
 */
#include "rmm/member.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "model/adapter.h"
#include "rmm/base_read.h"
#include "rmm/chunk.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"

static enum ww_err open_file(struct ww_member *m, uint32_t i, struct ww_error *err)
{
    struct ww_member_file *file = &m->files[i];
    struct ww_pack_table_file *entry = &m->table.files[i];
    enum ww_err rc =
        ww_file_open_at(m->dirfd, entry->path, WW_LINKS_HUB, &file->fd, &file->st, err);

    if (rc) {
        return rc;
    }
    entry->size_bytes = (uint64_t)file->st.st_size;
    m->bytes += entry->size_bytes;
    if (ww_str_ends(entry->path, ".safetensors")) {
        /* One that is malformed is coded as bytes, as any other file. */
        rc = ww_st_file_open(m->dirfd, entry->path, &file->weights, NULL);
        if (rc) {
            memset(&file->weights, 0, sizeof(file->weights));
            file->weights.fd = -1;
        }
    }
    return rc == WW_E_NOMEM ? WW_FAIL_MEMORY(err, "member '%s'", m->name) : WW_OK;
}

static enum ww_err open_files(struct ww_member *m, struct ww_error *err)
{
    uint32_t n_weights = 0;
    enum ww_err rc = WW_OK;

    m->files = ww_calloc(m->folder.n, sizeof(*m->files));
    m->table.files = ww_calloc(m->folder.n, sizeof(*m->table.files));
    if (!m->files || !m->table.files) {
        return WW_FAIL_MEMORY(err, "member '%s'", m->name);
    }
    for (size_t e = 0; e < m->folder.n && !rc; e++) {
        const struct ww_entry *entry = &m->folder.items[e];
        const uint32_t i = m->table.n_files;
        if (!entry->is_regular) {
            return WW_FAIL(err, WW_E_PATH,
                           "member '%s': '%s' is no regular file; remove it or pack "
                           "another folder",
                           m->name, entry->path);
        }
        m->files[i].fd = -1;
        m->files[i].weights.fd = -1;
        m->table.files[i].path = entry->path;
        m->table.n_files++;
        rc = open_file(m, i, err);
        n_weights += m->files[i].weights.fd >= 0;
    }
    if (!rc && n_weights == 0) {
        rc = WW_FAIL(err, WW_E_UNSUPPORTED,
                     "member '%s': there is no safetensors file in '%s'", m->name,
                     m->path);
    }
    return rc;
}

/* A weight file's header and tensors; other files are one part. */
static uint32_t count_parts(const struct ww_member *m)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < m->table.n_files; i++) {
        n += 1 + m->files[i].weights.parsed.n_tensors;
    }
    return n;
}

static bool may_predict(const struct ww_tensor *a, const struct ww_st_tensor *b)
{
    return ww_base_becomes(a->dtype, b->dtype) && a->rank == b->rank &&
           memcmp(a->shape, b->shape, a->rank * sizeof(a->shape[0])) == 0;
}

static void add_part(struct ww_member *m, const char *tensor, enum ww_dtype dtype,
                     uint64_t bytes, uint32_t base, enum ww_dtype base_dtype)
{
    const uint32_t p = m->table.n_parts++;
    struct ww_pack_table_part *part = &m->table.parts[p];

    *part = (struct ww_pack_table_part){.tensor = tensor,
                                        .dtype = dtype,
                                        .predicted = base != WW_NONE,
                                        .base_dtype = base_dtype,
                                        .bytes = bytes,
                                        .first_chunk = m->table.n_chunks,
                                        .n_chunks = ww_part_chunks(bytes)};
    m->table.n_chunks += part->n_chunks;
    m->base_tensors[p] = base;
}

static void add_parts(struct ww_member *m, uint32_t i, const struct ww_model *base)
{
    struct ww_pack_table_file *entry = &m->table.files[i];
    const struct ww_st_file *weights = &m->files[i].weights;

    entry->first_part = m->table.n_parts;
    if (weights->fd < 0) {
        add_part(m, NULL, WW_DTYPE_U8, entry->size_bytes, WW_NONE, WW_DTYPE_U8);
    } else {
        add_part(m, NULL, WW_DTYPE_U8, weights->header_bytes, WW_NONE, WW_DTYPE_U8);
    }
    for (uint32_t t = 0; weights->fd >= 0 && t < weights->parsed.n_tensors; t++) {
        const struct ww_st_tensor *tensor = &weights->parsed.tensors[t];
        uint32_t found = base ? ww_model_find(base, tensor->name) : WW_NONE;
        if (found != WW_NONE && (!may_predict(&base->tensors[found], tensor) ||
                                 tensor->end == tensor->begin)) {
            found = WW_NONE;
        }
        add_part(m, tensor->name, tensor->dtype, tensor->end - tensor->begin, found,
                 found == WW_NONE ? tensor->dtype : base->tensors[found].dtype);
    }
    entry->n_parts = m->table.n_parts - entry->first_part;
}

static enum ww_err cut(struct ww_member *m, const struct ww_model *base,
                       struct ww_error *err)
{
    const uint32_t n = count_parts(m);

    m->table.parts = ww_calloc(n, sizeof(*m->table.parts));
    m->base_tensors = ww_calloc(n, sizeof(*m->base_tensors));
    m->ranks = ww_calloc(n, sizeof(*m->ranks));
    m->rank_sought = ww_calloc(n, sizeof(*m->rank_sought));
    if (!m->table.parts || !m->base_tensors || !m->ranks || !m->rank_sought) {
        return WW_FAIL_MEMORY(err, "member '%s'", m->name);
    }
    for (uint32_t i = 0; i < m->table.n_files; i++) {
        add_parts(m, i, base);
    }
    m->table.chunks = ww_calloc(m->table.n_chunks, sizeof(*m->table.chunks));
    return m->table.chunks ? WW_OK : WW_FAIL_MEMORY(err, "member '%s'", m->name);
}

/* A change is against a base; a model without one has none. */
static enum ww_err want_changes(struct ww_member *m, const struct ww_model *base,
                                struct ww_error *err)
{
    if (!base) {
        return WW_FAIL(err, WW_E_UNSUPPORTED,
                       "member '%s' is a model, and its change is packed within an "
                       "error: name the base, or pack it exactly",
                       m->name);
    }
    m->changes = ww_calloc(m->table.n_parts, sizeof(*m->changes));
    return m->changes ? WW_OK : WW_FAIL_MEMORY(err, "member '%s'", m->name);
}

/* All versions of a model, and each file under two names. */
static enum ww_err refuse_cache(const struct ww_member *m, struct ww_error *err)
{
    return faccessat(m->dirfd, "snapshots", F_OK, 0) == 0 &&
                   faccessat(m->dirfd, "blobs", F_OK, 0) == 0
               ? WW_FAIL(err, WW_E_UNSUPPORTED,
                         "member '%s': '%s' is what a cache of Hugging Face's has of a "
                         "model; give the folder of one version, below its 'snapshots'",
                         m->name, m->path)
               : WW_OK;
}

enum ww_err ww_member_open(const char *name, const char *path,
                           const struct ww_model *base, double error,
                           struct ww_member *out, struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    memset(out, 0, sizeof(*out));
    out->name = name;
    out->path = path;
    out->dirfd = -1;
    out->error = error;
    rc = ww_dir_open(path, &out->dirfd, err);
    if (rc) {
        goto out;
    }
    rc = refuse_cache(out, err);
    if (!rc) {
        rc = ww_folder_scan(out->dirfd, &out->folder, err);
    }
    if (!rc) {
        rc = open_files(out, err);
    }
    if (!rc) {
        rc = cut(out, base, err);
    }
    out->adapter = !rc && ww_adapter_is_folder(path);
    if (!rc && error > 0) {
        rc = out->adapter ? ww_member_pair(out, err) : want_changes(out, base, err);
    }
out:
    if (rc) {
        ww_member_close(out);
    }
    return rc;
}

static void drop_cuts(struct ww_member *m)
{
    ww_free(m->table.parts);
    ww_free(m->table.chunks);
    ww_free(m->base_tensors);
    ww_free(m->ranks);
    ww_free(m->rank_sought);
    m->table.parts = NULL;
    m->table.chunks = NULL;
    m->table.n_parts = 0;
    m->table.n_chunks = 0;
    m->base_tensors = NULL;
    m->ranks = NULL;
    m->rank_sought = NULL;
}

enum ww_err ww_member_of_file(const char *name, const char *file, int fd,
                              struct ww_member *out, struct ww_error *err)
{
    const int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    struct ww_member_file *to = ww_calloc(1, sizeof(*to));
    enum ww_err rc = WW_OK;

    memset(out, 0, sizeof(*out));
    out->name = name;
    out->dirfd = -1;
    out->files = to;
    out->table.files = ww_calloc(1, sizeof(*out->table.files));
    if (copy < 0 || !to || !out->table.files) {
        rc = copy < 0 ? WW_FAIL_SYS(err, ww_err_from_errno(errno), errno,
                                    "cannot open '%s' twice", file)
                      : WW_FAIL_MEMORY(err, "member '%s'", name);
        close(fd);
        if (copy >= 0) {
            close(copy);
        }
        goto out;
    }
    to->fd = fd;
    out->table.n_files = 1;
    rc = ww_st_file_of(copy, file, &to->weights, err);
    if (!rc) {
        to->st = to->weights.st;
        out->table.files[0].path = file;
        out->table.files[0].size_bytes = (uint64_t)to->st.st_size;
        out->bytes = (uint64_t)to->st.st_size;
        rc = cut(out, NULL, err);
    }
out:
    if (rc) {
        ww_member_close(out);
    }
    return rc;
}

enum ww_err ww_member_with_file(struct ww_member *m, const char *file, int fd,
                                struct ww_error *err)
{
    const uint32_t n = m->table.n_files;
    struct ww_member_file *files = ww_realloc_array(m->files, n + 1, sizeof(*files));
    struct ww_pack_table_file *entries = NULL;

    m->files = files ? files : m->files;
    entries = ww_realloc_array(m->table.files, n + 1, sizeof(*entries));
    m->table.files = entries ? entries : m->table.files;
    if (!files || !entries) {
        close(fd);
        return WW_FAIL_MEMORY(err, "member '%s'", m->name);
    }
    files[n] = (struct ww_member_file){.fd = fd, .weights.fd = -1};
    entries[n] = (struct ww_pack_table_file){.path = file};
    m->table.n_files++;
    if (fstat(fd, &files[n].st) != 0) {
        return WW_FAIL_SYS(err, ww_err_from_errno(errno), errno, "cannot read '%s'",
                           file);
    }
    entries[n].size_bytes = (uint64_t)files[n].st.st_size;
    m->bytes += entries[n].size_bytes;
    drop_cuts(m);
    return cut(m, NULL, err);
}

enum ww_err ww_member_unchanged(const struct ww_member *m, struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    for (uint32_t i = 0; i < m->table.n_files && !rc; i++) {
        if (m->files[i].fd >= 0) {
            rc = ww_file_unchanged(m->files[i].fd, &m->files[i].st,
                                   m->table.files[i].path, err);
        }
    }
    return rc;
}

void ww_member_close(struct ww_member *m)
{
    ww_unmerge_close(&m->unmerge);
    for (uint32_t i = 0; m->files && i < m->table.n_files; i++) {
        if (m->files[i].fd >= 0) {
            close(m->files[i].fd);
        }
        ww_st_file_close(&m->files[i].weights);
    }
    for (uint32_t p = 0; m->ranks && p < m->table.n_parts; p++) {
        ww_rank_coded_free(m->ranks[p]);
    }
    ww_free(m->ranks);
    ww_free(m->rank_sought);
    ww_free(m->files);
    ww_free(m->base_tensors);
    for (uint32_t i = 0; i < m->n_pairs; i++) {
        ww_own_release(&m->pairs[i].own);
    }
    ww_free(m->pairs);
    ww_free(m->pair_of);
    ww_free(m->changes);
    for (uint32_t p = 0; m->shared && p < m->table.n_parts; p++) {
        ww_shared_release(&m->shared[p].numbers);
    }
    ww_free(m->shared);
    ww_adapter_close(m->opened);
    ww_pack_table_release(&m->table);
    ww_folder_release(&m->folder);
    if (m->path && m->dirfd >= 0) {
        close(m->dirfd);
    }
    memset(m, 0, sizeof(*m));
}
