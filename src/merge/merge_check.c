/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whatever made the plan, its numbers become addresses and divisors: shapes, ranges,
 * counts and parameters are checked here once, and every method is asked before the first
 * byte is written.
 */
#include <inttypes.h>
#include <string.h>

#include "merge/engine.h"
#include "model/orientation.h"
#include "stream/stream.h"
#include "util/fail.h"
#include "util/num.h"

static enum ww_err tensor_fail(const struct ww_merge_tensor *t, struct ww_error *err,
                               const char *what)
{
    return WW_FAIL(err, WW_E_USAGE, "merge plan: tensor '%.200s': %s",
                   t->name ? t->name : "", what);
}

/* Elements of a shape, with room for their bytes in any dtype. */
static bool count_elements(const struct ww_merge_tensor *t, uint64_t *n)
{
    *n = 1;
    for (unsigned a = 0; a < t->rank; a++) {
        if (!ww_mul_u64(*n, t->shape[a], n) || *n > INT64_MAX / 64) {
            return false;
        }
    }
    return true;
}

static enum ww_err check_rows(const struct ww_merge_plan *plan,
                              const struct ww_merge_tensor *t,
                              const struct ww_merge_source *s, uint64_t row_bytes,
                              struct ww_error *err)
{
    uint64_t room = plan->inputs[s->input].size_bytes - s->offset;

    for (uint64_t i = 0; t->rank && i < t->shape[0]; i++) {
        if (s->rows[i] != WW_NONE && row_bytes &&
            (uint64_t)s->rows[i] + 1 > room / row_bytes) {
            return WW_FAIL(err, WW_E_USAGE,
                           "merge plan: tensor '%.200s': row %u is beyond the end of "
                           "'%.200s'",
                           t->name, s->rows[i], plan->inputs[s->input].name);
        }
    }
    return WW_OK;
}

static enum ww_err check_source(const struct ww_merge_plan *plan,
                                const struct ww_merge_tensor *t,
                                const struct ww_merge_source *s, uint64_t n,
                                struct ww_error *err)
{
    uint64_t size = ww_dtype_bits(s->dtype) / 8;

    if (s->input >= plan->n_inputs) {
        return tensor_fail(t, err, "a source of no input");
    }
    if (ww_dtype_is_plain_float(s->dtype) != ww_dtype_is_plain_float(t->dtype) ||
        (!ww_dtype_is_plain_float(t->dtype) && s->dtype != t->dtype)) {
        return WW_FAIL(err, WW_E_UNSUPPORTED,
                       "tensor '%.200s': '%.200s' has it as %s, cannot be merged into %s",
                       t->name, plan->inputs[s->input].name, ww_dtype_name(s->dtype),
                       ww_dtype_name(t->dtype));
    }
    const struct ww_merge_input *input = &plan->inputs[s->input];
    if (s->offset > input->size_bytes) {
        return tensor_fail(t, err, "a source beyond the end of its input");
    }
    if (s->rows) {
        uint64_t row = t->rank && t->shape[0] ? n / t->shape[0] * size : 0;
        return check_rows(plan, t, s, row, err);
    }
    if (n * size > input->size_bytes - s->offset) {
        return tensor_fail(t, err, "a source beyond the end of its input");
    }
    return WW_OK;
}

/* Columns x columns of the weight, or none. */
static enum ww_err check_gram(const struct ww_merge_plan *plan,
                              const struct ww_merge_tensor *t,
                              const struct ww_merge_source *s, struct ww_error *err)
{
    const bool across = ww_lies_across(plan->inputs_first, t->name);
    const uint64_t side = t->shape[across ? 0 : 1];
    uint64_t n = 0;

    if (s->input == WW_NONE) {
        return WW_OK;
    }
    if (t->rank != 2 || !ww_mul_u64(side, side, &n) || s->rows || n > INT64_MAX / 64) {
        return tensor_fail(t, err, "a Gram matrix beside no matrix");
    }
    return check_source(plan, t, s, n, err);
}

static enum ww_err check_value(const struct ww_merge_tensor *t,
                               const struct ww_method_param *p, double v,
                               struct ww_error *err)
{
    if (v >= p->min && v <= p->max &&
        !(p->kind != WW_PARAM_FLOAT && v != (double)(int)v)) {
        return WW_OK;
    }
    return WW_FAIL(
        err, WW_E_RECIPE, "tensor '%.200s': '%s' of %s is %g, expected %s from %g to %g",
        t->name, p->name, t->method->name, v,
        p->kind == WW_PARAM_FLOAT ? "a number" : "a whole number", p->min, p->max);
}

static enum ww_err check_params(const struct ww_merge_tensor *t, struct ww_error *err)
{
    for (size_t p = 0; p < t->method->n_params; p++) {
        const struct ww_method_param *param = &t->method->params[p];
        uint32_t n = param->scope == WW_PARAM_TENSOR ? 1 : t->n_sources;
        for (uint32_t s = 0; s < n; s++) {
            const double *values =
                param->scope == WW_PARAM_TENSOR ? t->params : t->sources[s].params;
            if (!values) {
                return tensor_fail(t, err, "parameters are missing");
            }
            enum ww_err rc = check_value(t, param, values[p], err);
            if (rc) {
                return rc;
            }
        }
    }
    return WW_OK;
}

