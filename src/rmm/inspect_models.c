/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Changes of models against their base, block by block: lengths, cosines and what is
 * unchanged of every tensor, spectra and sizes of matrices that are not too large. The
 * same block of all members is looked at before the next one.
 */
#include <math.h>
#include <string.h>

#include "codec/ordered.h"
#include "la/la.h"
#include "model/convert.h"
#include "rmm/base_use.h"
#include "rmm/dense.h"
#include "rmm/inspect.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/num.h"

#define BLOCK 256
#define LANES 8
#define MAX_SIDE 1024                    /* of a matrix whose spectrum is looked at */
#define MAX_ELEMENTS ((uint64_t)8 << 20) /* of it */

struct work {
    struct ww_inspecting *x;
    size_t n;
    uint32_t *found; /* per member: its tensor of the name, or WW_NONE */
    double *gram;
    double *changes;   /* n blocks */
    double *unchanged; /* numbers */
    double *norms;     /* [n * errors] squared, of what rates were measured on */
    double *errors;
    double *bits;
    double *numbers;
    uint64_t matrices; /* of the base that can be looked at, */
    uint64_t next;     /* and which of them is next */
};

static bool is_model(const struct ww_peek *p)
{
    return p->open && !p->adapter;
}

static inline __attribute__((always_inline)) size_t
count_same(const uint8_t *a, const uint8_t *b, unsigned width, size_t n)
{
    size_t same = 0;

    for (size_t k = 0; k < n; k++) {
        same += ww_ordered_load(a + k * width, width) ==
                ww_ordered_load(b + k * width, width);
    }
    return same;
}

/* Numbers that have the same bits in both; with a width that the compiler knows. */
static size_t n_same(const uint8_t *a, const uint8_t *b, size_t width, size_t n)
{
    if (width == 2) {
        return count_same(a, b, 2, n);
    }
    return width == 4 ? count_same(a, b, 4, n) : count_same(a, b, (unsigned)width, n);
}

/* n changes of the block at `at` (in numbers) of the chunk that was read last. */
static void changes_of(struct work *w, size_t i, enum ww_dtype dtype, size_t at, size_t n)
{
    const size_t width = ww_dtype_bits(dtype) / 8;
    const struct ww_peek *p = &w->x->peeks[i];
    double *to = w->changes + i * BLOCK;
    double base[BLOCK];

    ww_to_double(dtype, p->bytes + at * width, to, n);
    ww_to_double(dtype, p->prediction + at * width, base, n);
    for (size_t k = 0; k < n; k++) {
        const double change = to[k] - base[k];
        to[k] = isfinite(change) ? change : 0;
    }
    for (size_t k = n; k < BLOCK; k++) {
        to[k] = 0;
    }
    w->unchanged[i] +=
        (double)n_same(p->bytes + at * width, p->prediction + at * width, width, n);
}

/* In lanes, so that sums need not wait for each other. */
static double inner(const double *a, const double *b)
{
    double sums[LANES] = {0};
    double sum = 0;

    for (size_t k = 0; k < BLOCK; k += LANES) {
        for (size_t l = 0; l < LANES; l++) {
            sums[l] += a[k + l] * b[k + l];
        }
    }
    for (size_t l = 0; l < LANES; l++) {
        sum += sums[l];
    }
    return sum;
}

static void add_block(struct work *w)
{
    for (size_t i = 0; i < w->n; i++) {
        for (size_t j = 0; j <= i && w->found[i] != WW_NONE; j++) {
            const double sum = w->found[j] == WW_NONE ? 0
                                                      : inner(w->changes + i * BLOCK,
                                                              w->changes + j * BLOCK);
            w->gram[i * w->n + j] += sum;
            if (i != j) {
                w->gram[j * w->n + i] += sum;
            }
        }
    }
}

/* Numbers of the chunks of a dtype. */
static size_t per_chunk(enum ww_dtype dtype)
{
    return WW_CHUNK_BYTES / (ww_dtype_bits(dtype) / 8);
}

/* Changes of the block at `at` of the tensor; a member's chunk is read where it begins,
 * and those of wider dtypes have fewer numbers. */
