/* SPDX-License-Identifier: Apache-2.0 */
/*
 * add_tasks BASE A B LAMBDA OUT: task arithmetic, base + lambda ((A - base) + (B -
 * base)), tensor by tensor in double, rounded once to the dtype of the base. For benches.
 */
#include <stdio.h>
#include <stdlib.h>

#include "copy_model.h"
#include "model/convert.h"
#include "util/alloc.h"

struct tasks {
    const struct ww_model *models[2];
    double lambda;
};

static enum ww_err read_doubles(const struct ww_model *model,
                                const struct ww_tensor *like, double *out,
                                struct ww_error *err)
{
    const uint32_t at = ww_model_find(model, like->name);
    if (at == WW_NONE || model->tensors[at].n_elements != like->n_elements) {
        return WW_FAIL(err, WW_E_TENSOR, "tensor '%s' has no counterpart", like->name);
    }
    void *bytes = ww_alloc_aligned(64, (size_t)model->tensors[at].n_bytes + 64);
    enum ww_err rc = bytes ? ww_model_read(model, at, bytes, err) : WW_E_NOMEM;
    if (rc == WW_OK) {
        ww_to_double(model->tensors[at].dtype, bytes, out, (size_t)like->n_elements);
    }
    ww_free(bytes);
    return rc;
}

static enum ww_err add(void *payload, const struct ww_model *base, uint32_t tensor,
                       FILE *out, struct ww_error *err)
{
    const struct tasks *tasks = payload;
    const struct ww_tensor *t = &base->tensors[tensor];
    const size_t n = (size_t)t->n_elements;
    double *x = ww_calloc(3 * n + 1, sizeof(double));
    void *bytes = ww_alloc_aligned(64, (size_t)t->n_bytes + 64);
    enum ww_err rc = x && bytes ? read_doubles(base, t, x, err) : WW_E_NOMEM;
    for (size_t m = 0; m < 2 && rc == WW_OK; m++) {
        rc = read_doubles(tasks->models[m], t, x + (m + 1) * n, err);
    }
    for (size_t i = 0; i < n && rc == WW_OK; i++) {
        x[i] += tasks->lambda * ((x[n + i] - x[i]) + (x[2 * n + i] - x[i]));
    }
    if (rc == WW_OK) {
        ww_from_double(t->dtype, x, bytes, n);
        if (fwrite(bytes, 1, (size_t)t->n_bytes, out) != t->n_bytes) {
            rc = WW_FAIL(err, WW_E_IO, "cannot write the merge");
        }
    }
    ww_free(x);
    ww_free(bytes);
    return rc;
}

int main(int argc, char **argv)
{
    struct ww_error err = {0};
    struct ww_model *models[3] = {NULL, NULL, NULL};
    enum ww_err rc = WW_OK;
    if (argc != 6) {
        fprintf(stderr, "usage: add_tasks BASE A B LAMBDA OUT\n");
        return 2;
    }
    for (int m = 0; m < 3 && rc == WW_OK; m++) {
        rc = ww_model_open(argv[1 + m], &models[m], &err);
    }
    struct tasks tasks = {{models[1], models[2]}, strtod(argv[4], NULL)};
    if (rc == WW_OK) {
        rc = copy_model(models[0], argv[5], add, &tasks, &err);
    }
    if (rc) {
        fprintf(stderr, "add_tasks: %s\n", err.text);
    }
    for (int m = 0; m < 3; m++) {
        ww_model_close(models[m]);
    }
    return rc ? 1 : 0;
}
