/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Scores are cosines of the first weights of each matrix, averaged over the matrices of a
 * layer. The map is the path of the best sum through them, where a step to another place
 * than the next one costs a little: of layers that are equally like, the one that
 * continues a run is meant.
 */
#include "lineage/depths.h"

#include <math.h>
#include <string.h>

#include "model/elements.h"
#include "model/shape.h"
#include "util/alloc.h"
#include "util/fail.h"

#define LOOK 4096 /* elements of a matrix, unless layers are so many that */
#define WORK (UINT64_C(1) << 31) /* comparing all with all costs more than this, */
#define ROOM (UINT64_C(1) << 26) /* or keeping them */
#define LEAST_LOOK 64
#define PRICE 0.02    /* of a step to another place than the next */
#define LIKE 0.5      /* least cosine of a layer and what became of it */
#define MOST_KINDS 16 /* of matrices that are looked at; experts have hundreds */

/* Matrices of a layer: what stands behind its number. */
struct kinds {
    const char **rest;
    const struct ww_tensor **shape;
    uint32_t n;
    size_t look; /* elements of each, a multiple of eight */
};

static bool is_kind(const struct ww_tensor *t)
{
    return t->rank >= 2 && ww_dtype_is_plain_float(t->dtype) && t->n_elements > 0;
}

static enum ww_err find_kinds(const struct ww_model *base, const char *stack,
                              struct kinds *out, struct ww_error *err)
{
    struct ww_depth_name name;

    out->rest = ww_calloc((size_t)base->n_tensors + 1, sizeof(*out->rest));
    out->shape = ww_calloc((size_t)base->n_tensors + 1, sizeof(struct ww_tensor *));
    if (!out->rest || !out->shape) {
        return WW_FAIL_MEMORY(err, "a map of layers");
    }
    for (uint32_t t = 0; t < base->n_tensors && out->n < MOST_KINDS; t++) {
        const struct ww_tensor *tensor = &base->tensors[t];
        bool known = false;
        if (!ww_depth_in_stack(tensor->name, stack, strlen(stack), &name) ||
            !is_kind(tensor)) {
            continue;
        }
        for (uint32_t k = 0; k < out->n && !known; k++) {
            known = strcmp(out->rest[k], name.rest) == 0;
        }
        if (!known) {
            out->rest[out->n] = name.rest;
            out->shape[out->n++] = tensor;
        }
    }
    return WW_OK;
}

/* Numbers of layers come from names of tensors: one name makes four thousand. Then less
 * of each matrix is looked at, and of fewer matrices. */
static void bound_work(uint64_t n, uint64_t n_base, struct kinds *kinds)
{
    kinds->look = LOOK;
    while (n * n_base * kinds->n * kinds->look > WORK ||
           (n + n_base) * kinds->n * kinds->look > ROOM) {
        if (kinds->look > LEAST_LOOK) {
            kinds->look /= 2;
        } else if (kinds->n > 1) {
            kinds->n /= 2;
        } else {
            break;
        }
    }
}

/* Unit vectors [layers][kinds][look]; zeros where there is no such matrix. */
static enum ww_err read_looks(const struct ww_model *model, const char *stack,
                              const struct kinds *kinds, float *out, struct ww_error *err)
{
    uint8_t *bytes = ww_calloc(LOOK, sizeof(double));
    struct ww_depth_name name;
    enum ww_err rc = bytes ? WW_OK : WW_FAIL_MEMORY(err, "a map of layers");

    for (uint32_t t = 0; t < model->n_tensors && !rc; t++) {
        const struct ww_tensor *tensor = &model->tensors[t];
        uint32_t k = 0;
        double sum = 0;
        if (!ww_depth_in_stack(tensor->name, stack, strlen(stack), &name) ||
            !is_kind(tensor)) {
            continue;
        }
        while (k < kinds->n && strcmp(kinds->rest[k], name.rest) != 0) {
            k++;
        }
        if (k == kinds->n || !ww_same_shape(tensor, kinds->shape[k])) {
            continue;
        }
        const size_t n =
            tensor->n_elements < kinds->look ? (size_t)tensor->n_elements : kinds->look;
        float *x = out + ((size_t)name.layer * kinds->n + k) * kinds->look;
        rc = ww_elements_float(model, t, 0, n, bytes, x, err);
        for (size_t e = 0; e < n && !rc; e++) {
            sum += (double)x[e] * (double)x[e];
        }
        for (size_t e = 0; e < n && !rc && sum > 0; e++) {
            x[e] = (float)((double)x[e] / sqrt(sum));
        }
    }
    ww_free(bytes);
    return rc;
}

