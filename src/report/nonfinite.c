/* SPDX-License-Identifier: Apache-2.0 */
/* Count what hides errors: NaN and infinity, in bounded memory. */
#include "model/convert.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"
#include "util/num.h"
#include "weightward/report.h"

#define CHUNK_BYTES (UINT64_C(4) << 20)

static enum ww_err count_tensor(const struct ww_model *model, const struct ww_tensor *t,
                                void *chunk, uint64_t *count, struct ww_error *err)
{
    const struct ww_weight_file *file = &model->files[t->file];
    uint64_t element = ww_dtype_bits(t->dtype) / 8;
    enum ww_err rc = WW_OK;
    for (uint64_t done = 0; rc == WW_OK && done < t->n_bytes; done += CHUNK_BYTES) {
        uint64_t len = ww_min_u64(CHUNK_BYTES, t->n_bytes - done);
        rc = ww_pread_full(file->fd, chunk, len, t->offset + done, file->name, err);
        if (rc == WW_OK) {
            *count += ww_count_nonfinite(t->dtype, chunk, len / element);
        }
    }
    return rc;
}

enum ww_err ww_inspect_nonfinite(const struct ww_model *model, uint64_t *count,
                                 struct ww_error *err)
{
    enum ww_err rc = WW_OK;
    *count = 0;
    void *chunk = ww_alloc_aligned(64, CHUNK_BYTES);
    if (!chunk) {
        return WW_FAIL_MEMORY(err, "a read buffer");
    }
    for (uint32_t i = 0; rc == WW_OK && i < model->n_tensors; i++) {
        if (ww_dtype_is_plain_float(model->tensors[i].dtype)) {
            rc = count_tensor(model, &model->tensors[i], chunk, count, err);
        }
    }
    ww_free(chunk);
    return rc;
}
