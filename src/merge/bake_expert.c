/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Factors that are stacked over experts, as PEFT has them: A is [experts * rank, in],
 * expert after expert; B is [out, rank * experts], whose columns run over the experts
 * first. The product of expert e is B[:, k experts + e] times A[e rank + k, :]. A weight
 * is one expert's (or half of its rows), or all of them behind each other, outputs first
 * or inputs first.
 */
#include <string.h>

#include "merge/bake_work.h"
#include "model/config.h"
#include "model/convert.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"
#include "util/num.h"

#define BLOCK_BYTES (UINT64_C(1) << 20)

/* Families that keep their experts inputs first; told apart by name where a square matrix
 * does not tell. */
static const char *const inputs_first[] = {"gpt_oss", "aria", "aria_text",
                                           "openai_privacy_filter"};

static const struct ww_tensor *factor(const struct ww_bake_weight *weight,
                                      enum ww_adapter_part part)
{
    return weight->change->part[part]->tensor;
}

static bool keeps_inputs_first(const struct ww_model *base)
{
    const char *type = base->config ? base->config->model_type : NULL;

    for (size_t i = 0; type && i < WW_LEN(inputs_first); i++) {
        if (strcmp(inputs_first[i], type) == 0) {
            return true;
        }
    }
    return false;
}

static bool fits(const struct ww_bake_weight *weight, bool across, uint64_t rows)
{
    const uint64_t in = factor(weight, WW_PART_A)->shape[1];
    const uint64_t out = factor(weight, WW_PART_B)->shape[0];

    return across ? rows == in && weight->n_cols == out
                  : rows == out && weight->n_cols == in;
}

/* One expert's rows, of a weight that holds them all or its own alone. */
static bool choose_rows(struct ww_bake_weight *weight)
{
    const struct ww_bake_expert *expert = &weight->change->expert;
    const struct ww_tensor *w = weight->w;
    const bool first = keeps_inputs_first(weight->from->base) && w->rank == 3;

    weight->n_cols = w->shape[w->rank - 1];
    weight->n_rows = w->n_elements / weight->n_cols;
    weight->rows_each = weight->n_rows;
    if (expert->index != WW_NONE) {
        return w->rank == 2 && expert->row + weight->n_rows <= expert->n_rows &&
               fits(weight, false, expert->n_rows);
    }
    weight->rows_each = weight->n_rows / expert->n;
    weight->across = fits(weight, first, weight->rows_each) ? first : !first;
    return fits(weight, weight->across, weight->rows_each);
}

enum ww_err ww_bake_expert_check(struct ww_bake_weight *weight, struct ww_error *err)
{
    const struct ww_bake_expert *expert = &weight->change->expert;
    const struct ww_adapter *adapter = weight->from->adapter;
    const struct ww_adapter_entry *a = weight->change->part[WW_PART_A];
    const struct ww_adapter_entry *b = weight->change->part[WW_PART_B];

    if (!a || !b || a->tensor->rank != 2 || b->tensor->rank != 2 ||
        a->tensor->n_elements == 0 || b->tensor->n_elements == 0) {
        return WW_FAIL(err, WW_E_ADAPTER_FILE,
                       "adapter '%s' has only one of the two factors of '%.160s'",
                       adapter->path, expert->name);
    }
    if (!ww_dtype_is_plain_float(a->tensor->dtype) ||
        !ww_dtype_is_plain_float(b->tensor->dtype)) {
        return WW_FAIL(err, WW_E_QUANTISED,
                       "factors of '%.160s' in adapter '%s' are stored as %s and %s, "
                       "expected BF16, F16, F32 or F64",
                       expert->name, adapter->path, ww_dtype_name(a->tensor->dtype),
                       ww_dtype_name(b->tensor->dtype));
    }
    weight->rank = a->tensor->shape[0] / expert->n;
    if (a->tensor->shape[0] != weight->rank * expert->n ||
        b->tensor->shape[1] != a->tensor->shape[0] || !choose_rows(weight)) {
        return WW_FAIL(err, WW_E_SHAPE,
                       "factors of '%.160s' in adapter '%s' do not fit %u experts like "
                       "'%.160s' of '%s'; is it the adapter's base?",
                       expert->name, adapter->path, expert->n, weight->w->name,
                       weight->from->base->path);
    }
    return ww_adapter_scaling(adapter, expert->name, weight->rank, &weight->scaling, err);
}

