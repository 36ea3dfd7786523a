/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The threads. Workers compute, one per processor; readers and writers only wait for the
 * disk, several at once so that it always has something to do. Workers take digests
 * first, as that frees buffers, but a single one only when there is no tile: see lanes.c.
 */
#include <errno.h>
#include <stddef.h>

#include "stream/engine.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/num.h"

void ww_engine_fail(struct ww_engine *e, enum ww_err code, const struct ww_error *err)
{
    pthread_mutex_lock(&e->lock);
    if (!e->failed) {
        e->failed = code;
        e->error = *err;
    }
    e->stop = true;
    pthread_cond_broadcast(&e->work);
    pthread_cond_broadcast(&e->read);
    pthread_cond_broadcast(&e->write);
    pthread_cond_broadcast(&e->main);
    pthread_mutex_unlock(&e->lock);
}

/* Each do_x takes one unit of its kind; false when there is none. The lock is held on
 * entry and exit, and released in between. */
static bool do_tile(struct ww_engine *e, struct ww_worker *w, enum ww_err *rc,
                    struct ww_error *err)
{
    struct ww_job *job = ww_list_first(&e->tiles);
    if (!job) {
        return false;
    }
    while (job->parts[job->tile_part].next_tile == job->parts[job->tile_part].end_tile) {
        job->tile_part++;
    }
    struct ww_part *part = &job->parts[job->tile_part];
    uint64_t tile = part->next_tile++;
    size_t rest = job->tile_part;
    while (rest < job->n_parts &&
           job->parts[rest].next_tile == job->parts[rest].end_tile) {
        rest++;
    }
    if (rest == job->n_parts) {
        ww_list_remove(&job->stage_node);
    }
    job->tile_part = rest;
    struct ww_lane *lane = part->live->piece->hashes ? ww_lanes_lend(e, w) : NULL;
    pthread_mutex_unlock(&e->lock);
    *rc = ww_work_tile(w, job, part, tile, lane, err);
    const bool ended = lane && ww_lanes_settle(e, lane);
    pthread_mutex_lock(&e->lock);
    if (ended) {
        ww_lanes_end(e, lane);
    }
    if (!*rc) {
        ww_flow_tile_done(e, job, part->live);
    }
    return true;
}

static void *work_loop(void *argument)
{
    struct ww_worker *w = argument;
    struct ww_engine *e = w->engine;
    struct ww_error err = {0};
    enum ww_err rc = WW_OK;

    pthread_mutex_lock(&e->lock);
    while (!rc && !e->stop) {
        if (!ww_lanes_run(e, w, true) && !do_tile(e, w, &rc, &err) &&
            !ww_lanes_run(e, w, false)) {
            pthread_cond_wait(&e->work, &e->lock);
        }
    }
    pthread_mutex_unlock(&e->lock);
    if (rc) {
        ww_engine_fail(e, rc, &err);
    }
    return NULL;
}

/* The next range of the first load; the load leaves the queue with its last one. */
static struct ww_load *next_read(struct ww_engine *e, uint64_t *at, uint64_t *n)
{
    struct ww_load *load = ww_list_first(&e->reads);
    if (!load) {
        return NULL;
    }
    uint64_t room = ww_load_room(load);
    *at = load->read_at;
    *n = load->rows ? room : ww_min_u64(WW_READ_STEP, room - *at);
    load->read_at += *n;
    load->reading++;
    if (load->read_at >= room) {
        ww_list_remove(&load->read_node);
    }
    return load;
}

static void *read_loop(void *argument)
{
    struct ww_engine *e = argument;
    struct ww_error err = {0};
    enum ww_err rc = WW_OK;

    pthread_mutex_lock(&e->lock);
    while (!rc && !e->stop) {
        uint64_t at = 0;
        uint64_t n = 0;
        struct ww_load *load = next_read(e, &at, &n);
        if (!load) {
            pthread_cond_wait(&e->read, &e->lock);
            continue;
        }
        pthread_mutex_unlock(&e->lock);
        rc = ww_work_read(e, load, at, n, &err);
        pthread_mutex_lock(&e->lock);
        e->slow = e->slow || atomic_load(&e->sources[load->input].slow);
        load->reading--;
        if (!rc && load->reading == 0 && load->read_at >= ww_load_room(load)) {
            ww_flow_load_read(e, load);
        }
    }
    pthread_mutex_unlock(&e->lock);
    if (rc) {
        ww_engine_fail(e, rc, &err);
    }
    return NULL;
}

