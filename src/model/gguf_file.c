/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The header's length is not told anywhere, so it is read in growing prefixes until it
 * parses: at most twice its bytes in all.
 */
#include <string.h>
#include <unistd.h>

#include "model/gguf.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"
#include "util/num.h"

#define FIRST_BYTES ((uint64_t)1 << 20)

static enum ww_err read_prefix(struct ww_gguf_file *file, uint64_t n,
                               struct ww_error *err)
{
    ww_free(file->bytes);
    file->bytes = ww_calloc(1, (size_t)n);
    if (!file->bytes) {
        return WW_FAIL_MEMORY(err, "the header of '%s'", file->name);
    }
    return ww_pread_full(file->fd, file->bytes, (size_t)n, 0, file->name, err);
}

static enum ww_err read_header(struct ww_gguf_file *file, struct ww_error *err)
{
    const uint64_t size = (uint64_t)file->st.st_size;
    uint64_t n = ww_min_u64(size, FIRST_BYTES);

    for (;;) {
        struct ww_error why = {0};
        enum ww_err rc = read_prefix(file, n, err);
        if (rc) {
            return rc;
        }
        rc = ww_gguf_parse(file->bytes, n, size, file->name, &file->header, &why);
        if (!rc) {
            return WW_OK;
        }
        if (!file->header.truncated) {
            return WW_FAIL(err, why.code, "%s", why.text);
        }
        if (n >= WW_GGUF_MAX_HEADER) {
            return WW_FAIL(err, WW_E_LIMIT, "the header of '%s' is longer than %zu MiB",
                           file->name, WW_GGUF_MAX_HEADER >> 20);
        }
        n = ww_min_u64(size, ww_min_u64(4 * n, WW_GGUF_MAX_HEADER));
    }
}

enum ww_err ww_gguf_open(const char *path, struct ww_gguf_file *out, struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    memset(out, 0, sizeof(*out));
    out->fd = -1;
    out->name = ww_strdup(path);
    if (!out->name) {
        return WW_FAIL_MEMORY(err, "'%s'", path);
    }
    rc = ww_file_open(path, &out->fd, &out->st, err);
    if (!rc) {
        rc = read_header(out, err);
    }
    if (rc) {
        ww_gguf_close(out);
    }
    return rc;
}

void ww_gguf_close(struct ww_gguf_file *file)
{
    if (file->fd >= 0) {
        close(file->fd);
    }
    ww_gguf_header_release(&file->header);
    ww_free(file->name);
    ww_free(file->bytes);
    memset(file, 0, sizeof(*file));
    file->fd = -1;
}
