/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Each part is one or two pieces: all chunks but the last as rows of one length, and the
 * last. Inputs are the base's weight files, then those of the models that it was merged
 * of, then the base's files that a member has unchanged.
 */
#include "rmm/unpack_plan.h"

#include <string.h>
#include <unistd.h>

#include "rmm/base_read.h"
#include "rmm/base_use.h"
#include "rmm/parent.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"

enum ww_err ww_unpack_base_tensor(const struct ww_pack_view *view,
                                  const struct ww_pack_table_part *part,
                                  const struct ww_model *base, uint32_t *tensor,
                                  struct ww_error *err)
{
    *tensor = WW_NONE;
    if (!part->predicted) {
        return WW_OK;
    }
    if (!base) {
        return WW_FAIL(
            err, WW_E_USAGE,
            "member '%s' is coded against a base; name the base model: --base MODEL",
            view->member->name);
    }
    *tensor = ww_model_find(base, part->tensor);
    if (*tensor == WW_NONE || !ww_base_is(&base->tensors[*tensor], part)) {
        return ww_base_use_other("tensor", part->tensor, err);
    }
    return WW_OK;
}

static void add_inputs(struct ww_unpack_plan *p, const struct ww_model *model)
{
    for (uint32_t i = 0; i < model->n_files; i++) {
        p->plan.inputs[p->plan.n_inputs++] = (struct ww_input){
            model->files[i].name, model->files[i].fd, model->files[i].size_bytes, false};
    }
}

static enum ww_err make_room(struct ww_unpack_plan *p, struct ww_error *err)
{
    const struct ww_pack_table *t = &p->view->table;
    const uint32_t n_base = p->base ? p->base->n_files : 0;
    const size_t n_pieces = 2 * (size_t)t->n_parts + t->n_files;
    const struct ww_unmerge *unmerge = p->unmerge;
    size_t n_inputs = (size_t)n_base + t->n_files;

    p->plan.title = "unpack";
    for (size_t i = 0; i < unmerge->n; i++) {
        n_inputs += unmerge->models[i]->n_files;
    }
    p->plan.inputs = ww_calloc(n_inputs, sizeof(*p->plan.inputs));
    p->plan.outputs = ww_calloc(t->n_files, sizeof(*p->plan.outputs));
    p->pieces = ww_calloc(n_pieces, sizeof(*p->pieces));
    p->sources = ww_calloc(n_pieces, (1 + unmerge->n) * sizeof(*p->sources));
    p->params = ww_calloc(n_pieces, sizeof(*p->params));
    p->fds = ww_calloc(t->n_files, sizeof(*p->fds));
    if (!p->plan.inputs || !p->plan.outputs || !p->pieces || !p->sources || !p->params ||
        !p->fds) {
        return WW_FAIL_MEMORY(err, "a plan");
    }
    if (p->base) {
        add_inputs(p, p->base);
    }
    for (size_t i = 0; i < unmerge->n; i++) {
        add_inputs(p, unmerge->models[i]);
    }
    return WW_OK;
}

static struct ww_piece *next_piece(struct ww_unpack_plan *p, struct ww_output *output)
{
    struct ww_piece *piece = &p->pieces[p->n_pieces];

    piece->sources = &p->sources[p->n_pieces * (1 + p->unmerge->n)];
    piece->params = &p->params[p->n_pieces];
    piece->tree_index = WW_NONE;
    output->pieces = output->n_pieces ? output->pieces : piece;
    output->n_pieces++;
    p->n_pieces++;
    return piece;
}

/* Rows of the base, and of the others where they can be mixed. */
static void add_sources(const struct ww_unpack_plan *p, struct ww_piece *piece,
                        const struct ww_tensor *base,
                        const struct ww_pack_table_part *part, uint64_t at)
{
    struct ww_piece_source *to = (struct ww_piece_source *)(uintptr_t)piece->sources;
    uint32_t found[WW_PACK_MAX_OTHERS];
    uint32_t first = p->base->n_files;

    to[piece->n_sources++] = (struct ww_piece_source){
        base->file, base->offset + ww_base_bytes(part->base_dtype, part->dtype, at)};
    if (ww_base_changes(part) || !ww_unmerge_tensor(p->unmerge, base, found)) {
        return;
    }
    for (size_t i = 0; i < p->unmerge->n; i++) {
        const struct ww_model *model = p->unmerge->models[i];
        const struct ww_tensor *t = &model->tensors[found[i]];
        to[piece->n_sources++] =
            (struct ww_piece_source){first + t->file, t->offset + at};
        first += model->n_files;
    }
}

/* Chunks of one length, of a part that was coded against a tensor of the base or WW_NONE.
 */
static void add_rows(struct ww_unpack_plan *p, const struct ww_pack_table_part *part,
                     uint32_t tensor, uint64_t first, uint64_t n_rows,
                     const uint8_t digest[WW_SHA256_BYTES], struct ww_output *output)
{
    const uint64_t row_bytes = ww_part_chunk_bytes(part, first);
    const size_t i = p->n_pieces;
    struct ww_piece *piece = next_piece(p, output);

    p->params[i] = (struct ww_unpack_piece){p->view, part, &p->rooms, p->unmerge, first};
    piece->kind = WW_PIECE_KERNEL;
    piece->n_bytes = n_rows * row_bytes;
    piece->n_rows = n_rows;
    piece->row_bytes = row_bytes;
    piece->kernel = &ww_unpack_kernel;
    piece->hashes = true;
    memcpy(piece->params_digest, digest, WW_SHA256_BYTES);
    if (tensor != WW_NONE) {
        add_sources(p, piece, &p->base->tensors[tensor], part, first * WW_CHUNK_BYTES);
        piece->source_row_bytes = ww_base_bytes(part->base_dtype, part->dtype, row_bytes);
    }
}

