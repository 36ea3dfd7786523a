/* SPDX-License-Identifier: Apache-2.0 */
/*
 * merge_folders METHOD FLAGS OUT BASE MODEL... [NAME=VALUE]...
 *
 * Merge whole models of one shape by one method, without a recipe: for tests of the
 * engine. FLAGS: "-", or letters: o order-free, p papers. BASE "-" for none. NAME=VALUE
 * sets a parameter everywhere, NAME=V,W one for each model. OUT gets the first model's
 * headers and config.json.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "merge/plan.h"
#include "stream/stream.h"
#include "util/fs.h"

#define MAX_MODELS 16

struct job {
    struct ww_model *models[MAX_MODELS]; /* the base first, which may be NULL */
    uint32_t n_models;
    uint32_t first_input[MAX_MODELS];
    const struct ww_method *method;
    double params[WW_METHOD_MAX_PARAMS];
    double source_params[MAX_MODELS][WW_METHOD_MAX_PARAMS];
    struct ww_merge_plan plan;
};

static void set_params(struct job *j, int argc, char **argv)
{
    for (uint32_t s = 0; s < j->n_models; s++) {
        for (size_t k = 0; k < j->method->n_params; k++) {
            const struct ww_method_param *p = &j->method->params[k];
            j->params[k] = p->fallback;
            j->source_params[s][k] = p->required ? 1 : p->fallback;
        }
    }
    for (int i = 5; i < argc; i++) {
        char *value = strchr(argv[i], '=');
        if (!value) {
            continue;
        }
        *value++ = '\0';
        uint32_t k = ww_method_param(j->method, argv[i]);
        if (k == WW_NONE) {
            fprintf(stderr, "no parameter '%s'\n", argv[i]);
            exit(2);
        }
        j->params[k] = strtod(value, NULL);
        for (uint32_t s = 1; s < j->n_models; s++) {
            j->source_params[s][k] = strtod(value, NULL);
            value = strchr(value, ',') ? strchr(value, ',') + 1 : value;
        }
    }
}

static void add_inputs(struct job *j)
{
    for (uint32_t m = 0; m < j->n_models; m++) {
        j->first_input[m] = j->plan.n_inputs;
        for (uint32_t f = 0; j->models[m] && f < j->models[m]->n_files; f++) {
            const struct ww_weight_file *file = &j->models[m]->files[f];
            j->plan.inputs[j->plan.n_inputs++] = (struct ww_merge_input){
                .name = file->name, .fd = file->fd, .size_bytes = file->size_bytes};
        }
    }
}

static bool find(const struct job *j, uint32_t m, const struct ww_tensor *want,
                 struct ww_merge_source *to)
{
    const struct ww_model *model = j->models[m];
    uint32_t t = ww_model_find(model, want->name);
    if (t == WW_NONE || model->tensors[t].n_elements != want->n_elements) {
        fprintf(stderr, "tensor '%s' does not fit\n", want->name);
        return false;
    }
    to->model = m;
    to->input = j->first_input[m] + model->tensors[t].file;
    to->offset = model->tensors[t].offset;
    to->dtype = model->tensors[t].dtype;
    return true;
}

static bool add_tensor(struct job *j, const struct ww_tensor *t)
{
    struct ww_merge_tensor *to = &j->plan.tensors[j->plan.n_tensors++];
    uint32_t n = j->n_models - 1;
    to->name = t->name;
    to->dtype = t->dtype;
    to->compute = t->dtype == WW_DTYPE_F64 ? WW_DTYPE_F64 : WW_DTYPE_F32;
    to->rank = t->rank;
    memcpy(to->shape, t->shape, sizeof(to->shape));
    to->method = j->method;
    to->n_sources = n;
    to->params = j->params;
    to->sources = calloc(n + 1, sizeof(*to->sources));
    for (uint32_t s = 0; s < n; s++) {
        to->sources[s].params = j->source_params[s + 1];
        if (!find(j, s + 1, t, &to->sources[s])) {
            return false;
        }
    }
    to->base = j->models[0] ? &to->sources[n] : NULL;
    return !to->base || find(j, 0, t, to->base);
}

