/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An adapter moves with its base: the locked base's manifest says which lock it is, so
 * that key, lock and options cannot be mixed up, and the adapter gets a record of that
 * lock and of its own original digest. Carrying back follows the record.
 */
#include <string.h>
#include <unistd.h>

#include "lock/carry_record.h"
#include "lock/carry_run.h"
#include "lock/lock_paths.h"
#include "lock/tensor_map.h"
#include "model/adapter_lock.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"

#define EVIDENCE_BYTES (UINT64_C(1) << 20)

static void release(struct ww_carry_run *run, bool keep)
{
    for (uint32_t i = 0; i < run->plan.n_outputs; i++) {
        ww_free(run->paths[i]);
        if (i > 0 && run->fds[i] >= 0) {
            close(run->fds[i]);
        }
    }
    ww_free(run->paths);
    ww_free(run->fds);
    ww_free(run->pieces);
    ww_free(run->sources);
    ww_free(run->carries);
    ww_free(run->plan.inputs);
    ww_free(run->plan.outputs);
    ww_free(run->plan.tree);
    ww_free(run->order);
    ww_free(run->rank);
    ww_free(run->out_name);
    ww_stream_result_release(&run->result);
    ww_out_close(run->out, keep);
    ww_unlock_release(&run->base);
    ww_model_close(run->base.model);
    ww_adapter_close(run->adapter);
}

static enum ww_err open_base(struct ww_carry_run *run, const char *path,
                             struct ww_error *err)
{
    enum ww_err rc = ww_model_open(path, &run->base.model, err);

    if (!rc) {
        rc = ww_unlock_read(&run->base, err);
    }
    if (!rc && !run->base.statement.lock) {
        rc = WW_FAIL(err, WW_E_USAGE,
                     "base '%s' is not locked; give the locked model that the adapter is "
                     "carried %s",
                     path, run->inverse ? "back from" : "over to");
    }
    if (!rc && run->base.manifest.dense.used) {
        rc =
            WW_FAIL(err, WW_E_UNSUPPORTED,
                    "base '%s' has a dense lock, to which adapters are not carried; lock "
                    "the base at level exact",
                    path);
    }
    return rc ? rc : ww_unlock_gauge(&run->base, err);
}

static enum ww_err check_record(struct ww_carry_run *run,
                                const struct ww_adapter_lock *record,
                                struct ww_error *err)
{
    char want[65];

    ww_hex(want, run->base.statement.model_root, WW_SHA256_BYTES);
    if (strcmp(record->base, want) != 0) {
        return WW_FAIL(
            err, WW_E_WRONG_MODEL,
            "adapter '%s' was carried over to the locked model with tensor root "
            "%.16s, base '%s' has %.16s",
            run->adapter->path, record->base, run->base.model->path, want);
    }
    memcpy(run->source_sha256, record->source_sha256, WW_SHA256_BYTES);
    return WW_OK;
}

/* Carried over once, and back only what was carried over. */
static enum ww_err read_record(struct ww_carry_run *run, struct ww_error *err)
{
    struct ww_adapter_lock record = {0};
    enum ww_err rc =
        ww_adapter_lock_read(run->adapter->dirfd, run->adapter->path, &record, err);
    const bool found = record.lock_id != NULL;

    if (!rc && found != run->inverse) {
        rc = WW_FAIL(
            err, WW_E_UNSUPPORTED, "adapter '%s' %s", run->adapter->path,
            found ? "is carried over to a locked model already"
                  : "was not carried over to a locked model: it has no " WW_CARRY_RECORD);
    }
    if (!rc && found) {
        rc = check_record(run, &record, err);
    }
    ww_adapter_lock_release(&record);
    return rc;
}

static enum ww_err write_record(const struct ww_carry_run *run, struct ww_error *err)
{
    struct ww_buf text;
    struct ww_jw w;
    enum ww_err rc = WW_OK;

