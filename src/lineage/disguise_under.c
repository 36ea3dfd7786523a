/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A lock and moved gains under quantised weights. What was decoded is shown as a model of
 * F32 tensors in one file that nobody wrote, and they are looked for in it: units are
 * matched by cosine, which a rounding step does not hide. Steps of rounding go through
 * the same undoing: a factor that a lock gave to a row or column is on them as well, and
 * columns that rounding spoilt weigh nothing in a fit.
 */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "lineage/folded_side.h"
#include "model/convert.h"
#include "model/elements.h"
#include "model/shown.h"
#include "model/unwritten.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/num.h"

#define LOOK 16384 /* elements that a mean step is taken from */
#define PART 4096  /* elements decoded at once */
#define FAR 1e30   /* stands for no end, so that sums with it stay numbers */

/* What is undone: the weights, their steps of rounding, the ends of their cells. */
enum side_kind { WEIGHTS, STEPS, LOW, HIGH, SIDES };

struct side {
    const struct under *under;
    enum side_kind kind;
    struct ww_unwritten decoded;
    const struct ww_reader *undone;
};

struct under {
    struct ww_disguise inner; /* the quantised weights */
    struct ww_disguise lock;  /* of flat, which is its own where it folds gains */
    struct ww_model *flat;
    struct side sides[SIDES];
    struct ww_folded_side beside[SIDES]; /* the same undone on all but the weights */
    uint64_t alone; /* rows of tables that the base lacks: left out */
};

struct room {
    double first[PART];
    double second[PART];
};

/* n elements of one tensor as F32: what the side is of. */
static enum ww_err decode(const struct side *side, uint32_t t, uint64_t first, size_t n,
                          struct room *room, uint8_t *out, struct ww_error *err)
{
    const struct ww_disguise *inner = &side->under->inner;
    const bool second = side->kind == STEPS || side->kind == HIGH;
    const struct ww_disguise_pair pair = {side->kind == LOW || side->kind == HIGH,
                                          room->first, room->second};
    enum ww_err rc = WW_OK;

    for (size_t done = 0; done < n && !rc;) {
        const size_t part = (size_t)ww_min_u64(PART, n - done);
        double *of = second ? room->second : room->first;
        rc = inner->read(inner->payload, t, first + done, part, &pair, err);
        for (size_t e = 0; e < part && pair.cells && !rc; e++) {
            of[e] = fmin(FAR, fmax(-FAR, of[e]));
        }
        if (!rc) {
            ww_from_double(WW_DTYPE_F32, of, out + done * sizeof(float), part);
        }
        done += part;
    }
    return rc;
}

/* Bytes of the flat file: whole elements. */
static enum ww_err read_decoded(void *payload, uint32_t t, uint64_t at, void *out,
                                size_t n, struct ww_error *err)
{
    const struct side *side = payload;
    const struct ww_tensor *tensor = &side->under->flat->tensors[t];
    struct room *room = NULL;
    enum ww_err rc = WW_OK;

    if (tensor->dtype != WW_DTYPE_F32) {
        return WW_FAIL(err, WW_E_QUANTISED,
                       "tensor '%s' holds integers without a scale, and a lock would "
                       "have moved them",
                       tensor->name);
    }
    if (at % sizeof(float) || n % sizeof(float)) {
        return WW_FAIL(err, WW_E_INTERNAL, "a decoded tensor was asked for in parts");
    }
    room = ww_alloc_aligned(64, sizeof(*room)); /* rows are short, and come one by one */
    rc = room ? decode(side, t, at / sizeof(float), n / sizeof(float), room, out, err)
              : WW_FAIL_MEMORY(err, "a lock under quantised weights");
    ww_free(room);
    return rc;
}

static enum ww_err read_side(const struct side *side, uint32_t tensor, uint64_t first,
                             size_t n, float *room, double *out, struct ww_error *err)
{
    const uint64_t at = side->under->flat->tensors[tensor].offset + first * sizeof(*room);
    const enum ww_err rc =
        side->undone->read(side->undone->payload, at, room, n * sizeof(*room), err);

    for (size_t e = 0; e < n && !rc; e++) {
        out[e] = (double)room[e];
    }
    return rc;
}

