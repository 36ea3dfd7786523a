/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An adapter tensor is rows of columns; each of the two may run over an axis of the
 * base's weight, and then takes that axis's map. Convolutions have axes behind the
 * channels that stay; they are folded into the columns.
 */
#include "lock/carry.h"

#include "lock/row_gather.h"
#include "model/orientation.h"
#include "model/shape.h"
#include "util/alloc.h"
#include "util/fail.h"

static uint64_t product(const struct ww_tensor *t, unsigned from)
{
    uint64_t n = 1;
    for (unsigned a = from; a < t->rank; a++) {
        n *= t->shape[a];
    }
    return n;
}

static enum ww_err bad_shape(const struct ww_carry *c, const struct ww_tensor *w,
                             struct ww_error *err)
{
    return WW_FAIL(
        err, WW_E_SHAPE,
        "tensor '%.160s' of the adapter does not fit '%.160s' of the base; is it "
        "the adapter's base?",
        c->entry->tensor->name, w->name);
}

/* The axis of the weight that the outputs run over; inputs run over the other one. */
static int out_axis(const struct ww_carry *c, const struct ww_adapter *adapter,
                    const struct ww_tensor *w)
{
    return ww_adapter_lies_across(adapter, c->gauge->layout->model, w) ? 1 : 0;
}

/* Rows of B, columns of A, both of a whole weight: which axis of the base. */
static void choose_axes(struct ww_carry *c, const struct ww_adapter *adapter,
                        const struct ww_tensor *w)
{
    const struct ww_tensor *t = c->entry->tensor;
    const int out = out_axis(c, adapter, w);

    c->row_axis = -1;
    c->col_axis = -1;
    switch (c->entry->part) {
    case WW_PART_A:
        c->col_axis = w->rank > 1 ? 1 - out : 0;
        break;
    case WW_PART_B:
        c->row_axis = out;
        break;
    case WW_PART_EMBEDDING_A:
        c->col_axis = 0;
        break;
    case WW_PART_EMBEDDING_B:
        c->row_axis = 1;
        break;
    case WW_PART_B_BIAS:
    case WW_PART_MAGNITUDE:
        c->col_axis = out;
        break;
    case WW_PART_FULL:
        c->row_axis = t->rank > 1 ? 0 : -1;
        c->col_axis = t->rank > 1 ? 1 : 0;
        break;
    }
    c->unsigned_only = c->entry->part == WW_PART_MAGNITUDE;
}

static bool fits(const struct ww_carry *c, const struct ww_tensor *w)
{
    const struct ww_tensor *t = c->entry->tensor;

    if (t->n_elements == 0 || t->rank == 0 || w->rank == 0 ||
        c->row_axis >= (int)w->rank || c->col_axis >= (int)w->rank) {
        return false;
    }
    if (c->entry->part == WW_PART_FULL && !ww_same_shape(t, w)) {
        return false;
    }
    return (c->row_axis < 0 || c->n_rows == w->shape[c->row_axis]) &&
           (c->col_axis < 0 || c->col_extent == w->shape[c->col_axis]);
}

/* Axes of the weight that move and that the adapter's tensors do not run over one by one:
 * stacked experts, patches. */
static bool others_stay(const struct ww_carry *c, const struct ww_tensor *w)
{
    for (unsigned a = 2; a < w->rank; a++) {
        if (ww_axis_moves(c->gauge->layout, c->target, a)) {
            return false;
        }
    }
    return ww_axis_stack(c->gauge->layout, c->target) == WW_NONE;
}

enum ww_err ww_carry_init(struct ww_carry *c, const struct ww_gauge *gauge,
                          const struct ww_adapter *adapter,
                          const struct ww_adapter_entry *entry, uint32_t target,
                          bool inverse, struct ww_error *err)
{
    const struct ww_tensor *w = &gauge->layout->model->tensors[target];
    const struct ww_tensor *t = entry->tensor;
    unsigned split = 0;

    *c = (struct ww_carry){
        .gauge = gauge, .entry = entry, .target = target, .inverse = inverse};
    choose_axes(c, adapter, w);
    split = t->rank > 1 ? 1 : 0;
    c->n_rows = split ? t->shape[0] : 1;
    c->col_extent = t->rank > 0 ? t->shape[split] : 1;
    c->inner = product(t, split + 1);
    /* A magnitude is stored as [out] or [1, out]. */
    if (c->unsigned_only && t->rank == 2 && t->shape[0] != 1) {
        return bad_shape(c, w, err);
    }
    if (!fits(c, w)) {
        return bad_shape(c, w, err);
    }
    if (!ww_dtype_is_plain_float(t->dtype)) {
        return WW_FAIL(err, WW_E_QUANTISED,
                       "tensor '%.160s' of the adapter is stored as %s, expected BF16, "
                       "F16, F32 or F64",
                       t->name, ww_dtype_name(t->dtype));
    }
    if (!gauge->layout->bindings[target].ignored && !others_stay(c, w)) {
        return WW_FAIL(err, WW_E_UNSUPPORTED,
                       "tensor '%.160s' of the adapter changes '%.160s', which stacks "
                       "experts or moves on a third axis; this is not supported",
                       t->name, w->name);
    }
    return WW_OK;
}

