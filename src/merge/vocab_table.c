/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rows of a table over the vocabulary, for each model of a merge. Where every row is the
 * model's own or zero a map is enough. Else the table is written out, row by row, as
 * float32 (float64 if an input is, or the merge is computed so), into a file without a
 * name; padding is the mean of all rows. Sums are in double, in the order of models and
 * ids.
 */
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "merge/build_vocab.h"
#include "model/convert.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"

#define TEMPORARY "/var/tmp"

struct side {
    struct ww_merge_source *source; /* of the tensor */
    uint64_t rows;                  /* that its table has */
    const struct ww_vocab *vocab;
};

struct table {
    struct ww_build *build;
    const struct ww_vocab_merge *vm;
    struct ww_merge_tensor *tensor;
    uint32_t base;      /* the model that the recipe calls so, WW_NONE */
    struct side *sides; /* sources, then the base */
    uint32_t n_sides;
    uint64_t width; /* elements of a row */
    uint8_t *raw;   /* a row as it is stored, of any dtype */
    double *row;
    double *sum;
    double *pad;
};

static struct side *side_of(const struct table *t, uint32_t model)
{
    for (uint32_t i = 0; i < t->n_sides; i++) {
        if (t->sides[i].source->model == model) {
            return &t->sides[i];
        }
    }
    return NULL;
}

/* The row of a token in a side's table, WW_NONE when it has none. */
static uint32_t own_row(const struct side *side, const char *token)
{
    const uint64_t id = token ? ww_vocab_id(side->vocab, token) : UINT64_MAX;
    return id < side->rows ? (uint32_t)id : WW_NONE;
}

static enum ww_err read_row(const struct table *t, const struct side *side, uint64_t row,
                            double *out, struct ww_error *err)
{
    const struct ww_merge_source *s = side->source;
    const size_t bytes = (size_t)(t->width * ww_dtype_bits(s->dtype) / 8);
    enum ww_err rc = ww_merge_input_read(t->build->plan, s->input, t->raw, bytes,
                                         s->offset + row * bytes, err);

    if (!rc) {
        ww_to_double(s->dtype, t->raw, out, (size_t)t->width);
    }
    return rc;
}

/* What the recipe says of a token: the row of another model or of another token. */
static enum ww_err read_wish(const struct table *t, const struct ww_recipe_token *wish,
                             double *out, struct ww_error *err)
{
    const struct side *side = NULL;
    uint64_t row = WW_NONE;

    memset(out, 0, (size_t)t->width * sizeof(*out));
    if (wish->kind == WW_TOKEN_ZERO) {
        return WW_OK;
    }
    side = side_of(t, wish->model);
    if (!side) {
        return WW_FAIL(err, WW_E_RECIPE,
                       "line %zu: the source of token '%s' is '%s', which is no input",
                       wish->line, wish->token, t->build->models[wish->model].text);
    }
    if (wish->kind == WW_TOKEN_OTHER && !wish->other) {
        row = wish->other_id < side->rows ? wish->other_id : WW_NONE;
    } else {
        row = own_row(side, wish->kind == WW_TOKEN_OTHER ? wish->other : wish->token);
    }
    if (row == WW_NONE) {
        return WW_FAIL(
            err, WW_E_RECIPE,
            "line %zu: the row for token '%s' is not in the vocabulary of '%s'",
            wish->line, wish->token, t->build->models[wish->model].text);
    }
    return read_row(t, side, row, out, err);
}

/* The row for those who lack the token: the only owner's, the base's, the mean. */
static enum ww_err read_default(struct table *t, uint64_t id, double *out,
                                struct ww_error *err)
{
    const char *token = t->vm->tokens[id];
    const struct side *base = side_of(t, t->base);
    uint32_t owners = 0;
    enum ww_err rc = WW_OK;

