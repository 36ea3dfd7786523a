/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The join computes nothing again: it copies, takes the digests of every part and of
 * every source, and compares them with what the parts say they had.
 */
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "merge/merge_folder.h"
#include "merge/parts_int.h"
#include "stream/pieces.h"
#include "stream/tree.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"

struct join {
    const struct ww_work *work;
    uint32_t n;
    struct ww_part_record *records; /* [n] */
    char **paths;                   /* [n] */
    uint64_t *sizes;                /* [n], as the plan has them */
    struct ww_plan stream; /* inputs: the parts, then sources for their digests */
    uint32_t *place;       /* of each of the plan's inputs in it, or WW_NONE */
    struct ww_piece *pieces;
    struct ww_piece_source *sources;
    struct ww_tensor *tensors;
    uint32_t *order;
    uint32_t *rank;
};

static void release(struct join *j)
{
    for (uint32_t i = 0; j->stream.inputs && i < j->n; i++) {
        if (j->stream.inputs[i].fd >= 0) {
            close(j->stream.inputs[i].fd);
        }
    }
    for (uint32_t i = 0; i < j->n; i++) {
        if (j->records) {
            ww_part_record_release(&j->records[i]);
        }
        if (j->paths) {
            ww_free(j->paths[i]);
        }
    }
    ww_free(j->records);
    ww_free(j->paths);
    ww_free(j->sizes);
    ww_free(j->place);
    ww_free(j->stream.inputs);
    ww_free(j->stream.outputs);
    ww_free(j->stream.tree);
    ww_free(j->pieces);
    ww_free(j->sources);
    ww_free(j->tensors);
    ww_free(j->order);
    ww_free(j->rank);
}

static enum ww_err allocate(struct join *j, struct ww_error *err)
{
    const struct ww_merge_plan *plan = &j->work->plan;
    const size_t n_pieces = (size_t)plan->n_files + plan->n_tensors;
    const size_t n_inputs = (size_t)j->n + plan->n_inputs;

    j->records = ww_calloc(j->n, sizeof(*j->records));
    j->paths = ww_calloc(j->n, sizeof(char *));
    j->sizes = ww_calloc(j->n, sizeof(*j->sizes));
    j->place = ww_calloc(plan->n_inputs, sizeof(*j->place));
    j->stream.inputs = ww_calloc(n_inputs, sizeof(*j->stream.inputs));
    for (uint32_t i = 0; j->stream.inputs && i < j->n; i++) {
        j->stream.inputs[i].fd = -1;
    }
    j->stream.outputs = ww_calloc(plan->n_files, sizeof(*j->stream.outputs));
    j->stream.tree = ww_calloc(plan->n_tensors, sizeof(*j->stream.tree));
    j->pieces = ww_calloc(n_pieces, sizeof(*j->pieces));
    j->sources = ww_calloc((size_t)plan->n_tensors + plan->n_files, sizeof(*j->sources));
    j->tensors = ww_calloc(plan->n_tensors, sizeof(*j->tensors));
    if (!j->records || !j->paths || !j->sizes || !j->place || !j->stream.inputs ||
        !j->stream.outputs || !j->stream.tree || !j->pieces || !j->sources ||
        !j->tensors) {
        return WW_FAIL_MEMORY(err, "parts of a merge");
    }
    return WW_OK;
}

static enum ww_err check_record(const struct join *j, uint32_t i, struct ww_error *err)
{
    const struct ww_part_record *r = &j->records[i];

    if (memcmp(r->plan_sha256, j->work->plan_sha256, WW_SHA256_BYTES) != 0) {
        return WW_FAIL(err, WW_E_DIFFERS,
                       "part '%s' is of another merge: recipe, options or a source's "
                       "headers are not those of this one",
                       j->paths[i]);
    }
    if (r->part != i + 1 || r->of != j->n || r->n_bytes != j->sizes[i]) {
        return WW_FAIL(err, WW_E_DIFFERS,
                       "part '%s' says that it is part %" PRIu64 " of %" PRIu64
                       " with %" PRIu64 " bytes, expected %" PRIu32 " of %" PRIu32
                       " with %" PRIu64,
                       j->paths[i], r->part, r->of, r->n_bytes, i + 1, j->n, j->sizes[i]);
    }
    return WW_OK;
}

