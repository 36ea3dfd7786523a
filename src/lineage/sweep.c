/* SPDX-License-Identifier: Apache-2.0 */
#include "lineage/sweep.h"

#include <stdlib.h>

#include "model/elements.h"
#include "lineage/per_tensor.h"
#include "util/alloc.h"
#include "util/fail.h"

/* Files are read in pieces of READ elements and visited in steps of STEP, so that the
 * bytes and the columns of a step stay in a core's own cache. */
#define STEP ((size_t)4096)
#define READ (4 * STEP)

struct sweep {
    const struct ww_family *family;
    const struct ww_sweep_ask *ask;
    ww_tile_fn visit;
    void *payload;
    struct worker *workers;
};

/* Room of a thread; taken before any starts. */
struct worker {
    struct ww_moments_tile tile;
    uint8_t *bytes;
};

static bool is_read(const struct sweep *s, unsigned m)
{
    return m < WW_FAMILY_SOURCES || !s->ask->sources ||
           s->ask->sources[m - WW_FAMILY_SOURCES];
}

/* The suspect may be more than its files say: then it is not read here. */
static bool by_disguise(const struct sweep *s, unsigned m)
{
    return m == WW_FAMILY_SUSPECT && s->family->disguise.read;
}

static enum ww_err read_piece(const struct sweep *s, struct worker *w, uint32_t tensor,
                              uint64_t first, size_t n, uint64_t *bytes,
                              struct ww_error *err)
{
    const struct ww_family_tensor *t = &s->family->tensors[tensor];
    enum ww_err rc = WW_OK;

    for (unsigned m = 0; m < s->family->n_models && !rc; m++) {
        const struct ww_model *model = s->family->models[m];
        const size_t size = ww_dtype_bits(model->tensors[t->index[m]].dtype) / 8;
        if (!is_read(s, m)) {
            continue;
        }
        *bytes += n * size;
        if (!by_disguise(s, m)) {
            rc = ww_elements_bytes(model, t->index[m], first, n,
                                   w->bytes + m * READ * sizeof(double), err);
        }
    }
    return rc;
}

/* Can a tensor be looked at as its files have it? */
static bool is_stored(const struct sweep *s, uint32_t tensor)
{
    const struct ww_family *family = s->family;
    bool all = s->ask->stored && !family->disguise.read;

    for (unsigned m = 0; m < family->n_models && all; m++) {
        const uint32_t index = family->tensors[tensor].index[m];
        all = family->models[m]->tensors[index].dtype == WW_DTYPE_BF16 && is_read(s, m);
    }
    return all;
}

static enum ww_err take_stored(const struct sweep *s, struct worker *w, uint32_t tensor,
                               size_t at, size_t n, struct ww_error *err)
{
    const struct ww_family_tensor *t = &s->family->tensors[tensor];
    enum ww_err rc = WW_OK;

    for (unsigned m = 0; m < s->family->n_models && !rc; m++) {
        w->tile.stored[m] = w->bytes + m * READ * sizeof(double) + 2 * at;
        rc = ww_elements_finite(s->family->models[m], t->index[m], w->tile.stored[m], n,
                                err);
    }
    return rc;
}

static enum ww_err widen_cells(const struct sweep *s, struct worker *w, uint32_t index,
                               uint64_t first, size_t n, struct ww_error *err)
{
    const struct ww_disguise *disguise = &s->family->disguise;

    w->tile.has_cells = s->ask->cells && disguise->cells;
    return w->tile.has_cells ? ww_disguise_cells(disguise, index, first, n, w->tile.low,
                                                 w->tile.high, err)
                             : WW_OK;
}

/* A disguise's steps come along with its values. */
static enum ww_err widen_step(const struct sweep *s, struct worker *w, uint32_t tensor,
                              uint64_t first, size_t at, size_t n, struct ww_error *err)
{
    const struct ww_family *family = s->family;
    const struct ww_family_tensor *t = &family->tensors[tensor];
    enum ww_err rc = WW_OK;

    for (unsigned m = 0; m < family->n_models && !rc; m++) {
        const struct ww_model *model = family->models[m];
        const size_t size = ww_dtype_bits(model->tensors[t->index[m]].dtype) / 8;
        double *out = w->tile.columns + (size_t)m * WW_MOMENTS_TILE;
        if (by_disguise(s, m)) {
            w->tile.has_steps = true;
            rc = ww_disguise_values(&family->disguise, t->index[m], first + at, n, out,
                                    w->tile.steps, err);
            rc = rc ? rc : widen_cells(s, w, t->index[m], first + at, n, err);
        } else if (is_read(s, m)) {
            rc = ww_elements_widen(model, t->index[m],
                                   w->bytes + m * READ * sizeof(double) + at * size, n,
                                   out, err);
        }
    }
    return rc;
}

