/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tables of a catalogue: made where they are missing, and the two numbers that say
 * whether this program can read them.
 */
#include "lineage/catalogue_store.h"

#include <string.h>

#include "util/buf.h"
#include "util/fail.h"

/* %s is the type of bytes: BLOB, or BYTEA on a server; %i of a number that rows are kept
 * by: SQLite makes an INTEGER, and no other, the place of the row itself. */
static const char *const schema[] = {
    "CREATE TABLE IF NOT EXISTS ww_meta (name TEXT PRIMARY KEY, value BIGINT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS ww_models (id %i PRIMARY KEY, name TEXT NOT NULL "
    "UNIQUE,"
    " digest %s NOT NULL UNIQUE, family %s NOT NULL, root BIGINT NOT NULL,"
    " place TEXT NOT NULL, stamp %s NOT NULL, n_tensors BIGINT NOT NULL,"
    " n_elements BIGINT NOT NULL, decoded BIGINT NOT NULL)",
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

enum ww_err ww_store_run(struct ww_db *db, const char *sql,
                         const struct ww_db_value *parameters, size_t n,
                         struct ww_error *err)
{
    return ww_db_run(db, sql, parameters, n, NULL, NULL, err);
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
        rc = ww_store_run(db, ww_buf_cstr(&sql), NULL, 0, err);
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
    return ww_store_run(
        db, "INSERT INTO ww_meta (name, value) VALUES ($1, $2) ON CONFLICT DO NOTHING", v,
        2, err);
}

/* A writer may have died between making the file and its tables. */
static enum ww_err check_tables(struct ww_db *db, struct ww_error *err)
{
    int64_t n = 1;
    enum ww_err rc = ww_db_is_server(db)
                         ? WW_OK
                         : ww_store_count(db,
                                          "SELECT count(*) FROM sqlite_master WHERE name "
                                          "= 'ww_meta'",
                                          NULL, 0, &n, err);

    return rc || n > 0 ? rc
                       : WW_FAIL(err, WW_E_MALFORMED,
                                 "'%s' is empty: who made it did not come to write a "
                                 "catalogue into it",
                                 ww_db_name(db));
}

static enum ww_err check_meta(struct ww_db *db, bool *sampled, struct ww_error *err)
{
    int64_t version = 0;
    int64_t class = 0;
    enum ww_err rc = check_tables(db, err);

    rc = rc ? rc : read_meta(db, "version", &version, err);

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
        rc = ww_store_run(db, "BEGIN", NULL, 0, err);
        if (!rc) {
            rc = ww_store_run(db, "SELECT pg_advisory_xact_lock(1467433825)", NULL, 0,
                              err);
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
        ww_db_abandon(*out);
        *out = NULL;
    }
    return rc;
}
