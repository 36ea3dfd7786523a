/* SPDX-License-Identifier: Apache-2.0 */
/* What each of the two data bases fills in. */
#ifndef WW_DB_BACKEND_H
#define WW_DB_BACKEND_H

#include "db/db.h"

struct ww_db_ops {
    enum ww_err (*run)(struct ww_db *db, const char *sql,
                       const struct ww_db_value *parameters, size_t n, ww_db_row_fn row,
                       void *payload, struct ww_error *err);
    void (*close)(void *handle);
    /* Remove the file if it has no table; NULL: there is none. */
    void (*unmake)(struct ww_db *db);
    const char *begin;
};

struct ww_db {
    const struct ww_db_ops *ops;
    void *handle; /* sqlite3 *, PGconn * */
    char *name;
    bool server;
    bool made; /* the file was not there before */
};

#define WW_DB_MAX_COLUMNS 16

enum ww_err ww_db_open_sqlite(struct ww_db *db, const char *path, enum ww_db_mode mode,
                              const struct ww_db_stamp *stamp,
                              struct ww_error *err) WW_MUST_USE;
enum ww_err ww_db_open_server(struct ww_db *db, const char *uri,
                              struct ww_error *err) WW_MUST_USE;

#endif
