/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A kernel that looks at its sources before it makes the first tile would read them once
 * more than its tiles do. Where they fit the buffers they are read before it is opened,
 * and the same loads serve the tiles and the digests. A job without output takes the
 * memory, so that all waiting for memory is in one place.
 *
 * Small pieces are gathered into one job and read by their kernels: that is one reading
 * of the page cache more of very few bytes. One piece at most is ahead of its jobs, and
 * takes at most half of the buffers, or 3/8 where files come from a disk; what is held
 * for another piece by then is of jobs that were admitted, so it comes free.
 */
#include "stream/engine.h"
#include "util/fail.h"

#define LEAST_BYTES (WW_MIB / 2)
#define JOB_ENDS WW_MIB /* that the ranges of a job's loads take beyond its bytes */

static uint64_t bytes_of_source(const struct ww_piece *piece)
{
    return piece->source_row_bytes ? piece->n_rows * piece->source_row_bytes
                                   : piece->n_bytes;
}

/* What is not held may lie in one range more than there are sources. A job of a quarter
 * of the buffers has to find room there when nothing else is held, though the end of each
 * range is too short for what comes next; else nobody would ever go on. */
static bool leaves_room(const struct ww_engine *e, const struct ww_piece *piece,
                        uint64_t held, uint64_t job_bytes)
{
    const uint64_t ends = (piece->n_sources + 1) * (job_bytes + 2 * WW_IO_PAGE);

    return ends + e->arena_bytes / 4 + JOB_ENDS <= e->arena_bytes - held;
}

/* Of a disk the next piece is read while this one is worked on, and both need room. */
static uint64_t most_held(struct ww_engine *e)
{
    pthread_mutex_lock(&e->lock);
    const bool slow = e->slow;
    pthread_mutex_unlock(&e->lock);
    return slow ? e->arena_bytes / 8 * 3 : e->arena_bytes / 2;
}

bool ww_early_wanted(struct ww_engine *e, const struct ww_piece *piece,
                     uint64_t job_bytes)
{
    const uint64_t each = bytes_of_source(piece) + 2 * WW_IO_PAGE;

    return piece->kind == WW_PIECE_KERNEL && piece->lend && piece->n_sources > 0 &&
           each >= LEAST_BYTES && each <= most_held(e) / piece->n_sources &&
           leaves_room(e, piece, each * piece->n_sources, job_bytes);
}

enum ww_err ww_early_job(struct ww_engine *e, const struct ww_piece *piece,
                         struct ww_early *early, struct ww_job **out,
                         struct ww_error *err)
{
    struct ww_job *job = ww_job_new(e);
    enum ww_err rc = job ? WW_OK : WW_FAIL_MEMORY(err, "a job of the executor");

    for (uint32_t s = 0; s < piece->n_sources && !rc; s++) {
        const struct ww_piece_source *source = &piece->sources[s];
        struct ww_load *load =
            ww_load_new(e, source->input, source->offset, bytes_of_source(piece));
        if (!load) {
            return WW_FAIL_MEMORY(err, "a job of the executor");
        }
        load->whole = true;
        load->early = true;
        load->refs = 1; /* of the piece */
        early->loads[s] = load;
        rc = ww_job_add_load(e, job, load, err);
    }
    early->n = piece->n_sources;
    *out = job;
    return rc;
}

static bool are_ready(const struct ww_early *early)
{
    for (uint32_t s = 0; s < early->n; s++) {
        if (!early->loads[s]->ready) {
            return false;
        }
    }
    return true;
}

enum ww_err ww_early_wait(struct ww_engine *e, const struct ww_early *early)
{
    pthread_mutex_lock(&e->lock);
    while (!e->failed && !are_ready(early)) {
        pthread_cond_wait(&e->main, &e->lock);
    }
    const enum ww_err rc = e->failed;
    pthread_mutex_unlock(&e->lock);
    return rc;
}
