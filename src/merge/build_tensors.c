/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which tensors the output has. Whole models: the donor's. Slices: what stands before the
 * layers from the first slice, the layers of each slice numbered anew, what stands behind
 * them from the last slice. A gradient's t is the place of the layer in its slice, 1 when
 * the slice has one layer, 0 for what is in no layer: so the peer counts.
 */
#include <stdio.h>
#include <string.h>

#include "merge/build.h"
#include "merge/json_edit.h"
#include "merge/recipe_value.h"
#include "util/alloc.h"
#include "util/fail.h"

struct seats {
    struct ww_build_seat *items;
    uint32_t n;
};

/* The inputs of a slice in the recipe's order; a base that is none of the whole models
 * comes last. Methods that ignore a base see one more input. */
static enum ww_err seat_inputs(struct ww_build *build,
                               const struct ww_recipe_module *module,
                               const struct ww_recipe_slice *slice, struct seats *out,
                               struct ww_error *err)
{
    const uint32_t base = ww_recipe_base(build->recipe, slice);
    const bool uses_base = build->recipe->method->base != WW_BASE_IGNORED;
    bool listed = false;

    out->n = 0;
    out->items =
        ww_pool_calloc(build->pool, (size_t)slice->n_inputs + 1, sizeof(*out->items));
    if (!out->items) {
        return ww_build_no_memory(err);
    }
    for (uint32_t i = 0; i < slice->n_inputs; i++) {
        const struct ww_recipe_input *in = &slice->inputs[i];
        const bool is_base = in->model == base;
        listed = listed || is_base;
        out->items[out->n++] = (struct ww_build_seat){.model = in->model,
                                                      .parameters = in->parameters,
                                                      .first_layer = in->first_layer,
                                                      .tensor = WW_NONE,
                                                      .statistics = in->statistics,
                                                      .is_base = is_base && uses_base};
    }
    if (base != WW_NONE && !listed && !module->is_sliced) {
        out->items[out->n++] = (struct ww_build_seat){.model = base,
                                                      .tensor = WW_NONE,
                                                      .statistics = WW_NONE,
                                                      .is_base = uses_base};
    }
    return WW_OK;
}

static double place_in(uint64_t k, uint64_t n)
{
    return n > 1 ? (double)k / (double)(n - 1) : 1;
}

static uint32_t find_tensor(const struct ww_build_model *m, const char *name)
{
    const uint32_t t = ww_model_find(m->model, name);

    /* A model that ties its head has it in its embedding. */
    return t == WW_NONE && m->ties && strcmp(name, WW_HEAD) == 0 ? m->embed : t;
}

enum ww_err ww_build_add_named(struct ww_build *build, struct ww_build_slot *slot,
                               struct ww_error *err)
{
    for (uint32_t i = 0; i < slot->n_seats; i++) {
        slot->seats[i].tensor =
            find_tensor(&build->models[slot->seats[i].model], slot->name);
    }
    return ww_build_add(build, slot, err);
}

/* Each module's inputs, seated once. */
static enum ww_err seat_modules(struct ww_build *build, struct ww_build_slot **out,
                                struct ww_error *err)
{
    const struct ww_recipe *recipe = build->recipe;
    struct ww_build_slot *slots =
        ww_pool_calloc(build->pool, recipe->n_modules, sizeof(*slots));
    enum ww_err rc = slots ? WW_OK : ww_build_no_memory(err);

    *out = slots;
    for (uint32_t m = 0; m < recipe->n_modules && !rc; m++) {
        const struct ww_recipe_module *module = &recipe->modules[m];
        struct seats seats;
        rc = seat_inputs(build, module, &module->slices[0], &seats, err);
        if (!rc) {
            slots[m] = (struct ww_build_slot){.slice = &module->slices[0],
                                              .module = module,
                                              .seats = seats.items,
                                              .n_seats = seats.n};
        }
    }
    return rc;
}

/* Is it one of those that are looked at? */
static bool is_wanted(const struct ww_build *build, const char *name)
{
    const struct ww_open_models *open = &build->use->open;
    const uint32_t at = open->like ? ww_model_find(open->like, name) : WW_NONE;

    return !open->like || (at != WW_NONE && open->only[at]);
}