static double dot(const float *a, const float *b, size_t n)
{
    double lane[8] = {0};
    double sum = 0;

    for (size_t i = 0; i < n; i += 8) {
        for (unsigned l = 0; l < 8; l++) {
            lane[l] += (double)a[i + l] * (double)b[i + l];
        }
    }
    for (unsigned l = 0; l < 8; l++) {
        sum += lane[l];
    }
    return sum;
}

static double score(const float *a, const float *b, const struct kinds *kinds)
{
    double sum = 0;

    for (uint32_t k = 0; k < kinds->n; k++) {
        sum += dot(a + k * kinds->look, b + k * kinds->look, kinds->look);
    }
    return sum / kinds->n;
}

enum ww_err ww_depths_path(const double *scores, uint32_t n, uint32_t m, uint32_t *of,
                           struct ww_error *err)
{
    double *sums = ww_calloc(2 * (size_t)m + 1, sizeof(*sums));
    uint32_t *from = ww_calloc((size_t)n * m + 1, sizeof(*from));
    double *now = sums;
    double *before = sums ? sums + m : NULL;
    uint32_t last = 0;

    if (!sums || !from) {
        ww_free(sums);
        ww_free(from);
        return WW_FAIL_MEMORY(err, "a map of layers");
    }
    for (uint32_t j = 0; j < n; j++) {
        double *swap = before;
        before = now;
        now = swap;
        for (uint32_t l = 0; l < m; l++) {
            const bool next = j ? l > 0 : l == 0;
            const double straight = next ? (j ? before[l - 1] : 0) : -HUGE_VAL;
            const double jump = (j ? before[last] : 0) - PRICE;
            from[(size_t)j * m + l] = straight >= jump && l > 0 ? l - 1 : last;
            now[l] = scores[(size_t)j * m + l] + (straight >= jump ? straight : jump);
        }
        last = 0;
        for (uint32_t l = 1; l < m; l++) {
            last = now[l] > now[last] ? l : last;
        }
    }
    for (uint32_t j = n; j-- > 0;) {
        of[j] = last;
        last = from[(size_t)j * m + last];
    }
    ww_free(sums);
    ww_free(from);
    return WW_OK;
}

/* Keeps the map when it says something: layers elsewhere, and most of them recognised. */
static void settle(struct ww_depths *out, uint32_t n_base, const double *scores)
{
    uint32_t n_like = 0;
    bool moved = out->n != n_base;

    for (uint32_t j = 0; j < out->n; j++) {
        out->cosine[j] = scores[(size_t)j * n_base + out->of[j]];
        if (out->cosine[j] < LIKE) {
            out->of[j] = WW_NONE;
            continue;
        }
        n_like++;
        moved |= out->of[j] != j;
    }
    if (!moved || 2 * (uint64_t)n_like < out->n) {
        ww_depths_release(out);
    }
}

static enum ww_err compare(const struct ww_model *suspect, const struct ww_model *base,
                           uint32_t n_base, const struct kinds *kinds,
                           struct ww_depths *out, struct ww_error *err)
{
    const size_t layer = kinds->n * kinds->look;
    float *a = ww_calloc(out->n * layer + 1, sizeof(*a));
    float *b = ww_calloc(n_base * layer + 1, sizeof(*b));
    double *scores = ww_calloc((size_t)out->n * n_base, sizeof(*scores));
    bool own = out->n == n_base;
    enum ww_err rc = a && b && scores ? WW_OK : WW_FAIL_MEMORY(err, "a map of layers");

    if (!rc) {
        rc = read_looks(suspect, out->stack, kinds, a, err);
    }
    if (!rc) {
        rc = read_looks(base, out->stack, kinds, b, err);
    }
    for (uint32_t j = 0; j < out->n && !rc && own; j++) {
        own = score(a + j * layer, b + j * layer, kinds) >= LIKE;
    }
    if (rc || own) {
        ww_depths_release(out);
        goto out;
    }
    for (uint32_t j = 0; j < out->n; j++) {
        for (uint32_t l = 0; l < n_base; l++) {
            scores[(size_t)j * n_base + l] = score(a + j * layer, b + l * layer, kinds);
        }
    }
    rc = ww_depths_path(scores, out->n, n_base, out->of, err);
    if (!rc) {
        settle(out, n_base, scores);
    }
out:
    ww_free(a);
    ww_free(b);
    ww_free(scores);
    return rc;
}

