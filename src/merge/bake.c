/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One changed weight: the right factor is held in memory, its rows and those of the left
 * factor pass through in blocks. Every orientation that PEFT has (outputs first, inputs
 * first, embeddings, convolutions) comes down to
 * W[i][j] + scaling * sum over k of left[i][k] right[k][j].
 */
#include <math.h>
#include <string.h>

#include "merge/bake_work.h"
#include "model/convert.h"
#include "model/orientation.h"
#include "model/shape.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"
#include "util/num.h"

#define BLOCK_BYTES (UINT64_C(1) << 20)
#define MAX_FACTOR_BYTES (UINT64_C(1) << 30)

static enum ww_err misfit(const struct ww_bake_weight *weight, struct ww_error *err)
{
    return WW_FAIL(
        err, WW_E_SHAPE,
        "adapter '%s' does not fit '%.160s' of '%s'; is it the adapter's base?",
        weight->from->adapter->path, weight->w->name, weight->from->base->path);
}

/* Elements [first, first + n) of a tensor of the adapter. */
static enum ww_err load_part(const struct ww_bake_from *from, const struct ww_tensor *t,
                             uint64_t first, uint64_t n, uint8_t *bytes, double *out,
                             struct ww_error *err)
{
    enum ww_err rc = ww_adapter_bytes(from->adapter, t, first, n, bytes, err);

    if (rc) {
        return rc;
    }
    if (ww_count_nonfinite(t->dtype, bytes, n) > 0) {
        return WW_FAIL(err, WW_E_NONFINITE,
                       "tensor '%.160s' of adapter '%s' holds NaN or infinity; repair "
                       "the weights first",
                       t->name, from->adapter->path);
    }
    ww_to_double(t->dtype, bytes, out, n);
    return WW_OK;
}

static enum ww_err transpose(double **m, uint64_t rows, uint64_t cols,
                             struct ww_error *err)
{
    double *t = ww_calloc(rows * cols + 1, sizeof(*t));

    if (!t) {
        return WW_FAIL_MEMORY(err, "an adapter");
    }
    for (uint64_t i = 0; i < rows; i++) {
        for (uint64_t j = 0; j < cols; j++) {
            t[j * rows + i] = (*m)[i * cols + j];
        }
    }
    ww_free(*m);
    *m = t;
    return WW_OK;
}

enum ww_err ww_bake_plain(const struct ww_bake_from *from, const struct ww_tensor *t,
                          struct ww_error *err)
{
    if (!ww_dtype_is_plain_float(t->dtype)) {
        return WW_FAIL(err, WW_E_QUANTISED,
                       "tensor '%.160s' of adapter '%s' is stored as %s, expected BF16, "
                       "F16, F32 or F64",
                       t->name, from->adapter->path, ww_dtype_name(t->dtype));
    }
    if (t->n_elements > MAX_FACTOR_BYTES / sizeof(double)) {
        return WW_FAIL(err, WW_E_LIMIT,
                       "tensor '%.160s' of adapter '%s' has %llu elements", t->name,
                       from->adapter->path, (unsigned long long)t->n_elements);
    }
    return WW_OK;
}

/* The factor whose rows run over the columns of the weight. */
static const struct ww_tensor *right_of(const struct ww_bake_weight *weight)
{
    const struct ww_adapter_entry *const *part = weight->change->part;
    const bool embedding = part[WW_PART_EMBEDDING_A] != NULL;
    const struct ww_adapter_entry *a = part[embedding ? WW_PART_EMBEDDING_A : WW_PART_A];
    const struct ww_adapter_entry *b = part[embedding ? WW_PART_EMBEDDING_B : WW_PART_B];

    return weight->across ? b->tensor : a->tensor;
}

