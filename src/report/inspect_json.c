/* SPDX-License-Identifier: Apache-2.0 */
/* inspect as JSON: what was resolved, and why. */
#include "model/config.h"
#include "report/inspect_facts.h"
#include "report/object.h"
#include "util/str.h"

uint64_t ww_fact_parameters(const struct ww_inspection *in)
{
    uint64_t n = 0;
    for (uint32_t i = 0; i < in->model->n_tensors; i++) {
        if (!in->layout || !in->layout->bindings[i].ignored) {
            n += in->model->tensors[i].n_elements;
        }
    }
    return n;
}

const char *ww_fact_dtype(const struct ww_model *model)
{
    uint64_t elements[WW_DTYPE_COUNT] = {0};
    enum ww_dtype best = WW_DTYPE_BOOL;
    for (uint32_t i = 0; i < model->n_tensors; i++) {
        const struct ww_tensor *t = &model->tensors[i];
        elements[t->dtype] += t->n_elements;
        if (elements[t->dtype] > elements[best]) {
            best = t->dtype;
        }
    }
    return ww_dtype_name(best);
}

bool ww_fact_signed(const struct ww_model *model)
{
    for (uint32_t i = 0; i < model->n_side; i++) {
        if (ww_str_eq(model->side[i].path, WW_SIGNATURE_FILE)) {
            return true;
        }
    }
    return false;
}

const struct ww_block_moves *ww_fact_moves(const struct ww_inspection *in, uint32_t i)
{
    const char *name = in->layout->blocks[i].name;
    for (size_t m = 0; m < in->n_moves; m++) {
        if (ww_str_eq(in->moves[m].name, name)) {
            return &in->moves[m];
        }
    }
    return NULL;
}

static void write_attention(struct ww_jw *w, const struct ww_attention *att)
{
    ww_jw_kstr(w, "name", att->name);
    ww_jw_ku64(w, "heads", att->n_heads);
    ww_jw_ku64(w, "kv_heads", att->n_kv_heads);
    ww_jw_ku64(w, "head_dim", att->head_dim);
    ww_jw_ku64(w, "value_dim", att->v_dim);
    ww_jw_ku64(w, "rotary_dim", att->rope.style == WW_ROPE_NONE ? 0 : att->rope.dims);
    ww_jw_kstr(w, "qk_class", ww_qk_class_name(att->qk_class));
    ww_jw_kstr(w, "vo_class", ww_vo_class_name(att->vo_class));
    ww_jw_key(w, "reason");
    ww_jw_object(w);
    ww_jw_kstr(w, "qk", att->qk_reason);
    ww_jw_kstr(w, "vo", att->vo_reason);
    if (att->heads_reason) {
        ww_jw_kstr(w, "heads", att->heads_reason);
    }
    ww_jw_close(w);
}

static void write_blocks(struct ww_jw *w, const struct ww_inspection *in)
{
    ww_jw_key(w, "blocks");
    ww_jw_array(w);
    for (uint32_t i = 0; in->layout && i < in->layout->n_blocks; i++) {
        const struct ww_block *block = &in->layout->blocks[i];
        const uint32_t parts[] = {block->self, block->cross};
        for (size_t p = 0; p < 2; p++) {
            if (parts[p] == WW_NONE) {
                continue;
            }
            ww_jw_object(w);
            write_attention(w, &in->layout->attentions[parts[p]]);
            const struct ww_block_moves *moves = ww_fact_moves(in, i);
            if (moves) {
                ww_object_strings(w, "moves", moves->moved, moves->n_moved);
            }
            ww_jw_close(w);
        }
    }
    ww_jw_close(w);
}

static void write_check(struct ww_jw *w, const struct ww_check_report *check)
{
    ww_jw_key(w, "check");
    ww_jw_object(w);
    ww_jw_ku64(w, "blocks", check->blocks);
    ww_jw_kdouble(w, "max_relative_error", check->max_relative_error);
    ww_jw_kdouble(w, "min_illegal_error", check->min_illegal_error);
    ww_jw_close(w);
}

static void write_findings(struct ww_jw *w, const struct ww_model *model)
{
    ww_jw_key(w, "findings");
    ww_jw_array(w);
    for (uint32_t i = 0; i < model->n_findings; i++) {
        ww_jw_str(w, model->findings[i].text);
    }
    ww_jw_close(w);
}

enum ww_err ww_report_inspect_json(const struct ww_inspection *in, char **out,
                                   struct ww_error *err)
{
    const struct ww_model *model = in->model;
    struct ww_buf buf;
    struct ww_jw w;
    ww_object_begin(&w, &buf, "inspect");
    ww_jw_kstr(&w, "name", model->name);
    ww_jw_kstr(&w, "model_type", model->config ? model->config->model_type : NULL);
    ww_jw_kstr(&w, "dtype", ww_fact_dtype(model));
    ww_jw_ku64(&w, "parameters", ww_fact_parameters(in));
    ww_jw_ku64(&w, "tensors", model->n_tensors);
    ww_jw_ku64(&w, "files", model->n_files);
    if (in->layout) {
        ww_jw_kstr(&w, "descriptor", in->layout->descriptor);
        ww_jw_kstr(&w, "task", in->layout->task);
        ww_jw_kstr(&w, "residual", in->layout->residual.reason);
    }
    write_blocks(&w, in);
    ww_jw_kbool(&w, "lockable", in->why == NULL);
    ww_jw_kstr(&w, "reason", in->why ? in->why->text : NULL);
    ww_jw_kbool(&w, "signed", ww_fact_signed(model));
    ww_jw_kbool(&w, "locked", ww_model_is_locked(model));
    if (in->nonfinite_counted) {
        ww_jw_ku64(&w, "nonfinite", in->nonfinite);
    }
    if (in->check) {
        write_check(&w, in->check);
    }
    write_findings(&w, model);
    return ww_object_end(&w, &buf, out, err);
}