    ww_buf_init(&text, ww_json_limits_small.max_bytes);
    ww_jw_init(&w, &text, 2);
    ww_jw_object(&w);
    ww_jw_kstr(&w, "schema", WW_ADAPTER_LOCK_SCHEMA);
    ww_jw_khex(&w, "lock_id", run->base.manifest.lock_id, WW_SHA256_BYTES);
    ww_jw_khex(&w, "base", run->base.statement.model_root, WW_SHA256_BYTES);
    ww_jw_key(&w, "source");
    ww_jw_object(&w);
    ww_jw_kstr(&w, "path", WW_ADAPTER_WEIGHTS);
    ww_jw_ku64(&w, "bytes", run->plan.outputs[0].size_bytes);
    ww_jw_khex(&w, "sha256", run->result.input_sha256[0], WW_SHA256_BYTES);
    ww_jw_close(&w);
    ww_jw_close(&w);
    rc = ww_jw_end(&w, err);
    if (!rc) {
        rc = ww_out_add(run->out, WW_CARRY_RECORD, text.data, text.len, err);
    }
    ww_buf_release(&text);
    return rc;
}

static enum ww_err finish(struct ww_carry_run *run, const char *out_path,
                          struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    if (run->inverse &&
        memcmp(run->result.output_sha256[0], run->source_sha256, WW_SHA256_BYTES) != 0) {
        return WW_FAIL(
            err, WW_E_DAMAGED,
            "adapter '%s' carried back is not the file that was carried over; it "
            "or its record was changed since",
            run->adapter->path);
    }
    if (!run->inverse) {
        rc = write_record(run, err);
    }
    if (!rc) {
        rc = ww_path_last(out_path, &run->out_name, err);
    }
    if (!rc && run->base.options->signer && !run->inverse) {
        const struct ww_carry_record record = {.name = run->out_name,
                                               .adapter = run->adapter,
                                               .plan = &run->plan,
                                               .result = &run->result,
                                               .lock_id = run->base.manifest.lock_id,
                                               .base = run->base.statement.model_root,
                                               .signer = run->base.options->signer};
        rc = ww_carry_record_add(&record, run->out, err);
    }
    if (!rc && run->base.options->signer) {
        rc = ww_sign_outputs(run->base.options->signer, run->out_name, &run->plan,
                             &run->result, run->out, run->base.report->root_sha256, err);
    }
    if (!rc) {
        rc = ww_out_commit(run->out, err);
    }
    return rc;
}

enum ww_err ww_lock_adapter(const char *adapter, const char *base, const char *out_path,
                            bool inverse, const struct ww_lock_options *options,
                            struct ww_lock_report *report, struct ww_error *err)
{
    struct ww_carry_run run = {.base = {.options = options, .report = report},
                               .inverse = inverse};
    enum ww_err rc = ww_lock_check_paths(adapter, out_path, err);

    *report = (struct ww_lock_report){0};
    if (!rc) {
        rc = ww_adapter_open(adapter, &run.adapter, err);
    }
    if (!rc && run.adapter->parameters) {
        rc = WW_FAIL(
            err, WW_E_UNSUPPORTED,
            "adapter '%s' uses target_parameters, whose factors experts share; no "
            "lock carries them over, merge it into its base first",
            adapter);
    }
    if (!rc) {
        rc = open_base(&run, base, err);
    }
    if (!rc) {
        rc = read_record(&run, err);
    }
    if (!rc) {
        rc = ww_carry_plan(&run, err);
    }
    if (!rc) {
        rc = ww_out_begin(out_path, &run.plan, EVIDENCE_BYTES, &options->run, &run.out,
                          err);
    }
    if (!rc) {
        rc = ww_stream_run(&run.plan, run.out, &options->run, &run.result, err);
    }
    if (!rc) {
        rc = finish(&run, out_path, err);
    }
    if (!rc) {
        ww_hex(report->lock_id, run.base.manifest.lock_id, WW_SHA256_BYTES);
        report->tensors_total = run.adapter->n_tensors;
        report->run = run.result.report;
    }
    release(&run, rc == WW_E_CANCELLED);
    return rc;
}
