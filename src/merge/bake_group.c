/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which entries of an adapter change which weight of the base. A base that ties its head
 * to its embedding has no head to change: an adapter may carry the embedding twice, once
 * for each (PEFT keeps them as two), and then both must be the same bytes.
 */
#include <stdlib.h>
#include <string.h>

#include "merge/bake_work.h"
#include "merge/build.h"
#include "merge/tied.h"
#include "model/config.h"
#include "model/vocab_names.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"
#include "util/num.h"
#include "util/str.h"

#define COMPARE_BYTES ((size_t)1 << 16)

/* The bias beside a weight: the same name but for its end. */
static enum ww_err bias_of(const struct ww_model *base, const struct ww_adapter *adapter,
                           const struct ww_adapter_entry *entry, uint32_t *tensor,
                           struct ww_error *err)
{
    static const char weight[] = "weight";
    const char *name = base->tensors[*tensor].name;
    const size_t keep = strlen(name) - (sizeof(weight) - 1);
    char *bias = ww_asprintf("%.*sbias", (int)keep, name);

    if (!bias) {
        return WW_FAIL_MEMORY(err, "an adapter");
    }
    *tensor = ww_model_find(base, bias);
    ww_free(bias);
    return *tensor != WW_NONE
               ? WW_OK
               : WW_FAIL(err, WW_E_TENSOR,
                         "adapter '%s' adds a bias to '%.160s', which has none in '%s'",
                         adapter->path, entry->module, base->path);
}

uint32_t ww_bake_tied_head(const struct ww_model *base)
{
    return ww_tied_embedding(base);
}

static enum ww_err compare_bytes(const struct ww_adapter *adapter,
                                 const struct ww_tensor *a, const struct ww_tensor *b,
                                 bool *same, struct ww_error *err)
{
    uint8_t *buf = ww_calloc(2, COMPARE_BYTES);
    enum ww_err rc = buf ? WW_OK : WW_FAIL_MEMORY(err, "an adapter");

    *same = a->dtype == b->dtype && a->n_bytes == b->n_bytes;
    for (uint64_t at = 0; at < a->n_bytes && *same && !rc; at += COMPARE_BYTES) {
        const size_t n = (size_t)ww_min_u64(COMPARE_BYTES, a->n_bytes - at);
        rc = ww_pread_full(adapter->file.fd, buf, n, a->offset + at, WW_ADAPTER_WEIGHTS,
                           err);
        if (!rc) {
            rc = ww_pread_full(adapter->file.fd, buf + COMPARE_BYTES, n, b->offset + at,
                               WW_ADAPTER_WEIGHTS, err);
        }
        *same = !rc && memcmp(buf, buf + COMPARE_BYTES, n) == 0;
    }
    ww_free(buf);
    return rc;
}

static const struct ww_adapter_entry *whole_of(const struct ww_adapter *adapter,
                                               bool head)
{
    for (uint32_t i = 0; i < adapter->n_tensors; i++) {
        const struct ww_adapter_entry *e = &adapter->entries[i];
        if (e->part == WW_PART_FULL &&
            (head ? ww_is_head(e->module) : ww_is_embedding(e->module))) {
            return e;
        }
    }
    return NULL;
}

static bool is_of_head(const struct ww_adapter_entry *entry)
{
    return entry->part != WW_PART_FULL && ww_is_head(entry->module);
}

/* Of a base without a head of its own. */
static enum ww_err check_tie(const struct ww_bake_from *from, struct ww_error *err)
{
    const struct ww_adapter *adapter = from->adapter;
    const struct ww_adapter_entry *head = whole_of(adapter, true);
    const struct ww_adapter_entry *embedding = whole_of(adapter, false);
    bool same = false;
    enum ww_err rc = WW_OK;

