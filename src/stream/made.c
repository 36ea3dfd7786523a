/* SPDX-License-Identifier: Apache-2.0 */
/* Files of a plan, piece by piece. */
#include "stream/made.h"

#include <string.h>

#include "stream/made_int.h"
#include "stream/plan.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"
#include "util/num.h"

struct ww_made_file {
    struct ww_made *made;
    const struct ww_output *output;
    uint64_t *starts; /* [n_pieces] */
    struct ww_reader reader;
};

enum ww_err ww_input_read(const struct ww_plan *plan, uint32_t input, void *out, size_t n,
                          uint64_t offset, struct ww_error *err)
{
    const struct ww_input *file = &plan->inputs[input];
    const struct ww_reader *reader = plan->readers ? plan->readers[input] : NULL;

    return reader ? reader->read(reader->payload, offset, out, n, err)
                  : ww_pread_full(file->fd, out, n, offset, file->name, err);
}

static enum ww_err read_piece(struct ww_made *m, const struct ww_piece *piece,
                              uint64_t at, uint8_t *out, uint64_t n, struct ww_error *err)
{
    switch (piece->kind) {
    case WW_PIECE_BYTES:
        memcpy(out, piece->bytes + at, n);
        return WW_OK;
    case WW_PIECE_COPY:
        return ww_input_read(m->plan, piece->sources[0].input, out, n,
                             piece->sources[0].offset + at, err);
    case WW_PIECE_KERNEL:
        break;
    }
    return ww_made_read(m, piece, at, out, n, err);
}

/* The last piece that begins at or before the offset. */
static uint32_t find_piece(const struct ww_made_file *f, uint64_t offset)
{
    uint32_t low = 0;
    uint32_t high = f->output->n_pieces;

    while (high - low > 1) {
        const uint32_t mid = low + (high - low) / 2;
        if (f->starts[mid] <= offset) {
            low = mid;
        } else {
            high = mid;
        }
    }
    return low;
}

static enum ww_err read_file(void *payload, uint64_t offset, void *out, size_t len,
                             struct ww_error *err)
{
    const struct ww_made_file *f = payload;
    uint8_t *to = out;
    uint64_t left = len;
    enum ww_err rc = WW_OK;

    if (offset > f->output->size_bytes || len > f->output->size_bytes - offset) {
        return WW_FAIL(err, WW_E_INTERNAL, "a read beyond the end of '%s'",
                       f->output->path);
    }
    for (uint32_t p = left ? find_piece(f, offset) : 0; left > 0 && !rc; p++) {
        const struct ww_piece *piece = &f->output->pieces[p];
        const uint64_t at = offset - f->starts[p];
        const uint64_t n = ww_min_u64(left, piece->n_bytes - at);
        if (n > 0) {
            rc = read_piece(f->made, piece, at, to, n, err);
        }
        to += n;
        offset += n;
        left -= n;
    }
    return rc;
}

static enum ww_err set_file(struct ww_made *m, uint32_t i, struct ww_error *err)
{
    struct ww_made_file *f = &m->files[i];
    uint64_t at = 0;

    f->made = m;
    f->output = &m->plan->outputs[i];
    f->reader = (struct ww_reader){read_file, f};
    f->starts = ww_calloc(ww_max_u64(1, f->output->n_pieces), sizeof(*f->starts));
    if (!f->starts) {
        return WW_FAIL_MEMORY(err, "a plan");
    }
    for (uint32_t p = 0; p < f->output->n_pieces; p++) {
        f->starts[p] = at;
        at += f->output->pieces[p].n_bytes;
    }
    return WW_OK;
}

enum ww_err ww_made_new(const struct ww_plan *plan, struct ww_made **out,
                        struct ww_error *err)
{
    struct ww_made *m = NULL;
    enum ww_err rc = ww_plan_check(plan, err);

    *out = NULL;
    if (rc) {
        return rc;
    }
    m = ww_calloc(1, sizeof(*m));
    if (!m) {
        return WW_FAIL_MEMORY(err, "a plan");
    }
    m->plan = plan;
    pthread_mutex_init(&m->opening, NULL);
    pthread_mutex_init(&m->lock, NULL);
    pthread_cond_init(&m->freed, NULL);
    m->files = ww_calloc(ww_max_u64(1, plan->n_outputs), sizeof(*m->files));
    if (!m->files) {
        rc = WW_FAIL_MEMORY(err, "a plan");
    }
    for (uint32_t i = 0; i < plan->n_outputs && !rc; i++) {
        rc = set_file(m, i, err);
    }
    if (rc) {
        ww_made_free(m);
        return rc;
    }
    *out = m;
    return WW_OK;
}

void ww_made_free(struct ww_made *m)
{
    if (!m) {
        return;
    }
    for (unsigned i = 0; i < WW_MADE_OPEN; i++) {
        (void)!ww_made_shut(&m->open[i],
                            NULL); /* kernels that made bytes for readers only */
    }
    for (unsigned i = 0; i < WW_MADE_TILES; i++) {
        ww_free(m->tiles[i].bytes);
    }
    for (uint32_t i = 0; m->files && i < m->plan->n_outputs; i++) {
        ww_free(m->files[i].starts);
    }
    ww_free(m->files);
    pthread_mutex_destroy(&m->opening);
    pthread_mutex_destroy(&m->lock);
    pthread_cond_destroy(&m->freed);
    ww_free(m);
}

const struct ww_reader *ww_made_reader(const struct ww_made *made, uint32_t output)
{
    return &made->files[output].reader;
}
