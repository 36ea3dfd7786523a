/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A matrix of a model within an error: levels are found on a sample of it, then the whole
 * tensor is measured with them, and the cells are made finer until it keeps the bound.
 * Where a product was found, it is part of the prediction, and levels are of what it
 * leaves: that is short, so the bound of it is wider by as much.
 * What is not worth it or cannot be done so is coded exactly: vectors, small matrices,
 * numbers that are not finite, types that are no floats of two or four bytes.
 */
#include <math.h>
#include <string.h>

#include "model/convert.h"
#include "rmm/base_read.h"
#include "rmm/member.h"
#include "rmm/parent.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"
#include "util/num.h"

#define MAX_TRIES 8
#define FINER 0.97
#define SAMPLE_BLOCK ((size_t)4096) /* bytes of a stretch */

/* Where a part's bytes lie, and the base's. */
struct place {
    const struct ww_member *member;
    const struct ww_model *base;
    const struct ww_pack_table_part *part;
    const struct ww_rank *rank; /* part of the prediction, or NULL */
    bool chained;               /* the parent predicts */
    int fd;
    const char *file;
    uint64_t offset;
    const struct ww_tensor *tensor; /* of the base */
    uint8_t *bytes;                 /* WW_CHUNK_BYTES each */
    uint8_t *prediction;
    uint8_t *parent; /* the chunk of the parent that was read last */
    uint64_t parent_chunk;
};

static bool is_worth_it(const struct place *p)
{
    return ww_chunk_type_of(p->part->dtype).exponent_mask != 0 && p->tensor->rank >= 2 &&
           p->tensor->n_elements >= WW_DENSE_LEAST;
}

/* The tensor's bytes and the base's in its dtype. */
static enum ww_err read_both(const struct place *p, uint64_t at, size_t n, size_t to,
                             struct ww_error *err)
{
    const struct ww_base_from base = ww_base_from(p->base, p->tensor);
    const enum ww_err rc =
        ww_pread_full(p->fd, p->bytes + to, n, p->offset + at, p->file, err);

    return rc ? rc : ww_base_read(&base, p->part->dtype, at, p->prediction + to, n, err);
}

static enum ww_err read_parent(struct place *p, uint64_t chunk, struct ww_error *err)
{
    struct ww_unpack_room *room = NULL;
    enum ww_err rc = WW_OK;

    if (p->parent_chunk == chunk) {
        return WW_OK;
    }
    rc = ww_unpack_rooms_take(p->member->rooms, &room, err);
    if (!rc) {
        rc = ww_parent_read(p->member->parent, p->part->parent_part, chunk, room,
                            p->parent, err);
        ww_unpack_rooms_give(p->member->rooms, room);
    }
    p->parent_chunk = rc ? UINT64_MAX : chunk;
    return rc;
}

/* The base's bytes become the prediction. They lie in one chunk. */
static enum ww_err predict(struct place *p, uint64_t at, size_t n, size_t to,
                           struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    if (p->rank) {
        ww_rank_predict(p->rank, at, p->prediction + to, p->prediction + to, n);
    }
    if (p->chained) {
        rc = read_parent(p, at / WW_CHUNK_BYTES, err);
        if (!rc) {
            memcpy(p->prediction + to, p->parent + at % WW_CHUNK_BYTES, n);
        }
    }
    return rc;
}

static struct ww_dense_input input_of(const struct place *p, size_t n_bytes)
{
    return (struct ww_dense_input){.dtype = p->part->dtype,
                                   .weights = p->bytes,
                                   .base = p->prediction,
                                   .n = n_bytes / (ww_dtype_bits(p->part->dtype) / 8)};
}

static bool is_finite(const struct ww_dense_input *in)
{
    return ww_count_nonfinite(in->dtype, in->weights, in->n) == 0 &&
           ww_count_nonfinite(in->dtype, in->base, in->n) == 0;
}

/* The length of what the prediction leaves, of that of the change. */
static enum ww_err length_left(struct place *p, double *share, struct ww_error *err)
{
    const bool other = p->rank || p->chained;
    double change2 = 0;
    double left2 = 0;
    enum ww_err rc = WW_OK;

    *share = 1;
    for (uint64_t at = 0; other && at < p->part->bytes && !rc; at += WW_CHUNK_BYTES) {
        const size_t n = (size_t)ww_min_u64(WW_CHUNK_BYTES, p->part->bytes - at);
        rc = read_both(p, at, n, 0, err);
        if (!rc) {
            const struct ww_dense_input in = input_of(p, n);
            change2 += ww_dense_norm2(&in);
            rc = predict(p, at, n, 0, err);
            left2 += ww_dense_norm2(&in);
        }
    }
    if (!rc && other && change2 > 0) {
        *share = sqrt(left2 / change2);
    }
    return rc;
}

