/* SPDX-License-Identifier: Apache-2.0 */
#include "lineage/catalogue_parts.h"

#include <stdlib.h>
#include <string.h>

#include "lineage/catalogue_rows.h"
#include "util/alloc.h"
#include "util/fail.h"

#define PLACES_MOST 64 /* of one tensor: frozen siblings all have it, some are enough */

/* A place in the catalogue that a suspect's layer was seen in. */
struct place {
    uint32_t layer; /* the suspect's */
    int64_t model;
    int64_t of; /* the layer there */
    uint32_t tensors;
};

struct parts {
    struct ww_db *db;
    const struct ww_print *print;
    int64_t root;
    struct ww_find_report *report;
    struct place *places;
    size_t n_places;
    size_t capacity;
    uint32_t layer; /* of the tensor that is asked about */
    bool found;
    bool elsewhere; /* another model has it, bit for bit */
    bool has_rows;  /* the root has half of the tensor's rows */
    const struct ww_print_tensor *tensor;
};

static enum ww_err note_found(void *payload, const struct ww_db_value *columns, size_t n,
                              struct ww_error *err)
{
    struct parts *p = payload;
    (void)columns;
    (void)n;
    (void)err;
    p->found = true;
    return WW_OK;
}

static enum ww_err note_place(void *payload, const struct ww_db_value *c, size_t n,
                              struct ww_error *err)
{
    struct parts *p = payload;
    (void)n;

    p->elsewhere = true;
    if (c[0].type != WW_DB_INT || c[1].type != WW_DB_INT || c[1].number < 0 ||
        c[1].number >= WW_NONE) {
        return WW_OK;
    }
    for (size_t i = 0; i < p->n_places; i++) {
        struct place *at = &p->places[i];
        if (at->layer == p->layer && at->model == c[0].number && at->of == c[1].number) {
            at->tensors++;
            return WW_OK;
        }
    }
    if (p->n_places == p->capacity) {
        const size_t more = p->capacity ? 2 * p->capacity : 256;
        struct place *grown = ww_realloc_array(p->places, more, sizeof(*grown));
        if (!grown) {
            return WW_FAIL_MEMORY(err, "a search");
        }
        p->places = grown;
        p->capacity = more;
    }
    p->places[p->n_places++] = (struct place){p->layer, c[0].number, c[1].number, 1};
    return WW_OK;
}

/* Rows of the suspect's tensor that are among the root's, wherever they stand there. */
static enum ww_err compare_rows(void *payload, const struct ww_db_value *c, size_t n,
                                struct ww_error *err)
{
    struct parts *p = payload;
    uint64_t shared = 0;
    enum ww_err rc = ww_rows_shared(p->tensor, &c[0], &shared, err);
    (void)n;

    p->report->rows_shared += shared;
    p->has_rows = p->has_rows || 2 * shared >= p->tensor->n_row_hashes;
    return rc;
}

static enum ww_err ask_tensor(struct parts *p, const struct ww_print_tensor *t,
                              struct ww_error *err)
{
    const struct ww_db_value v[] = {ww_db_int(p->root), ww_db_text(t->name),
                                    ww_db_blob(t->sha256, WW_SHA256_BYTES)};
    const struct ww_db_value hash[] = {ww_db_blob(t->sha256, WW_SHA256_BYTES),
                                       ww_db_int(PLACES_MOST)};
    enum ww_err rc = WW_OK;

    p->tensor = t;
    p->layer = t->layer;
    p->found = false;
    p->elsewhere = false;
    p->has_rows = false;
    if (p->root >= 0) {
        rc = ww_db_run(p->db,
                       "SELECT ordinal FROM ww_tensors WHERE sha256 = $3 AND model = $1 "
                       "AND name = $2",
                       v, 3, note_found, p, err);
    }
    if (!rc && p->found) {
        p->report->frozen++;
        return WW_OK;
    }
    if (!rc && p->root >= 0 && t->n_row_hashes > 0) {
        p->report->rows += t->n_row_hashes;
        rc = ww_db_run(p->db,
                       "SELECT hashes FROM ww_tensors WHERE model = $1 AND name = $2", v,
                       2, compare_rows, p, err);
    }
    if (!rc && t->layer != WW_NONE) {
        rc = ww_db_run(p->db,
                       "SELECT model, layer FROM ww_tensors WHERE sha256 = $1 "
                       "ORDER BY model, ordinal LIMIT $2",
                       hash, 2, note_place, p, err);
    }
    if (!rc && !p->has_rows && !p->elsewhere && t->n_row_hashes > 0) {
        rc = ww_rows_find(p->db, t, p->report, err);
    }
    return rc;
}

static uint32_t tensors_of_layer(const struct ww_print *print, uint32_t layer)
{
    uint32_t n = 0;
    for (uint32_t k = 0; k < print->n_tensors; k++) {
        n += print->tensors[k].layer == layer;
    }
    return n;
}

static enum ww_err take_name(void *payload, const struct ww_db_value *c, size_t n,
                             struct ww_error *err)
{
    char **out = payload;
    (void)n;
    ww_free(*out);
    return ww_store_name(&c[0], "a model's name", out, err);
}

/* The place that has most of the layer; of equal ones the earliest in the catalogue. */
static const struct place *best_place(const struct parts *p, uint32_t layer)
{
    const struct place *best = NULL;
    for (size_t i = 0; i < p->n_places; i++) {
        const struct place *at = &p->places[i];
        if (at->layer == layer &&
            (!best || at->tensors > best->tensors ||
             (at->tensors == best->tensors && at->model < best->model))) {
            best = at;
        }
    }
    return best;
}

static enum ww_err tell_layer(struct parts *p, uint32_t layer, struct ww_error *err)
{
    const struct place *best = best_place(p, layer);
    const uint32_t all = tensors_of_layer(p->print, layer);
    struct ww_find_report *report = p->report;
    struct ww_find_layer *out = NULL;
    enum ww_err rc = WW_OK;

    if (!best || best->tensors < 2 || 2 * best->tensors < all) {
        return WW_OK;
    }
    out = ww_realloc_array(report->layers, report->n_layers + 1, sizeof(*out));
    if (!out) {
        return WW_FAIL_MEMORY(err, "a search");
    }
    report->layers = out;
    out += report->n_layers;
    *out = (struct ww_find_layer){layer, NULL, (uint32_t)best->of, best->tensors, all};
    const struct ww_db_value v[] = {ww_db_int(best->model)};
    rc = ww_db_run(p->db, "SELECT name FROM ww_models WHERE id = $1", v, 1, take_name,
                   &out->name, err);
    report->n_layers += out->name != NULL;
    return rc;
}

enum ww_err ww_find_parts(struct ww_db *db, const struct ww_print *print, int64_t root,
                          struct ww_find_report *report, struct ww_error *err)
{
    struct parts p = {.db = db, .print = print, .root = root, .report = report};
    enum ww_err rc = WW_OK;

    report->tensors = print->n_tensors;
    for (uint32_t k = 0; k < print->n_tensors && !rc; k++) {
        rc = ask_tensor(&p, &print->tensors[k], err);
    }
    for (size_t i = 0; i < p.n_places && !rc; i++) {
        bool before = false;
        for (size_t j = 0; j < i; j++) {
            before = before || p.places[j].layer == p.places[i].layer;
        }
        rc = before ? WW_OK : tell_layer(&p, p.places[i].layer, err);
    }
    ww_free(p.places);
    return rc;
}
