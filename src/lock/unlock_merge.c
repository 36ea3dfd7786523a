/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Undoing the lock of a merge. Its sources were locked with one key and merged by a
 * method that does not care for the order of elements, so the result is the lock of the
 * merge of the plain models. Nobody had the key when it was made: there is no MAC and no
 * digest of a source. What can be checked is the key, by the group's name, every tensor,
 * by the tree that the statement (signed, when it is) holds, and config.json.
 */
#include <string.h>

#include "crypto/hash.h"
#include "lock/draw.h"
#include "lock/group.h"
#include "lock/lock_paths.h"
#include "stream/tree.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"
#include "util/str.h"

#define GROUP_LABEL "weightward/lock/group/v1"

struct merge_unlock {
    const struct ww_lock_options *options;
    struct ww_lock_report *report;
    struct ww_model *model;
    struct ww_tensor_statement statement;
    struct ww_secret *prk;
    struct ww_layout *layout;
    struct ww_gauge gauge;
    bool scale; /* the sources were locked with powers of two */
    struct ww_lock_job job;
    struct ww_lock_plan plan;
    struct ww_out *out;
    struct ww_stream_result result;
};

enum ww_err ww_lock_group(struct ww_secret *prk, uint8_t out[WW_LOCK_GROUP_BYTES],
                          struct ww_error *err)
{
    return ww_draw_key(prk, GROUP_LABEL, NULL, 0, out, WW_LOCK_GROUP_BYTES, err);
}

static bool is_merge_lock(const struct ww_jnode *lock)
{
    const char *schema = NULL;
    return ww_jstr(ww_jget(lock, "schema"), &schema) &&
           strcmp(schema, WW_LOCK_MERGE_SCHEMA) == 0;
}

enum ww_err ww_lock_is_merge(const char *path, bool *is_merge, struct ww_error *err)
{
    struct ww_model *model = NULL;
    struct ww_tensor_statement statement = {0};
    bool found = false;
    enum ww_err rc = ww_model_open(path, &model, err);

    *is_merge = false;
    if (!rc) {
        rc = ww_lock_statement(model, &statement, &found, err);
    }
    if (!rc) {
        *is_merge = is_merge_lock(statement.lock);
    }
    ww_tensors_release(&statement);
    ww_model_close(model);
    return rc;
}

static enum ww_err malformed(const char *member, struct ww_error *err)
{
    return WW_FAIL(err, WW_E_MANIFEST,
                   "lock of the merge: member '%s' is missing or malformed", member);
}

static enum ww_err check_key(struct merge_unlock *run, struct ww_error *err)
{
    uint8_t stated[WW_LOCK_GROUP_BYTES];
    uint8_t found[WW_LOCK_GROUP_BYTES];
    enum ww_err rc = ww_draw_root(run->options->secret, &run->prk, err);

    if (rc) {
        return rc;
    }
    if (!ww_jbool(ww_jget(run->statement.lock, "scale"), &run->scale)) {
        return malformed("scale", err);
    }
    if (!ww_jhex(ww_jget(run->statement.lock, "group"), stated, sizeof(stated))) {
        return malformed("group", err);
    }
    rc = ww_lock_group(run->prk, found, err);
    if (!rc && memcmp(stated, found, sizeof(found)) != 0) {
        rc = WW_FAIL(
            err, WW_E_WRONG_KEY,
            "the lock key is not the one that the sources of the merge were locked "
            "with");
    }
    return rc;
}

static enum ww_err open_merge(struct merge_unlock *run, const char *path,
                              struct ww_error *err)
{
    bool found = false;
    enum ww_err rc = ww_model_open(path, &run->model, err);

    if (!rc) {
        rc = ww_lock_statement(run->model, &run->statement, &found, err);
    }
    if (!rc && !is_merge_lock(run->statement.lock)) {
        rc = malformed("schema", err);
    }
    return rc ? rc : check_key(run, err);
}

