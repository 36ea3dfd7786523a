/* SPDX-License-Identifier: Apache-2.0 */
/* Sources of a merge that are coded while it is computed: the same package as from
 * reading them all again, which is not done. */
#include "rmm_fixture.h"

#include <fcntl.h>

#include "weightward/merge.h"

#define ROWS 1501 /* of 900 numbers: two chunks, and tiles that lie across them */
#define N (ROWS * 900)
#define BYTES (2 * N + 4 * 100 + 16 + 2 * 50)

struct room {
    char *dir;
    char *sources[3];
    char *recipe;
};

static void make_source(const char *dir, unsigned seed, bool nan)
{
    uint8_t *data = calloc(1, BYTES);
    uint64_t a = 5;
    uint64_t b = seed + 100;
    char header[600];
    assert_non_null(data);
    assert_int_equal(mkdir(dir, 0755), 0);
    for (size_t i = 0; i < N + 250; i++) {
        const uint16_t v = (uint16_t)(0x3c00 + fx_random(&a) % 300 + fx_random(&b) % 4);
        memcpy(data + 2 * i, &v, 2);
    }
    memset(data + 2 * N + 400, 1, 16);
    if (nan) {
        memset(data + 2 * (N - 3), 0xff, 2);
    }
    /* "other" is of another type in the second, so the merge does not take it in tiles.
     */
    snprintf(header, sizeof(header),
             "{\"big\":{\"dtype\":\"BF16\",\"shape\":[%d,900],\"data_offsets\":[0,%d]},"
             "\"f32\":{\"dtype\":\"F32\",\"shape\":[100],\"data_offsets\":[%d,%d]},"
             "\"ids\":{\"dtype\":\"I64\",\"shape\":[2],\"data_offsets\":[%d,%d]},"
             "\"other\":{\"dtype\":\"%s\",\"shape\":[50],\"data_offsets\":[%d,%d]}} ",
             ROWS, 2 * N, 2 * N, 2 * N + 400, 2 * N + 400, 2 * N + 416,
             seed == 1 ? "F16" : "BF16", 2 * N + 416, 2 * N + 516);
    fx_shard(dir, "model.safetensors", header, data, BYTES);
    fx_write(dir, "config.json", "{\"model_type\":\"llama\"}", 22);
    free(data);
}

static struct room make_room(const char *method, bool nan)
{
    struct room r = {.dir = ww_test_mkdir()};
    char text[3000];
    for (unsigned i = 0; i < 3; i++) {
        char name[] = {'s', (char)('0' + i), 0};
        r.sources[i] = fx_join(r.dir, name);
        make_source(r.sources[i], i, nan && i == 1);
    }
    snprintf(text, sizeof(text),
             "merge_method: %s\ndtype: bfloat16\nmodels:\n"
             "  - {model: '%s', parameters: {weight: 0.3}}\n"
             "  - {model: '%s', parameters: {weight: 0.5}}\n"
             "  - {model: '%s', parameters: {weight: 0.4}}\n"
             "base_model: '%s'\n",
             method, r.sources[0], r.sources[1], r.sources[2], r.sources[0]);
    fx_write(r.dir, "r.yml", text, strlen(text));
    r.recipe = fx_join(r.dir, "r.yml");
    return r;
}

static void drop_room(struct room *r)
{
    for (unsigned i = 0; i < 3; i++) {
        free(r->sources[i]);
    }
    free(r->recipe);
    ww_test_rmdir(r->dir);
}

/* Bytes that this process has read. */
static uint64_t bytes_read(void)
{
    unsigned long long n = 0;
    FILE *f = fopen("/proc/self/io", "r");
    assert_non_null(f);
    assert_int_equal(fscanf(f, "rchar: %llu", &n), 1);
    assert_int_equal(fclose(f), 0);
    return n;
}

struct how {
    unsigned threads;
    uint64_t memory;
    bool beside;
    bool touched; /* a source has another time when it is packed */
};

