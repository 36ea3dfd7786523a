/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A merged folder's sum solved for its sources: the record has the recipe, and says by
 * tensor trees which of the folders that are given is which source.
 */
#include <string.h>
#include <unistd.h>

#include "merge/predict.h"
#include "merge/sum.h"
#include "stream/tree.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"
#include "util/str.h"

struct invert {
    const char *merged;
    const char *const *sources;
    size_t n;
    uint8_t (*trees)[WW_SHA256_BYTES];
    uint32_t *place; /* per source: in the recipe's models */
    struct ww_record_view record;
    struct ww_recipe_view view;
    bool opened; /* the view */
    struct ww_merge_plan plan;
    struct ww_merge_sum sum;
};

static enum ww_err read_trees(struct invert *v, struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    v->trees = ww_calloc(v->n, sizeof(*v->trees));
    v->place = ww_calloc(v->n, sizeof(*v->place));
    if (!v->trees || !v->place) {
        return WW_FAIL_MEMORY(err, "the sources of a merge");
    }
    for (size_t i = 0; i < v->n && !rc; i++) {
        struct ww_model *model = NULL;
        rc = ww_model_open(v->sources[i], &model, err);
        if (!rc) {
            rc = ww_tree_model_read(model, v->trees[i], err);
        }
        ww_model_close(model);
        v->place[i] = WW_NONE;
    }
    return rc;
}

static enum ww_err open_recipe(struct invert *v, const struct ww_run_options *run,
                               struct ww_error *err)
{
    int dirfd = -1;
    enum ww_err rc = ww_dir_open(v->merged, &dirfd, err);

    if (rc) {
        return rc;
    }
    rc = ww_record_read(dirfd, &v->record, err);
    close(dirfd);
    if (rc) {
        ww_error_context(err, "'%s'", v->merged);
        return rc;
    }
    v->opened = true;
    return ww_recipe_view_open(&v->view, v->record.recipe, WW_MERGE_RECIPE_FILE,
                               v->merged, v->record.seed, run, err);
}

/* Which of the given folders is the source of this name, by what the record says. */
static enum ww_err find_source(const struct invert *v, const char *name, size_t *out,
                               struct ww_error *err)
{
    const struct ww_jnode *stated = ww_record_named(v->record.sources, name);
    const char *hex = NULL;
    uint8_t tree[WW_SHA256_BYTES];

    if (!ww_jstr(ww_jget(ww_jget(stated, "annotations"), "tensor_tree"), &hex) ||
        !ww_unhex(tree, sizeof(tree), hex, strlen(hex))) {
        return WW_FAIL(err, WW_E_UNSUPPORTED,
                       "the record of '%s' has no tensor tree of source '%s'; merge "
                       "without --no-source-trees, and models without adapters",
                       v->merged, name);
    }
    for (size_t i = 0; i < v->n; i++) {
        /* Models with the same weights are each other's. */
        if (v->place[i] == WW_NONE && memcmp(v->trees[i], tree, sizeof(tree)) == 0) {
            *out = i;
            return WW_OK;
        }
    }
    return WW_FAIL(
        err, WW_E_UNRELATED,
        "none of the given models is source '%s' of '%s' (tensor tree %.16s...);"
        " name all of its sources",
        name, v->merged, hex);
}

static enum ww_err place_sources(struct invert *v, struct ww_error *err)
{
    const struct ww_recipe *recipe = ww_recipe_view_recipe(&v->view);
    enum ww_err rc = WW_OK;

    for (uint32_t m = 0; m < recipe->n_models && !rc; m++) {
        size_t i = 0;
        if (recipe->models[m].adapter || recipe->models[m].is_statistics) {
            rc = WW_FAIL(err, WW_E_UNSUPPORTED,
                         "'%s' was merged of more than models: '%s'; merge adapters into "
                         "their base first",
                         v->merged, recipe->models[m].text);
        }
        if (!rc) {
            rc = find_source(v, recipe->models[m].text, &i, err);
        }
        if (!rc) {
            v->place[i] = m;
            rc = ww_recipe_view_place(&v->view, recipe->models[m].text, v->sources[i],
                                      err);
        }
    }
    for (size_t i = 0; i < v->n && !rc; i++) {
        if (v->place[i] == WW_NONE) {
            rc = WW_FAIL(
                err, WW_E_UNRELATED,
                "model '%s' is not one that '%s' was merged of, or is given twice",
                v->sources[i], v->merged);
        }
    }
    return rc;
}

static void release(struct invert *v)
{
    ww_merge_plan_release(&v->plan);
    if (v->opened) {
        ww_recipe_view_release(&v->view);
    }
    ww_record_release(&v->record);
    ww_free(v->trees);
    ww_free(v->place);
    ww_merge_sum_release(&v->sum);
}

enum ww_err ww_merge_invert(const char *merged, const char *const *sources,
                            size_t n_sources, size_t n_wanted,
                            const struct ww_run_options *run,
                            struct ww_merge_inverse *out, struct ww_error *err)
{
    struct invert v = {.merged = merged, .sources = sources, .n = n_sources};
    enum ww_err rc = open_recipe(&v, run, err);

    memset(out, 0, n_wanted * sizeof(*out));
    if (!rc) {
        rc = read_trees(&v, err);
    }
    if (!rc) {
        rc = place_sources(&v, err);
    }
    if (!rc) {
        rc = ww_recipe_view_plan(&v.view, WW_NONE, NULL, &v.plan, err);
    }
    if (!rc && v.plan.locked) {
        rc = WW_FAIL(err, WW_E_UNSUPPORTED,
                     "'%s' was merged of locked models; unlock them first", merged);
    }
    if (!rc) {
        rc = ww_merge_sum_find(&v.plan, merged, &v.sum, err);
    }
    const struct ww_merge_sum_sources sources_of = {
        merged, sources, n_sources, v.place, (const uint8_t(*)[WW_SHA256_BYTES])v.trees};
    for (size_t i = 0; i < n_wanted && !rc; i++) {
        rc = ww_merge_sum_solve(&v.sum, &sources_of, i, &out[i], err);
    }
    for (size_t i = 0; i < n_wanted && rc; i++) {
        ww_merge_inverse_release(&out[i]);
    }
    release(&v);
    return rc;
}
