/* SPDX-License-Identifier: Apache-2.0 */
/* Adapters that are to be merged: whether a recipe means them, and whether they fit. */
#include <string.h>
#include <strings.h>

#include "merge/lora_job.h"
#include "util/fail.h"
#include "util/fs.h"

/* Inputs that are not the base. */
static bool is_input(const struct ww_recipe *r, uint32_t i)
{
    return ww_lora_slice(r)->inputs[i].model != ww_recipe_base(r, ww_lora_slice(r));
}

enum ww_err ww_lora_wanted(struct ww_work *work, bool *wanted, struct ww_error *err)
{
    const struct ww_recipe *r = &work->file.recipes[work->file.last];
    const struct ww_recipe_model *with = NULL;
    const struct ww_recipe_model *without = NULL;
    enum ww_err rc = WW_OK;

    *wanted = false;
    if (work->file.n_recipes != 1 || r->n_modules != 1 || r->modules[0].is_sliced) {
        return WW_OK;
    }
    for (uint32_t i = 0; i < ww_lora_slice(r)->n_inputs && !rc; i++) {
        const struct ww_recipe_model *m = &r->models[ww_lora_slice(r)->inputs[i].model];
        const char *path = NULL;
        if (!is_input(r, i)) {
            continue;
        }
        rc = m->adapter ? WW_OK
                        : ww_work_find_folder(work, m, m->path, "model", &path, err);
        if (rc) {
            ww_error_context(err, "%s", work->file.label);
        }
        if (!rc && path && ww_adapter_is_folder(path)) {
            with = m;
        } else {
            without = m;
        }
    }
    if (rc || !with) {
        return !rc && r->adapter.given
                   ? WW_FAIL(err, WW_E_RECIPE,
                             "line %zu: adapter is for recipes whose models are adapters",
                             r->adapter.line)
                   : rc;
    }
    if (without) {
        return WW_FAIL(
            err, WW_E_RECIPE,
            "line %zu: '%s' is an adapter and '%s' a model; to merge models name "
            "the first as BASE+%s",
            with->line, with->text, without->text, with->text);
    }
    *wanted = true;
    return WW_OK;
}

static enum ww_err refuse_options(const struct ww_recipe *r, struct ww_error *err)
{
    const char *what = r->vocab.source != WW_VOCAB_DONOR ? "a vocabulary"
                       : r->chat_template                ? "chat_template"
                       : r->has_dtype && r->dtype != WW_DTYPE_F32
                           ? "dtype other than float32"
                       : r->has_out_dtype && r->out_dtype != WW_DTYPE_F32
                           ? "out_dtype other than float32"
                           : NULL;

    return what ? WW_FAIL(err, WW_E_UNSUPPORTED, "a merge of adapters has no %s", what)
                : WW_OK;
}

static enum ww_err open_inputs(struct ww_lora_job *job, struct ww_error *err)
{
    const struct ww_recipe *r = job->recipe;
    enum ww_err rc = WW_OK;

    job->inputs = ww_pool_calloc(&job->work->pool, ww_lora_slice(r)->n_inputs,
                                 sizeof(*job->inputs));
    if (!job->inputs) {
        return WW_FAIL_MEMORY(err, "a merge of adapters");
    }
    for (uint32_t i = 0; i < ww_lora_slice(r)->n_inputs && !rc; i++) {
        const struct ww_recipe_input *named = &ww_lora_slice(r)->inputs[i];
        const struct ww_recipe_model *m = &r->models[named->model];
        struct ww_lora_input *input = &job->inputs[job->n_inputs];
        const char *path = NULL;
        if (!is_input(r, i)) {
            continue;
        }
        rc = ww_work_find_folder(job->work, m, m->path, "adapter", &path, err);
        if (!rc) {
            rc = ww_adapter_open_plain(path, &input->adapter, err);
        }
        if (!rc && input->adapter->parameters) {
            rc = WW_FAIL(
                err, WW_E_UNSUPPORTED,
                "adapter '%s' uses target_parameters, whose factors experts share; "
                "merge it as a model named BASE+ADAPTER",
                m->text);
        }
        input->text = m->text;
        input->parameters = named->parameters;
        job->n_inputs++;
    }
    return rc;
}

static enum ww_err compare(struct ww_lora_job *job, struct ww_error *err)
{
    const struct ww_adapter *first = job->inputs[0].adapter;

    for (uint32_t i = 1; i < job->n_inputs; i++) {
        const struct ww_adapter *other = job->inputs[i].adapter;
        if (first->fan_in_fan_out != other->fan_in_fan_out) {
            return WW_FAIL(
                err, WW_E_UNRELATED,
                "adapters '%s' and '%s' differ in fan_in_fan_out: one is of layers that "
                "store their weights transposed, so they are not of one base",
                job->inputs[0].text, job->inputs[i].text);
        }
        if (first->base && other->base && !job->work->options->allow_mixed &&
            strcasecmp(ww_path_base(first->base), ww_path_base(other->base)) != 0) {
            return WW_FAIL(
                err, WW_E_WRONG_MODEL,
                "adapter '%s' was made for '%.160s', '%s' for '%.160s'; if these "
                "are one model say --allow-mixed",
                job->inputs[0].text, first->base, job->inputs[i].text, other->base);
        }
    }
    return WW_OK;
}

enum ww_err ww_lora_open(struct ww_lora_job *job, struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    job->recipe = &job->work->file.recipes[job->work->file.last];
    rc = ww_lora_choose_way(job, err);
    if (!rc) {
        rc = refuse_options(job->recipe, err);
    }
    for (size_t i = 0; i < job->recipe->warnings.n && !rc; i++) {
        rc = ww_strlist_add(&job->work->warnings, job->recipe->warnings.items[i], err);
    }
    if (!rc) {
        rc = open_inputs(job, err);
    }
    if (!rc) {
        rc = compare(job, err);
    }
    if (!rc) {
        rc = ww_lora_check_locks(job, err);
    }
    return rc ? rc : ww_lora_list_modules(job, err);
}

void ww_lora_close(struct ww_lora_job *job)
{
    for (uint32_t i = 0; i < job->n_inputs; i++) {
        ww_adapter_close(job->inputs[i].adapter);
    }
    job->n_inputs = 0;
    ww_model_close(job->base);
    job->base = NULL;
}
