/* SPDX-License-Identifier: Apache-2.0 */
/* The outputs of a plan, read as files that lie nowhere. */
#include "stream_fixture.h"

#include <pthread.h>

#include "stream/made.h"

/* Ranges of all sizes at all places, small ones more often. */
static void read_around(const struct fx *f, const struct ww_made *made, uint64_t seed,
                        unsigned times)
{
    struct ww_error err = {0};

    for (unsigned i = 0; i < times; i++) {
        const uint32_t o = (uint32_t)(fx_random(&seed) % f->plan.n_outputs);
        const uint64_t size = f->outputs[o].size_bytes;
        const uint64_t at = size ? fx_random(&seed) % size : 0;
        const uint64_t most = (uint64_t)1 << (fx_random(&seed) % 20);
        uint64_t n = fx_random(&seed) % most;
        n = n < size - at ? n : size - at;
        uint8_t *bytes = malloc(n + 1);
        const struct ww_reader *reader = ww_made_reader(made, o);
        OK(reader->read(reader->payload, at, bytes, n, &err));
        assert_true(n == 0 || memcmp(bytes, f->expected[o] + at, n) == 0);
        free(bytes);
    }
}

static void made_file_has_the_bytes_of_the_plan_at_any_range(void **state)
{
    (void)state;
    struct fx *f = fx_mixed(NULL, 3);
    struct ww_made *made = NULL;
    struct ww_error err = {0};

    OK(ww_made_new(&f->plan, &made, &err));
    read_around(f, made, 1, 150);
    ww_made_free(made);
    fx_check_kernels(f, false);
    fx_free(f);
}

struct reader_thread {
    pthread_t thread;
    const struct fx *f;
    const struct ww_made *made;
    uint64_t seed;
};

static void *read_in_thread(void *payload)
{
    const struct reader_thread *t = payload;
    read_around(t->f, t->made, t->seed, 20);
    return NULL;
}

static void made_file_is_read_by_many_threads_at_once(void **state)
{
    (void)state;
    struct fx *f = fx_mixed(NULL, 3);
    struct reader_thread threads[8];
    struct ww_made *made = NULL;
    struct ww_error err = {0};

    OK(ww_made_new(&f->plan, &made, &err));
    for (unsigned i = 0; i < 8; i++) {
        threads[i] = (struct reader_thread){.f = f, .made = made, .seed = i};
        assert_int_equal(
            pthread_create(&threads[i].thread, NULL, read_in_thread, &threads[i]), 0);
    }
    for (unsigned i = 0; i < 8; i++) {
        pthread_join(threads[i].thread, NULL);
    }
    ww_made_free(made);
    fx_check_kernels(f, false);
    fx_free(f);
}

/* A run whose inputs are made by another plan, with their digests. */
static void made_file_is_an_input_of_a_run(void **state)
{
    (void)state;
    struct fx *f = fx_mixed(NULL, 3);
    struct ww_made *made = NULL;
    struct ww_error err = {0};
    struct ww_input inputs[FX_OUTPUTS];
    const struct ww_reader *readers[FX_OUTPUTS];
    struct ww_piece_source sources[FX_OUTPUTS];
    struct ww_piece pieces[FX_OUTPUTS];
    struct ww_output outputs[FX_OUTPUTS];
    struct ww_stream_result result;
    const uint32_t n = f->plan.n_outputs;

    OK(ww_made_new(&f->plan, &made, &err));
    for (uint32_t i = 0; i < n; i++) {
        const uint64_t size = f->outputs[i].size_bytes;
        inputs[i] = (struct ww_input){"made", -1, size, true};
        readers[i] = ww_made_reader(made, i);
        sources[i] = (struct ww_piece_source){i, 0};
        pieces[i] = (struct ww_piece){.kind = WW_PIECE_COPY,
                                      .n_bytes = size,
                                      .n_sources = 1,
                                      .sources = &sources[i],
                                      .tree_index = WW_NONE};
        outputs[i] = (struct ww_output){f->outputs[i].path, size, &pieces[i], 1};
    }
    const struct ww_plan plan = {.title = "copy",
                                 .inputs = inputs,
                                 .n_inputs = n,
                                 .readers = readers,
                                 .outputs = outputs,
                                 .n_outputs = n};
    OK(ww_stream_run(&plan, NULL, NULL, &result, &err));
    for (uint32_t i = 0; i < n; i++) {
        uint8_t want[WW_SHA256_BYTES];
        ww_sha256_of(f->expected[i], f->outputs[i].size_bytes, want);
        assert_memory_equal(result.output_sha256[i], want, WW_SHA256_BYTES);
        assert_memory_equal(result.input_sha256[i], want, WW_SHA256_BYTES);
    }
    ww_stream_result_release(&result);
    ww_made_free(made);
    fx_free(f);
}

static void made_file_tells_what_its_kernel_fails_with(void **state)
{
    (void)state;
    struct fx *f = fx_new(NULL, 5);
    const struct ww_piece_source from = {0, 0};
    struct ww_made *made = NULL;
    struct ww_error err = {0};
    uint8_t bytes[64];

    fx_input(f, 4096, false);
    fx_output(f, "out");
    struct fx_params *params = fx_tensor(f, &from, 1, 64, 64, FX_REVERSE);
    params->fail_run = WW_E_NONFINITE;
    OK(ww_made_new(&f->plan, &made, &err));
    const struct ww_reader *reader = ww_made_reader(made, 0);
    assert_int_equal(reader->read(reader->payload, 0, bytes, 64, &err), WW_E_NONFINITE);
    err = (struct ww_error){0};
    assert_int_equal(reader->read(reader->payload, 4090, bytes, 64, &err), WW_E_INTERNAL);
    params->fail_run = WW_OK;
    err = (struct ww_error){0};
    OK(reader->read(reader->payload, 100, bytes, 64, &err));
    assert_memory_equal(bytes, f->expected[0] + 100, 64);
    ww_made_free(made);
    params->fail_open = WW_E_NOMEM;
    OK(ww_made_new(&f->plan, &made, &err));
    reader = ww_made_reader(made, 0);
    assert_int_equal(reader->read(reader->payload, 0, bytes, 1, &err), WW_E_NOMEM);
    ww_made_free(made);
    fx_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(made_file_has_the_bytes_of_the_plan_at_any_range),
        cmocka_unit_test(made_file_is_read_by_many_threads_at_once),
        cmocka_unit_test(made_file_is_an_input_of_a_run),
        cmocka_unit_test(made_file_tells_what_its_kernel_fails_with),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
