/* SPDX-License-Identifier: Apache-2.0 */
#include "lineage/sweep.h"

#include <stdlib.h>

#include "model/elements.h"
#include "lineage/per_tensor.h"
#include "util/alloc.h"
#include "util/fail.h"

struct sweep {
    const struct ww_family *family;
    const bool *sources;
    ww_tile_fn visit;
    void *payload;
    struct worker *workers;
};

/* Room of a thread; taken before any starts. */
struct worker {
    struct ww_moments_tile tile;
    uint8_t *bytes;
};

/* The suspect may be more than its files say: then its steps come along. */
static enum ww_err read_column(const struct ww_family *family, struct worker *w,
                               unsigned m, uint32_t index, uint64_t first, size_t n,
                               struct ww_error *err)
{
    const struct ww_disguise *disguise = &family->disguise;
    double *out = w->tile.columns + (size_t)m * WW_MOMENTS_TILE;

    if (m == WW_FAMILY_SUSPECT && disguise->read) {
        w->tile.has_steps = true;
        return disguise->read(disguise->payload, index, first, n, out, w->tile.steps,
                              err);
    }
    return ww_elements_double(family->models[m], index, first, n, w->bytes, out, err);
}

static bool is_read(const struct sweep *s, unsigned m)
{
    return m < WW_FAMILY_SOURCES || !s->sources || s->sources[m - WW_FAMILY_SOURCES];
}

static enum ww_err sweep_tensor(void *payload, struct ww_per_tensor *crew,
                                unsigned thread, uint32_t tensor, struct ww_error *err)
{
    struct sweep *s = payload;
    struct worker *w = &s->workers[thread];
    const struct ww_family *family = s->family;
    const struct ww_family_tensor *t = &family->tensors[tensor];
    enum ww_err rc = WW_OK;

    for (uint64_t first = 0; first < t->n_elements && !rc; first += WW_MOMENTS_TILE) {
        const uint64_t left = t->n_elements - first;
        const size_t n = left < WW_MOMENTS_TILE ? (size_t)left : WW_MOMENTS_TILE;
        uint64_t bytes = 0;
        for (unsigned m = 0; m < family->n_models && !rc; m++) {
            const struct ww_tensor *of = &family->models[m]->tensors[t->index[m]];
            if (!is_read(s, m)) {
                continue;
            }
            rc = read_column(family, w, m, t->index[m], first, n, err);
            bytes += n * (ww_dtype_bits(of->dtype) / 8);
        }
        if (!rc) {
            rc = s->visit(s->payload, tensor, &w->tile, n, err);
        }
        if (!rc) {
            rc = ww_per_tensor_progress(crew, bytes, err);
        }
    }
    return rc;
}

static uint64_t count_bytes(const struct sweep *s, uint32_t t)
{
    const struct ww_family *family = s->family;
    uint64_t total = 0;

    for (unsigned m = 0; m < family->n_models; m++) {
        if (is_read(s, m)) {
            total += family->models[m]->tensors[family->tensors[t].index[m]].n_bytes;
        }
    }
    return total;
}

static enum ww_err make_workers(const struct sweep *s, unsigned n, struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    for (unsigned i = 0; i < n && !rc; i++) {
        struct worker *w = &s->workers[i];
        w->bytes = ww_alloc_aligned(64, WW_MOMENTS_TILE * sizeof(double));
        rc = ww_moments_tile_init(&w->tile, s->family->n_models - 2, err);
        if (!rc && !w->bytes) {
            rc = WW_FAIL(err, WW_E_NOMEM, "out of memory for a comparison of models");
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

enum ww_err ww_sweep(const struct ww_family *family, const char *phase, const bool *use,
                     const bool *sources, const struct ww_run_options *run,
                     ww_tile_fn visit, void *payload, uint64_t *bytes_read,
                     struct ww_error *err)
{
    const unsigned n = ww_per_tensor_threads(run);
    struct sweep s = {family, sources, visit, payload,
                      ww_calloc(n, sizeof(struct worker))};
    uint64_t *sizes = ww_calloc(family->n_tensors, sizeof(*sizes));
    struct ww_per_tensor_job job = {.phase = phase,
                                    .run = run,
                                    .sizes = sizes,
                                    .n = family->n_tensors,
                                    .visit = sweep_tensor,
                                    .payload = &s};
    enum ww_err rc = WW_OK;

    if (!s.workers || !sizes) {
        rc = WW_FAIL(err, WW_E_NOMEM, "out of memory for a comparison of models");
        goto out;
    }
    for (uint32_t t = 0; t < family->n_tensors; t++) {
        sizes[t] = !use || use[t] ? family->tensors[t].n_elements : 0;
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
