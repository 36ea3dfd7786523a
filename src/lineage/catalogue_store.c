/* SPDX-License-Identifier: Apache-2.0 */
#include "lineage/catalogue_store.h"

#include <endian.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "lineage/catalogue_scan.h"
#include "util/alloc.h"
#include "util/buf.h"
#include "util/clones.h"
#include "util/fail.h"
#include "util/num.h"

#define NAME_MOST 65536
#define LARGE_PAGE ((size_t)2 << 20)

/* %s is the type of bytes: BLOB, or BYTEA on a server; %i of a number that rows are kept
 * by: SQLite makes an INTEGER, and no other, the place of the row itself. */
static const char *const schema[] = {
    "CREATE TABLE IF NOT EXISTS ww_meta (name TEXT PRIMARY KEY, value BIGINT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS ww_models (id %i PRIMARY KEY, name TEXT NOT NULL "
    "UNIQUE,"
    " digest %s NOT NULL UNIQUE, family %s NOT NULL, root BIGINT NOT NULL,"
    " place TEXT NOT NULL, stamp %s NOT NULL, n_tensors BIGINT NOT NULL,"
    " n_elements BIGINT NOT NULL)",
    "CREATE INDEX IF NOT EXISTS ww_models_family ON ww_models (family, id)",
    "CREATE INDEX IF NOT EXISTS ww_models_stamp ON ww_models (stamp)",
    "CREATE TABLE IF NOT EXISTS ww_sketches (model %i PRIMARY KEY, coarse %s NOT "
    "NULL)",
    "CREATE TABLE IF NOT EXISTS ww_spectra (model %i PRIMARY KEY, spectra %s NOT NULL)",
    "CREATE TABLE IF NOT EXISTS ww_details (model %i PRIMARY KEY, gram %s, fine %s)",
    "CREATE TABLE IF NOT EXISTS ww_tensors (model BIGINT, ordinal BIGINT,"
    " name TEXT NOT NULL, layer BIGINT NOT NULL, sha256 %s NOT NULL, hashes %s NOT NULL,"
    " PRIMARY KEY (model, ordinal))",
    "CREATE INDEX IF NOT EXISTS ww_tensors_sha256 ON ww_tensors (sha256)",
    "CREATE TABLE IF NOT EXISTS ww_rows (hash BIGINT, model BIGINT, ordinal BIGINT,"
    " PRIMARY KEY (hash, model, ordinal))",
};

static enum ww_err run(struct ww_db *db, const char *sql, const struct ww_db_value *v,
                       size_t n, struct ww_error *err)
{
    return ww_db_run(db, sql, v, n, NULL, NULL, err);
}

/* The schema's text with a type in the place of each mark. */
static enum ww_err run_schema(struct ww_db *db, const char *text, struct ww_error *err)
{
    const bool server = ww_db_is_server(db);
    struct ww_buf sql;
    enum ww_err rc = WW_OK;

    ww_buf_init(&sql, 4096);
    while (*text && !rc) {
        const char *mark = strchr(text, '%');
        const size_t len = mark ? (size_t)(mark - text) : strlen(text);
        rc = ww_buf_add(&sql, text, len, err);
        if (!rc && mark && mark[1] == 's') {
            rc = ww_buf_add_str(&sql, server ? "BYTEA" : "BLOB", err);
        } else if (!rc && mark) {
            rc = ww_buf_add_str(&sql, server ? "BIGINT" : "INTEGER", err);
        }
        text += len + (mark ? 2 : 0);
    }
    if (!rc) {
        rc = run(db, ww_buf_cstr(&sql), NULL, 0, err);
    }
    ww_buf_release(&sql);
    return rc;
}

static enum ww_err take_number(void *payload, const struct ww_db_value *columns, size_t n,
                               struct ww_error *err)
{
    (void)n;
    if (columns[0].type != WW_DB_INT) {
        return WW_FAIL(err, WW_E_MALFORMED,
                       "the catalogue has no number where one was "
                       "expected; restore it or index again");
    }
    *(int64_t *)payload = columns[0].number;
    return WW_OK;
}

enum ww_err ww_store_count(struct ww_db *db, const char *sql,
                           const struct ww_db_value *parameters, size_t n, int64_t *out,
                           struct ww_error *err)
{
    return ww_db_run(db, sql, parameters, n, take_number, out, err);
}

static enum ww_err read_meta(struct ww_db *db, const char *name, int64_t *out,
                             struct ww_error *err)
{
    const struct ww_db_value v[] = {ww_db_text(name)};
    *out = -1;
    return ww_store_count(db, "SELECT value FROM ww_meta WHERE name = $1", v, 1, out,
                          err);
}

