/* SPDX-License-Identifier: Apache-2.0 */
/* Kernels whose source rows are longer or shorter than their output rows. */
#include "ww_test.h"

#include <fcntl.h>
#include <sys/mman.h>

#include "stream/stream.h"

/* out[i] = in[i % source_row_bytes] + row, so that a row read from elsewhere shows. */
struct stretch {
    uint64_t row_bytes;
    uint64_t source_row_bytes;
};

static void stretch_row(const struct stretch *s, uint64_t row, const uint8_t *in,
                        uint8_t *out)
{
    for (uint64_t i = 0; i < s->row_bytes; i++) {
        out[i] = (uint8_t)(in[i % s->source_row_bytes] + row);
    }
}

static enum ww_err open_stretch(const void *params, uint64_t n_rows, uint64_t row_bytes,
                                uint64_t n_tiles, void **state, const uint32_t **row_map,
                                struct ww_error *err)
{
    static struct stretch copy;
    (void)n_rows;
    (void)n_tiles;
    (void)err;
    copy = *(const struct stretch *)params;
    assert_int_equal(row_bytes, copy.row_bytes);
    *state = &copy;
    *row_map = NULL;
    return WW_OK;
}

static enum ww_err run_stretch(void *state, const struct ww_tile *tile,
                               struct ww_error *err)
{
    (void)err;
    for (uint64_t i = 0; i < tile->n_rows; i++) {
        stretch_row(state, tile->first_row + i, tile->rows[0][i],
                    tile->out + i * tile->row_bytes);
    }
    return WW_OK;
}

static enum ww_err open_mapped(const void *params, uint64_t n_rows, uint64_t row_bytes,
                               uint64_t n_tiles, void **state, const uint32_t **row_map,
                               struct ww_error *err)
{
    static const uint32_t map[8] = {0};
    enum ww_err rc =
        open_stretch(params, n_rows, row_bytes, n_tiles, state, row_map, err);
    *row_map = map;
    return rc;
}

static enum ww_err close_stretch(void *state, bool complete, struct ww_error *err)
{
    (void)state;
    (void)complete;
    (void)err;
    return WW_OK;
}

static const struct ww_kernel kernel = {"stretch", open_stretch, run_stretch,
                                        close_stretch};
static const struct ww_kernel mapped = {"mapped", open_mapped, run_stretch,
                                        close_stretch};

struct job {
    struct stretch stretch;
    uint64_t n_rows;
    uint8_t *source;
    uint64_t source_bytes;
    struct ww_input input;
    struct ww_piece_source at;
    struct ww_piece piece;
    struct ww_output output;
    struct ww_plan plan;
};

/* 13 bytes before the rows and 5 behind them. */
static void make_job(struct job *job, uint64_t n_rows, uint64_t row_bytes,
                     uint64_t source_row_bytes)
{
    memset(job, 0, sizeof(*job));
    job->stretch = (struct stretch){row_bytes, source_row_bytes};
    job->n_rows = n_rows;
    job->source_bytes = 13 + n_rows * source_row_bytes + 5;
    job->source = malloc(job->source_bytes);
    for (uint64_t i = 0; i < job->source_bytes; i++) {
        job->source[i] = (uint8_t)(i * 2654435761u >> 13);
    }
    int fd = memfd_create("rows", MFD_CLOEXEC);
    assert_int_equal(write(fd, job->source, job->source_bytes),
                     (ssize_t)job->source_bytes);
    job->input = (struct ww_input){"rows", fd, job->source_bytes, true};
    job->at = (struct ww_piece_source){0, 13};
    job->piece = (struct ww_piece){.kind = WW_PIECE_KERNEL,
                                   .n_bytes = n_rows * row_bytes,
                                   .n_sources = 1,
                                   .sources = &job->at,
                                   .n_rows = n_rows,
                                   .row_bytes = row_bytes,
                                   .source_row_bytes = source_row_bytes,
                                   .kernel = &kernel,
                                   .params = &job->stretch,
                                   .tree_index = WW_NONE};
    job->output = (struct ww_output){"out", n_rows * row_bytes, &job->piece, 1};
    job->plan = (struct ww_plan){.title = "rows",
                                 .inputs = &job->input,
                                 .n_inputs = 1,
                                 .outputs = &job->output,
                                 .n_outputs = 1};
}

static void drop_job(struct job *job)
{
    close(job->input.fd);
    free(job->source);
}

static void check_job(struct job *job, unsigned threads)
{
    struct ww_error err = {0};
    struct ww_stream_result result;
    const struct ww_run_options options = {.threads = threads,
                                           .memory_bytes = UINT64_C(16) << 20};
    uint8_t *want = malloc(job->n_rows * job->stretch.row_bytes);
    uint8_t sha[WW_SHA256_BYTES];

    for (uint64_t r = 0; r < job->n_rows; r++) {
        stretch_row(&job->stretch, r,
                    job->source + 13 + r * job->stretch.source_row_bytes,
                    want + r * job->stretch.row_bytes);
    }
    OK(ww_stream_run(&job->plan, NULL, &options, &result, &err));
    ww_sha256_of(want, job->n_rows * job->stretch.row_bytes, sha);
    assert_memory_equal(result.output_sha256[0], sha, sizeof(sha));
    ww_sha256_of(job->source, job->source_bytes, sha);
    assert_memory_equal(result.input_sha256[0], sha, sizeof(sha));
    ww_stream_result_release(&result);
    free(want);
}

static void rows_may_grow_and_shrink(void **state)
{
    static const uint64_t sizes[][3] = {{1, 7, 3},
                                        {5000, 48, 32},
                                        {5000, 32, 48},
                                        {9, (1 << 20) + 16, 1 << 20},
                                        {9, 1 << 20, (1 << 20) + 16}};
    (void)state;
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        struct job job;
        make_job(&job, sizes[i][0], sizes[i][1], sizes[i][2]);
        check_job(&job, 1);
        check_job(&job, 3);
        drop_job(&job);
    }
}

static void impossible_rows_are_refused(void **state)
{
    struct ww_error err = {0};
    struct ww_stream_result result;
    uint8_t digest[2][WW_SHA256_BYTES];
    struct job job;
    (void)state;
    make_job(&job, 8, 32, 48);
    OK(ww_plan_digest(&job.plan, digest[0], &err));
    job.piece.source_row_bytes = 47;
    OK(ww_plan_digest(&job.plan, digest[1], &err));
    assert_memory_not_equal(digest[0], digest[1], sizeof(digest[0]));
    job.piece.source_row_bytes = 49; /* reaches beyond the input */
    FAILS(ww_plan_digest(&job.plan, digest[1], &err), WW_E_USAGE);
    job.piece.source_row_bytes = UINT64_MAX / 2;
    FAILS(ww_plan_digest(&job.plan, digest[1], &err), WW_E_USAGE);
    job.piece.source_row_bytes = 48;
    job.piece.kernel = &mapped;
    FAILS(ww_stream_run(&job.plan, NULL, NULL, &result, &err), WW_E_INTERNAL);
    job.piece.kernel = &kernel;
    job.piece.row_bytes = 0;
    job.piece.n_bytes = 0;
    job.output.size_bytes = 0;
    FAILS(ww_plan_digest(&job.plan, digest[1], &err), WW_E_USAGE);
    drop_job(&job);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_may_grow_and_shrink),
        cmocka_unit_test(impossible_rows_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
