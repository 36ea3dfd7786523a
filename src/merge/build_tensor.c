/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One output tensor: which tensors it is made of, do they go together, and what are its
 * parameters. Parameters of an input are looked up under the input's own tensor name,
 * those of the tensor under the output's, as the peer does.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "merge/build.h"
#include "model/orientation.h"
#include "model/vocab_names.h"
#include "merge/recipe_value.h"
#include "util/alloc.h"
#include "util/fail.h"

#define MAX_SCOPES 4

static const struct ww_tensor *tensor_of(const struct ww_build *build,
                                         const struct ww_build_seat *seat)
{
    return &build->models[seat->model].model->tensors[seat->tensor];
}

static const char *text_of(const struct ww_build *build, const struct ww_build_seat *seat)
{
    return build->models[seat->model].text;
}

/* The name that filters see: an embedding that stands in for a tied head is the head. */
static const char *name_for(const struct ww_build *build,
                            const struct ww_build_slot *slot,
                            const struct ww_build_seat *seat)
{
    return !seat || strcmp(slot->name, WW_HEAD) == 0 ? slot->name
                                                     : tensor_of(build, seat)->name;
}

/* Missing somewhere: an error, or with --allow-mixed one source less. */
static enum ww_err check_present(struct ww_build *build, const struct ww_build_slot *slot,
                                 struct ww_error *err)
{
    const struct ww_build_seat *has = NULL;
    enum ww_err rc = WW_OK;

    for (uint32_t i = 0; i < slot->n_seats && !has; i++) {
        has = slot->seats[i].tensor != WW_NONE ? &slot->seats[i] : NULL;
    }
    for (uint32_t i = 0; i < slot->n_seats && !rc; i++) {
        const struct ww_build_seat *seat = &slot->seats[i];
        if (seat->tensor != WW_NONE) {
            continue;
        }
        if (!build->options->allow_mixed || !has) {
            return WW_FAIL(err, WW_E_TENSOR,
                           "tensor '%s' is in '%s' and not in '%s'; to merge what the "
                           "models share say --allow-mixed",
                           slot->name, has ? text_of(build, has) : "the layout",
                           text_of(build, seat));
        }
        rc = ww_build_note(build, WW_NOTE_LACKING, slot->name, text_of(build, seat), err);
    }
    return rc;
}

static void print_shape(const struct ww_tensor *t, char out[160])
{
    size_t len = 0;

    out[0] = '\0';
    for (unsigned a = 0; a < t->rank && len < 130; a++) {
        len += (size_t)snprintf(out + len, 160 - len, "%s%llu", a ? ", " : "",
                                (unsigned long long)t->shape[a]);
    }
}

static bool same_shape(const struct ww_tensor *a, const struct ww_tensor *b,
                       bool but_rows)
{
    if (a->rank != b->rank) {
        return false;
    }
    for (unsigned i = but_rows ? 1 : 0; i < a->rank; i++) {
        if (a->shape[i] != b->shape[i]) {
            return false;
        }
    }
    return true;
}

/* Rows of the vocabulary are brought into one order later. */
static bool is_laid_out(const struct ww_build *build, const struct ww_build_slot *slot)
{
    return build->recipe->vocab.source != WW_VOCAB_DONOR && ww_is_over_vocab(slot->name);
}

static const char *advice(const struct ww_build_slot *slot, const struct ww_tensor *a,
                          const struct ww_tensor *b)
{
    return ww_is_over_vocab(slot->name) && same_shape(a, b, true)
               ? "; if the vocabularies differ say tokenizer_source: union"
               : "";
}

static enum ww_err check_shapes(const struct ww_build *build,
                                const struct ww_build_slot *slot,
                                const struct ww_build_seat *first, struct ww_error *err)
{
    const struct ww_tensor *a = tensor_of(build, first);
    const bool vocab = is_laid_out(build, slot);

    for (uint32_t i = 0; i < slot->n_seats; i++) {
        const struct ww_build_seat *seat = &slot->seats[i];
        const struct ww_tensor *b = NULL;
        char sa[160];
        char sb[160];
        if (seat->tensor == WW_NONE) {
            continue;
        }
        b = tensor_of(build, seat);
        if (same_shape(a, b, vocab && a->rank > 0 && b->rank > 0)) {
            continue;
        }
        print_shape(a, sa);
        print_shape(b, sb);
        return WW_FAIL(err, WW_E_SHAPE, "tensor '%s' is [%s] in '%s' and [%s] in '%s'%s",
                       slot->name, sa, text_of(build, first), sb, text_of(build, seat),
                       advice(slot, a, b));
    }
    return WW_OK;
}