static enum ww_err write_meta(struct ww_db *db, const char *name, int64_t value,
                              struct ww_error *err)
{
    const struct ww_db_value v[] = {ww_db_text(name), ww_db_int(value)};
    return run(db,
               "INSERT INTO ww_meta (name, value) VALUES ($1, $2) ON CONFLICT DO NOTHING",
               v, 2, err);
}

static enum ww_err check_meta(struct ww_db *db, bool *sampled, struct ww_error *err)
{
    int64_t version = 0;
    int64_t class = 0;
    enum ww_err rc = read_meta(db, "version", &version, err);

    if (!rc && version != WW_CATALOGUE_VERSION) {
        rc = WW_FAIL(err, version > 0 ? WW_E_VERSION : WW_E_MALFORMED,
                     "'%s' is a catalogue of version %lld, this program knows %d%s",
                     ww_db_name(db), (long long)version, WW_CATALOGUE_VERSION,
                     version > 0 && version < WW_CATALOGUE_VERSION
                         ? "; index the models again, into a new one"
                         : "");
    }
    if (!rc) {
        rc = read_meta(db, "sampled", &class, err);
    }
    if (!rc && class != 0 && class != 1) {
        rc = WW_FAIL(err, WW_E_MALFORMED,
                     "'%s' does not say whether its prints are samples", ww_db_name(db));
    }
    *sampled = class == 1;
    return rc;
}

/* In one transaction with the look at the version: a catalogue of another one, which is
 * refused, stays as it is. */
static enum ww_err make_tables(struct ww_db *db, bool sampled, struct ww_error *err)
{
    bool class = false;
    enum ww_err rc = WW_OK;

    /* Servers make a table twice when two ask at once: one number locks this step. */
    if (ww_db_is_server(db)) {
        rc = run(db, "BEGIN", NULL, 0, err);
        if (!rc) {
            rc = run(db, "SELECT pg_advisory_xact_lock(1467433825)", NULL, 0, err);
        }
    } else {
        rc = ww_db_begin(db, NULL, err);
    }
    for (size_t i = 0; i < WW_LEN(schema) && !rc; i++) {
        rc = run_schema(db, schema[i], err);
    }
    if (!rc) {
        rc = write_meta(db, "version", WW_CATALOGUE_VERSION, err);
    }
    if (!rc) {
        rc = write_meta(db, "sampled", sampled, err);
    }
    if (!rc) {
        rc = check_meta(db, &class, err);
    }
    if (!rc) {
        rc = ww_db_commit(db, err);
    }
    if (rc) {
        ww_db_rollback(db);
    }
    return rc;
}

enum ww_err ww_store_open(const char *where, enum ww_db_mode mode, bool *sampled,
                          struct ww_db **out, struct ww_error *err)
{
    const struct ww_db_stamp stamp = {WW_CATALOGUE_ID, WW_CATALOGUE_VERSION, "catalogue"};
    const bool wanted = *sampled;
    enum ww_err rc = ww_db_open(where, mode, &stamp, out, err);

    if (!rc && mode == WW_DB_WRITE) {
        rc = make_tables(*out, *sampled, err);
    }
    if (!rc) {
        rc = check_meta(*out, sampled, err);
    }
    if (!rc && mode == WW_DB_WRITE && *sampled != wanted) {
        rc = WW_FAIL(err, WW_E_USAGE,
                     "'%s' holds prints of %s, which do not mix with those of %s; use "
                     "another catalogue",
                     where, *sampled ? "samples" : "whole models",
                     wanted ? "samples" : "whole models");
    }
    if (rc) {
        ww_db_close(*out);
        *out = NULL;
    }
    return rc;
}

enum ww_err ww_store_stamp(const struct ww_model *model, const char *place,
                           uint8_t out[WW_SHA256_BYTES], struct ww_error *err)
{
    struct ww_sha256 *h = NULL;
    enum ww_err rc = ww_sha256_new(&h, err);

    if (!rc) {
        ww_sha256_update(h, place, strlen(place) + 1);
    }
    for (uint32_t f = 0; f < model->n_files && !rc; f++) {
        const struct ww_weight_file *file = &model->files[f];
        struct stat st;
        uint8_t numbers[24];
        if (fstat(file->fd, &st) != 0) {
            rc = WW_FAIL(err, WW_E_IO, "cannot look at '%s'", file->name);
            break;
        }
        ww_put_u64le(numbers, (uint64_t)st.st_size);
        ww_put_u64le(numbers + 8, (uint64_t)st.st_mtim.tv_sec);
        ww_put_u64le(numbers + 16, (uint64_t)st.st_mtim.tv_nsec);
        ww_sha256_update(h, file->name, strlen(file->name) + 1);
        ww_sha256_update(h, numbers, sizeof(numbers));
        ww_sha256_update(h, file->header, (size_t)file->header_bytes);
    }
    if (!rc) {
        ww_sha256_final(h, out);
    }
    ww_sha256_free(h);
    return rc;
}

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

