/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A part is the plan with fewer tensors and one file; the executor writes, hashes and
 * resumes it like any merge. Cuts depend on the plan and n alone.
 */
#include "merge/parts_int.h"

#include <inttypes.h>
#include <string.h>

#include "merge/kernel.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"
#include "util/num.h"

#define RECORD_BYTES (UINT64_C(1) << 20)

uint64_t ww_part_tensor_bytes(const struct ww_merge_tensor *t)
{
    uint64_t n = ww_dtype_bits(t->dtype) / 8;
    for (unsigned a = 0; a < t->rank; a++) {
        n *= t->shape[a]; /* checked by ww_merge_check */
    }
    return n;
}

static uint64_t bytes_of_plan(const struct ww_merge_plan *plan)
{
    uint64_t total = 0;
    for (uint32_t t = 0; t < plan->n_tensors; t++) {
        total += ww_part_tensor_bytes(&plan->tensors[t]);
    }
    return total;
}

/* Those whose middle lies in its share. */
void ww_part_cut(const struct ww_merge_plan *plan, uint32_t i, uint32_t n,
                 uint32_t *first, uint32_t *end, uint64_t *n_bytes)
{
    const uint64_t share = ww_max_u64(1, ww_div_up(bytes_of_plan(plan), n));
    uint64_t at = 0;

    *n_bytes = 0;
    *first = *end = plan->n_tensors;
    for (uint32_t t = 0; t < plan->n_tensors; t++) {
        const uint64_t size = ww_part_tensor_bytes(&plan->tensors[t]);
        const uint64_t owner = ww_min_u64(n - 1, (at + size / 2) / share);
        at += size;
        if (owner == i) {
            *first = *first < t ? *first : t;
            *n_bytes += size;
        } else if (owner > i) {
            *end = t;
            break;
        }
    }
    *first = *first < *end ? *first : *end;
}

char *ww_part_folder(const char *out_path, uint32_t part, uint32_t n)
{
    size_t len = strlen(out_path);
    while (len > 1 && out_path[len - 1] == '/') {
        len--;
    }
    return ww_asprintf("%.*s.part-%" PRIu32 "-of-%" PRIu32, (int)len, out_path, part, n);
}

static void want(const struct ww_merge_source *s, struct ww_merge_input *inputs,
                 const struct ww_merge_plan *plan)
{
    inputs[s->input].want_sha256 = plan->inputs[s->input].want_sha256;
}

/* Methods that look at all tensors read every input, whatever the part; and what an input
 * that lies in no file is made of is not told here. */
static bool reads_all(const struct ww_merge_plan *plan)
{
    for (uint32_t i = 0; i < plan->n_inputs; i++) {
        if (plan->inputs[i].fd < 0) {
            return true;
        }
    }
    for (uint32_t t = 0; t < plan->n_tensors; t++) {
        const struct ww_whole_ops *whole = plan->tensors[t].method->ops->whole;
        if (whole && (!whole->wanted || whole->wanted(plan))) {
            return true;
        }
    }
    return false;
}

/* The plan of a part; digests of the inputs that it reads. */
static enum ww_err part_plan(const struct ww_merge_plan *plan, uint32_t part, uint32_t n,
                             struct ww_merge_file *file, struct ww_merge_plan *out,
                             struct ww_error *err)
{
    struct ww_merge_input *inputs = ww_calloc(plan->n_inputs, sizeof(*inputs));
    uint32_t first = 0;
    uint32_t end = 0;
    uint64_t n_bytes = 0;

    if (!inputs) {
        return WW_FAIL_MEMORY(err, "parts of a merge");
    }
    ww_part_cut(plan, part - 1, n, &first, &end, &n_bytes);
    for (uint32_t i = 0; i < plan->n_inputs; i++) {
        inputs[i] = plan->inputs[i];
        inputs[i].want_sha256 = reads_all(plan) && plan->inputs[i].want_sha256;
    }
    for (uint32_t t = first; t < end; t++) {
        const struct ww_merge_tensor *tensor = &plan->tensors[t];
        for (uint32_t s = 0; s < tensor->n_sources; s++) {
            want(&tensor->sources[s], inputs, plan);
            if (tensor->stats) {
                want(&tensor->stats[s], inputs, plan);
            }
        }
        if (tensor->base) {
            want(tensor->base, inputs, plan);
        }
    }
    *file = (struct ww_merge_file){
        .name = WW_PART_FILE, .header = (const uint8_t *)"", .n_tensors = end - first};
    *out = *plan;
    out->whole = plan;
    out->inputs = inputs;
    out->tensors = plan->tensors + first;
    out->n_tensors = end - first;
    out->files = file;
    out->n_files = 1;
    return WW_OK;
}

static enum ww_err write_record(const struct ww_work *work,
                                const struct ww_merge_plan *plan, uint32_t part,
                                uint32_t n, const struct ww_merge_result *result,
                                struct ww_out *out, struct ww_error *err)
{
    struct ww_part_record record = {.part = part, .of = n};
    struct ww_buf text = {0};
    enum ww_err rc = WW_OK;

    record.inputs = ww_calloc(plan->n_inputs, sizeof(*record.inputs));
    record.input_sha256 = ww_calloc(plan->n_inputs, sizeof(*record.input_sha256));
    if (!record.inputs || !record.input_sha256) {
        rc = WW_FAIL_MEMORY(err, "parts of a merge");
        goto out;
    }
    memcpy(record.plan_sha256, work->plan_sha256, WW_SHA256_BYTES);
    memcpy(record.sha256, result->output_sha256[0], WW_SHA256_BYTES);
    record.n_bytes = bytes_of_plan(plan);
    for (uint32_t i = 0; i < plan->n_inputs; i++) {
        if (plan->inputs[i].want_sha256) {
            record.inputs[record.n_inputs] = i;
            memcpy(record.input_sha256[record.n_inputs++], result->input_sha256[i],
                   WW_SHA256_BYTES);
        }
    }
    rc = ww_part_record_write(&record, &text, err);
    if (!rc) {
        rc = ww_out_add(out, WW_PART_RECORD, text.data, text.len, err);
    }
out:
    ww_buf_release(&text);
    ww_part_record_release(&record);
    return rc;
}

enum ww_err ww_merge_part(struct ww_work *work, const char *out_path, uint32_t part,
                          uint32_t n, struct ww_error *err)
{
    struct ww_merge_plan plan = {0};
    struct ww_merge_file file;
    struct ww_merge_result result = {0};
    struct ww_out *out = NULL;
    char *path = ww_part_folder(out_path, part, n);
    enum ww_err rc =
        path ? ww_path_check_new(path, err) : WW_FAIL_MEMORY(err, "parts of a merge");

    if (!rc) {
        rc = part_plan(&work->plan, part, n, &file, &plan, err);
    }
    if (!rc) {
        const struct ww_merge_into into = {
            .path = path, .extra_bytes = RECORD_BYTES, .keep = true};
        rc = ww_merge_run(&plan, &into, &work->options->run, &out, &result, err);
    }
    for (uint32_t i = 0; i < work->plan.n_models && !rc; i++) {
        rc = ww_model_unchanged(work->plan.models[i], err);
    }
    if (!rc) {
        rc = write_record(work, &plan, part, n, &result, out, err);
    }
    if (!rc) {
        rc = ww_out_commit(out, err);
        work->report->tensors_checked = plan.n_tensors;
        work->report->run = result.run;
    }
    ww_out_close(out, rc == WW_E_CANCELLED);
    ww_merge_result_release(&result);
    ww_free(plan.inputs);
    ww_free(path);
    return rc;
}
