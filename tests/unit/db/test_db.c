/* SPDX-License-Identifier: Apache-2.0 */
/* What goes into an SQLite file comes out; transactions; files that are none of ours. */
#include "ww_test.h"

#include <sys/stat.h>
#include <unistd.h>

#include "db/db.h"
#include "util/fs.h"

static struct ww_error err;
static const struct ww_db_stamp stamp = {0x12345678, 3, "catalogue"};

static char *file_in(const char *dir)
{
    char *path = NULL;
    assert_true(asprintf(&path, "%s/x.db", dir) > 0);
    return path;
}

static void run(struct ww_db *db, const char *sql)
{
    OK(ww_db_run(db, sql, NULL, 0, NULL, NULL, &err));
}

static enum ww_err see_row(void *payload, const struct ww_db_value *c, size_t n,
                           struct ww_error *e)
{
    (void)e;
    assert_int_equal(n, 4);
    assert_int_equal(c[0].type, WW_DB_INT);
    assert_true(c[0].number == INT64_MIN);
    assert_string_equal(c[1].bytes, "n\xc3\xa4me");
    assert_int_equal(c[2].type, WW_DB_BLOB);
    assert_memory_equal(c[2].bytes, "a\0b", 3);
    assert_int_equal(c[3].type, WW_DB_NULL);
    ++*(int *)payload;
    return WW_OK;
}

static void values_come_out_as_they_went_in(void **state)
{
    char *dir = ww_test_mkdir();
    char *path = file_in(dir);
    struct ww_db *db = NULL;
    const struct ww_db_value v[] = {ww_db_blob("a\0b", 3), ww_db_text("n\xc3\xa4me"),
                                    ww_db_int(INT64_MIN), ww_db_text(NULL)};
    int rows = 0;
    (void)state;
    OK(ww_db_open(path, WW_DB_WRITE, &stamp, &db, &err));
    assert_false(ww_db_is_server(db));
    run(db, "CREATE TABLE t (i BIGINT, s TEXT, b BLOB, n TEXT)");
    OK(ww_db_run(db, "INSERT INTO t VALUES ($3, $2, $1, $4)", v, 4, NULL, NULL, &err));
    OK(ww_db_run(db, "SELECT i, s, b, n FROM t", NULL, 0, see_row, &rows, &err));
    assert_int_equal(rows, 1);
    ww_db_close(db);
    free(path);
    ww_test_rmdir(dir);
}

static enum ww_err take(void *payload, const struct ww_db_value *c, size_t n,
                        struct ww_error *e)
{
    (void)n;
    (void)e;
    *(int64_t *)payload = c[0].number;
    return WW_OK;
}

static void rolled_back_is_as_never_written_and_a_reader_writes_nothing(void **state)
{
    char *dir = ww_test_mkdir();
    char *path = file_in(dir);
    struct ww_db *db = NULL;
    int64_t n = -1;
    (void)state;
    OK(ww_db_open(path, WW_DB_WRITE, &stamp, &db, &err));
    run(db, "CREATE TABLE t (i BIGINT)");
    OK(ww_db_begin(db, "t", &err));
    run(db, "INSERT INTO t VALUES (1)");
    ww_db_rollback(db);
    OK(ww_db_begin(db, "t", &err));
    run(db, "INSERT INTO t VALUES (2)");
    OK(ww_db_commit(db, &err));
    OK(ww_db_run(db, "SELECT sum(i) FROM t", NULL, 0, take, &n, &err));
    assert_int_equal(n, 2);
    ww_db_close(db);
    OK(ww_db_open(path, WW_DB_READ, &stamp, &db, &err));
    FAILS(ww_db_run(db, "INSERT INTO t VALUES (3)", NULL, 0, NULL, NULL, &err), WW_E_IO);
    ww_db_close(db);
    free(path);
    ww_test_rmdir(dir);
}

static enum ww_err cut(void *payload, const struct ww_db_value *c, size_t n,
                       struct ww_error *e)
{
    (void)c;
    (void)n;
    (void)e;
    assert_int_equal(truncate(payload, 2 << 16), 0);
    return WW_OK;
}

/* One that is mapped would end the process by a signal. More than SQLite keeps in memory.
 */
