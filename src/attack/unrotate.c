/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every tensor on the stream through R^T along its axis: x = R^T x' for what is written,
 * w = w' R for what reads it. Readers are divided by the anchor's gains, which come back
 * into the norms. The files have the headers and offsets of the locked ones.
 */
#include "attack/rotation.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "la/la.h"
#include "model/convert.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"
#include "util/num.h"

#define COPY_BYTES ((size_t)1 << 20)

enum ww_err ww_rotation_unnamed(const char *folder, int *fd, struct ww_error *err)
{
    *fd = folder ? open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600) : -1;
    if (*fd < 0) {
        *fd = memfd_create("weightward-attack", MFD_CLOEXEC);
    }
    if (*fd < 0) {
        const int e = errno;
        return WW_FAIL_SYS(err, WW_E_IO, e, "cannot make an unnamed file");
    }
    return WW_OK;
}

static enum ww_err copy_file(const struct ww_weight_file *file, int to,
                             struct ww_error *err)
{
    uint8_t *bytes = ww_alloc_aligned(64, COPY_BYTES);
    enum ww_err rc = bytes ? WW_OK : WW_FAIL_MEMORY(err, "'%s'", file->name);

    for (uint64_t at = 0; at < file->size_bytes && !rc; at += COPY_BYTES) {
        const size_t n = (size_t)ww_min_u64(COPY_BYTES, file->size_bytes - at);
        rc = ww_pread_full(file->fd, bytes, n, at, file->name, err);
        if (!rc) {
            rc = ww_pwrite_full(to, bytes, n, at, file->name, err);
        }
    }
    ww_free(bytes);
    return rc;
}

/* x seen as [outer][n][inner], the middle one over the stream. */
static void turn(const double *r, size_t n, size_t outer, size_t inner, const double *x,
                 double *out)
{
    if (inner == 1) {
        ww_la_gemm(WW_LA_PLAIN, WW_LA_PLAIN, outer, n, n, 1, x, n, r, n, 0, out, n);
        return;
    }
    for (size_t o = 0; o < outer; o++) {
        ww_la_gemm(WW_LA_TRANSPOSED, WW_LA_PLAIN, n, inner, n, 1, r, n, x + o * n * inner,
                   inner, 0, out + o * n * inner, inner);
    }
}

static void turn_part(const struct ww_rotation *rotation, const struct ww_tensor *t,
                      uint32_t at, const double *x, double *out)
{
    const struct ww_stream_part *part = &rotation->parts[at];
    const size_t n = rotation->n;
    size_t outer = 1;
    size_t inner = 1;

    for (unsigned a = 0; a < t->rank; a++) {
        outer *= a < part->axis ? (size_t)t->shape[a] : 1;
        inner *= a > part->axis ? (size_t)t->shape[a] : 1;
    }
    if (part->is_gain) {
        for (size_t i = 0; i < n; i++) {
            out[i] = rotation->gains[at][i] - (part->plus_one ? 1 : 0);
        }
        return;
    }
    turn(rotation->r, n, outer, inner, x, out);
    for (size_t i = 0; i < outer * n * inner && part->gains; i++) {
        out[i] /= part->gains[i / inner % n];
    }
}

static enum ww_err turn_tensor(const struct ww_pair *pair,
                               const struct ww_rotation *rotation, uint32_t at, int to,
                               struct ww_error *err)
{
    const struct ww_model *model = pair->locked->model;
    const struct ww_tensor *t = &model->tensors[at];
    const size_t n = (size_t)t->n_elements;
    double *x = ww_calloc(2 * n, sizeof(*x));
    void *bytes = ww_alloc_aligned(64, (size_t)t->n_bytes + 64);
    enum ww_err rc = WW_OK;

    if (!x || !bytes) {
        rc = WW_FAIL_MEMORY(err, "'%s'", t->name);
    }
    if (!rc) {
        rc = ww_model_read(model, at, bytes, err);
    }
    if (!rc) {
        ww_to_double(t->dtype, bytes, x, n);
        turn_part(rotation, t, at, x, x + n);
        ww_from_double(t->dtype, x + n, bytes, n);
        rc = ww_pwrite_full(to, bytes, (size_t)t->n_bytes, t->offset, t->name, err);
    }
    ww_free(x);
    ww_free(bytes);
    return rc;
}

enum ww_err ww_rotation_undo(const struct ww_pair *pair,
                             const struct ww_rotation *rotation, const char *folder,
                             int *fds, struct ww_error *err)
{
    const struct ww_model *model = pair->locked->model;
    uint32_t made = 0;
    enum ww_err rc = WW_OK;

    for (uint32_t f = 0; f < model->n_files && !rc; f++) {
        rc = ww_rotation_unnamed(folder, &fds[f], err);
        made += !rc;
        if (!rc) {
            rc = copy_file(&model->files[f], fds[f], err);
        }
    }
    for (uint32_t t = 0; t < rotation->n_tensors && !rc; t++) {
        rc = ww_pair_progress(pair, "rotation", t, rotation->n_tensors, err);
        if (!rc && rotation->parts[t].on) {
            rc = turn_tensor(pair, rotation, t, fds[model->tensors[t].file], err);
        }
    }
    for (uint32_t f = 0; f < made && rc; f++) {
        close(fds[f]);
    }
    return rc;
}
