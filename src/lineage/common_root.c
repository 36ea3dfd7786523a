/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Under independence the second file's rows come in a uniformly random order, and a match
 * of s <= n pairs is a uniformly random partial injection. Its k-th factorial moment of
 * fixed points is (s)_k / (n)_k <= 1, and Markov's inequality on it gives P(F >= k) <=
 * 1 / k! for one layer. Layers are relabelled independently: E C(F, k) <= L^k / k!, and
 * E (1 + t)^F <= e^(L t) with t = k / L - 1 gives e^(k - L) (L / k)^k for k > L. Nothing
 * is assumed of the weights. A part of the rows, picked by place, is in random order as
 * well.
 *
 * Sums run in one order; logarithms are those of the merge engine: the same on any
 * machine.
 */
#include "lineage/common_root.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "la/fixmath.h"
#include "model/convert.h"
#include "model/elements.h"
#include "util/alloc.h"
#include "util/clones.h"
#include "util/fail.h"
#include "util/fs.h"
#include "util/str.h"

#define MAX_WIDTH ((uint64_t)1 << 16)
#define LANES 8

WW_CLONES static double dot(const float *a, const float *b, size_t n)
{
    double lane[LANES] = {0};
    double sum = 0;
    size_t i = 0;

    for (; i + LANES <= n; i += LANES) {
        for (unsigned l = 0; l < LANES; l++) {
            lane[l] += (double)a[i + l] * (double)b[i + l];
        }
    }
    for (unsigned l = 0; l < LANES; l++) {
        sum += lane[l];
    }
    for (; i < n; i++) {
        sum += (double)a[i] * (double)b[i];
    }
    return sum;
}

/* Rows of length 0 are nobody's neighbours. */
static double cosine(const float *a, double length_a, const float *b, double length_b,
                     size_t width)
{
    return length_a > 0 && length_b > 0 ? dot(a, b, width) / (length_a * length_b) : -2;
}

enum ww_err ww_root_fixed_points(const float *a, const float *b, size_t n, size_t width,
                                 uint64_t *fixed, struct ww_error *err)
{
    double *lengths = ww_calloc(4 * n + 1, sizeof(*lengths));
    double *lengths_b = lengths + n;
    double *best_a = lengths + 2 * n;
    double *best_b = lengths + 3 * n;
    uint32_t *of_a = ww_calloc(2 * n + 1, sizeof(*of_a));
    uint32_t *of_b = of_a + n;

    *fixed = 0;
    if (!lengths || !of_a) {
        ww_free(lengths);
        ww_free(of_a);
        return WW_FAIL_MEMORY(err, "the test of a common root");
    }
    for (size_t i = 0; i < n; i++) {
        lengths[i] = sqrt(dot(a + i * width, a + i * width, width));
        lengths_b[i] = sqrt(dot(b + i * width, b + i * width, width));
        best_a[i] = best_b[i] = -2;
        of_a[i] = of_b[i] = WW_NONE;
    }
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < n; j++) {
            const double c =
                cosine(a + i * width, lengths[i], b + j * width, lengths_b[j], width);
            if (c > best_a[i]) {
                best_a[i] = c;
                of_a[i] = (uint32_t)j;
            }
            if (c > best_b[j]) {
                best_b[j] = c;
                of_b[j] = (uint32_t)i;
            }
        }
    }
    for (uint32_t i = 0; i < n; i++) {
        *fixed += of_a[i] == i && of_b[i] == i;
    }
    ww_free(lengths);
    ww_free(of_a);
    return WW_OK;
}

double ww_root_log10_p(uint64_t k, uint64_t n_layers)
{
    const double ten = ww_fix_log(10);
    const double l = (double)n_layers;
    double factorial = 0;
    double bound = 0;

    if (k == 0 || n_layers == 0) {
        return 0;
    }
    for (uint64_t i = 2; i <= k; i++) {
        factorial += ww_fix_log((double)i);
    }
    bound = (double)k * ww_fix_log(l) - factorial;
    if (k > n_layers) {
        const double other = (double)k - l + (double)k * ww_fix_log(l / (double)k);
        bound = other < bound ? other : bound;
    }
    return bound < 0 ? bound / ten : 0;
}

