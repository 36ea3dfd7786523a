/* SPDX-License-Identifier: Apache-2.0 */
/* Decisions of a table, and what signed files say. */
#include "report/object.h"
#include "weightward/report.h"

enum ww_err ww_report_policy_test_json(const struct ww_policy_test_report *report,
                                       char **out, struct ww_error *err)
{
    struct ww_buf buf;
    struct ww_jw w;
    ww_object_begin(&w, &buf, "policy");
    ww_jw_ku64(&w, "wrong", report->n_wrong);
    ww_jw_key(&w, "cases");
    ww_jw_array(&w);
    for (size_t i = 0; i < report->n_cases; i++) {
        const struct ww_policy_case *c = &report->cases[i];
        ww_jw_object(&w);
        ww_jw_kstr(&w, "name", c->name);
        ww_jw_kbool(&w, "permit", c->permit);
        ww_jw_kstr(&w, "reason", c->reason);
        ww_object_strings(&w, "rules", c->rules, c->n_rules);
        if (c->failed[0]) {
            ww_jw_kstr(&w, "failed", c->failed);
        }
        if (c->model[0]) {
            ww_jw_kstr(&w, "model", c->model);
        }
        ww_jw_kbool(&w, "as_expected", c->as_expected);
        if (c->expected[0]) {
            ww_jw_kstr(&w, "expected", c->expected);
        }
        ww_jw_close(&w);
    }
    ww_jw_close(&w);
    return ww_object_end(&w, &buf, out, err);
}

enum ww_err ww_report_policy_text_json(const char *text, char **out, struct ww_error *err)
{
    struct ww_buf buf;
    struct ww_jw w;
    ww_object_begin(&w, &buf, "policy");
    ww_jw_kstr(&w, "rules", text);
    return ww_object_end(&w, &buf, out, err);
}

enum ww_err ww_report_policy_sign_json(const struct ww_policy_signed *report, char **out,
                                       struct ww_error *err)
{
    struct ww_buf buf;
    struct ww_jw w;
    ww_object_begin(&w, &buf, "policy");
    ww_jw_kstr(&w, "kind", report->kind);
    ww_jw_kstr(&w, "signer", report->keyid);
    ww_jw_ku64(&w, "signatures", report->n_signatures);
    return ww_object_end(&w, &buf, out, err);
}

enum ww_err ww_report_policy_check_json(const struct ww_policy_check_report *report,
                                        char **out, struct ww_error *err)
{
    struct ww_buf buf;
    struct ww_jw w;
    ww_object_begin(&w, &buf, "policy");
    ww_jw_key(&w, "root");
    ww_jw_object(&w);
    ww_jw_kstr(&w, "version", report->root_version);
    ww_jw_kstr(&w, "expires", report->root_expires);
    ww_jw_close(&w);
    ww_jw_key(&w, "files");
    ww_jw_array(&w);
    for (size_t i = 0; i < report->n_files; i++) {
        const struct ww_policy_checked *f = &report->files[i];
        ww_jw_object(&w);
        ww_jw_kstr(&w, "path", f->path);
        ww_jw_kstr(&w, "kind", f->kind);
        ww_jw_kstr(&w, "id", f->id);
        if (f->version[0]) {
            ww_jw_kstr(&w, "version", f->version);
            ww_jw_kstr(&w, "expires", f->expires);
        }
        ww_object_strings(&w, "signers", f->signers, f->n_signers);
        ww_jw_ku64(&w, "signatures", f->n_signatures);
        ww_jw_close(&w);
    }
    ww_jw_close(&w);
    return ww_object_end(&w, &buf, out, err);
}
