/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Each tensor of an adapter moves as the axes of the weight that it is added to do; side
 * files are copied, and the record of a lock comes or goes.
 */
#include <string.h>

#include "lock/carry_run.h"
#include "lock/tensor_map.h"
#include "model/shape.h"
#include "model/vocab_names.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"
#include "util/str.h"

/* A head that the base has not stored moves as the embedding that it is. */
static bool is_tied_head(const struct ww_carry_run *run,
                         const struct ww_adapter_entry *entry)
{
    const struct ww_layout *layout = run->base.layout;

    return layout->embed != WW_NONE && layout->head.weight == layout->embed &&
           ww_is_head(entry->module);
}

static enum ww_err find_target(const struct ww_carry_run *run,
                               const struct ww_adapter_entry *entry, uint32_t *target,
                               struct ww_error *err)
{
    if (is_tied_head(run, entry)) {
        *target = run->base.layout->embed;
        return WW_OK;
    }
    return ww_adapter_target(entry, run->base.model, target, err);
}

static enum ww_err find_entry(const struct ww_carry_run *run, enum ww_adapter_part part,
                              const uint32_t *targets, uint32_t target, uint32_t *entry,
                              struct ww_error *err)
{
    const struct ww_adapter *adapter = run->adapter;

    for (uint32_t i = 0; i < adapter->n_tensors; i++) {
        if (targets[i] == target && adapter->entries[i].part == part) {
            *entry = i;
            return WW_OK;
        }
    }
    return WW_FAIL(err, WW_E_UNSUPPORTED,
                   "adapter '%s' has nothing for '%.160s', which trades places with an "
                   "expert that it changes; an adapter must cover all experts or none",
                   adapter->path, run->base.model->tensors[target].name);
}

static bool same_form(const struct ww_tensor *a, const struct ww_tensor *b)
{
    return a->dtype == b->dtype && ww_same_shape(a, b);
}

/* reads[i]: the entry that output tensor i is made of; carries[i] its map. */
static enum ww_err pair_entries(struct ww_carry_run *run, const uint32_t *targets,
                                uint32_t *reads, struct ww_error *err)
{
    const struct ww_adapter *adapter = run->adapter;
    enum ww_err rc = WW_OK;

    for (uint32_t i = 0; i < adapter->n_tensors && !rc; i++) {
        const struct ww_adapter_entry *entry = &adapter->entries[i];
        uint32_t source = 0;
        uint32_t from = i;
        rc = ww_axis_source(&run->base.gauge, targets[i], &source, err);
        if (!rc && source != targets[i]) {
            rc = find_entry(run, entry->part, targets, source, &from, err);
        }
        if (!rc && !same_form(entry->tensor, adapter->entries[from].tensor)) {
            rc = WW_FAIL(err, WW_E_UNSUPPORTED,
                         "tensors '%.160s' and '%.160s' of the adapter trade places and "
                         "differ in rank or dtype",
                         entry->tensor->name, adapter->entries[from].tensor->name);
        }
        if (rc) {
            break;
        }
        const uint32_t output = run->inverse ? from : i;
        reads[output] = run->inverse ? i : from;
        run->base.report->tensors_changed +=
            ww_tensor_moves(run->base.layout, targets[i]);
        rc = ww_carry_init(&run->carries[output], &run->base.gauge, adapter, entry,
                           targets[i], run->inverse, err);
    }
    return rc;
}

static void plan_weights(struct ww_carry_run *run, const uint32_t *reads)
{
    const struct ww_adapter *adapter = run->adapter;
    const uint64_t size = (uint64_t)adapter->file.st.st_size;

    run->plan.inputs[0] =
        (struct ww_input){WW_ADAPTER_WEIGHTS, adapter->file.fd, size, true};
    run->plan.outputs[0] =
        (struct ww_output){WW_ADAPTER_WEIGHTS, size, run->pieces, 1 + adapter->n_tensors};
    run->pieces[0] = (struct ww_piece){.kind = WW_PIECE_BYTES,
                                       .n_bytes = adapter->file.header_bytes,
                                       .bytes = adapter->file.header,
                                       .n_sources = 1,
                                       .sources = &run->sources[0],
                                       .tree_index = WW_NONE};
    for (uint32_t i = 0; i < adapter->n_tensors; i++) {
        const struct ww_tensor *t = &adapter->tensors[i];
        struct ww_piece *piece = &run->pieces[1 + i];
        run->sources[1 + i] =
            (struct ww_piece_source){0, adapter->tensors[reads[i]].offset};
        *piece = (struct ww_piece){.kind = WW_PIECE_KERNEL,
                                   .n_bytes = t->n_bytes,
                                   .n_sources = 1,
                                   .sources = &run->sources[1 + i],
                                   .n_rows = run->carries[i].n_rows,
                                   .row_bytes = t->n_bytes / run->carries[i].n_rows,
                                   .kernel = &ww_carry_kernel,
                                   .params = &run->carries[i],
                                   .tree_index = i};
        run->plan.tree[i] = (struct ww_tree_slot){t, run->rank[i]};
        memcpy(piece->params_digest, run->base.manifest.lock_id, WW_SHA256_BYTES);
    }
}

