/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The calling thread: it cuts jobs, admits them as buffers come free, opens and closes
 * kernels and reports progress. The stages do the rest; see engine.h. Direct reads and
 * writes leave the processors to the kernels and digests, and reading runs ahead as far
 * as the buffers allow: a run takes as long as the slower of disk and processors.
 */
#include <errno.h>
#include <inttypes.h>

#include "stream/cpus.h"
#include "stream/engine.h"
#include "crypto/sha_blocks.h"
#include "util/alloc.h"
#include "util/clock.h"
#include "util/fail.h"
#include "util/num.h"

#define PROGRESS_MS 100

struct run {
    struct ww_engine engine;
    struct ww_cut *cut;
    uint64_t total_bytes;
    int64_t reported_ms;
    uint32_t next_file; /* first output whose file is not made yet */
};

static void engine_lists(struct ww_engine *e)
{
    struct ww_node *heads[] = {
        &e->waiting, &e->tiles,    &e->leaves,    &e->hashes,
        &e->feeding, &e->reads,    &e->writes,    &e->finishes,
        &e->closing, &e->all_jobs, &e->all_loads, &e->all_lives,
    };
    for (size_t i = 0; i < WW_LEN(heads); i++) {
        ww_list_init(heads[i]);
    }
}

static void engine_sync(struct ww_engine *e)
{
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_mutex_init(&e->lock, NULL);
    pthread_cond_init(&e->work, NULL);
    pthread_cond_init(&e->read, NULL);
    pthread_cond_init(&e->write, NULL);
    pthread_cond_init(&e->main, &attr);
    pthread_condattr_destroy(&attr);
}

static enum ww_err engine_inputs(struct ww_engine *e, struct ww_error *err)
{
    const struct ww_plan *plan = e->plan;
    bool direct = e->options->direct == WW_DIRECT_AUTO && !plan->buffered;

    for (uint32_t i = 0; i < plan->n_inputs; i++) {
        const struct ww_input *input = &plan->inputs[i];
        struct ww_source *source = &e->sources[i];
        enum ww_err rc = WW_OK;
        if (plan->readers && plan->readers[i]) {
            source->name = input->name;
            source->size_bytes = input->size_bytes;
            source->reader = plan->readers[i];
        } else {
            rc = ww_source_open(source, input->name, input->fd, input->size_bytes, direct,
                                err);
        }
        if (!rc && input->want_sha256) {
            e->feeds[i].wanted = true;
            rc = ww_sha_init(&e->feeds[i].sha, e->fast_sha, err);
        }
        if (!rc && plan->input_trees && plan->input_trees[i]) {
            e->walks[i].wanted = true;
            e->walks[i].walk = &e->input_walks[i];
            rc = ww_input_walk_init(&e->input_walks[i], plan->input_trees[i], e->fast_sha,
                                    err);
        }
        if (rc) {
            return rc;
        }
    }
    return WW_OK;
}

static enum ww_err engine_memory(struct ww_engine *e, struct ww_error *err)
{
    const struct ww_plan *plan = e->plan;
    struct ww_stream_result *result = e->result;

    result->output_sha256 = ww_calloc(plan->n_outputs, WW_SHA256_BYTES);
    result->input_sha256 = ww_calloc(plan->n_inputs, WW_SHA256_BYTES);
    result->tensor_root = ww_calloc(plan->n_tree, WW_SHA256_BYTES);
    e->sources = ww_calloc(plan->n_inputs, sizeof(*e->sources));
    e->feeds = ww_calloc(plan->n_inputs, sizeof(*e->feeds));
    e->walks = ww_calloc(plan->n_inputs, sizeof(*e->walks));
    e->input_walks = ww_calloc(plan->n_inputs, sizeof(*e->input_walks));
    e->files = ww_calloc(plan->n_outputs, sizeof(*e->files));
    /* Made safe to release before anything can fail. */
    for (uint32_t i = 0; e->files && i < plan->n_outputs; i++) {
        struct ww_file *file = &e->files[i];
        file->output = i;
        file->sink.fd = -1;
        ww_list_init(&file->to_seal);
        ww_list_init(&file->to_hash);
    }
    for (uint32_t i = 0; e->sources && i < plan->n_inputs; i++) {
        atomic_store(&e->sources[i].direct_fd, -1);
    }
    for (uint32_t i = 0; e->feeds && i < plan->n_inputs; i++) {
        ww_list_init(&e->feeds[i].line);
    }
    for (uint32_t i = 0; e->walks && i < plan->n_inputs; i++) {
        ww_list_init(&e->walks[i].line);
    }
    if (!result->output_sha256 || !result->input_sha256 || !result->tensor_root ||
        !e->sources || !e->feeds || !e->walks || !e->input_walks || !e->files) {
        return WW_FAIL_MEMORY(err, "a plan");
    }
    /* An eighth is for what is not in the arena: row pointers, tiles made beside. */
    e->arena_bytes = e->memory - e->memory / 8;
    return ww_arena_new(e->arena_bytes, &e->arena, err);
}

