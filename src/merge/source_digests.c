/* SPDX-License-Identifier: Apache-2.0 */
/*
 * States are taken when the files are open, before a byte is read, and compared when all
 * have been read. The change time never goes back, so what has one state then and now had
 * it all the while, and its bytes are those that the digest is of.
 */
#include "merge/source_digests.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#include "merge/build.h"
#include "util/fail.h"
#include "util/num.h"
#include "util/str.h"

#define MAX_KEPT 4096 /* a few hundred models; a cache is read and written whole */

enum ww_err ww_source_digests_open(struct ww_source_digests *d, const char *path,
                                   struct ww_signkey *key, bool with_trees,
                                   struct ww_error *err)
{
    memset(d, 0, sizeof(*d));
    if (!path) {
        return WW_OK;
    }
    if (!key) {
        return WW_FAIL(err, WW_E_USAGE,
                       "digest cache '%s' is for signed merges: it is used when the key "
                       "that signs has signed it",
                       path);
    }
    d->path = path;
    d->key = key;
    d->with_trees = with_trees;
    return ww_cache_load(path, key, &d->old, err);
}

void ww_source_digests_release(struct ww_source_digests *d)
{
    ww_cache_release(&d->old);
    ww_cache_release(&d->now);
    memset(d, 0, sizeof(*d));
}

static struct ww_known_model *known_of(const struct ww_merge_plan *plan)
{
    return ((const struct ww_plan_impl *)plan->impl)->known;
}

static enum ww_err state_of(int fd, const char *name, struct stat *st, char *out,
                            struct ww_error *err)
{
    if (fstat(fd, st) != 0) {
        return WW_FAIL_SYS(err, WW_E_IO, errno, "cannot examine '%s'", name);
    }
    ww_file_state(st, out);
    return WW_OK;
}

/* The tree of a model is kept under the states of its files together. */
static void tree_state(const char (*states)[WW_FILE_STATE_BYTES], uint32_t n,
                       char out[WW_FILE_STATE_BYTES])
{
    static const char label[] = "tree:";
    uint8_t digest[WW_SHA256_BYTES];

    ww_sha256_of(states, n * sizeof(*states), digest);
    memset(out, 0, WW_FILE_STATE_BYTES);
    memcpy(out, label, sizeof(label) - 1);
    ww_hex(out + sizeof(label) - 1, digest, sizeof(digest));
}

/* A file that is read as something else than its bytes. */
static bool is_view(const struct ww_merge_plan *plan, uint32_t first, uint32_t n)
{
    for (uint32_t f = 0; f < n; f++) {
        if (plan->inputs[first + f].reader) {
            return true;
        }
    }
    return false;
}

static bool has_all(const struct ww_source_digests *d, const struct ww_model *model,
                    struct ww_known_model *known)
{
    char state[WW_FILE_STATE_BYTES];
    const uint8_t *tree = NULL;

    for (uint32_t f = 0; f < model->n_files; f++) {
        if (!ww_cache_find(&d->old, known->states[f])) {
            return false;
        }
    }
    if (!d->with_trees) {
        return true;
    }
    tree_state((const char(*)[WW_FILE_STATE_BYTES])known->states, model->n_files, state);
    tree = ww_cache_find(&d->old, state);
    if (tree) {
        memcpy(known->tree, tree, sizeof(known->tree));
    }
    return tree != NULL;
}

static enum ww_err ask_model(const struct ww_source_digests *d,
                             struct ww_merge_plan *plan, uint32_t i, uint32_t first,
                             struct ww_error *err)
{
    struct ww_plan_impl *impl = plan->impl;
    const struct ww_model *model = plan->models[i];
    struct ww_known_model *known = &impl->known[i];
    enum ww_err rc = WW_OK;

    if (is_view(plan, first, model->n_files)) {
        return WW_OK;
    }
    known->states = ww_pool_calloc(&impl->pool, ww_max_u64(1, model->n_files),
                                   sizeof(*known->states));
    if (!known->states) {
        return WW_FAIL_MEMORY(err, "the states of %u files", model->n_files);
    }
    clock_gettime(CLOCK_REALTIME, &known->at);
    for (uint32_t f = 0; f < model->n_files && !rc; f++) {
        const struct ww_merge_input *in = &plan->inputs[first + f];
        struct stat st;
        rc = state_of(in->fd, in->name, &st, known->states[f], err);
    }
    known->known = !rc && has_all(d, model, known);
    for (uint32_t f = 0; f < model->n_files && known->known; f++) {
        plan->inputs[first + f].want_sha256 = false;
        plan->inputs[first + f].sha256_known = true;
    }
    return rc;
}

enum ww_err ww_source_digests_ask(const struct ww_source_digests *d,
                                  struct ww_merge_plan *plan, struct ww_error *err)
{
    struct ww_plan_impl *impl = plan->impl;
    uint32_t first = 0;
    enum ww_err rc = WW_OK;

