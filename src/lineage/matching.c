/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One reading: the suspect's bytes, the inputs of the plan, and what every predictor
 * makes of them. Only elements that the merge could move are counted: where all inputs
 * have one value, every recipe has the bits right.
 */
#include "lineage/matching.h"

#include <string.h>

#include "lineage/grid.h"
#include "lineage/per_tensor.h"
#include "model/convert.h"
#include "model/elements.h"
#include "util/alloc.h"
#include "util/fail.h"

#define BLOCK WW_ARITHMETIC_BLOCK
#define MOST_INPUTS 64

struct room {
    uint8_t *suspect; /* as stored, and so are the next three */
    uint8_t *predicted;
    uint8_t *engine; /* predicted by the recipe in the merge engine's arithmetic */
    uint8_t *bytes;
    float *inputs; /* [MOST_INPUTS][BLOCK]: sources, then the base */
    uint8_t *moved;
};

struct matching {
    const struct ww_match_job *job;
    struct ww_matches *out;
    struct room *rooms;
};

static const struct ww_merge_source *input(const struct ww_merge_tensor *t, uint32_t i)
{
    return i < t->n_sources ? &t->sources[i] : t->base;
}

static uint32_t n_inputs(const struct ww_merge_tensor *t)
{
    return t->n_sources + (t->base ? 1 : 0);
}

/* A table of another vocabulary is picked by rows: those are compared without a look at
 * what moved. */
static bool readable(const struct ww_merge_tensor *t)
{
    for (uint32_t i = 0; i < n_inputs(t); i++) {
        if (input(t, i)->rows) {
            return false;
        }
    }
    return n_inputs(t) <= MOST_INPUTS;
}

static enum ww_err read_inputs(const struct matching *m, struct room *r,
                               const struct ww_merge_tensor *t, uint64_t first, size_t n,
                               uint64_t *bytes, struct ww_error *err)
{
    const uint32_t n_in = n_inputs(t);
    enum ww_err rc = WW_OK;

    memset(r->moved, n_in > 1 ? 0 : 1, n);
    for (uint32_t i = 0; i < n_in && !rc; i++) {
        const struct ww_merge_source *s = input(t, i);
        const size_t size = ww_dtype_bits(s->dtype) / 8;
        const float *one = r->inputs;
        float *x = r->inputs + (size_t)i * BLOCK;
        rc = ww_merge_input_read(m->job->plan, s->input, r->bytes, n * size,
                                 s->offset + first * size, err);
        if (rc) {
            break;
        }
        *bytes += n * size;
        ww_to_float(s->dtype, r->bytes, x, n);
        for (size_t e = 0; e < n; e++) {
            r->moved[e] |= x[e] != one[e];
        }
    }
    return rc;
}

/* The dtypes of nearly all models, without a call for each element. */
static uint64_t count_same_16(const uint8_t *moved, const uint16_t *a, const uint16_t *b,
                              size_t n)
{
    uint64_t same = 0;

    for (size_t e = 0; e < n; e++) {
        same += (moved[e] != 0) & (a[e] == b[e]);
    }
    return same;
}

static uint64_t count_same(const struct room *r, const uint8_t *a, const uint8_t *b,
                           size_t size, size_t n)
{
    uint64_t same = 0;

    if (size == sizeof(uint16_t)) {
        return count_same_16(r->moved, (const uint16_t *)(const void *)a,
                             (const uint16_t *)(const void *)b, n);
    }
    for (size_t e = 0; e < n; e++) {
        same += r->moved[e] && memcmp(a + e * size, b + e * size, size) == 0;
    }
    return same;
}

static void try_arithmetics(struct room *r, const struct ww_merge_tensor *t,
                            const struct ww_weighing *w, size_t size, size_t n,
                            uint64_t moved, struct ww_match *to)
{
    float *x[MOST_INPUTS];

    for (uint32_t i = 0; i < n_inputs(t); i++) {
        x[i] = r->inputs + (size_t)i * BLOCK;
    }
    for (unsigned a = 1; a < WW_ARITHMETICS; a++) {
        if (ww_arithmetic_fits(a, w)) {
            ww_arithmetic_compute(a, w, x, t->base ? x[t->n_sources] : NULL, n,
                                  r->predicted);
            to->same[a] += count_same(r, r->suspect, r->predicted, size, n);
            to->agree[a] += count_same(r, r->engine, r->predicted, size, n);
            to->fits[a] += moved;
        }
    }
}

/* The suspect beside what the recipe draws. */
static void look_at_draw(const struct matching *m, const struct room *r, uint32_t tensor,
                         size_t n)
{
    const struct ww_merge_tensor *t = &m->job->plan->tensors[tensor];

    if (m->job->drawn && t->base && readable(t) &&
        ww_predictor_has(m->job->predictors[0], tensor)) {
        ww_drawn_add(&m->job->drawn[tensor], m->job->dtypes[tensor], r->suspect,
                     r->engine, r->inputs + (size_t)t->n_sources * BLOCK, r->inputs,
                     BLOCK, r->moved, n);
    }
}

