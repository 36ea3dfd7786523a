/* SPDX-License-Identifier: Apache-2.0 */
/* From a recipe to a plan, step by step, and the plan's end. */
#include <string.h>
#include <unistd.h>

#include "merge/build.h"
#include "merge/earlier.h"
#include "model/orientation.h"
#include "merge/peer.h"
#include "util/alloc.h"
#include "util/fail.h"

static enum ww_err run_steps(struct ww_build *build, struct ww_error *err)
{
    enum ww_err rc = ww_build_models(build, err);

    if (!rc) {
        build->plan->inputs_first =
            ww_stores_inputs_first(build->models[build->donor].model);
    }
    for (size_t i = 0; i < build->recipe->warnings.n && !rc; i++) {
        rc = ww_build_warn(build, err, "%s", build->recipe->warnings.items[i]);
    }
    if (!rc) {
        rc = ww_build_locks(build, err);
    }
    if (!rc) {
        rc = ww_build_heads(build, err);
    }
    if (!rc) {
        rc = ww_build_adapters(build, err);
    }
    if (!rc) {
        rc = ww_build_tensors(build, err);
    }
    if (!rc) {
        rc = ww_build_vocab(build, err);
    }
    if (!rc) {
        rc = ww_build_files(build, err);
    }
    if (!rc) {
        rc = ww_build_sides(build, err);
    }
    if (!rc) {
        rc = ww_build_lock_text(build, err);
    }
    if (!rc) {
        rc = ww_build_earlier(build, err);
    }
    return rc ? rc : ww_merge_check(build->plan, err);
}

enum ww_err ww_build_own_fd(struct ww_build *build, int fd, struct ww_error *err)
{
    struct ww_plan_impl *impl = build->plan->impl;
    int *fds = ww_realloc_array(impl->fds, impl->n_fds + 1, sizeof(*fds));

    if (!fds) {
        close(fd);
        return ww_build_no_memory(err);
    }
    impl->fds = fds;
    impl->fds[impl->n_fds++] = fd;
    return WW_OK;
}

enum ww_err ww_build_add_input(struct ww_build *build, const struct ww_merge_input *input,
                               uint32_t *index, struct ww_error *err)
{
    struct ww_merge_plan *plan = build->plan;
    struct ww_merge_input *inputs =
        ww_pool_calloc(build->pool, (size_t)plan->n_inputs + 1, sizeof(*inputs));

    if (!inputs) {
        return ww_build_no_memory(err);
    }
    memcpy(inputs, plan->inputs, plan->n_inputs * sizeof(*inputs));
    inputs[plan->n_inputs] = *input;
    plan->inputs = inputs;
    *index = plan->n_inputs++;
    return WW_OK;
}

static enum ww_err check_peer(const struct ww_recipe *recipe,
                              const struct ww_merge_options *options,
                              struct ww_error *err)
{
    if (options->peer_arithmetic && !ww_peer_knows(recipe->method)) {
        return WW_FAIL(
            err, WW_E_UNSUPPORTED,
            "method '%s' has no arithmetic of mergekit's here; linear, slerp, "
            "passthrough, task_arithmetic and what selects from its differences "
            "have",
            recipe->method->name);
    }
    return options->peer_arithmetic && options->paper
               ? WW_FAIL(err, WW_E_USAGE,
                         "mergekit's arithmetic and the semantics of the papers exclude "
                         "each other")
               : WW_OK;
}

enum ww_err ww_merge_plan_make(const struct ww_recipe_use *use,
                               const struct ww_merge_options *options,
                               struct ww_strlist *warnings, struct ww_merge_plan *out,
                               struct ww_error *err)
{
    struct ww_build build = {.use = use,
                             .recipe = use->recipe,
                             .options = options,
                             .plan = out,
                             .warnings = warnings};
    struct ww_plan_impl *impl = ww_calloc(1, sizeof(*impl));
    enum ww_err rc = WW_OK;

    *out = (struct ww_merge_plan){.paper = options->paper,
                                  .peer = options->peer_arithmetic,
                                  .order_free = options->order_free};
    if (!impl) {
        return ww_build_no_memory(err);
    }
    out->impl = impl;
    build.pool = &impl->pool;
    rc = check_peer(use->recipe, options, err);
    if (!rc) {
        rc = run_steps(&build, err);
    }
    if (!rc && out->peer && out->order_free) {
        rc = WW_FAIL(err, WW_E_UNSUPPORTED,
                     "mergekit's arithmetic goes by the order of elements; locked models "
                     "are merged without it");
    }
    ww_free(build.tensors);
    if (rc) {
        ww_merge_plan_release(out);
    }
    return rc;
}

void ww_merge_plan_release(struct ww_merge_plan *plan)
{
    struct ww_plan_impl *impl = plan->impl;
    for (uint32_t i = 0; impl && i < impl->n_adapters; i++) {
        ww_bake_close(impl->adapters[i].bake);
        ww_adapter_close(impl->adapters[i].adapter);
    }
    for (uint32_t i = 0; impl && i < impl->n_views; i++) {
        ww_unlock_view_free(impl->views[i]);
    }
    for (uint32_t i = 0; i < plan->n_models; i++) {
        if (!impl->lent[i]) {
            ww_model_close(plan->models[i]);
        }
    }
    if (impl) {
        for (size_t i = 0; i < impl->n_fds; i++) {
            close(impl->fds[i]);
        }
        ww_merge_earlier_free(impl->earlier);
        ww_free(impl->fds);
        ww_pool_release(&impl->pool);
        ww_free(impl);
    }
    memset(plan, 0, sizeof(*plan));
}
