/* SPDX-License-Identifier: Apache-2.0 */
#include "merge/adapter_copy.h"

#include <string.h>

#include "merge/bake.h"
#include "model/convert.h"
#include "model/elements.h"
#include "model/shape.h"
#include "model/vocab_names.h"
#include "util/fs.h"
#include "util/num.h"
#include "util/str.h"

#define STEP 1024 /* numbers compared at a time, on the stack */

bool ww_adapter_is_copy(const struct ww_adapter *adapter,
                        const struct ww_adapter_entry *entry)
{
    const size_t len = strlen(entry->module);
    const size_t tail = strlen(".weight");
    bool is = false;

    if (entry->part != WW_PART_FULL ||
        !ww_str_ends(entry->tensor->name, ".base_layer.weight")) {
        return false;
    }
    for (uint32_t i = 0; i < adapter->n_tensors && !is; i++) {
        const struct ww_adapter_entry *a = &adapter->entries[i];
        is = (a->part == WW_PART_A || a->part == WW_PART_EMBEDDING_A) &&
             strlen(a->module) == len - tail &&
             memcmp(a->module, entry->module, len - tail) == 0;
    }
    return is;
}

static enum ww_err same_numbers(const struct ww_adapter *adapter,
                                const struct ww_tensor *t, const struct ww_model *base,
                                uint32_t of_base, bool *same, struct ww_error *err)
{
    const size_t width = ww_dtype_bits(t->dtype) / 8;
    uint8_t bytes[STEP * 8];
    double here[STEP];
    double there[STEP];
    enum ww_err rc = WW_OK;

    for (uint64_t at = 0; at < t->n_elements && *same && !rc; at += STEP) {
        const size_t n = (size_t)ww_min_u64(STEP, t->n_elements - at);
        rc = ww_pread_full(adapter->file.fd, bytes, n * width, t->offset + at * width,
                           WW_ADAPTER_WEIGHTS, err);
        if (!rc) {
            ww_to_double(t->dtype, bytes, here, n);
            rc = ww_elements_bytes(base, of_base, at, n, bytes, err);
        }
        if (!rc) {
            ww_to_double(base->tensors[of_base].dtype, bytes, there, n);
            *same = memcmp(here, there, n * sizeof(*here)) == 0;
        }
    }
    return rc;
}

enum ww_err ww_adapter_copy_same(const struct ww_adapter *adapter,
                                 const struct ww_adapter_entry *entry,
                                 const struct ww_model *base, uint32_t *of, bool *same,
                                 struct ww_error *err)
{
    const struct ww_tensor *t = entry->tensor;
    const struct ww_tensor *there = NULL;
    enum ww_err rc = WW_OK;

    *same = false;
    *of = ww_is_head(entry->module) ? ww_bake_tied_head(base) : WW_NONE;
    rc = *of == WW_NONE ? ww_adapter_target(entry, base, of, err) : WW_OK;
    if (rc) {
        return rc;
    }
    there = &base->tensors[*of];
    *same = ww_same_shape(there, t) && ww_dtype_is_plain_float(t->dtype) &&
            ww_dtype_is_plain_float(there->dtype);
    return same_numbers(adapter, t, base, *of, same, err);
}
