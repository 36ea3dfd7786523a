/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Signature, version and sections; with the base, and keys for what is sealed, members
 * are restored in memory as well, which shows that they can be.
 */
#include <string.h>

#include "rmm/base_use.h"
#include "rmm/pack_folder.h"
#include "rmm/unpack_run.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"
#include "util/num.h"

/* Members that cannot be opened with what was given are left to the digests. */
static enum ww_err restore_members(const char *path,
                                   const struct ww_pack_verify_options *options,
                                   struct ww_pack_report *report, struct ww_error *err)
{
    const struct ww_unpack_options unpack = {.base = options->base,
                                             .sources = options->sources,
                                             .n_sources = options->n_sources,
                                             .unsealer = options->unsealer};
    const bool may_open = options->unsealer && options->unsealer->recipient_key;
    enum ww_err rc = WW_OK;

    for (size_t i = 0; i < report->n_members && !rc; i++) {
        struct ww_unpack_run run;
        struct ww_run_report one = {0};
        struct ww_error why = {0};
        if (report->members[i].sealed && !may_open) {
            continue;
        }
        rc = ww_unpack_open(&run, path, report->members[i].name, &unpack, &why);
        if (rc == WW_E_NOT_FOR_YOU && report->members[i].sealed) {
            rc = WW_OK;
            continue;
        }
        if (!rc) {
            rc = ww_unpack_restore(&run, NULL, &options->run, &one, &why);
            ww_unpack_close(&run);
        }
        report->restored += !rc;
        report->run.bytes_read += one.bytes_read;
        report->run.seconds += one.seconds;
        if (rc) {
            rc = WW_FAIL(err, rc, "%s", why.text);
        }
    }
    return rc;
}

static enum ww_err compare_base(const struct ww_pack_file *f, const char *path,
                                bool *known, struct ww_error *err)
{
    struct ww_model *base = NULL;
    enum ww_err rc = ww_model_open(path, &base, err);

    if (!rc) {
        rc = ww_base_use_check_whole(base, &f->manifest, known, err);
        ww_model_close(base);
    }
    return rc;
}

/* Adapters come back beside any base; is it theirs? */
static enum ww_err check_base(const struct ww_pack_file *f, const char *path,
                              struct ww_pack_report *report, struct ww_error *err)
{
    bool adapters = false;
    bool known = true;
    enum ww_err rc = WW_OK;

    for (size_t i = 0; i < report->n_members; i++) {
        adapters = adapters || report->members[i].adapter;
    }
    if (adapters) {
        rc = compare_base(f, path, &known, err);
    }
    report->base_unknown = !known;
    return rc;
}

enum ww_err ww_pack_check_base(const char *path, const char *base, bool *known,
                               struct ww_error *err)
{
    struct ww_pack_file f;
    enum ww_err rc = ww_pack_open(path, &f, err);

    *known = false;
    if (!rc) {
        rc = compare_base(&f, base, known, err);
        ww_pack_close(&f);
    }
    return rc;
}

enum ww_err ww_pack_verify(const char *path, const struct ww_pack_verify_options *options,
                           struct ww_pack_report *report, struct ww_error *err)
{
    struct ww_pack_file f;
    char signer[256] = "";
    enum ww_err rc = ww_pack_open(path, &f, err);

    memset(report, 0, sizeof(*report));
    if (rc) {
        return rc;
    }
    if (options->public_key) {
        rc = ww_pack_check_signature(&f, options->public_key, signer, err);
    }
    if (!rc) {
        rc = ww_pack_check_version(&f, options->least_version, err);
    }
    if (!rc) {
        rc = ww_pack_describe(&f, report, err);
    }
    if (!rc) {
        memcpy(report->signer, signer, sizeof(signer));
        rc = ww_pack_check_sections(&f, &options->run, &report->run, err);
    }
    if (!rc && f.folder >= 0) {
        rc = ww_pack_folder_foreign(&f, &report->n_foreign, &report->foreign, err);
    }
    if (!rc && options->base) {
        rc = restore_members(path, options, report, err);
    }
    if (!rc && options->base) {
        rc = check_base(&f, options->base, report, err);
    }
    ww_pack_close(&f);
    if (rc) {
        ww_pack_report_release(report);
    }
    return rc;
}
