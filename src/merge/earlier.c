/* SPDX-License-Identifier: Apache-2.0 */
/*
 * OPCM merges one model after the other, and the last step scales the whole. To go on
 * from a result one must know how many models are in it, how large their changes were and
 * what it was scaled by: three numbers, which the merge left in its record. They hold for
 * that folder and that base alone, so after the run the digests of both are compared with
 * the record.
 */
#include "merge/earlier.h"

#include <math.h>
#include <string.h>

#include "merge/merge_work.h"
#include "util/alloc.h"
#include "util/fail.h"

#define MOST_TASKS ((uint64_t)1 << 32) /* a count that sums of it cannot overflow */

struct ww_merge_earlier {
    uint32_t model; /* of the plan */
    uint32_t base;
    char *text;      /* how the recipe calls it */
    char *base_name; /* how its own recipe called the base */
    struct ww_record_view record;
};

void ww_merge_earlier_free(struct ww_merge_earlier *e)
{
    if (e) {
        ww_record_release(&e->record);
        ww_free(e->text);
        ww_free(e->base_name);
        ww_free(e);
    }
}

static enum ww_err refuse(const struct ww_merge_tensor *t, const char *why,
                          struct ww_error *err)
{
    return WW_FAIL(err, WW_E_RECIPE, "tensor '%.200s': %s", t->name, why);
}

/* *asked: the first source of every tensor is an earlier merge, and no other is. */
static enum ww_err find(const struct ww_merge_plan *plan, const struct ww_method *method,
                        uint32_t param, const struct ww_merge_tensor **asked,
                        struct ww_error *err)
{
    const uint32_t weight = ww_method_param(method, "weight");
    const struct ww_merge_tensor *lead = NULL;

    *asked = NULL;
    for (uint32_t i = 0; i < plan->n_tensors; i++) {
        const struct ww_merge_tensor *t = &plan->tensors[i];
        if (t->method != method || !ww_dtype_is_plain_float(t->dtype) ||
            t->n_sources == 0) {
            continue;
        }
        const bool first = t->sources[0].params[param] != 0;
        for (uint32_t s = 1; s < t->n_sources; s++) {
            if (t->sources[s].params[param] != 0) {
                return refuse(t, "an earlier merge must be the first model", err);
            }
        }
        lead = lead ? lead : t;
        const bool lead_first = lead->sources[0].params[param] != 0;
        if (first != lead_first ||
            (first && t->sources[0].model != lead->sources[0].model)) {
            return refuse(t, "one earlier merge must go into every tensor", err);
        }
        if (first && (t->sources[0].params[weight] != 1 || !t->base)) {
            return refuse(t, "an earlier merge has its base and the weight 1", err);
        }
        *asked = first ? lead : NULL;
    }
    return WW_OK;
}

static enum ww_err malformed(const struct ww_merge_earlier *e, const char *what,
                             struct ww_error *err)
{
    return WW_FAIL(err, WW_E_BUNDLE, "the record of '%s': %s", e->text, what);
}

static enum ww_err read_state(const struct ww_merge_earlier *e, const char *method,
                              struct ww_merge_state *out, struct ww_error *err)
{
    const struct ww_record_view *r = &e->record;

    *out = r->state;
    if (!r->method || strcmp(r->method, method) != 0) {
        return WW_FAIL(err, WW_E_RECIPE,
                       "'%s' was merged by '%s', and only a merge by '%s' goes on",
                       e->text, r->method ? r->method : "?", method);
    }
    if (out->tasks == 0) {
        return WW_FAIL(err, WW_E_RECIPE,
                       "the record of '%s' does not say how its models were scaled: it "
                       "was joined from parts, locked, or had more than one lambda",
                       e->text);
    }
    return isfinite(out->mean_norm) && isfinite(out->scale) && out->mean_norm >= 0 &&
                   out->scale != 0 && out->tasks <= MOST_TASKS
               ? WW_OK
               : malformed(e, "its numbers make no sense", err);
}

/* Layers elsewhere are other weights than those whose norms were told. */
static bool is_sliced(const struct ww_recipe *r)
{
    bool sliced = false;

    for (uint32_t m = 0; m < r->n_modules; m++) {
        sliced = sliced || r->modules[m].is_sliced;
    }
    return sliced;
}