/* A sort that is not stable decides which of equal elements are kept: where that changes
 * the bits, nothing can be told. */
static enum ww_err pass_ties(const struct matching *m, struct room *r, uint32_t tensor,
                             uint64_t first, size_t n, size_t size, struct ww_error *err)
{
    const struct ww_match_job *job = m->job;
    enum ww_err rc = WW_OK;

    if (!job->kept) {
        return WW_OK;
    }
    rc = ww_predictor_read(job->kept, tensor, first, n, r->engine, err);
    if (!rc) {
        rc = ww_predictor_read(job->dropped, tensor, first, n, r->predicted, err);
    }
    for (size_t e = 0; e < n && !rc; e++) {
        if (r->moved[e] &&
            memcmp(r->engine + e * size, r->predicted + e * size, size) != 0) {
            r->moved[e] = 0;
            m->out->tensors[tensor].undecided++;
        }
    }
    return rc;
}

static enum ww_err match_block(const struct matching *m, struct room *r, uint32_t tensor,
                               uint64_t first, size_t n, uint64_t *bytes,
                               struct ww_error *err)
{
    const struct ww_match_job *job = m->job;
    const struct ww_merge_tensor *t = &job->plan->tensors[tensor];
    const struct ww_tensor *of = &job->suspect->tensors[job->tensor[tensor]];
    const struct ww_weight_file *file = &job->suspect->files[of->file];
    const enum ww_dtype grid = job->dtypes[tensor];
    const size_t stored = ww_dtype_bits(of->dtype) / 8;
    const size_t size = ww_dtype_bits(grid) / 8;
    struct ww_match *to = &m->out->tensors[tensor];
    struct ww_weighing w;
    uint64_t moved = 0;
    enum ww_err rc =
        ww_weight_bytes(file, of->offset + first * stored, r->suspect, n * stored, err);

    *bytes += n * stored;
    memset(r->moved, 1, n);
    if (!rc && grid != of->dtype) {
        ww_grid_narrow(of->dtype, grid, r->suspect, r->suspect, n);
    }
    if (!rc && readable(t)) {
        rc = read_inputs(m, r, t, first, n, bytes, err);
    }
    if (!rc) {
        rc = pass_ties(m, r, tensor, first, n, size, err);
    }
    for (size_t e = 0; e < n; e++) {
        moved += r->moved[e];
    }
    to->moved += moved;
    for (unsigned p = 0; p < job->n_predictors && !rc; p++) {
        if (!ww_predictor_has(job->predictors[p], tensor)) {
            continue;
        }
        uint8_t *out = p ? r->predicted : r->engine;
        rc = ww_predictor_read(job->predictors[p], tensor, first, n, out, err);
        *(p ? &to->others[p - 1] : &to->same[0]) +=
            rc ? 0 : count_same(r, r->suspect, out, size, n);
    }
    to->fits[0] += moved;
    if (!rc) {
        look_at_draw(m, r, tensor, n);
    }
    if (!rc && job->peer && ww_predictor_has(job->peer, tensor)) {
        rc = ww_predictor_read(job->peer, tensor, first, n, r->predicted, err);
        to->same[WW_ARITHMETIC_PEER] +=
            rc ? 0 : count_same(r, r->suspect, r->predicted, size, n);
        to->agree[WW_ARITHMETIC_PEER] +=
            rc ? 0 : count_same(r, r->engine, r->predicted, size, n);
        to->fits[WW_ARITHMETIC_PEER] += moved;
    }
    if (!rc && job->arithmetics && readable(t) && ww_weighing_of(t, &w)) {
        w.dtype = grid;
        try_arithmetics(r, t, &w, size, n, moved, to);
    }
    return rc;
}

static enum ww_err match_tensor(void *payload, struct ww_per_tensor *crew,
                                unsigned thread, uint32_t tensor, struct ww_error *err)
{
    const struct matching *m = payload;
    const struct ww_match_job *job = m->job;
    const uint64_t n = job->suspect->tensors[job->tensor[tensor]].n_elements;
    enum ww_err rc = WW_OK;

    for (uint64_t first = 0; first < n && !rc; first += BLOCK) {
        const size_t len = n - first < BLOCK ? (size_t)(n - first) : BLOCK;
        uint64_t bytes = 0;
        rc = match_block(m, &m->rooms[thread], tensor, first, len, &bytes, err);
        if (!rc) {
            rc = ww_per_tensor_progress(crew, bytes, err);
        }
    }
    return rc;
}

