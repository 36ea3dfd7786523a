/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Some methods trim or scale over the whole model at once: TIES as published, PCB, EMR,
 * DOGE, OPCM. Their passes run here, tensor after tensor in the order of the plan, before
 * anything is written. A plan that is a part of another (a sample that is derived again)
 * goes by the whole one, so that a part has the bytes that the whole has there.
 */
#include "merge/whole.h"

#include <string.h>

#include "merge/pass.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/num.h"

#define TILE_ELEMENTS ((uint64_t)1 << 20)

/* The plan that whole-model numbers go by. */
static const struct ww_merge_plan *whole_plan(const struct ww_merge_plan *plan)
{
    return plan->whole ? plan->whole : plan;
}

uint32_t ww_whole_index(const struct ww_merge_job *job)
{
    const struct ww_merge_plan *whole = job->plan->whole;

    if (!whole) {
        return job->index;
    }
    for (uint32_t t = 0; t < whole->n_tensors; t++) {
        if (strcmp(whole->tensors[t].name, job->tensor->name) == 0) {
            return t;
        }
    }
    WW_INVARIANT(!"a part of a plan has a tensor that the whole has not");
    return WW_NONE;
}

void *ww_whole_of(const struct ww_wholes *wholes, const struct ww_method *method)
{
    for (size_t i = 0; i < wholes->n; i++) {
        if (wholes->items[i].method == method) {
            return wholes->items[i].shared;
        }
    }
    return NULL;
}

void ww_whole_state(const struct ww_wholes *wholes, struct ww_merge_state *out)
{
    for (size_t i = 0; i < wholes->n; i++) {
        const struct ww_whole_ops *ops = wholes->items[i].method->ops->whole;
        if (ops->state) {
            ops->state(wholes->items[i].shared, out);
        }
    }
}

static bool is_of(const struct ww_merge_tensor *t, const struct ww_method *method)
{
    return t->method == method && ww_dtype_is_plain_float(t->dtype);
}

/* One tensor in one pass. */
static enum ww_err pass_tensor(const struct ww_merge_plan *plan, uint32_t tensor,
                               const struct ww_whole *whole, unsigned threads,
                               uint64_t memory, struct ww_error *err)
{
    struct ww_merge_item item;
    bool scan = true;
    bool again = false;
    enum ww_err rc = ww_merge_item_init(&item, plan, tensor, err);

    if (rc) {
        return rc;
    }
    struct ww_merge_job *job = &item.job;
    uint64_t tile = TILE_ELEMENTS;
    job->shared = whole->shared;
    job->ops = &whole->method->ops->whole->tensor;
    if (item.by_rows) {
        tile = job->n_cols * ww_max_u64(1, TILE_ELEMENTS / job->n_cols);
    }
    ww_merge_item_tiles(&item, tile);
    rc = job->ops->open(job, &scan, err);
    if (!rc && scan) {
        rc = ww_merge_pass(&item, 0, threads, memory, err);
    }
    if (!rc && scan && job->ops->scanned) {
        rc = job->ops->scanned(job, 0, &again, err);
    }
    if (job->ops->close) {
        job->ops->close(job);
    }
    ww_merge_item_release(&item);
    return rc;
}

static enum ww_err begin(const struct ww_merge_plan *plan, struct ww_whole *whole,
                         struct ww_merge_item *first, struct ww_error *err)
{
    const struct ww_whole_ops *ops = whole->method->ops->whole;
    const struct ww_merge_tensor *lead = NULL;
    uint32_t index = 0;
    uint64_t n = 0;
    enum ww_err rc = WW_OK;

    for (uint32_t t = 0; t < plan->n_tensors; t++) {
        const struct ww_merge_tensor *tensor = &plan->tensors[t];
        uint64_t each = 1;
        if (!is_of(tensor, whole->method)) {
            continue;
        }
        index = lead ? index : t;
        lead = lead ? lead : tensor;
        if (tensor->n_sources != lead->n_sources) {
            return WW_FAIL(
                err, WW_E_RECIPE,
                "tensor '%.200s' has %u sources and '%.200s' %u: '%s' looks at "
                "the whole of each model, which must have every tensor",
                tensor->name, tensor->n_sources, lead->name, lead->n_sources,
                whole->method->name);
        }
        for (unsigned a = 0; a < tensor->rank; a++) {
            each *= tensor->shape[a]; /* checked by ww_merge_check */
        }
        n += each;
    }
    rc = ww_merge_item_init(first, plan, index, err);
    if (!rc) {
        rc = ops->begin(&first->job, n, err);
        whole->shared = first->job.shared;
    }
    return rc;
}

