/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A lock writes a new folder beside the old one and never into it: the source must stay
 * as it was whatever happens. Evidence about the source says nothing about the locked
 * files, so it is set aside whole and comes back when the lock is undone.
 */
#include "lock/lock_paths.h"

#include <stdio.h>
#include <string.h>

#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"

enum ww_err ww_lock_check_paths(const char *model_path, const char *out_path,
                                struct ww_error *err)
{
    enum ww_err rc = ww_path_check_output(model_path, out_path, err);

    if (rc == WW_E_EXISTS) {
        ww_out_tidy(out_path);
    }
    return rc;
}

enum ww_err ww_lock_sides(const struct ww_model *model, struct ww_side_copy **sides,
                          uint32_t *n_sides, struct ww_error *err)
{
    struct ww_side_copy *all = ww_calloc(model->n_side, sizeof(*all));

    *sides = NULL;
    *n_sides = 0;
    if (!all) {
        return WW_FAIL_MEMORY(err, "a list of files");
    }
    for (uint32_t i = 0; i < model->n_side; i++) {
        const char *path = model->side[i].path;
        const char *folder = ww_is_evidence(path) ? WW_SET_ASIDE_DIR : "";
        all[i] = (struct ww_side_copy){ww_strdup(path), ww_asprintf("%s%s", folder, path),
                                       model->side[i].size_bytes};
        if (!all[i].from || !all[i].to) {
            ww_side_copies_free(all, model->n_side);
            return WW_FAIL_MEMORY(err, "a list of files");
        }
    }
    *sides = all;
    *n_sides = model->n_side;
    return WW_OK;
}

static bool has_side(const struct ww_model *model, const char *path)
{
    for (uint32_t i = 0; i < model->n_side; i++) {
        if (strcmp(model->side[i].path, path) == 0) {
            return true;
        }
    }
    return false;
}

enum ww_err ww_lock_statement(const struct ww_model *model,
                              struct ww_tensor_statement *out, bool *found,
                              struct ww_error *err)
{
    memset(out, 0, sizeof(*out));
    *found = has_side(model, WW_TENSORS_FILE) || has_side(model, WW_TENSORS_PLAIN_FILE);
    return *found ? ww_tensors_read(model->dirfd, NULL, out, err) : WW_OK;
}

bool ww_model_is_locked(const struct ww_model *model)
{
    struct ww_tensor_statement statement = {0};
    bool found = false;
    bool is_locked = false;

    if (!ww_lock_statement(model, &statement, &found, NULL)) {
        is_locked = statement.lock != NULL;
    }
    ww_tensors_release(&statement);
    return is_locked;
}

void ww_lock_report_end(struct ww_lock_report *report, const struct ww_lock_plan *plan,
                        const struct ww_stream_result *result, enum ww_err rc)
{
    if (rc) {
        ww_lock_report_release(report);
        return;
    }
    report->tensors_changed = plan->n_changed;
    report->tensors_total = plan->layout->model->n_tensors;
    report->run = result->report;
}
