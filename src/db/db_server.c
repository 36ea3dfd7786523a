/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PostgreSQL through libpq: binary parameters and answers, row by row. A password comes
 * from libpq's own places (passfile, service file), never from the URI, which stands in
 * the list of processes.
 */
#include "db/backend.h"

#include <libpq-fe.h>
#include <string.h>

#include "util/alloc.h"
#include "util/fail.h"
#include "util/library.h"

/* Loaded when the first server is asked. */
#define FUNCTIONS(X)                                                                     \
    X(connectdb)                                                                         \
    X(conninfoParse)                                                                     \
    X(conninfoFree)                                                                      \
    X(freemem)                                                                           \
    X(status)                                                                            \
    X(setNoticeProcessor)                                                                \
    X(errorMessage)                                                                      \
    X(sendQueryParams)                                                                   \
    X(setSingleRowMode)                                                                  \
    X(getResult)                                                                         \
    X(resultStatus)                                                                      \
    X(resultErrorField)                                                                  \
    X(resultErrorMessage)                                                                \
    X(nfields)                                                                           \
    X(fname)                                                                             \
    X(ftype)                                                                             \
    X(getisnull)                                                                         \
    X(getvalue)                                                                          \
    X(getlength)                                                                         \
    X(clear)                                                                             \
    X(finish)
#define MEMBER(name) __typeof__(PQ##name) *name;
#define NAME(name) "PQ" #name,

static struct {
    FUNCTIONS(MEMBER)
} pq;
static const char *const names[] = {FUNCTIONS(NAME)};
static struct ww_library library =
    WW_LIBRARY_INIT(WW_LIBPQ, "data bases of servers", names, pq);
WW_LIBRARY_NOTE(pq_note, WW_LIBPQ, "postgresql", "lineage: catalogues in PostgreSQL",
                "suggested");

/* Types of PostgreSQL's catalog that never change. */
enum { OID_BYTEA = 17, OID_INT8 = 20, OID_TEXT = 25 };

/* The first line of libpq's message. */
static enum ww_err fail(const struct ww_db *db, enum ww_err code, const char *what,
                        const char *why, struct ww_error *err)
{
    const size_t len = strcspn(why, "\n");
    return WW_FAIL(err, code, "%s '%s': %.*s", what, db->name, (int)len, why);
}

static void put_int(uint8_t out[8], int64_t number)
{
    for (unsigned i = 0; i < 8; i++) {
        out[i] = (uint8_t)((uint64_t)number >> (56 - 8 * i));
    }
}

static int64_t get_int(const char *in)
{
    uint64_t v = 0;
    for (unsigned i = 0; i < 8; i++) {
        v = v << 8 | (uint8_t)in[i];
    }
    return (int64_t)v;
}

static bool send(PGconn *handle, const char *sql, const struct ww_db_value *parameters,
                 size_t n)
{
    Oid types[WW_DB_MAX_PARAMETERS] = {0};
    const char *values[WW_DB_MAX_PARAMETERS] = {0};
    int lengths[WW_DB_MAX_PARAMETERS] = {0};
    int formats[WW_DB_MAX_PARAMETERS] = {0};
    uint8_t numbers[WW_DB_MAX_PARAMETERS][8];

    for (size_t i = 0; i < n; i++) {
        const struct ww_db_value *v = &parameters[i];
        formats[i] = 1;
        lengths[i] = (int)v->len;
        values[i] = v->len ? v->bytes : "";
        types[i] = v->type == WW_DB_TEXT ? OID_TEXT : OID_BYTEA;
        if (v->type == WW_DB_INT) {
            put_int(numbers[i], v->number);
            types[i] = OID_INT8;
            values[i] = (const char *)numbers[i];
            lengths[i] = 8;
        } else if (v->type == WW_DB_NULL) {
            types[i] = 0;
            values[i] = NULL;
        }
    }
    return pq.sendQueryParams(handle, sql, (int)n, types, values, lengths, formats, 1) ==
           1;
}

static enum ww_err take_row(const struct ww_db *db, const PGresult *result,
                            struct ww_db_value *columns, size_t n, struct ww_error *err)
{
    for (size_t i = 0; i < n; i++) {
        const int c = (int)i;
        const Oid type = pq.ftype(result, c);
        columns[i] = (struct ww_db_value){.type = WW_DB_NULL};
        if (pq.getisnull(result, 0, c)) {
            continue;
        }
        columns[i].bytes = pq.getvalue(result, 0, c);
        columns[i].len = (size_t)pq.getlength(result, 0, c);
        if (type == OID_INT8 && columns[i].len == 8) {
            columns[i] = ww_db_int(get_int(columns[i].bytes));
        } else if (type == OID_TEXT) {
            columns[i].type = WW_DB_TEXT;
        } else if (type == OID_BYTEA) {
            columns[i].type = WW_DB_BLOB;
        } else {
            return WW_FAIL(
                err, WW_E_MALFORMED,
                "column '%s' of '%s' has a type that a catalogue does not have",
                pq.fname(result, c), db->name);
        }
    }
    return WW_OK;
}

