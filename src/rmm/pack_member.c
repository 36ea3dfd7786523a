/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Chunks are handed out in the order of files and parts and written in that order, with
 * the digests of the files taken on the way: each file is read once.
 */
#include "rmm/pack_member.h"

#include <string.h>

#include "crypto/secret.h"
#include "crypto/sha_blocks.h"
#include "rmm/basis.h"
#include "rmm/pack_beside.h"
#include "rmm/pack_choice.h"
#include "rmm/pack_rank.h"
#include "rmm/parent.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/num.h"

_Static_assert((int)WW_CHUNK_FORMS == (int)WW_PACK_FORMS, "reports count by form");

struct writing {
    uint32_t index; /* among those that are written together */
    struct ww_member *member;
    struct ww_base_use *use;
    struct ww_pack_crew *crew;
    struct ww_pace *pace;
    struct ww_section_out *out;
    struct ww_pack_manifest_member *entry;
    struct ww_sha sha;   /* of the file that is being written */
    struct ww_sha coded; /* of a chunk of it */
    double exact2;       /* of the matrix that is being written: see add_error */
    bool lossy;
    /* The next chunk to hand out. */
    uint32_t file;
    uint32_t part;
    uint64_t chunk;
    uint64_t offset; /* in the file */
};

static struct ww_pack_table_part *next_part(const struct writing *w)
{
    return &w->member->table.parts[w->member->table.files[w->file].first_part + w->part];
}

static uint64_t reader_of(const struct writing *w, uint32_t part)
{
    return (uint64_t)w->index << 32 | part;
}

/* Move to a chunk that is there; false at the end. */
static bool find_chunk(struct writing *w)
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

static enum ww_err set_prediction(const struct writing *w, uint32_t part,
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
        rc = ww_base_use_begin(w->use, t, reader_of(w, part), err);
    }
    job->base = ww_base_from(base, &base->tensors[t]);
    job->base_at = w->chunk * WW_CHUNK_BYTES;
    job->base_tensor = &base->tensors[t];
    job->unmerge = &w->member->unmerge;
    job->base_rank = w->use->rank[t];
    job->leaves = ww_base_use_leaves(w->use, t, reader_of(w, part));
    return rc;
}

