/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Weighted sums whose coefficients are known before a byte is read: linear (model soups,
 * arXiv 2203.05482), metric-weighted averages (arXiv 2504.18580), passthrough, task
 * arithmetic (arXiv 2212.04089). One multiply and
 * one add per source, in the order of the recipe; the division by the sum of the weights
 * comes last, so that equal models with equal weights give that model.
 */
#include <math.h>

#include "la/fixmath.h"
#include "merge/kernel.h"
#include "merge/peer.h"
#include "merge/weighted.h"
#include "util/alloc.h"

static void close_state(struct ww_merge_job *job)
{
    struct ww_weighted *state = job->state;
    if (state) {
        ww_free(state->w);
        ww_free(state);
        job->state = NULL;
    }
}

static enum ww_err open_weights(struct ww_merge_job *job, const char *name,
                                bool normalize, struct ww_error *err)
{
    struct ww_weighted *state = ww_calloc(1, sizeof(*state));
    job->state = state;
    if (!state) {
        return ww_merge_no_memory(job, err);
    }
    state->w = ww_merge_source_params(job, name);
    if (!state->w) {
        return ww_merge_no_memory(job, err);
    }
    state->divisor = 1;
    if (normalize) {
        state->divisor = 0;
        for (uint32_t i = 0; i < job->n_sources; i++) {
            state->divisor += state->w[i];
        }
    }
    return WW_OK;
}

static enum ww_err linear_open(struct ww_merge_job *job, bool *scan, struct ww_error *err)
{
    *scan = false;
    enum ww_err rc =
        open_weights(job, "weight", ww_merge_param(job, "normalize") != 0, err);
    const struct ww_weighted *state = job->state;
    if (!rc && state->divisor == 0) {
        rc = ww_merge_refuse(job, err,
                             "the weights sum to 0 and the result is divided by the sum; "
                             "change a weight or set normalize to false");
    }
    return rc;
}

/* mergekit sums in float32 by fused steps, weights too, and rounds to the dtype at the
 * end. */
static void peer_linear(const struct ww_merge_job *job,
                        const struct ww_merge_block *block)
{
    const struct ww_weighted *state = job->state;
    const enum ww_dtype wide =
        job->tensor->compute == WW_DTYPE_F64 ? WW_DTYPE_F64 : WW_DTYPE_F32;
    double divisor = 0;

    for (size_t i = 0; i < block->n; i++) {
        block->out[i] = 0;
    }
    for (uint32_t s = 0; s < job->n_sources; s++) {
        const double w = ww_peer_value(wide, state->w[s]);
        divisor = ww_peer_value(wide, divisor + w);
        ww_peer_fused(wide, block->x[s], w, block->n, block->out);
    }
    if (state->divisor != 1) {
        ww_weighted_divide(block->out, divisor, block->n);
        ww_peer_float(wide, block->out, block->n);
    }
    ww_peer_round(job->tensor->compute, block->out, block->n);
}

static enum ww_err linear_block(const struct ww_merge_job *job,
                                const struct ww_merge_block *block, struct ww_error *err)
{
    const struct ww_weighted *state = job->state;
    (void)err;
    if (job->plan->peer) {
        peer_linear(job, block);
        return WW_OK;
    }
    if (state->divisor != 1) {
        ww_weighted_mean(block->x, state->w, job->n_sources, state->divisor, block->n,
                         block->out);
    } else {
        ww_weighted_sum(block->x, state->w, job->n_sources, block->n, block->out);
    }
    return WW_OK;
}

static bool linear_form(const struct ww_merge_job *job, struct ww_merge_form *form)
{
    const struct ww_weighted *state = job->state;
    *form = (struct ww_merge_form){
        .w = state->w,
        .divisor = state->divisor,
        .lambda = job->ops->deltas ? state->lambda : 1,
    };
    return true;
}

const struct ww_method_ops ww_merge_linear = {
    .small = true,
    .open = linear_open,
    .form = linear_form,
    .block = linear_block,
    .close = close_state,
};