static enum ww_err take_text(void *payload, const struct ww_db_value *columns, size_t n,
                             struct ww_error *err)
{
    char **out = payload;
    (void)n;
    return *out ? WW_OK : ww_store_name(&columns[0], "a model's name", out, err);
}

enum ww_err ww_store_known(struct ww_db *db, const char *column,
                           const uint8_t key[WW_SHA256_BYTES], char **out,
                           struct ww_error *err)
{
    const struct ww_db_value v[] = {ww_db_blob(key, WW_SHA256_BYTES)};
    char *sql = ww_asprintf("SELECT name FROM ww_models WHERE %s = $1", column);
    enum ww_err rc = WW_OK;

    *out = NULL;
    rc = sql ? ww_db_run(db, sql, v, 1, take_text, out, err)
             : WW_FAIL_MEMORY(err, "a catalogue");
    ww_free(sql);
    return rc;
}

/* Floats as little-endian bytes; NULL gives an SQL null. */
static enum ww_err add_floats(const float *x, size_t n, struct ww_buf *room,
                              struct ww_db_value *out, struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    *out = (struct ww_db_value){.type = WW_DB_NULL};
    if (!x) {
        return WW_OK;
    }
    ww_buf_clear(room);
    rc = ww_buf_reserve(room, 4 * n + 4, err);
    for (size_t i = 0; i < n && !rc; i++) {
        uint32_t bits = 0;
        memcpy(&bits, &x[i], sizeof(bits));
        rc = ww_buf_add_u32le(room, bits, err);
    }
    *out = ww_db_blob(room->data, room->len);
    return rc;
}

static enum ww_err add_details(struct ww_db *db, int64_t id, const struct ww_print *print,
                               struct ww_error *err)
{
    struct ww_db_value v[3] = {ww_db_int(id)};
    struct ww_buf room[2];
    enum ww_err rc = WW_OK;

    for (size_t i = 0; i < WW_LEN(room); i++) {
        ww_buf_init(&room[i], (size_t)64 << 20);
    }
    rc = add_floats(print->coarse, WW_SKETCH_COARSE, &room[0], &v[1], err);
    if (!rc) {
        rc =
            run(db, "INSERT INTO ww_sketches (model, coarse) VALUES ($1, $2)", v, 2, err);
    }
    if (!rc && print->spectra) {
        rc = add_floats(print->spectra, print->n_spectra, &room[0], &v[1], err);
        if (!rc) {
            rc = run(db, "INSERT INTO ww_spectra (model, spectra) VALUES ($1, $2)", v, 2,
                     err);
        }
    }
    if (!rc) {
        rc = add_floats(print->gram, WW_PRINT_GRAM, &room[0], &v[1], err);
    }
    if (!rc) {
        rc = add_floats(print->fine, WW_SKETCH_FINE, &room[1], &v[2], err);
    }
    if (!rc) {
        rc = run(db, "INSERT INTO ww_details (model, gram, fine) VALUES ($1, $2, $3)", v,
                 3, err);
    }
    for (size_t i = 0; i < WW_LEN(room); i++) {
        ww_buf_release(&room[i]);
    }
    return rc;
}

/* The least hashes, each once: two tensors that share most rows share most of these. */
size_t ww_row_keys(const struct ww_print_tensor *t, uint64_t least[WW_ROW_KEYS])
{
    size_t n = 0;

    for (uint64_t r = 0; r < t->n_row_hashes; r++) {
        const uint64_t h = t->row_hashes[r];
        size_t at = n;
        while (at > 0 && least[at - 1] > h) {
            at--;
        }
        if (at == WW_ROW_KEYS || (at > 0 && least[at - 1] == h)) {
            continue;
        }
        n += n < WW_ROW_KEYS;
        memmove(least + at + 1, least + at, (n - at - 1) * sizeof(*least));
        least[at] = h;
    }
    return n;
}