/* The package; bytes that writing it has read. */
static uint64_t make(const struct room *r, const struct how *how, const char *name,
                     struct ww_buf *out)
{
    static const char *const names[] = {"a", "b", "c"};
    const struct ww_run_options run = {.threads = how->threads,
                                       .memory_bytes = how->memory};
    struct ww_merge_options options = {.run = run};
    struct ww_pack_options pack = {.run = run};
    struct ww_merge_inverse inverses[3];
    struct ww_pack_member members[3] = {{0}};
    struct ww_merge_report report;
    struct ww_pack_report packed;
    struct ww_pack_beside *beside = NULL;
    struct ww_error err = {0};
    bool known = false;
    char *dir = fx_join(r->dir, name);
    char *merged = fx_join(dir, "m");
    char *pkg = fx_join(dir, "p");
    char *weights = fx_join(r->sources[2], "model.safetensors");
    assert_int_equal(mkdir(dir, 0755), 0);
    OK(ww_pack_beside_new(pkg, (const char *const *)r->sources, 3, 3, &run, &beside,
                          &err));
    options.watch = how->beside ? ww_pack_beside_watch(beside) : NULL;
    OK(ww_merge_folder(r->recipe, merged, &options, &report, &err));
    ww_merge_report_release(&report);
    if (how->touched) {
        const struct timespec times[2] = {{.tv_sec = 77}, {.tv_sec = 77}};
        assert_int_equal(utimensat(AT_FDCWD, weights, times, 0), 0);
    }
    const uint64_t before = bytes_read();
    OK(ww_pack_beside_invert(beside, inverses, &known, &err));
    assert_int_equal(known, how->beside);
    if (!known) {
        OK(ww_merge_invert(merged, (const char *const *)r->sources, 3, 3, &run, inverses,
                           &err));
    }
    for (unsigned i = 0; i < 3; i++) {
        members[i] = (struct ww_pack_member){.name = names[i], .path = r->sources[i]};
    }
    pack.base = merged;
    pack.inverses = inverses;
    pack.beside = beside;
    OK(ww_pack_create(pkg, members, 3, &pack, &packed, &err));
    const uint64_t n = bytes_read() - before;
    ww_pack_report_release(&packed);
    fx_read(pkg, out);
    for (unsigned i = 0; i < 3; i++) {
        ww_merge_inverse_release(&inverses[i]);
    }
    ww_pack_beside_free(beside);
    free(dir);
    free(merged);
    free(pkg);
    free(weights);
    return n;
}

static void package_is_the_one_that_reading_again_gives(void **state)
{
    static const struct how hows[2][2] = {
        {{3, 0, true, false}, {2, 0, true, true}},
        {{1, (uint64_t)48 << 20, true, false}, {2, 0, true, false}}};
    static const char *const methods[] = {"linear", "task_arithmetic"};
    (void)state;
    for (size_t m = 0; m < 2; m++) {
        struct room r = make_room(methods[m], false);
        struct ww_buf want;
        const uint64_t all = make(&r, &(struct how){.threads = 2}, "again", &want);
        for (size_t i = 0; i < 2; i++) {
            struct ww_buf got;
            char name[] = {(char)('0' + i), 0};
            const uint64_t n = make(&r, &hows[m][i], name, &got);
            assert_int_equal(got.len, want.len);
            assert_memory_equal(got.data, want.data, want.len);
            /* Beside what was coded some small tensors are read, and a touched source. */
            assert_true(n < (hows[m][i].touched ? all * 3 / 4 : BYTES));
            ww_buf_release(&got);
        }
        assert_true(all > 9 * (uint64_t)BYTES);
        ww_buf_release(&want);
        drop_room(&r);
    }
}

static void merge_that_fails_leaves_no_package(void **state)
{
    struct room r = make_room("linear", true);
    const struct ww_run_options run = {0};
    struct ww_merge_options options = {.run = run};
    struct ww_merge_report report;
    struct ww_pack_beside *beside = NULL;
    struct ww_merge_inverse inverses[3];
    struct ww_error err = {0};
    bool known = true;
    char *out = fx_join(r.dir, "m");
    char *pkg = fx_join(r.dir, "p");
    char command[1200];
    (void)state;
    OK(ww_pack_beside_new(pkg, (const char *const *)r.sources, 3, 3, &run, &beside,
                          &err));
    options.watch = ww_pack_beside_watch(beside);
    FAILS(ww_merge_folder(r.recipe, out, &options, &report, &err), WW_E_NONFINITE);
    ww_merge_report_release(&report);
    OK(ww_pack_beside_invert(beside, inverses, &known, &err));
    assert_false(known);
    ww_pack_beside_free(beside);
    snprintf(command, sizeof(command), "test \"$(ls '%s' | xargs)\" = 'r.yml s0 s1 s2'",
             r.dir);
    assert_int_equal(system(command), 0);
    free(out);
    free(pkg);
    drop_room(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(package_is_the_one_that_reading_again_gives),
        cmocka_unit_test(merge_that_fails_leaves_no_package),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