struct carry_state {
    const struct ww_carry *carry;
    struct ww_element rows;
    struct ww_element cols;
    struct ww_row_gather gather;
};

static void free_state(struct carry_state *state)
{
    if (state) {
        ww_row_gather_release(&state->gather);
        ww_element_release(&state->rows);
        ww_element_release(&state->cols);
        ww_free(state);
    }
}

/* A map of n indices as one of n * inner. */
static enum ww_err widen(struct ww_element *element, uint64_t inner, struct ww_error *err)
{
    struct ww_element wide = {0};
    enum ww_err rc = WW_OK;

    if (inner == 1 || !element->perm) {
        element->n *= (uint32_t)inner;
        return WW_OK;
    }
    rc = ww_element_init(&wide, element->n * inner, err);
    for (uint32_t i = 0; i < wide.n && !rc; i++) {
        const uint32_t at = i / (uint32_t)inner;
        wide.perm[i] = element->perm[at] * (uint32_t)inner + i % (uint32_t)inner;
        wide.neg[i] = element->neg[at];
        wide.exp[i] = element->exp[at];
    }
    if (!rc) {
        ww_element_release(element);
        *element = wide;
    }
    return rc;
}

static enum ww_err strip_signs(const struct ww_carry *c, struct ww_element *element,
                               struct ww_error *err)
{
    for (uint32_t i = 0; element->perm && i < element->n; i++) {
        element->neg[i] = 0;
        if (element->exp[i] != 0) {
            return WW_FAIL(
                err, WW_E_UNSUPPORTED,
                "tensor '%.160s' is a DoRA magnitude, which powers of two would "
                "change; lock the base with --no-scale",
                c->entry->tensor->name);
        }
    }
    return WW_OK;
}

static enum ww_err load_map(const struct ww_carry *c, int axis, uint64_t n,
                            struct ww_element *out, struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    if (axis < 0) {
        ww_element_none(out, (uint32_t)n);
        return WW_OK;
    }
    rc = ww_axis_map(c->gauge, c->target, (unsigned)axis, 0, out, err);
    if (!rc && c->unsigned_only) {
        rc = strip_signs(c, out, err);
    }
    if (!rc && c->inverse) {
        rc = ww_element_invert(out, err);
    }
    return rc;
}

static enum ww_err carry_open(const void *params, uint64_t n_rows, uint64_t row_bytes,
                              uint64_t n_tiles, void **out, const uint32_t **row_map,
                              struct ww_error *err)
{
    const struct ww_carry *c = params;
    struct carry_state *state = ww_calloc(1, sizeof(*state));
    enum ww_err rc = WW_OK;

    (void)n_tiles;
    (void)row_bytes;
    *out = NULL;
    *row_map = NULL;
    if (!state) {
        return WW_FAIL_MEMORY(err, "an adapter");
    }
    WW_INVARIANT(n_rows == c->n_rows);
    state->carry = c;
    rc = load_map(c, c->row_axis, c->n_rows, &state->rows, err);
    if (!rc) {
        rc = load_map(c, c->col_axis, c->col_extent, &state->cols, err);
    }
    if (!rc) {
        rc = widen(&state->cols, c->inner, err);
    }
    if (!rc) {
        rc = ww_row_gather_init(&state->gather, c->entry->tensor->dtype, &state->cols,
                                err);
    }
    if (rc) {
        free_state(state);
        return rc;
    }
    *out = state;
    *row_map = state->rows.perm;
    return WW_OK;
}

static enum ww_err carry_row(const struct carry_state *state, uint64_t row,
                             const void *in, void *out, struct ww_error *err)
{
    const struct ww_element *rows = &state->rows;
    const char *name = state->carry->entry->tensor->name;
    const int exp = rows->perm ? rows->exp[row] : 0;
    size_t at = 0;

    if (!ww_row_gather(&state->gather, rows->perm && rows->neg[row], in, out)) {
        return WW_FAIL(err, WW_E_NONFINITE,
                       "tensor '%.160s' of the adapter holds NaN or infinity; repair the "
                       "weights first",
                       name);
    }
    if ((exp != 0 || state->gather.exp) && !ww_row_scale(&state->gather, exp, out, &at)) {
        return WW_FAIL(
            err, WW_E_UNSUPPORTED,
            "tensor '%.160s' of the adapter: a value times a factor of two leaves "
            "the normal range of %s",
            name, ww_dtype_name(state->gather.dtype));
    }
    return WW_OK;
}

static enum ww_err carry_run(void *opaque, const struct ww_tile *tile,
                             struct ww_error *err)
{
    const struct carry_state *state = opaque;
    enum ww_err rc = WW_OK;

    for (uint64_t i = 0; i < tile->n_rows && !rc; i++) {
        rc = carry_row(state, tile->first_row + i, tile->rows[0][i],
                       tile->out + i * tile->row_bytes, err);
    }
    return rc;
}

static enum ww_err carry_close(void *opaque, bool complete, struct ww_error *err)
{
    (void)complete;
    (void)err;
    free_state(opaque);
    return WW_OK;
}

const struct ww_kernel ww_carry_kernel = {
    .name = "carry",
    .open = carry_open,
    .run = carry_run,
    .close = carry_close,
};
