/* SPDX-License-Identifier: Apache-2.0 */
/* A catalogue is foreign bytes: every blob of a wrong length or type, and files with
 * single bytes changed, are refused or harmless. */
#include "ww_test.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "db/db.h"
#include "lineage/catalogue_store.h"
#include "util/num.h"
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
    change(path, "UPDATE ww_meta SET value = 4 WHERE name = 'version'");
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

/* A print of one tensor; what is in it does not matter, but for the digest. */
static void fill_print(struct ww_print *p, struct ww_print_tensor *t, uint64_t number)
{
    static float nothing[WW_SKETCH_COARSE];

    memset(t, 0, sizeof(*t));
    memset(p, 0, sizeof(*p));
    t->name = "layers.0.w";
    p->tensors = t;
    p->n_tensors = 1;
    p->coarse = nothing;
    ww_put_u64le(p->digest, number + 1);
}

/* Names must be fit to be shown; everything else is as a writer of ours would have it. */
static void names_that_would_write_into_a_terminal_are_refused(void **state)
{
    static const char *const changes[] = {
        "UPDATE ww_models SET name = 'a' || char(27) || '[2Jb'",
        "UPDATE ww_models SET name = CAST(x'c328' AS TEXT)",
        "UPDATE ww_models SET name = 'a' || char(10) || 'SUPPORTS'",
        "UPDATE ww_models SET name = printf('%70000s', 'a')",
    };
    (void)state;
    for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
        char *dir = ww_test_mkdir();
        char *path = make_catalogue(dir);
        change(path, changes[i]);
        FAILS(find(path, SIBLING), WW_E_MALFORMED);
        assert_non_null(strstr(err.text, "a model's name is no text"));
        FAILS(find(path, BASE), WW_E_MALFORMED); /* known by its digest */
        free(path);
        ww_test_rmdir(dir);
    }
}

/* In a process of its own. */
static _Noreturn void write_one(const char *path, uint64_t number)
{
    char name[32];
    struct ww_print print;
    struct ww_print_tensor tensor;
    const struct ww_store_model who = {.name = name, .place = "/nowhere"};
    struct ww_error mine = {0};
    struct ww_db *db = NULL;
    char *known = NULL;
    bool sampled = false;
    enum ww_err rc = ww_store_open(path, WW_DB_WRITE, &sampled, &db, &mine);

    (void)snprintf(name, sizeof(name), "model%llu", (unsigned long long)number);
    fill_print(&print, &tensor, number);
    rc = rc ? rc : ww_store_add(db, &who, &print, &known, &mine);
    if (rc || known) {
        fprintf(stderr, "writer %s: %s\n", name, mine.text);
    }
    ww_db_close(db);
    _exit(rc || known ? 1 : 0);
}

/* A process costs ten times as much under a sanitizer. */
#ifdef __SANITIZE_ADDRESS__
enum { WRITERS = 40 };
#else
enum { WRITERS = 200 };
#endif

static void writers_at_once_lose_nothing(void **state)
{
    pid_t writers[WRITERS];
    char *dir = ww_test_mkdir();
    char *path = NULL;
    bool sampled = false;
    struct ww_db *db = NULL;
    int64_t n = 0;
    (void)state;
    assert_true(asprintf(&path, "%s/c.db", dir) > 0);
    for (uint64_t i = 0; i < WRITERS; i++) {
        writers[i] = fork();
        assert_true(writers[i] >= 0);
        if (writers[i] == 0) {
            write_one(path, i);
        }
    }
    for (size_t i = 0; i < WRITERS; i++) {
        int status = 0;
        assert_int_equal(waitpid(writers[i], &status, 0), writers[i]);
        assert_int_equal(status, 0);
    }
    OK(ww_store_open(path, WW_DB_READ, &sampled, &db, &err));
    OK(ww_store_count(db,
                      "SELECT count(*) FROM ww_models m JOIN ww_sketches s ON s.model = "
                      "m.id JOIN ww_tensors t ON t.model = m.id",
                      NULL, 0, &n, &err));
    assert_int_equal(n, WRITERS);
    ww_db_close(db);
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
        cmocka_unit_test(names_that_would_write_into_a_terminal_are_refused),
        cmocka_unit_test(writers_at_once_lose_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
