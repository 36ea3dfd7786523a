/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A suspect with a rotated stream, turned back into an unnamed file of F32, so that its
 * weights are rounded no second time. What the suspect's own grid rounded is spread over
 * a row by turning it: squares of steps go through the squares of the rotation.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "stream/cpus.h"
#include "la/la.h"
#include "lineage/family.h"
#include "lineage/locked_turn.h"
#include "lineage/moments.h"
#include "lineage/recut.h"
#include "lineage/rotated.h"
#include "model/convert.h"
#include "model/elements.h"
#include "model/shown.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"

#define TEMPORARY "/var/tmp"
#define STEPS WW_DTYPE_BF16
/* Where a merge was rounded before it was turned, its rounding goes into the rotation a
 * little: shares are off by up to 0.0053 then (docs/benchmarks.md). */
#define OFF 0.006
#define SHOWS 0.012 /* rounding before the turning leaves up to 0.008 unexplained */

/* Numbers in the file without a name. */
struct stored {
    enum ww_dtype dtype;
    uint64_t at; /* of the first byte */
};

struct turned {
    uint32_t of;          /* the suspect's tensor */
    struct stored values; /* F32 */
    struct stored steps;  /* BF16 */
    bool on;              /* it was turned */
    struct ww_rotated_rows rows;
};

struct rotated {
    const struct ww_run_options *run; /* while it is looked for */
    struct ww_model *model;      /* the suspect as it is, or folded, or without a lock */
    struct ww_disguise inner;    /* whose model that is */
    struct ww_locked_turn below; /* or that */
    struct ww_depths depths;
    struct ww_rotation rotation;
    bool still;             /* it is the identity: gains alone were moved */
    double *squares;        /* of the rotation's numbers */
    struct turned *tensors; /* as they are shown */
    uint32_t n;
    int fd;
};

static void free_rotated(void *payload)
{
    struct rotated *r = payload;

    ww_free(r->squares);
    ww_free(r->tensors);
    ww_depths_release(&r->depths);
    ww_rotation_release(&r->rotation);
    ww_locked_turn_release(&r->below);
    ww_disguise_release(&r->inner);
    if (r->fd >= 0) {
        close(r->fd);
    }
    ww_free(r);
}

static enum ww_err unchanged(void *payload, struct ww_error *err)
{
    const struct rotated *r = payload;

    return ww_disguise_unchanged(&r->inner, err);
}

static bool is_dense(const void *payload, uint32_t tensor)
{
    const struct rotated *r = payload;
    const struct ww_disguise *lock = r->below.lock.dense ? &r->below.lock : &r->inner;

    return lock->dense(lock->payload, r->tensors[tensor].of);
}

/* Weights in other floats have the grid that they were stored on, but for a factor. */
static enum ww_dtype grid_of(const struct rotated *r, uint32_t t)
{
    const struct ww_model *stored = r->inner.raw ? r->inner.raw : r->inner.model;
    const struct ww_tensor *tensor = &r->model->tensors[t];
    const uint32_t at = ww_model_find(stored, tensor->name);

    return at == WW_NONE ? tensor->dtype : stored->tensors[at].dtype;
}

static enum ww_err read_floats(const struct rotated *r, const struct stored *from,
                               uint64_t first, size_t n, uint8_t *bytes, double *out,
                               struct ww_error *err)
{
    const size_t size = ww_dtype_bits(from->dtype) / 8;
    const enum ww_err rc = ww_pread_full(r->fd, bytes, n * size, from->at + first * size,
                                         "a file without a name", err);

    if (!rc) {
        ww_to_double(from->dtype, bytes, out, n);
    }
    return rc;
}

/* Without a rotation a cell is the suspect's own, but for the gain of its column. */
static enum ww_err read_cells(const struct rotated *r, const struct turned *t,
                              uint64_t first, size_t n,
                              const struct ww_disguise_pair *out, struct ww_error *err)
{
    const double *gains = t->on ? r->rotation.parts[t->of].gains : NULL;
    const enum ww_err rc =
        ww_disguise_cells(&r->inner, t->of, first, n, out->first, out->second, err);

    for (size_t e = 0; e < n && gains && !rc; e++) {
        const double gain = gains[(first + e) % t->rows.width];
        const double low = out->first[e] / gain;
        const double high = out->second[e] / gain;
        out->first[e] = fmin(low, high);
        out->second[e] = fmax(low, high);
    }
    return rc;
}

