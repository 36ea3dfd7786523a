/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One weight after the other: parts in, a pair out, into a nameless file that the writer
 * of extracted adapters puts behind a header. Factors are computed in double and rounded
 * once to float32.
 */
#include <inttypes.h>
#include <math.h>
#include <string.h>
#include <unistd.h>

#include "json/json.h"
#include "la/la.h"
#include "merge/extract_write.h"
#include "merge/lora_job.h"
#include "stream/cpus.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"
#include "util/num.h"

#define LABEL "weightward.adapter-plan/1"

struct lora_run {
    struct ww_lora_job job;
    struct ww_extracting x;
    struct ww_extract_report report;
    const char *out_path;
    ww_lora_check_fn check;
    void *payload;
    struct ww_sha256 *digest; /* of the plan */
};

static void add_double(struct ww_sha256 *h, double v)
{
    uint64_t bits = 0;
    memcpy(&bits, &v, sizeof(bits));
    ww_sha256_u64le(h, bits);
}

static void digest_set(struct lora_run *run, const struct ww_lora_module *module,
                       const struct ww_lora_set *set)
{
    struct ww_sha256 *h = run->digest;

    ww_sha256_update(h, module->name, strlen(module->name) + 1);
    ww_sha256_u64le(h, module->m);
    ww_sha256_u64le(h, module->n);
    add_double(h, set->lambda);
    ww_sha256_u64le(h, set->n);
    for (uint32_t i = 0; i < set->n; i++) {
        ww_sha256_u64le(h, set->parts[i].pair.rank);
        add_double(h, set->parts[i].scaling);
        add_double(h, set->parts[i].weight);
        add_double(h, set->parts[i].density);
        if (ww_lora_by_chance(run->job.way)) {
            ww_sha256_u64le(h, set->seed);
            ww_sha256_u64le(h, set->parts[i].order);
            ww_sha256_u64le(h, set->parts[i].rescale);
        }
    }
}

static enum ww_err start_digest(struct lora_run *run, struct ww_error *err)
{
    const struct ww_recipe *r = run->job.recipe;
    enum ww_err rc = ww_sha256_new(&run->digest, err);

    if (!rc) {
        ww_sha256_update(run->digest, LABEL, sizeof(LABEL));
        ww_sha256_update(run->digest, r->method->name, strlen(r->method->name) + 1);
        ww_sha256_u64le(run->digest, run->job.way);
        ww_sha256_u64le(run->digest, r->adapter.rank);
        add_double(run->digest, r->adapter.energy);
        if (r->adapter.by_count) {
            ww_sha256_u64le(run->digest, r->adapter.by_count);
        }
        ww_sha256_u64le(run->digest, run->job.n_modules);
    }
    return rc;
}

static enum ww_err combine(const struct ww_lora_job *job, const struct ww_lora_set *set,
                           struct ww_lora_pair *out, struct ww_error *err)
{
    const enum ww_lora_way way = job->way;

    if (way >= WW_LORA_WHOLE_TIES) {
        return ww_lora_whole(set, ww_lora_rule_of(way), (size_t)job->recipe->adapter.rank,
                             out, err);
    }
    if (way == WW_LORA_KNOTS) {
        return ww_lora_knots(set, out, err);
    }
    if (way == WW_LORA_CORE) {
        return ww_lora_core(set, out, err);
    }
    return way == WW_LORA_SUM ? ww_lora_sum(set, out, err)
                              : ww_lora_factors(set, ww_lora_rule_of(way), out, err);
}

static enum ww_err round_down(const struct ww_lora_module *module, const double *x,
                              size_t n, float **out, struct ww_error *err)
{
    *out = ww_calloc(n + 1, sizeof(**out));
    if (!*out) {
        return WW_FAIL_MEMORY(err, "a merge of adapters");
    }
    for (size_t i = 0; i < n; i++) {
        (*out)[i] = (float)x[i];
        if (!isfinite((*out)[i])) {
            return WW_FAIL(err, WW_E_NONFINITE,
                           "a factor of '%.160s' is NaN or infinite in F32; use smaller "
                           "weights",
                           module->name);
        }
    }
    return WW_OK;
}

