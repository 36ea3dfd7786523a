/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Restoring a member. Its files get their names only after each of them has the digest in
 * the table, and the table is what the manifest commits to; so a base that is another one
 * cannot go unnoticed, and only then is it asked which part of it differs.
 */
#include <string.h>
#include <unistd.h>

#include "rmm/as_member.h"
#include "rmm/asking.h"
#include "rmm/base_use.h"
#include "rmm/unpack_plan.h"
#include "rmm/unpack_run.h"
#include "stream/cpus.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"
#include "util/num.h"
#include "util/str.h"
#include "weightward/lock.h"

#define LEAST_MEMORY ((uint64_t)16 << 20)
#define THREAD_MEMORY ((uint64_t)16 << 20)
#define MOST_MEMORY ((uint64_t)256 << 20)

enum ww_err ww_unpack_open(struct ww_unpack_run *run, const char *path, const char *name,
                           const struct ww_unpack_options *options, struct ww_error *err)
{
    size_t member = 0;
    enum ww_err rc = WW_OK;

    memset(run, 0, sizeof(*run));
    run->before_commit = options->before_commit;
    run->before_commit_payload = options->before_commit_payload;
    rc = ww_pack_open(path, &run->file, err);
    if (rc) {
        return rc;
    }
    if (options->public_key) {
        rc = ww_pack_check_signature(&run->file, options->public_key, run->signer, err);
        run->is_signed = !rc;
    }
    if (!rc) {
        rc = ww_pack_check_version(&run->file, options->least_version, err);
    }
    if (!rc) {
        rc = ww_pack_member_find(&run->file, name, &member, err);
    }
    if (!rc) {
        rc = ww_pack_view_open(&run->file, member, options->unsealer, &run->view, err);
    }
    if (!rc && options->base) {
        rc = ww_model_open(options->base, &run->base, err);
    }
    if (!rc) {
        rc = ww_unmerge_find(run->view.member, options->sources, options->n_sources,
                             &run->unmerge, err);
    }
    if (!rc) {
        rc = ww_parents_open(&run->parents, &run->file, member, options->unsealer,
                             run->base, err);
    }
    if (!rc) {
        rc = ww_parent_bind(run->parents.first, run->view.member->name, &run->view.table,
                            err);
    }
    if (rc) {
        ww_unpack_close(run);
    }
    return rc;
}

void ww_unpack_close(struct ww_unpack_run *run)
{
    ww_parents_close(&run->parents);
    ww_unmerge_close(&run->unmerge);
    ww_model_close(run->base);
    if (run->view.member) {
        ww_pack_view_close(&run->view);
    }
    ww_pack_close(&run->file);
    memset(run, 0, sizeof(*run));
}

/* A file is not the one that was packed: because a chunk was altered, or the base is
 * another one, or else. */
static enum ww_err tell_why(const struct ww_unpack_run *run, uint32_t file,
                            struct ww_unpack_rooms *rooms, struct ww_error *err)
{
    enum ww_err rc = ww_unpack_find_altered(&run->view, file, rooms, err);

    if (!rc && run->base) {
        rc = ww_base_use_check(run->base, &run->file.manifest, err);
    }
    return rc ? rc
              : WW_FAIL(err, WW_E_TAMPERED,
                        "member '%s': file '%s' is restored, but is not the one that was "
                        "packed",
                        run->view.member->name, run->view.table.files[file].path);
}

static enum ww_err check_files(const struct ww_unpack_run *run,
                               const struct ww_stream_result *result,
                               struct ww_unpack_rooms *rooms, struct ww_error *err)
{
    const struct ww_pack_table *t = &run->view.table;
    enum ww_err rc = WW_OK;

    for (uint32_t f = 0; f < t->n_files && !rc; f++) {
        if (memcmp(result->output_sha256[f], t->files[f].sha256, WW_SHA256_BYTES) != 0) {
            rc = tell_why(run, f, rooms, err);
        }
    }
    return rc;
}

/* All files lie in the folder that has no name yet. */
static enum ww_err ask(const struct ww_unpack_run *run, const char *out_path,
                       struct ww_error *err)
{
    size_t len = strlen(out_path);
    char *partial = NULL;
    enum ww_err rc = WW_OK;

    if (!run->before_commit) {
        return WW_OK;
    }
    while (len > 1 && out_path[len - 1] == '/') {
        len--;
    }
    partial = ww_asprintf("%.*s.partial", (int)len, out_path);
    if (!partial) {
        return WW_FAIL_MEMORY(err, "a path");
    }
    rc = run->before_commit(run->before_commit_payload, partial, err);
    ww_free(partial);
    return rc;
}

/* Less than the executor's own default where nothing is said: fresh pages cost more here
 * than decoding into them, and a thread works on a few chunks at a time. Half of that
 * where nothing is waited for. */
static struct ww_run_options with_memory(const struct ww_unpack_run *run,
                                         const struct ww_run_options *options)
{
    struct ww_run_options own = *options;

    if (own.memory_bytes == 0 && run->unmerge.n == 0) {
        own.memory_bytes = ww_min_u64(
            LEAST_MEMORY + THREAD_MEMORY * ww_threads_wanted(options), MOST_MEMORY);
    }
    return own;
}

enum ww_err ww_unpack_restore(struct ww_unpack_run *run, const char *out_path,
                              const struct ww_run_options *options,
                              struct ww_run_report *report, struct ww_error *err)
{
    struct ww_unpack_plan plan;
    const struct ww_run_options own = with_memory(run, options);
    struct ww_stream_result result = {0};
    struct ww_out *out = NULL;
    enum ww_err rc =
        ww_unpack_plan_init(&plan, &run->view, run->base, &run->unmerge, err);

