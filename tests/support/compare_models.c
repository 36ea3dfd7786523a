/* SPDX-License-Identifier: Apache-2.0 */
/* compare_models A B: how many tensors of B differ from A's, and by how much. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/convert.h"
#include "weightward/model.h"

struct tally {
    unsigned same;
    unsigned differ;
    double difference; /* squared norms over all tensors */
    double norm;
};

static enum ww_err compare(const struct ww_model *a, const struct ww_model *b, uint32_t i,
                           struct tally *tally, struct ww_error *err)
{
    const struct ww_tensor *t = &a->tensors[i];
    uint32_t other = ww_model_find(b, t->name);
    if (other == WW_NONE || b->tensors[other].n_bytes != t->n_bytes) {
        snprintf(err->text, sizeof err->text, "tensor '%s' has no counterpart", t->name);
        return WW_E_TENSOR;
    }
    void *bytes_a = malloc(t->n_bytes + 1);
    void *bytes_b = malloc(t->n_bytes + 1);
    double *x = malloc((t->n_elements + 1) * sizeof *x);
    double *y = malloc((t->n_elements + 1) * sizeof *y);
    enum ww_err rc = ww_model_read(a, i, bytes_a, err);
    if (rc == WW_OK) {
        rc = ww_model_read(b, other, bytes_b, err);
    }
    if (rc == WW_OK) {
        bool same = memcmp(bytes_a, bytes_b, t->n_bytes) == 0;
        tally->same += same;
        tally->differ += !same;
        ww_to_double(t->dtype, bytes_a, x, t->n_elements);
        ww_to_double(t->dtype, bytes_b, y, t->n_elements);
        for (uint64_t k = 0; k < t->n_elements; k++) {
            tally->difference += (x[k] - y[k]) * (x[k] - y[k]);
            tally->norm += x[k] * x[k];
        }
    }
    free(bytes_a);
    free(bytes_b);
    free(x);
    free(y);
    return rc;
}

int main(int argc, char **argv)
{
    struct ww_error err = {0};
    struct ww_model *a = NULL;
    struct ww_model *b = NULL;
    struct tally tally = {0};
    if (argc != 3) {
        fprintf(stderr, "usage: compare_models A B\n");
        return 2;
    }
    enum ww_err rc = ww_model_open(argv[1], &a, &err);
    if (rc == WW_OK) {
        rc = ww_model_open(argv[2], &b, &err);
    }
    for (uint32_t i = 0; rc == WW_OK && i < a->n_tensors; i++) {
        rc = compare(a, b, i, &tally, &err);
    }
    if (rc) {
        fprintf(stderr, "compare_models: %s\n", err.text);
    } else {
        printf("tensors that differ: %u of %u; distance %.3f of the norm\n", tally.differ,
               tally.differ + tally.same, sqrt(tally.difference / tally.norm));
    }
    ww_model_close(a);
    ww_model_close(b);
    return rc ? 1 : 0;
}
