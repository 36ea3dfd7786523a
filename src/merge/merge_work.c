/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a recipe file to the plan of its last recipe. Models are looked for from the
 * current folder, as the peer does, then beside the recipe, so that a recipe can travel
 * with its models. Intermediate results are folders of their own that are gone when the
 * output is there.
 */
#include "merge/hub_cache.h"
#include "merge/merge_work.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "merge/engine.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"
#include "util/num.h"
#include "util/work_folder.h"

#define PLAN_LABEL "weightward.merge-plan/1"
#define MAX_RECIPE_BYTES ((size_t)1 << 20)
#define COPY_BLOCK ((size_t)64 << 10)

enum ww_err ww_work_open(struct ww_work *work, const struct ww_recipe_text *text,
                         const struct ww_merge_options *options,
                         struct ww_merge_report *report, struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    *work = (struct ww_work){.options = options, .report = report};
    memset(report, 0, sizeof(*report));
    ww_buf_init(&work->text, MAX_RECIPE_BYTES);
    work->recipe_dir = ww_strdup(text->dir);
    if (!work->recipe_dir) {
        return WW_FAIL_MEMORY(err, "a merge");
    }
    rc = ww_buf_add(&work->text, text->bytes, text->len, err);
    if (!rc) {
        rc = ww_recipe_parse(work->text.data, work->text.len, text->name, &work->file,
                             err);
    }
    if (!rc) {
        const struct ww_method *method = work->file.recipes[work->file.last].method;
        report->evidence = method->evidence;
        report->method = ww_strdup(method->name);
        rc = report->method ? WW_OK : WW_FAIL_MEMORY(err, "a merge");
    }
    return rc;
}

enum ww_err ww_work_open_file(struct ww_work *work, const char *path,
                              const struct ww_merge_options *options,
                              struct ww_merge_report *report, struct ww_error *err)
{
    char *dir = ww_path_folder(path);
    struct ww_buf text;
    enum ww_err rc = WW_OK;

    *work = (struct ww_work){0};
    ww_buf_init(&text, MAX_RECIPE_BYTES);
    if (!dir) {
        return WW_FAIL_MEMORY(err, "a merge");
    }
    rc = ww_file_read(path, &text, err);
    if (!rc) {
        const struct ww_recipe_text recipe = {
            .bytes = text.data, .len = text.len, .name = path, .dir = dir};
        rc = ww_work_open(work, &recipe, options, report, err);
    }
    ww_buf_release(&text);
    ww_free(dir);
    return rc;
}

enum ww_err ww_work_open_record(struct ww_work *work, const char *recipe_path,
                                const char *out_path, const char *recorded,
                                const struct ww_merge_options *options,
                                struct ww_merge_report *report, struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    if (!recipe_path) {
        const struct ww_recipe_text recipe = {.bytes = recorded,
                                              .len = strlen(recorded),
                                              .name = WW_MERGE_RECIPE_FILE,
                                              .dir = out_path};
        rc = ww_work_open(work, &recipe, options, report, err);
        work->of_record = true;
        return rc;
    }
    rc = ww_work_open_file(work, recipe_path, options, report, err);
    if (!rc && strcmp(ww_buf_cstr(&work->text), recorded) != 0) {
        rc =
            WW_FAIL(err, WW_E_DIFFERS, "recipe '%s' is not the one in the record of '%s'",
                    recipe_path, out_path);
    }
    return rc;
}

static void remove_steps(struct ww_work *work)
{
    /* Nothing is lost when it cannot be removed: the next run says that it is there. */
    (void)!ww_remove_tree(work->steps, NULL);
}

void ww_work_close(struct ww_work *work)
{
    if (work->report) {
        work->report->warnings = work->warnings.items;
        work->report->n_warnings = work->warnings.n;
        ww_hex(work->report->plan_sha256, work->plan_sha256, WW_SHA256_BYTES);
        work->report->tensors = work->plan.n_tensors;
    }
    ww_merge_plan_release(&work->plan);
    if (work->steps) {
        remove_steps(work);
    }
    ww_ancestors_release(&work->ancestors);
    ww_source_digests_release(&work->digests);
    ww_free(work->steps);
    ww_recipe_release(&work->file);
    ww_pool_release(&work->pool);
    ww_free(work->recipe_dir);
    ww_buf_release(&work->text);
    memset(work, 0, sizeof(*work));
}

