/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A model that comes back shows by its digest that the base was the right one. An adapter
 * comes back without any base, and can be added to whatever has its shapes; so the
 * package names the whole base of adapters, and who adds one is held to it.
 */
#include <string.h>

#include "rmm/base_use.h"
#include "stream/tree.h"
#include "util/alloc.h"
#include "util/fail.h"

static bool is_listed(const struct ww_pack_manifest *m, const char *name)
{
    size_t low = 0;
    size_t high = m->n_tensors;

    while (low < high) {
        const size_t mid = low + (high - low) / 2;
        const int order = strcmp(name, m->tensors[mid].name);
        if (order == 0) {
            return true;
        }
        low = order > 0 ? mid + 1 : low;
        high = order < 0 ? mid : high;
    }
    return false;
}

enum ww_err ww_base_use_whole(struct ww_base_use *use, struct ww_pace *pace,
                              struct ww_error *err)
{
    const struct ww_model *base = use->base;
    struct ww_tree_tensor *tree = NULL;
    uint8_t *room = ww_calloc(1, WW_TREE_CHUNK);
    enum ww_err rc =
        room ? ww_tree_tensor_new(&tree, err) : WW_FAIL_MEMORY(err, "the base");

    for (uint32_t t = 0; t < base->n_tensors; t++) {
        pace->total += use->used[t] ? 0 : base->tensors[t].n_bytes;
    }
    for (uint32_t t = 0; t < base->n_tensors && !rc; t++) {
        if (use->used[t]) {
            continue;
        }
        rc = ww_tree_tensor_read(tree, base, t, use->rank[t], room, use->roots[t], err);
        use->used[t] = !rc;
        if (!rc) {
            rc = ww_pace_step(pace, base->tensors[t].n_bytes, err);
        }
    }
    ww_tree_tensor_free(tree);
    ww_free(room);
    return rc;
}

enum ww_err ww_base_use_whole_again(struct ww_base_use *use, struct ww_base_roots *kept,
                                    struct ww_pace *pace, struct ww_error *err)
{
    const uint32_t n = use->base->n_tensors;
    enum ww_err rc = WW_OK;

    for (uint32_t t = 0; kept->of && t < n && n == kept->n; t++) {
        if (!use->used[t]) {
            ww_base_use_state(use, t, kept->of[t]);
        }
    }
    rc = ww_base_use_whole(use, pace, err);
    if (!rc && !kept->of) {
        kept->n = n;
        kept->of = ww_calloc(n, sizeof(*kept->of));
        if (!kept->of) {
            return WW_FAIL_MEMORY(err, "the base");
        }
        memcpy(kept->of, use->roots, n * sizeof(*kept->of));
    }
    return rc;
}

enum ww_err ww_base_use_check_whole(const struct ww_model *base,
                                    const struct ww_pack_manifest *m, bool *known,
                                    struct ww_error *err)
{
    const enum ww_err rc = ww_base_use_check_tensors(base, m, err);

    *known = !rc;
    for (uint32_t t = 0; t < base->n_tensors && *known; t++) {
        *known = is_listed(m, base->tensors[t].name);
    }
    return rc;
}