enum ww_err ww_depths_find(const struct ww_model *suspect, const struct ww_model *base,
                           struct ww_depths *out, struct ww_error *err)
{
    struct ww_depth_name name;
    struct kinds kinds = {0};
    uint32_t first = WW_NONE;
    uint32_t n_base = 0;
    enum ww_err rc = ww_depth_stack(suspect, &first, err);

    memset(out, 0, sizeof(*out));
    if (rc) {
        return rc;
    }
    if (first == WW_NONE || !ww_depth_split(suspect->tensors[first].name, &name)) {
        return WW_OK;
    }
    out->stack = ww_strndup(suspect->tensors[first].name, name.before);
    if (!out->stack) {
        return WW_FAIL_MEMORY(err, "a map of layers");
    }
    out->n = ww_depth_layers(suspect, out->stack);
    n_base = ww_depth_layers(base, out->stack);
    out->of = ww_calloc((size_t)out->n + 1, sizeof(*out->of));
    out->cosine = ww_calloc((size_t)out->n + 1, sizeof(*out->cosine));
    if (!out->of || !out->cosine) {
        rc = WW_FAIL_MEMORY(err, "a map of layers");
        goto out;
    }
    rc = find_kinds(base, out->stack, &kinds, err);
    if (!rc && n_base && kinds.n) {
        bound_work(out->n, n_base, &kinds);
        rc = compare(suspect, base, n_base, &kinds, out, err);
    } else {
        ww_depths_release(out);
    }
out:
    ww_free(kinds.rest);
    ww_free(kinds.shape);
    if (rc) {
        ww_depths_release(out);
    }
    return rc;
}

enum ww_err ww_depths_start(const struct ww_model *suspect, const struct ww_model *base,
                            struct ww_depths *out, struct ww_error *err)
{
    struct ww_depth_name name;
    uint32_t first = WW_NONE;
    uint32_t m = 0;
    enum ww_err rc = ww_depth_stack(base, &first, err);

    memset(out, 0, sizeof(*out));
    if (rc || first == WW_NONE || !ww_depth_split(base->tensors[first].name, &name)) {
        return rc;
    }
    out->stack = ww_strndup(base->tensors[first].name, name.before);
    out->n = out->stack ? ww_depth_layers(suspect, out->stack) : 0;
    out->of = ww_calloc(out->n + (size_t)1, sizeof(*out->of));
    out->cosine = ww_calloc(out->n + (size_t)1, sizeof(*out->cosine));
    if (!out->stack || !out->of || !out->cosine) {
        ww_depths_release(out);
        return WW_FAIL_MEMORY(err, "a map of layers");
    }
    m = ww_depth_layers(base, out->stack);
    for (uint32_t j = 0; j < out->n; j++) {
        out->of[j] = j < m ? j : m - 1;
    }
    return WW_OK;
}

void ww_depths_release(struct ww_depths *depths)
{
    ww_free(depths->of);
    ww_free(depths->cosine);
    ww_free(depths->stack);
    memset(depths, 0, sizeof(*depths));
}

enum ww_err ww_depths_index(const struct ww_depths *depths, const struct ww_model *model,
                            const char *name, uint32_t *out, struct ww_error *err)
{
    struct ww_depth_name split;
    char *there = NULL;

    *out = WW_NONE;
    if (depths->n == 0 ||
        !ww_depth_in_stack(name, depths->stack, strlen(depths->stack), &split) ||
        split.layer >= depths->n) {
        *out = ww_model_find(model, name);
        return WW_OK;
    }
    if (depths->of[split.layer] == WW_NONE) {
        return WW_OK;
    }
    there = ww_asprintf("%s%u%s", depths->stack, depths->of[split.layer], split.rest);
    if (!there) {
        return WW_FAIL_MEMORY(err, "a map of layers");
    }
    *out = ww_model_find(model, there);
    ww_free(there);
    return WW_OK;
}