static enum ww_err block(struct work *w, uint64_t at, size_t n, struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    for (size_t i = 0; i < w->n && !rc; i++) {
        struct ww_peek *p = &w->x->peeks[i];
        if (w->found[i] == WW_NONE) {
            continue;
        }
        const enum ww_dtype dtype = p->tensors[w->found[i]].dtype;
        const size_t place = (size_t)(at % per_chunk(dtype));
        if (place == 0) {
            size_t bytes = 0;
            rc = ww_peek_chunk(p, w->found[i], at / per_chunk(dtype), &bytes, err);
        }
        if (!rc) {
            changes_of(w, i, dtype, place, n);
        }
    }
    return rc;
}

static enum ww_err blocks(struct work *w, uint64_t n, struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    for (uint64_t at = 0; at < n && !rc; at += BLOCK) {
        rc = block(w, at, (size_t)ww_min_u64(BLOCK, n - at), err);
        if (!rc) {
            add_block(w);
        }
    }
    return rc;
}

/* A whole tensor's changes, and its bytes and the base's; the caller frees all. */
static enum ww_err whole(struct work *w, size_t i, double **changes, uint8_t **bytes,
                         uint8_t **base, struct ww_error *err)
{
    struct ww_peek *p = &w->x->peeks[i];
    const struct ww_peek_tensor *t = &p->tensors[w->found[i]];
    const size_t n = (size_t)t->n_elements;
    double *other = ww_calloc(n, sizeof(*other));
    size_t at = 0;
    enum ww_err rc = WW_OK;

    *changes = ww_calloc(n, sizeof(**changes));
    *bytes = ww_calloc(1, (size_t)t->part->bytes);
    *base = ww_calloc(1, (size_t)t->part->bytes);
    if (!other || !*changes || !*bytes || !*base) {
        rc = WW_FAIL_MEMORY(err, "looking into models");
    }
    for (uint64_t c = 0; c < t->part->n_chunks && !rc; c++) {
        size_t count = 0;
        rc = ww_peek_chunk(p, w->found[i], c, &count, err);
        if (!rc) {
            memcpy(*bytes + at, p->bytes, count);
            memcpy(*base + at, p->prediction, count);
            at += count;
        }
    }
    if (!rc) {
        ww_to_double(t->dtype, *bytes, *changes, n);
        ww_to_double(t->dtype, *base, other, n);
        for (size_t k = 0; k < n; k++) {
            (*changes)[k] -= other[k];
        }
    }
    ww_free(other);
    return rc;
}

static enum ww_err spectrum(struct work *w, size_t i, const struct ww_peek_tensor *t,
                            const double *changes, struct ww_error *err)
{
    const size_t rows = (size_t)t->shape[0];
    const size_t cols = (size_t)(t->n_elements / t->shape[0]);
    const size_t n = rows < cols ? rows : cols;
    double *gram = ww_calloc(n, n * sizeof(*gram));
    double *values = ww_calloc(n, sizeof(*values));
    double *falling = ww_calloc(n, sizeof(*falling));
    enum ww_err rc = gram && values && falling
                         ? ww_la_ready(err)
                         : WW_FAIL_MEMORY(err, "looking into models");

    if (!rc) {
        ww_la_syrk(rows < cols ? WW_LA_PLAIN : WW_LA_TRANSPOSED, n,
                   rows < cols ? cols : rows, 1, changes, cols, 0, gram);
        rc = ww_la_eigen(n, gram, values, err);
    }
    for (size_t k = 0; k < n && !rc; k++) {
        falling[k] = values[n - 1 - k] > 0 ? values[n - 1 - k] : 0;
    }
    if (!rc) {
        ww_inspect_spectrum(&w->x->report->members[i], falling, n);
    }
    ww_free(gram);
    ww_free(values);
    ww_free(falling);
    return rc;
}

