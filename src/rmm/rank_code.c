/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Factors go through the form own as tensors of fp32 do: B with a scale for each column,
 * then A with one for each row.
 */
#include "rmm/rank_code.h"

#include <string.h>

#include "rmm/unpack_kernel.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/num.h"

#define EACH (WW_CHUNK_BYTES / 4) /* numbers of a chunk */

static enum ww_err code_chunk(struct ww_chunk_room *room, const int16_t *integers,
                              size_t n, const struct ww_chunk_scales *scales,
                              struct ww_rank_coded *c, struct ww_error *err)
{
    struct ww_buf *to = &c->chunks[c->n];
    enum ww_err rc = WW_OK;

    ww_buf_init(to, WW_CHUNK_MAX_CODED);
    rc = ww_chunk_own_encode(room, integers, n, scales, to, err);
    if (!rc) {
        c->entries[c->n].len = (uint32_t)to->len;
        ww_sha256_of(to->data, to->len, c->entries[c->n].sha256);
    }
    c->n++;
    return rc;
}

static enum ww_err code_factor(struct ww_chunk_room *room, const int16_t *integers,
                               uint64_t n, struct ww_chunk_scales scales,
                               struct ww_rank_coded *c, struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    for (uint64_t at = 0; at < n && !rc; at += EACH) {
        scales.first = at;
        rc = code_chunk(room, integers + at, (size_t)ww_min_u64(EACH, n - at), &scales, c,
                        err);
    }
    return rc;
}

enum ww_err ww_rank_encode(struct ww_chunk_room *room, struct ww_rank_found *found,
                           struct ww_rank_coded **out, struct ww_error *err)
{
    const struct ww_pack_rank *shape = &found->rank.shape;
    const uint64_t n_b = shape->rows * shape->rank;
    const uint64_t n_a = found->rank.columns * shape->rank;
    const size_t n =
        (size_t)(ww_part_chunks(ww_rank_b_bytes(shape)) +
                 ww_part_chunks(ww_rank_a_bytes(shape, found->rank.columns)));
    const struct ww_own *own = &found->own;
    struct ww_chunk_scales scales = {.axis = 1,
                                     .rank = shape->rank,
                                     .row = found->rank.columns,
                                     .scales = own->scales,
                                     .classes = own->classes_b};
    struct ww_rank_coded *c = ww_calloc(1, sizeof(*c));
    enum ww_err rc = WW_OK;

    *out = c;
    if (c) {
        c->chunks = ww_calloc(n, sizeof(*c->chunks));
        c->entries = ww_calloc(n, sizeof(*c->entries));
    }
    if (!c || !c->chunks || !c->entries) {
        rc = WW_FAIL_MEMORY(err, "the factors of a tensor");
        goto out;
    }
    rc = code_factor(room, own->b, n_b, scales, c, err);
    scales.axis = 0;
    scales.classes = own->classes_a;
    if (!rc) {
        rc = code_factor(room, own->a, n_a, scales, c, err);
    }
    if (!rc) {
        c->rank = found->rank;
        memset(&found->rank, 0, sizeof(found->rank));
    }
out:
    ww_rank_found_release(found);
    if (rc) {
        ww_rank_coded_free(c);
        *out = NULL;
    }
    return rc;
}

void ww_rank_coded_free(struct ww_rank_coded *c)
{
    if (!c) {
        return;
    }
    for (uint64_t i = 0; i < c->n; i++) {
        ww_buf_release(&c->chunks[i]);
    }
    ww_free(c->chunks);
    ww_free(c->entries);
    ww_rank_release(&c->rank);
    ww_free(c);
}

enum ww_err ww_factor_chunk(const struct ww_pack_view *view,
                            const struct ww_pack_table_part *part, uint64_t chunk,
                            struct ww_unpack_room *room, uint8_t *out, size_t n,
                            struct ww_error *err)
{
    const enum ww_dtype dtype =
        part->shared.codec == WW_SHARED_NONE ? WW_DTYPE_F32 : WW_DTYPE_BF16;
    const struct ww_pack_table_chunk *c = &part->factors[chunk];
    uint8_t digest[WW_SHA256_BYTES];
    const enum ww_err rc =
        ww_section_read(&view->section, c->at, room->coded, c->len, err);

    if (rc) {
        return rc;
    }
    ww_sha256_of(room->coded, c->len, digest);
    if (memcmp(digest, c->sha256, sizeof(digest)) != 0) {
        return WW_FAIL(err, WW_E_TAMPERED,
                       "member '%s': the factors of tensor '%s' are not what its "
                       "table says",
                       view->member->name, part->tensor);
    }
    return ww_chunk_decode(room->chunk, ww_chunk_type_of(dtype), room->coded, c->len,
                           NULL, out, n)
               ? WW_OK
               : WW_FAIL(err, WW_E_MALFORMED,
                         "member '%s': the factors of tensor '%s' do not decode",
                         view->member->name, part->tensor);
}

static enum ww_err load_factor(const struct ww_pack_view *view,
                               const struct ww_pack_table_part *part,
                               struct ww_unpack_room *room, float *to, uint64_t n_bytes,
                               uint64_t *chunk, struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    for (uint64_t at = 0; at < n_bytes && !rc; at += WW_CHUNK_BYTES) {
        rc = ww_factor_chunk(view, part, (*chunk)++, room, (uint8_t *)to + at,
                             (size_t)ww_min_u64(WW_CHUNK_BYTES, n_bytes - at), err);
    }
    return rc;
}

enum ww_err ww_rank_load(const struct ww_pack_view *view,
                         const struct ww_pack_table_part *part,
                         struct ww_unpack_room *room, struct ww_rank *out,
                         struct ww_error *err)
{
    const uint64_t columns =
        part->bytes / (ww_dtype_bits(part->dtype) / 8) / part->rank.rows;
    uint64_t chunk = 0;
    enum ww_err rc = ww_rank_init(out, &part->rank, columns, part->dtype, err);

    if (rc) {
        return rc;
    }
    rc = load_factor(view, part, room, out->b, ww_rank_b_bytes(&part->rank), &chunk, err);
    if (!rc) {
        rc = load_factor(view, part, room, out->a, ww_rank_a_bytes(&part->rank, columns),
                         &chunk, err);
    }
    if (rc) {
        ww_rank_release(out);
    }
    return rc;
}