/* 0: there is nothing. */
static mode_t kind_of(const char *path)
{
    struct stat st;
    return path && stat(path, &st) == 0 ? st.st_mode & S_IFMT : 0;
}

#define MOST_PLACES 3

/* From here, beside the recipe, and beside the folder whose record the recipe is from. */
static size_t list_places(struct ww_work *work, const char *path,
                          const char *places[MOST_PLACES], struct ww_error *err)
{
    const size_t n = path[0] == '/' ? 1 : work->of_record ? 3 : 2;

    for (size_t i = 0; i < n; i++) {
        places[i] = ww_pool_keep(
            &work->pool, i == 0   ? ww_strdup(path)
                         : i == 1 ? ww_path_join(work->recipe_dir, path)
                                  : ww_asprintf("%s/../%s", work->recipe_dir, path));
        if (!places[i]) {
            (void)WW_FAIL_MEMORY(err, "a merge");
            return 0;
        }
    }
    return n;
}

/* Who computes a merge again needs what it was made of, not a download of something. */
static enum ww_err say_lost(const struct ww_recipe_model *m, const char *path,
                            const char *what, const char *const places[MOST_PLACES],
                            size_t n, struct ww_error *err)
{
    if (n == 1) {
        return WW_FAIL(
            err, WW_E_NOTFOUND,
            "line %zu of the recorded recipe: %s '%s' is no folder; put it, or "
            "a link to it, there again",
            m->line, what, path);
    }
    return WW_FAIL(
        err, WW_E_NOTFOUND,
        "line %zu of the recorded recipe: %s '%s' is no folder here, nor are "
        "'%.120s' and '%.120s'; run this in the folder where the recipe ran, or "
        "name the recipe's file too: its folder is looked in",
        m->line, what, path, places[1], places[2]);
}

/* A folder at one of its places, else by its name on the hub. */
enum ww_err ww_work_find_folder(struct ww_work *work, const struct ww_recipe_model *m,
                                const char *path, const char *what, const char **out,
                                struct ww_error *err)
{
    const char *cache = work->options->hub_cache;
    const char *revision = path == m->adapter ? m->adapter_revision : m->revision;
    const char *places[MOST_PLACES];
    const size_t n = list_places(work, path, places, err);
    char *cached = NULL;
    enum ww_err rc = n > 0 ? WW_OK : WW_E_NOMEM;

    for (size_t i = 0; i < n; i++) {
        *out = places[i];
        if (kind_of(*out) == S_IFDIR) {
            return WW_OK;
        }
    }
    for (size_t i = 0; i < n; i++) {
        if (kind_of(places[i]) != 0) {
            return WW_FAIL(err, WW_E_NOTFOUND,
                           "line %zu: %s '%s' is a file; name the folder that it is in, "
                           "whose other files are needed too",
                           m->line, what, path);
        }
    }
    if (rc) {
        return rc;
    }
    if (cache) {
        rc = ww_hub_folder(cache, path, revision, &cached, err);
    }
    if (!rc && cached) {
        *out = ww_pool_keep(&work->pool, cached);
        return *out ? WW_OK : WW_FAIL_MEMORY(err, "a merge");
    }
    if (!rc && work->of_record && !cache) {
        return say_lost(m, path, what, places, n, err);
    }
    return rc ? rc
              : WW_FAIL(err, WW_E_NOTFOUND,
                        "line %zu: %s '%s' is no folder, neither here nor beside the "
                        "recipe%s; models are not downloaded, fetch it first%s",
                        m->line, what, path, cache ? ", and not in the cache" : "",
                        cache ? "" : " or say where a cache of the hub is (--hub-cache)");
}

static enum ww_err find_model(struct ww_work *work, const struct ww_recipe_model *m,
                              const char **out, struct ww_error *err)
{
    if (m->recipe == WW_NONE) {
        return ww_work_find_folder(work, m, m->path, "model", out, err);
    }
    *out = ww_pool_keep(&work->pool, ww_path_join(work->steps ? work->steps : "",
                                                  work->file.recipes[m->recipe].name));
    if (!*out) {
        return WW_FAIL_MEMORY(err, "a merge");
    }
    return kind_of(*out) == S_IFDIR
               ? WW_OK
               : WW_FAIL(err, WW_E_NOTFOUND, "line %zu: the result of '%s' is not there",
                         m->line, m->path);
}

