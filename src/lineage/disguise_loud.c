/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What came after a lock, noise or training, was added to weights that the lock had
 * scaled, and is as much longer or shorter where that is undone. Rows of different
 * factors lie at different distances from the base then: that tells how long it is at
 * factor one. Like a rounding step it weighs less what has more of it.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "attack/attack_view.h"
#include "lineage/disguise.h"
#include "model/convert.h"
#include "model/elements.h"
#include "model/f8.h"
#include "stream/cpus.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/num.h"

#define PIECES 64
#define PIECE 1024
#define CLASSES 33 /* exponents of factors, -16 to 16 */
#define LEAST 256  /* elements that tell */
#define LOUD 16    /* times as far from the base, squared, as what is nearest */

#define NOTHING 1e15 /* no such step leaves anything */
#define SHOWS 0.02   /* unexplained; what was added leaves 0.005 */

/* The locked model's files with ones in place of weights. */
struct ones {
    const struct ww_model *model;
    uint32_t file;
    struct ww_reader reader;
};

struct loud {
    struct ww_disguise inner; /* with a lock */
    struct ones *ones;        /* by file */
    struct ww_attack_view *view;
    struct ww_weight_file *files;
    struct ww_model factors; /* its elements: by what those of the suspect were undone */
    struct loudness {
        double step; /* at factor one; 0: not told */
        double most; /* longer ones leave nothing */
    } * tensors;
};

static void free_loud(void *payload)
{
    struct loud *l = payload;

    ww_attack_view_free(l->view);
    ww_disguise_leave(&l->inner);
    ww_free(l->ones);
    ww_free(l->files);
    ww_free(l->tensors);
    ww_free(l);
}

