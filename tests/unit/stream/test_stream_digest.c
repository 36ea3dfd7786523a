/* SPDX-License-Identifier: Apache-2.0 */
/* The digest of a source is right whatever order and share of it the pieces take, and an
 * input in file order is read once. */
#include "crypto/sha_blocks.h"
#include "stream_fixture.h"
#include "util/fail.h"

#define MIB ((uint64_t)1 << 20)

static void run_dry(struct fx *f, uint64_t memory, uint64_t *bytes_read)
{
    struct ww_error err = {0};
    struct ww_stream_result result;
    struct ww_run_options options = {.threads = 2, .memory_bytes = memory};

    fx_reset(f);
    OK(ww_stream_run(&f->plan, NULL, &options, &result, &err));
    fx_check_digests(f, &result);
    fx_check_kernels(f, true);
    *bytes_read = result.report.bytes_read;
    ww_stream_result_release(&result);
}

static void digest_in_order_reads_once(void **state)
{
    (void)state;
    struct fx *f = fx_new(NULL, 21);
    uint32_t a = fx_input(f, 20 * MIB + 11, true);
    struct ww_piece_source at = {a, 1000};
    uint64_t n = 0;

    fx_output(f, "a");
    fx_bytes(f, a, 0, 1000, true);
    fx_tensor(f, &at, 1, 4 * 1024, 1024, FX_IDENTITY);
    at.offset += 4 * MIB;
    fx_tensor(f, &at, 1, 4 * 1024, 1024, FX_RANDOM);
    at.offset += 4 * MIB;
    fx_copy(f, a, at.offset, 20 * MIB + 11 - at.offset, false);
    run_dry(f, 0, &n);
    assert_int_equal(n, 20 * MIB + 11 - 1000);
    fx_free(f);
}

/* What was just written is in the page cache, and half of the buffers are left alone. */
static void what_is_cached_is_not_read_far_ahead(void **state)
{
    (void)state;
    struct ww_error err = {0};
    struct ww_stream_result result;
    const struct ww_run_options options = {.threads = 2};
    struct fx *f = fx_new(NULL, 34);
    const uint32_t a = fx_input(f, 120 * MIB, false);

    fx_output(f, "a");
    fx_copy(f, a, 0, 120 * MIB, false);
    OK(ww_stream_run(&f->plan, NULL, &options, &result, &err));
    assert_true(result.most_buffers > 0 && result.most_buffers <= 96 * MIB);
    ww_stream_result_release(&result);
    f->plan.warm_bytes = 36 * MIB;
    OK(ww_stream_run(&f->plan, NULL, &options, &result, &err));
    assert_true(result.most_buffers > 16 * MIB && result.most_buffers <= 44 * MIB);
    fx_check_digests(f, &result);
    ww_stream_result_release(&result);
    fx_free(f);
}

/* One thread, so that what is lent depends on one thing only: whether the next tiles have
 * been read when a file waits to be hashed, which is so at least now and then. A piece
 * that does not hash gets nothing. */
static void files_are_hashed_beside_their_next_tiles(void **state)
{
    (void)state;
    struct ww_error err = {0};
    struct ww_stream_result result;
    const struct ww_run_options options = {.threads = 1, .memory_bytes = 16 * MIB};
    struct fx *f = fx_new(NULL, 35);
    const uint32_t a = fx_input(f, 20 * MIB, false);
    struct ww_piece_source at = {a, 0};

    fx_output(f, "a");
    fx_bytes(f, a, 0, 77, false); /* so that blocks begin anywhere */
    const struct fx_params *hashing = fx_tensor(f, &at, 1, 12 * 1024, 1024, FX_IDENTITY);
    f->pieces[0][1].hashes = true;
    at.offset = 12 * MIB;
    const struct fx_params *other = fx_tensor(f, &at, 1, 8 * 1024, 1024, FX_IDENTITY);
    f->pieces[0][2].hashes = false;
    for (int i = 0; i < 50 && (i == 0 || (ww_sha_fast() && hashing->beside == 0)); i++) {
        fx_reset(f);
        OK(ww_stream_run(&f->plan, NULL, &options, &result, &err));
        fx_check_digests(f, &result);
        assert_int_equal(other->beside, 0);
        ww_stream_result_release(&result);
    }
    assert_true(!ww_sha_fast() || hashing->beside > 0);
    fx_free(f);
}

/* Sources of a kernel that looks at them first are read once, for its opening, its tiles
 * and the digests; what is small or does not fit is left to the kernel. */
