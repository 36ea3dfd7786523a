/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The layout says through segments where each index of a space lies, so an attack needs
 * one reader for all architectures. A slab takes the memory of one matrix; of a tensor
 * with rows in order only the wanted range is read, of a stack of experts one slice.
 */
#include "attack/slab.h"

#include <math.h>
#include <string.h>

#include "attack/pair.h"
#include "model/convert.h"
#include "model/elements.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"
#include "util/reader.h"

#define LANES 8

double ww_row_dot(const float *a, const float *b, size_t n)
{
    double sums[LANES] = {0};
    double total = 0;
    size_t i = 0;

    for (; i + LANES <= n; i += LANES) {
        for (size_t k = 0; k < LANES; k++) {
            sums[k] += (double)a[i + k] * (double)b[i + k];
        }
    }
    for (; i < n; i++) {
        sums[0] += (double)a[i] * (double)b[i];
    }
    for (size_t k = 0; k < LANES; k++) {
        total += sums[k];
    }
    return total;
}

/* Where the rows lie: the tensor seen as [slices][outer][inner] of two axes. */
struct place {
    const struct ww_tensor *tensor;
    unsigned row_axis;
    unsigned col_axis;
    uint64_t row_step; /* in elements */
    uint64_t col_step;
    uint64_t base; /* first element of the expert's slice */
    uint64_t n_rows;
    uint64_t n_cols;
};

static uint64_t step_of(const struct ww_tensor *t, unsigned axis)
{
    uint64_t step = 1;
    for (unsigned a = axis + 1; a < t->rank; a++) {
        step *= t->shape[a];
    }
    return step;
}

static enum ww_err find_place(const struct ww_slab_of *of, struct place *out,
                              struct ww_error *err)
{
    const struct ww_linear *l = of->linear;
    const struct ww_tensor *t = &of->layout->model->tensors[l->weight];
    const unsigned row = of->inputs ? l->in_axis : l->out_axis;
    const unsigned col = of->inputs ? l->out_axis : l->in_axis;
    uint64_t others = 1;

    for (unsigned a = 0; a < t->rank; a++) {
        others *= a == row || a == col || a == l->expert_axis ? 1 : t->shape[a];
    }
    if (row >= t->rank || col >= t->rank || row == col || others != 1 ||
        !ww_dtype_is_plain_float(t->dtype)) {
        return WW_FAIL(err, WW_E_UNSUPPORTED, "tensor '%s' is no matrix to compare",
                       t->name);
    }
    *out = (struct place){.tensor = t,
                          .row_axis = row,
                          .col_axis = col,
                          .row_step = step_of(t, row),
                          .col_step = step_of(t, col),
                          .n_rows = t->shape[row],
                          .n_cols = t->shape[col]};
    if (l->expert_axis < t->rank) {
        out->base = l->expert * step_of(t, l->expert_axis);
    }
    return WW_OK;
}

static bool wanted(const struct ww_slab_of *of, uint32_t segment)
{
    const struct ww_layout *layout = of->layout;
    const uint32_t only = of->inputs ? of->linear->in_segment : of->linear->out_segment;
    const uint32_t space = layout->segments[segment].space;

    if (only != WW_NONE) {
        return segment == only;
    }
    return space == of->space || (layout->spaces[space].kind == WW_SPACE_NEURON &&
                                  layout->spaces[of->space].kind == WW_SPACE_NEURON);
}

/* Tensor row of every index of the space; UINT64_MAX where there is none. */
static bool locate_rows(const struct ww_slab_of *of, const struct place *place,
                        uint64_t *at, size_t n)
{
    const struct ww_axis *axis =
        &of->layout->bindings[of->linear->weight].axis[place->row_axis];
    bool any = false;

    for (size_t s = 0; s < n; s++) {
        at[s] = UINT64_MAX;
    }
    for (uint32_t i = axis->first_segment; i < axis->first_segment + axis->n_segments;
         i++) {
        const struct ww_segment *segment = &of->layout->segments[i];
        if (!wanted(of, i)) {
            continue;
        }
        for (uint64_t s = 0; s < segment->count * segment->width; s++) {
            const uint64_t index = segment->space_start + s;
            const uint64_t row = ww_segment_at(segment, index);
            if (index < n && row < place->n_rows) {
                at[index] = row;
                any = true;
            }
        }
    }
    return any;
}

