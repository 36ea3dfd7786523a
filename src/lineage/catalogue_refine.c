/* SPDX-License-Identifier: Apache-2.0 */
#include "lineage/catalogue_refine.h"

#include <math.h>
#include <string.h>

#include "lineage/nnls.h"
#include "util/alloc.h"
#include "util/fail.h"

#define M WW_SKETCH_FINE

struct refine {
    struct ww_pursuit *found;
    float *room;     /* [M] */
    float *root;     /* [M] */
    double *y;       /* [M] */
    double *columns; /* [WW_PURSUIT_MOST][M] */
    double xx[WW_PURSUIT_MOST * WW_PURSUIT_MOST];
    double xy[WW_PURSUIT_MOST];
    double share[WW_PURSUIT_MOST];
    bool active[WW_PURSUIT_MOST];
};

static void subtract(const struct refine *r, const float *x, double *out)
{
    for (size_t i = 0; i < M; i++) {
        out[i] = (double)x[i] - (double)r->root[i];
    }
    if (r->found->noise > 0) {
        ww_sketch_beside(out, r->root, M);
    }
}

static enum ww_err load(struct refine *r, struct ww_db *db, size_t root,
                        const struct ww_store_family *family, bool *all,
                        struct ww_error *err)
{
    enum ww_err rc =
        ww_store_detail(db, family->members[root].id, "fine", r->root, M, all, err);

    for (unsigned i = 0; i < r->found->n && !rc && *all; i++) {
        const int64_t id = family->members[r->found->picks[i].member].id;
        rc = ww_store_detail(db, id, "fine", r->room, M, all, err);
        if (!rc && *all) {
            subtract(r, r->room, r->columns + (size_t)i * M);
        }
    }
    return rc;
}

static void fit(struct refine *r)
{
    const unsigned k = r->found->n;

    for (unsigned i = 0; i < k; i++) {
        const double *column = r->columns + (size_t)i * M;
        for (unsigned j = 0; j <= i; j++) {
            const double v = ww_sketch_dot(column, r->columns + (size_t)j * M, M);
            r->xx[i * WW_PURSUIT_MOST + j] = v;
            r->xx[j * WW_PURSUIT_MOST + i] = v;
        }
        r->xy[i] = ww_sketch_dot(column, r->y, M);
        r->active[i] = true;
    }
    ww_nnls(r->xx, WW_PURSUIT_MOST, r->xy, k, r->active, r->share);
}

/* Picks with a share, with their errors by what is left. False, and nothing is changed,
 * where sketches of two picks are one direction. */
static bool tell(struct refine *r)
{
    double inverse[WW_PURSUIT_MOST] = {0};
    bool active[WW_PURSUIT_MOST] = {false};
    const unsigned k = r->found->n;
    const double y2 = ww_sketch_dot(r->y, r->y, M);
    unsigned kept = 0;
    double r2 = 0;

    for (unsigned i = 0; i < k; i++) {
        active[i] = r->share[i] > 0;
        for (size_t j = 0; active[i] && j < M; j++) {
            r->y[j] -= r->share[i] * r->columns[(size_t)i * M + j];
        }
    }
    r2 = ww_sketch_dot(r->y, r->y, M);
    if (!ww_inverse_diagonal(r->xx, WW_PURSUIT_MOST, k, active, inverse)) {
        return false;
    }
    for (unsigned i = 0; i < k; i++) {
        struct ww_pursuit_pick *p = &r->found->picks[i];
        const double part = r->share[i] * r->share[i] * r->xx[i * WW_PURSUIT_MOST + i];
        if (!active[i]) {
            continue;
        }
        p->share = r->share[i];
        p->cosine = sqrt(part / (r2 + part));
        p->z = p->share / sqrt(r2 / M * inverse[i] + 1e-300);
        r->found->picks[kept++] = *p;
    }
    r->found->n = kept;
    r->found->unexplained = y2 > 0 ? ww_pursuit_unexplained(r2, y2, r->found->noise) : 0;
    return true;
}

enum ww_err ww_find_refine(struct ww_db *db, const float *suspect, size_t root,
                           const struct ww_store_family *family, struct ww_pursuit *found,
                           bool *done, struct ww_error *err)
{
    struct refine *r = ww_calloc(1, sizeof(*r));
    enum ww_err rc = WW_OK;

    *done = false;
    if (r) {
        r->found = found;
        r->room = ww_calloc(M, sizeof(*r->room));
        r->root = ww_calloc(M, sizeof(*r->root));
        r->y = ww_calloc(M, sizeof(*r->y));
        r->columns = ww_calloc((size_t)found->n * M, sizeof(*r->columns));
    }
    if (!r || !r->room || !r->root || !r->y || !r->columns) {
        rc = WW_FAIL_MEMORY(err, "a search");
    } else {
        rc = load(r, db, root, family, done, err);
    }
    if (!rc && *done) {
        subtract(r, suspect, r->y);
        fit(r);
        *done = tell(r);
    }
    if (r) {
        ww_free(r->room);
        ww_free(r->root);
        ww_free(r->y);
        ww_free(r->columns);
    }
    ww_free(r);
    return rc;
}