/* Every tensor of the folder is the statement's, and the reverse. */
static enum ww_err check_tensors(const struct merge_unlock *run, struct ww_error *err)
{
    const struct ww_tensor_statement *s = &run->statement;
    struct ww_tree_tensor *tree = NULL;
    uint8_t *buffer = ww_calloc(1, WW_TREE_CHUNK);
    enum ww_err rc = ww_tree_tensor_new(&tree, err);

    if (!rc && !buffer) {
        rc = WW_FAIL_MEMORY(err, "a comparison");
    }
    if (!rc && s->n_items != run->model->n_tensors) {
        rc = WW_FAIL(err, WW_E_WRONG_MODEL,
                     "the statement lists %zu tensors, the model has %u", s->n_items,
                     run->model->n_tensors);
    }
    for (uint32_t k = 0; k < s->n_items && !rc; k++) {
        const uint32_t t = ww_model_find(run->model, s->items[k].name);
        uint8_t root[WW_SHA256_BYTES];
        if (t == WW_NONE) {
            rc = WW_FAIL(err, WW_E_WRONG_MODEL, "tensor '%s' is not in the model",
                         s->items[k].name);
            break;
        }
        rc = ww_tree_tensor_read(tree, run->model, t, k, buffer, root, err);
        if (!rc && memcmp(root, s->items[k].root, sizeof(root)) != 0) {
            rc = WW_FAIL(err, WW_E_DAMAGED,
                         "tensor '%s' is not as it was merged: its tree root is another",
                         s->items[k].name);
        }
    }
    ww_tree_tensor_free(tree);
    ww_free(buffer);
    return rc;
}

/* By another config.json the lock would be undone in another way, and weights that
 * belong to nothing would look like any. Older statements do not name it. */
static enum ww_err check_config(const struct merge_unlock *run, struct ww_error *err)
{
    const struct ww_jnode *node = ww_jget(run->statement.lock, "config_sha256");
    const char *hex = "";
    uint8_t stated[WW_SHA256_BYTES];
    uint8_t found[WW_SHA256_BYTES];
    struct ww_buf text;
    enum ww_err rc = WW_OK;

    if (!node) {
        return WW_OK;
    }
    if (!ww_jstr(node, &hex) || !ww_unhex(stated, sizeof(stated), hex, strlen(hex))) {
        return malformed("config_sha256", err);
    }
    ww_buf_init(&text, ww_json_limits_config.max_bytes);
    rc = ww_file_read_at(run->model->dirfd, "config.json", WW_LINKS_HUB, &text, err);
    if (!rc) {
        ww_sha256_of(text.data, text.len, found);
    }
    ww_buf_release(&text);
    if (rc == WW_E_NOTFOUND || (!rc && memcmp(stated, found, sizeof(found)) != 0)) {
        ww_error_clear(err);
        return WW_FAIL(err, WW_E_DAMAGED,
                       "file 'config.json' is not the one that the merge wrote, by which "
                       "its lock is undone; put the one back that has SHA-256 %s",
                       hex);
    }
    return rc;
}

static enum ww_err resolve(struct merge_unlock *run, struct ww_error *err)
{
    const struct ww_jnode *descriptor = ww_jget(run->statement.lock, "descriptor");
    struct ww_layout_options layout = run->options->layout;
    const char *id = NULL;
    uint8_t sha256[WW_SHA256_BYTES];
    enum ww_err rc = WW_OK;

    if (!ww_jstr(ww_jget(descriptor, "id"), &id) ||
        !ww_jhex(ww_jget(descriptor, "sha256"), sha256, sizeof(sha256))) {
        return malformed("descriptor", err);
    }
    layout.descriptor = layout.descriptor ? layout.descriptor : id;
    rc = ww_layout_resolve(run->model, &layout, &run->layout, err);
    if (!rc && memcmp(run->layout->descriptor_sha256, sha256, sizeof(sha256)) != 0) {
        rc = ww_lines_add(
            &run->report->warnings, &run->report->n_warnings, err,
            "descriptor '%s' is not the one that the sources were locked with, and "
            "nothing tells whether it still fits: compare answers with the locked "
            "model's",
            run->layout->descriptor);
    }
    return rc;
}

