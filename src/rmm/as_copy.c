/* SPDX-License-Identifier: Apache-2.0 */
/* The weight below the factors of a module goes into no other form. */
#include "merge/adapter_copy.h"
#include "rmm/as_factors.h"
#include "util/fail.h"

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
    rc = ww_adapter_copy_same(as->adapter, e, as->base, &found, &same, err);
    if (!rc && !same) {
        rc = WW_FAIL(err, WW_E_UNSUPPORTED,
                     "form '%s' holds pairs of matrices alone, and tensor '%.160s' is "
                     "another weight than the base's '%.160s'; form 'peft' leaves it as "
                     "it is",
                     form, t->name, as->base->tensors[found].name);
    }
    return rc;
}