/* The file's tensors rise with their offsets: the first one that ends behind a byte. */
static uint32_t first_behind(const struct ones *ones, uint64_t offset)
{
    const struct ww_weight_file *file = &ones->model->files[ones->file];
    uint32_t low = file->first_tensor;
    uint32_t high = low + file->n_tensors;

    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        const struct ww_tensor *t = &ones->model->tensors[middle];
        if (t->offset + t->n_bytes <= offset) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static enum ww_err read_ones(void *payload, uint64_t offset, void *out, size_t len,
                             struct ww_error *err)
{
    const struct ones *ones = payload;
    const struct ww_weight_file *file = &ones->model->files[ones->file];
    const uint32_t last = file->first_tensor + file->n_tensors;
    const double one = 1;
    uint8_t *to = out;

    (void)err;
    memset(to, 0, len);
    for (uint32_t t = first_behind(ones, offset);
         t < last && ones->model->tensors[t].offset < offset + len; t++) {
        const struct ww_tensor *tensor = &ones->model->tensors[t];
        const size_t size = ww_dtype_bits(tensor->dtype) / 8;
        const uint64_t end = ww_min_u64(offset + len, tensor->offset + tensor->n_bytes);
        uint8_t bytes[sizeof(double)] = {0};
        if (!ww_dtype_is_plain_float(tensor->dtype)) {
            continue;
        }
        ww_from_double(tensor->dtype, &one, bytes, 1);
        for (uint64_t at = ww_max_u64(offset, tensor->offset); at < end; at++) {
            to[at - offset] = bytes[(at - tensor->offset) % size];
        }
    }
    return WW_OK;
}

/* Values and the steps that are known of them, 0 where these are the dtype's. */
static enum ww_err read_inner(const struct loud *l, uint32_t tensor, uint64_t first,
                              size_t n, uint8_t *bytes, double *values, double *steps,
                              struct ww_error *err)
{
    if (l->inner.read) {
        return ww_disguise_values(&l->inner, tensor, first, n, values, steps, err);
    }
    memset(steps, 0, n * sizeof(*steps));
    return ww_elements_double(l->inner.model, tensor, first, n, bytes, values, err);
}

static enum ww_err read_loud(void *payload, uint32_t tensor, uint64_t first, size_t n,
                             const struct ww_disguise_pair *out, struct ww_error *err)
{
    const struct loud *l = payload;
    double *factors = ww_calloc(2 * n + 1, sizeof(*factors));
    uint8_t *bytes = factors ? (uint8_t *)(factors + n) : NULL;
    enum ww_err rc = factors ? WW_OK : WW_FAIL_MEMORY(err, "a locked suspect");

    rc = rc ? rc : read_inner(l, tensor, first, n, bytes, out->first, out->second, err);
    rc = rc ? rc : ww_elements_double(&l->factors, tensor, first, n, bytes, factors, err);
    for (size_t e = 0; e < n && !rc; e++) {
        const double step = l->tensors[tensor].step * fabs(factors[e]);
        const bool lost = step > l->tensors[tensor].most ||
                          (out->first[e] == 0 && !l->inner.read); /* it was pruned */
        out->second[e] = lost ? WW_STEP_LOST : hypot(step, out->second[e]);
    }
    ww_free(factors);
    return rc;
}

static enum ww_err unchanged(void *payload, struct ww_error *err)
{
    const struct loud *l = payload;

    return ww_disguise_unchanged(&l->inner, err);
}

static bool is_dense(const void *payload, uint32_t tensor)
{
    const struct loud *l = payload;

    return l->inner.dense(l->inner.payload, tensor);
}

struct look {
    uint8_t bytes[PIECE * sizeof(double)];
    double suspect[PIECE];
    double base[PIECE];
    double factors[PIECE];
    double steps[PIECE];
    struct sums {
        double n;
        double squares; /* of distances from the base */
        double rounded; /* as many as rounding explains */
        double factors; /* squared */
    } classes[CLASSES]; /* by factor */
};

static void add(struct sums *to, const struct sums *more)
{
    to->n += more->n;
    to->squares += more->squares;
    to->rounded += more->rounded;
    to->factors += more->factors;
}

static enum ww_err look_at(const struct loud *l, uint32_t t, const struct ww_model *base,
                           uint32_t b, struct look *look, struct ww_error *err)
{
    const uint64_t all =
        ww_min_u64(l->inner.model->tensors[t].n_elements, base->tensors[b].n_elements);
    const uint64_t every = ww_max_u64(PIECE, all / PIECES);
    enum ww_err rc = WW_OK;

    memset(look->classes, 0, sizeof(look->classes));
    for (uint64_t at = 0; at < all && !rc; at += every) {
        const size_t n = (size_t)ww_min_u64(PIECE, all - at);
        rc = read_inner(l, t, at, n, look->bytes, look->suspect, look->steps, err);
        rc = rc ? rc : ww_elements_double(base, b, at, n, look->bytes, look->base, err);
        rc = rc ? rc
                : ww_elements_double(&l->factors, t, at, n, look->bytes, look->factors,
                                     err);
        for (size_t e = 0; e < n && !rc; e++) {
            const double away = look->suspect[e] - look->base[e];
            const double step = look->steps[e];
            const int class = ilogb(look->factors[e]) + CLASSES / 2;
            /* What was pruned lies far from the base whatever its factor. */
            const bool pruned = look->suspect[e] == 0 && !l->inner.read;
            if (class >= 0 && class < CLASSES && !pruned && step < NOTHING) {
                add(&look->classes[class],
                    &(struct sums){1, away * away, step * step / 12,
                                   look->factors[e] * look->factors[e]});
            }
        }
    }
    return rc;
}

static int by_size(const void *a, const void *b)
{
    const double x = *(const double *)a;
    const double y = *(const double *)b;

    return (x > y) - (x < y);
}

/* Classes from the smallest factor on, together until they tell; how many that makes. A
 * narrow matrix has few rows of each factor. */
static size_t gather(const struct look *look, struct sums *out)
{
    struct sums rest = {0};
    size_t n = 0;

    for (int c = 0; c < CLASSES; c++) {
        add(&rest, &look->classes[c]);
        if (rest.n >= LEAST) {
            out[n++] = rest;
            rest = (struct sums){0};
        }
    }
    if (n > 0) {
        add(&out[n - 1], &rest);
    }
    return n;
}

/* What factors brought, beside the rows that are nearest, is a step's square / 12: the
 * median of what classes say. One that brings as much as all there is without it leaves
 * nothing. */
static struct loudness loudness_of(const struct look *look)
{
    struct sums groups[CLASSES];
    double told[CLASSES];
    double least = INFINITY;
    const size_t n_groups = gather(look, groups);
    size_t n = 0;

    for (size_t g = 0; g < n_groups; g++) {
        least = fmin(least, groups[g].squares / groups[g].n);
    }
    for (size_t g = 0; g < n_groups; g++) {
        const double nearest = groups[g].n * least;
        const double brought = groups[g].squares - nearest - groups[g].rounded;
        if (brought > (LOUD - 1) * nearest && brought > groups[g].rounded) {
            told[n++] = brought / groups[g].factors;
        }
    }
    qsort(told, n, sizeof(*told), by_size);
    return n > 0 ? (struct loudness){sqrt(12 * told[n / 2]), sqrt(12 * least)}
                 : (struct loudness){0, 0};
}

static enum ww_err measure(struct loud *l, const struct ww_model *base,
                           const struct ww_run_options *run, bool *loud,
                           struct ww_error *err)
{
    const struct ww_model *model = l->inner.model;
    struct look *look = ww_calloc(1, sizeof(*look));
    enum ww_err rc = look ? WW_OK : WW_FAIL_MEMORY(err, "a locked suspect");

    for (uint32_t t = 0; t < model->n_tensors && !rc; t++) {
        const uint32_t b = ww_model_find(base, model->tensors[t].name);
        if (b == WW_NONE || !ww_dtype_is_plain_float(model->tensors[t].dtype) ||
            !ww_dtype_is_plain_float(base->tensors[b].dtype) ||
            model->tensors[t].rank < 2 ||
            (l->inner.dense && l->inner.dense(l->inner.payload, t))) {
            continue;
        }
        rc = ww_run_progress(run, "looking", t, model->n_tensors, err);
        rc = rc ? rc : look_at(l, t, base, b, look, err);
        l->tensors[t] = rc ? (struct loudness){0, 0} : loudness_of(look);
        *loud = *loud || l->tensors[t].step > 0;
    }
    ww_free(look);
    return rc;
}

static enum ww_err open_factors(struct loud *l, struct ww_error *err)
{
    const struct ww_model *model = l->inner.locked;
    const struct ww_reader **readers = ww_calloc(model->n_files + 1, sizeof(*readers));
    enum ww_err rc = WW_OK;

    l->ones = ww_calloc(model->n_files + 1, sizeof(*l->ones));
    l->files = ww_calloc(model->n_files + 1, sizeof(*l->files));
    l->tensors = ww_calloc(model->n_tensors + (size_t)1, sizeof(*l->tensors));
    if (!readers || !l->ones || !l->files || !l->tensors) {
        ww_free(readers);
        return WW_FAIL_MEMORY(err, "a locked suspect");
    }
    for (uint32_t f = 0; f < model->n_files; f++) {
        l->ones[f] = (struct ones){model, f, {read_ones, &l->ones[f]}};
        readers[f] = &l->ones[f].reader;
    }
    rc = ww_attack_view_beside(l->inner.lock, readers, &l->view, err);
    l->factors = *model;
    l->factors.files = l->files;
    for (uint32_t f = 0; f < model->n_files && !rc; f++) {
        l->files[f] = model->files[f];
        l->files[f].reader = ww_attack_view_reader(l->view, f);
    }
    ww_free(readers);
    return rc;
}

static enum ww_err take(struct loud *l, struct ww_disguise *out, struct ww_error *err)
{
    char *text = ww_asprintf("%s, what was added after it weighed by its factors",
                             l->inner.undone);

    if (!text) {
        return WW_FAIL_MEMORY(err, "a note");
    }
    *out = (struct ww_disguise){.model = l->inner.model,
                                .undone = text,
                                .read = read_loud,
                                .raw = l->inner.raw,
                                .heads = !l->inner.read,
                                .shows = SHOWS,
                                .dense = l->inner.dense ? is_dense : NULL,
                                .unchanged = unchanged,
                                .free = free_loud,
                                .payload = l};
    return WW_OK;
}

enum ww_err ww_disguise_loud(const struct ww_model *base,
                             const struct ww_run_options *run, struct ww_disguise *out,
                             struct ww_error *err)
{
    struct loud *l = NULL;
    bool loud = false;
    enum ww_err rc = WW_OK;

    if (!out->lock || ww_attack_view_found(out->lock)->scaled == 0) {
        return WW_OK;
    }
    l = ww_calloc(1, sizeof(*l));
    if (!l) {
        return WW_FAIL_MEMORY(err, "a locked suspect");
    }
    l->inner = *out;
    rc = open_factors(l, err);
    rc = rc ? rc : measure(l, base, run, &loud, err);
    rc = rc || !loud ? rc : take(l, out, err);
    if (rc || !loud) {
        l->inner = (struct ww_disguise){0}; /* stays the caller's */
        free_loud(l);
    }
    return rc;
}
