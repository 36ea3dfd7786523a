/* SPDX-License-Identifier: Apache-2.0 */
/*
 * merge_probe METHOD OUT DTYPE COMPUTE SHAPE FLAGS BASE SOURCE... [NAME=VALUE]...
 *
 * Merge one tensor that lies in raw files, for comparison with a reference. SHAPE is
 * "3,4"; FLAGS are letters: p papers, o order-free, x dtype F32 whatever DTYPE; BASE "-"
 * for none. NAME=V sets a parameter of the tensor, or of every source; NAME=V,W one of
 * each source; "stats" as a file name begins the imported tensors. Prints the output's
 * bytes into OUT.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "merge/plan.h"
#include "model/dtype.h"
#include "stream/stream.h"

#define MAX_FILES 130

struct probe {
    struct ww_merge_plan plan;
    struct ww_merge_tensor tensor;
    struct ww_merge_file file;
    struct ww_merge_input inputs[MAX_FILES];
    struct ww_merge_source sources[MAX_FILES];
    struct ww_merge_source stats[MAX_FILES];
    struct ww_merge_source base;
    double params[WW_METHOD_MAX_PARAMS];
    double source_params[MAX_FILES][WW_METHOD_MAX_PARAMS];
    enum ww_dtype dtype;
};

static int add_file(struct probe *p, const char *path, struct ww_merge_source *s)
{
    struct stat st;
    int fd = open(path, O_RDONLY);
    if (fd < 0 || fstat(fd, &st) != 0) {
        perror(path);
        return 1;
    }
    uint32_t i = p->plan.n_inputs++;
    p->inputs[i] = (struct ww_merge_input){
        .name = path, .fd = fd, .size_bytes = (uint64_t)st.st_size};
    s->input = i;
    s->model = i;
    s->dtype = p->dtype;
    return 0;
}

static void defaults(struct probe *p)
{
    const struct ww_method *m = p->tensor.method;
    for (size_t k = 0; k < m->n_params; k++) {
        p->params[k] = m->params[k].fallback;
        for (uint32_t s = 0; s < p->tensor.n_sources; s++) {
            p->source_params[s][k] = m->params[k].required ? 1 : m->params[k].fallback;
            p->sources[s].params = p->source_params[s];
        }
    }
}

static int set(struct probe *p, const char *text)
{
    char name[64];
    const char *value = strchr(text, '=') + 1;
    snprintf(name, sizeof(name), "%.*s", (int)(value - 1 - text), text);
    if (strcmp(name, "seed") == 0) {
        p->tensor.seed = strtoull(value, NULL, 10);
        return 0;
    }
    uint32_t k = ww_method_param(p->tensor.method, name);
    if (k == WW_NONE) {
        fprintf(stderr, "%s has no parameter '%s'\n", p->tensor.method->name, name);
        return 1;
    }
    p->params[k] = strtod(value, NULL);
    for (uint32_t s = 0; s < p->tensor.n_sources; s++) {
        p->source_params[s][k] = strtod(value, NULL);
        value = strchr(value, ',') ? strchr(value, ',') + 1 : value;
    }
    return 0;
}

static int parse(struct probe *p, int argc, char **argv)
{
    bool stats = false;
    uint32_t n_stats = 0;
    char *shape = argv[5];

    p->tensor.name = "probe";
    p->tensor.method = ww_method_find(argv[1]);
    if (!p->tensor.method || !ww_dtype_parse(argv[3], strlen(argv[3]), &p->dtype) ||
        !ww_dtype_parse(argv[4], strlen(argv[4]), &p->tensor.compute)) {
        fprintf(stderr, "unknown method or dtype\n");
        return 1;
    }
    for (; *shape && p->tensor.rank < WW_MAX_RANK; shape += *shape == ',') {
        p->tensor.shape[p->tensor.rank++] = strtoull(shape, &shape, 10);
    }
    p->tensor.dtype = strchr(argv[6], 'x') ? WW_DTYPE_F32 : p->dtype;
    p->plan.paper = strchr(argv[6], 'p') != NULL;
    p->plan.order_free = strchr(argv[6], 'o') != NULL;
    if (strcmp(argv[7], "-") != 0) {
        p->tensor.base = &p->base;
        if (add_file(p, argv[7], &p->base)) {
            return 1;
        }
    }
    for (int i = 8; i < argc && !strchr(argv[i], '='); i++) {
        if (strcmp(argv[i], "stats") == 0) {
            stats = true;
            p->tensor.stats = p->stats;
            continue;
        }
        struct ww_merge_source *s =
            stats ? &p->stats[n_stats++] : &p->sources[p->tensor.n_sources++];
        if (p->plan.n_inputs >= MAX_FILES || add_file(p, argv[i], s)) {
            return 1;
        }
    }
    defaults(p);
    for (int i = 8; i < argc; i++) {
        if (strchr(argv[i], '=') && set(p, argv[i])) {
            return 1;
        }
    }
    return 0;
}

int main(int argc, char **argv)
{
    static struct probe p;
    struct ww_error err = {0};
    struct ww_merge_result result = {0};
    struct ww_out *out = NULL;

    if (argc < 9) {
        fprintf(stderr, "use: merge_probe METHOD OUT DTYPE COMPUTE SHAPE FLAGS BASE "
                        "SOURCE... [NAME=VALUE]...\n");
        return 2;
    }
    if (parse(&p, argc, argv)) {
        return 2;
    }
    p.tensor.sources = p.sources;
    p.tensor.params = p.params;
    p.file = (struct ww_merge_file){.name = "out.bin", .n_tensors = 1};
    p.plan.inputs = p.inputs;
    p.plan.tensors = &p.tensor;
    p.plan.n_tensors = 1;
    p.plan.files = &p.file;
    p.plan.n_files = 1;
    const struct ww_merge_into into = {.path = argv[2]};
    enum ww_err rc = ww_merge_run(&p.plan, &into, NULL, &out, &result, &err);
    if (!rc) {
        rc = ww_out_commit(out, &err);
    }
    ww_out_close(out, false);
    ww_merge_result_release(&result);
    if (rc) {
        fprintf(stderr, "%s: %s\n", ww_err_name(rc), err.text);
    }
    for (uint32_t i = 0; i < p.plan.n_inputs; i++) {
        close(p.inputs[i].fd);
    }
    return rc != WW_OK;
}
