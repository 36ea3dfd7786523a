/* SPDX-License-Identifier: Apache-2.0 */
#include "model/eight_bit.h"

#include <math.h>
#include <string.h>

#include "model/elements.h"
#include "model/f8.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/num.h"
#include "util/str.h"

#define STRETCH 1024u /* elements at once */
#define BLOCK 128     /* of FP8 checkpoints whose scales are two-dimensional */

static const struct {
    const char *end; /* in place of ".weight" */
    double factor;
} scale_names[] = {{".weight_scale_inv", 1}, {".weight_scale", 1}, {".SCB", 1.0 / 127}};

/* What else lies beside such weights: scales of activations and caches, layouts. */
static const char *const others[] = {
    ".weight_zero_point", ".input_scale",       ".input_zero_point", ".activation_scale",
    ".output_scale",      ".k_scale",           ".v_scale",          ".q_scale",
    ".weight_format",     ".input_global_scale"};

struct ww_eight_bit_scales {
    double *values; /* NULL: the tensor is read as it is */
    int8_t *zeros;  /* as values; NULL: all zero */
    uint64_t block[2];
    uint64_t columns; /* of scales */
};

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
                    struct ww_eight_bit_scales *out)
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
                               uint32_t at, double factor,
                               struct ww_eight_bit_scales *out, struct ww_error *err)
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
                                 const struct ww_eight_bit_scales *scales,
                                 struct ww_error *err)
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
                              uint64_t n_scales, struct ww_eight_bit_scales *out,
                              struct ww_error *err)
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
static enum ww_err no_scales(const struct ww_tensor *t, struct ww_eight_bit_scales *out,
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

static enum ww_err look_at(struct ww_eight_bit *w, uint32_t t, struct ww_error *err)
{
    const struct ww_tensor *tensor = &w->model->tensors[t];
    struct ww_eight_bit_scales *scales = &w->scales[t];
    uint32_t at = WW_NONE;
    double factor = 1;
    enum ww_err rc = WW_OK;

    w->beside[t] = is_beside(tensor);
    if (w->beside[t]) {
        return WW_OK;
    }
    rc = refuse_unknown(w->model, t, err);
    if (rc || !is_weight(tensor)) {
        return rc;
    }
    rc = find_scale(w->model, tensor, &at, &factor, err);
    if (rc) {
        return rc;
    }
    if (at == WW_NONE && tensor->dtype == WW_DTYPE_I8) {
        w->n_bare++;
        return WW_OK;
    }
    w->n_decoded++;
    if (at == WW_NONE) {
        return no_scales(tensor, scales, err);
    }
    rc = load_scales(w->model, tensor, at, factor, scales, err);
    rc = rc ? rc : refuse_sorted(w->model, tensor, scales, err);
    return rc ? rc
              : load_zeros(w->model, tensor, w->model->tensors[at].n_elements, scales,
                           err);
}

static const enum ww_dtype kinds[WW_EIGHT_BIT_KINDS] = {WW_DTYPE_F8_E4M3,
                                                        WW_DTYPE_F8_E5M2, WW_DTYPE_I8};

static size_t kind_of(enum ww_dtype dtype)
{
    return dtype == WW_DTYPE_F8_E4M3 ? 0 : dtype == WW_DTYPE_F8_E5M2 ? 1 : 2;
}

enum ww_err ww_eight_bit_find(const struct ww_model *model, struct ww_eight_bit *out,
                              struct ww_error *err)
{
    bool any = false;
    enum ww_err rc = WW_OK;

    *out = (struct ww_eight_bit){.model = model};
    for (uint32_t t = 0; t < model->n_tensors && !any; t++) {
        any = is_weight(&model->tensors[t]);
    }
    if (!any) {
        return WW_OK;
    }
    for (size_t k = 0; k < WW_EIGHT_BIT_KINDS; k++) {
        for (unsigned byte = 0; byte < 256; byte++) {
            out->values[k][byte] = ww_eight_bit_value(kinds[k], (uint8_t)byte);
        }
    }
    out->n_tensors = model->n_tensors;
    out->scales = ww_calloc(model->n_tensors, sizeof(*out->scales));
    out->beside = ww_calloc(model->n_tensors, sizeof(*out->beside));
    if (!out->scales || !out->beside) {
        return WW_FAIL_MEMORY(err, "a quantised model");
    }
    for (uint32_t t = 0; t < model->n_tensors && !rc; t++) {
        rc = look_at(out, t, err);
    }
    return rc;
}

void ww_eight_bit_release(struct ww_eight_bit *weights)
{
    for (uint32_t i = 0; weights->scales && i < weights->n_tensors; i++) {
        ww_free(weights->scales[i].values);
        ww_free(weights->scales[i].zeros);
    }
    ww_free(weights->scales);
    ww_free(weights->beside);
    memset(weights, 0, sizeof(*weights));
}

bool ww_eight_bit_is(const struct ww_eight_bit *weights, uint32_t tensor)
{
    return weights->scales && weights->scales[tensor].values;
}

/* Elements of one scale. */
struct run {
    enum ww_dtype dtype;
    const double *table; /* by byte */
    double zero;
    double scale;
    size_t n;
};

static void decode_values(const struct run *r, const uint8_t *bytes, double *values,
                          double *steps)
{
    const bool lost = !(r->scale < 0 || r->scale > 0);

    for (size_t e = 0; e < r->n; e++) {
        values[e] = (r->table[bytes[e]] - r->zero) * r->scale;
    }
    for (size_t e = 0; e < r->n && steps; e++) {
        steps[e] =
            lost ? WW_STEP_LOST : fabs(ww_eight_bit_step(r->dtype, bytes[e]) * r->scale);
    }
}

static void decode_cells(const struct run *r, const uint8_t *bytes, double *low,
                         double *high)
{
    const bool lost = !(r->scale < 0 || r->scale > 0);

    for (size_t e = 0; e < r->n; e++) {
        double ends[2] = {-HUGE_VAL, HUGE_VAL};
        if (!lost) {
            ww_eight_bit_cell(r->dtype, bytes[e], &ends[0], &ends[1]);
            ends[0] = (ends[0] - r->zero) * r->scale;
            ends[1] = (ends[1] - r->zero) * r->scale;
        }
        low[e] = fmin(ends[0], ends[1]);
        high[e] = fmax(ends[0], ends[1]);
    }
}

/* What is asked for: values with their steps, or cells. */
struct wanted {
    bool cells;
    double *first;
    double *second;
};

static void decode(const struct ww_eight_bit *w, uint32_t tensor, uint64_t first,
                   size_t n, const uint8_t *bytes, const struct wanted *out)
{
    const struct ww_tensor *t = &w->model->tensors[tensor];
    const struct ww_eight_bit_scales *s = &w->scales[tensor];
    const uint64_t width = t->n_elements / t->shape[0]; /* as scales are laid out */

    for (size_t at = 0; at < n;) {
        const uint64_t row = (first + at) / width;
        const uint64_t column = (first + at) % width;
        const uint64_t block = column / s->block[1];
        const uint64_t of = row / s->block[0] * s->columns + block;
        const uint64_t end = ww_min_u64((block + 1) * s->block[1], width);
        const struct run r = {t->dtype, w->values[kind_of(t->dtype)],
                              s->zeros ? s->zeros[of] : 0, s->values[of],
                              (size_t)ww_min_u64(n - at, end - column)};
        if (out->cells) {
            decode_cells(&r, bytes + at, out->first + at, out->second + at);
        } else {
            decode_values(&r, bytes + at, out->first + at,
                          out->second ? out->second + at : NULL);
        }
        at += r.n;
    }
}

static enum ww_err check_finite(const struct ww_eight_bit *w, uint32_t tensor, size_t n,
                                const double *values, struct ww_error *err)
{
    bool finite = true;

    for (size_t e = 0; e < n; e++) {
        finite &= fabs(values[e]) < HUGE_VAL;
    }
    return finite ? WW_OK
                  : WW_FAIL(err, WW_E_NONFINITE,
                            "tensor '%s' of '%s' holds NaN or infinity; repair the "
                            "weights first",
                            w->model->tensors[tensor].name, w->model->path);
}

static enum ww_err read_decoded(const struct ww_eight_bit *w, uint32_t tensor,
                                uint64_t first, size_t n, struct wanted out,
                                struct ww_error *err)
{
    uint8_t bytes[STRETCH];
    enum ww_err rc = WW_OK;

    for (size_t at = 0; at < n && !rc; at += STRETCH) {
        const size_t m = n - at < STRETCH ? n - at : STRETCH;
        const struct wanted part = {out.cells, out.first + at,
                                    out.second ? out.second + at : NULL};
        rc = ww_elements_bytes(w->model, tensor, first + at, m, bytes, err);
        if (!rc) {
            decode(w, tensor, first + at, m, bytes, &part);
        }
        if (!rc && !out.cells) {
            rc = check_finite(w, tensor, m, part.first, err);
        }
    }
    return rc;
}

enum ww_err ww_eight_bit_values(const struct ww_eight_bit *weights, uint32_t tensor,
                                uint64_t first, size_t n, double *values, double *steps,
                                struct ww_error *err)
{
    return read_decoded(weights, tensor, first, n, (struct wanted){false, values, steps},
                        err);
}

enum ww_err ww_eight_bit_cells(const struct ww_eight_bit *weights, uint32_t tensor,
                               uint64_t first, size_t n, double *low, double *high,
                               struct ww_error *err)
{
    return read_decoded(weights, tensor, first, n, (struct wanted){true, low, high}, err);
}