/* mwa: weights are powers of a metric, such as 1 / loss. */
static enum ww_err mwa_open(struct ww_merge_job *job, bool *scan, struct ww_error *err)
{
    const double exponent = ww_merge_param(job, "exponent");
    *scan = false;
    enum ww_err rc = open_weights(job, "metric", false, err);
    struct ww_weighted *state = job->state;
    if (rc) {
        return rc;
    }
    state->divisor = 0;
    for (uint32_t i = 0; i < job->n_sources; i++) {
        state->w[i] = ww_fix_exp(exponent * ww_fix_log(state->w[i]));
        state->divisor += state->w[i];
    }
    if (!isfinite(state->divisor) || state->divisor <= 0) {
        rc = ww_merge_refuse(job, err,
                             "metrics to the power of %g leave the range of numbers; "
                             "scale the metrics or choose a smaller exponent",
                             exponent);
    }
    return rc;
}

const struct ww_method_ops ww_merge_mwa = {
    .small = true,
    .open = mwa_open,
    .form = linear_form,
    .block = linear_block,
    .close = close_state,
};

static enum ww_err passthrough_open(struct ww_merge_job *job, bool *scan,
                                    struct ww_error *err)
{
    *scan = false;
    return open_weights(job, "scale", false, err);
}

static bool passthrough_copies(const struct ww_merge_job *job)
{
    const struct ww_weighted *state = job->state;
    return job->n_sources == 1 && state->w[0] == 1;
}

const struct ww_method_ops ww_merge_passthrough = {
    .small = true,
    .open = passthrough_open,
    .copies = passthrough_copies,
    .form = linear_form,
    .block = linear_block,
    .close = close_state,
};

/* A sum of weights near 0 leaves the sum as it is, as mergekit has it. */
#define NO_DIVISOR 1e-8

static enum ww_err task_open(struct ww_merge_job *job, bool *scan, struct ww_error *err)
{
    *scan = false;
    enum ww_err rc =
        open_weights(job, "weight", ww_merge_param(job, "normalize") != 0, err);
    struct ww_weighted *state = job->state;
    if (rc) {
        return rc;
    }
    if (state->divisor < NO_DIVISOR && state->divisor > -NO_DIVISOR) {
        state->divisor = 1;
    }
    state->lambda = ww_merge_param(job, "lambda");
    return WW_OK;
}

/* mergekit has weights in the dtype of the tensors, and rounds each product to it. */
static void peer_task(const struct ww_merge_job *job, const struct ww_merge_block *block)
{
    const struct ww_weighted *state = job->state;
    const enum ww_dtype dtype = job->tensor->compute;
    double divisor = 0;

    for (uint32_t s = 0; s < job->n_sources; s++) {
        const double w = ww_peer_value(dtype, state->w[s]);
        divisor += w;
        ww_peer_float(dtype, &divisor, 1);
        for (size_t i = 0; i < block->n; i++) {
            block->x[s][i] *= w;
        }
        ww_peer_round(dtype, block->x[s], block->n);
    }
    divisor = ww_peer_value(dtype, divisor);
    if (ww_merge_param(job, "normalize") == 0 ||
        (divisor < NO_DIVISOR && divisor > -NO_DIVISOR)) {
        divisor = 1;
    }
    ww_peer_sum(dtype, block->x, job->n_sources, block->n, block->out);
    ww_peer_onto(dtype, block->base, divisor, state->lambda, block->n, block->out);
}

static enum ww_err task_block(const struct ww_merge_job *job,
                              const struct ww_merge_block *block, struct ww_error *err)
{
    const struct ww_weighted *state = job->state;
    enum ww_err rc = WW_OK;
    if (job->plan->peer) {
        peer_task(job, block);
        return WW_OK;
    }
    rc = linear_block(job, block, err);
    if (rc) {
        return rc;
    }
    ww_weighted_onto(block->base, state->lambda, block->n, block->out);
    return WW_OK;
}

const struct ww_method_ops ww_merge_task_arithmetic = {
    .deltas = true,
    .small = true,
    .open = task_open,
    .form = linear_form,
    .block = task_block,
    .close = close_state,
};