static enum ww_err add_whole(struct ww_build *build, struct ww_error *err)
{
    const struct ww_build_model *donor = &build->models[build->donor];
    struct ww_build_slot *slots = NULL;
    uint32_t head = 0;
    enum ww_err rc = seat_modules(build, &slots, err);

    for (uint32_t i = 0; i < donor->model->n_tensors && !rc; i++) {
        const struct ww_layer_place *place = &donor->places[i];
        const char *name = donor->model->tensors[i].name;
        struct ww_build_slot *slot = &slots[ww_build_module_of(build, name)];
        if (!is_wanted(build, name)) {
            continue;
        }
        slot->name = name;
        slot->home = donor->model->tensors[i].file;
        slot->t = place->stack == WW_NONE
                      ? 0
                      : place_in(place->layer, donor->stacks[place->stack].n_layers);
        (void)ww_build_projector_t(build, name, &slot->t);
        rc = ww_build_add_named(build, slot, err);
    }
    head = ww_build_module_of(build, WW_HEAD);
    if (!rc && head != WW_NONE && is_wanted(build, WW_HEAD)) {
        rc = ww_build_add_head(build, &slots[head], donor, err);
    }
    for (uint32_t m = 0; m < build->recipe->n_modules && !rc && !build->use->open.like;
         m++) {
        rc = ww_build_rest_of_models(build, &slots[m], err);
    }
    return rc;
}

static enum ww_err check_count(const struct ww_build_model *m, size_t line,
                               struct ww_error *err)
{
    return m->stacks[0].n_layers <= WW_MOST_LAYERS
               ? WW_OK
               : WW_FAIL(err, WW_E_LIMIT,
                         "line %zu: model '%s' has %llu layers; slices cut models of at "
                         "most %d",
                         line, m->text, (unsigned long long)m->stacks[0].n_layers,
                         WW_MOST_LAYERS);
}

/* Slices cut one stack of layers; two would have to be cut in step. */
static enum ww_err check_stacks(const struct ww_build *build,
                                const struct ww_recipe_slice *slice, struct ww_error *err)
{
    const struct ww_build_model *donor = &build->models[build->donor];

    if (donor->n_stacks != 1) {
        return WW_FAIL(
            err, WW_E_UNSUPPORTED,
            "line %zu: config.json of the output is that of '%s', which has %u "
            "stacks of layers; name a base_model with one, or none",
            slice->line, donor->text, donor->n_stacks);
    }
    const enum ww_err most = check_count(donor, slice->line, err);
    if (most) {
        return most;
    }
    for (uint32_t i = 0; i < slice->n_inputs; i++) {
        const struct ww_recipe_input *in = &slice->inputs[i];
        const struct ww_build_model *m = &build->models[in->model];
        if (m->n_stacks != 1) {
            return WW_FAIL(
                err, WW_E_UNSUPPORTED,
                "line %zu: model '%s' has %u stacks of layers; slices cut models "
                "with one",
                in->line, m->text, m->n_stacks);
        }
        const enum ww_err rc = check_count(m, in->line, err);
        if (rc) {
            return rc;
        }
        if (in->end_layer > m->stacks[0].n_layers) {
            return WW_FAIL(err, WW_E_RECIPE,
                           "line %zu: layer_range ends at %llu and '%s' has %llu layers",
                           in->line, (unsigned long long)in->end_layer, m->text,
                           (unsigned long long)m->stacks[0].n_layers);
        }
    }
    return WW_OK;
}

static enum ww_err add_outside(struct ww_build *build,
                               const struct ww_recipe_module *module,
                               const struct ww_recipe_slice *slice, bool is_before,
                               struct ww_error *err)
{
    const struct ww_build_model *lead = &build->models[slice->inputs[0].model];
    struct ww_build_slot slot = {.slice = slice, .module = module, .home = WW_NONE};
    struct seats seats;
    enum ww_err rc = seat_inputs(build, module, slice, &seats, err);

    slot.seats = seats.items;
    slot.n_seats = seats.n;
    for (uint32_t i = 0; i < lead->model->n_tensors && !rc; i++) {
        slot.name = lead->model->tensors[i].name;
        if (lead->places[i].stack == WW_NONE &&
            ww_build_is_before(slot.name) == is_before) {
            rc = ww_build_add_named(build, &slot, err);
        }
    }
    return rc || is_before ? rc : ww_build_add_head(build, &slot, lead, err);
}

