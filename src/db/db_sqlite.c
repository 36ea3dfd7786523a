/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SQLite 3: a file with a rollback journal, so that one file is all there is between
 * writes. Pages of 64 KiB hold three sketches each, which a scan then reads in order.
 */
#include "db/backend.h"

#include <limits.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"

#define BUSY_MS 60000
/* quick_check reads the whole file; above this size a reader trusts pages one by one. */
#define CHECK_BYTES (INT64_C(64) << 20)

static const struct {
    int code;
    enum ww_err err;
    const char *text;
} failures[] = {
    {SQLITE_FULL, WW_E_NOSPACE, "no space left for '%s': %s"},
    {SQLITE_CORRUPT, WW_E_MALFORMED, "'%s' is damaged: %s; restore it or index again"},
    {SQLITE_NOTADB, WW_E_MALFORMED, "'%s' is no catalogue: %s"},
    {SQLITE_NOMEM, WW_E_NOMEM, "out of memory in '%s': %s"},
    {SQLITE_CANTOPEN, WW_E_IO, "cannot open '%s': %s"},
    {SQLITE_READONLY, WW_E_IO, "cannot write '%s': %s"},
    {SQLITE_BUSY, WW_E_IO, "'%s' was busy for a minute: %s; another writer holds it"},
};

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
static enum ww_err fail(const struct ww_db *db, int code, struct ww_error *err)
{
    const char *why = db->handle ? sqlite3_errmsg(db->handle) : sqlite3_errstr(code);

    for (size_t i = 0; i < WW_LEN(failures); i++) {
        if (failures[i].code == (code & 0xff)) {
            return WW_FAIL(err, failures[i].err, failures[i].text, db->name, why);
        }
    }
    return WW_FAIL(err, WW_E_IO, "'%s' failed: %s", db->name, why);
}
#pragma GCC diagnostic pop

static int bind(sqlite3_stmt *stmt, int at, const struct ww_db_value *v)
{
    switch (v->type) {
    case WW_DB_INT:
        return sqlite3_bind_int64(stmt, at, v->number);
    case WW_DB_TEXT:
        return sqlite3_bind_text64(stmt, at, v->bytes, v->len, SQLITE_STATIC,
                                   SQLITE_UTF8);
    case WW_DB_BLOB:
        return v->len == 0
                   ? sqlite3_bind_zeroblob(stmt, at, 0)
                   : sqlite3_bind_blob64(stmt, at, v->bytes, v->len, SQLITE_STATIC);
    case WW_DB_NULL:
        break;
    }
    return sqlite3_bind_null(stmt, at);
}

/* "$3" is a name to SQLite; numbers follow the first appearance. */
static int bind_all(sqlite3_stmt *stmt, const struct ww_db_value *parameters, size_t n)
{
    int code = SQLITE_OK;

    for (int at = 1; at <= sqlite3_bind_parameter_count(stmt) && !code; at++) {
        const char *name = sqlite3_bind_parameter_name(stmt, at);
        size_t which = 0;
        for (const char *p = name ? name + 1 : ""; *p >= '0' && *p <= '9'; p++) {
            which = which * 10 + (size_t)(*p - '0');
        }
        WW_INVARIANT(which >= 1 && which <= n);
        code = bind(stmt, at, &parameters[which - 1]);
    }
    return code;
}

static void take_row(sqlite3_stmt *stmt, struct ww_db_value *columns, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const int c = (int)i;
        columns[i] = (struct ww_db_value){.type = WW_DB_NULL};
        switch (sqlite3_column_type(stmt, c)) {
        case SQLITE_INTEGER:
            columns[i] = ww_db_int(sqlite3_column_int64(stmt, c));
            break;
        case SQLITE_TEXT:
            columns[i].type = WW_DB_TEXT;
            columns[i].bytes = sqlite3_column_text(stmt, c);
            columns[i].len = (size_t)sqlite3_column_bytes(stmt, c);
            break;
        case SQLITE_BLOB:
            columns[i].type = WW_DB_BLOB;
            columns[i].bytes = sqlite3_column_blob(stmt, c);
            columns[i].len = (size_t)sqlite3_column_bytes(stmt, c);
            break;
        default:
            break;
        }
    }
}

