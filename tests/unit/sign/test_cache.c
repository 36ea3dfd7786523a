/* SPDX-License-Identifier: Apache-2.0 */
/* Signing again without reading again: what the cache may answer for, and what not. */
#include "sign/cache.h"

#include <sys/stat.h>
#include <time.h>

#include "signed_folder.h"
#include "ww_changes.h"

/* The cache keeps no file that was changed within the last three seconds. Change times
 * are the kernel's, so it is the clock that a test can move, by the linker: here it
 * stands. */
static time_t moment; /* 0: it runs */
int __real_clock_gettime(clockid_t clock, struct timespec *ts);
int __wrap_clock_gettime(clockid_t clock, struct timespec *ts);

int __wrap_clock_gettime(clockid_t clock, struct timespec *ts)
{
    const int rc = __real_clock_gettime(clock, ts);

    if (clock == CLOCK_REALTIME && moment) {
        ts->tv_sec = moment;
    }
    return rc;
}

/* What is there now was changed long ago, and so will be what changes soon. */
static void settle(void)
{
    moment = time(NULL) + 60;
}

/* The first alone. */
static void settle_before_changes(void)
{
    const struct timespec pause = {.tv_sec = 2, .tv_nsec = 100000000};
    nanosleep(&pause, NULL);
    moment = time(NULL) + 2;
}

struct cached {
    struct signed_folder *f;
    char *cache;
    struct ww_sign_report report;
};

static struct cached start(void **state)
{
    struct cached c = {.f = *state};
    moment = 0;
    c.cache = path_in(c.f->root, "cache.json");
    c.f->sign.cache = c.cache;
    c.f->sign.replace = true;
    return c;
}

static void stop(struct cached *c)
{
    unlink(c->cache);
    c->f->sign.cache = NULL;
    c->f->sign.tensors = false;
    ww_free(c->cache);
}

static void sign_expecting(struct cached *c, uint64_t files, uint64_t hits)
{
    CODE(c->f, sign_demo(c->f, &c->report), WW_OK);
    assert_int_equal(c->report.files, files);
    if (c->report.cached != hits) {
        fail_msg("%zu files from the cache, want %zu", (size_t)c->report.cached,
                 (size_t)hits);
    }
    CODE(c->f, verify_demo(c->f), WW_OK);
}

static void fresh_files_are_not_kept(void **state)
{
    struct cached c = start(state);
    sign_expecting(&c, 2, 0);
    sign_expecting(&c, 2, 0);
    settle();
    sign_expecting(&c, 2, 0);
    sign_expecting(&c, 2, 2);
    stop(&c);
}

static void a_change_is_read_even_under_the_old_time(void **state)
{
    struct cached c = start(state);
    struct stat before;
    char *path = path_in(c.f->demo, "config.json");
    settle_before_changes();
    sign_expecting(&c, 2, 0);
    sign_expecting(&c, 2, 2);
    assert_int_equal(stat(path, &before), 0);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    assert_int_equal(pwrite(fd, "[]", 2, 0), 2);
    const struct timespec times[2] = {before.st_atim, before.st_mtim};
    assert_int_equal(futimens(fd, times), 0);
    close(fd);
    sign_expecting(&c, 2, 1);

    write_text(c.f->demo, "README.md", "new");
    sign_expecting(&c, 3, 1);
    remove_file(c.f->demo, "README.md");
    sign_expecting(&c, 2, 1);
    ww_free(path);
    stop(&c);
}

static void tensors_are_kept_with_their_files(void **state)
{
    struct cached c = start(state);
    char *tensors = path_in(c.f->demo, WW_TENSORS_FILE);
    c.f->sign.tensors = true;
    settle();
    sign_expecting(&c, 2, 0);
    char *first = read_text(tensors);
    sign_expecting(&c, 2, 2);
    char *second = read_text(tensors);
    assert_string_equal(first, second); /* a new one would differ: it is randomised */
    assert_int_equal(strlen(c.f->report.tensor_root), 64);

    /* what lies there must be what went with the digests */
    write_text(c.f->demo, WW_TENSORS_FILE, "{}");
    CODE(c.f, sign_demo(c.f, NULL), WW_E_BUNDLE);
    remove_file(c.f->demo, WW_TENSORS_FILE);
    sign_expecting(&c, 2, 2);
    char *third = read_text(tensors);
    assert_string_not_equal(first, third);
    ww_free(first);
    ww_free(second);
    ww_free(third);
    ww_free(tensors);
    stop(&c);
}

