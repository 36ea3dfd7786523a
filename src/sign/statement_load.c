/* SPDX-License-Identifier: Apache-2.0 */
/* A statement out of a folder, to be read and not to be trusted: verifying is another
 * job. */
#include "sign/bundle.h"
#include "sign/statement.h"
#include "util/fail.h"
#include "util/fs.h"

static enum ww_err take_payload(const struct ww_buf *text, struct ww_buf *payload,
                                struct ww_error *err)
{
    struct ww_bundle bundle;
    enum ww_err rc = ww_bundle_parse(text->data, text->len, &bundle, err);

    if (rc) {
        return rc;
    }
    rc = ww_buf_add(payload, bundle.payload.data, bundle.payload.len, err);
    ww_bundle_release(&bundle);
    return rc;
}

enum ww_err ww_statement_load(int dirfd, const char *signed_name, const char *plain_name,
                              struct ww_buf *payload, bool *was_signed,
                              struct ww_error *err)
{
    struct ww_error local = {0};
    struct ww_buf text;
    enum ww_err rc = WW_OK;

    ww_buf_clear(payload);
    ww_buf_init(&text, WW_BUNDLE_MAX_BYTES);
    rc = ww_file_read_at(dirfd, signed_name, WW_LINKS_REFUSE, &text, &local);
    *was_signed = rc != WW_E_NOTFOUND;
    if (rc == WW_E_NOTFOUND) {
        rc = ww_file_read_at(dirfd, plain_name, WW_LINKS_REFUSE, payload, err);
    } else if (rc) {
        rc = WW_FAIL(err, rc, "%s", local.text);
    } else {
        rc = take_payload(&text, payload, err);
        if (rc) {
            ww_error_context(err, "'%s'", signed_name);
        }
    }
    ww_buf_release(&text);
    return rc;
}
