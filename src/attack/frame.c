/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The frame of a residual stream. Tables that meet the stream on one axis and nothing
 * else on the others (token and position embeddings, patches, output heads) show each
 * index of the stream as a long column, and a lock only moves and negates these. Columns
 * of the locked model are paired with those of the anchor by cosine. Long tables are
 * sampled evenly: some thousand rows tell any width apart.
 */
#include <math.h>
#include <string.h>

#include "attack/frame_norms.h"
#include "attack/slab.h"
#include "model/convert.h"
#include "model/elements.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/num.h"

#define LEAST_SAMPLES 4096
#define LEAST_COSINE 0.5 /* of the columns of tables that are in one order */

/* A table: its axis over the stream, and how it is sampled. */
struct table {
    uint32_t tensor;
    unsigned axis;
    uint64_t outer;
    uint64_t inner;
    uint64_t n_samples;
    uint64_t step;
};

static bool is_table(const struct ww_pair *pair, uint32_t tensor, uint32_t space,
                     struct table *out)
{
    const struct ww_layout *layout = pair->locked;
    const struct ww_tensor *t = &layout->model->tensors[tensor];
    const struct ww_binding *binding = &layout->bindings[tensor];
    unsigned moving = 0;

    memset(out, 0, sizeof(*out));
    out->tensor = tensor;
    for (unsigned a = 0; a < t->rank; a++) {
        if (binding->axis[a].n_segments > 0) {
            moving++;
            out->axis = a;
        }
    }
    if (binding->ignored || moving != 1 || binding->axis[out->axis].n_segments != 1 ||
        !ww_dtype_is_plain_float(t->dtype)) {
        return false;
    }
    const struct ww_segment *s =
        &layout->segments[binding->axis[out->axis].first_segment];
    if (s->space != space || s->action == WW_ACT_PERMUTE ||
        s->count * s->width != t->shape[out->axis]) {
        return false;
    }
    out->outer = out->inner = 1;
    for (unsigned a = 0; a < t->rank; a++) {
        out->outer *= a < out->axis ? t->shape[a] : 1;
        out->inner *= a > out->axis ? t->shape[a] : 1;
    }
    if (out->axis > 0) { /* rows that both models have */
        out->outer = ww_pair_elements(pair, tensor) / (t->shape[out->axis] * out->inner);
    }
    const uint64_t total = out->outer * out->inner;
    const uint64_t most = ww_max_u64(LEAST_SAMPLES, t->shape[out->axis]);
    out->step = out->inner == 1 && total > most ? total / most : 1;
    out->n_samples = out->inner == 1 ? ww_min_u64(total, most) : total;
    return true;
}

/* Columns of a table side by side: feature k of index i is at rows[i * stride + k]. */
struct features {
    size_t n;
    size_t stride;
    size_t filled;
    float *rows;
};

static void scatter(struct features *f, const float *line, size_t n, size_t stride)
{
    for (size_t i = 0; i < n; i++) {
        f->rows[i * f->stride + f->filled] = line[i * stride];
    }
    f->filled++;
}

/* Values of one table at even size, whatever unit it is stored in. */
static void level(struct features *f, size_t first)
{
    double sum = 0;

    for (size_t i = 0; i < f->n; i++) {
        sum += ww_row_dot(f->rows + i * f->stride + first,
                          f->rows + i * f->stride + first, f->filled - first);
    }
    const double rms = sqrt(sum / (double)(f->n * (f->filled - first)));
    for (size_t i = 0; i < f->n && rms > 0; i++) {
        for (size_t k = first; k < f->filled; k++) {
            f->rows[i * f->stride + k] =
                (float)((double)f->rows[i * f->stride + k] / rms);
        }
    }
}

static enum ww_err add_table(const struct ww_layout *layout, uint32_t tensor,
                             const struct table *table, struct features *f,
                             struct ww_error *err)
{
    const struct ww_tensor *t = &layout->model->tensors[tensor];
    const struct ww_weight_file *file = &layout->model->files[t->file];
    const size_t elem = ww_dtype_bits(t->dtype) / 8;
    const size_t n = (size_t)t->shape[table->axis];
    const size_t block = n * (size_t)table->inner;
    const size_t first = f->filled;
    uint8_t *bytes = ww_alloc_aligned(64, block * elem + 64);
    float *line = ww_calloc(block, sizeof(*line));
    enum ww_err rc = WW_OK;

    if (!bytes || !line) {
        rc = WW_FAIL_MEMORY(err, "'%s'", t->name);
    }
    for (uint64_t s = 0; s < table->n_samples / table->inner && !rc; s++) {
        rc = ww_weight_bytes(file, t->offset + s * table->step * block * elem, bytes,
                             block * elem, err);
        if (!rc) {
            rc = ww_slab_finite(t, bytes, block, err);
        }
        if (rc) {
            break;
        }
        ww_to_float(t->dtype, bytes, line, block);
        for (uint64_t k = 0; k < table->inner; k++) {
            scatter(f, line + k, n, (size_t)table->inner);
        }
    }
    if (!rc && f->filled > first) {
        level(f, first);
    }
    ww_free(bytes);
    ww_free(line);
    return rc;
}

