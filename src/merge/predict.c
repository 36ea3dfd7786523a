/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The merge engine's own plan, made readable: kernels run when bytes are asked for. A
 * prediction is therefore what a merge would write, whatever the method is.
 */
#include "merge/predict.h"

#include <string.h>

#include "merge/engine.h"
#include "stream/cpus.h"
#include "stream/made.h"
#include "util/alloc.h"
#include "util/fail.h"

#define DEFAULT_MEMORY ((uint64_t)64 << 20)

struct ww_predictor {
    struct ww_merge_plan plan; /* with tensors of our own */
    struct ww_pool pool;
    struct ww_merge_engine engine;
    struct ww_made *made;
    bool *has;
    uint32_t *file;   /* per tensor: the output that holds it, */
    uint64_t *offset; /* and where */
};

/* The one input that is left, as it is. */
static enum ww_err pass_through(struct ww_predictor *p, struct ww_merge_tensor *t,
                                struct ww_error *err)
{
    double *ones = ww_pool_calloc(&p->pool, WW_METHOD_MAX_PARAMS, sizeof(*ones));
    struct ww_merge_source *only = ww_pool_calloc(&p->pool, 1, sizeof(*only));

    if (!ones || !only) {
        return WW_FAIL_MEMORY(err, "a prediction");
    }
    for (unsigned i = 0; i < WW_METHOD_MAX_PARAMS; i++) {
        ones[i] = 1;
    }
    *only = t->n_sources ? t->sources[0] : *t->base;
    only->params = ones;
    t->params = ones;
    t->method = ww_method_find("passthrough");
    t->sources = only;
    t->n_sources = 1;
    t->base = NULL;
    t->stats = NULL;
    return WW_OK;
}

/* Weights that make nothing together, as those of a difference do when what it was added
 * to is left out, cannot be divided by their sum. */
static bool is_taken(const struct ww_predictor *p, uint32_t tensor)
{
    struct ww_error why = {0};

    return ww_merge_ask_method(&p->plan, tensor, &why) != WW_E_RECIPE;
}

static enum ww_err leave_out(struct ww_predictor *p, uint32_t tensor, uint32_t without,
                             struct ww_error *err)
{
    struct ww_merge_tensor *t = &p->plan.tensors[tensor];
    struct ww_merge_source *kept =
        ww_pool_calloc(&p->pool, t->n_sources + 1, sizeof(*kept));
    struct ww_merge_source *stats =
        ww_pool_calloc(&p->pool, t->n_sources + 1, sizeof(*stats));
    const uint32_t before = t->n_sources;
    uint32_t n = 0;

    if (!kept || !stats) {
        return WW_FAIL_MEMORY(err, "a prediction");
    }
    for (uint32_t s = 0; s < t->n_sources; s++) {
        if (t->sources[s].model != without) {
            stats[n] = t->stats ? t->stats[s] : (struct ww_merge_source){0};
            kept[n++] = t->sources[s];
        }
    }
    p->has[tensor] = n > 0 || t->base;
    if (!p->has[tensor]) {
        return WW_OK;
    }
    t->sources = kept;
    t->stats = t->stats ? stats : NULL;
    t->n_sources = n;
    /* Of two models that are blended without a third the base is a source as well. */
    if (n == before && n == 1 && t->base && t->base->model == without) {
        return pass_through(p, t, err);
    }
    return n == before || (n >= t->method->min_sources && is_taken(p, tensor))
               ? WW_OK
               : pass_through(p, t, err);
}

static enum ww_err copy_tensors(struct ww_predictor *p, uint32_t without,
                                const enum ww_dtype *dtypes, struct ww_error *err)
{
    const uint32_t n = p->plan.n_tensors;
    struct ww_merge_tensor *own = ww_pool_calloc(&p->pool, n, sizeof(*own));
    enum ww_err rc = WW_OK;

    p->has = ww_pool_calloc(&p->pool, n, sizeof(*p->has));
    p->file = ww_pool_calloc(&p->pool, n, sizeof(*p->file));
    p->offset = ww_pool_calloc(&p->pool, n, sizeof(*p->offset));
    if (!own || !p->has || !p->file || !p->offset) {
        return WW_FAIL_MEMORY(err, "a prediction");
    }
    memcpy(own, p->plan.tensors, n * sizeof(*own));
    p->plan.tensors = own;
    for (uint32_t t = 0; t < n && !rc; t++) {
        p->has[t] = true;
        if (dtypes && ww_dtype_is_plain_float(own[t].dtype)) {
            own[t].dtype = dtypes[t];
        }
        rc = without == WW_NONE ? WW_OK : leave_out(p, t, without, err);
    }
    return rc;
}

static void find_places(struct ww_predictor *p)
{
    for (uint32_t f = 0; f < p->plan.n_files; f++) {
        const struct ww_merge_file *file = &p->plan.files[f];
        uint64_t at = file->header_bytes;
        for (uint32_t i = 0; i < file->n_tensors; i++) {
            const uint32_t t = file->first_tensor + i;
            p->file[t] = f;
            p->offset[t] = at;
            at += p->engine.stream.outputs[f].pieces[1 + i].n_bytes;
        }
    }
}

enum ww_err ww_predictor_new(const struct ww_merge_plan *plan, uint32_t without,
                             const enum ww_dtype *dtypes, enum ww_merge_ties ties,
                             const struct ww_run_options *run, struct ww_predictor **out,
                             struct ww_error *err)
{
    struct ww_predictor *p = ww_calloc(1, sizeof(*p));
    enum ww_err rc = WW_OK;

    *out = NULL;
    if (!p) {
        return WW_FAIL_MEMORY(err, "a prediction");
    }
    p->plan = *plan;
    p->plan.ties = ties;
    p->engine.plan = &p->plan;
    p->engine.threads = ww_threads_wanted(run);
    p->engine.memory = run->memory_bytes ? run->memory_bytes : DEFAULT_MEMORY;
    rc = copy_tensors(p, without, dtypes, err);
    if (!rc) {
        rc = ww_merge_check(&p->plan, err);
    }
    if (!rc) {
        rc = ww_merge_engine_plan(&p->engine, err);
    }
    if (!rc) {
        rc = ww_whole_run(&p->plan, p->engine.threads, p->engine.memory,
                          &p->engine.wholes, err);
    }
    if (!rc) {
        rc = ww_made_new(&p->engine.stream, &p->made, err);
    }
    if (rc) {
        ww_predictor_free(p);
        return rc;
    }
    find_places(p);
    *out = p;
    return WW_OK;
}

void ww_predictor_free(struct ww_predictor *p)
{
    if (p) {
        ww_made_free(p->made);
        ww_whole_release(&p->engine.wholes);
        ww_merge_engine_release(&p->engine);
        ww_pool_release(&p->pool);
        ww_free(p);
    }
}

bool ww_predictor_has(const struct ww_predictor *p, uint32_t tensor)
{
    return p->has[tensor];
}

enum ww_err ww_predictor_read(const struct ww_predictor *p, uint32_t tensor,
                              uint64_t first, size_t n, void *out, struct ww_error *err)
{
    const size_t size = ww_dtype_bits(p->plan.tensors[tensor].dtype) / 8;
    const struct ww_reader *reader = ww_made_reader(p->made, p->file[tensor]);

    return reader->read(reader->payload, p->offset[tensor] + first * size, out, n * size,
                        err);
}
