/* SPDX-License-Identifier: Apache-2.0 */
/* A plan for people: what --dry-run prints. One line per tensor, parameters as numbers.
 */
#include <inttypes.h>
#include <string.h>

#include "merge/lora_job.h"
#include "util/fail.h"

#define MAX_TEXT_BYTES ((size_t)512 << 20)

static enum ww_err add_params(const struct ww_method *method, enum ww_param_scope scope,
                              const double *values, struct ww_buf *out,
                              struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    for (size_t p = 0; p < method->n_params && !rc; p++) {
        if (method->params[p].scope == scope) {
            rc = ww_buf_addf(out, err, " %s=%.6g", method->params[p].name, values[p]);
        }
    }
    return rc;
}

static enum ww_err add_tensor(const struct ww_merge_tensor *t, struct ww_buf *out,
                              struct ww_error *err)
{
    enum ww_err rc = ww_buf_addf(out, err, "  %s %s [", t->name, ww_dtype_name(t->dtype));

    for (unsigned a = 0; a < t->rank && !rc; a++) {
        rc = ww_buf_addf(out, err, "%s%" PRIu64, a ? ", " : "", t->shape[a]);
    }
    if (!rc) {
        rc = ww_buf_add_str(out, "]", err);
    }
    if (!rc) {
        rc = add_params(t->method, WW_PARAM_TENSOR, t->params, out, err);
    }
    if (!rc && t->base) {
        rc = ww_buf_addf(out, err, "; base %u", t->base->model);
    }
    for (uint32_t s = 0; s < t->n_sources && !rc; s++) {
        rc = ww_buf_addf(out, err, "; model %u", t->sources[s].model);
        if (!rc) {
            rc = add_params(t->method, WW_PARAM_SOURCE, t->sources[s].params, out, err);
        }
    }
    return rc ? rc : ww_buf_add_str(out, "\n", err);
}

/* Plan as text for people. */
static enum ww_err plan_text(const struct ww_work *work, const struct ww_merge_plan *plan,
                             uint32_t recipe, struct ww_buf *out, struct ww_error *err)
{
    const struct ww_recipe *r = &work->file.recipes[recipe];
    enum ww_err rc =
        ww_buf_addf(out, err, "%s%s%smethod %s: %s\nevidence: %s\n",
                    r->name ? "recipe " : "", r->name ? r->name : "", r->name ? "\n" : "",
                    r->method->name, r->method->summary, r->method->evidence);

    for (uint32_t i = 0; i < r->n_models && !rc; i++) {
        rc = ww_buf_addf(out, err, "model %u: %s%s\n", i, r->models[i].text,
                         i == r->base ? " (base)" : "");
    }
    for (uint32_t f = 0; f < plan->n_files && !rc; f++) {
        const struct ww_merge_file *file = &plan->files[f];
        rc = ww_buf_addf(out, err, "file %s\n", file->name);
        for (uint32_t t = 0; t < file->n_tensors && !rc; t++) {
            rc = add_tensor(&plan->tensors[file->first_tensor + t], out, err);
        }
    }
    return rc;
}

/* A recipe that takes another's result cannot be planned before that is there. */
static enum ww_err describe_one(struct ww_work *work, uint32_t recipe, struct ww_buf *out,
                                struct ww_error *err)
{
    const struct ww_recipe *r = &work->file.recipes[recipe];
    struct ww_merge_plan plan = {0};
    enum ww_err rc = WW_OK;

    for (uint32_t i = 0; i < r->n_models; i++) {
        if (r->models[i].recipe != WW_NONE) {
            return ww_buf_addf(
                out, err, "%s%s: method %s, planned when the result of '%s' is there\n",
                r->name ? "recipe " : "the last recipe", r->name ? r->name : "",
                r->method->name, r->models[i].text);
        }
    }
    rc = ww_work_plan(work, recipe, &plan, err);
    if (!rc) {
        rc = plan_text(work, &plan, recipe, out, err);
    }
    if (!rc && work->file.n_recipes == 1) {
        rc = ww_merge_plan_digest(&plan, work->plan_sha256, err);
    }
    ww_merge_plan_release(&plan);
    return rc;
}

enum ww_err ww_merge_describe(const char *recipe_path,
                              const struct ww_merge_options *options,
                              struct ww_merge_report *report, char **text,
                              struct ww_error *err)
{
    struct ww_work work = {0};
    struct ww_buf out;
    size_t len = 0;
    bool adapters = false;
    enum ww_err rc = WW_OK;

    memset(report, 0, sizeof(*report));
    *text = NULL;
    ww_buf_init(&out, MAX_TEXT_BYTES);
    rc = ww_work_open_file(&work, recipe_path, options, report, err);
    if (!rc) {
        rc = ww_lora_wanted(&work, &adapters, err);
    }
    if (!rc && adapters) {
        rc = ww_lora_describe(&work, &out, err);
    }
    for (uint32_t i = 0; i < work.file.n_recipes && !rc && !adapters; i++) {
        rc = describe_one(&work, work.file.order[i], &out, err);
    }
    if (!rc) {
        *text = (char *)ww_buf_take(&out, &len);
    }
    ww_buf_release(&out);
    ww_work_close(&work);
    return rc;
}