static enum ww_err engine_init(struct ww_engine *e, struct ww_error *err)
{
    uint64_t memory = e->options->memory_bytes;

    engine_lists(e);
    engine_sync(e);
    e->fast_sha = ww_sha_fast();
    e->memory = memory ? memory : WW_DEFAULT_MEMORY;
    if (e->memory < WW_MIN_MEMORY) {
        return WW_FAIL(err, WW_E_USAGE,
                       "memory limit of %" PRIu64 " MiB is too small, at least %" PRIu64
                       " MiB are needed",
                       e->memory >> 20, (uint64_t)WW_MIN_MEMORY >> 20);
    }
    e->n_workers = ww_threads_wanted(e->options);
    e->n_workers =
        (unsigned)ww_max_u64(1, ww_min_u64(e->n_workers, e->memory / WW_MIN_MEMORY));
    enum ww_err rc = engine_memory(e, err);
    if (rc) {
        return rc;
    }
    return engine_inputs(e, err);
}

static void engine_release(struct ww_engine *e)
{
    struct ww_live *live = NULL;
    struct ww_job *job = NULL;
    struct ww_load *load = NULL;

    /* Only a failed run has anything left in these lists. */
    while ((live = ww_list_first(&e->all_lives)) != NULL) {
        enum ww_err ignored = ww_live_close(e, live, false, NULL);
        (void)ignored; /* the first failure is the one that is told */
    }
    while ((job = ww_list_first(&e->all_jobs)) != NULL) {
        ww_job_free(e, job);
    }
    while ((load = ww_list_first(&e->all_loads)) != NULL) {
        ww_load_free(e, load);
    }
    for (uint32_t i = 0; e->sources && i < e->plan->n_inputs; i++) {
        ww_source_close(&e->sources[i]);
    }
    for (uint32_t i = 0; e->feeds && i < e->plan->n_inputs; i++) {
        ww_sha_release(&e->feeds[i].sha);
    }
    for (uint32_t i = 0; e->input_walks && i < e->plan->n_inputs; i++) {
        ww_input_walk_release(&e->input_walks[i]);
    }
    for (uint32_t i = 0; e->files && i < e->plan->n_outputs; i++) {
        ww_sink_close(&e->files[i].sink);
        ww_sha_release(&e->files[i].sha);
        ww_sha_release(&e->files[i].leaf);
    }
    ww_free(e->sources);
    ww_free(e->feeds);
    ww_free(e->walks);
    ww_free(e->input_walks);
    ww_free(e->files);
    ww_arena_free(e->arena);
    pthread_mutex_destroy(&e->lock);
    pthread_cond_destroy(&e->work);
    pthread_cond_destroy(&e->read);
    pthread_cond_destroy(&e->write);
    pthread_cond_destroy(&e->main);
}

/* With the lock held; released around the caller's function. */
static void report_progress(struct run *r)
{
    struct ww_engine *e = &r->engine;
    int64_t now = ww_now_ms();
    uint64_t done = e->done_bytes;
    struct ww_error err = {0};

    if (!e->options->progress || e->failed || now - r->reported_ms < PROGRESS_MS) {
        return;
    }
    r->reported_ms = now;
    pthread_mutex_unlock(&e->lock);
    if (e->options->progress(e->options->progress_payload, e->plan->title, done,
                             r->total_bytes)) {
        enum ww_err rc = WW_FAIL(&err, WW_E_CANCELLED, "interrupted");
        ww_engine_fail(e, rc, &err);
    }
    pthread_mutex_lock(&e->lock);
}

/* With the lock held; released around the kernels' close. */
static void close_pieces(struct run *r)
{
    struct ww_engine *e = &r->engine;
    struct ww_live *live = NULL;
    struct ww_error err = {0};

    while (!e->failed && (live = ww_list_pop(&e->closing)) != NULL) {
        pthread_mutex_unlock(&e->lock);
        enum ww_err rc = ww_live_close(e, live, true, &err);
        if (rc) {
            ww_engine_fail(e, rc, &err);
        }
        pthread_mutex_lock(&e->lock);
    }
}

/* Do what falls to this thread, then wait until something changes. Lock held. */
static void attend(struct run *r)
{
    struct ww_engine *e = &r->engine;
    struct timespec until;

    report_progress(r);
    close_pieces(r);
    if (e->failed) {
        return;
    }
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += PROGRESS_MS * 1000000L;
    if (until.tv_nsec >= 1000000000L) {
        until.tv_nsec -= 1000000000L;
        until.tv_sec++;
    }
    pthread_cond_timedwait(&e->main, &e->lock, &until);
}