static enum ww_err run_method(const struct ww_merge_plan *plan, struct ww_whole *whole,
                              unsigned threads, uint64_t memory, struct ww_error *err)
{
    struct ww_merge_item first = {0};
    bool again = true;
    enum ww_err rc = begin(plan, whole, &first, err);

    while (again && !rc) {
        for (uint32_t t = 0; t < plan->n_tensors && !rc; t++) {
            if (is_of(&plan->tensors[t], whole->method)) {
                rc = pass_tensor(plan, t, whole, threads, memory, err);
            }
        }
        if (!rc) {
            rc = whole->method->ops->whole->passed(&first.job, &again, err);
        }
    }
    ww_merge_item_release(&first);
    return rc;
}

static bool is_asked(const struct ww_wholes *wholes, const struct ww_merge_plan *plan,
                     const struct ww_merge_tensor *t)
{
    const struct ww_whole_ops *ops = t->method->ops->whole;
    bool asked = ops && (!ops->wanted || ops->wanted(plan)) && is_of(t, t->method);

    for (size_t i = 0; i < wholes->n; i++) {
        asked = asked && wholes->items[i].method != t->method;
    }
    return asked;
}

enum ww_err ww_whole_run(const struct ww_merge_plan *plan, unsigned threads,
                         uint64_t memory, struct ww_wholes *out, struct ww_error *err)
{
    const struct ww_merge_plan *whole = whole_plan(plan);
    enum ww_err rc = WW_OK;

    *out = (struct ww_wholes){0};
    for (uint32_t t = 0; t < whole->n_tensors && !rc; t++) {
        if (!is_asked(out, whole, &whole->tensors[t])) {
            continue;
        }
        struct ww_whole *grown = ww_realloc_array(out->items, out->n + 1, sizeof(*grown));
        if (!grown) {
            rc = WW_FAIL_MEMORY(err, "a merge");
            break;
        }
        out->items = grown;
        grown[out->n] = (struct ww_whole){whole->tensors[t].method, NULL};
        rc = run_method(whole, &grown[out->n++], threads, memory, err);
    }
    if (rc) {
        ww_whole_release(out);
    }
    return rc;
}

void ww_whole_release(struct ww_wholes *wholes)
{
    for (size_t i = 0; i < wholes->n; i++) {
        if (wholes->items[i].shared) {
            wholes->items[i].method->ops->whole->end(wholes->items[i].shared);
        }
    }
    ww_free(wholes->items);
    *wholes = (struct ww_wholes){0};
}

enum ww_err ww_whole_cuts_init(struct ww_whole_cuts *cuts, struct ww_merge_job *job,
                               uint32_t n_cuts, uint64_t n, struct ww_error *err)
{
    enum ww_err rc = ww_select_init(&cuts->select, job, n_cuts, n, false, err);
    cuts->n = n;
    cuts->acc_bytes = job->acc_bytes;
    cuts->done = false;
    for (uint32_t c = 0; c < n_cuts && !rc; c++) {
        cuts->select.cuts[c].all_ties = true; /* no counting of equal ones by tile */
    }
    return rc;
}

enum ww_err ww_whole_cuts_passed(struct ww_whole_cuts *cuts, struct ww_error *err)
{
    struct ww_merge_job job = {.tensor = NULL, .n_tiles = 1};
    static const struct ww_merge_tensor nameless = {.name = "all"};
    bool again = false;
    job.tensor = &nameless;
    enum ww_err rc = ww_select_scanned(&cuts->select, &job, &again, err);
    cuts->done = !again;
    return rc;
}

void ww_whole_cuts_release(struct ww_whole_cuts *cuts)
{
    ww_select_release(&cuts->select);
}
