/* SPDX-License-Identifier: Apache-2.0 */
#include "rmm/shared_load.h"

#include "model/convert.h"
#include "rmm/rank_code.h"
#include "util/num.h"

static enum ww_err load_own(const struct ww_pack_view *view,
                            const struct ww_pack_table_part *part,
                            struct ww_unpack_room *room, struct ww_shared *out,
                            struct ww_error *err)
{
    const uint64_t bytes = ww_shared_own_bytes(&out->shape, out->n);
    enum ww_err rc = WW_OK;

    for (uint64_t c = 0; c < part->n_factors && !rc; c++) {
        const uint64_t at = c * WW_CHUNK_BYTES;
        const size_t n = (size_t)ww_min_u64(WW_CHUNK_BYTES, bytes - at);
        rc = ww_factor_chunk(view, part, c, room, room->mixed, n, err);
        if (!rc) {
            ww_to_float(WW_DTYPE_BF16, room->mixed, out->own + at / 2, n / 2);
        }
    }
    return rc;
}

static enum ww_err load_basis(const struct ww_parent *basis, uint32_t part,
                              struct ww_unpack_room *room, struct ww_shared *out,
                              struct ww_error *err)
{
    const uint64_t bytes = ww_shared_basis_bytes(&out->shape, out->n);
    enum ww_err rc = WW_OK;

    for (uint64_t at = 0; at < bytes && !rc; at += WW_CHUNK_BYTES) {
        const size_t n = (size_t)ww_min_u64(WW_CHUNK_BYTES, bytes - at);
        rc = ww_parent_read(basis, part, at / WW_CHUNK_BYTES, room, room->mixed, err);
        if (!rc) {
            ww_to_float(WW_DTYPE_BF16, room->mixed, out->basis + at / 2, n / 2);
        }
    }
    return rc;
}

enum ww_err ww_shared_load(const struct ww_pack_view *view,
                           const struct ww_pack_table_part *part,
                           struct ww_unpack_room *room, struct ww_shared *out,
                           struct ww_error *err)
{
    const uint64_t n = part->bytes / (ww_dtype_bits(part->dtype) / 8);
    enum ww_err rc = ww_shared_init(out, &part->shared, part->dtype, n, err);

    if (rc) {
        return rc;
    }
    rc = load_own(view, part, room, out, err);
    if (!rc) {
        rc = load_basis(view->table.parent, part->parent_part, room, out, err);
    }
    if (rc) {
        ww_shared_release(out);
    }
    return rc;
}
