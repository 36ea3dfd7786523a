/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writing the bill of materials beside a model: plain for whoever reads CycloneDX, and
 * the same as the predicate of a signed in-toto statement. It is made of what the
 * evidence says, without verifying it: a step has no keys of its sources' publishers. A
 * file of its own, since it signs and the verifier must not hold code that does.
 */
#include <unistd.h>

#include "evidence/bom.h"
#include "util/fs.h"

static enum ww_err put(const char *path, const struct ww_buf *plain,
                       const struct ww_buf *bundle, struct ww_error *err)
{
    int fd = -1;
    bool is_file = false;
    enum ww_err rc = ww_evidence_dir(path, &is_file, &fd, err);

    if (!rc) {
        rc = ww_mkdirs_at(fd, WW_ATTESTATIONS_DIR, err);
    }
    if (!rc) {
        rc = ww_file_write_at(fd, WW_BOM_FILE, plain->data, plain->len, 0644, true, err);
    }
    if (!rc) {
        rc = ww_file_write_at(fd, WW_BOM_SIGNED_FILE, bundle->data, bundle->len, 0644,
                              true, err);
    }
    if (fd >= 0) {
        close(fd);
    }
    return rc;
}

enum ww_err ww_bom_attach(const char *path, const struct ww_signer *signer,
                          struct ww_error *err)
{
    const struct ww_chain_options options = {0};
    struct ww_chain_report report = {0};
    struct ww_buf payload;
    struct ww_buf plain;
    struct ww_buf bundle;
    enum ww_err rc = WW_OK;

    ww_buf_init(&payload, WW_BOM_MAX_BYTES);
    ww_buf_init(&plain, WW_BOM_MAX_BYTES);
    ww_buf_init(&bundle, WW_BUNDLE_MAX_BYTES);
    rc = ww_chain_walk(path, &options, NULL, NULL, &report, err);
    if (!rc) {
        rc = ww_bom_plain(&report, &plain, err);
    }
    if (!rc) {
        rc = ww_bom_payload(&report, &payload, err);
    }
    if (!rc) {
        rc = ww_bundle_sign(signer, payload.data, payload.len, &bundle, err);
    }
    if (!rc) {
        rc = put(path, &plain, &bundle, err);
    }
    ww_buf_release(&payload);
    ww_buf_release(&plain);
    ww_buf_release(&bundle);
    ww_chain_report_release(&report);
    return rc;
}