static enum ww_err read_rotated(void *payload, uint32_t tensor, uint64_t first, size_t n,
                                const struct ww_disguise_pair *out, struct ww_error *err)
{
    const struct rotated *r = payload;
    const struct turned *t = &r->tensors[tensor];
    uint8_t *bytes = NULL;
    enum ww_err rc = WW_OK;

    if (out->cells) {
        return read_cells(r, t, first, n, out, err);
    }
    bytes = ww_calloc(n + 1, sizeof(double));
    rc = bytes ? WW_OK : WW_FAIL_MEMORY(err, "a rotated suspect");
    if (!rc && t->on) {
        rc = read_floats(r, &t->values, first, n, bytes, out->first, err);
        rc = rc ? rc : read_floats(r, &t->steps, first, n, bytes, out->second, err);
    } else if (!rc) {
        memset(out->second, 0, n * sizeof(*out->second));
        rc = ww_elements_double(r->model, t->of, first, n, bytes, out->first, err);
    }
    ww_free(bytes);
    return rc;
}

struct room {
    double *rows; /* [4][WW_ROTATED_ROWS][width]: as stored, turned back, and the steps */
    uint8_t *bytes; /* [WW_ROTATED_ROWS][width] doubles */
};

/* Rows as they were, in the place that they have in a tensor. */
static enum ww_err write_rows(const struct rotated *r, const struct ww_rotated_rows *of,
                              const struct stored *to,
                              const struct ww_rotated_piece *piece, const double *rows,
                              uint8_t *bytes, struct ww_error *err)
{
    const size_t width = of->width;
    const size_t size = ww_dtype_bits(to->dtype) / 8;
    const size_t n = piece->n;
    double across[WW_ROTATED_ROWS];
    enum ww_err rc = WW_OK;

    if (of->inner == 1) {
        ww_from_double(to->dtype, rows, bytes, n * width);
        return ww_pwrite_full(r->fd, bytes, n * width * size, to->at + piece->at * size,
                              "a file without a name", err);
    }
    for (size_t c = 0; c < width && !rc; c++) {
        for (size_t i = 0; i < n; i++) {
            across[i] = rows[i * width + c];
        }
        ww_from_double(to->dtype, across, bytes, n);
        rc = ww_pwrite_full(r->fd, bytes, n * size,
                            to->at + (piece->at + c * of->inner) * size,
                            "a file without a name", err);
    }
    return rc;
}

/* Steps of blocks, and where they are 0 of the grid, become their squares. */
static void square_steps(const double *rows, double *steps, size_t n, enum ww_dtype dtype)
{
    for (size_t i = 0; i < n; i++) {
        const double step =
            steps[i] != 0 ? steps[i] : ldexp(1, ww_moments_step(rows[i], dtype));
        steps[i] = step * step;
    }
}

/* Rows of a piece, with the steps of blocks that they were rounded in. */
static enum ww_err read_rows(const struct rotated *r, const struct turned *t,
                             const struct ww_rotated_piece *piece,
                             const struct room *room, double *steps, struct ww_error *err)
{
    const size_t width = t->rows.width;
    const size_t n = piece->n;
    double across[2][WW_ROTATED_ROWS];
    enum ww_err rc = WW_OK;

    if (!r->inner.read || r->below.floats) {
        memset(steps, 0, n * width * sizeof(*steps));
        rc = r->inner.read ? ww_rotated_read(&r->below.steps.model, t->of, &t->rows,
                                             piece, room->bytes, steps, err)
                           : WW_OK;
        return rc ? rc
                  : ww_rotated_read(r->model, t->of, &t->rows, piece, room->bytes,
                                    room->rows, err);
    }
    if (t->rows.inner == 1) {
        return ww_disguise_values(&r->inner, t->of, piece->at, n * width, room->rows,
                                  steps, err);
    }
    for (size_t c = 0; c < width && !rc; c++) {
        rc = ww_disguise_values(&r->inner, t->of, piece->at + c * t->rows.inner, n,
                                across[0], across[1], err);
        for (size_t i = 0; i < n && !rc; i++) {
            room->rows[i * width + c] = across[0][i];
            steps[i * width + c] = across[1][i];
        }
    }
    return rc;
}