static enum ww_err name_in_layer(struct ww_build *build,
                                 const struct ww_layer_stack *stack, uint64_t layer,
                                 const char *rest, char **out, struct ww_error *err)
{
    *out = ww_pool_keep(build->pool, ww_asprintf("%s%llu%s", stack->prefix,
                                                 (unsigned long long)layer, rest));
    return *out ? WW_OK : ww_build_no_memory(err);
}

/* One tensor of one layer of a slice. */
static enum ww_err add_in_layer(struct ww_build *build, struct ww_build_slot *slot,
                                uint64_t k, uint64_t out_layer, const char *rest,
                                struct ww_error *err)
{
    const struct ww_build_model *donor = &build->models[slot->slice->inputs[0].model];
    char *name = NULL;
    enum ww_err rc = name_in_layer(build, &donor->stacks[0], out_layer, rest, &name, err);

    slot->name = name;
    for (uint32_t i = 0; i < slot->n_seats && !rc; i++) {
        struct ww_build_seat *seat = &slot->seats[i];
        const struct ww_build_model *m = &build->models[seat->model];
        char *own = NULL;
        rc = name_in_layer(build, &m->stacks[0], seat->first_layer + k, rest, &own, err);
        if (!rc) {
            seat->tensor = ww_model_find(m->model, own);
        }
    }
    return rc ? rc : ww_build_add(build, slot, err);
}

static enum ww_err add_slice(struct ww_build *build,
                             const struct ww_recipe_module *module,
                             const struct ww_recipe_slice *slice, struct ww_error *err)
{
    const struct ww_recipe_input *first = &slice->inputs[0];
    const struct ww_build_model *lead = &build->models[first->model];
    const uint64_t n = first->end_layer - first->first_layer;
    struct ww_build_slot slot = {.slice = slice, .module = module, .home = WW_NONE};
    struct seats seats;
    enum ww_err rc = seat_inputs(build, module, slice, &seats, err);

    slot.seats = seats.items;
    slot.n_seats = seats.n;
    for (uint64_t k = 0; k < n && !rc; k++) {
        slot.t = place_in(k, n);
        build->layer_from[build->n_layers] = (uint32_t)(first->first_layer + k);
        for (uint32_t i = 0; i < lead->model->n_tensors && !rc; i++) {
            const struct ww_layer_place *place = &lead->places[i];
            if (place->stack != WW_NONE && place->layer == first->first_layer + k) {
                rc = add_in_layer(build, &slot, k, build->n_layers,
                                  lead->model->tensors[i].name + place->rest, err);
            }
        }
        build->n_layers++;
    }
    return rc;
}

/* The peer passes over a range beside a whole model, and cards have them. */
static enum ww_err check_whole_ranges(const struct ww_build *build,
                                      const struct ww_recipe_module *module,
                                      struct ww_error *err)
{
    const struct ww_recipe_slice *slice = &module->slices[0];

    for (uint32_t i = 0; i < slice->n_inputs; i++) {
        const struct ww_recipe_input *in = &slice->inputs[i];
        const struct ww_build_model *m = &build->models[in->model];
        const uint64_t n = m->n_stacks ? ww_build_count_layers(m) : 0;
        if (in->has_range && (in->first_layer != 0 || in->end_layer != n)) {
            return WW_FAIL(err, WW_E_RECIPE,
                           "line %zu: layer_range is not all of the %llu layers of '%s'; "
                           "models are merged whole, parts of them are the sources of "
                           "slices",
                           in->line, (unsigned long long)n, m->text);
        }
    }
    return WW_OK;
}