/* Slices and modules may have nothing in common with the model whose config.json the
 * output gets; what that model has under the same name says what fits to it. */
static enum ww_err check_donor(struct ww_build *build, const struct ww_build_slot *slot,
                               const struct ww_build_seat *first, struct ww_error *err)
{
    const struct ww_build_model *donor = &build->models[build->donor];
    const struct ww_tensor *a = tensor_of(build, first);
    const uint32_t at = ww_model_find(donor->model, a->name);
    const struct ww_tensor *b = at == WW_NONE ? NULL : &donor->model->tensors[at];
    char sa[160];
    char sb[160];

    if (!b || same_shape(a, b, is_laid_out(build, slot) && a->rank > 0 && b->rank > 0)) {
        return WW_OK;
    }
    print_shape(a, sa);
    print_shape(b, sb);
    if (build->options->allow_mixed) {
        return ww_build_warn(build, err,
                             "tensor '%s' is [%s] in '%s' and [%s] in '%s', which the "
                             "config.json of the output is from",
                             a->name, sa, text_of(build, first), sb, donor->text);
    }
    return WW_FAIL(
        err, WW_E_SHAPE,
        "tensor '%s' is [%s] in '%s' and [%s] in '%s', which the config.json of "
        "the output is from%s",
        a->name, sa, text_of(build, first), sb, donor->text, advice(slot, a, b));
}

/* The dtype that holds both: as the peer's framework promotes. */
static enum ww_dtype promote(enum ww_dtype a, enum ww_dtype b)
{
    if (a == b) {
        return a;
    }
    return a == WW_DTYPE_F64 || b == WW_DTYPE_F64 ? WW_DTYPE_F64 : WW_DTYPE_F32;
}

static enum ww_err check_dtypes(const struct ww_build *build,
                                const struct ww_build_slot *slot,
                                const struct ww_build_seat *first, enum ww_dtype *common,
                                struct ww_error *err)
{
    *common = tensor_of(build, first)->dtype;
    for (uint32_t i = 0; i < slot->n_seats; i++) {
        const struct ww_build_seat *seat = &slot->seats[i];
        enum ww_dtype dtype = WW_DTYPE_F32;
        if (seat->tensor == WW_NONE) {
            continue;
        }
        dtype = tensor_of(build, seat)->dtype;
        if (ww_dtype_is_plain_float(dtype) && ww_dtype_is_plain_float(*common)) {
            *common = promote(*common, dtype);
        } else if (dtype != *common) {
            return WW_FAIL(err, WW_E_TENSOR, "tensor '%s' is %s in '%s' and %s in '%s'",
                           slot->name, ww_dtype_name(*common), text_of(build, first),
                           ww_dtype_name(dtype), text_of(build, seat));
        }
    }
    return WW_OK;
}

static void set_dtypes(const struct ww_recipe *recipe, enum ww_dtype common, bool peer,
                       struct ww_merge_tensor *t)
{
    t->dtype = common;
    t->compute = WW_DTYPE_F32;
    if (!ww_dtype_is_plain_float(common)) {
        return; /* counters and masks are copied */
    }
    t->compute = peer || common == WW_DTYPE_F64 ? common : WW_DTYPE_F32;
    if (recipe->has_dtype) {
        t->dtype = recipe->dtype;
        t->compute = recipe->dtype;
    }
    if (recipe->has_out_dtype) {
        t->dtype = recipe->out_dtype;
    }
}

