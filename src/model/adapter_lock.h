/* SPDX-License-Identifier: Apache-2.0 */
/* Which lock an adapter follows, as the record in its folder says. */
#ifndef WW_MODEL_ADAPTER_LOCK_H
#define WW_MODEL_ADAPTER_LOCK_H

#include "weightward/error.h"

struct ww_adapter_lock {
    char *lock_id; /* of the base's lock manifest, in hex; NULL: it follows none */
    char *base;    /* tensor root of the locked base, in hex; the same */
};

/** name: of the folder, for texts. WW_E_MANIFEST for a record without the two, WW_E_JSON,
 *  WW_E_IO; then out is empty. */
enum ww_err ww_adapter_lock_read(int dirfd, const char *name, struct ww_adapter_lock *out,
                                 struct ww_error *err) WW_MUST_USE;
void ww_adapter_lock_release(struct ww_adapter_lock *lock);

#endif
