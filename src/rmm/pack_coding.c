/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What predicts a chunk and how it is coded, asked in the order in which chunks are
 * handed out: the first of a part decides for all of it.
 */
#include "rmm/basis.h"
#include "rmm/pack_beside.h"
#include "rmm/pack_choice.h"
#include "rmm/pack_rank.h"
#include "rmm/pack_writing.h"
#include "rmm/parent.h"
#include "util/num.h"

static struct ww_pack_table_part *next_part(const struct ww_writing *w)
{
    return &w->member->table.parts[w->member->table.files[w->file].first_part + w->part];
}

uint64_t ww_writing_reader(const struct ww_writing *w, uint32_t part)
{
    return (uint64_t)w->index << 32 | part;
}

bool ww_writing_find(struct ww_writing *w)
{
    const struct ww_pack_table *t = &w->member->table;

    while (w->file < t->n_files) {
        const struct ww_pack_table_file *file = &t->files[w->file];
        if (file->same || w->part == file->n_parts) {
            w->file++;
            w->part = 0;
            w->chunk = 0;
            w->offset = 0;
        } else if (w->chunk == next_part(w)->n_chunks) {
            w->part++;
            w->chunk = 0;
        } else {
            return true;
        }
    }
    return false;
}

static enum ww_err set_prediction(const struct ww_writing *w, uint32_t part,
                                  struct ww_pack_job *job, struct ww_error *err)
{
    const uint32_t t = w->member->base_tensors[part];
    const struct ww_model *base = w->use->base;
    enum ww_err rc = WW_OK;

    job->base.fd = -1;
    job->leaves = NULL;
    job->parent = NULL;
    if (w->member->table.parts[part].chained) {
        job->parent = w->member->parent;
        job->parent_part = w->member->table.parts[part].parent_part;
        job->rooms = w->member->rooms;
        return WW_OK;
    }
    if (t == WW_NONE) {
        return WW_OK;
    }
    if (w->chunk == 0) {
        rc = ww_base_use_begin(w->use, t, ww_writing_reader(w, part), err);
    }
    job->base = ww_base_from(base, &base->tensors[t]);
    job->base_at = w->chunk * WW_CHUNK_BYTES;
    job->base_tensor = &base->tensors[t];
    job->unmerge = &w->member->unmerge;
    job->base_rank = w->use->rank[t];
    job->leaves = ww_base_use_leaves(w->use, t, ww_writing_reader(w, part));
    return rc;
}

/* Is the tensor its base and a product? Asked when its first chunk is handed out. */
static enum ww_err set_rank(const struct ww_writing *w, uint32_t part,
                            struct ww_pack_job *job, struct ww_error *err)
{
    const struct ww_pack_rank_at at = {w->member, w->use->base, w->file, w->part,
                                       w->offset};
    const enum ww_err rc = w->chunk == 0 ? ww_pack_rank(&at, w->crew, err) : WW_OK;

    job->rank = w->member->ranks[part] ? &w->member->ranks[part]->rank : NULL;
    return rc;
}

/* What the base says of a part is not taken: not read, not stated, and no product kept.
 */
static void forget_base(const struct ww_writing *w, uint32_t part,
                        struct ww_pack_job *job)
{
    if (job->base.fd >= 0) {
        ww_base_use_cancel(w->use, w->member->base_tensors[part],
                           ww_writing_reader(w, part));
    }
    ww_rank_coded_free(w->member->ranks[part]);
    w->member->ranks[part] = NULL;
    w->member->table.parts[part].predicted = false;
    job->rank = NULL;
    job->base.fd = -1;
    job->leaves = NULL;
}

/* Factors that come back within an error, if they do. */
static enum ww_err fit_integers(const struct ww_writing *w, uint32_t part,
                                struct ww_pack_job *job,
                                const struct ww_member_pair **out, struct ww_error *err)
{
    const struct ww_member_pair *pair = NULL;
    const uint64_t first = w->chunk * (WW_CHUNK_BYTES / job->type.width);
    const enum ww_err rc = ww_member_fit(w->member, part, &pair, err);

    *out = pair;
    job->integers = NULL;
    if (rc || !pair) {
        return rc;
    }
    const bool is_b = part == pair->part_b;
    job->integers = (is_b ? pair->own.b : pair->own.a) + first;
    job->scales = (struct ww_chunk_scales){.axis = is_b,
                                           .rank = (uint32_t)pair->a->shape[0],
                                           .row = pair->a->shape[1],
                                           .first = first,
                                           .scales = pair->own.scales,
                                           .classes = is_b ? pair->own.classes_b
                                                           : pair->own.classes_a,
                                           .near = pair->near};
    if (pair->own.error > w->entry->error) {
        w->entry->error = pair->own.error;
    }
    return WW_OK;
}

static enum ww_err set_integers(const struct ww_writing *w, uint32_t part,
                                struct ww_pack_job *job, struct ww_error *err)
{
    const struct ww_member_pair *pair = NULL;
    const enum ww_err rc = fit_integers(w, part, job, &pair, err);

    if (rc || !pair) {
        return rc;
    }
    forget_base(w, part, job); /* which may have a tensor of this name */
    w->member->base_tensors[part] = WW_NONE;
    return pair->near ? set_prediction(w, part, job, err) : WW_OK;
}

