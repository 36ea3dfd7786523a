/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What comes out of a catalogue. A foreign hand may have written it, so every column is
 * looked at before it is used.
 */
#include "lineage/catalogue_store.h"

#include <endian.h>
#include <string.h>
#include <sys/mman.h>

#include "lineage/catalogue_scan.h"
#include "util/alloc.h"
#include "util/clones.h"
#include "util/fail.h"

#define NAME_MOST 65536
#define LARGE_PAGE ((size_t)2 << 20)

/* A foreign hand could write into whoever's terminal shows it. */
enum ww_err ww_store_name(const struct ww_db_value *column, const char *what, char **out,
                          struct ww_error *err)
{
    *out = NULL;
    if (column->type != WW_DB_TEXT || column->len > NAME_MOST ||
        !ww_text_ok(column->bytes, column->len)) {
        return WW_FAIL(err, WW_E_MALFORMED,
                       "the catalogue is damaged: %s is no text of at most %d bytes "
                       "without control characters; restore it or index again",
                       what, NAME_MOST);
    }
    *out = ww_strndup(column->bytes, column->len);
    return *out ? WW_OK : WW_FAIL_MEMORY(err, "a catalogue");
}

static enum ww_err wrong_size(const struct ww_db_value *column, size_t len,
                              const char *what, struct ww_error *err)
{
    return WW_FAIL(err, WW_E_MALFORMED,
                   "the catalogue is damaged: %s has %zu bytes, expected %zu; restore "
                   "it or index again",
                   what, column->type == WW_DB_BLOB ? column->len : 0, len);
}

enum ww_err ww_store_blob(const struct ww_db_value *column, size_t len, const char *what,
                          struct ww_error *err)
{
    return column->type != WW_DB_BLOB || (len > 0 && column->len != len)
               ? wrong_size(column, len, what, err)
               : WW_OK;
}

/* Little-endian floats into our own; the highest bit of what is returned is set when one
 * is no number. */
WW_CLONES static uint32_t copy_floats(const uint8_t *restrict from, float *restrict to,
                                      size_t n)
{
    uint32_t special = 0;

    for (size_t i = 0; i < n; i++) {
        uint32_t bits = 0;
        memcpy(&bits, from + 4 * i, sizeof(bits));
        bits = le32toh(bits);
        memcpy(&to[i], &bits, sizeof(bits));
        special |= (bits & 0x7f800000u) + 0x00800000u;
    }
    return special & 0x80000000u;
}

/* Infinity and NaN would make every cosine that they touch one. */
enum ww_err ww_store_floats(const struct ww_db_value *column, float *out, size_t n,
                            const char *what, struct ww_error *err)
{
    if (column->type != WW_DB_BLOB || column->len != 4 * n) {
        return wrong_size(column, 4 * n, what, err);
    }
    return copy_floats(column->bytes, out, n)
               ? WW_FAIL(err, WW_E_MALFORMED,
                         "the catalogue is damaged: %s holds NaN or infinity; restore "
                         "it or index again",
                         what)
               : WW_OK;
}

struct detail {
    const char *column;
    float *out;
    size_t n;
    bool *found;
};

static enum ww_err take_detail(void *payload, const struct ww_db_value *c, size_t n,
                               struct ww_error *err)
{
    const struct detail *d = payload;
    (void)n;

    if (c[0].type == WW_DB_NULL) {
        return WW_OK;
    }
    *d->found = true;
    return ww_store_floats(&c[0], d->out, d->n, d->column, err);
}

enum ww_err ww_store_detail(struct ww_db *db, int64_t model, const char *column,
                            float *out, size_t n, bool *found, struct ww_error *err)
{
    const struct ww_db_value v[] = {ww_db_int(model)};
    struct detail detail = {column, out, n, found};
    char *sql = ww_asprintf("SELECT %s FROM ww_details WHERE model = $1", column);
    enum ww_err rc = WW_OK;

    *found = false;
    rc = sql ? ww_db_run(db, sql, v, 1, take_detail, &detail, err)
             : WW_FAIL_MEMORY(err, "a catalogue");
    ww_free(sql);
    return rc;
}

enum ww_err ww_store_has_fine(struct ww_db *db, bool *out, struct ww_error *err)
{
    int64_t model = -1;
    enum ww_err rc =
        ww_store_count(db, "SELECT model FROM ww_details WHERE fine IS NOT NULL LIMIT 1",
                       NULL, 0, &model, err);

    *out = model >= 0;
    return rc;
}