static enum ww_err add_tensor(struct ww_db *db, int64_t id, uint32_t ordinal,
                              const struct ww_print_tensor *t, struct ww_buf *room,
                              struct ww_error *err)
{
    uint64_t least[WW_ROW_KEYS];
    const size_t n_least = ww_row_keys(t, least);
    enum ww_err rc = WW_OK;

    ww_buf_clear(room);
    for (uint64_t r = 0; r < t->n_row_hashes && !rc; r++) {
        rc = ww_buf_add_u64le(room, t->row_hashes[r], err);
    }
    if (!rc) {
        const struct ww_db_value v[] = {
            ww_db_int(id),
            ww_db_int(ordinal),
            ww_db_text(t->name),
            ww_db_int(t->layer == WW_NONE ? -1 : (int64_t)t->layer),
            ww_db_blob(t->sha256, WW_SHA256_BYTES),
            ww_db_blob(room->data, room->len)};
        rc = run(db,
                 "INSERT INTO ww_tensors (model, ordinal, name, layer, sha256, hashes) "
                 "VALUES ($1, $2, $3, $4, $5, $6)",
                 v, WW_LEN(v), err);
    }
    for (size_t i = 0; i < n_least && !rc; i++) {
        const struct ww_db_value v[] = {ww_db_int((int64_t)least[i]), ww_db_int(id),
                                        ww_db_int(ordinal)};
        rc = run(db, "INSERT INTO ww_rows (hash, model, ordinal) VALUES ($1, $2, $3)", v,
                 3, err);
    }
    return rc;
}

static enum ww_err add_model(struct ww_db *db, int64_t id,
                             const struct ww_store_model *who,
                             const struct ww_print *print, struct ww_error *err)
{
    const struct ww_db_value v[] = {ww_db_int(id),
                                    ww_db_text(who->name),
                                    ww_db_blob(print->digest, WW_SHA256_BYTES),
                                    ww_db_blob(print->family, WW_SHA256_BYTES),
                                    ww_db_int(who->root),
                                    ww_db_text(who->place),
                                    ww_db_blob(who->stamp, WW_SHA256_BYTES),
                                    ww_db_int(print->n_tensors),
                                    ww_db_int((int64_t)print->n_elements)};
    struct ww_buf room;
    enum ww_err rc = run(db,
                         "INSERT INTO ww_models (id, name, digest, family, root, place, "
                         "stamp, n_tensors, n_elements) "
                         "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
                         v, WW_LEN(v), err);

    ww_buf_init(&room, (size_t)256 << 20);
    if (!rc) {
        rc = add_details(db, id, print, err);
    }
    for (uint32_t k = 0; k < print->n_tensors && !rc; k++) {
        rc = add_tensor(db, id, k, &print->tensors[k], &room, err);
    }
    ww_buf_release(&room);
    return rc;
}

/* Inside the transaction, so that two writers of one model cannot both find it missing.
 */
static enum ww_err add_locked(struct ww_db *db, const struct ww_store_model *who,
                              const struct ww_print *print, char **known_as,
                              struct ww_error *err)
{
    const struct ww_db_value v[] = {ww_db_text(who->name)};
    int64_t taken = 0;
    int64_t id = 0;
    enum ww_err rc = ww_store_known(db, "digest", print->digest, known_as, err);

    if (rc || *known_as) {
        return rc;
    }
    rc = ww_store_count(db, "SELECT count(*) FROM ww_models WHERE name = $1", v, 1,
                        &taken, err);
    if (!rc && taken > 0) {
        rc = WW_FAIL(err, WW_E_EXISTS,
                     "the catalogue knows other weights as '%s'; give this model another "
                     "name: NAME=FOLDER",
                     who->name);
    }
    if (!rc) {
        rc = ww_store_count(db, "SELECT COALESCE(MAX(id), 0) + 1 FROM ww_models", NULL, 0,
                            &id, err);
    }
    return rc ? rc : add_model(db, id, who, print, err);
}

enum ww_err ww_store_add(struct ww_db *db, const struct ww_store_model *who,
                         const struct ww_print *print, char **known_as,
                         struct ww_error *err)
{
    enum ww_err rc = ww_db_begin(db, "ww_models", err);

    *known_as = NULL;
    if (rc) {
        return rc;
    }
    rc = add_locked(db, who, print, known_as, err);
    if (!rc) {
        rc = ww_db_commit(db, err);
    }
    if (rc) {
        ww_db_rollback(db);
    }
    return rc;
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
        rc = ww_store_floats(&c[5], sketch, WW_SKETCH_COARSE, "a sketch", err);
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
                     "SELECT m.id, m.name, m.place, m.root, m.stamp, s.coarse "
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
