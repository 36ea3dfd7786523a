/* SPDX-License-Identifier: Apache-2.0 */
/* The shard index: model.safetensors.index.json against the shards it speaks of. */
#ifndef WW_MODEL_INDEX_H
#define WW_MODEL_INDEX_H

#include "json/json.h"
#include "model/names.h"
#include "util/str.h"
#include "weightward/model.h"

#define WW_INDEX_MAX_FILES 65536

struct ww_index {
    struct ww_json *json;
    const struct ww_jnode *map; /* tensor name -> file name, both checked for form */
    struct ww_strlist files;    /* every file named, once each, sorted */
    bool has_total;
    uint64_t total_bytes; /* metadata.total_size: advice, often wrong */
};

/** name goes into error texts. WW_E_JSON, WW_E_INDEX, WW_E_LIMIT. */
enum ww_err ww_index_parse(const uint8_t *text, size_t len, const char *name,
                           struct ww_index *out, struct ww_error *err) WW_MUST_USE;
void ww_index_release(struct ww_index *index);

/** Map and tensors must agree both ways. by_name holds every tensor of the model. */
enum ww_err ww_index_check(const struct ww_index *index, const char *name,
                           const struct ww_model *model, const struct ww_names *by_name,
                           struct ww_error *err) WW_MUST_USE;

#endif
