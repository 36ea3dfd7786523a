/* SPDX-License-Identifier: Apache-2.0 */
#include "lineage/catalogue_rows.h"

#include <stdlib.h>

#include "util/alloc.h"
#include "util/fail.h"
#include "util/num.h"

#define TRIED 4 /* tensors with most keys in common */

static int by_value(const void *a, const void *b)
{
    const uint64_t x = *(const uint64_t *)a;
    const uint64_t y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

enum ww_err ww_rows_shared(const struct ww_print_tensor *tensor,
                           const struct ww_db_value *column, uint64_t *shared,
                           struct ww_error *err)
{
    const size_t count = column->type == WW_DB_BLOB ? column->len / 8 : 0;
    uint64_t *hashes = NULL;

    *shared = 0;
    if (column->type != WW_DB_BLOB || column->len % 8 != 0) {
        return ww_store_blob(column, count * 8 + 8, "a list of rows", err);
    }
    hashes = ww_calloc(count, sizeof(*hashes));
    if (!hashes) {
        return WW_FAIL_MEMORY(err, "a search");
    }
    for (size_t i = 0; i < count; i++) {
        hashes[i] = ww_get_u64le((const uint8_t *)column->bytes + 8 * i);
    }
    qsort(hashes, count, sizeof(*hashes), by_value);
    for (uint64_t r = 0; r < tensor->n_row_hashes && count > 0; r++) {
        *shared += bsearch(&tensor->row_hashes[r], hashes, count, sizeof(*hashes),
                           by_value) != NULL;
    }
    ww_free(hashes);
    return WW_OK;
}

/* Tensors with keys in common. */
struct places {
    int64_t model[TRIED];
    int64_t ordinal[TRIED];
    size_t n;
};

static enum ww_err take_place(void *payload, const struct ww_db_value *c, size_t n,
                              struct ww_error *err)
{
    struct places *p = payload;
    (void)n;
    (void)err;
    if (p->n < TRIED && c[0].type == WW_DB_INT && c[1].type == WW_DB_INT) {
        p->model[p->n] = c[0].number;
        p->ordinal[p->n++] = c[1].number;
    }
    return WW_OK;
}

struct comparison {
    const struct ww_print_tensor *tensor;
    struct ww_find_rows best;
};

static enum ww_err compare(void *payload, const struct ww_db_value *c, size_t n,
                           struct ww_error *err)
{
    struct comparison *with = payload;
    uint64_t shared = 0;
    enum ww_err rc = ww_rows_shared(with->tensor, &c[0], &shared, err);
    (void)n;

    if (rc || shared <= with->best.shared) {
        return rc;
    }
    ww_free(with->best.name);
    ww_free(with->best.of);
    with->best.shared = shared;
    with->best.rows_of = c[0].len / 8;
    with->best.name = NULL;
    rc = ww_store_name(&c[1], "a tensor's name", &with->best.of, err);
    return rc ? rc : ww_store_name(&c[2], "a model's name", &with->best.name, err);
}

static enum ww_err look_up(struct ww_db *db, const struct ww_print_tensor *tensor,
                           struct places *out, struct ww_error *err)
{
    uint64_t least[WW_ROW_KEYS];
    const size_t n = ww_row_keys(tensor, least);
    struct ww_db_value v[WW_ROW_KEYS + 1];

    for (size_t i = 0; i < WW_ROW_KEYS; i++) {
        v[i] = ww_db_int((int64_t)least[i < n ? i : 0]);
    }
    v[WW_ROW_KEYS] = ww_db_int(TRIED);
    return n == 0 ? WW_OK
                  : ww_db_run(db,
                              "SELECT model, ordinal FROM ww_rows WHERE hash IN ($1, $2, "
                              "$3, $4) GROUP BY model, ordinal ORDER BY count(*) DESC, "
                              "model, ordinal LIMIT $5",
                              v, WW_ROW_KEYS + 1, take_place, out, err);
}

/* The names of what was found go over to the report. */
static enum ww_err add(struct comparison *found, struct ww_find_report *report,
                       struct ww_error *err)
{
    struct ww_find_rows *grown =
        ww_realloc_array(report->row_parts, report->n_row_parts + 1, sizeof(*grown));

    if (!grown) {
        return WW_FAIL_MEMORY(err, "a search");
    }
    report->row_parts = grown;
    grown[report->n_row_parts] = found->best;
    found->best = (struct ww_find_rows){.name = NULL};
    grown[report->n_row_parts].rows = found->tensor->n_row_hashes;
    grown[report->n_row_parts].tensor = ww_strdup(found->tensor->name);
    return grown[report->n_row_parts++].tensor ? WW_OK : WW_FAIL_MEMORY(err, "a search");
}

enum ww_err ww_rows_find(struct ww_db *db, const struct ww_print_tensor *tensor,
                         struct ww_find_report *report, struct ww_error *err)
{
    struct places places = {.n = 0};
    struct comparison with = {.tensor = tensor};
    enum ww_err rc = look_up(db, tensor, &places, err);

    for (size_t i = 0; i < places.n && !rc; i++) {
        const struct ww_db_value v[] = {ww_db_int(places.model[i]),
                                        ww_db_int(places.ordinal[i])};
        rc = ww_db_run(db,
                       "SELECT t.hashes, t.name, m.name FROM ww_tensors t JOIN ww_models "
                       "m ON m.id = t.model WHERE t.model = $1 AND t.ordinal = $2",
                       v, 2, compare, &with, err);
    }
    if (!rc &&
        (4 * with.best.shared >= tensor->n_row_hashes ||
         4 * with.best.shared >= with.best.rows_of) &&
        with.best.shared > 0) {
        rc = add(&with, report, err);
    }
    ww_free(with.best.name);
    ww_free(with.best.of);
    return rc;
}
