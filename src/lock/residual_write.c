/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Differences are noted as the tensor is locked, in whatever order its rows come, and
 * coded when all are there: static tables need the counts first. That costs memory for
 * one tensor at a time and nothing in the file.
 */
#include <string.h>

#include "codec/rans.h"
#include "lock/residual.h"
#include "lock/residual_symbol.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/num.h"

struct ww_residual_writer {
    struct ww_residual_shape shape;
    unsigned width;
    uint8_t *folded;   /* width bytes each */
    uint8_t *contexts; /* one each */
    struct ww_rans_table *tables;
    struct ww_rans_step *steps;
    uint16_t *scratch;
    size_t n_room; /* of steps and scratch */
    struct ww_buf body;
    uint32_t *lengths; /* bytes of each line */
};

enum ww_err ww_residual_writer_new(const struct ww_residual_shape *shape,
                                   struct ww_residual_writer **out, struct ww_error *err)
{
    const unsigned width = ww_dtype_bits(shape->dtype) / 8;
    struct ww_residual_writer *w = ww_calloc(1, sizeof(*w));
    uint64_t n = 0;

    *out = NULL;
    if (w && ww_mul_u64(shape->n_lines, shape->line, &n) && n <= SIZE_MAX / 8) {
        w->shape = *shape;
        w->width = width;
        ww_buf_init(&w->body, WW_RESIDUAL_MAX);
        w->folded = ww_calloc((size_t)n, width);
        w->contexts = ww_calloc((size_t)n, 1);
        w->tables = ww_calloc(WW_RESIDUAL_CONTEXTS, sizeof(*w->tables));
        w->lengths = ww_calloc((size_t)shape->n_lines, sizeof(*w->lengths));
    }
    if (!w || !w->folded || !w->contexts || !w->tables || !w->lengths) {
        ww_residual_writer_free(w);
        return WW_FAIL_MEMORY(err, "the residual of a tensor");
    }
    *out = w;
    return WW_OK;
}

void ww_residual_writer_free(struct ww_residual_writer *w)
{
    if (!w) {
        return;
    }
    ww_free(w->folded);
    ww_free(w->contexts);
    ww_free(w->tables);
    ww_free(w->steps);
    ww_free(w->scratch);
    ww_free(w->lengths);
    if (w->folded) {
        ww_buf_release(&w->body);
    }
    ww_free(w);
}

void ww_residual_note(struct ww_residual_writer *w, uint64_t line,
                      const uint8_t *predicted, const uint8_t *original,
                      const int16_t *levels)
{
    const unsigned width = w->width;
    const size_t n = (size_t)w->shape.line;
    uint8_t *folded = w->folded + line * n * width;
    uint8_t *contexts = w->contexts + line * n;

    for (size_t i = 0; i < n; i++) {
        const uint64_t p =
            ww_ordered_of(ww_ordered_load(predicted + i * width, width), width);
        const uint64_t o =
            ww_ordered_of(ww_ordered_load(original + i * width, width), width);
        const uint64_t f = ww_ordered_fold(o, p, width);
        double value = 0;
        memcpy(folded + i * width, &f, width);
        ww_to_double(w->shape.dtype, predicted + i * width, &value, 1);
        contexts[i] = (uint8_t)ww_residual_context(w->shape.dtype, value, levels[i]);
    }
}

static uint64_t n_numbers(const struct ww_residual_writer *w)
{
    return w->shape.n_lines * w->shape.line;
}

static enum ww_err make_tables(struct ww_residual_writer *w, struct ww_error *err)
{
    uint64_t(*counts)[WW_RESIDUAL_TOKENS] =
        ww_calloc(WW_RESIDUAL_CONTEXTS, sizeof(*counts));
    unsigned n_raw = 0;

    if (!counts) {
        return WW_FAIL_MEMORY(err, "the residual of a tensor");
    }
    for (uint64_t i = 0; i < n_numbers(w); i++) {
        const uint64_t f = ww_ordered_load(w->folded + i * w->width, w->width);
        counts[w->contexts[i]][ww_residual_token(f, &n_raw)]++;
    }
    for (unsigned c = 0; c < WW_RESIDUAL_CONTEXTS; c++) {
        uint64_t total = 0;
        for (unsigned t = 0; t < WW_RESIDUAL_TOKENS; t++) {
            total += counts[c][t];
        }
        if (total > 0) {
            ww_rans_table_make(&w->tables[c], counts[c], WW_RESIDUAL_TOKENS);
        }
    }
    ww_free(counts);
    return WW_OK;
}

