/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A version of an adapter within an error. Its members would be transformed together and
 * the transform's directions coded (Karhunen and Loeve); predicting each from the one
 * before and coding what is left costs the same bits at high rate, as the product of the
 * innovations is the product of the eigenvalues, and a member needs none but its parents.
 */
#include <string.h>

#include "model/convert.h"
#include "rmm/member.h"
#include "rmm/parent.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/num.h"

/* A whole part of the parent as doubles. */
static enum ww_err read_part(const struct ww_member *m, uint32_t at,
                             struct ww_unpack_room *room, double **out,
                             struct ww_error *err)
{
    const struct ww_pack_table_part *part = &m->parent->view.table.parts[at];
    const size_t width = ww_dtype_bits(part->dtype) / 8;
    uint8_t *bytes = ww_calloc(1, WW_CHUNK_BYTES);
    enum ww_err rc = WW_OK;

    *out = ww_calloc((size_t)(part->bytes / width), sizeof(**out));
    if (!bytes || !*out) {
        rc = WW_FAIL_MEMORY(err, "member '%s'", m->name);
    }
    for (uint64_t c = 0; c < part->n_chunks && !rc; c++) {
        const uint64_t from = c * WW_CHUNK_BYTES;
        const size_t n = ww_part_chunk_bytes(part, c);
        rc = ww_parent_read(m->parent, at, c, room, bytes, err);
        if (!rc) {
            ww_to_double(part->dtype, bytes, *out + from / width, n / width);
        }
    }
    ww_free(bytes);
    return rc;
}

/* Coded bytes of one factor. */
static enum ww_err measure(const struct ww_member_pair *pair, const struct ww_own *own,
                           bool is_b, bool near, struct ww_unpack_room *room,
                           uint64_t *bytes, struct ww_error *err)
{
    const struct ww_tensor *t = is_b ? pair->b : pair->a;
    const size_t most = WW_CHUNK_BYTES / ww_chunk_type_of(t->dtype).width;
    struct ww_chunk_scales s = {.axis = is_b,
                                .rank = (uint32_t)pair->a->shape[0],
                                .row = pair->a->shape[1],
                                .scales = own->scales,
                                .classes = is_b ? own->classes_b : own->classes_a,
                                .near = near};
    struct ww_buf coded;
    enum ww_err rc = WW_OK;

    ww_buf_init(&coded, WW_CHUNK_MAX_CODED);
    for (; s.first < t->n_elements && !rc; s.first += most) {
        const size_t n = (size_t)ww_min_u64(most, t->n_elements - s.first);
        ww_buf_clear(&coded);
        rc = ww_chunk_own_encode(room->chunk, (is_b ? own->b : own->a) + s.first, n, &s,
                                 &coded, err);
        *bytes += coded.len;
    }
    ww_buf_release(&coded);
    return rc;
}

static enum ww_err measure_both(const struct ww_member_pair *pair,
                                const struct ww_own *own, bool near,
                                struct ww_unpack_room *room, uint64_t *bytes,
                                struct ww_error *err)
{
    enum ww_err rc = measure(pair, own, true, near, room, bytes, err);

    return rc ? rc : measure(pair, own, false, near, room, bytes, err);
}

/* The parent's part for this one of the pair. */
static uint32_t of_parent(const struct ww_member *m, uint32_t part)
{
    return ww_parent_part(m->parent, &m->table.parts[part], WW_ADAPTER_WEIGHTS);
}

static void chain(struct ww_member *m, uint32_t part, uint32_t parent_part)
{
    m->table.parts[part].chained = true;
    m->table.parts[part].predicted = false;
    m->table.parts[part].parent_part = parent_part;
}

static enum ww_err try_near(struct ww_member *m, struct ww_member_pair *pair,
                            const struct ww_own_factors *factors,
                            struct ww_unpack_room *room, struct ww_error *err)
{
    const uint32_t part_b = of_parent(m, pair->part_b);
    const uint32_t part_a = of_parent(m, pair->part_a);
    struct ww_own_factors all = *factors;
    struct ww_own near = {0};
    double *b = NULL;
    double *a = NULL;
    uint64_t alone = 0;
    uint64_t beside = 0;
    enum ww_err rc = read_part(m, part_b, room, &b, err);

    if (!rc) {
        rc = read_part(m, part_a, room, &a, err);
    }
    all.near_b = b;
    all.near_a = a;
    if (!rc) {
        rc = ww_own_fit(&all, m->error, &near, err);
    }
    if (!rc && near.fits) {
        rc = measure_both(pair, &pair->own, false, room, &alone, err);
    }
    if (!rc && near.fits) {
        rc = measure_both(pair, &near, true, room, &beside, err);
    }
    if (!rc && near.fits && beside < alone) {
        const struct ww_own other = pair->own;
        pair->own = near;
        near = other;
        pair->near = true;
        chain(m, pair->part_b, part_b);
        chain(m, pair->part_a, part_a);
    }
    ww_own_release(&near);
    ww_free(b);
    ww_free(a);
    return rc;
}

enum ww_err ww_member_near(struct ww_member *m, struct ww_member_pair *pair,
                           const struct ww_own_factors *factors, struct ww_error *err)
{
    struct ww_unpack_room *room = NULL;
    enum ww_err rc = WW_OK;

    if (of_parent(m, pair->part_b) == WW_NONE || of_parent(m, pair->part_a) == WW_NONE) {
        return WW_OK;
    }
    rc = ww_unpack_rooms_take(m->rooms, &room, err);
    if (!rc) {
        rc = try_near(m, pair, factors, room, err);
        ww_unpack_rooms_give(m->rooms, room);
    }
    return rc;
}
