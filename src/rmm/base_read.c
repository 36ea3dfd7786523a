/* SPDX-License-Identifier: Apache-2.0 */
#include "rmm/base_read.h"

#include "model/recode.h"
#include "rmm/chunk.h"
#include "util/fail.h"
#include "util/fs.h"
#include "util/num.h"

#define STEP ((size_t)16 << 10) /* bytes of the base on the stack */

struct ww_base_from ww_base_from(const struct ww_model *base,
                                 const struct ww_tensor *tensor)
{
    const struct ww_weight_file *file = &base->files[tensor->file];

    return (struct ww_base_from){file->fd, file->name, tensor->offset, tensor->dtype};
}

bool ww_base_becomes(enum ww_dtype base, enum ww_dtype dtype)
{
    return base == dtype || ww_recodes(base, dtype);
}

uint64_t ww_base_bytes(enum ww_dtype base, enum ww_dtype dtype, uint64_t bytes)
{
    return bytes / ww_chunk_type_of(dtype).width * ww_chunk_type_of(base).width;
}

bool ww_base_is(const struct ww_tensor *base, const struct ww_pack_table_part *part)
{
    return base->dtype == part->base_dtype &&
           base->n_bytes == ww_base_bytes(base->dtype, part->dtype, part->bytes);
}

enum ww_err ww_base_read(const struct ww_base_from *from, enum ww_dtype dtype,
                         uint64_t at, uint8_t *out, size_t n, struct ww_error *err)
{
    const size_t width = ww_chunk_type_of(dtype).width;
    const size_t from_width = ww_chunk_type_of(from->dtype).width;
    uint8_t stored[STEP];
    enum ww_err rc = WW_OK;

    if (from->dtype == dtype) {
        return ww_pread_full(from->fd, out, n, from->offset + at, from->name, err);
    }
    for (size_t done = 0; done < n && !rc; done += STEP / from_width * width) {
        const size_t count = (size_t)ww_min_u64(STEP / from_width, (n - done) / width);
        rc = ww_pread_full(from->fd, stored, count * from_width,
                           from->offset + (at + done) / width * from_width, from->name,
                           err);
        if (!rc) {
            ww_recode(from->dtype, dtype, stored, out + done, count);
        }
    }
    return rc;
}