    if (!d->path) {
        return WW_OK;
    }
    impl->known = ww_pool_calloc(&impl->pool, plan->n_models, sizeof(*impl->known));
    if (!impl->known) {
        return WW_FAIL_MEMORY(err, "the digests of %u models", plan->n_models);
    }
    for (uint32_t i = 0; i < plan->n_models && !rc; i++) {
        rc = ask_model(d, plan, i, first, err);
        first += plan->models[i]->n_files;
    }
    return rc;
}

static enum ww_err fill_model(struct ww_source_digests *d,
                              const struct ww_merge_plan *plan, uint32_t i,
                              uint32_t first, struct ww_merge_result *result,
                              struct ww_error *err)
{
    const struct ww_known_model *known = &known_of(plan)[i];

    for (uint32_t f = 0; f < plan->models[i]->n_files; f++) {
        const struct ww_merge_input *in = &plan->inputs[first + f];
        char now[WW_FILE_STATE_BYTES];
        struct stat st;
        enum ww_err rc = state_of(in->fd, in->name, &st, now, err);
        if (rc) {
            return rc;
        }
        if (!ww_str_eq(now, known->states[f])) {
            return WW_FAIL(err, WW_E_CHANGED, "'%s' changed during the merge", in->name);
        }
        memcpy(result->input_sha256[first + f], ww_cache_find(&d->old, now),
               WW_SHA256_BYTES);
        d->hits++;
    }
    return WW_OK;
}

enum ww_err ww_source_digests_fill(struct ww_source_digests *d,
                                   const struct ww_merge_plan *plan,
                                   struct ww_merge_result *result, struct ww_error *err)
{
    const struct ww_known_model *known = known_of(plan);
    uint32_t first = 0;
    enum ww_err rc = WW_OK;

    for (uint32_t i = 0; known && i < plan->n_models && !rc; i++) {
        if (known[i].known) {
            rc = fill_model(d, plan, i, first, result, err);
        }
        first += plan->models[i]->n_files;
    }
    return rc;
}

const uint8_t *ww_source_digests_tree(const struct ww_merge_plan *plan, uint32_t model)
{
    const struct ww_known_model *known = known_of(plan);

    return known && known[model].known ? known[model].tree : NULL;
}

/* Has every file of a model the state that it had, and had it stood still before? */
static enum ww_err stood_still(const struct ww_merge_plan *plan, uint32_t model,
                               const struct ww_known_model *known, bool *out,
                               struct ww_error *err)
{
    const struct ww_model *m = plan->models[model];
    enum ww_err rc = WW_OK;

    *out = true;
    for (uint32_t f = 0; f < m->n_files && !rc && *out; f++) {
        char now[WW_FILE_STATE_BYTES];
        struct stat st;
        rc = state_of(m->files[f].fd, m->files[f].name, &st, now, err);
        *out =
            !rc && ww_str_eq(now, known->states[f]) && ww_file_settled(&st, &known->at);
    }
    return rc;
}

enum ww_err ww_source_digests_keep(struct ww_source_digests *d,
                                   const struct ww_merge_plan *plan, uint32_t model,
                                   const uint8_t (*sha256)[WW_SHA256_BYTES],
                                   const uint8_t *tree, struct ww_error *err)
{
    const struct ww_known_model *known = known_of(plan);
    const uint32_t n = plan->models[model]->n_files;
    char state[WW_FILE_STATE_BYTES];
    bool still = false;
    enum ww_err rc = WW_OK;

    if (!known || !known[model].states) {
        return WW_OK;
    }
    known += model;
    rc = stood_still(plan, model, known, &still, err);
    for (uint32_t f = 0; f < n && !rc && still; f++) {
        rc = ww_cache_add(&d->now, known->states[f], sha256[f], err);
    }
    if (!rc && still && tree) {
        tree_state((const char(*)[WW_FILE_STATE_BYTES])known->states, n, state);
        rc = ww_cache_add(&d->now, state, tree, err);
    }
    return rc;
}

/* A tensor statement that sign --tensors kept here is of one model; this cache is of
 * several, so it does not stay. */
enum ww_err ww_source_digests_save(struct ww_source_digests *d, const char *name,
                                   const uint8_t root[WW_SHA256_BYTES],
                                   struct ww_error *err)
{
    const size_t n_now = d->now.n;
    enum ww_err rc = WW_OK;

    for (size_t i = 0; i < d->old.n && d->now.n < MAX_KEPT && !rc; i++) {
        const struct ww_cache_entry *entry = &d->old.entries[i];
        bool is_there = false;
        for (size_t k = 0; k < n_now && !is_there; k++) {
            is_there = ww_str_eq(d->now.entries[k].state, entry->state);
        }
        rc = is_there ? WW_OK : ww_cache_add(&d->now, entry->state, entry->sha256, err);
    }
    return rc ? rc : ww_cache_save(&d->now, d->path, d->key, name, root, err);
}