    if (rc) {
        return rc;
    }
    plan.plan.warm_bytes = own.memory_bytes / 2;
    if (out_path) {
        rc = ww_out_begin(out_path, &plan.plan, 0, &own, &out, err);
    }
    if (!rc) {
        rc = ww_stream_run(&plan.plan, out, &own, &result, err);
    }
    if (!rc) {
        rc = check_files(run, &result, &plan.rooms, err);
    }
    if (!rc && out) {
        rc = ask(run, out_path, err);
    }
    if (!rc && out) {
        rc = ww_out_commit(out, err);
    }
    if (!rc) {
        *report = result.report;
    }
    ww_out_close(out, rc == WW_E_CANCELLED);
    ww_stream_result_release(&result);
    ww_unpack_plan_release(&plan);
    return rc;
}

/* "OUT.member" below the folder where OUT is made, and gone when the form is there. */
static enum ww_err restore_as(struct ww_unpack_run *run, const char *out_path,
                              const struct ww_unpack_options *options,
                              struct ww_pack_report *report, struct ww_error *err)
{
    const struct ww_run_options own = with_memory(run, &options->run);
    const char *doubt = NULL;
    struct ww_as as = {.base = run->base,
                       .name = run->view.member->name,
                       .out_path = out_path,
                       .run = &own,
                       .doubt = &doubt};
    bool base_known = true;
    size_t len = strlen(out_path);
    char *member = NULL;
    enum ww_err rc = WW_OK;

    while (len > 1 && out_path[len - 1] == '/') {
        len--;
    }
    member = ww_asprintf("%.*s.member", (int)len, out_path);
    if (!member) {
        return WW_FAIL_MEMORY(err, "a path");
    }
    rc = ww_path_check_new(member, err);
    if (!rc && options->form == WW_UNPACK_MODEL && run->base &&
        !ww_model_is_locked(run->base)) {
        rc = ww_base_use_check_whole(run->base, &run->file.manifest, &base_known, err);
        report->base_unknown = !base_known;
    }
    if (rc) {
        goto out;
    }
    rc = ww_unpack_restore(run, member, &own, &report->run, err);
    if (!rc) {
        const enum ww_err made =
            ww_as_make(member, options->form, &as, &report->run, err);
        if (made) {
            ww_error_rename(err, member, as.name);
        }
        rc = ww_remove_tree(member, made ? NULL : err);
        rc = made ? made : rc;
    }
    if (!rc && doubt) {
        rc = ww_lines_add(&report->warnings, &report->n_warnings, err,
                          "adapter '%.120s' %s", as.name, doubt);
    }
out:
    ww_free(member);
    return rc;
}

/* PEFT keeps adapters of other names in folders below, and a form is made of the one that
 * lies at the top. */
static enum ww_err tell_others(const struct ww_unpack_run *run,
                               struct ww_pack_report *report, struct ww_error *err)
{
    static const char config[] = "/" WW_ADAPTER_CONFIG;
    const struct ww_pack_table *t = &run->view.table;
    enum ww_err rc = WW_OK;

    for (uint32_t f = 0; f < t->n_files && !rc; f++) {
        const char *path = t->files[f].path;
        if (ww_str_ends(path, config)) {
            rc = ww_lines_add(&report->warnings, &report->n_warnings, err,
                              "member '%.120s' has another adapter in '%.*s', which is "
                              "not in this form",
                              run->view.member->name,
                              (int)(strlen(path) - strlen(config)), path);
        }
    }
    return rc;
}

static enum ww_err restore(struct ww_unpack_run *run, const char *out_path,
                           const struct ww_unpack_options *options,
                           struct ww_pack_report *report, struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    if (options->form >= WW_UNPACK_FORMS) {
        return WW_FAIL(err, WW_E_USAGE, "form %d is not known", (int)options->form);
    }
    if (options->form != WW_UNPACK_FILES && !run->view.member->adapter) {
        return WW_FAIL(
            err, WW_E_UNSUPPORTED,
            "member '%s' is %s, and form '%s' is of adapters; unpack its files",
            run->view.member->name,
            run->view.member->basis ? "what adapters share" : "a model",
            ww_unpack_form_name(options->form));
    }
    if (options->form > WW_UNPACK_PEFT && options->run.resume) {
        return WW_FAIL(err, WW_E_USAGE, "form '%s' cannot be resumed; start anew",
                       ww_unpack_form_name(options->form));
    }
    if (options->form <= WW_UNPACK_PEFT) {
        return ww_unpack_restore(run, out_path, &options->run, &report->run, err);
    }
    rc = restore_as(run, out_path, options, report, err);
    return rc ? rc : tell_others(run, report, err);
}

enum ww_err ww_unpack(const char *path, const char *name, const char *out_path,
                      const struct ww_unpack_options *options,
                      struct ww_pack_report *report, struct ww_error *err)
{
    struct ww_unpack_run run;
    enum ww_err rc = options->base ? ww_path_check_output(options->base, out_path, err)
                                   : ww_path_check_new(out_path, err);

    memset(report, 0, sizeof(*report));
    if (rc == WW_E_EXISTS) {
        ww_out_tidy(out_path);
    }
    if (rc) {
        return rc;
    }
    rc = ww_unpack_open(&run, path, name, options, err);
    if (rc) {
        return rc;
    }
    rc = ww_pack_describe(&run.file, report, err);
    if (!rc) {
        memcpy(report->signer, run.signer, sizeof(report->signer));
        rc = restore(&run, out_path, options, report, err);
    }
    report->restored = !rc;
    ww_unpack_close(&run);
    if (rc) {
        ww_pack_report_release(report);
    }
    return rc;
}
