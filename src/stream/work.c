/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tiles and reads, done without the lock. Kernels read the loads and write the output
 * buffer in place, and the digests read those same buffers: no byte is copied but by the
 * kernel. A tile that does not begin on 8 bytes (an odd header, a run of odd-sized
 * tensors before it) is made beside and copied, so that kernels may store whole words.
 */
#include <string.h>

#include "stream/engine.h"
#include "stream/worker.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/num.h"

#define OUT_ALIGN 8u
#define SCRATCH_ALIGN 64u

enum ww_err ww_worker_init(struct ww_worker *w, bool fast_sha, struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    w->pointers = ww_calloc(WW_TILE_POINTERS, sizeof(*w->pointers));
    if (!w->pointers) {
        return WW_FAIL_MEMORY(err, "a worker");
    }
    for (size_t i = 0; i < WW_LEN(w->lanes) && !rc; i++) {
        rc = ww_sha_init(&w->lanes[i].own, fast_sha, err);
    }
    return rc;
}

void ww_worker_release(struct ww_worker *w)
{
    ww_free(w->pointers);
    ww_free(w->scratch);
    for (size_t i = 0; i < WW_LEN(w->lanes); i++) {
        ww_sha_release(&w->lanes[i].own);
    }
}

static enum ww_err scratch_of(struct ww_worker *w, uint64_t n, struct ww_error *err)
{
    if (n <= w->scratch_bytes) {
        return WW_OK;
    }
    ww_free(w->scratch);
    w->scratch_bytes = 0;
    w->scratch = ww_alloc_aligned(SCRATCH_ALIGN, n);
    if (!w->scratch) {
        return WW_FAIL_MEMORY(err, "a tile");
    }
    w->scratch_bytes = n;
    return WW_OK;
}

static const uint8_t *source_row(const struct ww_part *part, uint32_t s, uint64_t row)
{
    const struct ww_live *live = part->live;
    const struct ww_part_source *source = &part->sources[s];
    uint64_t at = row;

    if (part->slots) {
        at = part->slots[row - part->first_row];
    } else if (live->row_map) {
        at = live->row_map[row] - part->base_row;
    } else {
        at = row - part->base_row;
    }
    return source->load->data + source->at + at * live->source_row_bytes;
}

static enum ww_err run_kernel(struct ww_worker *w, const struct ww_part *part,
                              uint64_t tile, uint64_t n_rows, uint8_t *out,
                              struct ww_lane *lane, struct ww_error *err)
{
    const struct ww_live *live = part->live;
    const uint8_t *const *rows[WW_MAX_SOURCES];
    struct ww_sha_rest beside = {0};
    enum ww_err rc = WW_OK;
    struct ww_tile t = {
        .first_row = tile * live->tile_rows,
        .n_rows = n_rows,
        .row_bytes = live->row_bytes,
        .rows = rows,
        .n_sources = live->piece->n_sources,
        .tile_index = tile,
        .n_tiles = live->n_tiles,
        .out = out,
    };
    const uint8_t **next = w->pointers;

    for (uint32_t s = 0; s < t.n_sources; s++) {
        rows[s] = next;
        for (uint64_t i = 0; i < n_rows; i++) {
            *next++ = source_row(part, s, t.first_row + i);
        }
    }
    if (lane) {
        beside = (struct ww_sha_rest){lane->sha, lane->p, lane->n};
        t.beside = &beside;
    }
    rc = live->piece->kernel->run(live->state, &t, err);
    if (lane) {
        lane->p = beside.p;
        lane->n = beside.n;
    }
    return rc;
}

enum ww_err ww_work_tile(struct ww_worker *w, const struct ww_job *job,
                         const struct ww_part *part, uint64_t tile, struct ww_lane *lane,
                         struct ww_error *err)
{
    const struct ww_live *live = part->live;
    const struct ww_piece *piece = live->piece;
    uint64_t first = tile * live->tile_rows;
    uint64_t n_rows = ww_min_u64(live->tile_rows, live->n_rows - first);
    uint64_t n_bytes = n_rows * live->row_bytes;
    uint64_t at = (first - part->first_row) * live->row_bytes;
    uint8_t *out = job->out + part->out_at + at;

    switch (piece->kind) {
    case WW_PIECE_BYTES:
        memcpy(out, piece->bytes + part->piece_offset + at, n_bytes);
        return WW_OK;
    case WW_PIECE_COPY:
        memcpy(out, part->sources[0].load->data + part->sources[0].at + at, n_bytes);
        return WW_OK;
    case WW_PIECE_KERNEL:
        break;
    }
    if ((uintptr_t)out % OUT_ALIGN == 0) {
        return run_kernel(w, part, tile, n_rows, out, lane, err);
    }
    enum ww_err rc = scratch_of(w, n_bytes, err);
    if (rc) {
        return rc;
    }
    rc = run_kernel(w, part, tile, n_rows, w->scratch, lane, err);
    if (!rc) {
        memcpy(out, w->scratch, n_bytes);
    }
    return rc;
}

static enum ww_err read_rows(const struct ww_source *source, const struct ww_load *load,
                             struct ww_error *err)
{
    size_t i = 0;
    while (i < load->n_rows) {
        size_t n = 1;
        while (i + n < load->n_rows && load->rows[i + n] == load->rows[i] + n) {
            n++;
        }
        enum ww_err rc = ww_source_read_any(
            source, load->buf + i * load->row_bytes,
            load->offset + load->rows[i] * load->row_bytes, n * load->row_bytes, err);
        if (rc) {
            return rc;
        }
        i += n;
    }
    return WW_OK;
}

enum ww_err ww_work_read(struct ww_engine *e, const struct ww_load *load, uint64_t at,
                         uint64_t n, struct ww_error *err)
{
    struct ww_source *source = &e->sources[load->input];
    if (load->rows) {
        return read_rows(source, load, err);
    }
    uint64_t begin = load->offset - load->offset % WW_IO_PAGE;
    uint64_t end = load->offset + load->n_bytes;
    return ww_source_read(source, load->buf + at, begin + at,
                          ww_min_u64(n, end - begin - at), n, err);
}
