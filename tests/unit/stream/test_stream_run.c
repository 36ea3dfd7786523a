/* SPDX-License-Identifier: Apache-2.0 */
/* Same bytes and digests whatever the number of threads, the memory, the kind of I/O. */
#include "stream_fixture.h"

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
    assert_true(result.report.bytes_read > 0);
    ww_stream_result_release(&result);
    fx_remove_out(f);
}

static void run_gives_same_bytes_for_any_threads(void **state)
{
    (void)state;
    struct fx *f = fx_mixed(NULL, 9);
    static const unsigned threads[] = {1, 2, 3, 8};

    for (size_t i = 0; i < sizeof(threads) / sizeof(threads[0]); i++) {
        struct ww_run_options options = {.threads = threads[i]};
        run_and_check(f, &options);
    }
    fx_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(run_gives_same_bytes_for_any_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
