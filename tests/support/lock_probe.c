/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lock_probe faults MODEL             the structural faults that apply to it, one a line
 * lock_probe dense-faults MODEL       the same for a dense lock
 * lock_probe wrong FAULT MODEL OUT    a lock with that fault and no check, to OUT
 *
 * For tests that must see a wrong transform fail; no manifest, nothing to unlock.
 */
#include <stdio.h>
#include <string.h>

#include "lock/check_layout.h"
#include "lock/dense_gauge.h"
#include "lock/lock_paths.h"
#include "util/alloc.h"

static enum ww_err open_model(const char *path, struct ww_model **model,
                              struct ww_layout **layout, struct ww_error *err)
{
    enum ww_err rc = ww_model_open(path, model, err);
    return rc ? rc : ww_layout_resolve(*model, NULL, layout, err);
}

static bool applies(const struct ww_layout *layout, enum ww_wrong wrong)
{
    bool any = false;
    for (uint32_t b = 0; b < layout->n_blocks; b++) {
        any = any || ww_wrong_applies(layout, b, wrong);
    }
    return any;
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

/* Faults of a dense lock are counted on behind those of an exact one. */
static enum ww_err list_dense(const struct ww_layout *layout, struct ww_error *err)
{
    struct ww_dense_moves *moves = NULL;
    enum ww_err rc = ww_dense_moves(layout, &moves, err);
    for (unsigned w = 1; !rc && w < WW_DENSE_WRONG_COUNT; w++) {
        bool any = false;
        for (uint32_t a = 0; a < layout->n_attentions; a++) {
            any = any || ww_dense_wrong_applies(&layout->attentions[a], &moves[a],
                                                (enum ww_dense_wrong)w);
        }
        if (any) {
            puts(ww_dense_wrong_name((enum ww_dense_wrong)w));
        }
    }
    ww_free(moves);
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

static enum ww_dense_wrong parse_dense(const char *name)
{
    for (unsigned w = 1; w < WW_DENSE_WRONG_COUNT; w++) {
        if (strcmp(ww_dense_wrong_name((enum ww_dense_wrong)w), name) == 0) {
            return (enum ww_dense_wrong)w;
        }
    }
    return WW_DENSE_WRONG_NONE;
}

static enum ww_wrong parse(const char *name)
{
    for (unsigned w = WW_WRONG_NONE; w < WW_WRONG_COUNT; w++) {
        if (strcmp(ww_wrong_name((enum ww_wrong)w), name) == 0) {
            return (enum ww_wrong)w;
        }
    }
    return WW_WRONG_COUNT;
}

int main(int argc, char **argv)
{
    struct ww_error err = {0};
    struct ww_model *model = NULL;
    struct ww_layout *layout = NULL;
    const bool list = argc == 3 && strcmp(argv[1], "faults") == 0;
    const bool dense = argc == 3 && strcmp(argv[1], "dense-faults") == 0;
    const bool wrong = argc == 5 && strcmp(argv[1], "wrong") == 0;
    const enum ww_dense_wrong mixed = wrong ? parse_dense(argv[2]) : WW_DENSE_WRONG_NONE;
    const enum ww_wrong moved = !wrong  ? WW_WRONG_COUNT
                                : mixed ? WW_WRONG_NONE
                                        : parse(argv[2]);
    enum ww_err rc = WW_OK;

    if (!list && !dense && moved == WW_WRONG_COUNT) {
        fprintf(stderr,
                "usage: lock_probe faults MODEL | dense-faults MODEL | wrong FAULT "
                "MODEL OUT\n");
        return 2;
    }
    rc = open_model(argv[list || dense ? 2 : 3], &model, &layout, &err);
    if (!rc && dense) {
        rc = list_dense(layout, &err);
    }
    for (unsigned w = 1; !rc && list && w < WW_WRONG_COUNT; w++) {
        if (applies(layout, (enum ww_wrong)w)) {
            puts(ww_wrong_name((enum ww_wrong)w));
        }
    }
    if (!rc && wrong) {
        rc = write_wrong(layout, moved, mixed, argv[4], &err);
    }
    if (rc) {
        fprintf(stderr, "%s: %s\n", ww_err_name(rc), err.text);
    }
    ww_layout_free(layout);
    ww_model_close(model);
    return rc ? 1 : 0;
}