/* A sign of the lock is on a step and turns a cell around. */
static void undo_sign(const struct ww_disguise_pair *out, size_t e)
{
    const double first = out->first[e];

    if (out->cells) {
        out->first[e] = fmin(first, out->second[e]);
        out->second[e] = fmax(first, out->second[e]);
    } else {
        out->second[e] = fabs(out->second[e]);
    }
}

static enum ww_err read_under(void *payload, uint32_t tensor, uint64_t first, size_t n,
                              const struct ww_disguise_pair *out, struct ww_error *err)
{
    const struct under *u = payload;
    const struct side *sides = &u->sides[out->cells ? LOW : WEIGHTS];
    float *room = ww_calloc(n + 1, sizeof(*room));
    enum ww_err rc = room ? WW_OK : WW_FAIL_MEMORY(err, "a lock under quantised weights");

    if (!rc) {
        rc = read_side(&sides[0], tensor, first, n, room, out->first, err);
    }
    if (!rc) {
        rc = read_side(&sides[1], tensor, first, n, room, out->second, err);
    }
    for (size_t e = 0; e < n && !rc; e++) {
        undo_sign(out, e);
    }
    ww_free(room);
    return rc;
}

static enum ww_err unchanged(void *payload, struct ww_error *err)
{
    const struct under *u = payload;

    return ww_disguise_unchanged(&u->inner, err);
}

static bool is_dense(const void *payload, uint32_t tensor)
{
    const struct under *u = payload;

    return u->lock.dense(u->lock.payload, tensor);
}

static void free_under(void *payload)
{
    struct under *u = payload;

    if (u->flat) {
        u->flat->config = NULL; /* the base's */
    }
    for (unsigned i = 0; i < SIDES; i++) {
        ww_attack_view_free(u->beside[i].lock);
    }
    if (!u->lock.folded) {
        ww_model_close(u->flat);
    }
    ww_disguise_leave(&u->lock);
    ww_disguise_release(&u->inner);
    ww_free(u);
}

/* The base's config says how many words there are; more of them stay out. */
static void cut(struct under *u, const struct ww_model *base, struct ww_tensor *tensor)
{
    const uint32_t b = ww_model_find(base, tensor->name);
    const struct ww_tensor *other = b == WW_NONE ? NULL : &base->tensors[b];
    struct ww_depth_name name;

    if (!other || other->rank != tensor->rank || tensor->rank == 0 ||
        other->shape[0] == 0 || tensor->shape[0] <= other->shape[0] ||
        ww_depth_split(tensor->name, &name)) {
        return;
    }
    u->alone += tensor->shape[0] - other->shape[0];
    tensor->n_elements = tensor->n_elements / tensor->shape[0] * other->shape[0];
    tensor->shape[0] = other->shape[0];
}

/* The decoded tensors one behind another in one file. */
static enum ww_err flatten(struct under *u, const struct ww_model *base,
                           struct ww_error *err)
{
    const struct ww_model *from = u->inner.model;
    struct ww_tensor *tensors = ww_calloc(from->n_tensors + (size_t)1, sizeof(*tensors));
    enum ww_err rc =
        tensors ? WW_OK : WW_FAIL_MEMORY(err, "a lock under quantised weights");

    for (uint32_t t = 0; t < from->n_tensors && !rc; t++) {
        tensors[t] = from->tensors[t];
        cut(u, base, &tensors[t]);
        /* Integers without a scale stay what they are: nobody can compare them. */
        if (ww_dtype_is_plain_float(tensors[t].dtype)) {
            tensors[t].dtype = WW_DTYPE_F32;
        }
        tensors[t].n_bytes = tensors[t].n_elements * sizeof(float);
    }
    rc = rc ? rc
            : ww_unwritten_model(from->path, tensors, from->n_tensors, "decoded weights",
                                 read_decoded, &u->sides[WEIGHTS],
                                 &u->sides[WEIGHTS].decoded, &u->flat, err);
    for (unsigned i = STEPS; i < SIDES && !rc; i++) {
        ww_unwritten_beside(u->flat, read_decoded, &u->sides[i], &u->sides[i].decoded);
    }
    if (!rc) {
        u->flat->config = base->config;
    }
    ww_free(tensors);
    return rc;
}