    if (t->vm->wishes[id]) {
        return read_wish(t, t->vm->wishes[id], out, err);
    }
    memset(out, 0, (size_t)t->width * sizeof(*out));
    for (uint32_t i = 0; i < t->n_sides; i++) {
        owners += own_row(&t->sides[i], token) != WW_NONE;
    }
    if (owners > 1 && base && own_row(base, token) != WW_NONE) {
        return read_row(t, base, own_row(base, token), out, err);
    }
    for (uint32_t i = 0; i < t->n_sides && !rc; i++) {
        const uint32_t row = own_row(&t->sides[i], token);
        if (row == WW_NONE) {
            continue;
        }
        rc = read_row(t, &t->sides[i], row, t->sum, err);
        for (uint64_t k = 0; k < t->width && !rc; k++) {
            out[k] += t->sum[k];
        }
    }
    for (uint64_t k = 0; k < t->width && owners > 1; k++) {
        out[k] /= owners;
    }
    return !rc && owners == 0 && token
               ? ww_build_warn(
                     t->build, err,
                     "token '%s' is in the vocabulary of no model: its rows are "
                     "zero",
                     token)
               : rc;
}

/* Is a row that is not the model's own (or zero) needed anywhere? */
static bool needs_table(const struct table *t, const struct side *side)
{
    const struct ww_vocab_merge *vm = t->vm;

    if (vm->n_rows > vm->n_tokens) {
        return true;
    }
    for (uint64_t id = 0; id < vm->n_tokens; id++) {
        const struct ww_recipe_token *wish = vm->wishes[id];
        if (vm->tokens[id] &&
            (own_row(side, vm->tokens[id]) == WW_NONE || (wish && wish->force))) {
            return true;
        }
    }
    return false;
}

static enum ww_err map_rows(struct table *t, struct side *side, struct ww_error *err)
{
    uint32_t *rows = ww_pool_calloc(t->build->pool, (size_t)t->vm->n_rows, sizeof(*rows));

    if (!rows) {
        return ww_build_no_memory(err);
    }
    for (uint64_t id = 0; id < t->vm->n_rows; id++) {
        rows[id] = own_row(side, t->vm->tokens[id]);
    }
    side->source->rows = rows;
    return WW_OK;
}

static enum ww_err open_unnamed(struct ww_build *build, int *out, struct ww_error *err)
{
    int fd = open(TEMPORARY, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

    if (fd < 0) {
        fd = memfd_create("weightward-vocabulary", MFD_CLOEXEC);
    }
    if (fd < 0) {
        return WW_FAIL(err, WW_E_IO, "cannot make an unnamed file for a vocabulary");
    }
    *out = fd;
    return ww_build_own_fd(build, fd, err);
}

static enum ww_err write_row(struct table *t, int fd, enum ww_dtype dtype, uint64_t id,
                             const double *row, struct ww_error *err)
{
    const size_t bytes = (size_t)(t->width * ww_dtype_bits(dtype) / 8);

    ww_from_double(dtype, row, t->raw, (size_t)t->width);
    return ww_pwrite_full(fd, t->raw, bytes, id * bytes, "the vocabulary", err);
}

static enum ww_err write_table(struct table *t, const struct side *side, int fd,
                               enum ww_dtype dtype, struct ww_error *err)
{
    const struct ww_vocab_merge *vm = t->vm;
    enum ww_err rc = WW_OK;

    memset(t->pad, 0, (size_t)t->width * sizeof(*t->pad));
    for (uint64_t id = 0; id < vm->n_tokens && !rc; id++) {
        const uint32_t own = own_row(side, vm->tokens[id]);
        const bool forced = vm->wishes[id] && vm->wishes[id]->force;
        rc = own != WW_NONE && !forced ? read_row(t, side, own, t->row, err)
                                       : read_default(t, id, t->row, err);
        for (uint64_t k = 0; k < t->width; k++) {
            t->pad[k] += t->row[k];
        }
        if (!rc) {
            rc = write_row(t, fd, dtype, id, t->row, err);
        }
    }
    for (uint64_t k = 0; k < t->width; k++) {
        t->pad[k] /= (double)vm->n_tokens;
    }
    for (uint64_t id = vm->n_tokens; id < vm->n_rows && !rc; id++) {
        rc = write_row(t, fd, dtype, id, t->pad, err);
    }
    return rc;
}

static enum ww_err make_table(struct table *t, const struct side *side,
                              struct ww_merge_source *out, struct ww_error *err)
{
    const enum ww_dtype dtype =
        side->source->dtype == WW_DTYPE_F64 || t->tensor->compute == WW_DTYPE_F64
            ? WW_DTYPE_F64
            : WW_DTYPE_F32;
    char *name = ww_pool_keep(
        t->build->pool, ww_asprintf("%s/%s", t->build->models[side->source->model].text,
                                    t->tensor->name));
    int fd = -1;
    enum ww_err rc = WW_OK;