static enum ww_err check_counts(const struct ww_merge_tensor *t, struct ww_error *err)
{
    const struct ww_method *m = t->method;

    if (t->n_sources < m->min_sources || t->n_sources > m->max_sources) {
        return WW_FAIL(err, WW_E_RECIPE,
                       "tensor '%.200s': %s takes from %u to %u models beside the base, "
                       "found %u",
                       t->name, m->name, m->min_sources, m->max_sources, t->n_sources);
    }
    if (m->base == WW_BASE_REQUIRED && !t->base) {
        return WW_FAIL(err, WW_E_RECIPE, "tensor '%.200s': %s needs a base model",
                       t->name, m->name);
    }
    if ((m->stats != WW_STATS_NONE && ww_dtype_is_plain_float(t->dtype)) !=
        (t->stats != NULL)) {
        return WW_FAIL(err, WW_E_RECIPE, "tensor '%.200s': %s %s imported statistics",
                       t->name, m->name, m->stats ? "needs" : "takes no");
    }
    return WW_OK;
}

static enum ww_err check_tensor(const struct ww_merge_plan *plan,
                                const struct ww_merge_tensor *t, struct ww_error *err)
{
    uint64_t n = 0;

    if (!t->name || !t->method || t->rank > WW_MAX_RANK || !count_elements(t, &n) ||
        t->dtype >= WW_DTYPE_COUNT || ww_dtype_bits(t->dtype) % 8 != 0) {
        return tensor_fail(t, err, "no name, no method, or no usable shape");
    }
    if (!ww_dtype_is_plain_float(t->compute)) {
        return tensor_fail(t, err, "it is to be computed in no float dtype");
    }
    enum ww_err rc = check_counts(t, err);
    if (!rc) {
        rc = check_params(t, err);
    }
    for (uint32_t s = 0; s < t->n_sources && !rc; s++) {
        rc = check_source(plan, t, &t->sources[s], n, err);
        if (!rc && t->stats) {
            rc = t->method->stats == WW_STATS_GRAM
                     ? check_gram(plan, t, &t->stats[s], err)
                     : check_source(plan, t, &t->stats[s], n, err);
        }
    }
    if (!rc && t->base) {
        rc = check_source(plan, t, t->base, n, err);
    }
    return rc;
}

enum ww_err ww_merge_ask_method(const struct ww_merge_plan *plan, uint32_t tensor,
                                struct ww_error *err)
{
    struct ww_merge_item item;
    bool scan = false;

    if (!ww_dtype_is_plain_float(plan->tensors[tensor].dtype)) {
        return WW_OK; /* copied, not computed */
    }
    enum ww_err rc = ww_merge_item_init(&item, plan, tensor, err);
    if (rc) {
        return rc;
    }
    const struct ww_method_ops *ops = item.job.tensor->method->ops;
    rc = ops->open(&item.job, &scan, err);
    if (ops->close) {
        ops->close(&item.job);
    }
    ww_merge_item_release(&item);
    return rc;
}

enum ww_err ww_merge_check(const struct ww_merge_plan *plan, struct ww_error *err)
{
    uint64_t next = 0;
    enum ww_err rc = WW_OK;

    for (uint32_t f = 0; f < plan->n_files; f++) {
        const struct ww_merge_file *file = &plan->files[f];
        if (file->n_tensors && file->first_tensor != next) {
            return WW_FAIL(err, WW_E_USAGE,
                           "merge plan: '%.200s' begins with tensor %u, "
                           "expected %" PRIu64,
                           file->name, file->first_tensor, next);
        }
        next += file->n_tensors;
        WW_INVARIANT(!file->copied_sha256 || file->copied < plan->n_inputs);
    }
    if (next != plan->n_tensors) {
        return WW_FAIL(err, WW_E_USAGE,
                       "merge plan: files hold %" PRIu64 " tensors, expected %u", next,
                       plan->n_tensors);
    }
    for (uint32_t t = 0; t < plan->n_tensors && !rc; t++) {
        rc = check_tensor(plan, &plan->tensors[t], err);
        if (!rc) {
            rc = ww_merge_ask_method(plan, t, err);
        }
    }
    return rc;
}

enum ww_err ww_merge_check_copied(const struct ww_merge_plan *plan,
                                  const uint8_t (*input_sha256)[WW_SHA256_BYTES],
                                  struct ww_error *err)
{
    for (uint32_t f = 0; f < plan->n_files; f++) {
        const struct ww_merge_file *file = &plan->files[f];
        if (file->copied_sha256 && memcmp(file->copied_sha256, input_sha256[file->copied],
                                          WW_SHA256_BYTES) != 0) {
            return WW_FAIL(err, WW_E_CHANGED, "'%s' changed while it was merged",
                           plan->inputs[file->copied].name);
        }
    }
    return WW_OK;
}
