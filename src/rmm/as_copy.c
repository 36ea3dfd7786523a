/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Of a module that reads or makes tokens PEFT saves the weight below the factors too,
 * since the vocabulary could have grown. Nobody needs it who has the base, and it goes
 * into no other form; where it is another weight than the base's, the factors mean
 * something else.
 */
#include <string.h>

#include "merge/bake.h"
#include "model/convert.h"
#include "model/elements.h"
#include "rmm/as_factors.h"
#include "util/fail.h"
#include "util/fs.h"
#include "util/num.h"
#include "util/str.h"

#define STEP 1024 /* numbers compared at a time, on the stack */

bool ww_as_is_copy(const struct ww_adapter *adapter, const struct ww_adapter_entry *e)
{
    const size_t len = strlen(e->module);
    const size_t tail = strlen(".weight");
    bool is = false;

    if (e->part != WW_PART_FULL || !ww_str_ends(e->tensor->name, ".base_layer.weight")) {
        return false;
    }
    for (uint32_t i = 0; i < adapter->n_tensors && !is; i++) {
        const struct ww_adapter_entry *a = &adapter->entries[i];
        is = a->part == WW_PART_A && strlen(a->module) == len - tail &&
             memcmp(a->module, e->module, len - tail) == 0;
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

enum ww_err ww_as_check_copy(const struct ww_adapter_entry *e, const struct ww_as *as,
                             const char *form, struct ww_error *err)
{
    const struct ww_tensor *t = e->tensor;
    uint32_t found = WW_NONE;
    bool same = false;
    enum ww_err rc = WW_OK;

    if (!as->base) {
        return WW_FAIL(
            err, WW_E_UNSUPPORTED,
            "form '%s' holds pairs of matrices alone, and tensor '%.160s' is a "
            "whole weight; with --base it is left out where it is the base's "
            "own, form 'peft' leaves it as it is",
            form, t->name);
    }
    found =
        ww_str_ends(e->module, "lm_head.weight") ? ww_bake_tied_head(as->base) : WW_NONE;
    rc = found == WW_NONE ? ww_adapter_target(e, as->base, &found, err) : WW_OK;
    if (rc) {
        return rc;
    }
    const struct ww_tensor *of = &as->base->tensors[found];
    same = of->rank == t->rank &&
           memcmp(of->shape, t->shape, t->rank * sizeof(*t->shape)) == 0 &&
           ww_dtype_is_plain_float(t->dtype) && ww_dtype_is_plain_float(of->dtype);
    rc = same_numbers(as->adapter, t, as->base, found, &same, err);
    if (!rc && !same) {
        rc = WW_FAIL(err, WW_E_UNSUPPORTED,
                     "form '%s' holds pairs of matrices alone, and tensor '%.160s' is "
                     "another weight than the base's '%.160s'; form 'peft' leaves it as "
                     "it is",
                     form, t->name, of->name);
    }
    return rc;
}
