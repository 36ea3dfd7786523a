/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tensors that are copied whatever the method is: those of a base alone, and limits. A
 * number that stands alone and is infinite bounds something (the ranges that Gemma 4
 * clips to) and weighs nothing. A difference or a mean of such numbers is none, so all
 * models must have the same one.
 */
#include <math.h>

#include "merge/build.h"
#include "model/convert.h"
#include "model/elements.h"
#include "util/fail.h"

enum ww_err ww_build_copy(struct ww_build *build, struct ww_merge_tensor *t,
                          struct ww_merge_source *source, struct ww_error *err)
{
    double *params = NULL;

    t->method = ww_method_find("passthrough");
    params = ww_pool_calloc(build->pool, t->method->n_params, sizeof(*params));
    if (!params) {
        return ww_build_no_memory(err);
    }
    for (size_t p = 0; p < t->method->n_params; p++) {
        params[p] = t->method->params[p].fallback;
    }
    t->sources = source;
    t->sources->params = params;
    t->n_sources = 1;
    t->base = NULL;
    t->stats = NULL;
    t->params = params;
    return WW_OK;
}

/* The number of a tensor of one, as a model has it. */
static enum ww_err number_of(const struct ww_build *build,
                             const struct ww_build_seat *seat, double *out,
                             struct ww_error *err)
{
    const struct ww_model *model = build->models[seat->model].model;
    uint8_t bytes[sizeof(double)];
    enum ww_err rc = ww_elements_bytes(model, seat->tensor, 0, 1, bytes, err);

    if (!rc) {
        ww_to_double(model->tensors[seat->tensor].dtype, bytes, out, 1);
    }
    return rc;
}

enum ww_err ww_build_limit(struct ww_build *build, const struct ww_build_slot *slot,
                           struct ww_merge_tensor *t, struct ww_error *err)
{
    const struct ww_build_seat *bound = NULL;
    double number[2] = {0};
    enum ww_err rc = WW_OK;

    for (uint32_t i = 0; i < slot->n_seats && !bound && !rc; i++) {
        if (slot->seats[i].tensor != WW_NONE) {
            rc = number_of(build, &slot->seats[i], &number[0], err);
            bound = isinf(number[0]) ? &slot->seats[i] : NULL;
        }
    }
    if (rc || !bound) {
        return rc;
    }
    for (uint32_t i = 0; i < slot->n_seats && !rc; i++) {
        if (slot->seats[i].tensor == WW_NONE) {
            continue;
        }
        rc = number_of(build, &slot->seats[i], &number[1], err);
        if (!rc && number[1] != number[0]) {
            rc = WW_FAIL(
                err, WW_E_NONFINITE,
                "tensor '%.160s' is %g in '%.160s' and %g in '%.160s'; an infinite "
                "number is a limit, which all models must have alike",
                slot->name, number[0], build->models[bound->model].text, number[1],
                build->models[slot->seats[i].model].text);
        }
    }
    t->is_limit = !rc;
    return rc ? rc : ww_build_copy(build, t, t->base ? t->base : &t->sources[0], err);
}