/* A matrix whose rows are hidden units of a feed-forward block. */
static bool is_up(const struct ww_tensor *t)
{
    static const char *const endings[] = {".up_proj.weight",
                                          ".w3.weight",
                                          ".fc1.weight",
                                          ".dense_h_to_4h.weight",
                                          ".intermediate.dense.weight",
                                          ".gate_up_proj.weight",
                                          ".wi_1.weight"};

    for (size_t i = 0; i < sizeof(endings) / sizeof(endings[0]); i++) {
        if (ww_str_ends(t->name, endings[i])) {
            return t->rank == 2 && t->shape[1] > 0 && t->shape[1] <= MAX_WIDTH &&
                   ww_dtype_is_plain_float(t->dtype);
        }
    }
    return false;
}

static enum ww_err read_rows(const struct ww_model *model, const struct ww_tensor *t,
                             size_t n, uint8_t *bytes, float *out, struct ww_error *err)
{
    const struct ww_weight_file *file = &model->files[t->file];
    const size_t n_elements = n * (size_t)t->shape[1];
    const size_t size = ww_dtype_bits(t->dtype) / 8;
    enum ww_err rc =
        file->fd >= 0 ? ww_pread_full(file->fd, bytes, n_elements * size, t->offset,
                                      file->name, err)
                      : ww_weight_bytes(file, t->offset, bytes, n_elements * size, err);

    if (!rc) {
        ww_to_float(t->dtype, bytes, out, n_elements);
    }
    return rc;
}

struct room {
    uint8_t *bytes;
    float *a;
    float *b;
};

static enum ww_err test_layer(const struct ww_model *a, const struct ww_tensor *ta,
                              const struct ww_model *b, const struct ww_tensor *tb,
                              struct ww_lineage_root *out, struct ww_error *err)
{
    const size_t n = ta->shape[0] < WW_ROOT_ROWS ? (size_t)ta->shape[0] : WW_ROOT_ROWS;
    const size_t n_elements = n * (size_t)ta->shape[1];
    struct room room = {ww_calloc(n_elements + 1, sizeof(double)),
                        ww_calloc(n_elements + 1, sizeof(float)),
                        ww_calloc(n_elements + 1, sizeof(float))};
    uint64_t fixed = 0;
    enum ww_err rc = room.bytes && room.a && room.b
                         ? WW_OK
                         : WW_FAIL_MEMORY(err, "the test of a common root");

    if (!rc) {
        rc = read_rows(a, ta, n, room.bytes, room.a, err);
    }
    if (!rc) {
        rc = read_rows(b, tb, n, room.bytes, room.b, err);
    }
    if (!rc) {
        rc = ww_root_fixed_points(room.a, room.b, n, (size_t)ta->shape[1], &fixed, err);
    }
    out->layers++;
    out->rows += n;
    out->fixed_points += fixed;
    ww_free(room.bytes);
    ww_free(room.a);
    ww_free(room.b);
    return rc;
}

enum ww_err ww_root_test(const struct ww_model *a, const struct ww_model *b,
                         struct ww_lineage_root *out, struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    memset(out, 0, sizeof(*out));
    for (uint32_t t = 0; t < a->n_tensors && !rc; t++) {
        const struct ww_tensor *of = &a->tensors[t];
        const uint32_t other = is_up(of) ? ww_model_find(b, of->name) : WW_NONE;
        if (other != WW_NONE && is_up(&b->tensors[other]) &&
            memcmp(of->shape, b->tensors[other].shape, 2 * sizeof(*of->shape)) == 0) {
            rc = test_layer(a, of, b, &b->tensors[other], out, err);
        }
    }
    out->log10_p = ww_root_log10_p(out->fixed_points, out->layers);
    return rc;
}
