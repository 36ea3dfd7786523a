/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From tokens to hidden states and logits: embeddings, the blocks of a stack in order,
 * the final norm, the head. An encoder-decoder runs its encoder first and hands the
 * result to every cross-attention.
 */
#include "weightward/forward.h"

#include <math.h>

#include "arch/core.h"
#include "arch/forward_impl.h"
#include "model/convert.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/str.h"

static enum ww_err model_get(void *payload, uint32_t tensor, void **bytes,
                             struct ww_error *err)
{
    const struct ww_forward *f = payload;
    const struct ww_model *model = f->layout->model;
    void *own = ww_calloc(1, (size_t)model->tensors[tensor].n_bytes);
    if (!own) {
        return WW_FAIL_MEMORY(err, "tensor '%s' (%llu bytes)",
                              model->tensors[tensor].name,
                              (unsigned long long)model->tensors[tensor].n_bytes);
    }
    enum ww_err rc = ww_model_read(model, tensor, own, err);
    if (rc) {
        ww_free(own);
        return rc;
    }
    *bytes = own;
    return WW_OK;
}

static void model_release(void *payload, uint32_t tensor, void *bytes)
{
    (void)payload;
    (void)tensor;
    ww_free(bytes);
}

enum ww_err ww_forward_new(const struct ww_layout *layout,
                           const struct ww_weights *weights, struct ww_forward **out,
                           struct ww_error *err)
{
    *out = NULL;
    if (!layout || !layout->model || (weights && !weights->get)) {
        return WW_FAIL(err, WW_E_USAGE, "forward pass without a layout or its weights");
    }
    struct ww_forward *f = ww_calloc(1, sizeof(*f));
    if (!f) {
        return WW_FAIL_MEMORY(err, "a forward pass");
    }
    f->layout = layout;
    f->source =
        (struct ww_weights){.get = model_get, .release = model_release, .payload = f};
    if (weights) {
        f->source = *weights;
    }
    *out = f;
    return WW_OK;
}

void ww_forward_free(struct ww_forward *forward)
{
    if (!forward) {
        return;
    }
    ww_fw_release(forward);
    for (uint32_t i = 0; forward->wide && i < forward->layout->model->n_tensors; i++) {
        ww_free(forward->wide[i]);
    }
    ww_free(forward->wide);
    ww_free(forward->held);
    ww_free(forward);
}

uint64_t ww_forward_vocab(const struct ww_forward *forward)
{
    uint64_t n_out = 0;
    uint64_t n_in = 0;
    const struct ww_layout *layout = forward->layout;
    if (layout->head.weight == WW_NONE ||
        ww_fw_linear_size(forward, &layout->head, &n_out, &n_in, NULL)) {
        return 0;
    }
    return n_out;
}

enum ww_err ww_fw_roles(const struct ww_forward *f, uint32_t *main, uint32_t *encoder,
                        struct ww_error *err)
{
    const struct ww_layout *layout = f->layout;
    *main = 0;
    *encoder = WW_NONE;
    if (layout->no_forward && layout->no_forward[0]) {
        return WW_FAIL(err, WW_E_UNSUPPORTED,
                       "the reference forward pass does not answer for '%s' models: %s",
                       layout->model_type ? layout->model_type : layout->descriptor,
                       layout->no_forward);
    }
    if (layout->n_stacks == 0 || layout->embed == WW_NONE) {
        return WW_FAIL(
            err, WW_E_UNSUPPORTED,
            "'%s' models do not start from tokens: run their blocks one by one",
            layout->model_type ? layout->model_type : layout->descriptor);
    }
    for (uint32_t s = 0; s < layout->n_stacks; s++) {
        const struct ww_stack *stack = &layout->stacks[s];
        bool reads =
            stack->n_blocks > 0 && layout->blocks[stack->first_block].cross != WW_NONE;
        if (reads && layout->n_stacks == 2) {
            *main = s;
            *encoder = 1 - s;
        }
    }
    return WW_OK;
}

/* Rows of a table: token t reads row rows[t] or, without rows, row base + t * step. */
struct lookup {
    uint32_t tensor;
    const uint32_t *rows;
    uint64_t base;
    uint64_t step;
};