static size_t count_steps(const struct ww_residual_writer *w, uint64_t first)
{
    size_t n = 0;

    for (uint64_t i = first; i < first + w->shape.line; i++) {
        unsigned n_raw = 0;
        ww_residual_token(ww_ordered_load(w->folded + i * w->width, w->width), &n_raw);
        n += 1 + (n_raw + WW_RANS_BITS - 1) / WW_RANS_BITS;
    }
    return n;
}

static enum ww_err make_room(struct ww_residual_writer *w, size_t n, struct ww_error *err)
{
    struct ww_rans_step *steps = NULL;
    uint16_t *scratch = NULL;

    if (n <= w->n_room) {
        return WW_OK;
    }
    steps = ww_realloc_array(w->steps, n, sizeof(*steps));
    w->steps = steps ? steps : w->steps;
    scratch = ww_realloc_array(w->scratch, n, sizeof(*scratch));
    w->scratch = scratch ? scratch : w->scratch;
    if (!steps || !scratch) {
        return WW_FAIL_MEMORY(err, "the residual of a tensor");
    }
    w->n_room = n;
    return WW_OK;
}

static enum ww_err code_line(struct ww_residual_writer *w, uint64_t line,
                             struct ww_error *err)
{
    const uint64_t first = line * w->shape.line;
    const size_t before = w->body.len;
    size_t n = 0;
    enum ww_err rc = make_room(w, count_steps(w, first), err);

    if (rc) {
        return rc;
    }
    for (uint64_t i = first; i < first + w->shape.line; i++) {
        const uint64_t f = ww_ordered_load(w->folded + i * w->width, w->width);
        unsigned left = 0;
        const unsigned token = ww_residual_token(f, &left);
        w->steps[n++] = ww_rans_step_of(&w->tables[w->contexts[i]], token);
        while (left > 0) {
            const unsigned take = left < WW_RANS_BITS ? left : WW_RANS_BITS;
            left -= take;
            w->steps[n++] = ww_rans_raw((uint32_t)(f >> left) & ((1u << take) - 1), take);
        }
    }
    rc = ww_rans_encode(w->steps, n, w->scratch, &w->body, err);
    w->lengths[line] = (uint32_t)(w->body.len - before);
    return rc;
}

static enum ww_err add_varint(struct ww_buf *out, uint32_t v, struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    do {
        const uint8_t byte = (uint8_t)((v & 127) | (v > 127 ? 128 : 0));
        rc = ww_buf_add(out, &byte, 1, err);
        v >>= 7;
    } while (v > 0 && !rc);
    return rc;
}

static enum ww_err write_head(const struct ww_residual_writer *w, struct ww_buf *out,
                              struct ww_error *err)
{
    static const uint8_t none = 0;
    enum ww_err rc = ww_buf_add_u32le(out, w->width, err);

    if (!rc) {
        rc = ww_buf_add_u64le(out, w->shape.n_lines, err);
    }
    if (!rc) {
        rc = ww_buf_add_u64le(out, w->shape.line, err);
    }
    for (unsigned c = 0; c < WW_RESIDUAL_CONTEXTS && !rc; c++) {
        rc = w->tables[c].n ? ww_rans_table_write(&w->tables[c], out, err)
                            : ww_buf_add(out, &none, 1, err);
    }
    for (uint64_t l = 0; l < w->shape.n_lines && !rc; l++) {
        rc = add_varint(out, w->lengths[l], err);
    }
    return rc;
}

enum ww_err ww_residual_finish(struct ww_residual_writer *w, struct ww_buf *out,
                               struct ww_error *err)
{
    enum ww_err rc = make_tables(w, err);

    for (uint64_t l = 0; l < w->shape.n_lines && !rc; l++) {
        rc = code_line(w, l, err);
    }
    if (!rc) {
        rc = write_head(w, out, err);
    }
    if (!rc) {
        rc = ww_buf_add(out, w->body.data, w->body.len, err);
    }
    return rc;
}
