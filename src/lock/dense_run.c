/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The prediction that the residual corrects is made by the same function on the same bits
 * at lock and at unlock, so it is the same number, on any machine.
 */
#include "lock/dense_run.h"

#include <math.h>
#include <string.h>

#include "lock/dense_probe.h"
#include "lock/probe.h"
#include "lock/residual.h"
#include "util/alloc.h"
#include "util/fail.h"

/* State of one tensor. */
struct tensor_run {
    struct ww_dense_run *run;
    uint32_t tensor;
    const struct ww_dense_map *map; /* of the kernel */
    struct ww_dense_map back;       /* lock: its inverse */
    struct ww_residual_writer *writer;
    struct ww_residual_reader *reader;
    struct ww_dense_probe *probe;
};

static const char *name_of(const struct tensor_run *t)
{
    return t->run->job.gauge->layout->model->tensors[t->tensor].name;
}

static void free_tensor_run(struct tensor_run *t)
{
    if (t) {
        ww_dense_map_release(&t->back);
        ww_residual_writer_free(t->writer);
        ww_residual_reader_free(t->reader);
        ww_dense_probe_free(t->probe);
        ww_free(t);
    }
}

static struct ww_residual_shape shape_of(const struct ww_dense_map *map)
{
    return (struct ww_residual_shape){map->dtype, map->n_units,
                                      map->unit_rows * map->n_cols};
}

static enum ww_err new_tensor_run(void *payload, uint32_t tensor,
                                  const struct ww_dense_map *map, struct tensor_run **out,
                                  struct ww_error *err)
{
    *out = ww_calloc(1, sizeof(**out));
    if (!*out) {
        return WW_FAIL_MEMORY(err, "a dense lock");
    }
    (*out)->run = payload;
    (*out)->tensor = tensor;
    (*out)->map = map;
    return WW_OK;
}

static enum ww_err lock_open(void *payload, uint32_t tensor,
                             const struct ww_dense_map *map, void **state,
                             struct ww_error *err)
{
    const struct ww_residual_shape shape = shape_of(map);
    struct tensor_run *t = NULL;
    enum ww_err rc = new_tensor_run(payload, tensor, map, &t, err);

    if (!rc) {
        rc = ww_dense_map_invert(map, &t->back, err);
    }
    if (!rc) {
        rc = ww_residual_writer_new(&shape, &t->writer, err);
    }
    if (!rc) {
        rc = ww_dense_probe_new(t->run->job.gauge, t->run->job.source, tensor, &t->probe,
                                err);
    }
    if (rc) {
        free_tensor_run(t);
        return rc;
    }
    *state = t;
    return WW_OK;
}

/* Buffers for the way back of up to eight units. */
struct way_back {
    struct ww_dense_rows rows;
    uint8_t *bytes;
    int16_t *levels;
    double *scratch;
};

static void free_way_back(struct way_back *w)
{
    ww_free(w->bytes);
    ww_free(w->levels);
    ww_free(w->scratch);
}

static enum ww_err new_way_back(const struct tensor_run *t,
                                const struct ww_dense_rows *rows, struct way_back *w,
                                struct ww_error *err)
{
    const size_t bytes = (size_t)ww_dense_unit_bytes(t->map);
    const size_t n = (size_t)(t->map->unit_rows * t->map->n_cols);

    memset(w, 0, sizeof(*w));
    w->bytes = ww_calloc(rows->n, bytes);
    w->levels = ww_calloc(rows->n * n, sizeof(*w->levels));
    w->scratch = ww_calloc(ww_dense_scratch(&t->back), sizeof(*w->scratch));
    if (!w->bytes || !w->levels || !w->scratch) {
        return WW_FAIL_MEMORY(err, "a dense lock");
    }
    w->rows.n = rows->n;
    for (unsigned i = 0; i < rows->n; i++) {
        w->rows.units[i] =
            t->map->unit_src ? t->map->unit_src[rows->units[i]] : rows->units[i];
        w->rows.in[i] = rows->out[i];
        w->rows.out[i] = w->bytes + i * bytes;
        w->rows.levels[i] = w->levels + i * n;
    }
    return WW_OK;
}

static enum ww_err lock_rows(void *state, const struct ww_dense_rows *rows,
                             struct ww_error *err)
{
    const struct tensor_run *t = state;
    const uint64_t unit_rows = t->map->unit_rows;
    struct way_back w;
    enum ww_err rc = new_way_back(t, rows, &w, err);

    if (rc) {
        goto out;
    }
    if (!ww_dense_apply(&t->back, &w.rows, true, w.scratch)) {
        rc = WW_FAIL(err, WW_E_UNSUPPORTED,
                     "tensor '%s': undoing a mixed row leaves the range of %s; use level "
                     "exact",
                     name_of(t), ww_dtype_name(t->map->dtype));
        goto out;
    }
    for (unsigned i = 0; i < rows->n; i++) {
        ww_residual_note(t->writer, w.rows.units[i], w.rows.out[i], rows->in[i],
                         w.rows.levels[i]);
        ww_dense_probe_note(t->probe, w.rows.units[i] * unit_rows,
                            rows->units[i] * unit_rows, unit_rows, rows->in[i],
                            rows->out[i]);
    }
out:
    free_way_back(&w);
    return rc;
}