static enum ww_err run_sqlite(struct ww_db *db, const char *sql,
                              const struct ww_db_value *parameters, size_t n,
                              ww_db_row_fn row, void *payload, struct ww_error *err)
{
    struct ww_db_value columns[WW_DB_MAX_COLUMNS];
    sqlite3_stmt *stmt = NULL;
    enum ww_err rc = WW_OK;
    int code = sqlite3_prepare_v2(db->handle, sql, -1, &stmt, NULL);

    if (!code) {
        code = bind_all(stmt, parameters, n);
    }
    while (!code && !rc) {
        const int count = sqlite3_column_count(stmt);
        WW_INVARIANT(count <= WW_DB_MAX_COLUMNS);
        code = sqlite3_step(stmt);
        if (code == SQLITE_DONE) {
            code = SQLITE_OK;
            break;
        }
        if (code == SQLITE_ROW) {
            code = SQLITE_OK;
            take_row(stmt, columns, (size_t)count);
            rc = row ? row(payload, columns, (size_t)count, err) : WW_OK;
        }
    }
    if (code) {
        rc = fail(db, code, err);
    }
    sqlite3_finalize(stmt);
    return rc;
}

static void close_sqlite(void *handle)
{
    sqlite3_close(handle);
}

static enum ww_err take_int(void *payload, const struct ww_db_value *columns, size_t n,
                            struct ww_error *err)
{
    (void)n;
    (void)err;
    *(int64_t *)payload = columns[0].number;
    return WW_OK;
}

static enum ww_err pragma_int(struct ww_db *db, const char *sql, int64_t *out,
                              struct ww_error *err)
{
    *out = 0;
    return ww_db_run(db, sql, NULL, 0, take_int, out, err);
}

/* Nothing was ever written. Where even a lock finds no room nobody else writes either. */
static bool is_bare(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 && st.st_size == 0;
}

/* Under the lock that writers wait for: who comes to the name later is told by
 * check_there(). What cannot be counted stays. */
static void unmake_sqlite(struct ww_db *db)
{
    struct ww_error ignored = {0};
    int64_t n = 0;
    enum ww_err rc = WW_OK;

    sqlite3_busy_timeout(db->handle, 0);
    rc = ww_db_run(db, "BEGIN EXCLUSIVE", NULL, 0, NULL, NULL, &ignored);
    if (!rc) {
        rc = pragma_int(db, "SELECT count(*) FROM sqlite_master", &n, &ignored);
    }
    if (rc == WW_E_NOSPACE ? is_bare(db->name) : !rc && n == 0) {
        (void)unlink(db->name);
    }
    ww_db_rollback(db);
}

static const struct ww_db_ops sqlite_ops = {run_sqlite, close_sqlite, unmake_sqlite,
                                            "BEGIN IMMEDIATE"};

static enum ww_err take_check(void *payload, const struct ww_db_value *columns, size_t n,
                              struct ww_error *err)
{
    const struct ww_db *db = payload;
    (void)n;
    if (columns[0].type != WW_DB_TEXT || strcmp(columns[0].bytes, "ok") != 0) {
        return WW_FAIL(err, WW_E_MALFORMED,
                       "'%s' is damaged: %s; restore it or index again", db->name,
                       columns[0].type == WW_DB_TEXT ? (const char *)columns[0].bytes
                                                     : "its check gave no text");
    }
    return WW_OK;
}

/* Empty: nothing was ever written, as after a writer that died before its first commit.
 */
