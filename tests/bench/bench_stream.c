/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How long the executor takes to move a model: every matrix through a kernel that
 * permutes rows and columns of 16-bit elements, source digest, output digest and tensor
 * tree.
 *
 *   bench_stream make FOLDER [MIB]       a source of two files, 3000 MiB in all
 *   bench_stream run FOLDER [THREADS [MEMORY_MIB]]   FOLDER/src to FOLDER/out, timed
 *   bench_stream hash FILE...            SHA-256, as sign takes it
 */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "stream/stream.h"

#define FILES 2
#define COLS 1536u
#define ROW_BYTES (2u * COLS)
#define HEADER 40008u /* eight-byte steps, as safetensors headers have */
#define MAX_TENSORS 4096

/* Row counts of one block of a 1.5B model: q, k, v, o, gate, up, down, norms. */
static const uint32_t rows_of[] = {1536, 256, 256, 1536, 8960, 8960, 8960, 1, 1, 1};

struct permuted {
    uint32_t *rows; /* NULL: rows stay */
    uint32_t n_rows;
};

struct bench {
    struct ww_input inputs[FILES];
    struct ww_output outputs[FILES];
    struct ww_piece pieces[FILES][MAX_TENSORS];
    struct ww_piece_source sources[FILES][MAX_TENSORS];
    struct permuted params[FILES][MAX_TENSORS];
    struct ww_tensor tensors[FILES * MAX_TENSORS];
    struct ww_tree_slot tree[FILES * MAX_TENSORS];
    uint8_t header[HEADER];
    struct ww_plan plan;
};

static uint32_t columns[COLS];
static struct bench bench;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static uint32_t next_random(void)
{
    static uint64_t x = 88172645463325252u;
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    return (uint32_t)(x >> 32);
}

static void shuffle(uint32_t *p, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        p[i] = i;
    }
    for (uint32_t i = n; i > 1; i--) {
        uint32_t k = next_random() % i;
        uint32_t t = p[i - 1];
        p[i - 1] = p[k];
        p[k] = t;
    }
}

static enum ww_err permute_open(const void *params, uint64_t n_rows, uint64_t row_bytes,
                                uint64_t n_tiles, void **state, const uint32_t **row_map,
                                struct ww_error *err)
{
    const struct permuted *p = params;
    (void)n_rows;
    (void)row_bytes;
    (void)n_tiles;
    (void)err;
    *state = NULL;
    *row_map = p->rows;
    return WW_OK;
}

static enum ww_err permute_run(void *state, const struct ww_tile *t, struct ww_error *err)
{
    (void)state;
    (void)err;
    for (uint64_t i = 0; i < t->n_rows; i++) {
        const uint8_t *from = t->rows[0][i];
        uint16_t *to = (uint16_t *)(void *)(t->out + i * t->row_bytes);
        for (uint32_t c = 0; c < COLS; c++) {
            uint16_t v;
            memcpy(&v, from + 2 * (size_t)columns[c], 2);
            to[c] = v;
        }
    }
    return WW_OK;
}

static enum ww_err permute_close(void *state, bool complete, struct ww_error *err)
{
    (void)state;
    (void)complete;
    (void)err;
    return WW_OK;
}

static const struct ww_kernel permute = {"permute", permute_open, permute_run,
                                         permute_close};

static void path_of(char *out, size_t n, const char *folder, const char *sub, int i)
{
    snprintf(out, n, "%s/%s/model-%05d.safetensors", folder, sub, i + 1);
}

static int make(const char *folder, uint64_t mib)
{
    static uint8_t block[1 << 20];
    char path[4096];

    snprintf(path, sizeof(path), "%s/src", folder);
    mkdir(path, 0755);
    for (int f = 0; f < FILES; f++) {
        path_of(path, sizeof(path), folder, "src", f);
        FILE *file = fopen(path, "wb");
        for (uint64_t m = 0; file && m < mib / FILES; m++) {
            for (size_t i = 0; i < sizeof(block); i += 4) {
                uint32_t v = next_random();
                memcpy(block + i, &v, 4);
            }
            if (fwrite(block, sizeof(block), 1, file) != 1) {
                perror(path);
                return 1;
            }
        }
        if (!file || fclose(file) != 0) {
            perror(path);
            return 1;
        }
    }
    return 0;
}

static void add_tensor(int f, uint64_t *offset, uint32_t n_rows)
{
    struct ww_output *output = &bench.outputs[f];
    uint32_t i = output->n_pieces++;
    uint32_t t = bench.plan.n_tree++;
    struct ww_piece *piece = &bench.pieces[f][i];

    bench.sources[f][i] = (struct ww_piece_source){(uint32_t)f, *offset};
    if (n_rows == 8960) {
        bench.params[f][i].rows = calloc(n_rows, sizeof(uint32_t));
        shuffle(bench.params[f][i].rows, n_rows);
    }
    *piece = (struct ww_piece){
        .kind = WW_PIECE_KERNEL,
        .n_bytes = (uint64_t)n_rows * ROW_BYTES,
        .n_sources = 1,
        .sources = &bench.sources[f][i],
        .n_rows = n_rows,
        .row_bytes = ROW_BYTES,
        .kernel = &permute,
        .params = &bench.params[f][i],
        .tree_index = t,
    };
    bench.tensors[t] = (struct ww_tensor){.name = "t",
                                          .dtype = WW_DTYPE_BF16,
                                          .rank = 2,
                                          .shape = {n_rows, COLS},
                                          .n_bytes = piece->n_bytes};
    bench.tree[t] = (struct ww_tree_slot){&bench.tensors[t], t};
    *offset += piece->n_bytes;
}

