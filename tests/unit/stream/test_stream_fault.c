/* SPDX-License-Identifier: Apache-2.0 */
/* Everything that can fail fails once, at every place: the right code, no OUT, no leak
 * (under the address sanitizer), no hang. */
#include <errno.h>
#include <signal.h>
#include <sys/resource.h>

#include "stream_fixture.h"
#include "util/fault.h"

#define MIB ((uint64_t)1 << 20)
/* Of buffers, which hundreds of runs make anew: most of the time of this test by default.
 */
#define SMALL (32 * MIB)

/* Fail call n of the kind for n = 1, 2, ... until a run needs fewer. */
static void torture(enum ww_fault kind, enum ww_err want, unsigned threads)
{
    struct fx *f = fx_mixed(access("/dev/shm", W_OK) == 0 ? "/dev/shm" : NULL, 1);
    struct ww_run_options options = {.threads = threads, .memory_bytes = SMALL};
    struct ww_stream_result result;
    unsigned long failures = 0;
    bool done = false;

    for (unsigned long n = 1; !done; n++) {
        struct ww_error err = {0};
        ww_fault_arm(kind, n);
        enum ww_err rc = fx_go(f, &options, &result, false, &err);
        done = ww_fault_seen(kind) < n;
        ww_fault_arm(kind, 0);
        if (rc) {
            failures++;
            assert_int_equal(rc, want);
            assert_int_equal(err.code, want);
            assert_true(err.text[0] != 0);
            assert_false(fx_exists(f, "out"));
            assert_false(fx_exists(f, "out.partial"));
            assert_null(result.output_sha256);
        } else {
            fx_check_out(f);
            fx_check_digests(f, &result);
        }
        assert_true(rc || done || kind == WW_FAULT_READ || kind == WW_FAULT_ALLOC);
        fx_check_kernels(f, false);
        ww_stream_result_release(&result);
        fx_remove_out(f);
    }
    assert_true(failures > 2);
    fx_free(f);
}

static void fault_in_any_allocation(void **state)
{
    (void)state;
    torture(WW_FAULT_ALLOC, WW_E_NOMEM, 2);
}

static void fault_in_any_read(void **state)
{
    (void)state;
    torture(WW_FAULT_READ, WW_E_IO, 2);
    torture(WW_FAULT_READ, WW_E_IO, 1);
}

static void fault_in_any_write(void **state)
{
    (void)state;
    torture(WW_FAULT_WRITE, WW_E_NOSPACE, 2);
}

static void fault_in_any_flush(void **state)
{
    (void)state;
    torture(WW_FAULT_FSYNC, WW_E_IO, 2);
}

static void fault_in_any_rename(void **state)
{
    (void)state;
    torture(WW_FAULT_RENAME, WW_E_IO, 2);
}

/* A limit on file size is a full disk that needs no root. */
static void fault_by_file_size_limit(void **state)
{
    (void)state;
    struct ww_error err = {0};
    struct fx *f = fx_mixed(NULL, 4);
    struct ww_stream_result result;
    struct rlimit before;

    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    struct rlimit small = {2 * MIB, before.rlim_max};
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    enum ww_err rc = fx_go(f, NULL, &result, false, &err);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    signal(SIGXFSZ, SIG_DFL);
    assert_int_equal(rc, WW_E_IO);
    assert_int_equal(err.sys_errno, EFBIG);
    assert_false(fx_exists(f, "out.partial"));
    fx_free(f);
}

static void fault_in_a_kernel(void **state)
{
    (void)state;
    struct ww_error err = {0};
    struct fx *f = fx_mixed(NULL, 2);
    struct ww_stream_result result;
    struct ww_run_options options = {.memory_bytes = SMALL};
    unsigned tried = 0;

    for (uint32_t i = 0; i < f->n_used; i++) {
        struct fx_params *p = &f->params[i];
        if (p->n_sources == 0 || i % 9 == 4) {
            continue;
        }
        p->fail_open = WW_E_SHAPE;
        FAILS(fx_go(f, &options, &result, false, &err), WW_E_SHAPE);
        fx_check_kernels(f, false);
        p->fail_open = WW_OK;
        p->fail_close = WW_E_CHECK_FAILED;
        FAILS(fx_go(f, &options, &result, false, &err), WW_E_CHECK_FAILED);
        fx_check_kernels(f, false);
        p->fail_close = WW_OK;
        if (p->n_tiles > 0) {
            tried++;
            p->fail_run = WW_E_NONFINITE;
            FAILS(fx_go(f, &options, &result, false, &err), WW_E_NONFINITE);
            fx_check_kernels(f, false);
            p->fail_run = WW_OK;
        }
        assert_false(fx_exists(f, "out"));
        assert_false(fx_exists(f, "out.partial"));
    }
    assert_true(tried > 3);
    fx_free(f);
}

