/* SPDX-License-Identifier: Apache-2.0 */
/* What kernels ask of a job: parameters by name, and how they refuse. */
#include <stdarg.h>
#include <stdio.h>

#include "merge/kernel.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"

static uint32_t index_of(const struct ww_merge_job *job, const char *name,
                         enum ww_param_scope scope)
{
    const struct ww_method *method = job->tensor->method;
    uint32_t i = ww_method_param(method, name);
    WW_INVARIANT(i != WW_NONE && method->params[i].scope == scope);
    return i;
}

double ww_merge_param(const struct ww_merge_job *job, const char *name)
{
    return job->tensor->params[index_of(job, name, WW_PARAM_TENSOR)];
}

double ww_merge_source_param(const struct ww_merge_job *job, uint32_t source,
                             const char *name)
{
    return job->tensor->sources[source].params[index_of(job, name, WW_PARAM_SOURCE)];
}

double *ww_merge_source_params(const struct ww_merge_job *job, const char *name)
{
    double *values = ww_calloc(job->n_sources, sizeof(*values));
    for (uint32_t i = 0; values && i < job->n_sources; i++) {
        values[i] = ww_merge_source_param(job, i, name);
    }
    return values;
}

enum ww_err ww_merge_refuse(const struct ww_merge_job *job, struct ww_error *err,
                            const char *fmt, ...)
{
    char text[300];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    return WW_FAIL(err, WW_E_RECIPE, "tensor '%.200s': %s", job->tensor->name, text);
}

enum ww_err ww_merge_no_memory(const struct ww_merge_job *job, struct ww_error *err)
{
    return WW_FAIL_MEMORY(err, "merging tensor '%.200s'", job->tensor->name);
}

enum ww_err ww_merge_input_read(const struct ww_merge_plan *plan, uint32_t input,
                                void *out, size_t n, uint64_t offset,
                                struct ww_error *err)
{
    const struct ww_merge_input *file = &plan->inputs[input];
    const struct ww_reader *reader = file->reader;

    return reader ? reader->read(reader->payload, offset, out, n, err)
                  : ww_pread_full(file->fd, out, n, offset, file->name, err);
}
