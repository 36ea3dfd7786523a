/* SPDX-License-Identifier: Apache-2.0 */
/* The published method, place by place: mean, directions, and each member's coefficients.
 */
#include "rmm/basis.h"
#include "rmm/rows_set.h"
#include "util/alloc.h"
#include "util/fail.h"

/* A plane of the basis has number k of a place's vector here. */
static size_t index_of(const struct ww_inspect_side *s, bool is_b, size_t place, size_t k)
{
    return is_b ? place * s->r + k : k * s->d + place;
}

static void put(const struct ww_inspect_side *s, const struct ww_pack_shared *shape,
                size_t place, const double *mean, const double *directions, float *basis)
{
    const size_t plane = s->r * (size_t)shape->places;

    for (size_t k = 0; k < s->r; k++) {
        const size_t at = index_of(s, shape->is_b, place, k);
        basis[at] = (float)mean[k];
        for (size_t j = 0; j < shape->directions; j++) {
            basis[(j + 1) * plane + at] = (float)directions[j * s->r + k];
        }
    }
}

static enum ww_err fit(const struct ww_inspect_side *sides, size_t n,
                       struct ww_basis_side *side, struct ww_error *err)
{
    const struct ww_pack_shared *shape = &side->shape;
    const size_t r = sides[0].r;
    const size_t p = shape->directions;
    const size_t places = (size_t)shape->places;
    const struct ww_rows rows = {.n = n, .r = r, .p = p};
    struct ww_rows_room room = {0};
    double *vectors = ww_calloc(n * r + r + p * r + n * p, sizeof(*vectors));
    double *mean = vectors + n * r;
    double *directions = mean + r;
    double *coefficients = directions + p * r;
    enum ww_err rc = vectors ? ww_rows_room_init(&rows, &room, err)
                             : WW_FAIL_MEMORY(err, "directions");

    for (size_t place = 0; place < places && !rc; place++) {
        ww_rows_gather(sides, n, shape->is_b, place, vectors);
        ww_rows_fit(&rows, vectors, &room, mean, directions, coefficients);
        put(&sides[0], shape, place, mean, directions, side->basis);
        for (size_t i = 0; i < n * p; i++) {
            side->own[(i / p * places + place) * p + i % p] = (float)coefficients[i];
        }
    }
    ww_rows_room_release(&room);
    ww_free(vectors);
    return rc;
}

enum ww_err ww_basis_rows(const struct ww_inspect_side *sides, size_t n,
                          struct ww_basis_side of[2], struct ww_error *err)
{
    const enum ww_err rc = fit(sides, n, &of[0], err);

    return rc ? rc : fit(sides, n, &of[1], err);
}
