/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Eight-bit weights with scales beside them, as transformers, compressed-tensors and
 * bitsandbytes write them: value = (number - zero point) x scale, one scale for the
 * tensor, a row or a block, and zero points as scales are or none. The step of an element
 * is that of its number times the scale.
 */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "model/elements.h"
#include "lineage/disguise.h"
#include "model/f8.h"
#include "model/shown.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/num.h"

#define BLOCK 128 /* of FP8 checkpoints whose scales are two-dimensional */

static const struct {
    const char *end; /* in place of ".weight" */
    double factor;
} scale_names[] = {{".weight_scale_inv", 1}, {".weight_scale", 1}, {".SCB", 1.0 / 127}};

/* What else lies beside such weights: scales of activations and caches, layouts. */
static const char *const others[] = {
    ".weight_zero_point", ".input_scale",       ".input_zero_point", ".activation_scale",
    ".output_scale",      ".k_scale",           ".v_scale",          ".q_scale",
    ".weight_format",     ".input_global_scale"};

struct scales {
    double *values; /* NULL: the tensor is read as it is */
    int8_t *zeros;  /* as values; NULL: all zero */
    uint64_t block[2];
    uint64_t columns; /* of scales */
};

struct quantised {
    struct ww_model *model;
    uint32_t *of; /* by tensor shown: the model's */
    struct scales *scales;
    uint32_t n;
    uint32_t n_eight;
    uint32_t n_bare;
};

static void free_quantised(void *payload)
{
    struct quantised *q = payload;

    for (uint32_t i = 0; q->scales && i < q->n; i++) {
        ww_free(q->scales[i].values);
        ww_free(q->scales[i].zeros);
    }
    ww_free(q->scales);
    ww_free(q->of);
    ww_model_close(q->model);
    ww_free(q);
}

static enum ww_err unchanged(void *payload, struct ww_error *err)
{
    const struct quantised *q = payload;
    return ww_model_unchanged(q->model, err);
}

static void decode_one(enum ww_dtype dtype, uint8_t byte, double zero, double scale,
                       const struct ww_disguise_pair *out, size_t e)
{
    const bool lost = !(scale < 0 || scale > 0);
    double low = 0;
    double high = 0;

    if (!out->cells) {
        out->first[e] = (ww_eight_bit_value(dtype, byte) - zero) * scale;
        out->second[e] =
            lost ? WW_STEP_LOST : fabs(ww_eight_bit_step(dtype, byte) * scale);
        return;
    }
    ww_eight_bit_cell(dtype, byte, &low, &high);
    low = lost ? -HUGE_VAL : (low - zero) * scale;
    high = lost ? HUGE_VAL : (high - zero) * scale;
    out->first[e] = fmin(low, high);
    out->second[e] = fmax(low, high);
}

static enum ww_err read_eight(const struct quantised *q, uint32_t tensor, uint64_t first,
                              size_t n, uint8_t *bytes,
                              const struct ww_disguise_pair *out, struct ww_error *err)
{
    const struct ww_tensor *t = &q->model->tensors[q->of[tensor]];
    const struct scales *s = &q->scales[tensor];
    const uint64_t width = t->n_elements / t->shape[0]; /* as scales are laid out */
    enum ww_err rc = ww_elements_bytes(q->model, q->of[tensor], first, n, bytes, err);

    for (size_t e = 0; e < n && !rc; e++) {
        const uint64_t row = (first + e) / width;
        const uint64_t column = (first + e) % width;
        const uint64_t of = row / s->block[0] * s->columns + column / s->block[1];
        const double zero = s->zeros ? s->zeros[of] : 0;
        decode_one(t->dtype, bytes[e], zero, s->values[of], out, e);
        if (!out->cells && !isfinite(out->first[e])) {
            rc = WW_FAIL(
                err, WW_E_NONFINITE,
                "tensor '%s' of '%s' holds NaN or infinity; repair the weights first",
                t->name, q->model->path);
        }
    }
    return rc;
}

