/* SPDX-License-Identifier: Apache-2.0 */
/* usage: matrix_probe METHOD ROWS COLS SOURCES THREADS IN OUT [NAME=VALUE |
 * SOURCE:NAME=VALUE]...
 *
 * Merges one F64 matrix by the engine, for comparison with other programs. IN holds the
 * base and then the sources, row after row; OUT gets the merged matrix. A parameter for
 * all sources is given without a source. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "merge/kernel.h"
#include "merge/plan.h"
#include "stream/stream.h"

#define MAX_SOURCES 16

struct probe {
    struct ww_merge_input input;
    struct ww_merge_source sources[MAX_SOURCES];
    struct ww_merge_source base;
    double params[WW_METHOD_MAX_PARAMS];
    double source_params[MAX_SOURCES][WW_METHOD_MAX_PARAMS];
    struct ww_merge_tensor tensor;
    struct ww_merge_file file;
    struct ww_merge_plan plan;
};

static int refuse(const char *what, const char *subject)
{
    fprintf(stderr, "matrix_probe: %s '%s'\n", what, subject);
    return 2;
}

static void defaults(struct probe *p)
{
    const struct ww_method *method = p->tensor.method;
    for (size_t i = 0; i < method->n_params; i++) {
        p->params[i] = method->params[i].fallback;
        for (uint32_t s = 0; s < p->tensor.n_sources; s++) {
            p->source_params[s][i] =
                method->params[i].required ? 1.0 : method->params[i].fallback;
        }
    }
}

/* NAME=VALUE or SOURCE:NAME=VALUE. */
static int set(struct probe *p, const char *text)
{
    char name[64] = "";
    const char *colon = strchr(text, ':');
    const char *start = colon ? colon + 1 : text;
    const char *equal = strchr(start, '=');
    if (!equal || (size_t)(equal - start) >= sizeof(name)) {
        return refuse("no parameter", text);
    }
    memcpy(name, start, (size_t)(equal - start));
    const uint32_t index = ww_method_param(p->tensor.method, name);
    if (index == WW_NONE) {
        return refuse("no parameter", text);
    }
    const double value = strtod(equal + 1, NULL);
    p->params[index] = value;
    for (uint32_t s = 0; s < p->tensor.n_sources; s++) {
        if (!colon || (uint32_t)strtoul(text, NULL, 10) == s) {
            p->source_params[s][index] = value;
        }
    }
    return 0;
}

static void line_up(struct probe *p, const char *path)
{
    const struct ww_merge_tensor *t = &p->tensor;
    const uint64_t bytes = t->shape[0] * t->shape[1] * sizeof(double);
    p->input = (struct ww_merge_input){path, open(path, O_RDONLY),
                                       bytes * (t->n_sources + 1), .want_sha256 = false};
    p->base = (struct ww_merge_source){.model = WW_NONE, .dtype = WW_DTYPE_F64};
    for (uint32_t s = 0; s < t->n_sources; s++) {
        p->sources[s] = p->base;
        p->sources[s].offset = bytes * (s + 1);
        p->sources[s].params = p->source_params[s];
    }
    p->file = (struct ww_merge_file){
        .name = "merged.bin", .header = (const uint8_t *)"", .n_tensors = 1};
    p->plan = (struct ww_merge_plan){.inputs = &p->input,
                                     .n_inputs = 1,
                                     .tensors = &p->tensor,
                                     .n_tensors = 1,
                                     .files = &p->file,
                                     .n_files = 1};
}

int main(int argc, char **argv)
{
    struct ww_error err = {0};
    struct ww_merge_result result = {0};
    struct ww_out *out = NULL;
    struct probe *p = calloc(1, sizeof(*p));
    if (argc < 8 || !p) {
        return refuse("wrong use, see", "tests/support/matrix_probe.c");
    }
    p->tensor = (struct ww_merge_tensor){
        .name = "matrix",
        .dtype = WW_DTYPE_F64,
        .compute = WW_DTYPE_F64,
        .rank = 2,
        .shape = {strtoull(argv[2], NULL, 10), strtoull(argv[3], NULL, 10)},
        .method = ww_method_find(argv[1]),
        .sources = p->sources,
        .n_sources = (uint32_t)strtoul(argv[4], NULL, 10),
        .params = p->params,
    };
    if (!p->tensor.method || p->tensor.n_sources > MAX_SOURCES) {
        return refuse("no such method, or too many sources:", argv[1]);
    }
    p->tensor.base = p->tensor.method->base == WW_BASE_IGNORED ? NULL : &p->base;
    defaults(p);
    line_up(p, argv[6]);
    for (int i = 8; i < argc; i++) {
        if (set(p, argv[i])) {
            return 2;
        }
    }
    const struct ww_run_options options = {.threads =
                                               (unsigned)strtoul(argv[5], NULL, 10)};
    const struct ww_merge_into into = {.path = argv[7]};
    enum ww_err rc = ww_merge_run(&p->plan, &into, &options, &out, &result, &err);
    if (!rc) {
        rc = ww_out_commit(out, &err);
    }
    ww_out_close(out, false);
    ww_merge_result_release(&result);
    if (rc) {
        fprintf(stderr, "matrix_probe: %s\n", err.text);
    }
    close(p->input.fd);
    free(p);
    return rc ? 1 : 0;
}