static void turn_rows(const struct rotated *r, size_t n, const double *rows,
                      const double *steps, double *back, double *spread)
{
    const size_t width = r->rotation.n;

    if (r->still) {
        memcpy(back, rows, n * width * sizeof(*back));
        memcpy(spread, steps, n * width * sizeof(*spread));
        return;
    }
    ww_la_gemm(WW_LA_PLAIN, WW_LA_PLAIN, n, width, width, 1, rows, width, r->rotation.r,
               width, 0, back, width);
    ww_la_gemm(WW_LA_PLAIN, WW_LA_PLAIN, n, width, width, 1, steps, width, r->squares,
               width, 0, spread, width);
}

static enum ww_err turn_back(const struct rotated *r, const struct turned *t,
                             const struct room *room, struct ww_error *err)
{
    const enum ww_dtype dtype = grid_of(r, t->of);
    const double *gains = r->rotation.parts[t->of].gains;
    const size_t width = t->rows.width;
    const uint64_t all = t->rows.outer * t->rows.inner;
    double *back = room->rows + WW_ROTATED_ROWS * width;
    double *steps = back + WW_ROTATED_ROWS * width;
    double *spread = steps + WW_ROTATED_ROWS * width;
    struct ww_rotated_piece piece = {0};
    enum ww_err rc = WW_OK;

    for (uint64_t first = 0; first < all && !rc; first += piece.n) {
        piece = ww_rotated_piece(&t->rows, first);
        const size_t n = piece.n;
        rc = read_rows(r, t, &piece, room, steps, err);
        if (rc) {
            break;
        }
        square_steps(room->rows, steps, n * width, dtype);
        turn_rows(r, n, room->rows, steps, back, spread);
        for (size_t i = 0; i < n * width; i++) {
            const double gain = gains ? gains[i % width] : 1;
            back[i] /= gain;
            spread[i] = sqrt(spread[i]) / fabs(gain);
        }
        rc = write_rows(r, &t->rows, &t->values, &piece, back, room->bytes, err);
        rc = rc ? rc
                : write_rows(r, &t->rows, &t->steps, &piece, spread, room->bytes, err);
    }
    return rc;
}

/* Gains of the norms are in what reads the stream, and nothing is left of them. */
static enum ww_err show(struct rotated *r, struct ww_tensor *shown, struct ww_error *err)
{
    const size_t piece = WW_ROTATED_ROWS * r->rotation.n;
    struct room room = {ww_calloc(4 * piece, sizeof(double)),
                        ww_calloc(piece, sizeof(double))};
    const size_t square = r->rotation.n * r->rotation.n;
    uint64_t at = 0;
    enum ww_err rc =
        room.rows && room.bytes ? WW_OK : WW_FAIL_MEMORY(err, "a rotated suspect");

    if (!rc && r->fd < 0) {
        rc = ww_rotation_unnamed(TEMPORARY, &r->fd, err);
    }
    ww_free(r->squares);
    r->squares = ww_calloc(square, sizeof(*r->squares));
    rc = rc || r->squares ? rc : WW_FAIL_MEMORY(err, "a rotated suspect");
    for (size_t i = 0; i < square && !rc; i++) {
        r->squares[i] = r->rotation.r[i] * r->rotation.r[i];
    }
    for (uint32_t t = 0; t < r->model->n_tensors && !rc; t++) {
        const struct ww_stream_part *part = &r->rotation.parts[t];
        struct turned *out = &r->tensors[r->n];
        rc = ww_run_progress(r->run, "turning back", t, r->model->n_tensors, err);
        if (rc || part->is_gain) {
            continue;
        }
        shown[r->n++] = r->model->tensors[t];
        *out = (struct turned){.of = t, .on = part->on};
        if (part->on) {
            out->rows = ww_rotated_rows(&r->rotation, r->model, t);
            shown[r->n - 1].dtype = WW_DTYPE_F32;
            out->values = (struct stored){WW_DTYPE_F32, at};
            at += r->model->tensors[t].n_elements * sizeof(float);
            out->steps = (struct stored){STEPS, at};
            at += r->model->tensors[t].n_elements * (ww_dtype_bits(STEPS) / 8);
            rc = turn_back(r, out, &room, err);
        }
    }
    ww_free(room.rows);
    ww_free(room.bytes);
    return rc;
}

