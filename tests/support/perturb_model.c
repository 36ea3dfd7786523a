/* SPDX-License-Identifier: Apache-2.0 */
/*
 * perturb_model MODEL OUT SHARE SEED: a sibling made by noise, for tests and benches:
 * every float tensor gets roughly normal noise of SHARE times its own spread, rounded
 * once.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "copy_model.h"
#include "lock/activation.h"
#include "model/convert.h"

#define CHUNK 65536

static double normal(uint64_t *state)
{
    double sum = 0;
    for (int i = 0; i < 4; i++) {
        sum += ww_random_activation(state);
    }
    return sum / 2;
}

/* One pass over a tensor: to measure its spread (out NULL), or to write it. */
static enum ww_err pass(const struct ww_model *model, uint32_t index, double size,
                        uint64_t *state, FILE *out, double *spread, struct ww_error *err)
{
    static uint8_t bytes[CHUNK * sizeof(double)];
    static double x[CHUNK];
    const struct ww_tensor *t = &model->tensors[index];
    const bool plain = ww_dtype_is_plain_float(t->dtype);
    const size_t elem = plain ? ww_dtype_bits(t->dtype) / 8 : 1;
    const uint64_t n = plain ? t->n_elements : t->n_bytes;
    double sum = 0;
    double square = 0;
    for (uint64_t at = 0; at < n; at += CHUNK) {
        const size_t now = n - at < CHUNK ? (size_t)(n - at) : CHUNK;
        enum ww_err rc = ww_pread_full(model->files[t->file].fd, bytes, now * elem,
                                       t->offset + at * elem, t->name, err);
        if (rc) {
            return rc;
        }
        if (plain) {
            ww_to_double(t->dtype, bytes, x, now);
        }
        for (size_t i = 0; plain && i < now; i++) {
            sum += x[i];
            square += x[i] * x[i];
            x[i] += out ? size * normal(state) : 0;
        }
        if (plain && out) {
            ww_from_double(t->dtype, x, bytes, now);
        }
        if (out && fwrite(bytes, elem, now, out) != now) {
            return WW_FAIL(err, WW_E_IO, "cannot write the copy");
        }
    }
    *spread =
        n ? sqrt(fmax(square / (double)n - sum / (double)n * (sum / (double)n), 0)) : 0;
    return WW_OK;
}

struct noise {
    double share;
    uint64_t state;
};

static enum ww_err perturb(void *payload, const struct ww_model *model, uint32_t tensor,
                           FILE *out, struct ww_error *err)
{
    struct noise *noise = payload;
    double spread = 0;
    enum ww_err rc = pass(model, tensor, 0, &noise->state, NULL, &spread, err);
    return rc ? rc
              : pass(model, tensor, noise->share * spread, &noise->state, out, &spread,
                     err);
}

int main(int argc, char **argv)
{
    struct ww_error err = {0};
    struct ww_model *model = NULL;
    if (argc != 5) {
        fprintf(stderr, "usage: perturb_model MODEL OUT SHARE SEED\n");
        return 2;
    }
    struct noise noise = {strtod(argv[3], NULL), strtoull(argv[4], NULL, 10)};
    enum ww_err rc = ww_model_open(argv[1], &model, &err);
    if (rc == WW_OK) {
        rc = copy_model(model, argv[2], perturb, &noise, &err);
    }
    if (rc) {
        fprintf(stderr, "perturb_model: %s\n", err.text);
    }
    ww_model_close(model);
    return rc ? 1 : 0;
}