struct range {
    uint64_t first; /* elements */
    uint64_t n;
};

/* The stored elements that hold all wanted rows. */
static struct range range_of(const struct place *place, const uint64_t *at, size_t n)
{
    uint64_t first = UINT64_MAX;
    uint64_t last = 0;

    if (place->row_step < place->col_step) {
        return (struct range){place->base, place->n_rows * place->n_cols};
    }
    for (size_t s = 0; s < n; s++) {
        if (at[s] != UINT64_MAX) {
            first = at[s] < first ? at[s] : first;
            last = at[s] > last ? at[s] : last;
        }
    }
    return (struct range){place->base + first * place->row_step,
                          (last - first + 1) * place->row_step};
}

static void widen_rows(const struct place *place, const uint64_t *at, struct ww_slab *out,
                       const uint8_t *bytes, uint64_t first)
{
    const size_t elem = ww_dtype_bits(place->tensor->dtype) / 8;

    for (size_t s = 0; s < out->n; s++) {
        if (at[s] != UINT64_MAX) {
            const uint64_t from = place->base + at[s] * place->row_step - first;
            ww_to_float(place->tensor->dtype, bytes + from * elem,
                        out->rows + s * out->width, out->width);
        }
    }
}

/* Stored the other way round: one stored row holds a column of the slab. */
static enum ww_err widen_columns(const struct place *place, const uint64_t *at,
                                 struct ww_slab *out, const uint8_t *bytes,
                                 struct ww_error *err)
{
    const size_t elem = ww_dtype_bits(place->tensor->dtype) / 8;
    float *line = ww_calloc((size_t)place->n_rows, sizeof(*line));

    if (!line) {
        return WW_FAIL_MEMORY(err, "'%s'", place->tensor->name);
    }
    for (size_t c = 0; c < out->width; c++) {
        ww_to_float(place->tensor->dtype, bytes + c * place->col_step * elem, line,
                    (size_t)place->n_rows);
        for (size_t s = 0; s < out->n; s++) {
            if (at[s] != UINT64_MAX) {
                out->rows[s * out->width + c] = line[at[s]];
            }
        }
    }
    ww_free(line);
    return WW_OK;
}

enum ww_err ww_slab_finite(const struct ww_tensor *tensor, const void *bytes, size_t n,
                           struct ww_error *err)
{
    if (ww_count_nonfinite(tensor->dtype, bytes, n) > 0) {
        return WW_FAIL(err, WW_E_NONFINITE,
                       "tensor '%s' holds NaN or infinity, so that it cannot be compared",
                       tensor->name);
    }
    return WW_OK;
}

static enum ww_err read_rows(const struct ww_slab_of *of, const struct place *place,
                             const uint64_t *at, struct ww_slab *out,
                             struct ww_error *err)
{
    const struct ww_model *model = of->layout->model;
    const struct ww_weight_file *file = &model->files[place->tensor->file];
    const size_t elem = ww_dtype_bits(place->tensor->dtype) / 8;
    const struct range range = range_of(place, at, out->n);
    uint8_t *bytes = ww_alloc_aligned(64, (size_t)range.n * elem + 64);
    enum ww_err rc = WW_OK;

    if (!bytes) {
        return WW_FAIL_MEMORY(err, "'%s'", place->tensor->name);
    }
    rc = ww_weight_bytes(file, place->tensor->offset + range.first * elem, bytes,
                         (size_t)range.n * elem, err);
    if (!rc) {
        rc = ww_slab_finite(place->tensor, bytes, (size_t)range.n, err);
    }
    if (!rc && place->row_step < place->col_step) {
        rc = widen_columns(place, at, out, bytes, err);
    } else if (!rc) {
        widen_rows(place, at, out, bytes, range.first);
    }
    ww_free(bytes);
    return rc;
}