/* PEFT knows no rank of 0: such a weight gets one of zeros. */
static enum ww_err put_pair(struct lora_run *run, const struct ww_lora_module *module,
                            const struct ww_lora_pair *pair, struct ww_error *err)
{
    char *name = ww_asprintf("%s.weight", module->name);
    struct ww_tensor t = {.name = name, .rank = 2, .shape = {module->m, module->n}};
    struct ww_lowrank low = {.rank = pair->rank ? pair->rank : 1};
    enum ww_err rc = name ? WW_OK : WW_FAIL_MEMORY(err, "a merge of adapters");

    if (!rc && pair->rank == 0) {
        low.a = ww_calloc((size_t)module->n, sizeof(*low.a));
        low.b = ww_calloc((size_t)module->m, sizeof(*low.b));
        rc = low.a && low.b ? WW_OK : WW_FAIL_MEMORY(err, "a merge of adapters");
    } else if (!rc) {
        rc = round_down(module, pair->a, pair->rank * (size_t)module->n, &low.a, err);
        rc =
            rc ? rc
               : round_down(module, pair->b, pair->rank * (size_t)module->m, &low.b, err);
    }
    if (!rc) {
        run->x.embedding = module->embedding;
        run->report.rank = ww_max_u64(run->report.rank, low.rank);
        rc = ww_extract_put_factors(&run->x, &t, &low, err);
    }
    ww_lowrank_release(&low);
    ww_free(name);
    return rc;
}

static enum ww_err merge_module(struct lora_run *run, const struct ww_lora_module *module,
                                struct ww_error *err)
{
    const struct ww_recipe_adapter *want = &run->job.recipe->adapter;
    struct ww_lora_set set = {0};
    struct ww_lora_pair pair = {0};
    double kept = 1;
    enum ww_err rc = ww_lora_set_of(&run->job, module, true, &set, err);

    if (!rc) {
        digest_set(run, module, &set);
        rc = combine(&run->job, &set, &pair, err);
    }
    if (!rc && (want->rank || want->energy > 0)) {
        rc = ww_lora_shrink(set.m, set.n_in, &pair, (size_t)want->rank, want->energy,
                            &kept, err);
    }
    if (!rc) {
        rc = put_pair(run, module, &pair, err);
    }
    if (!rc && (run->report.matrices == 0 || kept < run->report.worst)) {
        run->report.worst = kept;
    }
    run->report.matrices += !rc;
    ww_lora_pair_release(&pair);
    ww_lora_set_release(&set);
    return rc;
}

static enum ww_err merge_all(struct lora_run *run, struct ww_error *err)
{
    const struct ww_run_options *options = run->x.run;
    enum ww_err rc = start_digest(run, err);

    for (uint32_t i = 0; i < run->job.n_modules && !rc; i++) {
        if (options->progress && options->progress(options->progress_payload, "adapters",
                                                   i, run->job.n_modules) != 0) {
            return WW_FAIL(err, WW_E_CANCELLED, "interrupted");
        }
        rc = merge_module(run, &run->job.modules[i], err);
    }
    if (!rc) {
        ww_sha256_final(run->digest, run->job.work->plan_sha256);
    }
    return rc;
}

/* Digests of the adapters, whose files must be what they were when they were opened. */
static enum ww_err add_sources(struct lora_run *run, struct ww_error *err)
{
    struct ww_lora_job *job = &run->job;
    struct ww_hash_job *files = ww_calloc(job->n_inputs, sizeof(*files));
    enum ww_err rc = files ? WW_OK : WW_FAIL_MEMORY(err, "a merge of adapters");

