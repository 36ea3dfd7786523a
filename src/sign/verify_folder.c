/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Verifying a model: who signed, then what was signed, then whether it is what lies here.
 * The order matters. Until the signature holds, only the outer bundle has been parsed,
 * and nothing of the model has been read. No state is kept between two calls: the
 * reference client once carried ignore paths from one model to the next.
 */
#include <string.h>

#include "model/adapter.h"
#include "sign/bundle.h"
#include "sign/notes.h"
#include "sign/oms.h"
#include "sign/target.h"
#include "sign/tensors.h"
#include "sign/verify.h"
#include "sign/verify_files.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"
#include "util/str.h"

struct job {
    const struct ww_verify_options *options;
    struct ww_verify_report *report;
    struct ww_target target;
    const struct ww_verifier *verifier;
    struct ww_notes notes;
};

/* A lone file has its signature beside it, FILE.sig, where no other is named. */
static enum ww_err read_default_signature(struct job *job, struct ww_buf *text,
                                          struct ww_error *err)
{
    struct ww_target *target = &job->target;
    struct ww_error local = {0};
    enum ww_err rc = WW_OK;

    target->signature =
        target->file ? ww_asprintf("%s.sig", target->file) : ww_strdup(WW_SIGNATURE_FILE);
    if (!target->signature) {
        return WW_FAIL_MEMORY(err, "a path");
    }
    rc = ww_file_read_at(target->dirfd, target->signature, WW_LINKS_REFUSE, text, &local);
    if (rc == WW_E_NOTFOUND) {
        return WW_FAIL(err, WW_E_NOT_SIGNED, "no signature '%s' found for '%s'%s",
                       target->signature, target->given,
                       target->file
                           ? "; packages hold theirs: 'weightward rmm verify' checks "
                             "one, and --chain walks from it"
                           : "");
    }
    return rc ? WW_FAIL(err, rc, "%s", local.text) : WW_OK;
}

static enum ww_err read_signature(struct job *job, struct ww_buf *text,
                                  struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    if (!job->options->signature) {
        return read_default_signature(job, text, err);
    }
    rc = ww_file_read(job->options->signature, text, err);
    if (rc) {
        return rc;
    }
    return ww_target_place_signature(&job->target, job->options->signature, err);
}

static enum ww_err note_bundle(struct job *job, const struct ww_bundle *bundle,
                               struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    if (bundle->n_signatures > 1) {
        rc =
            ww_notes_add(&job->notes, err, "only the first of %zu signatures was checked",
                         bundle->n_signatures);
    }
    if (!rc && bundle->has_log && !bundle->is_keyless) {
        rc = ww_notes_add(&job->notes, err,
                          "transparency log entries of the signature were not checked");
    }
    if (!rc && bundle->n_stamps > 0 && !bundle->stamps_checked) {
        rc = ww_notes_add(&job->notes, err,
                          "signed timestamps of the signature were not checked");
    }
    return rc;
}

static enum ww_err open_statement(struct job *job, struct ww_oms *oms,
                                  struct ww_error *err)
{
    struct ww_bundle bundle = {0};
    struct ww_buf text;
    enum ww_err rc = WW_OK;

    ww_buf_init(&text, WW_BUNDLE_MAX_BYTES);
    rc = read_signature(job, &text, err);
    if (rc) {
        goto out;
    }
    rc = ww_bundle_parse(text.data, text.len, &bundle, err);
    if (rc) {
        ww_error_context(err, "signature '%s'",
                         job->options->signature ? job->options->signature
                                                 : job->target.signature);
        goto out;
    }
    rc = ww_bundle_check(&bundle, job->verifier, job->report->signer, err);
    if (rc) {
        goto out;
    }
    rc = note_bundle(job, &bundle, err);
    if (rc) {
        goto out;
    }
    rc = ww_oms_parse(bundle.payload.data, bundle.payload.len, bundle.is_v02, oms, err);
    if (rc) {
        goto out;
    }
    ww_hex(job->report->root_sha256, oms->root, sizeof(oms->root));
out:
    ww_bundle_release(&bundle);
    ww_buf_release(&text);
    return rc;
}

/* The statement must be about this model's tensors; their bytes are not hashed again. */
static enum ww_err match_model(const struct job *job,
                               const struct ww_tensor_statement *statement,
                               struct ww_error *err)
{
    struct ww_model *model = NULL;
    enum ww_err rc = ww_weights_open(job->target.real, &model, err);
    if (rc) {
        return rc;
    }
    rc = ww_tensors_match_headers(statement, model, err);
    ww_model_close(model);
    return rc;
}

static void report_tensors(struct ww_verify_report *report,
                           const struct ww_tensor_statement *statement)
{
    ww_hex(report->tensor_root, statement->model_root, sizeof(statement->model_root));
    report->locked = statement->lock != NULL;
}

/* The OMS signature does not cover attestations, so theirs is looked at on its own. A
 * failure there takes nothing away from the files that were checked: it is reported. */