static void sources_are_lent_where_they_fit(void **state)
{
    (void)state;
    static const uint64_t rows[] = {3 * 1024, 100, 600, 5 * 1024, 1024, 4 * 1024 + 7};
    static const uint64_t memories[] = {0, 32 * MIB, 16 * MIB};
    struct fx *f = fx_new(NULL, 28);
    const uint64_t size = 20 * MIB;
    const uint32_t in[2] = {fx_input(f, size, true), fx_input(f, size, true)};
    struct fx_params *params[WW_LEN(rows)];
    uint64_t at = 333;

    fx_output(f, "a");
    fx_bytes(f, in[0], 0, 333, true);
    for (size_t i = 0; i < WW_LEN(rows); i++) {
        const struct ww_piece_source from[2] = {{in[0], at}, {in[1], at}};
        params[i] = fx_tensor(f, from, 2, rows[i], 1024, FX_IDENTITY);
        fx_lends(f);
        at += rows[i] * 1024;
    }
    for (size_t m = 0; m < WW_LEN(memories); m++) {
        const uint64_t arena = (memories[m] ? memories[m] : 256 * MIB) / 8 * 7;
        uint64_t n = 0;
        run_dry(f, memories[m], &n);
        assert_int_equal(n, 2 * size - 333); /* each byte once */
        for (size_t i = 0; i < WW_LEN(rows); i++) {
            const bool fits = rows[i] >= 512 && 2 * (rows[i] + 8) * 1024 <= arena / 2;
            assert_int_equal(params[i]->lent, fits);
            assert_int_equal(params[i]->returned, fits);
        }
        assert_true(params[3]->lent == (memories[m] != 16 * MIB));
    }
    fx_free(f);
}

static enum ww_err read_memory(void *payload, uint64_t offset, void *out, size_t len,
                               struct ww_error *err)
{
    (void)err;
    memcpy(out, (const uint8_t *)payload + offset, len);
    return WW_OK;
}

/* What comes from elsewhere than the page cache leaves room to read the next piece. */
static void less_is_lent_of_what_is_not_cached(void **state)
{
    (void)state;
    for (unsigned cached = 0; cached < 2; cached++) {
        struct fx *f = fx_new(NULL, 35);
        const uint32_t a = fx_input(f, 24 * MIB, true);
        const struct ww_reader reader = {read_memory, f->data[a]};
        const struct ww_reader *readers[1] = {cached ? NULL : &reader};
        struct fx_params *params[2];
        uint64_t n = 0;

        f->plan.readers = readers;
        fx_output(f, "a");
        for (uint64_t k = 0; k < 2; k++) {
            const struct ww_piece_source from[2] = {{a, 12 * k * MIB},
                                                    {a, (12 * k + 6) * MIB}};
            params[k] = fx_tensor(f, from, 2, 6 * 1024, 1024, FX_IDENTITY);
            fx_lends(f);
        }
        run_dry(f, 32 * MIB, &n);
        assert_int_equal(params[0]->lent, 1); /* nothing is known yet */
        assert_int_equal(params[1]->lent, cached);
        fx_free(f);
    }
}

/* The same of tensors in another order than that of the file, and of one tensor twice. */
static void what_is_lent_out_of_order_is_read_twice_at_most(void **state)
{
    (void)state;
    struct fx *f = fx_new(NULL, 29);
    const uint32_t a = fx_input(f, 12 * MIB, true);
    uint64_t n = 0;

    fx_output(f, "a");
    for (uint64_t k = 4; k-- > 0;) {
        const struct ww_piece_source from[2] = {{a, 3 * k * MIB}, {a, 3 * k * MIB}};
        fx_tensor(f, from, 2, 3 * 1024, 1024, FX_IDENTITY);
        fx_lends(f);
    }
    run_dry(f, 64 * MIB, &n);
    assert_true(n >= 24 * MIB && n <= 36 * MIB);
    fx_free(f);
}

