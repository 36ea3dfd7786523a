/* SPDX-License-Identifier: Apache-2.0 */
/* A catalogue is foreign bytes: every blob of a wrong length or type, and files with
 * single bytes changed, are refused or harmless. */
#include "ww_test.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "db/db.h"
#include "lineage/catalogue_store.h"
#include "weightward/catalogue.h"

#define BASE WW_VECTORS "/amber/base"
#define SIBLING WW_VECTORS "/amber/expert-rev"

static struct ww_error err;

/* A catalogue of the base under dir. */
static char *make_catalogue(const char *dir)
{
    static const char *const models[] = {BASE};
    const struct ww_index_options options = {.root = true};
    struct ww_index_report report;
    char *path = NULL;
    assert_true(asprintf(&path, "%s/c.db", dir) > 0);
    OK(ww_catalogue_index(path, models, 1, &options, &report, &err));
    assert_true(report.entries[0].added);
    ww_index_report_release(&report);
    return path;
}

static enum ww_err find(const char *path, const char *suspect)
{
    const struct ww_find_options options = {.no_confirm = true};
    struct ww_find_report report;
    const enum ww_err rc = ww_catalogue_find(path, suspect, &options, &report, &err);
    ww_find_report_release(&report);
    return rc;
}

static void change(const char *path, const char *sql)
{
    bool sampled = false;
    struct ww_db *db = NULL;
    OK(ww_store_open(path, WW_DB_WRITE, &sampled, &db, &err));
    OK(ww_db_run(db, sql, NULL, 0, NULL, NULL, &err));
    ww_db_close(db);
}

static void every_value_of_a_wrong_length_or_type_is_refused(void **state)
{
    static const char *const changes[] = {
        "UPDATE ww_sketches SET coarse = substr(coarse, 1, 16380)",
        "UPDATE ww_sketches SET coarse = zeroblob(16388)",
        "UPDATE ww_sketches SET coarse = 'text'",
        "UPDATE ww_sketches SET coarse = zeroblob(16380) || x'0000807f'",
        "UPDATE ww_tensors SET hashes = x'000102'",
        "UPDATE ww_tensors SET hashes = 'text'",
        "UPDATE ww_models SET stamp = x'00'",
        "UPDATE ww_models SET place = x'00'",
        "UPDATE ww_models SET name = x'6162'",
        "UPDATE ww_meta SET value = 2 WHERE name = 'sampled'",
        "UPDATE ww_meta SET value = 'one' WHERE name = 'version'",
        "DELETE FROM ww_meta",
    };
    (void)state;
    for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
        char *dir = ww_test_mkdir();
        char *path = make_catalogue(dir);
        OK(find(path, SIBLING));
        change(path, changes[i]);
        const enum ww_err rc = find(path, SIBLING);
        if (rc != WW_E_MALFORMED) {
            fail_msg("%s: %s", changes[i], rc ? err.text : "accepted");
        }
        free(path);
        ww_test_rmdir(dir);
    }
}

static void a_newer_catalogue_is_refused_before_it_is_read(void **state)
{
    char *dir = ww_test_mkdir();
    char *path = make_catalogue(dir);
    (void)state;
    change(path, "UPDATE ww_meta SET value = 3 WHERE name = 'version'");
    FAILS(find(path, SIBLING), WW_E_VERSION);
    free(path);
    ww_test_rmdir(dir);
}

/* The first version had no spectra. */
static void an_older_catalogue_is_refused_and_left_as_it_is(void **state)
{
    static const char *const models[] = {SIBLING};
    const struct ww_db_stamp stamp = {WW_CATALOGUE_ID, WW_CATALOGUE_VERSION, "catalogue"};
    const struct ww_index_options options = {.root = false};
    struct ww_index_report report;
    struct ww_db *db = NULL;
    char *dir = ww_test_mkdir();
    char *path = make_catalogue(dir);
    int64_t n = -1;
    (void)state;
    OK(ww_db_open(path, WW_DB_WRITE, &stamp, &db, &err));
    OK(ww_db_run(db, "DROP TABLE ww_spectra", NULL, 0, NULL, NULL, &err));
    OK(ww_db_run(db, "UPDATE ww_meta SET value = 1 WHERE name = 'version'", NULL, 0, NULL,
                 NULL, &err));
    ww_db_close(db);
    FAILS(find(path, SIBLING), WW_E_VERSION);
    FAILS(ww_catalogue_index(path, models, 1, &options, &report, &err), WW_E_VERSION);
    assert_non_null(strstr(err.text, "index the models again"));
    ww_index_report_release(&report);
    OK(ww_db_open(path, WW_DB_READ, &stamp, &db, &err));
    OK(ww_store_count(db, "SELECT count(*) FROM sqlite_master WHERE name = 'ww_spectra'",
                      NULL, 0, &n, &err));
    assert_int_equal(n, 0);
    ww_db_close(db);
    free(path);
    ww_test_rmdir(dir);
}

/* One byte in 61 positions that cover header, schema, inner pages and the end. */
static void a_byte_that_changed_is_refused_or_harmless(void **state)
{
    char *dir = ww_test_mkdir();
    char *path = make_catalogue(dir);
    struct stat st;
    unsigned refused = 0;
    (void)state;
    assert_int_equal(stat(path, &st), 0);
    for (unsigned i = 0; i < 61; i++) {
        const off_t at = i < 30 ? (off_t)i * 4 : st.st_size * (off_t)(i - 29) / 32 + i;
        uint8_t was = 0;
        uint8_t is = 0;
        enum ww_err rc = WW_OK;
        const int fd = open(path, O_RDWR | O_CLOEXEC);
        assert_true(fd >= 0);
        assert_int_equal(pread(fd, &was, 1, at % st.st_size), 1);
        is = (uint8_t)(was ^ 0xa5);
        assert_int_equal(pwrite(fd, &is, 1, at % st.st_size), 1);
        rc = find(path, BASE);
        if (rc && rc != WW_E_MALFORMED && rc != WW_E_VERSION && rc != WW_E_IO) {
            fail_msg("byte %lld: %s", (long long)at, err.text);
        }
        refused += rc != WW_OK;
        assert_int_equal(pwrite(fd, &was, 1, at % st.st_size), 1);
        close(fd);
    }
    assert_true(refused >= 10);
    OK(find(path, BASE));
    free(path);
    ww_test_rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_value_of_a_wrong_length_or_type_is_refused),
        cmocka_unit_test(a_newer_catalogue_is_refused_before_it_is_read),
        cmocka_unit_test(an_older_catalogue_is_refused_and_left_as_it_is),
        cmocka_unit_test(a_byte_that_changed_is_refused_or_harmless),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