static enum ww_err open_part(struct join *j, const char *out_path, uint32_t i,
                             struct ww_error *err)
{
    struct ww_input *input = &j->stream.inputs[i];
    struct ww_buf text;
    struct stat st;
    int dirfd = -1;
    enum ww_err rc = WW_OK;

    ww_buf_init(&text, ww_json_limits_config.max_bytes);
    j->paths[i] = ww_part_folder(out_path, i + 1, j->n);
    if (!j->paths[i]) {
        return WW_FAIL_MEMORY(err, "parts of a merge");
    }
    rc = ww_dir_open(j->paths[i], &dirfd, err);
    if (!rc) {
        rc = ww_file_read_at(dirfd, WW_PART_RECORD, WW_LINKS_REFUSE, &text, err);
    }
    if (!rc) {
        rc = ww_part_record_read(text.data, text.len, &j->records[i], err);
    }
    if (!rc) {
        rc = check_record(j, i, err);
    }
    if (!rc) {
        rc = ww_file_open_at(dirfd, WW_PART_FILE, WW_LINKS_REFUSE, &input->fd, &st, err);
    }
    if (!rc && (uint64_t)st.st_size != j->sizes[i]) {
        rc = WW_FAIL(err, WW_E_DAMAGED,
                     "part '%s': '" WW_PART_FILE "' has %lld bytes, expected %" PRIu64,
                     j->paths[i], (long long)st.st_size, j->sizes[i]);
    }
    input->name = j->paths[i];
    input->size_bytes = j->sizes[i];
    input->want_sha256 = true;
    if (dirfd >= 0) {
        close(dirfd);
    }
    ww_buf_release(&text);
    return rc;
}

static enum ww_err plan_tree(struct join *j, struct ww_error *err)
{
    const uint32_t n = j->work->plan.n_tensors;
    const struct ww_model model = {.tensors = j->tensors, .n_tensors = n};
    enum ww_err rc = WW_OK;

    for (uint32_t t = 0; t < n; t++) {
        ww_merge_tensor_describe(&j->work->plan.tensors[t], &j->tensors[t]);
    }
    rc = ww_tree_order(&model, &j->order, &j->rank, err);
    for (uint32_t k = 0; k < n && !rc; k++) {
        j->stream.tree[k] = (struct ww_tree_slot){&j->tensors[j->order[k]], k};
    }
    j->stream.n_tree = n;
    return rc;
}

/* Where each tensor lies: in which part, and how far in. */
static void place_tensors(struct join *j)
{
    for (uint32_t i = 0; i < j->n; i++) {
        uint32_t first = 0;
        uint32_t end = 0;
        uint64_t at = 0;
        ww_part_cut(&j->work->plan, i, j->n, &first, &end, &j->sizes[i]);
        for (uint32_t t = first; t < end; t++) {
            j->sources[t] = (struct ww_piece_source){i, at};
            at += ww_part_tensor_bytes(&j->work->plan.tensors[t]);
        }
    }
}

static void plan_outputs(struct join *j)
{
    const struct ww_merge_plan *plan = &j->work->plan;
    struct ww_piece *next = j->pieces;

    for (uint32_t f = 0; f < plan->n_files; f++) {
        const struct ww_merge_file *file = &plan->files[f];
        struct ww_output *output = &j->stream.outputs[f];
        *output =
            (struct ww_output){file->name, file->header_bytes, next, file->n_tensors + 1};
        *next++ = (struct ww_piece){.kind = WW_PIECE_BYTES,
                                    .n_bytes = file->header_bytes,
                                    .bytes = file->header,
                                    .tree_index = WW_NONE};
        if (file->copied_sha256) {
            struct ww_piece_source *from = &j->sources[plan->n_tensors + f];
            *from = (struct ww_piece_source){j->place[file->copied], 0};
            output->size_bytes = plan->inputs[file->copied].size_bytes;
            next[-1] = ww_piece_copy(output->size_bytes, from);
        }
        for (uint32_t i = 0; i < file->n_tensors; i++) {
            const uint32_t t = file->first_tensor + i;
            *next++ = (struct ww_piece){.kind = WW_PIECE_COPY,
                                        .n_bytes = j->tensors[t].n_bytes,
                                        .n_sources = 1,
                                        .sources = &j->sources[t],
                                        .tree_index = j->rank[t]};
            output->size_bytes += j->tensors[t].n_bytes;
        }
    }
}

static enum ww_err make_plan(struct join *j, const char *out_path, struct ww_error *err)
{
    const struct ww_merge_plan *plan = &j->work->plan;
    enum ww_err rc = allocate(j, err);