static enum ww_err read_quantised(void *payload, uint32_t tensor, uint64_t first,
                                  size_t n, const struct ww_disguise_pair *out,
                                  struct ww_error *err)
{
    const struct quantised *q = payload;
    uint8_t *bytes = ww_calloc(n, sizeof(double));
    enum ww_err rc = bytes ? WW_OK : WW_FAIL_MEMORY(err, "a tile");

    if (!rc && q->scales[tensor].values) {
        rc = read_eight(q, tensor, first, n, bytes, out, err);
    } else if (!rc) {
        rc =
            ww_elements_double(q->model, q->of[tensor], first, n, bytes, out->first, err);
        for (size_t e = 0; e < n; e++) {
            out->second[e] = out->cells ? out->first[e] : 0;
        }
    }
    ww_free(bytes);
    return rc;
}

/* "x.weight" and ".SCB" give the index of "x.SCB", or WW_NONE. */
static enum ww_err find_beside(const struct ww_model *model, const struct ww_tensor *t,
                               const char *end, uint32_t *at, struct ww_error *err)
{
    const size_t stem = strlen(t->name) - strlen(".weight");
    char *name = ww_asprintf("%.*s%s", (int)stem, t->name, end);

    if (!name) {
        return WW_FAIL_MEMORY(err, "a name");
    }
    *at = ww_model_find(model, name);
    ww_free(name);
    return WW_OK;
}

static enum ww_err find_scale(const struct ww_model *model, const struct ww_tensor *t,
                              uint32_t *at, double *factor, struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    *at = WW_NONE;
    for (size_t i = 0; i < WW_LEN(scale_names) && *at == WW_NONE && !rc; i++) {
        rc = find_beside(model, t, scale_names[i].end, at, err);
        *factor = scale_names[i].factor;
    }
    return rc;
}

/* Which block of [rows][columns] each of the scales is for. */
static bool lay_out(const struct ww_tensor *t, const struct ww_tensor *scale,
                    struct scales *out)
{
    const uint64_t rows = t->shape[0];
    const uint64_t columns = t->n_elements / rows;

    out->columns = 1;
    out->block[1] = columns;
    if (scale->n_elements == 1 ||
        (scale->n_elements == rows && scale->shape[0] == rows)) {
        out->block[0] = scale->n_elements == 1 ? rows : 1;
        return true;
    }
    if (scale->rank != 2 || t->rank != 2) {
        return false;
    }
    out->columns = scale->shape[1];
    if (ww_div_up(rows, BLOCK) == scale->shape[0] &&
        ww_div_up(columns, BLOCK) == scale->shape[1]) {
        out->block[0] = out->block[1] = BLOCK;
        return true;
    }
    out->block[0] = rows / scale->shape[0];
    out->block[1] = columns / scale->shape[1];
    return rows % scale->shape[0] == 0 && columns % scale->shape[1] == 0;
}

static enum ww_err load_scales(const struct ww_model *model, const struct ww_tensor *t,
                               uint32_t at, double factor, struct scales *out,
                               struct ww_error *err)
{
    const struct ww_tensor *scale = &model->tensors[at];
    const size_t n = (size_t)scale->n_elements;
    uint8_t *bytes = NULL;
    enum ww_err rc = WW_OK;

    if (n == 0 || t->n_elements == 0 || !ww_dtype_is_plain_float(scale->dtype) ||
        scale->n_elements > t->n_elements || !lay_out(t, scale, out)) {
        return WW_FAIL(err, WW_E_QUANTISED,
                       "the scales '%.160s' of '%s' do not fit the weight they are for",
                       scale->name, model->path);
    }
    bytes = ww_calloc(n, sizeof(double));
    out->values = ww_calloc(n, sizeof(double));
    if (!bytes || !out->values) {
        rc = WW_FAIL_MEMORY(err, "scales");
    }
    if (!rc) {
        rc = ww_elements_double(model, at, 0, n, bytes, out->values, err);
    }
    for (size_t i = 0; i < n && !rc; i++) {
        out->values[i] *= factor;
    }
    ww_free(bytes);
    return rc;
}