/* What codec dense makes of the matrix within one error. */
static enum ww_err rate(struct work *w, size_t i, const struct ww_peek_tensor *t,
                        const uint8_t *bytes, const uint8_t *base, size_t e,
                        struct ww_error *err)
{
    const size_t at = i * WW_INSPECT_ERRORS + e;
    const size_t n_bytes = (size_t)t->part->bytes;
    const struct ww_dense_input in = {t->dtype, bytes, base, (size_t)t->n_elements};
    struct ww_dense_sums sums = {0};
    struct ww_dense dense;
    enum ww_err rc = ww_dense_fit(&in, ww_inspect_errors[e], &dense, err);

    if (rc || !dense.fits) {
        return rc;
    }
    for (size_t done = 0; done < n_bytes && !rc; done += WW_CHUNK_BYTES) {
        const size_t n =
            n_bytes - done < WW_CHUNK_BYTES ? n_bytes - done : WW_CHUNK_BYTES;
        const struct ww_chunk_plain plain = {ww_chunk_type_of(t->dtype), bytes + done,
                                             base + done, n};
        ww_buf_clear(&w->x->coded);
        rc = ww_chunk_dense_encode(w->x->room, &plain, &dense.levels, &w->x->coded, err);
        w->bits[at] += 8 * (double)w->x->coded.len;
    }
    ww_dense_measure(&in, &dense.levels, &sums);
    w->numbers[at] += (double)t->n_elements;
    w->norms[at] += sums.norm2;
    w->errors[at] += sums.error2;
    return rc;
}

static bool is_looked_at(const struct ww_tensor *t)
{
    const uint64_t cols = t->rank == 2 && t->shape[0] ? t->n_elements / t->shape[0] : 0;
    const uint64_t side = cols < t->shape[0] ? cols : t->shape[0];

    return side > 1 && side <= MAX_SIDE && t->n_elements <= MAX_ELEMENTS &&
           t->n_elements >= WW_DENSE_LEAST && ww_chunk_type_of(t->dtype).exponent_mask;
}

static uint64_t count_matrices(const struct ww_model *base)
{
    uint64_t n = 0;

    for (uint32_t t = 0; t < base->n_tensors; t++) {
        n += is_looked_at(&base->tensors[t]);
    }
    return n;
}

/* One of each run of neighbours, by a number that is as good as drawn: all layers are
 * there, and kinds as often as chance has it. Every seventh would be those of one kind.
 */
static bool is_sampled(const struct work *w)
{
    const uint64_t run = w->next * WW_INSPECT_SAMPLE / w->matrices;
    const uint64_t first = ww_div_up(run * w->matrices, WW_INSPECT_SAMPLE);
    const uint64_t end = ww_div_up((run + 1) * w->matrices, WW_INSPECT_SAMPLE);
    uint32_t drawn = (uint32_t)(run + 1) * UINT32_C(0x9e3779b9);

    drawn = (drawn ^ drawn >> 15) * UINT32_C(0x85ebca6b);
    drawn ^= drawn >> 13;
    return w->matrices <= WW_INSPECT_SAMPLE || w->next == first + drawn % (end - first);
}

static enum ww_err matrix(struct work *w, size_t i, struct ww_error *err)
{
    const struct ww_peek_tensor *t = &w->x->peeks[i].tensors[w->found[i]];
    double *changes = NULL;
    uint8_t *bytes = NULL;
    uint8_t *base = NULL;
    enum ww_err rc = whole(w, i, &changes, &bytes, &base, err);

    if (!rc && ww_count_nonfinite(t->dtype, bytes, t->n_elements) == 0 &&
        ww_count_nonfinite(t->dtype, base, t->n_elements) == 0) {
        rc = spectrum(w, i, t, changes, err);
        for (size_t e = 0; e < WW_INSPECT_ERRORS && !rc; e++) {
            rc = rate(w, i, t, bytes, base, e, err);
        }
    }
    ww_free(changes);
    ww_free(bytes);
    ww_free(base);
    return rc;
}