/* The same undone on one more side. */
static enum ww_err undo_beside(struct under *u, enum side_kind kind, struct ww_error *err)
{
    const struct ww_reader *const readers[] = {&u->sides[kind].decoded.reader};
    struct ww_folded_side *beside = &u->beside[kind];
    const enum ww_err rc =
        u->lock.folded
            ? ww_folded_side_new(&u->lock, readers[0], beside, err)
            : ww_attack_view_beside(u->lock.payload, readers, &beside->lock, err);

    u->sides[kind].undone = rc ? NULL : ww_folded_side_reader(beside);
    return rc;
}

/* What others see of it: below folded gains somebody may look for a rotation, in files.
 */
static enum ww_err show(const struct under *u, struct ww_model **out,
                        struct ww_error *err)
{
    *out = u->lock.model;
    return u->lock.folded ? WW_OK
                          : ww_model_shown(u->flat->path, u->flat->tensors,
                                           u->flat->n_tensors, out, err);
}

/* The disguise as others see it, in the place of the inner one. */
static enum ww_err take(struct under *u, struct ww_disguise *out, struct ww_error *err)
{
    struct ww_model *model = NULL;
    char *text = u->alone ? ww_asprintf("%s, and %s, without %" PRIu64
                                        " rows of tables that the base lacks",
                                        u->inner.undone, u->lock.undone, u->alone)
                          : ww_asprintf("%s, and %s", u->inner.undone, u->lock.undone);
    enum ww_err rc = text ? WW_OK : WW_FAIL_MEMORY(err, "a lock under quantised weights");

    u->sides[WEIGHTS].undone = u->lock.model->files[0].reader;
    /* What is undone reads this. */
    u->flat->files[0].reader = &u->sides[WEIGHTS].decoded.reader;
    for (unsigned i = STEPS; i < (u->inner.cells ? SIDES : LOW) && !rc; i++) {
        rc = undo_beside(u, (enum side_kind)i, err);
    }
    rc = rc ? rc : show(u, &model, err);
    if (rc) {
        ww_free(text);
        return rc;
    }
    *out = (struct ww_disguise){.model = model,
                                .raw = u->inner.model,
                                .undone = text,
                                .read = read_under,
                                .lock = u->lock.folded ? NULL : u->lock.lock,
                                .locked = u->flat,
                                .folded = u->lock.folded,
                                .cells = u->inner.cells,
                                .searched = u->inner.searched,
                                .dense = u->lock.dense ? is_dense : NULL,
                                .unchanged = unchanged,
                                .free = free_under,
                                .payload = u};
    return WW_OK;
}

enum ww_err ww_disguise_under(const struct ww_model *base,
                              const struct ww_run_options *run, struct ww_disguise *out,
                              struct ww_error *err)
{
    struct under *u = ww_calloc(1, sizeof(*u));
    struct ww_error why = {0};
    bool took = false;
    enum ww_err rc = u ? WW_OK : WW_FAIL_MEMORY(err, "a lock under quantised weights");

    if (rc) {
        return rc;
    }
    u->inner = *out;
    for (unsigned i = 0; i < SIDES; i++) {
        u->sides[i].under = u;
        u->sides[i].kind = (enum side_kind)i;
    }
    rc = flatten(u, base, err);
    if (!rc) {
        rc = ww_depths_find(u->flat, base, &out->depths, &why);
        /* Layers in other places point elsewhere as well, and no lock moves layers. */
        if (!rc && out->depths.n == 0) {
            u->lock.model = u->flat;
            rc = ww_disguise_lock_or_gains(base, true, run, &u->lock, &took, &why);
        }
        /* NaN hides a lock; whoever reads the tensor is told then. */
        if (rc == WW_E_NONFINITE) {
            rc = WW_OK;
        } else if (rc) {
            rc = WW_FAIL(err, rc, "%s", why.text);
        }
    }
    if (!rc && took) {
        rc = take(u, out, err);
    }
    if (rc || !took) {
        memset(&u->inner, 0, sizeof(u->inner)); /* stays the caller's */
        if (u->lock.folded) {
            ww_model_close(u->lock.model);
        }
        free_under(u);
    }
    return rc;
}
