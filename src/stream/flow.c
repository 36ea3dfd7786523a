/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How jobs move from stage to stage; every function here is called with the lock held and
 * does little. Job ends do not fall on pages, direct writes must: the page that two jobs
 * share is carried, at most 4 KiB, from one job's buffer into the room before the next
 * one's first byte, so nothing else is ever copied and every page is written once.
 */
#include <string.h>

#include "stream/engine.h"
#include "util/num.h"

static void load_line_up(struct ww_engine *e, struct ww_load *load);
static void start_if_loaded(struct ww_engine *e, struct ww_job *job);
static void check_done(struct ww_engine *e, struct ww_job *job);

uint64_t ww_load_room(const struct ww_load *load)
{
    if (load->rows) {
        return load->n_bytes;
    }
    uint64_t begin = load->offset - load->offset % WW_IO_PAGE;
    return ww_round_up(load->offset + load->n_bytes, WW_IO_PAGE) - begin;
}

uint64_t ww_job_room(const struct ww_job *job)
{
    return ww_round_up(job->file_offset % WW_IO_PAGE + job->n_bytes, WW_IO_PAGE);
}

static bool take_buffers(struct ww_engine *e, struct ww_job *job)
{
    if (job->output != WW_NONE) {
        job->buf = ww_arena_take(e->arena, ww_job_room(job));
        if (!job->buf) {
            return false;
        }
        job->out = job->buf + job->file_offset % WW_IO_PAGE;
    }
    for (size_t i = 0; i < job->n_loads; i++) {
        struct ww_load *load = job->loads[i];
        if (load->admitted || load->in_memory || load->buf) {
            continue;
        }
        load->buf = ww_arena_take(e->arena, ww_load_room(load));
        if (!load->buf) {
            return false;
        }
    }
    return true;
}

static void give_buffers(struct ww_engine *e, struct ww_job *job)
{
    ww_arena_give(e->arena, job->buf);
    job->buf = NULL;
    for (size_t i = 0; i < job->n_loads; i++) {
        struct ww_load *load = job->loads[i];
        if (!load->admitted) {
            ww_arena_give(e->arena, load->buf);
            load->buf = NULL;
        }
    }
}

/* Behind what was admitted before, for the digest and the tree of its input. */
static void join_lines(struct ww_engine *e, struct ww_load *load)
{
    if (load->feeds) {
        load->refs++;
        e->feeds_open++;
        ww_list_push(&e->feeds[load->input].line, &load->feed_node, load);
    }
    if (load->feeds && e->walks[load->input].wanted) {
        load->refs++;
        e->feeds_open++;
        ww_list_push(&e->walks[load->input].line, &load->walk_node, load);
    }
}

static void admit_load(struct ww_engine *e, struct ww_load *load)
{
    load->admitted = true;
    join_lines(e, load);
    if (load->in_memory) {
        load_line_up(e, load);
        return;
    }
    load->data = load->rows ? load->buf : load->buf + load->offset % WW_IO_PAGE;
    e->report.bytes_read += load->n_bytes;
    ww_list_push(&e->reads, &load->read_node, load);
    pthread_cond_broadcast(&e->read);
}

static uint64_t bytes_to_read(const struct ww_job *job)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < job->n_loads; i++) {
        const struct ww_load *load = job->loads[i];
        sum += load->admitted || load->in_memory ? 0 : ww_load_room(load);
    }
    return sum;
}

/* What lies in the page cache need not be read far ahead: a page of a buffer that is used
 * for the first time costs more than the copy into it. Jobs under way go on without this
 * one, so there is an end to waiting. */
static bool is_enough(const struct ww_engine *e, const struct ww_job *job)
{
    const uint64_t more = bytes_to_read(job);
    const uint64_t ahead = e->plan->warm_bytes
                               ? e->plan->warm_bytes
                               : WW_WARM_BYTES + e->n_workers * WW_WARM_EACH;

    return !e->slow && more > 0 && e->jobs_admitted > 0 &&
           ww_arena_in_use(e->arena) + more > ww_max_u64(ahead, 2 * more);
}

bool ww_flow_admit(struct ww_engine *e, struct ww_job *job)
{
    if (is_enough(e, job)) {
        return false;
    }
    if (!take_buffers(e, job)) {
        give_buffers(e, job);
        return false;
    }
    job->admitted = true;
    e->jobs_admitted++;
    e->result->most_buffers =
        ww_max_u64(e->result->most_buffers, ww_arena_in_use(e->arena));
    for (size_t i = 0; i < job->n_loads; i++) {
        struct ww_load *load = job->loads[i];
        if (!load->admitted) {
            admit_load(e, load);
        } else if (load->early && job->output != WW_NONE) {
            load->early = false;
            join_lines(e, load);
            load_line_up(e, load);
        }
    }
    if (job->output != WW_NONE) {
        struct ww_file *file = &e->files[job->output];
        file->jobs_open++;
        file->cut = job->last;
        ww_list_push(&file->to_seal, &job->seal_node, job);
        ww_list_push(&file->to_hash, &job->hash_node, job);
    }
    ww_list_push(&e->waiting, &job->stage_node, job);
    start_if_loaded(e, job);
    return true;
}

static void load_unref(struct ww_engine *e, struct ww_load *load)
{
    load->refs--;
    if (load->refs == 0) {
        ww_load_free(e, load);
        pthread_cond_signal(&e->main);
    }
}

/* The input's digest goes on when the first load in its line is there. */
static void kick_feed(struct ww_engine *e, struct ww_feed *feed)
{
    struct ww_load *load = ww_list_first(&feed->line);
    if (load && load->ready && !feed->busy) {
        feed->busy = true;
        ww_list_push(&e->feeding, &feed->node, feed);
        pthread_cond_signal(&e->work);
    }
}

