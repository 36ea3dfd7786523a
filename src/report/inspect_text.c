/* SPDX-License-Identifier: Apache-2.0 */
/* inspect for people. Blocks that resolve alike are printed once, as a range. */
#include <inttypes.h>

#include "model/config.h"
#include "report/inspect_facts.h"
#include "util/fail.h"
#include "util/str.h"
#include "util/buf.h"

#define TEXT_MAX_BYTES (16U << 20)

static enum ww_err join(struct ww_buf *buf, char *const *items, size_t n,
                        struct ww_error *err)
{
    enum ww_err rc = WW_OK;
    for (size_t i = 0; rc == WW_OK && i < n; i++) {
        rc = ww_buf_addf(buf, err, "%s%s", i ? ", " : "", items[i]);
    }
    return rc;
}

static enum ww_err add_attention(struct ww_buf *buf, const struct ww_attention *att,
                                 struct ww_error *err)
{
    enum ww_err rc = ww_buf_addf(
        buf, err,
        "  %s-attention: %" PRIu64 " heads, %" PRIu64 " KV heads of %" PRIu64 "\n",
        att->cross ? "cross" : "self", att->n_heads, att->n_kv_heads, att->head_dim);
    if (rc == WW_OK) {
        rc = ww_buf_addf(buf, err, "    QK %s: %s\n", ww_qk_class_name(att->qk_class),
                         att->qk_reason);
    }
    if (rc == WW_OK) {
        rc = ww_buf_addf(buf, err, "    VO %s: %s\n", ww_vo_class_name(att->vo_class),
                         att->vo_reason);
    }
    if (rc == WW_OK && att->heads_reason) {
        rc = ww_buf_addf(buf, err, "    heads: %s\n", att->heads_reason);
    }
    return rc;
}

/* What is printed for one block, without its name: equal texts share a paragraph. */
static enum ww_err block_text(const struct ww_inspection *in, uint32_t i,
                              struct ww_buf *buf, struct ww_error *err)
{
    const struct ww_block *block = &in->layout->blocks[i];
    const uint32_t parts[] = {block->self, block->cross};
    enum ww_err rc = WW_OK;
    for (size_t p = 0; rc == WW_OK && p < 2; p++) {
        if (parts[p] != WW_NONE) {
            rc = add_attention(buf, &in->layout->attentions[parts[p]], err);
        }
    }
    const struct ww_block_moves *moves = ww_fact_moves(in, i);
    if (rc == WW_OK && moves) {
        rc = ww_buf_add_str(buf, "  a lock moves: ", err);
        if (rc == WW_OK) {
            rc = join(buf, moves->moved, moves->n_moved, err);
        }
        if (rc == WW_OK) {
            rc = ww_buf_addf(buf, err, "%s\n", moves->n_moved ? "" : "nothing");
        }
        if (rc == WW_OK && moves->reason) {
            rc = ww_buf_addf(buf, err, "  stays: %s\n", moves->reason);
        }
    }
    return rc;
}

static enum ww_err flush_run(struct ww_buf *out, const struct ww_inspection *in,
                             uint32_t first, uint32_t last, const struct ww_buf *text,
                             struct ww_error *err)
{
    const char *from = in->layout->blocks[first].name;
    enum ww_err rc;
    if (first == last) {
        rc = ww_buf_addf(out, err, "%s\n%s", from, ww_buf_cstr(text));
    } else {
        rc = ww_buf_addf(out, err, "%s ... %s (%u blocks)\n%s", from,
                         in->layout->blocks[last].name, last - first + 1,
                         ww_buf_cstr(text));
    }
    return rc;
}

static enum ww_err add_blocks(struct ww_buf *out, const struct ww_inspection *in,
                              struct ww_error *err)
{
    struct ww_buf run, next;
    ww_buf_init(&run, TEXT_MAX_BYTES);
    ww_buf_init(&next, TEXT_MAX_BYTES);
    enum ww_err rc = WW_OK;
    uint32_t first = 0;
    for (uint32_t i = 0; i < in->layout->n_blocks; i++) {
        ww_buf_clear(&next);
        rc = block_text(in, i, &next, err);
        if (rc) {
            goto out;
        }
        bool same_stack = in->layout->blocks[i].stack == in->layout->blocks[first].stack;
        if (i > 0 && same_stack && ww_str_eq(ww_buf_cstr(&run), ww_buf_cstr(&next))) {
            continue;
        }
        if (i > 0) {
            rc = flush_run(out, in, first, i - 1, &run, err);
            if (rc) {
                goto out;
            }
        }
        first = i;
        struct ww_buf swap = run;
        run = next;
        next = swap;
    }
    if (in->layout->n_blocks > 0) {
        rc = flush_run(out, in, first, in->layout->n_blocks - 1, &run, err);
    }
out:
    ww_buf_release(&run);
    ww_buf_release(&next);
    return rc;
}

static enum ww_err add_head(struct ww_buf *out, const struct ww_inspection *in,
                            struct ww_error *err)
{
    const struct ww_model *model = in->model;
    const char *type = model->config ? model->config->model_type : NULL;
    enum ww_err rc = ww_buf_addf(
        out, err, "%s: %s, %s, %" PRIu64 " parameters in %u tensors, %u file%s\n",
        model->name, type ? type : "no model_type", ww_fact_dtype(model),
        ww_fact_parameters(in), model->n_tensors, model->n_files,
        model->n_files == 1 ? "" : "s");
    if (rc == WW_OK && in->layout) {
        rc = ww_buf_addf(out, err,
                         "descriptor %s, task %s, residual stream of %" PRIu64 ": %s\n",
                         in->layout->descriptor, in->layout->task,
                         in->layout->residual.width, in->layout->residual.reason);
    }
    if (rc == WW_OK) {
        rc = ww_buf_addf(out, err, "signed: %s; locked: %s; lockable: %s%s%s\n",
                         ww_fact_signed(model) ? "yes" : "no",
                         ww_model_is_locked(model) ? "yes" : "no", in->why ? "no" : "yes",
                         in->why ? ": " : "", in->why ? in->why->text : "");
    }
    if (rc == WW_OK && in->nonfinite_counted) {
        rc = ww_buf_addf(out, err, "NaN or infinite elements: %" PRIu64 "\n",
                         in->nonfinite);
    }
    for (uint32_t i = 0; rc == WW_OK && i < model->n_findings; i++) {
        rc = ww_buf_addf(out, err, "note: %s\n", model->findings[i].text);
    }
    return rc;
}

enum ww_err ww_report_inspect_text(const struct ww_inspection *in, char **out,
                                   struct ww_error *err)
{
    struct ww_buf buf;
    ww_buf_init(&buf, TEXT_MAX_BYTES);
    *out = NULL;
    enum ww_err rc = add_head(&buf, in, err);
    if (rc) {
        goto out;
    }
    if (in->layout) {
        rc = add_blocks(&buf, in, err);
        if (rc) {
            goto out;
        }
    }
    if (in->check) {
        rc = ww_buf_addf(&buf, err,
                         "check: %u blocks; legal transform off by at most %.2g, illegal "
                         "one by at least %.2g (relative)\n",
                         in->check->blocks, in->check->max_relative_error,
                         in->check->min_illegal_error);
        if (rc) {
            goto out;
        }
    }
    *out = (char *)ww_buf_take(&buf, NULL);
out:
    ww_buf_release(&buf);
    return rc;
}
