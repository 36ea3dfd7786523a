/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Loaders differ in what they take when a folder offers more than one answer. The order
 * here is fixed, and whatever was not taken becomes a finding (copies.c), so that nobody
 * has to know it.
 */
#include "model/weights.h"

#include <string.h>

#include "util/buf.h"
#include "util/fail.h"
#include "util/fs.h"

#define INDEX_NAME "model.safetensors.index.json"
#define INDEX_SUFFIX ".safetensors.index.json"
#define SINGLE_NAME "model.safetensors"
#define SUFFIX ".safetensors"
#define SHARD_PREFIX "model-"
#define SHARD_DIGITS 5

typedef unsigned long long ull;

/* At the top and a safetensors file that could be the whole model. */
static bool is_candidate(const struct ww_entry *entry)
{
    return ww_entry_is_top(entry) && ww_str_ends(entry->path, SUFFIX) &&
           !ww_copies_is_adapter(entry);
}

/* Mistral's own layout of the same weights; taken only when there is nothing else. */
static bool is_own_layout(const struct ww_entry *entry)
{
    return ww_str_starts(entry->path, "consolidated");
}

static bool five_digits(const char *s, uint64_t *out)
{
    *out = 0;
    for (unsigned i = 0; i < SHARD_DIGITS; i++) {
        if (s[i] < '0' || s[i] > '9') {
            return false;
        }
        *out = *out * 10 + (uint64_t)(s[i] - '0');
    }
    return true;
}

/* model-I-of-N.safetensors, five digits each. */
static bool shard_numbers(const struct ww_entry *entry, uint64_t *i, uint64_t *n)
{
    const char *s = entry->path;
    if (!ww_str_starts(s, SHARD_PREFIX)) {
        return false;
    }
    s += strlen(SHARD_PREFIX);
    if (!five_digits(s, i) || !ww_str_starts(s + SHARD_DIGITS, "-of-")) {
        return false;
    }
    s += SHARD_DIGITS + strlen("-of-");
    return five_digits(s, n) && strcmp(s + SHARD_DIGITS, SUFFIX) == 0;
}

/* The index of the standard name, else the only other one when there is no single file.
 * An index of Mistral's own layout does not count. */
static enum ww_err find_index(const struct ww_folder *folder, const char **name,
                              struct ww_error *err)
{
    *name = NULL;
    if (ww_folder_find(folder, INDEX_NAME)) {
        *name = INDEX_NAME;
        return WW_OK;
    }
    if (ww_folder_find(folder, SINGLE_NAME)) {
        return WW_OK;
    }
    for (size_t i = 0; i < folder->n; i++) {
        const struct ww_entry *entry = &folder->items[i];
        if (!ww_entry_is_top(entry) || !ww_str_ends(entry->path, INDEX_SUFFIX) ||
            is_own_layout(entry)) {
            continue;
        }
        if (*name) {
            return WW_FAIL(err, WW_E_INDEX,
                           "indexes '%s' and '%s' both describe weights; keep one model "
                           "per folder",
                           *name, entry->path);
        }
        *name = entry->path;
    }
    return WW_OK;
}

static enum ww_err take_index(int dirfd, const struct ww_folder *folder,
                              struct ww_weights *out, struct ww_error *err)
{
    struct ww_buf text;
    enum ww_err rc;
    ww_buf_init(&text, ww_json_limits_bundle.max_bytes);
    rc = ww_file_read_at(dirfd, out->index_name, WW_LINKS_HUB, &text, err);
    if (rc) {
        goto out;
    }
    rc = ww_index_parse(text.data, text.len, out->index_name, &out->index, err);
    if (rc) {
        goto out;
    }
    for (size_t i = 0; i < out->index.files.n && !rc; i++) {
        const char *file = out->index.files.items[i];
        if (ww_folder_find(folder, file)) {
            rc = ww_strlist_add(&out->files, file, err);
        } else {
            rc = WW_FAIL(err, WW_E_INDEX, "'%s': file '%.160s' of weight_map is missing",
                         out->index_name, file);
        }
    }
out:
    ww_buf_release(&text);
    return rc;
}