static enum ww_err start_file(struct run *r, uint32_t output, struct ww_error *err)
{
    struct ww_engine *e = &r->engine;
    struct ww_file *file = &e->files[output];

    if (output == WW_NONE || output < r->next_file) {
        return WW_OK;
    }
    r->next_file = output + 1;
    enum ww_err rc = ww_sha_init(&file->sha, e->fast_sha, err);
    if (!rc) {
        rc = ww_sha_init(&file->leaf, e->fast_sha, err);
    }
    if (!rc && e->out) {
        rc = ww_out_open_file(e->out, &e->plan->outputs[output], &file->sink, err);
    }
    return rc;
}

static enum ww_err run_jobs(struct run *r, struct ww_error *err)
{
    struct ww_engine *e = &r->engine;

    for (;;) {
        struct ww_job *job = NULL;
        enum ww_err rc = ww_cut_next(r->cut, &job, err);
        if (rc || !job) {
            return rc;
        }
        rc = start_file(r, job->output, err);
        if (rc) {
            return rc;
        }
        pthread_mutex_lock(&e->lock);
        report_progress(r); /* kernels may take their time to open, and buffers be free */
        close_pieces(r);
        while (!e->failed && !ww_flow_admit(e, job)) {
            attend(r);
        }
        rc = e->failed;
        pthread_mutex_unlock(&e->lock);
        if (rc) {
            return rc;
        }
    }
}

static enum ww_err wait_for_all(struct run *r)
{
    struct ww_engine *e = &r->engine;

    pthread_mutex_lock(&e->lock);
    for (;;) {
        close_pieces(r);
        if (e->failed ||
            !(e->jobs_open || e->feeds_open || e->files_open || e->lives_open)) {
            break;
        }
        attend(r);
    }
    enum ww_err rc = e->failed;
    pthread_mutex_unlock(&e->lock);
    return rc;
}

static enum ww_err take_digests(struct ww_engine *e, struct ww_error *err)
{
    for (uint32_t i = 0; i < e->plan->n_inputs; i++) {
        if (e->feeds[i].wanted) {
            ww_sha_final(&e->feeds[i].sha, e->result->input_sha256[i]);
        }
        enum ww_err rc = WW_OK;
        if (e->walks[i].wanted) {
            rc = ww_input_walk_end(&e->input_walks[i], err);
        }
        if (!rc) {
            rc = ww_source_unchanged(&e->sources[i], err);
        }
        if (rc) {
            return rc;
        }
    }
    return WW_OK;
}

static enum ww_err run_all(struct run *r, struct ww_error *err)
{
    struct ww_engine *e = &r->engine;
    struct ww_error own = {0};

    enum ww_err rc = engine_init(e, &own);
    if (!rc) {
        rc = ww_cut_new(e, &r->cut, &own);
    }
    if (!rc) {
        e->files_open = e->plan->n_outputs;
        rc = ww_crew_start(e, &own);
    }
    if (!rc) {
        rc = run_jobs(r, &own);
    }
    if (!rc) {
        rc = wait_for_all(r);
    }
    if (rc) {
        ww_engine_fail(e, rc, &own); /* kept only when no thread failed before */
    }
    ww_crew_join(e);
    if (!rc) {
        rc = take_digests(e, &own);
        e->failed = rc;
        e->error = own;
    }
    if (rc && err) {
        *err = e->error;
    }
    rc = e->failed;
    ww_cut_free(r->cut);
    engine_release(e);
    return rc;
}

enum ww_err ww_stream_run(const struct ww_plan *plan, struct ww_out *out,
                          const struct ww_run_options *options,
                          struct ww_stream_result *result, struct ww_error *err)
{
    static const struct ww_run_options defaults = {0};

    *result = (struct ww_stream_result){0};
    enum ww_err rc = ww_plan_check(plan, err);
    if (rc) {
        return rc;
    }
    struct run *r = ww_calloc(1, sizeof(*r));
    if (!r) {
        return WW_FAIL_MEMORY(err, "a plan");
    }
    r->engine.plan = plan;
    r->engine.out = out;
    r->engine.options = options ? options : &defaults;
    r->engine.result = result;
    for (uint32_t i = 0; i < plan->n_outputs; i++) {
        r->total_bytes += plan->outputs[i].size_bytes;
    }
    int64_t begin = ww_now_ms();
    rc = run_all(r, err);
    result->report = r->engine.report;
    result->report.seconds = (double)(ww_now_ms() - begin) / 1000.0;
    ww_free(r);
    if (rc) {
        ww_stream_result_release(result);
    } else if (out) {
        out->complete = true;
    }
    return rc;
}

void ww_stream_result_release(struct ww_stream_result *result)
{
    ww_free(result->output_sha256);
    ww_free(result->input_sha256);
    ww_free(result->tensor_root);
    *result = (struct ww_stream_result){0};
}