/* Is the tensor its base and a product? Asked when its first chunk is handed out. */
static enum ww_err set_rank(const struct writing *w, uint32_t part,
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
static void forget_base(const struct writing *w, uint32_t part, struct ww_pack_job *job)
{
    if (job->base.fd >= 0) {
        ww_base_use_cancel(w->use, w->member->base_tensors[part], reader_of(w, part));
    }
    ww_rank_coded_free(w->member->ranks[part]);
    w->member->ranks[part] = NULL;
    w->member->table.parts[part].predicted = false;
    job->rank = NULL;
    job->base.fd = -1;
    job->leaves = NULL;
}

/* Factors that come back within an error, if they do. */
static enum ww_err fit_integers(const struct writing *w, uint32_t part,
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

static enum ww_err set_integers(const struct writing *w, uint32_t part,
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
static enum ww_err set_parent(const struct writing *w, uint32_t part,
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
static enum ww_err set_levels(const struct writing *w, uint32_t part,
                              struct ww_pack_job *job, struct ww_error *err)
{
    const struct ww_dense *dense = NULL;
    const enum ww_err rc =
        ww_member_dense(w->member, w->use->base, job->rank, part, &dense, err);

    job->levels = dense ? &dense->levels : NULL;
    return rc;
}

/* A factor of a group: its basis predicts it, and nothing else does. */
static enum ww_err set_shared(const struct writing *w, uint32_t part,
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
static enum ww_err set_coding(const struct writing *w, uint32_t part,
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
static bool is_ready(const struct writing *w, uint32_t part, struct ww_pack_job *job)
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

static enum ww_err fill_batch(struct writing *w, struct ww_pack_batch *batch,
                              struct ww_error *err)
{
    const struct ww_pack_table *t = &w->member->table;
    enum ww_err rc = WW_OK;

    batch->n = 0;
    while (batch->n < batch->n_room && !rc && find_chunk(w)) {
        const struct ww_pack_table_part *part = next_part(w);
        struct ww_pack_job *job = &batch->jobs[batch->n++];
        job->file = w->file;
        job->part = t->files[w->file].first_part + w->part;
        job->chunk = w->chunk;
        job->fd = w->member->files[w->file].fd;
        job->name = t->files[w->file].path;
        job->offset = w->offset;
        job->n =
            (size_t)ww_min_u64(WW_CHUNK_BYTES, part->bytes - w->chunk * WW_CHUNK_BYTES);
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

/* Is the chunk the last of its file? */
static bool ends_file(const struct ww_pack_table *t, const struct ww_pack_job *job)
{
    return job->offset + job->n == t->files[job->file].size_bytes;
}

static void note_form(struct writing *w, const struct ww_buf *coded)
{
    w->entry->coded[ww_chunk_form_of(coded->data, coded->len)] += coded->len;
    w->member->table.narrow |= coded->data[0] == WW_CHUNK_NARROW;
}

/* The factors of a part, before its chunks. */
static enum ww_err write_rank(struct writing *w, uint32_t p, struct ww_error *err)
{
    struct ww_pack_table_part *part = &w->member->table.parts[p];
    struct ww_rank_coded *coded = w->member->ranks[p];
    enum ww_err rc = WW_OK;

    if (!coded) {
        return WW_OK;
    }
    part->rank = coded->rank.shape; /* none of a part that shares a basis */
    part->factors = coded->entries;
    part->n_factors = coded->n;
    for (uint64_t i = 0; i < coded->n && !rc; i++) {
        struct ww_buf *bytes = &coded->chunks[i];
        part->factors[i].at = w->out->plain_bytes;
        note_form(w, bytes);
        rc = ww_section_add(w->out, bytes->data, bytes->len, err);
        ww_buf_release(bytes);
    }
    return rc;
}

/* With the digests of the file, of the coded chunk and of the section, two at a time: the
 * first goes on beside one of the others. */
static enum ww_err write_coded(struct writing *w, const struct ww_pack_job *job,
                               uint8_t sha256[WW_SHA256_BYTES], struct ww_error *err)
{
    const struct ww_buf *coded = &job->coded;
    const size_t both = coded->len < job->n ? coded->len : job->n;
    const struct ww_section_beside rest = {&w->sha, job->bytes + both, job->n - both};

    ww_sha_reset(&w->coded);
    if (w->member->files[job->file].known) {
        ww_sha_update(&w->coded, coded->data, coded->len);
        ww_sha_final(&w->coded, sha256);
        return ww_section_add(w->out, coded->data, coded->len, err);
    }
    ww_sha_update_2(&w->coded, coded->data, &w->sha, job->bytes, both);
    ww_sha_update(&w->coded, coded->data + both, coded->len - both);
    ww_sha_final(&w->coded, sha256);
    return ww_section_add_beside(w->out, coded->data, coded->len, rest, err);
}

/* The error of a matrix, of which some chunks were shorter exactly. */
static void add_error(struct writing *w, const struct ww_pack_job *job)
{
    const struct ww_member_change *change =
        w->member->changes ? &w->member->changes[job->part] : NULL;
    const bool last = job->chunk + 1 == w->member->table.parts[job->part].n_chunks;

    if (!change || !change->tried || !change->dense.fits) {
        return;
    }
    w->exact2 = (job->chunk == 0 ? 0 : w->exact2) + job->exact2;
    w->lossy = (job->chunk > 0 && w->lossy) || job->levels;
    if (last && w->lossy) {
        struct ww_dense_sums sums = change->dense.sums;
        sums.error2 = sums.error2 > w->exact2 ? sums.error2 - w->exact2 : 0;
        const double error = ww_dense_error(&sums) * change->dense.share;
        w->entry->error = error > w->entry->error ? error : w->entry->error;
    }
}

static enum ww_err write_job(struct writing *w, struct ww_pack_job *job,
                             struct ww_error *err)
{
    struct ww_pack_table *t = &w->member->table;
    const struct ww_pack_table_part *part = &t->parts[job->part];
    struct ww_pack_table_chunk *chunk = &t->chunks[part->first_chunk + job->chunk];
    const uint32_t base = w->member->base_tensors[job->part];
    enum ww_err rc = WW_OK;

    if (job->rc) {
        return WW_FAIL(err, job->rc, "%s", job->err.text);
    }
    if (job->offset == 0) {
        ww_sha_reset(&w->sha);
    }
    if (job->chunk == 0) {
        rc = write_rank(w, job->part, err);
    }
    chunk->at = w->out->plain_bytes;
    chunk->len = (uint32_t)job->coded.len;
    note_form(w, &job->coded);
    if (!rc) {
        rc = write_coded(w, job, chunk->sha256, err);
    }
    add_error(w, job);
    if (ends_file(t, job) && !w->member->files[job->file].known) {
        ww_sha_final(&w->sha, t->files[job->file].sha256);
    }
    if (job->chunk + 1 == part->n_chunks) {
        ww_member_fitted(w->member, job->part);
    }
    if (!rc && base != WW_NONE && job->chunk + 1 == part->n_chunks) {
        rc = ww_base_use_end(w->use, base, reader_of(w, job->part), err);
    }
    return rc ? rc : ww_pace_step(w->pace, job->n, err);
}

static enum ww_err write_batch(struct writing *w, struct ww_pack_batch *batch,
                               struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    for (unsigned i = 0; i < batch->n && !rc; i++) {
        rc = write_job(w, &batch->jobs[i], err);
    }
    return rc;
}

/* The next in turn that has a chunk to hand out, or any when none has. */
static struct writing *next_in_turn(struct writing *all, size_t n, size_t *turn)
{
    for (size_t i = 0; i < n; i++) {
        struct writing *w = &all[*turn];
        *turn = (*turn + 1) % n;
        if (find_chunk(w)) {
            return w;
        }
    }
    return all;
}

/* One batch is coded while the one before it is written. */
static enum ww_err write_chunks(struct writing *all, size_t n, struct ww_error *err)
{
    struct ww_pack_crew *crew = all->crew;
    struct ww_pack_batch *now = &crew->batches[0];
    struct ww_pack_batch *before = &crew->batches[1];
    struct writing *of_before = all;
    size_t turn = 0;
    enum ww_err rc = WW_OK;

    before->n = 0;
    do {
        struct ww_pack_batch *swap = now;
        struct writing *w = next_in_turn(all, n, &turn);
        rc = fill_batch(w, now, err);
        if (rc) {
            break;
        }
        ww_pack_crew_start(crew, now);
        rc = write_batch(of_before, before, err);
        ww_pack_crew_join(crew);
        now = before;
        before = swap;
        of_before = w;
    } while (before->n > 0 && !rc);
    return rc;
}

/* Files beside the weights that are the base's; digests of files without a byte. */
static enum ww_err find_same(struct writing *w, struct ww_error *err)
{
    struct ww_pack_table *t = &w->member->table;
    enum ww_err rc = WW_OK;

    for (uint32_t f = 0; f < t->n_files && !rc; f++) {
        struct ww_pack_table_file *file = &t->files[f];
        struct ww_member_file *of = &w->member->files[f];
        ww_sha256_of("", 0, file->sha256);
        of->known = w->member->beside && of->weights.fd >= 0 &&
                    ww_beside_sha256(w->member->beside, w->member->beside_source,
                                     file->path, &of->st, file->sha256);
        if (of->weights.fd < 0) {
            rc = ww_base_use_file(w->use, file->path, of->fd, file->size_bytes,
                                  file->sha256, &file->same, err);
        }
        if (!rc && file->same) {
            rc = ww_pace_step(w->pace, file->size_bytes, err);
        }
    }
    return rc;
}

static enum ww_err write_table(struct writing *w, struct ww_error *err)
{
    struct ww_pack_table *t = &w->member->table;
    struct ww_buf text;
    struct ww_buf coded;
    uint8_t length[8];
    enum ww_err rc = WW_OK;

    ww_buf_init(&text, WW_PACK_TABLE_MAX_BYTES);
    ww_buf_init(&coded, WW_PACK_TABLE_MAX_BYTES);
    if (w->out->key) {
        ww_random(t->salt, sizeof(t->salt));
    } else {
        rc = ww_pack_table_plain_salt(t, t->salt, err);
    }
    if (!rc) {
        rc = ww_pack_table_commitment(t, w->entry->commitment, err);
    }
    if (!rc) {
        rc = ww_pack_table_write(t, &text, err);
    }
    if (!rc) {
        rc = ww_pack_table_code(&text, &coded, err);
    }
    if (!rc) {
        rc = ww_section_add(w->out, coded.data, coded.len, err);
    }
    ww_put_u64le(length, coded.len);
    if (!rc) {
        rc = ww_section_add(w->out, length, sizeof(length), err);
    }
    ww_buf_release(&text);
    ww_buf_release(&coded);
    return rc;
}

static enum ww_err begin(struct writing *w, struct ww_error *err)
{
    enum ww_err rc = ww_sha_init(&w->sha, ww_sha_fast(), err);

    if (!rc) {
        rc = ww_sha_init(&w->coded, ww_sha_fast(), err);
    }
    return rc ? rc : find_same(w, err);
}

static enum ww_err end(struct writing *w, struct ww_error *err)
{
    struct ww_pack_manifest_member *entry = w->entry;
    enum ww_err rc = ww_member_unchanged(w->member, err);

    if (!rc) {
        rc = write_table(w, err);
    }
    if (!rc) {
        rc = ww_section_end(w->out, entry->sha256, err);
    }
    entry->adapter = w->member->adapter;
    entry->bytes = w->out->bytes;
    entry->n_files = w->member->table.n_files;
    entry->files_bytes = w->member->bytes;
    return rc;
}

enum ww_err ww_members_write(const struct ww_member_out *all, size_t n,
                             struct ww_base_use *use, struct ww_pack_crew *crew,
                             struct ww_pace *pace, struct ww_error *err)
{
    struct writing *ws = ww_calloc(n, sizeof(*ws));
    enum ww_err rc = ws ? WW_OK : WW_FAIL_MEMORY(err, "coding");

    for (size_t i = 0; i < n && !rc; i++) {
        ws[i] = (struct writing){.index = (uint32_t)i,
                                 .member = all[i].member,
                                 .use = use,
                                 .crew = crew,
                                 .pace = pace,
                                 .out = all[i].section,
                                 .entry = all[i].entry};
        rc = begin(&ws[i], err);
    }
    if (!rc) {
        rc = write_chunks(ws, n, err);
    }
    for (size_t i = 0; i < n && !rc; i++) {
        rc = end(&ws[i], err);
    }
    for (size_t i = 0; ws && i < n; i++) {
        ww_sha_release(&ws[i].sha);
        ww_sha_release(&ws[i].coded);
    }
    ww_free(ws);
    return rc;
}