    for (uint32_t i = 0; i < adapter->n_tensors; i++) {
        if (is_of_head(&adapter->entries[i])) {
            return WW_FAIL(
                err, WW_E_UNSUPPORTED,
                "adapter '%s' changes the head of '%s', which is its embedding; "
                "the merged model could not keep the two apart, so use it as "
                "an adapter, or give the base a head of its own",
                adapter->path, from->base->path);
        }
    }
    if (!head && !embedding) {
        return WW_OK;
    }
    if (head && embedding) {
        rc = compare_bytes(adapter, head->tensor, embedding->tensor, &same, err);
    }
    return rc || same
               ? rc
               : WW_FAIL(err, WW_E_UNSUPPORTED,
                         "adapter '%s' carries %s for '%s', whose head is its embedding; "
                         "the merged model could not keep the two apart",
                         adapter->path,
                         head && embedding ? "a head and an embedding that differ"
                         : head            ? "a head and no embedding"
                                           : "an embedding and no head",
                         from->base->path);
}

static int by_tensor(const void *a, const void *b)
{
    const uint32_t x = ((const struct ww_bake_change *)a)->tensor;
    const uint32_t y = ((const struct ww_bake_change *)b)->tensor;
    return (x > y) - (x < y);
}

enum ww_err ww_bake_group_add(struct ww_bake_group *group, struct ww_bake_change **out,
                              struct ww_error *err)
{
    if (group->n == group->capacity) {
        const uint32_t more = group->capacity ? 2 * group->capacity : 64;
        struct ww_bake_change *grown =
            ww_realloc_array(group->changes, more, sizeof(*grown));
        if (!grown) {
            return WW_FAIL_MEMORY(err, "an adapter");
        }
        group->changes = grown;
        group->capacity = more;
    }
    *out = &group->changes[group->n++];
    **out = (struct ww_bake_change){0};
    return WW_OK;
}

static enum ww_err add_entry(const struct ww_bake_from *from,
                             const struct ww_adapter_entry *entry,
                             struct ww_bake_group *group, struct ww_error *err)
{
    struct ww_bake_change *change = NULL;
    uint32_t tensor = WW_NONE;
    enum ww_err rc = ww_adapter_target(entry, from->base, &tensor, err);

    if (!rc && entry->part == WW_PART_B_BIAS) {
        rc = bias_of(from->base, from->adapter, entry, &tensor, err);
    }
    if (!rc) {
        rc = ww_bake_group_add(group, &change, err);
    }
    if (!rc) {
        change->tensor = tensor;
        change->part[entry->part] = entry;
    }
    return rc;
}

/* One change per entry, but for a tied head and for experts. */
static enum ww_err find_targets(const struct ww_bake_from *from, bool tied,
                                struct ww_bake_group *group, struct ww_error *err)
{
    const struct ww_adapter *adapter = from->adapter;
    enum ww_err rc = WW_OK;

    for (uint32_t i = 0; i < adapter->n_tensors && !rc; i++) {
        const struct ww_adapter_entry *entry = &adapter->entries[i];
        bool done = false;
        if (tied && entry->part == WW_PART_FULL && ww_is_head(entry->module)) {
            continue;
        }
        rc = ww_bake_parameter(from, entry, group, &done, err);
        if (!rc && !done) {
            rc = ww_bake_fuse(from, entry, group, &done, err);
        }
        if (!rc && !done) {
            rc = add_entry(from, entry, group, err);
        }
    }
    return rc;
}

static enum ww_err changed_twice(const struct ww_adapter *adapter,
                                 const struct ww_adapter_entry *a,
                                 const struct ww_adapter_entry *b, struct ww_error *err)
{
    return WW_FAIL(err, WW_E_ADAPTER_FILE,
                   "tensors '%.120s' and '%.120s' of adapter '%s' change the same weight",
                   b->tensor->name, a->tensor->name, adapter->path);
}

static enum ww_err join_rows(const struct ww_adapter *adapter,
                             struct ww_bake_change *into,
                             const struct ww_bake_change *one, struct ww_error *err)
{
    into->fused = into->fused ? into->fused : one->fused;
    for (int m = 0; m < WW_BAKE_FUSED; m++) {
        for (int p = 0; p <= WW_PART_B; p++) {
            const struct ww_adapter_entry *a = into->pairs[m][p];
            const struct ww_adapter_entry *b = one->pairs[m][p];
            if (a && b) {
                return changed_twice(adapter, a, b, err);
            }
            into->pairs[m][p] = b ? b : a;
        }
    }
    return WW_OK;
}

