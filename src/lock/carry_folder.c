/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An adapter moves with its base: the locked base's manifest says which lock it is, so
 * that key, lock and options cannot be mixed up, and the adapter gets a record of that
 * lock and of its own original digest. Carrying back follows the record.
 */
#include <string.h>
#include <unistd.h>

#include "lock/carry.h"
#include "lock/carry_record.h"
#include "lock/draw.h"
#include "lock/key_binding.h"
#include "lock/lock_paths.h"
#include "lock/manifest.h"
#include "lock/tensor_map.h"
#include "stream/tree.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"
#include "util/num.h"

#define RECORD WW_ATTESTATIONS_DIR "/adapter-lock.json"
#define SCHEMA "weightward.adapter-lock/1"
#define EVIDENCE_BYTES (UINT64_C(1) << 20)

/* Side files are copied; the weights are output 0. */
struct carry_run {
    const struct ww_lock_options *options;
    struct ww_lock_report *report;
    bool inverse;
    struct ww_adapter *adapter;
    struct ww_model *base;
    struct ww_tensor_statement statement;
    struct ww_secret *prk;
    struct ww_secret *copy; /* the secret of a recipient's copy, or NULL */
    struct ww_manifest manifest;
    struct ww_layout *layout;
    struct ww_gauge gauge;
    uint8_t source_sha256[WW_SHA256_BYTES]; /* inverse: what must come out */
    struct ww_carry *carries;               /* one per adapter tensor */
    struct ww_plan plan;
    struct ww_piece *pieces;
    struct ww_piece_source *sources;
    uint32_t *order; /* tensors by name, */
    uint32_t *rank;  /* and the place of each */
    int *fds;        /* of side files */
    char **paths;    /* of outputs */
    struct ww_out *out;
    struct ww_stream_result result;
    char *out_name;
};

static void release(struct carry_run *run, bool keep)
{
    for (uint32_t i = 0; i < run->plan.n_outputs; i++) {
        ww_free(run->paths[i]);
        if (i > 0 && run->fds[i] >= 0) {
            close(run->fds[i]);
        }
    }
    ww_free(run->paths);
    ww_free(run->fds);
    ww_free(run->pieces);
    ww_free(run->sources);
    ww_free(run->carries);
    ww_free(run->plan.inputs);
    ww_free(run->plan.outputs);
    ww_free(run->plan.tree);
    ww_free(run->order);
    ww_free(run->rank);
    ww_free(run->out_name);
    ww_stream_result_release(&run->result);
    ww_out_close(run->out, keep);
    ww_gauge_release(&run->gauge);
    ww_layout_free(run->layout);
    ww_manifest_release(&run->manifest);
    ww_secret_free(run->copy);
    ww_secret_free(run->prk);
    ww_tensors_release(&run->statement);
    ww_model_close(run->base);
    ww_adapter_close(run->adapter);
}

static enum ww_err open_base(struct carry_run *run, const char *path,
                             struct ww_error *err)
{
    struct ww_layout_options layout = run->options->layout;
    bool found = false;
    enum ww_err rc = ww_model_open(path, &run->base, err);

    if (!rc) {
        rc = ww_lock_statement(run->base, &run->statement, &found, err);
    }
    if (!rc && !run->statement.lock) {
        rc = WW_FAIL(err, WW_E_USAGE,
                     "base '%s' is not locked; give the locked model that the adapter is "
                     "carried %s",
                     path, run->inverse ? "back from" : "over to");
    }
    if (!rc) {
        rc = ww_draw_root(run->options->secret, &run->prk, err);
    }
    if (!rc) {
        rc = ww_manifest_read(run->statement.lock, run->options->secret, run->prk,
                              &run->manifest, err);
    }
    if (!rc && run->manifest.dense.used) {
        rc =
            WW_FAIL(err, WW_E_UNSUPPORTED,
                    "base '%s' has a dense lock, to which adapters are not carried; lock "
                    "the base at level exact",
                    path);
    }
    if (!rc) {
        rc = ww_binding_allows_unlock(run->options->binding, &run->manifest, err);
    }
    if (rc) {
        return rc;
    }
    if (!layout.descriptor) {
        layout.descriptor = run->manifest.descriptor;
    }
    rc = ww_layout_resolve(run->base, &layout, &run->layout, err);
    if (!rc) {
        rc = ww_manifest_gauge(&run->manifest, run->layout, run->options->secret,
                               &run->copy, &run->gauge, err);
    }
    return rc;
}