/* Columns as they were before the lock: the map says where each one came from. */
static enum ww_err undo_columns(const struct ww_element *map, struct ww_slab *slab,
                                struct ww_error *err)
{
    float *row = NULL;

    if (!map->perm) {
        return WW_OK;
    }
    row = ww_calloc(slab->width, sizeof(*row));
    if (!row) {
        return WW_FAIL_MEMORY(err, "a row");
    }
    for (size_t r = 0; r < slab->n; r++) {
        float *to = slab->rows + r * slab->width;
        memcpy(row, to, slab->width * sizeof(*row));
        for (size_t c = 0; c < slab->width; c++) {
            const float x = map->exp[c] ? ldexpf(row[c], -map->exp[c]) : row[c];
            to[map->perm[c]] = map->neg[c] ? -x : x;
        }
    }
    ww_free(row);
    return WW_OK;
}

enum ww_err ww_slab_load(const struct ww_slab_of *of, struct ww_slab *out,
                         struct ww_error *err)
{
    struct ww_element map = {0};
    struct place place = {0};
    uint64_t *at = NULL;
    enum ww_err rc = WW_OK;

    memset(out, 0, sizeof(*out));
    if (of->linear->weight == WW_NONE || of->space == WW_NONE) {
        return WW_OK;
    }
    rc = find_place(of, &place, err);
    if (rc) {
        return rc;
    }
    out->n = (size_t)of->layout->spaces[of->space].size;
    out->width = (size_t)place.n_cols;
    at = ww_calloc(out->n, sizeof(*at));
    if (!at) {
        return WW_FAIL_MEMORY(err, "'%s'", place.tensor->name);
    }
    if (!locate_rows(of, &place, at, out->n)) {
        goto out;
    }
    out->rows = ww_calloc(out->n, out->width * sizeof(*out->rows));
    if (!out->rows) {
        rc = WW_FAIL_MEMORY(err, "'%s'", place.tensor->name);
        goto out;
    }
    rc = read_rows(of, &place, at, out, err);
    if (!rc && of->undo) {
        rc = ww_axis_map(of->undo, of->linear->weight, place.col_axis, of->linear->expert,
                         &map, err);
    }
    if (!rc && of->undo) {
        rc = undo_columns(&map, out, err);
    }
out:
    ww_element_release(&map);
    ww_free(at);
    if (rc) {
        ww_slab_release(out);
    }
    return rc;
}

void ww_slab_release(struct ww_slab *slab)
{
    ww_free(slab->rows);
    memset(slab, 0, sizeof(*slab));
}

enum ww_err ww_slabs_load(const struct ww_pair *pair, const struct ww_slabs_of *of,
                          struct ww_slabs *out, struct ww_error *err)
{
    const struct ww_slab_of locked = {pair->locked, &pair->gauge, of->locked, of->inputs,
                                      of->locked_space};
    const struct ww_slab_of anchor = {pair->anchor, NULL, of->anchor, of->inputs,
                                      of->anchor_space};
    enum ww_err rc = WW_OK;

    memset(out, 0, sizeof(*out));
    rc = ww_slab_load(&locked, &out->locked, err);
    if (!rc) {
        rc = ww_slab_load(&anchor, &out->anchor, err);
    }
    if (!rc &&
        (!out->locked.rows != !out->anchor.rows || out->locked.n != out->anchor.n ||
         out->locked.width != out->anchor.width)) {
        rc = WW_FAIL(err, WW_E_UNRELATED,
                     "tensor '%s' has other rows than its counterpart in the anchor",
                     pair->locked->model->tensors[of->locked->weight].name);
    }
    if (rc) {
        ww_slabs_release(out);
    }
    return rc;
}

void ww_slabs_release(struct ww_slabs *slabs)
{
    ww_slab_release(&slabs->locked);
    ww_slab_release(&slabs->anchor);
}
