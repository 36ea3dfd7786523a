/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Adapters that are to be merged: what they change, and with which numbers. Only plain
 * LoRA goes into a sum of adapters: a magnitude (DoRA) acts on base and sum together, and
 * whole weights or biases are no difference without the base.
 */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "merge/lora_job.h"
#include "merge/recipe_value.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"

static const struct ww_recipe_slice *slice_of(const struct ww_recipe *r)
{
    return &r->modules[0].slices[0];
}

/* Inputs that are not the base. */
static bool is_input(const struct ww_recipe *r, uint32_t i)
{
    return slice_of(r)->inputs[i].model != ww_recipe_base(r, slice_of(r));
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
    for (uint32_t i = 0; i < slice_of(r)->n_inputs && !rc; i++) {
        const struct ww_recipe_model *m = &r->models[slice_of(r)->inputs[i].model];
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

const struct ww_lora_rule *ww_lora_rule_of(enum ww_lora_way way)
{
    static const struct ww_lora_rule rules[] = {
        [WW_LORA_FACTORS] = {WW_LORA_KEEP_ALL, false},
        [WW_LORA_FACTORS_TIES] = {WW_LORA_KEEP_LARGEST, true},
        [WW_LORA_FACTORS_PRUNED] = {WW_LORA_KEEP_LARGEST, false},
        [WW_LORA_FACTORS_DARE] = {WW_LORA_KEEP_BY_CHANCE, false},
        [WW_LORA_FACTORS_DARE_TIES] = {WW_LORA_KEEP_BY_CHANCE, true},
        [WW_LORA_WHOLE_TIES] = {WW_LORA_KEEP_LARGEST, true},
        [WW_LORA_WHOLE_PRUNED] = {WW_LORA_KEEP_LARGEST, false},
        [WW_LORA_WHOLE_DARE] = {WW_LORA_KEEP_BY_CHANCE, false},
        [WW_LORA_WHOLE_DARE_TIES] = {WW_LORA_KEEP_BY_CHANCE, true},
    };
    return &rules[way];
}

bool ww_lora_by_chance(enum ww_lora_way way)
{
    return way >= WW_LORA_FACTORS &&
           ww_lora_rule_of(way)->prune == WW_LORA_KEEP_BY_CHANCE;
}

static enum ww_err check_sign(const struct ww_lora_job *job, struct ww_error *err)
{
    const bool elects = job->way >= WW_LORA_FACTORS && ww_lora_rule_of(job->way)->elect;

    return job->recipe->adapter.by_count && !elects
               ? WW_FAIL(err, WW_E_RECIPE,
                         "line %zu: 'sign: frequency' is for methods that elect a sign: "
                         "ties and dare_ties by factors or whole",
                         job->recipe->adapter.line)
               : WW_OK;
}

enum combine { SUM, FACTORS, WHOLE };

static enum ww_err choose_way(struct ww_lora_job *job, struct ww_error *err)
{
    static const struct {
        const char *method;
        enum combine combine;
        enum ww_lora_way way;
    } ways[] = {
        {"linear", SUM, WW_LORA_SUM},
        {"task_arithmetic", SUM, WW_LORA_SUM},
        {"knots", SUM, WW_LORA_KNOTS},
        {"core_space", SUM, WW_LORA_CORE},
        {"linear", FACTORS, WW_LORA_FACTORS},
        {"task_arithmetic", FACTORS, WW_LORA_FACTORS},
        {"ties", FACTORS, WW_LORA_FACTORS_TIES},
        {"breadcrumbs", FACTORS, WW_LORA_FACTORS_PRUNED},
        {"dare_linear", FACTORS, WW_LORA_FACTORS_DARE},
        {"dare_ties", FACTORS, WW_LORA_FACTORS_DARE_TIES},
        {"ties", WHOLE, WW_LORA_WHOLE_TIES},
        {"breadcrumbs", WHOLE, WW_LORA_WHOLE_PRUNED},
        {"dare_linear", WHOLE, WW_LORA_WHOLE_DARE},
        {"dare_ties", WHOLE, WW_LORA_WHOLE_DARE_TIES},
    };
    const struct ww_recipe *r = job->recipe;
    const enum combine combine = r->adapter.factors ? FACTORS
                                 : r->adapter.whole ? WHOLE
                                                    : SUM;

    for (size_t i = 0; i < WW_LEN(ways); i++) {
        if (strcmp(ways[i].method, r->method->name) == 0 && ways[i].combine == combine) {
            job->way = ways[i].way;
            return check_sign(job, err);
        }
    }
    return WW_FAIL(
        err, WW_E_UNSUPPORTED,
        "method '%s' does not merge adapters%s; linear, task_arithmetic, knots and "
        "core_space do, ties, breadcrumbs, dare_linear and dare_ties with 'combine: "
        "factors' or 'combine: whole', and any method merges models named BASE+ADAPTER",
        r->method->name,
        r->adapter.factors ? " by factors"
        : r->adapter.whole ? " by whole differences"
                           : "");
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

    job->inputs =
        ww_pool_calloc(&job->work->pool, slice_of(r)->n_inputs, sizeof(*job->inputs));
    if (!job->inputs) {
        return WW_FAIL_MEMORY(err, "a merge of adapters");
    }
    for (uint32_t i = 0; i < slice_of(r)->n_inputs && !rc; i++) {
        const struct ww_recipe_input *named = &slice_of(r)->inputs[i];
        const struct ww_recipe_model *m = &r->models[named->model];
        struct ww_lora_input *input = &job->inputs[job->n_inputs];
        const char *path = NULL;
        if (!is_input(r, i)) {
            continue;
        }
        rc = ww_work_find_folder(job->work, m, m->path, "adapter", &path, err);
        if (!rc) {
            rc = ww_adapter_open(path, &input->adapter, err);
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
            return WW_FAIL(err, WW_E_UNRELATED,
                           "adapters '%s' and '%s' differ in fan_in_fan_out",
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

static enum ww_err list_modules(struct ww_lora_job *job, struct ww_error *err)
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

enum ww_err ww_lora_open(struct ww_lora_job *job, struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    job->recipe = &job->work->file.recipes[job->work->file.last];
    rc = choose_way(job, err);
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
    return rc ? rc : list_modules(job, err);
}

void ww_lora_close(struct ww_lora_job *job)
{
    for (uint32_t i = 0; i < job->n_inputs; i++) {
        ww_adapter_close(job->inputs[i].adapter);
    }
    job->n_inputs = 0;
}

/* A parameter of the method for one module; of one input, or of the whole (WW_NONE). */
static enum ww_err value_of(const struct ww_lora_job *job,
                            const struct ww_lora_module *module, uint32_t input,
                            const char *name, double *out, struct ww_error *err)
{
    const struct ww_recipe *r = job->recipe;
    const struct ww_ynode *scopes[] = {
        input == WW_NONE ? NULL : job->inputs[input].parameters, slice_of(r)->parameters,
        r->modules[0].parameters, r->parameters};
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
    rc = tensor ? ww_recipe_value(&r->method->params[i], scopes, WW_LEN(scopes), tensor,
                                  module->t, out, &found, err)
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