/* A tensor of the base in all members that were coded against it. */
static enum ww_err tensor(struct work *w, const struct ww_model *base, uint32_t t,
                          const struct ww_pack_manifest *m, struct ww_error *err)
{
    const enum ww_dtype dtype = base->tensors[t].dtype;
    bool any = false;
    const bool looked_at = is_looked_at(&base->tensors[t]);
    const bool sampled = looked_at && is_sampled(w);
    enum ww_err rc = WW_OK;

    w->next += looked_at;

    if (!ww_dtype_is_plain_float(dtype)) {
        return WW_OK; /* and none of its numbers is counted */
    }
    memset(w->gram, 0, w->n * w->n * sizeof(*w->gram));
    for (size_t i = 0; i < w->n; i++) {
        struct ww_peek *p = &w->x->peeks[i];
        w->found[i] = is_model(p) ? ww_peek_find(p, base->tensors[t].name) : WW_NONE;
        if (w->found[i] != WW_NONE && p->tensors[w->found[i]].base == WW_NONE) {
            w->found[i] = WW_NONE;
        }
        if (w->found[i] != WW_NONE) {
            any = true;
            w->x->report->members[i].numbers += base->tensors[t].n_elements;
        }
    }
    if (!any) {
        return WW_OK;
    }
    rc = ww_base_use_check_tensor(base, m, base->tensors[t].name, err);
    if (!rc) {
        rc = blocks(w, base->tensors[t].n_elements, err);
    }
    for (size_t i = 0; i < w->n && !rc && looked_at; i++) {
        if (w->found[i] != WW_NONE && w->gram[i * w->n + i] > 0) {
            w->x->report->members[i].of_matrices++;
            rc = sampled ? matrix(w, i, err) : WW_OK;
        }
    }
    if (!rc) {
        rc = ww_inspect_add(w->x, base->tensors[t].name, w->gram, err);
    }
    return rc ? rc : ww_pace_step(&w->x->pace, 1, err);
}

static void finish(struct work *w)
{
    for (size_t i = 0; i < w->n; i++) {
        struct ww_inspect_member *m = &w->x->report->members[i];
        if (!is_model(&w->x->peeks[i])) {
            continue;
        }
        m->unchanged =
            m->numbers > 0 ? w->unchanged[i] / (double)m->numbers : (double)NAN;
        for (size_t e = 0; e < WW_INSPECT_ERRORS; e++) {
            const size_t at = i * WW_INSPECT_ERRORS + e;
            if (w->numbers[at] > 0 && w->norms[at] > 0) {
                m->rates[m->n_rates++] = (struct ww_inspect_rate){
                    w->bits[at] / w->numbers[at], sqrt(w->errors[at] / w->norms[at])};
            }
        }
    }
}

enum ww_err ww_inspect_models(struct ww_inspecting *x, struct ww_error *err)
{
    const size_t n = x->report->n_members;
    const size_t points = n * WW_INSPECT_ERRORS;
    const struct ww_unpack_run *run = NULL;
    struct work w = {.x = x,
                     .n = n,
                     .found = ww_calloc(n, sizeof(*w.found)),
                     .gram = ww_calloc(n, n * sizeof(*w.gram)),
                     .changes = ww_calloc(n, BLOCK * sizeof(double)),
                     .unchanged = ww_calloc(n, sizeof(double)),
                     .norms = ww_calloc(points, sizeof(double)),
                     .errors = ww_calloc(points, sizeof(double)),
                     .bits = ww_calloc(points, sizeof(double)),
                     .numbers = ww_calloc(points, sizeof(double))};
    enum ww_err rc = WW_OK;

    if (!w.found || !w.gram || !w.changes || !w.unchanged || !w.norms || !w.errors ||
        !w.bits || !w.numbers) {
        rc = WW_FAIL_MEMORY(err, "looking into models");
    }
    for (size_t i = 0; i < n; i++) {
        run = is_model(&x->peeks[i]) ? &x->peeks[i].run : run;
    }
    w.matrices = run ? count_matrices(run->base) : 0;
    for (uint32_t t = 0; run && t < run->base->n_tensors && !rc; t++) {
        rc = tensor(&w, run->base, t, &run->file.manifest, err);
    }
    if (!rc) {
        finish(&w);
    }
    void *const all[] = {w.found, w.gram,   w.changes, w.unchanged,
                         w.norms, w.errors, w.bits,    w.numbers};
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        ww_free(all[i]);
    }
    return rc;
}