static int by_suspect(const void *key, const void *turned)
{
    const uint32_t tensor = *(const uint32_t *)key;
    const uint32_t of = ((const struct turned *)turned)->of;

    return (tensor > of) - (tensor < of);
}

/* Bytes of a tensor turned back. */
static enum ww_err read_back(void *payload, uint32_t tensor, uint64_t at, void *out,
                             size_t n, struct ww_error *err)
{
    const struct rotated *r = payload;
    const struct ww_unwritten *floats = &r->below.floats->file;
    const struct turned *t =
        bsearch(&tensor, r->tensors, r->n, sizeof(*r->tensors), by_suspect);

    if (t && t->on) {
        return ww_pread_full(r->fd, out, n, t->values.at + at, "a file without a name",
                             err);
    }
    return floats->read(floats->payload, tensor, at, out, n, err);
}

/* Bytes of the steps of a tensor as it is stored: whole elements. */
static enum ww_err read_steps(void *payload, uint32_t tensor, uint64_t at, void *out,
                              size_t n, struct ww_error *err)
{
    const struct rotated *r = payload;
    const size_t all = n / sizeof(float);
    double *pairs = ww_calloc(2 * all + 1, sizeof(*pairs));
    enum ww_err rc = pairs ? ww_disguise_values(&r->inner, tensor, at / sizeof(float),
                                                all, pairs, pairs + all, err)
                           : WW_FAIL_MEMORY(err, "a rotated suspect");

    if (!rc) {
        ww_from_double(WW_DTYPE_F32, pairs + all, out, all);
    }
    ww_free(pairs);
    return rc;
}

/* By the base's rotation, which the tables tell whatever became of heads and neurons. */
static enum ww_err look_below(struct rotated *r, struct ww_model *const *models,
                              unsigned n, bool *related, struct ww_error *err)
{
    struct ww_tensor *shown = ww_calloc(r->model->n_tensors, sizeof(*shown));
    struct ww_model **unlocked = ww_calloc(n, sizeof(*unlocked));
    enum ww_err rc = shown && unlocked ? WW_OK : WW_FAIL_MEMORY(err, "a rotated suspect");

    rc = rc ? rc : show(r, shown, err);
    rc = rc ? rc
            : ww_locked_turn_find(r->model, models[WW_FAMILY_BASE], read_back, r, r->run,
                                  &r->below, err);
    if (!rc && r->below.floats) {
        memcpy(unlocked, models, n * sizeof(*unlocked));
        unlocked[WW_FAMILY_SUSPECT] = r->model = r->below.floats->model;
        rc = r->inner.read ? ww_locked_turn_steps(read_steps, r, &r->below, err) : WW_OK;
        rc = rc ? rc
                : ww_rotated_fit(unlocked, n, &r->depths, r->run, &r->rotation, related,
                                 err);
    }
    r->n = 0;
    ww_free(shown);
    ww_free(unlocked);
    return rc;
}

/* The rotation of a stack, by the base stacked like it. */
static enum ww_err open_stacked(struct rotated *r, const struct ww_model *base,
                                const struct ww_depths *depths, struct ww_error *err)
{
    struct ww_recut *anchor = NULL;
    struct ww_error why = {0};
    enum ww_err rc =
        ww_recut_stack(base, depths->stack, depths->of, depths->n, &anchor, &why);

    ww_rotation_release(&r->rotation);
    if (!rc) {
        rc = ww_rotation_open(r->model, anchor->model, r->run, &r->rotation, err);
    } else if (rc == WW_E_CONFIG || rc == WW_E_TENSOR) {
        rc = WW_OK;
    } else {
        rc = WW_FAIL(err, rc, "%s", why.text);
    }
    ww_recut_free(anchor);
    return rc;
}

/* Layers in other places: the tables tell a rotation, and what is turned back by it where
 * layers came from, which then give a better one. */
static enum ww_err look_elsewhere(struct rotated *r, const struct ww_model *base,
                                  struct ww_error *err)
{
    struct ww_tensor *shown = ww_calloc(r->model->n_tensors, sizeof(*shown));
    struct ww_depths alike = {0};
    enum ww_err rc = shown ? ww_depths_start(r->model, base, &alike, err)
                           : WW_FAIL_MEMORY(err, "a rotated suspect");

