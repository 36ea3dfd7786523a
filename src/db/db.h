/* SPDX-License-Identifier: Apache-2.0 */
/**
 * One small door to two data bases: an SQLite file, or a PostgreSQL server behind a URI.
 *
 * Statements are SQL that both understand, with parameters $1, $2, ... and three types:
 * 64-bit integers, text and bytes. Nothing else of either library is seen outside.
 */
#ifndef WW_DB_DB_H
#define WW_DB_DB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weightward/error.h"

enum ww_db_type { WW_DB_NULL, WW_DB_INT, WW_DB_TEXT, WW_DB_BLOB };

/** A parameter, or a column of a row; bytes are borrows that end with the call. Text ends
 *  with a NUL that len does not count. */
struct ww_db_value {
    enum ww_db_type type;
    int64_t number;
    const void *bytes;
    size_t len;
};

static inline struct ww_db_value ww_db_int(int64_t number)
{
    return (struct ww_db_value){.type = WW_DB_INT, .number = number};
}
struct ww_db_value ww_db_text(const char *text);
static inline struct ww_db_value ww_db_blob(const void *bytes, size_t len)
{
    return (struct ww_db_value){.type = WW_DB_BLOB, .bytes = bytes, .len = len};
}

#define WW_DB_MAX_PARAMETERS 16

/** Called for each row in the order of the answer; an error ends the statement. */
typedef enum ww_err (*ww_db_row_fn)(void *payload, const struct ww_db_value *columns,
                                    size_t n, struct ww_error *err);

enum ww_db_mode { WW_DB_READ, WW_DB_WRITE };

/** What a file of ours says of itself, before anything in it is believed. */
struct ww_db_stamp {
    uint32_t application; /* SQLite's application_id */
    uint32_t version;     /* user_version */
    const char *what;     /* "catalogue", for error texts */
};

/**
 * Open a file, or a server when where starts with postgresql:// or postgres://. WRITE
 * makes the file when it is not there. WW_E_NOTFOUND; WW_E_MALFORMED for what is no data
 * base, is damaged or is somebody else's; WW_E_VERSION for a newer one; WW_E_USAGE for a
 * URI with a password in it, which every user of the machine could read; WW_E_IO.
 */
struct ww_db;
enum ww_err ww_db_open(const char *where, enum ww_db_mode mode,
                       const struct ww_db_stamp *stamp, struct ww_db **out,
                       struct ww_error *err) WW_MUST_USE;
void ww_db_close(struct ww_db *db);
/** Close after a failure: a file that this handle made is removed while it has no table.
 */
void ww_db_abandon(struct ww_db *db);

bool ww_db_is_server(const struct ww_db *db);
/** For error texts: the path, or the server's host and data base. */
const char *ww_db_name(const struct ww_db *db);

/** Run one statement; row (may be NULL) gets each row. */
enum ww_err ww_db_run(struct ww_db *db, const char *sql,
                      const struct ww_db_value *parameters, size_t n, ww_db_row_fn row,
                      void *payload, struct ww_error *err) WW_MUST_USE;

/** A transaction that one writer has at a time; others wait up to a minute. lock: the
 *  table that a server locks. */
enum ww_err ww_db_begin(struct ww_db *db, const char *lock,
                        struct ww_error *err) WW_MUST_USE;
enum ww_err ww_db_commit(struct ww_db *db, struct ww_error *err) WW_MUST_USE;
void ww_db_rollback(struct ww_db *db);

#endif
