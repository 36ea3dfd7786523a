/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The base's files with other bytes where the adapter changes a weight: names, shapes,
 * dtypes and shards stay, so headers are the base's own. Sums come from the merge
 * engine's sum (merge/bake.h) in float32 or float64, and are rounded once to the base's
 * dtype. Files that vouch for the base say nothing of this model and stay behind.
 */
#include <string.h>
#include <unistd.h>

#include "json/json.h"
#include "merge/bake.h"
#include "model/convert.h"
#include "rmm/as_member.h"
#include "stream/stream.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"
#include "util/num.h"
#include "util/str.h"
#include "weightward/sign.h"

#define CARD "README.md"
#define STEP 256

/* Parameters of the kernel that rounds. */
struct rounding {
    enum ww_dtype from;
    enum ww_dtype to;
};

struct model_plan {
    struct ww_plan plan;
    const struct ww_reader **readers; /* per input */
    struct ww_piece *pieces;
    struct ww_piece_source *sources;
    struct rounding *roundings;
    size_t n_pieces;
    int *fds; /* of side files */
    size_t n_fds;
    struct ww_bake *bake;
    uint32_t bake_input;
    char *card;
};

static enum ww_err round_run(void *state, const struct ww_tile *tile,
                             struct ww_error *err)
{
    const struct rounding *how = state;
    const size_t from = ww_dtype_bits(how->from) / 8;
    const size_t to = ww_dtype_bits(how->to) / 8;
    const uint64_t n = tile->row_bytes / to;
    double values[STEP];

    for (uint64_t i = 0; i < tile->n_rows; i++) {
        for (uint64_t at = 0; at < n; at += STEP) {
            const size_t count = (size_t)ww_min_u64(STEP, n - at);
            uint8_t *out = tile->out + i * tile->row_bytes + at * to;
            ww_to_double(how->from, tile->rows[0][i] + at * from, values, count);
            ww_from_double(how->to, values, out, count);
            if (ww_count_nonfinite(how->to, out, count) > 0) {
                return WW_FAIL(err, WW_E_NONFINITE,
                               "base and adapter have a sum that %s cannot hold",
                               ww_dtype_name(how->to));
            }
        }
    }
    return WW_OK;
}

static const struct ww_kernel round_kernel = {"round", ww_kernel_open_plain, round_run,
                                              ww_kernel_close_plain};

static struct ww_piece *next_piece(struct model_plan *p, uint64_t n_bytes)
{
    struct ww_output *output = &p->plan.outputs[p->plan.n_outputs - 1];
    struct ww_piece *piece = &p->pieces[p->n_pieces];

    piece->kind = WW_PIECE_COPY;
    piece->n_bytes = n_bytes;
    piece->sources = &p->sources[p->n_pieces];
    piece->tree_index = WW_NONE;
    output->pieces = output->n_pieces ? output->pieces : piece;
    output->n_pieces++;
    output->size_bytes += n_bytes;
    p->n_pieces++;
    return piece;
}

static void add_bytes(struct model_plan *p, const void *bytes, uint64_t n)
{
    struct ww_piece *piece = next_piece(p, n);

    piece->kind = WW_PIECE_BYTES;
    piece->bytes = bytes;
}

static void add_copy(struct model_plan *p, uint32_t input, uint64_t offset, uint64_t n)
{
    struct ww_piece *piece = next_piece(p, n);

    p->sources[p->n_pieces - 1] = (struct ww_piece_source){input, offset};
    piece->n_sources = 1;
}

static void add_sum(struct model_plan *p, const struct ww_tensor *t,
                    const struct ww_tensor *sum)
{
    const uint64_t cols = t->rank ? t->shape[t->rank - 1] : 1;
    struct ww_piece *piece = NULL;

    add_copy(p, p->bake_input, sum->offset, t->n_bytes);
    if (sum->dtype == t->dtype) {
        return;
    }
    piece = &p->pieces[p->n_pieces - 1];
    piece->kind = WW_PIECE_KERNEL;
    piece->kernel = &round_kernel;
    piece->n_rows = t->n_elements / cols;
    piece->row_bytes = cols * (ww_dtype_bits(t->dtype) / 8);
    piece->source_row_bytes = cols * (ww_dtype_bits(sum->dtype) / 8);
    p->roundings[p->n_pieces - 1] = (struct rounding){sum->dtype, t->dtype};
    piece->params = &p->roundings[p->n_pieces - 1];
}

static void add_weights(struct model_plan *p, const struct ww_model *base, uint32_t f)
{
    const struct ww_weight_file *file = &base->files[f];

    p->plan.outputs[p->plan.n_outputs++].path = file->name;
    add_bytes(p, file->header, file->header_bytes);
    for (uint32_t i = 0; i < file->n_tensors; i++) {
        const struct ww_tensor *t = &base->tensors[file->first_tensor + i];
        const struct ww_tensor *sum = ww_bake_find(p->bake, file->first_tensor + i);
        if (t->n_bytes > 0 && sum) {
            add_sum(p, t, sum);
        } else if (t->n_bytes > 0) {
            add_copy(p, f, t->offset, t->n_bytes);
        }
    }
}

static bool vouches(const char *path)
{
    return strcmp(path, WW_SIGNATURE_FILE) == 0 ||
           ww_str_starts(path, WW_ATTESTATIONS_DIR "/") || strcmp(path, CARD) == 0;
}