/* Stretches that lie evenly over the tensor. */
static enum ww_err sample(struct place *p, size_t *n_bytes, struct ww_error *err)
{
    const size_t width = ww_dtype_bits(p->part->dtype) / 8;
    const uint64_t n = ww_min_u64(p->part->bytes, WW_DENSE_SAMPLE * width);
    const uint64_t n_blocks = ww_div_up(n, SAMPLE_BLOCK);
    enum ww_err rc = WW_OK;

    *n_bytes = 0;
    for (uint64_t i = 0; i < n_blocks && !rc; i++) {
        const uint64_t all = ww_div_up(p->part->bytes, SAMPLE_BLOCK);
        const uint64_t at = all * i / n_blocks * SAMPLE_BLOCK;
        const size_t count = (size_t)ww_min_u64(SAMPLE_BLOCK, p->part->bytes - at);
        rc = read_both(p, at, count, *n_bytes, err);
        if (!rc) {
            rc = predict(p, at, count, *n_bytes, err);
        }
        *n_bytes += count;
    }
    return rc;
}

/* Over the whole tensor; *finite false when it is not. */
static enum ww_err measure(struct place *p, struct ww_dense *dense, bool *finite,
                           struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    memset(&dense->sums, 0, sizeof(dense->sums));
    *finite = true;
    for (uint64_t at = 0; at < p->part->bytes && !rc && *finite; at += WW_CHUNK_BYTES) {
        const size_t n = (size_t)ww_min_u64(WW_CHUNK_BYTES, p->part->bytes - at);
        rc = read_both(p, at, n, 0, err);
        if (!rc) {
            const struct ww_dense_input in = input_of(p, n);
            rc = predict(p, at, n, 0, err);
            *finite = is_finite(&in);
            ww_dense_measure(&in, &dense->levels, &dense->sums);
        }
    }
    dense->error = ww_dense_error(&dense->sums);
    return rc;
}

static void finer(struct ww_chunk_levels *levels)
{
    levels->step *= (float)FINER;
    for (unsigned k = 0; k < levels->n; k++) {
        levels->levels[k] *= (float)FINER;
    }
}

static enum ww_err fit(struct place *p, struct ww_dense *out, struct ww_error *err)
{
    double share = 1;
    size_t n_bytes = 0;
    bool finite = true;
    enum ww_err rc = length_left(p, &share, err);

    if (!rc) {
        rc = sample(p, &n_bytes, err);
    }
    if (rc) {
        return rc;
    }
    const double bound = p->member->error / share;
    const struct ww_dense_input in = input_of(p, n_bytes);
    if (!is_finite(&in)) {
        return WW_OK;
    }
    rc = ww_dense_fit(&in, bound, out, err);
    for (unsigned i = 0; i < MAX_TRIES && !rc && out->fits; i++) {
        rc = measure(p, out, &finite, err);
        if (!finite || out->error <= bound) {
            break;
        }
        finer(&out->levels);
    }
    out->fits = out->fits && finite && out->error <= bound;
    out->share = share;
    return rc;
}

static bool find_place(const struct ww_member *m, const struct ww_model *base,
                       uint32_t part, struct place *p)
{
    for (uint32_t f = 0; f < m->table.n_files; f++) {
        const struct ww_pack_table_file *file = &m->table.files[f];
        uint64_t offset = 0;
        if (part < file->first_part || part >= file->first_part + file->n_parts) {
            continue;
        }
        for (uint32_t i = file->first_part; i < part; i++) {
            offset += m->table.parts[i].bytes;
        }
        *p = (struct place){.member = m,
                            .base = base,
                            .part = &m->table.parts[part],
                            .fd = m->files[f].fd,
                            .file = file->path,
                            .offset = offset,
                            .tensor = &base->tensors[m->base_tensors[part]]};
        return true;
    }
    return false;
}

enum ww_err ww_member_dense(struct ww_member *m, const struct ww_model *base,
                            const struct ww_rank *rank, uint32_t part,
                            const struct ww_dense **out, struct ww_error *err)
{
    struct ww_member_change *change = m->changes ? &m->changes[part] : NULL;
    struct place p;
    enum ww_err rc = WW_OK;

    *out = NULL;
    if (!change || m->base_tensors[part] == WW_NONE || !find_place(m, base, part, &p) ||
        !is_worth_it(&p)) {
        return WW_OK;
    }
    if (!change->tried) {
        p.rank = rank;
        p.chained = p.part->chained;
        p.parent_chunk = UINT64_MAX;
        p.parent = p.chained ? ww_calloc(1, WW_CHUNK_BYTES) : NULL;
        p.bytes = ww_calloc(1, WW_CHUNK_BYTES);
        p.prediction = ww_calloc(1, WW_CHUNK_BYTES);
        rc = p.bytes && p.prediction && (!p.chained || p.parent)
                 ? fit(&p, &change->dense, err)
                 : WW_FAIL_MEMORY(err, "member '%s'", m->name);
        change->tried = true;
        ww_free(p.bytes);
        ww_free(p.prediction);
        ww_free(p.parent);
    }
    if (!rc && change->dense.fits) {
        *out = &change->dense;
    }
    return rc;
}
