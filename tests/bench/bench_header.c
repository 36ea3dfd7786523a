/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Time to open a model of N tensors (default 100,000, about 13 MB of header): best and
 * median of 20 opens, page cache warm. Usage: bench_header [N]
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "util/num.h"
#include "weightward/model.h"

#define ROUNDS 20
#define ENTRY_BYTES 200
#define TENSOR_BYTES 4

static double now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

static int by_time(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static int write_model(const char *path, unsigned long n)
{
    char *json = malloc(n * ENTRY_BYTES + 64);
    uint8_t word[8];
    if (!json) {
        return -1;
    }
    size_t len = (size_t)snprintf(json, 64, "{\"__metadata__\":{\"format\":\"pt\"}");
    for (unsigned long i = 0; i < n; i++) {
        len +=
            (size_t)snprintf(json + len, ENTRY_BYTES,
                             ",\"model.layers.%lu.mlp.experts.%lu.down_proj.weight\":"
                             "{\"dtype\":\"BF16\",\"shape\":[1,2],"
                             "\"data_offsets\":[%lu,%lu]}",
                             i / 128, i % 128, i * TENSOR_BYTES, (i + 1) * TENSOR_BYTES);
    }
    json[len++] = '}';
    FILE *f = fopen(path, "wb");
    if (!f) {
        return -1;
    }
    ww_put_u64le(word, len);
    fwrite(word, 1, sizeof(word), f);
    fwrite(json, 1, len, f);
    for (unsigned long i = 0; i < n; i++) {
        fwrite("\0\0\0", 1, TENSOR_BYTES, f);
    }
    printf("header of %lu tensors: %zu bytes\n", n, len);
    free(json);
    return fclose(f);
}

int main(int argc, char **argv)
{
    unsigned long n = argc > 1 ? strtoul(argv[1], NULL, 10) : 100000;
    char folder[] = "/tmp/bench-header-XXXXXX";
    char path[64];
    double times[ROUNDS];
    struct ww_error err = {0};
    if (!mkdtemp(folder)) {
        return 1;
    }
    snprintf(path, sizeof(path), "%s/model.safetensors", folder);
    if (write_model(path, n) != 0) {
        return 1;
    }
    for (unsigned i = 0; i < ROUNDS; i++) {
        struct ww_model *model;
        double start = now_ms();
        if (ww_model_open(folder, &model, &err)) {
            fprintf(stderr, "%s\n", err.text);
            return 1;
        }
        times[i] = now_ms() - start;
        ww_model_close(model);
    }
    qsort(times, ROUNDS, sizeof(times[0]), by_time);
    printf("open: best %.1f ms, median %.1f ms\n", times[0], times[ROUNDS / 2]);
    unlink(path);
    return rmdir(folder);
}