/* Where columns were sorted into groups by what they weigh, a list beside the weight
 * tells the group of each, and scales of groups in their order are other columns'. */
static enum ww_err refuse_sorted(const struct ww_model *model, const struct ww_tensor *t,
                                 const struct scales *scales, struct ww_error *err)
{
    uint32_t at = WW_NONE;
    enum ww_err rc = find_beside(model, t, ".weight_g_idx", &at, err);

    if (!rc && at != WW_NONE && scales->columns > 1) {
        rc = WW_FAIL(err, WW_E_QUANTISED,
                     "'%.160s' of '%s' sorts columns into groups, which is not undone; "
                     "save its weights as floats with the program that rounded them",
                     model->tensors[at].name, model->path);
    }
    return rc;
}

/* Zero points are integers, one for each scale; those of floats are not known. */
static enum ww_err load_zeros(const struct ww_model *model, const struct ww_tensor *t,
                              uint64_t n_scales, struct scales *out, struct ww_error *err)
{
    const struct ww_tensor *zero = NULL;
    uint32_t at = WW_NONE;
    enum ww_err rc = find_beside(model, t, ".weight_zero_point", &at, err);

    if (rc || at == WW_NONE) {
        return rc;
    }
    zero = &model->tensors[at];
    if (t->dtype != WW_DTYPE_I8 || zero->dtype != WW_DTYPE_I8 ||
        zero->n_elements != n_scales) {
        return WW_FAIL(err, WW_E_QUANTISED,
                       "the zero points '%.160s' of '%s' do not fit the scales of the "
                       "weight they are for: one of dtype I8 for each is expected",
                       zero->name, model->path);
    }
    out->zeros = ww_calloc((size_t)n_scales, sizeof(*out->zeros));
    return out->zeros ? ww_elements_bytes(model, at, 0, (size_t)n_scales,
                                          (uint8_t *)out->zeros, err)
                      : WW_FAIL_MEMORY(err, "zero points");
}

/* An FP8 tensor without scales holds its values as they are. */
static enum ww_err no_scales(const struct ww_tensor *t, struct scales *out,
                             struct ww_error *err)
{
    out->values = ww_calloc(1, sizeof(double));
    if (!out->values) {
        return WW_FAIL_MEMORY(err, "scales");
    }
    out->values[0] = 1;
    out->block[0] = t->shape[0];
    out->block[1] = ww_max_u64(1, t->n_elements / ww_max_u64(1, t->shape[0]));
    out->columns = 1;
    return WW_OK;
}

static bool is_weight(const struct ww_tensor *t)
{
    return ww_is_eight_bit(t->dtype) && ww_str_ends(t->name, ".weight") && t->rank > 0 &&
           t->n_elements > 0;
}

static bool is_beside(const struct ww_tensor *t)
{
    for (size_t i = 0; i < WW_LEN(scale_names); i++) {
        if (ww_str_ends(t->name, scale_names[i].end)) {
            return true;
        }
    }
    for (size_t i = 0; i < WW_LEN(others); i++) {
        if (ww_str_ends(t->name, others[i])) {
            return true;
        }
    }
    return false;
}

static enum ww_err show_tensor(struct quantised *q, uint32_t t, struct ww_tensor *shown,
                               struct ww_error *err)
{
    const struct ww_tensor *from = &q->model->tensors[t];
    struct scales *scales = &q->scales[q->n];
    uint32_t at = WW_NONE;
    double factor = 1;
    enum ww_err rc = WW_OK;

    shown[q->n] = *from;
    q->of[q->n++] = t;
    if (!is_weight(from)) {
        return WW_OK;
    }
    rc = find_scale(q->model, from, &at, &factor, err);
    if (rc) {
        return rc;
    }
    if (at == WW_NONE && from->dtype == WW_DTYPE_I8) {
        q->n_bare++;
        return WW_OK;
    }
    shown[q->n - 1].dtype = WW_DTYPE_F32;
    q->n_eight++;
    if (at == WW_NONE) {
        return no_scales(from, scales, err);
    }
    rc = load_scales(q->model, from, at, factor, scales, err);
    rc = rc ? rc : refuse_sorted(q->model, from, scales, err);
    return rc ? rc
              : load_zeros(q->model, from, q->model->tensors[at].n_elements, scales, err);
}