static enum ww_err look_at_tensors(struct job *job, struct ww_error *err)
{
    struct ww_tensor_statement statement = {0};
    struct ww_error local = {0};
    enum ww_err rc =
        ww_tensors_read_by(job->target.dirfd, job->verifier, NULL, &statement, &local);

    if (rc == WW_E_NOTFOUND) {
        rc = WW_OK;
        goto out;
    }
    if (!rc) {
        rc = match_model(job, &statement, &local);
    }
    if (rc == WW_E_NOMEM) {
        rc = WW_FAIL(err, rc, "%s", local.text);
        goto out;
    }
    if (rc) {
        rc = ww_notes_add(&job->notes, err,
                          "tensor statement and lock are not trusted: %s", local.text);
        goto out;
    }
    report_tensors(job->report, &statement);
    /* Every byte was hashed once, for its file. A second hash would double the time. */
    rc = ww_notes_add(&job->notes, err,
                      "tensor tree: its signature and the tensors' names and shapes were "
                      "checked, not their contents (see --tensor)");
out:
    ww_tensors_release(&statement);
    return rc;
}

static enum ww_err verify_all(struct job *job, struct ww_error *err)
{
    struct ww_oms oms = {0};
    enum ww_err rc = open_statement(job, &oms, err);
    if (rc) {
        goto out;
    }
    rc = ww_verify_files(&job->target, &oms, job->options, job->report, &job->notes, err);
    if (rc || job->target.file) {
        goto out;
    }
    rc = look_at_tensors(job, err);
out:
    ww_oms_release(&oms);
    return rc;
}

static enum ww_err read_tensor_statement(struct job *job,
                                         struct ww_tensor_statement *statement,
                                         struct ww_error *err)
{
    struct ww_error local = {0};
    enum ww_err rc = ww_tensors_read_by(job->target.dirfd, job->verifier,
                                        job->report->signer, statement, &local);

    if (rc == WW_E_NOTFOUND) {
        return WW_FAIL(err, WW_E_NOT_SIGNED,
                       "no signed tensor statement '%s' in '%s'; sign with --tensors",
                       WW_TENSORS_FILE, job->target.given);
    }
    return rc ? WW_FAIL(err, rc, "%s", local.text) : WW_OK;
}

static enum ww_err verify_tensor(struct job *job, struct ww_error *err)
{
    struct ww_tensor_statement statement = {0};
    struct ww_model *model = NULL;
    enum ww_err rc = WW_OK;

    if (job->target.file) {
        rc =
            WW_FAIL(err, WW_E_USAGE, "'%s' is a file; a tensor is verified in its folder",
                    job->target.given);
        goto out;
    }
    rc = read_tensor_statement(job, &statement, err);
    if (rc) {
        goto out;
    }
    rc = ww_weights_open(job->target.real, &model, err);
    if (rc) {
        goto out;
    }
    rc = ww_tensors_check_one(&statement, model, job->options->tensor, &job->options->run,
                              &job->report->bytes_checked, err);
    if (rc) {
        goto out;
    }
    job->report->tensors_checked = 1;
    report_tensors(job->report, &statement);
    rc = ww_notes_add(&job->notes, err,
                      "the other %zu tensors and the files of the folder",
                      statement.n_items - 1);
out:
    ww_model_close(model);
    ww_tensors_release(&statement);
    return rc;
}

static enum ww_err run(const char *path, struct job *job, struct ww_error *err)
{
    enum ww_err rc = ww_target_open(path, &job->target, err);
    if (rc) {
        return rc;
    }
    if (!job->options->tensor) {
        return verify_all(job, err);
    }
    return verify_tensor(job, err);
}

enum ww_err ww_verify_folder_by(const char *path, const struct ww_verifier *verifier,
                                const struct ww_verify_options *options,
                                struct ww_verify_report *report, struct ww_error *err)
{
    struct job job = {.verifier = verifier,
                      .options = options,
                      .report = report,
                      .target = {.dirfd = -1}};
    enum ww_err rc = WW_OK;

    memset(report, 0, sizeof(*report));
    rc = run(path, &job, err);
    if (!rc) {
        rc = ww_notes_take(&job.notes, &report->not_checked, &report->n_not_checked, err);
    }
    ww_notes_release(&job.notes);
    ww_target_release(&job.target);
    return rc;
}

enum ww_err ww_verify_folder(const char *path, const struct ww_verify_options *options,
                             struct ww_verify_report *report, struct ww_error *err)
{
    struct ww_verifier verifier;
    enum ww_err rc = WW_OK;

    memset(report, 0, sizeof(*report));
    rc = ww_verifier_open(options, &verifier, err);
    if (!rc) {
        rc = ww_verify_folder_by(path, &verifier, options, report, err);
    }
    ww_verifier_release(&verifier);
    return rc;
}

void ww_verify_report_release(struct ww_verify_report *report)
{
    if (!report) {
        return;
    }
    for (size_t i = 0; i < report->n_not_checked; i++) {
        ww_free(report->not_checked[i]);
    }
    ww_free(report->not_checked);
    memset(report, 0, sizeof(*report));
}
