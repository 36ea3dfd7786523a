/* SPDX-License-Identifier: Apache-2.0 */
/** Lists in config.json that say of each layer what it is, and move with the layers. */
#ifndef WW_MERGE_LAYER_LISTS_H
#define WW_MERGE_LAYER_LISTS_H

#include "merge/json_edit.h"
#include "model/config.h"

struct ww_layer_list {
    const char *key;
    enum ww_json_list kind;
};

#define WW_MOST_LAYER_LISTS 24
/** All that are known, *n of them. */
const struct ww_layer_list *ww_layer_lists(size_t *n);
/** What the lists of a model of n layers say of each: says[n], zeroed, gets numbers that
 *  are equal where the same is said, of two layers or of two models; 0: nothing is. A
 * list that says one thing of all layers says nothing of a layer. */
void ww_layer_lists_say(const struct ww_config *config, uint64_t n, uint64_t *says);

#endif
