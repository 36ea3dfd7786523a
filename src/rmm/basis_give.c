/* SPDX-License-Identifier: Apache-2.0 */
/* What was fitted: the shared numbers to the scratch file, each member's own coded, and
 * what is off when nothing more than that comes back. */
#include <math.h>
#include <string.h>

#include "model/convert.h"
#include "rmm/basis_making.h"
#include "rmm/rows_set.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"
#include "util/num.h"

/* Numbers as they are stored; they are numbers of BF16 already. */
static enum ww_err as_stored(const float *numbers, uint64_t n, uint8_t **out,
                             struct ww_error *err)
{
    *out = ww_calloc((size_t)n, 2);
    if (!*out) {
        return WW_FAIL_MEMORY(err, "what adapters share");
    }
    for (uint64_t i = 0; i < n; i++) {
        const double wide = (double)numbers[i];
        ww_from_double(WW_DTYPE_BF16, &wide, *out + 2 * i, 1);
    }
    return WW_OK;
}

static enum ww_err write_basis(const struct ww_basis_making *x,
                               const struct ww_basis_side *s, uint64_t at,
                               struct ww_error *err)
{
    const uint64_t bytes = ww_shared_basis_bytes(&s->shape, s->n);
    uint8_t *stored = NULL;
    enum ww_err rc = as_stored(s->basis, bytes / 2, &stored, err);

    if (!rc) {
        rc = ww_pwrite_full(x->fd, stored, (size_t)bytes, at, WW_BASIS_FILE, err);
    }
    ww_free(stored);
    return rc;
}

static enum ww_err code_chunks(struct ww_chunk_room *room, const uint8_t *stored,
                               uint64_t bytes, struct ww_rank_coded *c,
                               struct ww_error *err)
{
    const struct ww_chunk_type type = ww_chunk_type_of(WW_DTYPE_BF16);
    enum ww_err rc = WW_OK;

    for (uint64_t at = 0; at < bytes && !rc; at += WW_CHUNK_BYTES) {
        struct ww_buf *to = &c->chunks[c->n];
        ww_buf_init(to, WW_CHUNK_MAX_CODED);
        const struct ww_chunk_plain plain = {
            type, stored + at, NULL, (size_t)ww_min_u64(WW_CHUNK_BYTES, bytes - at)};
        rc = ww_chunk_encode(room, &plain, to, err);
        c->entries[c->n].len = (uint32_t)to->len;
        ww_sha256_of(to->data, to->len, c->entries[c->n].sha256);
        c->n++;
    }
    return rc;
}

/* A member's own numbers of one side, coded. */
static enum ww_err code_own(const struct ww_basis_making *x,
                            const struct ww_basis_side *s, size_t i,
                            struct ww_rank_coded **out, struct ww_error *err)
{
    const uint64_t bytes = ww_shared_own_bytes(&s->shape, s->n);
    const size_t n_chunks = (size_t)ww_part_chunks(bytes);
    struct ww_rank_coded *c = ww_calloc(1, sizeof(*c));
    uint8_t *stored = NULL;
    enum ww_err rc = as_stored(s->own + i * (bytes / 2), bytes / 2, &stored, err);

    *out = c;
    if (c) {
        c->chunks = ww_calloc(n_chunks, sizeof(*c->chunks));
        c->entries = ww_calloc(n_chunks, sizeof(*c->entries));
    }
    if (!rc && (!c || !c->chunks || !c->entries)) {
        rc = WW_FAIL_MEMORY(err, "what adapters share");
    }
    if (!rc) {
        rc = code_chunks(x->room, stored, bytes, c, err);
    }
    ww_free(stored);
    return rc;
}

static enum ww_err give(const struct ww_basis_making *x, uint32_t k, size_t i, bool is_b,
                        uint64_t at, struct ww_error *err)
{
    struct ww_member *m = &x->members[i];
    const struct ww_member_pair *pair = ww_basis_pair(x, k, i);
    const uint32_t p = is_b ? pair->part_b : pair->part_a;
    struct ww_pack_table_part *part = &m->table.parts[p];

    m->shared[p].is = true;
    m->shared[p].fd = x->fd;
    m->shared[p].at = at;
    m->base_tensors[p] = WW_NONE;
    part->predicted = false;
    part->chained = true;
    part->parent_part = 2 * k + is_b + 1; /* behind the header */
    part->shared = x->of[is_b].shape;
    return code_own(x, &x->of[is_b], i, &m->ranks[p], err);
}

/* A factor of member i as it comes back, in doubles. */
static enum ww_err come_back(const struct ww_basis_side *s, size_t i, enum ww_dtype dtype,
                             double **out, struct ww_error *err)
{
    const uint64_t each = ww_shared_own_bytes(&s->shape, s->n) / 2;
    const struct ww_shared shared = {.shape = s->shape,
                                     .dtype = dtype,
                                     .n = s->n,
                                     .basis = s->basis,
                                     .own = s->own + i * each};
    const size_t bytes = (size_t)s->n * (ww_dtype_bits(dtype) / 8);
    uint8_t *stored = ww_calloc(1, bytes);

    *out = ww_calloc((size_t)s->n, sizeof(**out));
    if (!stored || !*out) {
        ww_free(stored);
        return WW_FAIL_MEMORY(err, "what adapters share");
    }
    ww_shared_predict(&shared, 0, stored, bytes);
    ww_to_double(dtype, stored, *out, (size_t)s->n);
    ww_free(stored);
    return WW_OK;
}

/* What is off when nothing but the basis comes back. Of a product of no length no share
 * can be told, so what is left of that is coded. */
enum ww_err ww_basis_let_go(const struct ww_basis_making *x, uint32_t k, size_t i,
                            struct ww_error *err)
{
    struct ww_member *m = &x->members[i];
    const struct ww_member_pair *pair = ww_basis_pair(x, k, i);
    struct ww_inspect_side back = x->sides[i];
    double norm2 = 0;
    double error2 = 0;
    enum ww_err rc = WW_OK;

    back.a = NULL;
    back.b = NULL;
    rc = come_back(&x->of[0], i, pair->a->dtype, &back.a, err);
    if (!rc) {
        rc = come_back(&x->of[1], i, pair->b->dtype, &back.b, err);
    }
    if (!rc) {
        ww_rows_measure(&x->sides[i], &back, &norm2, &error2);
        const double error = norm2 > 0 ? sqrt(error2 / norm2) : 0;
        const bool loose = norm2 > 0 && isfinite(error);
        m->loose = m->loose || loose;
        m->shared[pair->part_a].loose = loose;
        m->shared[pair->part_b].loose = loose;
        m->shared[pair->part_b].error = loose ? error : 0;
    }
    ww_inspect_side_release(&back);
    return rc;
}

enum ww_err ww_basis_give(const struct ww_basis_making *x, uint32_t k, bool is_b,
                          uint64_t at, struct ww_error *err)
{
    enum ww_err rc = write_basis(x, &x->of[is_b], at, err);

    for (size_t i = 0; i < x->n && !rc; i++) {
        rc = give(x, k, i, is_b, at, err);
    }
    return rc;
}