static bool make_plan(struct job *j)
{
    const struct ww_model *model = j->models[1];
    uint32_t n_inputs = 0;
    for (uint32_t m = 0; m < j->n_models; m++) {
        n_inputs += j->models[m] ? j->models[m]->n_files : 0;
    }
    j->plan.inputs = calloc(n_inputs, sizeof(*j->plan.inputs));
    j->plan.tensors = calloc(model->n_tensors, sizeof(*j->plan.tensors));
    j->plan.files = calloc(model->n_files, sizeof(*j->plan.files));
    add_inputs(j);
    for (uint32_t f = 0; f < model->n_files; f++) {
        const struct ww_weight_file *file = &model->files[f];
        j->plan.files[j->plan.n_files++] =
            (struct ww_merge_file){.name = file->name,
                                   .header = file->header,
                                   .header_bytes = file->header_bytes,
                                   .first_tensor = file->first_tensor,
                                   .n_tensors = file->n_tensors};
    }
    bool ok = true;
    for (uint32_t t = 0; t < model->n_tensors && ok; t++) {
        ok = add_tensor(j, &model->tensors[t]);
    }
    return ok;
}

static enum ww_err merge(struct job *j, const char *path, struct ww_error *err)
{
    struct ww_merge_result result = {0};
    struct ww_out *out = NULL;
    struct ww_buf config;
    ww_buf_init(&config, 1 << 20);
    enum ww_err rc = ww_file_read_at(j->models[1]->dirfd, "config.json", WW_LINKS_REFUSE,
                                     &config, err);
    if (!rc) {
        const struct ww_merge_into into = {.path = path, .extra_bytes = config.len};
        rc = ww_merge_run(&j->plan, &into, NULL, &out, &result, err);
    }
    if (!rc) {
        rc = ww_out_add(out, "config.json", config.data, config.len, err);
    }
    if (!rc) {
        rc = ww_out_commit(out, err);
    }
    ww_out_close(out, false);
    ww_buf_release(&config);
    ww_merge_result_release(&result);
    return rc;
}

int main(int argc, char **argv)
{
    static struct job j;
    struct ww_error err = {0};
    enum ww_err rc = WW_OK;

    j.method = argc > 5 ? ww_method_find(argv[1]) : NULL;
    if (!j.method) {
        fprintf(stderr,
                "use: merge_folders METHOD FLAGS OUT BASE MODEL... [NAME=VALUE]...\n");
        return 2;
    }
    j.n_models = 1;
    for (int i = 4; i < argc && !strchr(argv[i], '=') && !rc; i++) {
        uint32_t m = i == 4 ? 0 : j.n_models++;
        if (m >= MAX_MODELS) {
            return 2;
        }
        if (strcmp(argv[i], "-") != 0) {
            rc = ww_model_open(argv[i], &j.models[m], &err);
        }
    }
    set_params(&j, argc, argv);
    j.plan.order_free = strchr(argv[2], 'o') != NULL;
    j.plan.paper = strchr(argv[2], 'p') != NULL;
    if (!rc && make_plan(&j)) {
        rc = merge(&j, argv[3], &err);
    } else if (!rc) {
        rc = WW_E_USAGE;
    }
    if (rc) {
        fprintf(stderr, "%s: %s\n", ww_err_name(rc), err.text);
    }
    for (uint32_t t = 0; t < j.plan.n_tensors; t++) {
        free(j.plan.tensors[t].sources);
    }
    free(j.plan.tensors);
    free(j.plan.inputs);
    free(j.plan.files);
    for (uint32_t m = 0; m < j.n_models; m++) {
        ww_model_close(j.models[m]);
    }
    return rc != WW_OK;
}
