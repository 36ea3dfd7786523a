/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The frame of an in-toto Statement v1 (attestation framework), as OMS profiles it: one
 * subject, no member beyond the four. The member order of the writer is that of the
 * reference client, so that equal models give equal statements in both.
 */
#include "sign/oms.h"

#include <string.h>

#include "util/fail.h"
#include "util/str.h"

static const char *const statement_keys[] = {"_type", "subject", "predicateType",
                                             "predicate"};

void ww_statement_begin(struct ww_jw *w, const char *name,
                        const uint8_t root[WW_SHA256_BYTES], const char *predicate_type)
{
    ww_jw_object(w);
    ww_jw_key(w, "subject");
    ww_jw_array(w);
    ww_jw_object(w);
    ww_jw_kstr(w, "name", name);
    ww_jw_key(w, "digest");
    ww_jw_object(w);
    ww_jw_khex(w, "sha256", root, WW_SHA256_BYTES);
    ww_jw_close(w);
    ww_jw_close(w);
    ww_jw_close(w);
    ww_jw_kstr(w, "_type", WW_STATEMENT_TYPE);
    ww_jw_kstr(w, "predicateType", predicate_type);
    ww_jw_key(w, "predicate");
}

static enum ww_err read_subject(const struct ww_jnode *subjects,
                                struct ww_statement_view *out, struct ww_error *err)
{
    const struct ww_jnode *subject = NULL;

    if (!subjects || ww_jtype(subjects) != WW_J_ARRAY || ww_jsize(subjects) != 1) {
        return WW_FAIL(err, WW_E_BUNDLE, "statement must have exactly one subject");
    }
    subject = ww_jfirst(subjects);
    if (!ww_jstr(ww_jget(subject, "name"), &out->subject_name) ||
        out->subject_name[0] == '\0') {
        return WW_FAIL(err, WW_E_BUNDLE, "subject of the statement has no name");
    }
    if (!ww_jhex(ww_jget(ww_jget(subject, "digest"), "sha256"), out->subject_sha256,
                 WW_SHA256_BYTES)) {
        return WW_FAIL(err, WW_E_BUNDLE,
                       "subject of the statement has no digest 'sha256' of 64 lower-case "
                       "hexadecimal digits");
    }
    return WW_OK;
}

enum ww_err ww_statement_read(const struct ww_jnode *root, const char *predicate_type,
                              struct ww_statement_view *out, struct ww_error *err)
{
    const char *type = NULL;
    enum ww_err rc = WW_OK;

    memset(out, 0, sizeof(*out));
    if (ww_jtype(root) != WW_J_OBJECT) {
        return WW_FAIL(err, WW_E_BUNDLE, "statement is no JSON object");
    }
    rc = ww_jonly(root, statement_keys, WW_LEN(statement_keys), WW_E_BUNDLE, "statement",
                  err);
    if (rc) {
        return rc;
    }
    if (!ww_jstr(ww_jget(root, "_type"), &type) || !ww_str_eq(type, WW_STATEMENT_TYPE)) {
        return WW_FAIL(err, WW_E_BUNDLE, "statement is of type '%s', expected '%s'",
                       type ? type : "", WW_STATEMENT_TYPE);
    }
    type = NULL;
    if (!ww_jstr(ww_jget(root, "predicateType"), &type) ||
        !ww_str_eq(type, predicate_type)) {
        return WW_FAIL(err, WW_E_BUNDLE, "predicate is of type '%s', expected '%s'",
                       type ? type : "", predicate_type);
    }
    out->predicate = ww_jget(root, "predicate");
    if (!out->predicate || ww_jtype(out->predicate) != WW_J_OBJECT) {
        return WW_FAIL(err, WW_E_BUNDLE, "statement has no predicate");
    }
    return read_subject(ww_jget(root, "subject"), out, err);
}