/* x [n, D] += the rows of a table. */
static enum ww_err add_rows(struct ww_forward *f, struct lookup from, double *x, size_t n,
                            struct ww_error *err)
{
    struct ww_fw_view view = {0};
    double *row = NULL;
    uint64_t width = f->layout->residual.width;
    enum ww_err rc = ww_fw_get(f, from.tensor, &view, err);
    if (rc) {
        goto out;
    }
    if (view.tensor->rank != 2 || view.tensor->shape[1] != width) {
        rc = WW_FAIL(err, WW_E_UNSUPPORTED,
                     "table '%s' is not [rows, %llu], which the reference forward pass "
                     "expects",
                     view.tensor->name, (unsigned long long)width);
        goto out;
    }
    rc = ww_fw_alloc(&row, 1, width, err);
    if (rc) {
        goto out;
    }
    size_t row_bytes = (size_t)width * (ww_dtype_bits(view.dtype) / 8);
    for (size_t t = 0; t < n; t++) {
        uint64_t index = from.rows ? from.rows[t] : from.base + t * from.step;
        if (index >= view.tensor->shape[0]) {
            rc = WW_FAIL(err, WW_E_USAGE, "table '%s': row %llu asked for, it has %llu",
                         view.tensor->name, (unsigned long long)index,
                         (unsigned long long)view.tensor->shape[0]);
            goto out;
        }
        ww_to_double(view.dtype, (const uint8_t *)view.bytes + index * row_bytes, row,
                     (size_t)width);
        for (size_t i = 0; i < width; i++) {
            x[t * width + i] += row[i];
        }
    }
out:
    ww_free(row);
    return rc;
}

static enum ww_err embed(struct ww_forward *f, const struct ww_stack *stack,
                         const struct ww_fw_tokens *in, double *x, struct ww_error *err)
{
    const struct ww_layout *layout = f->layout;
    uint64_t width = layout->residual.width;
    size_t n = in->n;
    for (size_t i = 0; i < n * width; i++) {
        x[i] = 0;
    }
    enum ww_err rc = add_rows(
        f, (struct lookup){.tensor = layout->embed, .rows = in->tokens}, x, n, err);
    if (rc) {
        goto out;
    }
    for (size_t i = 0; i < n * width; i++) {
        x[i] *= stack->embed_multiplier;
    }
    uint32_t table = stack->has_position ? stack->position : layout->embed_position;
    if (table != WW_NONE) {
        const struct lookup positions = {.tensor = table,
                                         .base = in->start +
                                                 (uint64_t)layout->position_offset,
                                         .step = 1};
        rc = add_rows(f, positions, x, n, err);
        if (rc) {
            goto out;
        }
    }
    if (layout->embed_type != WW_NONE) {
        rc = add_rows(f, (struct lookup){.tensor = layout->embed_type}, x, n, err);
        if (rc) {
            goto out;
        }
    }
    rc = ww_fw_norm(f, &stack->embed_norm, x, x, n, width, err);
out:
    ww_fw_release(f);
    return rc;
}

enum ww_err ww_fw_stack(struct ww_forward *f, uint32_t stack,
                        const struct ww_fw_tokens *in, double *hidden,
                        struct ww_error *err)
{
    const struct ww_stack *s = &f->layout->stacks[stack];
    size_t n = in->n;
    uint64_t *positions = ww_calloc(n, sizeof(*positions));
    enum ww_err rc = WW_OK;
    if (!positions) {
        rc = WW_FAIL_MEMORY(err, "%zu positions", n);
        goto out;
    }
    for (size_t t = 0; t < n; t++) {
        positions[t] = in->start + t;
    }
    rc = embed(f, s, in, hidden, err);
    if (rc) {
        goto out;
    }
    struct ww_fw_context context = {
        .positions = positions, .n = n, .encoder = in->encoder, .m = in->m};
    for (uint32_t b = 0; b < s->n_blocks; b++) {
        context.past = in->pasts ? &in->pasts[b] : NULL;
        rc = ww_fw_block(f, s->first_block + b, &context, hidden, hidden, err);
        if (rc) {
            goto out;
        }
    }
    rc = ww_fw_norm(f, &s->final_norm, hidden, hidden, n, f->layout->residual.width, err);
out:
    ww_fw_release(f);
    ww_free(positions);
    return rc;
}