static enum ww_err make_rooms(struct room *rooms, unsigned n, struct ww_error *err)
{
    for (unsigned i = 0; i < n; i++) {
        rooms[i].suspect = ww_alloc_aligned(64, BLOCK * sizeof(double));
        rooms[i].predicted = ww_alloc_aligned(64, BLOCK * sizeof(double));
        rooms[i].engine = ww_alloc_aligned(64, BLOCK * sizeof(double));
        rooms[i].bytes = ww_alloc_aligned(64, BLOCK * sizeof(double));
        rooms[i].inputs = ww_alloc_aligned(64, MOST_INPUTS * BLOCK * sizeof(float));
        rooms[i].moved = ww_alloc_aligned(64, BLOCK);
        if (!rooms[i].suspect || !rooms[i].predicted || !rooms[i].engine ||
            !rooms[i].bytes || !rooms[i].inputs || !rooms[i].moved) {
            return WW_FAIL_MEMORY(err, "a replay");
        }
    }
    return WW_OK;
}

static void free_rooms(struct room *rooms, unsigned n)
{
    for (unsigned i = 0; rooms && i < n; i++) {
        ww_free(rooms[i].suspect);
        ww_free(rooms[i].predicted);
        ww_free(rooms[i].engine);
        ww_free(rooms[i].bytes);
        ww_free(rooms[i].inputs);
        ww_free(rooms[i].moved);
    }
    ww_free(rooms);
}

static enum ww_err make_matches(const struct ww_match_job *job, struct ww_matches *out,
                                struct ww_error *err)
{
    out->n = job->plan->n_tensors;
    out->n_others = job->n_predictors - 1;
    out->tensors = ww_calloc(out->n + (size_t)1, sizeof(*out->tensors));
    out->memory = ww_calloc((size_t)out->n * out->n_others + 1, sizeof(uint64_t));
    if (!out->tensors || !out->memory) {
        return WW_FAIL_MEMORY(err, "a replay");
    }
    for (uint32_t t = 0; t < out->n; t++) {
        out->tensors[t].others = out->memory + (size_t)t * out->n_others;
    }
    return WW_OK;
}

enum ww_err ww_match_run(const struct ww_match_job *job, struct ww_matches *out,
                         uint64_t *bytes_read, struct ww_error *err)
{
    const unsigned n_threads = ww_per_tensor_threads(job->run);
    struct matching m = {job, out, ww_calloc(n_threads, sizeof(struct room))};
    uint64_t *sizes = ww_calloc(job->plan->n_tensors + (size_t)1, sizeof(*sizes));
    struct ww_per_tensor_job crew = {.phase = job->phase,
                                     .run = job->run,
                                     .sizes = sizes,
                                     .n = job->plan->n_tensors,
                                     .visit = match_tensor,
                                     .payload = &m};
    enum ww_err rc = WW_OK;

    memset(out, 0, sizeof(*out));
    if (!m.rooms || !sizes) {
        rc = WW_FAIL_MEMORY(err, "a replay");
        goto out;
    }
    for (uint32_t t = 0; t < job->plan->n_tensors; t++) {
        const struct ww_merge_tensor *of = &job->plan->tensors[t];
        if (job->tensor[t] != WW_NONE) {
            const struct ww_tensor *own = &job->suspect->tensors[job->tensor[t]];
            sizes[t] = own->n_elements;
            crew.total_bytes += own->n_bytes * (1 + (uint64_t)n_inputs(of));
        }
    }
    rc = make_rooms(m.rooms, n_threads, err);
    if (!rc) {
        rc = make_matches(job, out, err);
    }
    if (!rc) {
        rc = ww_per_tensor_run(&crew, bytes_read, err);
    }
out:
    free_rooms(m.rooms, n_threads);
    ww_free(sizes);
    return rc;
}

void ww_matches_release(struct ww_matches *matches)
{
    ww_free(matches->tensors);
    ww_free(matches->memory);
    memset(matches, 0, sizeof(*matches));
}

static bool same_shape(const struct ww_tensor *a, const struct ww_merge_tensor *b)
{
    return a->rank == b->rank &&
           memcmp(a->shape, b->shape, a->rank * sizeof(*a->shape)) == 0;
}

void ww_match_align(const struct ww_model *suspect, const enum ww_dtype *grids,
                    const struct ww_merge_plan *plan, uint32_t *tensor,
                    enum ww_dtype *dtypes, uint32_t *n)
{
    *n = 0;
    for (uint32_t t = 0; t < plan->n_tensors; t++) {
        const struct ww_merge_tensor *of = &plan->tensors[t];
        const uint32_t found = ww_model_find(suspect, of->name);
        const bool fits = found != WW_NONE &&
                          ww_dtype_is_plain_float(suspect->tensors[found].dtype) &&
                          ww_dtype_is_plain_float(of->dtype) &&
                          same_shape(&suspect->tensors[found], of);
        tensor[t] = fits ? found : WW_NONE;
        dtypes[t] = fits ? grids[found] : of->dtype;
        *n += fits;
    }
}