static bool do_finish(struct ww_engine *e, enum ww_err *rc, struct ww_error *err)
{
    struct ww_file *file = ww_list_pop(&e->finishes);
    if (!file) {
        return false;
    }
    pthread_mutex_unlock(&e->lock);
    *rc = e->out ? ww_sink_finish(&file->sink, e->plan->outputs[file->output].size_bytes,
                                  err)
                 : WW_OK;
    pthread_mutex_lock(&e->lock);
    if (!*rc) {
        ww_flow_finished(e);
    }
    return true;
}

static bool do_write(struct ww_engine *e, uint8_t *scratch, enum ww_err *rc,
                     struct ww_error *err)
{
    struct ww_job *job = ww_list_pop(&e->writes);
    if (!job) {
        return false;
    }
    struct ww_file *file = &e->files[job->output];
    uint64_t begin = job->file_offset - job->file_offset % WW_IO_PAGE;
    uint64_t end = job->file_offset + job->n_bytes;
    uint64_t n = job->last ? ww_job_room(job) : end - end % WW_IO_PAGE - begin;
    bool kept = false;
    pthread_mutex_unlock(&e->lock);
    if (n > 0) {
        *rc = ww_sink_write(&file->sink, job->buf, n, begin, scratch, &kept, err);
    }
    pthread_mutex_lock(&e->lock);
    if (!*rc) {
        uint64_t size = e->plan->outputs[job->output].size_bytes;
        uint64_t *count = kept ? &e->report.bytes_kept : &e->report.bytes_written;
        *count += ww_min_u64(n, size - begin);
        ww_flow_written(e, job);
    }
    return true;
}

static void *write_loop(void *argument)
{
    struct ww_writer *w = argument;
    struct ww_engine *e = w->engine;
    struct ww_error err = {0};
    enum ww_err rc = WW_OK;

    pthread_mutex_lock(&e->lock);
    while (!rc && !e->stop) {
        if (!do_finish(e, &rc, &err) && !do_write(e, w->scratch, &rc, &err)) {
            pthread_cond_wait(&e->write, &e->lock);
        }
    }
    pthread_mutex_unlock(&e->lock);
    if (rc) {
        ww_engine_fail(e, rc, &err);
    }
    return NULL;
}

/* Memory of all threads is taken before the first of them runs: whether a run fails for
 * want of it must not depend on which thread starts when. */
static enum ww_err crew_memory(struct ww_engine *e, struct ww_error *err)
{
    for (unsigned i = 0; i < e->n_writers; i++) {
        e->writers[i].engine = e;
        e->writers[i].scratch = ww_alloc_aligned(WW_IO_PAGE, WW_SINK_SCRATCH);
        if (!e->writers[i].scratch) {
            return WW_FAIL_MEMORY(err, "a writer");
        }
    }
    for (unsigned i = 0; i < e->n_workers; i++) {
        e->workers[i].engine = e;
        enum ww_err rc = ww_worker_init(&e->workers[i], e->fast_sha, err);
        if (rc) {
            return rc;
        }
    }
    return WW_OK;
}

static enum ww_err start(struct ww_engine *e, void *(*loop)(void *), void *argument,
                         struct ww_error *err)
{
    int failed = pthread_create(&e->threads[e->n_threads], NULL, loop, argument);
    if (failed) {
        return WW_FAIL_SYS(err, WW_E_NOMEM, failed, "cannot start a thread");
    }
    e->n_threads++;
    return WW_OK;
}

enum ww_err ww_crew_start(struct ww_engine *e, struct ww_error *err)
{
    e->n_writers = e->out ? WW_WRITERS : 1;
    enum ww_err rc = crew_memory(e, err);

    for (unsigned i = 0; i < WW_READERS && !rc; i++) {
        rc = start(e, read_loop, e, err);
    }
    for (unsigned i = 0; i < e->n_writers && !rc; i++) {
        rc = start(e, write_loop, &e->writers[i], err);
    }
    for (unsigned i = 0; i < e->n_workers && !rc; i++) {
        rc = start(e, work_loop, &e->workers[i], err);
    }
    return rc;
}

void ww_crew_join(struct ww_engine *e)
{
    pthread_mutex_lock(&e->lock);
    e->stop = true;
    pthread_cond_broadcast(&e->work);
    pthread_cond_broadcast(&e->read);
    pthread_cond_broadcast(&e->write);
    pthread_mutex_unlock(&e->lock);
    for (unsigned i = 0; i < e->n_threads; i++) {
        pthread_join(e->threads[i], NULL);
    }
    e->n_threads = 0;
    for (unsigned i = 0; i < e->n_writers; i++) {
        ww_free(e->writers[i].scratch);
    }
    for (unsigned i = 0; i < e->n_workers; i++) {
        ww_worker_release(&e->workers[i]);
    }
}
