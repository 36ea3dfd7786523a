/* SPDX-License-Identifier: Apache-2.0 */
/* The paper's method on the adapters that are here: its sizes and errors, measured. */
#include <math.h>
#include <string.h>

#include "rmm/inspect.h"
#include "rmm/rows.h"
#include "util/alloc.h"
#include "util/fail.h"

struct together {
    struct ww_inspecting *x;
    size_t n; /* adapters */
    struct ww_peek *peeks[WW_INSPECT_MEMBERS];
    struct ww_inspect_pair *pairs[WW_INSPECT_MEMBERS];
    size_t n_pairs;
    size_t r; /* of all of them */
    struct ww_inspect_side sides[WW_INSPECT_MEMBERS];
    struct ww_inspect_side back[WW_INSPECT_MEMBERS];
};

static enum ww_err no_memory(struct ww_error *err)
{
    return WW_FAIL(err, WW_E_NOMEM, "out of memory for directions");
}

static const struct ww_tensor *tensor_of(const struct together *t, size_t i, size_t k)
{
    return &t->peeks[i]->adapter->tensors[t->pairs[i][k].a];
}

/* Why the adapters cannot be taken together, or NULL. */
static const char *why_not(const struct together *t, const size_t *n_pairs)
{
    if (t->n < 2) {
        return "there are not two adapters to be taken together";
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

/* Vectors of one position: row `at` of B, or column `at` of A. */
static void gather(const struct ww_inspect_side *sides, size_t n, bool is_b, size_t at,
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

/* All positions of a module, there and back, with p directions. */
static enum ww_err there_and_back(struct together *t, size_t p, struct ww_error *err)
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
    enum ww_err rc = vectors ? ww_rows_room_init(&rows, &room, err) : no_memory(err);

    for (size_t at = 0; at < t->sides[0].m + t->sides[0].d && !rc; at++) {
        const bool is_b = at < t->sides[0].m;
        const size_t place = is_b ? at : at - t->sides[0].m;
        gather(t->sides, t->n, is_b, place, vectors);
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

static enum ww_err read_sides(struct together *t, size_t k, struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    for (size_t i = 0; i < t->n && !rc; i++) {
        struct ww_inspect_side *s = &t->sides[i];
        rc = ww_inspect_read(t->peeks[i], &t->pairs[i][k], s, err);
        t->back[i] = *s;
        t->back[i].a = rc ? NULL : ww_calloc(s->r * s->d, sizeof(double));
        t->back[i].b = rc ? NULL : ww_calloc(s->r * s->m, sizeof(double));
        if (!rc && (!t->back[i].a || !t->back[i].b)) {
            rc = no_memory(err);
        }
    }
    return rc;
}

static void drop_sides(struct together *t)
{
    for (size_t i = 0; i < t->n; i++) {
        ww_inspect_side_release(&t->sides[i]);
        ww_inspect_side_release(&t->back[i]);
    }
}

static enum ww_err module(struct together *t, size_t k, size_t most, double *norms,
                          double *errors, double *numbers, struct ww_error *err)
{
    enum ww_err rc = read_sides(t, k, err);

    for (size_t p = 1; p <= most && !rc; p++) {
        const struct ww_rows rows = {.n = t->n, .r = t->r, .p = p};
        rc = there_and_back(t, p, err);
        for (size_t i = 0; i < t->n && !rc; i++) {
            const double norm2 = ww_inspect_inner(&t->sides[i], &t->sides[i]);
            const double error2 = norm2 -
                                  2 * ww_inspect_inner(&t->sides[i], &t->back[i]) +
                                  ww_inspect_inner(&t->back[i], &t->back[i]);
            norms[p - 1] += norm2;
            errors[p - 1] += error2 > 0 ? error2 : 0;
        }
        numbers[p - 1] = (double)ww_rows_numbers(&rows) / (double)(t->n * t->r);
    }
    drop_sides(t);
    return rc;
}

static enum ww_err measure(struct together *t, struct ww_error *err)
{
    struct ww_pack_inspection *report = t->x->report;
    const size_t most = t->n - 1 < t->r ? t->n - 1 : t->r;
    const size_t step = (t->n_pairs + WW_INSPECT_SAMPLE - 1) / WW_INSPECT_SAMPLE;
    double *sums = ww_calloc(most, 3 * sizeof(*sums));
    enum ww_err rc = WW_OK;

    report->rows = ww_calloc(most, sizeof(*report->rows));
    if (!sums || !report->rows) {
        rc = no_memory(err);
    }
    for (size_t k = 0; k < t->n_pairs && !rc; k += step) {
        rc = module(t, k, most, sums, sums + most, sums + 2 * most, err);
    }
    for (size_t p = 0; p < most && !rc; p++) {
        report->rows[report->n_rows++] = (struct ww_inspect_rate){
            16 * sums[2 * most + p], sums[p] > 0 ? sqrt(sums[most + p] / sums[p]) : 0};
    }
    ww_free(sums);
    return rc;
}

enum ww_err ww_inspect_rows(struct ww_inspecting *x, struct ww_error *err)
{
    struct together t = {.x = x};
    size_t n_pairs[WW_INSPECT_MEMBERS] = {0};
    const char *why = NULL;
    enum ww_err rc = WW_OK;

    for (size_t i = 0; i < x->report->n_members && !rc; i++) {
        if (x->peeks[i].open && x->peeks[i].adapter) {
            t.peeks[t.n] = &x->peeks[i];
            rc = ww_inspect_pairs(&x->peeks[i], &t.pairs[t.n], &n_pairs[t.n], err);
            t.n++;
        }
    }
    if (!rc) {
        why = why_not(&t, n_pairs);
    }
    if (!rc && why) {
        x->report->no_rows = ww_strdup(why);
        rc = x->report->no_rows ? WW_OK : no_memory(err);
    } else if (!rc) {
        t.n_pairs = n_pairs[0];
        t.r = (size_t)tensor_of(&t, 0, 0)->shape[0];
        rc = measure(&t, err);
    }
    for (size_t i = 0; i < t.n; i++) {
        ww_free(t.pairs[i]);
    }
    return rc;
}