static enum ww_err read_params(struct ww_build *build, const struct ww_build_slot *slot,
                               const struct ww_build_seat *seat, const double **out,
                               struct ww_error *err)
{
    const struct ww_method *method = build->recipe->method;
    const enum ww_param_scope scope = seat ? WW_PARAM_SOURCE : WW_PARAM_TENSOR;
    const struct ww_ynode *scopes[MAX_SCOPES] = {
        seat ? seat->parameters : NULL, slot->slice->parameters, slot->module->parameters,
        build->recipe->parameters};
    const char *name = name_for(build, slot, seat);
    const struct ww_recipe_place at = {scopes, MAX_SCOPES, name, slot->t};
    double *values = ww_pool_calloc(build->pool, method->n_params, sizeof(*values));
    enum ww_err rc = WW_OK;

    if (!values) {
        return ww_build_no_memory(err);
    }
    for (size_t p = 0; p < method->n_params && !rc; p++) {
        const struct ww_method_param *param = &method->params[p];
        bool found = false;
        if (param->scope != scope) {
            continue;
        }
        values[p] = param->fallback;
        rc = ww_recipe_value(param, &at, &values[p], &found, err);
        if (!rc && !found && param->required) {
            rc = WW_FAIL(err, WW_E_RECIPE,
                         "method '%s' needs %s%s%s%s; nothing gives one to tensor '%s'",
                         method->name, param->name, seat ? " for model '" : "",
                         seat ? text_of(build, seat) : "", seat ? "'" : "", name);
        }
    }
    *out = values;
    return rc;
}

/* A weight that an adapter changes counts as what its base stores it in, so that the
 * output's dtype is the base's; its values are wider. */
static void set_source(const struct ww_build *build, const struct ww_build_seat *seat,
                       struct ww_merge_source *out)
{
    const struct ww_build_model *m = &build->models[seat->model];
    const struct ww_tensor *t = tensor_of(build, seat);
    const struct ww_tensor *baked = m->bake ? ww_bake_find(m->bake, seat->tensor) : NULL;

    *out = (struct ww_merge_source){.model = seat->model,
                                    .input = m->first_input + t->file,
                                    .offset = t->offset,
                                    .dtype = t->dtype};
    if (baked) {
        out->input = m->bake_input;
        out->offset = baked->offset;
        out->dtype = baked->dtype;
    }
}

static enum ww_err refuse_shape(const struct ww_build *build,
                                const struct ww_build_seat *seat,
                                const struct ww_tensor *found, const char *expected,
                                struct ww_error *err)
{
    char shape[160];

    print_shape(found, shape);
    return WW_FAIL(err, WW_E_SHAPE,
                   "tensor '%s' is %s [%s] in the statistics '%s', expected %s",
                   found->name, ww_dtype_name(found->dtype), shape,
                   build->models[seat->statistics].text, expected);
}

/* What is imported beside a source, under the name that the tensor has there. */
static enum ww_err set_statistics(const struct ww_build *build,
                                  const struct ww_build_seat *seat,
                                  struct ww_merge_source *out, struct ww_error *err)
{
    const bool gram = build->recipe->method->stats == WW_STATS_GRAM;
    const struct ww_build_model *m = &build->models[seat->statistics];
    const struct ww_tensor *own = tensor_of(build, seat);
    const uint32_t at = ww_model_find(m->model, own->name);
    const unsigned taken = ww_lies_across(build->plan->inputs_first, own->name) ? 0 : 1;
    const struct ww_tensor *t = NULL;

    *out = (struct ww_merge_source){.model = seat->statistics, .input = WW_NONE};
    if (at == WW_NONE) {
        return gram ? WW_OK
                    : WW_FAIL(err, WW_E_TENSOR,
                              "tensor '%s' is in '%s' and not in its statistics '%s'",
                              own->name, text_of(build, seat), m->text);
    }
    t = &m->model->tensors[at];
    if (!ww_dtype_is_plain_float(t->dtype) ||
        (gram ? t->rank != 2 || own->rank != 2 || t->shape[0] != own->shape[taken] ||
                    t->shape[1] != own->shape[taken]
              : !same_shape(t, own, false))) {
        return refuse_shape(build, seat, t,
                            gram && taken == 0 ? "floats of rows x rows of the weight"
                            : gram ? "floats of columns x columns of the weight"
                                   : "floats of the shape of the weight",
                            err);
    }
    out->input = m->first_input + t->file;
    out->offset = t->offset;
    out->dtype = t->dtype;
    return WW_OK;
}

