/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A report as a folder: the page, the JSON, and one model signature over both, so that
 * what checks models checks reports too, and neither can be exchanged for another's.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sign/bundle.h"
#include "sign/oms.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"
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
    static const char *const ignored[] = {WW_SIGNATURE_FILE};
    uint8_t root[WW_SHA256_BYTES];
    struct ww_buf payload;
    struct ww_buf bundle;
    enum ww_err rc = WW_OK;

    ww_buf_init(&payload, WW_PAYLOAD_MAX_BYTES);
    ww_buf_init(&bundle, WW_BUNDLE_MAX_BYTES);
    rc = ww_oms_statement(name, resources, 2, ignored, 1, &payload, root, err);
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

static enum ww_err fill(int parent, const char *partial, const char *name,
                        const char *page, const char *json,
                        const struct ww_signer *signer, struct ww_error *err)
{
    struct ww_resource resources[2];
    const int dirfd = openat(parent, partial, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
    const int sys = errno;
    enum ww_err rc = WW_OK;

    if (dirfd < 0) {
        return WW_FAIL_SYS(err, ww_err_from_errno(sys), sys, "cannot open folder '%s'",
                           partial);
    }
    rc = write_text(dirfd, WW_LINEAGE_PAGE, page, &resources[0], err);
    if (!rc) {
        rc = write_text(dirfd, WW_LINEAGE_JSON, json, &resources[1], err);
    }
    if (!rc && signer) {
        rc = sign(dirfd, name, resources, signer, err);
    }
    close(dirfd);
    return rc;
}

/* Where the folder goes: its parent, opened, and its bare name. */
static enum ww_err open_parent(const char *path, int *parent, char **name,
                               struct ww_error *err)
{
    size_t len = 0;
    char *folder = NULL;
    enum ww_err rc = ww_path_last(path, name, err);

    if (rc) {
        return rc;
    }
    len = strlen(path);
    while (len > 1 && path[len - 1] == '/') {
        len--;
    }
    len -= strlen(*name);
    folder = len ? ww_strndup(path, len) : ww_strdup(".");
    rc = folder ? ww_dir_open(folder, parent, err) : WW_FAIL_MEMORY(err, "a path");
    ww_free(folder);
    return rc;
}

/* OUT.partial in the parent, filled, then renamed; removed after a failure. */
static enum ww_err write_at(int parent, const char *name, const char *partial,
                            const char *page, const char *json,
                            const struct ww_signer *signer, struct ww_error *err)
{
    struct ww_error ignored = {0};
    enum ww_err rc = WW_OK;

    if (mkdirat(parent, partial, 0755)) {
        const int sys = errno;
        return WW_FAIL_SYS(err, ww_err_from_errno(sys), sys, "cannot make folder '%s'",
                           partial);
    }
    rc = fill(parent, partial, name, page, json, signer, err);
    if (!rc) {
        rc = ww_rename_at(parent, partial, parent, name, false, err);
    }
    if (rc && ww_remove_tree_at(parent, partial, &ignored)) {
        ww_error_context(err, "folder '%s' stays behind", partial);
    }
    return rc;
}

enum ww_err ww_lineage_report_write(const char *path, const char *page, const char *json,
                                    const struct ww_signer *signer, struct ww_error *err)
{
    char *name = NULL;
    char *partial = NULL;
    int parent = -1;
    enum ww_err rc = ww_path_check_new(path, err);

    if (!rc) {
        rc = open_parent(path, &parent, &name, err);
    }
    if (!rc) {
        partial = ww_asprintf("%s.partial", name);
        rc = partial ? write_at(parent, name, partial, page, json, signer, err)
                     : WW_FAIL_MEMORY(err, "a path");
    }
    if (parent >= 0) {
        close(parent);
    }
    ww_free(name);
    ww_free(partial);
    return rc;
}
