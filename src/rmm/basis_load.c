/* SPDX-License-Identifier: Apache-2.0 */
/* A member's numbers and the basis, read again when its part is written. */
#include "model/convert.h"
#include "rmm/basis.h"
#include "rmm/parent.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"
#include "util/num.h"

/* The member's own numbers, out of what was coded of them. */
static bool load_own(const struct ww_rank_coded *coded, struct ww_chunk_room *room,
                     uint8_t *chunk, struct ww_shared *to)
{
    const struct ww_chunk_type type = ww_chunk_type_of(WW_DTYPE_BF16);
    const uint64_t bytes = ww_shared_own_bytes(&to->shape, to->n);

    for (uint64_t c = 0; c < coded->n; c++) {
        const uint64_t at = c * WW_CHUNK_BYTES;
        const size_t n = (size_t)ww_min_u64(WW_CHUNK_BYTES, bytes - at);
        if (!ww_chunk_decode(room, type, coded->chunks[c].data, coded->chunks[c].len,
                             NULL, chunk, n)) {
            return false;
        }
        ww_to_float(WW_DTYPE_BF16, chunk, to->own + at / 2, n / 2);
    }
    return true;
}

enum ww_err ww_basis_load(struct ww_member *m, uint32_t p, struct ww_chunk_room *room,
                          struct ww_error *err)
{
    const struct ww_pack_table_part *part = &m->table.parts[p];
    struct ww_member_shared *s = &m->shared[p];
    const uint64_t n = part->bytes / (ww_dtype_bits(part->dtype) / 8);
    const uint64_t bytes = ww_shared_basis_bytes(&part->shared, n);
    uint8_t *chunk = NULL;
    enum ww_err rc = WW_OK;

    if (s->numbers.basis) {
        return WW_OK;
    }
    chunk = ww_calloc(1, WW_CHUNK_BYTES);
    rc = chunk ? ww_shared_init(&s->numbers, &part->shared, part->dtype, n, err)
               : WW_FAIL_MEMORY(err, "what adapters share");

    if (!rc && !load_own(m->ranks[p], room, chunk, &s->numbers)) {
        rc = WW_FAIL(err, WW_E_INTERNAL, "'%s': a chunk does not decode", part->tensor);
    }
    for (uint64_t at = 0; at < bytes && !rc; at += WW_CHUNK_BYTES) {
        const size_t some = (size_t)ww_min_u64(WW_CHUNK_BYTES, bytes - at);
        rc = ww_pread_full(s->fd, chunk, some, s->at + at, WW_BASIS_FILE, err);
        if (!rc) {
            ww_to_float(WW_DTYPE_BF16, chunk, s->numbers.basis + at / 2, some / 2);
        }
    }
    ww_free(chunk);
    return rc;
}

enum ww_err ww_basis_factor(struct ww_member *m, uint32_t p, double **out,
                            struct ww_error *err)
{
    const struct ww_pack_table_part *part = &m->table.parts[p];
    const struct ww_shared *numbers = &m->shared[p].numbers;
    const size_t n = (size_t)(part->bytes / (ww_dtype_bits(part->dtype) / 8));
    struct ww_unpack_room *room = NULL;
    uint8_t *bytes = ww_calloc(1, (size_t)part->bytes);
    enum ww_err rc = WW_OK;

    *out = ww_calloc(n, sizeof(**out));
    if (!bytes || !*out) {
        rc = WW_FAIL_MEMORY(err, "what adapters share");
    }
    if (!rc) {
        rc = ww_unpack_rooms_take(m->rooms, &room, err);
    }
    if (!rc) {
        rc = ww_basis_load(m, p, room->chunk, err);
        ww_unpack_rooms_give(m->rooms, room);
    }
    if (!rc) {
        ww_shared_predict(numbers, 0, bytes, (size_t)part->bytes);
        ww_to_double(part->dtype, bytes, *out, n);
    }
    ww_free(bytes);
    return rc;
}
