/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lock_probe wrong MODEL OUT          locks with each structural fault that applies to it
 *                                     and no check, to OUT.FAULT; the faults, one a line
 * lock_probe dense-wrong MODEL OUT    the same of a dense lock
 *
 * For tests that must see a wrong transform fail; no manifest, nothing to unlock.
 */
#include <stdio.h>
#include <string.h>

#include "lock/check_layout.h"
#include "lock/dense_gauge.h"
#include "lock/lock_paths.h"
#include "util/alloc.h"
#include "util/str.h"

static enum ww_err open_model(const char *path, struct ww_model **model,
                              struct ww_layout **layout, struct ww_error *err)
{
    enum ww_err rc = ww_model_open(path, model, err);
    return rc ? rc : ww_layout_resolve(*model, NULL, layout, err);
}

static enum ww_err fixed_secret(struct ww_secret **out, struct ww_error *err)
{
    enum ww_err rc = ww_secret_new(32, out, err);
    if (!rc) {
        memset(ww_secret_open(*out), 0x5a, 32);
        ww_secret_close(*out);
    }
    return rc;
}

static enum ww_err write_wrong(const struct ww_layout *layout, enum ww_wrong wrong,
                               enum ww_dense_wrong dense_wrong, const char *out_path,
                               struct ww_error *err)
{
    struct ww_dense_gauge *dense = NULL;
    struct ww_dense_job mixing = {0};
    const struct ww_run_options options = {.threads = 2};
    struct ww_secret *secret = NULL;
    struct ww_gauge gauge = {0};
    struct ww_lock_job job = {.gauge = &gauge};
    struct ww_side_copy *sides = NULL;
    struct ww_lock_plan plan = {0};
    struct ww_out *out = NULL;
    struct ww_stream_result result = {0};
    uint32_t n_sides = 0;
    enum ww_err rc = fixed_secret(&secret, err);
    if (!rc) {
        rc = ww_gauge_init(&gauge, layout, secret, false, wrong, err);
    }
    if (!rc && dense_wrong != WW_DENSE_WRONG_NONE) {
        rc = ww_dense_gauge_new(&gauge, 0, dense_wrong, &dense, err);
        if (!rc) {
            mixing =
                (struct ww_dense_job){&gauge, ww_dense_gauge_source(dense), false, NULL};
            job.dense = &mixing;
        }
    }
    if (!rc) {
        rc = ww_lock_sides(layout->model, &sides, &n_sides, err);
    }
    if (!rc) {
        rc = ww_lock_plan_init(&plan, &job, "wrong", false, sides, n_sides, err);
    }
    if (!rc) {
        rc = ww_out_begin(out_path, &plan.plan, 0, &options, &out, err);
    }
    if (!rc) {
        rc = ww_stream_run(&plan.plan, out, &options, &result, err);
    }
    if (!rc) {
        rc = ww_out_commit(out, err);
    }
    ww_stream_result_release(&result);
    ww_out_close(out, false);
    ww_lock_plan_release(&plan);
    ww_dense_gauge_free(dense);
    ww_gauge_release(&gauge);
    ww_secret_free(secret);
    return rc;
}

/* To OUT.NAME. */
static enum ww_err write_named(const struct ww_layout *layout, enum ww_wrong wrong,
                               enum ww_dense_wrong dense_wrong, const char *out,
                               const char *name, struct ww_error *err)
{
    char *path = ww_asprintf("%s.%s", out, name);
    enum ww_err rc =
        path ? write_wrong(layout, wrong, dense_wrong, path, err) : WW_E_NOMEM;

    if (!rc) {
        puts(name);
    }
    ww_free(path);
    return rc;
}

static enum ww_err write_exact(const struct ww_layout *layout, const char *out,
                               struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    for (enum ww_wrong w = 1; !rc && w < WW_WRONG_COUNT; w++) {
        bool any = false;
        for (uint32_t b = 0; b < layout->n_blocks; b++) {
            any = any || ww_wrong_applies(layout, b, w);
        }
        rc = any ? write_named(layout, w, WW_DENSE_WRONG_NONE, out, ww_wrong_name(w), err)
                 : WW_OK;
    }
    return rc;
}

static enum ww_err write_dense(const struct ww_layout *layout, const char *out,
                               struct ww_error *err)
{
    struct ww_dense_moves *moves = NULL;
    enum ww_err rc = ww_dense_moves(layout, &moves, err);

    for (enum ww_dense_wrong w = 1; !rc && w < WW_DENSE_WRONG_COUNT; w++) {
        bool any = false;
        for (uint32_t a = 0; a < layout->n_attentions; a++) {
            any = any || ww_dense_wrong_applies(&layout->attentions[a], &moves[a], w);
        }
        rc = any ? write_named(layout, WW_WRONG_NONE, w, out, ww_dense_wrong_name(w), err)
                 : WW_OK;
    }
    ww_free(moves);
    return rc;
}

int main(int argc, char **argv)
{
    struct ww_error err = {0};
    struct ww_model *model = NULL;
    struct ww_layout *layout = NULL;
    const bool exact = argc == 4 && strcmp(argv[1], "wrong") == 0;
    const bool dense = argc == 4 && strcmp(argv[1], "dense-wrong") == 0;
    enum ww_err rc = WW_OK;

    if (!exact && !dense) {
        fprintf(stderr, "usage: lock_probe wrong | dense-wrong MODEL OUT\n");
        return 2;
    }
    rc = open_model(argv[2], &model, &layout, &err);
    if (!rc) {
        rc = (exact ? write_exact : write_dense)(layout, argv[3], &err);
    }
    if (rc) {
        fprintf(stderr, "%s: %s\n", ww_err_name(rc), err.text);
    }
    ww_layout_free(layout);
    ww_model_close(model);
    return rc ? 1 : 0;
}
