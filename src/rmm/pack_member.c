/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Chunks are handed out in the order of files and parts and written in that order, with
 * the digests of the files taken on the way: each file is read once.
 */
#include "rmm/pack_member.h"

#include "crypto/secret.h"
#include "rmm/pack_beside.h"
#include "rmm/pack_writing.h"
#include "rmm/rank_code.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/num.h"

_Static_assert((int)WW_CHUNK_FORMS == (int)WW_PACK_FORMS, "reports count by form");

/* Is the chunk the last of its file? */
static bool ends_file(const struct ww_pack_table *t, const struct ww_pack_job *job)
{
    return job->offset + job->n == t->files[job->file].size_bytes;
}

static void note_form(struct ww_writing *w, const struct ww_buf *coded)
{
    w->entry->coded[ww_chunk_form_of(coded->data, coded->len)] += coded->len;
    w->member->table.narrow |= coded->data[0] == WW_CHUNK_NARROW;
}

/* The factors of a part, before its chunks. */
static enum ww_err write_rank(struct ww_writing *w, uint32_t p, struct ww_error *err)
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
static enum ww_err write_coded(struct ww_writing *w, const struct ww_pack_job *job,
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
static void add_error(struct ww_writing *w, const struct ww_pack_job *job)
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

static enum ww_err write_job(struct ww_writing *w, struct ww_pack_job *job,
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
        rc = ww_base_use_end(w->use, base, ww_writing_reader(w, job->part), err);
    }
    return rc ? rc : ww_pace_step(w->pace, job->n, err);
}

static enum ww_err write_batch(struct ww_writing *w, struct ww_pack_batch *batch,
                               struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    for (unsigned i = 0; i < batch->n && !rc; i++) {
        rc = write_job(w, &batch->jobs[i], err);
    }
    return rc;
}

/* The next in turn that has a chunk to hand out, or any when none has. */
static struct ww_writing *next_in_turn(struct ww_writing *all, size_t n, size_t *turn)
{
    for (size_t i = 0; i < n; i++) {
        struct ww_writing *w = &all[*turn];
        *turn = (*turn + 1) % n;
        if (ww_writing_find(w)) {
            return w;
        }
    }
    return all;
}

/* One batch is coded while the one before it is written. */
static enum ww_err write_chunks(struct ww_writing *all, size_t n, struct ww_error *err)
{
    struct ww_pack_crew *crew = all->crew;
    struct ww_pack_batch *now = &crew->batches[0];
    struct ww_pack_batch *before = &crew->batches[1];
    struct ww_writing *of_before = all;
    size_t turn = 0;
    enum ww_err rc = WW_OK;

    before->n = 0;
    do {
        struct ww_pack_batch *swap = now;
        struct ww_writing *w = next_in_turn(all, n, &turn);
        rc = ww_writing_fill(w, now, err);
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
static enum ww_err find_same(struct ww_writing *w, struct ww_error *err)
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

static enum ww_err write_table(struct ww_writing *w, struct ww_error *err)
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
        rc = ww_pack_text_code(&text, &coded, err);
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

static enum ww_err begin(struct ww_writing *w, struct ww_error *err)
{
    enum ww_err rc = ww_sha_init(&w->sha, ww_sha_fast(), err);

    if (!rc) {
        rc = ww_sha_init(&w->coded, ww_sha_fast(), err);
    }
    return rc ? rc : find_same(w, err);
}

static enum ww_err end(struct ww_writing *w, struct ww_error *err)
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
    struct ww_writing *ws = ww_calloc(n, sizeof(*ws));
    enum ww_err rc = ws ? WW_OK : WW_FAIL_MEMORY(err, "coding");

    for (size_t i = 0; i < n && !rc; i++) {
        ws[i] = (struct ww_writing){.index = (uint32_t)i,
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
