/* SPDX-License-Identifier: Apache-2.0 */
#include "lineage/catalogue_hidden.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "lineage/catalogue_spectra.h"
#include "util/alloc.h"
#include "util/fail.h"

#define LANES 8

struct hidden {
    const struct ww_store_family *family;
    size_t n;          /* values */
    size_t m;          /* the same with zeros up to whole lanes */
    float *suspect;    /* [m] */
    double limit;      /* of the distance of relatives */
    float *spectra;    /* [family->n][m] */
    bool *use;         /* [family->n]: has spectra of this shape, near the suspect's */
    double *distances; /* [family->n] */
    double *likeness;  /* [family->n]; goes over to who asked */
};

static int by_id(const void *key, const void *member)
{
    const int64_t a = *(const int64_t *)key;
    const int64_t b = ((const struct ww_store_member *)member)->id;
    return (a > b) - (a < b);
}

/* Other shapes are other heads under the same matrices: nothing to compare. */
static enum ww_err take_spectra(void *payload, const struct ww_db_value *c, size_t n,
                                struct ww_error *err)
{
    struct hidden *h = payload;
    const struct ww_store_member *m = NULL;
    enum ww_err rc = ww_store_blob(&c[1], 0, "a spectrum", err);
    (void)n;

    if (rc) {
        return rc;
    }
    if (c[1].len != 4 * h->n) {
        return c[1].len % 4 ? ww_store_blob(&c[1], 4 * h->n, "a spectrum", err) : WW_OK;
    }
    m = c[0].type == WW_DB_INT
            ? bsearch(&c[0].number, h->family->members, h->family->n, sizeof(*m), by_id)
            : NULL;
    if (!m) {
        return WW_OK;
    }
    const size_t i = (size_t)(m - h->family->members);
    rc = ww_store_floats(&c[1], h->spectra + i * h->m, h->n, "a spectrum", err);
    if (!rc) {
        h->distances[i] = ww_spectra_distance(h->suspect, h->spectra + i * h->m, h->n);
        h->use[i] = h->distances[i] <= h->limit;
    }
    return rc;
}

static size_t choose_root(const struct hidden *h, unsigned threads, double *room)
{
    const struct ww_scan scan = {.sketches = h->spectra,
                                 .use = h->use,
                                 .n = h->family->n,
                                 .m = h->m,
                                 .threads = threads};
    size_t best = h->family->n;

    for (size_t i = 0; i < h->family->n; i++) {
        if (h->use[i] && h->family->members[i].root &&
            (best == h->family->n || h->distances[i] < h->distances[best])) {
            best = i;
        }
    }
    return best < h->family->n ? best : ww_sketch_centre(&scan, NULL, room);
}

static enum ww_err pursue(struct hidden *h, unsigned threads, struct ww_hidden *out,
                          struct ww_error *err)
{
    const float *root = h->spectra + out->root * h->m;
    const struct ww_pursuit_problem problem = {.suspect = h->suspect,
                                               .root = root,
                                               .sketches = h->spectra,
                                               .use = h->use,
                                               .n = h->family->n,
                                               .m = h->m,
                                               .threads = threads};
    enum ww_err rc = WW_OK;

    h->use[out->root] = false;
    ww_spectra_level(h->suspect, root, h->n);
    for (size_t i = 0; i < h->family->n; i++) {
        if (h->use[i]) {
            ww_spectra_level(h->spectra + i * h->m, root, h->n);
        }
    }
    rc = ww_pursue(&problem, h->likeness, &out->pursuit, err);
    return rc ? rc
              : ww_mates_compare(&problem, h->likeness, &out->pursuit, out->mates, err);
}

enum ww_err ww_find_hidden(struct ww_db *db, const struct ww_print *print,
                           const struct ww_store_family *family, size_t root,
                           unsigned threads, struct ww_hidden *out, struct ww_error *err)
{
    const struct ww_db_value v[] = {ww_db_blob(print->family, WW_SHA256_BYTES)};
    const size_t m = (print->n_spectra + LANES - 1) / LANES * LANES;
    struct hidden h = {.family = family, .n = print->n_spectra, .m = m};
    double *room = ww_calloc(m + family->n, sizeof(*room));
    enum ww_err rc = WW_OK;

    memset(out, 0, sizeof(*out));
    out->root = family->n;
    h.suspect = ww_calloc(m, sizeof(*h.suspect));
    h.spectra = ww_calloc(family->n * m, sizeof(*h.spectra));
    h.use = ww_calloc(family->n, sizeof(*h.use));
    h.distances = ww_calloc(family->n, sizeof(*h.distances));
    h.likeness = ww_calloc(family->n, sizeof(*h.likeness));
    if (!room || !h.suspect || !h.spectra || !h.use || !h.distances || !h.likeness) {
        rc = WW_FAIL_MEMORY(err, "a search");
        goto out;
    }
    memcpy(h.suspect, print->spectra, h.n * sizeof(*h.suspect));
    h.limit =
        fmin(WW_HIDDEN_RELATED,
             WW_HIDDEN_CHANCE * ww_spectra_distance(print->chance, print->spectra, h.n));
    rc = ww_db_run(db,
                   "SELECT s.model, s.spectra FROM ww_models m JOIN ww_spectra s ON "
                   "s.model = m.id WHERE m.family = $1 ORDER BY m.id",
                   v, 1, take_spectra, &h, err);
    if (rc) {
        goto out;
    }
    out->root = root < family->n && h.use[root] ? root
                : root < family->n              ? family->n
                                                : choose_root(&h, threads, room);
    if (out->root < family->n) {
        out->distance = h.distances[out->root];
        rc = pursue(&h, threads, out, err);
    }
out:
    ww_free(room);
    ww_free(h.suspect);
    ww_free(h.spectra);
    ww_free(h.use);
    ww_free(h.distances);
    out->likeness = h.likeness;
    return rc;
}
