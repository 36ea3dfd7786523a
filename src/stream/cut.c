/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Cutting a plan into jobs, in output order and one at a time, so that memory does not
 * grow with the model. Small pieces are gathered into one job, big ones are cut between
 * tiles.
 *
 * A source digest needs the whole file in order, whatever the pieces take from it. A load
 * that begins at or behind the place reached so far joins the line, and the gap before it
 * is read by jobs that have no output. A load that begins earlier (tensors taken in
 * another order) stays out; its bytes are, or will be, read by such a gap job. So does
 * one with a gap to another load of the same job, as the jobs for that gap would come
 * before both. Every input is read once when the plan follows it, and never more than
 * twice.
 */
#include "stream/engine.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/num.h"

#define MAX_PARTS 512u
#define MAX_LOADS 128u

struct ww_cut {
    struct ww_engine *e;
    uint64_t job_bytes;  /* of output, about */
    uint64_t job_memory; /* of output and sources, at most, unless one tile is more */
    uint32_t output;
    uint32_t piece;
    uint64_t file_offset;
    struct ww_early early; /* sources of the next piece, read before it is opened */
    struct ww_live *live;  /* piece being cut */
    uint64_t next_tile;
    struct ww_job *pending; /* waits for the gaps before its loads */
    size_t pending_load;
    uint32_t gap_input;
    uint64_t used; /* buffers of the job being made */
};

enum ww_err ww_cut_new(struct ww_engine *e, struct ww_cut **out, struct ww_error *err)
{
    *out = NULL;
    struct ww_cut *cut = ww_calloc(1, sizeof(*cut));
    if (!cut) {
        return WW_FAIL_MEMORY(err, "a plan");
    }
    cut->e = e;
    cut->job_bytes = ww_max_u64(WW_MIB / 2, ww_min_u64(8 * WW_MIB, e->memory / 32));
    cut->job_memory = e->arena_bytes / 4;
    *out = cut;
    return WW_OK;
}

void ww_cut_free(struct ww_cut *cut)
{
    ww_free(cut);
}

/* Buffers that n bytes of output need in this piece. */
static uint64_t cost(const struct ww_live *live, uint64_t n)
{
    bool loads = live->piece->kind != WW_PIECE_BYTES && !live->n_whole;
    uint64_t source = n;
    if (live->source_row_bytes != live->row_bytes) {
        source = n / live->row_bytes * live->source_row_bytes;
    }
    return loads ? n + source * live->piece->n_sources : n;
}

/* How many more tiles of the piece the job takes. */
static uint64_t tiles_that_fit(const struct ww_cut *cut, const struct ww_job *job)
{
    const struct ww_live *live = cut->live;
    uint64_t left = live->n_tiles - cut->next_tile;
    uint64_t bytes = (live->n_rows - cut->next_tile * live->tile_rows) * live->row_bytes;
    uint64_t room = cut->job_bytes > job->n_bytes ? cut->job_bytes - job->n_bytes : 0;
    uint64_t room_memory = cut->job_memory > cut->used ? cut->job_memory - cut->used : 0;
    uint64_t tile = ww_live_tile_bytes(live);

    if (bytes <= room && cost(live, bytes) <= room_memory) {
        return left;
    }
    return ww_min_u64(left, ww_min_u64(room / tile, room_memory / cost(live, tile)));
}

/* Does the piece have to begin a job of its own? Then what is held across jobs, or is
 * big, never waits for buffers that the same job holds already. */
static bool stands_alone(const struct ww_cut *cut)
{
    const struct ww_live *live = cut->live;
    return cut->next_tile == 0 &&
           (live->n_whole || cost(live, ww_live_tile_bytes(live)) > cut->job_memory);
}

static void end_live(struct ww_cut *cut)
{
    struct ww_engine *e = cut->e;
    pthread_mutex_lock(&e->lock);
    ww_flow_live_cut(e, cut->live);
    pthread_mutex_unlock(&e->lock);
    cut->live = NULL;
    cut->piece++;
}

/* Add tiles of the current piece; *full when the job should take no more. */
static enum ww_err extend(struct ww_cut *cut, struct ww_job *job, bool *full,
                          struct ww_error *err)
{
    struct ww_live *live = cut->live;
    uint64_t n = tiles_that_fit(cut, job);
    uint64_t before = job->n_bytes;

    *full = true;
    if (job->n_parts > 0 && (stands_alone(cut) || (n == 0 && live->n_tiles > 0))) {
        return WW_OK;
    }
    if (n == 0 && live->n_tiles > 0) {
        n = 1;
    }
    enum ww_err rc = ww_job_add_part(cut->e, job, live, cut->next_tile, n, err);
    if (rc) {
        return rc;
    }
    cut->next_tile += n;
    cut->used += cost(live, job->n_bytes - before);
    *full = cut->next_tile < live->n_tiles || job->n_bytes >= cut->job_bytes ||
            job->n_parts >= MAX_PARTS || job->n_loads >= MAX_LOADS;
    if (cut->next_tile == live->n_tiles) {
        end_live(cut);
    }
    return WW_OK;
}

