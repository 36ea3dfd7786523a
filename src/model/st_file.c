/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The length word is compared with the file before anything is allocated for it. A file
 * from a clone without Git LFS is a few lines of text, and common enough to be named.
 */
#include "model/st_file.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"
#include "util/num.h"

#define LENGTH_BYTES 8

typedef unsigned long long ull;

/* The length word, read and judged; out->header_bytes is set. */
static enum ww_err read_length(struct ww_st_file *file, const char *name,
                               struct ww_error *err)
{
    uint8_t word[LENGTH_BYTES];
    uint64_t size = (uint64_t)file->st.st_size;
    if (size < LENGTH_BYTES) {
        return WW_FAIL(err, WW_E_SAFETENSORS,
                       "'%s': %llu bytes are too few for a safetensors file", name,
                       (ull)size);
    }
    enum ww_err rc = ww_pread_full(file->fd, word, sizeof(word), 0, name, err);
    if (rc) {
        return rc;
    }
    if (memcmp(word, "version ", sizeof(word)) == 0) {
        return WW_FAIL(err, WW_E_SAFETENSORS,
                       "'%s': a Git LFS pointer, not the weights; fetch them with 'git "
                       "lfs pull'",
                       name);
    }
    uint64_t n = ww_get_u64le(word);
    if (n > size - LENGTH_BYTES) {
        return WW_FAIL(err, WW_E_SAFETENSORS,
                       "'%s': header of %llu bytes runs past the end of the file (%llu "
                       "bytes); not safetensors, or cut off",
                       name, (ull)n, (ull)size);
    }
    if (n > WW_ST_MAX_HEADER_BYTES) {
        return WW_FAIL(err, WW_E_LIMIT, "'%s': header of %llu bytes, at most %d are read",
                       name, (ull)n, WW_ST_MAX_HEADER_BYTES);
    }
    file->header_bytes = LENGTH_BYTES + n;
    return WW_OK;
}

static enum ww_err read_header(struct ww_st_file *out, const char *name,
                               struct ww_error *err)
{
    enum ww_err rc = read_length(out, name, err);
    if (rc) {
        return rc;
    }
    out->header = ww_alloc_aligned(sizeof(void *), (size_t)out->header_bytes);
    if (!out->header) {
        return WW_FAIL_MEMORY(err, "the header of '%s'", name);
    }
    rc = ww_pread_full(out->fd, out->header, (size_t)out->header_bytes, 0, name, err);
    if (rc) {
        return rc;
    }
    return ww_st_parse(out->header + LENGTH_BYTES, out->header_bytes - LENGTH_BYTES,
                       (uint64_t)out->st.st_size - out->header_bytes, name, &out->parsed,
                       err);
}

enum ww_err ww_st_file_open(int dirfd, const char *name, struct ww_st_file *out,
                            struct ww_error *err)
{
    enum ww_err rc;
    memset(out, 0, sizeof(*out));
    out->fd = -1;
    rc = ww_file_open_at(dirfd, name, WW_LINKS_HUB, &out->fd, &out->st, err);
    if (!rc) {
        rc = read_header(out, name, err);
    }
    if (rc) {
        ww_st_file_close(out);
    }
    return rc;
}

enum ww_err ww_st_file_of(int fd, const char *name, struct ww_st_file *out,
                          struct ww_error *err)
{
    enum ww_err rc = WW_OK;
    memset(out, 0, sizeof(*out));
    out->fd = fd;
    if (fstat(fd, &out->st) != 0) {
        const int e = errno;
        rc = WW_FAIL_SYS(err, ww_err_from_errno(e), e, "cannot examine '%s'", name);
    }
    if (!rc) {
        rc = read_header(out, name, err);
    }
    if (rc) {
        ww_st_file_close(out);
    }
    return rc;
}

void ww_st_file_close(struct ww_st_file *file)
{
    if (file->fd >= 0) {
        close(file->fd);
    }
    ww_st_release(&file->parsed);
    ww_free(file->header);
    memset(file, 0, sizeof(*file));
    file->fd = -1;
}

void ww_st_tensor_fill(struct ww_tensor *to, const struct ww_st_tensor *from,
                       uint64_t header_bytes, uint32_t file)
{
    to->name = from->name;
    to->dtype = from->dtype;
    to->rank = from->rank;
    memcpy(to->shape, from->shape, sizeof(to->shape));
    to->n_elements = from->n_elements;
    to->n_bytes = from->end - from->begin;
    to->offset = header_bytes + from->begin;
    to->file = file;
}