/* From one piece that is read to the next one. */
static uint64_t stride(const struct sweep *s, uint32_t tensor)
{
    return s->ask->in_part && s->family->tensors[tensor].n_elements >= WW_SWEEP_LARGE
               ? WW_SWEEP_PART * READ
               : READ;
}

static enum ww_err sweep_tensor(void *payload, struct ww_per_tensor *crew,
                                unsigned thread, uint32_t tensor, struct ww_error *err)
{
    struct sweep *s = payload;
    struct worker *w = &s->workers[thread];
    const uint64_t all = s->family->tensors[tensor].n_elements;
    const uint64_t next = stride(s, tensor);
    enum ww_err rc = WW_OK;

    w->tile.is_stored = is_stored(s, tensor);
    for (uint64_t first = 0; first < all && !rc; first += next) {
        const size_t n = all - first < READ ? (size_t)(all - first) : READ;
        uint64_t bytes = 0;
        rc = read_piece(s, w, tensor, first, n, &bytes, err);
        for (size_t at = 0; at < n && !rc; at += STEP) {
            const size_t len = n - at < STEP ? n - at : STEP;
            rc = w->tile.is_stored ? take_stored(s, w, tensor, at, len, err)
                                   : widen_step(s, w, tensor, first, at, len, err);
            if (!rc) {
                rc = s->visit(s->payload, tensor, &w->tile, len, err);
            }
        }
        if (!rc) {
            rc = ww_per_tensor_progress(crew, bytes, err);
        }
    }
    if (!rc && s->ask->through) {
        s->ask->through(s->payload, tensor);
    }
    return rc;
}

static uint64_t count_bytes(const struct sweep *s, uint32_t t)
{
    const struct ww_family *family = s->family;
    uint64_t total = 0;

    for (unsigned m = 0; m < family->n_models; m++) {
        if (is_read(s, m)) {
            total += family->models[m]->tensors[family->tensors[t].index[m]].n_bytes *
                     READ / stride(s, t);
        }
    }
    return total;
}

static enum ww_err make_workers(const struct sweep *s, unsigned n, struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    for (unsigned i = 0; i < n && !rc; i++) {
        struct worker *w = &s->workers[i];
        w->bytes = ww_alloc_aligned(64, s->family->n_models * READ * sizeof(double));
        rc = ww_moments_tile_init(&w->tile, s->family->n_models - 2, err);
        w->tile.decides = s->ask->decides;
        if (!rc && !w->bytes) {
            rc = WW_FAIL_MEMORY(err, "a comparison of models");
        }
    }
    return rc;
}

static void free_workers(const struct sweep *s, unsigned n)
{
    for (unsigned i = 0; s->workers && i < n; i++) {
        ww_moments_tile_release(&s->workers[i].tile);
        ww_free(s->workers[i].bytes);
    }
    ww_free(s->workers);
}

enum ww_err ww_sweep(const struct ww_family *family, const struct ww_sweep_ask *ask,
                     const struct ww_run_options *run, ww_tile_fn visit, void *payload,
                     uint64_t *bytes_read, struct ww_error *err)
{
    const unsigned n = ww_per_tensor_threads(run);
    struct sweep s = {family, ask, visit, payload, ww_calloc(n, sizeof(struct worker))};
    uint64_t *sizes = ww_calloc(family->n_tensors, sizeof(*sizes));
    struct ww_per_tensor_job job = {.phase = ask->phase,
                                    .run = run,
                                    .sizes = sizes,
                                    .n = family->n_tensors,
                                    .visit = sweep_tensor,
                                    .payload = &s};
    enum ww_err rc = WW_OK;

    if (!s.workers || !sizes) {
        rc = WW_FAIL_MEMORY(err, "a comparison of models");
        goto out;
    }
    for (uint32_t t = 0; t < family->n_tensors; t++) {
        sizes[t] = !ask->use || ask->use[t] ? family->tensors[t].n_elements : 0;
        job.total_bytes += sizes[t] ? count_bytes(&s, t) : 0;
    }
    rc = make_workers(&s, n, err);
    if (!rc) {
        rc = ww_per_tensor_run(&job, bytes_read, err);
    }
out:
    free_workers(&s, n);
    ww_free(sizes);
    return rc;
}
