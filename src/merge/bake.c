/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One changed weight at a time: its two factors are held in memory, its rows pass through
 * in blocks. Every orientation that PEFT has (outputs first, inputs first, embeddings,
 * convolutions) comes down to W[i][j] + scaling * sum over k of left[i][k] right[k][j].
 */
#include "merge/bake.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "model/convert.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"
#include "util/num.h"

#define BLOCK_BYTES (UINT64_C(1) << 22)
#define MAX_FACTOR_BYTES (UINT64_C(1) << 30)
#define N_PARTS (WW_PART_FULL + 1)

/* What the adapter says of one weight of the base. */
struct change {
    uint32_t tensor;
    const struct ww_adapter_entry *part[N_PARTS];
};

/* A change at work. */
struct work {
    const struct ww_model *base;
    const struct ww_adapter *adapter;
    const struct change *change;
    const struct ww_tensor *w;
    const struct ww_tensor *origin; /* w, or the adapter's own weight in its place */
    int fd;                         /* of the file that origin lies in */
    const char *file;
    uint64_t n_rows;
    uint64_t n_cols;
    uint64_t rank;
    double scaling;
    double *left;      /* n_rows x rank */
    double *right;     /* rank x n_cols */
    double *magnitude; /* by output, or NULL */
    bool across;       /* outputs run over the columns */
    double *factors;   /* by column, or NULL */
    double *rows;      /* a block */
    uint8_t *bytes;    /* of the block, as stored; then as float */
};

static enum ww_err no_memory(struct ww_error *err)
{
    return WW_FAIL(err, WW_E_NOMEM, "out of memory for an adapter");
}

static enum ww_err misfit(const struct work *work, struct ww_error *err)
{
    return WW_FAIL(
        err, WW_E_SHAPE,
        "adapter '%s' does not fit '%.160s' of '%s'; is it the adapter's base?",
        work->adapter->path, work->w->name, work->base->path);
}

/* An adapter tensor as doubles. */
static enum ww_err load(const struct work *work, const struct ww_tensor *t, double **out,
                        struct ww_error *err)
{
    const struct ww_st_file *file = &work->adapter->file;
    uint8_t *bytes = NULL;
    enum ww_err rc = WW_OK;

    *out = NULL;
    if (!ww_dtype_is_plain_float(t->dtype)) {
        return WW_FAIL(err, WW_E_QUANTISED,
                       "tensor '%.160s' of the adapter is stored as %s", t->name,
                       ww_dtype_name(t->dtype));
    }
    if (t->n_elements > MAX_FACTOR_BYTES / sizeof(double)) {
        return WW_FAIL(err, WW_E_LIMIT,
                       "tensor '%.160s' of the adapter has %llu elements", t->name,
                       (unsigned long long)t->n_elements);
    }
    bytes = ww_calloc(1, t->n_bytes + 1);
    *out = ww_calloc(t->n_elements + 1, sizeof(**out));
    if (!bytes || !*out) {
        rc = no_memory(err);
        goto out;
    }
    rc = ww_pread_full(file->fd, bytes, t->n_bytes, t->offset, WW_ADAPTER_WEIGHTS, err);
    if (!rc && ww_count_nonfinite(t->dtype, bytes, t->n_elements) > 0) {
        rc =
            WW_FAIL(err, WW_E_NONFINITE,
                    "tensor '%.160s' of the adapter holds a NaN or an infinity", t->name);
    }
    if (!rc) {
        ww_to_double(t->dtype, bytes, *out, t->n_elements);
    }
out:
    ww_free(bytes);
    return rc;
}

static enum ww_err transpose(double **m, uint64_t rows, uint64_t cols,
                             struct ww_error *err)
{
    double *t = ww_calloc(rows * cols + 1, sizeof(*t));