static void load_line_up(struct ww_engine *e, struct ww_load *load)
{
    if (load->feeds) {
        kick_feed(e, &e->feeds[load->input]);
        kick_feed(e, &e->walks[load->input]);
    }
}

void ww_flow_load_read(struct ww_engine *e, struct ww_load *load)
{
    load->ready = true;
    load_line_up(e, load);
    if (load->early) {
        pthread_cond_signal(&e->main);
    }
    struct ww_node *node = e->waiting.next;
    while (node != &e->waiting) {
        struct ww_job *job = node->item;
        node = node->next;
        start_if_loaded(e, job);
    }
}

void ww_flow_fed(struct ww_engine *e, struct ww_feed *feed, struct ww_load *load)
{
    ww_list_remove(feed->walk ? &load->walk_node : &load->feed_node);
    feed->busy = false;
    e->feeds_open--;
    load_unref(e, load);
    kick_feed(e, feed);
    pthread_cond_signal(&e->main);
}

static void kick_hash(struct ww_engine *e, struct ww_file *file)
{
    struct ww_job *job = ww_list_first(&file->to_hash);
    if (job && job->made && !file->hashing) {
        file->hashing = true;
        ww_list_push(&e->hashes, &file->hash_node, file);
        pthread_cond_signal(&e->work);
    }
}

static void seal(struct ww_engine *e, struct ww_file *file, struct ww_job *job)
{
    size_t head = job->file_offset % WW_IO_PAGE;
    size_t end = head + job->n_bytes;
    size_t tail = end % WW_IO_PAGE;

    memcpy(job->buf, file->carry, head);
    if (!e->out) {
        job->written = true;
        return;
    }
    if (job->last) {
        memset(job->buf + end, 0, ww_job_room(job) - end);
    } else {
        memcpy(file->carry, job->buf + (end - tail), tail);
    }
    ww_list_push(&e->writes, &job->stage_node, job);
    pthread_cond_signal(&e->write);
}

/* All tiles are done: the sources are free, the bytes go to the digests and the disk. */
static void made(struct ww_engine *e, struct ww_job *job)
{
    job->made = true;
    for (size_t i = 0; i < job->n_loads; i++) {
        load_unref(e, job->loads[i]);
    }
    job->n_loads = 0;
    if (job->output == WW_NONE) {
        ww_job_free(e, job);
        pthread_cond_signal(&e->main);
        return;
    }
    struct ww_file *file = &e->files[job->output];
    if (job->leaves_left > 0) {
        ww_list_push(&e->leaves, &job->leaf_node, job);
        pthread_cond_broadcast(&e->work);
    }
    kick_hash(e, file);
    for (struct ww_job *next = ww_list_first(&file->to_seal); next && next->made;
         next = ww_list_first(&file->to_seal)) {
        ww_list_remove(&next->seal_node);
        seal(e, file, next);
    }
}

static void start_if_loaded(struct ww_engine *e, struct ww_job *job)
{
    for (size_t i = 0; i < job->n_loads; i++) {
        /* A load that only the digest wants keeps no job waiting. */
        if (!job->loads[i]->ready && job->output != WW_NONE) {
            return;
        }
    }
    ww_list_remove(&job->stage_node);
    if (job->tiles_left == 0) {
        made(e, job);
        return;
    }
    ww_list_push(&e->tiles, &job->stage_node, job);
    pthread_cond_broadcast(&e->work);
}

static void close_if_done(struct ww_engine *e, struct ww_live *live)
{
    if (live->cut && live->tiles_left == 0 && live->leaves_left == 0) {
        ww_list_push(&e->closing, &live->closing_node, live);
        pthread_cond_signal(&e->main);
    }
}

void ww_flow_live_cut(struct ww_engine *e, struct ww_live *live)
{
    live->cut = true;
    for (uint32_t s = 0; s < live->n_whole; s++) {
        load_unref(e, live->whole[s]);
    }
    live->n_whole = 0;
    close_if_done(e, live);
}

void ww_flow_tile_done(struct ww_engine *e, struct ww_job *job, struct ww_live *live)
{
    live->tiles_left--;
    close_if_done(e, live);
    job->tiles_left--;
    if (job->tiles_left == 0) {
        made(e, job);
    }
}

void ww_flow_leaf_done(struct ww_engine *e, struct ww_job *job, struct ww_live *live)
{
    live->leaves_left--;
    close_if_done(e, live);
    job->leaves_left--;
    check_done(e, job);
}

void ww_flow_hashed(struct ww_engine *e, struct ww_file *file, struct ww_job *job)
{
    ww_list_remove(&job->hash_node);
    job->hashed = true;
    for (size_t i = 0; i < job->n_parts; i++) {
        if (job->parts[i].head_ends) {
            job->parts[i].live->leaves_left--;
            close_if_done(e, job->parts[i].live);
        }
    }
    file->hashing = false;
    kick_hash(e, file);
    check_done(e, job);
}

void ww_flow_written(struct ww_engine *e, struct ww_job *job)
{
    job->written = true;
    check_done(e, job);
}

/* The last job of a file leaves it to be cut to size and flushed. */
static void check_done(struct ww_engine *e, struct ww_job *job)
{
    if (!job->hashed || !job->written || job->leaves_left > 0) {
        return;
    }
    struct ww_file *file = &e->files[job->output];
    e->done_bytes += job->n_bytes;
    file->jobs_open--;
    ww_job_free(e, job);
    if (file->cut && file->jobs_open == 0) {
        ww_list_push(&e->finishes, &file->finish_node, file);
        pthread_cond_signal(&e->write);
    }
    pthread_cond_signal(&e->main);
}

void ww_flow_finished(struct ww_engine *e)
{
    e->files_open--;
    pthread_cond_signal(&e->main);
}