static void fault_in_a_row_map(void **state)
{
    (void)state;
    struct ww_error err = {0};
    struct fx *f = fx_new(NULL, 2);
    struct ww_stream_result result;
    uint32_t a = fx_input(f, 1000, false);
    struct ww_piece_source at = {a, 0};

    fx_output(f, "a");
    fx_tensor(f, &at, 1, 10, 10, FX_REVERSE);
    ((uint32_t *)f->owned[0])[3] = 10;
    FAILS(fx_go(f, NULL, &result, false, &err), WW_E_INTERNAL);
    assert_non_null(strstr(err.text, "row 3"));
    fx_check_kernels(f, false);
    fx_free(f);
}

static int cancel(void *payload, const char *phase, uint64_t done, uint64_t total)
{
    (void)phase;
    (void)done;
    (void)total;
    unsigned *calls = payload;
    (*calls)++;
    return 1;
}

static void cancel_keeps_or_removes(void **state)
{
    (void)state;
    struct ww_error err = {0};
    struct fx *f = fx_mixed(NULL, 8);
    struct ww_stream_result result;
    unsigned calls = 0;
    struct ww_run_options options = {.progress = cancel, .progress_payload = &calls};

    FAILS(fx_go(f, &options, &result, false, &err), WW_E_CANCELLED);
    assert_int_equal(calls, 1);
    assert_false(fx_exists(f, "out"));
    assert_false(fx_exists(f, "out.partial"));
    FAILS(fx_go(f, &options, &result, true, &err), WW_E_CANCELLED);
    assert_true(fx_exists(f, "out.partial"));
    fx_check_kernels(f, false);
    struct ww_run_options resume = {.resume = true};
    OK(fx_go(f, &resume, &result, false, &err));
    fx_check_out(f);
    fx_check_digests(f, &result);
    ww_stream_result_release(&result);
    fx_free(f);
}

/* Also where buffers are free, so that nothing is waited for but the opening of kernels.
 */
static void cancel_is_heard_between_pieces(void **state)
{
    (void)state;
    struct ww_error err = {0};
    struct fx *f = fx_new(NULL, 5);
    struct ww_stream_result result;
    unsigned calls = 0;
    struct ww_run_options options = {.progress = cancel, .progress_payload = &calls};
    const uint32_t a = fx_input(f, 4 * MIB, true);
    struct fx_params *last = NULL;

    fx_output(f, "a");
    for (uint64_t i = 0; i < 4; i++) {
        const struct ww_piece_source at = {a, i * MIB};
        last = fx_tensor(f, &at, 1, 1024, 1024, FX_IDENTITY);
        fx_lends(f);
    }
    FAILS(fx_go(f, &options, &result, false, &err), WW_E_CANCELLED);
    assert_int_equal(last->opened, 0);
    fx_free(f);
}

static struct fx *changing;
static int changing_how;

/* A kernel that meddles with its own source. */
static enum ww_err meddle(void *state, const struct ww_tile *t, struct ww_error *err)
{
    if (t->tile_index == 0 && changing_how == 0) {
        assert_int_equal(pwrite(changing->inputs[0].fd, "x", 1, 100), 1);
    }
    if (t->tile_index == 0 && changing_how == 1) {
        assert_int_equal(ftruncate(changing->inputs[0].fd, 5000), 0);
    }
    return fx_run(state, t, err);
}

static const struct ww_kernel meddling = {"meddle", fx_open, meddle, fx_close};

static void changed_input_is_told(void **state)
{
    (void)state;
    struct ww_error err = {0};
    struct ww_stream_result result;

    for (changing_how = 0; changing_how < 2; changing_how++) {
        struct fx *f = fx_new(NULL, 2);
        uint32_t a = fx_input(f, 40 * MIB, true);
        struct ww_piece_source at = {a, 0};
        changing = f;
        fx_output(f, "a");
        fx_tensor(f, &at, 1, 40 * 1024, 1024, FX_IDENTITY);
        f->pieces[0][0].kernel = &meddling;
        struct ww_run_options options = {.memory_bytes = 16 * MIB};
        FAILS(fx_go(f, &options, &result, false, &err), WW_E_CHANGED);
        assert_false(fx_exists(f, "out"));
        fx_check_kernels(f, false);
        fx_free(f);
    }
    struct fx *f = fx_new(NULL, 2); /* before it began */
    uint32_t a = fx_input(f, 1000, true);
    fx_output(f, "a");
    fx_copy(f, a, 0, 1000, false);
    assert_int_equal(ftruncate(f->inputs[0].fd, 999), 0);
    FAILS(fx_go(f, NULL, &result, false, &err), WW_E_CHANGED);
    fx_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fault_in_any_allocation),
        cmocka_unit_test(fault_in_any_read),
        cmocka_unit_test(fault_in_any_write),
        cmocka_unit_test(fault_in_any_flush),
        cmocka_unit_test(fault_in_any_rename),
        cmocka_unit_test(fault_by_file_size_limit),
        cmocka_unit_test(fault_in_a_kernel),
        cmocka_unit_test(fault_in_a_row_map),
        cmocka_unit_test(cancel_keeps_or_removes),
        cmocka_unit_test(cancel_is_heard_between_pieces),
        cmocka_unit_test(changed_input_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