    for (uint32_t i = 0; i < job->n_inputs && !rc; i++) {
        const struct ww_st_file *file = &job->inputs[i].adapter->file;
        files[i] = (struct ww_hash_job){.fd = file->fd,
                                        .name = job->inputs[i].text,
                                        .size_bytes = (uint64_t)file->st.st_size};
    }
    if (!rc) {
        rc = ww_hash_files(files, job->n_inputs, "sha256", "adapters", run->x.run, err);
    }
    for (uint32_t i = 0; i < job->n_inputs && !rc; i++) {
        const struct ww_adapter *adapter = job->inputs[i].adapter;
        rc = ww_file_unchanged(adapter->file.fd, &adapter->file.st, job->inputs[i].text,
                               err);
        if (!rc) {
            rc = ww_work_add_adapter(job->work, job->inputs[i].text, adapter,
                                     files[i].digest, err);
        }
    }
    ww_free(files);
    return rc;
}

static enum ww_err write_record(struct lora_run *run, struct ww_out *out,
                                struct ww_resource *files, size_t n, struct ww_error *err)
{
    const struct ww_signer *signer = run->job.work->options->signer;
    uint8_t root[WW_SHA256_BYTES];
    struct ww_record record = {
        .files = files, .n_files = n, .root = root, .tree = run->x.tree};
    struct ww_buf payload;
    struct ww_buf record_text = {0};
    struct ww_buf bundle;
    char *name = NULL;
    enum ww_err rc = ww_path_last(run->out_path, &name, err);

    ww_buf_init(&payload, ww_json_limits_bundle.max_bytes);
    ww_buf_init(&bundle, ww_json_limits_bundle.max_bytes);
    record.out_name = name;
    if (!rc) {
        rc = ww_oms_statement(name, files, n, &payload, root, err);
    }
    if (!rc) {
        rc = ww_record_write(run->job.work, &record, &record_text, err);
    }
    if (!rc && signer) {
        ww_hex(run->job.work->report->root_sha256, root, WW_SHA256_BYTES);
        rc = ww_bundle_sign(signer, record_text.data, record_text.len, &bundle, err);
    }
    if (!rc) {
        const struct ww_buf *text = signer ? &bundle : &record_text;
        rc = ww_out_add(out, signer ? WW_PROVENANCE_FILE : WW_PROVENANCE_PLAIN_FILE,
                        text->data, text->len, err);
    }
    if (!rc) {
        rc = ww_ancestors_put(&run->job.work->ancestors, ww_ancestor_into_out, out, err);
    }
    ww_buf_release(&payload);
    ww_buf_release(&record_text);
    ww_buf_release(&bundle);
    ww_free(name);
    return rc;
}

/* All files are made: the record, or the comparison with one. */
static enum ww_err finish(void *payload, struct ww_out *out, const struct ww_plan *plan,
                          const struct ww_stream_result *result, struct ww_error *err)
{
    struct lora_run *run = payload;
    struct ww_resource *files = NULL;
    enum ww_err rc = add_sources(run, err);

    if (rc || !out) {
        return rc || !run->check ? rc : run->check(run->payload, plan, result, err);
    }
    files = ww_calloc(plan->n_outputs, sizeof(*files));
    if (!files) {
        return WW_FAIL_MEMORY(err, "a merge of adapters");
    }
    for (uint32_t i = 0; i < plan->n_outputs; i++) {
        files[i].name = plan->outputs[i].path;
        memcpy(files[i].sha256, result->output_sha256[i], WW_SHA256_BYTES);
    }
    rc = write_record(run, out, files, plan->n_outputs, err);
    ww_free(files);
    return rc;
}

static const char *common_task(const struct ww_lora_job *job)
{
    const char *task = NULL;

    for (uint32_t i = 0; i < job->n_inputs; i++) {
        const struct ww_jnode *root = ww_json_root(job->inputs[i].adapter->config);
        const char *own = NULL;
        if (!ww_jstr(ww_jget(root, "task_type"), &own) ||
            (task && strcmp(own, task) != 0)) {
            return NULL;
        }
        task = own;
    }
    return task;
}

static enum ww_err write_out(struct lora_run *run, struct ww_error *err)
{
    const struct ww_lora_job *job = &run->job;
    const char *base = job->inputs[0].adapter->base;
    char *quoted = NULL;
    char *card = NULL;
    enum ww_err rc = WW_OK;

