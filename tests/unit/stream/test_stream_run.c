/* SPDX-License-Identifier: Apache-2.0 */
/* Same bytes and digests whatever the number of threads, the memory, the kind of I/O. */
#include "stream_fixture.h"

#define MIB ((uint64_t)1 << 20)

static void run_and_check(struct fx *f, const struct ww_run_options *options)
{
    struct ww_error err = {0};
    struct ww_stream_result result;
    uint64_t total = 0;

    OK(fx_go(f, options, &result, false, &err));
    fx_check_digests(f, &result);
    fx_check_out(f);
    fx_check_kernels(f, true);
    for (uint32_t o = 0; o < f->plan.n_outputs; o++) {
        total += f->outputs[o].size_bytes;
    }
    assert_int_equal(result.report.bytes_written, total);
    assert_int_equal(result.report.bytes_kept, 0);
    assert_true(result.report.bytes_read > 0 || total == 0);
    ww_stream_result_release(&result);
    fx_remove_out(f);
}

static void run_gives_same_bytes_for_any_threads(void **state)
{
    (void)state;
    struct fx *f = fx_mixed(NULL, 3);
    static const unsigned threads[] = {1, 2, 3, 8, 0, 99};

    for (size_t i = 0; i < sizeof(threads) / sizeof(threads[0]); i++) {
        struct ww_run_options options = {.threads = threads[i],
                                         .memory_bytes = i % 2 ? 64 * MIB : 0};
        run_and_check(f, &options);
    }
    fx_free(f);
}

static void run_gives_same_bytes_for_any_memory(void **state)
{
    (void)state;
    struct fx *f = fx_mixed(NULL, 6); /* sources of 6 MiB are gathered at 16 MiB */
    static const uint64_t memory[] = {16 * MIB, 17 * MIB + 1, 40 * MIB, 1024 * MIB};

    for (size_t i = 0; i < sizeof(memory) / sizeof(memory[0]); i++) {
        struct ww_run_options options = {.threads = 2, .memory_bytes = memory[i]};
        run_and_check(f, &options);
    }
    fx_free(f);
}

static void run_gives_same_bytes_for_any_io(void **state)
{
    (void)state;
    static const char *const places[] = {NULL, "/dev/shm"};

    for (size_t i = 0; i < 2; i++) {
        if (places[i] && access(places[i], W_OK) != 0) {
            continue;
        }
        struct fx *f = fx_mixed(places[i], 2);
        struct ww_run_options options = {.direct = WW_DIRECT_NEVER};
        run_and_check(f, &options);
        options.direct = WW_DIRECT_AUTO;
        run_and_check(f, &options);
        for (uint32_t k = 0; k < f->plan.n_inputs; k++) { /* cold, so direct */
            assert_int_equal(fsync(f->inputs[k].fd), 0);
            posix_fadvise(f->inputs[k].fd, 0, 0, POSIX_FADV_DONTNEED);
        }
        run_and_check(f, &options);
        fx_free(f);
    }
}

static void run_without_options(void **state)
{
    (void)state;
    struct fx *f = fx_mixed(NULL, 1);
    run_and_check(f, NULL);
    fx_free(f);
}

static void run_of_nothing(void **state)
{
    (void)state;
    struct ww_error err = {0};
    struct ww_stream_result result;
    struct fx *f = fx_new(NULL, 1);

    OK(fx_go(f, NULL, &result, false, &err));
    assert_true(fx_exists(f, "out"));
    ww_stream_result_release(&result);
    fx_free(f);
}

static void run_dry_hashes_and_writes_nothing(void **state)
{
    (void)state;
    struct ww_error err = {0};
    struct ww_stream_result result;
    struct fx *f = fx_mixed(NULL, 3);

    OK(ww_stream_run(&f->plan, NULL, NULL, &result, &err));
    fx_check_digests(f, &result);
    fx_check_kernels(f, true);
    assert_int_equal(result.report.bytes_written, 0);
    assert_false(fx_exists(f, "out"));
    assert_false(fx_exists(f, "out.partial"));
    ww_stream_result_release(&result);
    fx_free(f);
}

