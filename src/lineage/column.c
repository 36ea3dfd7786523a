/* SPDX-License-Identifier: Apache-2.0 */
#include "lineage/column.h"

#include "model/convert.h"
#include "util/fail.h"
#include "util/fs.h"
#include "util/reader.h"

enum ww_err ww_column_bytes(const struct ww_model *model, uint32_t tensor, uint64_t first,
                            size_t n, uint8_t *bytes, struct ww_error *err)
{
    const struct ww_tensor *t = &model->tensors[tensor];
    const struct ww_weight_file *file = &model->files[t->file];
    const size_t size = ww_dtype_bits(t->dtype) / 8;
    const uint64_t at = t->offset + first * size;

    return file->reader
               ? file->reader->read(file->reader->payload, at, bytes, n * size, err)
               : ww_pread_full(file->fd, bytes, n * size, at, file->name, err);
}

enum ww_err ww_column_read(const struct ww_model *model, uint32_t tensor, uint64_t first,
                           size_t n, uint8_t *bytes, double *out, struct ww_error *err)
{
    const struct ww_tensor *t = &model->tensors[tensor];
    enum ww_err rc = ww_column_bytes(model, tensor, first, n, bytes, err);

    if (!rc && ww_count_nonfinite(t->dtype, bytes, n) > 0) {
        rc = WW_FAIL(err, WW_E_NONFINITE, "tensor '%s' of '%s' holds NaN or infinity",
                     t->name, model->path);
    }
    if (!rc) {
        ww_to_double(t->dtype, bytes, out, n);
    }
    return rc;
}