static enum ww_err list_sides(const struct ww_model *model, struct ww_side_copy **out,
                              uint32_t *n, struct ww_error *err)
{
    struct ww_side_copy *sides = ww_calloc(model->n_side, sizeof(*sides));

    *n = 0;
    *out = sides;
    if (!sides) {
        return WW_FAIL_MEMORY(err, "a list of files");
    }
    for (uint32_t i = 0; i < model->n_side; i++) {
        const char *path = model->side[i].path;
        if (ww_is_evidence(path)) {
            continue;
        }
        sides[*n] = (struct ww_side_copy){ww_strdup(path), ww_strdup(path),
                                          model->side[i].size_bytes};
        (*n)++;
        if (!sides[*n - 1].from || !sides[*n - 1].to) {
            ww_side_copies_free(sides, *n);
            *out = NULL;
            return WW_FAIL_MEMORY(err, "a list of files");
        }
    }
    return WW_OK;
}

static enum ww_err prepare(struct merge_unlock *run, struct ww_error *err)
{
    struct ww_side_copy *sides = NULL;
    uint32_t n_sides = 0;
    enum ww_err rc = check_tensors(run, err);

    if (!rc) {
        rc = check_config(run, err);
    }
    if (!rc) {
        rc = resolve(run, err);
    }
    if (!rc) {
        rc = ww_gauge_init(&run->gauge, run->layout, run->options->secret, run->scale,
                           WW_WRONG_NONE, err);
    }
    if (!rc) {
        rc = ww_lock_moves(run->layout, run->scale, &run->report->blocks,
                           &run->report->n_blocks, err);
    }
    if (!rc) {
        rc = list_sides(run->model, &sides, &n_sides, err);
    }
    if (rc) {
        return rc;
    }
    run->job = (struct ww_lock_job){.gauge = &run->gauge, .inverse = true};
    return ww_lock_plan_init(&run->plan, &run->job, "unlock", false, sides, n_sides, err);
}

static enum ww_err stream(struct merge_unlock *run, const char *out_path,
                          struct ww_error *err)
{
    const struct ww_run_options *options = &run->options->run;
    enum ww_err rc = ww_out_begin(out_path, &run->plan.plan, 0, options, &run->out, err);

    if (!rc) {
        rc = ww_stream_run(&run->plan.plan, run->out, options, &run->result, err);
    }
    if (!rc) {
        rc = ww_model_unchanged(run->model, err);
    }
    return rc ? rc : ww_out_commit(run->out, err);
}

static void release(struct merge_unlock *run, bool keep)
{
    ww_stream_result_release(&run->result);
    ww_out_close(run->out, keep);
    ww_lock_plan_release(&run->plan);
    ww_gauge_release(&run->gauge);
    ww_layout_free(run->layout);
    ww_secret_free(run->prk);
    ww_tensors_release(&run->statement);
    ww_model_close(run->model);
}

enum ww_err ww_unlock_merge(const char *path, const char *out_path,
                            const struct ww_lock_options *options,
                            struct ww_lock_report *report, struct ww_error *err)
{
    struct merge_unlock run = {.options = options, .report = report};
    enum ww_err rc = WW_OK;

    if (options->weights_only) {
        return WW_FAIL(err, WW_E_UNSUPPORTED,
                       "model '%s' was merged while locked: no digest of a source tells "
                       "whether weights come back without the files beside them",
                       path);
    }
    rc = open_merge(&run, path, err);
    if (!rc) {
        rc = prepare(&run, err);
    }
    if (!rc) {
        rc = stream(&run, out_path, err);
    }
    if (!rc) {
        rc = ww_lines_add(&report->warnings, &report->n_warnings, err,
                          "the model was merged while locked, so there is no source to "
                          "compare with: the weights were those of its tensor tree");
    }
    if (!rc) {
        report->tensors_changed = run.plan.n_changed;
        report->tensors_total = run.model->n_tensors;
        report->run = run.result.report;
    } else {
        ww_lock_report_release(report);
    }
    release(&run, rc == WW_E_CANCELLED);
    return rc;
}