static enum ww_err add_side(struct model_plan *p, const struct ww_model *base,
                            const char *path, struct ww_error *err)
{
    const uint32_t input = p->plan.n_inputs;
    struct stat st;
    int fd = -1;
    enum ww_err rc = ww_file_open_at(base->dirfd, path, WW_LINKS_HUB, &fd, &st, err);

    if (rc) {
        return rc;
    }
    p->fds[p->n_fds++] = fd;
    p->plan.inputs[p->plan.n_inputs++] =
        (struct ww_input){path, fd, (uint64_t)st.st_size, false};
    p->plan.outputs[p->plan.n_outputs++].path = path;
    if (st.st_size > 0) {
        add_copy(p, input, 0, (uint64_t)st.st_size);
    }
    return WW_OK;
}

static enum ww_err make_room(struct model_plan *p, const struct ww_model *base,
                             struct ww_error *err)
{
    const size_t n_files = (size_t)base->n_files + base->n_side + 1;
    const size_t n_pieces = n_files + base->n_tensors;

    p->plan.title = "add";
    p->plan.inputs = ww_calloc(n_files, sizeof(*p->plan.inputs));
    p->plan.outputs = ww_calloc(n_files, sizeof(*p->plan.outputs));
    p->readers = ww_calloc(n_files, sizeof(*p->readers));
    p->pieces = ww_calloc(n_pieces, sizeof(*p->pieces));
    p->sources = ww_calloc(n_pieces, sizeof(*p->sources));
    p->roundings = ww_calloc(n_pieces, sizeof(*p->roundings));
    p->fds = ww_calloc(n_files, sizeof(*p->fds));
    return p->plan.inputs && p->plan.outputs && p->readers && p->pieces && p->sources &&
                   p->roundings && p->fds
               ? WW_OK
               : WW_FAIL_MEMORY(err, "a plan");
}

static void add_inputs(struct model_plan *p, const struct ww_model *base)
{
    for (uint32_t f = 0; f < base->n_files; f++) {
        p->plan.inputs[p->plan.n_inputs++] = (struct ww_input){
            base->files[f].name, base->files[f].fd, base->files[f].size_bytes, false};
    }
    p->bake_input = p->plan.n_inputs;
    p->readers[p->plan.n_inputs] = ww_bake_reader(p->bake);
    p->plan.inputs[p->plan.n_inputs++] =
        (struct ww_input){"base and adapter", -1, ww_bake_bytes(p->bake), false};
    p->plan.readers = p->readers;
}

static enum ww_err make_card(struct model_plan *p, const struct ww_as *as,
                             struct ww_error *err)
{
    char *quoted = NULL;
    enum ww_err rc = ww_json_quote(as->base->name, &quoted, err);

    if (rc) {
        return rc;
    }
    p->card = ww_asprintf("---\nbase_model: %s\nbase_model_relation: finetune\n---\n\n"
                          "`%s` with the adapter `%s` added.\n",
                          quoted, as->base->name, as->name);
    ww_free(quoted);
    if (!p->card) {
        return WW_FAIL_MEMORY(err, "a plan");
    }
    p->plan.outputs[p->plan.n_outputs++].path = CARD;
    add_bytes(p, p->card, strlen(p->card));
    return WW_OK;
}

static enum ww_err make_plan(struct model_plan *p, const struct ww_as *as,
                             struct ww_error *err)
{
    enum ww_err rc = make_room(p, as->base, err);

    if (!rc) {
        rc = ww_bake_open(as->base, NULL, as->adapter, &p->bake, err);
    }
    if (rc) {
        return rc;
    }
    *as->doubt = ww_bake_doubt(p->bake);
    add_inputs(p, as->base);
    for (uint32_t f = 0; f < as->base->n_files; f++) {
        add_weights(p, as->base, f);
    }
    for (uint32_t i = 0; i < as->base->n_side && !rc; i++) {
        if (!vouches(as->base->side[i].path)) {
            rc = add_side(p, as->base, as->base->side[i].path, err);
        }
    }
    return rc ? rc : make_card(p, as, err);
}

static void release(struct model_plan *p)
{
    for (size_t i = 0; i < p->n_fds; i++) {
        close(p->fds[i]);
    }
    ww_bake_close(p->bake);
    ww_free(p->fds);
    ww_free(p->plan.inputs);
    ww_free(p->plan.outputs);
    ww_free((void *)p->readers);
    ww_free(p->pieces);
    ww_free(p->sources);
    ww_free(p->roundings);
    ww_free(p->card);
}

enum ww_err ww_as_model(const struct ww_as *as, struct ww_run_report *report,
                        struct ww_error *err)
{
    struct model_plan p = {0};
    struct ww_stream_result result = {0};
    struct ww_out *out = NULL;
    enum ww_err rc = ww_path_check_output(as->base->path, as->out_path, err);

    if (!rc) {
        rc = make_plan(&p, as, err);
    }
    if (!rc) {
        rc = ww_out_begin(as->out_path, &p.plan, 0, as->run, &out, err);
    }
    if (!rc) {
        rc = ww_stream_run(&p.plan, out, as->run, &result, err);
    }
    if (!rc) {
        rc = ww_model_unchanged(as->base, err);
    }
    if (!rc) {
        rc = ww_out_commit(out, err);
    }
    if (!rc) {
        *report = result.report;
    }
    ww_out_close(out, false); /* a model in the making cannot be continued */
    ww_stream_result_release(&result);
    release(&p);
    return rc;
}