static size_t count_samples(const struct ww_pair *pair, uint32_t space)
{
    struct table table;
    uint64_t n = 0;

    for (uint32_t t = 0; t < pair->locked->model->n_tensors; t++) {
        if (is_table(pair, t, space, &table)) {
            n += table.n_samples;
        }
    }
    return (size_t)n;
}

static enum ww_err features_new(struct features *f, size_t n, size_t samples,
                                struct ww_error *err)
{
    *f = (struct features){.n = n, .stride = samples};
    f->rows = ww_calloc(n, samples * sizeof(*f->rows));
    return f->rows ? WW_OK : WW_FAIL_MEMORY(err, "a frame");
}

/* All tables of the stream, the same samples of both models. */
static enum ww_err collect(const struct ww_pair *pair, uint32_t space,
                           struct features *locked, struct features *anchor,
                           struct ww_error *err)
{
    const struct ww_layout *layout = pair->locked;
    struct table table;
    enum ww_err rc = WW_OK;

    for (uint32_t t = 0; t < layout->model->n_tensors && !rc; t++) {
        if (!is_table(pair, t, space, &table)) {
            continue;
        }
        rc = add_table(layout, t, &table, locked, err);
        if (!rc) {
            rc = add_table(pair->anchor, ww_pair_tensor(pair, t), &table, anchor, err);
        }
    }
    return rc;
}

static void settle_signs(enum ww_residual_group group, const struct ww_matching *m,
                         struct ww_element *out)
{
    double sum = 0;

    for (size_t i = 0; i < m->n; i++) {
        sum += (double)m->cosine[i];
    }
    for (size_t i = 0; i < m->n; i++) {
        out->perm[i] = m->match[i];
        out->neg[i] = group == WW_RESIDUAL_SIGNED      ? m->cosine[i] < 0
                      : group == WW_RESIDUAL_PERM_SIGN ? sum < 0
                                                       : 0;
    }
}

static void count_found(struct ww_pair *pair, const struct ww_element *element)
{
    for (uint32_t i = 0; i < element->n; i++) {
        pair->found.residual_moved += element->perm[i] != i;
        pair->found.residual_negated += element->neg[i];
    }
}

/* Tables whose words are in another order say nothing: norms may. */
static enum ww_err find_without_tables(const struct ww_pair *pair,
                                       const struct ww_residual *stream,
                                       struct ww_matching *matching, struct ww_error *err)
{
    struct ww_matching other = {0};
    enum ww_err rc = ww_frame_by_norms(pair, stream, &other, err);

    if (!rc && other.n > 0 && ww_matching_mean(&other) >= LEAST_COSINE) {
        ww_matching_release(matching);
        *matching = other;
    } else {
        ww_matching_release(&other);
    }
    return rc;
}

static enum ww_err find_frame(struct ww_pair *pair, const struct ww_residual *stream,
                              double *cosine, struct ww_error *err)
{
    const size_t n = (size_t)stream->width;
    const size_t samples = count_samples(pair, stream->space);
    struct features locked = {0};
    struct features anchor = {0};
    struct ww_matching matching = {0};
    struct ww_element *element = &pair->given.spaces[stream->space];
    enum ww_err rc = WW_OK;

    if (samples == 0) {
        return WW_FAIL(err, WW_E_UNSUPPORTED,
                       "no table of '%s' shows its indices, so nothing can be aligned",
                       pair->locked->spaces[stream->space].name);
    }
    rc = features_new(&locked, n, samples, err);
    if (rc) {
        goto out;
    }
    rc = features_new(&anchor, n, samples, err);
    if (rc) {
        goto out;
    }
    rc = collect(pair, stream->space, &locked, &anchor, err);
    if (rc) {
        goto out;
    }
    rc = ww_pair_rows(locked.rows, anchor.rows, n, samples,
                      stream->group != WW_RESIDUAL_PERM, &matching, err);
    if (!rc && ww_matching_mean(&matching) < LEAST_COSINE) {
        rc = find_without_tables(pair, stream, &matching, err);
    }
    if (rc) {
        goto out;
    }
    rc = ww_element_init(element, n, err);
    if (rc) {
        goto out;
    }
    settle_signs(stream->group, &matching, element);
    count_found(pair, element);
    *cosine = ww_matching_mean(&matching);
out:
    ww_free(locked.rows);
    ww_free(anchor.rows);
    ww_matching_release(&matching);
    return rc;
}

static bool moves(const struct ww_residual *stream)
{
    return stream->space != WW_NONE && stream->group != WW_RESIDUAL_FIXED;
}

enum ww_err ww_find_frames(struct ww_pair *pair, struct ww_error *err)
{
    const struct ww_layout *layout = pair->locked;
    double cosine = 1;
    enum ww_err rc = WW_OK;

    if (moves(&layout->residual)) {
        rc = find_frame(pair, &layout->residual, &cosine, err);
        pair->frame_cosine = fmin(pair->frame_cosine, cosine);
    }
    for (uint32_t s = 0; s < layout->n_stacks && !rc; s++) {
        if (layout->stacks[s].own_stream && moves(&layout->stacks[s].stream)) {
            rc = find_frame(pair, &layout->stacks[s].stream, &cosine, err);
            pair->frame_cosine = fmin(pair->frame_cosine, cosine);
        }
    }
    return rc;
}