/* Of a version: base or parent? Asked when the first chunk is handed out. */
static enum ww_err set_parent(const struct ww_writing *w, uint32_t part,
                              struct ww_pack_job *job, struct ww_error *err)
{
    struct ww_pack_table_part *at = &w->member->table.parts[part];
    struct ww_pack_choice choice = {
        .job = job, .part_bytes = at->bytes, .rank = w->member->ranks[part]};
    bool parent = false;
    enum ww_err rc = WW_OK;

    if (w->chunk > 0 || job->integers || !w->member->parent) {
        return WW_OK;
    }
    choice.parent_part =
        at->tensor || w->part == 0
            ? ww_parent_part(w->member->parent, at, w->member->table.files[w->file].path)
            : WW_NONE;
    if (choice.parent_part == WW_NONE) {
        return WW_OK;
    }
    job->parent = w->member->parent;
    job->rooms = w->member->rooms;
    rc = ww_pack_choose(&choice, w->crew->rooms[0], &parent, err);
    job->parent = NULL;
    if (rc || !parent) {
        return rc;
    }
    forget_base(w, part, job);
    at->chained = true;
    at->parent_part = choice.parent_part;
    return set_prediction(w, part, job, err);
}

/* A change of the base that comes back within an error. */
static enum ww_err set_levels(const struct ww_writing *w, uint32_t part,
                              struct ww_pack_job *job, struct ww_error *err)
{
    const struct ww_dense *dense = NULL;
    const enum ww_err rc =
        ww_member_dense(w->member, w->use->base, job->rank, part, &dense, err);

    job->levels = dense ? &dense->levels : NULL;
    return rc;
}

/* A factor of a group: its basis predicts it, and nothing else does. */
static enum ww_err set_shared(const struct ww_writing *w, uint32_t part,
                              struct ww_pack_job *job, struct ww_error *err)
{
    const struct ww_member_shared *shared = &w->member->shared[part];
    const struct ww_member_pair *pair = NULL;
    enum ww_err rc =
        w->chunk == 0 ? ww_basis_load(w->member, part, w->crew->rooms[0], err) : WW_OK;

    job->base.fd = -1;
    job->leaves = NULL;
    job->parent = NULL;
    job->rank = NULL;
    job->levels = NULL;
    job->shared = &shared->numbers;
    job->loose = shared->loose;
    if (shared->error > w->entry->error) {
        w->entry->error = shared->error;
    }
    return rc ? rc : fit_integers(w, part, job, &pair, err);
}

/* What predicts a chunk, and how it is coded. */
static enum ww_err set_coding(const struct ww_writing *w, uint32_t part,
                              struct ww_pack_job *job, struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    if (w->member->shared && w->member->shared[part].is) {
        return set_shared(w, part, job, err);
    }
    job->shared = NULL;
    job->loose = false;
    rc = set_prediction(w, part, job, err);
    if (!rc) {
        rc = set_rank(w, part, job, err);
    }
    if (!rc) {
        rc = set_integers(w, part, job, err);
    }
    if (!rc) {
        rc = set_parent(w, part, job, err);
    }
    return rc ? rc : set_levels(w, part, job, err);
}

/* Coded while the base was merged: nothing is read, and the base's root is known. */
static bool is_ready(const struct ww_writing *w, uint32_t part, struct ww_pack_job *job)
{
    const struct ww_member *m = w->member;
    const uint32_t t = m->base_tensors[part];

    job->ready = NULL;
    if (!m->beside || !m->files[w->file].known || t == WW_NONE || m->parent ||
        m->shared) {
        return false;
    }
    job->ready = ww_beside_tensor(m->beside, w->use->base, t);
    if (!job->ready) {
        return false;
    }
    job->beside = m->beside;
    job->source = m->beside_source;
    job->base.fd = -1;
    job->leaves = NULL;
    job->parent = NULL;
    job->shared = NULL;
    job->rank = NULL;
    job->integers = NULL;
    job->levels = NULL;
    ww_base_use_state(w->use, t, job->ready->root);
    return true;
}

enum ww_err ww_writing_fill(struct ww_writing *w, struct ww_pack_batch *batch,
                            struct ww_error *err)
{
    const struct ww_pack_table *t = &w->member->table;
    enum ww_err rc = WW_OK;

    batch->n = 0;
    while (batch->n < batch->n_room && !rc && ww_writing_find(w)) {
        const struct ww_pack_table_part *part = next_part(w);
        struct ww_pack_job *job = &batch->jobs[batch->n++];
        job->file = w->file;
        job->part = t->files[w->file].first_part + w->part;
        job->chunk = w->chunk;
        job->fd = w->member->files[w->file].fd;
        job->name = t->files[w->file].path;
        job->offset = w->offset;
        job->n = ww_part_chunk_bytes(part, w->chunk);
        job->dtype = part->dtype;
        job->type = ww_chunk_type_of(part->dtype);
        if (!is_ready(w, job->part, job)) {
            rc = set_coding(w, job->part, job, err);
        }
        w->chunk++;
        w->offset += job->n;
    }
    return rc;
}