/* BERT's step in front of the decoder matrix. */
static enum ww_err transform(struct ww_forward *f, double *hidden, size_t n,
                             struct ww_error *err)
{
    const struct ww_layout *layout = f->layout;
    uint64_t width = layout->residual.width;
    const struct ww_mlp curve = {.n_neurons = width, .act = layout->head_act};
    double *rows = NULL;
    enum ww_err rc = ww_fw_alloc(&rows, n, width, err);
    if (rc) {
        goto out;
    }
    rc = ww_fw_linear(f, &layout->head_transform, hidden, n, width, rows, width, err);
    if (rc) {
        goto out;
    }
    for (size_t t = 0; t < n; t++) {
        ww_core_mlp(&curve, NULL, rows + t * width, rows + t * width);
    }
    rc = ww_fw_norm(f, &layout->head_norm, rows, hidden, n, width, err);
out:
    ww_free(rows);
    return rc;
}

enum ww_err ww_fw_head(struct ww_forward *f, double *hidden, size_t n, double *logits,
                       struct ww_error *err)
{
    const struct ww_layout *layout = f->layout;
    uint64_t width = layout->residual.width;
    uint64_t vocab = ww_forward_vocab(f);
    enum ww_err rc = WW_OK;
    if (layout->head_norm.kind != WW_NORM_NONE) {
        rc = transform(f, hidden, n, err);
        if (rc) {
            goto out;
        }
    }
    for (size_t i = 0; i < n * width; i++) {
        hidden[i] *= layout->head_multiplier;
    }
    rc = ww_fw_linear(f, &layout->head, hidden, n, width, logits, vocab, err);
    double cap = layout->logit_softcap;
    for (size_t i = 0; !rc && cap > 0 && i < n * vocab; i++) {
        logits[i] = cap * tanh(logits[i] / cap);
    }
out:
    ww_fw_release(f);
    return rc;
}

static enum ww_err check_task(const struct ww_forward *f, struct ww_error *err)
{
    static const char *const tasks[] = {"causal-lm", "masked-lm", "seq2seq"};
    const struct ww_layout *layout = f->layout;
    for (size_t i = 0; i < WW_LEN(tasks); i++) {
        if (ww_str_eq(layout->task, tasks[i]) && layout->head.weight != WW_NONE) {
            return WW_OK;
        }
    }
    return WW_FAIL(
        err, WW_E_UNSUPPORTED,
        "model of task '%s' has no token logits, expected causal-lm, masked-lm "
        "or seq2seq",
        layout->task ? layout->task : "unknown");
}

enum ww_err ww_forward_logits(struct ww_forward *forward, const uint32_t *tokens,
                              size_t n, const uint32_t *encoder_tokens, size_t n_encoder,
                              double *logits, struct ww_error *err)
{
    uint64_t width = forward->layout->residual.width;
    uint32_t stack = 0;
    uint32_t encoder = WW_NONE;
    double *hidden = NULL;
    double *source = NULL;
    enum ww_err rc = check_task(forward, err);
    if (rc) {
        goto out;
    }
    rc = ww_fw_roles(forward, &stack, &encoder, err);
    if (rc) {
        goto out;
    }
    if ((encoder != WW_NONE) != (encoder_tokens != NULL && n_encoder > 0)) {
        rc = WW_FAIL(err, WW_E_USAGE,
                     encoder != WW_NONE
                         ? "an encoder-decoder needs encoder tokens"
                         : "encoder tokens were given to a model without an encoder");
        goto out;
    }
    rc = ww_fw_alloc(&hidden, n, width, err);
    if (rc) {
        goto out;
    }
    if (encoder != WW_NONE) {
        rc = ww_fw_alloc(&source, n_encoder, width, err);
        if (rc) {
            goto out;
        }
        rc = ww_fw_stack(forward, encoder,
                         &(struct ww_fw_tokens){.tokens = encoder_tokens, .n = n_encoder},
                         source, err);
        if (rc) {
            goto out;
        }
    }
    rc = ww_fw_stack(forward, stack,
                     &(struct ww_fw_tokens){
                         .tokens = tokens, .n = n, .encoder = source, .m = n_encoder},
                     hidden, err);
    if (rc) {
        goto out;
    }
    rc = ww_fw_head(forward, hidden, n, logits, err);
out:
    ww_free(hidden);
    ww_free(source);
    return rc;
}

enum ww_err ww_forward_hidden(struct ww_forward *forward, const uint32_t *tokens,
                              size_t n, double *hidden, struct ww_error *err)
{
    uint32_t stack = 0;
    uint32_t encoder = WW_NONE;
    enum ww_err rc = ww_fw_roles(forward, &stack, &encoder, err);
    if (rc) {
        return rc;
    }
    return ww_fw_stack(forward, encoder != WW_NONE ? encoder : stack,
                       &(struct ww_fw_tokens){.tokens = tokens, .n = n}, hidden, err);
}
