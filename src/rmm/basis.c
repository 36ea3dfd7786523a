/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Module by module: the factors of all members are fitted together, what they share goes
 * to the scratch file and each member's numbers are coded at once. The scratch file is a
 * safetensors file and becomes a member like any other.
 */
#include <string.h>
#include <unistd.h>

#include "model/st_write.h"
#include "rmm/basis_making.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"
#include "util/num.h"

static size_t most_directions(const struct ww_basis_making *x, uint32_t k)
{
    const size_t r = (size_t)ww_basis_pair(x, k, 0)->a->shape[0];

    if (x->options->codec == WW_SHARED_ROWS) {
        return x->n - 1 < r ? x->n - 1 : r;
    }
    return x->n * r;
}

static struct ww_pack_shared shape_of(const struct ww_basis_making *x, uint32_t k,
                                      bool is_b)
{
    const struct ww_member_pair *pair = ww_basis_pair(x, k, 0);
    struct ww_pack_shared s = {.codec = x->options->codec,
                               .is_b = is_b,
                               .places = is_b ? pair->b->shape[0] : pair->a->shape[1]};
    uint64_t p = ww_min_u64(x->options->directions, most_directions(x, k));

    if (s.codec == WW_SHARED_CORE) {
        p = ww_min_u64(p, s.places);
    }
    s.directions = (uint32_t)ww_min_u64(p, WW_SHARED_MOST);
    return s;
}

static void set_tensor(struct ww_basis_making *x, uint32_t k, bool is_b)
{
    const struct ww_pack_shared s = shape_of(x, k, is_b);
    const struct ww_member_pair *pair = ww_basis_pair(x, k, 0);
    const struct ww_tensor *factor = is_b ? pair->b : pair->a;
    struct ww_tensor *t = &x->tensors[2 * k + is_b];

    *t = (struct ww_tensor){.name = factor->name, .dtype = WW_DTYPE_BF16};
    if (s.codec == WW_SHARED_ROWS) {
        t->rank = 3;
        t->shape[0] = s.directions + UINT64_C(1);
        t->shape[1] = factor->shape[0];
        t->shape[2] = factor->shape[1];
    } else {
        t->rank = 2;
        t->shape[0] = is_b ? s.places : s.directions;
        t->shape[1] = is_b ? s.directions : s.places;
    }
    t->n_bytes = ww_shared_basis_bytes(&s, factor->n_elements);
}

static enum ww_err check_directions(const struct ww_basis_making *x, struct ww_error *err)
{
    size_t most = 0;

    for (uint32_t k = 0; k < x->n_modules; k++) {
        const size_t one = most_directions(x, k);
        most = one > most ? one : most;
        for (unsigned b = 0; b < 2; b++) {
            const struct ww_pack_shared s = shape_of(x, k, b);
            const struct ww_member_pair *pair = ww_basis_pair(x, k, 0);
            if (!ww_shared_fits(&s, b ? pair->b->n_elements : pair->a->n_elements)) {
                return WW_FAIL(err, WW_E_LIMIT,
                               "%zu directions of '%.160s' are too many numbers; share "
                               "fewer",
                               x->options->directions, pair->a->name);
            }
        }
    }
    return x->options->directions <= most
               ? WW_OK
               : WW_FAIL(err, WW_E_LIMIT,
                         "%zu directions of %zu adapters, expected 1 to %zu",
                         x->options->directions, x->n, most);
}

static enum ww_err write_header(struct ww_basis_making *x, struct ww_error *err)
{
    struct ww_buf text;
    enum ww_err rc = WW_OK;

    x->tensors = ww_calloc(2 * (size_t)x->n_modules, sizeof(*x->tensors));
    if (!x->tensors) {
        return WW_FAIL_MEMORY(err, "what adapters share");
    }
    for (uint32_t k = 0; k < x->n_modules; k++) {
        set_tensor(x, k, false);
        set_tensor(x, k, true);
    }
    ww_buf_init(&text, WW_ST_MAX_HEADER_BYTES + 8);
    rc = ww_st_header_write(x->tensors, 2 * (size_t)x->n_modules, &text, err);
    if (!rc) {
        rc = ww_pwrite_full(x->fd, text.data, text.len, 0, WW_BASIS_FILE, err);
    }
    x->header_bytes = text.len;
    ww_buf_release(&text);
    return rc;
}

