/* SPDX-License-Identifier: Apache-2.0 */
#include "merge/layer_lists.h"

#include <string.h>

#include "crypto/hash.h"
#include "util/fail.h"
#include "util/num.h"

/* Those of numbers first: they set bits, and what items say is added to them. */
static const struct ww_layer_list lists[] = {
    {"mlp_only_layers", WW_LIST_OF_LAYERS},     {"attn_layer_indices", WW_LIST_OF_LAYERS},
    {"full_attn_idxs", WW_LIST_OF_LAYERS},      {"moe_layers", WW_LIST_OF_LAYERS},
    {"layer_types", WW_LIST_BY_LAYER},          {"layers_block_type", WW_LIST_BY_LAYER},
    {"mlp_layer_types", WW_LIST_BY_LAYER},      {"no_rope_layers", WW_LIST_BY_LAYER},
    {"attention_layers", WW_LIST_BY_LAYER},     {"attn_type_list", WW_LIST_BY_LAYER},
    {"hybrid_layer_pattern", WW_LIST_BY_LAYER}, {"moe_layer_freq", WW_LIST_BY_LAYER},
    {"layer_rope_theta", WW_LIST_BY_LAYER},     {"indexer_types", WW_LIST_BY_LAYER},
};

_Static_assert(WW_LEN(lists) <= WW_MOST_LAYER_LISTS, "room for an edit of each");

const struct ww_layer_list *ww_layer_lists(size_t *n)
{
    *n = WW_LEN(lists);
    return lists;
}

static uint64_t number_of(const void *bytes, size_t n)
{
    uint8_t digest[WW_SHA256_BYTES];

    ww_sha256_of(bytes, n, digest);
    return ww_get_u64le(digest);
}

/* Equal for equal items; what is no text, number or flag is like none of another layer.
 */
static uint64_t say_item(const struct ww_jnode *item, uint64_t layer)
{
    const char *text = NULL;
    double number = 0;
    bool flag = false;

    if (ww_jstr(item, &text)) {
        return number_of(text, strlen(text));
    }
    if (ww_jdouble(item, &number)) {
        number += 0.0; /* -0 and 0 are equal, and have other bits */
        return number_of(&number, sizeof(number));
    }
    return ww_jbool(item, &flag) ? 1 + (uint64_t)flag : number_of(&layer, sizeof(layer));
}

static bool is_uniform(const struct ww_jnode *list)
{
    const struct ww_jnode *first = ww_jfirst(list);
    const struct ww_jnode *item = first;
    uint64_t layer = 0;

    while (item && say_item(item, layer) == say_item(first, 0)) {
        item = ww_jnext(item);
        layer++;
    }
    return !item;
}

void ww_layer_lists_say(const struct ww_config *config, uint64_t n, uint64_t *says)
{
    for (size_t i = 0; i < WW_LEN(lists); i++) {
        const bool by_layer = lists[i].kind == WW_LIST_BY_LAYER;
        const struct ww_jnode *list = ww_jget(config->text, lists[i].key);
        uint64_t layer = 0;
        if (ww_jtype(list) != WW_J_ARRAY ||
            (by_layer && (ww_jsize(list) != n || is_uniform(list)))) {
            continue;
        }
        for (const struct ww_jnode *item = ww_jfirst(list); item; item = ww_jnext(item)) {
            if (by_layer) {
                says[layer] += (2 * i + 1) * say_item(item, layer);
                layer++;
            } else if (ww_ju64(item, &layer) && layer < n) {
                says[layer] |= UINT64_C(1) << i;
            }
        }
    }
}
