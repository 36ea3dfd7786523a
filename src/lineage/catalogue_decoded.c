/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Quantising adds noise of a known size: the square of a step over 12 for each element.
 * A sketch keeps lengths, so that much of a suspect's difference from its root is
 * nobody's share and is taken off before anything is called unexplained.
 */
#include "lineage/catalogue_decoded.h"

#include <string.h>

#include "lineage/catalogue_stored.h"
#include "model/f8.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/num.h"

#define STRETCH 4096 /* even, as sketches ask */

struct decoded {
    const struct ww_disguise *suspect;
    const struct ww_print_options *options;
    struct ww_print *out;
    double *buckets; /* [m], of one tensor */
    double *sum;     /* [m] */
    double *values;  /* [STRETCH] each */
    double *steps;
    size_t m;
};

static enum ww_err sketch_range(struct decoded *d, uint32_t index, uint64_t key,
                                uint64_t first, uint64_t n, struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    for (uint64_t at = 0; at < n && !rc; at += STRETCH) {
        const size_t count = (size_t)ww_min_u64(STRETCH, n - at);
        rc = ww_disguise_values(d->suspect, index, first + at, count, d->values, d->steps,
                                err);
        for (size_t e = 0; e < count && !rc; e++) {
            d->out->noise +=
                d->steps[e] < WW_STEP_LOST ? d->steps[e] * d->steps[e] / 12 : 0;
        }
        if (!rc) {
            ww_sketch_add(d->buckets, d->m, key, first + at, d->values, count);
        }
    }
    return rc;
}

/* Blocks of rows as samples have them: what is small enough to be read whole is told by
 * the 16 bits that weights had before they were quantised. */
static enum ww_err sketch_tensor(struct decoded *d, const struct ww_print_tensor *t,
                                 struct ww_error *err)
{
    const struct ww_tensor *tensor = &d->suspect->model->tensors[t->index];
    const uint64_t all = tensor->n_elements;
    const uint64_t key = ww_sketch_key(t->name);
    const uint64_t block =
        tensor->shape[0] ? WW_SAMPLE_BLOCK * (all / tensor->shape[0]) : 0;
    enum ww_err rc = WW_OK;

    if (!d->options->sample || block == 0 || 2 * all <= WW_SAMPLE_WHOLE) {
        return sketch_range(d, t->index, key, 0, all, err);
    }
    for (uint64_t b = 0; b * block < all && !rc; b++) {
        if (ww_sample_takes(key, b)) {
            rc = sketch_range(d, t->index, key, b * block,
                              ww_min_u64(block, all - b * block), err);
        }
    }
    return rc;
}

static enum ww_err tell_progress(const struct decoded *d, uint64_t done,
                                 struct ww_error *err)
{
    const struct ww_run_options *run = &d->options->run;

    if (run->progress &&
        run->progress(run->progress_payload, "reading", done, d->out->n_elements)) {
        return WW_FAIL(err, WW_E_CANCELLED, "interrupted");
    }
    return WW_OK;
}

static enum ww_err sketch_all(struct decoded *d, struct ww_error *err)
{
    uint64_t done = 0;
    enum ww_err rc = WW_OK;

    for (uint32_t k = 0; k < d->out->n_tensors && !rc; k++) {
        const struct ww_print_tensor *t = &d->out->tensors[k];
        const struct ww_tensor *tensor = &d->suspect->model->tensors[t->index];
        done += tensor->n_elements;
        d->out->bytes_read += tensor->n_bytes;
        if (!ww_print_is_body(tensor)) {
            continue;
        }
        memset(d->buckets, 0, d->m * sizeof(*d->buckets));
        rc = sketch_tensor(d, t, err);
        for (size_t i = 0; i < d->m; i++) {
            d->sum[i] += d->buckets[i];
        }
        rc = rc ? rc : tell_progress(d, done, err);
    }
    return rc;
}

static enum ww_err finish(struct decoded *d, struct ww_error *err)
{
    struct ww_print *out = d->out;
    enum ww_err rc = ww_disguise_unchanged(d->suspect, err);

    if (!rc) {
        rc = ww_print_narrow(d->sum, d->m, WW_SKETCH_COARSE, &out->coarse, err);
    }
    if (!rc && d->options->fine) {
        rc = ww_print_narrow(d->sum, d->m, WW_SKETCH_FINE, &out->fine, err);
    }
    if (!rc) {
        rc = ww_anchor_gram(d->suspect->model, d->suspect, &out->gram, err);
    }
    ww_free(out->tensors);
    out->tensors = NULL;
    out->n_tensors = 0;
    return rc || !d->suspect->stored
               ? rc
               : ww_print_add_bytes(d->suspect->stored, d->options, out, err);
}

enum ww_err ww_print_decoded(const struct ww_disguise *suspect,
                             const struct ww_print_options *options, struct ww_print *out,
                             struct ww_error *err)
{
    struct decoded d = {.suspect = suspect,
                        .options = options,
                        .out = out,
                        .m = options->fine ? WW_SKETCH_FINE : WW_SKETCH_COARSE};
    enum ww_err rc = WW_OK;

    memset(out, 0, sizeof(*out));
    out->sampled = options->sample;
    out->decoded = true;
    d.buckets = ww_calloc(d.m, sizeof(*d.buckets));
    d.sum = ww_calloc(d.m, sizeof(*d.sum));
    d.values = ww_calloc(STRETCH, sizeof(*d.values));
    d.steps = ww_calloc(STRETCH, sizeof(*d.steps));
    rc = d.buckets && d.sum && d.values && d.steps
             ? ww_print_list(suspect->model, out, err)
             : WW_FAIL_MEMORY(err, "a sketch");
    if (!rc) {
        rc = ww_print_family(suspect->model, out, err);
    }
    if (!rc) {
        rc = sketch_all(&d, err);
    }
    if (!rc) {
        rc = finish(&d, err);
    }
    ww_free(d.buckets);
    ww_free(d.sum);
    ww_free(d.values);
    ww_free(d.steps);
    if (rc) {
        ww_print_release(out);
    }
    return rc;
}