static void drop_of(struct ww_basis_making *x)
{
    for (unsigned b = 0; b < 2; b++) {
        ww_free(x->of[b].basis);
        ww_free(x->of[b].own);
    }
    memset(x->of, 0, sizeof(x->of));
}

static enum ww_err make_room(struct ww_basis_making *x, uint32_t k, bool is_b,
                             struct ww_error *err)
{
    struct ww_basis_side *s = &x->of[is_b];
    const struct ww_member_pair *pair = ww_basis_pair(x, k, 0);

    s->shape = shape_of(x, k, is_b);
    s->n = is_b ? pair->b->n_elements : pair->a->n_elements;
    s->basis =
        ww_calloc((size_t)ww_shared_basis_bytes(&s->shape, s->n) / 2, sizeof(*s->basis));
    s->own = ww_calloc((size_t)ww_shared_own_bytes(&s->shape, s->n) / 2,
                       x->n * sizeof(*s->own));
    return s->basis && s->own ? WW_OK : WW_FAIL_MEMORY(err, "what adapters share");
}

static enum ww_err fit(struct ww_basis_making *x, uint32_t k, struct ww_error *err)
{
    enum ww_err rc = make_room(x, k, false, err);

    if (!rc) {
        rc = make_room(x, k, true, err);
    }
    if (rc) {
        return rc;
    }
    return x->options->codec == WW_SHARED_ROWS
               ? ww_basis_rows(x->sides, x->n, x->of, err)
               : ww_basis_core(x->sides, x->n, x->of, err);
}

static enum ww_err make_module(struct ww_basis_making *x, uint32_t k, uint64_t *at,
                               struct ww_error *err)
{
    enum ww_err rc = ww_basis_read(x, k, err);

    if (!rc) {
        rc = fit(x, k, err);
    }
    for (unsigned b = 0; b < 2 && !rc; b++) {
        rc = ww_basis_give(x, k, b, *at, err);
        *at += ww_shared_basis_bytes(&x->of[b].shape, x->of[b].n);
    }
    for (size_t i = 0; i < x->n && !rc && x->options->loose; i++) {
        rc = ww_basis_let_go(x, k, i, err);
    }
    drop_of(x);
    ww_basis_drop(x);
    return rc;
}

static enum ww_err make(struct ww_basis_making *x, struct ww_error *err)
{
    uint64_t at = 0;
    enum ww_err rc = ww_chunk_room_new(&x->room, err);

    x->sides = ww_calloc(x->n, sizeof(*x->sides));
    if (!rc && !x->sides) {
        rc = WW_FAIL_MEMORY(err, "what adapters share");
    }
    if (!rc) {
        rc = ww_basis_pairs(x, err);
    }
    if (!rc) {
        rc = check_directions(x, err);
    }
    if (!rc) {
        rc = write_header(x, err);
    }
    at = x->header_bytes;
    for (uint32_t k = 0; k < x->n_modules && !rc; k++) {
        rc = make_module(x, k, &at, err);
    }
    return rc;
}

enum ww_err ww_basis_make(struct ww_member *members, size_t n, const char *name,
                          const struct ww_basis_options *options, int scratch,
                          struct ww_basis *out, struct ww_error *err)
{
    struct ww_basis_making x = {
        .members = members, .n = n, .options = options, .fd = scratch};
    enum ww_err rc = n < 2
                         ? WW_FAIL(err, WW_E_UNSUPPORTED,
                                   "at least two adapters share something, found %zu", n)
                         : make(&x, err);

    memset(out, 0, sizeof(*out));
    for (uint32_t k = 0; k < x.n_modules && !rc; k++) {
        for (unsigned b = 0; b < 2; b++) {
            const uint32_t p = shape_of(&x, k, b).directions;
            out->directions = p > out->directions ? p : out->directions;
        }
    }
    if (rc) {
        close(scratch);
    } else {
        rc = ww_member_of_file(name, WW_BASIS_FILE, scratch, &out->member, err);
    }
    ww_chunk_room_free(x.room);
    ww_free(x.sides);
    ww_free(x.pairs);
    ww_free(x.tensors);
    return rc;
}

void ww_basis_release(struct ww_basis *basis)
{
    if (basis->member.files) {
        ww_member_close(&basis->member);
    }
    memset(basis, 0, sizeof(*basis));
}
