/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What adapters change, module by module. Only plain LoRA goes into a sum of adapters: a
 * magnitude (DoRA) acts on base and sum together, and whole weights or biases are no
 * difference without the base. The base's own weight below the factors of a head or an
 * embedding is left out.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "merge/adapter_copy.h"
#include "merge/lora_job.h"
#include "util/fail.h"

static enum ww_err check_kind(const struct ww_lora_input *input,
                              const struct ww_adapter_entry *e, struct ww_error *err)
{
    static const char *const kinds[] = {[WW_PART_B_BIAS] = "a bias of LoRA",
                                        [WW_PART_MAGNITUDE] = "a magnitude of DoRA",
                                        [WW_PART_FULL] = "a whole weight"};
    const struct ww_tensor *t = e->tensor;

    if (e->part < WW_LEN(kinds) && kinds[e->part]) {
        return WW_FAIL(
            err, WW_E_UNSUPPORTED,
            "adapter '%s' has %s, '%.160s', which no sum of adapters can carry; "
            "merge models named BASE+%s",
            input->text, kinds[e->part], t->name, input->text);
    }
    if (t->rank != 2 || t->n_elements == 0) {
        return WW_FAIL(err, WW_E_UNSUPPORTED,
                       "tensor '%.160s' of adapter '%s' is no matrix; merge models named "
                       "BASE+%s",
                       t->name, input->text, input->text);
    }
    return WW_OK;
}

static struct ww_lora_module *module_of(struct ww_lora_job *job, const char *name)
{
    for (uint32_t i = 0; i < job->n_modules; i++) {
        if (strcmp(job->modules[i].name, name) == 0) {
            return &job->modules[i];
        }
    }
    return NULL;
}

static enum ww_err add_entry(struct ww_lora_job *job, uint32_t i,
                             const struct ww_adapter_entry *e, struct ww_error *err)
{
    struct ww_lora_module *module = module_of(job, e->module);
    const bool is_a = e->part == WW_PART_A || e->part == WW_PART_EMBEDDING_A;

    if (!module) {
        module = &job->modules[job->n_modules++];
        module->name = e->module;
        module->embedding =
            e->part == WW_PART_EMBEDDING_A || e->part == WW_PART_EMBEDDING_B;
        module->a = ww_pool_calloc(&job->work->pool, job->n_inputs, sizeof(*module->a));
        module->b = ww_pool_calloc(&job->work->pool, job->n_inputs, sizeof(*module->b));
        if (!module->a || !module->b) {
            return WW_FAIL_MEMORY(err, "a merge of adapters");
        }
    }
    *(is_a ? &module->a[i] : &module->b[i]) = e;
    return WW_OK;
}

static enum ww_err check_module(const struct ww_lora_job *job,
                                struct ww_lora_module *module, struct ww_error *err)
{
    for (uint32_t i = 0; i < job->n_inputs; i++) {
        const struct ww_adapter_entry *a = module->a[i];
        const struct ww_adapter_entry *b = module->b[i];
        if (!a && !b) {
            continue;
        }
        if (!a || !b || a->tensor->shape[0] != b->tensor->shape[1]) {
            return WW_FAIL(
                err, WW_E_ADAPTER_FILE,
                "the factors of '%.160s' in adapter '%s' are not two of one rank",
                module->name, job->inputs[i].text);
        }
        if (module->m == 0) {
            module->m = b->tensor->shape[0];
            module->n = a->tensor->shape[1];
        }
        if (module->m != b->tensor->shape[0] || module->n != a->tensor->shape[1]) {
            return WW_FAIL(err, WW_E_SHAPE,
                           "'%.160s' is %" PRIu64 " x %" PRIu64
                           " in one adapter and %" PRIu64 " x %" PRIu64
                           " in '%s': they are not of one base",
                           module->name, module->m, module->n, b->tensor->shape[0],
                           a->tensor->shape[1], job->inputs[i].text);
        }
    }
    return WW_OK;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct ww_lora_module *)a)->name,
                  ((const struct ww_lora_module *)b)->name);
}

/* Where layers count, as in models: t = k / (L - 1). */
static enum ww_err place_layers(struct ww_lora_job *job, struct ww_error *err)
{
    struct ww_pool *pool = &job->work->pool;
    struct ww_tensor *names = ww_pool_calloc(pool, job->n_modules, sizeof(*names));
    struct ww_model model = {.tensors = names, .n_tensors = job->n_modules};
    struct ww_build_model m = {.model = &model};
    enum ww_err rc = names ? WW_OK : WW_FAIL_MEMORY(err, "a merge of adapters");

    for (uint32_t i = 0; i < job->n_modules && !rc; i++) {
        names[i].name = job->modules[i].name;
    }
    if (!rc) {
        rc = ww_build_layers(&m, pool, err);
    }
    for (uint32_t i = 0; i < job->n_modules && !rc; i++) {
        const struct ww_layer_place *place = &m.places[i];
        const uint64_t layers =
            place->stack == WW_NONE ? 0 : m.stacks[place->stack].n_layers;
        job->modules[i].t = layers > 1   ? (double)place->layer / (double)(layers - 1)
                            : layers > 0 ? 1
                                         : 0;
    }
    return rc;
}

enum ww_err ww_lora_list_modules(struct ww_lora_job *job, struct ww_error *err)
{
    size_t most = 0;
    enum ww_err rc = WW_OK;

    for (uint32_t i = 0; i < job->n_inputs; i++) {
        most += job->inputs[i].adapter->n_tensors;
    }
    job->modules = ww_pool_calloc(&job->work->pool, most, sizeof(*job->modules));
    if (!job->modules) {
        return WW_FAIL_MEMORY(err, "a merge of adapters");
    }
    for (uint32_t i = 0; i < job->n_inputs && !rc; i++) {
        const struct ww_adapter *adapter = job->inputs[i].adapter;
        for (uint32_t k = 0; k < adapter->n_tensors && !rc; k++) {
            if (ww_adapter_is_copy(adapter, &adapter->entries[k])) {
                rc = ww_lora_leave_copy(job, &job->inputs[i], &adapter->entries[k], err);
                continue;
            }
            rc = check_kind(&job->inputs[i], &adapter->entries[k], err);
            rc = rc ? rc : add_entry(job, i, &adapter->entries[k], err);
        }
    }
    for (uint32_t i = 0; i < job->n_modules && !rc; i++) {
        rc = check_module(job, &job->modules[i], err);
    }
    if (!rc) {
        qsort(job->modules, job->n_modules, sizeof(*job->modules), by_name);
        rc = place_layers(job, err);
    }
    return rc;
}
