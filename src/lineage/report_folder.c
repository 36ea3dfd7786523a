/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A report as a folder: the page, the JSON, and one model signature over both, so that
 * what checks models checks reports too, and neither can be exchanged for another's.
 */
#include <string.h>
#include <unistd.h>

#include "sign/bundle.h"
#include "sign/oms.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"
#include "util/new_folder.h"
#include "weightward/lineage.h"

static enum ww_err write_text(int dirfd, const char *name, const char *text,
                              struct ww_resource *resource, struct ww_error *err)
{
    resource->name = name;
    ww_sha256_of(text, strlen(text), resource->sha256);
    return ww_file_write_at(dirfd, name, text, strlen(text), 0644, false, err);
}

static enum ww_err sign(int dirfd, const char *name, struct ww_resource resources[2],
                        const struct ww_signer *signer, struct ww_error *err)
{
    uint8_t root[WW_SHA256_BYTES];
    struct ww_buf payload;
    struct ww_buf bundle;
    enum ww_err rc = WW_OK;

    ww_buf_init(&payload, WW_PAYLOAD_MAX_BYTES);
    ww_buf_init(&bundle, WW_BUNDLE_MAX_BYTES);
    rc = ww_oms_statement(name, resources, 2, &payload, root, err);
    if (!rc) {
        rc = ww_bundle_sign(signer, payload.data, payload.len, &bundle, err);
    }
    if (!rc) {
        rc = ww_file_write_at(dirfd, WW_SIGNATURE_FILE, bundle.data, bundle.len, 0644,
                              false, err);
    }
    ww_buf_release(&payload);
    ww_buf_release(&bundle);
    return rc;
}

struct report {
    char *name; /* of the folder, which the signature states */
    const char *page;
    const char *json;
    const struct ww_signer *signer; /* may be NULL */
};

static enum ww_err fill(void *payload, const char *folder, struct ww_error *err)
{
    const struct report *report = payload;
    struct ww_resource resources[2];
    int dirfd = -1;
    enum ww_err rc = ww_dir_open(folder, &dirfd, err);

    if (rc) {
        return rc;
    }
    rc = write_text(dirfd, WW_LINEAGE_PAGE, report->page, &resources[0], err);
    if (!rc) {
        rc = write_text(dirfd, WW_LINEAGE_JSON, report->json, &resources[1], err);
    }
    if (!rc && report->signer) {
        rc = sign(dirfd, report->name, resources, report->signer, err);
    }
    close(dirfd);
    return rc;
}

enum ww_err ww_lineage_report_write(const char *path, const char *page, const char *json,
                                    const struct ww_signer *signer, struct ww_error *err)
{
    struct report report = {.page = page, .json = json, .signer = signer};
    enum ww_err rc = ww_path_last(path, &report.name, err);

    rc = rc ? rc : ww_new_folder(path, fill, &report, err);
    ww_free(report.name);
    return rc;
}