/* Many sources that are held leave many short ranges, and a job has to find room. */
static void many_sources_are_lent_where_jobs_find_room_beside_them(void **state)
{
    (void)state;
    static const struct {
        uint32_t n_sources;
        uint64_t memory;
        unsigned lent;
    } cases[] = {{8, 16, 1}, {9, 16, 0}, {11, 32, 1}, {12, 32, 0}, {40, 1024, 1}};
    for (size_t c = 0; c < WW_LEN(cases); c++) {
        struct fx *f = fx_new(NULL, 31);
        const uint32_t in = fx_input(f, 4 * MIB, true);
        struct ww_piece_source from[40];
        uint64_t n = 0;

        for (uint32_t s = 0; s < cases[c].n_sources; s++) {
            from[s] = (struct ww_piece_source){in, s * (uint64_t)1000};
        }
        fx_output(f, "a");
        struct fx_params *p =
            fx_tensor(f, from, cases[c].n_sources, 600, 1024, FX_IDENTITY);
        fx_lends(f);
        run_dry(f, cases[c].memory * MIB, &n);
        assert_int_equal(p->lent, cases[c].lent);
        fx_free(f);
    }
}

/* Rows in any order come from what was lent. */
static void rows_are_picked_from_what_was_lent(void **state)
{
    (void)state;
    struct fx *f = fx_new(NULL, 32);
    const uint32_t in[2] = {fx_input(f, 3 * MIB, true), fx_input(f, 3 * MIB, true)};
    const struct ww_piece_source from[2] = {{in[0], 0}, {in[1], 0}};
    uint64_t n = 0;

    fx_output(f, "a");
    fx_tensor(f, from, 2, 3 * 1024, 1024, FX_RANDOM);
    fx_lends(f);
    run_dry(f, 32 * MIB, &n);
    assert_int_equal(n, 6 * MIB);
    fx_free(f);
}

static void what_was_lent_is_given_back_when_something_fails(void **state)
{
    (void)state;
    for (unsigned where = 0; where < 4; where++) {
        struct ww_error err = {0};
        struct ww_stream_result result;
        struct ww_run_options options = {.threads = 2, .memory_bytes = 32 * MIB};
        struct fx *f = fx_new(NULL, 33);
        const uint32_t in = fx_input(f, 12 * MIB, true);
        struct fx_params *p[2] = {NULL, NULL};

        fx_output(f, "a");
        for (uint64_t k = 0; k < 2; k++) {
            const struct ww_piece_source from[2] = {{in, 6 * k * MIB},
                                                    {in, (6 * k + 3) * MIB}};
            p[k] = fx_tensor(f, from, 2, 3 * 1024, 1024, FX_IDENTITY);
            fx_lends(f);
        }
        p[0]->fail_open = where == 0 ? WW_E_IO : WW_OK;
        p[0]->fail_run = where == 1 ? WW_E_IO : WW_OK;
        p[1]->fail_open = where == 2 ? WW_E_IO : WW_OK;
        p[1]->fail_close = where == 3 ? WW_E_IO : WW_OK;
        FAILS(ww_stream_run(&f->plan, NULL, &options, &result, &err), WW_E_IO);
        for (uint64_t k = 0; k < 2; k++) {
            assert_int_equal(p[k]->lent, p[k]->returned);
            assert_int_equal(p[k]->opened, p[k]->closed);
        }
        assert_int_equal(p[0]->lent, 1);
        fx_free(f);
    }
}

/* What the pieces leave out is read for the digest alone. */
static void digest_fills_gaps(void **state)
{
    (void)state;
    struct fx *f = fx_new(NULL, 22);
    uint32_t a = fx_input(f, 20 * MIB + 11, true);
    uint64_t n = 0;

    fx_output(f, "a");
    fx_copy(f, a, 7, 100, false);
    fx_output(f, "b");
    fx_copy(f, a, MIB, 100, false);
    fx_output(f, "c");
    fx_copy(f, a, 18 * MIB, MIB, false);
    run_dry(f, 0, &n);
    assert_int_equal(n, 20 * MIB + 11);
    fx_free(f);
}

/* Gaps inside of one job: what lies behind the first is read again. (The last piece is
 * a job of its own.) */
static void digest_fills_gaps_inside_a_job(void **state)
{
    (void)state;
    struct fx *f = fx_new(NULL, 22);
    uint32_t a = fx_input(f, 20 * MIB + 11, true);
    uint32_t b = fx_input(f, 2 * MIB, true);
    uint64_t n = 0;

    fx_output(f, "a");
    fx_copy(f, a, 7, 100, false);
    fx_copy(f, b, 8192, 50, false);
    fx_copy(f, a, MIB, 100, false);
    fx_copy(f, b, MIB, 50, false);
    fx_copy(f, a, 18 * MIB, MIB, false);
    run_dry(f, 16 * MIB, &n);
    assert_int_equal(n, 20 * MIB + 11 + 2 * MIB + 100 + 50);
    fx_free(f);
}