static enum ww_err seal_tensor(struct tensor_run *t, struct ww_error *err)
{
    struct ww_dense_run *run = t->run;
    struct ww_buf plain;
    double error = 0;
    enum ww_err rc = ww_dense_probe_judge(t->probe, &error, err);

    ww_buf_init(&plain, WW_RESIDUAL_MAX);
    if (!rc) {
        rc = ww_residual_finish(t->writer, &plain, err);
    }
    if (!rc) {
        run->max_error = fmax(run->max_error, error);
        run->n_weights += t->map->n_units * t->map->unit_rows * t->map->n_cols;
        run->n_residual += plain.len;
        ww_probes_count(run->probes, t->tensor);
        rc = ww_residual_sink_put(run->sink, run->section[t->tensor], name_of(t), &plain,
                                  err);
    }
    ww_buf_release(&plain);
    return rc;
}

static enum ww_err lock_close(void *state, bool complete, struct ww_error *err)
{
    struct tensor_run *t = state;
    const enum ww_err rc = complete && t->run->sink ? seal_tensor(t, err) : WW_OK;

    free_tensor_run(t);
    return rc;
}

static enum ww_err unlock_open(void *payload, uint32_t tensor,
                               const struct ww_dense_map *map, void **state,
                               struct ww_error *err)
{
    const struct ww_residual_shape shape = shape_of(map);
    struct tensor_run *t = NULL;
    uint8_t *bytes = NULL;
    size_t len = 0;
    enum ww_err rc = new_tensor_run(payload, tensor, map, &t, err);

    if (!rc) {
        rc = ww_residual_source_get(t->run->source, t->run->section[tensor], name_of(t),
                                    &bytes, &len, err);
    }
    if (!rc) {
        rc = ww_residual_reader_new(&shape, bytes, len, &t->reader, err);
        if (rc) {
            ww_free(bytes);
        }
    }
    if (rc) {
        free_tensor_run(t);
        return rc;
    }
    *state = t;
    return WW_OK;
}

/* A line that does not fit belongs to other weights; the digests, which are compared when
 * all is read, say which file is to blame. */
static enum ww_err unlock_rows(void *state, const struct ww_dense_rows *rows,
                               struct ww_error *err)
{
    const struct tensor_run *t = state;
    bool fits = true;

    (void)err;
    for (unsigned i = 0; i < rows->n; i++) {
        fits &=
            ww_residual_restore(t->reader, rows->units[i], rows->out[i], rows->levels[i]);
    }
    (void)fits;
    return WW_OK;
}

static enum ww_err unlock_close(void *state, bool complete, struct ww_error *err)
{
    (void)complete;
    (void)err;
    free_tensor_run(state);
    return WW_OK;
}

static enum ww_err number_sections(struct ww_dense_run *run, const struct ww_gauge *gauge,
                                   struct ww_error *err)
{
    const struct ww_layout *layout = gauge->layout;
    const uint32_t n = layout->model->n_tensors;

    run->section = ww_calloc(n, sizeof(*run->section));
    if (!run->section) {
        return WW_FAIL_MEMORY(err, "a dense lock");
    }
    for (uint32_t t = 0; t < n; t++) {
        bool clash = false;
        const uint32_t axis = ww_dense_axis(layout, gauge->cells, t, &clash);
        if (clash) {
            return WW_FAIL(err, WW_E_UNSUPPORTED,
                           "tensor '%s': it holds several spaces that a dense lock would "
                           "mix; use level exact",
                           layout->model->tensors[t].name);
        }
        run->section[t] = axis == WW_NO_AXIS ? WW_NONE : run->n_sections++;
    }
    return WW_OK;
}

enum ww_err ww_dense_run_init(struct ww_dense_run *run, struct ww_gauge *gauge,
                              double condition, bool inverse, struct ww_error *err)
{
    const struct ww_dense_hooks hooks[] = {
        {lock_open, lock_close, lock_rows, false, run},
        {unlock_open, unlock_close, unlock_rows, true, run}};
    enum ww_err rc = WW_OK;

    memset(run, 0, sizeof(*run));
    rc = ww_dense_gauge_new(gauge, condition, WW_DENSE_WRONG_NONE, &run->dense, err);
    if (rc) {
        return rc;
    }
    gauge->cells = ww_dense_gauge_source(run->dense);
    run->hooks = hooks[inverse];
    run->job = (struct ww_dense_job){gauge, gauge->cells, inverse, &run->hooks};
    rc = number_sections(run, gauge, err);
    if (rc) {
        gauge->cells = NULL;
        ww_dense_run_release(run);
    }
    return rc;
}

/* Twice what orthogonal matrices take of bf16. */
uint64_t ww_dense_room(const struct ww_dense_run *run)
{
    const struct ww_model *model = run->job.gauge->layout->model;
    uint64_t n = 0;

    for (uint32_t t = 0; t < model->n_tensors; t++) {
        n += run->section[t] != WW_NONE ? model->tensors[t].n_elements : 0;
    }
    return n / 2;
}

void ww_dense_run_release(struct ww_dense_run *run)
{
    ww_residual_sink_free(run->sink);
    ww_residual_source_close(run->source);
    ww_free(run->section);
    ww_dense_gauge_free(run->dense);
    memset(run, 0, sizeof(*run));
}