/* Do the sources of the next piece have to be read before it is opened? */
static bool wants_early(const struct ww_cut *cut)
{
    const struct ww_output *output = &cut->e->plan->outputs[cut->output];
    return !cut->live && cut->early.n == 0 && cut->piece < output->n_pieces &&
           ww_early_wanted(cut->e, &output->pieces[cut->piece], cut->job_bytes);
}

static enum ww_err open_piece(struct ww_cut *cut, const struct ww_piece *piece,
                              struct ww_error *err)
{
    enum ww_err rc = cut->early.n ? ww_early_wait(cut->e, &cut->early) : WW_OK;

    cut->next_tile = 0;
    return rc ? rc : ww_live_open(cut->e, piece, &cut->early, &cut->live, err);
}

static enum ww_err make_job(struct ww_cut *cut, struct ww_job **out, struct ww_error *err)
{
    const struct ww_output *output = &cut->e->plan->outputs[cut->output];
    struct ww_job *job = ww_job_new(cut->e);
    bool full = false;

    if (!job) {
        return WW_FAIL_MEMORY(err, "a job of the executor");
    }
    job->output = cut->output;
    job->file_offset = cut->file_offset;
    cut->used = 0;
    while (!full && cut->piece < output->n_pieces && !wants_early(cut)) {
        enum ww_err rc = WW_OK;
        if (!cut->live) {
            rc = open_piece(cut, &output->pieces[cut->piece], err);
        }
        if (!rc) {
            rc = extend(cut, job, &full, err);
        }
        if (rc) {
            return rc;
        }
    }
    cut->file_offset += job->n_bytes;
    job->last = cut->piece == output->n_pieces;
    if (job->last) {
        cut->output++;
        cut->piece = 0;
        cut->file_offset = 0;
    }
    *out = job;
    return WW_OK;
}

/* A job without output: the next bytes of an input, for its digest. */
static enum ww_err gap_job(struct ww_cut *cut, uint32_t input, uint64_t end,
                           struct ww_job **out, struct ww_error *err)
{
    struct ww_feed *feed = &cut->e->feeds[input];
    uint64_t n = ww_min_u64(end - feed->cut_at, cut->job_bytes);
    struct ww_job *job = ww_job_new(cut->e);
    struct ww_load *load = job ? ww_load_new(cut->e, input, feed->cut_at, n) : NULL;

    if (!load) {
        return WW_FAIL_MEMORY(err, "a job of the executor");
    }
    load->feeds = true;
    feed->cut_at += n;
    *out = job;
    return ww_job_add_load(cut->e, job, load, err);
}

/* Put the pending job's loads in line; a gap before one of them comes first, as *job. */
static enum ww_err line_up(struct ww_cut *cut, struct ww_job **job, struct ww_error *err)
{
    for (; cut->pending_load < cut->pending->n_loads; cut->pending_load++) {
        struct ww_load *load = cut->pending->loads[cut->pending_load];
        struct ww_feed *feed = &cut->e->feeds[load->input];
        if (!feed->wanted || load->feeds || (load->admitted && !load->early) ||
            load->rows || load->offset < feed->cut_at) {
            continue;
        }
        if (load->offset > feed->cut_at && feed->cut_job == cut->pending) {
            continue;
        }
        if (load->offset > feed->cut_at) {
            return gap_job(cut, load->input, load->offset, job, err);
        }
        load->feeds = true;
        feed->cut_at += load->n_bytes;
        feed->cut_job = cut->pending;
    }
    return WW_OK;
}

/* When every output is cut: what no piece has read, a little of each input in turn, so
 * that several are hashed at once. */
static enum ww_err tail_gap(struct ww_cut *cut, struct ww_job **job, struct ww_error *err)
{
    const struct ww_plan *plan = cut->e->plan;
    for (uint32_t i = 0; i < plan->n_inputs; i++) {
        uint32_t input = (uint32_t)((cut->gap_input + (uint64_t)i) % plan->n_inputs);
        const struct ww_feed *feed = &cut->e->feeds[input];
        if (feed->wanted && feed->cut_at < plan->inputs[input].size_bytes) {
            cut->gap_input = input + 1;
            return gap_job(cut, input, plan->inputs[input].size_bytes, job, err);
        }
    }
    return WW_OK;
}

enum ww_err ww_cut_next(struct ww_cut *cut, struct ww_job **job, struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    *job = NULL;
    if (!cut->pending && cut->output == cut->e->plan->n_outputs) {
        return tail_gap(cut, job, err);
    }
    if (!cut->pending && wants_early(cut)) {
        return ww_early_job(cut->e,
                            &cut->e->plan->outputs[cut->output].pieces[cut->piece],
                            &cut->early, job, err);
    }
    if (!cut->pending) {
        cut->pending_load = 0;
        rc = make_job(cut, &cut->pending, err);
        if (rc) {
            return rc;
        }
    }
    rc = line_up(cut, job, err);
    if (rc || *job) {
        return rc;
    }
    *job = cut->pending;
    cut->pending = NULL;
    return WW_OK;
}