static enum ww_err take_result(struct ww_db *db, const PGresult *result, ww_db_row_fn row,
                               void *payload, struct ww_error *err)
{
    struct ww_db_value columns[WW_DB_MAX_COLUMNS];
    const ExecStatusType status = pq.resultStatus(result);
    const size_t n = (size_t)pq.nfields(result);
    enum ww_err rc = WW_OK;

    if (status == PGRES_SINGLE_TUPLE) {
        WW_INVARIANT(n <= WW_DB_MAX_COLUMNS);
        rc = row ? take_row(db, result, columns, n, err) : WW_OK;
        return rc || !row ? rc : row(payload, columns, n, err);
    }
    if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK) {
        const char *state = pq.resultErrorField(result, PG_DIAG_SQLSTATE);
        const bool full = state && (strcmp(state, "53100") == 0);
        return fail(db, full ? WW_E_NOSPACE : WW_E_IO,
                    "the server refused a statement on", pq.resultErrorMessage(result),
                    err);
    }
    return WW_OK;
}

static enum ww_err run_server(struct ww_db *db, const char *sql,
                              const struct ww_db_value *parameters, size_t n,
                              ww_db_row_fn row, void *payload, struct ww_error *err)
{
    PGconn *handle = db->handle;
    PGresult *result = NULL;
    enum ww_err rc = WW_OK;

    if (!send(handle, sql, parameters, n)) {
        return fail(db, WW_E_IO, "lost", pq.errorMessage(handle), err);
    }
    pq.setSingleRowMode(handle);
    /* All results are taken, also behind an error: the next statement needs a clean line.
     */
    while ((result = pq.getResult(handle)) != NULL) {
        if (!rc) {
            rc = take_result(db, result, row, payload, err);
        }
        pq.clear(result);
    }
    return rc;
}

static void close_server(void *handle)
{
    pq.finish(handle);
}

static const struct ww_db_ops server_ops = {run_server, close_server, NULL, "BEGIN"};

/* Notices (a table that is there already) would go to standard error. */
static void ignore_notice(void *payload, const char *text)
{
    (void)payload;
    (void)text;
}

static enum ww_err check_uri(const char *uri, struct ww_error *err)
{
    char *why = NULL;
    PQconninfoOption *options = pq.conninfoParse(uri, &why);
    enum ww_err rc = WW_OK;

    if (!options) {
        const char *text = why ? why : "out of memory";
        rc = WW_FAIL(err, WW_E_USAGE, "the server's address is malformed: %.*s",
                     (int)strcspn(text, "\n"), text);
        pq.freemem(why);
        return rc;
    }
    for (const PQconninfoOption *o = options; o->keyword && !rc; o++) {
        if (o->val && o->val[0] &&
            (strcmp(o->keyword, "password") == 0 ||
             strcmp(o->keyword, "sslpassword") == 0)) {
            rc = WW_FAIL(err, WW_E_USAGE,
                         "the server's address holds a password, which others on this "
                         "machine could read; put it into a passfile or a service");
        }
    }
    pq.conninfoFree(options);
    return rc;
}

enum ww_err ww_db_open_server(struct ww_db *db, const char *uri, struct ww_error *err)
{
    PGconn *handle = NULL;
    enum ww_err rc = ww_library_load(&library, err);

    if (!rc) {
        rc = check_uri(uri, err);
    }
    if (rc) {
        return rc;
    }
    db->ops = &server_ops;
    handle = pq.connectdb(uri);
    db->handle = handle;
    db->name = ww_strdup(uri);
    if (!handle || !db->name) {
        return WW_FAIL_MEMORY(err, "a data base");
    }
    if (pq.status(handle) != CONNECTION_OK) {
        return fail(db, WW_E_IO, "cannot reach", pq.errorMessage(handle), err);
    }
    pq.setNoticeProcessor(handle, ignore_notice, NULL);
    return ww_db_run(db, "SET lock_timeout = '60s'", NULL, 0, NULL, NULL, err);
}