enum ww_err ww_work_plan(struct ww_work *work, uint32_t recipe, struct ww_merge_plan *out,
                         struct ww_error *err)
{
    const struct ww_recipe *r = &work->file.recipes[recipe];
    const char **paths = ww_pool_calloc(&work->pool, r->n_models, sizeof(*paths));
    const char **adapters = ww_pool_calloc(&work->pool, r->n_models, sizeof(*adapters));
    enum ww_err rc = paths && adapters ? WW_OK : WW_FAIL_MEMORY(err, "a merge");

    memset(out, 0, sizeof(*out));
    for (uint32_t i = 0; i < r->n_models && !rc; i++) {
        const struct ww_recipe_model *m = &r->models[i];
        rc = find_model(work, m, &paths[i], err);
        if (!rc && m->adapter) {
            rc = ww_work_find_folder(work, m, m->adapter, "adapter", &adapters[i], err);
        }
    }
    if (!rc) {
        const struct ww_recipe_use use = {.recipe = r,
                                          .text = work->text.data,
                                          .len = work->text.len,
                                          .paths = paths,
                                          .adapters = adapters,
                                          .decodes = work->decodes,
                                          .open = work->open};
        rc = ww_merge_plan_make(&use, work->options,
                                work->looked_at ? NULL : &work->warnings, out, err);
    }
    if (rc) {
        ww_error_context(err, "%s", work->file.label);
    }
    return rc;
}

/* What a file has beside tensors: a header, or all of it. */
static enum ww_err hash_file(const struct ww_merge_plan *plan,
                             const struct ww_merge_file *file, struct ww_sha256 *h,
                             struct ww_error *err)
{
    const uint64_t n =
        file->copied_sha256 ? plan->inputs[file->copied].size_bytes : file->header_bytes;
    uint8_t block[COPY_BLOCK];
    enum ww_err rc = WW_OK;

    ww_sha256_u64le(h, n);
    ww_sha256_update(h, file->header, file->header_bytes);
    for (uint64_t at = 0; file->copied_sha256 && at < n && !rc; at += sizeof(block)) {
        const size_t len = (size_t)ww_min_u64(sizeof(block), n - at);
        rc = ww_merge_input_read(plan, file->copied, block, len, at, err);
        ww_sha256_update(h, block, rc ? 0 : len);
    }
    return rc;
}

enum ww_err ww_merge_plan_digest(const struct ww_merge_plan *plan,
                                 uint8_t out[WW_SHA256_BYTES], struct ww_error *err)
{
    struct ww_sha256 *h = NULL;
    enum ww_err rc = ww_sha256_new(&h, err);

    if (rc) {
        return rc;
    }
    ww_sha256_update(h, PLAN_LABEL, sizeof(PLAN_LABEL));
    ww_sha256_u64le(h, plan->n_files);
    for (uint32_t f = 0; f < plan->n_files && !rc; f++) {
        const struct ww_merge_file *file = &plan->files[f];
        ww_sha256_update(h, file->name, strlen(file->name) + 1);
        rc = hash_file(plan, file, h, err);
        ww_sha256_u64le(h, file->n_tensors);
    }
    for (uint32_t t = 0; t < plan->n_tensors && !rc; t++) {
        uint8_t digest[WW_SHA256_BYTES];
        rc = ww_merge_digest(plan, t, digest, err);
        ww_sha256_update(h, digest, rc ? 0 : sizeof(digest));
    }
    ww_sha256_final(h, out);
    ww_sha256_free(h);
    return rc;
}

/* The digest of all plans in the order in which they run. */
static enum ww_err fold_digest(struct ww_work *work, const struct ww_merge_plan *plan,
                               struct ww_error *err)
{
    uint8_t both[2 * WW_SHA256_BYTES];
    enum ww_err rc = ww_merge_plan_digest(plan, both + WW_SHA256_BYTES, err);

