/* SPDX-License-Identifier: Apache-2.0 */
#include "lineage/logits_matrix.h"

#include <string.h>
#include <unistd.h>

#include "model/convert.h"
#include "model/st_file.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"
#include "util/str.h"

static enum ww_err open_file(const char *path, struct ww_st_file *out,
                             struct ww_error *err)
{
    int dirfd = -1;
    enum ww_err rc = ww_dir_open_of(path, &dirfd, err);

    if (!rc) {
        rc = ww_st_file_open(dirfd, ww_path_base(path), out, err);
        close(dirfd);
    }
    return rc;
}

static enum ww_err find_matrix(const struct ww_st_file *file,
                               const struct ww_st_tensor **out, bool *logprobs,
                               struct ww_error *err)
{
    const struct ww_st_tensor *found = NULL;

    for (uint32_t i = 0; i < file->parsed.n_tensors; i++) {
        const struct ww_st_tensor *t = &file->parsed.tensors[i];
        const bool logits = ww_str_eq(t->name, "logits");
        if (!logits && !ww_str_eq(t->name, "logprobs")) {
            continue;
        }
        if (found) {
            return WW_FAIL(err, WW_E_MALFORMED,
                           "both 'logits' and 'logprobs' are there; leave one out");
        }
        found = t;
        *logprobs = !logits;
    }
    if (!found || found->rank != 2 || !ww_dtype_is_plain_float(found->dtype)) {
        return WW_FAIL(err, WW_E_TENSOR,
                       "expected a float matrix 'logits' or 'logprobs' of answers x "
                       "tokens");
    }
    *out = found;
    return WW_OK;
}

static enum ww_err take_rows(struct ww_said *a, const struct ww_st_file *file,
                             const struct ww_st_tensor *t, const char *path,
                             struct ww_error *err)
{
    const size_t vocab = (size_t)t->shape[1];
    const size_t row_bytes = vocab * (ww_dtype_bits(t->dtype) / 8);
    uint8_t *bytes = ww_calloc(row_bytes, 1);
    double *row = ww_calloc(vocab, sizeof(*row));
    enum ww_err rc = bytes && row ? WW_OK : WW_FAIL_MEMORY(err, "answers");

    for (uint64_t r = 0; r < t->shape[0] && !rc; r++) {
        rc = ww_said_room(a, err);
        if (!rc) {
            rc = ww_pread_full(file->fd, bytes, row_bytes,
                               file->header_bytes + t->begin + r * row_bytes, path, err);
        }
        if (!rc) {
            ww_to_double(t->dtype, bytes, row, vocab);
        }
        for (size_t i = 0; i < a->n_ids && !rc; i++) {
            rc = ww_said_check(row[a->ids[i]], r, err);
            a->values[a->n * a->n_ids + i] = row[a->ids[i]];
        }
        a->n += !rc;
        a->bytes_read += row_bytes;
    }
    ww_free(bytes);
    ww_free(row);
    return rc;
}

enum ww_err ww_said_matrix(struct ww_said *a, const char *path, struct ww_error *err)
{
    struct ww_st_file file = {.fd = -1};
    const struct ww_st_tensor *t = NULL;
    enum ww_err rc = open_file(path, &file, err);

    if (rc) {
        return rc;
    }
    rc = find_matrix(&file, &t, &a->logprobs, err);
    if (!rc) {
        rc = ww_said_vocab(a, t->shape[1], err);
    }
    if (!rc) {
        rc = take_rows(a, &file, t, path, err);
    }
    ww_st_file_close(&file);
    return rc;
}