/* B's rows for outputs [first, first + n) of one expert: n x rank. */
static enum ww_err pick(const struct ww_bake_weight *weight, uint64_t first, uint64_t n,
                        uint32_t e, double *out, struct ww_error *err)
{
    const struct ww_tensor *b = factor(weight, WW_PART_B);
    const uint64_t width = ww_dtype_bits(b->dtype) / 8;
    const uint64_t all = b->shape[1];
    const uint64_t step =
        ww_min_u64(n, ww_max_u64(1, BLOCK_BYTES / (all * sizeof(double))));
    uint8_t *bytes = ww_calloc(step * all + 1, width);
    enum ww_err rc = bytes ? WW_OK : WW_FAIL_MEMORY(err, "an adapter");

    for (uint64_t at = 0; at < n && !rc; at += step) {
        const uint64_t rows = ww_min_u64(step, n - at);
        const uint64_t n_values = rows * weight->rank;
        rc = ww_pread_full(weight->from->adapter->file.fd, bytes, rows * all * width,
                           b->offset + (first + at) * all * width, WW_ADAPTER_WEIGHTS,
                           err);
        for (uint64_t i = 0; i < n_values && !rc; i++) {
            const uint64_t k = i % weight->rank;
            memmove(bytes + i * width,
                    bytes + (i / weight->rank * all + k * weight->change->expert.n + e) *
                                width,
                    width);
        }
        if (!rc && ww_count_nonfinite(b->dtype, bytes, n_values) > 0) {
            rc = WW_FAIL(err, WW_E_NONFINITE,
                         "tensor '%.160s' of adapter '%s' holds NaN or infinity; repair "
                         "the weights first",
                         b->name, weight->from->adapter->path);
        }
        if (!rc) {
            ww_to_double(b->dtype, bytes, out + at * weight->rank, n_values);
        }
    }
    ww_free(bytes);
    return rc;
}

static enum ww_err open_own(struct ww_bake_weight *weight, struct ww_error *err)
{
    const struct ww_bake_expert *expert = &weight->change->expert;
    struct ww_tensor a = *factor(weight, WW_PART_A);

    a.shape[0] = weight->rank;
    a.n_elements = weight->rank * weight->n_cols;
    a.n_bytes = a.n_elements * (ww_dtype_bits(a.dtype) / 8);
    a.offset += expert->index * a.n_bytes;
    enum ww_err rc = ww_adapter_read(weight->from->adapter, &a, &weight->right, err);
    return rc ? rc
              : pick(weight, expert->row, weight->n_rows, expert->index,
                     weight->left_held, err);
}

/* x: rank x n turned into n x rank. */
static void turn(uint64_t rank, uint64_t n, const double *x, double *out)
{
    for (uint64_t k = 0; k < rank; k++) {
        for (uint64_t i = 0; i < n; i++) {
            out[i * rank + k] = x[k * n + i];
        }
    }
}

static enum ww_err open_all(struct ww_bake_weight *weight, struct ww_error *err)
{
    const uint32_t n = weight->change->expert.n;
    const uint64_t rank = weight->rank;
    const uint64_t out = factor(weight, WW_PART_B)->shape[0];
    const uint64_t in = factor(weight, WW_PART_A)->shape[1];
    double *b = weight->across ? ww_calloc(out * rank + 1, sizeof(*b)) : NULL;
    double *a = NULL;
    enum ww_err rc = weight->across && !b ? WW_FAIL_MEMORY(err, "an adapter") : WW_OK;

    if (!rc) {
        rc = ww_adapter_read(weight->from->adapter, factor(weight, WW_PART_A), &a, err);
    }
    for (uint32_t e = 0; e < n && !rc; e++) {
        double *left = weight->left_held + e * weight->rows_each * rank;
        rc = pick(weight, 0, out, e, weight->across ? b : left, err);
        if (!rc && weight->across) {
            turn(rank, in, a + e * rank * in, left);
            for (uint64_t i = 0; i < out * rank; i++) {
                weight->right[(e * rank + i % rank) * out + i / rank] = b[i];
            }
        }
    }
    if (!rc && !weight->across) {
        ww_free(weight->right);
        weight->right = a;
        a = NULL;
    }
    ww_free(a);
    ww_free(b);
    return rc;
}

enum ww_err ww_bake_expert_open(struct ww_bake_weight *weight, struct ww_error *err)
{
    const bool all = weight->change->expert.index == WW_NONE;
    const uint64_t n_right = weight->change->expert.n * weight->rank * weight->n_cols;

    weight->left_held =
        ww_calloc(weight->n_rows * weight->rank + 1, sizeof(*weight->left_held));
    if (all && weight->across) {
        weight->right = ww_calloc(n_right + 1, sizeof(*weight->right));
    }
    if (!weight->left_held || (all && weight->across && !weight->right)) {
        return WW_FAIL_MEMORY(err, "an adapter");
    }
    return all ? open_all(weight, err) : open_own(weight, err);
}
