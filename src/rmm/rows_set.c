/* SPDX-License-Identifier: Apache-2.0 */
/* Module by module: the factors of all adapters, and what directions give back of them.
 */
#include "rmm/rows_set.h"

#include <string.h>

#include "util/alloc.h"
#include "util/fail.h"

static const struct ww_tensor *tensor_of(const struct ww_rows_set *t, size_t i, size_t k)
{
    return &t->peeks[i]->adapter->tensors[t->pairs[i][k].a];
}

enum ww_err ww_rows_set_add(struct ww_rows_set *t, struct ww_peek *peek,
                            struct ww_error *err)
{
    t->peeks[t->n] = peek;
    t->n++;
    return ww_inspect_pairs(peek, &t->pairs[t->n - 1], &t->n_of[t->n - 1], err);
}

static const char *why_not(const struct ww_rows_set *t, const size_t *n_pairs)
{
    if (t->n < 2) {
        return "one adapter alone shares nothing; name at least two";
    }
    for (size_t i = 0; i < t->n; i++) {
        if (n_pairs[i] == 0 || n_pairs[i] != n_pairs[0]) {
            return "the adapters have other modules";
        }
        for (size_t k = 0; k < n_pairs[i]; k++) {
            const struct ww_tensor *b = &t->peeks[i]->adapter->tensors[t->pairs[i][k].b];
            const struct ww_tensor *first =
                &t->peeks[0]->adapter->tensors[t->pairs[0][k].b];
            if (strcmp(t->pairs[i][k].module, t->pairs[0][k].module) != 0) {
                return "the adapters have other modules";
            }
            if (tensor_of(t, i, k)->shape[0] != tensor_of(t, 0, 0)->shape[0] ||
                tensor_of(t, i, k)->shape[1] != tensor_of(t, 0, k)->shape[1] ||
                b->shape[0] != first->shape[0]) {
                return "the adapters have other ranks or shapes";
            }
        }
    }
    return NULL;
}

const char *ww_rows_set_why_not(struct ww_rows_set *t)
{
    const char *why = why_not(t, t->n_of);

    if (!why) {
        t->n_pairs = t->n_of[0];
        t->r = (size_t)tensor_of(t, 0, 0)->shape[0];
    }
    return why;
}

size_t ww_rows_set_most(const struct ww_rows_set *t)
{
    return t->n - 1 < t->r ? t->n - 1 : t->r;
}

uint64_t ww_rows_set_positions(const struct ww_rows_set *t, size_t k)
{
    return tensor_of(t, 0, k)->shape[1] +
           t->peeks[0]->adapter->tensors[t->pairs[0][k].b].shape[0];
}

void ww_rows_gather(const struct ww_inspect_side *sides, size_t n, bool is_b, size_t at,
                    double *out)
{
    for (size_t i = 0; i < n; i++) {
        const struct ww_inspect_side *s = &sides[i];
        for (size_t k = 0; k < s->r; k++) {
            out[i * s->r + k] = is_b ? s->b[at * s->r + k] : s->a[k * s->d + at];
        }
    }
}

static void scatter(struct ww_inspect_side *s, bool is_b, size_t at, const double *vector)
{
    for (size_t k = 0; k < s->r; k++) {
        if (is_b) {
            s->b[at * s->r + k] = vector[k];
        } else {
            s->a[k * s->d + at] = vector[k];
        }
    }
}

enum ww_err ww_rows_set_go(struct ww_rows_set *t, size_t p, struct ww_error *err)
{
    const struct ww_rows rows = {.n = t->n, .r = t->r, .p = p};
    const size_t n_vectors = t->n * t->r;
    const size_t all = n_vectors + t->r + p * t->r + t->n * p + t->r;
    struct ww_rows_room room = {0};
    double *vectors = ww_calloc(all, sizeof(*vectors));
    double *mean = vectors + n_vectors;
    double *directions = mean + t->r;
    double *coefficients = directions + p * t->r;
    double *one = coefficients + t->n * p;
    enum ww_err rc = vectors ? ww_rows_room_init(&rows, &room, err)
                             : WW_FAIL_MEMORY(err, "directions");

    for (size_t at = 0; at < t->sides[0].m + t->sides[0].d && !rc; at++) {
        const bool is_b = at < t->sides[0].m;
        const size_t place = is_b ? at : at - t->sides[0].m;
        ww_rows_gather(t->sides, t->n, is_b, place, vectors);
        ww_rows_fit(&rows, vectors, &room, mean, directions, coefficients);
        for (size_t i = 0; i < t->n; i++) {
            ww_rows_recover(&rows, mean, directions, coefficients, i, one);
            scatter(&t->back[i], is_b, place, one);
        }
    }
    ww_rows_room_release(&room);
    ww_free(vectors);
    return rc;
}

enum ww_err ww_rows_set_read(struct ww_rows_set *t, size_t k, struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    for (size_t i = 0; i < t->n && !rc; i++) {
        struct ww_inspect_side *s = &t->sides[i];
        rc = ww_inspect_read(t->peeks[i], &t->pairs[i][k], s, err);
        t->back[i] = *s;
        t->back[i].a = rc ? NULL : ww_calloc(s->r * s->d, sizeof(double));
        t->back[i].b = rc ? NULL : ww_calloc(s->r * s->m, sizeof(double));
        if (!rc && (!t->back[i].a || !t->back[i].b)) {
            rc = WW_FAIL_MEMORY(err, "directions");
        }
    }
    return rc;
}

void ww_rows_set_drop(struct ww_rows_set *t)
{
    for (size_t i = 0; i < t->n; i++) {
        ww_inspect_side_release(&t->sides[i]);
        ww_inspect_side_release(&t->back[i]);
    }
}

void ww_rows_measure(const struct ww_inspect_side *side,
                     const struct ww_inspect_side *back, double *norm2, double *error2)
{
    const double both = ww_inspect_inner(side, back);

    *norm2 = ww_inspect_inner(side, side);
    *error2 = *norm2 - 2 * both + ww_inspect_inner(back, back);
    *error2 = *error2 > 0 ? *error2 : 0;
}

void ww_rows_set_measure(const struct ww_rows_set *t, size_t i, double *norm2,
                         double *error2)
{
    ww_rows_measure(&t->sides[i], &t->back[i], norm2, error2);
}

void ww_rows_set_release(struct ww_rows_set *t)
{
    for (size_t i = 0; i < t->n; i++) {
        ww_free(t->pairs[i]);
    }
    memset(t, 0, sizeof(*t));
}