/* A tied bias may come under both of its names, which is the same once more. */
static enum ww_err join(const struct ww_adapter *adapter, struct ww_bake_change *into,
                        const struct ww_bake_change *one, struct ww_error *err)
{
    for (int p = 0; p < WW_BAKE_PARTS; p++) {
        const struct ww_adapter_entry *a = into->part[p];
        const struct ww_adapter_entry *b = one->part[p];
        bool same = false;
        enum ww_err rc = WW_OK;
        if (a && b && p == WW_PART_FULL) {
            rc = compare_bytes(adapter, a->tensor, b->tensor, &same, err);
        }
        if (rc) {
            return rc;
        }
        if (a && b && !same) {
            return changed_twice(adapter, a, b, err);
        }
        into->part[p] = b ? b : a;
    }
    return join_rows(adapter, into, one, err);
}

/* A weight beside its own factors is what they are added to where it is called after the
 * layer that PEFT wraps, and in old files of embeddings. Else one of both counts, and no
 * name says which. */
static enum ww_err check_whole(const struct ww_adapter *adapter,
                               const struct ww_bake_change *change, struct ww_error *err)
{
    const struct ww_adapter_entry *whole = change->part[WW_PART_FULL];
    const struct ww_adapter_entry *factor = change->part[WW_PART_B];

    if (!whole || !factor || strstr(whole->tensor->name, ".base_layer.")) {
        return WW_OK;
    }
    return WW_FAIL(err, WW_E_ADAPTER_FILE,
                   "adapter '%s' carries '%.120s' whole and '%.120s' beside it; which of "
                   "them counts?",
                   adapter->path, whole->tensor->name, factor->tensor->name);
}

/* B's rank tells the scaling of its bias, which is a change of another tensor. */
static void lend_ranks(const struct ww_adapter *adapter, struct ww_bake_change *changes,
                       uint32_t n)
{
    for (uint32_t c = 0; c < n; c++) {
        const struct ww_adapter_entry *bias = changes[c].part[WW_PART_B_BIAS];
        for (uint32_t i = 0; bias && i < adapter->n_tensors; i++) {
            const struct ww_adapter_entry *entry = &adapter->entries[i];
            if (entry->part == WW_PART_B && strcmp(entry->module, bias->module) == 0) {
                changes[c].part[WW_PART_B] = entry;
            }
        }
    }
}

enum ww_err ww_bake_group(const struct ww_bake_from *from, struct ww_bake_group *out,
                          struct ww_error *err)
{
    const uint32_t head = ww_bake_tied_head(from->base);
    const bool tied = head != WW_NONE;
    struct ww_bake_change *changes = NULL;
    uint32_t n_all = 0;
    enum ww_err rc = tied ? check_tie(from, err) : WW_OK;

    if (!rc) {
        rc = find_targets(from, tied, out, err);
    }
    if (rc || out->n == 0) {
        return rc;
    }
    changes = out->changes;
    n_all = out->n;
    out->n = 0;
    qsort(changes, n_all, sizeof(*changes), by_tensor);
    for (uint32_t i = 0; i < n_all && !rc; i++) {
        const struct ww_bake_change one = changes[i];
        if (out->n > 0 && changes[out->n - 1].tensor == one.tensor) {
            rc = join(from->adapter, &changes[out->n - 1], &one, err);
        } else {
            changes[out->n++] = one;
        }
    }
    for (uint32_t i = 0; i < out->n && !rc; i++) {
        rc = check_whole(from->adapter, &changes[i], err);
        if (tied && changes[i].tensor == head && changes[i].part[WW_PART_EMBEDDING_A]) {
            out->doubt =
                "changes an embedding that is the head too: both change, as when PEFT "
                "merges it; PEFT without merging changes the embedding alone";
        }
    }
    lend_ranks(from->adapter, changes, out->n);
    return rc;
}

void ww_bake_group_release(struct ww_bake_group *group)
{
    ww_strlist_release(&group->names);
    ww_free(group->changes);
    *group = (struct ww_bake_group){0};
}