    if (!name) {
        return ww_build_no_memory(err);
    }
    rc = open_unnamed(t->build, &fd, err);
    if (!rc) {
        rc = write_table(t, side, fd, dtype, err);
    }
    if (rc) {
        return rc;
    }
    const struct ww_merge_input input = {
        name, fd, t->vm->n_rows * t->width * ww_dtype_bits(dtype) / 8,
        .want_sha256 = false};
    *out = *side->source;
    out->offset = 0;
    out->dtype = dtype;
    return ww_build_add_input(t->build, &input, &out->input, err);
}

static uint64_t rows_of(const struct ww_build *build, const struct ww_merge_source *s)
{
    const struct ww_build_model *m = &build->models[s->model];
    const struct ww_tensor *t = NULL;
    uint32_t n = 0;

    if (m->bake && s->input == m->bake_input) {
        t = ww_bake_tensors(m->bake, &n);
    } else {
        const struct ww_weight_file *file = &m->model->files[s->input - m->first_input];
        t = &m->model->tensors[file->first_tensor];
        n = file->n_tensors;
    }
    for (uint32_t k = 0; k < n; k++) {
        if (t[k].offset == s->offset && t[k].rank > 0) {
            return t[k].shape[0];
        }
    }
    return 0;
}

static enum ww_err open_table(struct table *t, struct ww_error *err)
{
    struct ww_merge_tensor *tensor = t->tensor;
    const uint32_t n = tensor->n_sources + (tensor->base != NULL);

    t->width = 1;
    for (unsigned a = 1; a < tensor->rank; a++) {
        t->width *= tensor->shape[a];
    }
    t->sides = ww_calloc(n, sizeof(*t->sides));
    t->raw = ww_calloc((size_t)t->width, 8);
    t->row = ww_calloc((size_t)t->width, sizeof(*t->row));
    t->sum = ww_calloc((size_t)t->width, sizeof(*t->sum));
    t->pad = ww_calloc((size_t)t->width, sizeof(*t->pad));
    if (!t->sides || !t->raw || !t->row || !t->sum || !t->pad) {
        return ww_build_no_memory(err);
    }
    for (uint32_t i = 0; i < n; i++) {
        struct ww_merge_source *s =
            i < tensor->n_sources ? &tensor->sources[i] : tensor->base;
        t->sides[t->n_sides++] =
            (struct side){s, rows_of(t->build, s), &t->vm->vocabs[t->vm->of[s->model]]};
    }
    return WW_OK;
}

enum ww_err ww_build_vocab_table(struct ww_build *build, const struct ww_vocab_merge *vm,
                                 struct ww_merge_tensor *tensor, uint32_t base,
                                 struct ww_error *err)
{
    struct table t = {.build = build, .vm = vm, .tensor = tensor, .base = base};
    struct ww_merge_source *made = NULL;
    enum ww_err rc = open_table(&t, err);

    /* Tables are all made before a source is changed: they read each other's rows. */
    made = ww_calloc(t.n_sides, sizeof(*made));
    if (!rc && !made) {
        rc = ww_build_no_memory(err);
    }
    for (uint32_t i = 0; i < t.n_sides && !rc; i++) {
        if (needs_table(&t, &t.sides[i])) {
            rc = make_table(&t, &t.sides[i], &made[i], err);
        }
    }
    for (uint32_t i = 0; i < t.n_sides && !rc; i++) {
        if (made[i].input != 0) {
            *t.sides[i].source = made[i];
        } else {
            rc = map_rows(&t, &t.sides[i], err);
        }
    }
    tensor->shape[0] = vm->n_rows;
    ww_free(made);
    ww_free(t.sides);
    ww_free(t.raw);
    ww_free(t.row);
    ww_free(t.sum);
    ww_free(t.pad);
    return rc;
}