static enum ww_err check_record(struct carry_run *run, const struct ww_jnode *root,
                                struct ww_error *err)
{
    const struct ww_jnode *source = ww_jget(root, "source");
    const char *schema = NULL;
    const char *base = NULL;
    const char *digest = NULL;
    char want[65];

    if (!ww_jstr(ww_jget(root, "schema"), &schema) || strcmp(schema, SCHEMA) != 0) {
        return WW_FAIL(err, WW_E_VERSION,
                       "'" RECORD "' of '%s' is not a " SCHEMA " record",
                       run->adapter->path);
    }
    if (!ww_jstr(ww_jget(root, "base"), &base) ||
        !ww_jstr(ww_jget(source, "sha256"), &digest) ||
        !ww_unhex(run->source_sha256, WW_SHA256_BYTES, digest, strlen(digest))) {
        return WW_FAIL(err, WW_E_MANIFEST,
                       "'" RECORD "' of '%s' lacks the base or the digest",
                       run->adapter->path);
    }
    ww_hex(want, run->statement.model_root, WW_SHA256_BYTES);
    if (strcmp(base, want) != 0) {
        return WW_FAIL(
            err, WW_E_WRONG_MODEL,
            "adapter '%s' was carried over to the locked model with tensor root "
            "%.16s, base '%s' has %.16s",
            run->adapter->path, base, run->base->path, want);
    }
    return WW_OK;
}

/* Carried over once, and back only what was carried over. */
static enum ww_err read_record(struct carry_run *run, struct ww_error *err)
{
    const bool found = ww_folder_find(&run->adapter->folder, RECORD) != NULL;
    struct ww_json *json = NULL;
    struct ww_buf text;
    enum ww_err rc = WW_OK;

    if (found != run->inverse) {
        return WW_FAIL(err, WW_E_UNSUPPORTED, "adapter '%s' %s", run->adapter->path,
                       found
                           ? "is carried over to a locked model already"
                           : "was not carried over to a locked model: it has no " RECORD);
    }
    if (!found) {
        return WW_OK;
    }
    ww_buf_init(&text, ww_json_limits_small.max_bytes);
    rc = ww_file_read_at(run->adapter->dirfd, RECORD, WW_LINKS_HUB, &text, err);
    if (!rc) {
        rc = ww_json_parse(text.data, text.len, &ww_json_limits_small, &json, err);
    }
    if (!rc) {
        rc = check_record(run, ww_json_root(json), err);
    }
    ww_json_free(json);
    ww_buf_release(&text);
    return rc;
}

static enum ww_err find_entry(const struct carry_run *run, enum ww_adapter_part part,
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
                   adapter->path, run->base->tensors[target].name);
}

static bool same_form(const struct ww_tensor *a, const struct ww_tensor *b)
{
    return a->dtype == b->dtype && a->rank == b->rank &&
           memcmp(a->shape, b->shape, a->rank * sizeof(a->shape[0])) == 0;
}

/* reads[i]: the entry that output tensor i is made of; carries[i] its map. */
static enum ww_err pair_entries(struct carry_run *run, const uint32_t *targets,
                                uint32_t *reads, struct ww_error *err)
{
    const struct ww_adapter *adapter = run->adapter;
    enum ww_err rc = WW_OK;

    for (uint32_t i = 0; i < adapter->n_tensors && !rc; i++) {
        const struct ww_adapter_entry *entry = &adapter->entries[i];
        uint32_t source = 0;
        uint32_t from = i;
        rc = ww_axis_source(&run->gauge, targets[i], &source, err);
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
        run->report->tensors_changed += ww_tensor_moves(run->layout, targets[i]);
        rc = ww_carry_init(&run->carries[output], &run->gauge, adapter, entry, targets[i],
                           run->inverse, err);
    }
    return rc;
}

static void plan_weights(struct carry_run *run, const uint32_t *reads)
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
        memcpy(piece->params_digest, run->manifest.lock_id, WW_SHA256_BYTES);
    }
}

