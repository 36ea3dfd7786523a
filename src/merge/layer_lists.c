/* SPDX-License-Identifier: Apache-2.0 */
#include "merge/layer_lists.h"

#include <string.h>

#include "util/fail.h"

static const struct ww_layer_list lists[] = {
    {"layer_types", WW_LIST_BY_LAYER},          {"layers_block_type", WW_LIST_BY_LAYER},
    {"mlp_layer_types", WW_LIST_BY_LAYER},      {"no_rope_layers", WW_LIST_BY_LAYER},
    {"attention_layers", WW_LIST_BY_LAYER},     {"attn_type_list", WW_LIST_BY_LAYER},
    {"hybrid_layer_pattern", WW_LIST_BY_LAYER}, {"moe_layer_freq", WW_LIST_BY_LAYER},
    {"layer_rope_theta", WW_LIST_BY_LAYER},     {"indexer_types", WW_LIST_BY_LAYER},
    {"mlp_only_layers", WW_LIST_OF_LAYERS},     {"attn_layer_indices", WW_LIST_OF_LAYERS},
    {"full_attn_idxs", WW_LIST_OF_LAYERS},      {"moe_layers", WW_LIST_OF_LAYERS},
};

_Static_assert(WW_LEN(lists) <= WW_MOST_LAYER_LISTS, "room for an edit of each");

const struct ww_layer_list *ww_layer_lists(size_t *n)
{
    *n = WW_LEN(lists);
    return lists;
}

static bool has(const struct ww_jnode *list, uint64_t layer)
{
    uint64_t item = 0;

    for (const struct ww_jnode *n = ww_jfirst(list); n; n = ww_jnext(n)) {
        if (ww_ju64(n, &item) && item == layer) {
            return true;
        }
    }
    return false;
}

static bool same_item(const struct ww_jnode *a, const struct ww_jnode *b)
{
    const char *s = NULL, *t = NULL;
    double x = 0, y = 0;
    bool p = false, q = false;

    if (ww_jstr(a, &s) && ww_jstr(b, &t)) {
        return strcmp(s, t) == 0;
    }
    if (ww_jdouble(a, &x) && ww_jdouble(b, &y)) {
        return x == y;
    }
    return ww_jbool(a, &p) && ww_jbool(b, &q) && p == q;
}

bool ww_layer_lists_agree(const struct ww_config *config, uint64_t n, uint64_t a,
                          uint64_t b)
{
    for (size_t i = 0; i < WW_LEN(lists); i++) {
        const struct ww_jnode *list = ww_jget(config->text, lists[i].key);
        if (ww_jtype(list) != WW_J_ARRAY) {
            continue;
        }
        if (lists[i].kind == WW_LIST_OF_LAYERS
                ? has(list, a) != has(list, b)
                : ww_jsize(list) == n && !same_item(ww_jat(list, a), ww_jat(list, b))) {
            return false;
        }
    }
    return true;
}