    if (!rc && alike.n > 0 && alike.n != ww_depth_layers(base, alike.stack)) {
        rc = open_stacked(r, base, &alike, err);
    }
    if (!rc && r->rotation.r) {
        rc = show(r, shown, err);
        rc = rc ? rc
                : ww_locked_turn_depths(r->model, base, read_back, r, &r->below,
                                        &r->depths, err);
        r->n = 0;
        rc = rc || r->depths.n == 0 ? rc : open_stacked(r, base, &r->depths, err);
    }
    ww_depths_release(&alike);
    ww_free(shown);
    return rc;
}

static enum ww_err describe(const struct rotated *r, char **out, struct ww_error *err)
{
    static const char again[] = "gains taken out again by the models that it is compared "
                                "with";
    static const char turned[] = "a rotated residual stream, turned back by the models "
                                 "that it is compared with";
    const char *lock = r->below.floats ? r->below.lock.undone : "";

    *out = ww_asprintf("%s%s%s%s%s", r->inner.folded ? r->inner.undone : "",
                       r->inner.folded ? ", " : "", r->inner.folded ? again : turned,
                       lock[0] ? ", and " : "", lock);
    return *out ? WW_OK : WW_FAIL_MEMORY(err, "a note");
}

static enum ww_err take(struct rotated *r, struct ww_disguise *out, struct ww_error *err)
{
    struct ww_tensor *shown = ww_calloc(r->model->n_tensors, sizeof(*shown));
    struct ww_model *model = NULL;
    char *text = NULL;
    enum ww_err rc = shown ? WW_OK : WW_FAIL_MEMORY(err, "a rotated suspect");

    rc = rc ? rc : describe(r, &text, err);
    rc = rc ? rc : show(r, shown, err);
    rc = rc ? rc : ww_model_shown(r->model->path, shown, r->n, &model, err);
    ww_free(shown);
    if (rc) {
        ww_free(text);
        return rc;
    }
    *out = (struct ww_disguise){.model = model,
                                .depths = r->depths,
                                .dense = r->below.lock.dense || r->inner.dense ? is_dense
                                                                               : NULL,
                                .undone = text,
                                .read = read_rotated,
                                .cells = r->still && r->inner.cells,
                                .searched = r->still && r->inner.searched,
                                .shows = SHOWS,
                                .off = r->still ? 0 : OFF,
                                .unchanged = unchanged,
                                .free = free_rotated,
                                .payload = r};
    r->depths = (struct ww_depths){0};
    return WW_OK;
}

enum ww_err ww_disguise_rotated(struct ww_model *const *models, unsigned n_models,
                                const struct ww_run_options *run, struct ww_disguise *out,
                                struct ww_error *err)
{
    struct rotated *r = NULL;
    bool related = false;
    enum ww_err rc = WW_OK;

    if ((out->undone && !out->folded) || out->depths.n > 0 ||
        n_models <= WW_FAMILY_SOURCES) {
        return WW_OK;
    }
    r = ww_calloc(1, sizeof(*r));
    if (!r) {
        return WW_FAIL_MEMORY(err, "a rotated suspect");
    }
    r->fd = -1;
    r->run = run;
    r->model = out->model;
    r->inner = *out;
    r->tensors = ww_calloc(r->model->n_tensors + (size_t)1, sizeof(*r->tensors));
    rc = r->tensors
             ? ww_rotation_open(r->model, models[WW_FAMILY_BASE], run, &r->rotation, err)
             : WW_FAIL_MEMORY(err, "a rotated suspect");
    if (!rc && !r->rotation.r && !r->rotation.gains_alone && !r->inner.read) {
        rc = look_elsewhere(r, models[WW_FAMILY_BASE], err);
    }
    if (!rc && (r->rotation.r || r->rotation.gains_alone) && r->inner.folded) {
        rc = ww_rotated_still(models, n_models, run, &r->rotation, &r->still, err);
        related = r->still;
    }
    if (!rc && r->rotation.r && !related) {
        rc = ww_rotated_fit(models, n_models, &r->depths, run, &r->rotation, &related,
                            err);
    }
    if (!rc && r->rotation.r && !related) {
        rc = look_below(r, models, n_models, &related, err);
    }
    if (!rc && related) {
        rc = take(r, out, err);
        related = !rc;
    }
    if (rc || !related) {
        r->inner = (struct ww_disguise){0}; /* stays the caller's */
        free_rotated(r);
    }
    return rc;
}