/* Where a side file goes, as with models: evidence of the other state is set aside. */
static enum ww_err side_path(const struct carry_run *run, const char *path, char **out,
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

static enum ww_err plan_side(struct carry_run *run, const struct ww_entry *entry,
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

static enum ww_err plan_sides(struct carry_run *run, struct ww_error *err)
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

static enum ww_err make_plan(struct carry_run *run, struct ww_error *err)
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
        rc = ww_adapter_target(&run->adapter->entries[i], run->base, &targets[i], err);
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

static enum ww_err write_record(const struct carry_run *run, struct ww_error *err)
{
    struct ww_buf text;
    struct ww_jw w;
    enum ww_err rc = WW_OK;

    ww_buf_init(&text, ww_json_limits_small.max_bytes);
    ww_jw_init(&w, &text, 2);
    ww_jw_object(&w);
    ww_jw_kstr(&w, "schema", SCHEMA);
    ww_jw_khex(&w, "lock_id", run->manifest.lock_id, WW_SHA256_BYTES);
    ww_jw_khex(&w, "base", run->statement.model_root, WW_SHA256_BYTES);
    ww_jw_key(&w, "source");
    ww_jw_object(&w);
    ww_jw_kstr(&w, "path", WW_ADAPTER_WEIGHTS);
    ww_jw_ku64(&w, "bytes", run->plan.outputs[0].size_bytes);
    ww_jw_khex(&w, "sha256", run->result.input_sha256[0], WW_SHA256_BYTES);
    ww_jw_close(&w);
    ww_jw_close(&w);
    rc = ww_jw_end(&w, err);
    if (!rc) {
        rc = ww_out_add(run->out, RECORD, text.data, text.len, err);
    }
    ww_buf_release(&text);
    return rc;
}

static enum ww_err finish(struct carry_run *run, const char *out_path,
                          struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    if (run->inverse &&
        memcmp(run->result.output_sha256[0], run->source_sha256, WW_SHA256_BYTES) != 0) {
        return WW_FAIL(
            err, WW_E_DAMAGED,
            "adapter '%s' carried back is not the file that was carried over; it "
            "or its record was changed since",
            run->adapter->path);
    }
    if (!run->inverse) {
        rc = write_record(run, err);
    }
    if (!rc) {
        rc = ww_path_last(out_path, &run->out_name, err);
    }
    if (!rc && run->options->signer && !run->inverse) {
        const struct ww_carry_record record = {.name = run->out_name,
                                               .adapter = run->adapter,
                                               .plan = &run->plan,
                                               .result = &run->result,
                                               .lock_id = run->manifest.lock_id,
                                               .base = run->statement.model_root,
                                               .signer = run->options->signer};
        rc = ww_carry_record_add(&record, run->out, err);
    }
    if (!rc && run->options->signer) {
        rc = ww_sign_outputs(run->options->signer, run->out_name, &run->plan,
                             &run->result, run->out, run->report->root_sha256, err);
    }
    if (!rc) {
        rc = ww_out_commit(run->out, err);
    }
    return rc;
}

enum ww_err ww_lock_adapter(const char *adapter, const char *base, const char *out_path,
                            bool inverse, const struct ww_lock_options *options,
                            struct ww_lock_report *report, struct ww_error *err)
{
    struct carry_run run = {.options = options, .report = report, .inverse = inverse};
    enum ww_err rc = ww_lock_check_paths(adapter, out_path, err);

    *report = (struct ww_lock_report){0};
    if (!rc) {
        rc = ww_adapter_open(adapter, &run.adapter, err);
    }
    if (!rc && run.adapter->parameters) {
        rc = WW_FAIL(
            err, WW_E_UNSUPPORTED,
            "adapter '%s' uses target_parameters, whose factors experts share; no "
            "lock carries them over, merge it into its base first",
            adapter);
    }
    if (!rc) {
        rc = open_base(&run, base, err);
    }
    if (!rc) {
        rc = read_record(&run, err);
    }
    if (!rc) {
        rc = make_plan(&run, err);
    }
    if (!rc) {
        rc = ww_out_begin(out_path, &run.plan, EVIDENCE_BYTES, &options->run, &run.out,
                          err);
    }
    if (!rc) {
        rc = ww_stream_run(&run.plan, run.out, &options->run, &run.result, err);
    }
    if (!rc) {
        rc = finish(&run, out_path, err);
    }
    if (!rc) {
        ww_hex(report->lock_id, run.manifest.lock_id, WW_SHA256_BYTES);
        report->tensors_total = run.adapter->n_tensors;
        report->run = run.result.report;
    }
    release(&run, rc == WW_E_CANCELLED);
    return rc;
}

bool ww_is_adapter_folder(const char *path)
{
    return ww_adapter_is_folder(path);
}