    if (rc) {
        return rc;
    }
    place_tensors(j);
    for (uint32_t i = 0; i < j->n && !rc; i++) {
        rc = open_part(j, out_path, i, err);
    }
    if (!rc) {
        rc = plan_tree(j, err);
    }
    if (rc) {
        return rc;
    }
    j->stream.title = "join";
    j->stream.n_inputs = j->n;
    for (uint32_t i = 0; i < plan->n_inputs; i++) {
        const struct ww_merge_input *in = &plan->inputs[i];
        j->place[i] = in->want_sha256 ? j->stream.n_inputs++ : WW_NONE;
        if (in->want_sha256) {
            j->stream.inputs[j->place[i]] =
                (struct ww_input){in->name, in->fd, in->size_bytes, true};
        }
    }
    plan_outputs(j);
    j->stream.n_outputs = plan->n_files;
    return WW_OK;
}

static enum ww_err compare(const struct join *j, const struct ww_stream_result *digests,
                           struct ww_error *err)
{
    const struct ww_merge_plan *plan = &j->work->plan;

    for (uint32_t i = 0; i < j->n; i++) {
        const struct ww_part_record *r = &j->records[i];
        if (memcmp(r->sha256, digests->input_sha256[i], WW_SHA256_BYTES) != 0) {
            return WW_FAIL(err, WW_E_DAMAGED, "part '%s' is not as it was written",
                           j->paths[i]);
        }
        for (uint32_t k = 0; k < r->n_inputs; k++) {
            const uint32_t input = r->inputs[k];
            if (input >= plan->n_inputs || j->place[input] == WW_NONE ||
                memcmp(r->input_sha256[k], digests->input_sha256[j->place[input]],
                       WW_SHA256_BYTES) != 0) {
                return WW_FAIL(err, WW_E_CHANGED,
                               "source '%s' is not what part '%s' was computed from",
                               input < plan->n_inputs ? plan->inputs[input].name : "?",
                               j->paths[i]);
            }
        }
    }
    return WW_OK;
}

static enum ww_err give(const struct join *j, struct ww_stream_result *from,
                        struct ww_merge_result *to, struct ww_error *err)
{
    const struct ww_merge_plan *plan = &j->work->plan;

    to->tensor_root = ww_calloc(plan->n_tensors, WW_SHA256_BYTES);
    to->input_sha256 = ww_calloc(plan->n_inputs, WW_SHA256_BYTES);
    if (!to->tensor_root || !to->input_sha256) {
        return WW_FAIL_MEMORY(err, "parts of a merge");
    }
    for (uint32_t t = 0; t < plan->n_tensors; t++) {
        memcpy(to->tensor_root[t], from->tensor_root[j->rank[t]], WW_SHA256_BYTES);
    }
    for (uint32_t i = 0; i < plan->n_inputs; i++) {
        if (j->place[i] != WW_NONE) {
            memcpy(to->input_sha256[i], from->input_sha256[j->place[i]], WW_SHA256_BYTES);
        }
    }
    to->output_sha256 = from->output_sha256;
    from->output_sha256 = NULL;
    to->run = from->report;
    return ww_merge_check_copied(
        plan, (const uint8_t(*)[WW_SHA256_BYTES])to->input_sha256, err);
}

enum ww_err ww_merge_join(const struct ww_work *work, const char *out_path, uint32_t n,
                          uint64_t extra_bytes, struct ww_out **out,
                          struct ww_merge_result *result, struct ww_error *err)
{
    const struct ww_run_options *run = &work->options->run;
    struct join j = {.work = work, .n = n};
    struct ww_stream_result digests = {0};
    struct ww_out *folder = NULL;
    enum ww_err rc = make_plan(&j, out_path, err);

    *out = NULL;
    memset(result, 0, sizeof(*result));
    if (!rc) {
        rc = ww_out_begin(out_path, &j.stream, extra_bytes, run, &folder, err);
    }
    if (!rc) {
        rc = ww_stream_run(&j.stream, folder, run, &digests, err);
    }
    if (!rc) {
        rc = compare(&j, &digests, err);
    }
    if (!rc) {
        rc = give(&j, &digests, result, err);
    }
    if (rc) {
        ww_out_close(folder, rc == WW_E_CANCELLED);
    } else {
        *out = folder;
    }
    ww_stream_result_release(&digests);
    release(&j);
    return rc;
}