    if (!t) {
        return no_memory(err);
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

/* a: [rank, in...], b: [out, rank...], in the base's orientation or across it. */
static enum ww_err load_factors(struct work *work, const struct ww_tensor *a,
                                const struct ww_tensor *b, bool across,
                                struct ww_error *err)
{
    const uint64_t in = a->n_elements / a->shape[0];
    const uint64_t out = b->shape[0];
    enum ww_err rc = WW_OK;

    work->rank = a->shape[0];
    if (b->n_elements != out * work->rank ||
        (across ? out != work->n_cols || in != work->n_rows
                : out != work->n_rows || in != work->n_cols)) {
        return misfit(work, err);
    }
    rc = load(work, across ? a : b, &work->left, err);
    if (!rc) {
        rc = load(work, across ? b : a, &work->right, err);
    }
    if (!rc && across) {
        rc = transpose(&work->left, work->rank, work->n_rows, err);
    }
    if (!rc && across) {
        rc = transpose(&work->right, work->n_cols, work->rank, err);
    }
    return rc;
}

static enum ww_err prepare(struct work *work, struct ww_error *err)
{
    const struct ww_adapter_entry *const *part = work->change->part;
    const bool embedding = part[WW_PART_EMBEDDING_A] != NULL;
    const struct ww_adapter_entry *a = part[embedding ? WW_PART_EMBEDDING_A : WW_PART_A];
    const struct ww_adapter_entry *b = part[embedding ? WW_PART_EMBEDDING_B : WW_PART_B];
    const struct ww_adapter_entry *magnitude = part[WW_PART_MAGNITUDE];
    const bool across =
        embedding || (work->adapter->fan_in_fan_out && work->w->rank == 2);
    enum ww_err rc = WW_OK;

    if (!a || !b || a->tensor->rank < 2 || b->tensor->rank < 2 ||
        a->tensor->n_elements == 0 || b->tensor->n_elements == 0) {
        return WW_FAIL(err, WW_E_ADAPTER_FILE,
                       "adapter '%s' has only one of the two factors of '%.160s'",
                       work->adapter->path, work->w->name);
    }
    rc = load_factors(work, a->tensor, b->tensor, across, err);
    if (!rc) {
        rc =
            ww_adapter_scaling(work->adapter, a->module, work->rank, &work->scaling, err);
    }
    if (rc || !magnitude) {
        return rc;
    }
    if (embedding || work->w->rank != 2) {
        return WW_FAIL(
            err, WW_E_UNSUPPORTED,
            "adapter '%s': DoRA on '%.160s' is supported for linear layers only",
            work->adapter->path, work->w->name);
    }
    work->across = across;
    return magnitude->tensor->n_elements == (across ? work->n_cols : work->n_rows)
               ? load(work, magnitude->tensor, &work->magnitude, err)
               : misfit(work, err);
}

static void add_row(const struct work *work, uint64_t i, double *row)
{
    for (uint64_t k = 0; k < work->rank; k++) {
        const double x = work->scaling * work->left[i * work->rank + k];
        const double *right = work->right + k * work->n_cols;
        for (uint64_t j = 0; j < work->n_cols; j++) {
            row[j] += x * right[j];
        }
    }
}

/* DoRA, outputs first: the norm of a row is known with the row. */
static void scale_row(const struct work *work, uint64_t i, double *row)
{
    double norm = 0;

    for (uint64_t j = 0; j < work->n_cols; j++) {
        norm += row[j] * row[j];
    }
    norm = sqrt(norm);
    for (uint64_t j = 0; j < work->n_cols && norm > 0; j++) {
        row[j] *= work->magnitude[i] / norm;
    }
}

static enum ww_err read_origin(const struct work *work, uint64_t first, uint64_t n,
                               double *out, struct ww_error *err)
{
    const struct ww_tensor *t = work->origin;
    const uint64_t width = ww_dtype_bits(t->dtype) / 8;
    enum ww_err rc = ww_pread_full(work->fd, work->bytes, n * width,
                                   t->offset + first * width, work->file, err);

    if (rc) {
        return rc;
    }
    if (ww_count_nonfinite(t->dtype, work->bytes, n) > 0) {
        return WW_FAIL(err, WW_E_NONFINITE,
                       "tensor '%.160s' of '%s' holds a NaN or an infinity", t->name,
                       work->file);
    }
    ww_to_double(t->dtype, work->bytes, out, n);
    return WW_OK;
}

static enum ww_err write_block(const struct work *work, uint64_t n,
                               const struct ww_baked *baked, uint64_t at,
                               struct ww_error *err)
{
    ww_from_double(WW_DTYPE_F32, work->rows, work->bytes, n);
    return ww_pwrite_full(baked->fd, work->bytes, n * sizeof(float), at,
                          "the adapter's weights", err);
}

/* Rows [first, first + n) of the result; factors of columns apply once they are known. */
static enum ww_err make_rows(const struct work *work, uint64_t first, uint64_t n,
                             struct ww_error *err)
{
    enum ww_err rc =
        read_origin(work, first * work->n_cols, n * work->n_cols, work->rows, err);

    for (uint64_t r = 0; r < n && !rc && work->left; r++) {
        double *row = work->rows + r * work->n_cols;
        add_row(work, first + r, row);
        for (uint64_t j = 0; j < work->n_cols && work->factors; j++) {
            row[j] *= work->factors[j];
        }
        if (work->magnitude && !work->across) {
            scale_row(work, first + r, row);
        }
    }
    return rc;
}

/* DoRA, inputs first: norms of columns need a pass of their own. */
static enum ww_err column_factors(struct work *work, uint64_t step, struct ww_error *err)
{
    double *sums = ww_calloc(work->n_cols, sizeof(*sums));
    enum ww_err rc = sums ? WW_OK : no_memory(err);

    for (uint64_t i = 0; i < work->n_rows && !rc; i += step) {
        const uint64_t n = ww_min_u64(step, work->n_rows - i);
        rc = make_rows(work, i, n, err);
        for (uint64_t k = 0; k < n * work->n_cols && !rc; k++) {
            sums[k % work->n_cols] += work->rows[k] * work->rows[k];
        }
    }
    for (uint64_t j = 0; j < work->n_cols && !rc; j++) {
        const double norm = sqrt(sums[j]);
        sums[j] = norm > 0 ? work->magnitude[j] / norm : 1;
    }
    work->factors = sums;
    return rc;
}

static enum ww_err bake_rows(struct work *work, const struct ww_baked *baked, uint64_t at,
                             struct ww_error *err)
{
    const uint64_t step =
        ww_max_u64(1, BLOCK_BYTES / ww_max_u64(1, work->n_cols * sizeof(double)));
    enum ww_err rc = WW_OK;

    work->rows = ww_calloc(step * work->n_cols, sizeof(*work->rows));
    work->bytes = ww_calloc(step * work->n_cols, sizeof(double));
    if (!work->rows || !work->bytes) {
        return no_memory(err);
    }
    if (work->magnitude && work->across) {
        rc = column_factors(work, step, err);
    }
    for (uint64_t i = 0; i < work->n_rows && !rc; i += step) {
        rc = make_rows(work, i, ww_min_u64(step, work->n_rows - i), err);
        if (!rc) {
            rc = write_block(work, ww_min_u64(step, work->n_rows - i) * work->n_cols,
                             baked, at + i * work->n_cols * sizeof(float), err);
        }
    }
    return rc;
}

/* A bias that the adapter adds to: one block. */
static enum ww_err bake_bias(struct work *work, const struct ww_baked *baked, uint64_t at,
                             struct ww_error *err)
{
    const struct ww_adapter_entry *added = work->change->part[WW_PART_B_BIAS];
    const struct ww_adapter_entry *b = work->change->part[WW_PART_B];
    const uint64_t n = work->w->n_elements;
    double scaling = 0;
    double *more = NULL;
    enum ww_err rc = WW_OK;

    if (added->tensor->n_elements != n || !b || b->tensor->rank < 2) {
        return misfit(work, err);
    }
    work->rows = ww_calloc(n, sizeof(*work->rows));
    work->bytes = ww_calloc(n, sizeof(double));
    if (!work->rows || !work->bytes) {
        return no_memory(err);
    }
    rc = ww_adapter_scaling(work->adapter, added->module, b->tensor->shape[1], &scaling,
                            err);
    if (!rc) {
        rc = read_origin(work, 0, n, work->rows, err);
    }
    if (!rc) {
        rc = load(work, added->tensor, &more, err);
    }
    for (uint64_t i = 0; i < n && !rc; i++) {
        work->rows[i] += scaling * more[i];
    }
    if (!rc) {
        rc = write_block(work, n, baked, at, err);
    }
    ww_free(more);
    return rc;
}

static bool has_factors(const struct change *change)
{
    return change->part[WW_PART_A] || change->part[WW_PART_EMBEDDING_A] ||
           change->part[WW_PART_MAGNITUDE];
}

static enum ww_err choose_origin(struct work *work, struct ww_error *err)
{
    const struct ww_adapter_entry *full = work->change->part[WW_PART_FULL];
    const struct ww_tensor *t = full ? full->tensor : work->w;

    work->origin = t;
    work->fd = full ? work->adapter->file.fd : work->base->files[work->w->file].fd;
    work->file = full ? WW_ADAPTER_WEIGHTS : work->base->files[work->w->file].name;
    if (t->rank != work->w->rank ||
        memcmp(t->shape, work->w->shape, t->rank * sizeof(t->shape[0])) != 0) {
        return misfit(work, err);
    }
    if (!ww_dtype_is_plain_float(t->dtype)) {
        return WW_FAIL(
            err, WW_E_QUANTISED,
            "tensor '%.160s' of '%s' is stored as %s; an adapter is added to the "
            "original checkpoint",
            t->name, work->file, ww_dtype_name(t->dtype));
    }
    return WW_OK;
}

static enum ww_err bake_one(const struct ww_model *base, const struct ww_adapter *adapter,
                            const struct change *change, const struct ww_baked *baked,
                            uint64_t at, struct ww_error *err)
{
    const struct ww_tensor *w = &base->tensors[change->tensor];
    struct work work = {.base = base, .adapter = adapter, .change = change, .w = w};
    enum ww_err rc = WW_OK;

    if (w->rank == 0 || w->n_elements == 0) {
        return misfit(&work, err);
    }
    work.n_rows = w->shape[0];
    work.n_cols = w->n_elements / w->shape[0];
    rc = choose_origin(&work, err);
    if (!rc && change->part[WW_PART_B_BIAS]) {
        rc = bake_bias(&work, baked, at, err);
    } else if (!rc) {
        rc = has_factors(change) ? prepare(&work, err) : WW_OK;
        if (!rc) {
            rc = bake_rows(&work, baked, at, err);
        }
    }
    ww_free(work.left);
    ww_free(work.right);
    ww_free(work.magnitude);
    ww_free(work.factors);
    ww_free(work.rows);
    ww_free(work.bytes);
    return rc;
}

/* The bias beside a weight: the same name but for its end. */
static enum ww_err bias_of(const struct ww_model *base, const struct ww_adapter *adapter,
                           const struct ww_adapter_entry *entry, uint32_t *tensor,
                           struct ww_error *err)
{
    static const char weight[] = "weight";
    const char *name = base->tensors[*tensor].name;
    const size_t keep = strlen(name) - (sizeof(weight) - 1);
    char *bias = ww_asprintf("%.*sbias", (int)keep, name);

    if (!bias) {
        return no_memory(err);
    }
    *tensor = ww_model_find(base, bias);
    ww_free(bias);
    return *tensor != WW_NONE
               ? WW_OK
               : WW_FAIL(err, WW_E_TENSOR,
                         "adapter '%s' adds a bias to '%.160s', which has none in '%s'",
                         adapter->path, entry->module, base->path);
}

static int by_tensor(const void *a, const void *b)
{
    const uint32_t x = ((const struct change *)a)->tensor;
    const uint32_t y = ((const struct change *)b)->tensor;
    return (x > y) - (x < y);
}

/* Entries grouped by the tensor of the base that they change, in its order. */
static enum ww_err group(const struct ww_model *base, const struct ww_adapter *adapter,
                         struct change *changes, uint32_t *n, struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    for (uint32_t i = 0; i < adapter->n_tensors && !rc; i++) {
        const struct ww_adapter_entry *entry = &adapter->entries[i];
        rc = ww_adapter_target(entry, base, &changes[i].tensor, err);
        if (!rc && entry->part == WW_PART_B_BIAS) {
            rc = bias_of(base, adapter, entry, &changes[i].tensor, err);
        }
        changes[i].part[entry->part] = entry;
    }
    if (rc) {
        return rc;
    }
    qsort(changes, adapter->n_tensors, sizeof(*changes), by_tensor);
    *n = 0;
    for (uint32_t i = 0; i < adapter->n_tensors; i++) {
        const struct change one = changes[i];
        if (*n == 0 || changes[*n - 1].tensor != one.tensor) {
            changes[(*n)++] = one;
            continue;
        }
        for (int p = 0; p < N_PARTS; p++) {
            if (one.part[p] && changes[*n - 1].part[p]) {
                return WW_FAIL(
                    err, WW_E_ADAPTER_FILE,
                    "tensors '%.120s' and '%.120s' of adapter '%s' change the same "
                    "weight",
                    one.part[p]->tensor->name, changes[*n - 1].part[p]->tensor->name,
                    adapter->path);
            }
            changes[*n - 1].part[p] = one.part[p] ? one.part[p] : changes[*n - 1].part[p];
        }
    }
    return WW_OK;
}

/* B's rank tells the scaling of its bias, which is a change of another tensor. */
static void lend_ranks(const struct ww_adapter *adapter, struct change *changes,
                       uint32_t n)
{
    for (uint32_t c = 0; c < n; c++) {
        const struct ww_adapter_entry *bias = changes[c].part[WW_PART_B_BIAS];
        for (uint32_t i = 0; bias && i < adapter->n_tensors; i++) {
            const struct ww_adapter_entry *entry = &adapter->entries[i];
            if (entry->part == WW_PART_B && strcmp(entry->module, bias->module) == 0) {
                changes[c].part[WW_PART_B] = entry;
            }
        }
    }
}

static enum ww_err open_file(int dirfd, int *fd, struct ww_error *err)
{
    *fd = openat(dirfd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (*fd < 0) {
        const int e = errno;
        return WW_FAIL_SYS(err, WW_E_IO, e,
                           "cannot make a nameless file for an adapter's weights");
    }
    return WW_OK;
}

static void describe(struct ww_baked *out, const struct ww_model *base,
                     const struct change *change)
{
    struct ww_tensor *t = &out->tensors[out->n_tensors];

    *t = base->tensors[change->tensor];
    t->dtype = WW_DTYPE_F32;
    t->offset = out->size_bytes;
    t->n_bytes = t->n_elements * sizeof(float);
    t->file = 0;
    out->changed[change->tensor] = out->n_tensors++;
    out->size_bytes += t->n_bytes;
}

enum ww_err ww_bake(const struct ww_model *base, const struct ww_adapter *adapter,
                    int dirfd, struct ww_baked *out, struct ww_error *err)
{
    struct change *changes = ww_calloc(adapter->n_tensors, sizeof(*changes));
    uint32_t n = 0;
    enum ww_err rc = WW_OK;

    *out = (struct ww_baked){.fd = -1};
    out->changed = ww_calloc(base->n_tensors, sizeof(*out->changed));
    out->tensors = ww_calloc(adapter->n_tensors, sizeof(*out->tensors));
    if (!changes || !out->changed || !out->tensors) {
        rc = no_memory(err);
        goto out;
    }
    for (uint32_t t = 0; t < base->n_tensors; t++) {
        out->changed[t] = WW_NONE;
    }
    rc = group(base, adapter, changes, &n, err);
    if (!rc) {
        lend_ranks(adapter, changes, n);
        rc = open_file(dirfd, &out->fd, err);
    }
    for (uint32_t i = 0; i < n && !rc; i++) {
        const uint64_t at = out->size_bytes;
        describe(out, base, &changes[i]);
        rc = bake_one(base, adapter, &changes[i], out, at, err);
    }
out:
    ww_free(changes);
    if (rc) {
        ww_baked_release(out);
    }
    return rc;
}

void ww_baked_release(struct ww_baked *baked)
{
    if (baked->fd >= 0) {
        close(baked->fd);
    }
    ww_free(baked->changed);
    ww_free(baked->tensors);
    *baked = (struct ww_baked){.fd = -1};
}