/* Where a side file goes, as with models: evidence of the other state is set aside. */
static enum ww_err side_path(const struct ww_carry_run *run, const char *path, char **out,
                             struct ww_error *err)
{
    const char *kept = path;
    const char *folder = "";

    *out = NULL;
    if (run->inverse && ww_str_starts(path, WW_SET_ASIDE_DIR)) {
        kept = path + strlen(WW_SET_ASIDE_DIR);
    } else if (run->inverse && ww_is_evidence(path)) {
        return WW_OK;
    } else if (ww_is_evidence(path)) {
        folder = WW_SET_ASIDE_DIR;
    }
    *out = ww_asprintf("%s%s", folder, kept);
    return *out ? WW_OK : WW_FAIL_MEMORY(err, "a list of files");
}

static enum ww_err plan_side(struct ww_carry_run *run, const struct ww_entry *entry,
                             struct ww_error *err)
{
    const uint32_t at = run->plan.n_outputs;
    const size_t place = (size_t)run->adapter->n_tensors + at;
    struct stat st;
    enum ww_err rc = side_path(run, entry->path, &run->paths[at], err);

    if (rc || !run->paths[at]) {
        return rc;
    }
    run->fds[at] = -1;
    run->plan.n_outputs = run->plan.n_inputs = at + 1;
    rc = ww_file_open_at(run->adapter->dirfd, entry->path, WW_LINKS_HUB, &run->fds[at],
                         &st, err);
    if (rc) {
        return rc;
    }
    const uint64_t size = (uint64_t)st.st_size;
    run->plan.inputs[at] = (struct ww_input){entry->path, run->fds[at], size, false};
    run->sources[place] = (struct ww_piece_source){at, 0};
    run->pieces[place] = (struct ww_piece){.kind = WW_PIECE_COPY,
                                           .n_bytes = size,
                                           .n_sources = 1,
                                           .sources = &run->sources[place],
                                           .tree_index = WW_NONE};
    run->plan.outputs[at] =
        (struct ww_output){run->paths[at], size, &run->pieces[place], 1};
    return WW_OK;
}

static enum ww_err plan_sides(struct ww_carry_run *run, struct ww_error *err)
{
    const struct ww_folder *folder = &run->adapter->folder;
    enum ww_err rc = WW_OK;

    run->fds[0] = -1;
    run->plan.n_inputs = run->plan.n_outputs = 1;
    for (size_t i = 0; i < folder->n && !rc; i++) {
        const struct ww_entry *entry = &folder->items[i];
        if (!entry->is_regular || strcmp(entry->path, WW_ADAPTER_WEIGHTS) == 0) {
            continue;
        }
        if (ww_str_ends(entry->path, ".safetensors") ||
            ww_str_ends(entry->path, ".bin") || ww_str_ends(entry->path, ".pt")) {
            return WW_FAIL(
                err, WW_E_DUPLICATE,
                "file '%s' beside the adapter may hold weights once more, which "
                "would not move; take it out",
                entry->path);
        }
        rc = plan_side(run, entry, err);
    }
    return rc;
}

enum ww_err ww_carry_plan(struct ww_carry_run *run, struct ww_error *err)
{
    const uint32_t n = run->adapter->n_tensors;
    const size_t n_files = run->adapter->folder.n + 1;
    const struct ww_model made = {.tensors = run->adapter->tensors, .n_tensors = n};
    uint32_t *targets = ww_calloc(n, sizeof(*targets));
    uint32_t *reads = ww_calloc(n, sizeof(*reads));
    enum ww_err rc = WW_OK;

    run->plan.title = run->inverse ? "unlock" : "lock";
    run->carries = ww_calloc(n, sizeof(*run->carries));
    run->pieces = ww_calloc(n + n_files + 1, sizeof(*run->pieces));
    run->sources = ww_calloc(n + n_files + 1, sizeof(*run->sources));
    run->fds = ww_calloc(n_files, sizeof(*run->fds));
    run->paths = ww_calloc(n_files, sizeof(*run->paths));
    run->plan.inputs = ww_calloc(n_files, sizeof(*run->plan.inputs));
    run->plan.outputs = ww_calloc(n_files, sizeof(*run->plan.outputs));
    run->plan.tree = ww_calloc(n, sizeof(*run->plan.tree));
    run->plan.n_tree = n;
    if (!targets || !reads || !run->carries || !run->pieces || !run->sources ||
        !run->fds || !run->paths || !run->plan.inputs || !run->plan.outputs ||
        !run->plan.tree) {
        rc = WW_FAIL_MEMORY(err, "a plan");
        goto out;
    }
    rc = ww_tree_order(&made, &run->order, &run->rank, err);
    for (uint32_t i = 0; i < n && !rc; i++) {
        rc = find_target(run, &run->adapter->entries[i], &targets[i], err);
    }
    if (!rc) {
        rc = pair_entries(run, targets, reads, err);
    }
    if (!rc) {
        plan_weights(run, reads);
        rc = plan_sides(run, err);
    }
out:
    ww_free(targets);
    ww_free(reads);
    return rc;
}