static void a_cache_of_another_key_is_refused(void **state)
{
    struct cached c = start(state);
    struct ww_error err = {0};
    struct ww_signkey *mine = c.f->signer.key;
    struct ww_signkey *other = NULL;
    char *base = path_in(c.f->root, "other");
    char *key = path_in(c.f->root, "other.key");

    OK(ww_signkey_create(base, WW_CURVE_P256, NULL, &err));
    OK(ww_signkey_load(key, NULL, &other, &err));
    settle();
    sign_expecting(&c, 2, 0);
    c.f->signer.key = other;
    CODE(c.f, sign_demo(c.f, NULL), WW_E_UNTRUSTED);
    assert_non_null(strstr(c.f->err.text, "remove it"));
    c.f->signer.key = mine;

    /* a planted digest under the right hint */
    char *text = read_text(c.cache);
    char *payload = strstr(text, "\"payload\":\"");
    payload[60] = payload[60] == 'A' ? 'B' : 'A';
    write_text(c.f->root, "cache.json", text);
    CODE(c.f, sign_demo(c.f, NULL), WW_E_SIGNATURE);
    /* another statement by the right key */
    ww_free(text);
    char *sig = path_in(c.f->demo, "model.sig");
    text = read_text(sig);
    write_text(c.f->root, "cache.json", text);
    CODE(c.f, sign_demo(c.f, NULL), WW_E_BUNDLE);
    write_text(c.f->root, "cache.json", "");
    CODE(c.f, sign_demo(c.f, NULL), WW_E_JSON);
    ww_free(text);
    ww_free(sig);
    ww_free(base);
    ww_free(key);
    ww_signkey_free(other);
    stop(&c);
}

static bool accepts_cache(void *payload, const uint8_t *bytes, size_t len)
{
    const struct cached *c = payload;
    struct ww_error err = {0};
    struct ww_cache cache;
    write_quickly(c->cache, bytes, len);
    const enum ww_err rc = ww_cache_load(c->cache, c->f->signer.key, &cache, &err);
    ww_cache_release(&cache);
    return rc == WW_OK;
}

static void every_bit_of_a_cache_counts(void **state)
{
    struct cached c = start(state);
    c.f->sign.tensors = true;
    settle();
    sign_expecting(&c, 2, 0);
    char *text = read_text(c.cache);
    refuses_every_change(accepts_cache, &c, (uint8_t *)text, strlen(text));
    ww_free(text);
    stop(&c);
}

static void a_cache_in_the_model_is_refused(void **state)
{
    struct cached c = start(state);
    char *inside = path_in(c.f->demo, "cache.json");
    c.f->sign.cache = inside;
    CODE(c.f, sign_demo(c.f, NULL), WW_E_USAGE);
    c.f->sign.cache = "/nonexistent/cache.json";
    assert_int_not_equal(sign_demo(c.f, NULL), WW_OK);
    ww_free(inside);
    stop(&c);
}

static void only_settled_files_count(void **state)
{
    const struct timespec at = {.tv_sec = 1000, .tv_nsec = 5};
    struct stat st = {0};
    (void)state;
    st.st_mtim.tv_sec = st.st_ctim.tv_sec = 996;
    assert_true(ww_file_settled(&st, &at));
    st.st_ctim.tv_sec = 997;
    assert_false(ww_file_settled(&st, &at));
    st.st_ctim.tv_sec = 996;
    st.st_mtim.tv_sec = 2000; /* from the future */
    assert_false(ww_file_settled(&st, &at));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(fresh_files_are_not_kept, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_change_is_read_even_under_the_old_time, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(tensors_are_kept_with_their_files, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_cache_of_another_key_is_refused, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(every_bit_of_a_cache_counts, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_cache_in_the_model_is_refused, set_up,
                                        tear_down),
        cmocka_unit_test(only_settled_files_count),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
