/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Weights of the base that adapters carry below their factors. A sum of adapters leaves
 * them out, which is right for who has that base: so it has to be named and compared.
 */
#include "merge/adapter_copy.h"
#include "merge/lora_job.h"
#include "util/fail.h"

static enum ww_err open_base(const struct ww_lora_job *job,
                             const struct ww_lora_input *input,
                             const struct ww_adapter_entry *entry, struct ww_model **out,
                             struct ww_error *err)
{
    const struct ww_recipe *r = job->recipe;
    const uint32_t base = ww_recipe_base(r, ww_lora_slice(r));
    const char *path = NULL;
    enum ww_err rc = WW_OK;

    if (base == WW_NONE || r->models[base].adapter) {
        return WW_FAIL(err, WW_E_UNSUPPORTED,
                       "adapter '%s' has the weight below its factors too, '%.160s'; it "
                       "is left out where it is the base's own: name that as base_model",
                       input->text, entry->tensor->name);
    }
    rc = ww_work_find_model(job->work, &r->models[base], &path, err);
    return rc ? rc : ww_model_open(path, out, err);
}

enum ww_err ww_lora_leave_copy(struct ww_lora_job *job, const struct ww_lora_input *input,
                               const struct ww_adapter_entry *entry, struct ww_error *err)
{
    uint32_t of = WW_NONE;
    bool same = false;
    enum ww_err rc = WW_OK;

    if (!job->base) {
        rc = open_base(job, input, entry, &job->base, err);
    }
    if (!rc) {
        rc = ww_adapter_copy_same(input->adapter, entry, job->base, &of, &same, err);
    }
    if (!rc && !same) {
        rc = WW_FAIL(err, WW_E_UNSUPPORTED,
                     "adapter '%s' has another weight below its factors, '%.160s', than "
                     "'%s', so no sum of adapters can carry it; merge models named "
                     "BASE+%s",
                     input->text, entry->tensor->name, job->base->path, input->text);
    }
    return rc;
}