    base = base ? base : "";
    rc = ww_json_quote(base, &quoted, err);
    if (rc) {
        return rc;
    }
    card = ww_asprintf(
        "---\n%s%s%slibrary_name: peft\ntags: [merge]\n---\n\n%u LoRA adapters "
        "merged by `weightward merge` with method %s.\n",
        base[0] ? "base_model: " : "", base[0] ? quoted : "",
        base[0] ? "\nbase_model_relation: adapter\n" : "", job->n_inputs,
        job->recipe->method->name);
    ww_free(quoted);
    if (!card) {
        return WW_FAIL_MEMORY(err, "a merge of adapters");
    }
    run->x.card = card;
    run->x.task = common_task(job);
    run->x.fan_in_fan_out = job->inputs[0].adapter->fan_in_fan_out;
    run->x.recipe = &job->work->text;
    run->x.finish = finish;
    run->x.payload = run;
    rc = ww_extract_write(&run->x, base, run->out_path, job->work->options->signer, err);
    ww_free(card);
    return rc;
}

static enum ww_err check_outside(const struct lora_run *run, struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    for (uint32_t i = 0; i < run->job.n_inputs && run->out_path && !rc; i++) {
        rc = ww_path_check_output(run->job.inputs[i].adapter->path, run->out_path, err);
    }
    return rc;
}

enum ww_err ww_lora_merge(struct ww_work *work, const char *out_path, const char *scratch,
                          ww_lora_check_fn check, void *payload, struct ww_error *err)
{
    struct lora_run run = {
        .job = {.work = work}, .out_path = out_path, .check = check, .payload = payload};
    enum ww_err rc = WW_OK;

    run.x = (struct ww_extracting){
        .report = &run.report, .run = &work->options->run, .fd = -1};
    rc = ww_lora_open(&run.job, err);
    if (!rc) {
        rc = check_outside(&run, err);
    }
    if (!rc) {
        rc = ww_extract_scratch(scratch, &run.x.fd, err);
    }
    if (!rc) {
        /* One thread, so that bytes do not depend on how many there are. */
        ww_la_threads(1);
        rc = merge_all(&run, err);
    }
    if (!rc) {
        rc = write_out(&run, err);
    }
    work->plan.n_tensors = run.x.n_tensors;
    work->report->run = run.report.run;
    ww_sha256_free(run.digest);
    ww_extracting_release(&run.x);
    ww_lora_close(&run.job);
    return rc;
}

enum ww_err ww_lora_describe(struct ww_work *work, struct ww_buf *out,
                             struct ww_error *err)
{
    struct ww_lora_job job = {.work = work};
    enum ww_err rc = ww_lora_open(&job, err);

    if (!rc) {
        rc = ww_buf_addf(out, err, "method %s: of adapters%s\n", job.recipe->method->name,
                         job.recipe->adapter.factors ? ", factors apart"
                         : job.recipe->adapter.whole ? ", differences multiplied out"
                                                     : "");
    }
    for (uint32_t i = 0; i < job.n_inputs && !rc; i++) {
        rc = ww_buf_addf(out, err, "adapter %u: %s\n", i, job.inputs[i].text);
    }
    for (uint32_t i = 0; i < job.n_modules && !rc; i++) {
        struct ww_lora_set set = {0};
        const struct ww_lora_module *module = &job.modules[i];
        rc = ww_lora_set_of(&job, module, false, &set, err);
        if (!rc) {
            rc = ww_buf_addf(out, err, "  %s [%" PRIu64 ", %" PRIu64 "]", module->name,
                             module->m, module->n);
        }
        for (uint32_t k = 0; k < set.n && !rc; k++) {
            rc = ww_buf_addf(out, err, "; rank %zu weight=%.6g scaling=%.6g",
                             set.parts[k].pair.rank, set.parts[k].weight,
                             set.parts[k].scaling);
        }
        if (!rc) {
            rc = ww_buf_add_str(out, "\n", err);
        }
        ww_lora_set_release(&set);
    }
    ww_lora_close(&job);
    return rc;
}