/* Shards without an index: all of one count, none missing. */
static enum ww_err take_shards(const struct ww_folder *folder, struct ww_weights *out,
                               struct ww_findings *findings, struct ww_error *err)
{
    uint64_t want = 0;
    uint64_t next = 1;
    for (size_t e = 0; e < folder->n; e++) {
        uint64_t i;
        uint64_t n;
        if (!shard_numbers(&folder->items[e], &i, &n)) {
            continue;
        }
        if (want != 0 && n != want) {
            return WW_FAIL(err, WW_E_INDEX,
                           "shard '%s' counts %llu shards, the one before it %llu, and "
                           "there is no " INDEX_NAME,
                           folder->items[e].path, (ull)n, (ull)want);
        }
        want = n;
        if (i != next) {
            break;
        }
        next++;
        enum ww_err rc = ww_strlist_add(&out->files, folder->items[e].path, err);
        if (rc) {
            return rc;
        }
    }
    if (want == 0 && next == 1) {
        return WW_OK;
    }
    if (next != want + 1) {
        return WW_FAIL(err, WW_E_INDEX,
                       "shard 'model-%05llu-of-%05llu.safetensors' is missing", (ull)next,
                       (ull)want);
    }
    return ww_findings_add(findings, WW_OK, err,
                           "shard index '" INDEX_NAME
                           "' is missing; the %llu shards were taken by their names",
                           (ull)want);
}

/* own_layout: whether consolidated*.safetensors are the files looked at, or the others.
 */
static enum ww_err take_only(const struct ww_folder *folder, bool own_layout,
                             struct ww_weights *out, struct ww_error *err)
{
    const struct ww_entry *only = NULL;
    for (size_t i = 0; i < folder->n; i++) {
        const struct ww_entry *entry = &folder->items[i];
        if (!is_candidate(entry) || is_own_layout(entry) != own_layout) {
            continue;
        }
        if (only) {
            return WW_FAIL(err, WW_E_INDEX,
                           "files '%s' and '%s' both hold tensors and neither "
                           "'" SINGLE_NAME "' nor an index says which are the model; "
                           "keep one model per folder",
                           only->path, entry->path);
        }
        only = entry;
    }
    return only ? ww_strlist_add(&out->files, only->path, err) : WW_OK;
}

static enum ww_err choose(int dirfd, const struct ww_folder *folder,
                          struct ww_weights *out, struct ww_findings *findings,
                          struct ww_error *err)
{
    enum ww_err rc = find_index(folder, &out->index_name, err);
    if (rc) {
        return rc;
    }
    if (out->index_name) {
        return take_index(dirfd, folder, out, err);
    }
    if (ww_folder_find(folder, SINGLE_NAME)) {
        return ww_strlist_add(&out->files, SINGLE_NAME, err);
    }
    rc = take_shards(folder, out, findings, err);
    if (rc || out->files.n > 0) {
        return rc;
    }
    rc = take_only(folder, false, out, err);
    if (rc || out->files.n > 0) {
        return rc;
    }
    rc = take_only(folder, true, out, err);
    if (rc || out->files.n > 0) {
        return rc;
    }
    return ww_weights_missing(folder, err);
}

enum ww_err ww_weights_choose(int dirfd, const struct ww_folder *folder,
                              struct ww_weights *out, struct ww_findings *findings,
                              struct ww_error *err)
{
    memset(out, 0, sizeof(*out));
    enum ww_err rc = choose(dirfd, folder, out, findings, err);
    if (rc) {
        ww_weights_release(out);
        return rc;
    }
    for (size_t i = 0; i < out->files.n; i++) {
        ww_folder_find(folder, out->files.items[i])->is_weights = true;
    }
    return WW_OK;
}

enum ww_err ww_weights_take(const struct ww_folder *folder, const char *name,
                            struct ww_weights *out, struct ww_error *err)
{
    struct ww_entry *entry = ww_folder_find(folder, name);

    memset(out, 0, sizeof(*out));
    if (!entry) {
        return WW_FAIL(err, WW_E_NOTFOUND,
                       "no file '%s' in the folder; was it saved with its weights, "
                       "as safetensors?",
                       name);
    }
    entry->is_weights = true;
    return ww_strlist_add(&out->files, entry->path, err);
}

void ww_weights_release(struct ww_weights *weights)
{
    ww_strlist_release(&weights->files);
    ww_index_release(&weights->index);
    memset(weights, 0, sizeof(*weights));
}