/* a: [rank, in...], b: [out, rank...], in the base's orientation or across it. */
static enum ww_err check_factors(struct ww_bake_weight *weight, const struct ww_tensor *a,
                                 const struct ww_tensor *b, struct ww_error *err)
{
    const uint64_t in = a->n_elements / a->shape[0];
    const uint64_t out = b->shape[0];
    enum ww_err rc = ww_bake_plain(weight->from, a, err);

    if (!rc) {
        rc = ww_bake_plain(weight->from, b, err);
    }
    weight->rank = a->shape[0];
    if (!rc && (b->n_elements != out * weight->rank ||
                (weight->across ? out != weight->n_cols || in != weight->n_rows
                                : out != weight->n_rows || in != weight->n_cols))) {
        rc = misfit(weight, err);
    }
    weight->left = weight->across ? a : b;
    weight->left_across = weight->across;
    return rc;
}

static enum ww_err check_magnitude(const struct ww_bake_weight *weight, bool embedding,
                                   struct ww_error *err)
{
    const struct ww_adapter_entry *magnitude = weight->change->part[WW_PART_MAGNITUDE];

    if (!magnitude) {
        return WW_OK;
    }
    if (embedding || weight->w->rank != 2) {
        return WW_FAIL(
            err, WW_E_UNSUPPORTED,
            "adapter '%s': DoRA on '%.160s' is supported for linear layers only",
            weight->from->adapter->path, weight->w->name);
    }
    if (magnitude->tensor->n_elements !=
        (weight->across ? weight->n_cols : weight->n_rows)) {
        return misfit(weight, err);
    }
    return ww_bake_plain(weight->from, magnitude->tensor, err);
}

static enum ww_err check_lora(struct ww_bake_weight *weight, struct ww_error *err)
{
    const struct ww_adapter *adapter = weight->from->adapter;
    const struct ww_adapter_entry *const *part = weight->change->part;
    const bool embedding = part[WW_PART_EMBEDDING_A] != NULL;
    const struct ww_adapter_entry *a = part[embedding ? WW_PART_EMBEDDING_A : WW_PART_A];
    const struct ww_adapter_entry *b = part[embedding ? WW_PART_EMBEDDING_B : WW_PART_B];
    enum ww_err rc = WW_OK;

    if (!a || !b || a->tensor->rank < 2 || b->tensor->rank < 2 ||
        a->tensor->n_elements == 0 || b->tensor->n_elements == 0) {
        return WW_FAIL(err, WW_E_ADAPTER_FILE,
                       "adapter '%s' has only one of the two factors of '%.160s'",
                       adapter->path, weight->w->name);
    }
    weight->across =
        embedding || ww_adapter_lies_across(adapter, weight->from->base, weight->w);
    rc = check_factors(weight, a->tensor, b->tensor, err);
    if (!rc) {
        rc = ww_adapter_scaling(adapter, a->module, weight->rank, &weight->scaling, err);
    }
    return rc ? rc : check_magnitude(weight, embedding, err);
}

/* A bias that the adapter adds to is a weight of one column, the addend its factor. */
static enum ww_err check_bias(struct ww_bake_weight *weight, struct ww_error *err)
{
    const struct ww_adapter_entry *added = weight->change->part[WW_PART_B_BIAS];
    const struct ww_adapter_entry *b = weight->change->part[WW_PART_B];

    if (weight->w->rank != 1 || added->tensor->n_elements != weight->n_rows || !b ||
        b->tensor->rank < 2) {
        return misfit(weight, err);
    }
    weight->rank = 1;
    weight->left = added->tensor;
    enum ww_err rc = ww_bake_plain(weight->from, added->tensor, err);
    return rc ? rc
              : ww_adapter_scaling(weight->from->adapter, added->module,
                                   b->tensor->shape[1], &weight->scaling, err);
}

/* Of a base whose vocabulary was resized PEFT saves the embeddings whole. */
static enum ww_err other_rows(const struct ww_bake_weight *weight,
                              const struct ww_tensor *t, struct ww_error *err)
{
    return WW_FAIL(err, WW_E_SHAPE,
                   "adapter '%s' does not fit '%.160s' of '%s': it has %llu rows in the "
                   "place of %llu, as of a base whose vocabulary was resized",
                   weight->from->adapter->path, weight->w->name, weight->from->base->path,
                   (unsigned long long)t->shape[0],
                   (unsigned long long)weight->w->shape[0]);
}

