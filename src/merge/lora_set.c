/* SPDX-License-Identifier: Apache-2.0 */
/* The numbers with which adapters go into one module of their merge. */
#include <math.h>

#include "merge/lora_job.h"
#include "merge/recipe_value.h"
#include "util/alloc.h"
#include "util/fail.h"

/* A parameter of the method for one module; of one input, or of the whole (WW_NONE). */
static enum ww_err value_of(const struct ww_lora_job *job,
                            const struct ww_lora_module *module, uint32_t input,
                            const char *name, double *out, struct ww_error *err)
{
    const struct ww_recipe *r = job->recipe;
    const struct ww_ynode *scopes[] = {
        input == WW_NONE ? NULL : job->inputs[input].parameters,
        ww_lora_slice(r)->parameters, r->modules[0].parameters, r->parameters};
    const uint32_t i = ww_method_param(r->method, name);
    char *tensor = NULL;
    bool found = false;
    enum ww_err rc = WW_OK;

    *out = 1;
    if (i == WW_NONE) {
        return WW_OK;
    }
    *out = r->method->params[i].fallback;
    tensor = ww_asprintf("%s.weight", module->name);
    const struct ww_recipe_place at = {scopes, WW_LEN(scopes), tensor, module->t};
    rc = tensor ? ww_recipe_value(&r->method->params[i], &at, out, &found, err)
                : WW_FAIL_MEMORY(err, "a merge of adapters");
    ww_free(tensor);
    if (!rc && !found && r->method->params[i].required) {
        rc = WW_FAIL(err, WW_E_RECIPE,
                     "method '%s' needs %s; nothing gives one to '%.160s'",
                     r->method->name, name, module->name);
    }
    return rc;
}

/* PEFT's magnitude pruning drops no outliers, and its DARE divides by the density. */
static enum ww_err check_pruning(const struct ww_lora_job *job,
                                 const struct ww_lora_module *module, uint32_t i,
                                 const struct ww_lora_part *part, struct ww_error *err)
{
    double gamma = 0;
    enum ww_err rc = WW_OK;

    if (job->way == WW_LORA_FACTORS_PRUNED || job->way == WW_LORA_WHOLE_PRUNED) {
        rc = value_of(job, module, i, "gamma", &gamma, err);
    }
    if (!rc && gamma != 0) {
        rc = WW_FAIL(err, WW_E_UNSUPPORTED,
                     "a merge of adapters drops no outliers: gamma of '%s' is %g, say "
                     "'gamma: 0'",
                     job->inputs[i].text, gamma);
    }
    if (!rc && part->density == 0) {
        rc = WW_FAIL(err, WW_E_RECIPE, "density 0 keeps nothing of '%s' in '%.160s'",
                     job->inputs[i].text, module->name);
    }
    return rc;
}

static enum ww_err add_part(const struct ww_lora_job *job,
                            const struct ww_lora_module *module, uint32_t i,
                            double divisor, bool read, struct ww_lora_set *out,
                            struct ww_error *err)
{
    struct ww_lora_part *part = &out->parts[out->n];
    const struct ww_adapter *adapter = job->inputs[i].adapter;
    double rescale = 1;
    enum ww_err rc = WW_OK;

    if (!module->a[i]) {
        return WW_OK;
    }
    out->n++;
    part->order = i;
    part->pair.rank = (size_t)module->a[i]->tensor->shape[0];
    rc = value_of(job, module, i, "weight", &part->weight, err);
    part->weight /= divisor;
    if (!rc) {
        rc = value_of(job, module, i, "density", &part->density, err);
    }
    if (!rc) {
        rc = value_of(job, module, WW_NONE, "rescale", &rescale, err);
        part->rescale = rescale != 0;
    }
    if (!rc && job->way >= WW_LORA_FACTORS_PRUNED) {
        rc = check_pruning(job, module, i, part, err);
    }
    if (!rc) {
        rc = ww_adapter_scaling(adapter, module->name, part->pair.rank, &part->scaling,
                                err);
    }
    if (!rc && read) {
        rc = ww_adapter_read(adapter, module->a[i]->tensor, &part->pair.a, err);
    }
    if (!rc && read) {
        rc = ww_adapter_read(adapter, module->b[i]->tensor, &part->pair.b, err);
    }
    return rc;
}

/* Adapters that leave a weight alone count too: their difference is zero. A sum of 0 is
 * refused by linear and leaves task_arithmetic undivided, as for models. */
static enum ww_err divisor_of(const struct ww_lora_job *job,
                              const struct ww_lora_module *module, double *out,
                              struct ww_error *err)
{
    double normalize = 0;
    double sum = 0;
    enum ww_err rc = WW_OK;

    *out = 1;
    if (ww_method_param(job->recipe->method, "normalize") == WW_NONE ||
        (job->way >= WW_LORA_FACTORS && ww_lora_rule_of(job->way)->elect)) {
        return WW_OK;
    }
    rc = value_of(job, module, WW_NONE, "normalize", &normalize, err);
    for (uint32_t i = 0; i < job->n_inputs && !rc; i++) {
        double weight = 0;
        rc = value_of(job, module, i, "weight", &weight, err);
        sum += weight;
    }
    if (job->recipe->method->base == WW_BASE_REQUIRED && fabs(sum) < 1e-8) {
        normalize = 0;
    }
    if (!rc && normalize != 0 && sum == 0) {
        rc = WW_FAIL(err, WW_E_RECIPE, "the weights of '%.160s' sum to 0", module->name);
    }
    *out = normalize != 0 ? sum : 1;
    return rc;
}

enum ww_err ww_lora_set_of(const struct ww_lora_job *job,
                           const struct ww_lora_module *module, bool read,
                           struct ww_lora_set *out, struct ww_error *err)
{
    double divisor = 1;
    enum ww_err rc = divisor_of(job, module, &divisor, err);

    *out = (struct ww_lora_set){.m = (size_t)module->m,
                                .n_in = (size_t)module->n,
                                .name = module->name,
                                .seed = job->work->options->seed,
                                .by_count = job->recipe->adapter.by_count};
    out->parts = ww_calloc(job->n_inputs, sizeof(*out->parts));
    if (!rc && !out->parts) {
        rc = WW_FAIL_MEMORY(err, "a merge of adapters");
    }
    if (!rc) {
        rc = value_of(job, module, WW_NONE, "lambda", &out->lambda, err);
    }
    for (uint32_t i = 0; i < job->n_inputs && !rc; i++) {
        rc = add_part(job, module, i, divisor, read, out, err);
    }
    if (!rc && job->way >= WW_LORA_FACTORS && out->lambda != 1) {
        rc = WW_FAIL(err, WW_E_UNSUPPORTED,
                     "'combine: factors' and 'whole' have no lambda; give weights in its "
                     "place");
    }
    return rc;
}

void ww_lora_set_release(struct ww_lora_set *set)
{
    for (uint32_t i = 0; set->parts && i < set->n; i++) {
        ww_lora_pair_release(&set->parts[i].pair);
    }
    ww_free(set->parts);
    *set = (struct ww_lora_set){0};
}
