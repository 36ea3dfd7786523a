/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sources that are locked. Models locked with one key share the transform, a signed
 * permutation in each tensor; a method whose result does not depend on the order of the
 * elements gives the lock of the merge. With factors of two in the lock nothing can go by
 * the values of elements, and weighted sums alone do not (a factor of two passes
 * through sums and roundings unchanged; unlock refuses what left the normal range).
 * Everything else would give noise with a good signature, so it is refused here, where
 * the sources are opened. With the keys they are read as the open models, and then they
 * are plain sources.
 */
#include <stdio.h>
#include <string.h>

#include "crypto/hash.h"
#include "merge/build.h"
#include "merge/earlier.h"
#include "merge/lock_side.h"
#include "util/alloc.h"
#include "util/fail.h"

enum ww_err ww_unlock_by_keys(struct ww_model *model, const char *text,
                              const struct ww_merge_options *options,
                              struct ww_unlock_view **out, struct ww_error *err)
{
    for (size_t k = 0; k < options->n_unlock; k++) {
        const struct ww_merge_key *key = &options->unlock[k];
        struct ww_error local = {0};
        const enum ww_err rc =
            ww_unlock_view_open(model, key->secret, key->binding, out, &local);
        if (!rc) {
            return WW_OK;
        }
        if (rc != WW_E_WRONG_KEY) {
            return WW_FAIL(err, rc, "model '%s': %s", text, local.text);
        }
    }
    return WW_FAIL(err, WW_E_WRONG_KEY,
                   "model '%s' is locked, and none of the %zu keys given is the one it "
                   "was locked with",
                   text, options->n_unlock);
}

/* Every file of the model is read as the open one. */
static void read_through(const struct ww_build *build, uint32_t m,
                         const struct ww_unlock_view *view)
{
    const struct ww_build_model *model = &build->models[m];

    for (uint32_t f = 0; f < model->model->n_files; f++) {
        struct ww_merge_input *input = &build->plan->inputs[model->first_input + f];
        input->reader = ww_unlock_view_reader(view, f);
        input->lock_id = ww_unlock_view_lock_id(view);
    }
}

static enum ww_err open_locked(struct ww_build *build, uint32_t m,
                               struct ww_lock_side *facts, struct ww_error *err)
{
    struct ww_plan_impl *impl = build->plan->impl;
    enum ww_err rc = WW_OK;

    if (!facts->locked) {
        return WW_OK;
    }
    if (facts->merged) {
        return WW_FAIL(err, WW_E_UNSUPPORTED,
                       "model '%s' was merged while locked, so no manifest says what its "
                       "files were; unlock it first",
                       build->models[m].text);
    }
    rc = ww_unlock_by_keys(build->models[m].model, build->models[m].text, build->options,
                           &impl->views[m], err);
    if (!rc) {
        read_through(build, m, impl->views[m]);
        facts->locked = false;
    }
    return rc;
}

static enum ww_err open_all(struct ww_build *build, struct ww_lock_side *facts,
                            struct ww_error *err)
{
    struct ww_plan_impl *impl = build->plan->impl;
    const uint32_t n = build->recipe->n_models;
    enum ww_err rc = WW_OK;

    if (build->options->n_unlock == 0) {
        return WW_OK;
    }
    impl->views = ww_pool_calloc(build->pool, n, sizeof(struct ww_unlock_view *));
    if (!impl->views) {
        return ww_build_no_memory(err);
    }
    impl->n_views = n;
    for (uint32_t i = 0; i < n && !rc; i++) {
        rc = open_locked(build, i, &facts[i], err);
    }
    return rc;
}

enum ww_err ww_merge_check_views(const struct ww_merge_plan *plan,
                                 const uint8_t (*input_sha256)[WW_SHA256_BYTES],
                                 struct ww_error *err)
{
    const struct ww_plan_impl *impl = plan->impl;
    uint32_t input = 0;
    enum ww_err rc = WW_OK;

    for (uint32_t i = 0; impl && i < impl->n_views && !rc; i++) {
        if (impl->views[i]) {
            rc = ww_unlock_view_check(impl->views[i], input_sha256 + input, err);
        }
        input += plan->models[i]->n_files;
    }
    return rc ? rc : ww_merge_check_earlier(plan, input_sha256, err);
}

static enum ww_err name_order_free(const struct ww_method *method, struct ww_error *err)
{
    size_t n = 0;
    const struct ww_method *methods = ww_methods(&n);
    char list[400];
    size_t len = 0;

    list[0] = '\0';
    for (size_t i = 0; i < n; i++) {
        const size_t more = strlen(methods[i].name) + 2;
        if (methods[i].order_free && len + more < sizeof(list)) {
            len += (size_t)snprintf(list + len, sizeof(list) - len, "%s%s",
                                    len ? ", " : "", methods[i].name);
        }
    }
    return WW_FAIL(
        err, WW_E_NOT_ORDER_FREE,
        "method '%s' cannot merge locked models, nor without regard to order: its result "
        "depends on the order of elements; these can: %s",
        method->name, list);
}

/* Each element of the result is a sum of the sources' elements at its place. */
static bool sums_by_place(const struct ww_method *method)
{
    static const char *const names[] = {"linear", "passthrough", "task_arithmetic"};
    bool found = false;

    for (size_t i = 0; i < WW_LEN(names); i++) {
        found = found || strcmp(method->name, names[i]) == 0;
    }
    return found;
}