static enum ww_err choose_origin(struct ww_bake_weight *weight, struct ww_error *err)
{
    const struct ww_adapter_entry *full = weight->change->part[WW_PART_FULL];
    const struct ww_tensor *t = full ? full->tensor : weight->w;

    weight->origin = t;
    if (!ww_same_shape(t, weight->w)) {
        return t->rank == 2 && weight->w->rank == 2 && t->shape[1] == weight->w->shape[1]
                   ? other_rows(weight, t, err)
                   : misfit(weight, err);
    }
    if (!ww_dtype_is_plain_float(t->dtype) ||
        !ww_dtype_is_plain_float(weight->w->dtype)) {
        return WW_FAIL(
            err, WW_E_QUANTISED,
            "tensor '%.160s' of '%s' is stored as %s; an adapter is added to the "
            "original checkpoint",
            t->name, full ? WW_ADAPTER_WEIGHTS : weight->from->base->path,
            ww_dtype_name(ww_dtype_is_plain_float(t->dtype) ? weight->w->dtype
                                                            : t->dtype));
    }
    return WW_OK;
}

static bool has_factors(const struct ww_bake_change *change)
{
    return change->part[WW_PART_A] || change->part[WW_PART_B] ||
           change->part[WW_PART_EMBEDDING_A] || change->part[WW_PART_EMBEDDING_B] ||
           change->part[WW_PART_MAGNITUDE];
}

enum ww_err ww_bake_weight_check(const struct ww_bake_from *from,
                                 const struct ww_bake_change *change,
                                 struct ww_bake_weight *out, struct ww_error *err)
{
    const struct ww_tensor *w = &from->base->tensors[change->tensor];
    enum ww_err rc = WW_OK;

    *out = (struct ww_bake_weight){.from = from, .change = change, .w = w};
    if (w->n_elements == 0 || (w->rank == 0 && !change->part[WW_PART_FULL])) {
        return misfit(out, err);
    }
    out->n_rows = w->rank ? w->shape[0] : 1;
    out->n_cols = w->n_elements / out->n_rows;
    out->rows_each = out->n_rows;
    rc = choose_origin(out, err);
    if (rc) {
        return rc;
    }
    if (change->expert.n > 0) {
        return ww_bake_expert_check(out, err);
    }
    if (change->fused) {
        return ww_bake_fused_check(out, err);
    }
    if (change->part[WW_PART_B_BIAS]) {
        return check_bias(out, err);
    }
    return has_factors(change) ? check_lora(out, err) : WW_OK;
}

/* DoRA, inputs first: norms of columns need a pass of their own. */
static enum ww_err column_factors(struct ww_bake_weight *weight, struct ww_error *err)
{
    double *sums = ww_calloc(weight->n_cols, sizeof(*sums));
    struct ww_bake_room room = {0};
    enum ww_err rc =
        sums ? ww_bake_room_new(weight, &room, err) : WW_FAIL_MEMORY(err, "an adapter");

    for (uint64_t i = 0; i < weight->n_rows && !rc; i += room.step) {
        const uint64_t n = ww_min_u64(room.step, weight->n_rows - i);
        rc = ww_bake_rows(weight, i, n, &room, err);
        for (uint64_t k = 0; k < n * weight->n_cols && !rc; k++) {
            sums[k % weight->n_cols] += room.rows[k] * room.rows[k];
        }
    }
    for (uint64_t j = 0; j < weight->n_cols && !rc; j++) {
        const double norm = sqrt(sums[j]);
        sums[j] = norm > 0 ? weight->magnitude[j] / norm : 1;
    }
    ww_bake_room_release(&room);
    weight->factors = sums;
    return rc;
}

