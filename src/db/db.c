/* SPDX-License-Identifier: Apache-2.0 */
#include "db/backend.h"

#include <string.h>

#include "util/alloc.h"
#include "util/fail.h"
#include "util/str.h"

struct ww_db_value ww_db_text(const char *text)
{
    if (!text) {
        return (struct ww_db_value){.type = WW_DB_NULL};
    }
    return (struct ww_db_value){.type = WW_DB_TEXT, .bytes = text, .len = strlen(text)};
}

enum ww_err ww_db_open(const char *where, enum ww_db_mode mode,
                       const struct ww_db_stamp *stamp, struct ww_db **out,
                       struct ww_error *err)
{
    struct ww_db *db = ww_calloc(1, sizeof(*db));
    enum ww_err rc = WW_OK;

    *out = NULL;
    if (!db) {
        return WW_FAIL_MEMORY(err, "a data base");
    }
    db->server =
        ww_str_starts(where, "postgresql://") || ww_str_starts(where, "postgres://");
    rc = db->server ? ww_db_open_server(db, where, err)
                    : ww_db_open_sqlite(db, where, mode, stamp, err);
    if (rc) {
        ww_db_abandon(db);
        return rc;
    }
    *out = db;
    return WW_OK;
}

void ww_db_close(struct ww_db *db)
{
    if (!db) {
        return;
    }
    if (db->handle) {
        db->ops->close(db->handle);
    }
    ww_free(db->name);
    ww_free(db);
}

void ww_db_abandon(struct ww_db *db)
{
    if (db && db->handle && db->made && db->ops->unmake) {
        db->ops->unmake(db);
    }
    ww_db_close(db);
}

bool ww_db_is_server(const struct ww_db *db)
{
    return db->server;
}

const char *ww_db_name(const struct ww_db *db)
{
    return db->name;
}

enum ww_err ww_db_run(struct ww_db *db, const char *sql,
                      const struct ww_db_value *parameters, size_t n, ww_db_row_fn row,
                      void *payload, struct ww_error *err)
{
    WW_INVARIANT(n <= WW_DB_MAX_PARAMETERS);
    return db->ops->run(db, sql, parameters, n, row, payload, err);
}

enum ww_err ww_db_begin(struct ww_db *db, const char *lock, struct ww_error *err)
{
    enum ww_err rc = ww_db_run(db, db->ops->begin, NULL, 0, NULL, NULL, err);

    if (!rc && db->server) {
        char *sql = ww_asprintf("LOCK TABLE %s IN EXCLUSIVE MODE", lock);
        rc = sql ? ww_db_run(db, sql, NULL, 0, NULL, NULL, err)
                 : WW_FAIL_MEMORY(err, "a data base");
        ww_free(sql);
        if (rc) {
            ww_db_rollback(db);
        }
    }
    return rc;
}

enum ww_err ww_db_commit(struct ww_db *db, struct ww_error *err)
{
    return ww_db_run(db, "COMMIT", NULL, 0, NULL, NULL, err);
}

void ww_db_rollback(struct ww_db *db)
{
    struct ww_error ignored = {0};
    /* There may be none left: a failed statement can end it. */
    (void)!ww_db_run(db, "ROLLBACK", NULL, 0, NULL, NULL, &ignored);
}
