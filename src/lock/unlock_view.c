/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The plan of an unlock, whose outputs are read instead of written. Kernels, maps and
 * residuals are those of an unlock, so the bytes are.
 */
#include "lock/unlock_view.h"

#include <string.h>

#include "lock/lock_paths.h"
#include "lock/unlock_open.h"
#include "stream/made.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"

#define MAX_SIDE_BYTES ((size_t)256 << 20)

struct ww_unlock_view {
    struct ww_unlock u;
    struct ww_lock_options options;
    struct ww_lock_report report; /* what it tells is told by an unlock */
    struct ww_made *made;
};

void ww_unlock_view_free(struct ww_unlock_view *view)
{
    if (view) {
        ww_made_free(view->made);
        ww_unlock_release(&view->u);
        ww_lock_report_release(&view->report);
        ww_free(view);
    }
}

/* config.json and the tokenizer decide what a merge writes; evidence does not. */
static enum ww_err check_side(const struct ww_unlock *u, const struct ww_side_file *side,
                              struct ww_error *err)
{
    const struct ww_manifest *m = &u->manifest;
    const struct ww_lock_file *file =
        ww_is_evidence(side->path)
            ? NULL
            : ww_lock_file_find(m->source, m->n_source, side->path);
    uint8_t digest[WW_SHA256_BYTES];
    struct ww_buf buf;
    enum ww_err rc = WW_OK;

    if (!file) {
        return WW_OK;
    }
    ww_buf_init(&buf, MAX_SIDE_BYTES);
    rc = ww_file_read_at(u->model->dirfd, side->path, WW_LINKS_HUB, &buf, err);
    if (!rc) {
        ww_sha256_of(buf.data, buf.len, digest);
        if (memcmp(digest, file->sha256, sizeof(digest)) != 0) {
            rc = WW_FAIL(err, WW_E_DAMAGED,
                         "file '%s' of the locked model was changed after the lock",
                         side->path);
        }
    }
    ww_buf_release(&buf);
    return rc;
}

enum ww_err ww_unlock_view_open(struct ww_model *model, struct ww_secret *secret,
                                const struct ww_key_binding *binding,
                                struct ww_unlock_view **out, struct ww_error *err)
{
    struct ww_unlock_view *view = ww_calloc(1, sizeof(*view));
    enum ww_err rc = WW_OK;

    *out = NULL;
    if (!view) {
        return WW_FAIL_MEMORY(err, "a locked model");
    }
    view->options = (struct ww_lock_options){.secret = secret, .binding = binding};
    view->u = (struct ww_unlock){
        .options = &view->options, .report = &view->report, .model = model};
    rc = ww_unlock_open(&view->u, err);
    if (!rc) {
        rc = ww_unlock_prepare(&view->u, err);
    }
    for (uint32_t i = 0; i < model->n_side && !rc; i++) {
        rc = check_side(&view->u, &model->side[i], err);
    }
    if (!rc) {
        rc =
            ww_lock_plan_init(&view->u.plan, &view->u.job, "unlock", false, NULL, 0, err);
    }
    if (!rc) {
        rc = ww_made_new(&view->u.plan.plan, &view->made, err);
    }
    if (rc) {
        ww_unlock_view_free(view);
        return rc;
    }
    *out = view;
    return WW_OK;
}

const struct ww_reader *ww_unlock_view_reader(const struct ww_unlock_view *view,
                                              uint32_t file)
{
    return ww_made_reader(view->made, file);
}

const uint8_t *ww_unlock_view_lock_id(const struct ww_unlock_view *view)
{
    return view->u.manifest.lock_id;
}

enum ww_err ww_unlock_view_check(const struct ww_unlock_view *view,
                                 const uint8_t (*locked_sha256)[WW_SHA256_BYTES],
                                 struct ww_error *err)
{
    return ww_unlock_check_locked(&view->u, locked_sha256, err);
}