enum ww_err ww_bake_weight_open(struct ww_bake_weight *weight, struct ww_error *err)
{
    const struct ww_adapter_entry *magnitude = weight->change->part[WW_PART_MAGNITUDE];
    enum ww_err rc = WW_OK;

    if (weight->change->part[WW_PART_B_BIAS]) {
        weight->right = ww_calloc(1, sizeof(*weight->right));
        if (!weight->right) {
            return WW_FAIL_MEMORY(err, "an adapter");
        }
        weight->right[0] = 1;
        return WW_OK;
    }
    if (weight->rank == 0) {
        return WW_OK;
    }
    if (weight->change->expert.n > 0) {
        return ww_bake_expert_open(weight, err);
    }
    if (weight->change->fused) {
        return ww_bake_fused_open(weight, err);
    }
    rc = ww_adapter_read(weight->from->adapter, right_of(weight), &weight->right, err);
    if (!rc && weight->across) {
        rc = transpose(&weight->right, weight->n_cols, weight->rank, err);
    }
    if (!rc && magnitude) {
        rc = ww_adapter_read(weight->from->adapter, magnitude->tensor, &weight->magnitude,
                             err);
    }
    if (!rc && magnitude && weight->across) {
        rc = column_factors(weight, err);
    }
    return rc;
}

void ww_bake_weight_close(struct ww_bake_weight *weight)
{
    ww_free(weight->left_held);
    ww_free(weight->right);
    ww_free(weight->magnitude);
    ww_free(weight->factors);
    weight->left_held = weight->right = weight->magnitude = weight->factors = NULL;
}

uint64_t ww_bake_weight_bytes(const struct ww_bake_weight *weight)
{
    const uint64_t blocks = ww_div_up(weight->n_rows, weight->rows_each);
    const uint64_t left = weight->left_held ? weight->n_rows * weight->rank : 0;

    return (blocks * weight->rank * weight->n_cols + left) * sizeof(double);
}

enum ww_err ww_bake_room_new(const struct ww_bake_weight *weight,
                             struct ww_bake_room *out, struct ww_error *err)
{
    const uint64_t step = ww_min_u64(
        weight->n_rows, ww_max_u64(1, BLOCK_BYTES / (weight->n_cols * sizeof(double))));
    const uint64_t most = ww_max_u64(weight->n_cols, weight->rank);

    out->step = step;
    out->rows = ww_calloc(step * weight->n_cols, sizeof(double));
    out->left = ww_calloc(step * weight->rank + 1, sizeof(double));
    out->bytes = ww_calloc(step * most, sizeof(double));
    return out->rows && out->left && out->bytes ? WW_OK
                                                : WW_FAIL_MEMORY(err, "an adapter");
}

void ww_bake_room_release(struct ww_bake_room *room)
{
    ww_free(room->rows);
    ww_free(room->left);
    ww_free(room->bytes);
    *room = (struct ww_bake_room){0};
}

static enum ww_err read_left(const struct ww_bake_weight *weight, uint64_t first,
                             uint64_t n, const struct ww_bake_room *room,
                             struct ww_error *err)
{
    const uint64_t rank = weight->rank;
    enum ww_err rc = WW_OK;

    if (weight->left_held) {
        memcpy(room->left, weight->left_held + first * rank, n * rank * sizeof(double));
        return WW_OK;
    }
    if (!weight->left_across) {
        return load_part(weight->from, weight->left, first * rank, n * rank, room->bytes,
                         room->left, err);
    }
    /* room->rows is free until the base is read: a column of n at a time. */
    for (uint64_t k = 0; k < rank && !rc; k++) {
        rc = load_part(weight->from, weight->left, k * weight->n_rows + first, n,
                       room->bytes, room->rows, err);
        for (uint64_t i = 0; i < n && !rc; i++) {
            room->left[i * rank + k] = room->rows[i];
        }
    }
    return rc;
}