/* Rows from one byte to larger than a job (2 MiB here), counts around the tile size. */
static void run_cuts_rows_of_any_size(void **state)
{
    (void)state;
    struct fx *f = fx_new(NULL, 11);
    static const struct {
        uint64_t n_rows;
        uint64_t row_bytes;
    } shapes[] = {
        {1, 1},      {16384, 2},  {16385, 2},   {50000, 2},           {255, 4096},
        {256, 4096}, {257, 4096}, {1, 5 * MIB}, {3, MIB * 3 / 2 + 4}, {0, 8},
        {5, 0},      {2047, 513}, {7, MIB + 1},
    };
    uint32_t a = fx_input(f, 10 * MIB, true);
    struct ww_piece_source at = {a, 3};
    enum fx_map maps[] = {FX_IDENTITY, FX_REVERSE, FX_RANDOM, FX_NEAR};

    for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
        if (i % 4 == 0) {
            static char names[8][16];
            snprintf(names[i / 4], sizeof(names[0]), "f%zu", i);
            fx_output(f, names[i / 4]);
        }
        for (size_t m = 0; m < 4; m++) {
            at.offset = i * 4 + m;
            fx_tensor(f, &at, 1, shapes[i].n_rows, shapes[i].row_bytes, maps[m]);
        }
    }
    for (unsigned threads = 1; threads <= 3; threads += 2) {
        struct ww_run_options options = {.threads = threads, .memory_bytes = 64 * MIB};
        run_and_check(f, &options);
    }
    fx_free(f);
}

static void run_takes_many_sources(void **state)
{
    (void)state;
    struct fx *f = fx_new(NULL, 12);
    uint32_t a = fx_input(f, 3 * MIB, true);
    uint32_t b = fx_input(f, 3 * MIB, true);
    struct ww_piece_source from[WW_MAX_SOURCES];

    for (uint32_t s = 0; s < WW_MAX_SOURCES; s++) {
        from[s] = (struct ww_piece_source){s % 3 ? a : b, s * 1000};
    }
    fx_output(f, "merged");
    fx_tensor(f, from, WW_MAX_SOURCES, 100, 4000, FX_IDENTITY);
    fx_tensor(f, from, WW_MAX_SOURCES, 100, 4000, FX_RANDOM);
    fx_tensor(f, from, 5, 7, 300001, FX_REVERSE);
    struct ww_run_options options = {.threads = 2, .memory_bytes = 16 * MIB};
    run_and_check(f, &options);
    options.memory_bytes = 0;
    run_and_check(f, &options);
    fx_free(f);
}

/* Their bytes come from elsewhere, and what no piece reads still enters the digest. */
static void run_takes_kernels_without_sources(void **state)
{
    (void)state;
    struct fx *f = fx_new(NULL, 14);
    fx_input(f, 3 * MIB, true);
    f->plan.buffered = true;
    fx_output(f, "made");
    fx_tensor(f, NULL, 0, 1000, 4000, FX_IDENTITY);
    fx_tensor(f, NULL, 0, 3, 40, FX_IDENTITY);
    struct ww_run_options options = {.threads = 2, .memory_bytes = 16 * MIB};
    run_and_check(f, &options);
    fx_free(f);
}

static void run_refuses_too_little_memory(void **state)
{
    (void)state;
    struct ww_error err = {0};
    struct ww_stream_result result;
    struct fx *f = fx_new(NULL, 13);
    uint32_t a = fx_input(f, 5 * MIB, false);
    struct ww_piece_source from[2] = {{a, 0}, {a, 0}};
    struct ww_run_options options = {.memory_bytes = 16 * MIB - 1};

    fx_output(f, "big");
    struct fx_params *p = fx_tensor(f, from, 1, 1, 5 * MIB, FX_IDENTITY);
    FAILS(fx_go(f, &options, &result, false, &err), WW_E_USAGE);
    options.memory_bytes = 16 * MIB;
    FAILS(fx_go(f, &options, &result, false, &err), WW_E_LIMIT);
    assert_int_equal(p->opened, 0);
    assert_false(fx_exists(f, "out.partial"));
    options.memory_bytes = 24 * MIB;
    run_and_check(f, &options);
    fx_free(f);
}

static int count_calls(void *payload, const char *phase, uint64_t done, uint64_t total)
{
    (*(unsigned *)payload)++;
    assert_string_equal(phase, "test");
    assert_true(done <= total && total > 0);
    return 0;
}

static void run_reports_progress(void **state)
{
    (void)state;
    struct fx *f = fx_mixed(NULL, 2);
    unsigned calls = 0;
    struct ww_run_options options = {.progress = count_calls, .progress_payload = &calls};

    run_and_check(f, &options);
    assert_true(calls > 0);
    fx_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(run_gives_same_bytes_for_any_threads),
        cmocka_unit_test(run_gives_same_bytes_for_any_memory),
        cmocka_unit_test(run_gives_same_bytes_for_any_io),
        cmocka_unit_test(run_without_options),
        cmocka_unit_test(run_of_nothing),
        cmocka_unit_test(run_dry_hashes_and_writes_nothing),
        cmocka_unit_test(run_cuts_rows_of_any_size),
        cmocka_unit_test(run_takes_many_sources),
        cmocka_unit_test(run_takes_kernels_without_sources),
        cmocka_unit_test(run_refuses_too_little_memory),
        cmocka_unit_test(run_reports_progress),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