    if (work->file.n_recipes == 1) {
        memcpy(work->plan_sha256, both + WW_SHA256_BYTES, WW_SHA256_BYTES);
        return rc;
    }
    memcpy(both, work->plan_sha256, WW_SHA256_BYTES);
    ww_sha256_of(both, sizeof(both), work->plan_sha256);
    return rc;
}

enum ww_err ww_work_make_steps(struct ww_work *work, const char *out_path,
                               struct ww_error *err)
{
    size_t len = strlen(out_path);

    if (work->steps) {
        return WW_OK;
    }
    while (len > 1 && out_path[len - 1] == '/') {
        len--;
    }
    work->steps = ww_asprintf("%.*s.steps", (int)len, out_path);
    if (!work->steps) {
        return WW_FAIL_MEMORY(err, "a merge");
    }
    enum ww_err rc =
        ww_work_folder_make(work->steps, 0755, work->options->run.resume, err);
    if (rc == WW_E_EXISTS) {
        ww_error_clear(err);
        rc = WW_FAIL(err, rc,
                     "folder '%s' for intermediate results cannot be made; if an earlier "
                     "run left it, remove it or say --resume",
                     work->steps);
    }
    if (rc) {
        ww_free(work->steps);
        work->steps = NULL;
    }
    return rc;
}

enum ww_err ww_work_sources_read(struct ww_work *work, const struct ww_merge_plan *plan,
                                 struct ww_merge_result *result, struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    for (uint32_t i = 0; i < plan->n_models && !rc; i++) {
        rc = ww_model_unchanged(plan->models[i], err);
    }
    return rc ? rc : ww_source_digests_fill(&work->digests, plan, result, err);
}

/* Run one recipe into its folder of the steps. */
static enum ww_err run_step(struct ww_work *work, uint32_t recipe, struct ww_error *err)
{
    struct ww_merge_plan plan = {0};
    struct ww_merge_result result = {0};
    struct ww_run_options run = work->options->run;
    struct ww_out *out = NULL;
    char *path = ww_path_join(work->steps, work->file.recipes[recipe].name);
    enum ww_err rc =
        path ? ww_work_plan(work, recipe, &plan, err) : WW_FAIL_MEMORY(err, "a merge");

    run.resume = false;
    if (!rc && plan.locked) {
        rc = WW_FAIL(err, WW_E_UNSUPPORTED,
                     "recipe '%s' merges locked models; such a recipe stands alone",
                     work->file.recipes[recipe].name);
    }
    if (!rc) {
        rc = fold_digest(work, &plan, err);
    }
    if (!rc) {
        rc = ww_source_digests_ask(&work->digests, &plan, err);
    }
    if (!rc && !work->options->no_source_trees) {
        rc = ww_work_want_trees(work, recipe, &plan, err);
    }
    if (!rc) {
        rc = ww_merge_run(&plan, &(struct ww_merge_into){.path = path}, &run, &out,
                          &result, err);
    }
    if (!rc) {
        rc = ww_work_sources_read(work, &plan, &result, err);
    }
    if (!rc) {
        rc = ww_merge_check_views(
            &plan, (const uint8_t(*)[WW_SHA256_BYTES])result.input_sha256, err);
    }
    if (!rc) {
        rc = ww_work_add_sources(work, recipe, &plan, &result,
                                 !work->options->no_source_trees, err);
    }
    if (!rc) {
        rc = ww_out_commit(out, err);
    }
    ww_out_close(out, false);
    ww_merge_result_release(&result);
    ww_merge_plan_release(&plan);
    ww_free(path);
    return rc;
}

enum ww_err ww_work_prepare(struct ww_work *work, const char *out_path,
                            struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    if (work->file.n_recipes > 1) {
        rc = ww_work_make_steps(work, out_path, err);
    }
    for (uint32_t i = 0; i < work->file.n_recipes && !rc; i++) {
        if (work->file.order[i] != work->file.last) {
            rc = run_step(work, work->file.order[i], err);
        }
    }
    if (!rc) {
        rc = ww_work_plan(work, work->file.last, &work->plan, err);
    }
    return rc ? rc : fold_digest(work, &work->plan, err);
}

enum ww_err ww_work_find_model(struct ww_work *work, const struct ww_recipe_model *m,
                               const char **out, struct ww_error *err)
{
    return find_model(work, m, out, err);
}