/* The name under which the record's recipe has the base. */
static enum ww_err read_base(struct ww_merge_earlier *e, struct ww_error *err)
{
    struct ww_recipe_file file = {0};
    const char *text = e->record.recipe;
    enum ww_err rc =
        ww_recipe_parse((const uint8_t *)text, strlen(text), "of the record", &file, err);

    if (!rc) {
        const struct ww_recipe *r = &file.recipes[file.last];
        const struct ww_recipe_model *base =
            r->base == WW_NONE ? NULL : &r->models[r->base];
        if (!base || base->recipe != WW_NONE || base->adapter) {
            rc = malformed(e, "its base is no model of its own", err);
        } else if (is_sliced(r)) {
            rc = malformed(e, "it was merged by slices", err);
        } else {
            e->base_name = ww_strdup(base->text);
            rc = e->base_name ? WW_OK : WW_FAIL_MEMORY(err, "the record of a merge");
        }
    }
    ww_recipe_release(&file);
    return rc;
}

enum ww_err ww_build_earlier(struct ww_build *build, struct ww_error *err)
{
    const struct ww_method *method = build->recipe->method;
    const uint32_t param = ww_method_param(method, "earlier");
    struct ww_plan_impl *impl = build->plan->impl;
    const struct ww_merge_tensor *lead = NULL;
    struct ww_merge_state *state = NULL;
    struct ww_merge_earlier *e = NULL;
    enum ww_err rc = WW_OK;

    if (param == WW_NONE) {
        return WW_OK;
    }
    rc = find(build->plan, method, param, &lead, err);
    if (rc || !lead) {
        return rc;
    }
    e = impl->earlier = ww_calloc(1, sizeof(*e));
    state = ww_pool_calloc(build->pool, 1, sizeof(*state));
    if (!e || !state) {
        return ww_build_no_memory(err);
    }
    e->model = lead->sources[0].model;
    e->base = lead->base->model;
    /* Digests of files would not tell. */
    if (build->models[e->model].bake || build->models[e->base].bake) {
        return refuse(lead, "an earlier merge and its base take no adapters", err);
    }
    if (is_sliced(build->recipe)) {
        return refuse(lead, "an earlier merge goes into whole models, not slices", err);
    }
    e->text = ww_strdup(build->models[e->model].text);
    if (!e->text) {
        return ww_build_no_memory(err);
    }
    rc = ww_record_read(build->plan->models[e->model]->dirfd, &e->record, err);
    if (rc) {
        ww_error_context(err, "earlier merge '%s'", e->text);
        return rc;
    }
    rc = read_state(e, method->name, state, err);
    if (!rc) {
        rc = read_base(e, err);
    }
    build->plan->earlier = state;
    return rc;
}

/* Every weight file of a model against a list of names and digests. */
static enum ww_err check_files(const struct ww_merge_plan *plan, uint32_t model,
                               const uint8_t (*input_sha256)[WW_SHA256_BYTES],
                               const struct ww_jnode *list, const char *what,
                               const char *merge, struct ww_error *err)
{
    const struct ww_model *m = plan->models[model];
    uint32_t first = 0;

    for (uint32_t i = 0; i < model; i++) {
        first += plan->models[i]->n_files;
    }
    for (uint32_t f = 0; f < m->n_files; f++) {
        if (!ww_record_has_digest(ww_record_named(list, m->files[f].name),
                                  input_sha256[first + f])) {
            return WW_FAIL(err, WW_E_DIFFERS,
                           "%s is not what the record of '%s' says: its file '%s' has "
                           "another digest",
                           what, merge, m->files[f].name);
        }
    }
    return WW_OK;
}

enum ww_err ww_merge_check_earlier(const struct ww_merge_plan *plan,
                                   const uint8_t (*input_sha256)[WW_SHA256_BYTES],
                                   struct ww_error *err)
{
    const struct ww_plan_impl *impl = plan->impl;
    const struct ww_merge_earlier *e = impl ? impl->earlier : NULL;
    enum ww_err rc = WW_OK;

    if (!e) {
        return WW_OK;
    }
    const struct ww_jnode *base = ww_record_named(e->record.sources, e->base_name);
    rc = check_files(plan, e->model, input_sha256, e->record.subjects,
                     "the earlier merge", e->text, err);
    return rc ? rc
              : check_files(plan, e->base, input_sha256,
                            ww_jget(ww_jget(base, "annotations"), "files"), "the base",
                            e->text, err);
}