static enum ww_err fill_sources(struct ww_build *build, const struct ww_build_slot *slot,
                                struct ww_merge_tensor *t, struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    t->sources = ww_pool_calloc(build->pool, slot->n_seats, sizeof(*t->sources));
    if (build->recipe->method->stats && ww_dtype_is_plain_float(t->dtype)) {
        t->stats = ww_pool_calloc(build->pool, slot->n_seats, sizeof(*t->stats));
    }
    if (!t->sources || (build->recipe->method->stats &&
                        ww_dtype_is_plain_float(t->dtype) && !t->stats)) {
        return ww_build_no_memory(err);
    }
    for (uint32_t i = 0; i < slot->n_seats && !rc; i++) {
        const struct ww_build_seat *seat = &slot->seats[i];
        struct ww_merge_source *source = NULL;
        if (seat->tensor == WW_NONE) {
            continue;
        }
        if (seat->is_base) {
            t->base = ww_pool_calloc(build->pool, 1, sizeof(*t->base));
            if (!t->base) {
                return ww_build_no_memory(err);
            }
            set_source(build, seat, t->base);
            continue;
        }
        source = &t->sources[t->n_sources++];
        set_source(build, seat, source);
        if (t->stats) {
            rc = set_statistics(build, seat, &t->stats[t->n_sources - 1], err);
        }
        rc = rc ? rc : read_params(build, slot, seat, &source->params, err);
    }
    return rc;
}

static enum ww_err append(struct ww_build *build, const struct ww_merge_tensor *t,
                          const struct ww_build_slot *slot, struct ww_error *err)
{
    if (build->n_tensors == build->capacity) {
        const size_t capacity = build->capacity ? 2 * build->capacity : 1024;
        struct ww_build_tensor *grown =
            ww_realloc_array(build->tensors, capacity, sizeof(*grown));
        if (!grown) {
            return ww_build_no_memory(err);
        }
        build->tensors = grown;
        build->capacity = capacity;
    }
    build->tensors[build->n_tensors++] = (struct ww_build_tensor){
        *t, slot->home, ww_recipe_base(build->recipe, slot->slice)};
    return WW_OK;
}

enum ww_err ww_build_add(struct ww_build *build, const struct ww_build_slot *slot,
                         struct ww_error *err)
{
    const struct ww_build_seat *first = NULL;
    const struct ww_tensor *shape = NULL;
    struct ww_merge_tensor t = {.method = build->recipe->method,
                                .seed = build->options->seed};
    enum ww_dtype common = WW_DTYPE_F32;
    enum ww_err rc = check_present(build, slot, err);

    if (rc) {
        return rc;
    }
    for (uint32_t i = 0; i < slot->n_seats && !first; i++) {
        first = slot->seats[i].tensor != WW_NONE ? &slot->seats[i] : NULL;
    }
    rc = check_shapes(build, slot, first, err);
    if (!rc) {
        rc = check_donor(build, slot, first, err);
    }
    if (!rc) {
        rc = check_dtypes(build, slot, first, &common, err);
    }
    if (rc) {
        return rc;
    }
    shape = tensor_of(build, first);
    set_dtypes(build->recipe, common, build->plan->peer, &t);
    t.rank = shape->rank;
    memcpy(t.shape, shape->shape, sizeof(t.shape));
    t.name = ww_pool_keep(build->pool, ww_strdup(slot->name));
    if (!t.name) {
        return ww_build_no_memory(err);
    }
    rc = fill_sources(build, slot, &t, err);
    if (!rc) {
        rc = read_params(build, slot, NULL, &t.params, err);
    }
    if (!rc && slot->n_seats == 1 && t.base && t.method->base_alone) {
        rc = ww_build_copy(build, &t, t.base, err); /* a slice of the base alone */
    } else if (!rc && shape->n_elements == 1 && ww_dtype_is_plain_float(common)) {
        rc = ww_build_limit(build, slot, &t, err);
    }
    return rc ? rc : append(build, &t, slot, err);
}
