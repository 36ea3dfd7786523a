/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Greedy decoding: the prompt in one call, then one token at a time against kept keys and
 * values. The sums are those of a call over the whole sequence, bit for bit, so the cache
 * changes the time and nothing else.
 */
#include "arch/forward_impl.h"

#include "util/alloc.h"
#include "util/fail.h"
#include "util/str.h"

#define KEEP_BYTES (512ull << 20)

static void pasts_free(struct ww_fw_past *pasts, uint32_t n)
{
    for (uint32_t i = 0; pasts && i < n; i++) {
        ww_free(pasts[i].k);
        ww_free(pasts[i].v);
        ww_free(pasts[i].positions);
    }
    ww_free(pasts);
}

static enum ww_err past_init(const struct ww_layout *layout, uint32_t block,
                             size_t capacity, struct ww_fw_past *past,
                             struct ww_error *err)
{
    uint32_t self = layout->blocks[block].self;
    if (self == WW_NONE) {
        return WW_OK;
    }
    const struct ww_attention *att = &layout->attentions[self];
    past->capacity = capacity;
    past->positions = ww_calloc(capacity, sizeof(*past->positions));
    if (!past->positions) {
        return WW_FAIL_MEMORY(err, "%zu positions", capacity);
    }
    enum ww_err rc =
        ww_fw_alloc(&past->k, capacity, att->n_kv_heads * att->head_dim, err);
    if (rc) {
        return rc;
    }
    return ww_fw_alloc(&past->v, capacity, att->n_kv_heads * att->v_dim, err);
}

static enum ww_err pasts_new(const struct ww_layout *layout, const struct ww_stack *stack,
                             size_t capacity, struct ww_fw_past **out,
                             struct ww_error *err)
{
    *out = ww_calloc(stack->n_blocks, sizeof(**out));
    if (!*out) {
        return WW_FAIL_MEMORY(err, "kept keys and values");
    }
    for (uint32_t b = 0; b < stack->n_blocks; b++) {
        enum ww_err rc =
            past_init(layout, stack->first_block + b, capacity, &(*out)[b], err);
        if (rc) {
            return rc;
        }
    }
    return WW_OK;
}

/* Ties go to the lower token. */
static uint32_t best_token(const double *logits, uint64_t vocab)
{
    uint64_t best = 0;
    for (uint64_t i = 1; i < vocab; i++) {
        if (logits[i] > logits[best]) {
            best = i;
        }
    }
    return (uint32_t)best;
}

static enum ww_err check(const struct ww_forward *f, size_t n, uint32_t *stack,
                         struct ww_error *err)
{
    const struct ww_layout *layout = f->layout;
    uint32_t encoder = WW_NONE;
    if (!ww_str_eq(layout->task, "causal-lm") || layout->head.weight == WW_NONE) {
        return WW_FAIL(err, WW_E_UNSUPPORTED,
                       "model of task '%s' does not continue text, expected causal-lm",
                       layout->task ? layout->task : "unknown");
    }
    if (n == 0) {
        return WW_FAIL(err, WW_E_USAGE, "greedy decoding needs at least one token");
    }
    return ww_fw_roles(f, stack, &encoder, err);
}

enum ww_err ww_forward_greedy(struct ww_forward *forward, uint32_t *tokens, size_t n,
                              size_t max_new, uint32_t eos, size_t *n_out,
                              struct ww_error *err)
{
    const struct ww_layout *layout = forward->layout;
    size_t width = (size_t)layout->residual.width;
    uint64_t vocab = ww_forward_vocab(forward);
    uint32_t stack = 0;
    bool kept = false;
    double *hidden = NULL;
    double *logits = NULL;
    struct ww_fw_past *pasts = NULL;
    size_t end = n;
    size_t fed = 0;
    *n_out = n;
    enum ww_err rc = check(forward, n, &stack, err);
    if (rc) {
        goto out;
    }
    rc = ww_fw_keep(forward, KEEP_BYTES, &kept, err);
    if (rc) {
        goto out;
    }
    rc = ww_fw_alloc(&hidden, n, width, err);
    if (rc) {
        goto out;
    }
    rc = ww_fw_alloc(&logits, 1, vocab, err);
    if (rc) {
        goto out;
    }
    rc = pasts_new(layout, &layout->stacks[stack], n + max_new, &pasts, err);
    if (rc) {
        goto out;
    }
    while (end < n + max_new && !(end > n && tokens[end - 1] == eos)) {
        size_t step = end - fed;
        const struct ww_fw_tokens in = {
            .tokens = tokens + fed, .n = step, .start = fed, .pasts = pasts};
        rc = ww_fw_stack(forward, stack, &in, hidden, err);
        if (rc) {
            goto out;
        }
        rc = ww_fw_head(forward, hidden + (step - 1) * width, 1, logits, err);
        if (rc) {
            goto out;
        }
        fed = end;
        tokens[end++] = best_token(logits, vocab);
    }
    *n_out = end;
out:
    pasts_free(pasts, layout->stacks ? layout->stacks[stack].n_blocks : 0);
    ww_free(hidden);
    ww_free(logits);
    return rc;
}