static void plan_file(int f, uint64_t size)
{
    struct ww_output *output = &bench.outputs[f];
    uint64_t offset = HEADER;

    output->pieces = bench.pieces[f];
    output->n_pieces = 1;
    output->size_bytes = size;
    bench.sources[f][0] = (struct ww_piece_source){(uint32_t)f, 0};
    bench.pieces[f][0] = (struct ww_piece){.kind = WW_PIECE_BYTES,
                                           .n_bytes = HEADER,
                                           .bytes = bench.header,
                                           .n_sources = 1,
                                           .sources = &bench.sources[f][0],
                                           .tree_index = WW_NONE};
    if (f == 0) {
        add_tensor(f, &offset, 151936); /* embedding */
    }
    for (uint32_t k = 0;; k++) {
        uint32_t n_rows = rows_of[k % (sizeof(rows_of) / sizeof(rows_of[0]))];
        uint64_t left = size - offset;
        if ((uint64_t)n_rows * ROW_BYTES > left) {
            break;
        }
        add_tensor(f, &offset, n_rows);
    }
    struct ww_piece *rest = &bench.pieces[f][output->n_pieces];
    bench.sources[f][output->n_pieces] = (struct ww_piece_source){(uint32_t)f, offset};
    *rest = (struct ww_piece){.kind = WW_PIECE_COPY,
                              .n_bytes = size - offset,
                              .n_sources = 1,
                              .sources = &bench.sources[f][output->n_pieces],
                              .tree_index = WW_NONE};
    output->n_pieces++;
}

static int run(const char *folder, unsigned threads, uint64_t memory)
{
    static char paths[FILES][4096];
    static const char *const names[] = {"model-00001.safetensors",
                                        "model-00002.safetensors"};
    struct ww_run_options options = {.threads = threads, .memory_bytes = memory << 20};
    struct ww_error err = {0};
    struct ww_stream_result result;
    struct ww_out *out = NULL;
    struct rusage use;
    char target[4096];

    shuffle(columns, COLS);
    bench.plan = (struct ww_plan){.title = "bench",
                                  .inputs = bench.inputs,
                                  .outputs = bench.outputs,
                                  .tree = bench.tree};
    for (int f = 0; f < FILES; f++) {
        struct stat st;
        path_of(paths[f], sizeof(paths[f]), folder, "src", f);
        int fd = open(paths[f], O_RDONLY);
        if (fd < 0 || fstat(fd, &st) != 0) {
            perror(paths[f]);
            return 1;
        }
        bench.inputs[f] = (struct ww_input){paths[f], fd, (uint64_t)st.st_size, true};
        bench.outputs[f].path = names[f];
        plan_file(f, (uint64_t)st.st_size);
    }
    bench.plan.n_inputs = FILES;
    bench.plan.n_outputs = FILES;
    snprintf(target, sizeof(target), "%s/out", folder);
    double t0 = now();
    enum ww_err rc = ww_out_begin(target, &bench.plan, 0, &options, &out, &err);
    if (!rc) {
        rc = ww_stream_run(&bench.plan, out, &options, &result, &err);
    }
    double t1 = now();
    if (!rc) {
        rc = ww_out_commit(out, &err);
    }
    double t2 = now();
    ww_out_close(out, false);
    if (rc) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    getrusage(RUSAGE_SELF, &use);
    printf("stream %.2f s (commit %.2f), user %.2f sys %.2f, %.2f GB/s, peak %ld MiB\n",
           t2 - t0, t2 - t1,
           (double)use.ru_utime.tv_sec + (double)use.ru_utime.tv_usec * 1e-6,
           (double)use.ru_stime.tv_sec + (double)use.ru_stime.tv_usec * 1e-6,
           (double)result.report.bytes_written / 1e9 / (t2 - t0), use.ru_maxrss / 1024);
    ww_stream_result_release(&result);
    return 0;
}

static int hash(int n, char **paths)
{
    struct ww_run_options options = {0};
    struct ww_hash_job *jobs = calloc((size_t)n, sizeof(*jobs));
    struct ww_error err = {0};

    for (int i = 0; i < n; i++) {
        struct stat st;
        jobs[i].fd = open(paths[i], O_RDONLY);
        if (jobs[i].fd < 0 || fstat(jobs[i].fd, &st) != 0) {
            perror(paths[i]);
            return 1;
        }
        jobs[i].name = paths[i];
        jobs[i].size_bytes = (uint64_t)st.st_size;
    }
    double t0 = now();
    if (ww_hash_files(jobs, (size_t)n, "sha256", "hash", &options, &err)) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    printf("hash %.2f s\n", now() - t0);
    for (int i = 0; i < n; i++) {
        for (int b = 0; b < WW_SHA256_BYTES; b++) {
            printf("%02x", jobs[i].digest[b]);
        }
        printf("  %s\n", paths[i]);
    }
    free(jobs);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc >= 3 && strcmp(argv[1], "make") == 0) {
        return make(argv[2], argc > 3 ? strtoull(argv[3], NULL, 10) : 3000);
    }
    if (argc >= 3 && strcmp(argv[1], "run") == 0) {
        return run(argv[2], argc > 3 ? (unsigned)strtoul(argv[3], NULL, 10) : 0,
                   argc > 4 ? strtoull(argv[4], NULL, 10) : 0);
    }
    if (argc >= 3 && strcmp(argv[1], "hash") == 0) {
        return hash(argc - 2, argv + 2);
    }
    fprintf(stderr, "usage: bench_stream make|run|hash ...\n");
    return 2;
}
