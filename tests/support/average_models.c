/* SPDX-License-Identifier: Apache-2.0 */
/*
 * average_models A B OUT [--int8]: the plainest merge there is, (a + b) / 2 for every
 * tensor, rounded once to the dtype of A; with --int8 each row goes through eight bits
 * first. Only to show what it does to locked weights; no tool for users.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "model/convert.h"
#include "util/fs.h"
#include "weightward/model.h"

static int give_up(const char *what, const struct ww_error *err)
{
    fprintf(stderr, "average_models: %s: %s\n", what, err->text);
    return 1;
}

static void through_int8(const struct ww_tensor *t, double *x)
{
    const uint64_t cols = t->rank ? t->shape[t->rank - 1] : 1;
    for (uint64_t at = 0; at < t->n_elements; at += cols) {
        double most = 0;
        for (uint64_t c = 0; c < cols; c++) {
            most = fmax(most, fabs(x[at + c]));
        }
        for (uint64_t c = 0; c < cols && most > 0; c++) {
            x[at + c] = nearbyint(x[at + c] / most * 127) / 127 * most;
        }
    }
}

static enum ww_err average(const struct ww_model *a, const struct ww_model *b, uint32_t i,
                           bool int8, FILE *out, struct ww_error *err)
{
    const struct ww_tensor *t = &a->tensors[i];
    uint32_t other = ww_model_find(b, t->name);
    if (other == WW_NONE || b->tensors[other].n_elements != t->n_elements) {
        snprintf(err->text, sizeof err->text, "tensor '%s' has no counterpart", t->name);
        return WW_E_TENSOR;
    }
    void *bytes_a = malloc(t->n_bytes + 1);
    void *bytes_b = malloc(b->tensors[other].n_bytes + 1);
    double *x = malloc((t->n_elements + 1) * sizeof *x);
    double *y = malloc((t->n_elements + 1) * sizeof *y);
    enum ww_err rc = ww_model_read(a, i, bytes_a, err);
    if (rc == WW_OK) {
        rc = ww_model_read(b, other, bytes_b, err);
    }
    if (rc == WW_OK) {
        ww_to_double(t->dtype, bytes_a, x, t->n_elements);
        ww_to_double(b->tensors[other].dtype, bytes_b, y, t->n_elements);
        for (uint64_t k = 0; k < t->n_elements; k++) {
            x[k] = (x[k] + y[k]) / 2;
        }
        if (int8) {
            through_int8(t, x);
        }
        ww_from_double(t->dtype, x, bytes_a, t->n_elements);
        if (fwrite(bytes_a, 1, t->n_bytes, out) != t->n_bytes) {
            rc = WW_E_IO;
        }
    }
    free(bytes_a);
    free(bytes_b);
    free(x);
    free(y);
    return rc;
}

/* Side files come from A; attestations and signatures would not fit the merge. */
static enum ww_err copy_side_files(const struct ww_model *a, const char *to,
                                   struct ww_error *err)
{
    int dir;
    enum ww_err rc = ww_dir_open(to, &dir, err);
    for (uint32_t i = 0; rc == WW_OK && i < a->n_side; i++) {
        const char *path = a->side[i].path;
        struct ww_buf bytes;
        if (strchr(path, '/') || strcmp(path, "model.sig") == 0) {
            continue;
        }
        ww_buf_init(&bytes, 64U << 20);
        rc = ww_file_read_at(a->dirfd, path, WW_LINKS_HUB, &bytes, err);
        if (rc == WW_OK) {
            rc = ww_file_write_at(dir, path, bytes.data, bytes.len, 0644, true, err);
        }
        ww_buf_release(&bytes);
    }
    return rc;
}

int main(int argc, char **argv)
{
    struct ww_error err = {0};
    struct ww_model *a = NULL;
    struct ww_model *b = NULL;
    char path[4096];
    const bool int8 = argc == 5 && strcmp(argv[4], "--int8") == 0;
    if (argc != 4 && !int8) {
        fprintf(stderr, "usage: average_models A B OUT [--int8]\n");
        return 2;
    }
    if (ww_model_open(argv[1], &a, &err)) {
        return give_up(argv[1], &err);
    }
    if (ww_model_open(argv[2], &b, &err)) {
        return give_up(argv[2], &err);
    }
    if (a->n_files != 1 || mkdir(argv[3], 0755) != 0) {
        return give_up("one weight file and a new output folder are needed", &err);
    }
    snprintf(path, sizeof path, "%s/%s", argv[3], a->files[0].name);
    FILE *out = fopen(path, "wb");
    if (!out || fwrite(a->files[0].header, 1, a->files[0].header_bytes, out) !=
                    a->files[0].header_bytes) {
        return give_up("cannot write", &err);
    }
    for (uint32_t i = 0; i < a->n_tensors; i++) {
        if (average(a, b, i, int8, out, &err)) {
            return give_up(a->tensors[i].name, &err);
        }
    }
    if (fclose(out) != 0 || copy_side_files(a, argv[3], &err)) {
        return give_up(argv[3], &err);
    }
    ww_model_close(a);
    ww_model_close(b);
    return 0;
}