static enum ww_err stamp_new(struct ww_db *db, const struct ww_db_stamp *stamp,
                             struct ww_error *err)
{
    char *sql = ww_asprintf("PRAGMA application_id = %u", (unsigned)stamp->application);
    char *version = ww_asprintf("PRAGMA user_version = %u", (unsigned)stamp->version);
    enum ww_err rc = sql && version ? WW_OK : WW_FAIL_MEMORY(err, "'%s'", db->name);

    if (!rc) {
        rc = ww_db_run(db, sql, NULL, 0, NULL, NULL, err);
    }
    if (!rc) {
        rc = ww_db_run(db, version, NULL, 0, NULL, NULL, err);
    }
    ww_free(sql);
    ww_free(version);
    return rc;
}

static enum ww_err check_stamp(struct ww_db *db, const struct ww_db_stamp *stamp,
                               struct ww_error *err)
{
    int64_t application = 0;
    int64_t version = 0;
    enum ww_err rc = pragma_int(db, "PRAGMA application_id", &application, err);

    if (!rc) {
        rc = pragma_int(db, "PRAGMA user_version", &version, err);
    }
    if (rc) {
        return rc;
    }
    if (application == 0 && is_bare(db->name)) {
        return WW_FAIL(err, WW_E_MALFORMED,
                       "'%s' is empty: who made it did not come to write a %s into it",
                       db->name, stamp->what);
    }
    if (application != (int64_t)stamp->application) {
        return WW_FAIL(err, WW_E_MALFORMED,
                       "'%s' is a data base of another program, no %s", db->name,
                       stamp->what);
    }
    if (version > (int64_t)stamp->version || version < 1) {
        return WW_FAIL(err, WW_E_VERSION,
                       "'%s' is a %s of version %lld, this program knows %u", db->name,
                       stamp->what, (long long)version, (unsigned)stamp->version);
    }
    return WW_OK;
}

static enum ww_err check_pages(struct ww_db *db, enum ww_db_mode mode,
                               struct ww_error *err)
{
    struct stat st;

    if (mode == WW_DB_READ && (stat(db->name, &st) != 0 || st.st_size > CHECK_BYTES)) {
        return WW_OK;
    }
    return ww_db_run(db, "PRAGMA quick_check(1)", NULL, 0, take_check, db, err);
}

/* SQLite looks for itself where a file has pages; an empty one may be gone by now, with a
 * writer that failed. */
static enum ww_err check_there(struct ww_db *db, struct ww_error *err)
{
    int moved = 0;

    (void)sqlite3_file_control(db->handle, "main", SQLITE_FCNTL_HAS_MOVED, &moved);
    return moved ? WW_FAIL(err, WW_E_CHANGED,
                           "'%s' was removed by another writer, which failed; try again",
                           db->name)
                 : WW_OK;
}

/* Stamp a new file, or believe the stamp of an old one; in one transaction, because two
 * writers may come to a new file at once. */
static enum ww_err prepare(struct ww_db *db, enum ww_db_mode mode,
                           const struct ww_db_stamp *stamp, struct ww_error *err)
{
    int64_t tables = 0;
    enum ww_err rc = WW_OK;

    if (mode == WW_DB_WRITE) {
        rc = ww_db_begin(db, NULL, err);
        if (!rc) {
            rc = pragma_int(db, "SELECT count(*) FROM sqlite_master", &tables, err);
        }
        if (!rc && tables == 0) {
            rc = stamp_new(db, stamp, err);
        }
        if (!rc) {
            rc = ww_db_commit(db, err);
        }
        if (!rc) {
            rc = check_there(db, err);
        }
        if (rc) {
            ww_db_rollback(db);
        }
    }
    return rc ? rc : check_stamp(db, stamp, err);
}

/* Nothing is mapped: a file that somebody cuts meanwhile would end the process by SIGBUS.
 */
static enum ww_err configure(struct ww_db *db, struct ww_error *err)
{
    static const char *const pragmas[] = {
        "PRAGMA page_size = 65536",  "PRAGMA trusted_schema = OFF",
        "PRAGMA foreign_keys = OFF", "PRAGMA mmap_size = 0",
        "PRAGMA synchronous = FULL", "PRAGMA cell_size_check = ON"};
    enum ww_err rc = WW_OK;