static enum ww_err check_recipe(const struct ww_build *build, bool scale,
                                struct ww_error *err)
{
    const struct ww_recipe *recipe = build->recipe;

    if (!recipe->method->order_free) {
        return name_order_free(recipe->method, err);
    }
    if (recipe->method->stats != WW_STATS_NONE) {
        return WW_FAIL(err, WW_E_UNSUPPORTED,
                       "method '%s' imports statistics in the order of the open models; "
                       "open the models in the merge with --unlock-with",
                       recipe->method->name);
    }
    if (scale && !sums_by_place(recipe->method)) {
        return WW_FAIL(
            err, WW_E_NOT_ORDER_FREE,
            "method '%s' goes by the values of elements, which the factors of two "
            "in these locks change; use linear or task_arithmetic, lock with "
            "--no-scale, or give the key by --unlock-with",
            recipe->method->name);
    }
    for (uint32_t m = 0; m < recipe->n_modules; m++) {
        if (recipe->modules[m].is_sliced) {
            return WW_FAIL(err, WW_E_UNSUPPORTED,
                           "locked models cannot be cut into slices: each layer has a "
                           "transform of its own");
        }
    }
    return WW_OK;
}

static enum ww_err keep_lock(struct ww_build *build, const struct ww_lock_side *f,
                             struct ww_error *err)
{
    struct ww_build_lock *lock = &build->lock;

    build->plan->order_free = true;
    build->plan->locked = true;
    lock->scale = f->scale;
    lock->group = ww_pool_keep(build->pool, ww_strdup(f->group));
    lock->descriptor = ww_pool_keep(build->pool, ww_strdup(f->descriptor));
    lock->descriptor_sha256 = ww_pool_keep(build->pool, ww_strdup(f->descriptor_sha256));
    return lock->group && lock->descriptor && lock->descriptor_sha256
               ? WW_OK
               : ww_build_no_memory(err);
}

/* It says which elements belong together, and no digest of a source would tell whether
 * another one undoes the lock. */
static void name_config(const struct ww_merge_plan *plan, struct ww_jw *w)
{
    for (uint32_t i = 0; i < plan->n_files; i++) {
        const struct ww_merge_file *file = &plan->files[i];
        uint8_t sha256[WW_SHA256_BYTES];
        char hex[2 * WW_SHA256_BYTES + 1];
        if (strcmp(file->name, "config.json") == 0) {
            ww_sha256_of(file->header, file->header_bytes, sha256);
            ww_hex(hex, sha256, sizeof(sha256));
            ww_jw_kstr(w, "config_sha256", hex);
        }
    }
}

enum ww_err ww_build_lock_text(struct ww_build *build, struct ww_error *err)
{
    const struct ww_build_lock *lock = &build->lock;
    struct ww_plan_impl *impl = build->plan->impl;
    struct ww_buf buf;
    struct ww_jw w;
    size_t len = 0;
    enum ww_err rc = WW_OK;

    if (!build->plan->locked) {
        return WW_OK;
    }
    ww_buf_init(&buf, 4096);
    ww_jw_init(&w, &buf, 0);
    ww_jw_object(&w);
    ww_jw_kstr(&w, "schema", WW_LOCK_SIDE_MERGED);
    ww_jw_kstr(&w, "group", lock->group);
    ww_jw_kstr(&w, "level", "exact");
    ww_jw_kbool(&w, "scale", lock->scale);
    ww_jw_key(&w, "descriptor");
    ww_jw_object(&w);
    ww_jw_kstr(&w, "id", lock->descriptor);
    ww_jw_kstr(&w, "sha256", lock->descriptor_sha256);
    ww_jw_close(&w);
    name_config(build->plan, &w);
    ww_jw_kstr(&w, "tool", "weightward " WW_VERSION);
    ww_jw_close(&w);
    rc = ww_jw_end(&w, err);
    if (!rc) {
        impl->lock_json = ww_pool_keep(build->pool, ww_buf_take(&buf, &len));
        rc = impl->lock_json ? WW_OK : ww_build_no_memory(err);
    }
    ww_buf_release(&buf);
    return rc;
}

enum ww_err ww_build_locks(struct ww_build *build, struct ww_error *err)
{
    const uint32_t n = build->recipe->n_models;
    struct ww_lock_side *facts = ww_calloc(n, sizeof(*facts));
    enum ww_err rc = facts ? WW_OK : ww_build_no_memory(err);

    for (uint32_t i = 0; i < n && !rc; i++) {
        rc = ww_lock_side_read(build->models[i].model, build->models[i].text, &facts[i],
                               err);
    }
    if (!rc) {
        rc = open_all(build, facts, err);
    }
    for (uint32_t i = 0; i < n && !rc; i++) {
        if (build->recipe->models[i].is_statistics) {
            continue;
        }
        rc = ww_lock_sides_agree(&facts[0], &facts[i], "give the keys by --unlock-with",
                                 err);
    }
    if (!rc && build->plan->order_free && !build->recipe->method->order_free) {
        rc = name_order_free(build->recipe->method, err);
    }
    if (!rc && facts[0].locked) {
        rc = check_recipe(build, facts[0].scale, err);
        rc = rc ? rc : keep_lock(build, &facts[0], err);
    }
    for (uint32_t i = 0; facts && i < n; i++) {
        ww_lock_side_release(&facts[i]);
    }
    ww_free(facts);
    return rc;
}