/* Hundreds of megabytes: in pages of 2 MiB, where the kernel has them. */
static void *large_room(size_t n)
{
    void *room = ww_alloc_aligned(LARGE_PAGE, n > 0 ? n : 1);

    if (room && n >= LARGE_PAGE) {
        (void)madvise(room, n / LARGE_PAGE * LARGE_PAGE, MADV_HUGEPAGE);
    }
    return room;
}

struct taking {
    struct ww_store_family *family;
    const float *suspect;
};

static enum ww_err take_member(void *payload, const struct ww_db_value *c, size_t n,
                               struct ww_error *err)
{
    const struct taking *taking = payload;
    struct ww_store_family *f = taking->family;
    struct ww_store_member *m = f->members + f->n;
    float *sketch = f->sketches + f->n * WW_SKETCH_COARSE;
    enum ww_err rc = WW_OK;
    (void)n;

    if (f->n == f->capacity) {
        return WW_OK; /* more came in between counting and reading: they are left out */
    }
    rc = ww_store_blob(&c[4], WW_SHA256_BYTES, "a stamp", err);
    if (!rc) {
        rc = ww_store_floats(&c[6], sketch, WW_SKETCH_COARSE, "a sketch", err);
    }
    if (rc) {
        return rc;
    }
    if (c[0].type != WW_DB_INT || c[2].type != WW_DB_TEXT) {
        return WW_FAIL(err, WW_E_MALFORMED,
                       "the catalogue is damaged: a model without number or place");
    }
    rc = ww_store_name(&c[1], "a model's name", &m->name, err);
    if (rc) {
        return rc;
    }
    m->id = c[0].number;
    m->root = c[3].number != 0;
    m->decoded = c[5].number != 0;
    m->place = ww_strdup(c[2].bytes);
    memcpy(m->stamp, c[4].bytes, WW_SHA256_BYTES);
    /* Here, where the sketch is in the first cache. */
    f->cosines[f->n] = ww_sketch_cosine(taking->suspect, sketch, WW_SKETCH_COARSE);
    f->related[f->n] = f->cosines[f->n] >= WW_FAMILY_RELATED;
    if (f->related[f->n]) {
        ww_scan_add(sketch, WW_SKETCH_COARSE, f->sum);
    }
    f->n++;
    return m->place ? WW_OK : WW_FAIL_MEMORY(err, "a catalogue");
}

enum ww_err ww_store_family(struct ww_db *db, const struct ww_print *suspect,
                            struct ww_store_family *out, struct ww_error *err)
{
    const struct ww_db_value v[] = {ww_db_blob(suspect->family, WW_SHA256_BYTES)};
    struct taking taking = {out, suspect->coarse};
    int64_t n = 0;
    enum ww_err rc = ww_store_count(
        db, "SELECT count(*) FROM ww_models WHERE family = $1", v, 1, &n, err);

    memset(out, 0, sizeof(*out));
    if (!rc && n > WW_FAMILY_MOST) {
        rc = WW_FAIL(
            err, WW_E_LIMIT,
            "the catalogue has %lld models of the suspect's shape, at most %d can "
            "be searched",
            (long long)n, WW_FAMILY_MOST);
    }
    if (rc) {
        return rc;
    }
    out->capacity = (size_t)n;
    out->members = ww_calloc(out->capacity, sizeof(*out->members));
    out->sketches = large_room(out->capacity * WW_SKETCH_COARSE * sizeof(*out->sketches));
    out->cosines = ww_calloc(out->capacity, sizeof(*out->cosines));
    out->related = ww_calloc(out->capacity, sizeof(*out->related));
    out->sum = ww_calloc(WW_SKETCH_COARSE, sizeof(*out->sum));
    if (!out->members || !out->sketches || !out->cosines || !out->related || !out->sum) {
        return WW_FAIL_MEMORY(err, "a catalogue");
    }
    return ww_db_run(db,
                     "SELECT m.id, m.name, m.place, m.root, m.stamp, m.decoded, "
                     "s.coarse "
                     "FROM ww_models m JOIN ww_sketches s ON s.model = m.id "
                     "WHERE m.family = $1 ORDER BY m.id",
                     v, 1, take_member, &taking, err);
}

void ww_store_family_release(struct ww_store_family *family)
{
    for (size_t i = 0; i < family->n; i++) {
        ww_free(family->members[i].name);
        ww_free(family->members[i].place);
    }
    ww_free(family->members);
    ww_free(family->sketches);
    ww_free(family->cosines);
    ww_free(family->related);
    ww_free(family->sum);
    memset(family, 0, sizeof(*family));
}