    for (size_t i = 0; i < WW_LEN(pragmas) && !rc; i++) {
        rc = ww_db_run(db, pragmas[i], NULL, 0, NULL, NULL, err);
    }
    return rc;
}

/* A journal of a transaction over several files names a further one, which SQLite removes
 * when it has rolled back. Ours is of one file: one that names another came from
 * elsewhere, and would have any file of the user's removed. */
static enum ww_err check_journal(const char *path, struct ww_error *err)
{
    static const uint8_t names_one[] = {0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7};
    uint8_t end[sizeof(names_one)];
    char real[PATH_MAX]; /* beside the file that a link leads to */
    char *journal = ww_asprintf("%s-journal", realpath(path, real) ? real : path);
    struct stat st;
    int fd = -1;
    enum ww_err rc = journal ? WW_OK : WW_FAIL_MEMORY(err, "'%s'", path);

    if (!rc && ww_file_open(journal, &fd, &st, NULL) == WW_OK &&
        st.st_size >= (off_t)sizeof(end) &&
        ww_pread_full(fd, end, sizeof(end), (uint64_t)st.st_size - sizeof(end), journal,
                      NULL) == WW_OK &&
        memcmp(end, names_one, sizeof(end)) == 0) {
        rc = WW_FAIL(err, WW_E_MALFORMED,
                     "'%s' names another file, and is no journal of '%s'; remove it",
                     journal, path);
    }
    if (fd >= 0) {
        close(fd);
    }
    ww_free(journal);
    return rc;
}

enum ww_err ww_db_open_sqlite(struct ww_db *db, const char *path, enum ww_db_mode mode,
                              const struct ww_db_stamp *stamp, struct ww_error *err)
{
    /* A reader too may have to roll back what a killed writer left; it writes no more. */
    const int flags =
        SQLITE_OPEN_READWRITE | (mode == WW_DB_WRITE ? SQLITE_OPEN_CREATE : 0);
    sqlite3 *handle = NULL;
    struct stat st;
    enum ww_err rc = WW_OK;
    int code = 0;

    db->ops = &sqlite_ops;
    db->name = ww_strdup(path);
    if (!db->name) {
        return WW_FAIL_MEMORY(err, "'%s'", path);
    }
    if (stat(path, &st) == 0 && !S_ISREG(st.st_mode)) {
        return WW_FAIL(err, WW_E_MALFORMED,
                       "'%s' is a folder or a device, expected the file of a %s", path,
                       stamp->what);
    }
    if (mode == WW_DB_READ && access(path, F_OK) != 0) {
        return WW_FAIL(err, WW_E_NOTFOUND, "no %s '%s'; 'lineage index' makes one",
                       stamp->what, path);
    }
    db->made = mode == WW_DB_WRITE && access(path, F_OK) != 0;
    rc = check_journal(path, err);
    if (rc) {
        return rc;
    }
    code = sqlite3_open_v2(path, &handle, flags, NULL);
    db->handle = handle;
    if (code) {
        return fail(db, code, err);
    }
    sqlite3_busy_timeout(handle, BUSY_MS);
    /* A file from elsewhere may hold triggers and views made to do harm. */
    sqlite3_db_config(handle, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    sqlite3_db_config(handle, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, NULL);
    sqlite3_db_config(handle, SQLITE_DBCONFIG_ENABLE_VIEW, 0, NULL);
    rc = configure(db, err);
    if (!rc && mode == WW_DB_READ) {
        rc = ww_db_run(db, "PRAGMA query_only = ON", NULL, 0, NULL, NULL, err);
    }
    if (!rc) {
        rc = prepare(db, mode, stamp, err);
    }
    return rc ? rc : check_pages(db, mode, err);
}