static enum ww_err read_origin(const struct ww_bake_weight *weight, uint64_t first,
                               uint64_t n, const struct ww_bake_room *room,
                               struct ww_error *err)
{
    const struct ww_bake_from *from = weight->from;
    const struct ww_tensor *t = weight->origin;
    const uint64_t width = ww_dtype_bits(t->dtype) / 8;
    const uint64_t at = t->offset + first * width;
    const struct ww_weight_file *file = NULL;
    const struct ww_reader *reader = NULL;
    enum ww_err rc = WW_OK;

    if (weight->change->part[WW_PART_FULL]) {
        return load_part(from, t, first, n, room->bytes, room->rows, err);
    }
    file = &from->base->files[t->file];
    reader = from->readers ? from->readers[t->file] : NULL;
    rc = reader ? reader->read(reader->payload, at, room->bytes, n * width, err)
                : ww_pread_full(file->fd, room->bytes, n * width, at, file->name, err);
    if (!rc && ww_count_nonfinite(t->dtype, room->bytes, n) > 0) {
        rc = WW_FAIL(
            err, WW_E_NONFINITE,
            "tensor '%.160s' of '%s' holds NaN or infinity; repair the weights first",
            t->name, from->base->path);
    }
    if (!rc) {
        ww_to_double(t->dtype, room->bytes, room->rows, n);
    }
    return rc;
}

/* Four terms in one sweep: each element still gets them one after the other. */
static void add_four(const double *x, const double *right, uint64_t n, double *row)
{
    for (uint64_t j = 0; j < n; j++) {
        double sum = row[j];
        sum += x[0] * right[j];
        sum += x[1] * right[n + j];
        sum += x[2] * right[2 * n + j];
        sum += x[3] * right[3 * n + j];
        row[j] = sum;
    }
}

static void add_row(const struct ww_bake_weight *weight, const double *left,
                    const double *factor, double *row)
{
    const uint64_t n = weight->n_cols;
    uint64_t k = 0;

    for (; k + 4 <= weight->rank; k += 4) {
        const double x[4] = {weight->scaling * left[k], weight->scaling * left[k + 1],
                             weight->scaling * left[k + 2],
                             weight->scaling * left[k + 3]};
        add_four(x, factor + k * n, n, row);
    }
    for (; k < weight->rank; k++) {
        const double x = weight->scaling * left[k];
        const double *right = factor + k * n;
        for (uint64_t j = 0; j < n; j++) {
            row[j] += x * right[j];
        }
    }
}

/* DoRA, outputs first: the norm of a row is known with the row. */
static void scale_row(double magnitude, uint64_t n, double *row)
{
    double norm = 0;

    for (uint64_t j = 0; j < n; j++) {
        norm += row[j] * row[j];
    }
    norm = sqrt(norm);
    for (uint64_t j = 0; j < n && norm > 0; j++) {
        row[j] *= magnitude / norm;
    }
}

enum ww_err ww_bake_rows(const struct ww_bake_weight *weight, uint64_t first, uint64_t n,
                         const struct ww_bake_room *room, struct ww_error *err)
{
    enum ww_err rc = weight->rank ? read_left(weight, first, n, room, err) : WW_OK;

    if (!rc) {
        rc = read_origin(weight, first * weight->n_cols, n * weight->n_cols, room, err);
    }
    for (uint64_t r = 0; r < n && !rc && weight->rank; r++) {
        double *row = room->rows + r * weight->n_cols;
        const uint64_t block = (first + r) / weight->rows_each;
        if (weight->change->fused && ww_bake_fused_keeps(weight, first + r)) {
            continue;
        }
        add_row(weight, room->left + r * weight->rank,
                weight->right + block * weight->rank * weight->n_cols, row);
        for (uint64_t j = 0; j < weight->n_cols && weight->factors; j++) {
            row[j] *= weight->factors[j];
        }
        if (weight->magnitude && !weight->across) {
            scale_row(weight->magnitude[first + r], weight->n_cols, row);
        }
    }
    return rc;
}
