/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Changing members of a JSON object and leaving every other byte as it was: numbers keep
 * their spelling (10000.0 is not 10000 to every reader), members their order.
 */
#ifndef WW_MERGE_JSON_EDIT_H
#define WW_MERGE_JSON_EDIT_H

#include "json/json.h"
#include "util/buf.h"

#define WW_MOST_LAYERS 1024 /* of a model that layers are taken from */

/** An array of old_layers items, of which items are taken by layer_from; one of layers'
 *  numbers, of which those come in whose layer_from was there. A layer_from behind the
 * last of old_layers counts as the last. */
enum ww_json_list { WW_LIST_NONE, WW_LIST_BY_LAYER, WW_LIST_OF_LAYERS };

struct ww_json_edit {
    const char *key;
    const char *value; /* JSON; NULL: leave it alone unless it is a list */
    bool insert;       /* when the root has no such member (after all, in call order) */
    enum ww_json_list list;
    bool done; /* set: the member was found or inserted */
};

struct ww_json_edits {
    struct ww_json_edit *items;
    size_t n;
    const char *section; /* a member object that is edited too ("text_config"), or NULL */
    uint64_t old_layers;
    const uint32_t *layer_from;
    uint64_t new_layers;
};

/** text must be a JSON object that passed the strict scan. */
enum ww_err ww_json_edit(const uint8_t *text, size_t len, struct ww_json_edits *edits,
                         struct ww_buf *out, struct ww_error *err) WW_MUST_USE;

#endif