static void a_file_that_is_cut_while_it_is_read_is_an_error(void **state)
{
    char *dir = ww_test_mkdir();
    char *path = file_in(dir);
    struct ww_db *db = NULL;
    (void)state;
    OK(ww_db_open(path, WW_DB_WRITE, &stamp, &db, &err));
    run(db, "CREATE TABLE t (b BLOB)");
    run(db,
        "INSERT INTO t WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n "
        "WHERE i < 64) SELECT zeroblob(60000) FROM n");
    ww_db_close(db);
    OK(ww_db_open(path, WW_DB_READ, &stamp, &db, &err));
    assert_int_not_equal(ww_db_run(db, "SELECT b FROM t", NULL, 0, cut, path, &err),
                         WW_OK);
    ww_db_close(db);
    free(path);
    ww_test_rmdir(dir);
}

static void stamps_of_others_and_newer_ones_are_refused(void **state)
{
    const struct ww_db_stamp other = {0x12345679, 3, "catalogue"};
    const struct ww_db_stamp older = {0x12345678, 2, "catalogue"};
    char *dir = ww_test_mkdir();
    char *path = file_in(dir);
    struct ww_db *db = NULL;
    (void)state;
    FAILS(ww_db_open(path, WW_DB_READ, &stamp, &db, &err), WW_E_NOTFOUND);
    OK(ww_db_open(path, WW_DB_WRITE, &stamp, &db, &err));
    run(db, "CREATE TABLE t (i BIGINT)");
    ww_db_close(db);
    for (int mode = WW_DB_READ; mode <= WW_DB_WRITE; mode++) {
        FAILS(ww_db_open(path, mode, &other, &db, &err), WW_E_MALFORMED);
        FAILS(ww_db_open(path, mode, &older, &db, &err), WW_E_VERSION);
        assert_null(db);
    }
    free(path);
    ww_test_rmdir(dir);
}

/* SQLite would remove what such a journal names, which may be any file of the user's. */
static void a_journal_that_names_another_file_is_refused(void **state)
{
    static const uint8_t magic[] = {0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7};
    char *dir = ww_test_mkdir();
    char *path = file_in(dir);
    char *keys = NULL;
    char *journal = NULL;
    struct ww_db *db = NULL;
    uint8_t text[2048] = {0};
    struct stat st;
    (void)state;
    OK(ww_db_open(path, WW_DB_WRITE, &stamp, &db, &err));
    run(db, "CREATE TABLE t (i BIGINT)");
    ww_db_close(db);
    assert_true(asprintf(&keys, "%s/keys", dir) > 0);
    assert_true(asprintf(&journal, "%s-journal", path) > 0);
    OK(ww_file_write(keys, "secret", 6, 0600, false, &err));
    /* The header of a journal without pages, of sectors of 512 bytes; then the name. */
    memcpy(text, magic, sizeof(magic));
    text[22] = 2;
    text[25] = 1;
    const size_t len = strlen(keys);
    uint32_t sum = 0;
    for (size_t i = 0; i < len; i++) {
        sum += (uint8_t)keys[i];
    }
    uint8_t *at = text + 512 + 4;
    memcpy(at, keys, len);
    at += len;
    for (unsigned i = 0; i < 4; i++) {
        at[i] = (uint8_t)(len >> (24 - 8 * i));
        at[4 + i] = (uint8_t)(sum >> (24 - 8 * i));
    }
    memcpy(at + 8, magic, sizeof(magic));
    at += 16;
    OK(ww_file_write(journal, text, (size_t)(at - text), 0600, false, &err));
    for (int mode = WW_DB_READ; mode <= WW_DB_WRITE; mode++) {
        FAILS(ww_db_open(path, mode, &stamp, &db, &err), WW_E_MALFORMED);
        assert_int_equal(stat(keys, &st), 0);
    }
    free(keys);
    free(journal);
    free(path);
    ww_test_rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_come_out_as_they_went_in),
        cmocka_unit_test(rolled_back_is_as_never_written_and_a_reader_writes_nothing),
        cmocka_unit_test(a_file_that_is_cut_while_it_is_read_is_an_error),
        cmocka_unit_test(stamps_of_others_and_newer_ones_are_refused),
        cmocka_unit_test(a_journal_that_names_another_file_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