static enum ww_err tell(const struct quantised *q, struct ww_disguise *out,
                        struct ww_strlist *notes, struct ww_error *err)
{
    char *text = NULL;
    enum ww_err rc = WW_OK;

    out->undone = ww_asprintf("%" PRIu32 " tensors of eight-bit weights, decoded with "
                              "their scales",
                              q->n_eight);
    if (!out->undone) {
        return WW_FAIL_MEMORY(err, "a note");
    }
    if (q->n_bare > 0) {
        text = ww_asprintf("%" PRIu32 " integer tensors of the suspect have no scales "
                           "that are known and are not compared",
                           q->n_bare);
        rc = text ? ww_strlist_add(notes, text, err) : WW_FAIL_MEMORY(err, "a note");
    }
    ww_free(text);
    return rc;
}

/* A scale under a name that nobody here knows, of floats, whose numbers without it would
 * look like weights; integers without a scale stay what they are. */
static enum ww_err refuse_unknown(const struct ww_model *model, uint32_t t,
                                  struct ww_error *err)
{
    const char *name = model->tensors[t].name;
    const char *last = strrchr(name, '.');
    uint32_t at = WW_NONE;
    char *weight = NULL;

    if (!last || !strstr(last, "scale")) {
        return WW_OK;
    }
    weight = ww_asprintf("%.*s.weight", (int)(last - name), name);
    if (!weight) {
        return WW_FAIL_MEMORY(err, "a name");
    }
    at = ww_model_find(model, weight);
    ww_free(weight);
    return at == WW_NONE || !is_weight(&model->tensors[at]) ||
                   model->tensors[at].dtype == WW_DTYPE_I8
               ? WW_OK
               : WW_FAIL(err, WW_E_QUANTISED,
                         "what '%.160s' of '%s' does to '%.160s' is not known; save its "
                         "weights as floats with the program that rounded them",
                         name, model->path, model->tensors[at].name);
}

enum ww_err ww_disguise_quantised(struct ww_model *model, struct ww_disguise *out,
                                  bool *took, struct ww_strlist *notes,
                                  struct ww_error *err)
{
    struct quantised *q = NULL;
    struct ww_tensor *shown = NULL;
    enum ww_err rc = WW_OK;

    *took = false;
    for (uint32_t t = 0; t < model->n_tensors && !*took; t++) {
        *took = is_weight(&model->tensors[t]);
    }
    if (!*took) {
        return WW_OK;
    }
    q = ww_calloc(1, sizeof(*q));
    if (!q) {
        *took = false;
        return WW_FAIL_MEMORY(err, "a quantised model");
    }
    q->model = model;
    *out = (struct ww_disguise){.read = read_quantised,
                                .cells = true,
                                .unchanged = unchanged,
                                .free = free_quantised};
    out->payload = q;
    q->of = ww_calloc(model->n_tensors, sizeof(*q->of));
    q->scales = ww_calloc(model->n_tensors, sizeof(*q->scales));
    shown = ww_calloc(model->n_tensors, sizeof(*shown));
    if (!q->of || !q->scales || !shown) {
        rc = WW_FAIL_MEMORY(err, "a quantised model");
    }
    for (uint32_t t = 0; t < model->n_tensors && !rc; t++) {
        if (!is_beside(&model->tensors[t])) {
            rc = refuse_unknown(model, t, err);
            rc = rc ? rc : show_tensor(q, t, shown, err);
        }
    }
    if (!rc) {
        rc = ww_model_shown(model->path, shown, q->n, &out->model, err);
    }
    if (!rc) {
        rc = tell(q, out, notes, err);
    }
    ww_free(shown);
    return rc;
}
