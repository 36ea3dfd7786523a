/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bill of materials beside a model: plain for whoever reads CycloneDX, and the same
 * as the predicate of a signed in-toto statement. It is made of what the evidence says,
 * without verifying it: a step has no keys of its sources' publishers. A verifier who has
 * them makes the bill again from the chain and compares, every byte when the same version
 * wrote it, else the serial number, which is a hash of all names, digests and licences.
 */
#include "evidence/bom.h"

#include <string.h>

#include "util/fail.h"
#include "util/fs.h"

enum ww_err ww_bom_payload(const struct ww_chain_report *report, struct ww_buf *out,
                           struct ww_error *err)
{
    const struct ww_bom_form form = {.signers = false};
    uint8_t root[WW_SHA256_BYTES] = {0};
    struct ww_jw w;
    enum ww_err rc = WW_OK;

    if (!ww_unhex(root, sizeof(root), report->links[0].root_sha256,
                  strlen(report->links[0].root_sha256))) {
        return WW_FAIL(err, WW_E_BUNDLE, "the root of the folder is not stated");
    }
    ww_jw_init(&w, out, 0);
    ww_statement_begin(&w, report->links[0].name, root, WW_BOM_PREDICATE);
    rc = ww_bom_write_into(&w, report, &form, err);
    ww_jw_close(&w);
    return rc ? rc : ww_jw_end(&w, err);
}

enum ww_err ww_bom_plain(const struct ww_chain_report *report, struct ww_buf *out,
                         struct ww_error *err)
{
    const struct ww_bom_form form = {.signers = false};
    struct ww_jw w;
    enum ww_err rc = WW_OK;

    ww_jw_init(&w, out, 2);
    rc = ww_bom_write_into(&w, report, &form, err);
    return rc ? rc : ww_jw_end(&w, err);
}

static bool same_bytes(const struct ww_buf *a, const struct ww_buf *b)
{
    return a->len == b->len && memcmp(a->data, b->data, a->len) == 0;
}

/* The version of this project that wrote a bill, or "". */
static const char *version_of(const struct ww_jnode *bill)
{
    const struct ww_jnode *tools = ww_jget(ww_jget(bill, "metadata"), "tools");
    const char *version = "";

    (void)ww_jstr(ww_jget(ww_jfirst(ww_jget(tools, "components")), "version"), &version);
    return version;
}

/* Another version may have written the same chain in other words. */
static enum ww_err compare(const struct ww_buf *payload,
                           const struct ww_chain_report *report, struct ww_error *err)
{
    char serial[WW_BOM_SERIAL_BYTES];
    struct ww_statement_view view = {0};
    struct ww_json *json = NULL;
    const char *stated = "";
    struct ww_buf mine;
    bool same = false;
    enum ww_err rc = WW_OK;

    ww_buf_init(&mine, WW_BOM_MAX_BYTES);
    rc = ww_json_parse(payload->data, payload->len, &ww_json_limits_bundle, &json, err);
    if (!rc) {
        rc = ww_statement_read(ww_json_root(json), WW_BOM_PREDICATE, &view, err);
    }
    if (!rc) {
        rc = ww_bom_serial(report, serial, err);
    }
    if (!rc) {
        rc = ww_bom_payload(report, &mine, err);
    }
    if (!rc) {
        (void)ww_jstr(ww_jget(view.predicate, "serialNumber"), &stated);
        same = strcmp(version_of(view.predicate), WW_VERSION) == 0
                   ? same_bytes(&mine, payload)
                   : strcmp(stated, serial) == 0;
    }
    ww_buf_release(&mine);
    ww_json_free(json);
    return rc || same
               ? rc
               : WW_FAIL(err, WW_E_WRONG_MODEL,
                         "it tells of another chain than the evidence beside it does; "
                         "take both from where they were signed");
}

/* The plain one has no signature and no right to differ. */
static enum ww_err compare_plain(int dirfd, const struct ww_chain_report *report,
                                 struct ww_error *err)
{
    struct ww_json *json = NULL;
    struct ww_buf text;
    struct ww_buf mine;
    enum ww_err rc = WW_OK;

    ww_buf_init(&text, WW_BOM_MAX_BYTES);
    ww_buf_init(&mine, WW_BOM_MAX_BYTES);
    rc = ww_file_read_at(dirfd, WW_BOM_FILE, WW_LINKS_REFUSE, &text, err);
    if (rc == WW_E_NOTFOUND) {
        ww_error_clear(err);
        rc = WW_OK;
        goto out;
    }
    if (!rc) {
        rc = ww_json_parse(text.data, text.len, &ww_json_limits_bundle, &json, err);
    }
    if (!rc && strcmp(version_of(ww_json_root(json)), WW_VERSION) == 0) {
        rc = ww_bom_plain(report, &mine, err);
        if (!rc && !same_bytes(&mine, &text)) {
            rc = WW_FAIL(err, WW_E_WRONG_MODEL,
                         "'" WW_BOM_FILE "' differs from the signed one");
        }
    }
out:
    ww_json_free(json);
    ww_buf_release(&text);
    ww_buf_release(&mine);
    return rc;
}

enum ww_err ww_bom_check(int dirfd, const struct ww_chain_keys *keys,
                         const struct ww_chain_report *report, bool *found,
                         struct ww_error *err)
{
    struct ww_error local = {0};
    const struct ww_verifier *verifier = NULL;
    struct ww_bundle bundle = {0};
    enum ww_err rc =
        ww_chain_open_signed(dirfd, WW_BOM_SIGNED_FILE, keys, &bundle, &verifier, &local);

    *found = rc == WW_OK;
    if (rc == WW_E_NOTFOUND) {
        rc = WW_OK;
        goto out;
    }
    if (!rc) {
        rc = ww_bundle_check(&bundle, verifier, NULL, &local);
    }
    if (!rc) {
        rc = compare(&bundle.payload, report, &local);
    }
    if (!rc) {
        rc = compare_plain(dirfd, report, &local);
    }
    if (rc) {
        rc = WW_FAIL(err, rc, "bill of materials: %s", local.text);
    }
out:
    ww_bundle_release(&bundle);
    return rc;
}