/* What decides a part's bytes beside the base. */
static enum ww_err digest_part(const struct ww_pack_view *view,
                               const struct ww_pack_table_part *part,
                               uint8_t out[WW_SHA256_BYTES], struct ww_error *err)
{
    struct ww_sha256 *sha = NULL;
    const enum ww_err rc = ww_sha256_new(&sha, err);

    for (uint64_t c = 0; c < part->n_chunks && !rc; c++) {
        ww_sha256_update(sha, view->table.chunks[part->first_chunk + c].sha256,
                         WW_SHA256_BYTES);
    }
    for (uint64_t c = 0; c < part->n_factors && !rc; c++) {
        ww_sha256_update(sha, part->factors[c].sha256, WW_SHA256_BYTES);
    }
    if (!rc && part->rank.rank > 0) {
        ww_sha256_update(sha, part->rank.product ? "product" : "sum", 3);
    }
    if (!rc && part->shared.codec != WW_SHARED_NONE) {
        ww_sha256_update(sha, ww_shared_codec_name(part->shared.codec), 4);
    }
    if (!rc && part->chained) {
        ww_parent_digest(view->table.parent, part->parent_part, sha);
    }
    if (!rc) {
        ww_sha256_final(sha, out);
    }
    ww_sha256_free(sha);
    return rc;
}

static enum ww_err add_part(struct ww_unpack_plan *p,
                            const struct ww_pack_table_part *part,
                            struct ww_output *output, struct ww_error *err)
{
    const uint64_t n = part->n_chunks;
    uint8_t digest[WW_SHA256_BYTES];
    uint32_t t = WW_NONE;
    enum ww_err rc = ww_unpack_base_tensor(p->view, part, p->base, &t, err);

    if (!rc) {
        rc = digest_part(p->view, part, digest, err);
    }
    if (rc) {
        return rc;
    }
    if (n > 1) {
        add_rows(p, part, t, 0, n - 1, digest, output);
    }
    if (n > 0) {
        add_rows(p, part, t, n - 1, 1, digest, output);
    }
    return WW_OK;
}

static enum ww_err add_same(struct ww_unpack_plan *p,
                            const struct ww_pack_table_file *file,
                            struct ww_output *output, struct ww_error *err)
{
    const uint32_t input = p->plan.n_inputs;
    struct ww_piece *piece = NULL;
    struct stat st;
    int fd = -1;

    if (!p->base) {
        return WW_FAIL(
            err, WW_E_USAGE,
            "member '%s' has files of its base; name the base model: --base MODEL",
            p->view->member->name);
    }
    if (ww_file_open_at(p->base->dirfd, file->path, WW_LINKS_HUB, &fd, &st, NULL)) {
        return ww_base_use_other("file", file->path, err);
    }
    p->fds[p->n_fds++] = fd;
    if ((uint64_t)st.st_size != file->size_bytes) {
        return ww_base_use_other("file", file->path, err);
    }
    p->plan.inputs[p->plan.n_inputs++] =
        (struct ww_input){file->path, fd, file->size_bytes, false};
    if (file->size_bytes > 0) {
        p->sources[p->n_pieces * (1 + p->unmerge->n)] =
            (struct ww_piece_source){input, 0};
        piece = next_piece(p, output);
        piece->kind = WW_PIECE_COPY;
        piece->n_bytes = file->size_bytes;
        piece->n_sources = 1;
    }
    return WW_OK;
}

static enum ww_err add_file(struct ww_unpack_plan *p,
                            const struct ww_pack_table_file *file, struct ww_error *err)
{
    struct ww_output *output = &p->plan.outputs[p->plan.n_outputs++];
    enum ww_err rc = WW_OK;

    output->path = file->path;
    output->size_bytes = file->size_bytes;
    if (file->same) {
        return add_same(p, file, output, err);
    }
    for (uint32_t i = 0; i < file->n_parts && !rc; i++) {
        rc = add_part(p, &p->view->table.parts[file->first_part + i], output, err);
    }
    return rc;
}

enum ww_err ww_unpack_plan_init(struct ww_unpack_plan *p, const struct ww_pack_view *view,
                                const struct ww_model *base,
                                const struct ww_unmerge *unmerge, struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    memset(p, 0, sizeof(*p));
    p->view = view;
    p->base = base;
    p->unmerge = unmerge;
    ww_unpack_rooms_init(&p->rooms);
    rc = make_room(p, err);
    for (uint32_t f = 0; f < view->table.n_files && !rc; f++) {
        rc = add_file(p, &view->table.files[f], err);
    }
    if (rc) {
        ww_unpack_plan_release(p);
    }
    return rc;
}

void ww_unpack_plan_release(struct ww_unpack_plan *p)
{
    for (size_t i = 0; i < p->n_fds; i++) {
        close(p->fds[i]);
    }
    ww_free(p->fds);
    ww_free(p->plan.inputs);
    ww_free(p->plan.outputs);
    ww_free(p->pieces);
    ww_free(p->sources);
    ww_free(p->params);
    ww_unpack_rooms_release(&p->rooms);
    memset(p, 0, sizeof(*p));
}