static void digest_of_backward_order_reads_twice_at_most(void **state)
{
    (void)state;
    struct fx *f = fx_new(NULL, 23);
    uint32_t a = fx_input(f, 12 * MIB, true);
    uint64_t n = 0;

    fx_output(f, "a");
    for (uint64_t k = 12; k-- > 0;) {
        struct ww_piece_source at = {a, k * MIB};
        fx_tensor(f, &at, 1, 1024, 1024, k % 2 ? FX_IDENTITY : FX_REVERSE);
    }
    run_dry(f, 0, &n);
    assert_true(n > 12 * MIB && n <= 24 * MIB);
    fx_free(f);
}

static void digest_of_overlapping_and_repeated_ranges(void **state)
{
    (void)state;
    struct fx *f = fx_new(NULL, 24);
    uint32_t a = fx_input(f, 3 * MIB, true);
    uint64_t n = 0;

    fx_output(f, "a");
    fx_copy(f, a, 0, MIB, true);
    fx_copy(f, a, 0, MIB, true);
    fx_copy(f, a, MIB / 2, MIB, true);
    fx_bytes(f, a, 0, MIB, true); /* behind: does not count any more */
    fx_copy(f, a, 2 * MIB, MIB, true);
    fx_bytes(f, a, 5, 5, true);
    run_dry(f, 0, &n);
    fx_free(f);
}

static void digest_of_untouched_inputs(void **state)
{
    (void)state;
    struct fx *f = fx_new(NULL, 25);
    uint64_t n = 0;

    fx_input(f, 9 * MIB + 1, true);
    fx_input(f, 0, true);
    fx_input(f, MIB, false);
    fx_input(f, 17 * MIB, true);
    run_dry(f, 0, &n);
    assert_int_equal(n, 26 * MIB + 1);
    fx_free(f);
}

/* Gathered rows of a tensor that does not fit in memory. */
static void digest_beside_gathered_rows(void **state)
{
    (void)state;
    struct fx *f = fx_new(NULL, 26);
    uint32_t a = fx_input(f, 24 * MIB + 3, true);
    struct ww_piece_source at = {a, 3};
    uint64_t n = 0;

    fx_output(f, "a");
    fx_tensor(f, &at, 1, 24 * 1024, 1024, FX_RANDOM);
    run_dry(f, 16 * MIB, &n);
    at.offset = 0;
    fx_tensor(f, &at, 1, 24 * 1024, 1024, FX_NEAR);
    run_dry(f, 16 * MIB, &n);
    fx_free(f);
}

/* Two inputs taken in turn, as a merge does. */
static void digest_of_interleaved_inputs_reads_once(void **state)
{
    (void)state;
    struct fx *f = fx_new(NULL, 27);
    uint32_t a = fx_input(f, 8 * MIB, true);
    uint32_t b = fx_input(f, 8 * MIB, true);
    uint64_t n = 0;

    fx_output(f, "a");
    for (uint64_t k = 0; k < 16; k++) {
        struct ww_piece_source from[2] = {{a, k * MIB / 2}, {b, k * MIB / 2}};
        fx_tensor(f, from, 2, 128, 4096, FX_IDENTITY);
    }
    run_dry(f, 0, &n);
    assert_int_equal(n, 16 * MIB);
    fx_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(digest_in_order_reads_once),
        cmocka_unit_test(what_is_cached_is_not_read_far_ahead),
        cmocka_unit_test(files_are_hashed_beside_their_next_tiles),
        cmocka_unit_test(sources_are_lent_where_they_fit),
        cmocka_unit_test(less_is_lent_of_what_is_not_cached),
        cmocka_unit_test(what_is_lent_out_of_order_is_read_twice_at_most),
        cmocka_unit_test(many_sources_are_lent_where_jobs_find_room_beside_them),
        cmocka_unit_test(rows_are_picked_from_what_was_lent),
        cmocka_unit_test(what_was_lent_is_given_back_when_something_fails),
        cmocka_unit_test(digest_fills_gaps),
        cmocka_unit_test(digest_fills_gaps_inside_a_job),
        cmocka_unit_test(digest_of_backward_order_reads_twice_at_most),
        cmocka_unit_test(digest_of_overlapping_and_repeated_ranges),
        cmocka_unit_test(digest_of_untouched_inputs),
        cmocka_unit_test(digest_beside_gathered_rows),
        cmocka_unit_test(digest_of_interleaved_inputs_reads_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
