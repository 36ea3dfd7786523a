/* SPDX-License-Identifier: Apache-2.0 */
#include "model/elements.h"

#include "model/convert.h"
#include "util/fail.h"
#include "util/fs.h"
#include "util/reader.h"

enum ww_err ww_weight_bytes(const struct ww_weight_file *file, uint64_t offset, void *out,
                            size_t n, struct ww_error *err)
{
    return file->reader ? file->reader->read(file->reader->payload, offset, out, n, err)
                        : ww_pread_full(file->fd, out, n, offset, file->name, err);
}

enum ww_err ww_elements_bytes(const struct ww_model *model, uint32_t tensor,
                              uint64_t first, size_t n, uint8_t *bytes,
                              struct ww_error *err)
{
    const struct ww_tensor *t = &model->tensors[tensor];
    const size_t size = ww_dtype_bits(t->dtype) / 8;

    return ww_weight_bytes(&model->files[t->file], t->offset + first * size, bytes,
                           n * size, err);
}

enum ww_err ww_elements_finite(const struct ww_model *model, uint32_t tensor,
                               const uint8_t *bytes, size_t n, struct ww_error *err)
{
    const struct ww_tensor *t = &model->tensors[tensor];

    return ww_count_nonfinite(t->dtype, bytes, n) == 0
               ? WW_OK
               : WW_FAIL(err, WW_E_NONFINITE,
                         "tensor '%.160s' of '%s' holds NaN or infinity; repair the "
                         "weights first",
                         t->name, model->path);
}

enum ww_err ww_elements_widen(const struct ww_model *model, uint32_t tensor,
                              const uint8_t *bytes, size_t n, double *out,
                              struct ww_error *err)
{
    enum ww_err rc = ww_elements_finite(model, tensor, bytes, n, err);

    if (!rc) {
        ww_to_double(model->tensors[tensor].dtype, bytes, out, n);
    }
    return rc;
}

enum ww_err ww_elements_double(const struct ww_model *model, uint32_t tensor,
                               uint64_t first, size_t n, uint8_t *bytes, double *out,
                               struct ww_error *err)
{
    enum ww_err rc = ww_elements_bytes(model, tensor, first, n, bytes, err);

    return rc ? rc : ww_elements_widen(model, tensor, bytes, n, out, err);
}

enum ww_err ww_elements_float(const struct ww_model *model, uint32_t tensor,
                              uint64_t first, size_t n, uint8_t *bytes, float *out,
                              struct ww_error *err)
{
    enum ww_err rc = ww_elements_bytes(model, tensor, first, n, bytes, err);

    if (!rc) {
        rc = ww_elements_finite(model, tensor, bytes, n, err);
    }
    if (!rc) {
        ww_to_float(model->tensors[tensor].dtype, bytes, out, n);
    }
    return rc;
}