static enum ww_err add_sliced(struct ww_build *build,
                              const struct ww_recipe_module *module, struct ww_error *err)
{
    uint64_t n = 0;
    enum ww_err rc = WW_OK;

    build->sliced = true;
    for (uint32_t s = 0; s < module->n_slices && !rc; s++) {
        const struct ww_recipe_input *in = &module->slices[s].inputs[0];
        rc = check_stacks(build, &module->slices[s], err);
        n += in->end_layer - in->first_layer;
    }
    if (!rc && n > 100000) {
        rc = WW_FAIL(err, WW_E_LIMIT, "the slices have %llu layers together",
                     (unsigned long long)n);
    }
    if (rc) {
        return rc;
    }
    build->layer_from = ww_pool_calloc(build->pool, n, sizeof(*build->layer_from));
    if (!build->layer_from) {
        return ww_build_no_memory(err);
    }
    rc = add_outside(build, module, &module->slices[0], true, err);
    for (uint32_t s = 0; s < module->n_slices && !rc; s++) {
        rc = add_slice(build, module, &module->slices[s], err);
    }
    if (!rc) {
        rc =
            add_outside(build, module, &module->slices[module->n_slices - 1], false, err);
    }
    for (uint32_t s = 0; s < module->n_slices && !rc; s++) {
        rc = ww_build_rest_of_slice(build, module, s, err);
    }
    return rc;
}

static bool is_of_source(const struct ww_method *method, const char *name)
{
    const uint32_t i = ww_method_param(method, name);
    return i != WW_NONE && method->params[i].scope == WW_PARAM_SOURCE;
}

/* A list is a gradient over layers; as long as the list of models it was hardly meant so,
 * and longer than the layers it cannot be. */
static enum ww_err doubt_gradient(struct ww_build *build,
                                  const struct ww_ynode *parameters, uint32_t n_inputs,
                                  uint64_t n_layers, struct ww_error *err)
{
    const char *name = NULL;
    const size_t len = ww_recipe_longest_gradient(parameters, &name);

    if (len > 1 && len > n_layers) {
        return ww_build_warn(build, err,
                             "line %zu: %s has %zu values for %llu layers; a list is a "
                             "gradient over the layers, and not all of it is used",
                             ww_yline(parameters), name, len,
                             (unsigned long long)n_layers);
    }
    if (len > 1 && len == n_inputs && is_of_source(build->recipe->method, name)) {
        return ww_build_warn(
            build, err,
            "line %zu: %s has as many values as there are models, and is "
            "a gradient over the layers all the same; one value per model "
            "belongs under each model",
            ww_yline(parameters), name);
    }
    return WW_OK;
}

static enum ww_err doubt_gradients(struct ww_build *build,
                                   const struct ww_recipe_module *module,
                                   struct ww_error *err)
{
    const struct ww_build_model *donor = &build->models[build->donor];
    uint64_t whole = 0;
    uint64_t most = 0;
    enum ww_err rc = WW_OK;

    for (uint32_t i = 0; i < donor->n_stacks; i++) {
        whole = donor->stacks[i].n_layers > whole ? donor->stacks[i].n_layers : whole;
    }
    for (uint32_t s = 0; s < module->n_slices && !rc; s++) {
        const struct ww_recipe_slice *slice = &module->slices[s];
        const struct ww_recipe_input *in = slice->inputs;
        const uint64_t n = module->is_sliced ? in->end_layer - in->first_layer : whole;
        most = n > most ? n : most;
        rc = doubt_gradient(build, slice->parameters, slice->n_inputs, n, err);
        for (uint32_t i = 0; i < slice->n_inputs && !rc; i++) {
            rc = doubt_gradient(build, in[i].parameters, 0, n, err);
        }
    }
    if (!rc) {
        rc = doubt_gradient(build, build->recipe->parameters, module->slices[0].n_inputs,
                            most, err);
    }
    return rc;
}

enum ww_err ww_build_tensors(struct ww_build *build, struct ww_error *err)
{
    const struct ww_recipe *recipe = build->recipe;
    enum ww_err rc = ww_build_modules(build, err);

    for (uint32_t m = 0; m < recipe->n_modules && !rc; m++) {
        const struct ww_recipe_module *module = &recipe->modules[m];
        rc = module->is_sliced ? WW_OK : check_whole_ranges(build, module, err);
        rc = rc ? rc : doubt_gradients(build, module, err);
    }
    if (rc) {
        return rc;
    }
    rc = recipe->modules[0].is_sliced ? add_sliced(build, &recipe->modules[0], err)
                                      : add_whole(build, err);
    if (!rc) {
        rc = ww_build_doubt_numbers(build, err);
    }
    return rc ? rc : ww_build_tell(build, err);
}
