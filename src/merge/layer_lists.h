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
/** Do the lists of a model of n layers say the same of two of them? */
bool ww_layer_lists_agree(const struct ww_config *config, uint64_t n, uint64_t a,
                          uint64_t b);

#endif
